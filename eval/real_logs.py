"""The old name of `python -m telemetry`, for one release."""

import sys

from telemetry.__main__ import main

if __name__ == "__main__":
    sys.exit(main())

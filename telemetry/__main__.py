"""`python -m telemetry FILE...`: see `telemetry.judging`."""

import sys

from telemetry.judging import main

if __name__ == "__main__":
    sys.exit(main())

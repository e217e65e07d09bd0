"""The old name of `python -m train.nano.pipeline`, for one release."""

import sys

from train.nano.pipeline import main

if __name__ == "__main__":
    sys.exit(main())

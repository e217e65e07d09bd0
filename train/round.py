"""The old name of `python -m train.nano.quantise`, for one release."""

import sys

from train.nano.quantise import main

if __name__ == "__main__":
    sys.exit(main())

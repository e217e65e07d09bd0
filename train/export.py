"""The old name of `python -m train.nano.export`, for one release."""

import sys

from train.nano.export import main

if __name__ == "__main__":
    sys.exit(main())

"""The old name of `python -m train.nano.pretrain`, for one release."""

import sys

from train.nano.pretrain import main

if __name__ == "__main__":
    sys.exit(main())

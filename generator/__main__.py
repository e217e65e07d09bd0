"""Generate incidents: python -m generator --task stage3_mixed --n 3

The command labels incidents and writes prompts, so its work is done further up (`train.bulk`); nothing imports this module.
"""

import sys

from train.bulk import main

if __name__ == "__main__":
    sys.exit(main())

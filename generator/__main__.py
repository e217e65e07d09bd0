"""Print generated incidents: python -m generator --task stage3_mixed --n 3"""

from generator import main

if __name__ == "__main__":
    main()

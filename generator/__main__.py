"""Two commands that the generator may not know, as they know the verifier: with `--pool FILE` the pool's, else `train.data` under its old name."""

import runpy
import sys

if __name__ == "__main__":
    pooled = any(word.partition("=")[0] == "--pool" for word in sys.argv[1:])
    runpy.run_module("pool" if pooled else "train.data", run_name="__main__", alter_sys=True)

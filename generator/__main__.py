"""The old name of `python -m train.data`, for one release: it labels incidents and writes prompts, which the generator may not know."""

import runpy

if __name__ == "__main__":
    runpy.run_module("train.data", run_name="__main__", alter_sys=True)

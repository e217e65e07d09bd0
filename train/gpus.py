"""Name the GPUs that a plan reckons with, and the flags that ask for one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from train.command import TRL, Flag


class Gpu(NamedTuple):
    """A GPU by its maker's data sheet: bf16 operations a second without sparsity, bytes a second, bytes of memory."""

    flops: float
    bandwidth: float
    memory: float


GPUS: Mapping[str, Gpu] = {"L4": Gpu(121e12, 300e9, 24e9), "H100": Gpu(989e12, 3350e9, 80e9)}

FLAGS = (
    Flag("--dry-run", "print tokens, memory and hours on --gpu, and load nothing", None, trainer=TRL, free=True),
    Flag("--gpu", "that --dry-run reckons with", default="L4", choices=tuple(GPUS), trainer=TRL, free=True),
)

"""Numbers on a command line, as argparse reads them."""

from __future__ import annotations

import argparse


def natural(text: str) -> int:
    """Read a whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text!r}")
    return int(text)


def positive(text: str) -> int:
    """Read a whole number from 1."""
    if not natural(text):
        raise argparse.ArgumentTypeError("expected a whole number from 1, got 0")
    return int(text)

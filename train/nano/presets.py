"""The sizes in which small models are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preset:
    """A size: width, layers, attention heads, width of the feed-forward part, tokens of the vocabulary."""

    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int


PRESETS: Mapping[str, Preset] = {
    "nano": Preset(128, 4, 4, 320, 3072),
    "mini": Preset(256, 4, 8, 640, 4096),
    "medium": Preset(
        384, 8, 6, 896, 6144
    ),  # heads of 64, as flash attention likes them; two copies in 16 bits are 62 MB
    "small": Preset(512, 8, 8, 1216, 4096),
}

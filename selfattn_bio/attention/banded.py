"""The part of a pattern that the band kernel computes: one window and its global keys."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from selfattn_bio.attention.patterns import (
    AttentionPattern,
    Band,
    GlobalKeys,
    Part,
    check_minimum,
)


@dataclass(frozen=True)
class Banded(AttentionPattern):
    """Attend to a window and to the first `num_keys` keys: the pairs of the band kernel.

    Query i attends to key j if -left <= j - i <= right. If `right` is 0, it attends only to those
    of the first keys that are at or before it. With left 1, right 0 and num_keys 1, query 3 attends
    to keys 0, 2 and 3. `left` and `right` may be larger than the length.
    """

    left: int
    right: int
    num_keys: int = 0

    def __post_init__(self) -> None:
        check_minimum(0, left=self.left, right=self.right, num_keys=self.num_keys)

    def parts(self, length: int) -> tuple[Part, ...]:
        """Return the band, and the global keys if there are any."""
        keys = (GlobalKeys(self.num_keys, self.right == 0),) if self.num_keys else ()
        return (Band(self.left, self.right), *keys)


@cache
def split_band(pattern: AttentionPattern, length: int) -> tuple[Banded, tuple[Part, ...]] | None:
    """Split a pattern into one undilated window with its global keys, and the remaining parts.

    None if the pattern has no such window. The rows of global tokens are in neither.
    """
    parts = pattern.parts(length)
    bands = (p for p in parts if isinstance(p, Band) and p.dilation == 1 and not p.block)
    band = next(bands, None)
    if band is None:
        return None
    keys = [p for p in parts if isinstance(p, GlobalKeys) and p.causal == (band.right == 0)]
    found = Banded(band.left, band.right, max((part.count for part in keys), default=0))
    return found, tuple(part for part in parts if part is not band and part not in keys)

"""Apply boosted trees, read from LightGBM's text format, to many records at once.

LightGBM walks down each tree record by record, which takes ten times as long.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.compiled import compiled

TILE = 64  # records that pass through a tree together
MOST_LEAVES = 32  # one bit of a 32-bit number per leaf
# Bits of LightGBM's decision_type: the split compares categories, or missing values are 0 or NaN
CATEGORIES, MISSING = 1, 12


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees whose values are added up.

    Every split compares one feature with a threshold; records at or below it go left. A split that
    sends a record right excludes the leaves on its left. The leftmost leaf that no split excludes
    is the one that the record reaches, so splits can be tested in any order, without branches
    (QuickScorer).

    Attributes
    ----------
    text
        LightGBM's text format.
    num_features
        Number of features.
    first
        First split of each tree, and the number S of splits, (T + 1,).
    features, thresholds
        Feature and threshold of each split, (S,).
    masks
        Bits of the leaves that remain if a record goes right, (S,).
    leaves
        Values of the leaves of each tree from left to right, (T, MOST_LEAVES).

    References
    ----------
    Lucchese et al. 2015, QuickScorer.
    """

    text: str = field(repr=False)
    num_features: int
    first: NDArray[np.int64]
    features: NDArray[np.int64]
    thresholds: NDArray[np.float32]
    masks: NDArray[np.uint32]
    leaves: NDArray[np.float64]

    @classmethod
    def read(cls, text: str) -> Forest:
        """Read trees in LightGBM's text format.

        Raises
        ------
        ValueError
            If the text is malformed, or the trees have categories, missing values or more than
            MOST_LEAVES leaves.
        """
        header, *trees = text.split("end of trees", 1)[0].split("\nTree=")
        try:
            num_features = int(_fields(header)["max_feature_idx"]) + 1
            each = [_splits(_fields(tree)) for tree in trees]
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(f"not trees of LightGBM: {error}") from error
        features, thresholds, masks, leaves = zip(*each, strict=True)
        limits = np.concatenate(thresholds)
        rounded = limits.astype(np.float32)
        # round down, so that comparisons in float32 give the same result
        down = np.nextafter(rounded, np.float32(-np.inf))
        return cls(
            text,
            num_features,
            np.cumsum([0, *map(len, features)]),
            np.concatenate(features),
            np.where(rounded > limits, down, rounded),
            np.concatenate(masks),
            np.stack(leaves),
        )

    @property
    def num_trees(self) -> int:
        """Return the number of trees."""
        return len(self.leaves)

    def sums(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the sum of the trees for each record, (n,).

        Parameters
        ----------
        x
            Features without missing values, (n, num_features). They are compared as float32.
        """
        sums = np.zeros(len(x))
        for start in range(0, len(x), TILE):
            tile = np.ascontiguousarray(x[start : start + TILE].T, dtype=np.float32)
            compiled(_add_leaves)(
                tile,
                self.first,
                self.features,
                self.thresholds,
                self.masks,
                self.leaves,
                sums[start : start + TILE],
            )
        return sums


def _fields(lines: str) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in lines.split("\n"))}


def _splits(
    tree: dict[str, str],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.uint32], NDArray[np.float64]]:
    """Return features, thresholds and masks of a tree's splits, and the values of its leaves."""
    number = int(tree["num_leaves"])
    values = np.array(tree["leaf_value"].split(), dtype=np.float64)
    if not 1 <= number <= MOST_LEAVES or len(values) != number:
        raise ValueError(f"a tree with {number} leaves")
    if any(int(word) & (CATEGORIES | MISSING) for word in tree["decision_type"].split()):
        raise ValueError("a split by category, or with missing values")
    left, right = (
        [int(word) for word in tree[f"{side}_child"].split()] for side in ("left", "right")
    )
    masks, order = np.zeros(number - 1, np.uint32), []

    def visit(child: int) -> None:
        """Number the leaves below a split, or a leaf (negative), from left to right."""
        if child < 0:
            order.append(~child)
            return
        before = len(order)
        visit(left[child])
        masks[child] = ~np.uint32((1 << len(order)) - (1 << before))
        visit(right[child])

    visit(0 if number > 1 else -1)
    leaves = np.zeros(MOST_LEAVES)
    leaves[:number] = values[order]
    features = np.array(tree["split_feature"].split(), dtype=np.int64)
    thresholds = np.array(tree["threshold"].split(), dtype=np.float64)
    return features, thresholds, masks, leaves


def _add_leaves(
    x: NDArray[np.float32],
    first: NDArray[np.int64],
    features: NDArray[np.int64],
    thresholds: NDArray[np.float32],
    masks: NDArray[np.uint32],
    leaves: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Add the trees' values for features x (F, n) to `sums` (n,); compiled by numba."""
    number = x.shape[1]
    every = np.uint32(0xFFFFFFFF)
    remaining = np.empty(number, np.uint32)
    for tree in range(len(leaves)):
        remaining[:] = every
        for split in range(first[tree], first[tree + 1]):
            feature, threshold, mask = features[split], thresholds[split], masks[split]
            for row in range(number):
                remaining[row] &= every if x[feature, row] <= threshold else mask
        for row in range(number):
            # the number of bits below the lowest one
            bits = (remaining[row] & (~remaining[row] + np.uint32(1))) - np.uint32(1)
            bits -= (bits >> 1) & 0x55555555
            bits = (bits & 0x33333333) + ((bits >> 2) & 0x33333333)
            bits = (bits + (bits >> 4)) & 0x0F0F0F0F
            sums[row] += leaves[tree, (bits * 0x01010101 & 0xFFFFFFFF) >> 24]

"""Apply boosted trees to many records, and to many small changes of one record.

LightGBM walks down each tree record by record, which takes ten times as long. Trees are arrays,
so that no text of a model folder reaches the parser of LightGBM.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.arrays import Floats, Integers, compiled

LEAF = -1  # in place of the feature of a split
TILE = 64  # records that pass through a tree together
MOST_LEAVES = 32  # one bit of a 32-bit number per leaf


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees whose values are added up.

    Every split compares one feature with a threshold; records at or below it go left. Nodes are
    listed tree by tree, each split before its left branch and that before its right branch. This
    order alone determines the branches, so they have no numbers that could be wrong.

    Parameters
    ----------
    num_features
        Number of features.
    features
        Feature of each split, LEAF for leaves, (N,).
    values
        Threshold of each split, output of each leaf, (N,).

    Raises
    ------
    ValueError
        If a feature does not exist, the last tree is incomplete, or a tree has more than
        MOST_LEAVES leaves.
    """

    num_features: int
    features: Integers
    values: Floats

    def __post_init__(self) -> None:
        """Check features and trees, which may come from a file."""
        if (last := self.features.max()) >= self.num_features:
            raise ValueError(f"features has {last}, but there are {self.num_features} features")
        if (most := np.add.reduceat(self.features == LEAF, self.roots).max()) > MOST_LEAVES:
            raise ValueError(f"features has a tree with {most} leaves, more than {MOST_LEAVES}")

    @classmethod
    def of(cls, booster: Any, outputs: int = 1) -> list[Forest]:
        """Copy the trees of a LightGBM booster, one forest per output.

        Its features must be numeric, without missing values.
        """
        trees, forests = booster.dump_model()["tree_info"], []
        for output in range(outputs):
            roots = (tree["tree_structure"] for tree in trees[output::outputs])
            nodes = (node for root in roots for node in _nodes(root))
            features, values = map(np.array, zip(*nodes, strict=True))
            forests.append(cls(booster.num_feature(), features, values.astype(np.float64)))
        return forests

    @property
    def roots(self) -> Integers:
        """Return the first node of each tree, (T,)."""
        return self._links[0]

    @property
    def right(self) -> Integers:
        """Return the first node of the right branch of each split, (N,)."""
        return self._links[1]

    @property
    def num_trees(self) -> int:
        """Return the number of trees."""
        return len(self.roots)

    @cached_property
    def _links(self) -> tuple[Integers, Integers]:
        """Return `roots` and `right`."""
        roots, right = [], np.full(len(self.features), LEAF)
        waiting: list[int] = []  # splits whose right branch has not begun
        after_leaf = True
        for node, feature in enumerate(self.features.tolist()):
            if after_leaf and waiting:
                right[waiting.pop()] = node
            elif after_leaf:
                roots.append(node)
            after_leaf = feature == LEAF
            if not after_leaf:
                waiting.append(node)
        if waiting:
            raise ValueError("features ends within a tree")
        return np.array(roots), right

    @cached_property
    def _tables(self) -> tuple[NDArray[Any], ...]:
        """Return the arrays that `_add_leaves` reads.

        A split that sends a record right excludes the leaves on its left. The leftmost leaf that no
        split excludes is the one that the record reaches, so splits can be tested in any order,
        without branches (QuickScorer; Lucchese et al. 2015).

        Returns
        -------
        first
            First split of each tree, and the number S of splits, (T + 1,).
        features, thresholds
            Feature and threshold of each split, (S,).
        masks
            Bits of the leaves that remain if a record goes right, (S,).
        leaves
            Values of the leaves of each tree from left to right, (T, MOST_LEAVES).
        """
        is_leaf, (splits,) = self.features == LEAF, np.nonzero(self.features != LEAF)
        before = np.cumsum(is_leaf) - is_leaf  # leaves before each node
        tree = np.cumsum(np.isin(np.arange(len(is_leaf)), self.roots)) - 1
        number = before - before[self.roots][tree]  # the same within the tree of the node
        leaves = np.zeros((self.num_trees, MOST_LEAVES))
        leaves[tree[is_leaf], number[is_leaf]] = self.values[is_leaf]
        excluded = (1 << number[self.right[splits]]) - (1 << number[splits])
        limits = self.values[splits]
        rounded = limits.astype(np.float32)
        # round down, so that comparisons in float32 give the same result
        down = np.nextafter(rounded, np.float32(-np.inf))
        return (
            np.append(self.roots - before[self.roots], len(splits)),
            self.features[splits],
            np.where(rounded > limits, down, rounded),
            (~excluded).astype(np.uint32),
            leaves,
        )

    def sums(self, x: NDArray[np.floating]) -> Floats:
        """Return the sum of the trees for each record, (n,).

        Parameters
        ----------
        x
            Features without missing values, (n, num_features). They are compared as float32.
        """
        sums = np.zeros(len(x))
        for start in range(0, len(x), TILE):
            tile = np.ascontiguousarray(x[start : start + TILE].T, dtype=np.float32)
            compiled(_add_leaves)(tile, *self._tables, sums[start : start + TILE])
        return sums

    def changes(self, original: NDArray[Any], changed: NDArray[Any]) -> Floats:
        """Return how the sum of the trees changes.

        A tree is evaluated only if a changed feature crosses a threshold on the path of the
        original record through the tree.

        Parameters
        ----------
        original
            Features of the record, (num_features,).
        changed
            Features of R changed records, (num_features, R).

        Returns
        -------
        (R,): sum for each changed record minus that for the record.
        """
        trees = (self.roots, self.features, self.right, self.values)
        found: Floats = compiled(_sum_changes)(original, np.ascontiguousarray(changed.T), *trees)
        return found


def _nodes(node: Mapping[str, Any]) -> Iterator[tuple[int, float]]:
    """Yield feature and value of a dumped node and of all nodes below it, in their order."""
    if "split_feature" not in node:
        yield LEAF, node["leaf_value"]
        return
    assert node["decision_type"] == "<="
    assert node["missing_type"] == "None"
    yield node["split_feature"], node["threshold"]
    yield from _nodes(node["left_child"])
    yield from _nodes(node["right_child"])


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


def _sum_changes(
    original: NDArray[Any],
    changed: NDArray[Any],
    roots: Integers,
    feature: Integers,
    right: Integers,
    value: Floats,
) -> Floats:
    """Return `Forest.changes`; `changed` has one row per record, (R, F).

    Compiled by numba. The other arguments are described in `Forest`.
    """
    records, number = changed.shape
    before = np.empty(len(roots))
    # nodes on the paths of the record, grouped by feature: path[ends[f] : ends[f + 1]]
    ends = np.zeros(number + 2, np.int64)
    for tree in range(len(roots)):
        node = roots[tree]
        while feature[node] != LEAF:
            ends[feature[node] + 2] += 1
            node = node + 1 if original[feature[node]] <= value[node] else right[node]
        before[tree] = value[node]
    ends = np.cumsum(ends)
    path, tree_of = np.empty(ends[-1], np.int64), np.empty(ends[-1], np.int64)
    low, high = np.full(number, -np.inf), np.full(number, np.inf)  # nearest thresholds
    for tree in range(len(roots)):
        node = roots[tree]
        while feature[node] != LEAF:
            read, threshold = feature[node], value[node]
            path[ends[read + 1]], tree_of[ends[read + 1]] = node, tree
            ends[read + 1] += 1
            if original[read] <= threshold:
                node, high[read] = node + 1, min(high[read], threshold)
            else:
                node, low[read] = right[node], max(low[read], threshold)

    sums, seen = np.zeros(records), np.full(len(roots), -1)
    for record in range(records):
        for read in range(number):
            new = changed[record, read]
            if low[read] < new <= high[read]:
                continue
            for at in range(ends[read], ends[read + 1]):
                tree, threshold = tree_of[at], value[path[at]]
                if seen[tree] == record or (new <= threshold) == (original[read] <= threshold):
                    continue
                seen[tree] = record
                node = roots[tree]
                while feature[node] != LEAF:
                    goes_left = changed[record, feature[node]] <= value[node]
                    node = node + 1 if goes_left else right[node]
                sums[record] += value[node] - before[tree]
    return sums

"""Evaluate gradient boosting on many small changes of one record.

LightGBM evaluates all trees for every changed record. Here a tree is evaluated only if a changed
score crosses a threshold on the path of the original record through the tree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.compiled import compiled

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
LEAF = -1  # feature and children of a leaf


@dataclass(frozen=True)
class Trees:
    """The trees of boosters, as arrays.

    Nodes of all trees are numbered consecutively. A record goes to `left` if its feature is at most
    the threshold, else to `right`.

    Attributes
    ----------
    roots
        First node of each tree, (T,).
    feature, left, right
        (N,) index into `features`, and children, of each node; LEAF for leaves.
    value
        (N,) threshold of an inner node, output of a leaf.
    features
        The features that the trees read, sorted, (F,).
    """

    roots: Numbers
    feature: Numbers
    left: Numbers
    right: Numbers
    value: Floats
    features: Numbers

    @classmethod
    def of(cls, boosters: Sequence[Any]) -> Trees:
        """Read the trees of LightGBM boosters with numeric features and no missing values."""
        nodes: list[tuple[int, int, int, float]] = []
        roots = []
        for booster in boosters:
            for tree in booster.dump_model()["tree_info"]:
                roots.append(len(nodes))
                _add(tree["tree_structure"], nodes)
        feature, left, right, value = map(np.array, zip(*nodes, strict=True))
        features = np.unique(feature[feature != LEAF])
        number = np.where(feature == LEAF, LEAF, np.searchsorted(features, feature))
        return cls(np.array(roots), number, left, right, value, features)

    def changes(self, original: Floats, changed: Floats) -> Floats:
        """Return how the summed output of the trees changes.

        Parameters
        ----------
        original
            The F `features` of the record, (F,).
        changed
            These features in each of R changed records, (F, R).

        Returns
        -------
        (R,): summed output for each changed record minus that for the record.
        """
        trees = (self.roots, self.feature, self.left, self.right, self.value)
        found: Floats = compiled(_sum_changes)(original, np.ascontiguousarray(changed.T), *trees)
        return found


def _add(node: Mapping[str, Any], nodes: list[tuple[int, int, int, float]]) -> int:
    """Append a dumped node and all nodes below it to `nodes`, and return its number."""
    number = len(nodes)
    if "split_feature" not in node:
        nodes.append((LEAF, LEAF, LEAF, node["leaf_value"]))
        return number
    nodes.append((LEAF, LEAF, LEAF, 0.0))  # replaced below, when its children have numbers
    left, right = _add(node["left_child"], nodes), _add(node["right_child"], nodes)
    nodes[number] = (node["split_feature"], left, right, node["threshold"])
    return number


def _sum_changes(
    original: Floats,
    changed: Floats,
    roots: Numbers,
    feature: Numbers,
    left: Numbers,
    right: Numbers,
    value: Floats,
) -> Floats:
    """Return `Trees.changes`; `changed` has one row per record, (R, F).

    Compiled by numba. The other arguments are described in `Trees`.
    """
    records, number = changed.shape
    before = np.empty(len(roots))
    # nodes on the paths of the record, grouped by feature: path[ends[f] : ends[f + 1]]
    ends = np.zeros(number + 2, np.int64)
    for tree in range(len(roots)):
        node = roots[tree]
        while feature[node] != LEAF:
            ends[feature[node] + 2] += 1
            node = left[node] if original[feature[node]] <= value[node] else right[node]
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
                node, high[read] = left[node], min(high[read], threshold)
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
                    node = left[node] if goes_left else right[node]
                sums[record] += value[node] - before[tree]
    return sums

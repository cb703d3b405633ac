"""Shuffle sequences, keeping the counts of all k-lets exactly.

A shuffle is a random Eulerian walk in the graph of (k-1)-lets, uniform over all sequences with the
same counts. numba compiles the walk at its first use and caches it on disk.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.arrays import Integers, compiled


def shuffle_letters(
    letters: NDArray[np.uint8], k: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return a random sequence with the same k-let counts: with `k` 2, "AGACA" may become "ACAGA".

    Every sequence with these counts and the same first and last `k - 1` letters is equally likely,
    including the input.

    Parameters
    ----------
    letters
        ASCII or codes, shape (L,). Any values are allowed; N and other IUPAC letters are treated
        like all letters.
    k
        At least 1; 1 preserves letter counts, 2 dinucleotide counts.
    rng
        Random generator; the same state gives the same sequence.

    Returns
    -------
    New array, shape (L,).

    References
    ----------
    Altschul and Erickson 1985; the last edge of each node comes from a random tree by Wilson 1996,
    as in uShuffle (Jiang et al. 2008).
    """
    if k == 1:
        return letters[rng.permutation(len(letters))]
    if len(letters) <= k:
        return letters.copy()
    windows = np.lib.stride_tricks.sliding_window_view(letters, k - 1)
    _, first, nodes = np.unique(_numbers(letters, k - 1), return_index=True, return_inverse=True)
    walk = compiled(_euler_walk)(nodes, len(first), rng)
    return np.concatenate([windows[first[walk[0]]], letters[first + k - 2][walk[1:]]])


def _numbers(letters: NDArray[np.uint8], size: int) -> Integers:
    """Number each run of `size` letters so that equal runs have equal numbers, for any `size`."""
    symbols = np.unique(letters, return_inverse=True)[1]
    numbers = symbols
    for step in range(1, size):
        pairs = numbers[:-1] * (symbols.max() + 1) + symbols[step:]
        # Renumber from 0, so that the product cannot overflow
        numbers = np.unique(pairs, return_inverse=True)[1]
    return numbers


def _euler_walk(nodes: Integers, num_nodes: int, rng: np.random.Generator) -> Integers:
    """Return a uniform random walk over all edges `nodes[i] -> nodes[i + 1]`.

    It goes from the first node to the last, and uses each edge as often as it occurs.
    numba compiles it.
    """
    num_edges = len(nodes) - 1
    # The edges of node n are targets[first[n] : first[n + 1]]
    first = np.zeros(num_nodes + 1, np.int64)
    for node in nodes[:-1]:
        first[node + 1] += 1
    first = np.cumsum(first)
    targets, filled = np.empty(num_edges, np.int64), first.copy()
    for edge in range(num_edges):
        targets[filled[nodes[edge]]] = nodes[edge + 1]
        filled[nodes[edge]] += 1
    # A walk uses all edges if the last edges taken from each node form a tree towards the end node.
    in_tree = np.zeros(num_nodes, np.bool_)
    in_tree[nodes[-1]] = True
    last = np.full(num_nodes, -1)  # last edge taken from each node
    for start in range(num_nodes):
        node = start
        while not in_tree[node]:
            last[node] = first[node] + int(rng.random() * (first[node + 1] - first[node]))
            node = targets[last[node]]
        node = start
        while not in_tree[node]:
            in_tree[node] = True
            node = targets[last[node]]
    for node in range(num_nodes):
        end = first[node + 1]
        if last[node] >= 0:
            end -= 1
            targets[last[node]], targets[end] = targets[end], targets[last[node]]
        for edge in range(end - 1, first[node], -1):
            other = first[node] + int(rng.random() * (edge - first[node] + 1))
            targets[edge], targets[other] = targets[other], targets[edge]
    walk, used = np.empty(num_edges + 1, np.int64), first[:-1].copy()
    walk[0] = nodes[0]
    for step in range(num_edges):
        node = walk[step]
        walk[step + 1] = targets[used[node]]
        used[node] += 1
    return walk

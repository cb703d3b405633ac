"""Shuffled sequences that keep the counts of all k-lets exactly, uniform over all such sequences.

Hides: the graph of (k-1)-lets and random Eulerian walks through it. Compiled by numba at its first use, and kept on disk.
"""

from __future__ import annotations

import contextlib

import numba
import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


def shuffle_letters(letters: NDArray[np.uint8], k: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A random sequence with the same letters, and as often each k-let: with `k` 2 "AGACA" may become "ACAGA".

    Every sequence with these counts and the same first and last `k - 1` letters is equally likely, the given one among them.

    Parameters
    ----------
    letters
        ASCII or codes, (L,); any values, N and other IUPAC letters are letters like others.
    k
        1 keeps letters, 2 dinucleotides; >= 1.
    rng
        Where chance comes from: the same state gives the same sequence.

    Returns
    -------
    A new array, (L,).

    Raises
    ------
    ValueError
        If `k` is less than 1.

    References
    ----------
    Altschul and Erickson 1985, with the last edges of each node a random tree by Wilson 1996 as in uShuffle (Jiang et al. 2008).
    """
    if k < 1:
        raise ValueError(f"k must be >= 1, got {k}")
    if k == 1:
        return letters[rng.permutation(len(letters))]
    if len(letters) <= k:
        return letters.copy()
    windows = np.lib.stride_tricks.sliding_window_view(letters, k - 1)
    _, first, nodes = np.unique(_numbers(letters, k - 1), return_index=True, return_inverse=True)
    walk = _euler_walk(nodes, len(first), rng)
    return np.concatenate([windows[first[walk[0]]], letters[first + k - 2][walk[1:]]])


def _numbers(letters: NDArray[np.uint8], size: int) -> Ids:
    """One number for each run of `size` letters, equal for equal runs, whatever `size` is."""
    symbols = np.unique(letters, return_inverse=True)[1]
    numbers = symbols
    for step in range(1, size):
        pairs = numbers[:-1] * (symbols.max() + 1) + symbols[step:]
        numbers = np.unique(pairs, return_inverse=True)[1]  # small again, so that nothing overflows
    return numbers


@numba.njit
def _euler_walk(nodes: Ids, num_nodes: int, rng: np.random.Generator) -> Ids:
    """A uniform random walk over all edges `nodes[i] -> nodes[i + 1]`, each as often as there, from the first node to the last."""
    num_edges = len(nodes) - 1
    first = np.zeros(num_nodes + 1, np.int64)  # the edges of node n are targets[first[n] : first[n + 1]]
    for node in nodes[:-1]:
        first[node + 1] += 1
    first = np.cumsum(first)
    targets, filled = np.empty(num_edges, np.int64), first.copy()
    for edge in range(num_edges):
        targets[filled[nodes[edge]]] = nodes[edge + 1]
        filled[nodes[edge]] += 1
    # A walk that leaves each node for the last time along a random tree towards the end uses up all edges.
    in_tree = np.zeros(num_nodes, np.bool_)
    in_tree[nodes[-1]] = True
    last = np.full(num_nodes, -1)  # edge by which each node is left for the last time
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


with contextlib.suppress(RuntimeError):  # no folder to keep it in: each process compiles it
    _euler_walk.enable_caching()

"""Find similar records by shared k-mers, and cluster them, also with MMseqs2.

No record is similar to a record of another cluster. Two records are similar if they share at least
a given fraction of the k-mers of the record that has fewer, so a window inside a longer record is
as similar to it as a complete copy.

Clusters are connected components (single linkage). Greedy clusters around a centre can leave a
record similar to one in a neighbouring cluster, and such pairs leak between splits. MMseqs2, if it
is installed, aligns sequences and so finds more distant relatives.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from selfattn_bio.arrays import Bools, Floats, Integers
from selfattn_bio.errors import RunFileError
from selfattn_bio.sequence.alphabet import Alphabet, Letters
from selfattn_bio.sequence.kmer_numbers import KmerSettings, all_kmers, hashed, kmer_settings

# Defaults: records with a tenth of their letters mutated are similar (benchmarks/leakage.py).
SIMILARITY = {"dna": 0.15, "protein": 0.3}
# Lower ones, which find more relatives but join most short peptides (docs/leakage.md). They suit
# records whose largest cluster has less than this fraction of them.
LOWER, LARGE = (0.08, 0.15), 0.1
SIMILAR_PAIR = [("first", np.int64), ("second", np.int64), ("similarity", np.float64)]
MOTIF = 25  # letters of DNA or RNA that a common motif and flanks equal by chance may share
CHANCE = 0.01  # largest expected fraction of records with an equal match by chance
# Limit on products of rare columns; products or k-mers in memory at once
PRODUCTS, AT_ONCE = 1_000_000_000, 10_000_000
# Min-hash orders of records with repeats; neighbours compared in each direction
ORDERS, NEIGHBOURS = 16, 4
COVERAGE = 0.8  # minimum fraction of the shorter record that an alignment must cover


def missed_relatives(alphabet: Alphabet) -> str:
    """Say which relatives a search by shared k-mers can miss, at the default settings."""
    return f"relatives below about {90 if alphabet.is_nucleic else 85} % identity can be missed"


def cluster_records(
    letters: Sequence[NDArray[np.uint8]],
    alphabet: Alphabet,
    similarity: float | None = None,
    k: int | None = None,
) -> Integers:
    """Number the records so that similar records, directly or through others, share a number.

    Parameters
    ----------
    letters
        Upper-case ASCII of each of n records.
    similarity
        Fraction of shared k-mers from which two records are similar, in (0, 1]. The default is in
        `SIMILARITY`.
    k
        Length of the k-mers. The default is `DNA_K`, or `REDUCED_K` reduced and `RESIDUES_K` full
        residues for protein.

    Returns
    -------
    Cluster numbers, shape (n,), counted from 0 in the order of the records.
    """
    pairs = similar_pairs(letters, alphabet, similarity, k)
    return components(len(letters), pairs["first"].to_numpy(), pairs["second"].to_numpy())


def suitable_clusters(
    letters: Letters, alphabet: Alphabet, join: Callable[[Integers], Integers]
) -> tuple[float, list[int]]:
    """Return the lowest similarity of `LOWER` whose joined clusters are all small, and these.

    If there is none, it is the default, as it always is for DNA and RNA.
    """
    lower = () if alphabet.is_nucleic else LOWER
    for similarity in (*lower, SIMILARITY[alphabet.family]):
        clusters = join(cluster_records(letters, alphabet, similarity))
        if np.bincount(clusters).max() < LARGE * len(letters):
            break
    return similarity, clusters.tolist()


def components(num_records: int, first: Integers, second: Integers) -> Integers:
    """Number the connected components of the records, in the order of the records."""
    graph = coo_array(
        (np.ones(len(first), bool), (first, second)), shape=(num_records, num_records)
    )
    return pd.factorize(connected_components(graph, directed=False)[1])[0].astype(np.int64)


def similar_pairs(
    letters: Sequence[NDArray[np.uint8]],
    alphabet: Alphabet,
    similarity: float | None = None,
    k: int | None = None,
    in_second: Bools | None = None,
) -> pd.DataFrame:
    """Find all pairs of similar records, on either strand.

    With k = 3, ACGTACGT has the k-mers ACG and GTA (CGT and TAC are their reverse complements), and
    TTACGTAC has TAA, GTA and ACG. They share both k-mers of the first record, a similarity of 1.
    The pair is not reported, because a match this short is explained by chance.

    Parameters
    ----------
    letters, similarity, k
        As in `cluster_records`.
    in_second
        Shape (n,). If given, return only pairs of a record with False (`first`) and a record with
        True (`second`).

    Returns
    -------
    Table with columns first and second (record numbers) and similarity (fraction of the k-mers of
    the record that has fewer; for protein, the larger value of the two settings). Each pair occurs
    once, with first < second unless `in_second` is given. Pairs are left out if chance alone would
    give more than `CHANCE` of all records an equal match. Above `kmer_numbers.MAX_KMERS` k-mers in
    total, similarities are estimated from an even sample of the k-mers.
    """
    similarity = SIMILARITY[alphabet.family] if similarity is None else similarity
    found = [pd.DataFrame(np.empty(0, SIMILAR_PAIR))]
    for settings in kmer_settings(alphabet, k):
        shared = _Shared(letters, alphabet, settings, similarity)
        found += [shared.exact(first, second) for first, second in shared.candidates(in_second)]
    return pd.concat(found, ignore_index=True).groupby(["first", "second"], as_index=False).max()


class _Shared:
    """Sparse matrix of records by distinct k-mers, used to find pairs that share enough of them.

    Rare columns are multiplied, which gives all pairs that share such a k-mer. Columns of repeats
    would make the product quadratic. Their k-mers are counted only for pairs that the rare columns
    cannot rule out.
    """

    def __init__(
        self,
        letters: Sequence[NDArray[np.uint8]],
        alphabet: Alphabet,
        settings: KmerSettings,
        similarity: float,
    ) -> None:
        self.settings, self.similarity, self.num_records = settings, similarity, len(letters)
        self.of_motif = MOTIF - settings.k + 1 if alphabet.is_nucleic else 0  # k-mers
        lengths = np.array([len(row) for row in letters], np.int64)
        self.log_lengths = np.log(np.maximum(lengths, 1))
        numbers, rows, self.match = all_kmers(letters, alphabet, settings, lengths)
        names, columns = np.unique(numbers, return_inverse=True)
        columns = columns.astype(np.int32)
        matrix = csr_array(
            (np.ones(len(rows), np.int32), (rows, columns)), shape=(self.num_records, len(names))
        )
        del numbers, rows, columns
        matrix.sum_duplicates()
        matrix.data[:] = 1
        self.sizes = np.diff(matrix.indptr).astype(np.int64)
        spread = np.bincount(matrix.indices, minlength=len(names))
        cost = np.cumsum(
            np.bincount(spread, minlength=2)
            * np.arange(max(2, int(spread.max(initial=0)) + 1), dtype=np.float64) ** 2
        )
        self.rare = _columns(matrix, (spread > 1) & (cost[spread] <= max(PRODUCTS, cost[1])))
        self.frequent = _columns(matrix, (spread > 1) & (cost[spread] > max(PRODUCTS, cost[1])))
        self.repeats = np.diff(self.frequent.indptr).astype(np.int64)

    def needed(self, first: Integers, second: Integers) -> Integers:
        """Return the number of shared k-mers from which each pair is similar.

        It is at least the requested fraction, more than chance explains, and for DNA and RNA more
        than a shared motif explains or half of the k-mers. A run of r k-mers
        means that k + r - 1 letters match. The expected number of records that share a run of that
        length with a given record is n * length * length * match^letters (like the E-value of
        BLAST, Altschul et al. 1990).
        """
        return self._least(
            np.minimum(self.sizes[first], self.sizes[second]),
            self.log_lengths[first] + self.log_lengths[second],
        )

    def _least(self, sizes: Integers, log_positions: Floats) -> Integers:
        enough = np.ceil(self.similarity * sizes - 1e-9)
        records = self.num_records * (1 + self.settings.canonical)  # with both strands of each
        letters = (math.log(records / CHANCE) + log_positions) / -math.log(self.match)
        run = letters - self.settings.k + 1
        by_chance = np.maximum(np.ceil(run), np.minimum(self.of_motif, sizes // 2))
        return np.maximum(np.maximum(enough, by_chance), 1).astype(np.int64)

    def candidates(self, in_second: Bools | None) -> Iterator[tuple[Integers, Integers]]:
        """Yield pairs that may share enough k-mers, block by block of rows."""
        left = np.arange(self.num_records) if in_second is None else np.flatnonzero(~in_second)
        right = np.arange(self.num_records) if in_second is None else np.flatnonzero(in_second)
        known = self.sizes > 0
        if not known.any():
            return
        fewest = self._least(self.sizes[known].min(), 2 * self.log_lengths[known].min())
        least = fewest - self.repeats.max()
        ours, theirs = self.rare[left], csr_array(self.rare[right].T)
        work = np.cumsum(ours @ np.diff(theirs.indptr).astype(np.float64))
        inner = np.unique(
            np.searchsorted(work, np.arange(AT_ONCE, work.max(initial=0), AT_ONCE)) + 1
        )
        for start, stop in pairwise([0, *inner[inner < len(left)], len(left)]):
            product = (ours[start:stop] @ theirs).tocoo()
            # Drop pairs that share only the k-mer or two expected by chance
            some = product.data >= least
            first = left[start:stop][product.coords[0][some]]
            second = right[product.coords[1][some]]
            shared = product.data[some]
            possible = shared + np.minimum(
                self.repeats[first], self.repeats[second]
            ) >= self.needed(first, second)
            yield _kept(first[possible], second[possible], in_second)
        if self.repeats.any():
            yield self._neighbours(in_second)

    def _neighbours(self, in_second: Bools | None) -> tuple[Integers, Integers]:
        """Return pairs of records that may share only repeats.

        Records are sorted by their smallest hashed k-mer (min-hash) in several orders; pairs are
        records close to each other in an order.
        """
        rows = np.flatnonzero(self.repeats)
        pairs = [np.zeros((2, 0), np.int64)]
        for number in range(ORDERS):
            hashes = hashed(self.frequent.indices.astype(np.int64) + (number << 40))
            order = rows[
                np.argsort(np.minimum.reduceat(hashes, self.frequent.indptr[rows]), kind="stable")
            ]
            pairs += [
                np.stack([order[:-apart], order[apart:]])
                for apart in range(1, min(NEIGHBOURS + 1, len(order)))
            ]
        one, other = np.unique(np.sort(np.concatenate(pairs, axis=1), axis=0), axis=1)
        if in_second is not None:
            one, other = np.where(in_second[one], other, one), np.where(in_second[one], one, other)
        return _kept(one, other, in_second)

    def exact(self, first: Integers, second: Integers) -> pd.DataFrame:
        """Count all shared k-mers of each pair and return the pairs that share enough."""
        found = np.zeros(len(first), np.int64)
        step = max(1, AT_ONCE // max(1, int(self.sizes.max(initial=1))))
        for start in range(0, len(first), step):
            a, b = first[start : start + step], second[start : start + step]
            for matrix in (self.rare, self.frequent):
                found[start : start + step] += (
                    matrix[a].multiply(matrix[b]).sum(axis=1).astype(np.int64)
                )
        enough = found >= self.needed(first, second)
        first, second, found = first[enough], second[enough], found[enough]
        similarity = found / np.minimum(self.sizes[first], self.sizes[second])
        return pd.DataFrame({"first": first, "second": second, "similarity": similarity})


def _kept(first: Integers, second: Integers, in_second: Bools | None) -> tuple[Integers, Integers]:
    """Return each pair once, or the pairs with the second record, and only it, in `in_second`."""
    kept = first < second if in_second is None else ~in_second[first] & in_second[second]
    return first[kept].astype(np.int64), second[kept].astype(np.int64)


def _columns(matrix: csr_array, wanted: Bools) -> csr_array:
    """Return the selected columns, like `matrix[:, wanted]` but with a fraction of its memory."""
    renumbered = np.cumsum(wanted) - 1
    keep = wanted[matrix.indices]
    indptr = np.concatenate([[0], np.cumsum(keep)])[matrix.indptr]
    indices = renumbered[matrix.indices[keep]]
    return csr_array(
        (matrix.data[keep], indices, indptr), shape=(matrix.shape[0], int(wanted.sum()))
    )


def mmseqs_clusters(
    letters: Sequence[NDArray[np.uint8]], alphabet: Alphabet, identity: float
) -> tuple[Integers, str]:
    """Cluster records by `mmseqs easy-cluster`.

    Clusters are connected components of alignments with at least the given identity.

    Parameters
    ----------
    letters
        Upper-case ASCII of each of n records.
    identity
        Minimum fraction of identical aligned letters, in (0, 1].

    Returns
    -------
    Cluster numbers, shape (n,), counted from 0 in the order of the records, and the program with
    its version.

    Raises
    ------
    RunFileError
        If MMseqs2 is not installed, or fails.

    References
    ----------
    Steinegger and Söding 2017, MMseqs2.
    """
    program = shutil.which("mmseqs")
    if program is None:
        message = "program mmseqs not found in PATH, but the run file has split.method 'mmseqs2'"
        raise RunFileError(message, hint='Install MMseqs2, or set method = "kmers"')
    version = subprocess.run(
        [program, "version"], capture_output=True, text=True, check=False
    ).stdout.strip()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fasta = "".join(f">{i}\n{row.tobytes().decode('ascii')}\n" for i, row in enumerate(letters))
        (folder / "records.fa").write_text(fasta, encoding="ascii")
        kind = "2" if alphabet.is_nucleic else "1"  # 2 is nucleotides, searched on both strands
        options = f"--min-seq-id {identity} -c {COVERAGE} --cov-mode 5 --cluster-mode 1 --threads 1"
        files = [str(folder / part) for part in ("records.fa", "out", "tmp")]
        done = subprocess.run(
            [program, "easy-cluster", *files, *options.split(), "--dbtype", kind],
            capture_output=True,
            text=True,
            check=False,
        )
        table = folder / "out_cluster.tsv"
        if done.returncode or not table.exists():
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            message = f"MMseqs2 failed: {last[0] if last else f'exit code {done.returncode}'}"
            raise RunFileError(message)
        pairs = pd.read_csv(table, sep="\t", names=["centre", "member"], dtype="int64")
    clusters = components(len(letters), pairs["centre"].to_numpy(), pairs["member"].to_numpy())
    return clusters, f"MMseqs2 {version}"

"""Find motifs in DNA with TF-MoDISco as implemented in modisco-lite.

Wraps modisco-lite: trims its seqlets and suppresses warnings that users cannot act on.
"""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from selfattn_bio.arrays import Integers, Scores
from selfattn_bio.errors import ArgumentError
from selfattn_bio.motifs.matching import one_hot
from selfattn_bio.motifs.patterns import CallerResult, SeqletPattern, align, check_scores
from selfattn_bio.sequence.alphabet import Alphabet, Ascii, Letters

# core and flanks of a seqlet in bp, for motifs of 6 to 12 bp; modisco-lite uses 21 and 10
CORE, FLANK = 11, 5
# padding around each record; modisco-lite drops seqlets whose flanks cross an end
EDGE = CORE + 2 * FLANK
# Fraction of windows that may start a seqlet, highest attribution first. The rule of modisco-lite
# would use the empty padding windows for its null distribution.
PASSING = 0.1
# modisco-lite requires 100, which a data set of a few hundred records does not reach
MIN_SEQLETS = 30
MIN_GROUP = 20  # seqlets in a subgroup; the minimum of modisco-lite for a group
# Seqlets compared per pair of groups. modisco-lite compares 1000, in more time and with the same
# result in our benchmark (docs/decisions.md).
COMPARED = 300
# Positions of a seqlet whose gapped k-mers are compared to find its neighbours, highest attribution
# first. modisco-lite uses 20, half of its longer seqlets.
COUNTED = 14
# With one run, TBP was lost in a group of 5,150 A+T-rich seqlets of the fly promoters.
LEIDEN_RUNS = 4
# The null distribution of modisco-lite requires windows above and below the most frequent sum.
# These are parts of the errors that numpy, scikit-learn (older and newer) and Python raise if one
# of the two is empty.
NO_NULL = (
    "for axis 0 with size 0",
    "Found array with 0 sample(s)",
    "Sample weights must contain at least one",
    "division by zero",
)


@dataclass(frozen=True)
class Modisco:
    """TF-MoDISco for DNA.

    Parameters
    ----------
    max_seqlets
        Largest number of seqlets to group; those with the highest attribution are kept.

    References
    ----------
    Shrikumar et al. 2018 (TF-MoDISco); Schreiber 2024 (modisco-lite, the implementation).
    """

    max_seqlets: int = 20_000

    def call(self, letters: Ascii, hypothetical: Scores, alphabet: Alphabet) -> CallerResult:
        """Call seqlets, group them, align each group and trim it to its informative part.

        Only seqlets that increase the score of label 1 are grouped, because evidence against label
        1 does not explain why a record is positive. Subgroups are returned as well as groups:
        modisco-lite clusters by modularity, which can leave a motif with a hundred sites inside a
        group of a thousand.

        Parameters
        ----------
        letters
            (n, L) ASCII, padded with 0.
        hypothetical
            (n, L, 4) score of each base at each position, in the order ACGT, 0 in padding.
        alphabet
            A DNA alphabet.

        Raises
        ------
        ArgumentError
            If the alphabet has no reverse complement, the shapes do not match, or a score is not
            finite.
        """
        if not alphabet.has_complement:
            raise ArgumentError(
                f"caller modisco needs sequences with a reverse complement, not {alphabet.name}; "
                "use caller clusters"
            )
        check_scores(letters, hypothetical, alphabet)
        around = ((0, 0), (EDGE, EDGE), (0, 0))
        scores = np.pad(hypothetical.astype(np.float32), around)
        coded = np.pad(one_hot(letters).astype(np.float32), around)
        seqlets, tracks = _positive_seqlets(coded, scores)
        if len(seqlets) < MIN_SEQLETS:
            return CallerResult([], len(seqlets), MIN_SEQLETS)
        grouped = _grouped(seqlets[: self.max_seqlets], tracks)
        records = [row[: np.count_nonzero(row)] for row in letters]
        patterns = [_pattern(group, records) for group in sorted(grouped, key=len, reverse=True)]
        return CallerResult([pattern for pattern in patterns if pattern is not None], len(seqlets))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings of modisco-lite about nearly empty groups and AUROC of a single class."""
    from sklearn.exceptions import UndefinedMetricWarning  # imported here: it takes a second

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=RuntimeWarning, module="modiscolite")
        warnings.filterwarnings("ignore", category=UndefinedMetricWarning, module="sklearn")
        yield


@_quiet()
def _positive_seqlets(coded: Scores, scores: Scores) -> tuple[list, Any]:
    """Call the seqlets that increase the score of label 1, like modisco-lite's `TFMoDISco`.

    Calling `TFMoDISco` directly would also group negative seqlets. This takes twice the time, and
    clustering fails if there are only a few of them.

    Returns
    -------
    The seqlets, best first, and the tracks they were extracted from. There are no seqlets if the
    attributions are constant or all have the same sign.
    """
    from modiscolite.core import TrackSet
    from modiscolite.extract_seqlets import extract_seqlets

    tracks = TrackSet(one_hot=coded, contrib_scores=coded * scores, hypothetical_contribs=scores)
    try:
        intervals, threshold = extract_seqlets(
            (coded * scores).sum(axis=2),
            window_size=CORE,
            flank=FLANK,
            suppress=CORE // 2 + FLANK,
            target_fdr=0.2,
            min_passing_windows_frac=PASSING,
            max_passing_windows_frac=PASSING,
            weak_threshold_for_counting_sign=0.8,
        )
    except (IndexError, ValueError, ZeroDivisionError) as error:
        if not any(known in str(error) for known in NO_NULL):
            raise
        return [], tracks
    found = tracks.create_seqlets(intervals)
    seqlets = [s for s in found if s.contrib_scores[FLANK:-FLANK].sum() > threshold]
    return sorted(seqlets, key=lambda s: -float(abs(s.contrib_scores).sum())), tracks


@_quiet()
def _grouped(seqlets: list, tracks: Any) -> list[list]:
    """Return the seqlets of each group, and of each subgroup with at least MIN_GROUP of them."""
    from modiscolite.tfmodisco import seqlets_to_patterns

    _keep_compiled()
    with _faster_steps():
        found = seqlets_to_patterns(
            seqlets,
            tracks,
            track_signs=1,
            merging_max_seqlets_subsample=COMPARED,
            trim_to_window_size=20,
            initial_flank_to_add=FLANK,
        )
    groups = [pattern.seqlets for pattern in found or []]
    for pattern in found or []:
        subgroups = [subpattern.seqlets for subpattern in pattern.subcluster_to_subpattern.values()]
        groups += [
            seqlets for seqlets in subgroups if MIN_GROUP <= len(seqlets) < len(pattern.seqlets)
        ]
    return groups


@contextlib.contextmanager
def _faster_steps() -> Iterator[None]:
    """Let modisco-lite find communities with igraph, and neighbours by fewer gapped k-mers.

    igraph and leidenalg both implement the Leiden algorithm. leidenalg took 70 % of the time of a
    search. modisco-lite has no options for these steps.
    """
    from modiscolite import affinitymat, cluster

    leiden, neighbours = cluster.LeidenCluster, affinitymat.cosine_similarity_from_seqlets
    cluster.LeidenCluster = _communities
    affinitymat.cosine_similarity_from_seqlets = partial(neighbours, topn=COUNTED)
    try:
        yield
    finally:
        cluster.LeidenCluster, affinitymat.cosine_similarity_from_seqlets = leiden, neighbours


def _communities(affinity: sparse.csr_matrix, **ignored: int) -> Integers:
    """Return the community of each seqlet, (n,), found by the Leiden algorithm.

    Of `LEIDEN_RUNS` first iterations, the one of the highest modularity continues until no seqlet
    changes its community. Takes symmetric affinities (n, n). Settings of leidenalg are ignored.
    """
    import igraph  # imported here because it takes a moment

    above, alone = sparse.coo_array(sparse.triu(affinity, 1)), np.arange(affinity.shape[0])
    # each pair is stored twice in the matrix, each loop once
    weights = np.concatenate([2 * above.data, affinity.diagonal()])
    if not weights.any():
        return alone
    # igraph would turn an array of edges into nested lists; the edges share the integers of `alone`
    number = alone.astype(object)
    ends = (number[np.concatenate([each, alone])] for each in (above.row, above.col))
    graph = igraph.Graph(len(alone), zip(*ends, strict=True))
    leiden = partial(graph.community_leiden, "modularity", weights=weights)
    igraph.set_random_number_generator(random.Random(0))
    try:
        begun = [leiden(n_iterations=1) for _ in range(LEIDEN_RUNS)]
        best = max(begun, key=lambda run: run.quality)
        return np.array(leiden(initial_membership=best.membership, n_iterations=-1).membership)
    finally:
        igraph.set_random_number_generator(random)


def _keep_compiled() -> None:
    """Cache the numba functions of modisco-lite on disk, as its command line does.

    Without the cache each process compiles for 15 s.
    """
    from modiscolite import affinitymat, aggregator, gapped_kmer, util
    from numba.core.dispatcher import Dispatcher

    for module in (affinitymat, aggregator, gapped_kmer, util):
        for function in vars(module).values():
            if isinstance(function, Dispatcher):
                # no writable cache folder: compile in every process
                with contextlib.suppress(RuntimeError):
                    function.enable_caching()


def _pattern(seqlets: list, records: Letters) -> SeqletPattern | None:
    """Align and trim seqlets of modisco-lite; None if the informative part is too short."""
    intervals = pd.DataFrame(
        {
            "record": [s.example_idx for s in seqlets],
            "start": [s.start - EDGE for s in seqlets],
            "end": [s.end - EDGE for s in seqlets],
            "strand": ["-" if s.is_revcomp else "+" for s in seqlets],
        }
    )
    return align(intervals, records)

"""The caller `modisco`: seqlets and the patterns they repeat by TF-MoDISco, as modisco-lite computes it. DNA only.

Hides: modisco-lite, how its seqlets are trimmed, and its noise.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import UndefinedMetricWarning

from selfattn_bio.interpret.hits import one_hot
from selfattn_bio.interpret.patterns import Discovery, Pattern, align, check_scores
from selfattn_bio.sequence.alphabet import Alphabet

CORE, FLANK = 11, 5  # letters of a seqlet, and on each side of it, for motifs of 6 to 12; modisco-lite has 21 and 10
EDGE = CORE + 2 * FLANK  # empty positions put around each record: modisco-lite calls no seqlet whose flanks run over an end
# Share of all windows that may begin a seqlet, the most relevant ones; modisco-lite's own rule takes the empty windows for its null.
PASSING = 0.1
MIN_SEQLETS = 30  # modisco-lite asks for 100, which a task of a few hundred records does not have
MIN_GROUP = 20  # seqlets of a subgroup, as modisco-lite asks of a group
LEIDEN_RUNS = 2  # its own 50 are most of its time
# modisco-lite's null distribution wants windows on both sides of the most frequent sum. What numpy, scikit-learn (older and newer) and
# Python say where there are none on one:
NO_NULL = ("for axis 0 with size 0", "Found array with 0 sample(s)", "Sample weights must contain at least one", "division by zero")


@dataclass(frozen=True)
class Modisco:
    """TF-MoDISco.

    Parameters
    ----------
    max_seqlets
        To group; those of highest relevance.

    References
    ----------
    Shrikumar et al. 2018 (TF-MoDISco); Schreiber 2024 (modisco-lite), which computes it.
    """

    max_seqlets: int = 20_000

    def call(self, letters: NDArray[np.uint8], hypothetical: NDArray[np.float32], alphabet: Alphabet) -> Discovery:
        """Call seqlets, group them, align each group and trim it to its informative part.

        Only seqlets that speak for label 1 are grouped: in positives, what speaks against them is not what makes them so. Groups come with
        their subgroups: modularity, by which modisco-lite clusters, leaves a motif of a hundred sites inside a group of a thousand.

        Parameters
        ----------
        letters
            (n, L) ASCII, padded with 0.
        hypothetical
            (n, L, 4) score of each letter at each position, order ACGT, 0 in padding.
        alphabet
            DNA.

        Raises
        ------
        ValueError
            If the alphabet has no reverse complement, the shapes do not belong together, or a score is not finite.
        """
        if not alphabet.has_complement:
            raise ValueError(f"caller must be clusters for sequences without a reverse complement ({alphabet.name}), got modisco")
        check_scores(letters, hypothetical, alphabet)
        around = ((0, 0), (EDGE, EDGE), (0, 0))
        scores = np.pad(hypothetical.astype(np.float32), around)
        coded = np.pad(one_hot(letters).astype(np.float32), around)
        seqlets, tracks = _positive_seqlets(coded, scores)
        if len(seqlets) < MIN_SEQLETS:
            return Discovery([], len(seqlets), f"{len(seqlets)} seqlets stand out, and {MIN_SEQLETS} are needed to group them")
        grouped = _grouped(seqlets[: self.max_seqlets], tracks)
        records = [row[: np.count_nonzero(row)] for row in letters]
        patterns = [_pattern(group, records) for group in sorted(grouped, key=len, reverse=True)]
        kept = [pattern for pattern in patterns if pattern is not None]
        return Discovery(kept, len(seqlets), "" if kept else f"no group of the {len(seqlets)} seqlets is large and alike enough")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence modisco-lite: its numerics on nearly empty groups warn, and its AUROC of one class; nothing a user can act on."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=RuntimeWarning, module="modiscolite")
        warnings.filterwarnings("ignore", category=UndefinedMetricWarning, module="sklearn")
        yield


@_quiet()
def _positive_seqlets(coded: NDArray[np.float32], scores: NDArray[np.float32]) -> tuple[list, Any]:
    """The seqlets that speak for label 1, as `modiscolite.tfmodisco.TFMoDISco` calls them, best first, and the tracks they are cut from.

    None where relevance is everywhere the same or of one sign.

    TFMoDISco itself would also group the negative ones: twice the time, and its clustering fails on a few of them.
    """
    from modiscolite.core import TrackSet
    from modiscolite.extract_seqlets import extract_seqlets

    tracks = TrackSet(one_hot=coded, contrib_scores=coded * scores, hypothetical_contribs=scores)
    try:
        places, threshold = extract_seqlets(
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
    seqlets = [s for s in tracks.create_seqlets(places) if s.contrib_scores[FLANK:-FLANK].sum() > threshold]
    return sorted(seqlets, key=lambda s: -float(abs(s.contrib_scores).sum())), tracks


@_quiet()
def _grouped(seqlets: list, tracks: Any) -> list[list]:
    """The seqlets of each group, and of its subgroups of at least MIN_GROUP."""
    from modiscolite.tfmodisco import seqlets_to_patterns

    _keep_compiled()
    try:
        found = seqlets_to_patterns(
            seqlets, tracks, track_signs=1, n_leiden_runs=LEIDEN_RUNS, trim_to_window_size=20, initial_flank_to_add=FLANK
        )
    except BaseException as error:
        if type(error) is not BaseException:  # leidenalg raises the bare class when a graph has no edges to weigh
            raise
        return []
    groups = [pattern.seqlets for pattern in found or []]
    for pattern in found or []:
        subgroups = [subpattern.seqlets for subpattern in pattern.subcluster_to_subpattern.values()]
        groups += [seqlets for seqlets in subgroups if MIN_GROUP <= len(seqlets) < len(pattern.seqlets)]
    return groups


def _keep_compiled() -> None:
    """Let numba keep modisco-lite's functions on disk, as its own command line does: else each process compiles for 15 s."""
    from modiscolite import affinitymat, aggregator, gapped_kmer, util
    from numba.core.dispatcher import Dispatcher

    for module in (affinitymat, aggregator, gapped_kmer, util):
        for function in vars(module).values():
            if isinstance(function, Dispatcher):
                with contextlib.suppress(RuntimeError):  # no folder to keep it in: it is compiled each time
                    function.enable_caching()


def _pattern(seqlets: list, records: Sequence[NDArray[np.uint8]]) -> Pattern | None:
    """modisco-lite's seqlets, aligned and trimmed; None where too little of them is informative."""
    places = pd.DataFrame(
        {
            "record": [s.example_idx for s in seqlets],
            "start": [s.start - EDGE for s in seqlets],
            "end": [s.end - EDGE for s in seqlets],
            "strand": ["-" if s.is_revcomp else "+" for s in seqlets],
        }
    )
    return align(places, records)

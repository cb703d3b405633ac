"""From relevance to seqlets and the patterns they repeat: TF-MoDISco, by modisco-lite.

Hides: modisco-lite, how its seqlets are trimmed, and its noise. `motifs` calls `find_patterns`. DNA only.
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

MIN_INFORMATION = 0.25  # bits: what a pattern's outer positions must have to stay
MAX_GAP = 4  # positions of less information in a row: beyond, what follows is not the same motif
MIN_WIDTH = 6  # letters: fewer are no hit at any p that tells them from chance
MIN_TOTAL = 6.0  # bits: a motif of less is hit by chance once in 64 letters, which is not worth a hit
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
class Pattern:
    """What a group of seqlets has in common.

    Attributes
    ----------
    pfm
        (width, 4) counts of ACGT in the seqlets, aligned.
    seqlets
        record (row), start, end (letters, 0-based half-open), strand; one row a seqlet, each `width` long.
    """

    pfm: NDArray[np.int64]
    seqlets: pd.DataFrame

    @property
    def num_sites(self) -> int:
        """Seqlets that were counted."""
        return len(self.seqlets)

    @property
    def ppm(self) -> NDArray[np.float64]:
        """(width, 4) probabilities, rows summing to 1; even where nothing was counted."""
        total = self.pfm.sum(axis=1, keepdims=True)
        return np.where(total > 0, self.pfm / np.maximum(total, 1), 0.25)


@dataclass(frozen=True)
class Discovery:
    """The patterns found, most seqlets first, some of them parts of others, and in `note` why there are none (else empty)."""

    patterns: list[Pattern]
    num_seqlets: int
    note: str = ""


def find_patterns(letters: NDArray[np.uint8], hypothetical: NDArray[np.float32], *, max_seqlets: int) -> Discovery:
    """Call seqlets, group them, align each group and trim it to its informative part.

    Only seqlets that speak for label 1 are grouped: in positives, what speaks against them is not what makes them so. Groups come with
    their subgroups: modularity, by which modisco-lite clusters, leaves a motif of a hundred sites inside a group of a thousand.

    Parameters
    ----------
    letters
        (n, L) ASCII, padded with 0.
    hypothetical
        (n, L, 4) score of each letter at each position, order ACGT, 0 in padding.
    max_seqlets
        To group; those of highest relevance.

    Raises
    ------
    ValueError
        If the shapes do not belong together, or a score is not finite.

    References
    ----------
    Shrikumar et al. 2018 (TF-MoDISco); Schreiber 2024 (modisco-lite), which computes it.
    """
    if hypothetical.shape != (*letters.shape, 4):
        raise ValueError(f"hypothetical must be of shape {(*letters.shape, 4)}, got {hypothetical.shape}")
    if not np.isfinite(hypothetical).all():
        raise ValueError(f"hypothetical must be finite, got {hypothetical[~np.isfinite(hypothetical)][0]}")
    around = ((0, 0), (EDGE, EDGE), (0, 0))
    scores = np.pad(hypothetical.astype(np.float32), around)
    coded = np.pad(one_hot(letters).astype(np.float32), around)
    seqlets, tracks = _positive_seqlets(coded, scores)
    if len(seqlets) < MIN_SEQLETS:
        return Discovery([], len(seqlets), f"{len(seqlets)} seqlets stand out, and {MIN_SEQLETS} are needed to group them")
    grouped = _grouped(seqlets[:max_seqlets], tracks)
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


def align(places: pd.DataFrame, records: Sequence[NDArray[np.uint8]]) -> Pattern | None:
    """Places of one width as a pattern trimmed to its informative part; None where that is too little.

    Parameters
    ----------
    places
        record, start, end, strand; one row at least. A place may run over the ends of its record: what is not there is not counted,
        and a place whose part in the trimmed pattern is not whole is left out.
    records
        ASCII letters, one array a record.
    """
    bits = information(count_letters(places, records))
    start, end = informative_span(bits)
    if end - start < MIN_WIDTH or bits[start:end].sum() < MIN_TOTAL:
        return None
    sites = _trimmed(places, start, end)
    lengths = np.array([len(row) for row in records])[sites["record"].to_numpy(dtype=int)]
    sites = sites[(sites["start"] >= 0) & (sites["end"] <= lengths)].reset_index(drop=True)
    return Pattern(count_letters(sites, records), sites) if len(sites) else None


def count_letters(places: pd.DataFrame, records: Sequence[NDArray[np.uint8]]) -> NDArray[np.int64]:
    """How often each letter ACGT stands at each position of the places, read on their strands: (width, 4); over an end, none does."""
    width = int((places["end"] - places["start"]).iloc[0]) if len(places) else 0
    sites = np.zeros((len(places), width), dtype=np.uint8)
    for site, record, start in zip(sites, places["record"], places["start"], strict=True):
        there = records[record][max(start, 0) : max(start + width, 0)]
        site[max(-start, 0) :][: len(there)] = there
    coded = one_hot(sites).astype(np.int64)  # (sites, width, 4)
    turned = (places["strand"] == "-").to_numpy()
    coded[turned] = coded[turned][:, ::-1, ::-1]  # ACGT backwards is its complement
    return coded.sum(axis=0)


def informative_span(bits: NDArray[np.float64]) -> tuple[int, int]:
    """Where the motif is in an aligned pattern: (width,) bits -> start, end; (0, 0) if nowhere.

    Of the stretches that begin and end with a position of MIN_INFORMATION and have no gap longer than MAX_GAP, the most informative.
    """
    informative = np.flatnonzero(bits >= MIN_INFORMATION)
    if not len(informative):
        return 0, 0
    stretches = np.split(informative, np.flatnonzero(np.diff(informative) > MAX_GAP + 1) + 1)
    best = max(stretches, key=lambda stretch: bits[stretch[0] : stretch[-1] + 1].sum())
    return int(best[0]), int(best[-1]) + 1


def information(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Information content of each position in bits, (width, 4) -> (width,).

    2 less the entropy, less 3 / (2 n ln 2): what n letters drawn evenly would show by chance. Never negative. Source: Schneider 1986.
    """
    total = counts.sum(axis=1)
    p = counts / np.maximum(total, 1)[:, None]
    entropy = -(p * np.log2(np.where(p > 0, p, 1))).sum(axis=1)
    return np.where(total > 0, np.maximum(2 - entropy - 3 / (2 * np.log(2) * np.maximum(total, 1)), 0), 0.0)


def _trimmed(places: pd.DataFrame, start: int, end: int) -> pd.DataFrame:
    """The places' part [start, end) as read on their strands."""
    forward = places["strand"] == "+"
    return places.assign(
        start=np.where(forward, places["start"] + start, places["end"] - end),
        end=np.where(forward, places["start"] + end, places["end"] - start),
    )

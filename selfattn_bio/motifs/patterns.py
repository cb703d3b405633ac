"""Build patterns from aligned seqlets, and write them for modisco and finemo.

A seqlet is a short interval with high attribution. A pattern is an alignment of similar seqlets.

TF-MoDISco aligns a subset of short windows by their attributions. Its patterns are accurate in the
middle and blurred or truncated at the ends. Therefore `refine_patterns` searches for each pattern
in the explained sequences, aligns its hits with high attribution with flanks, and counts and trims
the motif on them. This is not circular, because evidence is tested on other records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.arrays import Floats, Integers, Scores
from selfattn_bio.files import whole_file, whole_folder
from selfattn_bio.motifs.matching import HIT_P, find_hits, one_hot, relevant_hits
from selfattn_bio.sequence.alphabet import DNA, Alphabet, Ascii, Letters
from selfattn_bio.sequence.intervals import disjoint

# bits required at the first and last position of a pattern, by alphabet size
MIN_INFORMATION = {4: 0.25, 20: 1.0}
# longest run of positions with less information, by alphabet size; a longer run separates two
# motifs. The anchors of zinc fingers are up to 12 residues apart.
MAX_GAP = {4: 4, 20: 15}
# minimum width by alphabet size; shorter motifs cannot reach a significant p-value
MIN_WIDTH = {4: 6, 20: 3}
MIN_TOTAL = 6.0  # bits; a motif with 6 bits has a hit by chance every 2^6 = 64 positions
INITIATORS = 0.9  # fraction of proteins with the initiator M, if their starts are complete
MARGIN = 6  # positions on each side of a hit that may turn out to belong to the motif
MIN_SITES = 20  # relevant hits that are needed to rebuild a pattern
SHARED = 0.5  # fraction of sites; a pattern that shares more with a larger one is the same motif


@dataclass(frozen=True)
class SeqletPattern:
    """An alignment of similar seqlets.

    Attributes
    ----------
    pfm
        Position frequency matrix, (width, A): counts of each letter at each position.
    seqlets
        One row per seqlet, each `width` long: record (index of the record), start, end (0-based
        half-open), strand (always + for alphabets without a complement).
    alphabet
        Alphabet of the A columns of `pfm`.
    """

    pfm: Integers
    seqlets: pd.DataFrame
    alphabet: Alphabet = field(default=DNA, kw_only=True)

    @property
    def num_sites(self) -> int:
        """Return the number of seqlets."""
        return len(self.seqlets)

    @property
    def ppm(self) -> Floats:
        """Return the probability of each letter, (width, A); uniform where counts are 0."""
        total = self.pfm.sum(axis=1, keepdims=True)
        return np.where(total > 0, self.pfm / np.maximum(total, 1), 1 / self.pfm.shape[1])


@dataclass(frozen=True)
class CallerResult:
    """Result of a caller (`motifs.callers`).

    Attributes
    ----------
    patterns
        Patterns, most seqlets first. A pattern may be a part of another one.
    num_seqlets
        Number of seqlets that the caller found, also those in no pattern.
    least
        Number of seqlets that the caller needs.
    """

    patterns: list[SeqletPattern]
    num_seqlets: int
    least: int = 0

    @property
    def note(self) -> str:
        """Return why there are no patterns; empty if there are some."""
        if self.patterns:
            return ""
        if self.num_seqlets < self.least:
            return f"grouping needs at least {self.least} seqlets"
        if not self.num_seqlets:
            return "no stretch of positions has a high attribution"
        return "no group of seqlets is large and similar enough"


def check_scores(letters: Ascii, hypothetical: Scores, alphabet: Alphabet) -> None:
    """Check that hypothetical scores are finite and have shape (n, L, A) for letters (n, L).

    Raises
    ------
    ValueError
        If they are not.
    """
    shape = (*letters.shape, len(alphabet.letters))
    if hypothetical.shape != shape:
        raise ValueError(f"hypothetical has shape {hypothetical.shape} instead of {shape}")
    if not np.isfinite(hypothetical).all():
        raise ValueError(f"hypothetical contains {hypothetical[~np.isfinite(hypothetical)][0]}")


def align(
    intervals: pd.DataFrame, records: Letters, alphabet: Alphabet = DNA
) -> SeqletPattern | None:
    """Build a pattern from intervals of one width and trim it to its informative part.

    Parameters
    ----------
    intervals
        Aligned intervals, at least one: record, start, end, strand. An interval may extend beyond
        its record. Positions outside are not counted, and intervals that still extend beyond their
        record after trimming are left out. Positions that fewer than half of the intervals have are
        no part of the pattern: at the start of records, the few others may be relatives. The
        initiator methionine, which all proteins have, is no part of the pattern either.
    records
        ASCII letters, one array per record.
    alphabet
        Alphabet of the records.

    Returns
    -------
    The pattern, or None if the informative part is shorter than `MIN_WIDTH` or has less than
    `MIN_TOTAL` bits, or no interval remains.
    """
    background = None
    if not alphabet.is_nucleic:
        letters = one_hot(np.concatenate(records), alphabet).sum(axis=0) + 1
        background = letters / letters.sum()
    counts = count_letters(intervals, records, alphabet)
    bits = information(counts, background) * (counts.sum(axis=1) >= len(intervals) / 2)
    if not alphabet.is_nucleic:
        bits[_initiators(intervals, records)] = 0
    start, end = informative_span(bits, len(alphabet.letters))
    if end - start < MIN_WIDTH[len(alphabet.letters)] or bits[start:end].sum() < MIN_TOTAL:
        return None
    sites = _trimmed(intervals, start, end)
    lengths = np.array([len(row) for row in records])[sites["record"].to_numpy(dtype=int)]
    sites = sites[(sites["start"] >= 0) & (sites["end"] <= lengths)].reset_index(drop=True)
    if sites.empty:
        return None
    return SeqletPattern(count_letters(sites, records, alphabet), sites, alphabet=alphabet)


def _initiators(intervals: pd.DataFrame, records: Letters) -> NDArray[np.bool_]:
    """Return the positions of intervals, (width,), that are the M which begins nearly all records.

    These are the first residue of the record in at least half of the intervals.
    """
    width = int((intervals["end"] - intervals["start"]).iloc[0])
    firsts = -intervals["start"].to_numpy(dtype=int)
    are_first = np.bincount(firsts[(firsts >= 0) & (firsts < width)], minlength=width)
    have_initiator = np.mean([row[:1].tobytes() == b"M" for row in records]) >= INITIATORS
    return (are_first >= len(intervals) / 2) & have_initiator


def count_letters(intervals: pd.DataFrame, records: Letters, alphabet: Alphabet = DNA) -> Integers:
    """Count each letter at each position of intervals of one width: (width, A).

    Intervals on - are reverse-complemented. Positions outside the record and ambiguous letters are
    not counted.
    """
    width = int((intervals["end"] - intervals["start"]).iloc[0]) if len(intervals) else 0
    sites = np.zeros((len(intervals), width), dtype=np.uint8)
    for site, record, start in zip(sites, intervals["record"], intervals["start"], strict=True):
        inside = records[record][max(start, 0) : max(start + width, 0)]
        site[max(-start, 0) :][: len(inside)] = inside
    coded = one_hot(sites, alphabet).astype(np.int64)  # (sites, width, A)
    is_reversed = (intervals["strand"] == "-").to_numpy()
    coded[is_reversed] = coded[is_reversed][:, ::-1, ::-1]  # ACGT reversed is its complement
    return coded.sum(axis=0)


def informative_span(bits: Floats, size: int = 4) -> tuple[int, int]:
    """Find the informative part of a pattern from the bits at each position, (width,).

    A candidate starts and ends with a position of at least `MIN_INFORMATION` bits, and has at most
    `MAX_GAP` positions with less in a row. Both depend on the `size` of the alphabet. The candidate
    with the most bits is chosen.

    Returns
    -------
    Start and end, 0-based half-open; (0, 0) if no position has enough bits.
    """
    informative = np.flatnonzero(bits >= MIN_INFORMATION[size])
    if not len(informative):
        return 0, 0
    stretches = np.split(informative, np.flatnonzero(np.diff(informative) > MAX_GAP[size] + 1) + 1)
    best = max(stretches, key=lambda stretch: bits[stretch[0] : stretch[-1] + 1].sum())
    return int(best[0]), int(best[-1]) + 1


def information(counts: Integers, background: Floats | None = None) -> Floats:
    """Return the information content of each position in bits, from counts (width, A) to (width,).

    It is log2(A) minus the entropy, corrected for small samples: (A - 1) / (2 n ln 2), the value
    expected for n uniformly sampled letters, is subtracted. Negative results become 0. With a
    background, (A,) probabilities, it is the relative entropy, so that a position with the
    composition of the records has none.

    References
    ----------
    Schneider et al. 1986, Information content of binding sites on nucleotide sequences.
    """
    total, size = counts.sum(axis=1), counts.shape[1]
    p = counts / np.maximum(total, 1)[:, None]
    entropy = -(p * np.log2(np.where(p > 0, p, 1))).sum(axis=1)
    chance = (size - 1) / (2 * np.log(2) * np.maximum(total, 1))
    most = np.log2(size) if background is None else -(p @ np.log2(background))
    return np.where(total > 0, np.maximum(most - entropy - chance, 0), 0.0)


def _trimmed(intervals: pd.DataFrame, start: int, end: int) -> pd.DataFrame:
    """Trim intervals to their positions [start, end), counted along the strand of each interval."""
    forward = intervals["strand"] == "+"
    return intervals.assign(
        start=np.where(forward, intervals["start"] + start, intervals["end"] - end),
        end=np.where(forward, intervals["start"] + end, intervals["end"] - start),
    )


def refine_patterns(
    patterns: Sequence[SeqletPattern], sequences: Letters, attribution: Sequence[Scores]
) -> list[SeqletPattern]:
    """Rebuild each pattern from its relevant hits and remove duplicates.

    Parameters
    ----------
    patterns
        Patterns of a caller (`patterns.CallerResult`).
    sequences
        ASCII letters of the explained records, one array per record.
    attribution
        Attribution of each letter, one array per record.

    Returns
    -------
    Patterns, most sites first. A pattern is unchanged if it has fewer than MIN_SITES relevant hits
    or these have too little information.
    """
    names = {f"pattern_{number}": pattern for number, pattern in enumerate(patterns)}
    ppms = {name: pattern.ppm for name, pattern in names.items()}
    alphabet = patterns[0].alphabet if patterns else DNA
    num_sites = {name: pattern.num_sites for name, pattern in names.items()}
    hits = find_hits(ppms, num_sites, sequences, HIT_P, alphabet)
    hits = relevant_hits(hits, dict(enumerate(attribution)))
    if not alphabet.has_complement:
        # matches at several shifts would blur the motif
        hits = one_per_site(hits)
    hits = hits.assign(start=hits["start"] - MARGIN, end=hits["end"] + MARGIN)
    longest = max(map(len, sequences), default=0)
    refined = []
    for name, pattern in names.items():
        wide = hits.loc[hits["name"] == name, ["record", "start", "end", "strand"]]
        again = align(wide, sequences, alphabet) if len(wide) >= MIN_SITES else None
        refined.append(again or pattern)
    refined.sort(key=lambda pattern: -pattern.num_sites)
    return _distinct(refined, len(sequences), longest)


def one_per_site(hits: pd.DataFrame) -> pd.DataFrame:
    """Keep the best of overlapping hits of a motif, on either strand: one hit per site.

    Runs such as KKKK and repeats such as UAUAUA match a motif at several shifts. `hits` has the
    columns of `find_hits`.
    """
    best_first = hits.sort_values("p_value", kind="stable")
    of_records = best_first.groupby(["name", "record"]).ngroup()
    kept = disjoint(of_records, best_first["start"], best_first["end"])
    return best_first.iloc[kept].sort_index().reset_index(drop=True)


def _distinct(patterns: list[SeqletPattern], num_records: int, length: int) -> list[SeqletPattern]:
    """Drop copies of earlier patterns.

    More than SHARED of their sites have the centre in sites of earlier patterns, or have less than
    MIN_TOTAL bits outside the sites of a shorter earlier pattern: a motif with a weak flank, or
    with part of a second copy.
    """
    owner = np.zeros((num_records, length), np.uint16)  # number of the kept pattern, from 1
    kept: list[SeqletPattern] = []
    for pattern in patterns:
        record, start = pattern.seqlets[["record", "start"]].to_numpy(dtype=int).T[:, :, None]
        sites = record, start + np.arange(len(pattern.pfm))
        owners, bits = owner[sites], information(pattern.pfm)
        is_reversed = (pattern.seqlets["strand"] == "-").to_numpy()
        bits = np.where(is_reversed[:, None], bits[::-1], bits)
        shares = [(owners[:, len(pattern.pfm) // 2] > 0).mean()]
        for number, other in enumerate(kept, start=1):
            if len(other.pfm) < len(pattern.pfm):
                outside = (bits * (owners != number)).sum(axis=1)
                shares.append((outside < MIN_TOTAL).mean())
        if max(shares) <= SHARED:
            kept.append(pattern)
            owner[sites] = np.where(owners > 0, owners, len(kept))
    return kept


# Layout of `modiscolite.io.save_hdf5` (modisco-lite 3.0), without subpatterns and without patterns
# of negative attributions
GROUP = "pos_patterns"
# datasets of a pattern (mean over its seqlets) and of its seqlets: one-hot sequence, score of each
# base in the sequence, score of every base
ARRAYS = ("sequence", "contrib_scores", "hypothetical_contribs")
SEQLET_COLUMNS = ("example_idx", "start", "end", "is_revcomp")


def write_modisco_h5(
    path: str | Path, patterns: Sequence[SeqletPattern], letters: Ascii, hypothetical: Scores
) -> None:
    """Write patterns as `modisco motifs` does, for `modisco report` and `finemo call-hits`.

    All patterns are written with the width of the widest one, as finemo requires. Narrower patterns
    are extended with the bases next to their sites. Positions outside a record are 0, so the start
    of a seqlet may be negative.

    Parameters
    ----------
    path
        The h5 file to write.
    patterns
        DNA patterns. The record of each of their seqlets is a row of `letters`.
    letters
        (n, L) ASCII, padded with 0.
    hypothetical
        (n, L, 4) score of each base at each position.

    Raises
    ------
    ValueError
        If `hypothetical` has another shape or a value that is not finite.
    """
    check_scores(letters, hypothetical, DNA)
    widest = max((len(pattern.pfm) for pattern in patterns), default=0)
    # space for patterns that reach beyond the ends of a record
    margins = ((0, 0), (widest, widest), (0, 0))
    coded, scores = np.pad(one_hot(letters), margins), np.pad(hypothetical, margins)
    with whole_file(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["window_size"] = letters.shape[1]
        group = file.create_group(GROUP)
        for number, pattern in enumerate(patterns):
            _write_pattern(group.create_group(f"pattern_{number}"), pattern, coded, scores, widest)


def _write_pattern(
    group: h5py.Group,
    pattern: SeqletPattern,
    coded: NDArray[np.int8],
    hypothetical: Scores,
    widest: int,
) -> None:
    """Write one pattern.

    `coded` (n, L + 2 widest, 4) is one-hot. Like `hypothetical`, of the same shape, it is padded by
    `widest` positions at both ends.
    """
    record, start = pattern.seqlets[["record", "start"]].to_numpy(dtype=np.int64).T
    is_reversed = (pattern.seqlets["strand"] == "-").to_numpy()
    # Extend on both sides. An odd position comes after the site in reading direction, which is to
    # its left on the minus strand.
    extra = widest - len(pattern.pfm)
    start = start - np.where(is_reversed, extra - extra // 2, extra // 2)
    columns = start[:, None] + widest + np.arange(widest)
    sequence = coded[record[:, None], columns].astype(np.float32)  # (seqlets, widest, 4)
    scores = hypothetical[record[:, None], columns].astype(np.float32)
    # reversing the columns A, C, G, T gives the complement
    sequence[is_reversed] = sequence[is_reversed][:, ::-1, ::-1]
    scores[is_reversed] = scores[is_reversed][:, ::-1, ::-1]
    seqlets = group.create_group("seqlets")
    seqlets.create_dataset("n_seqlets", data=np.array([len(record)]))
    for name, values in zip(
        SEQLET_COLUMNS, (record, start, start + widest, is_reversed), strict=True
    ):
        seqlets.create_dataset(name, data=values)
    for name, each in zip(ARRAYS, (sequence, sequence * scores, scores), strict=True):
        seqlets.create_dataset(name, data=each)
        group.create_dataset(name, data=each.mean(axis=0))


def write_npz(folder: str | Path, letters: Ascii, hypothetical: Scores) -> None:
    """Write sequences and scores as npz files for modisco and finemo.

    `modisco motifs` and `finemo extract-regions-modisco-fmt` read ohe.npz and attributions.npz,
    (n, 4, L) each. `finemo call-hits` reads regions.npz, which contains both. Positions beyond the
    end of a record are 0. By default both programs use only the middle of the records; call them
    with the width L to use all positions.

    Parameters
    ----------
    folder
        Folder to write. An existing folder is replaced.
    letters
        (n, L) ASCII, padded with 0.
    hypothetical
        (n, L, 4) score of each base at each position.

    Raises
    ------
    ValueError
        If `hypothetical` has another shape or a value that is not finite.
    """
    check_scores(letters, hypothetical, DNA)
    coded, scores = one_hot(letters).transpose(0, 2, 1), hypothetical.transpose(0, 2, 1)
    with whole_folder(folder) as temporary:
        np.savez_compressed(temporary / "ohe.npz", coded)
        np.savez_compressed(temporary / "attributions.npz", scores)
        np.savez_compressed(
            temporary / "regions.npz", sequences=coded, contributions=scores.astype(np.float16)
        )

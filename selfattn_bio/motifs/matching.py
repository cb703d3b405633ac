"""Match motifs with sequences (FIMO), with a database (Tomtom) and with each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from selfattn_bio.arrays import Floats, Integers, Scores
from selfattn_bio.log import LOG
from selfattn_bio.motifs.families import MATCH_Q, families_of, first_differs
from selfattn_bio.motifs.residues import background
from selfattn_bio.motifs.tomtom import compare
from selfattn_bio.sequence.alphabet import DNA, Alphabet, Ascii, Letters
from selfattn_bio.sequence.kmers import pad_letters

NUM_SITES = 100  # default for files without site counts; makes the pseudocount 1/100
HIT_P = 2.5e-4  # a perfect match of 6 bp is a hit
TYPICAL = 300  # letters of a record in which hits with HIT_P are rare enough to mean something
CHANCE = HIT_P / 10  # limit of `relevant_hits`: p-value times fraction of windows ranked as high
MAX_SEARCHED = 1000  # records sampled by `used_hits`, because their attributions take long
COLUMNS = ["name", "record", "start", "end", "strand", "p_value"]
# spread over the letters of each row, so that unseen letters are rare, not impossible
PSEUDO_SITES = 1.0
STEPS = 32  # scores are multiples of 1 / STEPS bit, so that their p-values can be computed exactly
WINDOWS, TOGETHER = 8192, 64  # scored in one product: windows, and motifs of similar width


def one_hot(letters: Ascii, alphabet: Alphabet = DNA) -> NDArray[np.int8]:
    """One-hot encode ASCII (B, L) as (B, L, A), in alphabet order.

    Padding and ambiguous letters are all 0.
    """
    codes = np.arange(len(alphabet.letters), dtype=np.uint8)
    return (alphabet.codes(letters)[..., None] == codes).astype(np.int8)


def default_hit_p(lengths: Sequence[int]) -> float:
    """Return the p-value threshold of hits for records of these lengths.

    It is HIT_P, and less if the median length is above TYPICAL letters, so that by chance as many
    records have a hit. At 5,000 letters, HIT_P would find a hit of any motif in 92 % of them.
    """
    return HIT_P * min(1.0, TYPICAL / max(float(np.median(lengths)), 1.0))


def find_hits(
    ppms: Mapping[str, Floats],
    num_sites: Mapping[str, int],
    sequences: Letters,
    hit_p: float | Mapping[str, float],
    alphabet: Alphabet,
) -> pd.DataFrame:
    """Find where each motif matches, on both strands of DNA.

    The lowest possible p-value of a motif of width w is A^-w. A motif of 6 bp therefore has hits
    below 2.5e-4, but none below 1e-4. An unknown letter, such as N or X, scores as the worst letter
    of its position, so that a run of them is no hit. (FIMO leaves out such windows.)

    Parameters
    ----------
    ppms
        Motif name to (width, A) probabilities.
    num_sites
        Motif name to the number of sites that the motif was built from; `NUM_SITES` for others.
    sequences
        ASCII letters, one array per record.
    hit_p
        A match is a hit if its p-value, the probability that a random sequence with the letter
        frequencies of `residues.background` scores at least as high, is below this; one limit, or
        motif name to limit.
    alphabet
        Alphabet of the sequences and of the columns of the motifs.

    Returns
    -------
    name, record (index into `sequences`), start, end (0-based half-open), strand, p_value; sorted
    by motif and position. Hits of one motif may overlap. If both strands match at one position, as
    for palindromes, the better match is returned; also if a palindrome is a part of the motif. Then
    one of two equal matches is sampled.

    References
    ----------
    Grant et al. 2011 (FIMO).
    """
    if not ppms or not len(sequences):
        return pd.DataFrame({column: [] for column in COLUMNS}).astype(
            {"record": int, "start": int, "end": int, "p_value": float}
        )
    coded = one_hot(pad_letters(sequences), alphabet)
    scores = [
        integer_scores(ppm, num_sites.get(name, NUM_SITES), alphabet) for name, ppm in ppms.items()
    ]
    by_width = sorted(range(len(scores)), key=lambda motif: len(scores[motif]))
    groups = [by_width[first : first + TOGETHER] for first in range(0, len(ppms), TOGETHER)]
    limit = np.array([hit_p[name] if isinstance(hit_p, Mapping) else hit_p for name in ppms])
    tables = [
        _fimo({motif: scores[motif] for motif in group}, coded, limit, alphabet) for group in groups
    ]
    hits, lengths = pd.concat(tables, ignore_index=True), np.array([*map(len, sequences), 0])
    # drop hits that reach into the padding or the next record
    hits = hits[hits["end"].to_numpy() <= lengths[hits["record"].to_numpy()]]
    # keeps the better strand of each position
    hits = hits.sort_values("p_value", kind="stable").drop_duplicates(["motif", "record", "start"])
    # of equal matches on both strands of a palindrome, the first one is always on the same strand
    hits = hits.sample(frac=1, random_state=0).sort_values("p_value", kind="stable")
    shifts = hits["motif"].map({n: palindrome_shift(ppm) for n, ppm in enumerate(ppms.values())})
    starts = hits["start"] - shifts.where(hits["strand"] == 1, 0)
    hits = hits[~hits.assign(start=starts)[["motif", "record", "start"]].duplicated()]
    hits = hits.sort_values(["motif", "record", "start"], ignore_index=True)
    names, strands = np.array(list(ppms), dtype=object), np.array(["+", "-"], dtype=object)
    return hits.assign(name=names[hits["motif"]], strand=strands[hits["strand"]])[COLUMNS]


def palindrome_shift(ppm: Floats) -> int:
    """Return by how much the start on - differs from that on + at a palindrome within a motif.

    GGTACCTTAG contains the palindrome GGTACC, so its match on - starts 4 positions earlier: -4. The
    palindrome is more than half of the motif (width, A). The shift is 0 for other motifs.
    """
    centred = ppm - 1 / ppm.shape[1]
    products, most = centred @ centred[::-1, ::-1].T, (len(ppm) - 1) // 2
    similarity = np.array([np.trace(products, -shift) for shift in range(-most, most + 1)])
    is_palindromic = 2 * similarity.max() > (centred**2).sum()  # more than half of the motif
    return int(similarity.argmax()) - most if is_palindromic else 0


def integer_scores(ppm: Floats, num_sites: int, alphabet: Alphabet) -> Integers:
    """Return the scores of each letter at each position, (width, A), in units of 1 / STEPS bit.

    They are log-odds relative to `residues.background`, with PSEUDO_SITES added to the sites of the
    motif, minus those of the worst letter of the position. It scores 0, as unknown letters do.
    """
    expected = background(alphabet)
    softened = (ppm * num_sites + PSEUDO_SITES * expected) / (num_sites + PSEUDO_SITES)
    scores = np.rint(np.log2(softened / expected) * STEPS).astype(np.int64)
    return scores - scores.min(axis=1, keepdims=True)


def best_p(ppm: Floats, num_sites: int, alphabet: Alphabet) -> float:
    """Return the p-value of the best possible match of a motif (width, A)."""
    return float(p_values(integer_scores(ppm, num_sites, alphabet), background(alphabet))[-1])


def p_values(scores: Integers, frequencies: Floats) -> Floats:
    """Return the p-values of all sums of one score per row of `scores` (width, A), from 0 up.

    They are the probabilities that a random sequence with these frequencies of letters (A,) has a
    sum of at least 0, at least 1, and so on up to the largest possible sum.
    """
    density = np.ones(1)
    for row in scores:
        longer = np.zeros(len(density) + int(row.max()))
        for score, frequency in zip(row, frequencies, strict=True):
            longer[score : score + len(density)] += density * frequency
        density = longer
    return np.cumsum(density[::-1])[::-1]


def _fimo(
    motifs: Mapping[int, Integers], coded: NDArray[np.int8], limit: Floats, alphabet: Alphabet
) -> pd.DataFrame:
    """Find the hits of numbered motifs, given as integer scores, in records (n, L, A).

    `limit` has, by number, the p-value below which a match is a hit. The table has the numbers of
    motif and strand (1 for -), because text takes longer to sort.
    """
    tables = [p_values(scores, background(alphabet)) for scores in motifs.values()]
    cuts = [np.sum(p >= limit[motif]) for motif, p in zip(motifs, tables, strict=True)]
    cuts *= 1 + alphabet.has_complement
    widths = np.array([len(scores) for scores in motifs.values()])
    # float32 has exact sums of such integers, and a fast product
    matrix = np.zeros((len(cuts), widths.max(), coded.shape[2]), dtype=np.float32)
    for row, scores in enumerate(motifs.values()):
        matrix[row, : len(scores)] = scores
        if alphabet.has_complement:
            matrix[row + len(motifs), : len(scores)] = scores[::-1, ::-1]
    matrix = matrix.reshape(len(cuts), -1)
    letters, found = np.pad(coded.ravel(), (0, matrix.shape[1])), []
    for first in range(0, len(letters) - matrix.shape[1] + 1, coded.shape[2] * WINDOWS):
        part = letters[first : first + coded.shape[2] * (WINDOWS - 1) + matrix.shape[1]]
        windows = sliding_window_view(part, matrix.shape[1])[:: coded.shape[2]]
        sums = windows.astype(np.float32) @ matrix.T
        is_hit = sums >= np.array(cuts, dtype=np.float32)
        # np.nonzero of two axes takes five times as long
        window, column = np.divmod(np.flatnonzero(is_hit), len(cuts))
        found.append((first // coded.shape[2] + window, column, sums[window, column].astype(int)))
    position, column, score = (np.concatenate(each) for each in zip(*found, strict=True))
    strand, motif = np.divmod(column, len(motifs))
    record, start = np.divmod(position, max(coded.shape[1], 1))
    p = np.empty(len(score))
    for row, values in enumerate(tables):
        p[motif == row] = values[score[motif == row]]
    return pd.DataFrame(
        {
            "motif": np.array(list(motifs))[motif],
            "record": record,
            "start": start,
            "end": start + widths[motif],
            "strand": strand,
            "p_value": p,
        }
    )


def relevant_hits(hits: pd.DataFrame, attribution: Mapping[int, Scores]) -> pd.DataFrame:
    """Keep the hits that the model uses.

    A hit is kept if its attribution is higher than that of half of the windows of its width in the
    record, and if the p-value of the match times the fraction of windows with at least its
    attribution is below CHANCE. A match with p = 2.5e-4 therefore has to be in the top tenth by
    attribution. A better match may rank lower, because other relevant hits may be in the same
    record.

    Parameters
    ----------
    hits
        Table of `find_hits`.
    attribution
        Record to attribution per letter, (L,), for each record with a hit.

    Returns
    -------
    The kept rows of `hits`, with a column rank: the fraction of windows with lower attribution.
    """
    sums = {
        record: np.concatenate(([0.0], np.cumsum(row, dtype=np.float64)))
        for record, row in attribution.items()
    }
    ranks, sites = np.empty(len(hits)), hits[["record", "start", "end"]]
    for i, (record, start, end) in enumerate(sites.itertuples(index=False)):
        windows = sums[record][end - start :] - sums[record][: len(sums[record]) - (end - start)]
        # np.mean takes much longer for few numbers
        ranks[i] = np.count_nonzero(windows < windows[start]) / len(windows)
    kept = (ranks > 0.5) & (hits["p_value"].to_numpy() * (1 - ranks) < CHANCE)
    return hits.assign(rank=ranks)[kept].reset_index(drop=True)


def used_hits(
    hits: pd.DataFrame, importance: Callable[[list[int]], list[Scores]], seed: int
) -> pd.DataFrame:
    """Return the hits that the model uses in at most `MAX_SEARCHED` records, as `relevant_hits`.

    `importance` returns the importance of each position of the records of given numbers.
    """
    records, rng = np.sort(hits["record"].unique()), np.random.default_rng(seed)
    sampled = np.sort(rng.permutation(records)[:MAX_SEARCHED]).tolist()
    if len(sampled) < len(records):
        LOG.info(f"used sites are searched in {len(sampled):,} of {len(records):,} records")
    found = dict(zip(sampled, importance(sampled), strict=True))
    return relevant_hits(hits[hits["record"].isin(sampled)].reset_index(drop=True), found)


MAX_OTHERS = 5
TIE = 10  # matches with a p-value up to this factor above the smallest are named like the best
RIVAL = 100  # up to this factor, a family that all of them but the best share is named as well


def match_motifs(
    ppms: Mapping[str, Floats], database: Mapping[str, Floats], alphabet: Alphabet = DNA
) -> pd.DataFrame:
    """Find the database motifs similar to each motif, on either strand of DNA.

    Parameters
    ----------
    ppms
        Motif name to (width, A) probabilities.
    database
        Label to (width, A) probabilities; empty for no matches. With fewer than 25 entries the
        p-value of Tomtom strongly depends on the entries.
    alphabet
        Alphabet of the motifs.

    Returns
    -------
    One row per motif, in the order of `ppms`: name, match (label of the best; empty unless its q is
    below MATCH_Q), family (see `_named`), match_p, match_q (of the best, Benjamini-Hochberg over
    all pairs of a motif and a database entry), other_matches (up to MAX_OTHERS more labels with
    q < MATCH_Q, best first, joined by "; ") and near_ties, how many of these `family` is about.
    Factors of a family and factors that bind the same bases have similar matches (Trl and Clamp
    both bind GAGA); the best match need not be the factor that binds.

    References
    ----------
    Gupta et al. 2007 (Tomtom).
    """
    if not ppms or not database:
        none = {"match": "", "family": "", **dict.fromkeys(("match_p", "match_q"), np.nan)}
        return pd.DataFrame({"name": list(ppms), **none, "other_matches": "", "near_ties": 0})
    labels = np.array(list(database), dtype=object)
    queries, targets = ([ppm.T for ppm in each.values()] for each in (ppms, database))
    p = compare(queries, targets, alphabet.has_complement)[0]
    q = scipy.stats.false_discovery_control(p, axis=None).reshape(p.shape)
    order = p.argsort(axis=1, kind="stable")
    rows, best = np.arange(len(p)), order[:, 0]
    similar = [more[q[row, more] < MATCH_Q] for row, more in enumerate(order)]
    others = [found[1 : 1 + MAX_OTHERS] for found in similar]
    named = [_named(labels[found].tolist(), p[row, found]) for row, found in enumerate(similar)]
    return pd.DataFrame(
        {
            "name": list(ppms),
            "match": [labels[i] * bool(q[row, i] < MATCH_Q) for row, i in enumerate(best)],
            "family": [family for family, _ in named],
            "match_p": p[rows, best],
            "match_q": q[rows, best],
            "other_matches": ["; ".join(labels[found]) for found in others],
            "near_ties": [min(max(number - 1, 0), MAX_OTHERS) for _, number in named],
        }
    )


def _named(labels: Sequence[str], p: Floats) -> tuple[str, int]:
    """Return the families of the best matches of a motif, and the number of these matches.

    `labels` are those of similar database motifs, with ascending p-values (n,). The matches have
    p-values at most TIE times the smallest. If these are one or two, but the others with at most
    RIVAL times the smallest share a family that the best is not of (`first_differs`), the text is
    such as `Bcl11B or Runt-related factors (Runx1, RUNX2)`.
    """
    near, wide = (labels[: int(np.sum(p <= limit * p[:1]))] for limit in (TIE, RIVAL))
    if len(near) < 3 <= len(wide) and first_differs(wide):
        return f"{wide[0].partition(' (')[0]} or {families_of(wide[1:])}", len(wide)
    return families_of(near), len(near)


# Cosine similarity from which two motifs are the same. 5 % of the motifs of JASPAR (insects) are as
# similar to one of 25 others with columns in random order, and 95 % are to a copy of themselves
# from 100 sampled sites that lacks up to two columns at each end.
SIMILAR = 0.8


class Alignment(NamedTuple):
    """The most similar position of a second motif relative to a first one.

    Attributes
    ----------
    similarity
        Cosine of the angle between both matrices after the uniform background is subtracted. Rows
        without a partner count as uniform. 1 for equal motifs; 0.2 to 0.5 for random motifs of ten
        bases, because the best of all offsets is chosen.
    offset
        Row of the first motif that is aligned with the first row of the second one.
    is_reversed
        Whether the second motif is reverse-complemented.
    """

    similarity: float
    offset: int
    is_reversed: bool


def alignment(ppm: Floats, other: Floats, has_complement: bool = True) -> Alignment:
    """Align a motif (w, A) with another one (v, A) where they are most similar.

    Parameters
    ----------
    ppm, other
        Probabilities.
    has_complement
        Whether both strands of the second motif are compared; the alphabet reversed is its
        complement.
    """
    size = ppm.shape[1]
    centred = ppm - 1 / size
    forward = other - 1 / size
    strands = [forward, forward[::-1, ::-1]][: 1 + has_complement]
    # Row i: the first row of the strand is at row i - (len(strand) - 1) of `ppm`
    products = np.stack(
        [scipy.signal.correlate2d(centred, strand, mode="full")[:, size - 1] for strand in strands]
    )
    best, row = np.unravel_index(products.argmax(), products.shape)
    norm = np.linalg.norm(centred) * np.linalg.norm(forward)
    similarity = float(products[best, row] / norm) if norm else 0.0
    return Alignment(similarity, int(row) - (len(other) - 1), bool(best))


def same_motifs(name: str, ppms: Mapping[str, Floats], has_complement: bool = True) -> list[str]:
    """Name the other motifs that are the same: their similarity is at least `SIMILAR`.

    Parameters
    ----------
    name, ppms
        The motif, and the probabilities (width, A) of all motifs by name.
    has_complement
        As for `alignment`.
    """
    return [
        other
        for other, ppm in ppms.items()
        if other != name and alignment(ppms[name], ppm, has_complement).similarity >= SIMILAR
    ]

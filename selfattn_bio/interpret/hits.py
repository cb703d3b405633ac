"""Where motifs stand in sequences: hits by FIMO, and which of them the model looks at.

Hides: memelite's FIMO, and one-hot coding. `evidence` and the `motifs` command use it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.data.batches import pad_letters
from selfattn_bio.sequence.alphabet import DNA, Alphabet

NUM_SITES = 100  # of a motif from a file that does not say: a pseudocount of a hundredth
HIT_P = 2.5e-4  # 6 letters that all fit are a hit
CHANCE = HIT_P / 10  # of a match and the relevance that it carries together
COLUMNS = ["name", "record", "start", "end", "strand", "p_value"]
PSEUDO_SITES = 1.0  # added to each row, spread over the letters, before a motif is scanned: a letter never seen is rare, not impossible


def one_hot(letters: NDArray[np.uint8], alphabet: Alphabet = DNA) -> NDArray[np.int8]:
    """ASCII (B, L) -> (B, L, A) in the order of the alphabet; padding and ambiguous letters are all 0."""
    return (letters[..., None] == np.frombuffer(alphabet.letters.encode(), dtype=np.uint8)).astype(np.int8)


def find_hits(
    ppms: Mapping[str, NDArray[np.float64]],
    num_sites: Mapping[str, int],
    sequences: Sequence[NDArray[np.uint8]],
    hit_p: float,
    alphabet: Alphabet = DNA,
) -> pd.DataFrame:
    """Find where each motif matches, on both strands of DNA.

    A motif of w letters can reach p = A^-w at best: one of 6 bases has hits below 2.5e-4, but none below 1e-4.

    Parameters
    ----------
    ppms
        Name -> (width, A) probabilities.
    num_sites
        Name -> number of sites the motif was built from.
    sequences
        ASCII letters, one array a record.
    hit_p
        A place is a hit if a uniformly random sequence scores as high with a smaller probability than this.
    alphabet
        Of the letters and of the motifs' columns.

    Returns
    -------
    name, record (index into `sequences`), start, end (letters, 0-based half-open), strand, p_value; ordered by motif and place. Hits
    of one motif may overlap; where both strands match at one place, as a palindrome's do, the better one is reported.

    References
    ----------
    Grant et al. 2011 (FIMO); Schreiber 2025 (memelite), which computes the p.
    """
    if not ppms or not len(sequences):
        return pd.DataFrame({column: [] for column in COLUMNS}).astype({"record": int, "start": int, "end": int, "p_value": float})
    size = len(alphabet.letters)
    coded = one_hot(pad_letters(list(sequences)), alphabet).transpose(0, 2, 1)
    softened = {name: ((ppm * num_sites[name] + PSEUDO_SITES / size) / (num_sites[name] + PSEUDO_SITES)).T for name, ppm in ppms.items()}
    # memelite draws each letter with a probability of 1/4, whatever their number: of width w, its p is (size / 4)^w too large.
    excess = {name: (size / 4) ** len(ppm) for name, ppm in ppms.items()}
    groups = [({name: softened[name] for name in ppms if excess[name] == each}, each) for each in sorted(set(excess.values()))]
    hits = pd.concat([_fimo(group, coded, hit_p, each, alphabet) for group, each in groups], ignore_index=True)
    inside = hits["end"].to_numpy() <= np.array([len(row) for row in sequences])[hits["record"].to_numpy()]  # not over padding
    best = hits[inside].sort_values("p_value", kind="stable").drop_duplicates(["name", "record", "start"])
    order = best["name"].map({name: number for number, name in enumerate(ppms)})
    return best.assign(order=order).sort_values(["order", "record", "start"], ignore_index=True)[COLUMNS]


def _fimo(motifs: dict[str, NDArray[np.float64]], coded: NDArray[np.int8], hit_p: float, excess: float, alphabet: Alphabet) -> pd.DataFrame:
    from memelite import fimo  # compiles at its first use

    tables = fimo(motifs, coded, alphabet=list(alphabet.letters), threshold=hit_p * excess, reverse_complement=alphabet.has_complement)
    hits = pd.concat(tables, ignore_index=True).rename(columns={"motif_name": "name", "sequence_name": "record", "p-value": "p_value"})
    hits = hits[COLUMNS].astype({"record": int, "start": int, "end": int, "p_value": float})
    return hits.assign(p_value=hits["p_value"] / excess)


def relevant_hits(hits: pd.DataFrame, relevance: Mapping[int, NDArray[np.float32]], chance: float = CHANCE) -> pd.DataFrame:
    """Keep the hits that the model looks at.

    A hit is kept if it carries more relevance than half of the windows of its width in its record, and if it is unlikely that a place
    matches so well and carries so much: p of the match times the share of these windows that carry no less is below `chance`. So a match
    of p 2.5e-4 must be in the most relevant tenth; a better one, beside others that are relevant too, may stand out less.

    Parameters
    ----------
    hits
        As of `find_hits`.
    relevance
        Record -> importance per letter, (L,), for each record with a hit.
    chance
        In (0, 1).

    Returns
    -------
    `hits` with a column rank (share of the record's windows with less relevance), those that are kept.
    """
    ranks = relevance_ranks(hits, relevance)
    kept = (ranks > 0.5) & (hits["p_value"].to_numpy() * (1 - ranks) < chance)
    return hits.assign(rank=ranks)[kept].reset_index(drop=True)


def relevance_ranks(hits: pd.DataFrame, relevance: Mapping[int, NDArray[np.float32]]) -> NDArray[np.float64]:
    """Of each hit the share of the windows of its width in its record that carry less relevance, (n,); arguments as of `relevant_hits`."""
    sums = {record: np.concatenate(([0.0], np.cumsum(row, dtype=np.float64))) for record, row in relevance.items()}
    ranks = np.empty(len(hits))
    for i, (record, start, end) in enumerate(hits[["record", "start", "end"]].itertuples(index=False)):
        windows = sums[record][end - start :] - sums[record][: len(sums[record]) - (end - start)]
        ranks[i] = np.mean(windows < windows[start])
    return ranks

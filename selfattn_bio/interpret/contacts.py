"""Contact maps of proteins from attention: which residues touch, read from what a model lets them give to each other.

Hides: weights of all pairs, their correction, the regression over heads. The `contacts` command and `benchmarks/contacts.py` use it.

A model that fills in hidden residues must look at those that they vary with, and residues that touch vary together. As in ESM, each head's
map is made symmetric and corrected for what rows and columns give in general, and a logistic regression over heads, fitted on a few
proteins of known contacts, says which heads tell contacts. An L x L map is what is asked for, so this needs the memory of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from selfattn_bio.attention.attend import weights
from selfattn_bio.errors import ArgumentError, SequenceFileError
from selfattn_bio.interpret.readout import read_letters
from selfattn_bio.scoring.scorer import Scorer

RANGES = {"short": (6, 12), "medium": (12, 24), "long": (24, 10**9)}  # residues apart, half-open
NEAREST = 6  # residues apart: closer ones touch in any protein
FOLDS = 5
Map = NDArray[np.float64]


def head_maps(scorer: Scorer, letters: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What each pair of residues of one sequence gives to each other, a map a head, symmetric and corrected.

    Parameters
    ----------
    scorer
        A model with attention, whose places are single letters (tokens of 1, no pooling).
    letters
        (L,) ASCII.

    Returns
    -------
    (members x layers x heads, L, L).

    Raises
    ------
    ArgumentError
        If the network has no attention, or its places are not single letters.
    """
    reading = read_letters(scorer, letters[None], [""])
    own = np.flatnonzero(reading.spans[:, 0] >= 0)
    if (np.diff(reading.spans[own]) != 1).any() or len(own) != len(letters):
        widest = int(np.diff(reading.spans[own]).max())
        raise ArgumentError(f"places of the encoder must be single letters to have contacts, got {widest} letters: set k = 1, pool = 1")
    with torch.inference_mode():
        maps = [
            weights(layer.q, layer.k, pattern=layer.pattern, position=layer.position, mask=layer.mask)[0].float().cpu().numpy()
            for layers in reading.layers
            for layer in layers
        ]
    given = np.concatenate(maps)[:, own[:, None], own]
    return average_product_corrected(given + given.swapaxes(1, 2)).astype(np.float32)


def average_product_corrected(maps: NDArray[np.floating]) -> Map:
    """`maps` (..., L, L) less row sum x column sum / total: what a pair has beyond what its two residues have with all.

    References
    ----------
    Dunn, Wahl and Gloor 2008, there with means of mutual information; Rao et al. 2021 with these sums of attention.
    """
    maps = maps.astype(np.float64)
    rows, columns = maps.sum(-1, keepdims=True), maps.sum(-2, keepdims=True)
    total = maps.sum((-2, -1), keepdims=True)
    return maps - rows * columns / np.where(total == 0, 1, total)


@dataclass(frozen=True)
class ContactRegression:
    """How much each head tells of contacts.

    Attributes
    ----------
    model
        Heads, standardised -> contact or not.
    """

    model: Pipeline

    def __call__(self, maps: NDArray[np.floating]) -> Map:
        """(heads, L, L) -> (L, L) probability of a contact, as the proteins it was fitted on have them; 0 on the diagonal."""
        length = maps.shape[1]
        above = np.triu_indices(length, 1)
        found = np.zeros((length, length))
        found[above] = self.model.predict_proba(maps[:, above[0], above[1]].T)[:, 1]
        return found + found.T


def fit_contacts(maps: Sequence[NDArray[np.floating]], contacts: Sequence[NDArray[np.bool_]]) -> ContactRegression:
    """Fit a regression over heads on proteins of known contacts.

    Parameters
    ----------
    maps
        Of each protein (heads, L, L), as of `head_maps`.
    contacts
        Of each (L, L), True where two residues touch. Pairs closer than `NEAREST` are not looked at.

    Raises
    ------
    ArgumentError
        If no pair that far apart is a contact, or all are.

    References
    ----------
    Rao et al. 2021, who fitted 20 proteins; here without L1, for the heads are few.
    """
    features, labels = [], []
    for of_heads, touching in zip(maps, contacts, strict=True):
        above = np.triu_indices(len(touching), NEAREST)
        features.append(of_heads[:, above[0], above[1]].T)
        labels.append(touching[above])
    known = np.concatenate(labels)
    if not known.any() or known.all():
        raise ArgumentError(f"contacts must be some of the pairs {NEAREST} or more apart, got {known.sum()} of {len(known)}")
    return ContactRegression(make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(np.concatenate(features), known))


def predict_contacts(maps: Sequence[NDArray[np.floating]], contacts: Mapping[int, NDArray[np.bool_]]) -> list[Map]:
    """A contact map of each protein, (L, L): that of regressions fitted on other proteins of known contacts.

    Parameters
    ----------
    maps
        Of each protein (heads, L, L).
    contacts
        Number of a protein -> (L, L), for those that are known. Each of these is predicted by a regression fitted on other folds of them
        (of two, on the other one), the rest by one fitted on all. With fewer than two known, a map is the mean over heads, no probability.
    """
    known = list(contacts)
    if len(known) < 2:
        return [of_heads.mean(0, dtype=np.float64) for of_heads in maps]

    def fitted(of: Sequence[int]) -> ContactRegression:
        return fit_contacts([maps[number] for number in of], [contacts[number] for number in of])

    folds = [known[fold::FOLDS] for fold in range(min(FOLDS, len(known)))]
    found = {number: model(maps[number]) for fold in folds for model in [fitted([k for k in known if k not in fold])] for number in fold}
    if len(known) < len(maps):
        of_all = fitted(known)
        found |= {number: of_all(of_heads) for number, of_heads in enumerate(maps) if number not in contacts}
    return [found[number] for number in range(len(maps))]


def precision_at_length(scores: NDArray[np.floating], contacts: NDArray[np.bool_]) -> dict[str, float]:
    """Precision of the L best-scored pairs of each range (P@L), L the length of the protein.

    Parameters
    ----------
    scores, contacts
        (L, L), symmetric.

    Returns
    -------
    Name of `RANGES` -> share of contacts among its L best pairs (of all, if it has fewer); nan for a range without a pair. With fewer than
    L contacts in a range 1 is out of reach.
    """
    length = len(scores)
    first, second = np.triu_indices(length, 1)
    found = {}
    for name, (nearest, farthest) in RANGES.items():
        within = (second - first >= nearest) & (second - first < farthest)
        pairs = first[within], second[within]
        best = np.argsort(-scores[pairs], kind="stable")[:length]
        found[name] = float(contacts[pairs][best].mean()) if len(best) else np.nan
    return found


def read_contacts(path: str | Path, lengths: Mapping[str, int]) -> dict[str, NDArray[np.bool_]]:
    """Read known contacts: a TSV with a header and the columns id, i, j (0-based residues), a row a pair.

    Parameters
    ----------
    path
        The file.
    lengths
        Id -> length of the sequences.

    Returns
    -------
    Id -> (L, L), symmetric, of the ids that have a row.

    Raises
    ------
    SequenceFileError
        If the file is missing or has other columns, an id is none of the sequences', or i and j are not two residues of it; `path:line`.
    """
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise SequenceFileError("contacts must be an existing TSV file, got no such file", place=str(path)) from None
    except (ValueError, UnicodeDecodeError) as error:
        raise SequenceFileError(f"contacts must be a TSV table, got {error}", place=str(path)) from error
    if missing := [name for name in ("id", "i", "j") if name not in table]:
        raise SequenceFileError(f"contacts must have the columns id, i, j, got no {missing[0]}", place=f"{path}:1")
    found: dict[str, NDArray[np.bool_]] = {}
    for line, (name, *pair) in enumerate(zip(table["id"], table["i"], table["j"], strict=True), start=2):
        if name not in lengths:
            raise SequenceFileError(f"contacts must be of the sequences given, got id {name!r}", place=f"{path}:{line}")
        length = lengths[name]
        try:
            i, j = (int(each) for each in pair)
        except ValueError:
            i = j = -1
        if not (0 <= i < length and 0 <= j < length and i != j):
            message = f"i and j must be two residues of {name!r}, 0 to {length - 1}, got {pair[0]} and {pair[1]}"
            raise SequenceFileError(message, place=f"{path}:{line}")
        contacts = found.setdefault(name, np.zeros((length, length), dtype=bool))
        contacts[i, j] = contacts[j, i] = True
    return found

"""Predict contact maps of proteins from attention.

A model that predicts masked residues has to attend to residues that covary with them, and residues
in contact covary. As in ESM, the map of each head is made symmetric and corrected for the row and
column totals. A logistic regression over heads, fitted on a few proteins with known contacts,
weights the heads. L x L maps are stored in full, so memory grows with the square of the length.
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

# sequence separation in residues, half-open
RANGES = {"short": (6, 12), "medium": (12, 24), "long": (24, 10**9)}
NEAREST = 6  # sequence separation in residues: closer pairs are in contact in any protein
FOLDS = 5
Map = NDArray[np.float64]


def head_maps(scorer: Scorer, letters: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Compute one symmetric, corrected attention map per head for one sequence.

    Parameters
    ----------
    scorer
        A model with attention whose tokens are single residues (k = 1, no pooling).
    letters
        (L,) ASCII.

    Returns
    -------
    (members x layers x heads, L, L).

    Raises
    ------
    ArgumentError
        If the network has no attention, or its tokens are not single residues.
    """
    reading = read_letters(scorer, letters[None], [""])
    own = np.flatnonzero(reading.spans[:, 0] >= 0)
    if (np.diff(reading.spans[own]) != 1).any() or len(own) != len(letters):
        widest = int(np.diff(reading.spans[own]).max())
        raise ArgumentError(
            f"contacts need one residue per position of the encoder, but a position has {widest}; "
            "train with k = 1 and pool = 1"
        )
    with torch.inference_mode():
        maps = [
            weights(
                layer.q, layer.k, pattern=layer.pattern, position=layer.position, mask=layer.mask
            )[0]
            .float()
            .cpu()
            .numpy()
            for layers in reading.layers
            for layer in layers
        ]
    given = np.concatenate(maps)[:, own[:, None], own]
    return average_product_corrected(given + given.swapaxes(1, 2)).astype(np.float32)


def average_product_corrected(maps: NDArray[np.floating]) -> Map:
    """Subtract row sum x column sum / total from maps (..., L, L).

    The average product correction leaves the part of a pair that is not explained by the averages
    of its two residues.

    References
    ----------
    Dunn, Wahl and Gloor 2008, for means of mutual information; Rao et al. 2021, for sums of
    attention as here.
    """
    maps = maps.astype(np.float64)
    rows, columns = maps.sum(-1, keepdims=True), maps.sum(-2, keepdims=True)
    total = maps.sum((-2, -1), keepdims=True)
    return maps - rows * columns / np.where(total == 0, 1, total)


@dataclass(frozen=True)
class ContactRegression:
    """Logistic regression that predicts contacts from the maps of all heads.

    Attributes
    ----------
    model
        Pipeline from standardised head values to contact or no contact.
    """

    model: Pipeline

    def __call__(self, maps: NDArray[np.floating]) -> Map:
        """Predict contacts from maps (heads, L, L).

        Returns
        -------
        (L, L) contact probabilities, estimated on the proteins of the fit; 0 on the diagonal.
        """
        length = maps.shape[1]
        above = np.triu_indices(length, 1)
        found = np.zeros((length, length))
        found[above] = self.model.predict_proba(maps[:, above[0], above[1]].T)[:, 1]
        return found + found.T


def fit_contacts(
    maps: Sequence[NDArray[np.floating]], contacts: Sequence[NDArray[np.bool_]]
) -> ContactRegression:
    """Fit a regression over heads on proteins with known contacts.

    Parameters
    ----------
    maps
        (heads, L, L) for each protein, as returned by `head_maps`.
    contacts
        (L, L) for each protein, True where two residues are in contact. Pairs closer than `NEAREST`
        are ignored.

    Raises
    ------
    ArgumentError
        If none or all of the pairs that far apart are contacts.

    References
    ----------
    Rao et al. 2021, who fitted 20 proteins with an L1 penalty; the few heads here need none.
    """
    features, labels = [], []
    for of_heads, touching in zip(maps, contacts, strict=True):
        above = np.triu_indices(len(touching), NEAREST)
        features.append(of_heads[:, above[0], above[1]].T)
        labels.append(touching[above])
    known = np.concatenate(labels)
    if not known.any() or known.all():
        raise ArgumentError(
            f"{known.sum()} of {len(known)} pairs of residues at least {NEAREST} apart are in "
            "contact; the fit needs pairs with and without contact"
        )
    return ContactRegression(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(
            np.concatenate(features), known
        )
    )


def predict_contacts(
    maps: Sequence[NDArray[np.floating]], contacts: Mapping[int, NDArray[np.bool_]]
) -> list[Map]:
    """Predict a contact map for each protein with regressions fitted on other proteins.

    Parameters
    ----------
    maps
        (heads, L, L) for each protein.
    contacts
        Index of a protein to its (L, L) contacts, for the proteins with known contacts. Each of
        them is predicted by cross-validation over at most `FOLDS` folds; the other proteins are
        predicted by a regression fitted on all known ones. With fewer than two known proteins, a
        map is the mean over heads and not a probability.

    Returns
    -------
    (L, L) for each protein.
    """
    known = list(contacts)
    if len(known) < 2:
        return [of_heads.mean(0, dtype=np.float64) for of_heads in maps]

    def fitted(of: Sequence[int]) -> ContactRegression:
        return fit_contacts([maps[number] for number in of], [contacts[number] for number in of])

    folds = [known[fold::FOLDS] for fold in range(min(FOLDS, len(known)))]
    found = {
        number: model(maps[number])
        for fold in folds
        for model in [fitted([k for k in known if k not in fold])]
        for number in fold
    }
    if len(known) < len(maps):
        of_all = fitted(known)
        found |= {
            number: of_all(of_heads)
            for number, of_heads in enumerate(maps)
            if number not in contacts
        }
    return [found[number] for number in range(len(maps))]


def precision_at_length(
    scores: NDArray[np.floating], contacts: NDArray[np.bool_]
) -> dict[str, float]:
    """Return precision at L (P@L) for each range of sequence separation.

    P@L is the precision of the L highest-scored pairs, where L is the length of the protein.

    Parameters
    ----------
    scores, contacts
        (L, L), symmetric.

    Returns
    -------
    Name of the range (see `RANGES`) to the fraction of contacts among its L best pairs, or among
    all its pairs if it has fewer; nan for a range without pairs. A range with fewer than L contacts
    cannot reach 1.
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
    """Read known contacts from a TSV file with columns id, i and j (0-based), one row per pair.

    Parameters
    ----------
    path
        The file.
    lengths
        Sequence id to length.

    Returns
    -------
    Id to (L, L) symmetric contacts, for the ids in the file.

    Raises
    ------
    SequenceFileError
        If the file is missing, a column is missing, an id is unknown, or i and j are not two
        residues of the sequence. The message starts with `path:line`.
    """
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise SequenceFileError("file of contacts not found", place=str(path)) from None
    except (ValueError, UnicodeDecodeError) as error:
        raise SequenceFileError(f"cannot read this TSV table: {error}", place=str(path)) from error
    if missing := [name for name in ("id", "i", "j") if name not in table]:
        raise SequenceFileError(
            f"column {missing[0]!r} is missing (expected id, i and j)", place=f"{path}:1"
        )
    found: dict[str, NDArray[np.bool_]] = {}
    for line, (name, *pair) in enumerate(
        zip(table["id"], table["i"], table["j"], strict=True), start=2
    ):
        if name not in lengths:
            raise SequenceFileError(
                f"id {name!r} is not among the sequences", place=f"{path}:{line}"
            )
        length = lengths[name]
        try:
            i, j = (int(each) for each in pair)
        except ValueError:
            i = j = -1
        if not (0 <= i < length and 0 <= j < length and i != j):
            message = (
                f"i = {pair[0]} and j = {pair[1]} are not two residues of {name!r}, which are "
                f"numbered from 0 to {length - 1}"
            )
            raise SequenceFileError(message, place=f"{path}:{line}")
        contacts = found.setdefault(name, np.zeros((length, length), dtype=bool))
        contacts[i, j] = contacts[j, i] = True
    return found

"""Predict contact maps of proteins from attention.

Residues in contact covary, and a model that predicts masked residues has to attend to residues that
covary with them. As in ESM, the attention map of each head is made symmetric and corrected for its
row and column totals. A logistic regression, fitted to a few proteins with known contacts, combines
the maps of all heads. Complete L x L maps are stored, so memory grows with the square of the
length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from selfattn_bio.arrays import Bools, Floats, Scores
from selfattn_bio.attention.kernels.reference import dense_weights
from selfattn_bio.attribution.capture import read_letters
from selfattn_bio.display import counted
from selfattn_bio.errors import ArgumentError, ModelFolderError, SequenceFileError
from selfattn_bio.figure import DisplayedFigure
from selfattn_bio.files import whole_file
from selfattn_bio.result import TableResult
from selfattn_bio.scoring.inputs import Inputs, read_sequences
from selfattn_bio.scoring.loading import Models, load_single
from selfattn_bio.scoring.paired_scorer import check_one_input
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import Ascii
from selfattn_bio.sequence.tables import read_cells, write_table

# sequence separation |i - j| in residues, half-open
RANGES = {"short": (6, 12), "medium": (12, 24), "long": (24, 10**9)}
# smallest |i - j| of pairs to fit or report; closer pairs are in contact in any protein
NEAREST = 6
FOLDS = 5  # of the cross-validation
Map = Floats  # (L, L)


def head_maps(scorer: Scorer, letters: Ascii) -> Scores:
    """Compute the symmetric, corrected attention map of each head for one sequence.

    Parameters
    ----------
    scorer
        A model with attention whose tokens are single residues (k = 1, no pooling).
    letters
        ASCII residues, shape (L,).

    Returns
    -------
    Shape (heads, L, L), with the heads of all layers and all members of the model.

    Raises
    ------
    ArgumentError
        If the network has no attention, or its tokens are not single residues.
    """
    reading = read_letters(scorer, letters[None], [""])
    residues = np.flatnonzero(reading.spans[:, 0] >= 0)  # encoder positions, without [CLS]
    widths = np.diff(reading.spans[residues])
    if (widths != 1).any() or len(residues) != len(letters):
        widest = int(widths.max())
        raise ArgumentError(
            f"contacts need one residue per position of the encoder, but a position has {widest}; "
            "train with k = 1 and pool = 1"
        )
    with torch.inference_mode():
        maps = [
            dense_weights(layer)[0].float().cpu().numpy()
            for layers in reading.layers
            for layer in layers
        ]
    attention = np.concatenate(maps)[:, residues[:, None], residues]
    return average_product_corrected(attention + attention.swapaxes(1, 2)).astype(np.float32)


def average_product_corrected(maps: NDArray[np.floating]) -> Map:
    """Apply the average product correction to maps (..., L, L).

    It subtracts row sum x column sum / total. The rest is the part of the value of a pair that the
    averages of its two residues do not explain.

    References
    ----------
    Dunn, Wahl and Gloor 2008, for mutual information; Rao et al. 2021, for attention.
    """
    maps = maps.astype(np.float64)
    rows, columns = maps.sum(-1, keepdims=True), maps.sum(-2, keepdims=True)
    total = maps.sum((-2, -1), keepdims=True)
    return maps - rows * columns / np.where(total == 0, 1, total)


def contact_map(regression: Pipeline, maps: NDArray[np.floating]) -> Map:
    """Predict contacts from maps (heads, L, L) with a regression of `fit_contacts`.

    Returns
    -------
    Probability of a contact, (L, L), symmetric, 0 on the diagonal. The probabilities hold for
    proteins like those of the fit.
    """
    length = maps.shape[1]
    i, j = np.triu_indices(length, 1)
    upper = np.zeros((length, length))
    upper[i, j] = regression.predict_proba(maps[:, i, j].T)[:, 1]
    return upper + upper.T


def fit_contacts(maps: Sequence[NDArray[np.floating]], contacts: Sequence[Bools]) -> Pipeline:
    """Fit the regression over heads to proteins with known contacts.

    Parameters
    ----------
    maps
        (heads, L, L) for each protein, from `head_maps`.
    contacts
        (L, L) for each protein, True where two residues are in contact. Pairs closer than `NEAREST`
        are ignored.

    Raises
    ------
    ArgumentError
        If no pair or every pair at least `NEAREST` apart is a contact.

    References
    ----------
    Rao et al. 2021. They used 20 proteins and an L1 penalty. Our models have fewer heads, so the
    default L2 penalty of scikit-learn is enough.
    """
    features, labels = [], []
    for head_values, in_contact in zip(maps, contacts, strict=True):
        i, j = np.triu_indices(len(in_contact), NEAREST)
        features.append(head_values[:, i, j].T)
        labels.append(in_contact[i, j])
    known = np.concatenate(labels)
    if not known.any() or known.all():
        raise ArgumentError(
            f"{known.sum()} of {len(known)} pairs of residues at least {NEAREST} apart are in "
            "contact; the fit needs pairs with and without contact"
        )
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return regression.fit(np.concatenate(features), known)


def predict_contacts(
    maps: Sequence[NDArray[np.floating]], contacts: Mapping[int, Bools]
) -> list[Map]:
    """Predict the contact map of each protein with a regression fitted to other proteins.

    Proteins with known contacts are predicted by cross-validation with at most `FOLDS` folds. The
    remaining proteins are predicted by a regression fitted to all known ones.

    Parameters
    ----------
    maps
        (heads, L, L) for each protein, from `head_maps`.
    contacts
        Known contacts, (L, L), by index of the protein in `maps`.

    Returns
    -------
    (L, L) for each protein: probabilities, or the mean over heads if fewer than two proteins have
    known contacts.

    Raises
    ------
    ArgumentError
        As in `fit_contacts`, for the proteins of a fit.
    """
    known = list(contacts)
    if len(known) < 2:
        return [head_values.mean(0, dtype=np.float64) for head_values in maps]

    def fit(proteins: Sequence[int]) -> Pipeline:
        return fit_contacts([maps[i] for i in proteins], [contacts[i] for i in proteins])

    predicted: dict[int, Map] = {}
    for fold in (known[first::FOLDS] for first in range(min(FOLDS, len(known)))):
        regression = fit([protein for protein in known if protein not in fold])
        predicted |= {protein: contact_map(regression, maps[protein]) for protein in fold}
    if len(known) < len(maps):
        regression = fit(known)
        predicted |= {
            protein: contact_map(regression, head_values)
            for protein, head_values in enumerate(maps)
            if protein not in contacts
        }
    return [predicted[protein] for protein in range(len(maps))]


def precision_at_length(scores: NDArray[np.floating], contacts: Bools) -> dict[str, float]:
    """Compute precision at L (P@L) for each range of sequence separation.

    P@L is the fraction of contacts among the L pairs with the highest scores, where L is the length
    of the protein.

    Parameters
    ----------
    scores, contacts
        (L, L), symmetric.

    Returns
    -------
    P@L by name of the range (see `RANGES`). If a range has fewer than L pairs, all of them are
    used; without pairs the value is NaN. The value is below 1 if the range has fewer contacts than
    pairs used, however good the scores are.
    """
    length = len(scores)
    first, second = np.triu_indices(length, 1)
    precision = {}
    for name, (nearest, farthest) in RANGES.items():
        within = (second - first >= nearest) & (second - first < farthest)
        pairs = first[within], second[within]
        best = np.argsort(-scores[pairs], kind="stable")[:length]
        precision[name] = float(contacts[pairs][best].mean()) if len(best) else np.nan
    return precision


def read_contacts(path: str | Path, lengths: Mapping[str, int]) -> dict[str, Bools]:
    """Read known contacts from a TSV file with columns id, i and j (0-based), one row per pair.

    Parameters
    ----------
    path
        The file.
    lengths
        Length of each sequence, by id.

    Returns
    -------
    Contacts (L, L), symmetric, by id, for the ids in the file.

    Raises
    ------
    SequenceFileError
        If the file is missing or not a TSV table, a column is missing, an id is unknown, or i and j
        are not two different residues of the sequence. Errors about a row start with `path:line`.
    """
    table = read_cells(path, ("id", "i", "j"))
    found: dict[str, Bools] = {}
    for line, (name, *pair) in enumerate(
        zip(table["id"], table["i"], table["j"], strict=True), start=2
    ):
        if name not in lengths:
            SequenceFileError.fail(f"id {name!r} is not among the sequences", f"{path}:{line}")
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


@dataclass(frozen=True, repr=False)
class Contacts(TableResult):
    """Predicted contacts of some proteins.

    Attributes
    ----------
    maps
        Id to scores (L, L), symmetric: probabilities of a contact if at least two sequences have
        known contacts, otherwise means over heads.
    table
        The L best pairs of each sequence: id, i, j (0-based residues at least `NEAREST` apart),
        score, contact (missing if unknown).
    precision
        id, short, medium, long: P@L of each sequence with known contacts, as in
        `precision_at_length`. None without known contacts.
    """

    maps: Mapping[str, Map]
    table: pd.DataFrame
    precision: pd.DataFrame | None = None

    def __repr__(self) -> str:
        known = 0 if self.precision is None else len(self.precision)
        return f"Contacts of {counted(len(self.maps), 'sequence')}, {known} with known contacts"

    @property
    def lines(self) -> list[str]:
        """Return what the maps are, and the mean precision, as text."""
        lines = []
        if self.precision is None or len(self.precision) < 2:
            lines.append(
                "each map is the mean over heads, because a regression needs the known contacts of "
                "at least two sequences"
            )
        if self.precision is not None:
            means = self.precision.drop(columns="id").mean()
            shown = ", ".join(f"{name} {mean:.3f}" for name, mean in means.items())
            lines.append(f"P@L, mean over {len(self.precision)} sequences: {shown}")
        return lines

    def plot(self, name: str) -> DisplayedFigure:
        """Draw the map of a sequence, and mark its L best pairs in the upper triangle."""
        figure = DisplayedFigure(figsize=(4.5, 4), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(self.maps[name], cmap="Blues", interpolation="nearest")
        best = self.table[self.table["id"] == name]
        axes.plot(best["j"], best["i"], "o", markersize=2, color="tab:red")
        axes.set(xlabel="residue (0-based)", ylabel="residue (0-based)")
        axes.set_title(name, loc="left", fontsize=9)
        figure.colorbar(image, ax=axes, label="score", shrink=0.8)
        return figure

    def save(self, prefix: str | Path) -> None:
        """Write PREFIX.contacts.npz, PREFIX.contacts.tsv and, if known, PREFIX.precision.tsv."""
        with whole_file(f"{prefix}.contacts.npz") as path, path.open("wb") as file:
            arrays: dict[str, Any] = {
                f"map_{number}": scores.astype(np.float32)
                for number, scores in enumerate(self.maps.values())
            }
            np.savez_compressed(file, ids=np.array(list(self.maps)), **arrays)
        write_table(f"{prefix}.contacts.tsv", self.table)
        if self.precision is not None:
            write_table(f"{prefix}.precision.tsv", self.precision)


def find_contacts(
    model: Models, sequences: Inputs, known: Mapping[str, Bools] | str | Path | None = None
) -> Contacts:
    """Predict contact maps of proteins from the attention of a model.

    With the known contacts of at least two sequences, a logistic regression over heads is fitted.
    Each of these sequences is predicted by a regression fitted to the others. Use one protein per
    family, because relatives share their contacts.

    Parameters
    ----------
    model
        A model with attention, trained with [tokens] k = 1: a folder, or the result of `load`.
    sequences
        Strings, the path of a FASTA file, or a table with the columns `sequence` and `id`. Ids
        differ.
    known
        Id to contacts (L, L), or the path of a TSV file with the columns id, i and j (0-based).

    Raises
    ------
    ModelFolderError
        If a token of the model is not a single residue.
    SequenceFileError
        If there is no sequence, an id is repeated, or a file cannot be read.
    ArgumentError
        If the network has no attention, it has two inputs, the fit lacks pairs with or without
        contact, or the model is an ensemble.
    """
    scorer = load_single(model)
    check_one_input(scorer, "contacts")
    if scorer.tokenizer.k != 1:
        message = (
            f"contacts need one token per residue, but this model reads {scorer.tokenizer.k}-mers"
        )
        ModelFolderError.fail(message, scorer.folder or "", "Train with [tokens] k = 1")
    place = str(sequences) if isinstance(sequences, str | Path) else ""
    ids, letters = read_sequences(scorer.policy, sequences, scorer.tokenizer.k)
    if not ids:
        SequenceFileError.fail("the file has no sequences" if place else "no sequences", place)
    if repeated := [name for name, count in Counter(ids).items() if count > 1]:
        raise SequenceFileError(f"id {repeated[0]!r} is used more than once", place=place)
    if isinstance(known, str | Path):
        known = read_contacts(known, dict(zip(ids, map(len, letters), strict=True)))
    contacts = known or {}
    found = predict_contacts(
        [head_maps(scorer, row) for row in letters],
        {ids.index(name): pairs for name, pairs in contacts.items()},
    )
    maps = dict(zip(ids, found, strict=True))
    best = pd.concat(
        [_best(name, maps[name], contacts.get(name)) for name in ids], ignore_index=True
    )
    rows = [
        {"id": name} | precision_at_length(maps[name], pairs) for name, pairs in contacts.items()
    ]
    return Contacts(maps, best, pd.DataFrame(rows) if rows else None)


def _best(name: str, scores: Map, contacts: Bools | None) -> pd.DataFrame:
    """Return the L best pairs at least `NEAREST` apart: id, i, j (0-based), score, contact."""
    i, j = np.triu_indices(len(scores), NEAREST)
    order = np.argsort(-scores[i, j], kind="stable")[: len(scores)]
    i, j = i[order], j[order]
    contact = pd.Series(
        pd.NA if contacts is None else contacts[i, j], index=range(len(i)), dtype="boolean"
    )
    return pd.DataFrame({"id": name, "i": i, "j": j, "score": scores[i, j], "contact": contact})

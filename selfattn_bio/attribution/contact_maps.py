"""Predict which residues of a protein are in contact: one map per sequence, from attention."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.attribution.contacts import (
    NEAREST,
    Map,
    head_maps,
    precision_at_length,
    predict_contacts,
    read_contacts,
)
from selfattn_bio.display import TableDisplay, counted
from selfattn_bio.errors import ModelFolderError, SequenceFileError
from selfattn_bio.figure import DisplayedFigure
from selfattn_bio.files import whole_file
from selfattn_bio.scoring.inputs import Inputs, read_sequences
from selfattn_bio.scoring.loading import Models, load_single
from selfattn_bio.scoring.paired_scorer import check_one_input
from selfattn_bio.sequence.tables import write_table


@dataclass(frozen=True, repr=False)
class Contacts(TableDisplay):
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
    model: Models,
    sequences: Inputs,
    known: Mapping[str, NDArray[np.bool_]] | str | Path | None = None,
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
        If the network has no attention, it has two inputs, or the fit lacks pairs with or without
        contact.
    ValueError
        If the model is an ensemble.
    """
    scorer = load_single(model)
    check_one_input(scorer, "contacts")
    if scorer.tokenizer.k != 1:
        message = (
            f"contacts need one token per residue, but this model reads {scorer.tokenizer.k}-mers"
        )
        raise ModelFolderError(
            message, place=str(scorer.folder or ""), hint="Train with [tokens] k = 1"
        )
    place = str(sequences) if isinstance(sequences, str | Path) else ""
    ids, letters = read_sequences(scorer.policy, sequences, scorer.tokenizer.k)
    if not ids:
        raise SequenceFileError(
            "the file has no sequences" if place else "no sequences", place=place
        )
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


def _best(name: str, scores: Map, contacts: NDArray[np.bool_] | None) -> pd.DataFrame:
    """Return the L best pairs at least `NEAREST` apart: id, i, j (0-based), score, contact."""
    i, j = np.triu_indices(len(scores), NEAREST)
    order = np.argsort(-scores[i, j], kind="stable")[: len(scores)]
    i, j = i[order], j[order]
    contact = pd.Series(
        pd.NA if contacts is None else contacts[i, j], index=range(len(i)), dtype="boolean"
    )
    return pd.DataFrame({"id": name, "i": i, "j": j, "score": scores[i, j], "contact": contact})

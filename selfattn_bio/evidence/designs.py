"""Score designed sequences with a model that did not make them, and compare them with training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from selfattn_bio.arrays import Floats
from selfattn_bio.display import counted
from selfattn_bio.errors import ArgumentError
from selfattn_bio.evaluation.leakage import Part, find_leaks
from selfattn_bio.files import sha256_of
from selfattn_bio.objectives.outputs import find_output
from selfattn_bio.result import TableResult
from selfattn_bio.scoring.inputs import Inputs, read_sequences
from selfattn_bio.scoring.loading import Models, load
from selfattn_bio.scoring.paired_scorer import check_one_input
from selfattn_bio.scoring.reference import INSIDE
from selfattn_bio.scoring.scorer import Ensemble, Scorer
from selfattn_bio.scoring.table import FLAG, TableScorer
from selfattn_bio.sequence.alphabet import Ascii
from selfattn_bio.sequence.intervals import LOCUS

NEIGHBOUR = ["similarity", "neighbour", "strand", "duplicate"]  # columns of `find_leaks`


@dataclass(frozen=True, repr=False)
class Judgement(TableResult):
    """Scores of designs by two models, the result of `judge`.

    Attributes
    ----------
    table
        One row per design.

        - id
        - score: by the model that made the designs
        - judged: by the other model
        - drop: score minus judged; negative if the other model scores the design higher
        - out_of_distribution: why the design differs from the training records, as in
          `score_sequences`; not present if no model has reference data
        - similarity: fraction of k-mers shared with the nearest training record; 0 if it is below
          `evaluation.leakage.FLOOR` or explained by chance
        - neighbour: id of the nearest training record, empty if there is none
        - strand: + or - of the design compared with its neighbour; . in protein
        - duplicate: id of a training record with the same sequence, on either strand
    unit
        Unit of score, judged and drop.
    """

    table: pd.DataFrame
    unit: str

    def __repr__(self) -> str:
        score, judged, drop = self.table[["score", "judged", "drop"]].mean()
        known = (self.table["duplicate"] != "").sum()
        odd = (self.table[FLAG] != INSIDE).sum() if FLAG in self.table else "unknown"
        return (
            f"Judgement of {counted(len(self.table), 'design')}: mean score {score:.2f}, by the "
            f"other model {judged:.2f}, drop {drop:+.2f} {self.unit}; out of distribution: {odd}, "
            f"in the training records: {known}"
        )


def judge(
    designs: Inputs, other: Models, *, made_by: Models, training: Inputs, target: str = ""
) -> Judgement:
    """Score designs with another model, and find the nearest training record of each.

    A design exploits errors of the model that made it. A model of another seed shares its training
    records, so a model of another split is a stricter judge.

    Parameters
    ----------
    designs
        Designed sequences: strings, the path of a FASTA file, or a table with a column `sequence`.
    other
        The model that judges: a folder, a list of folders, or the result of `load`. Baselines of
        `evaluate` may judge as well.
    made_by
        The model that made the designs.
    training
        Training records of `made_by`, in one of the forms of `designs`.
    target
        Name of the output that was optimised; required for models with several.

    Returns
    -------
    Scores are calibrated log-odds of a binary model, log-odds of a class or label, or values of a
    column. Those of several models are computed from their mean outputs.

    Raises
    ------
    ArgumentError
        If there are no designs or training records, a model or its copy is on both sides, or they
        differ in alphabet or unit, have two inputs or lack the target.
    SequenceFileError, ModelFolderError
        As for `score_sequences`.
    """
    made, judging = load(made_by), load(other)
    unit = _common_unit(made, judging, target)
    members = (*made.members, *judging.members)
    k = max(member.shortest for member in members)
    ids, letters = read_sequences(made.policy, designs, k)
    trained = read_sequences(made.policy, training, 1)
    for what, names in (("designs", ids), ("training records", trained[0])):
        if not names:
            raise ArgumentError(f"there are no {what}")
    score, judged = (_scores(model, target, letters) for model in (made, judging))
    table = pd.DataFrame({"id": ids, "score": score, "judged": judged, "drop": score - judged})
    flags = TableScorer(Ensemble(members), rc=False, coverage=None).flags(letters)
    parts = _part("designs", ids, letters), _part("training", *trained)
    leaks = find_leaks(parts[0], [parts[1]], {}, made.alphabet, groups=())
    return Judgement(table.assign(**flags, **leaks[NEIGHBOUR]), unit)


def _common_unit(made: Scorer | Ensemble, judging: Scorer | Ensemble, target: str) -> str:
    """Check that both models score designs in the same unit, and return it."""
    for model in (made, judging):
        TableScorer(model, rc=False, coverage=None).check()
        check_one_input(model, "judging designs")
    if made.alphabet != judging.alphabet:
        raise ArgumentError(
            f"the model that made the designs reads {made.alphabet.name}, but the other model "
            f"reads {judging.alphabet.name}"
        )
    makers = [_weights(member) for member in made.members]
    if shared := [member for member in judging.members if _weights(member) in makers]:
        message = f"{shared[0].folder or shared[0]} made the designs, so it cannot judge them"
        raise ArgumentError(message, hint="Pass a model of another seed or another split")
    units = [find_output(model.objective.outputs, target).unit for model in (made, judging)]
    if units[0] != units[1]:
        raise ArgumentError(f"the scores of the models have different units: {' and '.join(units)}")
    return units[0]


def _weights(member: Any) -> Any:
    """Return the checksum of a model's weights, or the model if it has no folder."""
    # the first is model.safetensors, or the arrays of a baseline
    return sha256_of(min(member.folder.glob("*.safetensors"))) if member.folder else member


def _scores(model: Scorer | Ensemble, target: str, letters: list[Ascii]) -> Floats:
    outputs = np.mean([member.outputs(letters) for member in model.members], axis=0)
    if model.objective.has_log_odds:
        return model.calibration.log_odds(outputs[:, 0])
    return find_output(model.objective.outputs, target).value(outputs)


def _part(name: str, ids: list[str], letters: list[Ascii]) -> Part:
    records = pd.DataFrame({"id": ids}).reindex(columns=["id", "label", *LOCUS])
    return Part(name, records, letters)

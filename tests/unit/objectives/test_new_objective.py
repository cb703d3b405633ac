"""A new kind of question is one class and one registration."""

import re
from types import SimpleNamespace
from typing import Literal

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import l1_loss

from selfattn_bio.config import Data, RunFile
from selfattn_bio.config.objective import ObjectiveSection
from selfattn_bio.data.collation import TokenBatch
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.objectives import OBJECTIVES, Loss, Objective, objective_of
from selfattn_bio.objectives.loss import Batch
from selfattn_bio.report.lines import evaluation_lines
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.kmers import KmerTokenizer
from selfattn_bio.study.evaluated import EvaluationRecords
from selfattn_bio.study.evaluation import compare


class AgeSection(ObjectiveSection):
    """Predict the age of a gene."""

    kind: Literal["age"] = "age"
    column: str

    @property
    def target_columns(self):
        return (self.column,)


class Age(Objective[AgeSection]):
    """Ages in million years."""

    main_metric = "error"
    higher_is_better = False
    predicts = "predicts the age of a gene"
    column_prefix = ""

    def targets(self, table, records, place):
        return pd.to_numeric(table[self.section.column]).to_numpy(np.float64)[:, None]

    def loss(self, run, tokenizer, targets):
        return AgeLoss(self)

    def predictions(self, outputs):
        return 100 * outputs

    def measure(self, predictions, targets):
        return {"error": float(np.nanmean(np.abs(predictions - targets)))}


class AgeLoss(Loss):
    """Absolute error."""

    def __init__(self, objective):
        self.objective = objective

    def batch(self, tokens, targets):
        return Batch(tokens, torch.from_numpy(targets / 100), len(targets))

    def sum(self, outputs, targets):
        return l1_loss(outputs, targets[:, None].expand_as(outputs), reduction="sum")

    def measure_outputs(self, outputs, targets):
        return self.objective.measure(self.objective.predictions(outputs), targets)


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(OBJECTIVES, "age", Age)


TABLE = pd.DataFrame({"mya": ["100", "300"]})
RECORDS = pd.DataFrame({"id": ["a", "b"], "length": [8, 9]})


def test_new_objective_has_targets_loss_and_metrics():
    objective = objective_of(AgeSection(column="mya"))
    tokenizer = KmerTokenizer(DNA, 1)
    targets = objective.targets(TABLE, RECORDS, "table.tsv")
    objective.check_split(targets, "train", "table.tsv", "split.tsv")
    loss = objective.loss(None, tokenizer, targets)
    tokens = TokenBatch(torch.ones(2, 4, dtype=torch.int64), torch.tensor([4, 4]))
    batch = loss.batch(tokens, targets)
    outputs = torch.tensor([[[1.5]], [[2.5]]], dtype=torch.float64)  # (B, M, C)
    assert float(loss.sum(outputs, batch.targets)) == pytest.approx(0.5 + 0.5)
    assert loss.measure_outputs(outputs.mean(1).numpy(), targets) == {"error": 50.0}
    assert objective.output_names(tokenizer) == ["mya"]
    assert objective.section.num_outputs(tokenizer.vocabulary_size) == 1


def test_kind_cannot_be_registered_twice():
    with pytest.raises(ValueError, match="objective 'age' exists already: Age"):

        class Other(Age, kind="age"):
            pass

    assert OBJECTIVES["age"] is Age


def test_new_objective_is_scored_and_evaluated():
    """The defaults of all other steps fit an objective with one answer per sequence."""
    objective = objective_of(AgeSection(column="mya"))
    outputs = np.array([[[1.0], [2.0]], [[1.2], [2.6]]])  # (models, records, columns)
    columns = objective.columns(outputs, None, {})
    assert columns["mya"].tolist() == pytest.approx([110, 230])
    assert columns["spread_mya"] == pytest.approx(np.std([[100, 200], [120, 260]], 0, ddof=1))
    assert not objective.has_coverage
    assert objective.has_scores


def test_evaluation_of_a_new_objective(tmp_path):
    run = RunFile(data=Data(positives=("a.fa",), negatives=("b.fa",)))
    run = run.model_copy(update={"objective": AgeSection(column="mya")})
    reads = SimpleNamespace(run=run, stack=None, calibration=Calibration())
    reads.outputs = lambda inputs: np.arange(1.0, 1 + len(inputs))[:, None]
    summary = {"targets": {"path": "table.tsv"}}
    corpus = SimpleNamespace(alphabet=DNA, records=RECORDS, summary=summary, partner=None)
    corpus.targets = lambda columns: TABLE[list(columns)]
    rows = {split: np.arange(2) for split in ("train", "valid", "test")}
    letters = {split: [np.frombuffer(b"ACGTACGT", np.uint8)] * 2 for split in rows}
    records = EvaluationRecords(corpus, rows, letters, np.arange(2), "records")
    model = SimpleNamespace(members=lambda: [reads], runs=lambda: [run], folders=[tmp_path])
    objective = objective_of(run.objective)
    found = compare(objective, {"model": model}, records, run)
    assert found.metrics["test"]["model"]["error"]["value"] == 50.0
    assert found.predictions["test"]["mya"].tolist() == [100.0, 200.0]
    first, *_ = evaluation_lines(objective, found.metrics)
    assert re.fullmatch(r"test error 50.000 \(.*\)  model", first)

"""Evaluate untrained models."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_run import save_untrained

from selfattn_bio import Evaluation, Study, config, load
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import ArgumentError, CorpusError, ModelFolderError, OutputError
from selfattn_bio.files import sha256_of
from selfattn_bio.model.checkpoint import read_provenance
from selfattn_bio.objectives.binary import Binary
from selfattn_bio.study import baselines as fitting
from selfattn_bio.study.evaluated import EvaluationRecords, record_units
from selfattn_bio.study.evaluation import check_evaluation_output

COMMON = """
title = "t"
variants = {}
split = { kind = "random", valid_fraction = 0.3, test_fraction = 0.3 }
evaluation = { bootstraps = 10 }

model = { kind = "attention", embed_dim = 8, num_layers = 1, num_heads = 2, feedforward_dim = 8 }
"""
TWO_CLASSES = COMMON + 'data = { positives = "p.fa", negatives = "n.fa" }\n'
NUMBERS = f"""{COMMON}
data = {{ sequences = "p.fa", targets = "t.tsv" }}
objective = {{ kind = "regression", columns = ["x"], center = [3.0], scale = [2.0] }}
"""
SPLITS = ["train", "valid", "test"] * 20


@pytest.fixture
def untrained(here):
    """Return a function that ingests the data of a run file, writes split.tsv and a model."""

    def untrained(text: str) -> Study:
        Path("run.toml").write_text(text)
        rng = np.random.default_rng(0)
        for name, motif in (("p", "TATAATTT"), ("n", "GACCAGCA")):
            rows = ["".join(rng.choice(list("ACGT"), 30)) + motif for _ in range(60)]
            lines = (f">{name}{i}\n{row}\n" for i, row in enumerate(rows))
            Path(f"{name}.fa").write_text("".join(lines))
        values = {"id": [f"p{i}" for i in range(60)], "x": np.arange(60.0)}
        pd.DataFrame(values).to_csv("t.tsv", sep="\t", index=False)
        study = Study(".")
        ids = study.ingest().records["id"]
        split = pd.DataFrame({"id": ids, "split": SPLITS * (len(ids) // 60), "reason": ""})
        split.to_csv("split.tsv", sep="\t", index=False)
        save_untrained(study)
        return study

    return untrained


def weights_of(folder: Path) -> str:
    """Return the hash of the weights in the provenance of a model folder."""
    return read_provenance(folder)["weights_sha256"]


def assert_equal(one: Evaluation, other: Evaluation) -> None:
    """Check that two evaluations are equal up to the rounding of saved predictions."""
    assert one.metrics == other.metrics
    assert one.card == other.card
    assert list(one.baselines) == sorted(other.baselines)
    for split, table in one.predictions.items():
        pd.testing.assert_frame_equal(table, other.predictions[split], rtol=1e-5, check_dtype=False)


def assert_predictions_equal(first: Evaluation, second: Evaluation, truth: str) -> None:
    """Check that predictions are equal bit by bit, without the column of the `truth`.

    The numbers next to the model's are of the best baseline on the test split, which may differ.
    """
    for split, table in first.predictions.items():
        other = second.predictions[split]
        columns = table.columns.intersection(other.columns).drop(truth)
        assert len(columns) > 1
        pd.testing.assert_frame_equal(table[columns], other[columns], check_exact=True)


def test_two_classes_are_evaluated_saved_and_loaded(untrained, caplog) -> None:
    variants = "variants = { cnn = { training = { seed = 1 } }, more = {} }"
    study = untrained(TWO_CLASSES.replace("variants = {}", variants))
    save_untrained(study.variant("cnn"), 1)
    caplog.clear()
    caplog.set_level("INFO", "selfattn_bio")
    found = study.evaluate()
    assert caplog.messages[0] == "variant more is left out, because it was not trained"
    assert caplog.messages[1].startswith("train 40 records (20 positive), valid 40 records")
    assert caplog.messages[-1] == "wrote metrics.json"
    test = found.predictions["test"]
    assert len(test) == 40
    letters = [study.corpus.letters(row) for row in range(2, 120, 3)]
    assert test["model_logit"].to_numpy() == pytest.approx(study.model.logits(letters))
    compared = set(found.metrics["test"]["baselines"])
    assert {"cnn", "gc", "kmer6_logistic"} <= compared
    assert "more" not in compared
    left_out = {"the task names no database of DNA motifs": ["motif_scores"]}
    left_out |= {"there is no trained model": ["more"]}
    assert found.metrics["left_out"] == left_out
    assert "cnn" in compared
    assert "motif_scores, because the task names no database of DNA motifs; more" in found.card
    values = found.table.set_index(["split", "name", "metric"])["value"]
    of_gc = found.metrics["test"]["baselines"]["gc"]["auroc"]
    assert values["test", "gc", "auroc"] == of_gc["value"]
    assert set(found.table["role"]) == {"model", "baseline"}
    auroc = values["test", "model", "auroc"]
    assert repr(found).startswith(f"Evaluation on 40 test records: auroc {auroc:.3f}")
    assert "<table" in found._repr_html_()
    intervals, roc, _ = found.plot().axes
    names = [label.get_text() for label in intervals.get_yticklabels()]
    assert names[0] == "model"
    assert {"cnn", "gc"} <= set(names)
    legend = [text.get_text() for text in roc.get_legend().get_texts()]
    assert [text.split(" (")[0] for text in legend] == names[:5]
    with pytest.raises(ArgumentError, match="no classifier has the test metric 'aurok'"):
        found.plot("aurok")
    assert_equal(study.evaluation, found)
    assert found.baselines["gc"].origin["split_sha256"] == sha256_of("split.tsv")
    folders = ("model", "variants/cnn/model")
    assert found.metrics["weights"] == {of: weights_of(Path(of)) for of in folders}


def test_labels_of_test_records_choose_nothing(untrained, monkeypatch) -> None:
    study = untrained(TWO_CLASSES)
    targets, suitable = Binary.targets, fitting.suitable

    def two_kinds(*arguments: Any) -> list[Any]:  # the others would take seconds
        names = ("gc", "kmer6_logistic")
        return [each for each in suitable(*arguments) if each[0].name in names]

    def inverted(self: Binary, table: pd.DataFrame, records: pd.DataFrame, place: str) -> Any:
        labels = targets(self, table, records, place)
        return 1 - labels if set(records.index) == set(range(2, 120, 3)) else labels

    def saved() -> dict[str, str]:
        files = [path for path in Path("baselines").rglob("*") if path.is_file()]
        return {str(path): sha256_of(path) for path in files}

    monkeypatch.setattr(fitting, "suitable", two_kinds)
    first, baselines = study.evaluate(), saved()
    monkeypatch.setattr(Binary, "targets", inverted)
    second = study.evaluate()
    assert saved() == baselines != {}
    one, other = first.metrics["test"], second.metrics["test"]
    assert other["model"]["auroc"]["value"] == pytest.approx(1 - one["model"]["auroc"]["value"])
    assert first.metrics["valid"] == second.metrics["valid"]
    for name, entry in {"model": one["model"], **one["baselines"]}.items():
        again = other["model"] if name == "model" else other["baselines"][name]
        assert (entry["threshold"], entry["chosen"]) == (again["threshold"], again["chosen"])
    assert_predictions_equal(first, second, "label")


@pytest.mark.parametrize("text", [TWO_CLASSES, NUMBERS], ids=["classes", "numbers"])
def test_sequences_of_test_records_choose_nothing(untrained, monkeypatch, text) -> None:
    study = untrained(text)
    read, suitable = EvaluationRecords.read, fitting.suitable

    def replaced(*arguments: Any) -> EvaluationRecords:
        records = read(*arguments)
        rng = np.random.default_rng(0)
        of_test = [rng.permutation(row) for row in records.letters["test"]]
        return replace(records, letters=records.letters | {"test": of_test})

    monkeypatch.setattr(fitting, "suitable", lambda *given: list(suitable(*given))[:3])
    first = study.evaluate()
    monkeypatch.setattr(EvaluationRecords, "read", replaced)
    second = study.evaluate()
    assert first.metrics["valid"] == second.metrics["valid"]
    of_valid = (each.predictions["valid"] for each in (first, second))
    pd.testing.assert_frame_equal(*of_valid, check_exact=True)
    one, other = first.metrics["test"]["baselines"], second.metrics["test"]["baselines"]
    assert one != other  # the new sequences were read
    for name, baseline in first.baselines.items():
        assert baseline.calibration == second.baselines[name].calibration
        assert ("threshold" in one[name]) == (text == TWO_CLASSES)
        for key in ("threshold", "chosen"):
            assert one[name].get(key) == other[name].get(key)


def test_targets_of_test_records_choose_nothing(untrained, monkeypatch) -> None:
    study = untrained(NUMBERS)
    targets, of_test = Corpus.targets, np.array(SPLITS) == "test"

    def shuffled(self: Corpus, columns: Any) -> pd.DataFrame:
        table = targets(self, columns).copy()
        table.loc[of_test, "x"] = np.random.default_rng(0).permutation(table.loc[of_test, "x"])
        return table

    first = study.evaluate()
    monkeypatch.setattr(Corpus, "targets", shuffled)
    second = study.evaluate()
    assert first.metrics["valid"] == second.metrics["valid"]
    assert first.metrics["test"] != second.metrics["test"]
    assert_predictions_equal(first, second, "true.x")


def test_units_follow_the_split(tmp_path: Path) -> None:
    records = pd.DataFrame({"chrom": ["c1", "c1", "c1", "c2", None, None]})
    records["start"] = pd.array([0, 499_999, 500_000, 10, None, None], "Int64")
    path = tmp_path / "split.tsv"
    lines = (f"r{i}\ttest\tcluster=r{i // 3} (3)\n" for i in range(6))
    path.write_text("id\tsplit\treason\n" + "".join(lines))

    def units(kind: str, table: pd.DataFrame = records, block: int = 0) -> tuple[list[int], str]:
        task = SimpleNamespace(split=SimpleNamespace(kind=kind))
        task.evaluation = config.EvaluationSection(**{"block": block} if block else {})
        corpus = SimpleNamespace(records=table)
        task.objective = config.BinaryObjective()
        keys, name = record_units(task, corpus, path)
        return np.unique(keys, return_inverse=True)[1].tolist(), name

    assert units("cluster") == ([0, 0, 0, 1, 1, 1], "clusters")
    assert units("group")[1] == "groups"
    blocks, name = units("chromosome")
    assert name == "blocks of 500,000 bp"
    assert blocks[0] == blocks[1]
    assert len(set(blocks)) == 5
    other = units("random", block=400_000)[0]
    assert other[0] != other[1] == other[2]
    bare = records.assign(chrom=None, start=pd.array([None] * 6, "Int64"))
    numbers, name = units("random", bare)
    assert (len(set(numbers)), name) == (6, "records")


def test_baselines_of_a_private_run_are_not_saved(untrained) -> None:
    text = TWO_CLASSES.replace("num_layers", "stem = { kind = 'none' }, num_layers")
    found = untrained(text + "privacy = { epsilon = 8.0, delta = 1e-3 }\n").evaluate()
    assert "gc" in found.metrics["test"]["baselines"]
    assert found.baselines == {}
    assert list(Path("baselines").iterdir()) == []


def test_members_are_averaged(untrained) -> None:
    study = untrained(NUMBERS + "[training]\nseeds = 2\n")
    save_untrained(study.member(2), 1)
    found = study.evaluate()
    letters = [study.corpus.letters(row) for row in range(2, 60, 3)]
    outputs = [load(member.files.model).outputs(letters)[:, 0] for member in study.members]
    averaged = 3 + 2 * np.mean(outputs, axis=0)
    assert found.predictions["test"]["x"].to_numpy() == pytest.approx(averaged)
    assert found.metrics["sizes"]["model"] == {"networks": 4, "trainings": 2}
    assert found.metrics["costs"]["model"]["seconds"] == 3.0
    folders = ("model", "members/2/model")
    assert found.metrics["weights"] == {of: weights_of(Path(of)) for of in folders}
    assert {"model", "constant", "kmer6_linear", "exact_positions_trees"} < set(found.table["name"])
    (axes,) = found.plot("mse").axes
    assert axes.get_xlabel() == "test mse"
    assert set(found.baselines) == {path.name for path in Path("baselines").iterdir()}
    assert_equal(study.evaluation, found)


def test_undefined_metrics_are_not_in_the_card(untrained) -> None:
    study = untrained(NUMBERS)
    save_untrained(study, zero=True)
    found = study.evaluate()
    assert np.ptp(found.predictions["test"]["x"]) == 0
    # the correlation with a constant is undefined
    assert found.metrics["valid"]["model"]["pearson"]["value"] is None
    assert "pearson" not in found.card
    assert "| MSE |" in found.card


def test_models_that_cannot_be_evaluated(untrained) -> None:
    study = untrained(TWO_CLASSES)
    evaluation = config.EvaluationSection(strands="both")
    both = Study(study.task.model_copy(update={"evaluation": evaluation}), ".")
    with pytest.raises(ModelFolderError, match="the model scores the given strand, but the run"):
        both.evaluate()
    Path("split.tsv").write_text(Path("split.tsv").read_text().replace("test", "dropped"))
    with pytest.raises(CorpusError, match="the test split has 0 positives and 0 negatives"):
        study.evaluate()


def test_output_is_checked_before_the_evaluation(tmp_path, monkeypatch) -> None:
    check_evaluation_output(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()
    (tmp_path / "baselines").mkdir()
    (tmp_path / "baselines" / "notes.txt").write_text("")
    for folder, message in (
        (tmp_path / "baselines/notes.txt/below", "because this is a file"),
        (tmp_path, r"holds 'notes\.txt', which is not a baseline"),
    ):
        with pytest.raises(OutputError, match=message):
            check_evaluation_output(folder)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError) as raised:
        check_evaluation_output(tmp_path / "new")
    assert raised.value.filename == str(tmp_path / "new" / "baselines")

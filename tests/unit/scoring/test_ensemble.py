"""Test several models used as one, with the spread of their outputs, and a baseline as a model."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from genome_models import run_file, write_model
from letters import BASES, ascii_of
from scipy.special import expit

import selfattn_bio
from selfattn_bio import config, embed, explain, read_attention
from selfattn_bio.baselines import BASELINES, Setup
from selfattn_bio.errors import ArgumentError, ModelFolderError
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.scorer import Ensemble, Scorer
from selfattn_bio.scoring.table import score_sequences
from selfattn_bio.scoring.windows import load_dna_model
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.policy import SequencePolicy

SEQUENCES = ["ACGTACGTTTGACCA", "GGG", "TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTGACA", "ACGTNACGT"]
TARGETS = config.Data(sequences=("a",), targets="t.tsv")
LABELS = config.MultilabelObjective(columns=("u", "v"))
FAMILY = config.MulticlassPart(column="c", classes=("x", "y", "z"))
NUMBER = config.RegressionPart(columns=("r",), center=(2.0,), scale=(3.0,))
SEVERAL = config.SeveralObjective(parts={"family": FAMILY, "number": NUMBER})


def model_folders(folder, number=2, **sections):
    """Write folders of models that differ in weights and calibration."""
    run = run_file()
    if sections:
        run = run.model_copy(update={"data": TARGETS} | sections)
    return [
        write_model(folder / str(seed), run, seed, calibration=Calibration(1.0 + seed, 0.1 * seed))
        for seed in range(number)
    ]


@pytest.fixture
def folders(tmp_path):
    return model_folders(tmp_path, 3)


@pytest.mark.parametrize("rc", [False, True])
def test_mean_and_spread_of_members(folders, rc):
    table = score_sequences(folders, SEQUENCES, rc=rc)
    alone = np.stack([score_sequences(folder, SEQUENCES, rc=rc)["logit"] for folder in folders])
    assert list(table) == ["id", "logit", "probability", "predicted", "spread"]
    np.testing.assert_allclose(table["logit"], alone.mean(axis=0))
    np.testing.assert_allclose(table["spread"], alone.std(axis=0, ddof=1))
    # mean of slopes 1, 2 and 3, and of intercepts 0, 0.1 and 0.2
    np.testing.assert_allclose(table["probability"], 1 / (1 + np.exp(-2 * table["logit"] - 0.1)))
    assert (table["spread"] > 0).all()
    # mean of the thresholds
    assert table["predicted"].tolist() == (table["probability"] >= 0.5).astype(int).tolist()


@pytest.mark.parametrize("path", [None, 3, "", [], [""], [None]])
def test_something_else_than_a_folder_is_refused(path):
    with pytest.raises(ArgumentError, match="expected a model folder, the name of a model that"):
        load(path)  # type: ignore[call-overload]


def test_list_of_one_folder_is_that_model(folders):
    assert isinstance(load(folders), Ensemble)
    assert isinstance(load(folders[:1]), Scorer)
    tables = [score_sequences(each, SEQUENCES) for each in (folders[:1], folders[0])]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_every_column_has_a_spread(tmp_path):
    folders = model_folders(tmp_path, objective=LABELS)
    table = score_sequences(folders, SEQUENCES)
    alone = [score_sequences(folder, SEQUENCES) for folder in folders]
    assert list(table) == [*alone[0], "spread_u", "spread_v"]
    for name in "uv":
        each = np.stack([of[f"probability_{name}"] for of in alone])
        np.testing.assert_allclose(table[f"spread_{name}"], each.std(axis=0, ddof=1))


def test_several_objectives_have_columns_of_each(tmp_path):
    folders = model_folders(tmp_path, objective=SEVERAL)
    table = score_sequences(folders, SEQUENCES)
    alone = [score_sequences(folder, SEQUENCES) for folder in folders]
    family = ["family.predicted", *(f"family.probability_{name}" for name in "xyz")]
    spreads = [f"family.spread_{name}" for name in "xyz"]
    assert list(alone[0]) == ["id", *family, "number.r"]
    assert list(table) == ["id", *family, *spreads, "number.r", "number.spread_r"]
    np.testing.assert_allclose(table[family[1:]].sum(axis=1), 1)
    each = np.stack([of[family[1:]] for of in alone])
    np.testing.assert_allclose(table[spreads], each.std(axis=0, ddof=1))
    highest = table[family[1:]].to_numpy().argmax(axis=1)
    assert table["family.predicted"].tolist() == ["xyz"[i] for i in highest]
    letters = [ascii_of(text) for text in SEQUENCES]
    outputs = load(folders[0]).outputs(letters)
    np.testing.assert_allclose(alone[0]["number.r"], 2 + 3 * outputs[:, 3])
    each = np.stack([of["number.r"] for of in alone])
    np.testing.assert_allclose(table["number.r"], each.mean(axis=0))
    np.testing.assert_allclose(table["number.spread_r"], each.std(axis=0, ddof=1))


def test_models_of_different_tasks_are_refused(tmp_path, folders):
    (other,) = model_folders(tmp_path / "other", 1, objective=LABELS)
    data, objective = config.Data(sequences=("a",)), config.MaskedObjective()
    language = model_folders(tmp_path / "masked", data=data, objective=objective)
    with pytest.raises(ModelFolderError, match=r"other/0: .* the first, whose objective"):
        load([folders[0], other])
    with pytest.raises(ModelFolderError, match="objective 'masked' has no scores that could be"):
        load(language)


@pytest.mark.parametrize("ask", [explain, read_attention])
def test_single_model_functions_refuse_several(folders, ask):
    message = "an ensemble of 3 models cannot be used here; pass one folder"
    for several in (folders, load(folders)):
        with pytest.raises(ValueError, match=message):
            ask(several, SEQUENCES)
    for one in (folders[0], folders[:1], load(folders).members[0]):
        ask(one, SEQUENCES)


# ------------ a baseline
@pytest.fixture
def folder(tmp_path):
    """Save a regression on exact positions; positives have TATA at 10."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    letters = rng.choice(BASES, (200, 40))
    letters[1::2, 10:14] = ascii_of("TATA")
    BASELINES["exact_positions"](Setup(SequencePolicy(DNA))).fit(
        letters[:140], labels[:140], letters[140:], labels[140:]
    ).save(tmp_path / "b")
    return tmp_path / "b"


WITH_AND_WITHOUT = ["GC" * 5 + "TATA" + "GC" * 13, "GC" * 20]


def test_load_gives_a_scorer(folder):
    model = selfattn_bio.load(folder)
    letters = [ascii_of(text) for text in WITH_AND_WITHOUT]
    logits = model.logits(letters)
    assert logits[0] > 0 > logits[1]
    assert model.logits(np.pad(np.stack(letters), ((0, 0), (0, 3)))).tolist() == logits.tolist()
    assert (model.alphabet, model.members, model.folder) == (DNA, (model,), folder)
    fitted = model.baseline.calibration
    assert model.log_odds(letters) == pytest.approx(logits * fitted.slope + fitted.intercept)
    assert model.calibration.probabilities(logits) == pytest.approx(expit(model.log_odds(letters)))
    assert repr(model) == f"BaselineScorer: {BASELINES['exact_positions'].title}"
    assert len({model, selfattn_bio.load(folder)}) == 2  # compared by identity


def test_two_classes_need_their_calibration(folder, folders):
    for path in (folder / "baseline.json", folders[0] / "provenance.json"):
        values = json.loads(path.read_text())
        del values["calibration"]
        path.write_text(json.dumps(values))
        with pytest.raises(ModelFolderError, match=f"{path.name}: calibration is missing"):
            load(path.parent)


def test_numbers_need_no_calibration(tmp_path):
    (path,) = model_folders(tmp_path, 1, objective=config.RegressionObjective(columns=("r",)))
    values = json.loads((path / "provenance.json").read_text())
    del values["calibration"]
    (path / "provenance.json").write_text(json.dumps(values))
    assert load(path).calibration == Calibration()


def test_folder_of_baselines_is_refused_with_their_names(folder):
    with pytest.raises(ModelFolderError, match="not a model itself, it holds b") as refusal:
        selfattn_bio.load(folder.parent)
    assert f"Name one of them: {folder}" in str(refusal.value)


def test_score_sequences_with_a_baseline(folder):
    model = selfattn_bio.load(folder)
    table = selfattn_bio.score_sequences(folder, WITH_AND_WITHOUT)
    assert table.columns.tolist() == ["id", "logit", "probability", "predicted"]
    positive = table["probability"] >= model.calibration.threshold
    assert table["predicted"].tolist() == positive.astype(int).tolist() == [1, 0]
    both = selfattn_bio.score_sequences(model, WITH_AND_WITHOUT, rc=True)
    assert both["logit"].tolist() != table["logit"].tolist()


def test_network_functions_refuse_a_baseline(folder):
    name = r"this is a baseline \(logistic regression on exact positions.*\) without a network"
    for ask in (
        *(partial(each, folder, WITH_AND_WITHOUT) for each in (explain, embed, read_attention)),
        *(partial(load_dna_model, folder), partial(selfattn_bio.load, [folder, folder])),
    ):
        with pytest.raises(ArgumentError, match=f"{name}; only `load` and `score` accept it"):
            ask()
    with pytest.raises(ArgumentError, match="coverage"):
        selfattn_bio.score_sequences(folder, WITH_AND_WITHOUT, coverage=0.9)

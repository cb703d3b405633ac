"""Test several models used as one: the mean of their outputs and its spread."""

import numpy as np
import pandas as pd
import pytest
import torch
from commands import run

from selfattn_bio import config
from selfattn_bio.attribution.capture import read_attention
from selfattn_bio.attribution.explain import explain
from selfattn_bio.errors import ArgumentError, ModelFolderError
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import save_model
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.scorer import Ensemble, Scorer
from selfattn_bio.scoring.table import score_sequences

SEQUENCES = ["ACGTACGTTTGACCA", "GGG", "TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTGACA", "ACGTNACGT"]
TWO_CLASSES = config.Data(positives=("a",), negatives=("b",))
TARGETS = config.Data(sequences=("a",), targets="t.tsv")
OBJECTIVES = {
    "multiclass": config.MulticlassObjective(column="c", classes=("x", "y", "z")),
    "multilabel": config.MultilabelObjective(columns=("u", "v")),
    "regression": config.RegressionObjective(columns=("r",), center=(2.0,), scale=(3.0,)),
}
SEVERAL = config.SeveralObjective(
    parts={
        "family": config.MulticlassPart(column="c", classes=("x", "y", "z")),
        "number": config.RegressionPart(columns=("r",), center=(2.0,), scale=(3.0,)),
    }
)


def model_folder(folder, seed, data=TWO_CLASSES, **sections):
    torch.manual_seed(seed)
    model = config.AttentionModel(embed_dim=8, num_layers=1, num_heads=2, feedforward_dim=8)
    run = config.RunFile.model_validate({"data": data, "model": model, **sections})
    folder.mkdir()
    save_model(
        folder,
        run,
        build_network(run).state_dict(),
        {"calibration": {"slope": 1.0 + seed, "intercept": 0.1 * seed, "threshold": 0.5}},
    )
    return folder


@pytest.fixture
def folders(tmp_path):
    return [model_folder(tmp_path / str(seed), seed) for seed in range(3)]


def test_mean_and_spread_of_members(folders):
    table = score_sequences(folders, SEQUENCES)
    alone = np.stack([score_sequences(folder, SEQUENCES)["logit"] for folder in folders])
    assert list(table) == ["id", "logit", "probability", "predicted", "spread"]
    np.testing.assert_allclose(table["logit"], alone.mean(axis=0))
    np.testing.assert_allclose(table["spread"], alone.std(axis=0, ddof=1))
    # mean of slopes 1, 2 and 3, and of intercepts 0, 0.1 and 0.2
    np.testing.assert_allclose(table["probability"], 1 / (1 + np.exp(-2 * table["logit"] - 0.1)))
    assert (table["spread"] > 0).all()
    # mean of the thresholds
    assert table["predicted"].tolist() == (table["probability"] >= 0.5).astype(int).tolist()


def test_both_strands_of_members(folders):
    table = score_sequences(folders, SEQUENCES, rc=True)
    alone = np.stack([score_sequences(folder, SEQUENCES, rc=True)["logit"] for folder in folders])
    np.testing.assert_allclose(table["logit"], alone.mean(axis=0))


@pytest.mark.parametrize("path", [None, 3, "", [], [""], [None]])
def test_something_else_than_a_folder_is_refused(path):
    with pytest.raises(ArgumentError, match="expected a model folder, the name of a model that"):
        load(path)  # type: ignore[call-overload]


def test_list_of_one_folder_is_that_model(folders):
    assert isinstance(load(folders), Ensemble)
    assert isinstance(load(folders[:1]), Scorer)
    pd.testing.assert_frame_equal(
        score_sequences(folders[:1], SEQUENCES),
        score_sequences(folders[0], SEQUENCES),
        check_exact=True,
    )


@pytest.mark.parametrize(
    ("kind", "columns"), [("multiclass", "x y z"), ("multilabel", "u v"), ("regression", "r")]
)
def test_every_column_has_a_spread(tmp_path, kind, columns):
    folders = [
        model_folder(tmp_path / str(seed), seed, TARGETS, objective=OBJECTIVES[kind])
        for seed in range(2)
    ]
    table = score_sequences(folders, SEQUENCES)
    alone = [score_sequences(folder, SEQUENCES) for folder in folders]
    names = columns.split()
    assert list(table) == [*alone[0], *(f"spread_{name}" for name in names)]
    for name in names:
        column = name if kind == "regression" else f"probability_{name}"
        np.testing.assert_allclose(
            table[f"spread_{name}"], np.stack([of[column] for of in alone]).std(axis=0, ddof=1)
        )


def test_several_objectives_have_columns_of_each(tmp_path):
    folders = [
        model_folder(tmp_path / str(seed), seed, TARGETS, objective=SEVERAL) for seed in range(2)
    ]
    table = score_sequences(folders, SEQUENCES)
    alone = [score_sequences(folder, SEQUENCES) for folder in folders]
    family = [
        f"family.{column}"
        for column in ("predicted", "probability_x", "probability_y", "probability_z")
    ]
    assert list(alone[0]) == ["id", *family, "number.r"]
    assert list(table) == [
        "id",
        *family,
        *(f"family.spread_{name}" for name in "xyz"),
        "number.r",
        "number.spread_r",
    ]
    np.testing.assert_allclose(table[family[1:]].sum(axis=1), 1)
    assert table["family.predicted"].tolist() == [
        "xyz"[i] for i in table[family[1:]].to_numpy().argmax(axis=1)
    ]
    outputs = load(folders[0]).outputs(
        [np.frombuffer(text.encode(), np.uint8) for text in SEQUENCES]
    )
    np.testing.assert_allclose(alone[0]["number.r"], 2 + 3 * outputs[:, 3])
    each = np.stack([of["number.r"] for of in alone])
    np.testing.assert_allclose(table["number.r"], each.mean(axis=0))
    np.testing.assert_allclose(table["number.spread_r"], each.std(axis=0, ddof=1))


def test_models_of_different_tasks_are_refused(tmp_path, folders):
    other = model_folder(tmp_path / "other", 0, TARGETS, objective=OBJECTIVES["multilabel"])
    with pytest.raises(
        ModelFolderError,
        match="other: cannot average this model with the first, whose objective is",
    ):
        load([folders[0], other])
    data, objective = config.Data(sequences=("a",)), config.MaskedObjective()
    language = [
        model_folder(tmp_path / f"masked{seed}", seed, data, objective=objective) for seed in (0, 1)
    ]
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


def test_score_command_with_several_folders(tmp_path, folders):
    (tmp_path / "new.fa").write_text(
        "".join(f">s{i}\n{text}\n" for i, text in enumerate(SEQUENCES))
    )
    for models, columns in (
        (folders, ["file", "id", "logit", "probability", "predicted", "spread"]),
        (folders[:1], ["file", "id", "logit", "probability", "predicted"]),
    ):
        output = tmp_path / "scores.tsv"
        run(f"score --fasta {tmp_path / 'new.fa'} --output {output} --model", *models)
        assert list(pd.read_csv(output, sep="\t")) == columns

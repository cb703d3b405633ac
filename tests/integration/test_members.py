"""Train two members of a run, then evaluate and score their mean."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from selfattn_bio import load
from selfattn_bio.cli.main import main
from selfattn_bio.evaluation.metrics import title_of

RUN = """
split = { kind = "random", valid_fraction = 0.3, test_fraction = 0.3 }
tokens = { k = 1 }
evaluation = { bootstraps = 5 }

[model]
kind = "attention"
embed_dim = 8
num_layers = 1
num_heads = 2
feedforward_dim = 8
stem = { kind = "none" }

[training]
seed = 7
seeds = 2
max_steps = 2
evaluate_every = 2
batch_size = 16
shift = 0
"""
TARGETS = 'data = { sequences = "p.fa", targets = "t.tsv" }\n'
OBJECTIVES = {
    "binary": 'data = { positives = "p.fa", negatives = "n.fa" }\nvariants = {}\n',
    "multilabel": TARGETS + 'objective = { kind = "multilabel", columns = ["u", "v"] }\n',
    "labels": TARGETS + 'objective = { kind = "labels", column = "w", classes = "io" }\n',
    "several": TARGETS
    + 'objective = { kind = "several", parts = { mark = { kind = "multilabel", columns = ["u"] }, '
    + 'number = { kind = "regression", columns = ["v"] } } }\n',
}
MODELS = ["members/1", "members/2"]


@pytest.fixture(params=OBJECTIVES)
def kind(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a task of each kind to the working folder and train two members."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = {name: ["".join(rng.choice(list("ACGT"), 30)) for _ in range(60)] for name in "pn"}
    for name, of_name in rows.items():
        Path(f"{name}.fa").write_text(
            "".join(f">{name}{i}\n{row}\n" for i, row in enumerate(of_name))
        )
    targets = {
        "u": rng.integers(0, 2, 60),
        "v": rng.integers(0, 2, 60),
        "w": [row.translate(str.maketrans("ACGT", "iioo")) for row in rows["p"]],
    }
    pd.DataFrame({"id": [f"p{i}" for i in range(60)], **targets}).to_csv(
        "t.tsv", sep="\t", index=False
    )
    Path("run.toml").write_text(OBJECTIVES[request.param] + RUN)
    files = (
        ["--fasta", "p.fa", "n.fa", "--label", "1", "0"]
        if request.param == "binary"
        else ["--fasta", "p.fa", "--targets", "t.tsv"]
    )
    assert main(["ingest", *files, "--alphabet", "dna", "--output", "corpus"]) == 0
    assert (
        main(["split", "--run-file", "run.toml", "--corpus", "corpus", "--output", "split.tsv"])
        == 0
    )
    for number, output in enumerate(MODELS, start=1):
        words = ["--corpus", "corpus", "--split", "split.tsv", "--threads", "1", "--output", output]
        assert main(["train", "--run-file", "run.toml", "--member", str(number), *words]) == 0
    return request.param


def judged(models: list[str], output: str) -> tuple[dict, pd.DataFrame]:
    """Return the test metrics and predictions of `evaluate`."""
    paths = ["--corpus", "corpus", "--split", "split.tsv", "--output", output]
    assert main(["evaluate", "--run-file", "run.toml", "--model", *models, *paths]) == 0
    table = pd.read_csv(f"{output}/predictions/test.tsv", sep="\t")
    return json.loads(Path(f"{output}/metrics.json").read_text())["test"], table.set_index("id")


def test_members_are_averaged_in_evaluate_and_score(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    test, table = judged(MODELS, "out")
    printed = capsys.readouterr().out
    alone = [judged([model], model) for model in MODELS]
    members = test["members"]["model"]
    metric = {"labels": "accuracy", "several": "mean"}.get(kind, "auroc")
    assert members["each"] == pytest.approx([of["model"][metric]["value"] for of, _ in alone])
    assert (members["metric"], members["min"], members["max"]) == (
        metric,
        min(members["each"]),
        max(members["each"]),
    )
    assert members["spread"] > 0
    line = (
        f"test {title_of(metric)} of each alone {members['min']:.3f} to {members['max']:.3f}, "
        f"mean standard deviation of a score over members {members['spread']:.3f}"
    )
    assert f"evaluate: model is the mean of 2 members: {line}" in printed
    assert not any("members" in of for of, _ in alone)

    assert main(["score", "--model", *MODELS, "--fasta", "p.fa", "--output", "scores.tsv"]) == 0
    scores = pd.read_csv("scores.tsv", sep="\t").set_index("id")
    both = scores.index.intersection(table.index)
    of_table, of_scores = {
        "binary": (
            ["model_logit", "model_calibrated", "model_spread"],
            ["logit", "probability", "spread"],
        ),
        "multilabel": (["u", "v"], ["probability_u", "probability_v"]),
        "labels": (["predicted"], ["predicted"]),
        "several": (["mark.u", "number.v"], ["mark.probability_u", "number.v"]),
    }[kind]
    for judged_as, scored_as in zip(of_table, of_scores, strict=True):
        if kind == "labels":
            assert table[judged_as][both].tolist() == scores[scored_as][both].tolist()
        else:
            np.testing.assert_allclose(
                table[judged_as][both], scores[scored_as][both], rtol=1e-4, atol=1e-5
            )
    if kind == "binary":
        assert test["model"]["chosen"]["calibrated_threshold"] == load(MODELS).calibration.threshold
        mean = np.mean([of["model_logit"] for _, of in alone], axis=0)
        np.testing.assert_allclose(table["model_logit"], mean, rtol=1e-4, atol=1e-5)

"""Average two members of a run, as `evaluate` and `score` do."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small_task as st
from commands import run

from selfattn_bio import Study
from selfattn_bio.evaluation.metrics import title_of

RUN = """
split = { kind = "random", valid_fraction = 0.3, test_fraction = 0.3 }
tokens.k = 1
evaluation.bootstraps = 5
model = { embed_dim = 8, feedforward_dim = 8 }
training = { seed = 7, seeds = 2, max_steps = 2, shift = 0 }
"""
TARGETS = 'data = { sequences = "positives.fa", targets = "t.tsv" }\n'
OBJECTIVES = {
    "binary": "",
    "labels": f'{TARGETS}objective = {{ kind = "labels", column = "w", classes = "io" }}',
    "several": f"""{TARGETS}
objective.kind = "several"
objective.parts.mark = {{ kind = "multilabel", columns = ["u"] }}
objective.parts.number = {{ kind = "regression", columns = ["v"] }}
""",
}
MODELS = ["model", "members/2/model"]


@pytest.fixture(params=OBJECTIVES)
def kind(request, here):
    """Write a task of each kind to the folder "both", and train two members."""
    rng = np.random.default_rng(0)
    texts = {name: st.random_texts(rng, 60, 30) for name in ("positives", "negatives")}
    for name, of_name in texts.items():
        st.write_fasta(f"{name}.fa", of_name)
    targets = {
        "u": rng.integers(0, 2, 60),
        "v": rng.integers(0, 2, 60),
        "w": [text.translate(str.maketrans("ACGT", "iioo")) for text in texts["positives"]],
    }
    ids = [f"positives{i}" for i in range(60)]
    pd.DataFrame({"id": ids, **targets}).to_csv("t.tsv", sep="\t", index=False)
    Path("both").mkdir()
    Path("both/run.toml").write_text(st.small(RUN, OBJECTIVES[request.param]))
    st.run_steps("ingest split train", "both")
    run("train both/members/2 --threads 1")
    return request.param


def judged(folder):
    """Return the test metrics and predictions of `evaluate`."""
    run("evaluate", folder)
    table = st.read_tsv(f"{folder}/predictions/test.tsv")
    return st.read_json(f"{folder}/metrics.json")["test"], table.set_index("id")


def alone(folder):
    """Copy the task with one of its members as its only model."""
    copy = st.copy_task(Path("both"), Path(folder.replace("/", "-")), Path("both") / folder)
    shutil.rmtree(copy / "members")
    (copy / "run.toml").write_text((copy / "run.toml").read_text().replace("seeds = 2\n", ""))
    return str(copy)


def test_members_are_averaged_in_evaluate_and_score(kind, capsys):
    test, table = judged("both")
    printed = capsys.readouterr().out
    each = [judged(alone(model)) for model in MODELS]
    members = test["members"]["model"]
    metric = {"labels": "accuracy", "several": "mean"}.get(kind, "auroc")
    assert members["each"] == pytest.approx([of["model"][metric]["value"] for of, _ in each])
    limits = (min(members["each"]), max(members["each"]))
    assert (members["metric"], members["min"], members["max"]) == (metric, *limits)
    assert members["spread"] > 0
    each_alone = f"{title_of(metric)} of each alone {limits[0]:.3f} to {limits[1]:.3f}, "
    spread = f"mean standard deviation of a score over members {members['spread']:.3f}"
    assert f"evaluate: model is the mean of 2 members: test {each_alone}{spread}" in printed
    assert not any("members" in of for of, _ in each)

    models = " ".join(f"both/{model}" for model in MODELS)
    run(f"score --model {models} --fasta positives.fa --output scores.tsv")
    scores = st.read_tsv("scores.tsv").set_index("id")
    both = scores.index.intersection(table.index)
    predicted = ["model_logit", "model_calibrated", "model_spread"]
    of_table, of_scores = {
        "binary": (predicted, ["logit", "probability", "spread"]),
        "labels": (["predicted"], ["predicted"]),
        "several": (["mark.u", "number.v"], ["mark.probability_u", "number.v"]),
    }[kind]
    if kind != "labels":
        called = "mark.predicted" if kind == "several" else "predicted"
        assert table.loc[both, called].tolist() == scores.loc[both, called].tolist()
    judged_as, scored_as = table.loc[both, of_table], scores.loc[both, of_scores]
    if kind == "labels":
        assert judged_as.equals(scored_as)
    else:
        np.testing.assert_allclose(judged_as, scored_as, rtol=1e-4, atol=1e-5)
    if kind == "binary":
        threshold = Study("both").model.calibration.threshold
        assert test["model"]["chosen"]["calibrated_threshold"] == threshold
        mean = np.mean([of["model_logit"] for _, of in each], axis=0)
        np.testing.assert_allclose(table["model_logit"], mean, rtol=1e-4, atol=1e-5)

"""Balance a planted shortcut: a marker that follows the label except in a small group."""

import numpy as np
import pandas as pd
import pytest
import small_task as st
import torch
from commands import run
from torch.nn.functional import binary_cross_entropy_with_logits

from selfattn_bio import config
from selfattn_bio.data.batches import BalancedOrder
from selfattn_bio.errors import CorpusError
from selfattn_bio.evaluation.groups import worst_auroc
from selfattn_bio.scoring.loading import load

MODEL = config.AttentionModel(**st.LEARNER | {"dropout": 0.2})
TRAINING = st.FAST | {"max_steps": 160, "evaluate_every": 40, "shift": 0}
WAYS = {"plain": None, "reweight": config.ReweightBalance(by="origin")}
WAYS["sample"] = config.SampleBalance(by="origin")


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Write 3,600 records of two groups.

    TATCGATA follows label 1 in four of five records of both groups. GGCCGG follows it in all
    records of "major" and opposes it in all of "minor", 15 % of the records. The best classifier of
    all records therefore follows GGCCGG.
    """
    folder = tmp_path_factory.mktemp("gap")
    rng, rows = np.random.default_rng(0), []
    for i in range(3600):
        label, minor = i % 2, rng.random() < 0.15
        letters, places = rng.choice(list("ACGT"), 60), rng.permutation(6)[:2] * 10
        if bool(label) == (rng.random() < 0.8):
            letters[places[0] : places[0] + 8] = list("TATCGATA")
        if bool(label) != minor:
            letters[places[1] : places[1] + 6] = list("GGCCGG")
        split = ("train", "valid", "test")[i // 2 % 3]
        rows.append((f"r{i}", "".join(letters), label, "minor" if minor else "major", split))
    table = pd.DataFrame(rows, columns=["id", "sequence", "label", "origin", "split"])
    table.drop(columns="split").to_csv(folder / "records.csv", index=False)
    data = f'[data]\nsequences = "{folder}/records.csv"\nlabel = "label"\n'
    evaluation = '[evaluation]\ngroups = ["origin"]\nbootstraps = 50\n[variants]\n'
    (folder / "run.toml").write_text(data + evaluation)
    run("ingest", folder)
    ids = st.corpus_of(folder).records["id"]
    st.write_split(folder, table.set_index("id").loc[ids, "split"].values)
    return folder


def run_file(way, **training):
    data = config.Data(sequences=("records.csv",), label="label")
    settings = config.Training(**TRAINING | training, balance=WAYS[way])
    return config.RunFile(data=data, model=MODEL, training=settings, variants={})


@pytest.fixture(scope="module")
def models(task):
    """Train one model per way of balancing."""
    return {way: st.fit(task, run_file(way), way) for way in WAYS}


def judged(task, model):
    """Return the test AUROC, that of the worst group, and the gap between the two groups."""
    corpus, rows = st.corpus_of(task), st.rows_of(task, "test")
    logits = load(model).logits(st.letters_of(task, "test"))
    labels = corpus.records["label"].to_numpy(dtype=int)[rows]
    origin = corpus.targets(["origin"])["origin"].to_numpy(dtype=object)[rows]
    groups = (origin == "major", origin == "minor")
    each = [worst_auroc(origin[of], labels[of], logits[of]) for of in groups]
    of_all = worst_auroc(np.full(len(rows), ""), labels, logits)
    return of_all, worst_auroc(origin, labels, logits), abs(each[0] - each[1])


def test_balancing_shrinks_the_gap(task, models):
    found = {way: judged(task, model) for way, model in models.items()}
    # Worst of ten seeds in float32 and bfloat16: a gap of 0.53 without balancing; with it, less
    # than a third of that gap, a worst group 0.37 better, and an AUROC of 0.63.
    assert found["plain"][2] > 0.3, found
    for way in ("reweight", "sample"):
        assert found[way][2] < found["plain"][2] / 2, found
        # the gap is smaller because the worst group improves
        assert found[way][1] > found["plain"][1] + 0.1, found
        assert 0.55 < found[way][0] < found["plain"][0], found  # balancing costs some AUROC


def test_metrics_report_groups_worst_group_and_gap(task, models, tmp_path, capsys):
    run("evaluate", st.copy_task(task, tmp_path / "judged", models["sample"]))
    found = st.read_json(tmp_path / "judged/metrics.json")["groups"]
    assert set(found) == {"gc", "origin"}  # all records have the same length and no chromosome
    origin = found["origin"]
    assert [entry["group"] for entry in origin["groups"]] == ["major", "minor"]
    assert sum(entry["n"] for entry in origin["groups"]) == 1200
    worst = min(origin["groups"], key=lambda entry: entry["model"]["auroc"]["value"])
    assert origin["worst"] == worst["group"]
    assert f"evaluate: AUROC by origin: worst {origin['worst']!r} " in capsys.readouterr().out


def test_best_step_is_chosen_by_worst_group(models):
    history = pd.read_csv(models["sample"] / "history.csv")
    best = st.read_json(models["sample"] / "provenance.json")["best_step"]
    assert best == history["step"][history["valid_worst_auroc"].idxmax()]
    assert "valid_worst_auroc" not in pd.read_csv(models["plain"] / "history.csv")


def test_weights_and_samples_balance_group_and_label(task):
    ways = ("reweight", "sample")
    reweighting, sampling = (st.trainer_of(task, run_file(way)).steps for way in ways)
    corpus, train = reweighting.data.corpus, reweighting.data.train
    origin = corpus.targets(["origin"])["origin"].to_numpy()[train.rows]
    labels, weights = reweighting.stream.split.targets.T
    assert (labels == train.targets).all()
    totals = pd.Series(weights).groupby([origin, labels]).sum()
    assert len(totals) == 4
    assert totals.to_numpy() == pytest.approx(len(labels) / 4)
    assert weights.mean() == pytest.approx(1.0)
    assert not isinstance(reweighting.stream.order, BalancedOrder)
    assert isinstance(sampling.stream.order, BalancedOrder)
    rows = np.concatenate(list(sampling.stream.order.epoch(0)))
    sampled = pd.Series([(origin[row], labels[row]) for row in rows]).value_counts()
    assert set(sampled) == {len(labels) / 4}


def test_loss_multiplies_records_by_weight(task):
    """The loss of a batch is the sum of each record's loss times its weight."""
    run = run_file("reweight", label_smoothing=0.0, matmul="highest")
    trainer = st.trainer_of(task, run)
    trainer.bare.eval()  # use the running statistics of batch norm
    outputs, labels = torch.randn(5, 1, 1), torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0])
    weights = torch.tensor([2.0, 0.5, 3.0, 1.0, 0.0])
    expected = binary_cross_entropy_with_logits(outputs[:, 0, 0], labels, weights, reduction="sum")
    found = trainer.steps.loss.sum(outputs, torch.stack([labels, weights], 1))
    assert torch.allclose(found, expected)
    trainer.steps.add_gradients(0)
    assert any(bool(each.grad.any()) for each in trainer.bare.parameters() if each.grad is not None)


def test_balance_needs_several_groups(task, tmp_path):
    balance = config.SampleBalance(by="length")
    training = config.Training(**TRAINING, balance=balance)
    run = run_file("plain").model_copy(update={"training": training})
    with pytest.raises(CorpusError, match="all training records have the same 'length', '60"):
        st.fit(task, run, tmp_path / "model")

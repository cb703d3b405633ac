"""Train on planted data: the model learns, the control does not."""

import numpy as np
import pandas as pd
import pytest
import small_task as st
import torch
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score

from selfattn_bio import config, ingest_files
from selfattn_bio.errors import CorpusError
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.table import score_sequences
from selfattn_bio.training.data import TrainingData
from selfattn_bio.training.steps import Steps
from selfattn_bio.training.trainer import Validation

MODEL = config.AttentionModel(**st.LEARNER | {"members": 2})
FAST = config.Training(**st.FAST, max_steps=120, evaluate_every=40, precision="32-true")


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Create a corpus and a split; positives have TATCGATA in both halves."""
    folder = tmp_path_factory.mktemp("planted")
    rng = np.random.default_rng(0)
    halves = [st.planted_texts(rng, 240, 25, "TATCGATA") for _ in range(2)]
    ends = st.random_texts(rng, 240, 0, 20)
    positives = ["".join(parts) for parts in zip(*halves, ends, strict=True)]
    negatives = st.random_texts(rng, 240, 50, 70)
    classes = {"positives": positives, "negatives": negatives}
    files = [st.write_fasta(folder / f"{name}.fa", texts) for name, texts in classes.items()]
    corpus = ingest_files(files, folder / "corpus", "dna", labels=[1, 0])
    st.write_split(folder, np.where(np.arange(len(corpus)) % 4 == 0, "valid", "train"))
    return folder


def run_file(training=FAST, model=MODEL, **sections):
    data = config.Data(positives=("a",), negatives=("b",))
    return config.RunFile(**{"data": data, "model": model, "training": training} | sections)


def with_training(**changes):
    return run_file(FAST.model_copy(update=changes))


def best_auroc(folder):
    return float(pd.read_csv(folder / "history.csv")["valid_auroc"].max())


CNN = config.CnnModel(
    **{"embed_dim": 4, "channels": (16, 16, 16), "kernels": (9, 5, 3), "pools": (2, 2, 2)},
    **{"hidden_dim": 16, "dropout": 0.1},
)


@pytest.mark.parametrize("model", [MODEL, CNN], ids=["attention", "cnn"])
def test_training_learns_planted_motif(planted, tmp_path, model, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    model = st.fit(planted, run_file(model=model), tmp_path / "model")
    assert best_auroc(model) > 0.95
    last = caplog.messages[-2]
    assert "step 120/120 | epoch" in last
    assert "validation AUROC" in last
    provenance = st.read_json(model / "provenance.json")
    assert (provenance["num_train"], provenance["num_positive"]) == (360, 180)
    plain = ["".join(row) for row in np.random.default_rng(1).choice(list("ACGT"), (10, 60))]
    carrying = [row[:10] + "TATCGATA" + row[18:40] + "TATCGATA" + row[48:] for row in plain]
    logits = score_sequences(model, plain + carrying)["logit"].to_numpy()
    assert (logits[10:] > logits[:10]).all()


@pytest.mark.parametrize(
    "precision", ["bf16-mixed", pytest.param("16-mixed", marks=pytest.mark.long)]
)
def test_half_precisions_learn(planted, tmp_path, precision):
    model = st.fit(planted, with_training(precision=precision), tmp_path / "model")
    assert best_auroc(model) > 0.95


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_bfloat16_window_learns_on_gpu(planted, tmp_path):
    window = {"pattern": config.WindowPattern(window=16), "embed_dim": 32}
    window |= {"stem": config.NoStemSection(), "kernel": "flex"}
    training = FAST.model_copy(update={"precision": "bf16-mixed"})
    model = st.fit(planted, run_file(training, MODEL.model_copy(update=window)), tmp_path / "model")
    assert best_auroc(model) > 0.9
    assert st.read_json(model / "provenance.json")["device"] == "cuda"


def test_control_learns_nothing_and_keeps_top(planted, tmp_path, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    run = with_training(labels="shuffled", top=2)
    model = st.fit(planted, run, tmp_path / "model")
    assert "model: negative control: its labels are shuffled" in caplog.text
    history = pd.read_csv(model / "history.csv")
    history = history.sort_values("valid_auroc", ascending=False, kind="stable")
    # best of three evaluations on 120 records; the model above reaches 0.95
    assert history["valid_auroc"].iloc[0] < 0.75
    (kept,) = (model / "top").iterdir()
    assert kept.name == f"step-{history['step'].iloc[1]:09d}.safetensors"
    auroc = valid_auroc(planted, model, run, load_file(kept))
    assert auroc == pytest.approx(history["valid_auroc"].iloc[1], abs=1e-3)


def test_runs_are_reproducible_and_seeds_differ(planted, tmp_path):
    a, b, c = (
        st.fit(planted, with_training(max_steps=6, seed=seed), tmp_path / name)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    st.assert_same_weights(a, b)
    first, other = (st.weights_of(model)["embedding.weight"] for model in (a, c))
    assert not torch.equal(first, other)
    row = pd.read_csv(a / "history.csv").iloc[-1]
    # A 3-mer adds a base at each end: 50 to 69 bases per record, minus a shift of up to 4.
    assert 0.94 < row["tokens_per_second"] / row["letters_per_second"] < 0.98
    assert row["peak_memory_mb"] > 10


@pytest.fixture
def passes(monkeypatch):
    """Count the passes through the validation split, one entry each."""
    found, outputs = [], Validation.outputs
    monkeypatch.setattr(Validation, "outputs", lambda self: found.append(1) or outputs(self))
    return found


@pytest.mark.parametrize(("every", "number"), [(6, 1), (3, 3)])
def test_calibration_reads_the_outputs_of_the_best_step(
    planted, tmp_path, monkeypatch, passes, every, number
):
    """The first evaluation is the best; only if it is also the last, its outputs are reused."""
    metrics = Steps.metrics
    monkeypatch.setattr(
        Steps, "metrics", lambda self, outputs: metrics(self, outputs) | {"auroc": 1 / len(passes)}
    )
    run = with_training(max_steps=6, evaluate_every=every)
    model = st.fit(planted, run, tmp_path / "model")
    assert len(passes) == number
    assert st.read_json(model / "provenance.json")["best_step"] == every
    logits = load(model).logits(st.letters_of(planted, "valid"))
    expected = Calibration.fit(logits, data_of(planted, run).valid.targets)
    found = st.read_json(model / "provenance.json")["calibration"]
    assert found["slope"] == pytest.approx(expected.slope, rel=1e-3)


def valid_auroc(planted, model, run, weights=None):
    """Score the validation records again, with the labels that the training used."""
    scorer = load(model)
    scorer.network.load_state_dict(weights or st.weights_of(model))
    logits = scorer.logits(st.letters_of(planted, "valid"))
    return roc_auc_score(data_of(planted, run).valid.targets, logits)


def data_of(planted, run):
    return TrainingData.read(run, st.corpus_of(planted), planted / "split.tsv")


def test_patience_stops_training_early(planted, tmp_path, passes):
    run = with_training(labels="shuffled", max_steps=2000, evaluate_every=5, patience=2)
    model = st.fit(planted, run, tmp_path / "model")
    history = pd.read_csv(model / "history.csv")
    assert history["step"].iloc[-1] < 2000
    assert history["step"].iloc[-1] - history["step"].iloc[history["valid_auroc"].argmax()] == 10
    # The weights are those of the best evaluation, not the last, and are scored again.
    assert len(passes) == len(history) + 1
    best = history["valid_auroc"].max()
    assert valid_auroc(planted, model, run) == pytest.approx(best, abs=1e-3)


def test_control_shuffles_labels_of_both_splits(planted):
    data = data_of(planted, with_training(labels="shuffled"))
    for found in (data.train, data.valid):
        truth = st.corpus_of(planted).records["label"].to_numpy()[found.rows]
        assert (found.targets != truth).any()
        assert sorted(found.targets) == sorted(truth)


def test_corpus_of_other_alphabet_is_refused(planted):
    protein = run_file(data=config.Data(alphabet="protein", positives=("a",), negatives=("b",)))
    with pytest.raises(CorpusError, match=r"corpus has alphabet 'dna', but .* is 'protein'"):
        data_of(planted, protein)


def test_split_of_one_class_is_refused(planted, tmp_path):
    corpus, other = st.corpus_of(planted), tmp_path / "split.tsv"
    table = st.read_tsv(planted / "split.tsv").assign(reason="")
    table.loc[corpus.records["label"] == 0, "split"] = "train"
    table.to_csv(other, sep="\t", index=False)
    message = r"the validation split has only records of label 1 \(60\)"
    with pytest.raises(CorpusError, match=message):
        TrainingData.read(run_file(), corpus, other)

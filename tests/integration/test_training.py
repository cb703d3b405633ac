"""Train on planted data: the model learns, the control does not, accumulation is exact."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score

from selfattn_bio import config
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.errors import CorpusError, TrainingError
from selfattn_bio.files import sha256_of
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.table import score_sequences
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.training import provenance
from selfattn_bio.training.data import TrainingData
from selfattn_bio.training.loop import train
from selfattn_bio.training.provenance import fingerprint_of

MODEL = config.AttentionModel(
    embed_dim=16,
    num_layers=1,
    num_heads=2,
    feedforward_dim=32,
    dropout=0.0,
    stem=config.ConvStemSection(token_dim=8, kernel=9, second_kernel=3),
)
FAST = config.Training(
    max_steps=120,
    batch_size=32,
    learning_rate=5e-3,
    warmup_steps=10,
    evaluate_every=40,
    ema_decay=0.9,
    precision="32-true",
)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Create a corpus and a split; positives have TATCGATA in both halves."""
    folder = tmp_path_factory.mktemp("planted")
    rng = np.random.default_rng(0)
    for name in ("positives", "negatives"):
        with (folder / f"{name}.fa").open("w") as file:
            for i in range(240):
                letters = list(rng.choice(list("ACGT"), rng.integers(50, 70)))
                if name == "positives":
                    for half in (0, len(letters) // 2):
                        at = half + rng.integers(0, len(letters) // 2 - 8)
                        letters[at : at + 8] = "TATCGATA"
                file.write(f">{name}{i}\n{''.join(letters)}\n")
    corpus = build_corpus(
        [(folder / "positives.fa", 1), (folder / "negatives.fa", 0)],
        folder / "corpus",
        RecordRules(DNA),
    )
    splits = np.where(np.arange(len(corpus)) % 4 == 0, "valid", "train")
    pd.DataFrame({"id": corpus.records["id"], "split": splits, "reason": ""}).to_csv(
        folder / "split.tsv", sep="\t", index=False
    )
    return corpus, folder / "split.tsv"


def run_file(training=FAST, model=MODEL, **sections):
    data = config.Data(positives=("a",), negatives=("b",))
    return config.RunFile(**{"data": data, "model": model, "training": training} | sections)


def with_training(**changes):
    return run_file(FAST.model_copy(update=changes))


def best_auroc(folder):
    return float(pd.read_csv(folder / "history.csv")["valid_auroc"].max())


@pytest.mark.parametrize(
    "model",
    [
        MODEL,
        config.CnnModel(
            embed_dim=4,
            channels=(16, 16, 16),
            kernels=(9, 5, 3),
            pools=(2, 2, 2),
            hidden_dim=16,
            dropout=0.1,
        ),
    ],
    ids=["attention", "cnn"],
)
def test_training_learns_planted_motif(planted, tmp_path, model, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    train(run_file(model=model), *planted, tmp_path / "model", threads=1)
    assert best_auroc(tmp_path / "model") > 0.95
    last = caplog.messages[-2]
    assert "step 120/120 | epoch" in last
    assert "validation AUROC" in last
    provenance = json.loads((tmp_path / "model/provenance.json").read_text())
    assert (provenance["num_train"], provenance["num_positive"]) == (360, 180)
    plain = ["".join(row) for row in np.random.default_rng(1).choice(list("ACGT"), (10, 60))]
    carrying = [row[:10] + "TATCGATA" + row[18:40] + "TATCGATA" + row[48:] for row in plain]
    logits = score_sequences(load(tmp_path / "model"), plain + carrying)["logit"].to_numpy()
    assert (logits[10:] > logits[:10]).all()


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_half_precisions_learn(planted, tmp_path, precision):
    train(with_training(precision=precision), *planted, tmp_path / "model", threads=1)
    assert best_auroc(tmp_path / "model") > 0.95


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_bfloat16_window_learns_on_gpu(planted, tmp_path):
    window = {
        "pattern": config.WindowPattern(window=16),
        "embed_dim": 32,
        "stem": config.NoStemSection(),
        "kernel": "flex",
    }
    train(
        run_file(
            FAST.model_copy(update={"precision": "bf16-mixed"}), MODEL.model_copy(update=window)
        ),
        *planted,
        tmp_path / "model",
        threads=1,
    )
    assert best_auroc(tmp_path / "model") > 0.9
    assert json.loads((tmp_path / "model" / "provenance.json").read_text())["device"] == "cuda"


def test_history_has_throughput(planted, tmp_path):
    train(with_training(max_steps=40), *planted, tmp_path / "model", threads=1)
    row = pd.read_csv(tmp_path / "model" / "history.csv").iloc[-1]
    # A 3-mer adds a base at each end: 50 to 69 bases per record, minus a shift of up to 4.
    assert 0.94 < row["tokens_per_second"] / row["letters_per_second"] < 0.98
    assert 0 < row["gemm_share"] < 1
    assert row["peak_memory_mb"] > 10


def test_control_learns_nothing_and_says_why(planted, tmp_path, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    train(with_training(labels="shuffled"), *planted, tmp_path / "model", threads=1)
    assert "model: negative control: its labels are shuffled" in caplog.text
    # best of three evaluations on 120 records; the model above reaches 0.95
    assert best_auroc(tmp_path / "model") < 0.75


def test_runs_are_reproducible_and_seeds_differ(planted, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(with_training(max_steps=6, seed=seed), *planted, tmp_path / name, threads=1)
    a, b, c = (load_file(tmp_path / name / "model.safetensors") for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not torch.equal(a["embedding.weight"], c["embedding.weight"])


def test_accumulated_batches_equal_the_large_batch(planted, tmp_path):
    # Without a stem, whose batch norm depends on the size of the batches. Each step sees all
    # training records: as one batch, or as four batches of unequal size.
    for name, cut in (("one", {"batch_size": 360}), ("four", {"batch_size": 100, "accumulate": 4})):
        training = FAST.model_copy(update={"max_steps": 4, "evaluate_every": 1, **cut})
        train(
            run_file(training, MODEL.model_copy(update={"stem": config.NoStemSection()})),
            *planted,
            tmp_path / name,
            threads=1,
        )
    one, four = (
        pd.read_csv(tmp_path / name / "history.csv")["train_loss"] for name in ("one", "four")
    )
    assert one[3] < one[0]
    assert list(one) == pytest.approx(list(four), rel=1e-4)


def test_non_finite_loss_stops_training(planted, tmp_path):
    broken = config.AttentionModel(**MODEL.model_dump() | {"num_layers": 1})
    with pytest.raises(
        TrainingError,
        match=r"not finite at step \d+: loss \S+, gradient norm \S+ \(records: ",
    ):
        train(
            run_file(FAST.model_copy(update={"learning_rate": 1e30, "clip_norm": 1e30}), broken),
            *planted,
            tmp_path / "model",
            threads=1,
        )
    assert not (tmp_path / "model").exists()


def test_patience_stops_training_early(planted, tmp_path):
    train(
        with_training(labels="shuffled", max_steps=2000, evaluate_every=5, patience=2),
        *planted,
        tmp_path / "model",
        threads=1,
    )
    history = pd.read_csv(tmp_path / "model" / "history.csv")
    assert history["step"].iloc[-1] < 2000
    assert history["step"].iloc[-1] - history["step"].iloc[history["valid_auroc"].argmax()] == 10
    # The weights are those of the best evaluation, not the last.
    corpus, split = planted
    valid = TrainingData.read(with_training(labels="shuffled"), corpus, split).valid
    logits = load(tmp_path / "model").logits([corpus.letters(int(row)) for row in valid.rows])
    assert roc_auc_score(valid.targets, logits) == pytest.approx(
        history["valid_auroc"].max(), abs=1e-3
    )


def test_best_evaluations_are_kept_in_top(planted, tmp_path):
    corpus, split = planted
    # with the true labels, several evaluations are perfect
    run = with_training(top=2, labels="shuffled")
    train(run, corpus, split, tmp_path / "model", threads=1)
    history = pd.read_csv(tmp_path / "model" / "history.csv").sort_values(
        "valid_auroc", ascending=False, kind="stable"
    )
    _, second = history["step"].iloc[:2]
    (kept,) = (tmp_path / "model" / "top").iterdir()
    assert kept.name == f"step-{second:09d}.safetensors"
    scorer = load(tmp_path / "model")
    scorer.network.load_state_dict(load_file(kept))
    valid = TrainingData.read(run, corpus, split).valid
    logits = scorer.logits([corpus.letters(int(row)) for row in valid.rows])
    assert roc_auc_score(valid.targets, logits) == pytest.approx(
        history["valid_auroc"].iloc[1], abs=1e-3
    )


def test_tensorboard_has_the_history(planted, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(with_training(tensorboard=True, max_steps=80), *planted, tmp_path / "model", threads=1)
    events = EventAccumulator(str(tmp_path / "model.checkpoints" / "tensorboard")).Reload()
    history = pd.read_csv(tmp_path / "model" / "history.csv")
    seen = events.Scalars("valid/auroc")
    assert [event.step for event in seen] == history["step"].tolist()
    assert [event.value for event in seen] == pytest.approx(history["valid_auroc"].tolist())


def test_control_shuffles_labels_of_both_splits(planted):
    corpus, split = planted
    data = TrainingData.read(with_training(labels="shuffled"), corpus, split)
    for found in (data.train, data.valid):
        truth = corpus.records["label"].to_numpy()[found.rows]
        assert (found.targets != truth).any()
        assert sorted(found.targets) == sorted(truth)


def test_checkpoint_belongs_to_split_settings_and_code(planted, tmp_path, monkeypatch):
    corpus, split = planted
    other = tmp_path / "split.tsv"
    other.write_text(split.read_text().replace("valid", "test"))
    runs = [
        run_file(),
        with_training(seed=1),
        run_file(model=config.CnnModel()),
        run_file(tokens=config.Tokens(k=2)),
    ]
    prints = {
        fingerprint_of(run, corpus, sha256_of(path), 1) for run in runs for path in (split, other)
    }
    assert len(prints) == 8
    both = with_training(reverse_complement=True)
    strands = [
        both,
        both.model_copy(update={"evaluation": config.EvaluationSection(strands="given")}),
    ]
    assert len({fingerprint_of(run, corpus, sha256_of(split), 1) for run in strands}) == 2
    monkeypatch.setattr(provenance, "code_sha256", lambda: "of other code")
    assert fingerprint_of(runs[0], corpus, sha256_of(split), 1) not in prints


def test_corpus_of_other_alphabet_is_refused(planted):
    protein = run_file(data=config.Data(alphabet="protein", positives=("a",), negatives=("b",)))
    with pytest.raises(
        CorpusError,
        match=r"corpus has alphabet 'dna', but \[data\] alphabet of the run file is 'protein'\. "
        "Use the run file, corpus, split and model of one task, or ingest again",
    ):
        TrainingData.read(protein, *planted)


def test_one_class_and_short_records_are_refused(planted, tmp_path):
    corpus, split = planted
    table = pd.read_csv(split, sep="\t", keep_default_na=False)
    table.loc[corpus.records["label"] == 0, "split"] = "train"
    table.to_csv(tmp_path / "split.tsv", sep="\t", index=False)
    with pytest.raises(
        CorpusError, match=r"the validation split has only records of label 1 \(60\)"
    ):
        train(run_file(), corpus, tmp_path / "split.tsv", tmp_path / "model", threads=1)
    table.iloc[1:].to_csv(tmp_path / "split.tsv", sep="\t", index=False)
    with pytest.raises(CorpusError, match="the split table does not match the corpus"):
        train(run_file(), corpus, tmp_path / "split.tsv", tmp_path / "model", threads=1)

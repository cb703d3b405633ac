"""Run `selfattn-bio evaluate` and `report` on a small corpus with simple functions as networks."""

import json
from dataclasses import make_dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import small_task as st
from commands import exit_code, run
from scipy.special import expit

from selfattn_bio.baselines import load_baseline
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.display import with_interval
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.files import sha256_of

RUN = """
data = { positives = "p.fa", negatives = "n.fa" }
split = { kind = "random", valid_fraction = 0.3, test_fraction = 0.3 }
evaluation = { bootstraps = 20 }
interpret = { database = "jaspar:insects" }
"""
FITTED = (
    *("exact_positions", "exact_positions_trees", "gapped_kmers", "gc", "kmer6_logistic"),
    *("kmer6_positional_logistic", "kmer6_trees", "motif_scores"),
)
FOLDERS = {"model": Path("model")}
FOLDERS |= {name: Path(f"variants/{name}/model") for name in ("cnn", "shuffled")}
SCORER = make_dataclass("Scorer", ["run", "calibration", "stack", "read"])
COST = {"seconds": 1.0, "peak_memory_mb": 2.0, "letters_per_second": 3.0}


@pytest.fixture
def task(here, monkeypatch):
    """Create a corpus, a split and three model folders; their "networks" count T."""
    for seed, (name, motif) in enumerate((("p", "TATAATTT"), ("n", "GACCAGCA"))):
        texts = st.random_texts(np.random.default_rng(seed), 50, 40)
        st.write_fasta(f"{name}.fa", [text + motif for text in texts])
    Path("run.toml").write_text(RUN)
    st.run_steps("ingest split")
    sources = dict.fromkeys(("vocabulary_sha256", "weights_sha256"), "0" * 64)
    sources["corpus_fingerprint"] = Corpus.open("corpus").fingerprint
    sources["split_sha256"] = sha256_of("split.tsv")
    sources["calibration"] = {"slope": 0.5, "threshold": 0.5}
    for folder in FOLDERS.values():
        folder.mkdir(parents=True)
        (folder / "provenance.json").write_text(json.dumps(sources))
        (folder / "run.toml").write_text(RUN)
        (folder / "train.json").write_text(json.dumps(COST))
    names = {folder: name for name, folder in FOLDERS.items()}

    def load(folder):
        name = names.get(folder, "model")
        weight = {"model": 0.6, "cnn": 0.3, "shuffled": -0.01}[name]
        run = SimpleNamespace(is_control=lambda: name == "shuffled", model=None)
        noise = np.random.default_rng(len(name))

        def outputs(letters):
            counts = np.array([(row == ord("T")).sum() for row in letters])
            return (weight * (counts - 12) + noise.normal(size=len(letters)))[:, None]

        return SCORER(run, Calibration(0.5), None, outputs)

    monkeypatch.setattr("selfattn_bio.study.evaluated.load", load)


@pytest.mark.usefixtures("task")
def test_metrics_and_predictions_are_written(capsys):
    run("evaluate .")
    metrics = st.read_json("metrics.json")
    assert set(metrics["test"]["baselines"]) == {"cnn", *FITTED}
    assert set(metrics["test"]["controls"]) == {"shuffled"}
    assert set(metrics["test"]["model"]["auroc"]) == {"value", "low", "high"}
    assert metrics["costs"]["model"] == COST
    split = st.read_tsv("split.tsv")
    for name in ("valid", "test"):
        table = st.read_tsv(f"predictions/{name}.tsv")
        assert table["id"].tolist() == split["id"][split["split"] == name].tolist()
        assert ((table["label"] == 1) == table["id"].str.startswith("p")).all()
    said = capsys.readouterr().out
    assert "  shuffled (control: shuffled labels)\n" in said
    assert "  exact_positions (logistic regression on exact positions, of DNA and RNA also " in said
    best, model = metrics["differences"]["best_baseline"], metrics["test"]["model"]
    called = [line for line in said.splitlines() if line.startswith("evaluate: test MCC ")]
    assert [line.rpartition("  ")[2] for line in called] == ["model", "model", best, best]
    for half, at in (("", f"{model['threshold']:.3f}"), ("_at_half", 0.5)):
        mcc, accuracy, f1 = (model[f"{name}{half}"]["value"] for name in ("mcc", "accuracy", "f1"))
        assert f"MCC {mcc:.3f}, accuracy {accuracy:.3f}, F1 {f1:.3f} at threshold {at}" in said
    sizes = {name: {"networks": 2, "trainings": 1} for name in ("model", "cnn", "shuffled")}
    assert metrics["sizes"] == sizes
    assert "The AUROC of the model is lower than that of its best baseline, " in said
    assert said.splitlines()[-2].startswith("evaluate: On validation, ")
    assert "Use the baseline, which is saved in baselines/kmer6_logistic." in said
    valid, test = (metrics[split]["model"]["auroc"] for split in ("valid", "test"))
    shown = (with_interval(of["value"], of["low"], of["high"], 3, "") for of in (valid, test))
    assert f"| AUROC | {' | '.join(shown)} |" in Path("model_card.md").read_text()


@pytest.mark.usefixtures("task")
def test_saved_baselines_match_metrics():
    for file in ("run.toml", "model/run.toml"):
        Path(file).write_text(RUN + "training = { reverse_complement = true }\n")
    run("evaluate .")
    table = st.read_tsv("predictions/test.tsv")
    fingerprint, split = Corpus.open("corpus").fingerprint, sha256_of("split.tsv")
    assert [folder.name for folder in sorted(Path("baselines").iterdir())] == list(FITTED)
    for name in FITTED:
        baseline = load_baseline(f"baselines/{name}")
        assert baseline.origin == {"corpus_fingerprint": fingerprint, "split_sha256": split}
        found = expit(baseline.logits(st.letters_of(".", "test")))
        assert found == pytest.approx(table[name].to_numpy(), rel=1e-5)
    assert load_baseline("baselines/kmer6_logistic").both_strands
    assert not load_baseline("baselines/exact_positions").both_strands


CNN = FOLDERS["cnn"]
REGRESSION = """
data = { sequences = "s.fa", targets = "t.tsv" }
objective = { kind = "regression", columns = ["x"] }
"""


def of_other_split():
    path = CNN / "provenance.json"
    path.write_text(json.dumps(st.read_json(path) | {"split_sha256": "0" * 64}))


def notes_among_baselines():
    Path("baselines").mkdir()
    Path("baselines/notes.txt").write_text("mine")


REFUSED = [
    (of_other_split, f"{CNN}: the model was trained on another split (000000000000, this "),
    (lambda: (CNN / "run.toml").write_text(REGRESSION), f"{CNN}: the model has the objective"),
    (lambda: (CNN / "provenance.json").unlink(), f"{CNN}/provenance.json: file not found. Train"),
    (notes_among_baselines, "it holds 'notes.txt', which is not a baseline"),
]


@pytest.mark.usefixtures("task")
@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_evaluate_refuses_unsuitable_folders(capsys, change, message):
    change()
    assert exit_code("evaluate .") == 1
    assert message in capsys.readouterr().err
    assert not Path("metrics.json").exists()
    assert list(Path().glob("baselines/*")) == list(Path().glob("baselines/notes.txt"))


@pytest.mark.usefixtures("task")
def test_empty_split_error(capsys):
    st.write_fasta("s.fa", st.random_texts(np.random.default_rng(0), 50, 40))
    targets = {"id": [f"s{i}" for i in range(50)], "x": range(50)}
    pd.DataFrame(targets).to_csv("t.tsv", sep="\t", index=False)
    Path("run.toml").write_text(REGRESSION)
    run("ingest .")
    st.write_split(".", ["train", "valid"] * 25)
    assert exit_code("evaluate .") == 1
    message = "error: split.tsv: the test split is empty. Change [split] in the run file"
    assert message in capsys.readouterr().err

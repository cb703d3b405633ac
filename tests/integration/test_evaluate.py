"""Run `selfattn-bio evaluate` and `report` on a small corpus with simple functions as networks."""

import json
import shutil
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
FOLDERS = {
    "model": Path("model"),
    "cnn": Path("variants/cnn/model"),
    "shuffled": Path("variants/shuffled/model"),
}


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a corpus, a split and three model folders; their "networks" count T."""
    monkeypatch.chdir(tmp_path)
    for seed, (name, motif) in enumerate((("p", "TATAATTT"), ("n", "GACCAGCA"))):
        texts = st.random_texts(np.random.default_rng(seed), 50, 40)
        st.write_fasta(f"{name}.fa", [text + motif for text in texts])
    Path("run.toml").write_text(RUN)
    st.run_steps("ingest split")
    sources = {
        "corpus_fingerprint": Corpus.open("corpus").fingerprint,
        "split_sha256": sha256_of("split.tsv"),
        "vocabulary_sha256": "0" * 64,
        "weights_sha256": "0" * 64,
        "calibration": {"slope": 0.5, "threshold": 0.5},
    }
    cost = {"seconds": 1.0, "peak_memory_mb": 2.0, "letters_per_second": 3.0}
    for folder in FOLDERS.values():
        folder.mkdir(parents=True)
        (folder / "provenance.json").write_text(json.dumps(sources))
        (folder / "run.toml").write_text(RUN)
        (folder / "train.json").write_text(json.dumps(cost))
    names = {folder: name for name, folder in FOLDERS.items()}

    def load(folder: Path) -> SimpleNamespace:
        name = names.get(folder, "model")
        weight = {"model": 0.6, "cnn": 0.3, "shuffled": -0.01}[name]
        run = SimpleNamespace(is_control=lambda: name == "shuffled", model=None)
        noise = np.random.default_rng(len(name))

        def outputs(letters: list[np.ndarray]) -> np.ndarray:
            return np.array(
                [[weight * ((row == ord("T")).sum() - 12) + noise.normal()] for row in letters]
            )

        return SimpleNamespace(run=run, calibration=Calibration(0.5), stack=None, outputs=outputs)

    monkeypatch.setattr("selfattn_bio.study.evaluated.load", load)
    return tmp_path


def test_metrics_and_predictions_are_written(
    task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("evaluate .")
    metrics = st.read_json("metrics.json")
    assert set(metrics["test"]["baselines"]) == {"cnn", *FITTED}
    assert set(metrics["test"]["controls"]) == {"shuffled"}
    assert set(metrics["test"]["model"]["auroc"]) == {"value", "low", "high"}
    assert metrics["costs"]["model"] == {
        "seconds": 1.0,
        "peak_memory_mb": 2.0,
        "letters_per_second": 3.0,
    }
    split = st.read_tsv("split.tsv")
    for name in ("valid", "test"):
        table = st.read_tsv(f"predictions/{name}.tsv")
        assert table["id"].tolist() == split["id"][split["split"] == name].tolist()
        assert ((table["label"] == 1) == table["id"].str.startswith("p")).all()
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "evaluate: wrote metrics.json"
    assert [
        line.rpartition("  ")[2] for line in said if "AUROC" in line and "shuffled" in line
    ] == ["shuffled (control: shuffled labels)"]
    best, model = metrics["differences"]["best_baseline"], metrics["test"]["model"]
    called = [line for line in said if line.startswith("evaluate: test MCC ")]
    assert [line.rpartition("  ")[2] for line in called] == ["model", "model", best, best]
    values = {
        name: f"{model[name]['value']:.3f}"
        for name in ("mcc", "accuracy", "f1", "mcc_at_half", "accuracy_at_half", "f1_at_half")
    }
    assert called[0] == (
        f"evaluate: test MCC {values['mcc']}, accuracy {values['accuracy']}, F1 {values['f1']} "
        f"at threshold {model['threshold']:.3f}, chosen on valid  model"
    )
    assert called[1] == (
        f"evaluate: test MCC {values['mcc_at_half']}, accuracy {values['accuracy_at_half']}, F1 "
        f"{values['f1_at_half']} "
        "at threshold 0.5  model"
    )
    assert any(
        line.endswith("  exact_positions (logistic regression on exact positions)") for line in said
    )
    assert metrics["sizes"] == {
        name: {"networks": 2, "trainings": 1} for name in ("model", "cnn", "shuffled")
    }
    comparison = next(line for line in said if "best baseline" in line)
    assert comparison.startswith(
        "evaluate: The AUROC of the model is lower than that of its best baseline, "
    )
    assert comparison.endswith(
        "the comparison is based on only one training, so this may be chance. Use the baseline, "
        "which is saved in baselines/kmer6_logistic."
    )
    card = Path("model_card.md").read_text(encoding="utf-8")
    valid, test = (metrics[split]["model"]["auroc"] for split in ("valid", "test"))
    assert (
        f"| AUROC | {valid['value']:.4g} | {test['value']:.4g} ({test['low']:.4g} to "
        f"{test['high']:.4g}) |" in card
    )


def test_saved_baselines_match_metrics(task: Path) -> None:
    run("evaluate .")
    table = st.read_tsv("predictions/test.tsv")
    sources = {
        "corpus_fingerprint": Corpus.open("corpus").fingerprint,
        "split_sha256": sha256_of("split.tsv"),
    }
    assert [folder.name for folder in sorted(Path("baselines").iterdir())] == list(FITTED)
    for name in FITTED:
        baseline = load_baseline(f"baselines/{name}")
        found = expit(baseline.logits(st.letters_of(".", "test")))
        assert found == pytest.approx(table[name].to_numpy(), rel=1e-5)
        assert baseline.origin == sources


def test_baselines_use_strands_of_model(task: Path) -> None:
    for file in ("run.toml", "model/run.toml"):
        Path(file).write_text(RUN + "training = { reverse_complement = true }\n")
    run("evaluate .")
    assert load_baseline("baselines/kmer6_logistic").both_strands
    assert not load_baseline("baselines/exact_positions").both_strands


def test_card_of_several_members_describes_mean(task: Path) -> None:
    Path("run.toml").write_text(RUN + "training = { seeds = 2 }\n")
    for folder in (Path(), Path("variants/cnn"), Path("variants/shuffled")):
        shutil.copytree(folder / "model", folder / "members/2/model")
    shutil.copy("model/train.json", "members/2/model")
    Path("model_card.md").write_text("of one model")
    run("evaluate .")
    assert "The model is the mean of 2 trainings" in Path("model_card.md").read_text()
    assert st.read_json("metrics.json")["test"]["model"]["auroc"]["value"] > 0


def test_variant_that_is_not_trained_is_left_out(
    task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree("variants/cnn")
    run("evaluate .")
    assert "variant cnn is left out, because it was not trained" in capsys.readouterr().err
    assert set(st.read_json("metrics.json")["test"]["baselines"]) == set(FITTED)


def cnn_provenance(**changes: str) -> None:
    path = FOLDERS["cnn"] / "provenance.json"
    path.write_text(json.dumps(st.read_json(path) | changes))


def test_evaluate_refuses_model_of_other_split(
    task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cnn_provenance(split_sha256="0" * 64)
    assert exit_code("evaluate .") == 1
    error = capsys.readouterr().err
    place = "error: variants/cnn/model: the model was trained on another split (000000000000, this "
    assert place in error
    assert "If they are, train the model again: it may have seen these test records" in error
    assert not Path("metrics.json").exists()


def test_evaluate_keeps_folder_without_baselines(
    task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("baselines").mkdir()
    Path("baselines/notes.txt").write_text("mine")
    assert exit_code("evaluate .") == 1
    assert "it holds 'notes.txt', which is not a baseline" in capsys.readouterr().err
    assert Path("baselines/notes.txt").read_text() == "mine"


REGRESSION = """
data = { sequences = "s.fa", targets = "t.tsv" }
objective = { kind = "regression", columns = ["x"] }
"""


def test_evaluate_refuses_variant_of_other_objective(
    task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (FOLDERS["cnn"] / "run.toml").write_text(REGRESSION)
    assert exit_code("evaluate .") == 1
    message = "variants/cnn/model: the model has the objective regression x, the run file binary"
    assert message in capsys.readouterr().err
    assert not Path("metrics.json").exists()


def test_missing_file_of_model_folder_error(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (FOLDERS["cnn"] / "provenance.json").unlink()
    assert exit_code("evaluate .") == 1
    hint = "Train it again, or copy the complete folder"
    assert capsys.readouterr().err.strip() == (
        f"selfattn-bio evaluate: error: {FOLDERS['cnn']}/provenance.json: file not found. {hint}"
    )


def test_missing_step_error_names_the_command(
    task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("report .") == 1
    assert "metrics.json: not found. Run `selfattn-bio evaluate .` first" in capsys.readouterr().err
    assert not Path("report.html").exists()
    shutil.rmtree("model")
    assert exit_code("evaluate .") == 1
    assert "error: model: not found. Run `selfattn-bio train .` first" in capsys.readouterr().err


def test_empty_split_error(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    st.write_fasta("s.fa", st.random_texts(np.random.default_rng(0), 50, 40))
    targets = {"id": [f"s{i}" for i in range(50)], "x": range(50)}
    pd.DataFrame(targets).to_csv("t.tsv", sep="\t", index=False)
    Path("run.toml").write_text(REGRESSION)
    run("ingest .")
    st.write_split(".", ["train", "valid"] * 25)
    assert exit_code("evaluate .") == 1
    message = "error: split.tsv: the test split is empty. Change [split] in the run file"
    assert message in capsys.readouterr().err

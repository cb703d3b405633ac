"""Run `selfattn-bio evaluate` and `report` on a small corpus with simple functions as networks."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from selfattn_bio.baselines import load_baseline
from selfattn_bio.cli.main import main
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.files import sha256_of

RUN = """
data = { positives = "p.fa", negatives = "n.fa" }
split = { kind = "random", valid_fraction = 0.3, test_fraction = 0.3 }
evaluation = { bootstraps = 20 }
interpret = { database = "jaspar:insects" }
"""


def fasta(name: str, motif: str, seed: int) -> str:
    rng = np.random.default_rng(seed)
    return "".join(
        f">{name}{i}\n{''.join(rng.choice(list('ACGT'), 40))}{motif}\n" for i in range(50)
    )


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a corpus, a split and three model folders; their "networks" count T."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.fa").write_text(fasta("p", "TATAATTT", 0))
    (tmp_path / "n.fa").write_text(fasta("n", "GACCAGCA", 1))
    (tmp_path / "run.toml").write_text(RUN)
    assert (
        main(
            [
                "ingest",
                "--fasta",
                "p.fa",
                "n.fa",
                "--label",
                "1",
                "0",
                "--alphabet",
                "dna",
                "--output",
                "corpus",
            ]
        )
        == 0
    )
    assert (
        main(["split", "--run-file", "run.toml", "--corpus", "corpus", "--output", "split.tsv"])
        == 0
    )
    fingerprint = json.loads((tmp_path / "corpus" / "corpus.json").read_text())["fingerprint"]
    for name in ("model", "cnn", "shuffled"):
        (tmp_path / name).mkdir()
        provenance = {
            "corpus_fingerprint": fingerprint,
            "split_sha256": sha256_of(tmp_path / "split.tsv"),
        }
        provenance |= {
            "vocabulary_sha256": "0" * 64,
            "weights_sha256": "0" * 64,
            "calibration": {"slope": 0.5, "threshold": 0.5},
        }
        (tmp_path / name / "provenance.json").write_text(json.dumps(provenance))
        (tmp_path / name / "run.toml").write_text(RUN)
    (tmp_path / "model" / "train.json").write_text(
        json.dumps({"seconds": 1.0, "peak_memory_mb": 2.0, "letters_per_second": 3.0})
    )

    def load(folder: Path) -> SimpleNamespace:
        weight = {"model": 0.6, "cnn": 0.3, "shuffled": -0.01}[Path(folder).name]
        run = SimpleNamespace(is_control=lambda: Path(folder).name == "shuffled", model=None)
        noise = np.random.default_rng(len(Path(folder).name))

        def network_outputs(letters: list[np.ndarray]) -> np.ndarray:
            return np.array(
                [[[weight * ((row == ord("T")).sum() - 12) + noise.normal()]] for row in letters]
            )

        answers = {"network_outputs": network_outputs, "stacked": lambda network, letters: network}
        return SimpleNamespace(run=run, calibration=Calibration(0.5), stack=None, **answers)

    monkeypatch.setattr("selfattn_bio.study.evaluators.candidates.load", load)
    return tmp_path


ARGUMENTS = [
    "evaluate",
    "--run-file",
    "run.toml",
    "--corpus",
    "corpus",
    "--split",
    "split.tsv",
    "--model",
    "model",
    "--variant",
    "cnn=cnn",
    "--variant",
    "shuffled=shuffled",
    "--output",
    "out",
]


def test_metrics_and_predictions_are_written(
    task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(ARGUMENTS) == 0
    metrics = json.loads((task / "out" / "metrics.json").read_text())
    fitted = {
        "gc",
        "kmer6_logistic",
        "kmer6_positional_logistic",
        "exact_positions",
        "motif_scores",
        "gkm_svm",
    }
    assert set(metrics["test"]["baselines"]) == {"cnn", *fitted}
    assert set(metrics["test"]["controls"]) == {"shuffled"}
    assert set(metrics["test"]["model"]["auroc"]) == {"value", "low", "high"}
    assert metrics["train"] == {"seconds": 1.0, "peak_memory_mb": 2.0, "letters_per_second": 3.0}
    split = pd.read_csv(task / "split.tsv", sep="\t")
    for name in ("valid", "test"):
        table = pd.read_csv(task / "out" / "predictions" / f"{name}.tsv", sep="\t")
        assert table["id"].tolist() == split["id"][split["split"] == name].tolist()
        assert ((table["label"] == 1) == table["id"].str.startswith("p")).all()
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "evaluate: wrote out/metrics.json"
    assert [line.rpartition("  ")[2] for line in said if "chance level" in line] == [
        "shuffled (negative control; 0.5 is chance level)"
    ]
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
    card = (task / "out" / "model_card.md").read_text(encoding="utf-8")
    valid, test = (metrics[split]["model"]["auroc"] for split in ("valid", "test"))
    assert (
        f"| AUROC | {valid['value']:.4g} | {test['value']:.4g} ({test['low']:.4g} to "
        f"{test['high']:.4g}) |" in card
    )


def test_saved_baselines_match_metrics(task: Path) -> None:
    assert main(ARGUMENTS) == 0
    corpus, split = Corpus.open("corpus"), pd.read_csv("split.tsv", sep="\t")
    letters = [corpus.letters(int(row)) for row in np.flatnonzero(split["split"] == "test")]
    table = pd.read_csv(task / "out" / "predictions" / "test.tsv", sep="\t")
    folders = sorted((task / "out" / "baselines").iterdir())
    names = [
        "exact_positions",
        "gc",
        "gkm_svm",
        "kmer6_logistic",
        "kmer6_positional_logistic",
        "motif_scores",
    ]
    assert [folder.name for folder in folders] == names
    for folder in folders:
        baseline = load_baseline(folder)
        assert expit(baseline.logits(letters)) == pytest.approx(
            table[folder.name].to_numpy(), rel=1e-5
        )
        assert baseline.origin == {
            "corpus_fingerprint": corpus.fingerprint,
            "split_sha256": sha256_of("split.tsv"),
        }


def test_baselines_use_strands_of_model(task: Path) -> None:
    for folder in (task, task / "model"):
        text = RUN + "training = { reverse_complement = true }\n"
        (folder / "run.toml").write_text(text)
    assert main(ARGUMENTS) == 0
    assert load_baseline("out/baselines/kmer6_logistic").both_strands
    assert not load_baseline("out/baselines/exact_positions").both_strands


def test_card_of_several_members_describes_mean(task: Path) -> None:
    (task / "out").mkdir()
    (task / "out" / "model_card.md").write_text("of one model")
    assert (
        main(
            [
                *ARGUMENTS[: ARGUMENTS.index("model") + 1],
                "model",
                *ARGUMENTS[ARGUMENTS.index("model") + 1 :],
            ]
        )
        == 0
    )
    card = (task / "out" / "model_card.md").read_text()
    assert "The model is the mean of 2 trainings" in card
    assert (
        json.loads((task / "out" / "metrics.json").read_text())["test"]["model"]["auroc"]["value"]
        > 0
    )


def test_evaluate_refuses_model_of_other_split(
    task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    provenance = json.loads((task / "cnn" / "provenance.json").read_text())
    (task / "cnn" / "provenance.json").write_text(
        json.dumps(provenance | {"split_sha256": "0" * 64})
    )
    assert main(ARGUMENTS) == 1
    error = capsys.readouterr().err
    assert "error: cnn: the model was trained on another split (000000000000, this one is " in error
    assert "If they are, train the model again: it may have seen these test records" in error
    assert not (task / "out").exists()


def test_evaluate_keeps_folder_without_baselines(
    task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (task / "out" / "baselines").mkdir(parents=True)
    (task / "out" / "baselines" / "notes.txt").write_text("mine")
    assert main(ARGUMENTS) == 1
    assert "it holds 'notes.txt', which is not a baseline" in capsys.readouterr().err
    assert (task / "out" / "baselines" / "notes.txt").read_text() == "mine"


def test_evaluate_refuses_variant_of_other_objective(
    task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = (
        '[data]\nsequences = "s.fa"\ntargets = "t.tsv"\n[objective]\nkind = '
        '"regression"\ncolumns = ["x"]\n'
    )
    (task / "cnn" / "run.toml").write_text(other)
    assert main(ARGUMENTS) == 1
    error = capsys.readouterr().err
    assert (
        "error: cnn: the model has the objective regression x, the run file binary. "
        "Use a model of this task, or train it again as a variant" in error
    )
    assert not (task / "out").exists()


def test_missing_model_folder_error(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word.replace("cnn=cnn", "cnn=absent") for word in ARGUMENTS]) == 1
    error = capsys.readouterr().err.strip()
    hint = "Train it again, or copy the complete folder"
    assert error == f"selfattn-bio evaluate: error: absent/provenance.json: file not found. {hint}"


def test_empty_split_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.fa").write_text(fasta("s", "TATAATTT", 0))
    pd.DataFrame({"id": [f"s{i}" for i in range(50)], "x": range(50)}).to_csv(
        "t.tsv", sep="\t", index=False
    )
    objective = '[objective]\nkind = "regression"\ncolumns = ["x"]\n'
    Path("run.toml").write_text('[data]\nsequences = "s.fa"\ntargets = "t.tsv"\n' + objective)
    assert (
        main(
            [
                "ingest",
                "--fasta",
                "s.fa",
                "--targets",
                "t.tsv",
                "--alphabet",
                "dna",
                "--output",
                "corpus",
            ]
        )
        == 0
    )
    split = {"id": [f"s{i}" for i in range(50)], "split": ["train", "valid"] * 25, "reason": ""}
    pd.DataFrame(split).to_csv("split.tsv", sep="\t", index=False)
    paths = [
        "--run-file",
        "run.toml",
        "--corpus",
        "corpus",
        "--split",
        "split.tsv",
        "--model",
        "model",
        "--output",
        "out",
    ]
    assert main(["evaluate", *paths]) == 1
    assert (
        "error: split.tsv: the test split is empty. Change [split] in the run file"
        in capsys.readouterr().err
    )


def test_variant_option_needs_name_and_folder(
    task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([word.replace("cnn=cnn", "cnn") for word in ARGUMENTS])
    assert "--variant: write NAME=DIR, not 'cnn'" in capsys.readouterr().err


def test_report_names_missing_step(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["report", "--run-file", "run.toml", "--results", ".", "--output", "report.html"]) == 1
    )
    assert "metrics.json: file not found. Run `selfattn-bio evaluate`" in capsys.readouterr().err
    assert not (task / "report.html").exists()

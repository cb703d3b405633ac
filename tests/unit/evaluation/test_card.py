"""Test the card in a model folder, which describes its run and provenance."""

import json

import pytest
import torch
import yaml

from selfattn_bio import config
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.evaluation.card import (
    _settings,
    best_metrics,
    left_out_sentence,
    model_card,
    write_card,
)
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import CARD, load_model, save_model

PROVENANCE = {
    "calibration": {"slope": 0.79, "intercept": -0.1, "threshold": 0.49},
    "data": [
        {"path": "a.fa", "sha256": "0123456789abcdef", "records": 1200},
        {"path": "b.fa", "sha256": "f" * 64, "records": 30, "made": {"kind": "shuffled"}},
    ],
    **{"num_train": 1000, "num_valid": 230, "best_step": 250, "seed": 7},
    **{"git_commit": "c0ffee", "versions": {"torch": "2.9"}},
}
VALID = {"auroc": {"value": 0.85804}, "loss": {"value": 0.4688}}


@pytest.fixture
def folder(tmp_path):
    def write(**sections):
        data = {"assembly": "dm3", "positives": ["a.fa"], "negatives": ["b.fa"]}
        model = config.AttentionModel(embed_dim=8, num_layers=1, num_heads=2, feedforward_dim=8)
        usual = {"title": "Some promoters", "model": model, "data": data}
        run = config.RunFile.model_validate(usual | sections)
        torch.manual_seed(0)
        save_model(tmp_path, run, build_network(run).state_dict(), PROVENANCE)
        return tmp_path

    return write


def test_names_cannot_leave_their_line(folder):
    path = folder(title="A\n# B", split={"kind": "column", "column": "x`\n<b>"})
    provenance = json.loads((path / "provenance.json").read_text())
    provenance["data"][0]["path"] = "a|b\n\n# c.fa"
    (path / "provenance.json").write_text(json.dumps(provenance))
    card = model_card(path, VALID)
    assert r"# A\n# B" in card
    assert r"""kind = "column", column = "x'\n<b>", """ in card
    assert r"| `a\|b\n\n# c.fa` | 1,200 |" in card


@pytest.mark.parametrize("title", ["<script>", "```<img src=x>`", "a ` b `` <b>"])
def test_titles_are_no_html(folder, title):
    path = folder(title=title, split={"kind": "column", "column": "<b>"})
    card = model_card(path, VALID)
    assert f"\n# {title.replace('<', '&lt;')}\n" in card
    assert 'column = "<b>", ' in card  # code is shown as it is


def test_settings_have_no_path_of_pretrained_weights():
    data = {"positives": ["a.fa"], "negatives": ["b.fa"]}
    model = {"kind": "pretrained", "folder": "/home/me/esm2"}
    run = config.RunFile.model_validate({"title": "t", "data": data, "model": model})
    settings = _settings(run)
    assert 'folder = "esm2"' in settings
    assert "/home" not in settings


def test_card_names_stack_parts(folder):
    stacked = folder(stack={"parts": ["kmer6_logistic", "motif_scores"]})
    with pytest.raises(ModelFolderError, match="folder 'stack' is missing"):
        load_model(stacked)
    for name in ("kmer6_logistic", "motif_scores"):
        (stacked / "stack" / name).mkdir(parents=True)

    def card_of(*metrics, **weights):
        stored = {"weights": weights, "bias": -0.4, "weights_sha256": ""}
        (stacked / "stack" / "weights.json").write_text(json.dumps(stored))
        return model_card(stacked, VALID, *metrics)

    card = card_of(network=0.08, motif_scores=1.27)
    times = "\N{MULTIPLICATION SIGN}"
    assert f": 0.08 {times} network + 1.27 {times} motif_scores - 0.40." in card
    assert "The validation metrics below are those of the network alone." in card
    judged = card_of({}, network=0.08)
    assert "of the network alone" not in judged
    assert "validation set. The validation metrics below use cross-validated weights." in judged
    left_out = "Simple models that the fit left out as negligible: kmer6_logistic"
    assert f"- 0.40. {left_out}. Their weights" in card
    assert f"\n{left_out}, motif_scores. Their weights" in card_of(network=1)


def test_card_reports_privacy_budget(folder, monkeypatch):
    spent = {"epsilon": 2.987, "delta": 1e-5, "steps": 1500}
    noise = {"sample_rate": 0.032, "max_grad_norm": 1.0, "noise_multiplier": 1.234}
    monkeypatch.setitem(PROVENANCE, "privacy", spent | noise)
    card = model_card(folder(), VALID)
    assert "epsilon 2.99 at delta 1e-05, after 1,500 steps. Each step" in card
    assert "with probability 0.032, clips its gradient to the norm 1 and" in card
    assert "lists the validation records, but no training records" in card
    monkeypatch.delitem(PROVENANCE, "privacy")
    assert "## Privacy" not in model_card(folder(), VALID)


def test_card_describes_model_folder(folder):
    path = folder(split={"kind": "chromosome", "valid": ["chr2L"], "test": ["chr2R"]})
    before = load_model(path)[2]
    write_card(path, VALID)
    page = (path / CARD).read_text(encoding="utf-8")
    assert load_model(path)[2] == before  # and the folder is still complete
    front_matter = yaml.safe_load(page.split("---\n")[1])
    assert front_matter["library_name"] == "selfattn_bio"
    assert front_matter["tags"] == ["biology", "dna", "binary", "attention"]
    for words in (
        "# Some promoters\n",
        "A mean of 2 networks, each a self-attention encoder that reads DNA and predicts ",
        '- `model = { kind = "attention", members = 2, embed_dim = 8, num_layers = 1, ',
        "- `tokens = { k = 3, ",
        "| `a.fa` | 1,200 | `0123456789ab` |",
        "| `b.fa` (shuffled negatives) | 30 |",
        "1,000 training records and 230 validation records",
        "split of kind `chromosome`. Objective: `binary`.",
        '- `split = { kind = "chromosome", valid = ["chr2L"], test = ["chr2R"] }`',
        *("Coordinates refer to dm3.", "| AUROC | 0.858 |  |", "step 250", "has no test metrics"),
        "Calibrated log-odds are 0.790 \N{MULTIPLICATION SIGN} logit -0.100 (Platt scaling).",
        *("at least 0.490", "selfattn_bio.load(", "seed 7; code c0ffee; torch 2.9"),
    ):
        assert words in page, words


CSV = {"sequences": ["a.csv"], "label": "label"}
FILES = {"train": ["a.csv"], "test": ["t.csv"], "label": "label"}
MASKED = {"data": {"sequences": ["a.fa"]}, "objective": {"kind": "masked"}}


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"data": FILES}, "split of kind `files`."),
        ({"data": CSV, "split": {"kind": "column"}}, 'kind = "column", column = "split", '),
        ({"training": {"labels": "shuffled"}}, "**This model is a negative control"),
        (MASKED, "is a language model"),
    ],
)
def test_card_names_settings(folder, sections, words):
    card = model_card(folder(**sections), VALID)
    assert words in card
    assert ("at least 0.490" in card) == (sections != MASKED)


def test_card_has_test_and_validation_metrics(folder):
    tested = {
        "auroc": {"value": 0.8675, "low": 0.85, "high": 0.88},
        "mcc_at_half": {"value": 0.5, "low": 0.4, "high": 0.6},
        "calibration_slope": {"value": None, "low": None, "high": None},
        "threshold": 0.5,
    }
    valid = VALID | {"mcc": {"value": float("nan")}}
    page = model_card(folder(), valid, tested, left_out=left_out_sentence({"it is slow": ["gc"]}))
    assert "\n\nLeft out of the comparison: gc, because it is slow.\n\n" in page
    assert "| AUROC | 0.858 | 0.868 (0.850 to 0.880) |" in page
    assert "| MCC at 0.5 |  | 0.500 (0.400 to 0.600) |" in page
    for undefined in ("threshold | |", "| calibration slope |", "| MCC |"):
        assert undefined not in page
    assert "no test metrics" not in page
    assert "split = { valid_fraction = 0.15, " in page


def test_card_lists_each_source_file_once_with_hash(folder, monkeypatch):
    files = {"files": [{"path": "genome.fa", "sha256": "beef" * 16}]}
    monkeypatch.setitem(PROVENANCE, "data", [source | files for source in PROVENANCE["data"]])
    assert model_card(folder(), VALID).count("| `genome.fa` | | `beefbeefbeef` |") == 1


def test_card_of_several_models_names_members(folder):
    path = folder()
    page = model_card(path, VALID, None, [path])
    assert "The model is the mean of 2 trainings with different seeds" in page
    assert page.count(f"| `{path}` | 7 | 250 |") == 2


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ("step,seconds,valid_auroc\n", " has no rows"),
        ("step,seconds,valid_auroc\n100,1,0.5\n", " lacks step 250"),
        ("step,seconds,valid_auroc\nx,1,0.5\n", " has no column 'step'"),
        ("\0", ""),
    ],
)
def test_damaged_history_is_refused(folder, history, message):
    path = folder()
    (path / "history.csv").write_text(history)
    with pytest.raises(ModelFolderError, match=f"history.csv: the training history{message}"):
        best_metrics(path)

"""Run the code of the notebooks as scripts; tests/workflow runs them as notebooks."""

import json
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest
from learners import CNN, SMALL
from small_results import make_results

from selfattn_bio.attribution.explain import explain
from selfattn_bio.config import RunFile
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.errors import ArgumentError
from selfattn_bio.figure import DisplayedFigure
from selfattn_bio.files import sha256_of
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import WEIGHTS, save_model
from selfattn_bio.sequence.alphabet import get_alphabet
from selfattn_bio.sequence.readers import SequenceFile

NOTEBOOKS = Path(__file__).parents[3] / "notebooks"
MODELS = {"protein": ("protein", SMALL | {"members": 1}), "no attention": ("dna", CNN)}
DNA, PROTEIN = ["ACGTTGCATGCATTAGCCAT", "GGCATTTACGGA"], ["MKVLAAGIVGLLLAWC", "MKVLWWHK"]
SEQUENCES = {"dna": DNA, "protein": PROTEIN}
RUN_FILE = """
data = {positives = "p.fa", negatives = "n.fa"}
interpret = {database = "jaspar:insects"}
"""


def make_task(folder):
    """Write a run file and results of the task promoter, and return the results folder."""
    make_results(results := folder / "results" / "promoter")
    (results / "model_card.md").write_text("card")
    (folder / "workflows" / "tasks").mkdir(parents=True)
    (folder / "workflows" / "tasks" / "promoter.toml").write_text(RUN_FILE)
    return results


def run_notebook(name, folder, monkeypatch):
    """Run a notebook and return its variables, with the figures and tables that it displayed."""
    path = NOTEBOOKS / f"{name}.py"
    monkeypatch.chdir(folder)
    said = {"__name__": "notebook", "titles": [], "shown": []}

    def keep(shown):
        if isinstance(shown, DisplayedFigure):
            said["titles"].extend(ax.get_title("left") for ax in shown.axes)
        else:
            said["shown"].append(shown)

    with mpl.rc_context():
        monkeypatch.setattr("IPython.display.display", keep)
        exec(compile(path.read_text(encoding="utf-8"), path, "exec"), said)
    return said


@pytest.mark.parametrize("where", [".", "results/promoter"])
def test_motifs_notebook_runs_from_root_and_own_folder(where, tmp_path, monkeypatch):
    make_task(tmp_path)
    said = run_notebook("motifs", tmp_path / where, monkeypatch)
    assert said["shown"][1]["name"].tolist() == ["motif_01", "motif_02", "motif_03"]
    assert said["titles"][0].startswith("motif_01")


def test_notebooks_of_a_regression(tmp_path, monkeypatch):
    results = make_task(tmp_path)
    objective = 'objective = {kind = "regression", columns = ["y"]}'
    text = f'data = {{sequences = "p.csv", targets = "p.csv"}}\n{objective}\n'
    (tmp_path / "workflows" / "tasks" / "promoter.toml").write_text(text)
    metrics = (results / "metrics.json").read_text()
    (results / "metrics.json").write_text(metrics.replace('"auroc"', '"pearson"'))
    said = run_notebook("motifs", tmp_path, monkeypatch)
    assert "Pearson's r" in said["shown"][0].data
    with pytest.raises(ArgumentError, match="the plots of task 'promoter' are in its report"):
        run_notebook("scoring", tmp_path, monkeypatch)


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def modelled(request, tmp_path):
    """Return a results folder with a usable model, its alphabet and its kind."""
    alphabet, model = request.param
    folder = make_task(tmp_path)
    data = {"alphabet": alphabet, "positives": "a", "negatives": "b"}
    run = RunFile.model_validate({"data": data, "tokens": {"k": 1}, "model": model})
    provenance = {"calibration": {"slope": 1.0, "threshold": 0.5}}
    save_model(folder / "model", run, build_network(run).state_dict(), provenance)
    test = pd.read_csv(folder / "predictions" / "test.tsv", sep="\t")
    first, second = (f">{name}\n{SEQUENCES[alphabet][0]}" for name in test["id"][:2])
    (tmp_path / "test.fa").write_text(f"{first}A\n{second}C\n")
    for file in (folder / "corpus").iterdir():
        file.unlink()
    rules = RecordRules(get_alphabet(alphabet))
    corpus = build_corpus([SequenceFile(tmp_path / "test.fa", 1)], folder / "corpus", rules)
    explanation = explain(folder / "model", SEQUENCES[alphabet])
    explanation.source.update(
        corpus_fingerprint=corpus.fingerprint,
        split_sha256=sha256_of(folder / "split.tsv"),
        weights_sha256=sha256_of(folder / "model" / WEIGHTS),
    )
    explanation.save(folder / "attribution")
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics |= explanation.source | {"weights": {"model": explanation.source["weights_sha256"]}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder, alphabet, model["kind"]


def test_attention_and_scores_are_plotted(modelled, monkeypatch):
    folder, alphabet, kind = modelled
    said = run_notebook("attention", folder, monkeypatch)
    maps = [title for title in said["titles"] if title.startswith("layer")]
    if kind == "cnn":
        assert "There are no maps" in said["shown"][0].data
        assert maps == []
    else:
        shown = ("mean over heads", "head 1", "head 2")
        assert maps == [f"layer {layer}, {of}" for layer in (1, 2) for of in shown]
    assert said["length"] == len(SEQUENCES[alphabet][0])
    worst, scored = run_notebook("scoring", folder, monkeypatch)["shown"][1:]
    assert len(worst) == 10
    assert scored["probability"].between(0, 1).tolist() == [True, True]

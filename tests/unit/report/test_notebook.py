"""Run the code of the notebooks as scripts; tests/workflow runs them as notebooks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import pytest

from selfattn_bio.attribution.explain import explain
from selfattn_bio.config import RunFile
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.figure import DisplayedFigure
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import save_model
from selfattn_bio.sequence.alphabet import get_alphabet

NOTEBOOKS = Path(__file__).parents[3] / "notebooks"
ATTENTION = {
    "kind": "attention",
    "members": 1,
    "embed_dim": 8,
    "num_layers": 2,
    "num_heads": 2,
    "feedforward_dim": 8,
}
CNN = {
    "kind": "cnn",
    "embed_dim": 4,
    "channels": [4, 4, 4],
    "kernels": [3, 3, 3],
    "pools": [2, 2, 2],
    "hidden_dim": 4,
}
MODELS = {
    "dna": ("dna", ATTENTION),
    "protein": ("protein", ATTENTION),
    "no attention": ("dna", CNN),
}
SEQUENCES = {
    "dna": ["ACGTTGCATGCATTAGCCAT", "GGCATTTACGGA"],
    "protein": ["MKVLAAGIVGLLLAWC", "MKVLWWHK"],
}


def run_notebook(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run a notebook and return its variables, with the figures and tables that it displayed."""
    path = NOTEBOOKS / f"{name}.py"
    monkeypatch.chdir(folder)
    said: dict[str, Any] = {"__name__": "notebook", "titles": [], "shown": []}

    def keep(shown: Any) -> None:
        if isinstance(shown, DisplayedFigure):
            said["titles"].extend(ax.get_title("left") for ax in shown.axes)
        else:
            said["shown"].append(shown)

    with mpl.rc_context():
        monkeypatch.setattr("IPython.display.display", keep)
        exec(compile(path.read_text(encoding="utf-8"), path, "exec"), said)
    return said


@pytest.mark.parametrize("where", [".", "results/promoter"])
def test_motifs_notebook_runs_from_root_and_own_folder(
    where: str,
    tmp_path: Path,
    results_maker: Callable[..., RunFile],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results_maker(tmp_path / "results" / "promoter")
    said = run_notebook("motifs", tmp_path / where, monkeypatch)
    assert said["shown"][1]["name"].tolist() == ["motif_01", "motif_02", "motif_03"]
    assert said["titles"][0].startswith("motif_01")


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def modelled(
    request: pytest.FixtureRequest, tmp_path: Path, results_maker: Callable[..., RunFile]
) -> tuple[Path, str, str]:
    """Return a results folder with a usable model, its alphabet and its kind."""
    alphabet, model = request.param
    folder = tmp_path / "results" / "promoter"
    results_maker(folder)
    data = {"alphabet": alphabet, "positives": "a", "negatives": "b"}
    run = RunFile.model_validate({"data": data, "tokens": {"k": 1}, "model": model})
    provenance = {"calibration": {"slope": 1.0, "threshold": 0.5}}
    save_model(folder / "model", run, build_network(run).state_dict(), provenance)
    for file in (folder / "attribution").iterdir():
        file.unlink()
    explain(folder / "model", SEQUENCES[alphabet]).save(folder / "attribution")
    test = pd.read_csv(folder / "predictions" / "test.tsv", sep="\t")
    text = "".join(
        f">{name}\n{SEQUENCES[alphabet][0]}{letter}\n"
        for name, letter in zip(test["id"], "AC", strict=False)
    )
    (tmp_path / "test.fa").write_text(text)
    for file in (folder / "corpus").iterdir():
        file.unlink()
    build_corpus(
        [(tmp_path / "test.fa", 1)], folder / "corpus", RecordRules(get_alphabet(alphabet))
    )
    return folder, alphabet, model["kind"]


def test_attention_is_plotted_by_layer_and_head(
    modelled: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, alphabet, kind = modelled
    said = run_notebook("attention", folder, monkeypatch)
    maps = [title for title in said["titles"] if title.startswith("layer")]
    if kind == "cnn":
        assert "have no attention" in said["shown"][0].data
        assert maps == []
    else:
        assert maps == [
            f"layer {layer}, {of}"
            for layer in (1, 2)
            for of in ("mean over heads", "head 1", "head 2")
        ]
        assert len(said["shown"][1]) == 2 * 2 * 3
    assert said["length"] == len(SEQUENCES[alphabet][0])


def test_scores_are_plotted_and_computed(
    modelled: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = run_notebook("scoring", modelled[0], monkeypatch)
    worst, scored = said["shown"][1:]
    assert len(worst) == 10
    assert scored["probability"].between(0, 1).tolist() == [True, True]

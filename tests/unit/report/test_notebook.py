"""The notebook's code, run as it stands; tests/workflow runs it as a notebook."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import pytest

from selfattn_bio.config import RunFile

NOTEBOOK = Path(__file__).parents[3] / "notebooks" / "motifs.py"


@pytest.mark.parametrize("where", [".", "results/promoter"])
def test_it_runs_from_the_root_and_where_it_lies(
    where: str, tmp_path: Path, results_maker: Callable[..., RunFile], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results_maker(tmp_path / "results" / "promoter")
    monkeypatch.chdir(tmp_path / where)
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    with mpl.rc_context({"backend": "agg"}):
        exec(compile(NOTEBOOK.read_text(encoding="utf-8"), NOTEBOOK, "exec"), said := {"__name__": "notebook"})
        said["plt"].close("all")
    assert "motif_01" in capsys.readouterr().out

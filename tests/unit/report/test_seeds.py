"""Test what the page says about several trainings and networks."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from page_tables import tables_of

from selfattn_bio.config import RunFile
from selfattn_bio.report.motif_tables import stability_table
from selfattn_bio.report.page import write_report
from selfattn_bio.report.results import read_results
from selfattn_bio.report.words import RHO

Maker = Callable[..., RunFile]


def page_of(folder: Path, run: RunFile) -> str:
    write_report(read_results(run, folder), folder / "report.html", "small_task")
    return (folder / "report.html").read_text(encoding="utf-8")


def two_motifs(folder: Path, verdict: str) -> None:
    """Keep the motifs that have sites, and give both a verdict."""
    motifs = pd.read_csv(folder / "motifs.tsv", sep="\t").head(2).assign(verdict=verdict)
    motifs.to_csv(folder / "motifs.tsv", sep="\t", index=False)
    text = (folder / "motifs.meme").read_text().partition("MOTIF motif_03")[0]
    (folder / "motifs.meme").write_text(text)


def test_page_shows_motifs_found_again(tmp_path: Path, results_maker: Maker) -> None:
    other = tmp_path / "members" / "2"
    run, _ = results_maker(tmp_path), results_maker(other)
    two_motifs(tmp_path, "supported")
    two_motifs(other, "inconclusive")
    about = {"alphabet": "dna", "method": "attnlrp", "numbers": [], "member_correlation": 0.734}
    (tmp_path / "attribution" / "attribution.json").write_text(json.dumps(about))
    page = page_of(tmp_path, run)
    assert "found in" not in page  # one training
    rho = f"Attributions of the averaged networks correlate with {RHO} 0.73 (median over records)."
    assert f"{rho}</p>" in page
    twice = run.model_copy(update={"training": run.training.model_copy(update={"seeds": 2})})
    page = page_of(tmp_path, twice)
    # both motifs of the fixture are equal
    *_, motifs = tables_of(page, "motifs")
    assert list(motifs.values())[-1] == {
        "consensus": "TATNC",
        "best match": "Dref",
        "found in": "2 of 2",
        "supported in": "1 of 2",
    }
    seeds = (
        f"Attributions of trainings with different seeds correlate with {RHO} 1.00 (median over 20"
    )
    assert f"{rho} {seeds} records).</p>" in page
    assert "The motifs of 2 of 2 trainings were searched, separately, and those of 2 were" in page
    thrice = run.model_copy(update={"training": run.training.model_copy(update={"seeds": 3})})
    page = page_of(tmp_path, thrice)
    assert "The model was trained 3 times with different seeds. The motifs of 2 of 3 train" in page
    shutil.rmtree(other)
    assert "found in" not in page_of(tmp_path, twice)


def test_stability_without_verdicts_has_no_column() -> None:
    row = {"run": 1, "name": "m", "consensus": "TATA", "match": "", "runs": 2, "found_in": 2}
    untested, tested = (
        stability_table(pd.DataFrame([row | {"tested": number, "supported_in": number}]))
        for number in (0, 1)
    )
    assert "supported in" not in untested.headings
    assert tested.rows[0].cells["supported in"] == "1 of 1"

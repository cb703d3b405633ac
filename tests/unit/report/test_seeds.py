"""Test what the page says about several trainings and networks."""

import json
import shutil
from pathlib import Path

import pandas as pd
from pages import page_of, tables_of
from small_results import MOTIFS, TASK, make_results

from selfattn_bio.report.tables import stability_table
from selfattn_bio.report.words import RHO


def page_of_seeds(folder: Path, seeds: int) -> str:
    training = TASK.training.model_copy(update={"seeds": seeds})
    return page_of(folder, TASK.model_copy(update={"training": training}))


def test_page_shows_motifs_found_again(tmp_path):
    other = tmp_path / "members" / "2"
    for folder, verdict in ((tmp_path, "supported"), (other, "inconclusive")):
        make_results(folder, MOTIFS[:2].assign(verdict=verdict))
    path = tmp_path / "attribution" / "attribution.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"member_correlation": 0.734}))
    page = page_of(tmp_path)
    assert "found in" not in page  # one training
    rho = f"Attributions of the averaged networks correlate with {RHO} 0.73 (median over records)."
    assert f"{rho}</p>" in page
    page = page_of_seeds(tmp_path, 2)
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
    page = page_of_seeds(tmp_path, 3)
    assert "The model was trained 3 times with different seeds. The motifs of 2 of 3 train" in page
    shutil.rmtree(other)
    assert "found in" not in page_of_seeds(tmp_path, 2)


def test_stability_without_verdicts_has_no_column():
    row = {"run": 1, "name": "m", "consensus": "TATA", "match": "", "runs": 2, "found_in": 2}
    untested, tested = (
        stability_table(pd.DataFrame([row | {"tested": number, "supported_in": number}]))
        for number in (0, 1)
    )
    assert "supported in" not in untested.headings
    assert tested.rows[0].cells["supported in"] == "1 of 1"

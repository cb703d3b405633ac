import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from selfattn_bio.config import RunFile
from selfattn_bio.errors import ResultsError
from selfattn_bio.motifs.formats import BED_COLUMNS
from selfattn_bio.report.page import render
from selfattn_bio.report.results import read_results, read_table, site_positions

Maker = Callable[..., RunFile]

RECORDS = pd.DataFrame(
    {
        "id": ["a", "b", "c"],
        "chrom": ["chr2R", "chr2R", None],
        "start": pd.array([100, 150, None], dtype="Int64"),
        "end": pd.array([200, 250, None], dtype="Int64"),
        "strand": ["-", "+", None],
        "length": [100, 100, 80],
    }
)


def positions(*sites: tuple) -> list[tuple[str, int]]:
    found = site_positions(pd.DataFrame(list(sites), columns=BED_COLUMNS), RECORDS)
    return sorted(zip(found["name"], found["position"].astype(int), strict=True))


def test_sites_count_from_first_base_of_strand() -> None:
    assert positions(("chr2R", 110, 120, "m", 0, "+")) == [("m", 80)]


def test_site_in_two_records_is_in_both() -> None:
    assert positions(("chr2R", 185, 190, "m", 0, "+")) == [("m", 10), ("m", 35)]


def test_a_record_without_coordinates_is_its_own_chromosome() -> None:
    assert positions(("c", 7, 12, "m", 0, "+")) == [("m", 7)]


def test_sites_outside_records_are_dropped() -> None:
    assert positions(("chr2R", 90, 110, "m", 0, "+"), ("chrX", 100, 110, "m", 0, "+")) == []


def test_names_stay_text_and_empty_figures_are_missing(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("id\teffect\tmatch\nNA\t1.5\t\n007\t\tnan\n")
    table = read_table(tmp_path / "t.tsv")
    assert table["id"].tolist() == ["NA", "007"]
    assert table["match"].tolist() == ["", "nan"]
    assert table["effect"].isna().tolist() == [False, True]


def test_metrics_of_an_earlier_version_have_a_hint(tmp_path: Path, results_maker: Maker) -> None:
    run = results_maker(tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    del metrics["test"]["unit"]
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    message = "lacks test.unit. Run `selfattn-bio evaluate` again"
    with pytest.raises(ResultsError, match=message):
        read_results(run, tmp_path)


def test_a_missing_file_names_the_command_that_writes_it(
    tmp_path: Path, results_maker: Maker
) -> None:
    run = results_maker(tmp_path)
    (tmp_path / "metrics.json").unlink()
    message = r"metrics.json: file not found. Run `selfattn-bio evaluate`"
    with pytest.raises(ResultsError, match=message):
        read_results(run, tmp_path)


def test_a_broken_file_is_named(tmp_path: Path, results_maker: Maker) -> None:
    run = results_maker(tmp_path)
    (tmp_path / "attribution" / "attribution.npz").write_bytes(b"not an archive")
    with pytest.raises(ResultsError, match=r"attribution.npz: cannot read this file: "):
        read_results(run, tmp_path)


def test_genome_is_listed_once_with_hash(tmp_path: Path, results_maker: Maker) -> None:
    run = results_maker(tmp_path)
    path = tmp_path / "corpus" / "corpus.json"
    corpus = json.loads(path.read_text())
    files = [{"path": "genome.fa", "sha256": "cd" * 32}]
    path.write_text(
        json.dumps(
            corpus | {"sources": [source | {"files": files} for source in corpus["sources"]]}
        )
    )
    assert (
        render(read_results(run, tmp_path), tmp_path / "plots", "small").count(
            f"<dt>genome.fa</dt><dd>auxiliary file, sha256 <code>{'cd' * 32}</code></dd>"
        )
        == 1
    )

from dataclasses import replace

import pandas as pd
import pytest
from pages import page_of, read
from small_results import edit, make_results, table_of

from selfattn_bio.errors import ResultsError
from selfattn_bio.report.results import site_positions
from selfattn_bio.sequence.tables import BED_COLUMNS, read_table


def test_site_positions():
    records = table_of("""
        id chrom start end strand length
        a  chr2R 100   200 -      100
        b  chr2R 150   250 +      100
        c  nan   nan   nan nan    80
    """).astype({"start": "Int64", "end": "Int64"})
    for chrom, start, end, expected in (
        ("chr2R", 110, 120, [80]),  # from the first base of the strand
        ("chr2R", 185, 190, [10, 35]),  # in two records
        ("c", 7, 12, [7]),  # a record without coordinates is its chromosome
        ("chr2R", 90, 110, []),
        ("chrX", 100, 110, []),
    ):
        site = pd.DataFrame([(chrom, start, end, "m", 0, "+")], columns=BED_COLUMNS)
        found = site_positions(site, records)
        assert sorted(found["position"]) == expected
        assert set(found["name"]) <= {"m"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metrics.json", None, "not found. Run `selfattn-bio evaluate "),
        ("split.tsv", None, "not found. Run `selfattn-bio split "),
        ("metrics.json", b"no", "cannot read this file: "),
        ("attribution/attribution.npz", b"no", "cannot read this file: "),
        ("corpus/records.parquet", b"no", "cannot read this file: "),
    ],
)
def test_missing_or_damaged_file_is_named(tmp_path, name, text, message):
    make_results(tmp_path)
    (tmp_path / name).unlink()
    if text:
        (tmp_path / name).write_bytes(text)
    with pytest.raises(ResultsError, match=f"{name}: {message}"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "command", "key", "what"),
    [
        ("model/provenance.json", "train", "corpus_fingerprint", "corpus"),
        ("metrics.json", "evaluate", "split_sha256", "split"),
        ("attribution", "explain", "corpus_fingerprint", "corpus"),
        ("motifs.json", "motifs", "split_sha256", "split"),
    ],
)
def test_result_of_other_records_is_refused(tmp_path, name, command, key, what):
    make_results(tmp_path)
    path = tmp_path / name
    edit(path / "attribution.json" if path.is_dir() else path, **{key: "0" * 64})
    message = f"{name}: this is the result of another {what}. Run `selfattn-bio {command} "
    with pytest.raises(ResultsError, match=message):
        read(tmp_path)


def test_genome_is_listed_once_with_hash(results):
    files = [{"path": "genome.fa", "sha256": "cd" * 32}]
    sources = [source | {"files": files} for source in results.corpus["sources"]]
    page = page_of(replace(results, corpus=results.corpus | {"sources": sources}))
    listed = f"<dt>genome.fa</dt><dd>auxiliary file, sha256 <code>{'cd' * 32}</code></dd>"
    assert page.count(listed) == 1


def test_names_stay_text_and_empty_figures_are_missing(tmp_path):
    (tmp_path / "t.tsv").write_text("id\teffect\tmatch\nNA\t1.5\t\n007\t\tnan\n")
    table = read_table(tmp_path / "t.tsv")
    assert table["id"].tolist() == ["NA", "007"]
    assert table["match"].tolist() == ["", "nan"]
    assert table["effect"].isna().tolist() == [False, True]

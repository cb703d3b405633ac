import json

import pandas as pd
import pytest
from pages import page_of, read
from small_results import make_results

from selfattn_bio.errors import ResultsError
from selfattn_bio.report.results import site_positions
from selfattn_bio.sequence.tables import BED_COLUMNS, read_table

RECORDS = pd.DataFrame(
    [
        ("a", "chr2R", 100, 200, "-", 100),
        ("b", "chr2R", 150, 250, "+", 100),
        ("c", None, None, None, None, 80),
    ],
    columns=["id", "chrom", "start", "end", "strand", "length"],
).astype({"start": "Int64", "end": "Int64"})


@pytest.mark.parametrize(
    ("chrom", "start", "end", "expected"),
    [
        ("chr2R", 110, 120, [80]),  # from the first base of the strand
        ("chr2R", 185, 190, [10, 35]),  # in two records
        ("c", 7, 12, [7]),  # a record without coordinates is its chromosome
        ("chr2R", 90, 110, []),
        ("chrX", 100, 110, []),
    ],
)
def test_site_positions(chrom, start, end, expected):
    site = pd.DataFrame([(chrom, start, end, "m", 0, "+")], columns=BED_COLUMNS)
    found = site_positions(site, RECORDS)
    assert sorted(found["position"]) == expected
    assert set(found["name"]) <= {"m"}


@pytest.mark.parametrize(
    ("name", "command"), [("metrics.json", "evaluate"), ("split.tsv", "split")]
)
def test_missing_file_names_its_command(tmp_path, name, command):
    make_results(tmp_path)
    (tmp_path / name).unlink()
    message = rf"{name}: not found. Run `selfattn-bio {command} "
    with pytest.raises(ResultsError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(
    "name", ["attribution/attribution.npz", "corpus/records.parquet", "metrics.json"]
)
def test_damaged_file_is_named(tmp_path, name):
    make_results(tmp_path)
    (tmp_path / name).write_bytes(b"no")
    with pytest.raises(ResultsError, match=f"{name}: cannot read this file: "):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        *(("model/provenance.json", "train"), ("metrics.json", "evaluate")),
        *(("attribution", "explain"), ("motifs.json", "motifs")),
    ],
)
@pytest.mark.parametrize(
    ("key", "what"), [("corpus_fingerprint", "corpus"), ("split_sha256", "split")]
)
def test_result_of_other_records_is_refused(tmp_path, name, command, key, what):
    make_results(tmp_path)
    path = tmp_path / name
    path = path / "attribution.json" if path.is_dir() else path
    found = json.loads(path.read_text())
    assert found[key]
    path.write_text(json.dumps(found | {key: "0" * 64}))
    message = f"{name}: this is the result of another {what}. Run `selfattn-bio {command} "
    with pytest.raises(ResultsError, match=message):
        read(tmp_path)


def test_genome_is_listed_once_with_hash(tmp_path):
    make_results(tmp_path)
    path = tmp_path / "corpus" / "corpus.json"
    corpus = json.loads(path.read_text())
    for source in corpus["sources"]:
        source["files"] = [{"path": "genome.fa", "sha256": "cd" * 32}]
    path.write_text(json.dumps(corpus))
    listed = f"<dt>genome.fa</dt><dd>auxiliary file, sha256 <code>{'cd' * 32}</code></dd>"
    assert page_of(tmp_path).count(listed) == 1


def test_names_stay_text_and_empty_figures_are_missing(tmp_path):
    (tmp_path / "t.tsv").write_text("id\teffect\tmatch\nNA\t1.5\t\n007\t\tnan\n")
    table = read_table(tmp_path / "t.tsv")
    assert table["id"].tolist() == ["NA", "007"]
    assert table["match"].tolist() == ["", "nan"]
    assert table["effect"].isna().tolist() == [False, True]

"""Test MEME text and its errors, and coordinates on a chromosome."""

import gzip

import numpy as np
import pandas as pd
import pytest

from selfattn_bio.errors import DatabaseError
from selfattn_bio.motifs import meme_text, read_meme
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.tables import on_chromosome

PPM = np.array([[0.7, 0.1, 0.1, 0.1], [0, 0, 1, 0], [0.25, 0.25, 0.25, 0.25]])


@pytest.mark.parametrize("suffix", ["meme", "meme.gz"])
def test_meme_round_trip(tmp_path, suffix):
    text = meme_text(
        {"motif_01": PPM, "MA0001.1 Abc d": PPM[::-1]}, {"motif_01": 12, "MA0001.1 Abc d": 7}
    )
    path = tmp_path / f"motifs.{suffix}"
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    found = read_meme(path)
    assert list(found) == ["motif_01", "Abc d (MA0001.1)"]
    np.testing.assert_allclose(found["motif_01"], PPM, atol=1e-6)
    np.testing.assert_allclose(found["Abc d (MA0001.1)"], PPM[::-1], atol=1e-6)


def test_memelite_reads_what_we_write(tmp_path):
    from memelite.io import read_meme as theirs

    path = tmp_path / "motifs.meme"
    path.write_text(meme_text({"motif_01": PPM}, {"motif_01": 12}))
    np.testing.assert_allclose(theirs(str(path))["motif_01"], PPM.T, atol=1e-6)


HEAD = "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF a\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: not a MEME file: it does not start with 'MEME version'"),
        (">x\nACGT\n", ":1: not a MEME file: it does not start with 'MEME version'"),
        ("MEME version 4\n", ": the motif database contains no motif"),
        (
            "MEME version 4\nALPHABET= ACDE\n",
            ":2: expected ALPHABET= ACGT, found 'ALPHABET= ACDE'",
        ),
        (
            HEAD + "letter-probability matrix: w= 2\n.5 .5 0 0\n",
            ":6: the motif has 1 row instead of 2 (w=)",
        ),
        (
            HEAD + "letter-probability matrix: w= 1\n.5 .5 0\n",
            ":7: [0.5, 0.5, 0.0] are not 4 probabilities that sum to 1",
        ),
        (
            HEAD + "letter-probability matrix:\n1 1 0 0\n",
            ":7: [1.0, 1.0, 0.0, 0.0] are not 4 probabilities that sum to 1",
        ),
        (
            HEAD + "letter-probability matrix:\n1 0 0 0\n\nMOTIF a\n",
            ":9: two motifs are named 'a'",
        ),
    ],
)
def test_meme_errors_name_the_line(tmp_path, text, message):
    path = tmp_path / "bad.meme"
    path.write_text(text)
    with pytest.raises(DatabaseError) as error:
        read_meme(path)
    assert str(error.value) == f"{path}{message}"


def test_meme_ignores_leading_lines_and_refuses_nan(tmp_path):
    text = meme_text({"m": np.eye(4)}, {"m": 10})
    (tmp_path / "a.meme").write_text(f"\n{text}")
    np.testing.assert_array_equal(read_meme(tmp_path / "a.meme")["m"], np.eye(4))
    (tmp_path / "b.meme").write_text(text.replace("1.000000 0.000000", "1.000000 nan", 1))
    with pytest.raises(DatabaseError, match="are not 4 probabilities that sum to 1"):
        read_meme(tmp_path / "b.meme")


def test_missing_binary_and_truncated_databases(tmp_path):
    with pytest.raises(DatabaseError, match="motif database not found"):
        read_meme(tmp_path / "none.meme")
    (tmp_path / "binary.meme").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "cut.meme.gz").write_bytes(gzip.compress(b"MEME version 4\n" * 99)[:-9])
    with pytest.raises(DatabaseError, match=r"binary.meme: cannot read this file as MEME: "):
        read_meme(tmp_path / "binary.meme")
    with pytest.raises(DatabaseError, match=r"cut.meme.gz: gz file is truncated"):
        read_meme(tmp_path / "cut.meme.gz")


def records_of(chromosome):
    """Return one record from each strand and one without coordinates, with their bases."""
    letters = [chromosome[20:60], DNA.reverse_complement(chromosome[50:100]), chromosome[:30]]
    table = {
        "id": ["a", "b", "c"],
        "chrom": ["chr1", "chr1", None],
        "start": [20, 50, None],
        "end": [60, 100, None],
        "strand": ["+", "-", None],
    }
    return pd.DataFrame(table).astype({"start": "Int64", "end": "Int64"}), letters


def test_bed_intervals_match_their_sequences():
    rng = np.random.default_rng(0)
    chromosome = rng.choice(np.frombuffer(b"ACGT", dtype=np.uint8), 120)
    records, letters = records_of(chromosome)
    places = pd.DataFrame(
        {
            "record": [0, 0, 1, 1, 2],
            "start": [3, 10, 0, 41, 5],
            "end": [11, 18, 8, 50, 12],
            "strand": list("+-+-+"),
            "name": ["p0", "p1", "p2", "p3", "p4"],
            "score": [1, 2, 3, 4, 5],
        }
    )
    rows = on_chromosome(places, records).set_index("name")
    for place in places.itertuples():
        read = letters[place.record][place.start : place.end]
        read = read if place.strand == "+" else DNA.reverse_complement(read)
        row = rows.loc[place.name]
        source = letters[2] if row["chrom"] == "c" else chromosome
        fetched = source[row["start"] : row["end"]]
        fetched = fetched if row["strand"] == "+" else DNA.reverse_complement(fetched)
        assert bytes(fetched) == bytes(read), place.name
    assert rows.loc["p2", ["chrom", "start", "end", "strand"]].tolist() == ["chr1", 92, 100, "-"]
    assert rows.loc["p4", "chrom"] == "c"

"""The data that ships: checksums, headers, counts, motifs; and that the scripts rebuild the same bytes where the source is at hand."""

import gzip
import hashlib
import os
import subprocess
import sys
import zlib
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest
from memelite.io import read_meme

from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.readers import read_records
from selfattn_bio.sequence.records import Notes

ROOT = Path(__file__).parents[3]
SOURCE = "usr/lib/R/site-library/Biostrings/extdata/dm3_upstream2000.fa.gz"
SIDES = {"chr2L": "valid", "chr2R": "test"}


def test_checksums():
    for line in (ROOT / "data/checksums.sha256").read_text().splitlines():
        digest, path = line.split()
        assert hashlib.sha256((ROOT / path).read_bytes()).hexdigest() == digest, path


def test_fly_promoters_are_what_the_readme_says():
    notes, counts, seen = Notes(), Counter(), set()
    for name in ("positives", "negatives"):
        for record in read_records(ROOT / f"data/fly_promoters/{name}.fa.gz", DNA, notes):
            counts[SIDES.get(record.chrom, "train"), name] += 1
            assert len(record.letters) == record.end - record.start == 300
            kind = "promoter" if name == "positives" else "distal"
            assert record.id.endswith(f"_{record.chrom}_{record.id.split('_')[-3]}_{'f' if record.strand == '+' else 'r'}_{kind}")
            assert record.start == int(record.id.split("_")[-3]) - 1 + 1700 * ((kind == "promoter") == (record.strand == "+"))
            seen.add(record.letters.tobytes())
    assert not notes.counts
    assert counts == {
        ("train", "positives"): 9310,
        ("valid", "positives"): 2797,
        ("test", "positives"): 2985,
        ("train", "negatives"): 16754 - 9310,
        ("valid", "negatives"): 5001 - 2797,
        ("test", "negatives"): 5396 - 2985,
    }
    assert len(seen) == 27151


def test_fly_promoters_are_rebuilt_from_the_debian_file(tmp_path):
    source = Path(os.environ.get("SELFATTN_BIO_DM3_UPSTREAM", f"/{SOURCE}"))
    if not source.is_file():
        pytest.skip(f"no {source}: install r-bioc-biostrings, or name the file in SELFATTN_BIO_DM3_UPSTREAM")
    subprocess.run([sys.executable, ROOT / "data/make_fly_promoters.py", source, "--output", tmp_path], check=True)
    for name in ("positives.fa.gz", "negatives.fa.gz"):
        made, shipped = ((folder / name).read_bytes() for folder in (tmp_path, ROOT / "data/fly_promoters"))
        assert gzip.decompress(made) == gzip.decompress(shipped)
        if "ng" not in zlib.ZLIB_RUNTIME_VERSION:  # zlib-ng packs the same text into other bytes
            assert made == shipped


def test_smoke_data_are_rebuilt(tmp_path):
    (tmp_path / "make_smoke.py").write_bytes((ROOT / "data/make_smoke.py").read_bytes())
    subprocess.run([sys.executable, tmp_path / "make_smoke.py"], check=True)
    for name in ("positives.fa", "negatives.fa"):
        assert (tmp_path / "smoke" / name).read_bytes() == (ROOT / "data/smoke" / name).read_bytes()


@pytest.mark.parametrize(("group", "count"), [("fungi", 193), ("insects", 296), ("nematodes", 103), ("plants", 927), ("vertebrates", 1019)])
def test_jaspar_is_read_from_the_package(group, count, tmp_path):
    path = tmp_path / "motifs.meme"
    path.write_bytes(gzip.decompress(resources.files("selfattn_bio").joinpath(f"interpret/jaspar/{group}.meme.gz").read_bytes()))
    motifs = read_meme(str(path))
    assert len(motifs) == count
    for ppm in motifs.values():
        assert abs(ppm.sum(axis=0) - 1).max() < 1e-5
    if group == "insects":
        assert {"MA1456.2 Dref", "MA0205.3 Trl", "MA1459.2 M1BP"} <= set(motifs)

"""Check the shipped data: checksums, headers, counts and motifs.

If the sources are available, the scripts must rebuild the same bytes.
"""

import gzip
import hashlib
import os
import re
import subprocess
import sys
import zlib
from collections import Counter
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import exit_code, run
from memelite.io import read_meme
from sklearn.metrics import roc_auc_score

from selfattn_bio.config import read_run_file
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.model.checkpoint import read_provenance
from selfattn_bio.motifs import open_database
from selfattn_bio.scoring.loading import folder_of, load
from selfattn_bio.scoring.table import score_sequences
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.readers import SequenceFile, read_records
from selfattn_bio.sequence.records import ReadSummary

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "selfattn_bio/models/promoter"
SOURCE = "/usr/lib/R/site-library/Biostrings/extdata/dm3_upstream2000.fa.gz"
SPLITS = {"chr2L": "valid", "chr2R": "test"}


def sums_of(paths):
    return {path: hashlib.sha256((ROOT / path).read_bytes()).hexdigest() for path in paths}


def test_checksums():
    lines = (ROOT / "data/checksums.sha256").read_text().splitlines()
    recorded = {path: digest for digest, path in map(str.split, lines)}
    assert sums_of(recorded) == recorded


def test_fly_promoters_match_the_readme():
    summary, counts, seen = ReadSummary(), Counter(), set()
    for name in ("positives", "negatives"):
        file = SequenceFile(ROOT / f"data/fly_promoters/{name}.fa.gz")
        for record in file.records(SequencePolicy(DNA), summary):
            counts[SPLITS.get(record.chrom, "train"), name] += 1
            assert len(record.letters) == record.end - record.start == 300
            kind = "promoter" if name == "positives" else "distal"
            position, strand = record.id.split("_")[-3], "f" if record.strand == "+" else "r"
            assert record.id.endswith(f"_{record.chrom}_{position}_{strand}_{kind}")
            downstream = (kind == "promoter") == (record.strand == "+")
            assert record.start == int(position) - 1 + 1700 * downstream
            seen.add(record.letters.tobytes())
    assert not summary.counts
    totals = {"train": (9310, 7444), "valid": (2797, 2204), "test": (2985, 2411)}
    for split, expected in totals.items():
        assert (counts[split, "positives"], counts[split, "negatives"]) == expected
    assert len(seen) == 27151


def rebuilt(script, tmp_path, *sources):
    """Run a script of data/ on the sources, or skip the test where one is missing."""
    paths = []
    for name, default in sources:
        paths.append(Path(os.environ.get(f"SELFATTN_BIO_DM3_{name}", default)))
        if not paths[-1].is_file():
            pytest.skip(f"no {paths[-1]}: name the file in SELFATTN_BIO_DM3_{name}")
    command = [sys.executable, ROOT / "data" / script, *paths, "--output", tmp_path]
    subprocess.run(command, check=True)


def same_text(tmp_path, folder, name):
    made, shipped = ((each / name).read_bytes() for each in (tmp_path, ROOT / "data" / folder))
    assert gzip.decompress(made) == gzip.decompress(shipped)
    return made == shipped


def test_fly_promoters_are_rebuilt_from_the_debian_file(tmp_path):
    rebuilt("make_fly_promoters.py", tmp_path, ("UPSTREAM", SOURCE))
    for name in ("positives.fa.gz", "negatives.fa.gz"):
        same = same_text(tmp_path, "fly_promoters", name)
        # zlib-ng compresses the same text to other bytes
        assert same or "ng" in zlib.ZLIB_RUNTIME_VERSION


def test_shipped_model_matches_task_and_data():
    run, provenance = load("promoter").run, read_provenance(SHIPPED)
    task = read_run_file(ROOT / "workflows/tasks/promoter.toml")
    assert run.training.precision == "bf16-mixed"  # "auto" on the machine that trained it
    training = task.training.model_copy(update={"precision": "bf16-mixed"})
    assert run == task.model_copy(update={"variants": {}, "training": training})
    assert [part.name for part in load("promoter").stack.parts] == list(task.stack.parts)
    paths = [file for file, _ in task.data.files]
    assert {each["path"]: each["sha256"] for each in provenance["data"]} == sums_of(paths)
    seen = pd.read_parquet(SHIPPED / "seen.parquet")
    assert len(seen) == 16754 + 5001
    assert "chr2R" not in set(seen["chrom"])
    assert (SHIPPED / "model.safetensors").stat().st_size < 4e6
    assert "0.8769 (" in (SHIPPED / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("model", ["promoter", "motifs"])
def test_shipped_models_name_no_machine(model):
    for name in ("provenance.json", "README.md", "run.toml"):
        text = (SHIPPED.parent / model / name).read_text(encoding="utf-8")
        assert not re.search(r"[\"'`\s]/\w", text), name


def test_shipped_model_finds_unseen_promoters():
    records = []
    for name in ("positives", "negatives"):
        found = read_records(ROOT / f"data/fly_promoters/{name}.fa.gz", DNA)
        records += [record for record in found if record.chrom == "chr2R"][:150]
    table = score_sequences("promoter", records, coverage=0.9)
    labels = np.repeat([1, 0], 150)
    assert roc_auc_score(labels, table["logit"]) > 0.8
    sets = table["set"].str.split("; ")
    held = [str(label) in found for label, found in zip(labels, sets, strict=True)]
    assert 0.84 < np.mean(held) < 0.96
    assert (table["out_of_distribution"] != "no").mean() < 0.05


def test_name_of_shipped_model_ignores_working_directory(here, caplog, capsys):
    assert folder_of("promoter") == SHIPPED
    assert folder_of("no/such/model") == Path("no/such/model")
    with pytest.raises(ModelFolderError, match=r"'promotr', and no .* .shipped: motifs, promoter"):
        load("promotr")
    (here / "results" / "mine" / "model").mkdir(parents=True)
    with pytest.raises(ModelFolderError, match=r"Did you mean results/mine/model\?$"):
        load("mine")
    with pytest.raises(ModelFolderError, match="Pass the text 'promoter', not a Path"):
        load(Path("promoter"))
    assert not caplog.messages
    (here / "promoter").mkdir()
    assert folder_of("promoter") == SHIPPED
    (warning,) = caplog.messages
    assert warning.endswith("write './promoter' for the folder in the working directory")
    assert folder_of("./promoter") == folder_of(Path("promoter")) == Path("promoter")
    # the command keeps ./, and prints the warning
    (here / "new.fa").write_text(">a\n" + "ACGT" * 75 + "\n")
    score = "score --fasta new.fa --output scores.tsv --model"
    run(score, "promoter")
    assert "selfattn-bio score: warning: 'promoter' is the model that" in capsys.readouterr().err
    assert exit_code(score, "./promoter") == 1
    assert "error: promoter: " in capsys.readouterr().err


def test_smoke_data_are_rebuilt(tmp_path):
    (tmp_path / "make_smoke.py").write_bytes((ROOT / "data/make_smoke.py").read_bytes())
    subprocess.run([sys.executable, tmp_path / "make_smoke.py"], check=True)
    for name in ("positives.fa", "negatives.fa"):
        assert (tmp_path / "smoke" / name).read_bytes() == (ROOT / "data/smoke" / name).read_bytes()


def test_fly_motifs_are_insect_motifs_and_tbp():
    motifs = open_database(str(ROOT / "data/fly_promoters/jaspar_insects_and_TBP.meme"))
    insects, vertebrates = open_database("jaspar:insects"), open_database("jaspar:vertebrates")
    assert len(motifs) == len(insects) + 1 == 297
    np.testing.assert_array_equal(motifs["TBP (MA0108.3)"], vertebrates["TBP (MA0108.3)"])
    for mine, theirs in zip(motifs.values(), insects.values(), strict=False):
        np.testing.assert_array_equal(mine, theirs)


JASPAR = {"fungi": 193, "insects": 296, "nematodes": 103, "plants": 927, "vertebrates": 1019}


@pytest.mark.parametrize("group", JASPAR)
def test_jaspar_is_read_from_the_package(group, tmp_path):
    path = tmp_path / "motifs.meme"
    packed = resources.files("selfattn_bio").joinpath(f"motifs/jaspar/{group}.meme.gz")
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    motifs = read_meme(str(path))
    assert len(motifs) == JASPAR[group]
    assert all(abs(ppm.sum(axis=0) - 1).max() < 1e-5 for ppm in motifs.values())


def test_arm_2r_and_its_starts_match_the_readme():
    """Check the initiator, which begins two bp upstream of a start and is not in the promoters."""
    letters = next(iter(read_records(ROOT / "data/fly_2R/chr2R.fa.gz", DNA))).letters
    rows = [line.split("\t") for line in (ROOT / "data/fly_2R/tss.bed").read_text().splitlines()]
    starts = [(int(row[1]), row[5]) for row in rows if int(row[2]) == int(row[1]) + 1]
    assert (len(letters), len(starts), len(set(starts))) == (21146708, 3414, 3414)
    assert len({start // 200 for start, _ in starts}) == 3137
    forward = [letters[at - 2 : at + 4] for at, strand in starts if strand == "+"]
    reverse = [letters[at - 3 : at + 3] for at, strand in starts if strand == "-"]
    around = forward + [DNA.reverse_complement(row) for row in reverse]
    assert sum(bool(re.fullmatch("TCA[GT]T[CT]", row.tobytes().decode())) for row in around) == 199


def test_starts_of_2r_are_rebuilt_from_the_debian_files(tmp_path):
    rebuilt("make_fly_2R.py", tmp_path, ("CHR2R", "/"), ("UPSTREAM", SOURCE))
    assert (tmp_path / "tss.bed").read_bytes() == (ROOT / "data/fly_2R/tss.bed").read_bytes()
    same_text(tmp_path, "fly_2R", "chr2R.fa.gz")

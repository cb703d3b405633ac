"""Run `selfattn-bio scan`: output, warnings and errors."""

import pytest
from commands import exit_code, run
from genome_models import random_letters, run_file, write_genome, write_model

SCAN = "scan --model model --genome toy1.fa --output out"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Change to a folder with a genome and a model."""
    monkeypatch.chdir(tmp_path)
    write_genome(tmp_path / "toy1.fa", {"chrA": random_letters(800)})
    write_model(tmp_path / "model", run_file(stem={"kind": "conv", "pool": 4}), length=60)
    return tmp_path


def test_scan_without_prior_warns(here, capsys):
    run(f"{SCAN} --threshold 0.4")
    printed = capsys.readouterr()
    assert "warning: no prior: scores assume that as many windows are positive" in printed.err
    assert "validation (25.0%)" in printed.err
    first = "scan: windows of 60 bp, one every 4 bp, scored on both strands\n"
    assert printed.out.startswith(first)
    number = len((here / "out.toy1.peaks.bed").read_text().splitlines())
    assert f"scan: {number} peaks with a probability of at least 0.4" in printed.out
    assert number > 1


def test_scan_with_prior_reports_highest_score(capsys):
    run(f"{SCAN} --prior 0.001")
    printed = capsys.readouterr()
    assert "prior" not in printed.err
    assert "0 peaks with a probability of at least 0.5; the best window has 0.00" in printed.out


def test_scan_of_regions_reports_other_assembly(here, capsys):
    (here / "toy1.fa").rename("toy2.fa")
    (here / "sites.bed").write_text("chrA\t0\t90\nchrA\t300\t340\n")
    run("scan --model model --genome toy2.fa --region sites.bed A:701-800 --prior 0.1 --output out")
    printed = capsys.readouterr()
    assert "the model was trained on 'toy1', but the genome is named 'toy2'" in printed.err
    (track,) = here.glob("out.toy2.plus.bw")
    assert track.stat().st_size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--prior 1", "prior 1.0 is not between 0 and 1"),
        ("--region A:1-3", "no window of 60 bp fits into the chromosomes or regions to scan"),
        ("--genome absent.fa", "absent.fa: "),
    ],
)
def test_scan_errors_are_one_line(here, options, message, capsys):
    assert exit_code(f"{SCAN} {options}") == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("selfattn-bio scan: error: ")
    assert message in last
    assert not list(here.glob("out*"))

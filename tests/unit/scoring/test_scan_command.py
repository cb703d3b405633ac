"""Run `selfattn-bio scan`: output, warnings and errors."""

import pytest
from genome_models import random_letters, run_file, write_genome, write_model

from selfattn_bio.cli.main import main
from selfattn_bio.scoring import tracks

RUN = run_file(stem={"kind": "conv", "pool": 4})


@pytest.fixture
def basis(tmp_path):
    """Return the required options of a scan."""
    genome = write_genome(tmp_path / "toy1.fa", {"chrA": random_letters(800)})
    folder = write_model(tmp_path / "model", RUN, length=60)
    return [
        "scan",
        "--model",
        str(folder),
        "--genome",
        str(genome),
        "--output",
        str(tmp_path / "out"),
    ]


def test_scan_without_prior_warns(basis, tmp_path, capsys):
    assert main([*basis, "--threshold", "0.4"]) == 0
    said = capsys.readouterr()
    assert (
        "warning: no --prior: log-odds are of a set of which a share of 0.250 is positive; in a "
        "genome far fewer windows are\n" in said.err
    )
    assert said.out.startswith("scan: windows of 60 letters, one every 4, both strands\n")
    number = len((tmp_path / "out.toy1.peaks.bed").read_text().splitlines())
    assert (
        f"scan: {number} peaks at or above a probability of 0.4, the highest window has "
        in said.out
    )
    assert number > 1


def test_scan_with_prior_reports_highest_score(basis, capsys):
    assert main([*basis, "--prior", "0.001"]) == 0
    said = capsys.readouterr()
    assert "prior" not in said.err
    assert "scan: 0 peaks at or above a probability of 0.5, the highest window has 0.00" in said.out


def test_scan_reports_other_assembly(basis, capsys):
    assert main([*basis, "--chrom", "chrA", "--assembly", "toy2", "--prior", "0.1"]) == 0
    assert (
        "the model's records are of 'toy1', the genome is named 'toy2'" in capsys.readouterr().err
    )


def test_internal_error_keeps_its_traceback(basis, monkeypatch):
    monkeypatch.setattr(
        tracks, "strand_logits", lambda *_: (_ for _ in ()).throw(ValueError("inside torch"))
    )
    with pytest.raises(ValueError, match="inside torch"):
        main([*basis, "--prior", "0.1"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stride", "0"], "stride must be at least 1 letter, got 0"),
        (["--stride", "61"], "stride must be 1 - 60 (the window) letters, got 61"),
        (["--prior", "1"], "prior must be in (0, 1), got 1.0"),
        (["--chrom", "chrZ"], "no chromosome 'chrZ' in the genome (it has chrA)"),
        (
            ["--window", "801"],
            "a chromosome must be at least as long as the window of 801 letters, got none",
        ),
        (["--genome", "absent.fa"], "absent.fa: "),
    ],
)
def test_scan_errors_are_one_line(basis, options, message, tmp_path, capsys):
    assert main([*basis, *options]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("selfattn-bio scan: error: ")
    assert message in last
    assert list(tmp_path.glob("out*")) == []

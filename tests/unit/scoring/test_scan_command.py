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
    printed = capsys.readouterr()
    assert (
        "warning: no prior: scores assume that as many windows are positive as in validation "
        "(25.0%), but in a genome far fewer are\n" in printed.err
    )
    assert printed.out.startswith(
        "scan: windows of 60 bp, one every 4 bp, scored on both strands\n"
    )
    number = len((tmp_path / "out.toy1.peaks.bed").read_text().splitlines())
    assert (
        f"scan: {number} peaks with a probability of at least 0.4; the best window has "
        in printed.out
    )
    assert number > 1


def test_scan_with_prior_reports_highest_score(basis, capsys):
    assert main([*basis, "--prior", "0.001"]) == 0
    printed = capsys.readouterr()
    assert "prior" not in printed.err
    assert (
        "scan: 0 peaks with a probability of at least 0.5; the best window has 0.00" in printed.out
    )


def test_scan_reports_other_assembly(basis, capsys):
    assert main([*basis, "--region", "chrA", "--assembly", "toy2", "--prior", "0.1"]) == 0
    assert (
        "the model was trained on 'toy1', but the genome is named 'toy2'" in capsys.readouterr().err
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
        (["--stride", "0"], "stride is 0; it must be at least 1 bp"),
        (["--stride", "61"], "stride 61 is not between 1 and the window size of 60 bp"),
        (["--prior", "1"], "prior 1.0 is not between 0 and 1"),
        (["--region", "chrZ"], "no chromosome 'chrZ' in the genome (it has chrA)"),
        (
            ["--window", "801"],
            "no window of 801 bp fits into the chromosomes or regions to scan",
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

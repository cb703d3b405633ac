"""Test that `simulate` writes the files of a grammar, and its one-line errors."""

import pytest

from selfattn_bio.cli.main import main
from selfattn_bio.config import read_run_file

TEXT = """
records = 40
length = 60
[sites.ctcf]
motifs = "CTCF (MA0139.2)"
[negatives]
shuffled = { fraction = 1 }
"""


def test_simulate_writes_files_for_a_task(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.toml").write_text(TEXT, encoding="utf-8")
    assert main(["simulate", "g.toml", "--output", "made", "--seed", "3"]) == 0
    assert capsys.readouterr().out == (
        "simulate: wrote Simulation of 40 records (20 positive, 20 shuffled) with 20 sites to "
        "made\n"
    )
    run = read_run_file("made/task.toml")
    assert run.data.files == [("made/positives.fa.gz", 1), ("made/negatives.fa.gz", 0)]
    assert main(["ingest", "--run-file", "made/task.toml", "--output", "corpus"]) == 0
    assert (
        main(
            ["split", "--run-file", "made/task.toml", "--corpus", "corpus", "--output", "split.tsv"]
        )
        == 0
    )


def test_missing_grammar_error(tmp_path, capsys):
    assert main(["simulate", str(tmp_path / "none.toml"), "--output", str(tmp_path / "made")]) == 1
    assert capsys.readouterr().err.endswith("none.toml: grammar not found\n")


def test_seed_must_be_a_number(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["simulate", "g.toml", "--output", "made", "--seed", "-1"])
    assert "'-1' is not an integer of 0 or more" in capsys.readouterr().err

"""Test how init recognises RNA and single-stranded DNA."""

from pathlib import Path

import pandas as pd
import pytest
from init_files import made, table


def test_rna_has_one_strand_and_no_database(here, capsys):
    table(letters="ACGU", number=300, family=lambda i, _: "ab"[i % 2] * 3)
    run = made("--sequences all.csv")
    assert (run.data.alphabet, run.interpret.database) == ("rna", "none")
    assert not run.both_strands
    out = capsys.readouterr().out
    assert "300 records of RNA" in out
    assert "RNA is read on the given strand only" in out
    assert "\nmembers = 2\n" in Path("workflows/tasks/my_task.toml").read_text(encoding="utf-8")


def test_alphabet_is_that_of_most_records_or_given(here, capsys):
    table(letters="ACGU", y=lambda i, _: i / 7)
    frame = pd.read_csv("all.csv")
    frame.loc[:2, "sequence"] = frame.loc[:2, "sequence"].str.replace("U", "T")
    frame.to_csv("all.csv", index=False)
    assert made("--sequences all.csv").data.alphabet == "rna"
    assert "3 of 120 records have T in RNA; read as RNA (--alphabet)\n" in capsys.readouterr().out
    assert made("--sequences all.csv --alphabet dna").data.alphabet == "dna"
    assert "117 of 120 records have U in DNA; read as DNA" in capsys.readouterr().out
    run = made("--sequences all.csv --alphabet ssdna")
    assert (run.data.alphabet, run.interpret.database) == ("ssdna", "none")
    assert "single-stranded DNA is read on the given strand only" in capsys.readouterr().out


def test_dna_has_a_hint_for_rna_written_with_t(here, capsys):
    table(y=lambda i, _: i / 7)
    hint = "RNA written with T needs --alphabet rna (or ssdna for single-stranded DNA): it has one "
    hint += "strand, and is shown with U\n"
    for option, is_shown in (("", True), ("--alphabet rna", False), ("--organism plants", False)):
        made(f"--sequences all.csv {option}")
        assert (hint in capsys.readouterr().out) == is_shown


@pytest.mark.parametrize(
    ("name", "alphabet"),
    [
        *((name, "rna") for name in ("utr", "UTR5", "mRNA", "siRNA_seq", "guide", "rna_sequences")),
        *((name, "dna") for name in ("sequence", "oligo", "external_region", "mRNA_promoter")),
    ],
)
def test_column_of_rna_is_recognised_by_its_name(here, capsys, name, alphabet):
    table(y=lambda i, _: i / 7)
    pd.read_csv("all.csv").rename(columns={"sequence": name}).to_csv("all.csv", index=False)
    assert made("--sequences all.csv").data.alphabet == alphabet
    line = "120 of 120 records have T in RNA; read as RNA (--alphabet)\n"
    assert (line in capsys.readouterr().out) == (alphabet == "rna")
    assert made("--sequences all.csv --alphabet dna").data.alphabet == "dna"

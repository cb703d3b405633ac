"""Run commands on bad files: each ends with one plain line and exit code 1, and writes nothing."""

import os
import re

import pytest
from commands import exit_code, run
from small_task import corpus_of, write_fasta

from selfattn_bio import compression
from selfattn_bio.sequence.readers import table

FASTA = '[data]\npositives = "p.fa"\nnegatives = "n.fa"\n'
TABLE = '[data]\nsequences = "t.tsv"\n[objective]\nkind = {!r}\n'
NUMBERS = TABLE.format("regression") + "columns = {!r}\n"
LONG, DIGITS = str(2**63), "9" * 5000


def fasta(attributes):
    return f">a {attributes}\nACGTACGT\n>b\nACGTTTTT\n"


def columns(values):
    """Return a table with a column y."""
    letters = ("ACGTACGTAA" + "ACGT"[i % 4] + "ACGT"[i // 4 % 4] + "CA"[i // 16] for i in range(32))
    rows = (f"r{i}\t{text}\t{y}" for i, (text, y) in enumerate(zip(letters, values, strict=True)))
    return "id\tsequence\ty\n" + "\n".join(rows) + "\n"


CASES = {
    "start": (FASTA, fasta(f"chrom=c start={LONG} end={int(LONG) + 8}"), r"p.fa:1: invalid start"),
    "digits": (FASTA, fasta(f"chrom=c start={DIGITS} end=9"), "p.fa:1: invalid start '9{30}'"),
    "region": (
        FASTA + f"[split]\nkind = 'region'\nvalid = ['c:0-{DIGITS}']\ntest = ['d:0-1']\n",
        fasta(""),
        "run.toml:4: .*invalid region 'c:0-9{76}'",
    ),
    "header": (
        FASTA.replace("\n", "\nheader = '^(a|aa)+!'\n", 1),
        fasta("").replace("a ", "a" * 200),
        "p.fa:1: .* takes longer than 1 s to search for",
    ),
    "column": (NUMBERS.format(["z"]), columns(range(32)), "run.toml:5: no column 'z' in the targ"),
    "twice": (NUMBERS.format(["y", "y"]), columns(range(32)), "columns names 'y' more than once"),
}


@pytest.mark.parametrize(("run_file", "data", "message"), CASES.values(), ids=CASES)
def test_refused_by_ingest(here, capsys, run_file, data, message):
    write_fasta(here / "n.fa", ["ACGGGGTT"])
    (here / ("t.tsv" if "t.tsv" in run_file else "p.fa")).write_text(data)
    (here / "run.toml").write_text(run_file)
    before = sorted(os.listdir())
    assert exit_code("ingest .") == 1
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert re.search(message, line)
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("regression", [3] * 32, "column 'y' is 3 in all records of the training split"),
        ("regression", [3 + 1e-15 * (i % 2) for i in range(32)], "column 'y' is nearly 3 in all"),
        ("regression", [f"{i}e-300" for i in range(32)], "e-300 in all records of the training"),
        ("regression", [3] * 8 + [*range(24)], "column 'y' is 3 in all records of the validation"),
        ("regression", ["1e308", *range(31)], "invalid value '1e308' in column 'y' of record"),
        (
            "multiclass",
            [*"ab" * 6, "inf", *"ab" * 9, "a"],
            "column 'y' has 'inf', which is no class",
        ),
        (
            "multiclass",
            [*"ab" * 6, "NaN", *"ab" * 9, "a"],
            "column 'y' has 'NaN', which is no class",
        ),
    ],
)
def test_refused_before_training(here, capsys, kind, values, message):
    names = ["valid" if i < 8 else "train" if i < 26 else "test" for i in range(32)]
    rows = columns(values).splitlines()
    splits = ["split", *(names if values[0] == 3 else names[::-1])]
    lines = (f"{row}\t{split}\n" for row, split in zip(rows, splits, strict=True))
    (here / "t.tsv").write_text("".join(lines))
    name = "column = 'y'" if kind == "multiclass" else "columns = ['y']"
    (here / "run.toml").write_text(TABLE.format(kind) + f"{name}\n[split]\nkind = 'column'\n")
    run("ingest .")
    # split refuses invalid values, train also those from which nothing can be learned
    assert (exit_code("split .") or exit_code("train . --threads 1")) == 1
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (here / "model").exists()


def test_pipe_without_writer(here, capsys, monkeypatch):
    monkeypatch.setattr(compression, "PIPE_SECONDS", 0.1)
    os.mkfifo("p.fa")
    write_fasta(here / "n.fa", ["ACGGGGTT"])
    (here / "run.toml").write_text(FASTA)
    assert exit_code("ingest .") == 1
    assert "p.fa: no process writes to this named pipe" in capsys.readouterr().err


@pytest.mark.parametrize("is_separate", [True, False])
def test_of_a_wide_table_only_named_columns_are_read(here, monkeypatch, is_separate):
    monkeypatch.setattr(table, "WIDE", 3)
    monkeypatch.setattr("selfattn_bio.data.writer.WIDE", 3)
    rows = [*zip(*(line.split("\t") for line in columns(range(32)).splitlines()), strict=True)]
    more = [(name, *map(str, range(32))) for name in "abcd"]
    tables = {"s": rows[:2], "t": [rows[0], rows[2], *more]} if is_separate else {"s": rows + more}
    for name, found in tables.items():
        lines = ("\t".join(cells) + "\n" for cells in zip(*found, strict=True))
        (here / f"{name}.tsv").write_text("".join(lines))
    data = "sequences = 's.tsv'\n" + "targets = 't.tsv'\n" * is_separate
    text = NUMBERS.format(["y", "c"]).replace('sequences = "t.tsv"', data)
    (here / "run.toml").write_text(text)
    run("ingest .")
    found = corpus_of(here).targets(["y", "c"])
    assert found["y"].tolist() == found["c"].tolist() == list(map(str, range(32)))
    assert corpus_of(here).summary["targets"]["columns"] == ["y", "c"]

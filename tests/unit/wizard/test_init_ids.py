"""Test init: ids and coordinates of records are recognised."""

from pathlib import Path

import pytest
from commands import exit_code
from init_files import both, ingested, label, made, table, write


def test_ids_of_another_column(here, capsys):
    word = lambda i, _: f"mpra_{i}"  # noqa: E731
    options = table(oligo=word, index=lambda i, _: i, y=lambda i, _: i / 7)
    assert made(options).data.columns == {"id": "oligo"}
    assert ingested()[0]["id"].tolist()[:2] == ["mpra_0", "mpra_1"]
    capsys.readouterr()
    why = "no column has a unique word in each row"
    repeated = {"a": lambda i, _: f"mpra_{i % 119}"}
    twice = "column 'a' has 'mpra_0' in all_1 and all_120"
    both = {"a": word, "b": word}
    for columns, reason in ((both, "a and b could be ids"), ({}, why), (repeated, twice)):
        assert made(table(y=lambda i, _: i / 7, **columns)).data.columns == {}
        line = f"init: ids of tables are file name and row, because {reason}; "
        assert f"{line}choose a column with --id-column\n" in capsys.readouterr().out
    ingested()
    line = "ingest: all.csv: no column 'id', so the records are named all_1, all_2, ...\n"
    assert capsys.readouterr().out.count(line) == 1
    options = table(a=word, b=word, y=lambda i, _: i / 7)
    assert made(f"{options} --id-column b").data.columns == {"id": "b"}
    assert exit_code(f"init other {options} --id-column c") == 1
    assert "all.csv: found no column 'c' (--id-column)" in capsys.readouterr().err


def test_repeated_and_missing_ids_are_numbered(here, capsys):
    options = both()
    for name, header in (("a.fa", "DNA"), ("bb.fa", " {}")):
        rows = Path(name).read_text().splitlines()[1::2]
        each = (f">{header.format(i)}\n{row}\n" for i, row in enumerate(rows))
        Path(name).write_text("".join(each))
    assert made(options).data.ids == "numbered"
    message = "a.fa:3: record id 'DNA' is used twice (first in a.fa:1), so the records are numbered"
    assert f"init: {message}" in capsys.readouterr().out
    assert len(ingested()[0]) == 240


def locus(i, width=40):
    return f"chr{i % 5}:{i * 50}-{i * 50 + width}({'+-'[i % 2]})"


def with_loci(kind, loci):
    """Write records of two classes with coordinates as ids; return the options."""
    if kind == "table":
        return table(id=loci, label=label)
    paths = ["a.fa", "bb.fa"] if kind == "files" else ["a.fa"]
    for path in paths:
        rows = Path(write(path)).read_text().splitlines()[1::2]
        ends = ["", ""] if kind == "files" else ["|x", "|y"]
        names = [f"{path}::{loci(i, '')}{ends[i // 5 % 2]}" for i in range(len(rows))]
        both = zip(names, rows, strict=True)
        Path(path).write_text("".join(f">{name}\n{row}\n" for name, row in both))
    return "--positives a.fa --negatives bb.fa" if kind == "files" else "--sequences a.fa"


@pytest.mark.parametrize("kind", ["table", "files", "labels in headers"])
def test_coordinates_of_ids_are_read(here, capsys, kind):
    run = made(with_loci(kind, lambda i, _: locus(i)))
    assert run.split.kind == "chromosome"
    assert "init: coordinates: from ids such as" in capsys.readouterr().out
    records = ingested()[0]
    assert records["start"].tolist()[:2] == [0, 50]
    assert records["strand"].tolist()[:2] == ["+", "-"]
    assert records["label"].notna().all()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (lambda i, _: locus(i, 39), "the sequence of 'chr0:0-39(+)' has 40 bp, not end - start; "),
        (lambda i, _: locus(i) if i else "a", "'a' has none; give chrom, start and end, "),
    ],
)
def test_coordinates_that_are_not_read(here, capsys, name, why):
    assert made(table(id=name, label=label)).split.kind == "random"
    line = f"init: coordinates in the ids are not read, because {why}"
    assert line in capsys.readouterr().out

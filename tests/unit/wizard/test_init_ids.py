"""Test init: ids and coordinates of records are recognised."""

import re
from pathlib import Path

import pandas as pd
import pytest
from commands import exit_code
from init_files import TASK, both, ingested, label, made, table, write

from selfattn_bio import Study
from selfattn_bio.scoring.inputs import read_sequences
from selfattn_bio.sequence.policy import policy_of


def test_ids_of_another_column(here, capsys):
    word = lambda i, _: f"mpra_{i}"  # noqa: E731
    options = table(oligo=word, index=lambda i, _: i, y=lambda i, _: i / 7)
    assert made(options).data.columns == {"id": "oligo"}
    assert ingested()[0]["id"].tolist()[:2] == ["mpra_0", "mpra_1"]
    capsys.readouterr()
    why = "no column has a unique name in each row"
    repeated = {"a": lambda i, _: f"mpra_{i % 119}"}
    twice = "column 'a' has 'mpra_0' in all_1 and all_120"
    made(table(**{"Entry": word, "Entry Name": word}, y=lambda i, _: i / 7))
    assert "init: ids: column 'Entry'\n" in capsys.readouterr().out
    both = {"a": word, "b": word}
    hint = "for your own, --id-column needs a column with a different value in each row"
    for columns, reason in ((both, "a and b could be ids"), ({}, why), (repeated, twice)):
        assert made(table(y=lambda i, _: i / 7, **columns)).data.columns == {}
        line = f"init: ids of tables are file name and row, because {reason}; {hint}\n"
        assert line in capsys.readouterr().out
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


def test_names_with_spaces_are_ids_without_other_words(here, capsys):
    name, word = (lambda i, _: f"peak {i} of liver"), (lambda i, _: f"mpra_{i}")
    y = {"y": lambda i, _: i / 7}
    assert made(table(region=name, **y)).data.columns == {"id": "region"}
    assert ingested()[0]["id"][0] == "peak 0 of liver"
    assert made(table(description=name, oligo=word, **y)).data.columns == {"id": "oligo"}
    made(table(region=name, title=name, **y))
    assert "because region and title could be ids" in capsys.readouterr().out


def write_targets(name, **columns):
    """Write a table of targets of the records of s.fa."""
    values = {name: [f"s{i}" for i in range(120)], "y": [i / 7 for i in range(120)]}
    pd.DataFrame(values | columns).to_csv("t.tsv", sep="\t", index=False)
    return f"--sequences {write('s.fa')} --targets t.tsv"


def test_id_column_of_the_table_of_targets(here, capsys):
    options = write_targets("gene", id=range(120))
    assert exit_code(f"init my_task {options}") == 1
    assert (
        "t.tsv: none of the ids in this table, such as '0', is the id of a sequence, such as 's0'"
        in capsys.readouterr().err
    )
    run = made(f"{options} --id-column gene --column y")
    assert (run.data.columns, run.data.targets) == ({"id": "gene"}, "t.tsv")
    ingested()
    assert Study("my_task").corpus.targets(["y"])["y"][7] == "1.0"
    write_targets("name")
    assert exit_code(f"init other {options} --id-column gene") == 1
    message = (
        "t.tsv: a table of targets needs the column gene and another one; the columns are name, y"
    )
    assert message in capsys.readouterr().err


def test_a_table_of_targets_may_have_id_beside_a_named_column(here):
    options = table(oligo=lambda i, _: f"s{i}")
    write_targets("id")
    assert made(f"{options} --targets t.tsv --id-column oligo").data.columns == {"id": "oligo"}
    assert len(ingested()[0]) == 120


def test_accessions_are_joined_with_ids_of_uniprot(here, capsys):
    options = write_targets("id", id=[f"P{i}" for i in range(120)])
    text = Path("s.fa").read_text()
    text += f">s120\n{'ACGT' * 10}\n"
    Path("s.fa").write_text(re.sub(r">s(\d+)", r">sp|P\1|NAME\1_HUMAN", text))
    assert made(options).data.targets == "t.tsv"
    messages = (
        "init: ids: 'P0' of 'sp|P0|NAME0_HUMAN' and others ([data] header)\n"
        "init: t.tsv: no row for 1 sequence\n"
    )
    assert messages in capsys.readouterr().out
    assert ingested()[0]["id"][7] == "P7"
    assert Study("my_task").corpus.targets(["y"])["y"][7] == "1.0"


@pytest.mark.parametrize(("name", "first"), [("Entry", "P0"), ("Entry Name", "NAME0_HUMAN")])
def test_ids_of_the_targets_are_found_by_content(here, capsys, name, first):
    texts = [first.replace("0", str(i)) for i in range(118)]
    rows = pd.DataFrame({"Organism": "HUMAN", name: texts, "y": [i / 7 for i in range(118)]})
    rows.to_csv("t.tsv", sep="\t", index=False)
    text = Path(write("s.fa")).read_text()
    Path("s.fa").write_text(re.sub(r">s(\d+)", r">sp|P\1|NAME\1_HUMAN", text))
    made("--sequences s.fa --targets t.tsv --column y")
    out = capsys.readouterr().out
    assert f"init: ids of the targets: column {name!r}\n" in out
    assert f"init: ids: {first!r} of 'sp|P0|NAME0_HUMAN' and others" in out
    gaps = "(empty, NA, n.d., . or -; split drops records without any value)"
    assert f"init: column 'y': 2 missing values {gaps}\n" in out
    assert "init: t.tsv: no row for 2 sequences\n" in out
    assert ingested()[1]["dropped"] == 2


def test_accessions_of_a_table_are_read_from_headers_of_uniprot(here):
    word = lambda i, _: f"P{i:05}"  # noqa: E731
    options = table(**{"Entry": word, "Entry Name": word}, y=lambda i, _: i / 7)
    policy = policy_of(made(options).data)
    assert ingested()[0]["id"].tolist()[:2] == ["P00000", "P00001"]
    names = ["tr|P3INJ4|GTB45_MOUSE Other", "P12345", "P12346 a|b", "a.1", "a|b|c", "sp|P1"]
    text = "".join(f">{name}\n{'ACGT' * 10}\n" for name in names)
    Path("new.fa").write_text(text)
    ids, _ = read_sequences(policy, "new.fa", 1)
    assert ids == ["P3INJ4", "P12345", "P12346", "a.1", "a|b|c", "P1"]


@pytest.mark.parametrize("option", ["id", "sequence"])
def test_columns_of_files_that_are_no_tables(here, capsys, option):
    assert exit_code(f"init mine {both()} --{option}-column name") == 1
    assert f"a.fa: found no column 'name' (--{option}-column)\n" in capsys.readouterr().err
    Path("a.bed").write_text("chr1\t1\t9\n")
    assert exit_code(f"init mine --positives a.bed --genome g.fa --{option}-column name") == 1
    assert f"--{option}-column cannot be used with --genome. Give" in capsys.readouterr().err


def test_repeated_ids_of_a_named_column(here, capsys):
    options = table(oligo=lambda i, _: f"mpra {i % 119}", y=lambda i, _: i / 7)
    assert exit_code(f"init mine {options} --id-column oligo") == 1
    message = (
        "all.csv:121: record id 'mpra 0' is used twice (first in all.csv:2). Rename or remove "
    )
    assert f"{message}one, or choose another column with --id-column\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("second", "hint"),
    [
        (
            ">s2\nAC-T",
            "Remove the alignment gaps, in FASTA with sed '/^>/!s/[-.]//g' old.fa > new.fa",
        ),
        (">s1\nACC", "Rename or remove one"),
    ],
)
def test_hints_of_init_name_no_run_file(here, capsys, second, hint):
    Path("s.fa").write_text(f">s1\nACGT\n{second}\n")
    Path("t.tsv").write_text("id\ty\ns1\t1\n")
    assert exit_code("init mine --sequences s.fa --targets t.tsv") == 1
    assert capsys.readouterr().err.endswith(f". {hint}\n")


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


@pytest.mark.parametrize(
    ("first", "names", "message"),
    [
        (0, ("Chr", "Start", "End"), ""),
        (0, ("#chr", "start", "end"), ""),
        (1, ("Chr", "Start", "End"), "column 'Start' is 1-based, so only 'Chr' is read"),
        (1, ("seqnames", "start", "end"), "column 'start' is 1-based, so only 'seqnames' is read"),
        (7, ("chromosome", "Start", "Stop"), "column 'Start' to the end is not as long as each "),
    ],
)
def test_columns_of_coordinates_have_usual_names(here, capsys, first, names, message):
    cells = (
        lambda i, _: f"chr{i % 5}",
        lambda i, _: i * 50 + first,
        lambda i, _: i * 50 + 40,
    )
    run = made(table(label=label, **dict(zip(names, cells, strict=True))))
    assert run.split.kind == "chromosome"
    read = (names[0], "", "") if message else names
    fields = zip(("chrom", "start", "end"), read, strict=True)
    expected = {field: name for field, name in fields if field != name}
    assert run.data.columns == expected
    assert f"init: {message}" in capsys.readouterr().out
    starts = ingested()[0]["start"]
    assert starts.isna().all() if message else starts.tolist()[:2] == [0, 50]


@pytest.mark.parametrize("names", ["start", "end", "start end strand"])
def test_positions_without_chromosomes_are_not_read(here, capsys, names):
    positions = {name: lambda i, _: 1 + i * 7 % 90 for name in names.split()}
    made(table(label=label, **positions))
    read = f"not read without a column of chromosomes: {', '.join(positions)}"
    assert f"init: {read}\n" in capsys.readouterr().out
    records = ingested()[0]
    assert len(records) == 120
    assert records[["start", "end", "strand"]].isna().all(axis=None)


def test_proteins_are_not_split_by_chromosome(here):
    loci = {"Chr": lambda i, _: f"chr{i % 5}", "Start": lambda i, _: i, "End": lambda i, _: i + 9}
    run = made(table(letters="ACDEFGHIKL", label=label, **loci))
    assert run.data.columns == {}
    assert run.split.kind != "chromosome"


def test_header_values_without_quotes_are_named(here, capsys):
    names = ["kinase len=3", "serine protease", '"zinc finger" protein']
    write("a.fa", header=lambda i: f"class={names[i % 3]} len=40")
    made("--sequences a.fa --column class")
    line = "init: a.fa: value 'serine' is followed by 'protease'; quote values with spaces: "
    out = capsys.readouterr().out
    assert f'{line}class="serine protease"\n' in out
    assert out.count("quote values") == 1
    write("a.fa", header=lambda i: f"class={names[i % 2 * 2]}")
    made("--sequences a.fa --column class")
    assert "quote values" not in capsys.readouterr().out


def test_organisms_of_uniprot_end_before_the_next_key(here, capsys):
    organisms = "Mus musculus", "Escherichia coli (strain K12)"
    write("a.fa", header=lambda i: f"Kinase OS={organisms[i % 2]} OX={i} GN=abc")
    made("--sequences a.fa --column OS")
    out = capsys.readouterr().out
    assert "'Escherichia coli (strain K12)'" in out
    assert "quote values" not in out


def test_comments_of_run_files_fit_proteins(here):
    write("a.fa", letters="ACDEFGHIKLMNPQRSTVWY", number=200)
    made("--positives a.fa --negatives shuffled")
    text = re.sub(r"\s*\n# ", " ", TASK.read_text(encoding="utf-8"))
    assert "dinucleotide" not in text
    assert "with the same pairs of neighbouring bases or residues" in text
    assert 'of k-mers, not identity; method = "mmseqs2" finds more relatives' in text


def test_id_is_no_attribute(here, capsys):
    write("a.fa", header=lambda i: "y=1")
    Path("a.fa").write_text(Path("a.fa").read_text().replace(">a", ">kinase=a"))
    assert exit_code("init my_task --sequences a.fa") == 1
    assert "the headers have y (such as 1)." in capsys.readouterr().err


def test_negatives_of_a_table_are_generated(here, capsys):
    table(bait=lambda _, letters: letters[::-1], gene=lambda i, _: f"g{i % 40}")
    run = made("--positives all.csv --negatives shuffled")
    assert (run.data.positives, run.data.negatives.kind) == (("all.csv",), "shuffled")
    assert "column 'bait' has sequences, too" in capsys.readouterr().out


def test_shuffled_negatives_explain_chance(here, capsys):
    positives = write("a.fa", number=300, letters="ACDEFGHIKLMNPQRSTVWY")
    made(f"--positives {positives} --negatives shuffled")
    out = capsys.readouterr().out
    assert "Shuffled negatives have the same 2-mer counts as their positives" in out
    assert "nothing can be learned" not in out


def test_names_before_coordinates_are_joined_with_targets(here):
    options = write_targets("peak")
    text = re.sub(r">s(\d+)", lambda m: f">s{m[1]}::{locus(int(m[1]))}", Path("s.fa").read_text())
    Path("s.fa").write_text(text)
    assert made(f"{options} --column y").split.kind == "chromosome"
    records = ingested()[0]
    assert records["id"].tolist()[:2] == ["s0", "s1"]
    assert records["start"].tolist()[:2] == [0, 50]
    assert Study("my_task").corpus.targets(["y"])["y"][7] == "1.0"


def test_chromosomes_of_a_table_of_targets(here, capsys):
    chrom = [f"chr{i % 5}" for i in range(120)]
    options = write_targets("id", chrom=chrom)
    rows = pd.read_csv("t.tsv", sep="\t")
    rows[1:].to_csv("t.tsv", sep="\t", index=False)  # the first sequence has no row
    split = made(options).split
    assert "split: by chromosome (" in capsys.readouterr().out
    counts = ingested()[1]
    assert (counts["test"], counts["dropped"]) == (chrom[1:].count(split.test[0]), 1)

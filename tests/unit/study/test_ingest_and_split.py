"""Ingest and split: results, progress, kinds of splits, and one-line errors."""

import os
import re
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
from commands import exit_code, run

import selfattn_bio as sb
from selfattn_bio.errors import ArgumentError, CorpusError
from selfattn_bio.sequence.alphabet import DNA


@pytest.fixture
def study(two_classes):
    """Return a study of 30 positives and 30 negatives on three chromosomes."""
    return sb.Study(".")


def rewrite(path, *replaced):
    text = path.read_text()
    for old, new in replaced:
        text = text.replace(old, new)
    path.write_text(text)


def test_ingest_and_split_return_what_they_write(study, caplog, capsys):
    caplog.set_level("INFO", "selfattn_bio")
    corpus = study.ingest()
    split = study.split()
    messages = ["read 60 records from 2 files", "kept 60 records with 1,800 bp"]
    messages += [f"{name}: 20 records (10 positive)" for name in ("train", "valid", "test")]
    assert caplog.messages == [*messages, "dropped: 0 records (0 positive)"]
    assert capsys.readouterr().out == ""
    assert repr(corpus) == "Corpus of 60 records, 1,800 bp, in corpus"
    opened = study.corpus
    assert opened._repr_html_().count("<tr") == 1 + 5
    assert opened.fingerprint == corpus.fingerprint
    pd.testing.assert_frame_equal(opened.records, corpus.records)
    assert split.counts == {"train": 20, "valid": 20, "test": 20, "dropped": 0}
    assert repr(split) == "Split of 60 records: 20 train, 20 valid, 20 test, 0 dropped"
    assert os.fspath(split) == "split.tsv"
    assert split.table["split"].tolist() == ["train", "valid", "test"] * 20
    pd.testing.assert_frame_equal(study.splits.table, split.table)
    run("split .")
    printed = "".join(f"split: {line}\n" for line in caplog.messages[2:6])
    assert capsys.readouterr() == (printed, "")


def test_ingest_error_is_one_line_and_writes_nothing(two_classes, capsys):
    for old, files, error in (
        ('"p.fa"', '["p.fa", "p.fa"]', "p.fa:1: record id 'p0' is used twice (first in p.fa:1). R"),
        ('["p.fa", "p.fa"]', '"absent.fa"', "run.toml:3: no such file: 'absent.fa'. Correct the"),
    ):
        rewrite(two_classes / "run.toml", (f"positives = {old}", f"positives = {files}"))
        assert exit_code("ingest .") == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith(f"selfattn-bio ingest: error: {error}")
        assert sorted(path.name for path in two_classes.iterdir()) == ["n.fa", "p.fa", "run.toml"]


def test_data_that_a_step_would_replace_are_refused(two_classes, capsys):
    (two_classes / "p.fa").rename("split.tsv")
    text = (two_classes / "run.toml").read_text()
    (two_classes / "run.toml").write_text(text.replace("p.fa", "split.tsv"))
    assert exit_code("ingest .") == 1
    assert "error: split.tsv: the output would replace this input" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["=1+2", "@sum(a)", "+x", "-x"])
def test_ids_that_are_formulas_are_kept_with_a_warning(study, two_classes, name, caplog):
    rewrite(two_classes / "p.fa", (">p0 ", f">{name} "))
    assert name in set(study.ingest().records["id"])
    assert f"ids such as {name!r} (1) are formulas for a spreadsheet" in caplog.text


def test_unknown_column_of_the_objective_is_refused(here):
    rows = [f"r{i},{'ACGT' * 5},{i / 7},{i}" for i in range(9)]
    (here / "t.csv").write_text("\n".join(["id,sequence,heart,liver", *rows]))
    objective = '[objective]\nkind = "regression"\ncolumns = ["hart"]\n'
    (here / "run.toml").write_text(f'[data]\nsequences = "t.csv"\ntargets = "t.csv"\n{objective}')
    message = r"run.toml:6: no column 'hart' in the targets .*\. Did you mean 'heart'\?"
    with pytest.raises(CorpusError, match=message):
        sb.Study(".").ingest()


@pytest.mark.parametrize(
    ("objective", "without"),
    [
        ('kind = "regression"\ncolumns = ["y"]', {2, 3, 4, 5}),
        ('kind = "regression"\ncolumns = ["y", "z"]', {2, 3}),
        ('kind = "multiclass"\ncolumn = "kind"', {3, 6}),  # NA may be a class
        ('kind = "labels"\ncolumn = "part"\nclasses = "HE"', {7}),
        (
            'kind = "several"\n[objective.parts.a]\nkind = "regression"\ncolumns = ["y"]\n'
            '[objective.parts.b]\nkind = "multiclass"\ncolumn = "kind"',
            {3},
        ),
    ],
)
def test_records_without_a_value_are_in_no_split(here, caplog, objective, without):
    caplog.set_level("INFO", "selfattn_bio")
    rng = np.random.default_rng(0)
    letters = ["".join(rng.choice(list("ACGT"), 20)) for _ in range(40)]
    table = pd.DataFrame({"id": [f"r{i}" for i in range(40)], "sequence": letters})
    table = table.assign(y="1", z="2", kind=["a", "b"] * 20, part="HE" * 10)
    table.loc[[0, 1], "y"] = "2"
    table.loc[[2, 3, 4, 5], "y"] = ["NA", "", "nan", "-"]
    table.loc[[2, 3], "z"] = ["", "NA"]
    table.loc[[2, 3, 6], "kind"] = ["NA", "", ""]
    table.loc[[7, 8], "part"] = ["-" * 20, "H" + "-" * 19]
    table.to_csv("t.csv", index=False)
    per_letter = "[tokens]\nk = 1\n[training]\nshift = 0\nreverse_complement = false\n"
    (here / "run.toml").write_text(
        f'[data]\nsequences = "t.csv"\n{per_letter}[objective]\n{objective}\n'
    )
    study = sb.Study(".")
    study.ingest()
    found = study.split().table
    dropped = found[found["split"] == "dropped"]
    assert set(dropped["id"]) == {f"r{i}" for i in without}
    assert set(dropped["reason"]) == {"no value to learn"}
    number = f"{len(without)} record{'s' * (len(without) > 1)}"
    assert f"removed: {number} without a value to learn" in caplog.messages


@pytest.fixture
def given_split(here):
    """Return a function that splits records by their column `split`; `kind` may be missing."""

    def given_split(*rows):
        pd.DataFrame(rows, columns=["id", "sequence", "split", "kind"]).to_csv("t.csv", index=False)
        text = '[data]\nsequences = "t.csv"\n[split]\nkind = "column"\n'
        text += 'values = { dropped = ["out"] }\n[objective]\n'
        (here / "run.toml").write_text(f'{text}kind = "multiclass"\ncolumn = "kind"\n')
        study = sb.Study(".")
        study.ingest()
        return study.split().table.set_index("id")

    return given_split


ROWS = [
    ("a", "ACGTACGTA", "train", "x"),
    ("b", "ACGTTCGTA", "train", "y"),
    ("c", "CCGTTCGTA", "valid", "x"),
    ("d", "CCGTTCGAA", "test", ""),
]


def test_split_without_values_names_the_cause(given_split):
    message = "need records: 2 train, 1 valid, 0 test (dropped: 1 record without a value to learn)"
    with pytest.raises(CorpusError, match=re.escape(message)):
        given_split(*ROWS)
    with pytest.raises(CorpusError, match="column 'kind' has 1 classes in the training split"):
        given_split(ROWS[0], *ROWS[2:], ("e", "CGGTTCGAA", "test", "y"))
    with pytest.raises(CorpusError, match="need records: 0 train, 1 valid, 1 test"):
        given_split(*ROWS[2:])


def test_copy_of_a_record_without_a_value_is_kept(given_split):
    table = given_split(*ROWS, ("e", "CGGTTCGAA", "test", "y"), ("f", ROWS[3][1], "train", "x"))
    assert table["split"][["d", "e", "f"]].tolist() == ["dropped", "test", "train"]


def test_values_of_dropped_records_are_not_checked(given_split):
    test = [("e", "CGGTTCGAA", "test", "y"), ("f", "GGGTTCGAA", "out", "z")]
    table = given_split(*ROWS, *test, ("g", "GGGTTCGAT", "out", ""))
    assert table["reason"][["d", "f", "g"]].tolist() == [
        "no value to learn",
        *["split=out"] * 2,
    ]


def test_labels_in_headers_equal_those_of_files(study, two_classes):
    corpus = study.ingest()
    assert corpus.records["label"].tolist() == [1] * 30 + [0] * 30
    labels = 'sequences = ["p.fa", "n.fa"]\nheader = "^(.)"\nlabel = "label"\npositive = "p"'
    rewrite(two_classes / "run.toml", ('positives = "p.fa"\nnegatives = "n.fa"', labels))
    assert sb.Study(".").ingest().records.equals(corpus.records)


def test_ingest_files_equals_a_run_file(study):
    corpus = sb.ingest_files(["p.fa", "n.fa"], "files", "dna", labels=[1, 0])
    assert corpus.fingerprint == study.ingest().fingerprint
    unlabelled = sb.ingest_files("p.fa", "numbered", "dna", ids="numbered")
    assert unlabelled.records["id"].iloc[0] == "p_1"
    assert unlabelled.records["label"].isna().all()


def test_ingest_files_argument_errors():
    files = partial(sb.ingest_files, ["p.fa", "n.fa"], "files", "dna")
    for call, message in (
        (partial(files, labels=[1]), r"2 files need as many labels, 1 or 0, not \[1\]"),
        (partial(files, labels=[1, 2]), r"2 files need as many labels, 1 or 0, not \[1, 2\]"),
        (partial(files, header="("), r"header '\(' is not a valid regular expression: missing \)"),
        (partial(sb.RecordRules, DNA, min_length=9, max_length=8), "9 is larger than max_length 8"),
    ):
        with pytest.raises(ArgumentError, match=message):
            call()


def test_ingest_files_with_rules_and_columns(here):
    (here / "t.csv").write_text("id,seq,kind\na,ACGTAC,tss\nb,ACGTAC,no\nc,ACGT,no\n")
    rules = sb.RecordRules(DNA, "dm3", min_length=5, repeats="count")
    labels = {"labels": "kind", "positive": ["tss"]}
    corpus = sb.ingest_files(["t.csv"], "corpus", rules, sequence_column="seq", **labels)
    assert corpus.records["id"].tolist() == ["a", "b"]
    assert corpus.records["label"].tolist() == [1, 0]
    assert corpus.summary["assembly"] == "dm3"


def test_split_error_names_run_file_or_corpus(study, two_classes):
    of_chromosomes = 'kind = "chromosome"\nvalid = ["c2"]\ntest = ["c3"]'
    rewrite(two_classes / "run.toml", (of_chromosomes, 'kind = "column"'))
    column = sb.Study(".")
    column.ingest()
    with pytest.raises(CorpusError, match=r"run\.toml:5: no column 'split' in the targets"):
        column.split()
    rewrite(two_classes / "run.toml", ('kind = "column"', of_chromosomes.replace("c3", "c9")))
    chromosome = sb.Study(".")
    with pytest.raises(CorpusError, match=r"run\.toml:\d+: \[split\] test: no records on c9"):
        chromosome.split()
    sb.ingest_files(["p.fa"], "corpus", "dna", labels=[1])
    with pytest.raises(CorpusError, match="corpus: all 30 records have label 1"):
        study.split()
    assert not list(two_classes.glob("*split.tsv*"))


FRACTIONS = "valid_fraction = 0.3\ntest_fraction = 0.3"


@pytest.fixture
def split_by(two_classes):
    """Return a function that splits records by `split`, with another attribute than chrom."""

    def split_by(split, header="chrom=", targets=False):
        for name in "pn":
            rewrite(two_classes / f"{name}.fa", ("chrom=", header))
        text = (two_classes / "run.toml").read_text().split("[split]")[0]
        (two_classes / "run.toml").write_text(f"{text}[split]\n{split}\n")
        rows = (f"{name}{i}\tf{i // 5}\n" for name in "pn" for i in range(30))
        (two_classes / "t.tsv").write_text("id\tfamily\n" + "".join(rows))
        table = "t.tsv" if targets else None
        sb.ingest_files(["p.fa", "n.fa"], "corpus", "dna", labels=[1, 0], targets=table)
        return sb.Study(".").split()

    return split_by


@pytest.mark.parametrize("kind", ["group", "species"])
def test_split_by_attribute_in_headers(split_by, kind):
    random = split_by(f'kind = "random"\n{FRACTIONS}')
    assert random.counts == {"train": 24, "valid": 18, "test": 18, "dropped": 0}
    split = split_by(f'kind = "{kind}"\n{FRACTIONS}', header=f"{kind}=")
    assert split.table["reason"].tolist() == [f"{kind}=c{i}" for i in (1, 2, 3)] * 20
    assert split.table.groupby("reason")["split"].nunique().eq(1).all()
    assert split.counts == {"train": 20, "valid": 20, "test": 20, "dropped": 0}


def test_split_by_column_of_targets(split_by):
    table = split_by(f'kind = "group"\ncolumn = "family"\n{FRACTIONS}', targets=True).table
    assert table["reason"][0] == "family=f0"
    assert table.groupby("reason")["split"].nunique().eq(1).all()
    assert table["split"].nunique() == 3


def test_split_reports_clusters(split_by, two_classes, caplog):
    path = two_classes / "n.fa"
    text = path.read_text()
    path.write_text(f"{text}>copy chrom=c1\n{text.splitlines()[1][2:]}\n")
    caplog.set_level("INFO", "selfattn_bio")
    table = split_by('kind = "cluster"').table.set_index("id")
    clusters = "60 clusters by shared k-mers at similarity 0.15; the largest has 2 records, and "
    clusters += "59 have only one"
    assert clusters in caplog.messages
    assert table["reason"][["n0", "copy"]].tolist() == ["cluster=n0 (2)"] * 2
    assert table["split"]["n0"] == table["split"]["copy"]


@pytest.mark.parametrize(
    ("column", "sizes"),
    [
        (
            "",
            "60 clusters by shared k-mers at similarity 0.3; the largest has 1 record, and 60 have",
        ),
        (
            "family",
            "12 clusters by shared k-mers at similarity 0.3, 60 before they were joined by column "
            "'family'; the largest has 5 records, and 0 have",
        ),
    ],
)
def test_proteins_that_are_alone_are_nearly_a_random_split(here, caplog, column, sizes):
    rng, rows = np.random.default_rng(0), []
    for i in range(60):
        letters = "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 40))
        rows.append({"id": f"r{i}", "sequence": letters, "label": i % 2, "family": f"f{i // 5}"})
    pd.DataFrame(rows).to_csv("a.csv", index=False)
    data = 'alphabet = "protein"\nsequences = "a.csv"\nlabel = "label"\n'
    joined = f'column = "{column}"\n' if column else ""
    (here / "run.toml").write_text(f'[data]\n{data}[split]\nkind = "cluster"\n{joined}')
    caplog.set_level("INFO", "selfattn_bio")
    sb.Study(".").ingest()
    sb.Study(".").split()
    assert f"{sizes} only one" in caplog.messages
    warnings = [each for each in caplog.messages if "nearly a random split" in each]
    assert len(warnings) == (not column)
    assert all("related proteins below about 85 % identity may be" in each for each in warnings)


def test_split_warns_of_few_units(split_by, caplog):
    split_by(f'kind = "group"\n{FRACTIONS}', header="group=")
    assert caplog.messages[-1] == (
        "few groups in test: 1 in all, 1 of label 0. With fewer than 10 of a class, the effects of "
        "its motifs may not be measured. With fewer than 20 in all, intervals are too narrow. For "
        "more, increase test_fraction in [split] to about 0.50, and add records"
    )
    caplog.clear()
    split_by('kind = "cluster"\ntest_fraction = 0.5')
    assert not caplog.messages


@pytest.mark.parametrize("finer", ["", ". Here, [evaluation] block = 10000 gives enough"])
def test_split_names_blocks_without_a_warning(split_by, two_classes, caplog, finer):
    for name in "pn":
        lines = (two_classes / f"{name}.fa").read_text().splitlines()
        at = [8_000 * i + 12_000 * (bool(finer) and name == "n") for i in range(30)]
        lines[::2] = [f"{of} start={x} end={x + 30}" for of, x in zip(lines[::2], at, strict=True)]
        (two_classes / f"{name}.fa").write_text("\n".join(lines) + "\n")
    split_by('kind = "chromosome"\nvalid = ["c1"]\ntest = ["c2"]')
    assert caplog.messages[-1] == (
        "few blocks of 500,000 bp in test: 1 in all, 1 of label 0. With fewer than 10 of a class, "
        "the effects of its motifs may not be measured. With fewer than 20 in all, intervals are "
        "too narrow. For more, list more chromosomes in [split] test. If loci are closer than a "
        f"block, a smaller [evaluation] block gives more units{finer}"
    )


def test_clusters_that_share_a_value_stay_together(split_by):
    table = split_by('kind = "cluster"\ncolumn = "family"', targets=True).table
    assert set(table["reason"]) == {
        f"cluster={name}{i} (10)" for name in "p" for i in range(0, 30, 5)
    }
    sb.Study(".").audit()
    assert sb.Study(".").leakage.summary["groups"] == ["family"]


def test_split_by_missing_column_error(split_by):
    with pytest.raises(CorpusError, match=r"record '\w+' has no species to split by"):
        split_by('kind = "species"')
    with pytest.raises(CorpusError, match=r"no column 'family' in the targets \(columns: none\)"):
        split_by('kind = "group"\ncolumn = "family"')


def test_steps_before_training_import_no_torch(two_classes):
    code = "run('ingest .'); run('split .'); run('audit .'); assert 'torch' not in sys.modules"
    path = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-c", f"import sys; from commands import run; {code}"]
    env = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["s.fa", "s.csv"])
def test_headers_without_a_value_are_as_empty_cells(here, caplog, name):
    caplog.set_level("INFO", "selfattn_bio")
    rng, rows = np.random.default_rng(0), []
    for i in range(60):
        species = f"sp{i % 2}" if i > 3 else ""
        rows.append((f"r{i}", species, "".join(rng.choice(list("ACGT"), 30))))
    headers = [f">{record} {species and f'species={species}'}" for record, species, _ in rows]
    fasta = "".join(f"{head}\n{row[2]}\n" for head, row in zip(headers, rows, strict=True))
    pd.DataFrame(rows, columns=["id", "species", "sequence"]).to_csv("s.csv", index=False)
    (here / "s.fa").write_text(fasta)
    (here / "run.toml").write_text(
        f'[data]\nsequences = "{name}"\n[objective]\nkind = "multiclass"\ncolumn = "species"\n'
        '[split]\nkind = "random"\n'
    )
    study = sb.Study(".")
    study.ingest()
    assert study.split().counts["dropped"] == 4
    assert "removed: 4 records without a value to learn" in caplog.messages


@pytest.mark.parametrize("letters", ["ACGT", "ACDEFGHIKLMNPQRSTVWY"])
@pytest.mark.parametrize("kind", ["random", "cluster"])
def test_split_keeps_shuffles_with_their_positives(here, letters, kind):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list(letters), 40)) for _ in range(60)]
    texts += texts[:5]  # repeated positives are dropped, their shuffles are not
    (here / "p.fa").write_text("".join(f">p{i}\n{text}\n" for i, text in enumerate(texts)))
    alphabet = "dna" if letters == "ACGT" else "protein"
    (here / "run.toml").write_text(
        f'[data]\nalphabet = "{alphabet}"\npositives = "p.fa"\n'
        'negatives = { kind = "shuffled", per_positive = 2 }\n'
        f'[split]\nkind = "{kind}"\nvalid_fraction = 0.2\ntest_fraction = 0.2\n'
    )
    study = sb.Study(".")
    study.ingest()
    table = study.split().table
    sources = table["id"].str.partition("/")[0]
    assert sources.value_counts().value_counts().to_dict() == {3: 55, 5: 5}
    assert table.groupby(sources)["split"].nunique().eq(1).all()
    assert table["split"].value_counts().min() > 30


def test_pairs_are_split_by_a_column_of_partners(here):
    """Pairs with the same first input are in different splits, and only equal pairs are copies."""
    rng = np.random.default_rng(0)
    first, second = ("".join(rng.choice(list("ACGT"), 40)) for _ in range(2)), range(30)
    rows = [
        (one, f"g{i}", "A" * (i + 10), (i + k) % 2) for k, one in enumerate(first) for i in second
    ]
    table = pd.DataFrame([*rows, rows[0]], columns=["sequence", "other_id", "other", "label"])
    table.to_csv("t.csv", index=False)
    (here / "run.toml").write_text(
        '[data]\nsequences = "t.csv"\nlabel = "label"\n[split]\nkind = "group"\n'
        'column = "other_id"\n[partner]\nkind = "sequence"\ncolumn = "other"\n'
        '[model]\nkind = "paired"\n'
    )
    run("ingest .")
    split = sb.Study(".").split()
    assert split.counts["dropped"] == 1
    assert split.table.groupby("reason")["split"].nunique().max() == 1
    assert split.table["split"][:30].nunique() == 3

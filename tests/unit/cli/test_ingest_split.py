"""Run `selfattn-bio ingest` and `split`: exit codes, one-line errors, files, no torch."""

import subprocess
import sys

import pandas as pd
import pytest

from selfattn_bio.cli import ingest, split
from selfattn_bio.cli import split as split_command
from selfattn_bio.cli.logs import Lines, printed_messages
from selfattn_bio.errors import SelfAttnBioError


@pytest.fixture
def folder(two_classes):
    return two_classes


def call(folder, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "selfattn_bio.cli.main", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )


def run(command, *arguments: str) -> None:
    import argparse

    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with printed_messages(Lines(command.__name__.split(".")[-1])):
        command.run(parser.parse_args(arguments))


def test_from_fasta_to_split_table(folder):
    made = call(
        folder,
        "ingest",
        "--fasta",
        "p.fa",
        "n.fa",
        "--label",
        "1",
        "0",
        "--alphabet",
        "dna",
        "--output",
        "corpus",
    )
    assert (made.returncode, made.stderr) == (0, "")
    assert (
        made.stdout
        == "ingest: read 60 records from 2 files\ningest: kept 60 records with 1,800 bp\n"
    )
    made = call(
        folder, "split", "--run-file", "run.toml", "--corpus", "corpus", "--output", "split.tsv"
    )
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.splitlines()[0] == "split: train: 20 records (10 positive)"
    table = pd.read_csv(folder / "split.tsv", sep="\t")
    assert table.columns.tolist() == ["id", "split", "reason"]
    assert table["split"].tolist() == ["train", "valid", "test"] * 20


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--fasta", "absent.fa"], "absent.fa: no such file"),
        (
            ["--fasta", "p.fa", "n.fa", "--label", "1"],
            "2 files need 2 labels, not 1",
        ),
        (
            ["--fasta", "p.fa", "--header", "("],
            "header '(' is not a valid regular expression: missing ), unterminated subpattern at "
            "position 0",
        ),
        (
            ["--fasta", "p.fa", "--min-length", "9", "--max-length", "8"],
            "min_length 9 is larger than max_length 8",
        ),
        (
            ["--fasta", "p.fa", "p.fa"],
            "p.fa:1: record id 'p0' is used twice (first in p.fa:1). Rename or remove one, or "
            "number the records: "
            'ids = "numbered" in [data]',
        ),
    ],
)
def test_ingest_error_is_one_line_and_writes_nothing(folder, arguments, error):
    made = call(folder, "ingest", *arguments, "--alphabet", "dna", "--output", "corpus")
    assert (made.returncode, made.stdout, made.stderr) == (
        1,
        "",
        f"selfattn-bio ingest: error: {error}\n",
    )
    assert sorted(path.name for path in folder.iterdir()) == ["n.fa", "p.fa", "run.toml"]


def test_labels_are_of_files_or_of_records(folder):
    options = ("--fasta", "p.fa", "--label", "1", "--label-column", "x", "--alphabet", "dna")
    made = call(folder, "ingest", *options, "--output", "corpus")
    assert made.returncode == 2
    assert "argument --label-column: not allowed with argument --label" in made.stderr


def test_run_file_replaces_options(folder):
    made = call(folder, "ingest", "--run-file", "run.toml", "--output", "corpus")
    assert (made.returncode, made.stderr) == (0, "")
    assert (
        made.stdout
        == "ingest: read 60 records from 2 files\ningest: kept 60 records with 1,800 bp\n"
    )
    table = pd.read_parquet(folder / "corpus" / "records.parquet")
    assert table["label"].tolist() == [1] * 30 + [0] * 30
    labels = 'sequences = ["p.fa", "n.fa"]\nheader = "^(.)"\nlabel = "label"\npositive = "p"'
    labelled = (
        (folder / "run.toml").read_text().replace('positives = "p.fa"\nnegatives = "n.fa"', labels)
    )
    (folder / "run.toml").write_text(labelled)
    assert call(folder, "ingest", "--run-file", "run.toml", "--output", "corpus").returncode == 0
    assert table.equals(pd.read_parquet(folder / "corpus" / "records.parquet"))


def test_split_error_names_corpus_and_writes_nothing(folder):
    run(
        ingest,
        "--fasta",
        str(folder / "p.fa"),
        "--label",
        "1",
        "--alphabet",
        "dna",
        "--output",
        str(folder / "corpus"),
    )
    with pytest.raises(SelfAttnBioError) as caught:
        run(
            split,
            "--run-file",
            str(folder / "run.toml"),
            "--corpus",
            str(folder / "corpus"),
            "--output",
            str(folder / "split.tsv"),
        )
    assert (
        str(caught.value)
        == f"{folder / 'corpus'}: all 30 records have label 1. Add the other class"
    )
    assert not list(folder.glob("*split.tsv*"))


@pytest.mark.parametrize("kind", ["random", "group"])
def test_split_kinds(folder, kind):
    for name in ("p", "n"):
        path = folder / f"{name}.fa"
        path.write_text(path.read_text().replace("chrom=", f"group={name}"))
    (folder / "run.toml").write_text(
        (folder / "run.toml").read_text().split("[split]")[0]
        + f'[split]\nkind = "{kind}"\nvalid_fraction = 0.3\ntest_fraction = 0.3\n'
    )
    fasta = [str(folder / "p.fa"), str(folder / "n.fa")]
    run(
        ingest,
        "--sequences",
        *fasta,
        "--label",
        "1",
        "0",
        "--alphabet",
        "dna",
        "--output",
        str(folder / "corpus"),
    )
    run(
        split,
        "--run-file",
        str(folder / "run.toml"),
        "--corpus",
        str(folder / "corpus"),
        "--output",
        str(folder / "split.tsv"),
    )
    counts = pd.read_csv(folder / "split.tsv", sep="\t")["split"].value_counts().to_dict()
    assert counts == (
        {"train": 24, "valid": 18, "test": 18}
        if kind == "random"
        else {"train": 20, "valid": 20, "test": 20}
    )


def made(folder, split: str, header: str = "chrom=", targets: bool = False) -> pd.DataFrame:
    """Split records with `header` and a number in their headers; return the split table."""
    for name in ("p", "n"):
        path = folder / f"{name}.fa"
        path.write_text(path.read_text().replace("chrom=", header))
    data = (folder / "run.toml").read_text().split("[split]")[0]
    (folder / "run.toml").write_text(data + f"[split]\n{split}\n")
    (folder / "t.tsv").write_text(
        "id\tfamily\n" + "".join(f"{name}{i}\tf{i // 5}\n" for name in "pn" for i in range(30))
    )
    options = ["--targets", str(folder / "t.tsv")] if targets else []
    fasta = [str(folder / "p.fa"), str(folder / "n.fa")]
    run(
        ingest,
        "--sequences",
        *fasta,
        "--label",
        "1",
        "0",
        "--alphabet",
        "dna",
        *options,
        "--output",
        str(folder / "corpus"),
    )
    run(
        split_command,
        "--run-file",
        str(folder / "run.toml"),
        "--corpus",
        str(folder / "corpus"),
        "--output",
        str(folder / "split.tsv"),
    )
    return pd.read_csv(folder / "split.tsv", sep="\t")


def test_split_by_species_in_headers(folder):
    table = made(
        folder, 'kind = "species"\nvalid_fraction = 0.3\ntest_fraction = 0.3', header="species="
    )
    assert table["reason"].tolist() == ["species=c1", "species=c2", "species=c3"] * 20
    assert table.groupby("reason")["split"].nunique().eq(1).all()


def test_split_by_column_of_targets(folder):
    table = made(
        folder,
        'kind = "group"\ncolumn = "family"\nvalid_fraction = 0.2\ntest_fraction = 0.2',
        targets=True,
    )
    assert table["reason"][0] == "family=f0"
    assert table.groupby("reason")["split"].nunique().eq(1).all()
    assert table["split"].nunique() == 3


def test_split_reports_clusters(folder, capsys):
    path = folder / "n.fa"
    path.write_text(
        path.read_text() + ">twin chrom=c1\n" + path.read_text().splitlines()[1][2:] + "\n"
    )
    table = made(folder, 'kind = "cluster"').set_index("id")
    assert (
        "split: 60 clusters by shared k-mers at similarity 0.15; the largest has 2 records"
        in capsys.readouterr().out
    )
    assert table["reason"][["n0", "twin"]].tolist() == ["cluster=n0 (2)"] * 2
    assert table["split"]["n0"] == table["split"]["twin"]


def test_split_by_missing_column_error(folder):
    with pytest.raises(SelfAttnBioError, match=r"record '\w+' has no species to split by"):
        made(folder, 'kind = "species"')
    with pytest.raises(SelfAttnBioError, match="the corpus has no targets"):
        made(folder, 'kind = "group"\ncolumn = "family"')


def test_ingest_and_split_import_no_torch(folder):
    code = (
        "import sys\n"
        "from selfattn_bio.cli import ingest, split\n"
        "import selfattn_bio.data.corpus, selfattn_bio.sequence.kmers, "
        "selfattn_bio.sequence.splits, selfattn_bio.config\n"
        "import argparse\n"
        "parser = argparse.ArgumentParser(); ingest.add_arguments(parser)\n"
        "ingest.run(parser.parse_args('--fasta p.fa --alphabet dna --output corpus'.split()))\n"
        "assert 'torch' not in sys.modules\n"
    )
    made = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert (made.returncode, made.stderr) == (0, "")

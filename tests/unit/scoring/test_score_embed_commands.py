"""Test the commands score and embed, and vectors of sequences."""

import gzip
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import exit_code, run
from genome_models import BED, CHROMOSOMES, HEADER, run_file, write_intervals, write_model

from selfattn_bio import config
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.sources import sources_of
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.scoring import table as table_module
from selfattn_bio.scoring.embedding import embed
from selfattn_bio.scoring.table import score_files, score_sequences


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Change to a folder with genome.fa and sites.bed."""
    monkeypatch.chdir(tmp_path)
    write_intervals(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "model", run_file())


def read_scores(path="scores.tsv"):
    return pd.read_csv(path, sep="\t", keep_default_na=False)


def test_score_command_with_intervals(model, here):
    run("score --bed sites.bed --genome genome.fa --output scores.tsv --model", model)
    table = read_scores()
    assert list(table)[:7] == ["file", "id", "chrom", "start", "end", "strand", "name"]
    rows = ["chr1", 0, 30, "+", "first"], ["chr1", 10, 40, "-", ""], ["chr2", 60, 90, "+", ""]
    assert table.iloc[:, 2:7].to_numpy().tolist() == list(rows)
    data = config.Data(genome="genome.fa", sequences=("sites.bed",))
    corpus = build_corpus(sources_of(data), here / "corpus", RecordRules.of(data))
    assert table["id"].tolist() == corpus.records["id"].tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--bed sites.bed", "--bed needs --genome"),
        ("--fasta genome.fa --genome genome.fa", "--genome is only used with --bed"),
    ],
)
def test_score_command_errors(model, here, options, message, capsys):
    assert exit_code(f"score {options} --output scores.tsv --model", model) == 1
    assert f"selfattn-bio score: error: {message}" in capsys.readouterr().err
    assert {path.name for path in here.iterdir()} <= {"genome.fa", "genome.fa.fai", "sites.bed"}


@pytest.mark.parametrize(
    ("command", "name", "endings"),
    [("score", "x.tsv.gz", ".tsv"), ("score", "-", ".tsv"), ("embed", "x.csv", ".parquet or .npz")],
)
def test_other_output_formats_are_refused(model, here, command, name, endings, capsys):
    assert exit_code(f"{command} --fasta genome.fa --output {name} --model", model) == 1
    assert f"{name}: the output file must end with {endings}\n" in capsys.readouterr().err
    assert not (here / name).exists()


@pytest.mark.parametrize(
    "command",
    [
        "score --model promoter --fasta genome.fa in.tsv --output ./in.tsv",
        "score --model promoter --fasta genome.fa --partner in.tsv --output in.tsv",
        "embed --model promoter --fasta in.parquet --output in.parquet",
        "hits --motifs in.tsv --fasta genome.fa --output in.tsv",
        "hits --motifs jaspar:insects --fasta in.tsv --output in.tsv",
        "scan --model promoter --genome genome.fa --region in.genome.peaks.bed --output in",
        "variants --model promoter --genome genome.fa --vcf in.annotated.vcf.gz --output in",
        "variants --model promoter --genome in.effects.tsv --region chr1:100-101 --output in",
        "coverage --genome in.bw --fragments sites.bed --output in",
        "annotate sites.bed --genes in.tsv --output in.tsv",
    ],
)
def test_output_that_is_an_input_is_refused(here, command, capsys):
    path = next(word for word in command.split() if word.startswith("in."))
    text = f"{HEADER}chr1\t61\t.\t{CHROMOSOMES['chr1'][60]}\tN\t.\t.\t.\n"
    if path.endswith("bed"):
        text = "chr1\t0\t700\n"
    (here / "genome.fa").write_text(fasta := f">chr1\n{CHROMOSOMES['chr1'] * 6}\n")
    text = fasta if f"--genome {path}" in command else text
    (here / path).write_bytes(gzip.compress(text.encode()) if ".gz" in path else text.encode())
    before = (here / path).read_bytes()
    assert exit_code(command) == 1
    assert f"error: {path}: the output would replace this input" in capsys.readouterr().err
    assert (here / path).read_bytes() == before


def test_weights_are_not_replaced_by_an_export(model, capsys):
    path = Path(model, "model.safetensors")
    before = path.read_bytes()
    assert exit_code("export --model", model, "--output", path) == 1
    assert f"{path}: the output would replace this input" in capsys.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("score --model promoter --fasta genome.fa", "out.tsv"),
        ("embed --model promoter --fasta genome.fa", "out.parquet"),
        ("scan --model promoter --genome genome.fa", "out.genome.minus.bw"),
        ("scan --model promoter --genome genome.fa", "out.genome.summits.bed"),
        ("variants --model promoter --genome genome.fa --region chr1:300-301", "out.effects.tsv"),
        (
            "variants --model promoter --genome genome.fa --region chr1:300-301",
            "out.saturation.svg",
        ),
        ("coverage --genome genome.fa --fragments sites.bed", "out.bw"),
        ("hits --motifs jaspar:insects --fasta genome.fa", "out.bed"),
        ("annotate sites.bed --genes sites.bed", "out.tsv"),
        ("browse sites.bed --genome genome.fa", "out.xml"),
        ("schema", "out.json"),
    ],
)
def test_only_regular_files_are_replaced(here, command, output, capsys):
    (here / "genome.fa").write_text(f">chr1\n{CHROMOSOMES['chr1'] * 6}\n")
    name = "out" if command.startswith(("scan", "variants", "coverage")) else output
    for make, message in ((Path.mkdir, "an existing folder"), (os.mkfifo, "not a regular file")):
        make(here / output)
        assert exit_code(f"{command} --output {name}") == 1
        err = capsys.readouterr().err
        assert err.endswith(f"error: {output}: the output is {message}. Choose another output\n")
        os.rename(here / output, here / "kept")
        found = {path.name for path in here.iterdir()}
        assert found - {"genome.fa.fai"} == {"genome.fa", "sites.bed", "kept"}
        os.rename(here / "kept", here.parent / f"{here.name}-{make.__name__}")


@pytest.mark.parametrize("output", ["", ".", "..", "a/", "a/.."])
def test_output_without_a_name_is_refused(output, capsys):
    with pytest.raises(SystemExit) as ended:
        exit_code("schema --output", output)
    assert ended.value.code == 2
    assert f"--output: {output!r} does not end with a file name\n" in capsys.readouterr().err


def test_score_command_reports_unlike_sequences(here, capsys):
    (here / "new.fa").write_text(f">a\nACGT\n>b\n{'N' * 300}\n>a\nACGTT\n")
    run("score --model promoter --fasta new.fa --output scores.tsv")
    message = "3 of 3 rows differ from the training data: 2 in length, 1 in ambiguous positions\n"
    assert message in capsys.readouterr().out
    assert read_scores()["id"].tolist() == ["a", "b", "a"]  # ids may be repeated


def test_summary_of_scored_files(here):
    (here / "new.fa").write_text(f">a\nACGT\n>b\n{'N' * 300}\n")
    summary = score_files("promoter", ["new.fa", "new.fa"], "scores.tsv")
    assert (str(summary.path), summary.rows) == ("scores.tsv", 4)
    assert summary.out_of_distribution == {"length": 2, "ambiguous": 2}
    assert repr(summary).endswith(". wrote 4 rows to scores.tsv")
    table, alone = read_scores(), score_sequences("promoter", "new.fa")
    assert table["file"].tolist() == ["new.fa"] * 4
    assert table["logit"].tolist() == pytest.approx([*alone["logit"]] * 2, rel=1e-5)
    assert len(read_scores(score_files("promoter", "new.fa", "one.tsv").path)) == 2


def test_embeddings_do_not_depend_on_batch(model):
    sequences = ["ACGTTGCAACGGT", "ACGTTGCAAC" * 5, "TTTT"]
    together = embed(model, sequences)
    alone = [embed(model, [text]).vectors[0] for text in sequences]
    assert together.vectors.shape == (3, 16)  # two members of 8
    np.testing.assert_allclose(together.vectors, alone, rtol=1e-4, atol=1e-5)
    assert together.positions["id"].tolist() == ["0", "1", "2"]
    assert list(together.table)[:2] == ["id", "d0"]
    assert len(embed(model, [])) == 0


def test_embeddings_of_intervals_of_a_genome(model):
    chr1, chr2 = CHROMOSOMES["chr1"], CHROMOSOMES["chr2"]
    reverse = chr1[10:40][::-1].translate(str.maketrans("ACGT", "TGCA"))
    found = embed(model, "sites.bed", genome="genome.fa")
    expected = embed(model, [chr1[:30], reverse, chr2[60:90]])
    np.testing.assert_array_equal(found.vectors, expected.vectors)
    assert found.positions["id"][1] == "chr1:10-40(-)"


def test_embeddings_per_token_average_to_sequence(model):
    text = "ACGTTGCAAC" * 5
    found = embed(model, [text, "TTTT", "ACGTACGTACG"], per_token=True)
    assert repr(found) == "Embeddings: 9 vectors of size 16"
    assert found.positions["id"].tolist() == ["0"] * 6 + ["1", "2", "2"]
    spans = [[start, min(start + 8 + 2, 50)] for start in range(0, 48, 8)]
    spans += [[0, 4], [0, 10], [8, 11]]  # the last has 9 tokens: 8 and 1
    assert found.positions[["start", "end"]].to_numpy().tolist() == spans
    (complete,) = embed(model, [text]).vectors
    np.testing.assert_allclose(found.vectors[:6].mean(axis=0), complete, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("suffix", ["parquet", "npz"])
def test_embed_command_writes_vectors(model, suffix, monkeypatch, capsys):
    monkeypatch.setattr(table_module, "CHUNK_RECORDS", 1)  # the file is joined from parts
    out, expected = f"vectors.{suffix}", embed(model, "genome.fa", per_token=True)
    run(f"embed --fasta genome.fa --per-token --output {out} --model", model)
    if suffix == "parquet":
        expected.save("own.parquet")
        for path in (out, "own.parquet"):
            pd.testing.assert_frame_equal(pd.read_parquet(path), expected.table, check_dtype=False)
    else:
        with np.load(out) as arrays:
            np.testing.assert_array_equal(arrays["vectors"], expected.vectors)
            for name in ("id", "start", "end"):
                assert np.array_equal(arrays[name], expected.positions[name])
    assert f"embed: wrote {len(expected)} vectors of size 16 to {out}" in capsys.readouterr().out


GFF = "chr1\tx\tgene\t1\t30\t.\t+\t.\tID=a\n"


@pytest.mark.parametrize("text", [BED, "chr1 0 30\n", "##gff-version 3\n", GFF, "#x\nchr1\t0\t3"])
@pytest.mark.parametrize(("command", "output"), [("score", "x.tsv"), ("embed", "x.npz")])
def test_intervals_without_genome_error(model, here, capsys, text, command, output):
    (here / "sites.txt").write_text(text)
    assert exit_code(f"{command} --fasta sites.txt --output {output} --model", model) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "sites.txt: unsupported file type: BED or GFF intervals" in line
    assert "Intervals need a genome: `score --bed FILE --genome FILE`" in line


PROTEIN = ">p\nMKVLAAGIVGLLLAQPSFE\n"


@pytest.mark.parametrize(
    "command",
    [
        "score --output x.tsv --model {}",
        "embed --output x.npz --model {}",
        "hits --output x.tsv --motifs jaspar:insects",
    ],
)
@pytest.mark.parametrize("text", [">a\nAC-GT\n", PROTEIN, "name,seq\na,ACGT\n", ">\nACGT\n"])
def test_hints_need_no_run_file(model, here, capsys, text, command):
    (here / "a.txt").write_text(text)
    assert exit_code(f"{command.format(model)} --fasta a.txt") == 1
    *_, line = capsys.readouterr().err.splitlines()
    assert "error: a.txt:" in line
    assert "[data]" not in line


@pytest.mark.parametrize(
    ("kind", "rc", "message"),
    [("masked", "", "does not score"), ("binary", "--rc", "rc cannot be used with protein")],
)
def test_unsupported_options_are_one_line(here, kind, rc, message, capsys):
    inputs = {"sequences": ("a",)} if kind == "masked" else {"positives": "a", "negatives": "b"}
    data = config.Data(alphabet="protein", **inputs)
    changes = {"data": data, "objective": {"kind": kind}, "variants": {}}
    task = config.RunFile(**dict(run_file({"k": 1})) | changes)
    write_model(here / "m", task)
    (here / "new.fa").write_text(">a\nACGT\n")
    assert exit_code(f"score {rc} --model m --fasta new.fa --output x.tsv") == 1
    assert message in capsys.readouterr().err

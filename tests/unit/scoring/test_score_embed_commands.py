"""Test the commands score and embed, and vectors of sequences."""

import numpy as np
import pandas as pd
import pytest
from genome_models import write_model
from interval_inputs import BED, write_intervals, write_small_model

from selfattn_bio import config
from selfattn_bio.cli.main import main
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.sources import sources_of
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.errors import OutputError
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import save_model
from selfattn_bio.model.classifier import Network
from selfattn_bio.scoring import table as table_module
from selfattn_bio.scoring.embedding import embed
from selfattn_bio.scoring.score_files import score_files
from selfattn_bio.scoring.table import score_sequences


@pytest.fixture
def genome(tmp_path):
    return write_intervals(tmp_path)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_small_model(tmp_path_factory)


def test_score_command_with_intervals_and_repeated_ids(model, genome, tmp_path, capsys):
    out = tmp_path / "scores.tsv"
    model = str(model)
    assert (
        main(
            [
                "score",
                "--model",
                model,
                "--bed",
                str(tmp_path / "sites.bed"),
                "--genome",
                str(genome),
                "--output",
                str(out),
            ]
        )
        == 0
    )
    table = pd.read_csv(out, sep="\t", keep_default_na=False)
    assert list(table)[:7] == ["file", "id", "chrom", "start", "end", "strand", "name"]
    assert table[["chrom", "start", "end", "strand", "name"]].to_numpy().tolist() == [
        ["chr1", 0, 30, "+", "first"],
        ["chr1", 10, 40, "-", ""],
        ["chr2", 60, 90, "+", ""],
    ]
    run = config.Data(genome=str(genome), sequences=(str(tmp_path / "sites.bed"),))
    corpus = build_corpus(sources_of(run), tmp_path / "corpus", RecordRules.of(run))
    assert table["id"].tolist() == corpus.records["id"].tolist()
    (tmp_path / "twice.fa").write_text(">a\nACGT\n>a\nACGTT\n")
    assert (
        main(
            [
                "score",
                "--model",
                model,
                "--fasta",
                str(tmp_path / "twice.fa"),
                str(genome),
                "--output",
                str(out),
            ]
        )
        == 0
    )
    assert pd.read_csv(out, sep="\t")["id"].tolist() == ["a", "a", "chr1", "chr2"]
    capsys.readouterr()
    assert (
        main(
            ["score", "--model", model, "--bed", str(tmp_path / "sites.bed"), "--output", str(out)]
        )
        == 1
    )
    assert "error: --bed needs --genome\n" in capsys.readouterr().err
    assert (
        main(
            [
                "score",
                "--model",
                model,
                "--fasta",
                str(genome),
                "--coverage",
                "0.9",
                "--output",
                str(out),
            ]
        )
        == 1
    )
    assert (
        "coverage needs reference.safetensors, which a model folder does not have"
        in capsys.readouterr().err
    )
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize("name", ["scores.csv", "scores.parquet", "scores.tsv.gz", "-"])
def test_score_command_refuses_other_table_formats(
    model, genome, tmp_path, name, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["score", "--model", str(model), "--fasta", str(genome), "--output", name]) == 1
    assert f"{name}: the output file must end with .tsv\n" in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_score_command_reports_unlike_sequences(genome, tmp_path, capsys):
    (tmp_path / "new.fa").write_text(f">a\nACGT\n>b\n{'N' * 300}\n>c\nACGTT\n")
    assert (
        main(
            [
                "score",
                "--model",
                "promoter",
                "--fasta",
                str(tmp_path / "new.fa"),
                "--output",
                str(tmp_path / "scores.tsv"),
            ]
        )
        == 0
    )
    message = "3 of 3 rows differ from the training data: 2 in length, 1 in ambiguous positions\n"
    assert message in capsys.readouterr().out


def test_summary_of_scored_files(genome, tmp_path):
    (tmp_path / "new.fa").write_text(f">a\nACGT\n>b\n{'N' * 300}\n")
    files = [tmp_path / "new.fa", tmp_path / "new.fa"]
    summary = score_files("promoter", files, tmp_path / "scores.tsv")
    assert (summary.path, summary.rows) == (tmp_path / "scores.tsv", 4)
    assert summary.unlike == {"length": 2, "ambiguous": 2}
    assert repr(summary).endswith(f". wrote 4 rows to {tmp_path / 'scores.tsv'}")
    table = pd.read_csv(summary.path, sep="\t")
    assert table["file"].tolist() == [str(path) for path in files for _ in range(2)]
    alone = score_sequences("promoter", files[0])
    one = score_files("promoter", str(files[0]), tmp_path / "one.tsv")
    assert pd.read_csv(one.path, sep="\t")["file"].tolist() == [str(files[0])] * 2
    assert table["logit"].tolist() == pytest.approx([*alone["logit"]] * 2, rel=1e-5)


# embeddings
def test_saved_embeddings(model, tmp_path):
    found = embed(model, ["ACGTTGCAACGGT", "TTTT"], per_token=True)
    assert repr(found) == f"Embeddings: {len(found)} vectors of size 16"
    found.save(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), found.table)
    found.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as arrays:
        assert np.array_equal(arrays["vectors"], found.vectors)
        for name in ("id", "start", "end"):
            assert np.array_equal(arrays[name], found.positions[name])
    with pytest.raises(OutputError, match=r"must end with .parquet or .npz"):
        found.save(tmp_path / "a.csv")


def test_embeddings_do_not_depend_on_batch(model):
    sequences = ["ACGTTGCAACGGT", "ACGTTGCAAC" * 5, "TTTT"]
    together, alone = (
        embed(model, sequences),
        [embed(model, [text]).vectors[0] for text in sequences],
    )
    assert together.vectors.shape == (3, 16)  # two members of 8
    np.testing.assert_allclose(together.vectors, alone, rtol=1e-4, atol=1e-5)
    assert together.positions["id"].tolist() == ["0", "1", "2"]
    assert list(together.table)[:2] == ["id", "d0"]
    assert len(embed(model, [])) == 0


def test_embeddings_per_token_average_to_sequence(model):
    text = "ACGTTGCAAC" * 5
    found = embed(model, [text, "TTTT", "ACGTACGTACG"], per_token=True)
    first = found.positions[found.positions["id"] == "0"]
    assert first[["start", "end"]].to_numpy().tolist() == [
        [s, min(s + 8 + 2, 50)] for s in range(0, 48, 8)
    ]
    assert found.positions[found.positions["id"] == "1"][["start", "end"]].to_numpy().tolist() == [
        [0, 4]
    ]
    # 9 tokens: 8 and 1
    assert found.positions[found.positions["id"] == "2"][["start", "end"]].to_numpy().tolist() == [
        [0, 10],
        [8, 11],
    ]
    np.testing.assert_allclose(
        found.vectors[:6].mean(axis=0), embed(model, [text]).vectors[0], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("suffix", ["parquet", "npz"])
def test_embed_command_writes_vectors(model, genome, tmp_path, suffix, monkeypatch, capsys):
    monkeypatch.setattr(table_module, "CHUNK_RECORDS", 1)  # the file is joined from parts
    out, expected = tmp_path / f"vectors.{suffix}", embed(model, genome, per_token=True)
    assert (
        main(
            [
                "embed",
                "--model",
                str(model),
                "--fasta",
                str(genome),
                "--per-token",
                "--output",
                str(out),
            ]
        )
        == 0
    )
    if suffix == "parquet":
        pd.testing.assert_frame_equal(pd.read_parquet(out), expected.table, check_dtype=False)
    else:
        with np.load(out) as arrays:
            np.testing.assert_array_equal(arrays["vectors"], expected.vectors)
            assert arrays["id"].tolist() == expected.positions["id"].tolist()
            assert arrays["end"].tolist() == expected.positions["end"].tolist()
    assert f"embed: wrote {len(expected)} vectors of size 16 to {out}" in capsys.readouterr().out
    assert (
        main(
            [
                "embed",
                "--model",
                str(model),
                "--fasta",
                str(genome),
                "--output",
                str(tmp_path / "x.csv"),
            ]
        )
        == 1
    )
    assert "the output file must end with .parquet or .npz\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        BED,
        "chr1 0 30\n",
        "##gff-version 3\n",
        "chr1\tx\tgene\t1\t30\t.\t+\t.\tID=a\n",
        "#bed\nchr1\t0\t30",
    ],
)
@pytest.mark.parametrize("name", ["sites.bed", "sites.txt"])
def test_intervals_without_genome_error(model, tmp_path, capsys, text, name):
    (tmp_path / name).write_text(text)
    for command, output in (("score", "x.tsv"), ("embed", "x.npz")):
        assert (
            main(
                [
                    command,
                    "--model",
                    str(model),
                    "--fasta",
                    str(tmp_path / name),
                    "--output",
                    str(tmp_path / output),
                ]
            )
            == 1
        )
        (line,) = capsys.readouterr().err.splitlines()
        assert (
            f"{name}: unsupported file type: BED or GFF intervals (expected FASTA, FASTQ, GenBank, "
            "EMBL, CSV, TSV or Parquet). Intervals need a genome: use --bed and --genome" in line
        )


# internal errors and user errors
@pytest.mark.parametrize("command", ["score", "embed"])
def test_internal_error_keeps_its_traceback(model, genome, tmp_path, command, monkeypatch):
    def fails(*_):
        raise ValueError("inside torch")

    monkeypatch.setattr(Network, "embed", fails)
    with pytest.raises(ValueError, match="inside torch"):
        main(
            [
                command,
                "--model",
                str(model),
                "--fasta",
                str(genome),
                "--output",
                str(tmp_path / f"x.{'tsv' if command == 'score' else 'npz'}"),
            ]
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["score", "--batch-size", "0"], "batch_size is 0; it must be at least 1"),
        (["embed", "--batch-size", "-1"], "batch_size is -1; it must be at least 1"),
        (["score", "--coverage", "2"], "coverage 2.0 is not between 0 and 1"),
    ],
)
def test_options_out_of_range_are_one_line(model, genome, tmp_path, words, message, capsys):
    output = str(tmp_path / f"x.{'tsv' if words[0] == 'score' else 'npz'}")
    assert main([*words, "--model", str(model), "--fasta", str(genome), "--output", output]) == 1
    assert capsys.readouterr().err == f"selfattn-bio {words[0]}: error: {message}\n"


@pytest.mark.parametrize(
    ("kind", "rc", "message"),
    [
        ("masked", [], "a model of objective 'masked' does not score sequences"),
        (
            "binary",
            ["--rc"],
            "rc cannot be used with protein, which has no reverse strand",
        ),
    ],
)
def test_unsupported_options_are_one_line(tmp_path, kind, rc, message, capsys):
    run = config.RunFile(
        data=config.Data(alphabet="protein", positives=("a",), negatives=("b",))
        if kind == "binary"
        else config.Data(sequences=("a",)),
        tokens=config.Tokens(k=1),
        objective={"kind": kind},
        model=config.AttentionModel(embed_dim=8, num_layers=1, num_heads=2, feedforward_dim=8),
    )
    (tmp_path / "new.fa").write_text(">a\nACGT\n")
    model = str(write_model(tmp_path / "m", run)) if kind == "binary" else str(tmp_path / "m")
    if kind == "masked":
        (tmp_path / "m").mkdir()
        save_model(
            tmp_path / "m",
            run,
            build_network(run).state_dict(),
            {"calibration": {"slope": 1.0, "threshold": 0.5}},
        )
    assert (
        main(
            [
                "score",
                *rc,
                "--model",
                model,
                "--fasta",
                str(tmp_path / "new.fa"),
                "--output",
                str(tmp_path / "x.tsv"),
            ]
        )
        == 1
    )
    assert message in capsys.readouterr().err

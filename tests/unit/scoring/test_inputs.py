"""Score and embed records, tables and genome intervals, as well as strings and FASTA."""

import gzip

import numpy as np
import pandas as pd
import pytest
import torch
from genome_models import run_file, write_model

from selfattn_bio import config
from selfattn_bio.cli.main import main
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.sources import sources_of
from selfattn_bio.data.writer import Rules
from selfattn_bio.errors import ModelFolderError, OutputError, SequenceFileError
from selfattn_bio.interpret.explain import explain
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import save_model
from selfattn_bio.model.classifier import Network
from selfattn_bio.scoring import table as table_module
from selfattn_bio.scoring.embedding import Embeddings, embed
from selfattn_bio.scoring.inputs import read_inputs, read_sequences
from selfattn_bio.scoring.score_files import score_files
from selfattn_bio.scoring.scorer import load
from selfattn_bio.scoring.table import score_batches, score_sequences
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.readers import read_records

CHROMOSOMES = {"chr1": "ACGTTGCAAC" * 12, "chr2": "TTGACCAGTN" * 9}
BED = (
    "# simulated\ntrack "
    "name=x\nchr1\t0\t30\tfirst\t0\t+\nchr1\t10\t40\t.\t0\t-\n\nchr2\t60\t90\t.\t0\t.\n"
)
LETTERS = [CHROMOSOMES["chr1"][:30], CHROMOSOMES["chr1"][10:40], CHROMOSOMES["chr2"][60:90]]


@pytest.fixture
def genome(tmp_path):
    (tmp_path / "genome.fa").write_text(
        "".join(
            f">{name}\n{text[:60]}\n{text[60:].lower()}\n" for name, text in CHROMOSOMES.items()
        )
    )
    (tmp_path / "sites.bed").write_text(BED)
    return tmp_path / "genome.fa"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    run = config.RunFile(
        data=config.Data(positives=("a",), negatives=("b",)),
        model=config.AttentionModel(embed_dim=8, num_layers=1, num_heads=2, feedforward_dim=8),
    )
    folder = tmp_path_factory.mktemp("model") / "model"
    folder.mkdir()
    save_model(
        folder,
        run,
        build_network(run).state_dict(),
        {"calibration": {"temperature": 2.0, "threshold": 0.5, "slope": 1.0}},
    )
    return folder


def texts(pairs):
    return [(each.id, each.letters.tobytes().decode()) for each in pairs]


def turned(text):
    return DNA.reverse_complement(np.frombuffer(text.encode(), np.uint8)).tobytes().decode()


def test_score_bed_file_of_genome(genome, tmp_path):
    expected = [
        ("chr1:0-30(+)", LETTERS[0]),
        ("chr1:10-40(-)", turned(LETTERS[1])),
        ("chr2:60-90(+)", LETTERS[2]),
    ]
    assert texts(read_inputs(SequencePolicy(DNA), tmp_path / "sites.bed", 3, genome)) == expected
    with gzip.open(tmp_path / "sites.bed.gz", "wt") as file:
        file.write(BED)
    assert texts(read_inputs(SequencePolicy(DNA), tmp_path / "sites.bed.gz", 3, genome)) == expected


def test_score_table_of_intervals(genome):
    table = pd.DataFrame(
        {
            "chrom": ["chr1", "chr1"],
            "start": [0, 10],
            "end": [30, 40],
            "strand": ["+", "-"],
            "name": ["a", None],
        }
    )
    assert texts(read_inputs(SequencePolicy(DNA), table, 3, genome)) == [
        ("chr1:0-30(+)", LETTERS[0]),
        ("chr1:10-40(-)", turned(LETTERS[1])),
    ]
    assert texts(read_inputs(SequencePolicy(DNA), table[["chrom", "start", "end"]], 3, genome))[
        1
    ] == (
        "chr1:10-40(+)",
        LETTERS[1],
    )


def test_score_records_and_table_of_sequences(genome):
    records = list(read_records(genome, DNA))
    assert texts(read_inputs(SequencePolicy(DNA), records, 3)) == list(CHROMOSOMES.items())
    table = pd.DataFrame({"id": [7, 8], "sequence": ["acgu", "TTT"]})
    assert texts(read_inputs(SequencePolicy(DNA), table, 3)) == [("7", "ACGT"), ("8", "TTT")]
    assert texts(read_inputs(SequencePolicy(DNA), table[["sequence"]], 3))[1] == ("1", "TTT")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr9\t0\t30", r"sites\.bed:1: no chromosome 'chr9' in the genome"),
        (
            "chr2\t60\t91",
            r"sites\.bed:1: interval \[60, 91\) ends beyond chr2 of .* \(90 bp\)",
        ),
        ("chr1\t5\t5", r"sites\.bed:1: "),
        ("chr1\t5\t7", r"sites\.bed:1: the interval has 2 bp, but the model needs at least 3"),
        ("chr1\tx\t7", r"sites\.bed:1: invalid start 'x'"),
        ("chr1 5", r"sites\.bed:1: "),
    ],
)
def test_invalid_intervals(genome, tmp_path, line, message):
    (tmp_path / "sites.bed").write_text(line + "\n")
    with pytest.raises(SequenceFileError, match=message):
        list(read_inputs(SequencePolicy(DNA), tmp_path / "sites.bed", 3, genome))


def test_invalid_inputs(genome, tmp_path):
    for absent, message in (
        (tmp_path / "no.bed", r"no\.bed: no such file"),
        (None, r"no\.fa: no such file"),
    ):
        with pytest.raises(SequenceFileError, match=message):
            list(
                read_inputs(
                    SequencePolicy(DNA),
                    absent or tmp_path / "sites.bed",
                    3,
                    genome if absent else tmp_path / "no.fa",
                )
            )
    for sequences, given, message in (
        (
            pd.DataFrame({"chrom": [], "start": [], "end": []}),
            None,
            "no column 'sequence'; to read its intervals, pass genome=",
        ),
        (pd.DataFrame({"x": [1]}), None, "no column 'sequence'; its columns are: x"),
        (
            pd.DataFrame({"chrom": ["chr1"]}),
            genome,
            "no column 'start'; intervals need chrom, start and end",
        ),
        (
            ["ACGT"],
            genome,
            "with a genome, pass a BED file or a table of intervals, not a list",
        ),
        (
            pd.DataFrame({"sequence": ["ACGT", None]}),
            None,
            r"sequence 1 \(counted from 0\) is not a string but",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            read_sequences(SequencePolicy(DNA), sequences, 3) if given is None else list(
                read_inputs(SequencePolicy(DNA), sequences, 3, given)
            )


def test_chunks_equal_one_table(model, monkeypatch):
    monkeypatch.setattr(table_module, "CHUNK_RECORDS", 3)
    sequences = ["ACGTTGCA"[i:] + "ACGT" for i in range(6)] + ["TTT"]
    parts = list(score_batches(model, sequences))
    assert [len(part) for part in parts] == [3, 3, 1]
    pd.testing.assert_frame_equal(
        pd.concat(parts, ignore_index=True), score_sequences(model, sequences)
    )
    assert [list(part) for part in score_batches(model, [])] == [
        ["id", "logit", "probability", "predicted"]
    ]


def test_scores_do_not_depend_on_batch_size(model, monkeypatch):
    sequences, sizes = ["ACGTTGCAAC"[i:] + "ACGT" * 3 for i in range(7)], []
    scorer = load(model)
    scorer.network.register_forward_hook(
        lambda network, inputs, outputs: sizes.append(len(inputs[0]))
    )
    pd.testing.assert_frame_equal(
        score_sequences(scorer, sequences, batch_size=2),
        score_sequences(scorer, sequences),
        rtol=1e-5,
    )
    assert sizes == [2, 2, 2, 1, 7]


def test_probabilities_without_the_temperature(model):
    table = score_sequences(model, ["ACGTTGCA", "TTTTACGT"], calibrated=False)
    np.testing.assert_allclose(table["probability"], 1 / (1 + np.exp(-table["logit"])))
    assert (
        table["predicted"].tolist()
        == score_sequences(model, ["ACGTTGCA", "TTTTACGT"])["predicted"].tolist()
    )


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
    corpus = build_corpus(sources_of(run), tmp_path / "corpus", Rules.of(run))
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
    assert table["logit"].tolist() == pytest.approx([*alone["logit"]] * 2, rel=1e-5)


# embeddings
@pytest.mark.parametrize("per_token", [False, True])
@pytest.mark.parametrize("name", ["a.parquet", "a.npz"])
def test_embeddings_are_read_as_saved(model, tmp_path, name, per_token):
    found = embed(model, ["ACGTTGCAACGGT", "TTTT"], per_token=per_token)
    found.save(tmp_path / name)
    read = Embeddings.load(tmp_path / name)
    pd.testing.assert_frame_equal(read.table, found.table)
    assert repr(read) == f"Embeddings: {len(found)} vectors of size 16"
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


# sequences are read with the policy of the training
HARD, GAPLESS = SequencePolicy(DNA, "hard"), SequencePolicy(DNA, gaps="remove")


def test_soft_masked_bases_are_n_if_trained_so(genome, tmp_path):
    masked = {name: text[:60] + "N" * len(text[60:]) for name, text in CHROMOSOMES.items()}
    assert texts(read_inputs(HARD, genome, 3)) == list(masked.items())
    assert texts(read_inputs(HARD, ["ACgtA", "acg"], 3)) == [("0", "ACNNA"), ("1", "NNN")]
    (tmp_path / "edge.bed").write_text("chr1\t50\t70\t.\t0\t-\n")
    ((_, letters),) = texts(read_inputs(HARD, tmp_path / "edge.bed", 3, genome))
    assert letters == turned(masked["chr1"][50:70])
    assert texts(read_inputs(SequencePolicy(DNA, "keep"), genome, 3)) == list(CHROMOSOMES.items())


def test_gaps_are_removed_if_trained_so(tmp_path):
    (tmp_path / "aligned.fa").write_text(">a\nAC--GT.A\n")
    assert texts(read_inputs(GAPLESS, tmp_path / "aligned.fa", 3)) == [("a", "ACGTA")]
    assert texts(read_inputs(GAPLESS, ["AC--GT.A"], 3)) == [("0", "ACGTA")]
    with pytest.raises(
        ValueError,
        match=r"sequence 0 \(counted from 0\) contains only gaps",
    ):
        list(read_inputs(GAPLESS, ["--"], 3))
    with pytest.raises(ValueError, match="invalid character '-'"):
        list(read_inputs(SequencePolicy(DNA), ["AC-GT"], 3))


def test_score_and_explain_use_sequence_policy(tmp_path):
    run = run_file()
    data = {"hard": {"soft_mask": "hard"}, "gapless": {"gaps": "remove"}}
    hard, gapless = (
        load(
            write_model(
                tmp_path / name, run.model_copy(update={"data": run.data.model_copy(update=keys)})
            )
        )
        for name, keys in data.items()
    )
    for scorer, spelled, text in (
        (hard, "ACNNNGTTGACA", "ACgttGTTGACA"),
        (gapless, "ACGTTGACA", "AC-GTT.GACA"),
    ):
        np.testing.assert_array_equal(
            score_sequences(scorer, [text])["logit"], score_sequences(scorer, [spelled])["logit"]
        )
        np.testing.assert_array_equal(
            embed(scorer, [text]).vectors, embed(scorer, [spelled]).vectors
        )
        assert explain(scorer, [text]).letters.tobytes().decode() == spelled
    with pytest.raises(
        ModelFolderError,
        match=r"gapless: cannot average this model \(soft_mask .*\) with the first, which reads "
        r"sequences differently \(soft_mask 'hard', gaps 'ref",
    ):
        load([tmp_path / "hard", tmp_path / "gapless"])


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
            {"calibration": {"temperature": 1.0, "threshold": 0.5, "slope": 1.0}},
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

"""Score records, tables and genome intervals, as well as strings and FASTA."""

import gzip

import numpy as np
import pandas as pd
import pytest
from genome_models import run_file, write_model
from interval_inputs import BED, CHROMOSOMES, write_intervals, write_small_model

from selfattn_bio.attribution.explain import explain
from selfattn_bio.config import Data
from selfattn_bio.errors import ModelFolderError, SequenceFileError
from selfattn_bio.scoring import scorer as scorer_module
from selfattn_bio.scoring import table as table_module
from selfattn_bio.scoring.embedding import embed
from selfattn_bio.scoring.inputs import read_inputs, read_sequences
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.table import score_batches, score_sequences
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.policy import SequencePolicy, policy_of
from selfattn_bio.sequence.readers import read_records

LETTERS = [CHROMOSOMES["chr1"][:30], CHROMOSOMES["chr1"][10:40], CHROMOSOMES["chr2"][60:90]]


@pytest.fixture
def genome(tmp_path):
    return write_intervals(tmp_path)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_small_model(tmp_path_factory)


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


def test_score_tables_with_the_column_names_of_the_training_data(tmp_path):
    data = Data(sequences=["x.csv"], columns={"id": "gene", "sequence": "Seq"})
    table = pd.DataFrame({"gene": ["a", "b"], "Seq": ["acgu", "TTT"], "other": [1, 2]})
    table.to_csv(tmp_path / "new.csv", index=False)
    for sequences in (table, tmp_path / "new.csv"):
        found = texts(read_inputs(policy_of(data), sequences, 3))
        assert found == [("a", "ACGT"), ("b", "TTT")]
    renamed = table.rename(columns={"Seq": "sequence"})
    with pytest.raises(ValueError, match="no column 'Seq'; rename one of its columns: gene, seq"):
        list(read_inputs(policy_of(data), renamed, 3))


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
        (pd.DataFrame({"x": [1]}), None, "no column 'sequence'; rename one of its columns: x"),
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
    together = score_sequences(scorer, sequences)
    monkeypatch.setattr(scorer_module, "BATCH_LETTERS", 44)
    pd.testing.assert_frame_equal(score_sequences(scorer, sequences), together, rtol=1e-5)
    assert sizes == [7, 2, 2, 2, 1]


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
        match="gapless: cannot average this model with the first, whose soft_mask is 'hard'",
    ):
        load([tmp_path / "hard", tmp_path / "gapless"])

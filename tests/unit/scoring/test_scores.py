"""Test scores of strings, files, records, tables and genome intervals."""

import dataclasses
import gzip
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from genome_models import BED, CHROMOSOMES, run_file, scorer_of, write_intervals, write_model

from selfattn_bio import config
from selfattn_bio.attribution.explain import explain
from selfattn_bio.errors import ArgumentError, ModelFolderError, RecordIdError, SequenceFileError
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.model.build import build_network
from selfattn_bio.scoring import scorer as scorer_module
from selfattn_bio.scoring import table as table_module
from selfattn_bio.scoring.embedding import embed
from selfattn_bio.scoring.inputs import read_inputs
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.paired_scorer import PairedScorer, read_partners
from selfattn_bio.scoring.table import score_batches, score_sequences
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.kmers import tokenizer_of
from selfattn_bio.sequence.policy import SequencePolicy, policy_of
from selfattn_bio.sequence.readers import read_records

SEQUENCES = ["ACGTACGTTTGACCA", "GGG", "TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTGACA", "ACGTNACGT"]
LETTERS = [CHROMOSOMES["chr1"][:30], CHROMOSOMES["chr1"][10:40], CHROMOSOMES["chr2"][60:90]]
PLAIN, HARD = SequencePolicy(DNA), SequencePolicy(DNA, "hard")
GAPLESS = SequencePolicy(DNA, gaps="remove")
TABLE = pd.DataFrame({"chrom": ["chr1"]})


@pytest.fixture
def genome(tmp_path):
    return write_intervals(tmp_path)


@pytest.fixture(scope="module")
def scorer():
    return scorer_of(run_file())


def texts(*inputs, policy=PLAIN):
    """Return the id and text of each input."""
    read = read_inputs(policy, inputs[0], 3, *inputs[1:])
    return [(each.id, each.letters.tobytes().decode()) for each in read]


def test_dna_read_as_protein_is_reported_once(caplog):
    protein = SequencePolicy(PROTEIN)
    for given, number in (
        (SEQUENCES, 1),
        (["MKV", "ACGUN" * 4, *SEQUENCES], 1),
        (["GAG", "ACGUN" * 3, "GAG" * 10, "ACGK" * 5], 0),
    ):
        caplog.clear()
        texts(given, policy=protein)
        assert caplog.text.count(" looks like DNA, but is read as protein") == number
    texts(SEQUENCES)
    assert "looks like DNA" not in caplog.text


def turned(text):
    return DNA.reverse_complement(np.frombuffer(text.encode(), np.uint8)).tobytes().decode()


def test_strings_give_table_in_order(scorer):
    table = score_sequences(scorer, SEQUENCES)
    alone = [float(score_sequences(scorer, [text])["logit"].iloc[0]) for text in SEQUENCES]
    assert list(table.columns) == ["id", "logit", "probability", "predicted"]
    assert list(table["id"]) == ["0", "1", "2", "3"]
    np.testing.assert_allclose(table["logit"], alone, rtol=1e-5, atol=1e-6)
    log_odds = table["logit"] / 2 + 0.2
    np.testing.assert_allclose(table["probability"], 1 / (1 + np.exp(-log_odds)))
    assert table["logit"].nunique() == 4
    strands = SEQUENCES, [turned(text) for text in SEQUENCES]
    one, other = (score_sequences(scorer, of, rc=True)["logit"] for of in strands)
    np.testing.assert_allclose(one, other, rtol=1e-6)
    letters = [np.frombuffer(text.encode(), dtype=np.uint8) for text in SEQUENCES]
    np.testing.assert_allclose(scorer.log_odds(letters), log_odds)


def test_index_of_a_series_or_table_has_the_ids(scorer):
    texts = pd.Series(["ACGT" * 10, "TTGA" * 10], index=["a", "b"])
    assert score_sequences(scorer, texts)["id"].tolist() == ["a", "b"]
    assert score_sequences(scorer, texts.to_frame("sequence"))["id"].tolist() == ["a", "b"]
    assert score_sequences(scorer, texts.reset_index(drop=True))["id"].tolist() == ["0", "1"]


def test_path_scores_as_its_strings(scorer, tmp_path):
    path = tmp_path / "some sequences.fa"
    path.write_text("".join(f">s{i} x\n{text.lower()}\n" for i, text in enumerate(SEQUENCES)))
    table, expected = (score_sequences(scorer, each) for each in (path, SEQUENCES))
    pd.testing.assert_series_equal(table["logit"], expected["logit"])
    assert list(table["id"]) == ["s0", "s1", "s2", "s3"]


@pytest.mark.parametrize("function", [score_sequences, embed])
def test_far_longer_sequences_are_reported_once(scorer, monkeypatch, caplog, function):
    monkeypatch.setattr("selfattn_bio.scoring.tiling.BATCH_LETTERS", 10)
    function(scorer, ["ACGT" * 10])
    assert not caplog.messages
    function(scorer, ["ACGT" * 10, "ACGT" * 11, "ACGT" * 12])
    (message,) = caplog.messages
    assert message.startswith("sequences longer than 40 positions, such as '1', are unlike the")


def test_prediction_uses_threshold(scorer):
    table = score_sequences(scorer, SEQUENCES)
    threshold = float(table["probability"][1])
    middle = dataclasses.replace(scorer, calibration=Calibration(0.5, 0.2, threshold))
    predicted = score_sequences(middle, SEQUENCES)["predicted"]
    assert predicted.tolist() == (table["probability"] >= threshold).astype(int).tolist()
    assert predicted[1] == 1  # a probability at the threshold is positive
    assert predicted.nunique() == 2


def test_chunks_equal_one_table(scorer, monkeypatch):
    monkeypatch.setattr(table_module, "CHUNK_RECORDS", 3)
    sequences = ["ACGTTGCA"[i:] + "ACGT" for i in range(6)] + ["TTT"]
    parts = list(score_batches(scorer, sequences))
    assert [len(part) for part in parts] == [3, 3, 1]
    joined = pd.concat(parts, ignore_index=True)
    pd.testing.assert_frame_equal(joined, score_sequences(scorer, sequences))
    (empty,) = score_batches(scorer, [])
    assert (list(empty), len(empty)) == (["id", "logit", "probability", "predicted"], 0)


def test_scores_do_not_depend_on_batch_size(monkeypatch):
    sequences, sizes = ["ACGTTGCAAC"[i:] + "ACGT" * 3 for i in range(7)], []
    scorer = scorer_of(run_file())
    scorer.network.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    together = score_sequences(scorer, sequences)
    monkeypatch.setattr(scorer_module, "BATCH_LETTERS", 44)
    found = score_sequences(scorer, sequences)
    pd.testing.assert_frame_equal(found, together, rtol=1e-5, atol=1e-6)
    assert sizes == [7, 2, 2, 2, 1]


# ------------ inputs
def test_intervals_of_bed_files_and_tables(genome, tmp_path):
    names = "chr1:0-30(+)", "chr1:10-40(-)", "chr2:60-90(+)"
    expected = list(zip(names, (LETTERS[0], turned(LETTERS[1]), LETTERS[2]), strict=True))
    assert texts(tmp_path / "sites.bed", genome) == expected
    (tmp_path / "sites.bed.gz").write_bytes(gzip.compress(BED.encode()))
    assert texts(tmp_path / "sites.bed.gz", genome) == expected
    columns = pd.DataFrame({"chrom": ["chr1", "chr1"], "start": [0, 10], "end": [30, 40]})
    table = columns.assign(strand=["+", "-"], name=["a", None])
    assert texts(table, genome) == expected[:2]
    assert texts(columns, genome)[1] == ("chr1:10-40(+)", LETTERS[1])
    table.to_csv(tmp_path / "sites.csv", index=False)
    assert texts(tmp_path / "sites.csv", genome) == expected[:2]
    floats = table.astype({"start": float, "chrom": "category"})
    assert texts(floats, genome) == expected[:2]
    wrong = table.assign(end=[30, 5]).set_index(pd.Index([7, 8]))
    for intervals, message in (
        (wrong, "table of intervals, row 8: start is not before end in \\[10, 5\\)"),
        (table.assign(start=[0, 10.7]), "row 1: invalid start '10.7'"),
        (TABLE, "no column 'start'; intervals need chrom, start and end"),
        (["ACGT"], "with a genome, pass a BED file or a table of intervals, not a list"),
    ):
        with pytest.raises((SequenceFileError, ArgumentError), match=message):
            texts(intervals, genome)


def test_names_of_intervals_are_those_of_their_files(genome, tmp_path):
    table = pd.DataFrame({"id": ["A", "B"], "chrom": "chr1", "start": [0, 10], "end": [30, 40]})
    bed = table[["chrom", "start", "end", "id"]]
    six = bed.assign(score=0, strand="-")
    for name, of in (("four.bed", bed), ("six.bed", six), ("table.tsv", table)):
        of.to_csv(tmp_path / name, sep="\t", index=False, header=name == "table.tsv")
    files = [tmp_path / name for name in ("four.bed", "six.bed", "table.tsv")]
    named = table.assign(name=["a", "b"])
    files.append(table)
    for intervals, names in (*((file, ["A", "B"]) for file in files), (named, ["a", "b"])):
        assert [each.place[-1] for each in read_inputs(PLAIN, intervals, 3, genome)] == names


def test_records_and_tables_of_sequences(genome, tmp_path, caplog):
    caplog.set_level("INFO")
    assert texts(list(read_records(genome, DNA))) == list(CHROMOSOMES.items())
    table = pd.DataFrame({"id": [7, 8], "sequence": ["acgu", "TTT"]})
    assert texts(table) == [("7", "ACGT"), ("8", "TTT")]
    assert texts(table[["sequence"]])[1] == ("1", "TTT")
    # the names of the columns in the training data
    columns = {"id": "gene", "sequence": "Seq"}
    policy = policy_of(config.Data(sequences=["x.csv"], columns=columns))
    table = pd.DataFrame({"gene": ["a", "b"], "Seq": ["acgu", "TTT"], "other": [1, 2]})
    table.to_csv(tmp_path / "new.csv", index=False)
    for sequences in (table, tmp_path / "new.csv"):
        assert texts(sequences, policy=policy) == [("a", "ACGT"), ("b", "TTT")]
    # their usual names
    table = table.rename(columns={"gene": "id", "Seq": "sequence"})
    table.to_csv(tmp_path / "usual.csv", index=False)
    for sequences in (table, tmp_path / "usual.csv"):
        assert texts(sequences, policy=policy) == [("a", "ACGT"), ("b", "TTT")]
    cased = table.rename(columns={"id": "ID", "sequence": "Sequence"})
    cased.to_csv(tmp_path / "cased.csv", index=False)
    # if there are both, lower case
    both = cased.assign(sequence=cased["Sequence"], Sequence="AAA")
    for sequences in (cased, tmp_path / "cased.csv", both):
        for of in (policy, PLAIN):
            assert texts(sequences, policy=of) == [("a", "ACGT"), ("b", "TTT")]
    assert caplog.messages.count("column 'Sequence' is read as sequence") == 4
    with pytest.raises(ArgumentError, match="no column 'Seq'; rename one of its columns: id, text"):
        texts(table.rename(columns={"sequence": "text"}), policy=policy)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr2\t60\t91", r"1: interval \[60, 91\) ends beyond chr2 of .* \(90 bp\)"),
        ("chr1\t5\t7", "1: the interval has 2 bp, but the model needs at least 3"),
        ("chr1\tx\t7", "1: invalid start 'x'"),
        (None, " no such file"),
    ],
)
def test_invalid_intervals(genome, tmp_path, line, message):
    bed = tmp_path / "sites.bed"
    bed.unlink() if line is None else bed.write_text(line + "\n")
    with pytest.raises(SequenceFileError, match=rf"sites\.bed:{message}"):
        texts(bed, genome)
    with pytest.raises(SequenceFileError, match=r"no\.fa: no such file"):
        texts(pd.DataFrame({"chrom": [], "start": [], "end": []}), tmp_path / "no.fa")


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ("ACGTACGT", "no such file: 'ACGTACGT'. To score a sequence, put it in a list: "),
        ("ACGT*ACGTACGTAC", r"no such file: 'ACGT\*ACGTACG...'"),
        # longer than a file name may be
        ("ACGT.ACGT" * 1000, "no such file: 'ACGT.ACGTACG...'"),
        (b"ACGT", "cannot read sequences from a bytes of int; pass a list of strings"),
        ([b"ACGT"], "from a list of bytes;"),
        ({"one": "ACGT"}, "from a dict;"),
        ({"ACGT"}, "from a set;"),
        ((text for text in ["ACGT"]), "from a generator;"),
        (None, "from a NoneType;"),
        (["ACG", "AC"], r"sequence 1 \(counted from 0\) has length 2"),
        (["ACG", "ACGEE"], r"invalid .* in sequence 1 \(counted from 0\)"),
        (TABLE.assign(start=1, end=2), "no column 'sequence'; to read its intervals, pass genome="),
        (TABLE, "no column 'sequence'; rename one of its columns: chrom"),
        (pd.DataFrame({"sequence": ["ACGT", None]}), "sequence 1 .* is not a string but"),
    ],
)
def test_invalid_sequences_argument(scorer, sequences, message):
    with pytest.raises(ArgumentError, match=message):
        score_sequences(scorer, sequences)


def test_unscorable_files(scorer, tmp_path):
    short = tmp_path / "short.fa"
    short.write_text(">long\nACGT\n>short\nAC\n")
    for path, message in (
        (short, r"short\.fa: record 'short' has length 2"),
        ("absent.fa", r"absent\.fa: no such file"),
    ):
        with pytest.raises(SequenceFileError, match=message):
            score_sequences(scorer, path)


# ------------ sequences are read with the policy of the training
def test_soft_masked_bases_are_n_if_trained_so(genome, tmp_path):
    masked = {name: text[:60] + "N" * len(text[60:]) for name, text in CHROMOSOMES.items()}
    assert texts(genome, policy=HARD) == list(masked.items())
    assert texts(["ACgtA", "acg"], policy=HARD) == [("0", "ACNNA"), ("1", "NNN")]
    (tmp_path / "edge.bed").write_text("chr1\t50\t70\t.\t0\t-\n")
    ((_, letters),) = texts(tmp_path / "edge.bed", genome, policy=HARD)
    assert letters == turned(masked["chr1"][50:70])
    assert texts(genome, policy=SequencePolicy(DNA)) == list(CHROMOSOMES.items())


def test_gaps_are_removed_if_trained_so(tmp_path):
    (tmp_path / "aligned.fa").write_text(">a\nAC--GT.A\n")
    assert texts(tmp_path / "aligned.fa", policy=GAPLESS) == [("a", "ACGTA")]
    assert texts(["AC--GT.A"], policy=GAPLESS) == [("0", "ACGTA")]
    with pytest.raises(ArgumentError, match=r"sequence 0 \(counted from 0\) contains only gaps"):
        texts(["--"], policy=GAPLESS)
    with pytest.raises(ArgumentError, match="invalid character '-'"):
        texts(["AC-GT"])


def test_score_and_explain_use_sequence_policy(tmp_path):
    run, folders = run_file(), [tmp_path / "hard", tmp_path / "gapless"]
    cases = [({"soft_mask": "hard"}, "ACNNNGTTGACA", "ACgttGTTGACA")]
    cases.append(({"gaps": "remove"}, "ACGTTGACA", "AC-GTT.GACA"))
    for folder, (keys, spelled, text) in zip(folders, cases, strict=True):
        data = run.data.model_copy(update=keys)
        scorer = load(write_model(folder, run.model_copy(update={"data": data})))
        logits = [score_sequences(scorer, [each])["logit"][0] for each in (text, spelled)]
        assert logits[0] == logits[1]
        vectors = [embed(scorer, [each]).vectors for each in (text, spelled)]
        np.testing.assert_array_equal(*vectors)
        assert explain(scorer, [text]).letters.tobytes().decode() == spelled
    with pytest.raises(ModelFolderError, match=r"gapless: .* the first, whose soft_mask is 'hard'"):
        load(folders)


# ------------ partners passed from Python
def test_partners_are_in_the_columns_of_the_training(tmp_path):
    columns = {"id": "name", "sequence": "first"}
    data = {"sequences": "t.tsv", "label": "label", "columns": columns}
    partner = {"kind": "sequence", "column": "other"}
    run = config.RunFile(data=data, partner=partner, model={"kind": "paired"})
    scorer = PairedScorer(run, tokenizer_of(run), build_network(run))
    rows = {"name": ["a", "b"], "first": ["ACGTAC", "CCCCCC"], "other": ["GGGGGG", "TTTTTT"]}
    table = pd.DataFrame(rows)
    table.to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    for partner in (table, tmp_path / "t.tsv"):
        of = read_partners(scorer, partner)
        assert of is not None
        assert of(SimpleNamespace(id="b")).tobytes() == b"TTTTTT"  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="two partners have the id 'b'"):
        read_partners(scorer, pd.concat([table, table[1:]]))
    with (tmp_path / "t.tsv").open("a") as file:
        file.write("b\tCCCCCC\tAAAAAA\n")
    with pytest.raises(RecordIdError, match=r"t\.tsv:4: record id 'b' is used twice"):
        read_partners(scorer, tmp_path / "t.tsv")


def test_table_without_renamed_ids_is_numbered(tmp_path):
    path, policy = tmp_path / "new.csv", dataclasses.replace(PLAIN, id_column="oligo")
    for text, ids in (("sequence\nACGT\n", ["new_1"]), ("oligo,sequence\na,ACGT\n", ["a"])):
        path.write_text(text)
        assert [each.id for each in read_inputs(policy, path, 1)] == ids


@pytest.mark.parametrize(
    ("header", "ids"),
    [
        (r"^\w+\|(?P<id>[^|\s]+)\|", ["P12345", "odd|name", "peak1::chr1:5-20"]),
        (r"^(?P<id>\S+?)::", ["sp|P12345|A_MOUSE", "odd|name", "peak1"]),
        (r"GN=(?P<id>\w+)", ["Abc", "odd|name", "peak1::chr1:5-20"]),
        (r"^\w+\|(?P<label>\w+)\|", ["sp|P12345|A_MOUSE", "odd|name", "peak1::chr1:5-20"]),
    ],
)
def test_ids_are_read_as_in_training(tmp_path, header, ids):
    names = ["sp|P12345|A_MOUSE", "odd|name", "peak1::chr1:5-20"]
    text = f">{names[0]} text GN=Abc x\n{SEQUENCES[0]}\n" + "".join(
        f">{name}\n{SEQUENCES[0]}\n" for name in names[1:]
    )
    (tmp_path / "a.fa").write_text(text)
    (tmp_path / "a.fa.gz").write_bytes(gzip.compress(text.encode()))
    rows = pd.DataFrame({"id": [f"{names[0]} GN=Abc", *names[1:]], "sequence": SEQUENCES[0]})
    rows.to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    policy = policy_of(config.Data(header=header, sequences=("a.fa",)))
    for file in ("a.fa", "a.fa.gz"):
        assert [each.id for each in read_inputs(policy, tmp_path / file, 1)] == ids
    of_table = [
        each.id.removesuffix(" GN=Abc") for each in read_inputs(policy, tmp_path / "a.tsv", 1)
    ]
    assert of_table == ids

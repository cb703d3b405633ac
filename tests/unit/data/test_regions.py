"""Test the steps from a run file with a genome to a corpus."""

import re

import numpy as np
import pyBigWig
import pytest
from small_corpus import errors

import selfattn_bio as sb
from selfattn_bio.config import run_file_of
from selfattn_bio.errors import RunFileError, SelfAttnBioError
from selfattn_bio.sequence.alphabet import DNA

SIZE = 30_000
LETTERS = np.random.default_rng(0).choice(list(b"ACGTacgt"), (2, SIZE)).astype(np.uint8)
UPPER = LETTERS & 0xDF
CHROMOSOME = {"chr1": UPPER[0], "chr2": UPPER[1]}


@pytest.fixture
def folder(here):
    """Write a genome and intervals to the working directory."""
    records = (b">chr%d\n%s\n" % (n, row.tobytes()) for n, row in enumerate(LETTERS, start=1))
    (here / "g.fa").write_bytes(b"".join(records))
    starts = enumerate(range(10, 16_000, 400))
    rows = [(n % 2 + 1, at, at + 40, f"p{n}", n, "+-"[n % 3 == 0]) for n, at in starts]
    (here / "p.bed").write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    (here / "n.bed").write_text("chr1\t20000\t20100\nchr1\t800\t850\n")
    with pyBigWig.open("t.bw", "w") as track:
        track.addHeader([("chr1", SIZE), ("chr2", SIZE)])
        track.addEntries(["chr1"] * 2, [0, 500], ends=[500, 29_000], values=[1.0, 3.0])
    return here


def window_of(row):
    letters = CHROMOSOME[row.chrom][row.start : row.end]
    return letters if row.strand == "+" else DNA.reverse_complement(letters)


GENOME = '[data]\ngenome = "g.fa"\n'
MATCHED = '{ kind = "matched", tolerance = 0.2, per_positive = 2, exclude = "n.bed" }'
CENTERED = 'windows = { kind = "centered", width = 100 }\n'


@pytest.mark.parametrize(
    ("negatives", "number", "line"),
    [
        ('"n.bed"', 2, "1 given negatives that overlap a positive (n.bed)"),
        (MATCHED, 78, "read 117 records from 2 files"),
        ('{ kind = "neighbours", distance = 10 }', 39, "read 78 records from 2 files"),
    ],
)
def test_positives_and_negatives(folder, ingest, capsys, negatives, number, line):
    corpus = ingest(GENOME + 'positives = "p.bed"\n' + CENTERED + f"negatives = {negatives}\n")
    out = capsys.readouterr().out
    assert (corpus.records["label"] == 1).sum() == 39
    assert (corpus.records["label"] == 0).sum() == number
    assert "ingest: 1 windows beyond the end of a chromosome, dropped (p.bed)\n" in out
    assert f"{line}\n" in out
    for i, row in enumerate(corpus.records.itertuples()):
        np.testing.assert_array_equal(corpus.letters(i), window_of(row))
        assert row.id == f"{row.chrom}:{row.start}-{row.end}({row.strand})"
    sources = corpus.summary["sources"]
    assert [each["path"] for each in sources] == ["p.bed", "n.bed" if number == 2 else "p.bed"]
    assert [each["files"][0]["path"] for each in sources] == ["g.fa"] * 2
    assert [len(each["files"]) for each in sources] == [1, 1 + (number == 78)]


def test_shuffled_negatives_of_sequence_files(ingest, capsys):
    text, run_file = UPPER[0].tobytes().decode(), '[data]\npositives = "p.fa"\nnegatives = '
    texts = [text[50 * n : 50 * n + 50] for n in (*range(20), 0)]  # the last is a duplicate
    records = (f">r{n} chrom=chr{n % 2}\n{each}\n" for n, each in enumerate(texts))
    corpus = ingest(run_file + '{ kind = "shuffled", k = 3 }\n', p_fa="".join(records))
    out = capsys.readouterr().out
    assert out.startswith("ingest: read 42 records from 2 files\n")
    assert "ingest: kept 21 shuffled negatives instead of 20 for 20 kept positives, because" in out
    assert corpus.records["label"].tolist() == [1] * 20 + [0] * 21
    assert corpus.records["chrom"][:40].tolist() == [f"chr{n % 2}" for n in range(20)] * 2
    for i in range(20):
        assert sorted(corpus.letters(i)) == sorted(corpus.letters(i + 20))
        assert corpus.letters(i).tobytes() != corpus.letters(i + 20).tobytes()
    positives, negatives = corpus.summary["sources"]
    assert (negatives["made"]["kind"], positives["kept"], negatives["kept"]) == ("shuffled", 20, 21)


@pytest.mark.parametrize(
    ("label", "positives"),
    [
        ('{ kind = "score", threshold = 30 }', range(30, 40)),
        ('{ kind = "overlap", files = "n.bed" }', [2]),
        ('{ kind = "overlap", files = "n.bed", bases = 41 }', []),
        ('{ kind = "overlap", files = "n.bed", fraction = 1.0 }', [2]),
    ],
)
def test_labels_of_windows(folder, ingest, label, positives):
    corpus = ingest(GENOME + f'sequences = "p.bed"\nlabel = {label}\n')
    starts = corpus.records["start"]
    expected = starts.isin([10 + 400 * n for n in positives])
    assert corpus.records["label"].tolist() == expected.astype(int).tolist()
    assert len(corpus) == 40


def along(row, values, beyond):
    values = np.pad(values, 40, constant_values=beyond)[row.start + 40 : row.end + 40]
    return values[::-1] if row.strand == "-" else values


def test_tracks_as_targets(folder, ingest, capsys):
    places = ("gene\t1\t5000", "exon\t801\t830", "exon\t1611\t1620")
    lines = [f"1\tf\t{place}\t.\t+\t.\tID=a\n" for place in places]
    (folder / "all.gff3").write_text("".join(lines))
    before = """tokens.k = 1
objective = { kind = "labels", column = "parts", classes = "gEn" }
training = { shift = 0, reverse_complement = false }
"""
    tracks = """[data.tracks]
signal = { kind = "number", path = "t.bw" }
bins = { kind = "number", path = "t.bw", bin = 20, summary = "sum" }
high = { kind = "letters", path = "t.bw", threshold = 2 }
parts = { kind = "features", path = "all.gff3", classes = { gene = "g", exon = "E" }, other = "n" }
"""
    windows = 'windows = { kind = "centered", width = 40, at_ends = "pad" }\n'
    with (folder / "p.bed").open("a") as file:
        file.write("chr1\t3\t5\tx\t0\t-\nchr2\t29990\t30000\tx\t0\t+\n")
    corpus = ingest(before + GENOME + f'sequences = "p.bed"\n{windows}' + tracks)
    out = capsys.readouterr().out
    assert "windows beyond the end of a chromosome, padded with N (p.bed)" in out
    assert "targets: parts\n" in out  # the others are not learned
    signal = np.full((2, SIZE), np.nan, np.float32)
    signal[0, :500], signal[0, 500:29_000] = 1, 3
    parts = np.full((2, SIZE), "n")
    parts[0, :5000] = "g"
    parts[0, 800:830] = parts[0, 1610:1620] = "E"
    found = corpus.targets(["signal", "bins_0", "bins_1", "high", "parts"])
    for row, targets in zip(corpus.records.itertuples(), found.itertuples(), strict=True):
        values = along(row, signal[int(row.chrom[3:]) - 1], np.nan)
        assert targets.parts == "".join(along(row, parts[int(row.chrom[3:]) - 1], "-"))
        high = ("-" if np.isnan(value) else str(int(value >= 2)) for value in values)
        assert targets.high == "".join(high)
        if np.isnan(values).all():
            assert isinstance(targets.signal, float | type(None))
        else:
            assert float(targets.signal) == np.nanmean(values)
            bins = [float(targets.bins_0 or 0), float(targets.bins_1 or 0)]
            assert bins == np.nansum(values.reshape(2, 20), axis=1).tolist()
    assert len(set(found["parts"])) > 3


def test_soft_mask(folder, ingest):
    text = f'sequences = "p.bed"\nsoft_mask = "hard"\n{WORDS["SCORE"]}\n'
    corpus = ingest(GENOME + text + CENTERED.replace("100", '100, at_ends = "pad"'))
    assert len(corpus) == 40
    for i, row in enumerate(corpus.records.itertuples()):
        padded = np.pad(LETTERS[int(row.chrom[3:]) - 1], 50, constant_values=ord("N"))
        raw = padded[row.start + 50 : row.end + 50]
        letters = np.where(raw >= ord("a"), ord("N"), raw).astype(np.uint8)
        letters = DNA.reverse_complement(letters) if row.strand == "-" else letters
        np.testing.assert_array_equal(corpus.letters(i), letters)


WORDS = {
    "GENOME": "genome = 'g.fa'",
    "INTERVALS": "genome = 'g.fa'\nsequences = 'p.bed'",
    "POSITIVES": "genome = 'g.fa'\npositives = 'p.bed'",
    "SCORE": "label = { kind = 'score', threshold = 1 }",
    "UNSET": "[data] genome is not set;",
}
CONTRADICTIONS = r"""
positives = 'p.bed' / negatives = 'n.bed' => [data] p.bed contains intervals; set genome to the
POSITIVES / negatives = 'n.bed' / alphabet = 'protein' => [data] genome cannot be used with alphabet
POSITIVES / negatives = { kind = 'same' } => unknown kind 'same' in [data.negatives]; choose one of
POSITIVES / negatives = { seed = 1 } => missing key 'kind' in [data.negatives]; choose one of
POSITIVES / negatives = { kind = 'matched', sed = 1 } => unknown key 'sed' in [data.negatives]; did
positives = 'p.fa' / negatives = { kind = 'matched' } => UNSET negatives from
sequences = 'p.fa' / windows = { kind = 'whole' } => UNSET windows cannot be used
INTERVALS / windows = { kind = 'tiled', step = 3 } => missing key 'width' in [data.windows]
INTERVALS / windows = { kind = 'flanked', of = 'five_prime' }
    => [data.windows] windows around the 5' end are empty
INTERVALS / label = 'score' => [data] a label column, header and
sequences = 'p.fa' / SCORE => UNSET label kinds 'score' and 'overlap' can
INTERVALS / tracks.a = { path = 't.bw' }
    => missing key 'kind' in [data.tracks.a]; choose one of 'number', 'letters', 'features'
INTERVALS / tracks.a = { kind = 'letters', path = 't.bw', bin = 3 }
    => unknown key 'bin' in [data.tracks.a]; known keys:
POSITIVES / negatives = 'n.bed' / tracks.a = { kind = 'number', path = 't.bw' }
    => [data] tracks can only be used
"""
UNFIT = r"""
GENOME / sequences = 'n.bed' / SCORE => n.bed:1: the interval has no score
POSITIVES / negatives = 'p.bed'
    => run.toml:1: [data] positives and negatives are the same file, p.bed
POSITIVES / negatives = 'both.bed'
    => both.bed:2: window chr1:810-850(+) is both a positive and a negative. Remove it here or in
    p.bed:3
POSITIVES / negatives = { kind = 'neighbours', exclude = 'all.bed' }
    => g.fa: found only 0 of 40 neighbouring windows for the negatives. Positives and
    excluded intervals cover 100% of a chromosome on average. Use fewer or shorter ones, or
INTERVALS / tracks.a = { kind = 'number', path = 't.bw', bin = 7 } / [objective] /
    kind = 'regression' / columns = ['a_0']
    => t.bw: windows of 40 bp cannot be divided into bins of 7 bp. Use
INTERVALS / tracks.a = { kind = 'number', path = 'x.bdg' } / [objective] /
    kind = 'regression' / columns = ['a']
    => x.bdg: the track (scaffold) has no chromosome of g.fa (chr1, chr2)
"""


def spelled_out(text):
    return re.sub("[A-Z]+", lambda found: WORDS.get(found[0], found[0]), text)


@pytest.mark.parametrize(("text", "message"), errors(CONTRADICTIONS))
def test_run_files_that_contradict_themselves(text, message):
    with pytest.raises(RunFileError) as caught:
        run_file_of(f"[data]\n{spelled_out(text)}\n", "run.toml")
    assert caught.value.message.startswith(spelled_out(message))


@pytest.mark.parametrize(("text", "message"), errors(UNFIT))
def test_data_that_does_not_fit(folder, text, message):
    (folder / "all.bed").write_text(f"chr1\t0\t{SIZE}\nchr2\t0\t{SIZE}\nchrUn\t0\t9\n")
    (folder / "both.bed").write_text("chr1\t20000\t20100\tn\t0\t+\n1\t810\t850\tp2\t2\t+\n")
    (folder / "x.bdg").write_text("scaffold\t0\t9\t1\n")
    (folder / "run.toml").write_text(f"[data]\n{spelled_out(text)}\n")
    with pytest.raises(SelfAttnBioError, match=re.escape(message)):
        sb.Study(".").ingest()
    assert not (folder / "corpus").exists()

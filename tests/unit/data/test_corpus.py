"""Test opened corpora: records, letters, targets, masks, and altered files."""

import errno
import hashlib

import pytest
from small_corpus import ingested, with_targets, write_files

from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.errors import CorpusError
from selfattn_bio.sequence.alphabet import DNA


@pytest.fixture
def files(tmp_path):
    return write_files(tmp_path)


@pytest.fixture
def corpus(files, tmp_path):
    return ingested(files, tmp_path)


def test_records_and_letters(corpus):
    records = corpus.records
    assert records["id"].tolist() == ["a", "b", "d"]
    assert records["label"].tolist() == [1, 1, 0]
    assert [corpus.letters(i).tobytes() for i in range(len(corpus))] == [
        b"ACGTACGT",
        b"ACGTNNAA",
        b"TTTTTT",
    ]
    assert records.loc[0, ["chrom", "start", "end", "strand", "group"]].tolist() == [
        "chr2L",
        3,
        11,
        "-",
        "g",
    ]
    assert records.loc[1, ["chrom", "start", "end", "strand", "group"]].isna().all()
    assert records["sha256"][2] == hashlib.sha256(b"TTTTTT").hexdigest()
    assert (corpus.path / "letters.bin").read_bytes() == b"ACGTACGTACGTNNAATTTTTT"


def test_column_of_records_or_targets(files, tmp_path):
    corpus = with_targets(files, tmp_path, "id\tx\na\t1\n")
    assert corpus.column("group")[0] == "g"
    assert corpus.column("x")[0] == "1"
    with pytest.raises(
        CorpusError,
        match=r"no column 'split' in the corpus \(further columns: 'x'\)\. Add it to the table, or "
        r"split=\.\.\. to",
    ):
        corpus.column("split")


def test_letters_are_a_read_only_view(corpus):
    with pytest.raises(ValueError, match="read-only"):
        corpus.letters(0)[0] = 65


@pytest.mark.parametrize("part", ["letters.bin", "records.parquet", "corpus.json"])
def test_missing_part(corpus, part):
    (corpus.path / part).unlink()
    with pytest.raises(
        CorpusError,
        match=rf"{part}: no such corpus file or folder\. Run selfattn-bio "
        r"ingest",
    ):
        Corpus.open(corpus.path)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("records.parquet", "cannot read the corpus: "),
        ("corpus.json", r"corpus\.json: cannot read this file: "),
    ],
)
def test_truncated_part(corpus, part, message):
    path = corpus.path / part
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CorpusError, match=rf"{message}.*Run selfattn-bio ingest again"):
        Corpus.open(corpus.path)


def test_truncated_letters(corpus):
    (corpus.path / "letters.bin").write_bytes(b"ACGT")
    with pytest.raises(
        CorpusError, match=r"the corpus was altered: num_letters is 4, but 22 in corpus\.json"
    ):
        Corpus.open(corpus.path)


def test_altered_records(corpus):
    corpus.records.assign(label=1 - corpus.records["label"]).to_parquet(
        corpus.path / "records.parquet", index=False
    )
    with pytest.raises(CorpusError, match="the corpus was altered: fingerprint is"):
        Corpus.open(corpus.path)


def test_an_altered_letter(corpus):
    path = corpus.path / "letters.bin"
    path.write_bytes(path.read_bytes().replace(b"NNAA", b"NNAC"))
    with pytest.raises(
        CorpusError,
        match=r"letters\.bin: the sequence of record 'b' was altered: its SHA-256 is \w{12}, but "
        r"\w{12} in records\.parquet",
    ):
        Corpus.open(corpus.path)


def test_read_error_names_the_file(corpus, monkeypatch):
    def fail(self, *arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("hashlib.sha256", fail)
    monkeypatch.setattr(
        "selfattn_bio.data.corpus.fingerprint_of", lambda *arguments: corpus.fingerprint
    )
    with pytest.raises(OSError, match="Input/output error") as error:
        Corpus.open(corpus.path)
    assert error.value.filename == str(corpus.path / "letters.bin")


def test_altered_offsets(corpus):
    corpus.records.assign(offset=corpus.records["offset"] // 2).to_parquet(
        corpus.path / "records.parquet", index=False
    )
    with pytest.raises(CorpusError, match="the sequence of record 'b' was altered"):
        Corpus.open(corpus.path)


def test_missing_targets(corpus, files, tmp_path):
    with pytest.raises(CorpusError, match="the corpus has no targets"):
        corpus.targets(["x"])
    with pytest.raises(CorpusError, match="no such file for the targets"):
        build_corpus(
            [(files[0], None)], tmp_path / "other", RecordRules(DNA), tmp_path / "none.tsv"
        )
    with pytest.raises(CorpusError, match=r"no column 'y' in the targets \(columns: 'x'\)"):
        with_targets(files, tmp_path, "id\tx\na\t1\n").targets(["y"])


def test_soft_mask_is_kept_if_requested(corpus, files, tmp_path):
    kept = build_corpus(
        zip(files, (1, 0), strict=True), tmp_path / "kept", RecordRules(DNA, soft_mask="keep")
    )
    assert kept.records["id"].tolist()[:2] == ["a", "b"]
    assert [kept.masked(i).tolist() for i in (0, 1)] == [[True] * 4 + [False] * 4, [False] * 8]
    assert (
        kept.fingerprint
        != build_corpus(
            zip(files, (1, 0), strict=True), tmp_path / "ignored", RecordRules(DNA)
        ).fingerprint
    )
    runs = (kept.path / "masked.bin").read_bytes()
    (kept.path / "masked.bin").write_bytes(bytes([runs[0] ^ 1]) + runs[1:])
    with pytest.raises(CorpusError, match="the corpus was altered: fingerprint is"):
        Corpus.open(kept.path)
    with pytest.raises(
        CorpusError,
        match=r'the corpus has no soft mask\. Ingest with soft_mask = "keep" in \[data\]',
    ):
        corpus.masked(0)

"""Test opened corpora: records, letters, targets, masks, altered files, and PyTorch datasets."""

import errno
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_corpus import fasta, ingested, with_targets
from torch import nn
from torch.utils.data import DataLoader

from selfattn_bio import CorpusDataset, Encoder, Rotary, collate
from selfattn_bio.data import corpus as module
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import ArgumentError, CorpusError


def test_records_and_letters(corpus):
    records = corpus.records
    assert records["id"].tolist() == ["a", "b", "d"]
    assert records["label"].tolist() == [1, 1, 0]
    letters = [corpus.letters(i).tobytes() for i in range(len(corpus))]
    assert letters == [b"ACGTACGT", b"ACGTNNAA", b"TTTTTT"]
    places = records[["chrom", "start", "end", "strand", "group"]]
    assert places.loc[0].tolist() == ["chr2L", 3, 11, "-", "g"]
    assert places.loc[1].isna().all()
    assert records["sha256"][2] == hashlib.sha256(b"TTTTTT").hexdigest()
    assert (corpus.path / "letters.bin").read_bytes() == b"".join(letters)


def test_column_of_records_or_targets(files, tmp_path):
    corpus = with_targets(files, tmp_path, "id\tx\na\t1\n")
    assert corpus.column("group")[0] == "g"
    assert corpus.column("x")[0] == "1"
    with pytest.raises(CorpusError, match=r"no column 'split' in the targets \(columns: 'x'\)"):
        corpus.column("split")
    with pytest.raises(CorpusError, match=r"no column 'y' in the targets \(columns: 'x'\)"):
        corpus.targets(["y"])


def test_letters_are_a_read_only_view(corpus):
    with pytest.raises(ValueError, match="read-only"):
        corpus.letters(0)[0] = 65


def truncate(path):
    path.write_bytes(path.read_bytes()[:100])


def with_other_letters(path):
    path.write_bytes(path.read_bytes().replace(b"NNAA", b"NNAC"))


def with_column(name, change):
    def alter(path):
        table = pd.read_parquet(path)
        table.assign(**{name: change(table[name])}).to_parquet(path, index=False)

    return alter


LETTERS, RECORDS = "letters.bin", "records.parquet"
OTHER_SHA = r"the sequence of record 'b' was altered: its SHA-256 is \w{12}, but \w{12} in rec"


@pytest.mark.parametrize(
    ("part", "alter", "message"),
    [
        (LETTERS, Path.unlink, r"no such corpus file or folder\. Run selfattn-bio ingest"),
        (RECORDS, Path.unlink, "no such corpus file or folder"),
        ("corpus.json", Path.unlink, "no such corpus file or folder"),
        (RECORDS, truncate, "cannot read the table: .*Run selfattn-bio ingest again"),
        ("corpus.json", truncate, "cannot read this file: .* ingest again"),
        (LETTERS, lambda path: path.write_bytes(b"A"), r"num_letters is 1, but 22 in corpus\.json"),
        (LETTERS, with_other_letters, OTHER_SHA),
        (RECORDS, with_column("label", lambda labels: 1 - labels), "altered: fingerprint is"),
        (RECORDS, with_column("offset", lambda offsets: offsets // 2), OTHER_SHA),
    ],
)
def test_altered_part(corpus, part, alter, message):
    alter(corpus.path / part)
    with pytest.raises(CorpusError, match=message):
        Corpus.open(corpus.path)


def test_read_error_names_the_file(corpus, monkeypatch):
    def fail(self, *arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("hashlib.sha256", fail)
    monkeypatch.setattr(module, "fingerprint_of", lambda *arguments: corpus.fingerprint)
    with pytest.raises(OSError, match="Input/output error") as error:
        Corpus.open(corpus.path)
    assert error.value.filename == str(corpus.path / "letters.bin")


def test_missing_targets(corpus, files, tmp_path):
    with pytest.raises(CorpusError, match=r"no column 'x' in the targets \(columns: none\)"):
        corpus.targets(["x"])
    with pytest.raises(CorpusError, match="no such file for the targets"):
        ingested(files[:1], tmp_path / "other", tmp_path / "none.tsv")


def test_targets_of_other_records(corpus):
    pd.DataFrame({"x": ["1", "2"]}).to_parquet(corpus.path / "targets.parquet")
    with pytest.raises(CorpusError, match=r"targets.parquet: 2 rows of targets, but 3 records\. "):
        corpus.targets(["x"])


# ------------ a corpus as a PyTorch dataset
@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """Return 120 records of 20 to 29 bp; positives have many A."""
    folder, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    for name, letters in (("p", "AAACGT"), ("n", "ACGTTT")):
        rows = ["".join(rng.choice(list(letters), rng.integers(20, 30))) for _ in range(60)]
        fasta(folder / f"{name}.fa", *rows, prefix=name)
    return ingested([folder / "p.fa", folder / "n.fa"], folder / "corpus", labels=(1, 0))


def test_items_are_tokens_and_labels(classes):
    data = CorpusDataset(classes, k=2, rows=[0, 119])
    assert len(data) == 2
    assert data.vocabulary_size == 20
    (tokens, label), (_, other) = data[0], data[1]
    assert (int(label), int(other)) == (1, 0)
    assert data.tokenizer.decode(tokens.numpy()[None]).tobytes() == classes.letters(0).tobytes()


def test_batches_are_padded_at_the_end(classes):
    data = CorpusDataset(classes, k=1, targets=np.arange(120) / 2)
    tokens, lengths, targets = collate([data[i] for i in range(3)])
    assert lengths.tolist() == [len(classes.letters(i)) for i in range(3)]
    assert ((tokens != 0).sum(1) == lengths).all()
    assert (tokens[:, 0] != 0).all()
    assert targets.tolist() == [0.0, 0.5, 1.0]


def test_plain_loop_of_pytorch_learns(classes):
    torch.manual_seed(0)
    data = CorpusDataset(classes, k=1)
    embedding = nn.Embedding(data.vocabulary_size, 16)
    encoder = Encoder(16, 1, 2, position=Rotary(8))
    network = nn.ModuleList([embedding, encoder, nn.Linear(16, 1)])
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(8):
        losses = []
        for tokens, lengths, targets in DataLoader(data, 20, shuffle=True, collate_fn=collate):
            mask = torch.arange(tokens.shape[1]) < lengths[:, None]
            vectors = (encoder(embedding(tokens), mask) * mask[..., None]).sum(1) / lengths[:, None]
            logits = network[2](vectors)[:, 0]
            loss = nn.functional.binary_cross_entropy_with_logits(logits, targets.float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert np.mean(losses) < 0.45


def test_rows_may_be_a_mask(classes):
    mask = np.zeros(120, dtype=bool)
    mask[[3, 60]] = True
    data = CorpusDataset(classes, k=1, rows=mask)
    assert data.rows.tolist() == [3, 60]
    assert data.targets.tolist() == [1, 0]
    assert len(CorpusDataset(classes, rows=[])) == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([True, False], r"rows do not fit a corpus of 120 records: Boolean index has wrong length"),
        ([0.0, 1.0], "rows do not fit .* integer or boolean type"),
        (["a"], "rows do not fit .* integer or boolean type"),
        (np.array([[0, 1]]), r"rows do not fit .* dimensions"),
        ((0, 120), "rows do not fit .* index 120 is out of bounds"),
        (None, "there are 2 targets for 120 records"),
    ],
)
def test_rows_must_fit_the_corpus(classes, rows, message):
    with pytest.raises(ArgumentError, match=message):
        CorpusDataset(classes, rows=rows, targets=[0, 1] if rows is None else None)

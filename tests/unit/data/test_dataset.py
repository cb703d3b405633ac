"""Test a corpus as a PyTorch dataset: items, padding, and a training loop of a few lines."""

import numpy as np
import pytest
import torch
from small_corpus import fasta, ingested
from torch import nn
from torch.utils.data import DataLoader

from selfattn_bio import CorpusDataset, Encoder, Rotary, collate
from selfattn_bio.errors import ArgumentError


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Return 120 records of 20 to 29 bp; positives have many A."""
    folder, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    for name, letters in (("p", "AAACGT"), ("n", "ACGTTT")):
        rows = ["".join(rng.choice(list(letters), rng.integers(20, 30))) for _ in range(60)]
        fasta(folder / f"{name}.fa", *rows, prefix=name)
    return ingested([folder / "p.fa", folder / "n.fa"], folder / "corpus", labels=(1, 0))


def test_items_are_tokens_and_labels(corpus):
    data = CorpusDataset(corpus, k=2, rows=[0, 119])
    assert len(data) == 2
    assert data.vocabulary_size == 20
    (tokens, label), (_, other) = data[0], data[1]
    assert (int(label), int(other)) == (1, 0)
    assert data.tokenizer.decode(tokens.numpy()[None]).tobytes() == corpus.letters(0).tobytes()


def test_batches_are_padded_at_the_end(corpus):
    data = CorpusDataset(corpus, k=1, targets=np.arange(120) / 2)
    tokens, lengths, targets = collate([data[i] for i in range(3)])
    assert lengths.tolist() == [len(corpus.letters(i)) for i in range(3)]
    assert ((tokens != 0).sum(1) == lengths).all()
    assert (tokens[:, 0] != 0).all()
    assert targets.tolist() == [0.0, 0.5, 1.0]


def test_plain_loop_of_pytorch_learns(corpus):
    torch.manual_seed(0)
    data = CorpusDataset(corpus, k=1)
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


def test_rows_may_be_a_mask(corpus):
    mask = np.zeros(120, dtype=bool)
    mask[[3, 60]] = True
    data = CorpusDataset(corpus, k=1, rows=mask)
    assert data.rows.tolist() == [3, 60]
    assert data.targets.tolist() == [1, 0]
    assert len(CorpusDataset(corpus, rows=[])) == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([True, False], r"rows is a mask of shape \(2,\), but the corpus has 120 records"),
        ([0.0, 1.0], "rows has type float64"),
        (["a"], "rows has type <U1"),
        ([[0, 1]], r"rows has type int64 and shape \(1, 2\)"),
        ([0, 120], "rows contains 120, but the corpus has only the rows 0 to 119"),
        ([-1], "rows contains -1"),
        (None, "there are 2 targets for 120 records"),
    ],
)
def test_rows_must_fit_the_corpus(corpus, rows, message):
    with pytest.raises(ArgumentError, match=message):
        CorpusDataset(corpus, rows=rows, targets=[0, 1] if rows is None else None)

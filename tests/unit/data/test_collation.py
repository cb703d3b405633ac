"""Test padded batches of records and of pairs, and their copies to a device."""

import numpy as np
import pytest
import torch
from letters import ascii_of

from selfattn_bio.data.collation import Collation, PairCollation, to_device
from selfattn_bio.data.inputs import RecordPair
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.kmers import PAD, KmerTokenizer


def test_rows_are_padded_to_the_longest():
    tokens = Collation(KmerTokenizer(DNA, 3))([ascii_of("ACGTA"), ascii_of("AAAC")])
    assert tokens.ids.dtype == torch.int64
    assert tokens.ids.shape == (2, 3)
    assert tokens.lengths.tolist() == [3, 2]
    assert tokens.ids[1].tolist() == [4, 5, PAD]  # AAA, AAC


@pytest.mark.parametrize(("k", "stride"), [(1, 1), (3, 1), (3, 3), (4, 2)])
def test_lengths_count_the_tokens_that_are_no_padding(k, stride):
    rng = np.random.default_rng(0)
    rows = [rng.choice(ascii_of("ACGTN"), n) for n in (k, 9, 17, 24)]
    tokens = Collation(KmerTokenizer(DNA, k, stride))(rows)
    assert tokens.lengths.tolist() == (tokens.ids != PAD).sum(1).tolist()


def test_pairs_are_joined():
    tokenizers = KmerTokenizer(DNA, 3), KmerTokenizer(PROTEIN, 1)
    collate = PairCollation(*tokenizers, lambda *ids: torch.cat(ids, 1))
    texts = [("ACGTA", "MK"), ("AAAC", "MKV")]
    pairs = [RecordPair(ascii_of(dna), ascii_of(protein)) for dna, protein in texts]
    tokens = collate(pairs)
    assert tokens.ids.shape == (2, 3 + 3)
    assert tokens.lengths.tolist() == [3 + 2, 2 + 3]
    assert collate.num_letters(pairs) == 5 + 2 + 4 + 3


def test_copies_to_cuda_are_asynchronous():
    """Without a GPU, a stub records the calls."""
    calls, device = [], torch.device("cuda")

    class Stub:
        def pin_memory(self):
            calls.append("pin_memory")
            return self

        def to(self, device, non_blocking):
            calls.append((device, non_blocking))
            return self

    to_device(Stub(), device)
    assert calls == ["pin_memory", (device, True)]
    x = torch.zeros(3)
    assert to_device(x, torch.device("cpu")) is x

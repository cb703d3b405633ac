import numpy as np
import pytest
import torch

from selfattn_bio.data.collation import Collation, PairCollation, to_device
from selfattn_bio.data.inputs import RecordPair
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.kmers import PAD, KmerTokenizer


def letters(*texts):
    return [np.frombuffer(text.encode(), np.uint8) for text in texts]


def test_rows_are_padded_to_the_longest():
    tokens = Collation(KmerTokenizer(DNA, 3))(letters("ACGTA", "AAAC"))
    assert tokens.ids.dtype == torch.int64
    assert tokens.ids.shape == (2, 3)
    assert tokens.lengths.tolist() == [3, 2]
    assert tokens.ids[1].tolist() == [4, 5, PAD]  # AAA, AAC


@pytest.mark.parametrize(("k", "stride"), [(1, 1), (3, 1), (3, 3), (4, 2)])
def test_lengths_count_the_tokens_that_are_no_padding(k, stride):
    rng = np.random.default_rng(0)
    rows = [rng.choice(np.frombuffer(b"ACGTN", np.uint8), n) for n in (k, 9, 17, 24)]
    tokens = Collation(KmerTokenizer(DNA, k, stride))(rows)
    assert tokens.lengths.tolist() == (tokens.ids != PAD).sum(1).tolist()


def test_pairs_are_joined():
    collate = PairCollation(
        KmerTokenizer(DNA, 3), KmerTokenizer(PROTEIN, 1), lambda *ids: torch.cat(ids, 1)
    )
    pairs = [RecordPair(*letters("ACGTA", "MK")), RecordPair(*letters("AAAC", "MKV"))]
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


def test_batches_on_the_cpu_are_not_copied():
    x = torch.zeros(3)
    assert to_device(x, torch.device("cpu")) is x

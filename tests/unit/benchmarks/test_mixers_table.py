"""Test the figures of the benchmark of mixers where they are known."""

import pytest
import torch


@pytest.mark.parametrize(("buckets", "chunk", "recall"), [(1, 1024, 1.0), (512, 1, 0.0)])
def test_reformer_meets_keys_of_its_chunk(buckets: int, chunk: int, recall: float) -> None:
    from mixers import DIM, HEADS, LENGTH, recall_of_reformer

    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, HEADS, LENGTH, DIM)
    assert recall_of_reformer(buckets, chunk, 1, q, k, v) == pytest.approx(recall, abs=0.1)

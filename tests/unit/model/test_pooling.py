"""Test pooling with padding, on sequences and on images of height 1."""

import pytest
import torch

from selfattn_bio.model.pooling import max_pool, pool_mask


def test_group_with_a_token_is_kept():
    mask = torch.tensor([[1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]], dtype=torch.bool)
    assert pool_mask(mask, 3).tolist() == [[True, False, False], [True, True, True]]


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("length", [6, 7])
def test_maximum_ignores_padding(length, image):
    x = -torch.rand(2, 3, length)  # padding must not win with 0
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[0, 4:] = False
    given = x[:, :, None] if image else x
    pooled, pooled_mask = max_pool(given, mask, 3)
    assert torch.equal(pooled_mask, pool_mask(mask, 3))
    pooled = pooled[:, :, 0] if image else pooled
    for row, real in enumerate((4, length)):
        groups = x[row, :, :real].split(3, dim=-1)
        expected = torch.stack([group.amax(-1) for group in groups], -1)
        assert torch.equal(pooled[row, :, : expected.shape[-1]], expected)
        assert not pooled[row, :, expected.shape[-1] :].any()


def test_padding_gets_no_gradient():
    x = torch.randn(2, 3, 9, requires_grad=True)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[0, 4:] = False
    max_pool(x * 1, mask, 3)[0].sum().backward()
    assert not x.grad[0, :, 4:].any()
    assert x.grad.sum() == 3 * 2 + 3 * 3  # one position of each group with a token

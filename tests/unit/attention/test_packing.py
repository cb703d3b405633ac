"""Tests of packing: views of a projection, and gradients with and without a copy."""

import torch
from torch.autograd import gradcheck, gradgradcheck

from selfattn_bio.attention.packing import room_for, split_heads


def test_heads_are_views_of_the_projection():
    packed = torch.arange(2 * 3 * 12.0).reshape(2, 3, 12)
    q, k, v = split_heads(packed, (2, 1, 1), 3)
    assert torch.equal(q, packed[..., :6].unflatten(-1, (2, 3)).transpose(1, 2))
    assert torch.equal(k, packed[..., 6:9][:, None])
    assert torch.equal(v, packed[..., 9:][:, None])
    assert q.data_ptr() == packed.data_ptr()


def test_adjacent_gradients_are_not_copied():
    packed = torch.randn(2, 5, 24, requires_grad=True)
    parts = split_heads(packed, (2, 2, 2), 4)
    grads = room_for(3, parts[0])
    for number, grad in enumerate(grads):
        grad.copy_(torch.randn(2, 2, 5, 4) + number)
    (found,) = torch.autograd.grad(parts, packed, grads)
    assert found.data_ptr() == grads[0].data_ptr()
    assert torch.equal(found, torch.cat(list(grads), 1).transpose(1, 2).flatten(2))


def test_separate_gradients_are_concatenated():
    packed = torch.randn(2, 5, 24, requires_grad=True)
    parts = split_heads(packed, (2, 2, 2), 4)
    room = room_for(3, parts[0])
    for grad in room:
        grad.copy_(torch.randn(2, 2, 5, 4))
    other = room_for(3, parts[0])
    for grad in other:
        grad.copy_(torch.randn(2, 2, 5, 4))
    # the first has the expected strides, the others are transposed views of the same memory
    heads_apart = torch.randn(5 * 2 * 24).as_strided((2, 2, 5, 4), (120, 4, 24, 1), 0)
    transposed = [
        heads_apart,
        *(heads_apart.as_strided((2, 2, 5, 4), (120, 24, 4, 1), offset) for offset in (8, 16)),
    ]
    for grads in (
        [room[1], room[0], room[2]],
        [room[0], room[1], room[2].clone()],
        [room[0], other[1], room[2]],
        transposed,
        [torch.randn(2, 2, 5, 4) for _ in range(3)],
    ):
        (found,) = torch.autograd.grad(parts, packed, grads, retain_graph=True)
        assert torch.equal(found, torch.cat(grads, 1).transpose(1, 2).flatten(2))


def test_derivatives_of_both_orders():
    packed = torch.randn(1, 3, 8, dtype=torch.float64, requires_grad=True)

    def function(x):
        q, k, v = split_heads(x, (2, 1, 1), 2)
        return (q * k).sin() + v

    assert gradcheck(function, packed)
    assert gradgradcheck(function, packed)

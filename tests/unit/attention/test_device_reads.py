"""Count how often the encoder reads from the device: on CUDA, each read waits for the GPU."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from selfattn_bio.attention.inputs import AttentionMask
from selfattn_bio.attention.kernels import flex
from selfattn_bio.attention.patterns import Full, Global, RandomBlocks, Strided, Window
from selfattn_bio.attention.positions import NoPosition, Rotary, Shaw, T5Bias
from selfattn_bio.model.encoder import Encoder

B, L, D, H = 2, 200, 32, 2
# operations whose result is a number, or has a size that depends on the data
READS = {"_local_scalar_dense", "equal", "nonzero", "_unique2", "bincount", "masked_select"}
READS |= {"repeat_interleave"}


class Reads(TorchDispatchMode):
    """Count the operations in READS, and the calls of `tolist`, which is no operation."""

    def __init__(self):
        super().__init__()
        self.number = 0

    def __enter__(self):
        self.patched, tolist = pytest.MonkeyPatch(), torch.Tensor.tolist

        def counted(x):
            self.number += 1
            return tolist(x)

        self.patched.setattr(torch.Tensor, "tolist", counted)
        return super().__enter__()

    def __exit__(self, *error):
        self.patched.undo()
        super().__exit__(*error)

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        self.number += function.overloadpacket.__name__ in READS
        return function(*arguments, **(named or {}))


def batch(kind):
    """Return the tokens (B, L) of a batch."""
    tokens = torch.ones(B, L, dtype=torch.bool)
    tokens[1, 150:] = kind == "full"
    return tokens


def reads(layers, pattern, kernel, position, kind):
    """Return the reads of a forward and backward pass of the encoder."""
    torch.manual_seed(0)
    encoder = Encoder(D, layers, H, pattern=pattern, position=position, kernel=kernel).train()
    x = torch.randn(B, L, D, requires_grad=True)
    with Reads() as found:
        encoder(x, AttentionMask(batch(kind))).square().sum().backward()
    return found.number


def test_reads_are_counted():
    with Reads() as found:
        bool(torch.ones(3).all())
        torch.ones(3).sum().item()
        torch.equal(torch.ones(3), torch.zeros(3))
        torch.ones(3).tolist()
    torch.ones(3).tolist()  # not counted
    assert found.number == 4


@pytest.mark.parametrize("kind", ["full", "ragged"])
@pytest.mark.parametrize(
    ("pattern", "kernel", "position"),
    [
        (Window(9) | Global(1), "reference", T5Bias(H, 8, 16)),
        (Full(), "sdpa", Rotary(D // H)),
        (Window(9), "slab", T5Bias(H, 8, 16)),
        (Window(9, dilation=3) | Global(2), "slab", Shaw(D // H, 5)),
        (Window(9) | Strided(32), "slab", Rotary(D // H)),
        (Window(9) | Global(1) | RandomBlocks(2, 16), "slab", NoPosition()),
    ],
)
def test_reads_do_not_grow_with_the_layers(pattern, kernel, position, kind):
    one, four = (reads(layers, pattern, kernel, position, kind) for layers in (1, 4))
    assert one == four > 0


def test_layers_share_the_blocks_of_flex():
    pattern, mask = Window(9) | RandomBlocks(2, 16), AttentionMask(batch("ragged"))
    with Reads() as found:
        blocks = flex._block_mask(pattern, mask)
    first = found.number
    with Reads() as found:
        assert flex._block_mask(pattern, mask) is blocks
    assert first > found.number == 0

"""Test the convolutional stem: its kernel of inference equals its modules."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from selfattn_bio import config
from selfattn_bio.attention.kernels import band
from selfattn_bio.model.convolution import EmbeddedTokens
from selfattn_bio.model.stem import ConvStem

pytestmark = pytest.mark.skipif(band.unavailable_reason() is not None, reason="no compiled kernel")


def stem_of(dim=96, **settings):
    torch.manual_seed(0)
    section = config.ConvStemSection(token_dim=6, kernel=5, pool=4, second_kernel=3)
    stem = ConvStem(section.model_copy(update=settings), dim, dropout=0.1).eval()
    for tensor in (*stem.parameters(), *stem.buffers()):  # norms are not 1 and 0
        if tensor.dtype == torch.float32:
            nn.init.uniform_(tensor, 0.1, 0.5)
            tensor.data[::2].neg_() if tensor.requires_grad else None
    return stem


def batch_of():
    table, tokens = torch.randn(20, 6), torch.randint(1, 20, (5, 41))
    table[0], tokens[1, 13:], tokens[3, 1:], tokens[4] = 0, 0, 0, 0
    return EmbeddedTokens(tokens, table), tokens != 0


def kernel_calls(monkeypatch):
    """Collect the names of the calls on batches."""
    calls, run = [], band.run_on_tokens
    monkeypatch.setattr(band, "run_on_tokens", lambda *given: calls.append(given[0]) or run(*given))
    return calls


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("settings", [{}, {"second_kernel": 1}, {"pool": 41, "second_kernel": 5}])
def test_stem_of_inference_equals_modules(settings, threads, monkeypatch):
    stem, (x, mask) = stem_of(**settings), batch_of()
    with torch.no_grad():
        expected = stem(x, mask)
    calls, before = kernel_calls(monkeypatch), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            found = stem(x, mask)
    finally:
        torch.set_num_threads(before)
    assert "residual" in calls
    assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("settings", [{"norm": "record"}, {"dim": 16}])
def test_other_stems_are_not_fused(settings, monkeypatch):
    stem, (x, mask), calls = stem_of(**settings), batch_of(), kernel_calls(monkeypatch)
    with torch.inference_mode():
        stem(x, mask)
    assert "residual" not in calls


def test_hooks_of_a_stem_run_in_inference():
    stem, (x, mask), seen = stem_of(), batch_of(), []
    stem.second_act.register_forward_hook(lambda *given: seen.append(given))
    with torch.inference_mode():
        stem(x, mask)
    assert len(seen) == 1

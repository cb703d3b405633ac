import pytest
import torch

from selfattn_bio.attention.dropout import Dropout, dropout


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_has_its_rate_and_keeps_the_mean(p):
    torch.manual_seed(0)
    x = torch.ones(1_000_003)
    y = dropout(x, p)
    assert abs(float((y == 0).float().mean()) - p) < 0.002
    assert abs(float(y.mean()) - 1) < 0.005
    low, high = y.unique().tolist()
    assert low == 0
    assert high == pytest.approx(1 / (1 - p), rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rate_between_two_half_precision_values(dtype):
    """Sample in float32: bfloat16 has 256 steps from 0 to 1, which would round 1/1000 to 1/256."""
    dropped = []
    for each in (torch.float32, dtype):
        torch.manual_seed(0)
        y = dropout(torch.ones(1_000_003, dtype=each), 0.001)
        assert y.dtype == each
        dropped.append(y == 0)
    assert abs(float(dropped[1].double().mean()) - 0.001) < 0.0001
    assert torch.equal(*dropped)


def test_dropout_has_the_gradient_of_its_mask():
    x = torch.randn(37, requires_grad=True, dtype=torch.float64)
    torch.manual_seed(3)
    y = dropout(x, 0.3)
    y.sum().backward()
    assert torch.equal(x.grad * x.detach(), y.detach())


@pytest.mark.parametrize("p", [0.3, 0.99999999])
def test_dropout_works_in_every_memory_layout(p):
    rows = torch.randn(50, 40, 60)
    for x in (rows, rows.transpose(1, 2), rows[:, ::2], rows[:, :1].expand(-1, 40, -1)):
        y = dropout(x, p)
        assert y.shape == x.shape
        assert abs(float((y == 0).float().mean()) - p) < 0.01


def test_dropout_is_off_in_evaluation():
    x = torch.randn(9)
    assert Dropout(0.5).eval()(x) is x


def test_dropout_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"dropout is 1.0; expected a fraction in \[0, 1\)"):
        dropout(torch.ones(3), 1.0)

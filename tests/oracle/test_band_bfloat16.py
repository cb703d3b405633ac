"""Compare the band kernel on bfloat16 tensors with dense attention in float64.

Each test runs with the products in bfloat16, where the CPU has them, and with a build that must
convert to float32.
"""

import shutil

import pytest
import torch
from band_here import assert_agrees, band_attention, drawn, dropout_mask, needs_band, results

from selfattn_bio.attention.attend import attend
from selfattn_bio.attention.kernels import band
from selfattn_bio.attention.kernels.band import build, calls, computed_in
from selfattn_bio.attention.patterns import Global, Window
from selfattn_bio.attention.positions import T5Bias

pytestmark = needs_band

FLAGS = build.CPU_INFO.read_text().split() if build.CPU_INFO.exists() else []


@pytest.fixture(scope="module", params=["products in bfloat16", "converted to float32"])
def path(request):
    """Use the build of this machine, or one for a CPU without products in bfloat16."""
    if request.param == "products in bfloat16":
        if computed_in(torch.bfloat16) == torch.float32:
            pytest.skip("this CPU or compiler has no AVX512-BF16")
        yield
        return
    if shutil.which("g++") is None:
        pytest.skip("no g++ here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXX", "g++ -mno-avx512bf16")
        build._load.cache_clear()
        assert computed_in(torch.bfloat16) == torch.float32
        yield
    build._load.cache_clear()


@pytest.fixture
def products():
    """Skip where the kernel itself cannot multiply bfloat16."""
    if computed_in(torch.bfloat16) == torch.float32:
        pytest.skip("this CPU or compiler has no AVX512-BF16")


def test_cpu_with_the_instructions_uses_them():
    """Fail if the tests below are skipped although the CPU and g++ could run them."""
    expected = torch.bfloat16 if "avx512_bf16" in FLAGS else torch.float32
    assert computed_in(torch.bfloat16) == expected
    assert computed_in(torch.float32) == computed_in(torch.float16) == torch.float32


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize(
    ("left", "right"), [(0, 0), (128, 128), (5, 40), (40, 0), (0, 3), (1000, 1000)]
)
@pytest.mark.parametrize("length", [1, 2, 15, 17, 130, 333])
def test_window_with_bias(length, left, right):
    assert_agrees(*drawn(length, reach=40), torch.bfloat16, left=left, right=right)


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("head_dim", [16, 32, 64])
@pytest.mark.parametrize("reach", [None, 0, 30])
@pytest.mark.parametrize("num_global", [0, 5, 128])
@pytest.mark.parametrize(("left", "right"), [(20, 33), (9, 0)])
def test_global_keys_and_several_spans(head_dim, reach, num_global, left, right, monkeypatch):
    monkeypatch.setattr(calls, "SPAN", 64)
    case = drawn(200, head_dim, reach=reach)
    assert_agrees(*case, torch.bfloat16, left=left, right=right, num_global=num_global)


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("num_global", [0, 5])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_padding_and_dropout(num_global, dropout):
    case = drawn(190, 32, reach=12)
    mask = torch.rand(2, 190) < 0.7
    for some_mask in (None, mask):
        rule = {"left": 20, "right": 11, "num_global": num_global, "mask": some_mask}
        assert_agrees(*case, torch.bfloat16, **rule, dropout=dropout, seed=2**63 + 11)


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("head_dim", [16, 64])
def test_dropout_mask_is_that_of_float32(head_dim):
    length = head_dim
    q, v = torch.zeros(2, 2, length, head_dim), torch.eye(length).expand(2, 2, -1, -1)
    rule = {"left": length, "right": length, "dropout": 0.4, "seed": 5}
    kept = {
        dtype: band_attention(q.to(dtype), q.to(dtype), v.to(dtype), **rule) != 0
        for dtype in (torch.float32, torch.bfloat16)
    }
    assert torch.equal(kept[torch.float32], kept[torch.bfloat16])
    assert torch.equal(kept[torch.float32], dropout_mask(5, 0.4, 2, 2, length))


@pytest.mark.usefixtures("products")
def test_queries_without_keys_and_large_scores():
    projection, bias, grad_out = drawn(70, 32, reach=10)
    mask = torch.zeros(2, 70, dtype=torch.bool)
    mask[1, 5] = True
    for x in results(
        band_attention, projection, bias, grad_out, torch.bfloat16, left=2, right=2, mask=mask
    )[:2]:
        assert not x[0].any()
        assert not x[1, :, :3].any()
    assert_agrees(projection, bias * 20, grad_out, torch.bfloat16, left=8, right=8)


@pytest.mark.usefixtures("products")
def test_results_do_not_depend_on_threads(monkeypatch):
    monkeypatch.setattr(calls, "SPAN", 32)
    case = (*drawn(200, reach=20), torch.bfloat16)
    rule = {"left": 12, "right": 17, "num_global": 9, "dropout": 0.1}
    run, found = band._run, []
    for workers in (1, 2, 3):
        monkeypatch.setattr(
            band,
            "_run",
            lambda *call, workers=workers, **options: run(*call, **{"workers": workers} | options),
        )
        found.append(results(band_attention, *case, **rule))
    for other in found[1:]:
        assert all(torch.equal(x, y) for x, y in zip(other, found[0], strict=True))


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("pattern", [Window(30), Window(20) | Global(3)], ids=str)
def test_attend_on_each_path(pattern):
    """Compare `attend` with `reference`, including the rows of global tokens."""
    torch.manual_seed(0)
    position = T5Bias(2, 16, 40)
    inputs = [
        torch.randn(2, 2, 100, 16, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)
    ]
    grad_out = torch.randn(2, 2, 100, 16, dtype=torch.bfloat16)
    mask = torch.rand(2, 100) < 0.9

    def run(tensors, kernel, gradient):
        out = attend(*tensors, pattern=pattern, position=position, mask=mask, kernel=kernel)
        return out, *torch.autograd.grad(out, [*tensors, *position.parameters()], gradient)

    found = run(inputs, "band", grad_out)
    position.double()
    exact = [x.detach().double().requires_grad_() for x in inputs]
    expected = run(exact, "reference", grad_out.double())
    assert found[0].dtype == found[1].dtype == torch.bfloat16
    for one, other in zip(found, expected, strict=True):
        assert float((one.double() - other).norm().detach()) < 1e-2 * float(other.norm().detach())

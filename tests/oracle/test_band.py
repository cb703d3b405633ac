"""Compare the fused band kernel with dense attention in float64: outputs and gradients.

Tensors are float32 and, where the CPU has products in bfloat16, bfloat16. Also tested: identical
results for any number of threads, and wrong arguments.
"""

import math
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
import torch
from band_here import assert_agrees, band_attention, dense, drawn, dropout_mask, needs_band, results
from torch.testing import assert_close

from selfattn_bio import Encoder
from selfattn_bio.attention.attend import attend
from selfattn_bio.attention.kernels import band
from selfattn_bio.attention.kernels.band import build as native
from selfattn_bio.attention.kernels.band import calls, computed_in, unavailable_reason
from selfattn_bio.attention.kernels.band.variants import SEAL, VARIANTS, command
from selfattn_bio.attention.patterns import Global, RandomBlocks, SampledBlocks, Window
from selfattn_bio.attention.positions import T5Bias

in_bfloat16 = pytest.mark.skipif(
    unavailable_reason() is not None or computed_in(torch.bfloat16) == torch.float32,
    reason="this CPU or compiler has no AVX512-BF16",
)
each_dtype = pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.bfloat16, marks=in_bfloat16)], ids=str
)


@pytest.fixture(scope="module", params=["as it is", *VARIANTS, "clang++"])
def build(request, tmp_path_factory):
    """Use the kernel as compiled here, as in a wheel, and as compiled on other machines.

    Yields the name of the build.
    """
    if unavailable_reason() is not None:
        pytest.skip(f"no band kernel here: {unavailable_reason()}")
    name, folder = request.param, tmp_path_factory.mktemp("wheel")
    compiler = "clang++" if name == "clang++" else "g++"
    if name != "as it is" and shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here")
    with pytest.MonkeyPatch.context() as patch:
        if name in VARIANTS:
            if missing := set(VARIANTS[name]) - set(native._cpu()["flags"].split()):
                pytest.skip(f"this CPU lacks {' and '.join(sorted(missing))}")
            subprocess.run(command([compiler], folder / name), check=True)
            with (folder / name).open("ab") as library:
                library.write(SEAL)
            patch.setattr(native, "SOURCE", folder / "band.cpp")
            patch.setenv("PATH", "")  # no compiler
        elif name == "clang++":
            patch.setenv("CXX", compiler)
        native._load.cache_clear()
        assert unavailable_reason() is None
        yield name
    native._load.cache_clear()


def test_each_build_equals_dense_attention(build, monkeypatch):
    """Repeat some of the tests below for each build."""
    if build in VARIANTS:
        assert native.library().band_tile() == (8 if build == "band-avx2.so" else 16)
        assert native.library().band_bfloat16() == (build == "band-avx512-bf16.so")
    cases = (1, 0, 0, 3), (17, 5, 40, None), (130, 40, 0, 40), (333, 128, 128, 40)
    for length, left, right, radius in cases:
        for dtype in {torch.float32, computed_in(torch.bfloat16)}:
            assert_agrees(*drawn(length, radius=radius), dtype, left=left, right=right)
    monkeypatch.setattr(calls, "SPAN", 48)
    for head_dim in (16, 32, 64):
        projection, bias, grad_out = drawn(200, head_dim, radius=12)
        mask = torch.rand(2, 200) < 0.7
        rule = {"left": 13, "right": 21, "num_global": 5}
        assert_agrees(projection, bias, grad_out, **rule)
        assert_agrees(projection, bias, grad_out, **rule, mask=mask)
        rule = {"left": 30, "right": 0, "num_global": 9, "mask": mask, "dropout": 0.3, "seed": 7}
        assert_agrees(projection, bias, grad_out, **rule)
        rule |= {"right": 21, "sampled": SampledBlocks(3, 16, 1)}
        assert_agrees(projection, bias, grad_out, **rule)
    projection, bias, grad_out = drawn(70, 32, radius=10)
    assert_agrees(projection * 4, bias * 20, grad_out, left=8, right=8)  # weights down to exp(-200)


def test_block_of_each_build_equals_its_modules(build):
    encoder = Encoder(64, 1, 4, position=T5Bias(4), feedforward_dim=96).eval()
    x, mask = torch.randn(3, 41, 64), torch.ones(3, 41, dtype=torch.bool)
    mask[1, 12:] = False
    with torch.no_grad():
        expected = encoder.double()(x.double(), mask)
    with torch.inference_mode():
        found = encoder.float()(x, mask)
    assert (found.double() - expected)[mask].abs().max() < 1e-5


def test_nan_is_kept_by_each_build(build):
    """NaN scores give NaN output and gradients for the same queries as in `dense`.

    Adjacent rows of the same tile may become NaN, too.
    """
    projection, _, grad_out = drawn(60)
    projection[0, 20, 1, 0, 3] = float("nan")  # a key, used by queries 15..25 of head 0
    projection[1, 5, 0, 1, 0] = float("inf")  # a query; softmax turns its infinite scores into NaN
    out, *gradients = results(band_attention, projection, None, grad_out, left=5, right=5)
    expected, *_ = results(dense, projection, None, grad_out, torch.float64, left=5, right=5)
    none = expected.isnan().any(-1)
    assert none.nonzero().tolist() == [*([0, 0, i] for i in range(15, 26)), [1, 1, 5]]
    for x in (out, gradients[0]):
        assert x[none].isnan().all()


@needs_band
@pytest.mark.parametrize(
    ("left", "right"), [(0, 0), (128, 128), (5, 40), (40, 0), (0, 3), (1000, 1000), (7, 5000)]
)
@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 130, 333])
@each_dtype
def test_window_with_bias(length, left, right, dtype):
    assert_agrees(*drawn(length, radius=40), dtype, left=left, right=right)


@needs_band
@pytest.mark.parametrize("head_dim", [16, 32, 64])
@pytest.mark.parametrize("radius", [None, 0, 3, 400])
@each_dtype
def test_head_dim_and_radius_of_the_bias(head_dim, radius, dtype):
    assert_agrees(*drawn(150, head_dim, radius=radius), dtype, left=20, right=33)


@needs_band
@pytest.mark.parametrize("length", [3, 200, 333])
@pytest.mark.parametrize("num_global", [1, 8, 128, 500])
@pytest.mark.parametrize(("left", "right"), [(16, 16), (9, 0), (0, 1)])
@each_dtype
def test_global_keys_count_once(length, num_global, left, right, dtype, monkeypatch):
    monkeypatch.setattr(calls, "SPAN", 64)
    rule = {"left": left, "right": right, "num_global": num_global}
    assert_agrees(*drawn(length, radius=30), dtype, **rule)


@needs_band
@pytest.mark.parametrize("span", [16, 48, 4096])
@each_dtype
def test_more_than_one_span(span, dtype, monkeypatch):
    monkeypatch.setattr(calls, "SPAN", span)
    assert_agrees(*drawn(333, 32, radius=20), dtype, left=13, right=21, num_global=3)


@needs_band
@pytest.mark.parametrize("num_global", [0, 5])
@pytest.mark.parametrize("length", [18, 190])
@each_dtype
def test_padding(length, num_global, dtype):
    projection, bias, grad_out = drawn(length, radius=12)
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[0, length // 2 :] = False
    mask[1] = torch.rand(length) < 0.7
    for some_mask in (None, mask):
        rule = {"left": 20, "right": 11, "num_global": num_global, "mask": some_mask}
        assert_agrees(projection, bias, grad_out, dtype, **rule)


@needs_band
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("num_global", [0, 1, 40])
@pytest.mark.parametrize("length", [1, 130, 700])
@pytest.mark.parametrize(("right", "block"), [(0, 16), (9, 48), (90, 64)])
@each_dtype
def test_sampled_blocks_and_global_rows(right, block, length, num_global, padded, dtype):
    """Blocks overlap the window, the global keys and each other; the last one is incomplete."""
    mask = torch.ones(2, length, dtype=torch.bool)
    if padded:  # lengths differ, and so do the sampled blocks
        mask[0], mask[1, length // 2 :] = torch.rand(length) < 0.8, False
    rule = {"left": 9, "right": right, "num_global": num_global, "mask": mask}
    rule |= {"sampled": SampledBlocks(3, block, 1, causal=right == 0)}
    case = drawn(length, 32, radius=20)
    assert_agrees(*case, dtype, **rule, dropout=0.3 if padded else 0.0)


@needs_band
def test_query_without_keys():
    projection, bias, grad_out = drawn(40, radius=4)
    mask = torch.zeros(2, 40, dtype=torch.bool)
    mask[1, 5] = True  # queries 3, ..., 7 of the second sequence have one key
    out, grad_q, grad_k, grad_v, grad_bias = results(
        band_attention, projection, bias, grad_out, left=2, right=2, mask=mask
    )
    assert not out[0].any()
    assert not out[1, :, :3].any()
    assert_close(out[1, :, 3:8], projection[1, 5, 2][:, None].expand(-1, 5, -1), atol=1e-6, rtol=0)
    for grad in (grad_q, grad_k, grad_bias):  # with a single key, scores have no effect
        assert_close(grad, torch.zeros_like(grad), atol=1e-5, rtol=0)
    assert not grad_v[0].any()
    assert_close(grad_v[1, :, 5], grad_out[1, :, 3:8].sum(dim=1), atol=1e-5, rtol=0)


@needs_band
@pytest.mark.parametrize("seed", [0, 2**63 + 11])
@each_dtype
def test_dropout(seed, dtype):
    mask, rule = torch.rand(2, 140) < 0.8, {"left": 30, "right": 18, "num_global": 4, "seed": seed}
    assert_agrees(*drawn(140, 32, radius=9), dtype, dropout=0.3, **rule)
    assert_agrees(*drawn(140, 32), dtype, dropout=0.6, mask=mask, **rule)


@in_bfloat16
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


def test_dropout_mask_keeps_its_rate_along_every_axis():
    kept = dropout_mask(7, 0.3, 2, 2, 300).double()
    for dim in range(4):
        share = kept.mean(dim=[d for d in range(4) if d != dim])
        # five standard deviations
        assert ((share - 0.7).abs() < 5 * math.sqrt(0.3 * 0.7 * share.numel() / kept.numel())).all()
    flat = kept.flatten(0, 1) - 0.7
    for other in (flat.roll(1, 0), flat.roll(1, 1), flat.roll(1, 2), flat.roll((1, 1), (1, 2))):
        assert abs(float((flat * other).mean())) < 0.002  # adjacent positions are independent
    assert not torch.equal(dropout_mask(8, 0.3, 1, 1, 300), dropout_mask(7, 0.3, 1, 1, 300))
    assert dropout_mask(1, 0.0, 1, 1, 50).all()


@needs_band
@each_dtype
def test_large_scores(dtype):
    projection, bias, grad_out = drawn(70, 32, radius=10)
    size = 4 if dtype == torch.float32 else 1
    assert_agrees(projection * size, bias * 20, grad_out, dtype, left=8, right=8)


@needs_band
def test_strides():
    projection, _, _ = drawn(70, 32)
    q, k, v = projection.permute(2, 0, 3, 1, 4)
    want = band_attention(q, k, v, left=8, right=8)
    assert torch.equal(
        band_attention(q.mT.contiguous().mT, k.contiguous(), v, left=8, right=8), want
    )
    repeated = band_attention(q[:, :1].expand(-1, 2, -1, -1), k, v, left=8, right=8)
    assert torch.equal(repeated[:, :1], want[:, :1])


@needs_band
@pytest.mark.parametrize("sampled", [None, SampledBlocks(2, 16, 0)], ids=str)
@each_dtype
def test_results_do_not_depend_on_threads(dtype, sampled, monkeypatch):
    monkeypatch.setattr(calls, "SPAN", 32)
    case = (*drawn(200, radius=20), dtype)
    rule = {"left": 12, "right": 17, "num_global": 9, "dropout": 0.1, "sampled": sampled}
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            found.append(results(band_attention, *case, **rule))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(x, y) for x, y in zip(other, found[0], strict=True))


def until(holds):
    """Wait until `holds` returns True, for at most 5 s."""
    end = time.monotonic() + 5
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)


def main_thread_waits():
    """Return whether the main thread has submitted all jobs and waits for results."""
    frame = sys._current_frames()[threading.main_thread().ident]
    while frame is not None and frame.f_code is not Future.result.__code__:
        frame = frame.f_back
    return frame is not None


@pytest.mark.parametrize("interrupts", [1, 2])
def test_interrupt_leaves_no_thread_using_freed_memory(monkeypatch, interrupts):
    """Memory of the tensors is freed only after all threads have ended.

    Two threads work until no span is left and finish their last span. Meanwhile the user presses
    Ctrl-C, once or twice.
    """
    started, enough, ended = threading.Barrier(2), threading.Event(), []

    def work(reference):
        call = reference._obj
        first = started.wait(10) == 0
        until(main_thread_waits)
        for _ in range(interrupts if first else 0):
            # a signal just before the main thread waits for a lock is only handled after the wait
            time.sleep(0.5)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            until(lambda: call.next[0] == band.NO_MORE)
        until(lambda: call.next[0] == band.NO_MORE)
        enough.wait(0.3 if interrupts == 1 else 10)
        ended.append(call.next[0])
        return 0

    monkeypatch.setattr(band, "library", lambda: SimpleNamespace(work=work))
    call, lse = calls.Call(), torch.zeros(9)
    call.point(lse=lse)
    alive = weakref.ref(lse)
    # shells ignore SIGINT in background jobs
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            band._run("work", call, workers=2)
    finally:
        signal.signal(signal.SIGINT, before)
    del lse, call
    if interrupts == 1:
        assert len(ended) == 2
    else:  # the threads were not waited for, and their tensors still exist
        assert not ended
        assert alive() is not None
        enough.set()
    until(lambda: alive() is None)
    assert ended == [band.NO_MORE] * 2
    assert alive() is None


@needs_band
def test_bias_without_gradient():
    projection, bias, _ = drawn(30, radius=5)
    q, k, v = projection.requires_grad_().permute(2, 0, 3, 1, 4)
    band_attention(q, k, v, left=4, right=4, bias=bias).sum().backward()
    assert projection.grad is not None
    assert bias.grad is None


DOUBLE, OTHER = torch.zeros(1, 2, 9, 16).double(), torch.zeros(1, 2, 8, 16)
EXPECTED = "; expected torch.float32 and (1, 2, 9, 16) on the CPU"
WRONG = [
    ({"left": -1}, "left is -1; expected at least 0"),
    ({"num_global": -2}, "num_keys is -2; expected at least 0"),
    ({"v": DOUBLE}, "v has type torch.float64 and shape (1, 2, 9, 16) on cpu" + EXPECTED),
    ({"k": OTHER}, "k has type torch.float32 and shape (1, 2, 8, 16) on cpu" + EXPECTED),
    (
        {"bias": torch.zeros(2, 4)},
        "bias has type torch.float32 and shape (2, 4) on cpu; expected torch.float32 and "
        "(H, 2 M + 1) with H = 2 on the CPU",
    ),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_wrong_arguments(change, message):
    x = torch.zeros(1, 2, 9, 16)
    arguments = {"q": x, "k": x, "v": x, "left": 1, "right": 1} | change
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the text is compared
        band_attention(**arguments)
    assert str(raised.value) == message


def test_cpu_with_the_instructions_uses_them():
    """Fail if tests in bfloat16 are skipped although the CPU and g++ could run them."""
    flags = native.CPU_INFO.read_text().split() if native.CPU_INFO.exists() else []
    expected = torch.bfloat16 if "avx512_bf16" in flags else torch.float32
    assert computed_in(torch.bfloat16) == expected
    assert computed_in(torch.float32) == computed_in(torch.float16) == torch.float32


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
        native._load.cache_clear()
        assert computed_in(torch.bfloat16) == torch.float32
        yield
    native._load.cache_clear()


@needs_band
@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(
    "pattern",
    [Window(30), Window(20) | Global(3), Window(9) | Global(3) | RandomBlocks(2, 16)],
    ids=str,
)
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

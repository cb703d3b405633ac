"""Targets of `attention_speed`: their bounds, and the operations that they count."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from peers import DIM, FEEDFORWARD, KERNELS_OF_WINDOWS, LAYERS, WINDOW, keys_of_bigbird

# whether the CPU multiplies tiles of bfloat16, which has its own bounds
AMX = "amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
GEMM = 1024  # rows and columns of the reference matrix product
OURS = [f"ours, {kernel}, T5" for kernel in KERNELS_OF_WINDOWS]


class Size(NamedTuple):
    """The amount of measurements; `layers` has pairs of length and rounds."""

    layers: tuple[tuple[int, int], ...] = ((2048, 5), (8192, 3), (32768, 3))
    dense_up_to: int = 8192
    middle: int = 8192
    far: int = 131072
    far_rounds: int = 3
    step: int = 8192
    step_rounds: int = 3
    batch: int = 16


QUICK = Size(((1024, 3),), 1024, 1024, 4096, 3, 1024, 3, 4)


class Target(NamedTuple):
    """A target: its bound, the value of each setting, and the value that is reachable.

    Reachable is the value of a kernel that only multiplies, at the rate of the GEMM.
    """

    what: str
    bound: float
    at_least: bool
    values: dict[str, float]
    reachable: dict[str, float]

    def worst(self) -> tuple[str, float]:
        """Return the setting with the worst value, and the value."""
        return (min if self.at_least else max)(self.values.items(), key=lambda item: item[1])

    def row(self) -> list[str]:
        """Return the cells of the printed row."""
        bound = f"{'>=' if self.at_least else '<='} {self.bound:g}"
        if not self.values:
            return [self.what, bound, "-", "-", "-", "not measured"]
        setting, value = self.worst()
        met = value >= self.bound if self.at_least else value <= self.bound
        reachable = f"{self.reachable[setting]:.3g}" if self.reachable else "-"
        return [self.what, bound, f"{value:.3g}", reachable, setting, "yes" if met else "NO"]


# Floating-point operations per token, forward and backward. The backward pass of a product takes
# two products, for the gradients of its input and of its weights.
PROJECTIONS = 3 * 2 * 4 * DIM**2
BLOCK = PROJECTIONS + 3 * 2 * 2 * DIM * FEEDFORWARD  # without attention


def pairs(keys: float) -> float:
    """Return the operations of attention to `keys` keys: two products forward, four backward."""
    return 6 * 2 * DIM * keys


def keys_of_window(length: int) -> float:
    """Return the mean number of keys per query in the window."""
    window = min(WINDOW, length - 1)
    return 2 * window + 1 - window * (window + 1) / length


class Bounds(NamedTuple):
    """Bounds of a target in float32, and in bfloat16 on a CPU with AVX512-BF16 or with AMX.

    NaN: no target.
    """

    float32: float
    avx512_bf16: float = math.nan
    amx: float = math.nan

    def of(self, precision: str) -> float:
        """Return the bound on this machine."""
        if precision == "float32":
            return self.float32
        return self.amx if AMX else self.avx512_bf16


class Ratio(NamedTuple):
    """A target: the fastest time of `slow` divided by the fastest time of `fast`.

    `flop` is the number of operations per token of `fast`.
    """

    bounds: Bounds
    slow: str
    fast: str
    flop: float


PEERS = {
    "local-attention": ["local-attention", "local-attention, rotary"],
    "best of local-attention, HF Longformer": [
        "local-attention",
        "local-attention, rotary",
        "HF Longformer",
    ],
    "band": ["ours, band, T5"],
    "slab": ["ours, slab, T5"],
    "BigBird pattern": ["ours, BigBird pattern"],
    "ours": OURS,
}


def layer_ratios(length: int) -> list[Ratio]:
    """Return the targets of one layer."""
    flop = PROJECTIONS + pairs(keys_of_window(length))
    return [
        Ratio(Bounds(2.5, 3, 5), "local-attention", "band", flop),
        Ratio(Bounds(5, 6, 10), "HF Longformer", "band", flop),
        Ratio(Bounds(20, 30, 45), "dense SDPA", "band", flop),
        Ratio(Bounds(2.5), "local-attention", "slab", flop),
        Ratio(Bounds(5), "HF Longformer", "slab", flop),
        Ratio(
            Bounds(4, 5, 8),
            "HF BigBird",
            "BigBird pattern",
            PROJECTIONS + pairs(keys_of_bigbird(length)),
        ),
    ]


def step_ratios(length: int) -> list[Ratio]:
    """Return the targets of a training step over one long sequence."""
    near, drawn = keys_of_window(length), keys_of_bigbird(length)
    best = "best of local-attention, HF Longformer"
    return [
        Ratio(Bounds(1.5, 2.5, 3), best, "ours", LAYERS * (BLOCK + pairs(near))),
        Ratio(Bounds(1, 1, 1), "HF BigBird", "BigBird pattern", LAYERS * (BLOCK + pairs(drawn))),
    ]


def short_ratios() -> list[Ratio]:
    """Return the targets of a training step over a batch of 300 tokens."""
    return [
        Ratio(Bounds(1.1, 1.4, 1.5), peer, f"ours, {name}", LAYERS * (BLOCK + pairs(keys)))
        for name, keys in (("all pairs", 300.0), (f"window {WINDOW}", keys_of_window(300)))
        for peer in ("HF BERT", "HF ESM")
    ]


def names_of(side: str) -> list[str]:
    """Return the rows of the tables that one side of a ratio means."""
    of, _, variant = side.partition(", ")
    if side in PEERS:
        return PEERS[side]
    return [f"{name}, {variant}" for name in OURS] if of == "ours" else [side]


def precision_of(setting: str) -> str:
    """Return "float32" or "bfloat16"."""
    return "bfloat16" if setting.startswith("bfloat16") else "float32"


def targets(size: Size, rows: pd.DataFrame, figures: dict[str, dict[str, float]]) -> list[Target]:
    """Return all targets; `figures` are by setting, with memory under "memory".

    Peers have their fastest setting: of all settings, or of those in float32 for a target in
    float32.
    """
    found = []
    for precision in ("float32", "bfloat16"):
        own = rows[rows["setting"].map(precision_of) == precision]
        peers = own if precision == "float32" else rows
        some = {name: each for name, each in figures.items() if precision_of(name) == precision}
        found += targets_in(precision, size, own, peers, some)
    return [each for each in found if not math.isnan(each.bound)]


def targets_in(
    precision: str,
    size: Size,
    rows: pd.DataFrame,
    peers: pd.DataFrame,
    figures: dict[str, dict[str, float]],
) -> list[Target]:
    """Return the targets of one precision."""
    times = rows.set_index(["setting", "table", "length", "name"]).sort_index()["total"]
    fastest = peers.groupby(["table", "length", "name"])["total"].min()
    settings = rows["setting"].unique()

    def evaluated(ratio: Ratio, title: str, table: str, length: int) -> Target:
        values, reachable = {}, {}
        slow = fastest[table, length]
        slow = slow[slow.index.intersection(names_of(ratio.slow))].min()
        for setting in settings:
            at = times[setting, table, length]
            fast = at.index.intersection(names_of(ratio.fast))
            if len(fast):
                values[setting] = slow / at[fast].min()
                reachable[setting] = slow / at_peak(ratio.flop, figures[setting])
        what = f"{title}: {ratio.slow} / {ratio.fast}"
        return Target(f"{what}, {precision}", ratio.bounds.of(precision), True, values, reachable)

    layer, step = f"layer, {size.middle:,}", f"step, {size.step:,}"
    steps = {setting: times[setting, "step", size.step] for setting in settings}
    return [
        *(evaluated(each, layer, "layer", size.middle) for each in layer_ratios(size.middle)),
        *figure_targets(precision, size, figures),
        *(evaluated(each, step, "step", size.step) for each in step_ratios(size.step)),
        floor_target(precision, size, steps, figures),
        *(evaluated(each, "step of 300", "step", 300) for each in short_ratios()),
    ]


def figure_targets(
    precision: str, size: Size, figures: dict[str, dict[str, float]]
) -> list[Target]:
    """Return the targets of attention alone, long sequences and memory, by kernel."""
    timed = {setting: each for setting, each in figures.items() if setting != "memory"}
    found = []
    for kernel in KERNELS_OF_WINDOWS:
        if kernel == "band":
            rates = {
                name: of["core band Gflop/s"] / of["GEMM Gflop/s"] for name, of in timed.items()
            }
            best, bound = dict.fromkeys(rates, 1.0), Bounds(0.7, 0.5, 0.35).of(precision)
            what = f"band alone / GEMM, flop/s, {precision}"
            found.append(Target(what, bound, True, rates, best))
        at, far = (f"{kernel} us/token at {length}" for length in (size.middle, size.far))
        growth = {name: of[far] / of[at] for name, of in timed.items()}
        what = f"{kernel}: us/token at {size.far:,} / at {size.middle:,}, {precision}"
        found.append(Target(what, 1.2, False, growth, dict.fromkeys(growth, 1.0)))
        for what, key in (
            (f"{kernel}: KiB/token per layer at {size.far:,}", f"{kernel} KiB/token"),
            (f"{kernel}: peak GiB, step of 4 layers at {size.far:,}", f"{kernel} step GiB"),
        ):
            if "memory" in figures:  # measured in float32
                found.append(Target(what, 8, False, {"memory": figures["memory"][key]}, {}))
    return found


def floor_target(
    precision: str, size: Size, steps: dict[str, pd.Series], figures: dict[str, dict[str, float]]
) -> Target:
    """Return the target of a step compared with one without attention."""
    values, best = {}, {}
    for setting, at in steps.items():
        floor = at["floor: no attention"]
        values[setting] = at[at.index.intersection(OURS)].min() / floor
        flop = LAYERS * pairs(keys_of_window(size.step))
        best[setting] = 1 + at_peak(flop, figures[setting]) / floor
    bound = Bounds(1.35, 1.35, 1.4).of(precision)
    what = f"step, {size.step:,}: ours / floor, {precision}"
    return Target(what, bound, False, values, best)


def at_peak(flop: float, figures: dict[str, float]) -> float:
    """Return the microseconds of `flop` operations at the rate of the GEMM."""
    return flop / figures["GEMM Gflop/s"] / 1000

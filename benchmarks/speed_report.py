"""Report of `attention_speed`: the targets, the tables in Markdown and the plot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import fill
from typing import NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
from peers import DIM, FEEDFORWARD, HEADS, KERNELS_OF_WINDOWS, LAYERS, WINDOW, keys_of_bigbird

DISTURBED = 1.15  # a larger ratio of two times of one layer means that the machine was not idle
GEMM = 1024  # rows and columns of the reference matrix product
OURS = [f"ours, {kernel}, T5" for kernel in KERNELS_OF_WINDOWS]


# ------------ targets
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


def targets(size: Size, rows: pd.DataFrame, figures: dict[str, dict[str, float]]) -> list[Target]:
    """Return all targets; `figures` are by setting, with memory under "memory"."""
    times = rows.set_index(["setting", "table", "length", "name"]).sort_index()["total"]
    found = []

    def ratio(
        what: str,
        bound: float,
        table: str,
        length: int,
        slow: list[str],
        fast: list[str],
        flop: float,
    ) -> None:
        """Add the ratio of the fastest of `slow` to the fastest of `fast` (`flop` per token)."""
        values, reachable = {}, {}
        for setting in rows["setting"].unique():
            at = times[setting, table, length]
            if set(fast) & set(at.index):
                values[setting] = (
                    at[at.index.intersection(slow)].min() / at[at.index.intersection(fast)].min()
                )
                reachable[setting] = at[at.index.intersection(slow)].min() / at_peak(
                    flop, figures[setting]
                )
        found.append(Target(what, bound, True, values, reachable))

    def figure(
        what: str,
        bound: float,
        at_least: bool,
        value: Callable[[dict[str, float]], float],
        best: float | None = None,
        memory: bool = False,
    ) -> None:
        values = {
            setting: value(each)
            for setting, each in figures.items()
            if (setting == "memory") == memory
        }
        found.append(
            Target(
                what, bound, at_least, values, {} if best is None else dict.fromkeys(values, best)
            )
        )

    local, band, slab = (
        ["local-attention", "local-attention, rotary"],
        ["ours, band, T5"],
        ["ours, slab, T5"],
    )
    middle, step = size.middle, size.step
    near = pairs(keys_of_window(middle))
    layer, drawn = PROJECTIONS + near, PROJECTIONS + pairs(keys_of_bigbird(middle))
    ratio(f"layer, {middle:,}: local-attention / band", 4, "layer", middle, local, band, layer)
    ratio(
        f"layer, {middle:,}: HF Longformer / band",
        8,
        "layer",
        middle,
        ["HF Longformer"],
        band,
        layer,
    )
    ratio(f"layer, {middle:,}: dense SDPA / band", 20, "layer", middle, ["dense SDPA"], band, layer)
    ratio(f"layer, {middle:,}: local-attention / slab", 2.5, "layer", middle, local, slab, layer)
    ratio(
        f"layer, {middle:,}: HF Longformer / slab",
        5,
        "layer",
        middle,
        ["HF Longformer"],
        slab,
        layer,
    )
    ratio(
        f"layer, {middle:,}: HF BigBird / BigBird pattern",
        4,
        "layer",
        middle,
        ["HF BigBird"],
        ["ours, BigBird pattern"],
        drawn,
    )
    for kernel in KERNELS_OF_WINDOWS:
        if kernel == "band":
            figure(
                "band alone / GEMM, flop/s",
                0.5,
                True,
                lambda each: each["core band Gflop/s"] / each["GEMM Gflop/s"],
                1,
            )
        at, far = (f"{kernel} us/token at {length}" for length in (middle, size.far))
        figure(
            f"{kernel}: us/token at {size.far:,} / at {middle:,}",
            1.2,
            False,
            lambda each, at=at, far=far: each[far] / each[at],
            1,
        )
        what = f"{kernel}: KiB/token per layer at {size.far:,}"
        figure(what, 8, False, lambda each, name=kernel: each[f"{name} KiB/token"], memory=True)
        figure(
            f"{kernel}: peak GiB, step of 4 layers at {size.far:,}",
            8,
            False,
            lambda each, k=kernel: each[f"{k} step GiB"],
            memory=True,
        )
    whole, peers = LAYERS * (BLOCK + pairs(keys_of_window(step))), [*local, "HF Longformer"]
    ratio(
        f"step, {step:,}: best of local-attention, HF Longformer / ours",
        3.5,
        "step",
        step,
        peers,
        OURS,
        whole,
    )
    whole = LAYERS * (BLOCK + pairs(keys_of_bigbird(step)))
    ratio(
        f"step, {step:,}: HF BigBird / BigBird pattern",
        1,
        "step",
        step,
        ["HF BigBird"],
        ["ours, BigBird pattern"],
        whole,
    )
    floors, best = {}, {}
    for setting in rows["setting"].unique():
        at, floor = (
            times[setting, "step", step],
            times[setting, "step", step]["floor: no attention"],
        )
        floors[setting] = at[at.index.intersection(OURS)].min() / floor
        best[setting] = 1 + at_peak(LAYERS * pairs(keys_of_window(step)), figures[setting]) / floor
    found.append(Target(f"step, {step:,}: ours / floor", 1.35, False, floors, best))
    for name, keys in (("all pairs", 300.0), (f"window {WINDOW}", keys_of_window(300))):
        ours, whole = [f"{each}, {name}" for each in OURS], LAYERS * (BLOCK + pairs(keys))
        ratio(f"step of 300: HF BERT / ours, {name}", 1.35, "step", 300, ["HF BERT"], ours, whole)
        ratio(f"step of 300: HF ESM / ours, {name}", 1.35, "step", 300, ["HF ESM"], ours, whole)
    return found


def at_peak(flop: float, figures: dict[str, float]) -> float:
    """Return the microseconds of `flop` operations at the rate of the GEMM."""
    return flop / figures["GEMM Gflop/s"] / 1000


# ------------ text
def aligned(lines: list[list[str]]) -> str:
    """Format a Markdown table with aligned columns; the first line is the header."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    body = [
        [
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    body.insert(1, ["-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)])
    return "\n".join(f"| {' | '.join(line)} |" for line in body)


def time_table(rows: pd.DataFrame, table: str, length: int) -> str:
    """Format one length of a table, with names as rows and settings as columns.

    Cells are us/token (forward / forward and backward), or thousand tokens per second.
    """
    rows = rows[(rows["table"] == table) & (rows["length"] == length)]
    settings = list(dict.fromkeys(rows["setting"]))
    cells = {}
    for row in rows.itertuples():
        shown = (
            f"{row.forward:.1f} / {row.total:.1f}"
            if table == "layer"
            else f"{1000 / row.total:.1f}"
        )
        cells[row.name, row.setting] = shown
    return aligned(
        [
            ["", *settings],
            *(
                [name, *(cells[name, setting] for setting in settings)]
                for name in dict.fromkeys(rows["name"])
            ),
        ]
    )


def figure_table(figures: dict[str, dict[str, float]]) -> str:
    """Format GEMM, attention alone and long sequences, with settings as columns."""
    settings = [setting for setting in figures if setting != "memory"]
    names = list(figures[settings[0]])
    return aligned(
        [
            ["", *settings],
            *([name, *(f"{figures[setting][name]:.1f}" for setting in settings)] for name in names),
        ]
    )


def memory_table(figures: dict[str, float]) -> str:
    """Format the peaks of memory."""
    return aligned(
        [["peak memory", ""], *([name, f"{value:.1f}"] for name, value in figures.items())]
    )


def malloc_table(rows: pd.DataFrame, length: int) -> str:
    """Format how many times faster each layer is with the other settings."""
    layer = rows[(rows["table"] == "layer") & (rows["length"] == length)]
    settings = list(dict.fromkeys(layer["setting"]))
    times = layer.pivot_table(index="name", columns="setting", values="total").loc[
        list(dict.fromkeys(layer["name"]))
    ]
    lines = [
        [name, *(f"{line[settings[0]] / line[setting]:.2f}x" for setting in settings[1:])]
        for name, line in times.iterrows()
    ]
    return aligned([[f"faster than with {settings[0]}", *settings[1:]], *lines])


def disturbed(size: Size, rows: pd.DataFrame, figures: dict[str, dict[str, float]]) -> str:
    """Return a warning for layers whose two times in one process differ too much, or "".

    Such differences come from other work on the machine.
    """
    times = rows[rows["table"] == "layer"].set_index(["setting", "length", "name"])["total"]
    lines = []
    for setting in rows["setting"].unique():
        for kernel in KERNELS_OF_WINDOWS:
            one, other = (
                times[setting, size.middle, f"ours, {kernel}, T5"],
                figures[setting][f"{kernel} us/token at {size.middle}"],
            )
            if max(one, other) > DISTURBED * min(one, other):
                times_of = f"{setting}: {kernel} took {one:.1f} and {other:.1f} us per token"
                lines.append(f"**Disturbed: {times_of}. Measure again on an idle machine.**")
    return "\n".join(lines)


def limits(size: Size, figures: dict[str, dict[str, float]]) -> str:
    """Explain the limit that the processor sets."""
    near, gemm = (
        pairs(keys_of_window(size.middle)),
        [each["GEMM Gflop/s"] for name, each in figures.items() if name != "memory"],
    )
    bounds = [
        at_peak(PROJECTIONS + near, each) for name, each in figures.items() if name != "memory"
    ]
    taken = [
        each[f"{KERNELS_OF_WINDOWS[0]} us/token at {size.middle}"]
        for name, each in figures.items()
        if name != "memory"
    ]
    words = f"""The bounds were set on a processor (Zen 5) whose float32 product of {GEMM:,} x
    {GEMM:,} runs at 240 Gflop/s; here it runs at {_span(gemm, ".0f")}. Forward and backward of one
    layer take {PROJECTIONS / 1000:.0f} kflop per token for the projections and {near / 1000:.0f}
    for the pairs within the window, each score computed once. At the rate of the product the layer
    would take {_span(bounds, ".1f")} us per token; {KERNELS_OF_WINDOWS[0]} takes
    {_span(taken, ".1f")}. "Reachable here" is the peer's time divided by the time at that rate, in
    the setting of the row: no float32 kernel can exceed it."""
    return fill(" ".join(words.split()), 140)


def _span(values: list[float], form: str) -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


def summary(size: Size, rows: pd.DataFrame, figures: dict[str, dict[str, float]]) -> str:
    """Summarise time and memory of the band kernel in one paragraph, or "" if it cannot run."""
    kernel, found = "band", targets(size, rows, figures)
    if kernel not in KERNELS_OF_WINDOWS:
        return ""
    worst = {target.what: f"{target.worst()[1]:.3g}" for target in found if target.values}
    near, far = (
        _span(
            [
                each[f"{kernel} us/token at {length}"]
                for name, each in figures.items()
                if name != "memory"
            ],
            ".1f",
        )
        for length in (size.middle, size.far)
    )
    dense, local, longformer = (
        worst[f"layer, {size.middle:,}: {peer} / {kernel}"]
        for peer in ("dense SDPA", "local-attention", "HF Longformer")
    )
    peak = worst[f"{kernel}: peak GiB, step of 4 layers at {size.far:,}"]
    words = f"""With a window of {WINDOW} tokens to each side and the kernel `{kernel}`, forward and
    backward of one layer take {near} us per token at {size.middle:,} tokens and {far} at
    {size.far:,}. At {size.middle:,} tokens, in the worst of four settings, this is {dense} times as
    fast as dense attention, {local} times as fast as local-attention and {longformer} times as fast
    as HF Longformer. A training step of {LAYERS} layers over {size.far:,} tokens needs {peak}
    GiB."""
    return fill(" ".join(words.split()), 140)


def report(
    size: Size,
    rows: pd.DataFrame,
    figures: dict[str, dict[str, float]],
    differences: dict[str, float],
    parameters: dict[str, int],
) -> str:
    """Format all tables in Markdown."""
    layers = rows[rows["table"] == "layer"]["length"].unique()
    steps = rows[rows["table"] == "step"][["length", "batch"]].drop_duplicates().to_numpy()
    promises = aligned(
        [
            ["target", "bound", "worst", "reachable here", "setting", "met"],
            *(target.row() for target in targets(size, rows, figures)),
        ]
    )
    sizes = f"embed_dim {DIM}, {HEADS} heads, window {WINDOW} to each side, float32"
    parts = [
        *filter(None, [disturbed(size, rows, figures)]),
        "## Targets\n\nTargets are ratios of times unless they have a unit. `worst` is the worst "
        "measurement of the four settings, with the faster variant of each peer. BERT and ESM "
        "compute all pairs; a window computes fewer.\n\n" + promises,
        "## Limits of the processor\n\n" + limits(size, figures),
        *(
            f"## One layer, {length:,} tokens\n\nMicroseconds per token, forward / forward and "
            f"backward; {sizes}, batch 1.\n\n" + time_table(rows, "layer", length)
            for length in layers
        ),
        "## Effect of the settings\n\n" + malloc_table(rows, size.middle),
        *(
            f"## Training step, {length:,} tokens, batch {batch}\n\nThousand tokens per second; 4 "
            "layers, feed-forward 512, AdamW.\n\n" + time_table(rows, "step", length)
            for length, batch in steps
        ),
        "## Attention alone, long sequences\n\n" + figure_table(figures),
        f"## Memory\n\nMiB: memory added by forward and backward of one layer at {size.middle:,} "
        "tokens. "
        f"KiB/token and step: at {size.far:,}.\n\n" + memory_table(figures["memory"]),
        "## Same work\n\nLargest relative error of output and input gradient, compared with dense "
        "masked attention with the same weights: "
        + ", ".join(f"{name} {value:.0e}" for name, value in differences.items())
        + ".\n\nParameters of the encoders, in thousands: "
        + ", ".join(f"{name} {number / 1000:.1f}" for name, number in parameters.items())
        + f".\n\nKeys per query, BigBird: ours {keys_of_bigbird(size.middle):.0f} on average, "
        "Hugging Face's 512.",
    ]
    return "\n\n".join(parts) + "\n"


def plot(rows: pd.DataFrame, setting: str, path: Path) -> None:
    """Plot us/token of forward and backward by length, on logarithmic axes."""
    layer = rows[(rows["table"] == "layer") & (rows["setting"] == setting)]
    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    axes.set_prop_cycle(
        color=plt.get_cmap("tab20").colors[::2] + plt.get_cmap("tab20").colors[1::2]
    )
    for name, line in layer.groupby("name", sort=False):
        axes.loglog(
            line["length"],
            line["total"],
            "o-",
            lw=2.5 if name.startswith("ours") else 1.2,
            label=name,
        )
    axes.set(
        xlabel="tokens",
        ylabel="us/token, forward and backward",
        title=f"One layer, one thread; {setting}",
    )
    lengths = sorted(layer["length"].unique())
    axes.set_xticks(lengths, [f"{length:,}" for length in lengths], minor=False)
    axes.minorticks_off()
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=150)
    plt.close(figure)

"""Report of `attention_speed`: the targets, the tables in Markdown and the plot."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
from harness import aligned
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


class Ratio(NamedTuple):
    """A target: the fastest time of `slow` divided by the fastest time of `fast`.

    `flop` is the number of operations per token of `fast`.
    """

    bound: float
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
        Ratio(4, "local-attention", "band", flop),
        Ratio(8, "HF Longformer", "band", flop),
        Ratio(20, "dense SDPA", "band", flop),
        Ratio(2.5, "local-attention", "slab", flop),
        Ratio(5, "HF Longformer", "slab", flop),
        Ratio(4, "HF BigBird", "BigBird pattern", PROJECTIONS + pairs(keys_of_bigbird(length))),
    ]


def step_ratios(length: int) -> list[Ratio]:
    """Return the targets of a training step over one long sequence."""
    near, drawn = keys_of_window(length), keys_of_bigbird(length)
    best = "best of local-attention, HF Longformer"
    return [
        Ratio(3.5, best, "ours", LAYERS * (BLOCK + pairs(near))),
        Ratio(1, "HF BigBird", "BigBird pattern", LAYERS * (BLOCK + pairs(drawn))),
    ]


def short_ratios() -> list[Ratio]:
    """Return the targets of a training step over a batch of 300 tokens."""
    return [
        Ratio(1.35, peer, f"ours, {name}", LAYERS * (BLOCK + pairs(keys)))
        for name, keys in (("all pairs", 300.0), (f"window {WINDOW}", keys_of_window(300)))
        for peer in ("HF BERT", "HF ESM")
    ]


def names_of(side: str) -> list[str]:
    """Return the rows of the tables that one side of a ratio means."""
    of, _, variant = side.partition(", ")
    if side in PEERS:
        return PEERS[side]
    return [f"{name}, {variant}" for name in OURS] if of == "ours" else [side]


def targets(size: Size, rows: pd.DataFrame, figures: dict[str, dict[str, float]]) -> list[Target]:
    """Return all targets; `figures` are by setting, with memory under "memory"."""
    times = rows.set_index(["setting", "table", "length", "name"]).sort_index()["total"]
    settings = rows["setting"].unique()

    def evaluated(ratio: Ratio, title: str, table: str, length: int) -> Target:
        values, reachable = {}, {}
        for setting in settings:
            at = times[setting, table, length]
            slow, fast = (at.index.intersection(names_of(x)) for x in (ratio.slow, ratio.fast))
            if len(fast):
                values[setting] = at[slow].min() / at[fast].min()
                reachable[setting] = at[slow].min() / at_peak(ratio.flop, figures[setting])
        what = f"{title}: {ratio.slow} / {ratio.fast}"
        return Target(what, ratio.bound, True, values, reachable)

    layer, step = f"layer, {size.middle:,}", f"step, {size.step:,}"
    return [
        *(evaluated(each, layer, "layer", size.middle) for each in layer_ratios(size.middle)),
        *figure_targets(size, figures),
        *(evaluated(each, step, "step", size.step) for each in step_ratios(size.step)),
        floor_target(
            size, {setting: times[setting, "step", size.step] for setting in settings}, figures
        ),
        *(evaluated(each, "step of 300", "step", 300) for each in short_ratios()),
    ]


def figure_targets(size: Size, figures: dict[str, dict[str, float]]) -> list[Target]:
    """Return the targets of attention alone, long sequences and memory, by kernel."""
    timed = {setting: each for setting, each in figures.items() if setting != "memory"}
    memory, found = figures["memory"], []
    for kernel in KERNELS_OF_WINDOWS:
        if kernel == "band":
            rates = {
                name: of["core band Gflop/s"] / of["GEMM Gflop/s"] for name, of in timed.items()
            }
            best = dict.fromkeys(rates, 1.0)
            found.append(Target("band alone / GEMM, flop/s", 0.5, True, rates, best))
        at, far = (f"{kernel} us/token at {length}" for length in (size.middle, size.far))
        growth = {name: of[far] / of[at] for name, of in timed.items()}
        what = f"{kernel}: us/token at {size.far:,} / at {size.middle:,}"
        found.append(Target(what, 1.2, False, growth, dict.fromkeys(growth, 1.0)))
        for what, key in (
            (f"{kernel}: KiB/token per layer at {size.far:,}", f"{kernel} KiB/token"),
            (f"{kernel}: peak GiB, step of 4 layers at {size.far:,}", f"{kernel} step GiB"),
        ):
            found.append(Target(what, 8, False, {"memory": memory[key]}, {}))
    return found


def floor_target(
    size: Size, steps: dict[str, pd.Series], figures: dict[str, dict[str, float]]
) -> Target:
    """Return the target of a step compared with one without attention."""
    values, best = {}, {}
    for setting, at in steps.items():
        floor = at["floor: no attention"]
        values[setting] = at[at.index.intersection(OURS)].min() / floor
        flop = LAYERS * pairs(keys_of_window(size.step))
        best[setting] = 1 + at_peak(flop, figures[setting]) / floor
    return Target(f"step, {size.step:,}: ours / floor", 1.35, False, values, best)


def at_peak(flop: float, figures: dict[str, float]) -> float:
    """Return the microseconds of `flop` operations at the rate of the GEMM."""
    return flop / figures["GEMM Gflop/s"] / 1000


# ------------ text
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

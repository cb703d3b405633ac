"""Report of `attention_speed`: the tables in Markdown and the plot."""

from __future__ import annotations

import math
from pathlib import Path
from textwrap import fill

import matplotlib.pyplot as plt
import pandas as pd
from harness import aligned
from peers import DIM, HEADS, KERNELS_OF_WINDOWS, LAYERS, WINDOW, keys_of_bigbird
from speed_targets import (
    GEMM,
    PROJECTIONS,
    Size,
    at_peak,
    keys_of_window,
    pairs,
    precision_of,
    targets,
)

DISTURBED = 1.15  # a larger ratio of two times of one layer means that the machine was not idle


def time_table(rows: pd.DataFrame, table: str, length: int) -> str:
    """Format one length of a table, with names as rows and settings as columns.

    Cells are us/token (forward / forward and backward), or thousand tokens per second.
    """
    rows = rows[(rows["table"] == table) & (rows["length"] == length)]
    settings = list(dict.fromkeys(rows["setting"]))
    cells = {}
    for row in rows.itertuples():
        both = f"{row.forward:.1f} / {row.total:.1f}"
        cells[row.name, row.setting] = both if table == "layer" else f"{1000 / row.total:.1f}"
    body = (
        [name, *(cells.get((name, setting), "-") for setting in settings)]
        for name in dict.fromkeys(rows["name"])
    )
    return aligned([["", *settings], *body])


def figure_table(figures: dict[str, dict[str, float]], title: str = "") -> str:
    """Format figures by setting, such as those of long sequences, with settings as columns."""
    names = list(next(iter(figures.values())))
    body = ([name, *(f"{of[name]:.1f}" for of in figures.values())] for name in names)
    return aligned([[title, *figures], *body])


def malloc_table(rows: pd.DataFrame, length: int) -> str:
    """Format how many times faster each layer is with the other settings."""
    layer = rows[(rows["table"] == "layer") & (rows["length"] == length)]
    settings = list(dict.fromkeys(layer["setting"]))
    times = layer.pivot_table(index="name", columns="setting", values="total").loc[
        list(dict.fromkeys(layer["name"]))
    ]
    ratios = times[[settings[0]]].to_numpy() / times[settings[1:]]
    lines = [
        [str(name), *("-" if math.isnan(x) else f"{x:.2f}x" for x in line)]
        for name, line in zip(ratios.index, ratios.to_numpy(), strict=True)
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
            one = times[setting, size.middle, f"ours, {kernel}, T5"]
            other = figures[setting][f"{kernel} us/token at {size.middle}"]
            if max(one, other) > DISTURBED * min(one, other):
                times_of = f"{setting}: {kernel} took {one:.1f} and {other:.1f} us per token"
                lines.append(f"**Disturbed: {times_of}. Measure again on an idle machine.**")
    return "\n".join(lines)


def limits(size: Size, figures: dict[str, dict[str, float]]) -> str:
    """Explain the limit that the processor sets."""
    near, kernel = pairs(keys_of_window(size.middle)), KERNELS_OF_WINDOWS[0]
    words = f"""Forward and backward of one layer take {PROJECTIONS / 1000:.0f} kflop per token for
    the projections and {near / 1000:.0f} for the pairs within the window, each score computed
    once."""
    for precision in ("float32", "bfloat16"):
        timed = [
            each
            for name, each in figures.items()
            if name != "memory" and precision_of(name) == precision
        ]
        gemm = [each["GEMM Gflop/s"] for each in timed]
        least = [at_peak(PROJECTIONS + near, each) for each in timed]
        taken = [each[f"{kernel} us/token at {size.middle}"] for each in timed]
        words += f""" In {precision} a product of {GEMM:,} x {GEMM:,} runs at {_span(gemm, ".0f")}
        Gflop/s. At this rate the layer would take {_span(least, ".1f")} us per token; {kernel}
        takes {_span(taken, ".1f")}."""
    words += """ "Reachable here" is the peer's time divided by the time at that rate, in the
    setting of the row: no kernel of that precision can exceed it."""
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
    near, far, low = (
        _span(
            [
                each[f"{kernel} us/token at {length}"]
                for name, each in figures.items()
                if name != "memory" and precision_of(name) == precision
            ],
            ".1f",
        )
        for length, precision in (
            (size.middle, "float32"),
            (size.far, "float32"),
            (size.middle, "bfloat16"),
        )
    )
    dense, local, longformer = (
        worst[f"layer, {size.middle:,}: {peer} / {kernel}, float32"]
        for peer in ("dense SDPA", "local-attention", "HF Longformer")
    )
    peak = worst[f"{kernel}: peak GiB, step of 4 layers at {size.far:,}"]
    words = f"""With a window of {WINDOW} tokens to each side and the kernel `{kernel}`, forward and
    backward of one layer in float32 take {near} us per token at {size.middle:,} tokens and {far} at
    {size.far:,}; in bfloat16 {low} at {size.middle:,}. At {size.middle:,} tokens in float32, in the
    worst setting, this is {dense} times as fast as dense attention, {local} times as fast as
    local-attention and {longformer} times as fast
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
    timed = {name: each for name, each in figures.items() if name != "memory"}
    sizes = f"embed_dim {DIM}, {HEADS} heads, window {WINDOW} to each side"
    parts = [
        *filter(None, [disturbed(size, rows, figures)]),
        "## Targets\n\nTargets are ratios of times unless they have a unit. `worst` is the worst "
        "measurement of our settings in that precision, with each peer in its fastest setting of "
        "that precision or a higher one. BERT and ESM compute all pairs; a window computes "
        "fewer.\n\n" + promises,
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
        "## Attention alone, long sequences\n\n" + figure_table(timed),
        f"## Memory\n\nMiB: memory added by forward and backward of one layer at {size.middle:,} "
        "tokens. "
        f"KiB/token and step: at {size.far:,}.\n\n"
        + figure_table({"": figures["memory"]}, "peak memory"),
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
    colours = plt.get_cmap("tab20").colors
    axes.set_prop_cycle(color=colours[::2] + colours[1::2])
    for name, line in layer.groupby("name", sort=False):
        width = 2.5 if name.startswith("ours") else 1.2
        axes.loglog(line["length"], line["total"], "o-", lw=width, label=name)
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

"""Define the figures of the report, with captions that explain how to read them.

Figures are drawn once, as SVG for the page and as files. Each is one phone screen wide.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from selfattn_bio.interpret.associations import CONFIDENCE
from selfattn_bio.interpret.attribution import importance
from selfattn_bio.report import plots
from selfattn_bio.report.results import Results, site_positions
from selfattn_bio.report.words import SLICES, classifier_name, percent

SIZE = (3.6, 2.9)  # inches; 346 px, the width of a phone
MAX_CURVES = 4


@dataclass(frozen=True)
class Drawing:
    """A figure of the report.

    Attributes
    ----------
    name, title
        Name of its files, and title on the page.
    finding, means, not_means
        The caption: the conclusion from these data, how to read the figure, and its limits.
    svg
        The figure.
    is_wide
        Whether it is as wide as the page.
    """

    name: str
    title: str
    means: str
    not_means: str
    svg: str
    finding: str = ""
    is_wide: bool = False


def draw(
    name: str,
    paint: Callable[[Axes], None],
    folder: Path | None = None,
    size: tuple[float, float] = SIZE,
) -> str:
    """Draw one figure and return it as SVG for a page.

    If `folder` is given, the figure is also written to NAME.svg and NAME.png in it.
    """
    with plots.style():
        figure = Figure(figsize=size, layout="constrained")
        paint(figure.subplots())
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for suffix in ("svg", "png"):
                figure.savefig(
                    folder / f"{name}.{suffix}",
                    dpi=200,
                    metadata={"Date": None} if suffix == "svg" else None,
                )
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    return _inline(buffer.getvalue(), name)


def _inline(svg: str, name: str) -> str:
    """Convert an SVG document to an element of an HTML page.

    Prologue and metadata are removed, and ids get the name of the figure so that they are unique.
    """
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    # Use the reader's font instead of the one that matplotlib measured
    svg = re.sub(r"font: (\S+) [^;\"]*", r"font: \1 system-ui, sans-serif", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{name.replace("_", " ")}" ', 1)


def draw_figure(
    name: str,
    title: str,
    means: str,
    not_means: str,
    paint: Callable[[Axes], None],
    folder: Path,
    size: tuple[float, float] = SIZE,
    finding: str = "",
) -> Drawing:
    """Draw a figure with its caption; arguments are those of `Drawing` and `draw`."""
    svg = draw(name, paint, folder, size)
    return Drawing(name, title, means, not_means, svg, finding, is_wide=size[0] > SIZE[0])


def performance(results: Results, folder: Path) -> list[Drawing]:
    """Draw the figures on how well the model separates the classes."""
    test, labels = results.test, results.test["label"].to_numpy()
    curves = {classifier_name(name, short=True): test[name] for name in _shown(results)}
    confidence = percent(results.metrics["confidence"])
    show = partial(draw_figure, folder=folder)
    drawings = [
        show(
            "comparison",
            "AUROC on the test set",
            f"Dots: AUROC on the test set. Lines: {confidence} bootstrap intervals over "
            f"{results.metrics['test']['unit']}. "
            "Dotted line: chance level.",
            "Classifiers with overlapping intervals may still differ, because all are evaluated on "
            "the same records. Paired differences are in the table below.",
            lambda ax: plots.draw_intervals(
                bars(results.metrics["test"]), ax, "AUROC on the test set", 0.5
            ),
        ),
        show(
            "roc",
            "ROC curve",
            "Fraction of positives found (true positive rate) against fraction of negatives called "
            "positive (false positive rate). Dotted line: chance level.",
            "The curve does not depend on the proportion of positives, so it does not show how "
            "many calls in a genome would be wrong.",
            lambda ax: plots.draw_roc(labels, curves, ax),
        ),
        show(
            "precision_recall",
            "Precision and recall",
            "Fraction of positive calls that are correct (precision) against fraction of positives "
            "found (recall). Dotted line: chance level.",
            f"The curve applies to this test set, with {percent(labels.mean())} positives. "
            "Precision is lower where positives are rarer.",
            lambda ax: plots.draw_precision_recall(labels, curves, ax),
        ),
    ]
    if "model_calibrated" in test:
        drawings.append(
            show(
                "calibration",
                "Calibration",
                "Observed fraction of positives against predicted probability, in bins of "
                "probability. Points on the diagonal are perfectly calibrated.",
                "Calibration holds on average, not for each record. Calibrate again if the "
                "proportion of positives changes.",
                partial(plots.draw_calibration, labels, test["model"], test["model_calibrated"]),
            )
        )
    return [*drawings, _learning(results, folder)]


def _learning(results: Results, folder: Path) -> Drawing:
    worst = "valid_worst_auroc" in results.history  # only in balanced runs
    limits = (
        "Training loss may include label smoothing and dropout, so it is not comparable with "
        "validation loss."
        if "train_loss" in results.history
        else "Private runs do not report the training loss."
    )
    network = "These curves show the network only. " if results.task.stack.parts else ""
    metric = "worst_auroc" if worst else "auroc"
    return draw_figure(
        "learning",
        "Learning curves",
        f"Loss and AUROC{' of the worst group' if worst else ''} during training. Dotted line: "
        "step with the highest validation AUROC, whose weights were kept.",
        f"{network}The test set is not used here. {limits}",
        lambda ax: plots.draw_learning_curves(results.history, ax, metric),
        folder,
    )


def slices(results: Results, folder: Path) -> list[Drawing]:
    """Draw the figures on performance within slices of similar records."""
    best = results.metrics["differences"]["best_baseline"]
    names = {name: classifier_name(name, short=True) for name in ("model", best) if name}
    drawings = []
    for name, entries in results.metrics["slices"].items():
        title = SLICES[name]
        drawings.append(
            draw_figure(
                f"slices_{name}",
                f"AUROC by {title}",
                f"AUROC in subsets of the test set, by {title}. A model that uses only this "
                "property has an AUROC near 0.5 within each subset.",
                "Each subset has fewer records, so its interval is wider."
                + (
                    ""
                    if name == "begins_with_m"
                    else " Boundaries are quantiles of the training set, so subsets differ in size."
                ),
                partial(plots.draw_slices, entries, names, label=title),
                folder,
            )
        )
    return drawings


def interpretation(results: Results, folder: Path) -> list[Drawing]:
    """Draw the evidence for the motifs, and raw attention next to attribution."""
    drawings = []
    motifs = results.motifs
    is_dna = results.corpus["alphabet"] == "dna"
    unit, axis_unit = "bases" if is_dna else "residues", "bp" if is_dna else "residues"
    if motifs is not None and motifs["effect"].notna().any():
        drawings.append(
            draw_figure(
                "evidence",
                "Effect of each motif",
                "Decrease in log-odds when the sites of a motif in test records are shuffled, "
                f"minus the decrease when nearby {unit} are shuffled. Lines: {percent(CONFIDENCE)} "
                "intervals.",
                "The effect describes this model, not a cell. An experiment must show whether the "
                "cell also uses the motif.",
                lambda ax: plots.draw_evidence(motifs, ax),
                folder,
                (SIZE[0], 1.0 + 0.16 * len(motifs)),
            )
        )
    if (explained := results.explained) is not None:
        attribution = importance(explained.hypothetical)
        title = "Attribution by position"
        means = (
            "Attribution along the record, as a fraction of the total (mean over the explained "
            "records): how much the score depends on a position."
        )
        limit = "Motifs whose position varies between records are not visible in this mean."
        if explained.attention.any():  # models without attention weights have zeros
            network = " in the network, without the simple models" * bool(results.task.stack.parts)
            title = "Raw attention and attribution"
            means = (
                "Attribution and attention along the record, as fractions of the total (means over "
                "the explained records). Attribution: how much the score depends on a position. "
                f"Attention: how much attention a position receives{network}."
            )
            limit = (
                "Raw attention is not an explanation: a model can attend to positions that do not "
                "change its score. No motif or verdict is based on it."
            )
        drawings.append(
            draw_figure(
                "attention",
                title,
                means,
                limit,
                lambda ax: plots.draw_attention_and_attribution(
                    explained.attention, attribution, ax, axis_unit
                ),
                folder,
            )
        )
    return drawings


def motif_profiles(results: Results, motifs: pd.DataFrame) -> dict[str, str]:
    """Draw the positions of the sites of each motif along the test records.

    Positions are the middles of sites; the tested window is shaded. Motifs without a site are left
    out.

    Parameters
    ----------
    motifs
        Table with name, window_start and window_end. Negative values count from the end; they are
        shaded only if all records have the same length.
    """
    test = results.records[results.records["split"] == "test"]
    found = site_positions(results.sites, test)
    widths = (results.sites["end"] - results.sites["start"]).to_numpy(dtype=int)
    found = found.assign(middle=found["position"] + widths[found["site"].to_numpy(dtype=int)] // 2)
    length = int(test["length"].max())
    windows = motifs.set_index("name")[["window_start", "window_end"]]
    drawings = {}
    for i, (name, group) in enumerate(found.groupby("name")):
        window = windows.loc[name].to_numpy(dtype=float)
        if window[0] < 0:
            window = window + (length if (test["length"] == length).all() else np.nan)
        paint = partial(_bare_profile, group["middle"].to_numpy(), length, window)
        drawings[str(name)] = draw(f"profile_{i}", paint, size=(3.2, 1.0))
    return drawings


def _bare_profile(positions: np.ndarray, length: int, window: np.ndarray, ax: Axes) -> None:
    plots.draw_position_profile(positions, length, ax)
    if not np.isnan(window).any():
        ax.axvspan(*window, color=plots.BASELINE, alpha=0.35, linewidth=0, zorder=0)
    ax.set(xlabel="", ylabel="sites")
    ax.set_xticks([0, length])
    ax.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    ax.tick_params(labelsize=6, length=2)
    ax.grid(False)


def ranked(
    of_split: Mapping[str, Any], metric: str = "auroc"
) -> list[tuple[str, str, dict[str, Any]]]:
    """Return role, name and metrics of each classifier of a split.

    The model is first, then the baselines with the best first, then the controls.
    """
    baselines = sorted(of_split["baselines"].items(), key=lambda item: -item[1][metric]["value"])
    return [
        ("model", "model", of_split["model"]),
        *(("baseline", name, entry) for name, entry in baselines),
        *(("control", name, entry) for name, entry in of_split.get("controls", {}).items()),
    ]


def bars(
    of_split: Mapping[str, Any], metric: str = "auroc"
) -> list[tuple[str, dict[str, float], str]]:
    """Return name, interval and colour of each classifier of a split, for `draw_intervals`."""
    return [
        (classifier_name(name, short=True), entry[metric], plots.COLOURS[role])
        for role, name, entry in ranked(of_split, metric)
    ]


def _shown(results: Results) -> list[str]:
    """Return the classifiers whose curves are drawn: model, best baselines and first control.

    Their number is limited so that the curves can be distinguished.
    """
    test = results.metrics["test"]
    best = [name for role, name, _ in ranked(test) if role != "control"]
    return [*best[: MAX_CURVES - 1], *list(test["controls"])[:1]]

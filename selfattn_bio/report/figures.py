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

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from selfattn_bio.interpret.logos import draw_logo
from selfattn_bio.report import motif_plots, plots
from selfattn_bio.report.results import Results, site_positions
from selfattn_bio.report.words import SLICES, classifier_name, percent
from selfattn_bio.sequence.alphabet import get_alphabet

SIZE = (3.6, 2.9)  # inches; 346 px, the width of a phone
MAX_CURVES = 4


@dataclass(frozen=True)
class Drawing:
    """A figure of the report. `means` and `not_means` form its caption."""

    name: str
    title: str
    means: str
    not_means: str
    svg: str


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


def performance(results: Results, folder: Path) -> list[Drawing]:
    """Draw the figures on how well the model separates the classes."""
    test, labels = results.test, results.test["label"].to_numpy()
    curves = {classifier_name(name, short=True): test[name] for name in _shown(results)}
    worst = "valid_worst_auroc" in results.history  # only in balanced runs
    confidence = percent(results.metrics["confidence"])
    drawings = [
        Drawing(
            "comparison",
            "AUROC on the test set",
            f"Dots: AUROC on the test set. Lines: {confidence} bootstrap intervals over records. "
            "Dotted line: chance level.",
            "Classifiers with overlapping intervals may still differ, because all are evaluated on "
            "the same records. Paired differences are in the table below.",
            draw(
                "comparison",
                lambda ax: plots.draw_intervals(
                    _comparison_rows(results), ax, "AUROC on the test set", 0.5
                ),
                folder,
            ),
        ),
        Drawing(
            "roc",
            "ROC curve",
            "Fraction of positives found (true positive rate) against fraction of negatives called "
            "positive (false positive rate). Dotted line: chance level.",
            "The curve does not depend on the proportion of positives, so it does not show how "
            "many calls in a genome would be wrong.",
            draw("roc", lambda ax: plots.draw_roc(labels, curves, ax), folder),
        ),
        Drawing(
            "precision_recall",
            "Precision and recall",
            "Fraction of positive calls that are correct (precision) against fraction of positives "
            "found (recall). Dotted line: chance level.",
            f"The curve applies to this test set, with {percent(labels.mean())} positives. "
            "Precision is lower where positives are rarer.",
            draw(
                "precision_recall",
                lambda ax: plots.draw_precision_recall(labels, curves, ax),
                folder,
            ),
        ),
        Drawing(
            "learning",
            "Learning curves",
            f"Loss and AUROC{' of the worst group' if worst else ''} during training. Dotted line: "
            "step with the highest validation AUROC, whose weights were kept.",
            ("These curves show the network only. " if results.run.stack.parts else "")
            + (
                "The test set is not used here. Training loss may include label smoothing and "
                "dropout, so it is not comparable with validation loss."
                if "train_loss" in results.history
                else "The test set is not used here. Private runs do not report the training loss."
            ),
            draw(
                "learning",
                lambda ax: plots.draw_learning_curves(
                    results.history, ax, "worst_auroc" if worst else "auroc"
                ),
                folder,
            ),
        ),
    ]
    if "model_calibrated" in test:
        paint = partial(plots.draw_calibration, labels, test["model"], test["model_calibrated"])
        drawings.insert(3, Drawing(
            "calibration", "Calibration",
            "Observed fraction of positives against predicted probability, in bins of probability. "
            "Points on the diagonal are perfectly calibrated.",
            "Calibration holds on average, not for each record. Calibrate again if the proportion "
            "of positives changes.",
            draw("calibration", paint, folder),
        ))  # fmt: skip
    return drawings


def slices(results: Results, folder: Path) -> list[Drawing]:
    """Draw the figures on performance within slices of similar records."""
    best = results.metrics["differences"]["best_baseline"]
    names = {name: classifier_name(name, short=True) for name in ("model", best) if name}
    drawings = []
    for name, entries in results.metrics["slices"].items():
        title = SLICES[name]
        drawings.append(
            Drawing(
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
                draw(
                    f"slices_{name}",
                    partial(plots.draw_slices, entries, names, label=title),
                    folder,
                ),
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
            Drawing(
                "evidence",
                "Effect of each motif",
                "Decrease in log-odds when the sites of a motif in test records are shuffled, "
                f"minus the decrease when nearby {unit} are shuffled. Lines: 95 % intervals.",
                "The effect describes this model, not a cell. An experiment must show whether the "
                "cell also uses the motif.",
                draw(
                    "evidence",
                    lambda ax: motif_plots.draw_evidence(motifs, ax),
                    folder,
                    (SIZE[0], 1.0 + 0.16 * len(motifs)),
                ),
            )
        )
    if (explained := results.explained) is not None:
        # Models without attention weights have zeros
        has_attention = bool(explained.attention.any())
        shown = (
            "Attribution and attention along the record, as fractions of the total (means over the "
            "explained records). Attribution: how much the score depends on a position."
            if has_attention
            else "Attribution along the record, as a fraction of the total (mean over the "
            "explained records): how much the score depends on a position."
        )
        limit = (
            "Raw attention is not an explanation: a model can attend to positions that do not "
            "change its score. No motif or verdict is based on it."
        )
        drawings.append(
            Drawing(
                "attention",
                "Raw attention and attribution" if has_attention else "Attribution by position",
                f"{shown} Attention: how much attention a position receives"
                f"{' in the network, without the simple models' * bool(results.run.stack.parts)}."
                if has_attention
                else shown,
                limit
                if has_attention
                else "Motifs whose position varies between records are not visible in this mean.",
                draw(
                    "attention",
                    lambda ax: motif_plots.draw_attention_and_attribution(
                        explained.attention, explained.attribution, ax, axis_unit
                    ),
                    folder,
                ),
            )
        )
    return drawings


def motif_logos(results: Results) -> dict[str, str]:
    """Return the logo of each motif as SVG, by motif name."""
    letters = get_alphabet(results.corpus["alphabet"]).letters
    return {
        name: draw(
            f"logo_{i}",
            partial(_bare_logo, ppm, letters=letters),
            size=(max(1.2, 0.115 * len(ppm) + 0.3), 0.62),
        )
        for i, (name, ppm) in enumerate(results.ppms.items())
    }


def logo_pairs(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, tuple[str, str]]:
    """Return two logos of the same width and scale for each pair of aligned DNA matrices."""
    return {
        name: tuple(  # type: ignore[misc]
            draw(
                f"{kind}_{i}",
                partial(_bare_logo, ppm, letters="ACGT"),
                size=(0.14 * len(ppm) + 0.3, 0.75),
            )
            for kind, ppm in zip(("found", "match"), pair, strict=True)
        )
        for i, (name, pair) in enumerate(pairs.items())
    }


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


def _bare_logo(ppm: np.ndarray, ax: Axes, letters: str) -> None:
    draw_logo(ppm, ax, letters)
    ax.set(xticks=[], ylabel="")
    ax.set_yticks([0, int(np.log2(len(letters)))])
    ax.tick_params(labelsize=6, length=2)
    ax.grid(False)


def _bare_profile(positions: np.ndarray, length: int, window: np.ndarray, ax: Axes) -> None:
    motif_plots.draw_position_profile(positions, length, ax)
    if not np.isnan(window).any():
        ax.axvspan(*window, color=plots.BASELINE, alpha=0.35, linewidth=0, zorder=0)
    ax.set(xlabel="", ylabel="sites")
    ax.set_xticks([0, length])
    ax.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    ax.tick_params(labelsize=6, length=2)
    ax.grid(False)


def _shown(results: Results) -> list[str]:
    """Return the classifiers whose curves are drawn: model, best baselines and first control.

    Their number is limited so that the curves can be distinguished.
    """
    test = results.metrics["test"]
    baselines = sorted(
        test["baselines"], key=lambda name: -test["baselines"][name]["auroc"]["value"]
    )
    return ["model", *baselines[: MAX_CURVES - 2], *list(test["controls"])[:1]]


def _comparison_rows(results: Results) -> list[tuple[str, dict[str, float], str]]:
    test = results.metrics["test"]
    baselines = sorted(test["baselines"].items(), key=lambda item: -item[1]["auroc"]["value"])
    rows = [("model", test["model"], plots.MODEL), *((n, e, plots.BASELINE) for n, e in baselines)]
    rows += [(name, entry, plots.CONTROL) for name, entry in test["controls"].items()]
    return [
        (classifier_name(name, short=True), entry["auroc"], colour) for name, entry, colour in rows
    ]

"""Figures of objectives with numbers, classes or labels, per record or per position.

Each function returns the figures of one objective. `report.performance` registers them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from selfattn_bio.evaluation.metrics import title_of
from selfattn_bio.objectives.labels import Labels
from selfattn_bio.objectives.loss import UNKNOWN
from selfattn_bio.objectives.multiclass import Multiclass, confusion
from selfattn_bio.objectives.multilabel import Multilabel
from selfattn_bio.objectives.regression import Regression
from selfattn_bio.report import target_plots as plots
from selfattn_bio.report.class_figures import Show
from selfattn_bio.report.figures import SIZE, Drawing
from selfattn_bio.report.tested import Tested
from selfattn_bio.report.words import MISSING, RHO, figure, interval, percent

MAX_COLUMNS = 3  # columns with a scatter plot
MAX_CURVES = 6  # classes with a curve
MAX_CLASSES = 20  # classes of a confusion matrix; the others are merged
MAX_ROWS = 30  # classes or columns of a figure with one row for each
OTHERS = "other classes"
TALL = (SIZE[0], 4.6)  # inches; of two plots, one above the other

Interval = dict[str, Any]


def regression_figures(objective: Regression, tested: Tested, show: Show) -> list[Drawing]:
    """Draw observed and predicted values and residuals of the first columns, and all columns."""
    columns = objective.section.columns
    drawings = []
    for number, column in enumerate(columns[:MAX_COLUMNS]):
        where = f"_{number + 1}" if len(columns) > 1 else ""
        drawings += [_scatter(tested, column, where, show), _residuals(tested, column, where, show)]
    if len(columns) > 1:
        drawings.append(_by_output(tested, "pearson", "column", show))
    return drawings


def _scatter(tested: Tested, column: str, where: str, show: Show) -> Drawing:
    pairs = _pairs(tested, column)

    def paint(axes: Any) -> None:
        for ax, (classifier, name) in zip(np.atleast_1d(axes), tested.names.items(), strict=True):
            plots.draw_scatter(*pairs[classifier], ax, column)
            found = tested.outputs(classifier)[column]
            ax.set_title(f"{name}: {_fit(found)}", fontsize=7.5, loc="left")
            ax.label_outer()

    entry = tested.outputs("model")[column]
    rho = entry["spearman"]
    if rho["value"] is None:
        finding = "The predictions are constant, so they do not follow the observed values."
    elif rho["low"] <= 0:
        finding = (
            f"The predictions do not follow the observed values: the interval of Spearman's {RHO}, "
            f"{interval(rho, 2)}, includes 0."
        )
    else:
        finding = f"The predictions follow the observed values: Spearman's {RHO} {_estimate(rho)}"
        finding += _against(tested, column, "spearman")
    return show(
        tested.file_name(f"scatter{where}"),
        tested.title(f"Observed and predicted {column}"),
        f"{_points(pairs)} Dotted line: perfect prediction.",
        f"{RHO} measures the order of the values and R² their size: R² can be low, even "
        f"negative, where {RHO} is high.",
        paint,
        size=TALL if tested.baseline else SIZE,
        finding=finding,
        panels=len(tested.names),
    )


def _residuals(tested: Tested, column: str, where: str, show: Show) -> Drawing:
    pairs = _pairs(tested, column)

    def paint(axes: Any) -> None:
        for ax, (classifier, name) in zip(np.atleast_1d(axes), tested.names.items(), strict=True):
            plots.draw_residuals(*pairs[classifier], ax, column)
            ax.set_title(name, fontsize=7.5, loc="left")
            ax.label_outer()

    observed = float(np.std(pairs["model"][1]))
    left = {name: float(np.std(y - x)) for name, (x, y) in pairs.items()}
    finding = (
        f"The standard deviation is {observed:.3g} before and {left['model']:.3g} after "
        "subtracting the predictions"
    )
    if tested.baseline:
        finding += f" ({left[tested.baseline]:.3g} with {tested.names[tested.baseline]})"
    return show(
        tested.file_name(f"residuals{where}"),
        tested.title(f"Residuals of {column}"),
        "Observed minus predicted values. Orange: means of ten groups of records with similar "
        "predictions, with 95 % intervals. If they are above 0 on the right and below 0 on the "
        "left, the predictions are too close to the mean.",
        "A mean near 0 does not make single predictions accurate: the width of the cloud is their "
        "error.",
        paint,
        size=TALL if tested.baseline else SIZE,
        finding=f"{finding}.",
        panels=len(tested.names),
    )


def _pairs(tested: Tested, column: str) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Return predicted and observed values of the known records, by classifier."""
    observed = tested.numbers(column)
    known, number = np.isfinite(observed), list(tested.outputs("model")).index(column)
    return {name: (tested.predicted(name)[known, number], observed[known]) for name in tested.names}


def _points(pairs: dict[str, tuple[NDArray[Any], NDArray[Any]]]) -> str:
    """Describe what `draw_scatter` draws."""
    number = len(pairs["model"][0])
    if number > plots.MAX_POINTS:
        return f"{number:,} test records; darker hexagons have more of them (logarithmic)."
    return f"One dot for each of {number:,} test records."


def _fit(entry: dict[str, Interval]) -> str:
    return f"{RHO} {_estimate(entry['spearman'])}\nR² {_estimate(entry['r2'])}"


def multiclass_figures(objective: Multiclass, tested: Tested, show: Show) -> list[Drawing]:
    """Draw the confusion matrix, F1 by class, and the curves of the most frequent classes."""
    names = list(tested.outputs("model"))
    numbers = tested.true(objective.section.column).map({name: i for i, name in enumerate(names)})
    truth = np.asarray(numbers.fillna(UNKNOWN), dtype=np.int64)
    predicted = tested.predicted("model")
    return [
        _confusion(tested, confusion(predicted, truth), names, "records", show),
        _by_output(tested, "f1", "class", show),
        *_curves(tested, predicted, truth, names, show),
    ]


def _confusion(
    tested: Tested, counts: NDArray[np.int64], names: list[str], unit: str, show: Show
) -> Drawing:
    merged, shown = _most_frequent(counts, names)
    wrong = merged - np.diag(np.diag(merged))
    row, column = np.unravel_index(wrong.argmax(), wrong.shape)
    right = np.diag(counts).sum() / max(counts.sum(), 1)
    finding = f"{percent(right, 1)} of the {counts.sum():,} {unit} have the correct class."
    if wrong.any():
        finding += (
            f" The most frequent error: {wrong[row, column]:,} of {merged[row].sum():,} {unit} of "
            f"class {shown[row]} are predicted as {shown[column]}."
        )
    rule = (
        f" Shown are the {MAX_CLASSES - 1} most frequent classes of the test set; the others are "
        "merged."
        if OTHERS in shown
        else ""
    )
    side = SIZE[0] if len(shown) <= 6 else 4.6
    return show(
        tested.file_name("confusion"),
        tested.title("Confusion matrix"),
        f"Rows: true class; columns: predicted class. Percentages and colours: fraction of the "
        f"row; below, the number of {unit}.{rule}",
        "A rare class has few "
        + unit
        + ", so its percentages are uncertain: compare the counts and the intervals of F1.",
        lambda ax: plots.draw_confusion(merged, shown, ax),
        size=(side, side * 0.95),
        finding=finding,
    )


def _most_frequent(
    counts: NDArray[np.int64], names: list[str]
) -> tuple[NDArray[np.int64], list[str]]:
    """Merge all but the most frequent true classes if there are more than 20."""
    if len(names) <= MAX_CLASSES:
        return counts, names
    kept = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[: MAX_CLASSES - 1])
    group = np.full(len(names), len(kept))
    group[kept] = np.arange(len(kept))
    merged = np.zeros((len(kept) + 1,) * 2, dtype=np.int64)
    np.add.at(merged, (group[:, None], group[None, :]), counts)
    return merged, [*(names[i] for i in kept), OTHERS]


def _curves(
    tested: Tested,
    predicted: NDArray[np.float64],
    truth: NDArray[np.int64],
    names: list[str],
    show: Show,
) -> list[Drawing]:
    """Draw ROC and precision-recall curves, each class against all others."""
    known = truth != UNKNOWN
    counts = np.bincount(truth[known], minlength=len(names))
    chosen = [i for i in np.argsort(-counts, kind="stable") if 0 < counts[i] < known.sum()]
    shown = chosen[:MAX_CURVES]
    if not shown:
        return []
    pairs = [(names[i], truth[known] == i, predicted[known, i]) for i in shown]
    aurocs = [float(roc_auc_score(is_class, p)) for _, is_class, p in pairs]
    precisions = [float(average_precision_score(is_class, p)) for _, is_class, p in pairs]
    rocs = {
        f"{name} ({auroc:.3f})": roc_curve(is_class, p)[:2]
        for (name, is_class, p), auroc in zip(pairs, aurocs, strict=True)
    }
    recalls = {
        f"{name} ({auprc:.3f})": precision_recall_curve(is_class, p)[1::-1]
        for (name, is_class, p), auprc in zip(pairs, precisions, strict=True)
    }
    rule = (
        f" Shown are the {MAX_CURVES} most frequent classes of the test set."
        if len(chosen) > MAX_CURVES
        else ""
    )
    labels = [name for name, _, _ in pairs]

    def ends(values: list[float], metric: str) -> str:
        best, worst = int(np.argmax(values)), int(np.argmin(values))
        if figure(values[best]) == figure(values[worst]):
            return f"{metric} is {figure(values[best])} for each class."
        return (
            f"{metric} is highest for {labels[best]} ({figure(values[best])}) and lowest for "
            f"{labels[worst]} ({figure(values[worst])})."
        )

    return [
        show(
            tested.file_name("class_roc"),
            tested.title("ROC curve of each class"),
            f"Each class against all others. In brackets: AUROC; 0.5 is chance level.{rule}",
            "AUROC does not depend on how frequent a class is, so it does not show how many calls "
            "of a rare class are wrong.",
            partial(plots.draw_class_curves, rocs, x="false positive rate", y="true positive rate"),
            size=(SIZE[0], 3.4),
            finding=ends(aurocs, "AUROC"),
        ),
        show(
            tested.file_name("class_precision_recall"),
            tested.title("Precision and recall of each class"),
            "Each class against all others. In brackets: AUPRC; chance level is the fraction of "
            f"the class, from {percent(counts[shown].min() / known.sum(), 1)} to "
            f"{percent(counts[shown].max() / known.sum(), 1)} here.{rule}",
            "The curves apply to the class frequencies of this test set.",
            partial(plots.draw_class_curves, recalls, x="recall", y="precision"),
            size=(SIZE[0], 3.4),
            finding=ends(precisions, "AUPRC"),
        ),
    ]


def multilabel_figures(objective: Multilabel, tested: Tested, show: Show) -> list[Drawing]:
    """Draw AUROC and AUPRC of each label."""
    fractions = {
        name: float(np.nanmean(values)) if np.isfinite(values).any() else None
        for name in objective.section.columns
        for values in [tested.numbers(name)]
    }
    return [
        _by_output(tested, "auroc", "label", show, dict.fromkeys(fractions, 0.5)),
        _by_output(tested, "auprc", "label", show, fractions),
    ]


def labels_figures(objective: Labels, tested: Tested, show: Show) -> list[Drawing]:
    """Draw the confusion matrix of all positions, F1 by label, and accuracy along the record."""
    classes = objective.section.classes
    truth = tested.true(objective.section.column)
    calls = {name: tested.labels(name) for name in tested.names}
    counts = _position_counts(truth, calls["model"], classes)
    unit = "position"
    accuracies = {tested.names[name]: _accuracy_along(truth, of) for name, of in calls.items()}
    along = [float(part.mean()) for part in accuracies[tested.names["model"]]]
    middle, ends = float(np.mean(along[2:-2])), float(np.mean([along[0], along[-1]]))
    verb = "lower" if ends < middle else "not lower"
    return [
        _confusion(tested, counts, list(classes), "positions", show),
        _by_output(tested, "f1", "label", show),
        show(
            tested.file_name("along"),
            tested.title("Accuracy along the record"),
            f"Mean accuracy in ten parts of each record, from the first to the last {unit}. Lines: "
            "95 % intervals over records.",
            "Labels near the ends have context on one side only, so a lower accuracy there is "
            "expected.",
            lambda ax: plots.draw_along(accuracies, ax, "accuracy", unit),
            finding=f"Accuracy at the ends ({figure(ends)}) is {verb} than in the middle "
            f"({figure(middle)}).",
        ),
    ]


def _position_counts(truth: pd.Series, calls: pd.Series, classes: str) -> NDArray[np.int64]:
    """Count each true label (row) and predicted label (column) over all known positions."""
    codes = np.full(256, UNKNOWN)
    codes[list(classes.encode())] = range(len(classes))
    counts = np.zeros((len(classes),) * 2, dtype=np.int64)
    for true, called in zip(truth, calls, strict=True):
        if true:
            of_true, of_called = codes[list(true.encode())], codes[list(called.encode())]
            known = of_true != UNKNOWN
            np.add.at(counts, (of_true[known], of_called[known]), 1)
    return counts


def _accuracy_along(truth: pd.Series, calls: pd.Series) -> list[NDArray[np.float64]]:
    """Return the accuracy of each record in each tenth of it, where it has known labels.

    Ten parts of a record of 25 positions have two or three positions each.
    """
    parts: list[list[float]] = [[] for _ in range(plots.PARTS)]
    for true, called in zip(truth, calls, strict=True):
        right = np.array([a == b for a, b in zip(true, called, strict=False)], dtype=float)
        right[[a == "-" for a in true]] = np.nan
        for part, of_part in zip(parts, np.array_split(right, plots.PARTS), strict=True):
            if np.isfinite(of_part).any():
                part.append(float(np.nanmean(of_part)))
    return [np.array(part) for part in parts]


def _by_output(
    tested: Tested,
    metric: str,
    what: str,
    show: Show,
    chance: dict[str, float | None] | None = None,
) -> Drawing:
    """Draw a metric of each class, label or column with intervals, best first."""
    model, title = tested.outputs("model"), title_of(metric)
    other = tested.outputs(tested.baseline) if tested.baseline else {}
    known = [name for name, of in model.items() if of[metric]["value"] is not None]
    known.sort(key=lambda name: -model[name][metric]["value"])
    half = MAX_ROWS // 2
    shown = known if len(known) <= MAX_ROWS else [*known[:half], *known[-half:]]
    rule = (
        f" Shown are the {half} with the highest and the {half} with the lowest values of "
        f"{len(known)}."
        if len(known) > MAX_ROWS
        else ""
    )
    rows = [(name, model[name][metric], other.get(name, {}).get(metric)) for name in shown]
    ticks = [chance[name] for name in shown] if chance else []
    names = (tested.names["model"], tested.names.get(tested.baseline, ""))
    return show(
        tested.file_name(f"{metric}_by_{what}"),
        tested.title(f"{title} of each {what}"),
        f"Dots: {title} on the test set. Lines: "
        f"{percent(tested.results.metrics['confidence'])} bootstrap intervals."
        f"{' Grey ticks: chance level.' if ticks else ''}{rule}",
        f"The order is that of the model's {title}, so small differences between neighbours mean "
        "nothing if their intervals overlap.",
        lambda ax: plots.draw_pairs(rows, names, ax, title, ticks),
        size=(SIZE[0], 1.3 + 0.24 * max(len(rows), 3)),
        finding=_spread(model, known, metric, what, chance),
    )


def _spread(
    model: dict[str, dict[str, Interval]],
    known: Sequence[str],
    metric: str,
    what: str,
    chance: dict[str, float | None] | None,
) -> str:
    """State the best and the worst class, and how many are above chance."""
    title = title_of(metric)
    if not known:
        return f"No {what} has a known {title}."
    best, worst = known[0], known[-1]
    text = (
        f"{title} is highest for {best}, {_estimate(model[best][metric])}, and lowest for {worst}, "
        f"{_estimate(model[worst][metric])}."
    )
    if chance:
        above = sum(model[name][metric]["low"] > (chance[name] or 0) for name in known)
        text += f" {above} of {len(known)} intervals are above chance."
    return text


def _against(tested: Tested, output: str, metric: str) -> str:
    if not tested.baseline:
        return "."
    other = tested.outputs(tested.baseline)[output][metric]
    return f", against {_estimate(other)} of {tested.names[tested.baseline]}."


def _estimate(of: Interval) -> str:
    """Format a metric as `0.71 (0.65 to 0.77)`; a dash if it is undefined."""
    return f"{figure(of['value'], 2)} ({interval(of, 2)})" if of["value"] is not None else MISSING

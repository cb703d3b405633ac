"""Figures of objectives with classes, labels or numbers, per record or per position.

Each function returns the figures of one objective. `report.performance` registers them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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

from selfattn_bio.arrays import Floats, Integers
from selfattn_bio.display import short_name, short_names
from selfattn_bio.evaluation.metrics import title_of
from selfattn_bio.evaluation.summary import COVERAGE
from selfattn_bio.evaluation.units import Units
from selfattn_bio.evaluation.verdict import verdict
from selfattn_bio.evidence.associations import correlation_sentence
from selfattn_bio.objectives.labels import Labels
from selfattn_bio.objectives.loss import UNKNOWN
from selfattn_bio.objectives.multiclass import Multiclass, confusion
from selfattn_bio.objectives.numbers import Multilabel
from selfattn_bio.report import target_plots as plots
from selfattn_bio.report.tested import MAX_CURVES, SIZE, Drawing, Tested
from selfattn_bio.report.words import RHO, deviation, estimate, figure, percent

MAX_CLASSES = 20  # classes of a confusion matrix; the others are merged
MAX_ROWS = 30  # classes or columns of a figure with one row for each
OTHERS = "other classes"
NBSP = "\N{NO-BREAK SPACE}"  # `short_names` keeps it with its word
MOST_FREQUENT = " Shown are the {} most frequent classes of the test set."
MAX_COLUMNS = 3  # columns with a scatter plot
TALL = (SIZE[0], 4.6)  # inches; of two plots, one above the other
Pairs = dict[str, tuple[NDArray[Any], NDArray[Any]]]  # classifier -> predicted, observed


def multiclass_figures(objective: Multiclass, tested: Tested) -> list[Drawing]:
    """Draw the confusion matrix, F1 by class, and the curves of the most frequent classes."""
    names = list(tested.outputs("model"))
    numbers = tested.true(objective.section.column).map({name: i for i, name in enumerate(names)})
    truth = np.asarray(numbers.fillna(UNKNOWN), dtype=np.int64)
    predicted = tested.predicted("model")
    return [
        _confusion(tested, confusion(predicted, truth), names, "records"),
        by_output(tested, "f1", "class"),
        *_curves(tested, predicted, truth, names),
    ]


def _confusion(tested: Tested, counts: Integers, names: list[str], unit: str) -> Drawing:
    if not counts.any():
        why = f"No class of the test {unit} is known."
        return tested.skip("confusion", "Confusion matrix", why)
    merged, shown = _most_frequent(counts, names)
    _, labels = _most_frequent(counts, short_names(names))
    wrong = merged - np.diag(np.diag(merged))
    row, column = np.unravel_index(wrong.argmax(), wrong.shape)
    right = np.diag(counts).sum() / counts.sum()
    finding = f"{percent(right, 1)} of the {counts.sum():,} {unit} have the correct class."
    if wrong.any():
        finding += (
            f" The most frequent error: {wrong[row, column]:,} of {merged[row].sum():,} {unit} of "
            f"class {shown[row]} are predicted as {shown[column]}."
        )
    rule = f"{MOST_FREQUENT.format(MAX_CLASSES - 1)} The others are merged." * (OTHERS in shown)
    cell = 0.36 if len(shown) <= plots.MAX_CELLS else 0.15  # inches, with and without counts
    side = max(SIZE[0], 0.6 + 0.065 * max(map(len, labels)) + cell * len(shown))
    return tested.show(
        "confusion",
        "Confusion matrix",
        f"Rows: true class; columns: predicted class. Percentages and colours: fraction of the "
        f"row; below, the number of {unit}.{rule}",
        f"A rare class has few {unit}, so its percentages are uncertain: compare the counts and "
        "the intervals of F1.",
        lambda ax: plots.draw_confusion(merged, labels, ax),
        size=(side, side * 0.95),
        finding=finding,
    )


def _most_frequent(counts: Integers, names: list[str]) -> tuple[Integers, list[str]]:
    """Merge all but the most frequent true classes if there are more than 20."""
    if len(names) <= MAX_CLASSES:
        return counts, names
    kept = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[: MAX_CLASSES - 1])
    group = np.full(len(names), len(kept))
    group[kept] = np.arange(len(kept))
    merged = np.zeros((len(kept) + 1,) * 2, dtype=np.int64)
    np.add.at(merged, (group[:, None], group[None, :]), counts)
    return merged, [*(names[i] for i in kept), OTHERS]


def _curves(tested: Tested, predicted: Floats, truth: Integers, names: list[str]) -> list[Drawing]:
    """Draw ROC and precision-recall curves, each class against all others."""
    known = truth != UNKNOWN
    counts = np.bincount(truth[known], minlength=len(names))
    chosen = [i for i in np.argsort(-counts, kind="stable") if 0 < counts[i] < known.sum()]
    if not chosen:
        return []
    shown = chosen[:MAX_CURVES]
    pairs = {names[i]: (truth[known] == i, predicted[known, i]) for i in chosen}
    aurocs = {name: float(roc_auc_score(*pair)) for name, pair in pairs.items()}
    precisions = {name: float(average_precision_score(*pair)) for name, pair in pairs.items()}
    rocs, recalls = {}, {}
    for name, pair in list(pairs.items())[:MAX_CURVES]:
        rocs[f"{name}{NBSP}({aurocs[name]:.3f})"] = roc_curve(*pair)[:2]
        recalls[f"{name}{NBSP}({precisions[name]:.3f})"] = precision_recall_curve(*pair)[1::-1]
    rule = MOST_FREQUENT.format(MAX_CURVES) * (len(chosen) > MAX_CURVES)
    return [
        tested.show(
            "class_roc",
            "ROC curve of each class",
            f"Each class against all others. In brackets: AUROC; 0.5 is chance level.{rule}",
            "AUROC does not depend on how frequent a class is, so it does not show how many calls "
            "of a rare class are wrong.",
            partial(plots.draw_class_curves, rocs, x="false positive rate", y="true positive rate"),
            size=(SIZE[0], 2.6 + 0.16 * len(rocs)),
            finding=_extremes(aurocs, "AUROC"),
        ),
        tested.show(
            "class_precision_recall",
            "Precision and recall of each class",
            "Each class against all others. In brackets: AUPRC; chance level is the fraction of "
            f"the class, from {percent(counts[shown].min() / known.sum(), 1)} to "
            f"{percent(counts[shown].max() / known.sum(), 1)} here.{rule}",
            "The curves apply to the class frequencies of this test set.",
            partial(plots.draw_class_curves, recalls, x="recall", y="precision"),
            size=(SIZE[0], 2.6 + 0.16 * len(rocs)),
            finding=_extremes(precisions, "AUPRC"),
        ),
    ]


def _extremes(values: dict[str, float], metric: str) -> str:
    """Name the classes with the highest and the lowest value."""
    best, worst = max(values, key=values.__getitem__), min(values, key=values.__getitem__)
    if figure(values[best]) == figure(values[worst]):
        return f"{metric} is {figure(values[best])} for each class."
    return (
        f"{metric} is highest for {best} ({figure(values[best])}) and lowest for "
        f"{worst} ({figure(values[worst])})."
    )


def multilabel_figures(objective: Multilabel, tested: Tested) -> list[Drawing]:
    """Draw AUROC and AUPRC of each label."""
    auroc, auprc = (by_output(tested, metric, "label") for metric in ("auroc", "auprc"))
    labels = pd.DataFrame({name: tested.numbers(name) for name in objective.section.columns})
    if correlated := correlation_sentence(labels):
        auroc = replace(auroc, not_means=f"{auroc.not_means} Test records have {correlated}.")
    return [auroc, auprc]


def labels_figures(objective: Labels, tested: Tested) -> list[Drawing]:
    """Draw the confusion matrix of all positions, F1 by label, and accuracy along the record."""
    classes = objective.section.classes
    truth = tested.true(objective.section.column)
    calls = {name: tested.labels(name) for name in tested.names}
    counts = _position_counts(truth, calls["model"], classes)
    along = {name: _accuracy_along(truth, of) for name, of in calls.items()}
    return [
        _confusion(tested, counts, list(classes), "positions"),
        by_output(tested, "f1", "label"),
        _along(tested, along),
    ]


def _along(tested: Tested, along: dict[str, Floats]) -> Drawing:
    """Draw accuracies (n, 10) of each classifier in the parts of each record."""
    of_model = along["model"]
    complete = of_model[np.isfinite(of_model).all(axis=1)]
    name, title = "along", "Accuracy along the record"
    if len(complete) < 2:
        why = "Fewer than two test records have known labels in each tenth of their positions."
        return tested.skip(name, title, why)
    accuracies = {
        classifier: [part[np.isfinite(part)] for part in of.T] for classifier, of in along.items()
    }
    return tested.show(
        name,
        title,
        "Mean accuracy in ten parts of each record, from the first to the last position. Lines: "
        f"95 % intervals over records. Records of fewer than {plots.PARTS} positions are left out.",
        "Labels near the ends have context on one side only, so a lower accuracy there is "
        "expected.",
        lambda ax: plots.draw_accuracy(accuracies, ax),
        finding=_ends(complete),
    )


def _ends(accuracies: Floats) -> str:
    """Compare accuracies (n, 10) at the ends of records with the middle, by a normal interval."""
    ends, middle = accuracies[:, [0, -1]].mean(axis=1), accuracies[:, 2:-2].mean(axis=1)
    (difference,), (half,) = plots.normal_intervals([ends - middle])
    lead = {"value": difference, "low": difference - half, "high": difference + half}
    findings = {
        "better": "Accuracy is higher at the ends of the record than in the middle",
        "worse": "Accuracy is lower at the ends of the record than in the middle",
        "too few": "There are too few records to compare the ends of the record with the middle",
        "not distinguishable": "Accuracy at the ends cannot be distinguished from the middle",
    }
    found = findings[verdict(lead, Units.single(len(ends)).entry()["unit"])]
    return (
        f"{found}: {figure(ends.mean())} and {figure(middle.mean())}, difference "
        f"{estimate(lead, sign=True)}."
    )


def _position_counts(truth: pd.Series, calls: pd.Series, classes: str) -> Integers:
    """Count each true label (row) and predicted label (column) over all known positions."""
    known, codes = truth != "", list(classes.encode())
    true, called = (np.frombuffer("".join(of[known]).encode(), np.uint8) for of in (truth, calls))
    return pd.crosstab(true, called).reindex(index=codes, columns=codes, fill_value=0).to_numpy()


def _accuracy_along(truth: pd.Series, calls: pd.Series) -> Floats:
    """Return the accuracy in each tenth of each record, (n, 10), missing without known labels.

    Ten parts of a record of 25 positions have two or three positions each. All parts are missing
    for a record of fewer than ten positions.
    """
    found = np.full((len(truth), plots.PARTS), np.nan)
    for row, true, called in zip(found, truth, calls, strict=True):
        if len(true) < plots.PARTS:
            continue
        right = np.array([a == b for a, b in zip(true, called, strict=True)], dtype=float)
        right[[a == "-" for a in true]] = np.nan
        row[:] = [pd.Series(part).mean() for part in np.array_split(right, plots.PARTS)]
    return found


def by_output(tested: Tested, metric: str, what: str) -> Drawing:
    """Draw a metric of each class, label or column with intervals, best first."""
    model, title = tested.outputs("model"), title_of(metric)
    other = tested.outputs(tested.baseline) if tested.baseline else {}
    known = [name for name, of in model.items() if of[metric]["value"] is not None]
    if not known:
        why = f"No {what} has a known {title}."
        return tested.skip(f"{metric}_by_{what}", f"{title} of each {what}", why)
    known.sort(key=lambda name: -model[name][metric]["value"])
    half = MAX_ROWS // 2
    shown, rule = known, ""
    if len(known) > MAX_ROWS:
        shown = [*known[:half], *known[-half:]]
        rule = f" Shown are the {half} highest and the {half} lowest values of {len(known)}."
    rows = [(name, model[name][metric], other.get(name, {}).get(metric)) for name in shown]
    chance = dict.fromkeys(known if metric == "auroc" else [], 0.5)
    if metric == "auprc":
        chance = {name: model[name]["positives"] / model[name]["n"] for name in known}
    ticks = [chance[name] for name in shown] if chance else []
    return tested.show(
        f"{metric}_by_{what}",
        f"{title} of each {what}",
        f"Dots: {title} on the test set. Lines: "
        f"{percent(tested.results.metrics['confidence'])} bootstrap intervals."
        f"{' Grey ticks: chance level.' if ticks else ''}{rule}",
        f"The order is that of the model's {title}, so small differences between neighbours mean "
        "nothing if their intervals overlap.",
        lambda ax: plots.draw_pairs(rows, ("model", tested.baseline), ax, title, ticks),
        size=(SIZE[0], 1.3 + 0.24 * max(len(rows), 3)),
        finding=_spread(model, known, metric, chance),
    )


def _spread(
    model: dict[str, dict[str, Any]],
    known: Sequence[str],
    metric: str,
    chance: Mapping[str, float],
) -> str:
    """State the best and the worst class, and how many are above chance."""
    title, best, worst = title_of(metric), known[0], known[-1]
    high, low = (estimate(model[name][metric], 2) for name in (best, worst))
    text = f"{title} is highest for {best}, {high}, and lowest for {worst}, {low}."
    if high == low:
        text = f"{title} is {high.split()[0]} for each class or label."
    above = [model[name][metric]["low"] > level for name, level in chance.items()]
    if above:
        text += f" {sum(above)} of {len(above)} intervals are above chance."
    return text


def numbers_figures(tested: Tested, columns: Sequence[str]) -> list[Drawing]:
    """Draw observed and predicted values and residuals of the first columns, and all columns."""
    drawings, size = [], TALL if tested.baseline else SIZE
    show = partial(tested.show, size=size, panels=len(tested.names))  # a panel per classifier
    for number, column in enumerate(columns[:MAX_COLUMNS]):
        ending, pairs = f"_{number + 1}" if len(columns) > 1 else "", _pairs(tested, column)
        title = f"Observed and predicted {column}"
        if len(pairs["model"][0]) < 2:
            why = f"Fewer than two test records have a known value of {column}."
            drawings.append(tested.skip(f"scatter{ending}", title, why))
            continue
        fits = {name: f": {_fit(tested.outputs(name)[column])}" for name in tested.names}
        drawings += [
            show(
                f"scatter{ending}",
                title,
                f"{_points(pairs)} Dotted line: perfect prediction.",
                f"{RHO} measures the order of the values and R² their size: R² can be low, even "
                f"negative, where {RHO} is high.",
                partial(_paint, tested, column, pairs, plots.draw_scatter, fits),
                finding=_relation(tested, column, pairs["model"]),
            ),
            show(
                f"residuals{ending}",
                f"Residuals of {column}",
                "Observed minus predicted values. Orange: means of ten groups of records with "
                "similar predictions, with 95 % intervals. If they are above 0 on the right and "
                "below 0 on the left, the predictions are too close to the mean.",
                "A mean near 0 does not make single predictions accurate: the width of the cloud "
                "is their error.",
                partial(_paint, tested, column, pairs, plots.draw_residuals, {}),
                finding=_deviations(tested, pairs),
            ),
            *_coverage(tested, column, ending, pairs),
        ]
    if len(columns) > 1:
        drawings.append(by_output(tested, "pearson", "column"))
    return drawings


def _coverage(tested: Tested, column: str, ending: str, pairs: Pairs) -> list[Drawing]:
    """Draw how many prediction intervals contain the observed value, if there are intervals."""
    test, (predicted, observed) = tested.results.test, pairs["model"]
    if f"low_{column}" not in test:
        return []
    known, width = np.isfinite(tested.numbers(column)), percent(COVERAGE)
    low, high = (test[f"{end}_{column}"].to_numpy(float)[known] for end in ("low", "high"))
    name, title = f"coverage{ending}", f"Coverage of intervals of {column}"
    if not np.isfinite(low).all():
        why = f"There are too few validation records for intervals with {width} coverage."
        return [tested.skip(name, title, why)]
    inside = (low <= observed) & (observed <= high)
    narrowest, widest = (f"{of(high - low):.3g}" for of in (np.min, np.max))
    # the union of several networks is wider where these disagree
    widths = narrowest if narrowest == widest else f"{narrowest} to {widest}"
    why = "Uncertain predictions have intervals as wide as the others. " * (narrowest == widest)
    found = plots.proportion(inside)
    verdict_on_width = deviation("They", found, COVERAGE, "too narrow", "wider than needed")
    return [
        tested.show(
            name,
            title,
            f"Fraction of {width} prediction intervals (score --coverage {COVERAGE}) with the "
            "observed value, in ten groups of records with similar predictions. Lines: 95 % "
            f"intervals over records. Dotted line: {width}.",
            f"{why}Intervals of uncertain predictions can be too narrow even if the fraction of "
            "all records is right.",
            lambda ax: plots.draw_coverage(predicted, inside, ax, short_name(column)),
            finding=f"{width} intervals, {widths} wide, contain "
            f"{percent(found['value'])} of the observed values ({percent(found['low'])} to "
            f"{percent(found['high'])}).{verdict_on_width}",
        )
    ]


def _paint(
    tested: Tested,
    column: str,
    pairs: Pairs,
    plot: Callable[..., None],
    fits: Mapping[str, str],
    axes: Any,
) -> None:
    """Draw one plot per classifier, with its name and its fit as title."""
    for ax, name in zip(np.atleast_1d(axes), tested.names, strict=True):
        plot(*pairs[name], ax, short_name(column))
        ax.set_title(f"{name}{fits.get(name, '')}", fontsize=7.5, loc="left")
        ax.label_outer()


def _relation(tested: Tested, column: str, pair: tuple[NDArray[Any], NDArray[Any]]) -> str:
    """State whether the model's predictions rise with the observed values."""
    rho = tested.outputs("model")[column]["spearman"]
    if rho["value"] is None:
        which = "predictions" if np.ptp(pair[0]) == 0 else "observed values"
        return f"Spearman's {RHO} is undefined, because the {which} are constant."
    found = f"Spearman's {RHO} {estimate(rho, 2)}"
    if rho["low"] > 0:
        other = tested.outputs(tested.baseline)[column]["spearman"] if tested.baseline else {}
        if other.get("value") is not None:
            found += f", against {estimate(other, 2)} of {tested.baseline}"
        return f"The predictions follow the observed values: {found}."
    if rho["high"] < 0:
        return f"The predictions are inverted, high where the observed values are low: {found}."
    return f"The predictions cannot be distinguished from no relation: {found}."


def _deviations(tested: Tested, pairs: Pairs) -> str:
    """Compare the standard deviation before and after subtracting the predictions."""
    observed = float(np.std(pairs["model"][1]))
    left = {name: f"{np.std(y - x):.3g}" for name, (x, y) in pairs.items()}
    other = tested.baseline and f" ({left[tested.baseline]} with {tested.baseline})"
    return (
        f"The standard deviation is {observed:.3g} before and {left['model']} after subtracting "
        f"the predictions{other}."
    )


def _pairs(tested: Tested, column: str) -> Pairs:
    """Return predicted and observed values of the known records, by classifier."""
    observed = tested.numbers(column)
    known, number = np.isfinite(observed), list(tested.outputs("model")).index(column)
    return {name: (tested.predicted(name)[known, number], observed[known]) for name in tested.names}


def _points(pairs: Pairs) -> str:
    """Describe what `draw_scatter` draws."""
    number = len(pairs["model"][0])
    if number > plots.MAX_POINTS:
        return f"{number:,} test records; darker hexagons have more of them (logarithmic)."
    return f"One dot for each of {number:,} test records."


def _fit(entry: dict[str, Any]) -> str:
    return f"{RHO} {estimate(entry['spearman'], 2)}\nR² {estimate(entry['r2'], 2)}"

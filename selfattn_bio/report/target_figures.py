"""Figures of objectives with classes, labels or numbers, per record or per position.

Each function returns the figures of one objective. `report.performance` registers them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.arrays import Integers
from selfattn_bio.display import short_name, short_names
from selfattn_bio.evaluation.metrics import title_of
from selfattn_bio.evaluation.summary import COVERAGE
from selfattn_bio.evidence.associations import correlation_sentence
from selfattn_bio.objectives.labels import Labels
from selfattn_bio.objectives.loss import UNKNOWN
from selfattn_bio.objectives.multiclass import Multiclass, confusion
from selfattn_bio.objectives.numbers import Multilabel
from selfattn_bio.report import target_plots as plots
from selfattn_bio.report.tested import SIZE, Drawing, Tested
from selfattn_bio.report.words import RHO, deviation, estimate, percent

MAX_CLASSES = 20  # classes of a confusion matrix; the others are merged
MAX_ROWS = 30  # classes or columns of a figure with one row for each
OTHERS = "other classes"
MAX_COLUMNS = 3  # columns with a scatter plot
TALL = (SIZE[0], 4.6)  # inches; of two plots, one above the other
Pairs = dict[str, tuple[NDArray[Any], NDArray[Any]]]  # classifier -> predicted, observed


def multiclass_figures(objective: Multiclass, tested: Tested) -> list[Drawing]:
    """Draw the confusion matrix, and F1 by class."""
    names = list(tested.outputs("model"))
    numbers = tested.true(objective.section.column).map({name: i for i, name in enumerate(names)})
    truth = np.asarray(numbers.fillna(UNKNOWN), dtype=np.int64)
    counts = confusion(tested.predicted("model"), truth)
    return [_confusion(tested, counts, names, "records"), by_output(tested, "f1", "class")]


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
    rule = f" Shown are the {MAX_CLASSES - 1} most frequent classes; the others are merged."
    cell = 0.36 if len(shown) <= plots.MAX_CELLS else 0.15  # inches, with and without counts
    side = max(SIZE[0], 0.6 + 0.065 * max(map(len, labels)) + cell * len(shown))
    return tested.show(
        "confusion",
        "Confusion matrix",
        f"Rows: true class; columns: predicted class. Percentages and colours: fraction of the "
        f"row; below, the number of {unit}.{rule * (OTHERS in shown)}",
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


def multilabel_figures(objective: Multilabel, tested: Tested) -> list[Drawing]:
    """Draw AUROC and AUPRC of each label."""
    auroc, auprc = (by_output(tested, metric, "label") for metric in ("auroc", "auprc"))
    labels = pd.DataFrame({name: tested.numbers(name) for name in objective.section.columns})
    if correlated := correlation_sentence(labels):
        auroc = replace(auroc, not_means=f"{auroc.not_means} Test records have {correlated}.")
    return [auroc, auprc]


def labels_figures(objective: Labels, tested: Tested) -> list[Drawing]:
    """Draw the confusion matrix of all positions, and F1 by label."""
    classes = objective.section.classes
    truth, calls = tested.true(objective.section.column), tested.results.test["predicted"]
    counts = _position_counts(truth, calls, classes)
    return [
        _confusion(tested, counts, list(classes), "positions"),
        by_output(tested, "f1", "label"),
    ]


def _position_counts(truth: pd.Series, calls: pd.Series, classes: str) -> Integers:
    """Count each true label (row) and predicted label (column) over all known positions."""
    known, codes = truth != "", list(classes.encode())
    true, called = (np.frombuffer("".join(of[known]).encode(), np.uint8) for of in (truth, calls))
    return pd.crosstab(true, called).reindex(index=codes, columns=codes, fill_value=0).to_numpy()


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
    """Draw observed and predicted values and coverage of the first columns, and all columns."""
    drawings = []
    for number, column in enumerate(columns[:MAX_COLUMNS]):
        ending, pairs = f"_{number + 1}" if len(columns) > 1 else "", _pairs(tested, column)
        title = f"Observed and predicted {column}"
        if len(pairs["model"][0]) < 2:
            why = f"Fewer than two test records have a known value of {column}."
            drawings.append(tested.skip(f"scatter{ending}", title, why))
            continue
        drawings += [
            tested.show(
                f"scatter{ending}",
                title,
                f"{_points(pairs)} Dotted line: perfect prediction. Orange: means of ten groups of "
                "records with similar predictions, with 95 % intervals. If they rise more steeply "
                "than the line, the predictions are too close to the mean.",
                f"{RHO} measures the order of the values and R² their size: R² can be low, even "
                f"negative, where {RHO} is high. The width of the cloud is the error of single "
                "predictions.",
                partial(_paint, tested, column, pairs),
                size=TALL if tested.baseline else SIZE,
                panels=len(tested.names),
                finding=_relation(tested, column, pairs["model"]),
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


def _paint(tested: Tested, column: str, pairs: Pairs, axes: Any) -> None:
    """Draw one scatter plot per classifier, with its name and its fit as title."""
    for ax, name in zip(np.atleast_1d(axes), tested.names, strict=True):
        of = tested.outputs(name)[column]
        fit = f"{RHO} {estimate(of['spearman'], 2)}\nR² {estimate(of['r2'], 2)}"
        plots.draw_scatter(*pairs[name], ax, short_name(column))
        ax.set_title(f"{name}: {fit}", fontsize=7.5, loc="left")
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

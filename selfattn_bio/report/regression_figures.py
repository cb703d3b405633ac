"""Figures of objective `regression`: observed and predicted values, and residuals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.objectives.regression import Regression
from selfattn_bio.report import target_plots as plots
from selfattn_bio.report.figures import SIZE, Drawing, Show
from selfattn_bio.report.target_figures import Interval, by_output, skipped
from selfattn_bio.report.tested import Tested
from selfattn_bio.report.words import RHO, estimate

MAX_COLUMNS = 3  # columns with a scatter plot
TALL = (SIZE[0], 4.6)  # inches; of two plots, one above the other

Pairs = dict[str, tuple[NDArray[Any], NDArray[Any]]]  # classifier -> predicted, observed


def regression_figures(objective: Regression, tested: Tested, show: Show) -> list[Drawing]:
    """Draw observed and predicted values and residuals of the first columns, and all columns."""
    columns = objective.section.columns
    drawings = []
    for number, column in enumerate(columns[:MAX_COLUMNS]):
        where, pairs = f"_{number + 1}" if len(columns) > 1 else "", _pairs(tested, column)
        if len(pairs["model"][0]) < 2:
            why = f"Fewer than two test records have a known value of {column}."
            title = f"Observed and predicted {column}"
            drawings.append(skipped(tested, f"scatter{where}", title, why))
            continue
        drawings.append(_scatter(tested, column, where, pairs, show))
        drawings.append(_residuals(tested, column, where, pairs, show))
    if len(columns) > 1:
        drawings.append(by_output(tested, "pearson", "column", show))
    return drawings


def _scatter(tested: Tested, column: str, where: str, pairs: Pairs, show: Show) -> Drawing:
    def paint(axes: Any) -> None:
        for ax, (classifier, name) in zip(np.atleast_1d(axes), tested.names.items(), strict=True):
            plots.draw_scatter(*pairs[classifier], ax, column)
            found = tested.outputs(classifier)[column]
            ax.set_title(f"{name}: {_fit(found)}", fontsize=7.5, loc="left")
            ax.label_outer()

    return show(
        tested.file_name(f"scatter{where}"),
        tested.title(f"Observed and predicted {column}"),
        f"{_points(pairs)} Dotted line: perfect prediction.",
        f"{RHO} measures the order of the values and R² their size: R² can be low, even "
        f"negative, where {RHO} is high.",
        paint,
        size=TALL if tested.baseline else SIZE,
        finding=_relation(tested, column, pairs["model"]),
        panels=len(tested.names),
    )


def _relation(tested: Tested, column: str, pair: tuple[NDArray[Any], NDArray[Any]]) -> str:
    """State whether the model's predictions rise with the observed values."""
    rho = tested.outputs("model")[column]["spearman"]
    if rho["value"] is None:
        which = "predictions" if np.ptp(pair[0]) == 0 else "observed values"
        return f"Spearman's {RHO} is undefined, because the {which} are constant."
    found = f"Spearman's {RHO} {estimate(rho, 2)}"
    if rho["low"] > 0:
        return f"The predictions follow the observed values: {found}{_against(tested, column)}."
    if rho["high"] < 0:
        return f"The predictions are inverted, high where the observed values are low: {found}."
    return f"The predictions cannot be distinguished from no relation: {found}."


def _residuals(tested: Tested, column: str, where: str, pairs: Pairs, show: Show) -> Drawing:
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


def _fit(entry: dict[str, Interval]) -> str:
    return f"{RHO} {estimate(entry['spearman'], 2)}\nR² {estimate(entry['r2'], 2)}"


def _against(tested: Tested, column: str) -> str:
    """Return the correlation of the baseline; empty without a baseline, or if it is undefined."""
    other = tested.outputs(tested.baseline)[column]["spearman"] if tested.baseline else {}
    if other.get("value") is None:
        return ""
    return f", against {estimate(other, 2)} of {tested.names[tested.baseline]}"

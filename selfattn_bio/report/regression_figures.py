"""Figures of objective `regression`: observed and predicted values, and residuals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.objectives.regression import Regression
from selfattn_bio.report import target_plots as plots
from selfattn_bio.report.figures import SIZE, Drawing
from selfattn_bio.report.target_figures import by_output
from selfattn_bio.report.tested import Tested
from selfattn_bio.report.words import RHO, estimate

MAX_COLUMNS = 3  # columns with a scatter plot
TALL = (SIZE[0], 4.6)  # inches; of two plots, one above the other

Pairs = dict[str, tuple[NDArray[Any], NDArray[Any]]]  # classifier -> predicted, observed


def regression_figures(objective: Regression, tested: Tested) -> list[Drawing]:
    """Draw observed and predicted values and residuals of the first columns, and all columns."""
    columns = objective.section.columns
    drawings = []
    for number, column in enumerate(columns[:MAX_COLUMNS]):
        ending, pairs = f"_{number + 1}" if len(columns) > 1 else "", _pairs(tested, column)
        title = f"Observed and predicted {column}"
        if len(pairs["model"][0]) < 2:
            why = f"Fewer than two test records have a known value of {column}."
            drawings.append(tested.skip(f"scatter{ending}", title, why))
            continue
        fits = {name: f": {_fit(tested.outputs(name)[column])}" for name in tested.names}
        drawings += [
            tested.show(
                f"scatter{ending}",
                title,
                f"{_points(pairs)} Dotted line: perfect prediction.",
                f"{RHO} measures the order of the values and R² their size: R² can be low, even "
                f"negative, where {RHO} is high.",
                partial(_paint, tested, column, pairs, plots.draw_scatter, fits),
                size=TALL if tested.baseline else SIZE,
                finding=_relation(tested, column, pairs["model"]),
                panels=len(tested.names),
            ),
            tested.show(
                f"residuals{ending}",
                f"Residuals of {column}",
                "Observed minus predicted values. Orange: means of ten groups of records with "
                "similar predictions, with 95 % intervals. If they are above 0 on the right and "
                "below 0 on the left, the predictions are too close to the mean.",
                "A mean near 0 does not make single predictions accurate: the width of the cloud "
                "is their error.",
                partial(_paint, tested, column, pairs, plots.draw_residuals, {}),
                size=TALL if tested.baseline else SIZE,
                finding=_deviations(tested, pairs),
                panels=len(tested.names),
            ),
        ]
    if len(columns) > 1:
        drawings.append(by_output(tested, "pearson", "column"))
    return drawings


def _paint(
    tested: Tested,
    column: str,
    pairs: Pairs,
    plot: Callable[..., None],
    fits: Mapping[str, str],
    axes: Any,
) -> None:
    """Draw one plot per classifier, with its name and its fit as title."""
    for ax, (classifier, name) in zip(np.atleast_1d(axes), tested.names.items(), strict=True):
        plot(*pairs[classifier], ax, column)
        ax.set_title(f"{name}{fits.get(classifier, '')}", fontsize=7.5, loc="left")
        ax.label_outer()


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


def _deviations(tested: Tested, pairs: Pairs) -> str:
    """Compare the standard deviation before and after subtracting the predictions."""
    observed = float(np.std(pairs["model"][1]))
    left = {name: f"{np.std(y - x):.3g}" for name, (x, y) in pairs.items()}
    other = tested.baseline and f" ({left[tested.baseline]} with {tested.names[tested.baseline]})"
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


def _against(tested: Tested, column: str) -> str:
    """Return the correlation of the baseline; empty without a baseline, or if it is undefined."""
    other = tested.outputs(tested.baseline)[column]["spearman"] if tested.baseline else {}
    if other.get("value") is None:
        return ""
    return f", against {estimate(other, 2)} of {tested.names[tested.baseline]}"

"""Figures on how well a model predicts: those of every objective, and those of its kind.

`own_figures(objective, tested)` returns the figures of the objective's class. A new objective
without its own has the comparison of classifiers and the learning curve. To add figures, write a
function with the signature of `own_figures`, and register it here.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial, singledispatch
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import linregress

from selfattn_bio.evaluation.metrics import title_of
from selfattn_bio.objectives import Objective
from selfattn_bio.objectives.binary import Binary
from selfattn_bio.objectives.bins import BinsOfPoints
from selfattn_bio.objectives.labels import Labels
from selfattn_bio.objectives.language import LanguageModel
from selfattn_bio.objectives.multiclass import Multiclass
from selfattn_bio.objectives.numbers import Multilabel, Regression
from selfattn_bio.objectives.profile import Profile
from selfattn_bio.objectives.several import Several
from selfattn_bio.report import plots, target_plots
from selfattn_bio.report.class_figures import binary_figures, bins_figures
from selfattn_bio.report.target_figures import (
    TALL,
    labels_figures,
    multiclass_figures,
    multilabel_figures,
    numbers_figures,
)
from selfattn_bio.report.tested import SIZE, Drawing, Tested
from selfattn_bio.report.words import baseline_sentence, figure, percent, ranked

RISES = 0.05  # p-value of a slope above 0 from which the validation metric still improves
NO_RISE = "It did not clearly improve at the end of the training."
CHANCE = {"auroc": 0.5, "mcc": 0.0, "pearson": 0.0}  # of the metrics that have one


def draw_performance(objective: Objective[Any], tested: Tested) -> list[Drawing]:
    """Draw the figures on performance: comparison, those of the objective, and learning curves."""
    return [
        _comparison(objective, tested),
        *own_figures(objective, tested),
        _learning(objective, tested),
    ]


@singledispatch
def own_figures(objective: Objective[Any], tested: Tested) -> list[Drawing]:
    """Draw the figures of one kind of objective; none by default."""
    return []


own_figures.register(Binary, binary_figures)
own_figures.register(BinsOfPoints, bins_figures)
own_figures.register(Labels, labels_figures)
own_figures.register(Multiclass, multiclass_figures)
own_figures.register(Multilabel, multilabel_figures)


@own_figures.register
def _(objective: Regression, tested: Tested) -> list[Drawing]:
    return numbers_figures(tested, objective.section.columns)


@own_figures.register
def _(objective: Several, tested: Tested) -> list[Drawing]:
    return [
        drawing
        for name, part in objective.parts.items()
        for drawing in own_figures(part, replace(tested, part=name))
    ]


@own_figures.register
def _(objective: Profile, tested: Tested) -> list[Drawing]:
    section, shown = objective.section, tested.results.metrics["shown"]
    panels = [each for each in shown if each["track"] == next(iter(section.tracks))]
    below = ", with the reverse strand below 0" if section.num_strands > 1 else ""
    return [
        tested.show(
            "profiles",
            "Observed and predicted profiles",
            "Counts per base in the middle of three test records, with median to highest counts"
            f"{below}. Grey: observed; line: predicted.",
            "Three records are examples. The table of metrics has the mean distance of all.",
            partial(target_plots.draw_profiles, panels, section.num_strands),
            size=TALL,
            panels=len(panels),
        ),
        *numbers_figures(tested, tuple(section.tracks)),
    ]


@own_figures.register
def _(objective: LanguageModel, tested: Tested) -> list[Drawing]:
    results = tested.results
    _, best, entry = ranked(results.metrics["test"], objective)[1]
    losses, mean = results.test["nats_per_token"].dropna(), np.log(entry["perplexity"]["value"])
    return [
        tested.show(
            "losses",
            "Loss of each record",
            "Mean loss per predicted token in each test record; lower is better. Dotted line: mean "
            "loss of the best baseline.",
            "Records with repeats or low complexity are easy to predict for any model.",
            lambda ax: target_plots.draw_losses(losses, mean, best, ax, "nats per token"),
            finding=f"In {percent((losses < mean).mean())} of the records, the model's loss is "
            "below the mean of the best baseline.",
        )
    ]


def _comparison(objective: Objective[Any], tested: Tested) -> Drawing:
    results, metric = tested.results, objective.main_metric
    test, title = results.metrics["test"], title_of(metric)
    rows = [
        (name, {"low": found["value"], "high": found["value"]} | found, plots.COLOURS[role])
        for role, name, entry in ranked(test, objective)
        for found in [entry[metric]]
        if found["value"] is not None
    ]
    # without figures, which are at the top of the page
    found, *_ = " ".join(baseline_sentence(results.metrics, objective)).partition(":")
    chance = test["positives"] / test["n"] if metric == "auprc" else CHANCE.get(metric)
    return tested.show(
        "comparison",
        f"{title[0].upper()}{title[1:]} on the test set",
        f"Dots: {title} on the test set. Lines: {percent(results.metrics['confidence'])} bootstrap "
        f"intervals over {test['unit']}.{'' if chance is None else ' Dotted line: chance level.'}",
        "Classifiers with overlapping intervals may still differ, because all are evaluated on "
        f"the same {objective.examples}. Paired differences are in the table below.",
        lambda ax: plots.draw_intervals(rows, ax, f"{title} on the test set", chance),
        size=(SIZE[0], min(SIZE[1], 1.1 + 0.35 * len(rows))),
        finding=f"{found.rstrip('.')}.",
    )


def _learning(objective: Objective[Any], tested: Tested) -> Drawing:
    history = tested.results.history
    # balanced runs choose the step by the worst group
    metric = "worst_auroc" if "valid_worst_auroc" in history else objective.main_metric
    highest = "highest" if objective.higher_is_better else "lowest"
    values = history.set_index("step")[f"valid_{metric}"]
    upward = values if objective.higher_is_better else -values
    best: Any = upward.idxmax() if values.notna().any() else None
    limits = (
        "Training loss may include label smoothing and dropout, so it is not comparable with "
        "validation loss."
        if "train_loss" in history
        else "Private runs do not report the training loss."
    )
    network = "These curves show the network only. " if tested.results.task.stack.parts else ""
    return tested.show(
        "learning",
        "Learning curves",
        f"Loss and {title_of(metric)} during training. Dotted line: step with the {highest} "
        "validation value, whose weights were kept.",
        f"{network}The test set is not used here. {limits}",
        partial(plots.draw_learning_curves, history, metric=metric, best=best),
        finding=""
        if best is None
        else f"Validation {title_of(metric)} was {highest} ({figure(values[best])}) at step "
        f"{best:,} of {values.index[-1]:,}. "
        f"{_outlook(upward.dropna(), tested.results.task.training.seeds)}",
    )


def _outlook(upward: pd.Series, seeds: int) -> str:
    """State what may improve a model with these validation values by step, where higher is better.

    More steps may help if a line through the values of the second half rises significantly, and the
    mean of the last quarter exceeds all values before it.
    """
    late = upward[upward.index >= upward.index[-1] / 2]
    is_last = upward.index > upward.index[-1] * 0.75
    # a line through two points has no uncertainty, and smaller differences are not shown
    is_higher = len(late) > 2 and upward[is_last].mean() - upward[~is_last].max() >= 0.001
    p = linregress(late.index, late, alternative="greater").pvalue if is_higher else 1.0
    hints = {
        "with more steps ([training] max_steps)": p < RISES,
        "as the mean of several trainings ([training] seeds = 3)": seeds == 1,
    }
    advice = " or ".join(hint for hint, applies in hints.items() if applies)
    return f"It may be better {advice}." if advice else NO_RISE

"""Test that figures show predictions, captions state what follows, and numbers have headings."""

import dataclasses
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pages import page_of, tables_of, without_files
from scipy.stats import spearmanr
from sklearn.metrics import confusion_matrix, f1_score, roc_auc_score
from target_results import CLASSES, MAKERS, OBJECTIVES, make_targets

from selfattn_bio.baselines import BASELINES
from selfattn_bio.evaluation.metrics import title_of
from selfattn_bio.model.checkpoint import StackWeights
from selfattn_bio.objectives import objective_of
from selfattn_bio.report import tested, words
from selfattn_bio.report.class_figures import distances_to_points
from selfattn_bio.report.performance import draw_performance


@pytest.fixture
def drawn(tmp_path):
    """Return a function that returns the figures of results by name, with SVG if `svg`."""

    def drawn(results, findings=True, svg=False):
        with without_files(svg):
            objective = objective_of(results.task.objective)
            drawings = draw_performance(objective, tested.Tested(results, tmp_path))
        assert len({drawing.name for drawing in drawings}) == len(drawings)
        assert not findings or all(drawing.finding for drawing in drawings)
        return {drawing.name: drawing for drawing in drawings}

    return drawn


FIGURES = {
    "regression": "scatter coverage",
    "columns": "scatter_1 coverage_1 scatter_2 coverage_2 pearson_by_column",
    "multiclass": "confusion f1_by_class",
    "multilabel": "auroc_by_label auprc_by_label",
    "labels": "confusion f1_by_label",
    "several": "activity_scatter class_confusion class_f1_by_class",
}


@pytest.mark.parametrize("kind", FIGURES)
def test_each_objective_has_its_figures(kind, make):
    page = page_of(make(kind), drawn=True)
    names = re.findall(r'</h3>\s*<svg [^>]*aria-label="([^"]+)"', page)
    # the fixture has attributions, but no motifs
    expected = ["comparison", *FIGURES[kind].split(), "learning", "attention_start"]
    assert sorted(names) == sorted(name.replace("_", " ") for name in expected)
    assert "<image" not in page  # the policy of the page forbids images
    assert "Motifs were not" in page
    assert ("(negative values for activity: MSE)" in page) == (kind == "several")
    assert '<a href="#groups">' not in page
    assert ("for one that belongs to none." in page) == (kind == "multiclass")
    assert '<th scope="col">records</th>' in page  # there are no positives to count


def test_long_names_of_classes_leave_space_for_the_axes(monkeypatch, tmp_path, drawn):
    places = ("Nucleus", "Cell", "Golgi apparatus")
    names = tuple(f"SUBCELLULAR LOCATION: {place} membrane; Multi-pass protein" for place in places)
    monkeypatch.setattr("target_results.CLASSES", names)
    monkeypatch.setitem(OBJECTIVES, "multiclass", OBJECTIVES["multiclass"] | {"classes": names})
    results = make_targets("multiclass", tmp_path / "results")
    drawings = drawn(results, svg=True)  # matplotlib warns of axes without space
    for name in FIGURES["multiclass"].split():
        svg = drawings[name].svg
        assert all(place in svg for place in places)
        assert "SUBCELLULAR" not in svg
    assert f"are predicted as {names[2]}." in drawings["confusion"].finding


def test_language_models_have_a_report(make, drawn):
    of = make("causal")
    drawings = drawn(of)
    assert list(drawings) == ["comparison", "losses", "learning"]
    mean = np.log(of.metrics["test"]["baselines"]["markov"]["perplexity"]["value"])
    below = 100 * (of.test["nats_per_token"] < mean).mean()
    assert drawings["losses"].finding.startswith(f"In {below:.0f} % of the records")
    assert drawings["comparison"].finding.startswith("The perplexity of the model is lower than ")
    lowest = "Validation perplexity was lowest (0.718) at step 250"
    assert drawings["learning"].finding.startswith(lowest)


def test_captions_end_before_the_figures():
    """The caption of the comparison ends at the first colon, so names have none."""
    assert not [kind.title for kind in BASELINES.values() if ":" in kind.title]


def test_scatter_states_the_correlation(make, drawn):
    of = make("regression")
    drawings = drawn(of, svg=True)
    drawing = drawings["scatter"]
    rho = {
        name: spearmanr(of.test[column], of.test["true.expression"].astype(float)).statistic
        for name, column in (("model", "expression"), ("worse", "worse.expression"))
    }
    assert f"Spearman's \N{GREEK SMALL LETTER RHO} {rho['model']:.2f} (" in drawing.finding
    assert f"against {rho['worse']:.2f} (" in drawing.finding
    # both panels, with the same scale
    assert drawing.svg.count(f"{rho['model']:.2f} (") == 1
    assert drawing.svg.count(f"{rho['worse']:.2f} (") == 1


def with_entry(of, **changes):
    """Return results in which metrics of each output of the model are changed."""
    outputs = {name: entry | changes for name, entry in of.metrics["outputs"]["model"].items()}
    metrics = {**of.metrics, "outputs": of.metrics["outputs"] | {"model": outputs}}
    return dataclasses.replace(of, metrics=metrics)


@pytest.mark.parametrize(
    ("low", "high", "start"),
    [
        (0.4, 0.6, "The predictions follow the observed values: Spearman's"),
        (-0.6, -0.4, "The predictions are inverted, high where the observed values are low: "),
        (-0.1, 0.4, "The predictions cannot be distinguished from no relation: Spearman's"),
    ],
)
def test_finding_depends_on_the_interval(low, high, start, make, drawn):
    rho = {"value": (low + high) / 2, "low": low, "high": high}
    changed = with_entry(make("regression"), spearman=rho)
    finding = drawn(changed)["scatter"].finding
    assert finding.startswith(start)
    assert "includes 0" not in finding


def test_coverage_counts_intervals_with_the_observed_value(make, drawn):
    of = make("regression")
    observed = of.test["true.expression"].astype(float)
    inside = (of.test["low_expression"] <= observed) & (observed <= of.test["high_expression"])
    drawing = drawn(of)["coverage"]
    width = (of.test["high_expression"] - of.test["low_expression"]).median()
    start = f"90 % intervals, {width:.3g} wide, contain {100 * inside.mean():.0f} % of the observed"
    assert drawing.finding.startswith(start)
    as_wide = "Uncertain predictions have intervals as wide as the others."
    assert drawing.not_means.startswith(as_wide)
    for low, verdict in ((observed + 1, "too narrow"), (observed - 1, "wider than needed")):
        bounds = {"low_expression": low, "high_expression": observed + 2}
        changed = dataclasses.replace(of, test=of.test.assign(**bounds))
        assert drawn(changed)["coverage"].finding.endswith(f"). They are {verdict}.")
    # networks that disagree about the first record
    wider = of.test["high_expression"] + np.where(of.test.index == of.test.index[0], 1, 0)
    drawing = drawn(dataclasses.replace(of, test=of.test.assign(high_expression=wider)))["coverage"]
    assert f"90 % intervals, {width:.3g} to {width + 1:.3g} wide, contain" in drawing.finding
    assert as_wide not in drawing.not_means
    infinite = dataclasses.replace(of, test=of.test.assign(low_expression=-np.inf))
    drawing = drawn(infinite, findings=False)["coverage"]
    assert drawing.means.startswith("There are too few validation records for intervals with 90 %")
    assert drawing.svg == ""
    earlier = dataclasses.replace(of, test=of.test.drop(columns="low_expression"))
    assert "coverage" not in drawn(earlier)


UNKNOWN = dict.fromkeys(("value", "low", "high"))


@pytest.mark.parametrize(
    ("column", "value", "which"),
    [("expression", 1.0, "predictions"), ("true.expression", "1.0", "observed values")],
)
def test_undefined_correlation_has_its_reason(column, value, which, make, drawn):
    of = with_entry(make("regression"), spearman=UNKNOWN)
    constant = dataclasses.replace(of, test=of.test.assign(**{column: value}))
    finding = drawn(constant)["scatter"].finding
    assert finding.endswith(f" is undefined, because the {which} are constant.")


@pytest.mark.parametrize("known", [0, 1, 2])
def test_few_known_values_have_no_scatter(known, make, drawn):
    of = make("regression")
    values = of.test["true.expression"].where(np.arange(len(of.test)) < known, "")
    few = dataclasses.replace(of, test=of.test.assign(**{"true.expression": values}))
    sentence = "Fewer than two test records have a known value of expression."
    assert (sentence in page_of(few)) == (known < 2)
    assert ("coverage" in drawn(few, findings=False, svg=True)) == (known == 2)


def test_unknown_values_have_no_figure(make, drawn):
    unknown = with_entry(make("multilabel"), auroc=UNKNOWN)
    drawings = drawn(unknown, findings=False)
    assert drawings["auroc_by_label"].means == "No label has a known AUROC."
    of = make("multiclass")
    unknown = dataclasses.replace(of, test=of.test.assign(**{"true.family": ""}))
    drawings = drawn(unknown, findings=False)
    assert drawings["confusion"].means == "No class of the test records is known."


def test_scatter_leaves_out_unknown_values(make, drawn):
    of = make("columns")
    known = int((of.test["true.lung"] != "").sum())
    assert known < len(of.test)
    assert f"One dot for each of {known} test records." in drawn(of)["scatter_2"].means


def test_confusion_matrix_counts_records(make, drawn):
    of = make("multiclass")
    called = of.test[list(CLASSES)].to_numpy().argmax(axis=1)
    truth = of.test["true.family"].map({name: i for i, name in enumerate(CLASSES)})
    counts = confusion_matrix(truth, called)
    drawings = drawn(of, svg=True)
    finding = drawings["confusion"].finding
    assert f"{100 * np.trace(counts) / counts.sum():.1f} % of the 80 records" in finding
    wrong = counts - np.diag(np.diag(counts))
    row, column = np.unravel_index(wrong.argmax(), wrong.shape)
    assert (
        f"{wrong.max()} of {counts[row].sum()} records of class {CLASSES[row]} are predicted as "
        f"{CLASSES[column]}." in finding
    )
    f1 = f1_score(truth, called, average=None)
    best = int(f1.argmax())
    assert f"F1 is highest for {CLASSES[best]}, {f1[best]:.2f} (" in drawings["f1_by_class"].finding


def test_labels_are_compared_by_position(make, drawn):
    of = make("labels")
    pairs = zip(of.test["true.structure"].sum(), of.test["predicted"].sum(), strict=True)
    right = [true == called for true, called in pairs if true != "-"]
    finding = drawn(of)["confusion"].finding
    assert finding.startswith(f"{100 * np.mean(right):.1f} % of the {len(right):,} positions have")


def test_labels_above_chance_are_counted(make, drawn):
    of = make("multilabel")
    truth = of.test["true.acetyl"].astype(int)
    named = truth.map({0: "no", 1: "yes"})  # as in the table of the records
    found = drawn(replace(of, test=of.test.assign(**{"true.acetyl": named})))
    assert found["auroc_by_label"].finding.endswith("2 of 2 intervals are above chance.")
    assert found["auprc_by_label"].finding.endswith("2 of 2 intervals are above chance.")
    value = roc_auc_score(truth, of.test["acetyl"])
    assert f"acetyl, {value:.2f} (" in found["auroc_by_label"].finding


def test_correlated_labels_in_words_are_named(make, drawn):
    of = make("multilabel")
    yes = pd.Series(np.arange(len(of.test)) % 2 == 0)
    other = yes.where(np.arange(len(yes)) % 8 > 0, ~yes)
    words_of = {True: "Yes", False: "no"}
    truth = {"true.acetyl": yes.map(words_of), "true.methyl": other.map(words_of)}
    found = drawn(replace(of, test=of.test.assign(**truth)))
    assert "Test records have correlated labels: acetyl and methyl (phi 0." in (
        found["auroc_by_label"].not_means
    )
    assert "correlated" not in drawn(of)["auroc_by_label"].not_means


@pytest.mark.parametrize("weight", [0.0, 0.012])
def test_labels_without_the_network_are_named(make, monkeypatch, weight):
    weights = {"network": [weight, 1.0], "kmer6_linear": [1.0, 0.5]}
    stored = StackWeights(weights=weights, bias=[0.0, 0.0], weights_sha256="")
    monkeypatch.setattr("selfattn_bio.report.page.read_stack_weights", lambda folder: stored)
    page = page_of(make("multilabel"))
    sentence = "The weight of the network is 0 or nearly 0 (below 0.05) for acetyl: these scores "
    source = "and attributions come from the simple models alone or nearly alone."
    assert f"different weights for each output. {sentence}{source}" in page


def test_distances_of_bins_to_points():
    chroms, starts = ["c1"] * 4 + ["c2"] * 2, [0, 200, 400, 600, 0, 200]
    table = pd.DataFrame({"chrom": chroms, "start": starts, "label": [0, 1, 0, 0, 0, 0]})
    assert distances_to_points(table, 200).tolist() == [1, 0, 1, 2, np.inf, np.inf]


def rounded(value, sign="", digits=3):
    text = words.MISSING if value is None else f"{value:{sign if value else ''}.{digits}f}"
    return text.replace("-", words.MINUS).replace(f"{words.MINUS}0.000", "0.000")


def shown(of, sign=""):
    """Format a value of metrics.json, with its interval if there is one."""
    if of.get("low") is None:
        return rounded(of["value"], sign)
    low, high = (rounded(of[end], sign) for end in ("low", "high"))
    return f"{rounded(of['value'], sign)} {low} to {high}"


def expected(entry, sign=""):
    """Return the texts of the metrics of a classifier by their headings."""
    return {
        title_of(metric): shown(of, sign)
        for metric, of in entry.items()
        if isinstance(of, dict) and "value" in of and not metric.startswith("calibration_")
    }


def expected_performance(metrics, main):
    """Return the rows of the table of classifiers; numbers that a classifier lacks are dashes."""
    valid, test = (
        {"model": of["model"], **of["baselines"], **of["controls"]}
        for of in (metrics["valid"], metrics["test"])
    )
    rows = {}
    for name, entry in test.items():
        more = {f"validation {title_of(main)}": shown(valid[name][main])}
        if members := metrics["test"].get("members"):
            each = members.get(name, {"each": []})["each"]
            more[f"{title_of(main)} of each member"] = " ".join(map(rounded, each)) or words.MISSING
        cost = metrics["costs"].get(name, {})
        more["training time, s"] = rounded(cost.get("seconds"), digits=0)
        more["peak memory, MB"] = rounded(cost.get("peak_memory_mb"), digits=0)
        row = dict.fromkeys(expected(test["model"]), words.MISSING) | expected(entry) | more
        rows[words.classifier_name(name)] = row
        if calibrated := name == "model" and entry.get("calibrated"):
            rows["after calibration"] = dict.fromkeys(row, "") | expected(calibrated)
    return rows


@pytest.mark.parametrize("kind", MAKERS)
def test_each_metric_is_below_its_title(kind, make):
    results = make(kind)
    metrics = results.metrics
    performance, *differences = tables_of(page_of(results), "performance")
    main = objective_of(results.task.objective).main_metric
    assert performance == expected_performance(metrics, main)
    compared = metrics["differences"]["baselines"]
    assert differences == [
        {words.classifier_name(name): expected(of, "+") for name, of in compared.items()}
    ]


def test_cards_separate_correlated_labels(results, page_text):
    sentence = "Records that are heart: without liver, 1 of 3 with a site"
    assert "Records that are" not in page_text
    motifs = results.motifs.assign(correlated=["", sentence, ""])
    assert page_of(replace(results, motifs=motifs)).count(f"<p>{sentence}</p>") == 1

"""Test that each number of the page's tables is in the column of its heading."""

import pytest
from pages import page_of, tables_of
from target_results import MAKERS

from selfattn_bio.objectives import objective_of
from selfattn_bio.report import words

TITLES = dict(
    line.split(" | ")
    for line in """\
auroc | AUROC
auprc | AUPRC
mcc | MCC
f1 | F1
mcc_at_half | MCC at 0.5
accuracy_at_half | accuracy at 0.5
f1_at_half | F1 at 0.5
brier | Brier
ece | ECE
pearson | Pearson's r
spearman | Spearman's rho
r2 | R²
mse | MSE
macro_f1 | macro F1
bits_per_letter | bits per letter
mean | mean of the parts""".splitlines()
)


def title(metric):
    """Return the heading of a metric, which may be that of a part: PART.METRIC."""
    part, _, name = metric.rpartition(".")
    return f"{part}: " * bool(part) + TITLES.get(name, name)


def rounded(value, sign="", digits=3):
    text = words.MISSING if value is None else f"{value:{sign}.{digits}f}"
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
        title(metric): shown(of, sign)
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
        more = {f"validation {title(main)}": shown(valid[name][main])}
        if members := metrics["test"].get("members"):
            each = members.get(name, {"each": []})["each"]
            more[f"{title(main)} of each member"] = " ".join(map(rounded, each)) or words.MISSING
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

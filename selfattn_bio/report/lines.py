"""Lines that the commands print about results: metrics, motifs, and the end of a workflow."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import pandas as pd

from selfattn_bio.config import AnySplit
from selfattn_bio.config.derived import NETWORK
from selfattn_bio.display import counted, shortened, with_interval
from selfattn_bio.errors import ResultsError
from selfattn_bio.evaluation.metrics import AT_HALF, CALLED, estimates, title_of
from selfattn_bio.evidence.verdicts import acts_alone, shortfall, why_alone
from selfattn_bio.motifs.families import match_label
from selfattn_bio.motifs.motif_set import num_supported
from selfattn_bio.objectives import Objective, objective_of
from selfattn_bio.objectives.numbers import Multilabel
from selfattn_bio.report import tables, words
from selfattn_bio.report.results import both_inputs, read_motifs

if TYPE_CHECKING:
    from selfattn_bio.study.study import Study

Metrics = Mapping[str, Any]
MOST_COUNTED = 10  # outputs whose metrics and records are printed


def mean_of(objective: Objective[Any]) -> str:
    """Say over what metrics are averaged, such as ` (mean of 3 labels)`; empty for one column."""
    number = len(getattr(objective.section, "columns", ()))
    columns = "labels" if isinstance(objective, Multilabel) else "columns"
    return f" (mean of {number} {columns})" if number > 1 else ""


def known_counts(metrics: Metrics) -> str:
    """Count the test records with a known target of each output; those of labels by label.

    For example `liver 45 yes and 71 no, heart 37 yes and 85 no`. The first `MOST_COUNTED` outputs
    are named. Empty if the outputs are numbers that are known for all records.
    """
    test, outputs = metrics["test"], metrics.get("outputs", {}).get("model", {})
    counts = [
        f"{name} {of['positives']:,} yes and {of['n'] - of['positives']:,} no"
        if "positives" in of
        else f"{name} {of['n']:,}"
        for name, of in outputs.items()
        if "positives" in of or of.get("n", test["n"]) < test["n"]
    ]
    return shortened(counts, MOST_COUNTED)


def evaluation_lines(objective: Objective[Any], metrics: Metrics) -> Iterator[str]:
    """Yield the lines that summarise metrics.json.

    Parameters
    ----------
    objective
        The objective of the model.
    metrics
        The content of metrics.json.
    """
    test, main = metrics["test"], objective.main_metric
    best = metrics["differences"]["best_baseline"]
    for _, name, entry in words.ranked(test, objective):
        value = f"{words.estimate(entry[main])}{mean_of(objective)}"
        yield f"test {title_of(main)} {value}  {words.classifier_name(name)}"
    for name, entry in {"model": test["model"], best: test["baselines"].get(best, {})}.items():
        yield from _others(name, entry, objective)
    if halves := test["model"].get(words.HALVES):
        yield f"test {title_of('jsd')} {words.estimate(halves)}  two halves of the observed counts"
    if calibrated := test["model"].get("calibrated"):
        yield f"test {words.calibration(calibrated)}  model, calibrated"
    for by, found in metrics.get("groups", {}).items():
        if gap := found["gap"]:
            (worst,) = (of["model"] for of in found["groups"] if of["group"] == found["worst"])
            yield (
                f"AUROC by {words.GROUPS.get(by, by)}: worst {found['worst']!r} "
                f"{worst['auroc']['value']:.3f}, {words.gap(gap['auroc'])}"
            )
    for name, of in islice(metrics.get("outputs", {}).get("model", {}).items(), MOST_COUNTED):
        metric = next(iter(of))
        yield f"test {title_of(metric)} {words.estimate(of[metric])}  model, {name}"
    if counts := known_counts(metrics):
        yield f"test records with a known target: {counts}"
    yield " ".join(words.baseline_sentence(metrics, objective))
    yield from _members(test)
    if privacy := metrics.get("privacy"):
        yield (
            f"private: epsilon {privacy['epsilon']:.2f} was spent at delta "
            f"{privacy['delta']:g} (docs/privacy.md)"
        )
    yield from network_sentences(metrics, objective)


def _others(name: str, entry: Metrics, objective: Objective[Any]) -> Iterator[str]:
    """Yield MCC, accuracy and F1 at both thresholds; without a threshold, the other metrics."""
    if "threshold" in entry:
        for where, ending in (
            (f"threshold {entry['threshold']:.3f}, chosen on valid", ""),
            ("threshold 0.5", AT_HALF),
        ):
            mcc, accuracy, f1 = (entry[f"{of}{ending}"]["value"] for of in CALLED)
            yield f"test MCC {mcc:.3f}, accuracy {accuracy:.3f}, F1 {f1:.3f} at {where}  {name}"
        return
    if known := [
        f"{title_of(metric)} {words.estimate(found)}"
        for metric, found in estimates(entry)
        if metric not in (objective.main_metric, words.HALVES) and found["value"] is not None
    ]:
        yield f"test {', '.join(known)}{mean_of(objective)}  {name}"


def _members(test: Metrics) -> Iterator[str]:
    for name, of in test.get("members", {}).items():
        alone = (
            f"test {title_of(of['metric'])} of each alone {of['min']:.3f} to {of['max']:.3f}, "
            if of["min"] is not None
            else ""
        )
        yield (
            f"{name} is the mean of {len(of['each'])} members: {alone}mean standard "
            f"deviation of a score over members {of['spread']:.3f}"
        )


def network_sentences(metrics: Metrics, objective: Objective[Any]) -> list[str]:
    """Compare the network with variants, controls, and the same network with simple models."""
    sentences = [
        " ".join(words.network_sentence(metrics, objective, "test")),
        *words.pretraining_sentences(metrics, objective),
        " ".join(words.network_sentence(metrics, objective, "valid")),
        network_wins_sentence(metrics, objective),
    ]
    return [sentence for sentence in sentences if sentence.strip()]


def network_wins_sentence(metrics: Metrics, objective: Objective[Any]) -> str:
    """Say that the simple models did not help, because the network alone is at least as good.

    This is so on validation and on test records, or its lead on test records is clear: the interval
    of the paired difference excludes 0. Empty otherwise.
    """
    main, sign = objective.main_metric, 1 if objective.higher_is_better else -1
    lead = metrics["differences"]["baselines"].get(NETWORK, {}).get(main, {"low": None})
    if lead["low"] is None:
        return ""
    valid, test = (
        [of[main]["value"] for of in (split["baselines"][NETWORK], split["model"])]
        for split in (metrics["valid"], metrics["test"])
    )
    is_equal = all(None not in of and sign * (of[0] - of[1]) >= 0 for of in (valid, test))
    if not is_equal and max(sign * lead["low"], sign * lead["high"]) >= 0:
        return ""
    of_valid, of_test = (" instead of ".join(map(words.figure, of)) for of in (valid, test))
    return (
        f"The simple models did not help on {'validation' if is_equal else 'test'} records: the "
        f"{title_of(main)} of the network alone is {of_valid} on validation and {of_test} on test "
        "records. If validation records of other seeds show it as well, remove [stack] from the "
        "run file and train again."
    )


def motif_lines(table: pd.DataFrame, significance: float, split: AnySplit) -> Iterator[str]:
    """Yield one line per motif of a table with evidence, and the number of supported motifs.

    With a larger test split, `split` of the run file, more effects can be measured.
    """
    for row in table.to_dict("records"):
        effect = with_interval(row["effect"], row["effect_low"], row["effect_high"])
        unit = row["unit"] if pd.notna(row["effect"]) else f"({words.unmeasured_reason(row)})"
        lacks = shortfall(row, significance)
        spread = f" in {row['site_units']}" if "site_units" in row else ""
        yield (
            f"{row['name']} {row['consensus']} of {row['target']}: {_match(row)}"
            f"{counted(row['num_sites'], 'site')} of train and valid{spread}, "
            f"{tables.enrichment(row).text} (q {words.p_value(row['enrichment_q'])}), effect "
            f"{effect} {unit}: {row['verdict']}{f' ({lacks})' if lacks else ''}"
        )
    yield f"supported: {num_supported(table)} of {counted(len(table), 'motif')}"
    if unmeasured := words.unmeasured_sentence(table, split):
        yield unmeasured


def null_sentence(motifs: pd.DataFrame | None) -> str:
    """State how many permuted motifs pass the tests; empty if there are none.

    Parameters
    ----------
    motifs
        motifs.tsv, or None if there was no search.
    """
    if motifs is None or not (tested := int(motifs["null_motifs"].sum())):
        return ""
    passing = int(motifs["null_passing"].sum())
    return (
        f"Control: of {tested} motifs that have the columns of these motifs in random order, "
        f"{passing} ({words.percent(passing / tested, 1)}) pass the tests of enrichment and "
        "effect. They may resemble a motif, so a supported motif must also change the predictions "
        "more than those made from it."
    )


def alone_sentence(motifs: pd.DataFrame | None, significance: float) -> str:
    """Name the motifs without a shown effect that change the score alone; empty without any."""
    names: dict[str, list[str]] = {}
    for row in [] if motifs is None else motifs.to_dict("records"):
        if acts_alone(row, significance):
            names.setdefault(why_alone(row), []).append(f"{row['name']} of {row['target']}")
    return " ".join(
        f"Enriched and effective when inserted alone, but not supported: {', '.join(some)}. {why}"
        for why, some in names.items()
    )


def _match(row: Mapping[Hashable, Any]) -> str:
    """Describe the match and its q value; empty if no database was used."""
    if pd.isna(row["match_q"]):
        return ""
    return f"{match_label(row) or 'no known motif'} (q {words.p_value(row['match_q'])}), "


def final_lines(study: Study, targets: Collection[str] = ("train",)) -> Iterator[str]:
    """Yield the lines that end the workflow of a task: its summary and the paths of its results.

    If a file cannot be read, the summary ends with an error message.

    Parameters
    ----------
    study
        The task.
    targets
        Names of the targets: "train", "sweep" or both.
    """
    layout = study.root
    if "sweep" in targets and layout.ranking.exists():
        yield f"Results: {layout.ranking}"
    if "train" not in targets or not layout.metrics.exists():
        return
    try:
        for line in _summary(study):
            yield f"{study.name}: {line.replace(words.MINUS, '-')}"  # as in logs
    # Only report the error: the run has finished and its results are valid
    except ResultsError as error:
        yield f"{study.name}: error: {error}"
    if layout.report.exists():
        yield f"Report: {layout.report}"
    else:
        yield f"Results: {layout.metrics}"


def _summary(study: Study) -> Iterator[str]:
    layout, metrics = study.root, study.read(study.root, "metrics")
    objective, test = objective_of(study.task.objective), metrics["test"]
    title, value = title_of(objective.main_metric), test["model"][objective.main_metric]
    shown = f"{words.estimate(value)}{mean_of(objective)}"
    yield f"test {title} {shown} on {test['n']:,} {objective.examples}"
    yield " ".join(words.baseline_sentence(metrics, objective))
    found = [study.read_optional(of, "motifs", read_motifs) for of in (layout, layout.of_partner())]
    if (motifs := both_inputs(*found)) is not None:
        explained = study.read_optional(layout, "explained", pd.read_parquet)
        outputs = [] if explained is None else explained["target"].unique()
        yield words.motif_sentence(motifs, study.task.split, list(outputs))
        audit = study.read_optional(layout, "audit_counts") or {}
        if partners := audit.get("partners"):
            yield f"partners also in train: {partners:,} of {audit['records']['test']:,}"
        if alone := alone_sentence(motifs, study.task.interpret.significance):
            yield alone

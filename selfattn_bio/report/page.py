"""Write the HTML report of a task: the main result, then the evidence, then details for checking.

The page is self-contained: CSS, SVG and a short script are inline, and a content policy forbids
loading anything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial, singledispatch
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from selfattn_bio.evaluation.card import used_files
from selfattn_bio.evaluation.metrics import TITLES, title_of
from selfattn_bio.evidence.held_out_records import MIN_EFFECT
from selfattn_bio.evidence.interventions import MIN_RECORDS, RESAMPLES
from selfattn_bio.evidence.nulls import NULLS
from selfattn_bio.files import whole_file, whole_folder
from selfattn_bio.model.checkpoint import read_stack_weights
from selfattn_bio.motifs.matching import MATCH_Q, match_label
from selfattn_bio.motifs.motif_set import num_supported
from selfattn_bio.objectives import Objective, objective_of
from selfattn_bio.objectives.bins import BinsOfPoints
from selfattn_bio.objectives.outputs import LOG_ODDS
from selfattn_bio.report import cards, figures, words
from selfattn_bio.report.bins import bin_sentences
from selfattn_bio.report.class_figures import slice_figures
from selfattn_bio.report.examples import attention_figures
from selfattn_bio.report.marginals import marginal_section
from selfattn_bio.report.performance import draw_performance
from selfattn_bio.report.plots import slice_name
from selfattn_bio.report.results import Results, entry_of


def write_page(results: Results, name: str) -> None:
    """Write the page of a task and its plots to the results folder."""
    with whole_folder(results.layout.plots) as folder:
        page = render(results, folder, name)
    with whole_file(results.layout.report) as path:
        path.write_text(page, encoding="utf-8")


def render(results: Results, plots_folder: Path, name: str) -> str:
    """Return the page as text and write its plots to `plots_folder`."""
    task, metrics = results.task, results.metrics
    objective = objective_of(task.objective)
    shown = shown_metrics(metrics["test"]["model"])
    has_differences = "differences" in metrics
    # motifs that were searched by hand are shown as well
    is_interpreted = task.is_interpreted or results.motifs is not None
    return _fill(
        results,
        name,
        objective=objective,
        main=objective.main_metric,
        METRICS={metric: title_of(metric) for metric in shown},
        favour=words.favour_sentence(shown, objective),
        best=best_baseline(metrics, objective),
        comparison=words.baseline_sentence(metrics, objective) if has_differences else (),
        sentences=list(_sentences(objective, metrics)),
        ensemble_sentence=words.ensemble_sentence(task),
        stack_sentence=words.stack_sentence(task, read_stack_weights(results.layout.model)),
        classifiers=classifier_rows(metrics, objective),
        performance=draw_performance(objective, results, plots_folder),
        slice_figures=slice_figures(results, partial(figures.draw_figure, folder=plots_folder)),
        slices=slice_rows(metrics),
        groups=group_tables(metrics),
        unit="bp" if results.corpus["alphabet"] == "dna" else "residues",
        used_files=used_files(results.corpus["sources"]),
        split_counts=split_counts(results.records),
        **(_interpretation(results, plots_folder) if is_interpreted else {}),
        is_interpreted=is_interpreted,
    )


def _interpretation(results: Results, plots_folder: Path) -> dict[str, Any]:
    """Return what the sections on motifs, interactions and attention show."""
    task, motifs = results.task, results.motifs
    of_inputs = words.both_inputs(motifs, results.partner.motifs if results.partner else None)
    maps = attention_figures(results)
    least = {} if motifs is None else dict(zip(motifs["unit"], motifs["min_effect"], strict=True))
    units = list(least)
    return {
        "number_units": [unit for unit in units if unit != LOG_ODDS],
        "least_numbers": " or ".join(
            f"{words.figure(least[unit], 2)} {unit}" for unit in units if unit != LOG_ODDS
        ),
        "has_classes": LOG_ODDS in units,
        "by_kind": partial(by_kind, units),
        "odds": words.odds,
        "motif_sentence": words.motif_sentence(of_inputs),
        "sentence_of_first": words.motif_sentence(motifs),
        "null_sentence": words.null_sentence(motifs),
        "agreement_sentence": words.agreement_sentence(
            results.explained.member_correlation if results.explained else None,
            results.seed_correlations,
        ),
        "stability": [] if results.stability is None else results.stability.to_dict("records"),
        "supported": "" if of_inputs is None else words.supported(of_inputs),
        "num_supported": 0 if of_inputs is None else num_supported(of_inputs),
        "num_motifs": 0 if of_inputs is None else len(of_inputs),
        "motifs": cards.motif_rows(results),
        "database": words.database_name(task.interpret.database)
        if results.corpus["alphabet"] == "dna"
        else "",
        "min_effect": MIN_EFFECT,
        "nulls": NULLS,
        "min_records": MIN_RECORDS,
        # smallest two-sided p; the data count as one of the sign flips
        "min_p": 2 / (RESAMPLES + 1),
        "max_q": MATCH_Q,
        "has_motifs": motifs is not None,
        "interactions": None
        if results.interactions is None
        else pair_rows(results.interactions, motifs),
        **marginal_section(results, plots_folder),
        "partner": results.partner and _partner(results.partner),
        "interpretation": figures.interpretation(results, plots_folder),
        "maps": maps,
        "attention_sentence": words.attention_sentence(task.model, len(maps) > 0),
    }


def _partner(results: Results) -> dict[str, Any]:
    """Return what the section on the motifs of the second input shows."""
    is_dna = results.corpus["alphabet"] == "dna"
    has_database = words.database_name(results.task.interpret.database)
    known = "none known" if has_database else "no database"
    return {
        "sentence": words.motif_sentence(results.motifs),
        "motifs": cards.motif_rows(results),
        "unmatched": known if is_dna else "no database of protein motifs",
    }


def by_kind(units: Sequence[str], classes: str, numbers: str) -> str:
    """Return the words about classes, or about numbers, or both if the units include both."""
    if set(units) <= {LOG_ODDS}:
        return classes
    return f"{classes} (numbers: {numbers})" if LOG_ODDS in units else numbers


@singledispatch
def _sentences(objective: Objective[Any], metrics: Mapping[str, Any]) -> Sequence[str]:
    """Return what the page of an objective says first, in addition to the comparison."""
    return ()


_sentences.register(BinsOfPoints, bin_sentences)


def shown_metrics(entry: Mapping[str, Any]) -> list[str]:
    """Return the names of a classifier's metrics in the order of the tables.

    Calibration has its own sentence.
    """
    known = [
        name
        for name, of in entry.items()
        if isinstance(of, dict) and "value" in of and not name.startswith("calibration_")
    ]
    return sorted(known, key=lambda name: [*TITLES, name].index(name))


def best_baseline(metrics: Mapping[str, Any], objective: Objective[Any]) -> str | None:
    """Return the name of the baseline with the best main metric on the test split, if any."""
    if "differences" in metrics:
        best: str | None = metrics["differences"]["best_baseline"]
        return best
    higher = objective.higher_is_better
    baselines = figures.ranked(metrics["test"], objective.main_metric, higher_is_better=higher)[1:]
    return baselines[0][1] if baselines else None


def _fill(results: Results, name: str, **values: Any) -> str:
    """Fill the template of the page with results and `values`."""
    environment = Environment(
        loader=PackageLoader("selfattn_bio.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["about"] = about
    # Only SVG written by this package is not escaped
    environment.filters.update(
        figure=words.figure,
        interval=words.interval,
        p=words.p_value,
        percent=words.percent,
        calibration=words.calibration,
        gap=words.gap,
        svg=Markup,
    )
    return environment.get_template("report.html.j2").render(
        title=results.task.title or name,
        name=name,
        task=results.task,
        metrics=results.metrics,
        classifier_name=words.classifier_name,
        audit=results.audit,
        leaks=[] if results.audit is None else leak_rows(results.audit),
        corpus=results.corpus,
        provenance=list(flat(results.provenance)),
        run_file=(results.layout.model / "run.toml").read_text(encoding="utf-8"),
        **values,
    )


def about(page: str) -> Markup:
    """Return a link to a page of the documentation; empty if the package names no address of it."""
    for url in metadata("selfattn-bio").get_all("Project-URL") or ():
        label, _, address = url.partition(", ")
        if label == "Documentation":
            link = Markup('<p class="about"><a href="{}/{}.html">About this section</a></p>')
            return link.format(address.rstrip("/"), page)
    return Markup()


def classifier_rows(metrics: dict[str, Any], objective: Objective[Any]) -> list[dict[str, Any]]:
    """Return the table of test metrics: model, baselines with the best first, controls."""
    valid, test = metrics["valid"], metrics["test"]
    of_valid = {"model": valid["model"], **valid["baselines"], **valid.get("controls", {})}
    main, members = objective.main_metric, test.get("members", {})
    return [
        {
            "role": role,
            "name": words.classifier_name(name),
            "valid": of_valid[name][main],
            "members": members.get(name, {}).get("each", []),
            "cost": metrics.get("costs", {}).get(name),
            "entry": entry,
        }
        for role, name, entry in figures.ranked(
            test, main, higher_is_better=objective.higher_is_better
        )
    ]


def pair_rows(pairs: pd.DataFrame, motifs: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Return the rows of interactions.tsv: supported pairs first, then redundant ones, then by q.

    `of` names both motifs, with their database match if it is significant.

    Parameters
    ----------
    pairs, motifs
        interactions.tsv and motifs.tsv.
    """
    labels = (
        {}
        if motifs is None
        else {row["name"]: match_label(row) for row in motifs.to_dict("records")}
    )
    named = {name: f"{name} ({label})" if label else name for name, label in labels.items()}
    order = pairs["verdict"].map({"supported": 0, "redundant": 1}).fillna(2)
    ranked = pairs.assign(order=order).sort_values(["order", "q"], kind="stable")
    rows = [{str(key): value for key, value in row.items()} for row in ranked.to_dict("records")]
    return [
        row | {"of": " and ".join(named.get(row[key], row[key]) for key in ("name_a", "name_b"))}
        for row in rows
    ]


def group_tables(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one table per grouping of the test split.

    Each has the name of the grouping, one row per group (as in `slice_rows`), the worst group and
    the gap.
    """
    if "groups" not in metrics:
        return []
    best = metrics["differences"]["best_baseline"]
    return [
        {
            "by": words.GROUPS.get(by, by),
            "rows": [
                {
                    **entry,
                    "over": _resampled(entry),
                    "best": entry.get(best),
                    "worst": entry["group"] == found["worst"],
                }
                for entry in found["groups"]
            ],
            **{name: found[name] for name in ("worst", "gap")},
        }
        for by, found in metrics["groups"].items()
    ]


def slice_rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row per slice, with the metrics of the model and the best baseline.

    Each row also has the property, range and counts. Metrics are None if the slice lacks a class.
    Properties that also define groups are left out, because the table of groups has them.
    """
    if "slices" not in metrics:
        return []
    best = metrics["differences"]["best_baseline"]
    return [
        {
            "by": words.SLICES[name],
            "range": slice_name(entry),
            "n": entry["n"],
            "positives": entry["positives"],
            "over": _resampled(entry),
            "model": entry["model"],
            "best": entry.get(best),
        }
        for name, entries in metrics["slices"].items()
        if name not in metrics.get("groups", {})
        for entry in entries
    ]


def _resampled(entry: dict[str, Any]) -> str:
    """Return the units of the intervals of a group or slice, such as `25 clusters`."""
    if not entry["model"]:
        return words.MISSING
    return f"{entry_of(entry, 'units'):,} {entry_of(entry, 'unit')}"


def leak_rows(audit: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row per kind of leak: description, number of test records, and limit.

    The limit comes from [audit] and is None if there is none.
    """
    limits, similarity, num_test = audit["limits"], audit["similarity"], audit["records"]["test"]
    near = None if limits["max_near"] == 1 else int(limits["max_near"] * num_test)
    rows = [
        ("identical sequence on either strand", audit["duplicates"], limits["max_duplicates"]),
        ("overlapping interval on either strand", audit["overlaps"], limits["max_overlaps"]),
        ("sequence or interval used to train a parent model", audit["seen"], limits["max_seen"]),
        *(
            (f"same {column}", count, limits["max_shared"])
            for column, count in audit["shared"].items()
        ),
        (f"near neighbour (at least {similarity:g} of k-mers shared)", audit["near"], near),
        *(
            [("near neighbour with a different label", other, None)]
            if (other := audit["near_other_label"]) is not None
            else []
        ),
    ]
    return [{"what": what, "count": count, "limit": limit} for what, count, limit in rows]


def split_counts(records: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Count the records of each split that has records, by label if there are labels.

    Returns
    -------
    Split -> count by "positives", "negatives" and "unlabelled", or by "records".
    """
    if records["label"].notna().any():
        names = ["positives", "negatives", "unlabelled"]
        kinds = records["label"].map({1: names[0], 0: names[1]}).astype(object).fillna(names[2])
    else:
        names = ["records"]
        kinds = pd.Series(names[0], index=records.index)
    counts = pd.crosstab(records["split"], kinds).reindex(columns=names, fill_value=0)
    by_split: dict[Any, dict[Any, int]] = counts.to_dict("index")
    splits = ("train", "valid", "test", "dropped")
    return {split: by_split[split] for split in splits if split in by_split}


def flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested tables with names like `outer.inner`."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value

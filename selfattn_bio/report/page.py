"""Write the HTML report of a task: the main result, then the evidence, then details for checking.

The page is self-contained: CSS, SVG and a short script are inline, and a content policy forbids
loading anything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from selfattn_bio.evaluation.card import used_files
from selfattn_bio.evaluation.metrics import TITLES
from selfattn_bio.files import whole_file, whole_folder
from selfattn_bio.interpret.evidence import num_supported
from selfattn_bio.interpret.interventions import MIN_EFFECT, RESAMPLES
from selfattn_bio.interpret.matching import MATCH_Q, match_label
from selfattn_bio.interpret.nulls import NULLS
from selfattn_bio.model.checkpoint import read_stack_weights
from selfattn_bio.report import cards, figures, words
from selfattn_bio.report.examples import attention_figures
from selfattn_bio.report.plots import slice_name
from selfattn_bio.report.results import Results, TaskResults


def write_report(results: Results, output: Path, name: str) -> None:
    """Write the page of a task to `output`, and its plots to the folder `plots` next to it."""
    with whole_folder(output.parent / "plots") as folder:
        page = render(results, folder, name)
    with whole_file(output) as path:
        path.write_text(page, encoding="utf-8")


def render(results: Results, plots_folder: Path, name: str) -> str:
    """Return the page as text and write its plots to `plots_folder`."""
    # The titles include metrics of training and of other objectives
    shown = {
        name: title for name, title in TITLES.items() if name in results.metrics["test"]["model"]
    }
    return fill(
        "report.html.j2",
        results,
        name,
        METRICS=shown,
        odds=words.odds,
        comparison=words.baseline_sentence(results.metrics),
        ensemble_sentence=words.ensemble_sentence(results.task),
        stack_sentence=words.stack_sentence(
            results.task, read_stack_weights(results.folder / "model")
        ),
        motif_sentence=words.motif_sentence(results.motifs),
        null_sentence=words.null_sentence(results.motifs),
        agreement_sentence=words.agreement_sentence(
            results.explained.member_correlation if results.explained else None,
            results.seed_correlations,
        ),
        stability=[] if results.stability is None else results.stability.to_dict("records"),
        supported=[] if results.motifs is None else words.supported(results.motifs),
        num_supported=0 if results.motifs is None else num_supported(results.motifs),
        motifs=cards.motif_rows(results),
        database=words.database_name(results.task.interpret.database)
        if results.corpus["alphabet"] == "dna"
        else "",
        min_effect=MIN_EFFECT,
        nulls=NULLS,
        min_p=2 / (RESAMPLES + 1),  # smallest two-sided p; the data count as one of the sign flips
        max_q=MATCH_Q,
        has_motifs=results.motifs is not None,
        interactions=None
        if results.interactions is None
        else pair_rows(results.interactions, results.motifs),
        classifiers=classifier_rows(results.metrics),
        slices=slice_rows(results.metrics),
        groups=group_tables(results.metrics),
        performance=figures.performance(results, plots_folder),
        slice_figures=figures.slices(results, plots_folder),
        interpretation=figures.interpretation(results, plots_folder),
        maps=(maps := attention_figures(results)),
        attention_sentence=words.attention_sentence(results.task.model, len(maps) > 0),
        unit="bp" if results.corpus["alphabet"] == "dna" else "residues",
        used_files=used_files(results.corpus["sources"]),
        split_counts=split_counts(results.records),
    )


def fill(template: str, results: TaskResults, name: str, **values: Any) -> str:
    """Fill a template of the page with results that all pages show, and with `values`."""
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
    return environment.get_template(template).render(
        title=results.task.title or name,
        name=name,
        task=results.task,
        metrics=results.metrics,
        classifier_name=words.classifier_name,
        audit=results.audit,
        leaks=[] if results.audit is None else leak_rows(results.audit),
        corpus=results.corpus,
        provenance=list(flat(results.provenance)),
        run_file=(results.folder / "model" / "run.toml").read_text(encoding="utf-8"),
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


def classifier_rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the table of test metrics: model, baselines by decreasing AUROC, controls."""
    valid = {
        "model": metrics["valid"]["model"],
        **metrics["valid"]["baselines"],
        **metrics["valid"]["controls"],
    }
    return [
        {"role": role, "name": words.classifier_name(name), "valid": valid[name], **entry}
        for role, name, entry in figures.ranked(metrics["test"])
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
    best = metrics["differences"]["best_baseline"]
    return [
        {
            "by": words.GROUPS.get(by, by),
            "rows": [
                {**entry, "best": entry.get(best), "worst": entry["group"] == found["worst"]}
                for entry in found["groups"]
            ],
            **{name: found[name] for name in ("worst", "gap")},
        }
        for by, found in metrics["groups"].items()
    ]


def slice_rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row per slice, with the metrics of the model and the best baseline.

    Each row also has the property, range and counts. Metrics are None if the slice lacks a class.
    """
    best = metrics["differences"]["best_baseline"]
    return [
        {
            "by": words.SLICES[name],
            "range": slice_name(entry),
            "n": entry["n"],
            "positives": entry["positives"],
            "model": entry["model"],
            "best": entry.get(best),
        }
        for name, entries in metrics["slices"].items()
        for entry in entries
    ]


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


def split_counts(records: pd.DataFrame) -> list[dict[str, Any]]:
    """Count positives, negatives and unlabelled records of each split that has records."""
    kinds = records["label"].map({1: "positives", 0: "negatives"}).astype(object)
    counts = pd.crosstab(records["split"], kinds.fillna("unlabelled"))
    counts = counts.reindex(columns=["positives", "negatives", "unlabelled"], fill_value=0)
    by_split: dict[Any, dict[Any, int]] = counts.to_dict("index")
    return [
        {"split": split, **by_split[split]}
        for split in ("train", "valid", "test", "dropped")
        if split in by_split
    ]


def flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested tables with names like `outer.inner`."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value

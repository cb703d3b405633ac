"""One self-contained HTML page from a task's results: the answer first, then the evidence, then how to check it.

Hides: jinja2 and the page's tables. Everything is inline (CSS, SVG, a few lines of script); a content policy in the page forbids loads.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from selfattn_bio.files import whole_file, whole_folder
from selfattn_bio.interpret.interventions import MIN_EFFECT, RESAMPLES
from selfattn_bio.interpret.matching import MATCH_Q, match_label
from selfattn_bio.model.card import used_files
from selfattn_bio.report import cards, figures, words
from selfattn_bio.report.maps import attention_figures
from selfattn_bio.report.plots import slice_name
from selfattn_bio.report.results import Results

METRICS = {"auroc": "AUROC", "auprc": "AUPRC", "mcc": "MCC", "accuracy": "accuracy", "f1": "F1", "mcc_at_half": "MCC at 0.5"}
METRICS |= {"brier": "Brier", "ece": "ECE"}


def write_report(results: Results, output: Path) -> None:
    """Write the page to `output`, and its plots as SVG and PNG into `plots/` beside it."""
    with whole_folder(output.parent / "plots") as folder:
        page = render(results, folder)
    with whole_file(output) as path:
        path.write_text(page, encoding="utf-8")


def render(results: Results, plots_folder: Path) -> str:
    """The page as text; its plots are written into `plots_folder`."""
    environment = Environment(
        loader=PackageLoader("selfattn_bio.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        figure=words.figure, interval=words.interval, p=words.p_value, svg=Markup
    )  # our own SVG alone is not escaped
    shown = {name: title for name, title in METRICS.items() if name in results.metrics["test"]["model"]}  # MCC at 0.5 is new
    environment.globals.update(METRICS=shown, classifier_name=words.classifier_name, odds=words.odds)
    return environment.get_template("report.html.j2").render(
        title=results.run.title or results.folder.name,
        task=results.folder.name,
        run=results.run,
        metrics=results.metrics,
        comparison=words.comparison(results.metrics),
        ensemble_sentence=words.ensemble_sentence(results.run),
        motif_sentence=words.motif_sentence(results.motifs),
        control_sentences=words.control_sentences(results.controls),
        control_note=words.control_note(results.controls, results.run.interpret.significance),
        supported=[] if results.motifs is None else words.supported(results.motifs),
        num_supported=0 if results.motifs is None else words.num_supported(results.motifs),
        motifs=cards.motif_rows(results),
        database=words.database_name(results.run.interpret.database) if results.corpus["alphabet"] == "dna" else "",
        min_effect=MIN_EFFECT,
        min_p=2 / (RESAMPLES + 1),  # two-sided, the sample as it is among its flips
        max_q=MATCH_Q,
        has_motifs=results.motifs is not None,
        interactions=None if results.interactions is None else pair_rows(results.interactions, results.motifs),
        classifiers=classifier_rows(results.metrics),
        slices=slice_rows(results.metrics),
        groups=group_tables(results.metrics),
        performance=figures.performance(results, plots_folder),
        slice_figures=figures.slices(results, plots_folder),
        interpretation=figures.interpretation(results, plots_folder),
        maps=(maps := attention_figures(results)),
        attention_sentence=words.attention_sentence(results.run.model, len(maps) > 0),
        audit=results.audit,
        leaks=[] if results.audit is None else leak_rows(results.audit),
        corpus=results.corpus,
        used_files=used_files(results.corpus["sources"]),
        split_counts=split_counts(results.records),
        provenance=list(flat(results.provenance)),
        run_file=(results.folder / "model" / "run.toml").read_text(encoding="utf-8"),
    )


def classifier_rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """The table of metrics on test: model, baselines by falling AUROC, controls."""
    test = metrics["test"]
    beside = sorted(test["baselines"].items(), key=lambda item: -item[1]["auroc"]["value"])
    roles = [
        ("model", "model", test["model"]),
        *(("baseline", n, e) for n, e in beside),
        *(("control", n, e) for n, e in test["controls"].items()),
    ]
    valid = {"model": metrics["valid"]["model"], **metrics["valid"]["baselines"], **metrics["valid"]["controls"]}
    return [{"role": role, "name": words.classifier_name(name), "valid": valid[name], **entry} for role, name, entry in roles]


def pair_rows(pairs: pd.DataFrame, motifs: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Rows of interactions.tsv, supported ones first, then redundant ones, then by q; `of` names both motifs, with a match that counts.

    Parameters
    ----------
    pairs, motifs
        interactions.tsv and motifs.tsv.
    """
    labels = {} if motifs is None else {row["name"]: match_label(row) for row in motifs.to_dict("records")}
    named = {name: f"{name} ({label})" if label else name for name, label in labels.items()}
    order = pairs["verdict"].map({"supported": 0, "redundant": 1}).fillna(2)
    ranked = pairs.assign(order=order).sort_values(["order", "q"], kind="stable")
    rows = [{str(key): value for key, value in row.items()} for row in ranked.to_dict("records")]
    return [row | {"of": " and ".join(named.get(row[key], row[key]) for key in ("name_a", "name_b"))} for row in rows]


def group_tables(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """A table for each way to group test: what it is by, a row a group (`slice_rows` has the same of slices), worst, best and gap."""
    best = metrics["differences"]["best_baseline"]
    return [
        {
            "by": words.GROUPS.get(by, by),
            "rows": [{**entry, "best": entry.get(best), "worst": entry["group"] == found["worst"]} for entry in found["groups"]],
            **{name: found[name] for name in ("worst", "gap")},
        }
        for by, found in metrics.get("groups", {}).items()  # none in results of before there were groups
    ]


def slice_rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Every slice as one row: what it is by, its edges, counts, and AUROC of the model and the best baseline (None where a class lacks)."""
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
    """Each kind of leak: what it is, how many test records have it, and the limit of [audit] (None where there is none)."""
    limits, similarity, num_test = audit["limits"], audit["similarity"], audit["records"]["test"]
    near = None if limits["max_near"] == 1 else int(limits["max_near"] * num_test)
    rows = [
        ("the same letters, on either strand", audit["duplicates"], limits["max_duplicates"]),
        ("a place that overlaps, on either strand", audit["overlaps"], limits["max_overlaps"]),
        ("seen by a parent of the model", audit["seen"], limits["max_seen"]),
        *((f"{column} shared", count, limits["max_shared"]) for column, count in audit["shared"].items()),
        (f"a near neighbour: {similarity:g} or more of the k-mers shared", audit["near"], near),
        *([("of these, with another label", other, None)] if (other := audit["near_other_label"]) is not None else []),
    ]
    return [{"what": what, "count": count, "limit": limit} for what, count, limit in rows]


def split_counts(records: pd.DataFrame) -> list[dict[str, Any]]:
    """Positives, negatives and unlabelled records of each side."""
    sides = [side for side in ("train", "valid", "test", "dropped") if (records["split"] == side).any()]
    labels = {side: records.loc[records["split"] == side, "label"] for side in sides}
    return [
        {"side": s, "positives": int((v == 1).sum()), "negatives": int((v == 0).sum()), "unlabelled": int(v.isna().sum())}
        for s, v in labels.items()
    ]


def flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested tables as `outer.inner` names."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value

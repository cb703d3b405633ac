"""Judge the leaks that `leakage` found: exceeded limits, warnings, and lines for the log."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from selfattn_bio.config import Audit

# Warn if length or GC content alone separates the labels with this AUROC.
TELLS_LABEL = 0.95


def exceeded_limits(summary: dict[str, Any], leaks: pd.DataFrame, limits: Audit) -> list[str]:
    """List the exceeded limits as error messages, the most serious first.

    Parameters
    ----------
    summary
        Counts of `leakage.counts_of`, and `similarity`, from which a neighbour counts as near.
    leaks
        Table of `leakage.find_leaks`.
    limits
        The [audit] section.
    """
    shared, most = int((leaks["shared"] != "").sum()), float(leaks["similarity"].max())
    near = summary["near"] / len(leaks)
    checks = {
        "max_duplicates": (
            "test records with the same sequence in train or pretraining",
            summary["duplicates"],
            "duplicate",
        ),
        "max_overlaps": (
            "test records that overlap a record of train or pretraining",
            summary["overlaps"],
            "overlap",
        ),
        "max_seen": ("test records that a parent of the model saw", summary["seen"], "seen_by"),
        "max_shared": ("test records of a group that is also in train", shared, "shared"),
        "max_similarity": (
            "highest similarity of a test record to its nearest neighbour",
            most,
            "neighbour",
        ),
        "max_near": (
            f"fraction of test records with a neighbour of similarity {summary['similarity']:g} "
            "or more",
            near,
            "neighbour",
        ),
    }
    exceeded = []
    by_similarity = leaks.sort_values("similarity", ascending=False, kind="stable")
    for key, (what, value, column) in checks.items():
        limit: float | None = getattr(limits, key)
        if limit is not None and value > limit:
            worst = by_similarity[by_similarity[column] != ""].iloc[0]
            exceeded.append(
                f"{what}: {value:.4g}, such as {worst['id']!r} ({worst[column]}); [audit] {key} "
                f"allows {limit:g}"
            )
    return exceeded


def warnings_of(summary: dict[str, Any]) -> list[str]:
    """List findings that deserve attention even if they exceed no limit."""
    warnings = []
    if summary["duplicates"]:
        warnings.append(
            "test records whose sequence is also in train or pretraining: "
            f"{summary['duplicates']}; test metrics may be too optimistic"
        )
    near, other = summary["near"], summary["near_other_label"] or 0
    if near > other:
        same = " of the same label" if other else ""
        warnings.append(
            f"test records with a near neighbour{same}: {near - other}; test metrics may be too "
            "optimistic"
        )
    if other:
        warnings.append(
            f"test records with a near neighbour of another label: {other}; they lower the test "
            "metrics, so check their labels"
        )
    warnings += [
        f"test records that share their {column} with train: {count}"
        for column, count in summary["shared"].items()
    ]
    for what, auroc in summary["tells_label"].items():
        if auroc >= TELLS_LABEL:
            warnings.append(
                f"{what} alone predicts the test labels with AUROC {auroc:.3f}; positives and "
                "negatives may differ for a technical reason"
            )
    return warnings


def worst_leaks(leaks: pd.DataFrame, most: int = 10) -> list[dict[str, Any]]:
    """Return the test records with the most similar neighbours, for the report."""
    top = (
        leaks[leaks["similarity"] > 0]
        .sort_values("similarity", ascending=False, kind="stable")
        .head(most)
    )
    return json.loads(top.to_json(orient="records"))


def describe_leaks(summary: dict[str, Any], leaks: pd.DataFrame) -> list[str]:
    """Return the lines for the log: counts, the most similar records and shifts."""
    records = ", ".join(
        f"{count:,} of {name}" for name, count in summary["records"].items() if name != "test"
    )
    fraction = summary["near"] / len(leaks)
    lines = [
        f"compared {len(leaks):,} test records with {records}",
        f"test records with a near neighbour (at least {summary['similarity']:g} of the k-mers "
        f"shared): {summary['near']} ({fraction:.2%})"
        + (
            ""
            if (other := summary["near_other_label"]) is None
            else f", {other} of them with another label"
        ),
        f"test records with the same sequence on either strand: {summary['duplicates']}, with an "
        f"overlapping interval: {summary['overlaps']}, seen by a parent model: {summary['seen']}, "
        f"with a group that is also in train: {sum(summary['shared'].values())}",
    ]
    for row in worst_leaks(leaks, 3):
        lines.append(
            f"most similar: {row['id']} shares {row['similarity']:.2f} of its k-mers with "
            f"{row['neighbour']} of {row['of']}"
            + ("" if row["strand"] == "." else f" (strand {row['strand']})")
        )
    for row in summary["shifts"]:
        lines.append(
            f"{'fraction of' if row['what'] == 'positives' else 'mean'} {row['what']}: "
            f"{row['train']:.4g} in train, {row['other']:.4g} in {row['split']} "
            f"({row['effect_is']} {row['effect']:+.3f}, {row['test']} test p = {row['p']:.2g})"
        )
    return lines

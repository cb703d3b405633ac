"""Audit a split: compare the test records with all records that a model learns from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.config import Audit, ClusterSplit, GroupSplit, RunFile
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.display import counted
from selfattn_bio.errors import CorpusError, LeakageError
from selfattn_bio.evaluation.leakage import (
    Part,
    counts_of,
    find_leaks,
    leak_rows,
    shifts_of,
    tells_label,
)
from selfattn_bio.files import whole_file, write_text
from selfattn_bio.layout import Layout
from selfattn_bio.log import LOG, log_lines
from selfattn_bio.result import TableResult
from selfattn_bio.sequence.alphabet import get_alphabet
from selfattn_bio.sequence.clusters import SIMILARITY, missed_relatives
from selfattn_bio.sequence.split_table import read_split
from selfattn_bio.sequence.tables import read_table
from selfattn_bio.study.study import Study

# Warn if length or GC content alone separates the labels with this AUROC.
TELLS_LABEL = 0.95
MOST_SIMILAR = 3  # test records in the log
TEXTS = ("id", "neighbour", "of", "strand", "duplicate", "overlap", "shared", "seen_by")


@dataclass(frozen=True, repr=False)
class Leakage(TableResult):
    """The result of an audit: leaks between the test records and the data of a model.

    Attributes
    ----------
    table
        One row per test record, with the columns of `evaluation.leakage.find_leaks`.
    summary
        Counts, differences between the splits, [audit] limits, exceeded limits (`failed`) and
        `warnings`, as in audit.json.
    split
        Path of the split table, for error messages; empty if it is not known.
    """

    table: pd.DataFrame
    summary: dict[str, Any]
    split: str = ""

    @property
    def lines(self) -> list[str]:
        """Return the result as text: counts, most similar records and shifts.

        `summary["warnings"]` has the warnings.
        """
        return describe_leaks(self.summary, self.table)

    def check_limits(self) -> None:
        """Raise LeakageError if a limit of [audit] is exceeded."""
        if failed := self.summary["failed"]:
            more = f" ({len(failed) - 1} more limits exceeded)" if len(failed) > 1 else ""
            hint = (
                'In [split] of the run file, write kind = "cluster" (similar records), or for a '
                'genome "chromosome" or "region" (docs/leakage.md); or raise the limit in [audit]'
            )
            raise LeakageError(failed[0] + more, place=self.split, hint=hint)

    def save(self, folder: str | Path) -> None:
        """Write the table as audit.tsv, and the summary as audit.json."""
        layout = Layout(Path(folder))
        with whole_file(layout.audit) as file:
            self.table.to_csv(file, sep="\t", index=False, lineterminator="\n", float_format="%.4g")
        text = json.dumps(self.summary, indent=1, allow_nan=False)
        write_text(layout.audit_counts, f"{text}\n")

    def __repr__(self) -> str:
        counts = ", ".join(
            f"{self.summary[name]} {name}"
            for name in ("near", "duplicates", "overlaps", "seen")
            if self.summary[name] is not None
        )
        limits = counted(len(self.summary["failed"]), "limit")
        records = counted(len(self.table), "test record")
        return f"Leakage of {records}: {counts}; {limits} exceeded"


def read_leaks(path: Path) -> pd.DataFrame:
    """Read the table that `Leakage.save` writes, with the types of `find_leaks`."""
    types = {"similarity": "float64", "partner_shared": "boolean", "overlap_letters": "Int64"}
    return read_table(path, TEXTS).astype({**types, "label": "Int8", "neighbour_label": "Int8"})


def audit(study: Study, pretraining: Sequence[str | Path] = ()) -> Leakage:
    """Compare the test records with all others; `Study.audit` describes it."""
    task, corpus, split = study.task, study.corpus, study.existing(study.root, "split")
    corpus.check_task(task)
    groups = _group_columns(task)
    names = pd.Series(read_split(split, corpus.records["id"]))
    parts = {
        name: _part(corpus, name, (names == name).to_numpy(bool), groups)
        for name in ("train", "valid", "test")
    }
    if empty := [name for name in ("train", "test") if not len(parts[name].letters)]:
        message = f"the {empty[0]} split has no records"
        raise CorpusError(message, place=str(split), hint="Change [split] in the run file")
    others = [parts["train"], *(_pretraining(path, corpus) for path in pretraining)]
    limits, seen = task.audit, _seen(task.parents)
    leaks = find_leaks(parts["test"], others, seen, corpus.alphabet, groups=groups, k=limits.k)
    similarity = limits.similarity or SIMILARITY[corpus.alphabet.family]
    tested = parts["test"].records
    groups = [name for name in groups if name in tested and tested[name].notna().any()]
    summary: dict[str, Any] = {
        "alphabet": corpus.alphabet.name,
        "records": {part.name: len(part.letters) for part in (parts["test"], *others)},
        "similarity": similarity,
        "groups": groups,
        "without_group": {name: n for name in groups if (n := int(tested[name].isna().sum()))},
        **counts_of(leaks, similarity),
        "shifts": [
            row
            for name in ("valid", "test")
            if parts[name].letters
            for row in shifts_of(parts["train"], parts[name], corpus.alphabet)
        ],
        "tells_label": tells_label(parts["test"], corpus.alphabet),
        "limits": limits.model_dump(),
    }
    summary |= {
        "failed": exceeded_limits(summary, leaks, limits),
        "warnings": warnings_of(summary),
    }
    leakage = Leakage(leaks, summary, str(split))
    leakage.save(study.root.folder)
    log_lines(leakage.lines)
    for warning in summary["warnings"]:
        LOG.warning(warning)
    LOG.info(f"wrote {study.root.audit}")
    return leakage


def _group_columns(task: RunFile) -> list[str]:
    """Return the columns of groups: `group`, `species`, and that of the split, if it has one."""
    split = task.split
    own = [split.column] if isinstance(split, GroupSplit | ClusterSplit) and split.column else []
    return list(dict.fromkeys(["group", "species", *own]))


def _part(corpus: Corpus, name: str, rows: NDArray[np.bool_], groups: list[str]) -> Part:
    """Return these records with the columns of groups, which may come from the targets."""
    held = corpus.summary.get("targets", {}).get("columns", ())
    records = corpus.records.assign(
        **{column: corpus.column(column) for column in groups if column in held}
    )
    letters = [corpus.letters(int(i)) for i in np.flatnonzero(rows)]
    partners = np.array(corpus.partner_hashes)[rows].tolist()
    return Part(name, records[rows].reset_index(drop=True), letters, corpus.assembly, partners)


def _pretraining(path: str | Path, corpus: Corpus) -> Part:
    """Return all records of a corpus used for pretraining."""
    found = Corpus.open(path)
    if found.alphabet != corpus.alphabet:
        raise CorpusError(
            f"this pretraining corpus has {found.alphabet.name} records, but the task's corpus has "
            f"{corpus.alphabet.name}",
            place=str(path),
        )
    return _part(found, str(path), np.ones(len(found), bool), [])


def _seen(models: Sequence[str | Path]) -> dict[str, pd.DataFrame]:
    """Return the records that each model and its parents were trained on."""
    if not models:
        return {}
    # imports torch, which an audit without models does not need
    from selfattn_bio.evaluation.lineage import read_lineage

    return {str(model): read_lineage(Path(model)).seen for model in models}


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
            summary["overlaps"] or 0,
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


def describe_leaks(summary: dict[str, Any], leaks: pd.DataFrame) -> list[str]:
    """Return the lines for the log: counts, the most similar records and shifts."""
    records = ", ".join(
        f"{count:,} of {name}" for name, count in summary["records"].items() if name != "test"
    )
    alphabet = get_alphabet(summary["alphabet"])
    lines = [
        f"compared {len(leaks):,} test records with {records}, by shared k-mers; "
        f"{missed_relatives(alphabet)}",
        *(
            what if count is None else f"{what}: {counted(count, 'test record')}"
            for what, count, _ in leak_rows(summary, alphabet)
        ),
    ]
    if (partners := summary["partners"]) is not None:
        lines.append(f"partners also in train: {partners:,} of {len(leaks):,} (near: first inputs)")
    nearest = leaks[leaks["similarity"] > 0].nlargest(MOST_SIMILAR, "similarity")
    for row in nearest.to_dict("records"):
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

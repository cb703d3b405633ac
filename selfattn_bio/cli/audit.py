"""Compare the test records with all records that the model learns from, and fail above a limit.

Each test record is searched for in the training records, in corpora used for pretraining, and in
the data that parent models saw. The audit reports its nearest neighbour by shared k-mers, equal
sequences on either strand, overlapping intervals, and shared groups and species. It also compares
labels, GC content and length between the splits.

Writes a table with one row per test record, and the counts as JSON next to it. If a limit of
[audit] is exceeded, both files are written, and the command ends with a one-line error and exit
code 1. docs/leakage.md explains the results.

example: selfattn-bio audit --run-file mine.toml --corpus mine/corpus --split mine/split.tsv \
--output mine/audit.tsv
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfattn_bio.errors import CorpusError

if TYPE_CHECKING:
    import pandas as pd

    from selfattn_bio.config import Audit, RunFile
    from selfattn_bio.evaluation.leakage import Part

# Warn if length or GC content alone separates the labels with this AUROC.
TELLS_LABEL = 0.95


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio audit`."""
    parser.add_argument(
        "--run-file",
        required=True,
        type=Path,
        metavar="FILE",
        help="run file of the task (uses [audit])",
    )
    parser.add_argument(
        "--corpus", required=True, type=Path, metavar="DIR", help="corpus folder, from `ingest`"
    )
    parser.add_argument(
        "--split", required=True, type=Path, metavar="FILE", help="split table, from `split`"
    )
    parser.add_argument(
        "--model",
        nargs="+",
        default=[],
        type=Path,
        metavar="DIR",
        help="model folders; neither their training data nor those of their parents may contain "
        "test records (default: each transfer.parent)",
    )
    parser.add_argument(
        "--pretraining",
        nargs="+",
        default=[],
        type=Path,
        metavar="DIR",
        help="corpus folders that a parent model was pretrained on",
    )
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="FILE",
        help="TSV to write, with the counts next to it as .json",
    )


def run(arguments: argparse.Namespace) -> None:
    """Compare the test records with all others, write the results, and fail above a limit."""
    import pandas as pd

    from selfattn_bio.config import read_run_file
    from selfattn_bio.data.corpus import Corpus
    from selfattn_bio.evaluation.leakage import counts_of, find_leaks, shifts_of, tells_label
    from selfattn_bio.files import whole_file
    from selfattn_bio.sequence.clusters import SIMILARITY
    from selfattn_bio.sequence.splits import read_split

    run_file, corpus = read_run_file(arguments.run_file), Corpus.open(arguments.corpus)
    groups = _groups(run_file)
    split = pd.Series(read_split(arguments.split, corpus.records["id"]))
    parts = {
        name: _part(corpus, name, (split == name).to_numpy(bool), groups)
        for name in ("train", "valid", "test")
    }
    if empty := [name for name in ("train", "test") if not len(parts[name].letters)]:
        raise CorpusError(
            f"the {empty[0]} split has no records",
            place=str(arguments.split),
            hint="Change [split] in the run file",
        )
    others = [parts["train"], *(_pretraining(path, corpus) for path in arguments.pretraining)]
    models = arguments.model or run_file.parents
    limits = run_file.audit
    if run_file.data.keep_duplicates and "max_duplicates" not in limits.model_fields_set:
        limits = limits.model_copy(update={"max_duplicates": None})
    similarity = limits.similarity or SIMILARITY[corpus.alphabet.name]

    leaks = find_leaks(
        parts["test"], others, _seen(models), corpus.alphabet, groups=groups, k=limits.k
    )
    summary: dict[str, Any] = {
        "records": {part.name: len(part.letters) for part in (parts["test"], *others)},
        "similarity": similarity,
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
    summary["failed"], summary["warnings"] = _failed(summary, leaks, limits), _warnings(summary)
    summary["worst"] = _worst(leaks)
    with whole_file(arguments.output) as path:
        leaks.to_csv(path, sep="\t", index=False, lineterminator="\n", float_format="%.4g")
    with whole_file(arguments.output.with_suffix(".json")) as path:
        path.write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    for line in _lines(summary, leaks):
        print(f"audit: {line}", flush=True)
    print(f"audit: wrote {arguments.output}", flush=True)
    if summary["failed"]:
        more = len(summary["failed"]) - 1
        hint = "Choose a [split] that keeps them together (docs/leakage.md), or raise the limit"
        raise CorpusError(
            summary["failed"][0] + (f" ({more} more limits exceeded)" if more else ""),
            place=str(arguments.split),
            hint=hint,
        )


def _groups(run_file: RunFile) -> list[str]:
    """Return the columns of groups: `group`, `species`, and the column of a split by group."""
    from selfattn_bio.config import GroupSplit

    own = [run_file.split.column] if isinstance(run_file.split, GroupSplit) else []
    return list(dict.fromkeys(["group", "species", *own]))


def _part(corpus: Any, name: str, rows: Any, groups: list[str]) -> Part:
    """Return these records with the columns of groups, which may come from the targets."""
    import numpy as np

    from selfattn_bio.evaluation.leakage import Part

    held = corpus.summary.get("targets", {}).get("columns", ())
    of_targets = [column for column in groups if column not in corpus.records and column in held]
    records = corpus.records.assign(**corpus.targets(of_targets)) if of_targets else corpus.records
    letters = [corpus.letters(int(i)) for i in np.flatnonzero(rows)]
    partners = np.array(corpus.partner_hashes)[rows].tolist()
    return Part(name, records[rows].reset_index(drop=True), letters, corpus.assembly, partners)


def _pretraining(path: Path, corpus: Any) -> Part:
    import numpy as np

    from selfattn_bio.data.corpus import Corpus

    found = Corpus.open(path)
    if found.alphabet != corpus.alphabet:
        raise CorpusError(
            f"this --pretraining corpus has {found.alphabet.name} records, but --corpus has "
            f"{corpus.alphabet.name}",
            place=str(path),
        )
    return _part(found, str(path), np.ones(len(found), bool), [])


def _seen(models: list[Path]) -> dict[str, pd.DataFrame]:
    if not models:
        return {}
    from selfattn_bio.model.lineage import read_lineage  # imports torch, which is needed only here

    return {str(model): read_lineage(model).seen for model in models}


def _failed(summary: dict[str, Any], leaks: pd.DataFrame, limits: Audit) -> list[str]:
    """List the exceeded limits as error messages, the most serious first."""
    num_test = len(leaks)
    shared = int((leaks["shared"] != "").sum())
    most, near = float(leaks["similarity"].max()), summary["near"] / num_test
    checks: list[tuple[str, str, float, float | None, str]] = [
        (
            "max_duplicates",
            "test records with the same sequence in train or pretraining",
            summary["duplicates"],
            limits.max_duplicates,
            "duplicate",
        ),
        (
            "max_overlaps",
            "test records that overlap a record of train or pretraining",
            summary["overlaps"],
            limits.max_overlaps,
            "overlap",
        ),
        (
            "max_seen",
            "test records that a parent of the model saw",
            summary["seen"],
            limits.max_seen,
            "seen_by",
        ),
        (
            "max_shared",
            "test records of a group that is also in train",
            shared,
            limits.max_shared,
            "shared",
        ),
        (
            "max_similarity",
            "highest similarity of a test record to its nearest neighbour",
            most,
            limits.max_similarity,
            "neighbour",
        ),
        (
            "max_near",
            f"fraction of test records with a neighbour of similarity {summary['similarity']:g} "
            "or more",
            near,
            limits.max_near,
            "neighbour",
        ),
    ]
    failed = []
    for key, what, value, limit, column in checks:
        if limit is not None and value > limit:
            worst = (
                leaks[leaks[column] != ""]
                .sort_values("similarity", ascending=False, kind="stable")
                .iloc[0]
            )
            failed.append(
                f"{what}: {value:.4g}, such as {worst['id']!r} ({worst[column]}); [audit] {key} "
                f"allows {limit:g}"
            )
    return failed


def _warnings(summary: dict[str, Any]) -> list[str]:
    """List findings that exceed no limit but deserve attention."""
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


def _worst(leaks: pd.DataFrame, most: int = 10) -> list[dict[str, Any]]:
    """Return the test records with the most similar neighbours, for the report."""
    top = (
        leaks[leaks["similarity"] > 0]
        .sort_values("similarity", ascending=False, kind="stable")
        .head(most)
    )
    return json.loads(top.to_json(orient="records"))


def _lines(summary: dict[str, Any], leaks: pd.DataFrame) -> list[str]:
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
    for row in _worst(leaks, 3):
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
    return lines + [f"warning: {warning}" for warning in summary["warnings"]]

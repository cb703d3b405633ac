"""Ingest sequences into a corpus, and split it into train, valid and test."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from selfattn_bio.config import ColumnSplit, FilesSplit, RunFile, check_files, enlarge_by, place_of
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.ingest import build_corpus, describe
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.display import counted
from selfattn_bio.errors import ArgumentError, CorpusError
from selfattn_bio.evaluation.units import FEW_UNITS, MIN_UNITS, count_units, growth
from selfattn_bio.files import check_output_file, listed
from selfattn_bio.layout import Layout
from selfattn_bio.log import LOG, log_lines
from selfattn_bio.result import TableResult
from selfattn_bio.sequence import split_table
from selfattn_bio.sequence.alphabet import get_alphabet
from selfattn_bio.sequence.readers import sequence_files
from selfattn_bio.sequence.readers.table import is_missing
from selfattn_bio.sequence.records import Fields
from selfattn_bio.split_names import SPLITS
from selfattn_bio.study.study import Study

if TYPE_CHECKING:  # imports genomes, clusters and numba, which plain sequence files do not need
    from selfattn_bio.data.partner import Partners
    from selfattn_bio.data.sources import Source

# lengths in bp of the blocks that `split` proposes, largest first
BLOCKS = (200_000, 100_000, 50_000, 20_000, 10_000)
ALL = ""  # all records, next to the columns of classes


def ingest(study: Study) -> Corpus:
    """Read the sequences of a task; `Study.ingest` describes it."""
    from selfattn_bio.data.partner import Partners
    from selfattn_bio.data.sources import sources_of

    task = study.task
    inputs = [*task.data.inputs, *((task.partner and task.partner.files) or ())]
    check_files(task.path, inputs)
    for name in vars(Layout):
        if isinstance(path := getattr(study.root, name), Path) and path.is_file():
            check_output_file(path, *inputs)  # a later step would replace this input
    rules = replace(
        RecordRules.of(task.data),
        repeats=task.repeats,
        learnt=task.objective.target_columns,
        numbers=task.objective.number_columns,
        split_column=task.split.column if isinstance(task.split, ColumnSplit | FilesSplit) else "",
        place=place_of(task.path, "objective", "columns") if task.path else "",
        named=frozenset(re.findall('"([^"]*)"', task.model_dump_json())),
    )
    partners = Partners(task.partner, task.data) if task.partner else None
    sources = sources_of(task.data, task.split, task.objective.target_columns)
    return _build(sources, study.root.corpus, rules, task.data.targets, partners)


def ingest_files(
    files: str | Path | Sequence[str | Path],
    output: str | Path,
    rules: str | RecordRules,
    *,
    labels: Sequence[int] | str | None = None,
    positive: Sequence[str] = (),
    sequence_column: str = "",
    header: str = "",
    ids: Literal["given", "numbered"] = "given",
    targets: str | Path | None = None,
) -> Corpus:
    """Read sequence files into a corpus folder without a run file.

    Parameters
    ----------
    files
        One or more FASTA, FASTQ, GenBank, EMBL, CSV, TSV or Parquet files, plain or compressed.
    output
        Folder to write; an earlier corpus is replaced.
    rules
        `dna`, `rna`, `ssdna` or `protein`, or `RecordRules` with the alphabet, limits of the
        length, and how to read lower case, gaps and duplicates. Their `learnt` is set here.
    labels
        Label of each file, 1 or 0, or the column or header attribute with the label of each
        record. By default, records are unlabelled.
    positive
        Values of the label column that mean 1. If none are given, labels are 1 and 0.
    sequence_column
        Column of the sequences in tables, by default `sequence`.
    header
        Regular expression for FASTA headers and the ids of tables. Its group is the label, and a
        named group is a column.
    ids
        Ids from the files, or numbered as FILE_1, FILE_2 and so on.
    targets
        Table of targets with a column id and columns to learn.

    Returns
    -------
    The corpus, opened.

    Raises
    ------
    ArgumentError
        If there is not one label, 1 or 0, per file, or `header` is not a regular expression.
    CorpusError, OutputError, SequenceFileError
        As in `data.ingest.build_corpus`.
    """
    files = listed(files)
    column, of_files = (labels, None) if isinstance(labels, str) else ("", labels)
    if of_files and (len(of_files) != len(files) or not {0, 1}.issuperset(of_files)):
        raise ArgumentError(f"{len(files)} files need as many labels, 1 or 0, not {of_files}")
    try:
        re.compile(header)
    except re.error as error:
        message = f"header {header!r} is not a valid regular expression: {error}"
        raise ArgumentError(message) from error
    columns = {"sequence": sequence_column} if sequence_column else {}
    fields = Fields(column, tuple(positive), header, columns, numbered=ids == "numbered")
    sources = sequence_files(files, fields, of_files or ())
    if isinstance(rules, str):
        rules = RecordRules(get_alphabet(rules))
    rules = replace(rules, learnt=() if labels else None)
    return _build(sources, output, rules, targets, None)


def _build(
    sources: Sequence[Source],
    output: str | Path,
    rules: RecordRules,
    targets: str | Path | None,
    partners: Partners | None,
) -> Corpus:
    """Build the corpus, and report what was read, changed and dropped."""
    corpus = build_corpus(sources, output, rules, targets, partners)
    log_lines(describe(corpus.summary))
    for line in describe(corpus.partner.summary) if corpus.partner else ():
        LOG.info(f"partners: {line}")
    return corpus


@dataclass(frozen=True, repr=False)
class Split(TableResult):
    """A split table, which is accepted wherever a path of one is.

    Attributes
    ----------
    path
        The file.
    table
        id, split (train, valid, test, dropped) and reason; one row per record of the corpus.
    """

    path: Path
    table: pd.DataFrame

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of records in train, valid and test, and of dropped records."""
        names = (*SPLITS, split_table.DROPPED)
        return {name: int((self.table["split"] == name).sum()) for name in names}

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        return f"Split of {counted(len(self.table), 'record')}: {counts}"


def split(study: Study) -> Split:
    """Split the corpus of a task; `Study.split` describes it."""
    from selfattn_bio.study.splitting import assign_records

    task, corpus = study.task, study.corpus
    corpus.check_task(task)
    try:
        table = assign_records(task, corpus)
    except CorpusError as error:
        key = re.match(r"\[split\] (\w+)", error.message)
        of_key = place_of(task.path, "split", key[1]) if key and task.path else ""
        place = error.place or of_key or str(corpus.path)
        raise CorpusError(error.message, place=place, hint=error.hint) from error
    found = Split(study.root.split, table)
    found.save(study.root.split)
    classes = corpus.targets(task.objective.class_columns)
    log_lines(split_table.describe(table, corpus.records["label"], classes))
    if task.objective.has_scores:
        of_classes = classes if len(classes.columns) else corpus.records[["label"]]
        of_classes = of_classes.mask(of_classes.map(is_missing))
        tested = of_classes.assign(**{ALL: "records"})[table["split"] == "test"]
        _warn_of_few_units(task, corpus, found.path, tested)
    return found


def _warn_of_few_units(task: RunFile, corpus: Corpus, path: Path, tested: pd.DataFrame) -> None:
    """Warn of few units of a class, or in all, in test; name the largest blocks with enough."""
    from selfattn_bio.study.splitting import record_units

    def count(block: int | None = None) -> tuple[pd.Series, str]:
        keys, name = record_units(task, corpus, path, block)
        return count_units(keys[tested.index], tested), name

    def needed(counts: pd.Series) -> float:
        return max(growth(counts.min(), MIN_UNITS), growth(counts[ALL, "records"], FEW_UNITS))

    counts, name = count()
    rarest: Any = counts.idxmin()
    total, factor = counts[ALL, "records"], needed(counts)
    if factor <= 1:
        return
    blocks = BLOCKS if "block" in name else ()
    enough = [block for block in blocks if needed(count(block)[0]) <= 1]
    finer = f". Here, [evaluation] block = {enough[0]} gives enough" if enough else ""
    of_class = f", {counts[rarest]} of {rarest[0]} {rarest[1]}" if rarest[0] != ALL else ""
    LOG.warning(
        f"few {name} in test: {total} in all{of_class}. With fewer than {MIN_UNITS} of a class, "
        "the effects of its motifs may not be measured. With fewer than "
        f"{FEW_UNITS} in all, intervals are too narrow. "
        f"For more, {enlarge_by(task.split, factor)}{finer}"
    )

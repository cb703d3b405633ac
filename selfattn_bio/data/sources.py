"""Read the sources of records for a corpus: files, windows of a genome, generated negatives.

`build_corpus` accepts any `Source`. `sources_of` converts the [data] section of a run file to
sources and is the only function that knows all kinds.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np
import pandas as pd

from selfattn_bio import config
from selfattn_bio.arrays import Bools
from selfattn_bio.config import AnySplit, ColumnSplit, Data, FilesSplit, NegativesSection
from selfattn_bio.errors import IntervalError
from selfattn_bio.files import BED_FILES, GFF_FILES, sha256_of
from selfattn_bio.sequence import negatives as made
from selfattn_bio.sequence import windows
from selfattn_bio.sequence.alphabet import get_alphabet
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.intervals import Cover, columns_of, read_intervals
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.readers import SequenceFile, distinct_stems, sequence_files
from selfattn_bio.sequence.records import Fields, ReadSummary, Record
from selfattn_bio.sequence.tracks import binned, gini, track_of, values_of

_fail = IntervalError.fail

Columns = Callable[[int, Record], dict[str, str | None]]


@dataclass
class GenomeSource:
    """Windows of interval files, with one label for all or one per window.

    Parameters
    ----------
    data
        The [data] section of the run file, with a genome.
    paths
        The interval files.
    label
        1 or 0 for all windows, or None to use `data.label`.
    """

    data: config.Data
    paths: Sequence[str]
    label: int | None
    counts: Counter[str] = field(default_factory=Counter)

    def records(self, policy: SequencePolicy, summary: ReadSummary) -> Iterator[Record]:
        """Read the windows; see `data.sources.Source`."""
        self.counts.clear()
        with _genome_of(self.data) as genome:
            table = windows_of(self.data, self.paths, genome, self.counts)
            table, columns = _columns(self.data, table, genome, self.counts)
            labels = _labels(self.data, table, self.label, genome)
            if self.label == 0 and self.data.positives:
                positives = windows_of(self.data, self.data.positives, genome, Counter())
                _check_apart(positives, table)
                self.counts["given negatives that overlap a positive"] += int(
                    (Cover(positives).bases_of(table) > 0).sum()
                )
            ids = _numbered(self.data, table) if self.data.ids == "numbered" else None
            for row, record in _cut(table, genome, policy, summary, ids):
                yield record._replace(label=labels[row], targets=columns(row, record) or None)

    def about(self) -> dict[str, Any]:
        """Return files and genome with their hashes, and the counts of unusual windows."""
        others = [*getattr(self.data.label, "files", ()), *self.data.track_files]
        return _about(self.paths, [self.data.genome, *others], self.counts)


@dataclass
class MadeNegatives:
    """Negatives generated from the positives of [data], as `data.negatives` defines.

    `attributes` are those of `files_of`.
    """

    data: config.Data
    attributes: tuple[str, ...] = ()
    counts: Counter[str] = field(default_factory=Counter)

    def records(self, policy: SequencePolicy, summary: ReadSummary) -> Iterator[Record]:
        """Generate the negatives; see `data.sources.Source`."""
        self.counts.clear()
        section, positives = self.data.negatives, self.data.positives or ()
        assert isinstance(section, config.NegativesSection)
        wanted = made.Wanted(section.per_positive, section.seed, section.may_lack)
        if isinstance(section, config.ShuffledNegatives):
            sources = (
                [GenomeSource(self.data, positives, 1)]
                if self.data.genome
                else files_of(self.data, self.attributes)
            )
            once = ReadSummary()  # they are already counted as positives
            given = (record for source in sources for record in source.records(policy, once))
            for record in made.shuffled(given, section.k, wanted, self.counts):
                summary.claim(record.id, f"shuffled {positives[0]}", 0)
                yield record._replace(label=0)
            return
        with _genome_of(self.data) as genome:
            table = windows_of(self.data, positives, genome, Counter())
            exclude = _excluded(getattr(section, "exclude", None) or (), genome, self.counts)
            if isinstance(section, config.MatchedNegatives):
                table = made.matched(table, genome, wanted, exclude, section.tolerance, self.counts)
            elif isinstance(section, config.NeighbourNegatives):
                table = made.neighbours(
                    table, genome, wanted, exclude, section.distance, section.steps, self.counts
                )
            for _, record in _cut(table, genome, policy, summary):
                yield record._replace(label=0)

    def about(self) -> dict[str, Any]:
        """Return the settings, the files used with their hashes, and the counts."""
        assert isinstance(self.data.negatives, config.NegativesSection)
        others = [self.data.genome, *(getattr(self.data.negatives, "exclude", None) or ())]
        return _about(self.data.positives or (), others, self.counts) | {
            "made": self.data.negatives.model_dump(mode="json")
        }


def files_of(data: config.Data, attributes: tuple[str, ...] = ()) -> list[SequenceFile]:
    """Return the sequence files of [data], each with the label of its records.

    `attributes` of FASTA headers are read as columns.
    """
    fields = Fields(
        data.label if isinstance(data.label, str) else "",
        data.positive or (),
        data.header,
        {str(field): column for field, column in data.columns.items()},
        attributes,
        data.ids == "numbered",
    )
    paths, labels = zip(*data.files, strict=True)
    return sequence_files(paths, fields, labels)


def windows_of(
    data: config.Data, paths: Iterable[str], genome: Genome, counts: Counter[str]
) -> pd.DataFrame:
    """Return the windows of the files as defined by `data.windows`, each only once."""
    section = data.windows or config.WholeWindows()
    intervals = windows.place(_read(paths, section.feature), genome)
    match section:
        case config.CenteredWindows(width=width, center=center):
            table = windows.centered(intervals, width, center)
        case config.FlankedWindows(upstream=upstream, downstream=downstream, of=of):
            table = windows.flanked(intervals, upstream, downstream, of)
        case config.TiledWindows(width=width, step=step):
            table = windows.tiled(intervals, width, step)
        case _:
            table = intervals
    return windows.within(table, genome, section.at_ends, counts)


def _check_apart(positives: pd.DataFrame, negatives: pd.DataFrame) -> None:
    """Refuse windows that have both labels; `within` checks windows of one label."""
    both = negatives.merge(
        positives, on=["chrom", "start", "end", "strand"], suffixes=("", "_positive")
    )
    if len(both):
        first = both.iloc[0]
        more = f", like {len(both) - 1} more" if len(both) > 1 else ""
        window = f"{first['chrom']}:{first['start']}-{first['end']}({first['strand']})"
        hint = f"Remove it here or in {first['path_positive']}:{first['line_positive']}"
        message = f"window {window} is both a positive and a negative{more}"
        raise IntervalError(message, place=f"{first['path']}:{first['line']}", hint=hint)


def _genome_of(data: config.Data) -> Genome:
    assert data.genome is not None
    return Genome(data.genome, get_alphabet(data.alphabet))


def _read(paths: Iterable[str], feature: str) -> pd.DataFrame:
    return pd.concat([read_intervals(path, feature) for path in paths], ignore_index=True)


def _numbered(data: config.Data, table: pd.DataFrame) -> list[str]:
    """Return ids made of file name and number, as for sequences."""
    paths = [path for path, _ in data.files]
    stems = dict(zip(paths, distinct_stems(paths), strict=True))
    numbers = table.groupby("path").cumcount() + 1
    return [f"{stems[path]}_{number}" for path, number in zip(table["path"], numbers, strict=True)]


def _cut(
    table: pd.DataFrame,
    genome: Genome,
    policy: SequencePolicy,
    summary: ReadSummary,
    ids: Sequence[str] | None = None,
) -> Iterator[tuple[int, Record]]:
    paths, lines = table["path"].tolist(), table["line"].tolist()
    for row, record in windows.cut(table, genome, policy.soft_mask):
        if ids:
            record = record._replace(id=ids[row])
        summary.claim(record.id, paths[row], lines[row])
        yield row, record


def _excluded(paths: Sequence[str], genome: Genome, counts: Counter[str]) -> pd.DataFrame | None:
    """Return the excluded intervals with the chromosome names of the genome.

    Intervals on chromosomes that the genome lacks are counted and left out.
    """
    if not paths:
        return None
    intervals = _read(paths, "")
    names = intervals["chrom"].map(
        {str(chrom): genome.name_of(str(chrom)) for chrom in intervals["chrom"].unique()}
    )
    counts["excluded intervals on chromosomes that are not in the genome"] += int(
        names.isna().sum()
    )
    return intervals.assign(chrom=names)[names.notna()]


def _labels(
    data: config.Data, table: pd.DataFrame, label: int | None, genome: Genome
) -> Sequence[int | None]:
    match data.label if label is None else None:
        case config.ScoreLabels(threshold=threshold):
            if (without := table[table["score"].isna()]).size:
                place = f"{without['path'].iloc[0]}:{without['line'].iloc[0]}"
                IntervalError.fail("the interval has no score, which its label depends on", place)
            return (table["score"] >= threshold).astype(int).tolist()
        case config.OverlapLabels(files=files, feature=feature, bases=bases, fraction=fraction):
            covered = Cover(windows.place(_read(files, feature), genome)).bases_of(table)
            least = np.maximum(bases, fraction * (table["end"] - table["start"]))
            return (covered >= least).astype(int).tolist()
    return [label] * len(table)


def _columns(
    data: config.Data, table: pd.DataFrame, genome: Genome, counts: Counter[str]
) -> tuple[pd.DataFrame, Columns]:
    """Return the windows to keep, and a function from a row and its record to its targets."""
    numbers, letters = pd.DataFrame(index=table.index), []
    of_files = [
        columns_of(str(path)).loc[rows["line"]].set_index(rows.index)
        for path, rows in table.groupby("path")
        if not str(path).lower().endswith((*BED_FILES, *GFF_FILES))
    ]
    if of_files:
        numbers = pd.concat(of_files).reindex(table.index)
    keep = np.ones(len(table), bool)
    for name, track in data.tracks.items():
        if isinstance(track, config.NumberTrack):
            found = _numbers(name, track, table, genome)
            numbers = pd.concat([numbers, found], axis=1)
            if track.gini_std is not None:
                keep &= _differ(found, table, track.gini_std)
        else:
            letters.append(_letters(name, track, table, genome))
    counts["windows dropped because tracks do not differ (gini_std)"] += int((~keep).sum())
    names, values = list(map(str, numbers)), numbers[keep].to_numpy()
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        hint = "Rename a track, a column of the table, or obs of the .h5ad file"
        _fail(f"two columns have the name {repeated[0]!r}", table["path"].iloc[0], hint)

    def targets(row: int, record: Record) -> dict[str, str | None]:
        found = dict(zip(names, map(_text, values[row]), strict=True))
        return found | {name: text for of in letters for name, text in of(record).items()}

    return table[keep].reset_index(drop=True), targets


def _text(value: float | str) -> str | None:
    """Return a number, or a cell of a table, as the text of a target; None if it is missing."""
    if isinstance(value, str):
        return value
    return None if np.isnan(value) else f"{value:.9g}"


def _numbers(
    name: str, section: config.NumberTrack, table: pd.DataFrame, genome: Genome
) -> pd.DataFrame:
    """Return the numbers of the windows, float32, one column per file and bin."""
    around = windows.centered(table, section.width) if section.width else table
    widths, bin_ = (around["end"] - around["start"]).unique(), section.bin
    if bin_ and (len(widths) > 1 or widths[0] % bin_):
        width = f"{widths[0]}" if len(widths) == 1 else f"{widths.min()} to {widths.max()}"
        text = f"windows of {width} bp cannot be divided into bins of {bin_} bp"
        _fail(text, section.path[0], 'Use windows of kind "centered", or another bin')
    number = widths[0] // bin_ if bin_ else 1
    found = np.empty((len(table), len(section.path), number), np.float32)
    for column, path in enumerate(section.path):
        track = track_of(path, section.feature, genome, table, section.missing)
        for row, values in values_of(track, around):
            found[row, column] = binned(values, bin_ or len(values), section.summary)
        if section.summary == "log_sum" and (found[:, column] < 0).any():
            _fail("the sum of a window is negative, so log_sum has no value", path, "Use sum")
    return pd.DataFrame(found.reshape(len(table), -1), columns=section.columns(name, widths[0]))


def _differ(numbers: pd.DataFrame, table: pd.DataFrame, least: float) -> Bools:
    """Return which windows differ between columns: a Gini index `least` SD above the mean."""
    values = numbers.to_numpy(np.float64)
    if np.isnan(values).any():
        row, column = np.argwhere(np.isnan(values))[0]
        _fail(
            f"track {numbers.columns[column]!r} has no data here, so gini_std cannot compare it",
            f"{table['path'][row]}:{table['line'][row]}",
            "Set missing = 0 if positions without data have no signal",
        )
    if (means := values.mean(axis=0)).min() <= 0:
        name = numbers.columns[means.argmin()]
        _fail(f"track {name!r} has no signal in the windows", table["path"][0], "Remove it")
    indices = gini(values / means)
    keep: Bools = indices > indices.mean() + least * indices.std()
    if not keep.any():
        _fail("no window differs so much between tracks", table["path"][0], "Lower gini_std")
    return keep


def _letters(
    name: str, section: Any, table: pd.DataFrame, genome: Genome
) -> Callable[[Record], dict[str, str | None]]:
    if isinstance(section, config.LetterTrack):
        marks, other, threshold = {section.feature: "1"}, "0", section.threshold
    else:  # features are 1 inside and 0 elsewhere
        marks, other, threshold = section.classes, section.other, 0.5
    layers = [(track_of(section.path, each, genome, table), mark) for each, mark in marks.items()]

    def letters(record: Record) -> dict[str, str | None]:
        marks = np.full(len(record.letters), ord(other), np.uint8)
        for track, mark in layers:
            values = track.values(*cast(tuple[str, int, int], record[2:5]))
            values = values[::-1] if record.strand == "-" else values
            marks[values >= threshold], marks[np.isnan(values)] = ord(mark), ord("-")
        return {name: marks.tobytes().decode()}

    return letters


def _about(
    paths: Sequence[str], others: Iterable[str | None], counts: Counter[str]
) -> dict[str, Any]:
    hashes = [sha256_of(path) for path in paths]
    whole = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    return {
        "path": ", ".join(paths),
        "sha256": whole,
        "files": [{"path": path, "sha256": sha256_of(path)} for path in others if path],
        "counts": {what: count for what, count in counts.items() if count},
    }


class Source(Protocol):
    """A source of records."""

    def records(self, policy: SequencePolicy, summary: ReadSummary) -> Iterator[Record]:
        """Yield records with their labels.

        `summary` counts unusual content and keeps the ids read so far.
        """

    def about(self) -> dict[str, Any]:
        """Return the entry for corpus.json: `path`, `sha256` and other dependencies.

        It is called after all records have been read.
        """


@dataclass
class SplitSource:
    """A source whose records all belong to one split, stored in the column `column`."""

    source: Source
    column: str
    split: str

    def records(self, policy: SequencePolicy, summary: ReadSummary) -> Iterator[Record]:
        """Read the records of the source; see `Source`."""
        for record in self.source.records(policy, summary):
            yield record._replace(targets={**(record.targets or {}), self.column: self.split})

    def about(self) -> dict[str, Any]:
        """Describe the source and its split."""
        return self.source.about() | {"split": self.split}


def sources_of(
    data: Data, split: AnySplit | None = None, columns: tuple[str, ...] = ()
) -> list[Source]:
    """Return the sources in [data]: positives, negatives, sequences, or the files of each split.

    The `columns` to learn are read from FASTA headers if there is no table of targets.
    """
    attributes = columns if data.targets is None else ()
    of_column = ColumnSplit | config.GroupSplit | config.ClusterSplit
    if isinstance(split, of_column) and split.column:
        attributes += (split.column,)
    made: list[Source] = (
        [MadeNegatives(data, attributes)] if isinstance(data.negatives, NegativesSection) else []
    )
    if isinstance(split, FilesSplit):
        return [
            SplitSource(source, split.column, name)
            for name, source in _sources_by_split(data, attributes)
        ]
    if data.genome:
        given = {
            label: [path for path, other in data.files if other == label] for _, label in data.files
        }
        return [*(GenomeSource(data, paths, label) for label, paths in given.items()), *made]
    return [*files_of(data, attributes), *made]


def _sources_by_split(data: Data, attributes: tuple[str, ...]) -> list[tuple[str, Source]]:
    if data.genome:
        return [
            (name, GenomeSource(data, paths, None)) for name, paths in data.given_splits.items()
        ]
    names = [name for name, paths in data.given_splits.items() for _ in paths]
    return list(zip(names, files_of(data, attributes), strict=True))

"""Read the files of a new task once, for its alphabet, lengths, ids, coordinates and columns."""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.display import counted
from selfattn_bio.errors import RecordIdError, RunFileError, SequenceFileError
from selfattn_bio.log import logging_from
from selfattn_bio.objectives.points import points_of
from selfattn_bio.sequence.alphabet import DNA, PROTEIN, RNA, Alphabet, Letters, get_alphabet
from selfattn_bio.sequence.clusters import SIMILARITY, suitable_clusters
from selfattn_bio.sequence.intervals import columns_of, read_intervals
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.readers import SequenceFile, sequence_files
from selfattn_bio.sequence.readers.table import targets_table
from selfattn_bio.sequence.records import Fields, ReadSummary, Record, value_pattern
from selfattn_bio.sequence.split_table import strand_keys
from selfattn_bio.sequence.splits import bundles_of
from selfattn_bio.wizard.columns import NO_SPLIT, REPEATED, SPLIT_WORDS, target_of
from selfattn_bio.wizard.request import Request
from selfattn_bio.wizard.tables import (
    GROUP_NAME,
    HEAD,
    are_sequences,
    coordinate_columns,
    find_id_column,
    match_ids,
    sequence_column_of,
    table_head,
    texts_of,
)

DNA_SHARE = 0.9  # smallest fraction of A, C, G, T, U and N in DNA; proteins have much less
# patterns of headers with a label, and perhaps a split
HEADERS = (
    rf"\|(?P<label>[^|\s]+)\|(?P<split>(?i:{'|'.join(SPLIT_WORDS)}))$",  # headers of iLearn
    r"\|(?P<label>[^|\s]+)$",
)
# ids such as chr6:212-412, with (+) of a strand, or after NAME:: as bedtools writes them
COORDINATES = r"^(?:\S*::)?(?P<chrom>[^:\s]+):(?P<start>\d+)-(?P<end>\d+)(?:\((?P<strand>[+-])\))?"
ATTRIBUTE = rf"\s([A-Za-z_]\w*)={value_pattern('value')}"  # name and value, after the id
# in the names of columns of RNA, such as utr, mRNA or guide_seq, but not mRNA_promoter
RNA_NAME = re.compile(r"^(?!.*(?:promoter|dna)).*(?:rna|utr|guide)s?(?![a-z])", re.IGNORECASE)
READ = 1114  # bp; windows for a profile of 1,000 bp, with context on both sides
SHOWN = 12  # characters of a sequence in a message


@dataclass
class Contents:
    """The records of a task; each list has one item per record.

    Parameters
    ----------
    files
        Group of files of each record: positives, negatives, sequences, train, valid or test.
    columns
        Text by column of tables, or by attribute of headers; None if a record has no value.
    keys
        Hash of each sequence, the same for both strands; empty for intervals.
    targets
        Names of the columns from a table of targets; only these are learned.
    attributes
        An example of each attribute in the headers of the first records, by name; the first values
        of each column of a table.
    sequence_column, id_column
        Columns of the sequences and ids in tables.
    located
        Columns of the coordinates in tables, by field, if they have other names than the fields.
    notes
        Messages about unexpected ids, and about records with T among U or U among T.
    is_table
        Whether the columns come from tables, not from headers.
    is_numbered
        Whether ids are repeated or missing, so that the records must be numbered.
    header
        [data] header, the pattern of headers such as `>name|label`, and of ids with coordinates.
    windows
        [data] windows, for intervals; empty if they have the default.
    are_variants
        Whether the first records differ from each other in few letters.
    letters
        The sequences; empty for intervals.
    ends
        End of each record on its chromosome; None without coordinates.
    """

    alphabet: Alphabet
    files: list[str]
    ids: list[str]
    lengths: list[int]
    chromosomes: list[str | None]
    groups: list[str | None]
    keys: list[bytes] = field(default_factory=list)
    columns: dict[str, list[str | None]] = field(default_factory=dict)
    targets: list[str] = field(default_factory=list)
    attributes: dict[str, list[str | None]] = field(default_factory=dict)
    sequence_column: str = "sequence"
    id_column: str = "id"
    located: Mapping[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    is_table: bool = False
    is_numbered: bool = False
    header: str = ""
    windows: dict[str, Any] = field(default_factory=dict)
    are_variants: bool = False
    letters: Letters = ()
    ends: list[int | None] = field(default_factory=list)
    _clusters: dict[tuple[str | None, ...], tuple[float, list[int]]] = field(default_factory=dict)

    @property
    def counts(self) -> Counter[str]:
        """Return the number of records in each group of files."""
        return Counter(self.files)

    @property
    def every_column(self) -> dict[str, list[str | None]]:
        """Return the columns with those read as chrom and group, unless they are empty."""
        read = {"chrom": self.chromosomes, "group": self.groups}
        return self.columns | {name: texts for name, texts in read.items() if any(texts)}

    def clusters(self, groups: tuple[str | None, ...]) -> tuple[float, list[int]]:
        """Return the similarity of a split by clusters, and the cluster of each sequence.

        Clusters that have a group in common are joined; None is no group. Intervals and variants of
        one sequence are alone in their clusters.
        """
        if self.are_variants or not self.letters:
            return SIMILARITY[self.alphabet.family], list(range(len(self.files)))
        if groups not in self._clusters:
            join = partial(bundles_of, pd.DataFrame({"id": self.ids}), list(groups))
            self._clusters[groups] = suitable_clusters(self.letters, self.alphabet, join)
        return self._clusters[groups]

    @property
    def learnable(self) -> dict[str, list[str | None]]:
        """Return the columns that may be learned: those of `targets` if there are any."""
        return {name: self.columns[name] for name in self.targets or self.columns}


def read_contents(request: Request) -> Contents:
    """Read all files of a request.

    Raises
    ------
    SelfAttnBioError
        If a file cannot be read, the alphabets differ, or a table has no clear column of sequences.
    """
    contents = _read_intervals(request) if request.genome else _read_sequences(request)
    if request.made:  # one per positive, with its length and chromosome
        contents.files += ["negatives"] * len(contents.files)
        contents.letters = [*contents.letters] * 2
        for values in (contents.ids, contents.lengths, contents.chromosomes, contents.groups):
            values *= 2
        contents.ends *= 2
    return contents


def _read_sequences(request: Request) -> Contents:
    paths = [path for files in request.files.values() for path in files]
    heads = {path: head for path in paths if (head := table_head(Path(path))) is not None}
    column = sequence_column_of(request, paths, heads)
    split_column = "" if request.split_column == NO_SPLIT else request.split_column
    first = {path: _first_records(path, column, path in heads) for path in paths}
    headers = [(each.targets or {}).get("header") or "" for of in first.values() for each in of]
    attributes = {name: [value] for each in headers for name, value in re.findall(ATTRIBUTE, each)}
    groups = [name for name in attributes if GROUP_NAME.search(name)]
    has_targets = bool(heads or request.has_classes or request.targets or request.columns)
    alphabet = get_alphabet(request.alphabet) if request.alphabet else _one_alphabet(first, column)
    # a split of proteins by the chromosomes of their genes would separate relatives
    tables = [*heads.values()] if alphabet.is_nucleic else []
    located, message = coordinate_columns(tables, column, request.columns)
    fields = Fields(
        header="" if has_targets else _header_pattern(headers),
        columns={"sequence": column}
        | ({"id": request.id_column} if request.id_column else {})
        | located,
        attributes=tuple(dict.fromkeys([*request.columns, split_column or "split", *groups])),
    )
    try:
        contents = _ingested(request, fields, alphabet)
    except RecordIdError as error:
        if request.id_column and heads:
            hint = f"{error.hint}, or choose another column with `id_column`"
            RecordIdError.fail(error.message, error.place, hint)
        if request.targets:  # needs ids
            raise
        contents = _ingested(request, replace(fields, numbered=True), alphabet)
        contents.notes.append(
            f'{error.place}: {error.message}, so the records are numbered: ids = "numbered"'
        )
    contents.sequence_column, contents.is_table, contents.located = column, bool(heads), located
    contents.notes += [message] if message else []
    contents.id_column = request.id_column or "id"
    contents.attributes = next(iter(heads.values()), attributes)
    if heads and not any(contents.id_column in head for head in heads.values()):
        _find_ids(contents, request)
    if alphabet.is_nucleic and not any(contents.chromosomes):
        _find_coordinates(contents)
    if request.targets:
        _join_targets(contents, request)
    return contents


def _join_targets(contents: Contents, request: Request) -> None:
    """Add the columns of a table of targets; its ids may be parts of those of the sequences."""
    path = Path(request.targets)
    if path.exists() and not (contents.is_table or request.id_column):
        contents.id_column = find_id_column(path, contents.ids)
        if contents.id_column != "id":
            contents.notes.append(f"ids of the targets: column {contents.id_column!r}")
    names = {"id": contents.id_column, "sequence": contents.sequence_column}
    table = targets_table(path, Fields(columns=names))
    if not table.index.isin(contents.ids).any():
        pattern, ids = match_ids(table.index, contents.ids, str(path))
        contents.notes.append(f"ids: {ids[0]!r} of {contents.ids[0]!r} and others ([data] header)")
        contents.header, contents.ids = pattern + contents.header.removeprefix("^"), ids
    if lacking := len({*contents.ids} - {*table.index}):
        contents.notes.append(f"{path}: no row for {counted(lacking, 'sequence')}")
    contents.targets = list(map(str, table))
    joined = table.reindex(contents.ids)
    contents.columns |= {str(name): texts_of(joined[name]) for name in joined}
    if not any(contents.chromosomes) and contents.alphabet.is_nucleic and "chrom" in joined:
        contents.chromosomes = contents.columns.pop("chrom")
        contents.targets.remove("chrom")


def _find_coordinates(contents: Contents) -> None:
    """Read the coordinates in ids such as `chr6:212-412`, if all records have them."""
    found = [re.match(COORDINATES, name) for name in contents.ids]
    if 2 * found.count(None) > len(found):
        return
    each = zip(contents.ids, found, contents.lengths, strict=True)
    wrong = (
        f"the sequence of {name!r} has {length} {contents.alphabet.unit}, not end - start"
        if match
        else f"{name!r} has none"
        for name, match, length in each
        if not match or int(match["end"]) - int(match["start"]) != length
    )
    if why := next(wrong, ""):
        contents.notes.append(
            f"coordinates in the ids are not read, because {why}; give chrom, start and end, "
            "0-based half-open, as columns of a table or in FASTA headers (docs/data.md)"
        )
        return
    contents.header = f"{COORDINATES}.*{contents.header}" if contents.header else COORDINATES
    contents.chromosomes = [match["chrom"] for match in found if match]
    contents.ends = [int(match["end"]) for match in found if match]
    contents.notes.append(f"coordinates: from ids such as {contents.ids[0]!r} ([data] header)")


def _find_ids(contents: Contents, request: Request) -> None:
    """Take ids from the only column that can have them, for tables without a column `id`.

    Such a column has a different name in each row, which is no sequence, number or target. Words
    are preferred, because names with spaces may be descriptions.
    """
    words = {
        name: texts
        for name, texts in contents.columns.items()
        if name not in request.columns
        and all(text and text.isprintable() and re.search(r"[^\d\s.,+-]", text) for text in texts)
        and not are_sequences(texts)
        and not target_of(name, texts, contents.lengths, contents.alphabet)
    }
    fit = [name for name, texts in words.items() if len(set(texts)) == len(texts)]
    fit = [name for name in fit if not any(" " in str(text) for text in words[name])] or fit
    fit = ["Entry"] if "Entry" in fit else fit  # the accession in tables of UniProt
    if len(fit) == 1:
        contents.id_column = fit[0]
        contents.notes.append(f"ids: column {fit[0]!r}")
        contents.ids = [str(text) for text in contents.columns.pop(fit[0])]
        return
    why = f"{' and '.join(fit)} could be ids" if fit else "no column has a unique name in each row"
    for name, texts in words.items() if not fit else ():
        if 2 * len(set(texts)) > len(texts):
            text, _ = Counter(texts).most_common(1)[0]
            rows = [row for row, other in zip(contents.ids, texts, strict=True) if other == text]
            why = f"column {name!r} has {text!r} in {' and '.join(rows[:2])}"
    own = "for your own, `id_column` needs a column with a different value in each row"
    contents.notes.append(f"ids of tables are file name and row, because {why}; {own}")


def _ingested(request: Request, fields: Fields, alphabet: Alphabet) -> Contents:
    """Read all sequences into a temporary corpus, as `ingest` does but with duplicates."""
    sources = [(group, path) for group, files in request.files.items() for path in files]
    rules = RecordRules(alphabet, repeats="keep")
    with TemporaryDirectory() as folder, logging_from(logging.WARNING):
        files = sequence_files([path for _, path in sources], fields)
        corpus = build_corpus(files, Path(folder) / "corpus", rules)
        keys = strand_keys(corpus.each(range(len(corpus))), alphabet)
        targets = corpus.targets(corpus.summary.get("targets", {}).get("columns", ()))
        letters = [corpus.letters(i).copy() for i in range(len(corpus))]
    kept = [source["kept"] for source in corpus.summary["sources"]]
    records = corpus.records
    return Contents(
        alphabet,
        files=[group for (group, _), n in zip(sources, kept, strict=True) for _ in range(n)],
        ids=records["id"].tolist(),
        lengths=records["length"].tolist(),
        chromosomes=texts_of(records["chrom"]),
        groups=texts_of(records["group"]),
        keys=keys,
        columns={str(name): texts_of(targets[name]) for name in targets},
        notes=[
            f"{n:,} of {len(records):,} records have {what}; read as {alphabet.title} (`alphabet`)"
            for what, n in corpus.summary["noted"].items()
            if what in ("U in DNA", "T in RNA")
        ],
        is_numbered=fields.numbered,
        header=fields.header,
        are_variants=_are_variants(alphabet, letters[:HEAD]),
        letters=letters,
        ends=texts_of(records["end"]),
    )


def _are_variants(alphabet: Alphabet, records: Letters) -> bool:
    """Return whether records have one length and differ in few letters, and are no single one."""
    from selfattn_bio.baselines.blocks import VARIED, fraction_varied

    are_aligned = len(records) > 1 and len({len(record) for record in records}) == 1
    return are_aligned and fraction_varied(alphabet, records) <= VARIED


class _AnyCharacter(SequencePolicy):
    """Accept every character, to recognise the alphabet of files with invalid characters."""

    @cached_property
    def readable(self) -> bytes:
        return bytes(range(256))


def _first_records(path: str, column: str, is_table: bool) -> list[Record]:
    """Read the first records, with the header of others than tables; none after an error.

    Errors are raised when all records are read.
    """
    header = "" if is_table else "(?P<header>.*)"
    fields = Fields(header=header, columns={"sequence": column}, numbered=True)
    source = SequenceFile(Path(path), fields=fields)
    found: list[Record] = []
    with contextlib.suppress(SequenceFileError):
        policy = _AnyCharacter(PROTEIN, gaps="remove")
        found.extend(itertools.islice(source.records(policy, ReadSummary()), HEAD))
    return found


def _one_alphabet(first: Mapping[str, Sequence[Record]], column: str) -> Alphabet:
    """Return the alphabet of all files, given the first records of each.

    RNA has more records with U than with T, or a `column` with a name of RNA.

    Raises
    ------
    RunFileError
        If the files differ.
    """
    found: dict[str, tuple[str, str]] = {}  # by alphabet: its first file, and how that begins
    counts: Counter[int] = Counter()  # records of nucleic acids by letter
    for path, records in first.items():
        if not records:
            continue
        letters = b"".join(record.letters.tobytes() for record in records)
        is_dna = len(letters.translate(None, b"ACGTUN")) <= (1 - DNA_SHARE) * len(letters)
        counts.update(base for each in records if is_dna for base in set(each.letters.tobytes()))
        begins = records[0].letters[:SHOWN].tobytes().decode("ascii", "replace") + "..."
        found.setdefault("dna" if is_dna else "protein", (path, begins))
    if len(found) > 1:
        (dna, dna_begins), (protein, protein_begins) = found["dna"], found["protein"]
        message = (
            f"the files mix alphabets: {protein} looks like protein ({protein_begins}), {dna} "
            f"like DNA ({dna_begins})"
        )
        raise RunFileError(message, hint="Give only DNA or only proteins")
    is_rna = counts[ord("U")] > counts[ord("T")] or RNA_NAME.search(column)
    return PROTEIN if "protein" in found else RNA if is_rna else DNA


def _header_pattern(headers: Sequence[str]) -> str:
    """Return the pattern of FASTA headers that end in `|label` or `|label|split`.

    It is empty if they do not, or if labels have fewer than `REPEATED` records on average.
    """
    for pattern in HEADERS:
        found = [re.search(pattern, header) for header in headers]
        labels = {match["label"] for match in found if match}
        if all(found) and len(labels) * REPEATED <= len(headers):
            return pattern
    return ""


def _read_intervals(request: Request) -> Contents:
    """Read intervals and the columns of tables of intervals, but not their sequences."""
    from selfattn_bio.sequence.genome import Genome

    contents = Contents(get_alphabet(request.alphabet or "dna"), [], [], [], [], [])
    has_summits = True
    tables = [
        (group, read_intervals(path, request.feature))
        for group, files in request.files.items()
        for path in files
    ]
    with Genome(request.genome) as genome:
        for group, table in tables:
            names = {str(chrom): genome.resolve(str(chrom)) for chrom in table["chrom"].unique()}
            has_summits = has_summits and bool((table["summit"] >= 0).all())
            contents.ends += table["end"].tolist()
            contents.files += [group] * len(table)
            contents.lengths += (table["end"] - table["start"]).tolist()
            contents.chromosomes += table["chrom"].map(names).tolist()
    if request.points:
        records = pd.concat([table for _, table in tables], ignore_index=True)
        records = records.assign(id=records["name"], length=records["end"] - records["start"])
        if not any(len(each.at) for each in points_of(request.points, records)):
            RunFileError.fail("no point is in a window", request.points, "Is it the same assembly?")
    if request.tables:
        columns = pd.concat(map(columns_of, request.tables))
        contents.columns = {str(name): texts_of(columns[name]) for name in columns}
        contents.attributes, contents.is_table = contents.columns, True
        contents.notes.append(
            "starts are read as 0-based, as in BED; subtract 1 if they are 1-based"
        )
    widths = sorted(contents.lengths)
    feature = {"feature": request.feature} if request.feature else {}
    if widths[0] != widths[-1] or request.profile:
        width = READ if request.profile else max(10, round(widths[len(widths) // 2], -1))
        center = {"center": "summit"} if has_summits else {}
        contents.windows = {"kind": "centered", "width": width, **center, **feature}
        contents.lengths = [width] * len(contents.lengths)
    elif feature:
        contents.windows = {"kind": "whole", **feature}
    contents.groups = [None] * len(contents.files)
    return contents

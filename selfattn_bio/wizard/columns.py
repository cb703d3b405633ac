"""Recognise the split and the targets of a table by the content of its columns."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from selfattn_bio.config import SplitValues
from selfattn_bio.display import counted, did_you_mean, shortened
from selfattn_bio.errors import RunFileError
from selfattn_bio.objectives.normalisation import are_skewed
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.intervals import finite
from selfattn_bio.sequence.readers.table import LABEL_NAMES, LABEL_WORDS, MISSING, is_missing
from selfattn_bio.wizard import auxiliary

Kind = Literal["binary", "multiclass", "multilabel", "regression", "labels", "profile", "lists"]

Texts = auxiliary.Texts
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "fold", "dataset", "stage")
SPLIT_WORDS = dict(SplitValues().pairs())
NO_SPLIT = "none"  # value of `split_column` that ignores all columns
# columns that are not targets; also as the last word of a longer name, such as gene_id
NOT_LEARNT_NAMES = (
    *("id", "name", "index", "mask", "species", "organism", "gene", "accession", "source"),
    *("weight", "transcript", "parent", "patient", "donor", *SPLIT_COLUMNS),
    *("chr", "chrom", "chromosome", "start", "end", "strand", "batch", "plate", "library"),
)
POSITIVE_WORDS = (*LABEL_WORDS, "positives", "+")
NEGATIVE_WORDS = (
    *(*LABEL_WORDS.values(), "negatives", "-", "background", "control", "random", "none", "other"),
)
MOST_CLASSES = 100  # maximum number of classes of sequences
MOST_LABELS = 12  # maximum number of labels of positions
MOST_NUMBERED = 10  # maximum number of different whole numbers that are classes, not a regression
INFINITE = {"inf", "-inf", "Inf", "-Inf"}
SHOWN = 6  # values of a column in a message
SPLIT_HINT = (
    "Rename the values to train, valid and test. Or ignore the column with `split_column` none, "
    "and map its values in [split] of the run file (docs/own_split.md)"
)
# pairs of values that objective "multilabel" reads
LABELS = [f"{positive} and {negative}" for positive, negative in LABEL_WORDS.items()]
REPEATED = 5  # records per value, on average, that whole numbers or words need to be classes


@dataclass(frozen=True)
class TargetColumn:
    """A column that can be learned.

    Parameters
    ----------
    column, kind
        Name of the column, empty for signal of a genome, and kind of objective.
    what
        Description of the content, for messages.
    positive
        Values that mean label 1, if the values are not 0 and 1.
    classes
        Labels of a column with one label per residue or base.
    counts
        Number of records of each class, and without a value, as text.
    notes
        Messages about missing values, whole and skewed numbers.
    is_skewed
        Whether all values are above 0, and their logarithms have much less skewness.
    """

    column: str
    kind: Kind
    what: str
    positive: tuple[str, ...] = ()
    classes: str = ""
    counts: str = ""
    notes: tuple[str, ...] = ()
    is_skewed: bool = False

    @property
    def text(self) -> str:
        """Describe the column for messages: `activity (numbers)`."""
        return f"{self.column} ({self.what})" if self.column else self.what


@dataclass(frozen=True)
class SplitColumn:
    """A column that names the split of each record.

    Parameters
    ----------
    column
        Name of the column.
    counts
        Number of records by split.
    """

    column: str
    counts: Counter[str]


def no_column(name: str, option: str, columns: Mapping[str, Texts]) -> str:
    """Describe that the column of an option is missing, with the columns that exist."""
    near = did_you_mean(name, list(columns))
    if {part.strip() for part in name.split(",")} - {""} <= columns.keys():
        near = "separate names with spaces, not commas"
    message = f"found no column {name!r} ({option}{near and f'; {near}'})"
    return f"{message}; the columns are {with_values(columns)}" if columns else message


def with_values(columns: Mapping[str, Texts]) -> str:
    """Return the names of columns, each with its first value: `family (such as kinase)`."""
    first = {name: next(filter(None, texts), "an empty cell") for name, texts in columns.items()}
    return ", ".join(f"{name} (such as {value[:20]})" for name, value in first.items())


def find_split(
    columns: Mapping[str, Texts], place: str, wanted: str = "", targets: Collection[str] = ()
) -> SplitColumn | None:
    """Return the column with the values train, test and perhaps valid; None if there is none.

    Other usual names of the splits are accepted. The columns `targets` are ignored; with `wanted` =
    "none", all columns are.

    Raises
    ------
    RunFileError
        If the `wanted` column is missing or has other values, or if another column looks like a
        split but cannot be used. Records of its test set could otherwise be used for training.
    """
    if wanted == NO_SPLIT:
        return None
    if wanted and wanted not in columns:
        raise RunFileError(no_column(wanted, "`split_column`", columns), place=place)
    values = {
        name: Counter((text or "").strip().lower() for text in texts)
        for name, texts in columns.items()
        if (name == wanted if wanted else name not in targets)
    }
    found = [split for name, of in values.items() if (split := _split_of(name, of))]
    if found:
        usual = (of for name in SPLIT_COLUMNS for of in found if of.column.strip().lower() == name)
        return next(usual, found[0])
    for name, of in values.items():
        splits = {SPLIT_WORDS.get(value) for value in of}
        is_named = name.strip().lower() in {*SPLIT_COLUMNS} - {"stage"} and any(of.keys() - {""})
        if wanted or is_named or {"train", "test"} <= splits:
            hint = f"The records can be split by {name}: leave out `split_column`"
            hint = hint if wanted in ("chrom", "group") else SPLIT_HINT
            raise RunFileError(_unusable(name, of), place=place, hint=hint)
    return None


def _split_of(name: str, values: Counter[str]) -> SplitColumn | None:
    if not values.keys() <= SPLIT_WORDS.keys():
        return None
    counts = Counter(SPLIT_WORDS[value] for value in values.elements())
    return SplitColumn(name, counts) if counts["train"] and counts["test"] else None


def _unusable(name: str, values: Counter[str]) -> str:
    """Describe why a column cannot be used as the split, with its values and their counts."""
    shown = shortened([f"{value or '(empty)'} {n:,}" for value, n in values.most_common()], SHOWN)
    if unknown := [value for value in values if value not in SPLIT_WORDS]:
        why = f"{unknown[0]!r} names no split" if unknown[0] else "some of its cells are empty"
    else:
        lacking = {"train", "test"} - {SPLIT_WORDS[value] for value in values}
        why = f"no record is in {' or '.join(sorted(lacking))}"
    return f"column {name!r} cannot be used as the split, because {why}; its values are {shown}"


def choose_targets(
    columns: Mapping[str, Texts],
    lengths: Sequence[int],
    alphabet: Alphabet,
    wanted: Sequence[str],
    place: str,
) -> tuple[TargetColumn, ...]:
    """Return the targets: the wanted columns, else the obvious one, else all if they are alike.

    Raises
    ------
    RunFileError
        If a wanted column is missing or cannot be learned, or if none is wanted and columns of
        several kinds or none fit.
    """
    if missing := [name for name in wanted if name not in columns]:
        raise RunFileError(no_column(missing[0], "`columns`", columns), place=place)
    found = {
        name: target
        for name in wanted or columns
        if (target := target_of(name, columns[name], lengths, alphabet))
    }
    if unfit := [name for name in wanted if name not in found]:
        raise _cannot_be_learned(unfit[0], columns[unfit[0]], place)
    if wanted:
        return _joined([found[name] for name in wanted], place)
    usual = [
        target
        for name, target in found.items()
        if re.split(r"[ _]", name.strip().lower())[-1] not in NOT_LEARNT_NAMES
    ]
    others = [each for each in usual if not auxiliary.are_lengths(columns[each.column], lengths)]
    usual = others or usual
    for pattern in auxiliary.NAMES_OF_OTHERS:
        others = [target for target in usual if not pattern.search(target.column.strip())]
        usual = others if any(target.kind == "regression" for target in others) else usual
    numbers = [target.column for target in usual if target.kind == "regression"]
    left_out = auxiliary.replaced({name: columns[name] for name in numbers})
    usual = [target for target in usual if target.column not in left_out]
    if all(auxiliary.is_auxiliary(each.column, columns[each.column], lengths) for each in usual):
        # a damaged column of numbers is meant, rather than counts or lengths
        for name, texts in columns.items():
            if cause_of(texts) and not (usual and auxiliary.PROPERTY_NAME.search(name.strip())):
                raise _cannot_be_learned(name, texts, place)
    named = [target for target in usual if target.column.strip().lower() in LABEL_NAMES]
    usual = named if len(named) == 1 else usual
    if len(usual) == 1 or can_be_joined(usual):
        return _joined(usual, place)
    if usual:
        replicates = [name for name in found if auxiliary.REPLICATE_NAME.search(name.strip())]
        raise _several_fit(usual, replicates, place)
    hint = "Name it with `columns`, or give a table of targets with `targets`"
    RunFileError.fail(f"none of the columns can be learned: {', '.join(columns)}", place, hint)


def _several_fit(usual: list[TargetColumn], replicates: list[str], place: str) -> RunFileError:
    """Return the error for columns of several kinds; its example is the likeliest target."""
    shown = [target.text for target in usual if target.column not in replicates]
    if replicates:
        how = "to learn side by side, or as their mean: docs/faq.md"
        shown.append(f"replicates {', '.join(replicates)} ({how})")
    likeliest = min(usual, key=_rank).column
    example = replicates if likeliest in replicates else [likeliest]
    hint = (
        "Choose one with `columns` NAME, or several of numbers or of labels (1 and 0, yes and no) "
        f"with `columns` A B; for example `columns` {shlex.join(example)}"
    )
    message = f"several columns could be learned: {', '.join(shown)}"
    return RunFileError(message, place=place, hint=hint)


def _rank(target: TargetColumn) -> tuple[bool, bool, bool]:
    """Return the order of likely targets: 1 and 0, numbers, classes; counts and lengths last."""
    is_property = any(each.search(target.column.strip()) for each in auxiliary.NAMES_OF_OTHERS)
    return is_property, target.what.lower() not in LABELS, target.kind in ("multiclass", "lists")


def _cannot_be_learned(name: str, texts: Texts, place: str) -> RunFileError:
    """Return the error for a column that cannot be learned."""
    known = Counter(text for text in texts if not is_missing(text))
    shown = ", ".join(repr(text) for text, _ in known.most_common(3)) or "missing"
    hint = (
        cause_of(texts)
        or "Choose a column with different numbers, a few classes, or one label per position; "
        "docs/proteins.md shows how to take classes from sentences, such as UniProt's locations"
    )
    message = f"column {name!r} cannot be learned: its values are {shown}"
    return RunFileError(message, place=place, hint=hint)


def cause_of(texts: Texts) -> str:
    """Return a hint for a column that cannot be learned; empty if there is none."""
    known = {text.strip() for text in texts if text and text.strip()}
    if any(finite(text.replace(",", ".")) is not None for text in known if "," in text):
        return "Write numbers with a point, such as 0.5"
    if known & INFINITE:
        return "Leave infinite values empty"
    words = sorted(text for text in known if finite(text) is None and text.lower() not in MISSING)
    if words and 2 * len(words) < len(known):
        row = 1 + next(i for i, text in enumerate(texts) if text and text.strip() == words[0])
        where = f"{words[0]!r} of record {row}"
        return f"Most values are numbers, but {where} is not: correct it or leave it empty"
    return ""


def _joined(targets: list[TargetColumn], place: str) -> tuple[TargetColumn, ...]:
    """Combine several targets of one kind: numbers, or labels such as 1 and 0."""
    if len(targets) == 1:
        return tuple(targets)
    if not can_be_joined(targets):
        hint = 'Name one column; in a run file objective "several" learns columns of any kinds'
        found = ", ".join(target.text for target in targets)
        message = f"several columns must all be numbers, or all labels such as 1 and 0: {found}"
        raise RunFileError(message, place=place, hint=hint)
    return tuple(map(in_table, targets))


def can_be_joined(targets: Iterable[TargetColumn]) -> bool:
    """Return whether targets can be learned together: all numbers, or all labels of `LABELS`."""
    return {in_table(target).kind for target in targets} in ({"multilabel"}, {"regression"})


def in_table(target: TargetColumn) -> TargetColumn:
    """Return a target that stays a column of a table, also with two classes."""
    if target.kind != "binary":
        return target
    return replace(target, kind="multilabel" if target.what.lower() in LABELS else "multiclass")


def target_of(
    name: str, texts: Texts, lengths: Sequence[int], alphabet: Alphabet
) -> TargetColumn | None:
    """Recognise the kind of target in a column; None for ids, constants and free text."""
    known = [
        (text.strip(), length)
        for text, length in zip(texts, lengths, strict=True)
        if text and text.strip()
    ]
    present = [(text, length) for text, length in known if text.lower() not in MISSING]
    words = {text.lower() for text, _ in present}
    labels = next((each for each in LABELS if set(each.split(" and ")) == words), "")
    if labels or all(finite(text) is not None for text, _ in present):
        known = present
    values = Counter(text for text, _ in known)
    if len(values) < 2:
        return None
    numbers = {text: number for text in values if (number := finite(text)) is not None}
    # Classes may happen to be as long as the sequences, such as "active" for 6 residues.
    are_classes = len(values) == 2 or _are_few(values, len(known))
    are_decimals = len(numbers) == len(values) and any("." in text for text in values)
    if (
        all(len(text) == length for text, length in known)
        and max(length for _, length in known) > 1
        and not (are_classes or are_decimals)
    ):
        return _labels(name, values, alphabet)
    missing = len(texts) - len(known)
    gaps = "empty, NA, n.d., . or -" if known is present else "empty"
    lacking = f"{counted(missing, 'missing value')} ({gaps}; split drops records without any value)"
    empty = lacking if missing else ""
    counts = _count_classes(values, empty)
    if len(numbers) == len(values):
        target = _numeric(name, values, numbers, is_complete=not missing)
        is_class = target and target.kind != "regression"
        return target and replace(target, counts=counts if is_class else empty)
    if labels and missing:
        return TargetColumn(name, "multilabel", f"{labels}, or missing", counts=counts)
    if len(values) == 2 and not missing:
        positive = _positive_word(values)
        negative = next(value for value in values if value != positive)
        what = f"{positive} and {negative}"
        return TargetColumn(name, "binary", what, (positive,), counts=counts)
    if _are_lists(values, len(texts)):
        return TargetColumn(name, "lists", "lists of labels")
    if _are_few(values, len(known)) and not values.keys() & INFINITE:
        return TargetColumn(name, "multiclass", f"{len(values)} classes", counts=counts)
    return None


def _are_lists(values: Iterable[str], num_records: int) -> bool:
    """Return whether cells are lists of labels, such as `Ery` and `Mono, Ery`.

    More than half of the combined labels also occur alone, unlike in the class `Neuron, exc.`.
    """
    cells = {value.strip(" ,;") for value in values}
    lists = [re.split(" *[,;] *", cell) for cell in cells]
    combined = {word for words in lists if len(words) > 1 for word in words if finite(word) is None}
    labels = {word for words in lists for word in words if not is_missing(word)}
    return 2 * len(combined & cells) > len(combined) and _are_few(labels, num_records)


def _count_classes(values: Counter[str], empty: str) -> str:
    """Count the largest classes, so that one with a wrong or incomplete name is noticed."""
    odd = "".join(f"; {value!r} is a class" for value in values if value.lower() in MISSING)
    named = [f"{value!r} ({number:,})" for value, number in values.most_common(MOST_NUMBERED)]
    more = len(values) - len(named)
    return f"{', '.join(named)}{f' and {more} more' if more else ''}{odd}{empty and f'; {empty}'}"


def _are_few(values: Collection[object], num_records: int) -> bool:
    """Return whether values are few enough, and repeated often enough, to be classes."""
    return len(values) <= MOST_CLASSES and len(values) * REPEATED <= num_records


def _labels(name: str, values: Iterable[str], alphabet: Alphabet) -> TargetColumn | None:
    labels = set().union(*map(set, values)) - {"-"}
    is_sequence = alphabet.is_nucleic and labels <= set("ACGTUNacgtun")
    if is_sequence or len(labels) < 2 or len(labels) > MOST_LABELS or not "".join(labels).isascii():
        return None
    classes = "".join(sorted(labels))
    what = f"one label per {alphabet.letter} ({classes})"
    return TargetColumn(name, "labels", what, classes=classes)


def _numeric(
    name: str, values: Counter[str], numbers: Mapping[str, float], is_complete: bool
) -> TargetColumn | None:
    """Recognise a column of numbers, without gaps if `is_complete`; None for row numbers."""
    distinct, total = sorted(set(numbers.values())), values.total()
    every = np.array([numbers[text] for text in values.elements()])
    regression = TargetColumn(name, "regression", "numbers", is_skewed=are_skewed(every))
    if not all(number.is_integer() for number in distinct):
        return regression
    if distinct == [0, 1] and not is_complete:
        return TargetColumn(name, "multilabel", "0, 1 and missing values")
    if len(distinct) == 2 and is_complete:
        positive = tuple(text for text, number in numbers.items() if number == distinct[1])
        what = f"{distinct[1]:g} and {distinct[0]:g}"
        return TargetColumn(name, "binary", what, () if set(values) == {"0", "1"} else positive)
    if len(distinct) == total and distinct[-1] - distinct[0] == total - 1:  # row numbers
        return None
    values_are = f"column {name!r} has {len(distinct)} different whole numbers, which are taken as"
    if (
        len(distinct) <= MOST_NUMBERED
        and _are_few(distinct, total)
        and distinct[-1] - distinct[0] < 2 * len(distinct)
    ):
        note = f"{values_are} classes; for a regression, write kind = 'regression' and "
        note += f"columns = [{name!r}] in [objective]"
        return TargetColumn(name, "multiclass", f"{len(distinct)} classes", notes=(note,))
    note = f"{values_are} numbers to predict; for classes, write kind = 'multiclass' and "
    note += f"column = {name!r} in [objective]"
    return replace(regression, notes=(note,))


def _positive_word(values: Counter[str]) -> str:
    """Return which of two words is the positive class: by its meaning, else the rarer one."""
    words = sorted(values)
    for word, other in (words, words[::-1]):
        is_negated = re.match("no[nt_ -]", other.lower()) and not word.lower().startswith("no")
        if word.lower() in POSITIVE_WORDS or other.lower() in NEGATIVE_WORDS or is_negated:
            return word
    return min(words, key=lambda word: values[word])

"""Write the text of a run file for the user's data, with a message about each choice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.compression import open_blocks
from selfattn_bio.config.writing import comment, setting
from selfattn_bio.display import counted, shortened
from selfattn_bio.errors import RunFileError
from selfattn_bio.evidence.associations import correlation_sentence, label_table
from selfattn_bio.evidence.records import MIN_RECORDS
from selfattn_bio.objectives import Objective
from selfattn_bio.objectives.outputs import ClassOutput
from selfattn_bio.sequence.h5ad import numbers_of
from selfattn_bio.sequence.intervals import finite
from selfattn_bio.sequence.readers.table import is_missing
from selfattn_bio.sequence.records import LABEL
from selfattn_bio.split_names import SPLITS
from selfattn_bio.study.trained import MOST_OUTPUTS
from selfattn_bio.wizard import sections
from selfattn_bio.wizard.auxiliary import REPLICATE_NAME, is_auxiliary
from selfattn_bio.wizard.columns import (
    SHOWN,
    SPLIT_WORDS,
    SplitColumn,
    TargetColumn,
    Texts,
    can_be_joined,
    cause_of,
    choose_targets,
    find_split,
    in_table,
    no_column,
    target_of,
    with_values,
)
from selfattn_bio.wizard.contents import Contents
from selfattn_bio.wizard.request import Request
from selfattn_bio.wizard.tables import are_sequences

if TYPE_CHECKING:
    from selfattn_bio.training.recipes import Recipe

CLASS_FILES = "For one file per class, give `targets` TABLE (see docs/commands.md)"
STACK = comment("Simple models to combine with the network, set by the recipe (docs/stacking.md).")
AS_LOGS = ", as logarithms of skewed numbers (to undo it, remove normalisation in [objective])"
NOISE = "how to estimate the highest correlation that the noise of replicates allows"
WIDE = 4  # above this ratio of lengths, length may separate the classes


def draft(
    request: Request, contents: Contents, recipe: Recipe | None = None
) -> tuple[str, list[str], list[str]]:
    """Write the run file that fits the data.

    Without a recipe, or if it has none, [model] and [training] follow from the lengths and the
    objective.

    Returns
    -------
    TOML with a comment on each choice; one line per choice and per doubt about the data; and
    warnings about measurements that would be lost.

    Raises
    ------
    RunFileError
        If it is not clear which column to learn.
    """
    split = None
    if "train" not in request.files:
        columns = contents.every_column  # also those that are read as chrom or group
        split = find_split(columns, request.place, request.split_column, request.columns)
    has_columns = not (request.has_classes or request.points)
    targets = _targets(request, contents, split) if has_columns else ()
    labels = _labels(request, contents, targets)
    objective = targets[0].kind if targets else "binary"
    used = {target.column for target in targets} | {split.column if split else ""}
    unused = {name: texts for name, texts in contents.columns.items() if name not in used}
    values = _known(contents, targets) if contents.columns else []
    answers = list(zip(*(values or [labels]), strict=True))
    known = [any(row) for row in answers]
    have_classes = objective in ("multiclass", "multilabel")
    classes = answers if have_classes else [(label,) for label in labels]
    split_text, split_words = sections.split_lines(request, contents, classes, split, unused, known)
    head = [
        f"Written by `selfattn-bio init {request.name}` from the data; edit it as you need.",
        f"Run it in the folder that its paths refer to: selfattn-bio run train_{request.name}",
        "Keys not given have default values; all keys: docs/run_file.md, selfattn-bio schema.",
    ]
    chosen = _recipe_lines(recipe) if recipe else []
    if not (recipe and recipe.model):
        both = not recipe or recipe.training.get("reverse_complement", True)
        training = sections.training_lines(contents, objective, both_strands=both)
        chosen = [sections.model_lines(contents, objective), training, *chosen]
    second = next((name for name, texts in unused.items() if _are_inputs(texts, contents)), "")
    pairs = sections.pair_lines(contents, second) if second else []
    written = [
        [*map(comment, head), setting("title", request.name), *map(comment, pairs)],
        sections.data_lines(request, contents, targets, split),
        split_text,
        sections.objective_lines(request, targets, recipe.objective if recipe else {}),
        *chosen,
        sections.interpret_lines(request, contents, recipe.method if recipe else ""),
    ]
    text = "\n\n".join("\n".join(section) for section in written if section) + "\n"
    messages = [
        f"{request.place}: {_recognised(request, contents, targets)}",
        *_warnings(request, contents, targets),
        f"split: {split_words}",
        *(f"column {each.column!r}: {each.counts}" for each in targets if each.counts),
        *(note for target in targets for note in target.notes),
    ]
    others = [name for name in unused if setting("column", name) not in split_text]
    messages += _unused(request, contents, targets, others if targets else [])
    if request.columns and not (contents.is_table or request.genome):
        messages += _unquoted(request)
    messages += contents.notes
    messages += pairs
    is_number = objective == "regression"
    splits = _given_splits(request, contents, split)
    messages += _copies(contents, [] if is_number else answers, splits)
    return text, messages, list(_replicates(contents, answers, known)) if is_number else []


def _known(contents: Contents, targets: Sequence[TargetColumn]) -> list[Texts]:
    """Return the columns of the targets, with None for missing values.

    Words such as NA and none are missing, but may be classes among words.
    """
    values: list[Texts] = [contents.columns[target.column] for target in targets]
    are_words = any(target.kind in ("binary", "multiclass") for target in targets) and any(
        finite(text) is None for texts in values for text in texts if text and not is_missing(text)
    )
    if are_words:
        return values
    return [[None if is_missing(text) else text for text in texts] for texts in values]


def _are_inputs(texts: Texts, contents: Contents) -> bool:
    """Return whether texts are sequences, rather than one label per position."""
    # generated negatives are last and have no columns
    target = target_of("", texts, contents.lengths[: len(texts)], contents.alphabet)
    return are_sequences(texts) and not (target and target.kind == "labels")


def _recipe_lines(recipe: Recipe) -> list[list[str]]:
    """Write the sections of a recipe; a section without keys is left out."""
    sections: dict[str, Mapping[str, Any]] = {
        "tokens": recipe.tokens,
        "model": recipe.model,
        "training": recipe.training if recipe.model else {},  # otherwise in `training_lines`
        "transfer": recipe.transfer,
        **{f"variants.{name}.model": keys for name, keys in recipe.variants.items()},
        "stack": {"parts": list(recipe.parts)} if recipe.parts else {},
    }
    written = [
        [f"[{name}]", *(setting(key, value) for key, value in keys.items())]
        for name, keys in sections.items()
        if keys
    ]
    if written:
        written[0].insert(0, comment(f"Recipe {recipe.name!r}: {recipe.reason}."))
    if recipe.parts:
        written[-1].insert(0, STACK)
    return written


def _targets(
    request: Request, contents: Contents, split: SplitColumn | None
) -> tuple[TargetColumn, ...]:
    if signal := request.profile or request.tracks:
        text = f"signal of {', '.join(signal)}"
        return (TargetColumn("", "profile" if request.profile else "regression", text),)
    if request.genome and not contents.is_table:
        names = numbers_of(next(iter(request.files.values()))[0])
        return tuple(TargetColumn(str(name), "regression", "numbers") for name in names)
    of_split, place = split and split.column, request.targets or request.place
    columns = {name: texts for name, texts in contents.learnable.items() if name != of_split}
    if contents.is_table and (name := contents.sequence_column) in request.columns:
        RunFileError.fail(f"column {name!r} (`columns`) has the sequences", place, "Name another")
    missing = [name for name in request.columns if name not in columns]
    is_chosen = contents.is_table or request.targets or LABEL in columns
    if not columns or (not is_chosen and (missing or not request.columns)):
        hint = (
            "Give a table, or `targets` TABLE with ids, or `columns` NAME for a header attribute "
            f"such as label=1. {CLASS_FILES}"
        )
        message = "the sequences have no labels or numbers to learn"
        if contents.attributes:
            message = f"the headers have {with_values(contents.attributes)}"
            hint = f"Choose what to learn with `columns` NAME. {CLASS_FILES}"
        if contents.is_table:
            message = f"none of the columns can be learned: {', '.join(contents.attributes)}"
            hint = "Add a column of labels or numbers, or give `targets` TABLE with ids"
        if missing:
            message = no_column(missing[0], "`columns`", contents.attributes)
        raise RunFileError(message, place=place, hint=hint)
    targets = choose_targets(columns, contents.lengths, contents.alphabet, request.columns, place)
    if targets[0].kind == "lists":
        name = targets[0].column
        hint = f"Write a column of 1 and 0 for each label, in pandas t[{name!r}].str.get_dummies"
        hint += '(","), and name these columns with `columns`; docs/data.md has a complete command'
        RunFileError.fail(f"column {name!r} has lists of labels", place, hint)
    if request.targets or request.genome:  # labels stay columns, also for two classes
        return tuple(map(in_table, targets))
    return targets


def _labels(request: Request, contents: Contents, targets: Sequence[TargetColumn]) -> list[str]:
    """Return the class of each record: positives or negatives, else `records`."""
    if request.has_classes:
        return contents.files
    if not targets or targets[0].kind != "binary":
        return ["records"] * len(contents.files)
    return [
        "positives" if (text or "").strip() in (targets[0].positive or ("1",)) else "negatives"
        for text in contents.columns[targets[0].column]
    ]


def _recognised(request: Request, contents: Contents, targets: Sequence[TargetColumn]) -> str:
    number, title = counted(len(contents.lengths), "record"), contents.alphabet.title
    records = f"{number} of {title}, {sections.spread(contents)}"
    if request.has_classes:
        made = f" (generated: {request.made})" if request.made else ""
        return (
            f"{records}; {counted(contents.counts['positives'], 'positive')}, "
            f"{counted(contents.counts['negatives'], 'negative')}{made}"
        )
    if request.points:
        return f"{records}; bins with points of {request.points}"
    if not targets[0].column:
        return f"{records}; {targets[0].kind} on {targets[0].what}"
    names = ", ".join(repr(target.column) for target in targets)
    column = f"column{'s' * (len(targets) > 1)} {names}"
    found = f"{targets[0].what} in {column}"
    if targets[0].kind == "regression":
        are_logs = all(target.is_skewed for target in targets)
        found = f"regression on {column}{AS_LOGS if are_logs else ''}"
    if targets[0].kind == "binary" and len(targets[0].positive) == 1:
        found += f"; {targets[0].positive[0]!r} is the positive class"
    if len(targets) > 1 and contents.columns and not request.columns:
        found += "; choose others with `columns`"
    return f"{records}; {found}"


def _unquoted(request: Request) -> Iterator[str]:
    """Warn about values of header attributes that end at a space before another word."""
    names = "|".join(map(re.escape, request.columns))
    pattern = rf'[>@].*\s(?!OS=)({names})=([^"\s]\S*)\s+([^\s=]+(?:\s+[^\s=]+)*)(?!\S)'
    for path in (path for files in request.files.values() for path in files):
        with open_blocks(Path(path)) as blocks, blocks.text() as lines:
            if found := next(filter(None, map(re.compile(pattern).match, lines)), None):
                name, value, rest = found.groups()
                hint = f'quote values with spaces: {name}="{value} {rest}"'
                yield f"{path}: value {value!r} is followed by {rest!r}; {hint}"


def _unused(
    request: Request,
    contents: Contents,
    targets: Sequence[TargetColumn],
    unused: Sequence[str],
) -> Iterator[str]:
    """Name the columns that are not used, and those that could be learned too."""
    learned = [target.column for target in targets]
    columns, lengths = contents.columns, contents.lengths
    auxiliary = [name for name in unused if is_auxiliary(name, columns[name], lengths)]
    more = [
        name
        for name in unused
        if name in contents.learnable
        and not (request.columns or name in auxiliary)
        and (found := target_of(name, columns[name], lengths, contents.alphabet))
        and can_be_joined([*targets, found])
    ]
    if unused:
        names = " ".join([*learned, *more])
        hint = f"; learn several columns with `columns` {names}" if more else ""
        yield f"not used: {', '.join(unused)}{hint}"
    are_numbers = any(target.kind == "regression" for target in targets)
    if any(REPLICATE_NAME.search(name.strip()) for name in learned):
        yield (
            "replicates can be learned side by side or as their mean, which is usually better and "
            f"faster to explain; docs/faq.md shows how, and {NOISE}"
        )
    elif are_numbers and any(REPLICATE_NAME.search(name.strip()) for name in unused):
        yield f"docs/faq.md shows {NOISE}"
    if auxiliary and not request.columns:
        what = "replicates, counts, statistics or properties of the sequence, by names or values"
        yield f"{what}: {', '.join(auxiliary)}; learn them with `columns`"
    causes = {name: cause_of(columns[name]) for name in unused}
    yield from (f"column {name!r} is not learned: {why}" for name, why in causes.items() if why)


def _given_splits(request: Request, contents: Contents, split: SplitColumn | None) -> Sequence[str]:
    """Return the split of each record if the sequence files name it."""
    if "train" in request.files:
        return contents.files
    if not split:
        return ()
    texts = contents.every_column[split.column]
    return [SPLIT_WORDS[(text or "").strip().lower()] for text in texts]


def _copies(contents: Contents, answers: Sequence[object], splits: Sequence[str]) -> Iterator[str]:
    """Count sequences with several labels or in several splits; DNA is compared on both strands."""
    where = " (on either strand)" if contents.alphabet.has_complement else ""
    if number := _num_repeated(contents.keys, answers):
        kept = "" if splits else "; one copy with a value is kept"
        yield f"sequences that occur with different labels or targets{where}: {number:,}{kept}"
    if splits and (number := _num_repeated(contents.keys, splits)):
        yield (
            f"sequences that occur in several splits{where}: {number:,}; their copies are removed "
            "from train and valid, never from test"
        )


def _replicates(
    contents: Contents, answers: Sequence[object], known: Sequence[bool]
) -> Iterator[str]:
    """Warn about sequences with several measurements, of which one is kept."""
    number = _num_repeated(compress(contents.keys, known), compress(answers, known))
    if number:
        mean = (
            f"table.groupby({contents.sequence_column!r}, as_index=False).mean(numeric_only=True)"
        )
        example = f", for example with {mean}" if contents.is_table else ""
        yield (
            f"{counted(number, 'sequence')} with different numbers, perhaps replicates: one copy "
            f"is kept, the other measurements are lost. Average them first{example}"
        )


def _num_repeated(keys: Iterable[bytes], values: Iterable[object]) -> int:
    """Count the keys that have more than one value.

    Intervals and generated negatives, which come last, have no keys.
    """
    counts = Counter(key for key, _ in set(zip(keys, values, strict=False)))
    return sum(count > 1 for count in counts.values())


def small_classes(
    objective: Objective[Any], targets: Mapping[str, NDArray], enlarge: str
) -> Iterator[str]:
    """Warn about classes with few records in a split, correlated labels, and many outputs.

    `targets` are those of `complete_targets`, by split. `enlarge` is the way to a larger test
    split.
    """
    words, few = ("negative", "positive") if objective.is_labelled else ("no", "yes"), []
    classes = [each for each in objective.outputs if isinstance(each, ClassOutput)]
    for split, output, value in product(reversed(SPLITS), classes, (1, 0)):
        number = np.count_nonzero(output.truth(targets[split]) == value)
        if number < MIN_RECORDS:
            of = "" if objective.is_labelled else f" for {output.name!r}"
            few.append((number, f"{words[value]}{of} in {split}"))
    if few:
        fewest = shortened([f"{number} {what}" for number, what in sorted(few)], SHOWN)
        yield (
            f"few records: {fewest}. Metrics will have wide intervals, and the "
            f"effect of a motif needs {MIN_RECORDS} test records with a site. For more test "
            f"records, {enlarge}"
        )
    labels = [label_table(objective.outputs, of) for of in targets.values()]
    if text := correlation_sentence(pd.concat(labels)):
        yield text
    if (outputs := len(objective.outputs)) > MOST_OUTPUTS:
        which = f"motifs will be searched for {MOST_OUTPUTS} of {outputs} outputs, those with most "
        yield f"{which}records; choose others with targets in [interpret]"


def _warnings(
    request: Request, contents: Contents, targets: Sequence[TargetColumn]
) -> Iterator[str]:
    """Yield warnings that matter before training."""
    ratio = max(contents.lengths) / min(contents.lengths)
    is_binary = not targets or targets[0].kind == "binary"
    if ratio > WIDE and is_binary:
        yield f"lengths differ {ratio:.0f}-fold: check that length alone does not separate classes"
    if sections.interpret_lines(request, contents) and not request.organism:
        yield (
            f"{contents.alphabet.title} is read on the given strand only, and no motif database is "
            "searched"
            if contents.alphabet.one_strand
            else "motifs will be compared with those of vertebrates on both strands; choose others "
            "with `organism`. RNA written with T needs `alphabet` rna (or ssdna for "
            "single-stranded DNA): it has one strand, and is shown with U"
        )

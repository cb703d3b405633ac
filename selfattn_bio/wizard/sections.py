"""Write the sections of a new run file: functions that return lines of TOML with comments.

[tokens], [model], [training], [transfer] and [stack] come from a recipe (`training.recipes`). What
it does not set follows from the records and the objective.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from selfattn_bio.config.writing import comment, setting
from selfattn_bio.display import counted, shortened
from selfattn_bio.errors import ArgumentError
from selfattn_bio.evaluation.units import FEW_UNITS, MIN_UNITS, count_units
from selfattn_bio.evidence.records import MIN_RECORDS
from selfattn_bio.sequence.readers.table import is_missing
from selfattn_bio.split_names import SPLITS
from selfattn_bio.wizard.columns import SHOWN, SplitColumn, TargetColumn, Texts
from selfattn_bio.wizard.contents import Contents
from selfattn_bio.wizard.request import DATABASES, MADE, Request
from selfattn_bio.wizard.tables import ENTRY, GROUP_NAME

BIN = 200  # bp
FRACTION = 0.15  # fraction of the records in valid, and in test
MOST_TEST = 0.3  # largest fraction in test, if clusters or groups are few: train needs records too
MOST = 0.25  # fraction of the records that valid or test may have after a chromosome is added
MIN_GROUPS = 10  # smallest number of groups for a split by group
MIN_CHROMOSOMES = 3  # one each for train, valid and test
REGIONS = 7  # of a chromosome, if there are fewer chromosomes; each has about 15 % of its records
STEP_RECORDS = 64  # records per optimizer step
BATCH_POSITIONS = 131_072  # bases or residues per batch; fits a laptop (docs/attention_speed.md)
# training records and steps of the task promoter, from which the steps of a new task are scaled
PROMOTERS, PROMOTER_STEPS = 16_754, 1500
# bp, or 1,024 positions after the default stem, which pools 8; with longer sequences attention is
# limited to a window
LONG = 8192
RANDOM_NOTE = (
    'duplicates stay together; for related sequences "cluster" is better, for several records of '
    'each gene or patient "group" with its column (docs/leakage.md)'
)
UNPOOLED_STEM = {"kind": "conv", "kernel": 5, "pool": 1, "second_kernel": 3}


def data_lines(
    request: Request, contents: Contents, targets: Sequence[TargetColumn], split: SplitColumn | None
) -> list[str]:
    """Write [data]."""
    window_note = "intervals differ in length" * (contents.windows.get("kind") == "centered")
    if request.profile:
        window_note = "[objective] width and context on both sides"
    track = {"kind": "number", "path": request.tracks, "summary": "mean", "missing": 0}
    track_note = "for counts, log_sum may be better; leave out missing if gaps are not 0"
    names = {"id": contents.id_column, "sequence": contents.sequence_column, **contents.located}
    has_accessions = contents.id_column == "Entry" and all(map(str.isalnum, contents.ids))
    header = contents.header or (ENTRY if has_accessions else "")
    labels = [each for each in targets[:1] if each.kind == "binary" and not request.targets]
    length_note = f"records have {spread(contents)}; longer ones are dropped and counted"
    settings: list[tuple[str, Any, str]] = [  # those without a value are left out
        ("alphabet", contents.alphabet.name, ""),
        *(
            (name, of, counted(contents.counts[name], "record"))
            for name, of in request.files.items()
        ),
        ("negatives", request.made and {"kind": request.made}, MADE.get(request.made, "")),
        ("genome", request.genome, ""),
        ("windows", contents.windows, window_note),
        ("tracks", request.tracks and {"signal": track}, track_note),
        ("columns", {field: name for field, name in names.items() if field != name}, ""),
        ("ids", contents.is_numbered and "numbered", "ids are repeated or missing in the files"),
        ("targets", request.targets, ""),
        ("header", header, "how to read columns from headers or ids"),
        *(("label", label.column, label.counts) for label in labels),
        *(("positive", label.positive, "") for label in labels),
        ("max_length", max(contents.lengths), length_note),
    ]
    lines = ["[data]", *(setting(*each) for each in settings if each[1])]
    is_placed = None not in contents.chromosomes and not (split and split.column == "chrom")
    return lines + [comment('assembly = "hg38"  # assembly of the coordinates')] * is_placed


def spread(contents: Contents) -> str:
    """Describe the lengths: `200 bp`, or `80 to 400 bp (median 200)`."""
    ordered, unit = sorted(contents.lengths), contents.alphabet.unit
    if ordered[0] == ordered[-1]:
        return f"{ordered[0]:,} {unit}"
    return f"{ordered[0]:,} to {ordered[-1]:,} {unit} (median {ordered[len(ordered) // 2]:,})"


def find_groups(columns: Mapping[str, Texts]) -> str:
    """Return the column whose values repeat as groups do, such as genes; empty if there is none.

    It has a name of groups. The one with fewest groups is returned, of those with at least
    `MIN_GROUPS` if there are any. A record without a value counts as a group.
    """
    texts = {name: columns[name] for name in filter(GROUP_NAME.search, columns)}
    sizes = {name: len({*of} - {None}) for name, of in texts.items()}
    fit = [name for name, of in texts.items() if 2 <= sizes[name] < len(of) - of.count(None)]
    enough = [name for name in fit if sizes[name] >= MIN_GROUPS] or fit
    return min(enough, key=lambda name: sizes[name] + columns[name].count(None), default="")


def split_lines(
    request: Request,
    contents: Contents,
    classes: Sequence[Texts],
    split: SplitColumn | None,
    unused: Mapping[str, Texts],
    is_known: Sequence[bool],
) -> tuple[list[str], str]:
    """Write [split], and describe the choice.

    Parameters
    ----------
    classes
        Class of each record in each column to learn.
    split
        Column of the split, if there is one.
    unused
        Columns that are not learned, which may be groups.
    is_known
        Whether each record has a value to learn.
    """
    if "train" in request.files:
        lines = [setting("kind", "files")]
        return _sampled(lines, contents.counts), f"the files ({_counted(contents.counts)})"
    if split:
        named = _counted(split.counts)
        lines = [setting("kind", "column", named), setting("column", split.column)]
        return _sampled(lines, split.counts), f"column {split.column!r} ({named})"
    table = pd.DataFrame(classes)[list(is_known)]
    if _are_parts(contents.chromosomes, _groups(contents, unused)[1]):
        return _split_of_related(contents, table, unused, is_known, [])
    reasons = []
    places, kind = contents.chromosomes, "chromosome"
    if any(places):
        reasons.append(_unused_chromosomes(places))
    if len({*places}) < MIN_CHROMOSOMES and None not in [*places, *contents.ends]:
        places, kind = _regions(contents), "region"
    known = list(itertools.compress(places, is_known))
    chosen = choose_chromosomes(known, table)
    if chosen:
        lines = [setting("kind", kind, "all others are train")]
        sizes = []
        for name, chromosomes in chosen.items():
            size = counted(sum(map(known.count, chromosomes)), "record")
            lines.append(setting(name, chromosomes, size))
            sizes.append(f"{name} {shortened(chromosomes, SHOWN)}: {size}")
        return ["[split]", *lines], f"by {kind} ({'; '.join(sizes)})"
    return _split_of_related(contents, table, unused, is_known, reasons)


def _are_parts(chromosomes: Sequence[str | None], groups: Sequence[str | None]) -> bool:
    """Return whether the chromosomes are parts of groups, as transcripts are of genes.

    Each name then has one group, and there are fewer groups than names, but at least `MIN_GROUPS`.
    """
    number, pairs = len(set(groups)), set(zip(chromosomes, groups, strict=False))
    return None not in groups and len(pairs) == len(set(chromosomes)) > number >= MIN_GROUPS


def _groups(contents: Contents, unused: Mapping[str, Texts]) -> tuple[str, Sequence[str | None]]:
    """Return the column of groups, and the group of each record; none if there is no column."""
    others = find_groups(unused)
    if others and not any(contents.groups):
        return others, [None if is_missing(text) else text for text in unused[others]]
    return "group", contents.groups


def _split_of_related(
    contents: Contents,
    classes: pd.DataFrame,
    unused: Mapping[str, Texts],
    is_known: Sequence[bool],
    reasons: list[str],
) -> tuple[list[str], str]:
    """Write a split by groups, by clusters or at random, and describe it with the reasons."""
    group, groups = _groups(contents, unused)
    groups = (*groups, *[None] * (len(is_known) - len(groups)))  # of generated negatives
    none = (None,) * len(groups)
    number = len(set(groups) - {None})
    lacking = list(itertools.compress(groups, is_known)).count(None)
    is_protein = contents.alphabet.name == "protein" and not contents.are_variants
    are_related = is_protein or len(set(contents.clusters(none)[1])) < len(set(contents.keys))
    are_joined = number >= MIN_GROUPS and are_related and _are_small(contents, groups)
    similarity, clusters = contents.clusters(groups if are_joined else none)
    fraction, why = FRACTION, ""
    if number >= MIN_GROUPS and not lacking and not are_joined:
        note = f"{number:,} groups; the records of a group stay together"
        lines = [setting("kind", "group", note), setting("column", group)]
        words = f"by column {group!r} ({number:,} groups, whose records may be similar)"
        fraction, why = _test_fraction(groups, "groups", classes)
    elif contents.are_variants:
        note = "variants of one sequence are all similar; for new positions or more substitutions "
        note += "than in training, give your own split (docs/own_split.md)"
        lines = [setting("kind", "random", note)]
        words = "at random, because all records are similar, as variants of one sequence"
    elif is_protein or any(contents.ends) or (are_related and _are_small(contents, none)):
        note = "keeps close relatives of training records out of test, a column of families "
        note += "also distant ones"
        lines = [setting("kind", "cluster", f"{note} (docs/leakage.md)")]
        note = 'of k-mers, not identity; method = "mmseqs2" finds more relatives'
        lines.append(setting("similarity", similarity, note))
        words = f"by {len({*clusters}):,} clusters of similar sequences (similarity {similarity:g})"
        fraction, why = _test_fraction(clusters, "clusters", classes)
        if are_joined:
            lines.append(setting("column", group))
            words += f" and by column {group!r} ({number:,} groups)"
            if lacking:
                words += f"; records without one, kept apart by similarity alone: {lacking:,}"
    else:
        lines, words = [setting("kind", "random", RANDOM_NOTE)], "at random"
        if are_related:
            reasons.append("one cluster has most of the similar records")
    if number and lacking and not are_joined:
        reasons.append(f"{group!r} is missing for {counted(lacking, 'record')}")
    elif 0 < number < MIN_GROUPS:
        reasons.append(f"{group!r} has only {counted(number, 'group')} ({MIN_GROUPS} are needed)")
    because = f", because {' and '.join(reasons)}" if reasons else ""
    keys = list(itertools.compress(contents.keys, is_known))
    copies = len(keys) - len(set(keys))
    size = counted(round(FRACTION * (sum(is_known) - copies)), "record")
    sizes = f"valid and test have about {size} each"
    if why:
        lines.append(setting("test_fraction", fraction, why))
        sizes = f"valid has about {size}, test {fraction / FRACTION:.2g} times as many, as {why}"
    words += f"{because}; {sizes}"
    return ["[split]", *map(comment, reasons), *lines], words


def _test_fraction(units: Sequence[Any], kind: str, classes: pd.DataFrame) -> tuple[float, str]:
    """Return the fraction of the records in test, and the reason if it is larger than `FRACTION`.

    Test then has about `MIN_UNITS` units of each class and `FEW_UNITS` in all, unless that takes
    more than `MOST_TEST`. `units` has the unit of each record, `kind` is their name, and `classes`
    has the known records.
    """
    keys = np.array(units, dtype=object)[classes.index]
    counts = count_units(keys, classes.assign(all="records"))
    number, total = counts.min(), counts["all", "records"]
    fraction = round(max(MIN_UNITS / number, FEW_UNITS / total), 2)
    if fraction <= FRACTION:
        return FRACTION, ""
    of_class = f", {number} of the rarest class" if number < total else ""
    return min(fraction, MOST_TEST), f"there are only {total} {kind}{of_class}"


def _are_small(contents: Contents, groups: tuple[str | None, ...]) -> bool:
    """Return whether clusters of sequences that share a group are still small."""
    _, clusters = contents.clusters(groups)
    return bool(np.bincount(clusters).max() < FRACTION * len(clusters))


def _unused_chromosomes(chromosomes: Sequence[str | None]) -> str:
    """Return why the records are not split by chromosome."""
    if lacking := chromosomes.count(None):
        return f"'chrom' is missing for {counted(lacking, 'record')}"
    number = len(set(chromosomes))
    if number < MIN_CHROMOSOMES:
        return f"'chrom' has only {counted(number, 'chromosome')} ({MIN_CHROMOSOMES} are needed)"
    return "no two chromosomes have records of every class and together at most half of all records"


def _sampled(lines: list[str], counts: Counter[str]) -> list[str]:
    """Add the fraction of validation records to sample if the data have none."""
    if not counts["valid"]:
        note = "the data have no validation records, so this fraction of train is sampled"
        lines = [*lines, setting("valid_fraction", FRACTION, note)]
    return ["[split]", *lines]


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[name]:,} {name}" for name in SPLITS if counts[name])


def choose_chromosomes(chromosomes: Texts, classes: pd.DataFrame) -> dict[str, list[str]]:
    """Choose the chromosomes of valid and test; an empty dictionary if none fit.

    Both start with one chromosome that has about `FRACTION` of the records. The smaller of the two
    gets more until each has `FRACTION`, and then test until it has `MIN_RECORDS` of each of the
    `classes` of the columns. None gets above `MOST` by this. Of two classes, each chromosome has
    both. No added chromosome takes the last training records of a class.
    """
    total = Counter(chromosomes)
    if None in total or len(total) < MIN_CHROMOSOMES:
        return {}
    counts = pd.get_dummies(classes).groupby(np.array(chromosomes)).sum()
    fit = [name for name in total if name and (counts.shape[1] > 2 or counts.loc[name].all())]
    fit = [name for name in fit if (counts.loc[name] < counts.sum()).all()]
    fit.sort(key=lambda name: (abs(total[name] / len(chromosomes) - FRACTION), name))
    if len(fit) < 2 or sum(total[name] for name in fit[:2]) > len(chromosomes) / 2:
        return {}
    chosen = {"valid": fit[:1], "test": fit[1:2]}
    sizes = {"test": total[fit[1]], "valid": total[fit[0]]}
    for name in fit[2:]:
        small = [split for split, size in sizes.items() if size < FRACTION * len(chromosomes)]
        split = min(small, key=sizes.__getitem__, default="test")
        fits = sizes[split] + total[name] <= MOST * len(chromosomes)
        held_out = counts.loc[[*chosen["valid"], *chosen["test"], name]].sum()
        fits = fits and all(held_out < counts.sum())
        if fits and (small or counts.loc[chosen["test"]].sum().min() < MIN_RECORDS):
            chosen[split].append(name)
            sizes[split] += total[name]
    return chosen


def _regions(contents: Contents) -> list[str | None]:
    """Return the region of each record: its chromosome is cut where records are equally many."""
    ends = pd.Series(contents.ends, dtype=int)
    regions = np.full(len(ends), None, dtype=object)
    for chrom, on_one in ends.groupby(contents.chromosomes):
        cuts = on_one.quantile(np.arange(1, REGIONS) / REGIONS).astype(int) // BIN * BIN
        borders = [0, *cuts, on_one.max() + max(contents.lengths)]  # also of wider windows
        names = [f"{chrom}:{start}-{end}" for start, end in itertools.pairwise(borders)]
        regions[on_one.index] = np.array(names)[np.searchsorted(cuts, on_one)]
    return regions.tolist()


def pair_lines(contents: Contents, column: str) -> list[str]:
    """Write the top of a run file of pairs, whose second sequences are in this column."""
    partner = {"kind": "sequence", "column": column, "alphabet": contents.alphabet.name, "k": 1}
    stem = {"stem": UNPOOLED_STEM} if contents.alphabet.name == "protein" else {}
    encoder = {"head": {"kind": "pooling", "parts": 1}, **stem}
    return [
        f"column {column!r} has sequences, too; for pairs, remove [model] from the run file and "
        "write these two lines below its title (docs/two_inputs.md):",
        setting("partner", partner),
        setting("model", {"kind": "paired", "members": 1, "encoder": encoder}),
    ]


def objective_lines(
    request: Request, targets: Sequence[TargetColumn], settings: Mapping[str, Any]
) -> list[str]:
    """Write [objective] with settings of a recipe; nothing for two classes, the default."""
    if request.points:
        lines = [setting("points", request.points), setting("bin", BIN, "bp")]
        return ["[objective]", setting("kind", "bins"), *lines]
    if not targets or targets[0].kind == "binary":
        return []
    first = targets[0]
    note = ", ".join(target.text for target in targets)
    lines = ["[objective]", setting("kind", first.kind, note)]
    if first.kind in ("multiclass", "labels"):
        lines += [setting("column", first.column)]
        return lines + ([setting("classes", first.classes)] if first.classes else [])
    if request.profile:
        lines += [setting("tracks", {"signal": request.profile})]
    elif first.column:
        lines += [setting("columns", [target.column for target in targets])]
    if all(target.is_skewed for target in targets):
        note = "skewed numbers above 0; remove this line to learn them as they are"
        lines += [setting("normalisation", "log2", note)]
    return lines + [setting(key, value) for key, value in settings.items()]


def interpret_lines(request: Request, contents: Contents, method: str = "") -> list[str]:
    """Write [interpret] with the database to match motifs with; one strand and proteins have none.

    `method` is that of a pretrained model that the default cannot explain.

    Raises
    ------
    ArgumentError
        If an organism is named for RNA or proteins.
    """
    alphabet = contents.alphabet
    if request.organism and not alphabet.has_complement:
        message = f"the organism chooses a database of DNA motifs, but this is {alphabet.title}"
        raise ArgumentError(message, hint="Leave it out")
    lines = ["[interpret]"]
    if method:
        note = "the tokens of the model vary in length, so a letter has no gradient"
        lines.append(setting("method", {"kind": method}, note))
    if not alphabet.is_nucleic:
        return lines if method else []
    if alphabet.one_strand:
        note = "or the path of a MEME file of motifs, such as the RNA motifs of ATtRACT"
        return [*lines, setting("database", "none", note)]
    database = DATABASES[request.organism or "vertebrates"]
    known = (
        "jaspar:vertebrates, jaspar:insects, jaspar:plants, jaspar:fungi, jaspar:nematodes, the "
        'path of a MEME, JASPAR or TRANSFAC file, or "none" (for example for bacteria)'
    )
    return [*lines, setting("database", database, f"known motifs: {known}")]


def model_lines(contents: Contents, objective: str) -> list[str]:
    """Write [tokens] and [model].

    DNA uses 3-mers and the default stem, which pools. Proteins, and DNA with a label per position,
    use one token per residue or base and no pooling.
    """
    alphabet, longest = contents.alphabet, max(contents.lengths)
    is_pooled = alphabet.is_nucleic and objective != "labels"
    lines = ["[tokens]", setting("k", 3 if is_pooled else 1, f"{alphabet.letter}s per token")]
    if is_pooled and longest <= LONG:
        note = "[model] is the default: a convolution that pools 8 positions, then full attention"
        return [*lines, "", comment(note)]
    lines += ["", "[model]", setting("kind", "attention")]
    if not is_pooled:
        lines += [
            setting("members", 1, "this and the stem are those of workflows/tasks/amp.toml"),
            setting("stem", UNPOOLED_STEM, f"one position per {alphabet.letter}"),
        ]
    if (longest // 8 if is_pooled else longest) > LONG // 8:
        pattern = {"kind": "window", "window": 128, "num_global": 1}
        note = "time and memory grow with the length, not with its square"
        lines += [setting("pattern", pattern, note)]
    return lines


def training_lines(contents: Contents, objective: str, *, both_strands: bool) -> list[str]:
    """Write [training].

    The steps are those of the task promoter, scaled by the square root of the number of records,
    and twice as many for proteins, between 100 and 1,500. There are up to six evaluations. Long
    sequences get smaller batches, whose gradients are accumulated to about `STEP_RECORDS` records
    per step. Profiles are read on both strands or on the given one.
    """
    factor = 1 if contents.alphabet.is_nucleic else 2
    scaled = factor * PROMOTER_STEPS * (len(contents.lengths) / PROMOTERS) ** 0.5
    steps = round(min(PROMOTER_STEPS, max(100.0, scaled)))
    every = max(25, round(steps / 6))
    note = f"each of {STEP_RECORDS} records; scales with the square root of the number of records"
    lines = [
        "[training]",
        setting("max_steps", steps, note),
        setting("warmup_steps", min(200, steps // 5)),
        setting("evaluate_every", every),
        setting("checkpoint_every", every),
    ]
    if contents.alphabet.name == "protein" or objective == "labels":
        lines += [setting("shift", 0, "random shift of each sequence, in bases or residues")]
    if objective == "profile":  # as in docs/profiles.md
        lines += [setting("shift", 50), setting("reverse_complement", both_strands)]
    batch = max(1, min(STEP_RECORDS, BATCH_POSITIONS // max(contents.lengths)))
    if batch < STEP_RECORDS:
        lines += [
            setting("batch_size", batch, "`train --dry-run` measures memory and time"),
            setting("accumulate", STEP_RECORDS // batch),
        ]
    return lines

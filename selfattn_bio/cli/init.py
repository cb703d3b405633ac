"""Write the run file of a new task, workflows/tasks/NAME.toml, fitted to its data and with a comment on each choice.

Reads the sequences once: their alphabet, lengths, counts, coordinates and groups decide split, tokens, model and budget. What it writes is
a start to edit, and `selfattn-bio run train_NAME`, in the same folder, runs it. It is read before it is written: it is a run file.
One table with columns sequence and label (1 or 0) is enough, too: --sequences table.csv --column label.

example: selfattn-bio init my_task --positives a.fa --negatives b.fa
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from selfattn_bio.errors import OutputError, RunFileError

if TYPE_CHECKING:
    from selfattn_bio.sequence.alphabet import Alphabet

DNA_SHARE = 0.9  # of the letters are A, C, G, T, U or N: protein has about a fifth of them
SIDE = 0.15  # of the records, valid and test each
STEP_RECORDS, BATCH_LETTERS = 64, 131_072  # a step's records; letters in one batch, whose step fits a laptop (docs/attention_speed.md)
PROMOTERS, PROMOTER_STEPS = 16_754, 1500  # the task whose budget was measured: with a hundredth and a tenth of it, docs/decisions.md
LONG = 8192  # letters, 1,024 places behind the stem: beyond, attention is a window
PROTEIN_STEM = ('stem = { kind = "conv", kernel = 5, pool = 1, second_kernel = 3 }  # each residue is a place',)
FEW = 100  # records of a class, below which figures on held-out ones tell little


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `selfattn-bio init`."""
    parser.add_argument("name", help="of the task: letters, digits, _ and -")
    parser.add_argument("--positives", nargs="+", metavar="FILE", help="files of sequences of label 1: FASTA and what docs/data.md names")
    parser.add_argument("--negatives", nargs="+", metavar="FILE", help="files of sequences of label 0")
    parser.add_argument(
        "--sequences", nargs="+", metavar="FILE", help="files of sequences, in place of the two, with --targets or with a column of labels"
    )
    parser.add_argument("--targets", metavar="FILE", help="table (.tsv, .csv, .parquet) with a column id and one to learn")
    parser.add_argument(
        "--column", metavar="NAME", help="of --targets (default: its only other one); without, of --sequences, with labels 1 and 0"
    )


def run(arguments: argparse.Namespace) -> None:
    """Look at the data, write the run file."""
    from selfattn_bio.config import run_file_of
    from selfattn_bio.files import whole_file

    if not re.fullmatch(r"[A-Za-z0-9_-]+", arguments.name):
        raise RunFileError(f"name of a task must be letters, digits, _ and -, got {arguments.name!r}")
    path = Path("workflows/tasks") / f"{arguments.name}.toml"
    if path.exists():
        raise OutputError("run file must be new, got one that is there", place=str(path), cure="Edit it, or choose another name")
    groups = {key: files for key in ("positives", "negatives", "sequences") if (files := getattr(arguments, key))}
    learnt = bool(arguments.targets or arguments.column)
    if list(groups) not in (["positives", "negatives"], ["sequences"]) or learnt != ("sequences" in groups):
        rule = "--positives and --negatives must be given, or --sequences and --targets, or --sequences and --column"
        raise RunFileError(f"{rule}, got {', '.join(f'--{key}' for key in groups) or 'none'}")
    found = Found.of(groups, "" if arguments.targets else arguments.column or "")
    text = _text(arguments, groups, found)
    run_file_of(text, path)
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    for line in found.doubts():
        print(f"init: {line}")
    print(f"init: wrote {path}. Look it through, then: selfattn-bio run train_{arguments.name}")


@dataclass
class Found:
    """What the files hold.

    Attributes
    ----------
    counts
        Records of each group; of sequences with labels, of positives and negatives.
    chromosomes, families
        Records by `chrom=` and `group=` of their headers, of each group; whole if all records have one.
    """

    alphabet: Alphabet
    counts: dict[str, int] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=list)
    chromosomes: dict[str, Counter[str | None]] = field(default_factory=dict)
    families: Counter[str | None] = field(default_factory=Counter)

    @classmethod
    def of(cls, groups: dict[str, list[str]], label: str) -> Found:
        """Read all files; `label` names the column or attribute of labels, if there is one."""
        from selfattn_bio.sequence.readers import SequenceFile
        from selfattn_bio.sequence.readers.fields import Fields
        from selfattn_bio.sequence.records import Notes
        from selfattn_bio.sequence.spelling import Spelling

        found, notes = cls(_alphabet(next(iter(groups.values()))[0])), Notes()
        for group in ("positives", "negatives") if label else groups:
            found.counts[group], found.chromosomes[group] = 0, Counter()
        for key, files in groups.items():
            for file in files:
                for record in SequenceFile(Path(file), fields=Fields(label)).records(Spelling(found.alphabet), notes):
                    group = ("positives" if record.label else "negatives") if label else key
                    found.counts[group] += 1
                    found.lengths.append(len(record.letters))
                    found.chromosomes[group][record.chrom] += 1
                    found.families[record.group] += 1
        return found

    @property
    def total(self) -> int:
        """Records."""
        return sum(self.counts.values())

    @property
    def longest(self) -> int:
        """Letters."""
        return max(self.lengths)

    def doubts(self) -> list[str]:
        """What should be known before a training."""
        few = [f"{count} {key}" for key, count in self.counts.items() if count < FEW]
        told = [f"{' and '.join(few)}: figures on the few held-out records will tell little"] if few else []
        spread = self.longest / min(self.lengths)
        return told + ([f"lengths differ {spread:.0f}-fold: see that they do not tell the classes apart"] if spread > 4 else [])


def _alphabet(path: str) -> Alphabet:
    """Told from the letters of the first records, which as protein may be any."""
    from itertools import islice

    from selfattn_bio.sequence.alphabet import DNA, PROTEIN
    from selfattn_bio.sequence.readers import read_records

    letters = b"".join(record.letters.tobytes() for record in islice(read_records(path, PROTEIN), 1000))
    return DNA if len(letters.translate(None, b"ACGTUN")) <= (1 - DNA_SHARE) * len(letters) else PROTEIN


# ---------------------------------------------------------------------------------------------------------------- the text
def _text(arguments: argparse.Namespace, groups: dict[str, list[str]], found: Found) -> str:
    head = [
        f"# Written by `selfattn-bio init {arguments.name}` from what it found in the data; each line is yours to change.",
        f"# It is run by `selfattn-bio run train_{arguments.name}` in the folder from which its paths are seen. What is not named has the",
        "# default of selfattn_bio/config/, which names every key and its range.",
        f'title = "{arguments.name}"',
    ]
    objective = _objective(arguments) if arguments.targets else []
    parts = [head, _data(arguments, groups, found), _split(found), objective, _model(found), _training(found), _interpret(found, objective)]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _data(arguments: argparse.Namespace, groups: dict[str, list[str]], found: Found) -> list[str]:
    lengths = sorted(found.lengths)
    middle = lengths[len(lengths) // 2]
    alike = f"all of {middle}" if lengths[0] == lengths[-1] else f"{lengths[0]:,} to {lengths[-1]:,}, half of them up to {middle:,}"
    lines = ["[data]", f'alphabet = "{found.alphabet.name}"']
    counts = found.counts if list(found.counts) == list(groups) else dict.fromkeys(groups, found.total)
    lines += [f"{key} = {_list(files)}  # {counts[key]:,} records" for key, files in groups.items()]
    if arguments.column and not arguments.targets:
        said = ", ".join(f"{count:,} {group}" for group, count in found.counts.items())
        lines += [f"label = {_string(arguments.column)}  # the column with 1 or 0: {said}"]
    lines += [f"targets = {_string(arguments.targets)}"] if arguments.targets else []
    lines += [f"max_length = {found.longest}  # letters; records have {alike}. Longer ones are dropped and counted"]
    placed = not any(None in of for of in found.chromosomes.values())
    return lines + ['# assembly = "hg38"  # of the coordinates in the headers'] * placed


def _split(found: Found) -> list[str]:
    sides = _chromosomes(found)
    if sides:
        return [
            "[split]",
            'kind = "chromosome"  # the headers name them; what neither valid nor test names is train',
            f"valid = {_list(sides[:1])}",
            f"test = {_list(sides[1:])}",
        ]
    if None not in found.families and len(found.families) >= 10:
        return ["[split]", f'kind = "group"  # the headers name {len(found.families):,} groups, of which none is divided']
    if found.alphabet.name == "protein":
        return ["[split]", 'kind = "cluster"  # what is alike stands on one side: at random test would hold brothers of train']
    return [
        "[split]",
        'kind = "random"  # duplicates stay together. Of one genome better "chromosome", of what is alike "cluster": docs/leakage.md',
    ]


def _chromosomes(found: Found) -> list[str]:
    """One for valid and one for test, of about SIDE of the records each and with all labels; none where there are no such."""
    total = sum(found.chromosomes.values(), Counter())
    if None in total or len(total) < 3:
        return []
    fit = [name for name in total if name and all(of[name] for of in found.chromosomes.values())]
    nearest = sorted(fit, key=lambda name: (abs(total[name] / found.total - SIDE), name))[:2]
    return nearest if len(nearest) == 2 and sum(total[name] for name in nearest) <= found.total / 2 else []


def _objective(arguments: argparse.Namespace) -> list[str]:
    """What the column holds: names, numbers, or 0 and 1."""
    import pandas as pd

    from selfattn_bio.sequence.readers.table import targets_table

    table = targets_table(Path(arguments.targets))
    columns = [str(column) for column in table if column != "id"]
    column = arguments.column or (columns[0] if len(columns) == 1 else "")
    if "id" not in table or column not in columns:
        message = f"targets must have a column id and one to learn, got {', '.join(map(str, table)) or 'none'}"
        raise RunFileError(message, place=arguments.targets, cure="Name one: --column")
    values = table[column].dropna()
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().all() and set(numbers) <= {0, 1}:
        return ["[objective]", 'kind = "multilabel"  # 0 or 1', f"columns = {_list([column])}"]
    if numbers.notna().all():
        return ["[objective]", 'kind = "regression"  # numbers', f"columns = {_list([column])}"]
    return ["[objective]", f'kind = "multiclass"  # {values.nunique()} names', f"column = {_string(column)}"]


def _model(found: Found) -> list[str]:
    dna = found.alphabet.name == "dna"
    lines = ["[tokens]", f"k = {3 if dna else 1}  # letters a token"]
    if dna and found.longest <= LONG:
        return [
            *lines,
            "",
            "# [model] is the default: that of the fly promoters, attention over all places behind a convolution that pools 8",
        ]
    lines += ["", "[model]", 'kind = "attention"']
    if not dna:
        lines += ["members = 1  # this and the stem are those of the task amp", *PROTEIN_STEM]
    places = found.longest // 8 if dna else found.longest
    if places > LONG // 8:
        lines += ['pattern = { kind = "window", window = 128, num_global = 1 }  # time and memory of the length, not of its square']
    return lines


def _training(found: Found) -> list[str]:
    steps = round(min(PROMOTER_STEPS, max(100.0, PROMOTER_STEPS * (found.total / PROMOTERS) ** 0.5)))
    every = max(25, round(steps / 6))
    lines = [
        "[training]",
        f"max_steps = {steps}  # of {STEP_RECORDS} records; by the root of the number of records, as fitted the promoters",
        f"warmup_steps = {min(200, steps // 5)}",
        f"evaluate_every = {every}",
        f"checkpoint_every = {every}",
    ]
    lines += ["shift = 0  # letters to either side, each epoch anew"] if found.alphabet.name == "protein" else []
    batch = max(1, min(STEP_RECORDS, BATCH_LETTERS // found.longest))
    if batch < STEP_RECORDS:
        lines += [
            f"batch_size = {batch}  # what `selfattn-bio plan` says of memory and time decides",
            f"accumulate = {STEP_RECORDS // batch}",
        ]
    return lines


def _interpret(found: Found, objective: list[str]) -> list[str]:
    if objective or found.alphabet.name != "dna":
        return []
    groups = "vertebrates, insects, plants, fungi or nematodes, or the path of MEME, JASPAR or TRANSFAC text"
    return ["[interpret]", f'database = "jaspar:vertebrates"  # what motifs are matched with: jaspar: and {groups}']


def _list(values: list[str]) -> str:
    return f"[{', '.join(map(_string, values))}]"


def _string(value: str) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)  # a basic string of TOML

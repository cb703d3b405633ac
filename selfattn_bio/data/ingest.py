"""Read sequences into a corpus folder, and describe what was read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from selfattn_bio.data.corpus import PARTNER, SUMMARY, Corpus, check_columns, fingerprint_of
from selfattn_bio.data.writer import (
    LETTERS,
    RECORDS,
    TARGETS,
    TYPES,
    CorpusWriter,
    RecordRules,
    Targets,
)
from selfattn_bio.display import counted, shortened
from selfattn_bio.errors import CorpusError, SequenceFileError
from selfattn_bio.files import check_replaceable, whole_folder
from selfattn_bio.log import LOG
from selfattn_bio.sequence.alphabet import get_alphabet
from selfattn_bio.sequence.readers import SequenceFile
from selfattn_bio.sequence.records import ReadSummary

if TYPE_CHECKING:  # avoids importing genomes and numba to open a corpus
    from selfattn_bio.data.partner import Partners
    from selfattn_bio.data.sources import Source


NAMED = 8  # maximum number of ids in a message
ENOUGH = 20  # minimum number of letters to recognise DNA


def build_corpus(
    sources: Sequence[Source],
    output: str | Path,
    rules: RecordRules,
    targets: str | Path | None = None,
    partners: Partners | None = None,
) -> Corpus:
    """Read sequences into a corpus folder.

    The folder is complete afterwards, or unchanged if there is an error. Records outside the length
    limits, with only N (X in protein), or with the sequence of an earlier record are dropped and
    counted. `rules.repeats` can keep repeated sequences. Repeats with another label or other
    targets than the earlier record are counted separately.

    Parameters
    ----------
    sources
        Sources in order.
    output
        The folder to write.
    rules
        Rules for accepting records.
    targets
        Table (TSV, CSV or Parquet) with a column id and the targets of each record. Without it,
        target columns of the records themselves are stored.
    partners
        Source of the second input of each record. Its corpus is written to the subfolder `partner`.

    Raises
    ------
    CorpusError
        If the targets cannot be read or belong to other records, or records have no partner.
    OutputError
        If `output` exists and is neither a corpus folder nor empty.
    SequenceFileError
        If a file is malformed (see `sequence.readers`), no record is left, or a source declared as
        protein contains only DNA.
    """
    check_replaceable(output, "corpus", (LETTERS, RECORDS, TARGETS, PARTNER, SUMMARY), SUMMARY)
    wanted = Targets(
        None if targets is None else Path(targets),
        [source for source in sources if isinstance(source, SequenceFile)],
        rules,
    )
    counted, files = ReadSummary(), []
    with whole_folder(output) as folder:
        with CorpusWriter(folder, rules, wanted.digests(rules.learnt)) as writer:
            of_dna: dict[bool, str] = {}  # is a source only DNA? -> first such source
            for source in sources:
                before, kept, letters = counted.read, writer.num_records, writer.num_letters
                writer.looks_dna = True
                for record in source.records(rules.policy, counted):
                    writer.take(record)
                    # Release it before the next is read, so that only one chromosome is in memory
                    del record
                numbers = {"records": counted.read - before, "kept": writer.num_records - kept}
                files.append(source.about() | numbers)
                if rules.alphabet.name == "protein" and (
                    not writer.looks_dna or writer.num_letters - letters >= ENOUGH
                ):
                    of_dna.setdefault(writer.looks_dna, files[-1]["path"])
        paths = ", ".join(file["path"] for file in files)
        _check_any_left(writer, files, counted.read)
        _check_protein(of_dna)
        records = pd.read_parquet(folder / RECORDS).astype(TYPES)
        _warn_of_formulas(records["id"], paths)
        about_targets = wanted.write(folder, records["id"], writer.targets, paths)
        check_columns(rules.learnt or (), about_targets.get("columns", ()), rules.place or paths)
        if partners:
            partner = build_corpus(partners.sources(records), folder / PARTNER, partners.rules)
            _check_partners(records["id"], partner)
        summary = {
            "alphabet": rules.alphabet.name,
            "assembly": rules.assembly,
            "num_records": len(records),
            "num_letters": writer.num_letters,
            "fingerprint": fingerprint_of(records, folder),
            "read": counted.read,
            "dropped": dict(writer.dropped),
            "repeated": dict(writer.repeated),
            "noted": {what: count for what, count in counted.counts.items() if count},
            "sources": files,
        } | ({"targets": about_targets} if about_targets else {})
        (folder / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return Corpus(Path(output), records, summary)


def _warn_of_formulas(ids: pd.Series, paths: str) -> None:
    """Warn of ids that a spreadsheet would compute; they stay, because tables are joined by ids."""
    formulas = ids[ids.str.match(r"[=+@-]")]
    if len(formulas):
        LOG.warning(
            f"{paths}: ids such as {formulas.iloc[0]!r} ({len(formulas):,}) are formulas for a "
            "spreadsheet; import tables of results there as text"
        )


def _check_partners(ids: pd.Series, partner: Corpus) -> None:
    """Check that each record has a partner with its id."""
    alone = ids[~ids.isin(partner.records["id"])]
    if len(alone):
        dropped = "".join(
            f"; dropped {count}: {reason}" for reason, count in partner.summary["dropped"].items()
        )
        shown = shortened([*map(repr, alone)], NAMED)
        place = ", ".join(source["path"] for source in partner.summary["sources"])
        hint = "Give each record a partner with the same id, or remove the record"
        raise CorpusError(f"no partner for {shown}{dropped}", place=place, hint=hint)


def describe(summary: dict[str, Any]) -> Iterator[str]:
    """Yield one log line per count of records read, dropped or unusual, and of the targets."""
    files, read, kept = len(summary["sources"]), summary["read"], summary["num_records"]
    yield f"read {counted(read, 'record')} from {counted(files, 'file')}"
    for source in summary["sources"]:
        for what, count in source.get("counts", {}).items():
            yield f"{count} {what} ({source['path']})"
    for reason, count in summary["dropped"].items():
        yield f"dropped {count}: {reason}"
    for reason, count in summary.get("repeated", {}).items():
        yield f"repeated {count}: {reason} (kept)"
    for what, count in summary["noted"].items():
        yield f"{counted(count, 'record')} with {what}"
    yield from _uneven(summary)
    if "targets" in summary:
        targets = summary["targets"]
        if targets["empty"]:
            yield f"targets: {', '.join(_with_counts(name, targets) for name in targets['empty'])}"
        if targets["unmatched"]:
            yield (
                f"left out the targets of {counted(targets['unmatched'], 'id')} without a kept "
                f"record, such as {targets['unmatched_such_as'][0]!r}"
            )
    unit = get_alphabet(summary["alphabet"]).unit
    yield f"kept {counted(kept, 'record')} with {summary['num_letters']:,} {unit}"


def _with_counts(name: str, targets: Mapping[str, Any]) -> str:
    """Return the name of a target column with its counts: `HNF4A ('no' 516, 'yes' 338)`."""
    counts = targets.get("counts", {}).get(name, {})
    found = [f"{value!r} {number:,}" for value, number in counts.items()]
    if empty := targets["empty"][name]:
        found.append(f"missing for {counted(empty, 'record')}")
    return f"{name} ({', '.join(found)})" if found else name


def _uneven(summary: dict[str, Any]) -> Iterator[str]:
    """Yield a warning if the number of generated negatives differs from the requested ratio."""
    made = [source for source in summary["sources"] if "made" in source]
    positives = summary["num_records"] - sum(source["kept"] for source in made)
    for source in made:
        if source["kept"] != (requested := source["made"]["per_positive"] * positives):
            yield (
                f"kept {source['kept']} {source['made']['kind']} negatives instead of {requested} "
                f"for {positives} kept positives, because negatives are generated before "
                "duplicates and records of other lengths are dropped"
            )


def _check_protein(of_dna: Mapping[bool, str]) -> None:
    """Refuse DNA declared as protein in all sources or in one of them.

    Every letter of DNA is also a valid residue, so the alphabet alone does not detect this.
    """
    if set(of_dna) == {True}:
        message = "all records contain only A, C, G, T, U and N, so they are DNA, not protein"
        raise SequenceFileError(message, hint='Use alphabet = "dna" or "rna" in [data]')
    if True in of_dna:
        message = f"this file is DNA (only A, C, G, T, U and N), but {of_dna[False]} is protein"
        raise SequenceFileError(message, place=of_dna[True], hint="Use one alphabet for all files")


def _check_any_left(writer: CorpusWriter, files: Sequence[Mapping[str, Any]], read: int) -> None:
    if writer.num_records:
        return
    counts = [writer.dropped, *(file.get("counts", {}) for file in files)]
    reasons = ", ".join(f"{count} {reason}" for of in counts for reason, count in of.items())
    message = f"no record is left of {read:,}: {reasons}"
    is_length = any(reason.startswith(("shorter", "longer")) for reason in writer.dropped)
    hint = "Change the length limits" if is_length else ""
    SequenceFileError.fail(message, ", ".join(file["path"] for file in files), hint)

"""Find motifs in the attributions of train and valid, and test the evidence on test records."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from selfattn_bio.attribution.explanation import AGAIN, PARTNER, SOURCE, Explanation
from selfattn_bio.config import NO_DATABASE, Interpret
from selfattn_bio.data.inputs import RecordPair, inputs_of
from selfattn_bio.display import counted
from selfattn_bio.errors import ArgumentError, ResultsError
from selfattn_bio.evidence.held_out import RECORD_COLUMNS, add_evidence
from selfattn_bio.log import LOG
from selfattn_bio.model.checkpoint import read_provenance
from selfattn_bio.motifs.callers import build_caller
from selfattn_bio.motifs.motif_set import MotifSet, build_motifs
from selfattn_bio.report.lines import motif_lines
from selfattn_bio.sequence.alphabet import get_alphabet
from selfattn_bio.study.trained import TrainedModel

if TYPE_CHECKING:
    from selfattn_bio.study.study import Study


def find_motifs(study: Study, input: str) -> MotifSet:
    """Find motifs of a task; `Study.find_motifs` describes it."""
    start = time.monotonic()
    known = ("first", PARTNER) if study.task.partner else ("first",)
    if input not in known:
        raise ArgumentError(f"unknown input {input!r}; this task has {' and '.join(known)}")
    trained = TrainedModel.of(study, "motifs")
    folder, layout = study.existing(study.files, "attribution"), study.files
    if input == PARTNER:
        folder, layout = folder / PARTNER, layout.of_partner()
    explained, place = Explanation.load(folder), str(folder)
    outputs = trained.outputs(explained.targets, place)
    test = trained.test_records(outputs)
    _check_attribution(explained, read_provenance(trained.folder), test, place)
    settings, inputs = study.task.interpret, inputs_of(trained.scorer.run, trained.corpus)
    given = [inputs.of(row) for row in test.index]
    letters = [each.first if isinstance(each, RecordPair) else each for each in given]
    trained.check_unseen(test, letters)
    motifs = _discover(explained, settings)
    LOG.info(
        f"found {counted(len(motifs), 'motif')} in {time.monotonic() - start:.0f} s; testing the "
        f"evidence on {counted(len(test), 'test record')}"
    )
    motifs = add_evidence(
        motifs,
        trained.scorer,
        test.reset_index(drop=True).reindex(columns=RECORD_COLUMNS),
        given,
        trained.values[test.index.to_numpy()],
        hit_p=settings.hit_p,
        # its positions are those of the first input
        window=None if explained.input == PARTNER else settings.window,
        significance=settings.significance,
        seed=settings.seed,
    )
    motifs.save(layout.folder)
    for line in motif_lines(motifs.table):
        LOG.info(line)
    LOG.info(f"wrote {layout.motifs} in {time.monotonic() - start:.0f} s")
    return motifs


def _check_attribution(
    explanation: Explanation, provenance: Mapping[str, Any], test: pd.DataFrame, place: str
) -> None:
    """Refuse attributions of another model, corpus or split, and those of test records.

    Motifs found in test records would be judged on the records they were found in.
    """
    for key in SOURCE:
        here, there = provenance[key], explanation.source.get(key, "none")
        if here != there:
            message = (
                f"the attribution belongs to another model, corpus or split ({key} {there[:12]}, "
                f"not {here[:12]})"
            )
            raise ResultsError(message, place=place, hint=AGAIN)
    held_out = set(test["id"])
    if seen := [name for name in explanation.ids if name in held_out]:
        message = (
            f"test records in the attribution: {len(seen)}, such as {seen[0]!r}; they are reserved "
            "for the evidence"
        )
        raise ResultsError(message, place=place, hint=AGAIN)


def _discover(explanation: Explanation, settings: Interpret) -> MotifSet:
    """Find motifs with the settings of the run file, and report the database first."""
    alphabet = get_alphabet(explanation.alphabet)
    if explanation.is_attention:
        LOG.info(
            f"no motifs: method {explanation.method!r} reads attention weights, and motifs need "
            "attributions of single positions"
        )
        return build_motifs([], explanation.records, {})
    if not alphabet.has_complement:
        LOG.info("motifs are not matched with known ones: there is no database of protein motifs")
    elif settings.database == NO_DATABASE:
        LOG.info('motifs are not matched with known ones: [interpret] database = "none"')
    else:
        LOG.info(f"motifs are matched with {settings.database}, the [interpret] database")
    caller = build_caller(settings.caller, alphabet, settings.max_seqlets)
    return explanation.find_motifs(settings.database, caller=caller, max_motifs=settings.max_motifs)

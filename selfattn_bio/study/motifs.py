"""Find motifs in the attributions, and pairs of motifs that a model uses together.

Motifs come from records of train and valid; the evidence is tested on test records.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from selfattn_bio.arrays import Floats, Integers
from selfattn_bio.attribution.explanation import PARTNER, SOURCE, Explanation
from selfattn_bio.config import NO_DATABASE, Interpret
from selfattn_bio.data.inputs import inputs_of
from selfattn_bio.display import counted
from selfattn_bio.errors import ArgumentError, CorpusError
from selfattn_bio.evaluation.units import TOO_NARROW, Units
from selfattn_bio.evidence.epistasis import ORDERS, mean_of_strands
from selfattn_bio.evidence.held_out import (
    RECORD_COLUMNS,
    add_evidence,
    calibrated_scores,
    check_held_out,
    held_out_hits,
    hits_in_use,
    neutral_backgrounds,
)
from selfattn_bio.evidence.interactions import (
    Interactions,
    attention_between,
    evaluate_interactions,
    measured_pairs,
    untested_pairs,
)
from selfattn_bio.evidence.marginals import pair_curves
from selfattn_bio.evidence.positions import is_palindromic
from selfattn_bio.evidence.records import HeldOut, held_out_records
from selfattn_bio.log import LOG, log_lines
from selfattn_bio.model.checkpoint import read_provenance
from selfattn_bio.motifs import database_of, meme_sites, read_meme
from selfattn_bio.motifs.callers import build_caller
from selfattn_bio.motifs.motif_set import MotifSet, build_motifs
from selfattn_bio.objectives.outputs import Output
from selfattn_bio.report.lines import motif_lines
from selfattn_bio.scoring.paired_scorer import check_one_input
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import get_alphabet
from selfattn_bio.study.splitting import record_units
from selfattn_bio.study.study import Study
from selfattn_bio.study.trained import TrainedModel

ONE_UNIT = 0.8  # fraction of sites; a motif with more of them in one family may be its alignment


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
    test = trained.test_records(trained.outputs(explained.targets, place))
    study.check_source(study.files, "attribution", explained.source)
    settings, inputs = study.task.interpret, inputs_of(trained.scorer.run, trained.corpus)
    given = [inputs.of(row) for row in test.index]
    units, motifs = _units(study, trained, test.index.to_numpy()), _discover(explained, settings)
    rows = pd.Series(np.arange(len(trained.corpus)), trained.corpus.records["id"])[explained.ids]
    motifs = without_alignments(motifs, _units(study, trained, rows.to_numpy()))
    LOG.info(
        f"found {counted(len(motifs), 'motif')} in {time.monotonic() - start:.0f} s; testing the "
        f"evidence on {counted(len(test), 'test record')}"
    )
    if units.name.endswith(TOO_NARROW):
        LOG.warning(f"tests are over {units.name}. For more units, {study.task.split.enlarge}")
    motifs = add_evidence(
        motifs,
        trained.scorer,
        test.reset_index(drop=True).reindex(columns=RECORD_COLUMNS),
        given,
        trained.values[test.index.to_numpy()],
        units=units,
        hit_p=settings.hit_p,
        # its positions are those of the first input
        window=None if explained.input == PARTNER else settings.window,
        significance=settings.significance,
        seed=settings.seed,
    )
    motifs.save(layout.folder)
    log_lines(motif_lines(motifs.table, settings.significance, study.task.split))
    LOG.info(f"wrote {layout.motifs} in {time.monotonic() - start:.0f} s")
    return motifs


def _units(study: Study, trained: TrainedModel, rows: Integers) -> Units:
    """Return the units of rows of the corpus, those of the intervals of `evaluate`."""
    keys, name = record_units(study.task, trained.corpus, trained.split)
    return Units.of(keys[rows], name)


def without_alignments(motifs: MotifSet, units: Units) -> MotifSet:
    """Add the column site_units, and leave out motifs that may be alignments of relatives.

    More than `ONE_UNIT` of their sites are in one unit, which has less than half of that fraction
    of the explained records of their output. Nothing changes if each record is a unit.

    Parameters
    ----------
    motifs
        Motifs of an explanation.
    units
        Units of its records.
    """
    number = units.numbers.max(initial=-1) + 1
    if number >= motifs.records["id"].nunique():
        return motifs
    spreads = {}
    for motif, target in zip(motifs, motifs.table["target"], strict=True):
        counts = np.bincount(units.numbers[motif.seqlets["record"]])
        in_one = counts.max() / motif.num_sites
        explained = units.numbers[motifs.records["target"] == target]
        spread = f"{(counts > 0).sum()} of {number} {units.name}, at most {counts.max()} in one"
        if in_one > ONE_UNIT and np.mean(explained == counts.argmax()) < in_one / 2:
            LOG.info(f"left out, perhaps an alignment of relatives: {motif} in {spread}")
        else:
            spreads[motif.name] = spread
    kept = tuple(motif for motif in motifs if motif.name in spreads)
    table = motifs.table.assign(site_units=motifs.table["name"].map(spreads))
    return replace(motifs, motifs=kept, table=table.dropna(subset="site_units", ignore_index=True))


def _discover(explanation: Explanation, settings: Interpret) -> MotifSet:
    """Find motifs with the settings of the run file, and report the database first."""
    alphabet = get_alphabet(explanation.alphabet)
    if explanation.is_attention:
        LOG.info(
            f"no motifs: method {explanation.method!r} reads attention weights, and motifs need "
            "attributions of single positions"
        )
        return build_motifs([], explanation.records, {}, source=explanation.source)
    if database := database_of(settings.database, alphabet):
        LOG.info(f"motifs are matched with {database}, the [interpret] database")
    elif settings.database in ("", NO_DATABASE):  # for others, `find_motifs` has a warning
        LOG.info(f"motifs are not matched with known ones: no database of {alphabet.title} motifs")
    caller = build_caller(settings.caller, alphabet, settings.max_seqlets)
    return explanation.find_motifs(settings.database, caller=caller, max_motifs=settings.max_motifs)


def find_interactions(study: Study, motifs: MotifSet | str | Path | None) -> Interactions:
    """Test pairs of motifs of a task; `Study.find_interactions` describes it."""
    start = time.monotonic()
    trained = TrainedModel.of(study, "interactions")
    scorer, settings, alphabet = trained.scorer, study.task.interpret, trained.corpus.alphabet
    check_one_input(scorer, "interactions")
    if not alphabet.is_nucleic:
        message = f"interactions needs DNA or RNA records, but the corpus has {alphabet.name}"
        CorpusError.fail(message, trained.corpus.path)
    if motifs is None:
        motifs = study.motifs
    if isinstance(motifs, MotifSet) and len(motifs):
        by_target = motifs.table.groupby("target", sort=False)["name"]
        outputs = trained.outputs([str(target) for target, _ in by_target], study.place)
        ppms = [{name: motifs[name].ppm for name in names} for _, names in by_target]
        num_sites = motifs.num_sites
    else:
        outputs = trained.outputs(settings.targets or (), study.place)
        own = {} if isinstance(motifs, MotifSet) else read_meme(motifs)
        ppms = [own] * len(outputs)
        num_sites = {} if isinstance(motifs, MotifSet) else meme_sites(motifs, own)
    test = trained.test_records(outputs)
    letters = {row: trained.corpus.letters(row) for row in test.index}
    if isinstance(motifs, MotifSet):
        check_held_out(scorer, motifs, test["id"].tolist(), list(letters.values()))
    found = []
    for output, of_output in zip(outputs, ppms, strict=True):
        truth = trained.truth(output)[test.index].dropna()
        held_out = held_out_records(
            output,
            [letters[row] for row in truth.index],
            truth.to_numpy(),
            scorer.alphabet,
            groups=_units(study, trained, truth.index.to_numpy()),
        )
        tables = _pairs(of_output, num_sites, scorer, output, held_out, settings)
        for table in (tables[0], tables[2]):  # curves have no output
            table.insert(0, "target", output.name)
        found.append(tables)
    table, curves, measured = (pd.concat(of, ignore_index=True) for of in zip(*found, strict=True))
    provenance = read_provenance(trained.folder)
    pairs = Interactions(table, curves, measured, {key: provenance[key] for key in SOURCE})
    pairs.save(study.files.folder)
    log_lines(pairs.lines)
    if text := untested_pairs(measured):
        LOG.info(text)
    LOG.info(f"wrote {study.files.interactions} in {time.monotonic() - start:.0f} s")
    return pairs


def _pairs(
    ppms: Mapping[str, Floats],
    num_sites: Mapping[str, int],
    scorer: Scorer,
    output: Output,
    held_out: HeldOut,
    settings: Interpret,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Test pairs of motifs of one output in the held-out records that it is about.

    Returns
    -------
    The table of `evaluate_interactions` with the columns `marginals.PAIR_COLUMNS`, the curves of
    `pair_curves`, and the table of `measured_pairs`, which counts all test records.
    """
    scores = calibrated_scores(scorer, output, held_out)
    letters = [held_out.sequences[row] for row in held_out.described]
    hits, _ = held_out_hits(ppms, num_sites, held_out, settings.hit_p)
    with_two = hits[hits.groupby("record")["name"].transform("nunique") > 1]
    sites = hits_in_use(with_two, scorer, output, held_out, settings.seed)
    sites = sites.assign(record=np.searchsorted(held_out.described, sites["record"]))
    table = evaluate_interactions(
        sites,
        letters,
        mean_of_strands(scorer, lambda sequences: scores(sequences).mean(axis=1)),
        attention_between(scorer, letters),
        units=held_out.units.within(held_out.described),
        least=held_out.least,
        palindromes=[n for n in ppms if scorer.alphabet.has_complement and is_palindromic(ppms[n])],
        significance=settings.significance,
        seed=settings.seed,
    )
    if scorer.alphabet.one_strand:
        table["orientation"] = table["orientation"].replace(ORDERS)
    backgrounds = neutral_backgrounds(held_out, scores, settings.seed)
    curves, marginal = pair_curves(table, ppms, backgrounds, seed=settings.seed)
    measured = measured_pairs(table, list(ppms), sites, hits, held_out.truth)
    return table.join(marginal), curves, measured

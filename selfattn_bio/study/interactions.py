"""Find pairs of motifs that a DNA model uses together, by replacing the bases of their sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.config import Interpret
from selfattn_bio.data.inputs import RecordPair, inputs_of
from selfattn_bio.display import counted
from selfattn_bio.errors import ArgumentError, CorpusError
from selfattn_bio.interpret.across import evaluate_across
from selfattn_bio.interpret.epistasis import mean_of_strands
from selfattn_bio.interpret.explanation import PARTNER
from selfattn_bio.interpret.held_out import (
    calibrated_scores,
    importance_of,
    neutral_backgrounds,
    scorer_for_motifs,
)
from selfattn_bio.interpret.hits import HIT_P, NUM_SITES, find_hits, relevant_hits
from selfattn_bio.interpret.interactions import (
    COLUMNS,
    MAX_SEARCHED,
    Interactions,
    attention_between,
    evaluate_interactions,
    relevant_sites,
)
from selfattn_bio.interpret.marginals import PAIR_CURVES, pair_curves
from selfattn_bio.interpret.motifs import MotifSet
from selfattn_bio.interpret.records import HeldOut, held_out_records
from selfattn_bio.log import LOG
from selfattn_bio.motifs import read_meme
from selfattn_bio.objectives.outputs import Output
from selfattn_bio.scoring.paired_scorer import PairedScorer
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.study.trained import TrainedModel


def find_interactions(study: Study, motifs: MotifSet | str | Path | None) -> Interactions:
    """Test pairs of motifs of a task; `Study.find_interactions` describes it."""
    start = time.monotonic()
    trained = TrainedModel.of(study, "interactions")
    motifs = study.motifs if motifs is None else motifs
    scorer, settings, place = trained.scorer, study.task.interpret, study.place
    if isinstance(scorer, PairedScorer):
        return _across(trained, settings, motifs, place)
    if isinstance(motifs, tuple):
        raise ArgumentError("this model has one input; pass its motifs only")
    if corpus.alphabet.name != "dna":
        raise CorpusError(
            f"interactions needs DNA records, but the corpus has {corpus.alphabet.name}",
            place=str(corpus.path),
        )
    if not isinstance(motifs, MotifSet) and Path(motifs).is_dir():
        motifs = MotifSet.load(motifs)
    if isinstance(motifs, MotifSet) and len(motifs):
        by_target = motifs.table.groupby("target", sort=False)["name"]
        outputs = trained.outputs([str(target) for target, _ in by_target], place)
        ppms = [{name: motifs[name].ppm for name in names} for _, names in by_target]
    else:
        outputs = trained.outputs(settings.targets or (), place)
        ppms = [{} if isinstance(motifs, MotifSet) else read_meme(motifs, least=0)] * len(outputs)
    test = trained.test_records(outputs)
    letters = dict(zip(test.index, trained.letters(test), strict=True))
    trained.check_unseen(test, list(letters.values()))
    tables, curves = [], []
    for output, of_output in zip(outputs, ppms, strict=True):
        truth = trained.truth(output)[test.index].dropna()
        held_out = held_out_records(
            output, [letters[row] for row in truth.index], truth.to_numpy(), scorer.alphabet
        )
        table, of_pairs = _pairs(of_output, scorer, output, held_out, settings)
        table.insert(0, "target", output.name)
        tables.append(table)
        curves.append(of_pairs)
    return Interactions(pd.concat(tables, ignore_index=True), pd.concat(curves, ignore_index=True))


def _pairs(
    ppms: Mapping[str, NDArray[np.float64]],
    scorer: Scorer,
    output: Output,
    held_out: HeldOut,
    settings: Interpret,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test pairs of motifs of one output in the held-out records that it is about.

    Returns
    -------
    The table of `evaluate_interactions` with the columns `marginals.PAIR_COLUMNS`, and the curves
    of `pair_curves`.
    """
    if len(ppms) == 1:
        LOG.info("one motif, so no pairs")
    scores = calibrated_scores(scorer, output, held_out)
    letters = [held_out.sequences[row] for row in held_out.described]
    sites = relevant_sites(
        ppms,
        letters,
        lambda sequences: importance_of(scorer, output, sequences),
        settings.hit_p,
        settings.seed,
    )
    LOG.info(
        f"the model relies on {counted(len(sites), 'site')} of "
        f"{counted(sites['name'].nunique(), 'motif')} in "
        f"{sites['record'].nunique()} of {counted(len(letters), f'test {output.records}')}"
    )
    table = evaluate_interactions(
        sites,
        letters,
        mean_of_strands(scorer, lambda sequences: scores(sequences).mean(axis=1)),
        attention_between(scorer, letters),
        least=held_out.least,
        significance=settings.significance,
        seed=settings.seed,
    )
    backgrounds = neutral_backgrounds(held_out, scores, settings.seed)
    curves, marginal = pair_curves(table, ppms, backgrounds, seed=settings.seed)
    return table.join(marginal), curves


def _across(
    trained: TrainedModel,
    settings: Interpret,
    motifs: MotifSet | tuple[MotifSet, MotifSet] | str | Path,
    place: str,
) -> Interactions:
    """Test pairs of motifs of a model with two inputs, one in each; `place` is the run file."""
    scorer = trained.scorer
    motifs = _motifs_of_inputs(scorer, motifs)
    no_curves = pd.DataFrame(columns=PAIR_CURVES)  # by distance
    shared = [
        target
        for target in motifs[0].table["target"].unique()
        if target in set(motifs[1].table["target"])
    ]
    if not shared:
        LOG.info("no pairs: motifs were not found in both inputs for the same output")
        return Interactions(pd.DataFrame(columns=["target", *COLUMNS]), no_curves)
    outputs = trained.outputs(shared, place)
    test, inputs = trained.test_records(outputs), inputs_of(scorer.run, trained.corpus)
    given = {row: inputs.of(row) for row in test.index}
    trained.check_unseen(test, [pair.first for pair in given.values()])
    tables = []
    for output in outputs:
        truth = trained.truth(output)[test.index].dropna()
        pairs = [given[row] for row in truth.index]
        held_out = held_out_records(
            output, [pair.first for pair in pairs], truth.to_numpy(), scorer.alphabet, pairs
        )
        scores = calibrated_scores(scorer, output, held_out)
        described = [pairs[row] for row in held_out.described]
        sites = _sites_of_inputs(scorer, output, described, motifs, settings)
        LOG.info(
            f"the model relies on {counted(len(sites[0]), 'site')} in first inputs and on "
            f"{counted(len(sites[1]), 'site')} in their partners, in test {output.records}s"
        )
        table = evaluate_across(
            sites,
            described,
            scores,
            least=held_out.least,
            significance=settings.significance,
            seed=settings.seed,
        )
        table.insert(0, "target", output.name)
        tables.append(table)
    return Interactions(pd.concat(tables, ignore_index=True), no_curves)


def _motifs_of_inputs(
    scorer: Scorer, motifs: MotifSet | tuple[MotifSet, MotifSet] | str | Path
) -> tuple[MotifSet, MotifSet]:
    """Return the motifs of both inputs, given as such or as the folder of those of the first.

    Raises
    ------
    ValueError
        If motifs of an input are missing, both are exchanged, or the model has another alphabet.
    ResultsError
        If the files of a folder are missing or damaged.
    """
    if isinstance(motifs, str | Path):
        if not (Path(motifs) / PARTNER).is_dir():
            raise ArgumentError(
                "interactions of two inputs need the motifs of both, but there are none of the "
                "second",
                place=str(motifs),
                hint=f"Pass the folder with motifs.tsv and {PARTNER}/motifs.tsv. A track as second "
                "input has no motifs",
            )
        motifs = MotifSet.load(motifs), MotifSet.load(Path(motifs) / PARTNER)
    if isinstance(motifs, MotifSet):
        raise ArgumentError("interactions of two inputs need the motifs of both, as a tuple")
    for name, found in zip(RecordPair._fields, motifs, strict=True):
        if len(found) and found.input != name:
            raise ArgumentError(
                "the tuple must have the motifs of the first input, then those of the second"
            )
        scorer_for_motifs(scorer, found)
    return motifs


def _sites_of_inputs(
    scorer: Scorer,
    output: Output,
    pairs: Sequence[RecordPair],
    motifs: tuple[MotifSet, MotifSet],
    settings: Interpret,
) -> list[pd.DataFrame]:
    """Find the hits that the model uses in records with hits in both inputs.

    Motifs of the partner are named `partner/NAME`.
    """
    hits = []
    for name, found in zip(RecordPair._fields, motifs, strict=True):
        own = found.table["name"][found.table["target"] == output.name]
        ppms = {f"{PARTNER}/" * (name == PARTNER) + each: found[each].ppm for each in own}
        letters = [getattr(pair, name) for pair in pairs]
        sizes = dict.fromkeys(ppms, NUM_SITES)
        hits.append(find_hits(ppms, sizes, letters, settings.hit_p or HIT_P, found.alphabet))
    both = np.intersect1d(hits[0]["record"], hits[1]["record"])
    chosen = np.sort(np.random.default_rng(settings.seed).permutation(both)[:MAX_SEARCHED])
    sites = []
    for name, of_input in zip(RecordPair._fields, hits, strict=True):
        attribution = importance_of(scorer, output, [pairs[row] for row in chosen], name)
        searched = of_input[of_input["record"].isin(chosen)].reset_index(drop=True)
        by_record = dict(zip(chosen.tolist(), attribution, strict=True))
        sites.append(relevant_hits(searched, by_record))
    return sites

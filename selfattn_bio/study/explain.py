"""Explain records of train and valid that show what a model recognises."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logit

from selfattn_bio.attribution.capture import has_attention
from selfattn_bio.attribution.contributions import located
from selfattn_bio.attribution.explain import attention_maps, explain_letters, explain_pairs, joined
from selfattn_bio.attribution.explanation import SOURCE, Explanation, check_output
from selfattn_bio.attribution.methods import AttributionMethod, build_method
from selfattn_bio.attribution.readout import MappedSequence
from selfattn_bio.attribution.targets import Target
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.inputs import Inputs, inputs_of
from selfattn_bio.display import counted, did_you_mean
from selfattn_bio.errors import ArgumentError, CorpusError, RunFileError
from selfattn_bio.evidence.stability import attribution_correlations
from selfattn_bio.log import LOG
from selfattn_bio.model.checkpoint import read_provenance
from selfattn_bio.objectives.outputs import Output, safe_names
from selfattn_bio.scoring.paired_scorer import PairedScorer
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.study.study import Study
from selfattn_bio.study.trained import TrainedModel

COMPARED = 50  # records that each network of the model explains alone
# of the records that are explained for an output: 0.7 GB of scores
MOST_POSITIONS = 1 << 25
COLUMNS = ["id", "label", "chrom", "start", "end", "strand", "split", "score"]


def explain_records(study: Study, targets: Sequence[str]) -> Explanation:
    """Explain records of a task; `Study.explain` describes it."""
    if isinstance(targets, str):
        raise ArgumentError(f"pass a list of targets, such as [{targets!r}]")
    start = time.monotonic()
    trained = TrainedModel.of(study, "explain")
    check_output(study.files.attribution)
    corpus = trained.corpus
    scorer, settings, place = trained.scorer, study.task.interpret, study.place
    mapped = _rows_of(settings.maps or (), corpus, place)
    inputs = inputs_of(scorer.run, corpus)
    method = build_method(settings.method)
    explain: Any = explain_pairs if isinstance(scorer, PairedScorer) else explain_letters
    outputs = trained.outputs(targets or settings.targets or (), "" if targets else place)
    if scorer.alphabet.is_nucleic and located(corpus.records).any():
        safe_names([output.name for output in outputs])  # of files, before the work
    parts = []
    if len(outputs) > 1:
        LOG.info(
            f"up to {settings.max_sequences:,} records for each of {len(outputs)} outputs "
            "([interpret] max_sequences); the time left is that of one output"
        )
    for number, output in enumerate(outputs, 1):
        candidates = _candidates(trained, output)
        most = max(1, MOST_POSITIONS // int(candidates["length"].max()))
        limit = min(settings.max_sequences, most)
        records = choose_recognised(scorer, output, inputs, candidates, limit)
        letters = [inputs.of(row) for row in records.index]
        of = f"output {number} of {len(outputs)}, {output.name}: " if len(outputs) > 1 else ""
        shown, target = records[COLUMNS], Target(output.name)
        parts.append(explain(scorer, letters, shown, method=method, target=target, place=of))
        if output is outputs[0]:
            of_score = sorted({0, len(records) // 2, len(records) - 1})  # highest first
            mapped = mapped or records.index[of_score].tolist()
            correlation = _member_correlation(scorer, output, letters, records, method)
    provenance = read_provenance(trained.folder)
    source = {key: provenance[key] for key in SOURCE}
    explained = joined(parts)
    explanation = replace(
        explained,
        source=source,
        partner=explained.partner and replace(explained.partner, source=source),
        maps=_maps(scorer, outputs[0], corpus, mapped),
        member_correlation=correlation,
    )
    genome = scorer.run.data.genome  # only for the lengths of chromosomes
    if genome and not Path(genome).is_file():
        LOG.warning(f"no genome {genome}: chromosomes of the bigWig files end at their last record")
        genome = None
    explanation.save(study.files.attribution, genome)
    LOG.info(f"wrote {study.files.attribution} in {time.monotonic() - start:.0f} s")
    return explanation


def _rows_of(ids: Sequence[str], corpus: Corpus, place: str) -> list[int]:
    """Return the corpus rows of the records in [interpret] maps, in the order of the run file.

    Raises
    ------
    RunFileError
        If a record is not in the corpus; the message has the most similar id.
    """
    rows = {str(name): row for row, name in enumerate(corpus.records["id"])}
    if unknown := [name for name in ids if name not in rows]:
        near = did_you_mean(unknown[0], list(rows))
        message = (
            "[interpret] maps has ids that are not in the corpus: "
            f"{', '.join(map(repr, unknown))}{near and f' ({near})'}"
        )
        hint = f"Ids are the first column of the split table, such as {next(iter(rows))!r}"
        raise RunFileError(message, place=place, hint=hint)
    return [rows[name] for name in ids]


def _candidates(trained: TrainedModel, output: Output) -> pd.DataFrame:
    """Return the records of train and valid to choose from; the index is the row in the corpus."""
    candidates = trained.candidates(output)
    if candidates.empty:
        message = (
            f"train and valid have no {output.records}{_of(output, trained.scorer)} to explain"
        )
        CorpusError.fail(message, trained.split, "Change [split] in the run file")
    return candidates


def _of(output: Output, scorer: Scorer) -> str:
    """Return " of 'NAME'" for one of several outputs, otherwise nothing."""
    return f" of {output.name!r}" if len(scorer.objective.outputs) > 1 else ""


def choose_recognised(
    scorer: Scorer, output: Output, inputs: Inputs, candidates: pd.DataFrame, limit: int
) -> pd.DataFrame:
    """Choose the records to explain for an output, highest score first (`Output.choose`).

    Parameters
    ----------
    scorer
        The model.
    output
        The output to explain.
    inputs
        Inputs of the model by row of the corpus.
    candidates
        The records to choose from; the index is the row in the corpus.
    limit
        Largest number to choose.

    Returns
    -------
    The chosen rows of `candidates`, with a column score.
    """
    read: list[Any] = [inputs.of(i) for i in candidates.index]  # letters, or pairs of them
    scores = output.value(scorer.outputs(read))
    ranked = candidates.assign(score=scores).sort_values("score", ascending=False, kind="stable")
    least = logit(scorer.calibration.uncalibrated_threshold)
    num_called = int((ranked["score"] >= least).sum())
    chosen = ranked.iloc[output.choose(ranked["score"].to_numpy(), num_called, limit)]
    low, high = chosen["score"].min(), chosen["score"].max()
    LOG.info(
        f"explaining {len(chosen):,} of {counted(len(candidates), output.records)}"
        f"{_of(output, scorer)} of train and valid, with {output.unit} from {low:.2f} to "
        f"{high:.2f}{output.note(len(chosen), num_called, scorer.calibration.threshold)}"
    )
    return chosen


def _member_correlation(
    scorer: Scorer,
    output: Output,
    letters: Sequence[Any],
    records: pd.DataFrame,
    method: Any,
) -> float | None:
    """Explain COMPARED records by each network of the model alone, and correlate the attributions.

    Returns
    -------
    The median over the records; None for a single network, for two inputs and for methods that
    read attention weights.
    """
    if (
        scorer.run.model.members == 1
        or isinstance(scorer, PairedScorer)
        or not isinstance(method, AttributionMethod)
    ):
        return None
    rows = np.unique(np.linspace(0, len(letters) - 1, COMPARED).round().astype(int))
    some, table = [letters[row] for row in rows], records[COLUMNS].iloc[rows]
    target, number = Target(output.name), scorer.run.model.members
    places = [f"network {i} of {number} alone: " for i in range(1, number + 1)]
    rho = attribution_correlations(
        [
            explain_letters(network, some, table, method=method, target=target, place=place)
            # networks share the parts of a stack, which would agree exactly
            for network, place in zip(replace(scorer, stack=None).networks, places, strict=True)
        ]
    )
    median = float(np.nanmedian(rho))
    LOG.info(
        f"attributions of the {number} networks of the model correlate with "
        f"Spearman's rho {median:.2f} (median of {len(rho)} sequences)"
    )
    return median


def _maps(
    scorer: Scorer, output: Output, corpus: Corpus, rows: Sequence[int]
) -> dict[str, MappedSequence]:
    """Return attention maps of these corpus rows by falling score; none without attention."""
    if not has_attention(scorer):
        LOG.info("no attention maps, which need softmax attention of this package, and one input")
        return {}
    letters = [corpus.letters(row) for row in rows]
    ids, scores = corpus.records["id"].iloc[list(rows)], output.value(scorer.outputs(letters))
    ranked = sorted(zip(ids, letters, scores, strict=True), key=lambda each: -each[2])
    return {
        name: MappedSequence(own, float(score), attention_maps(scorer, own))
        for name, own, score in ranked
    }

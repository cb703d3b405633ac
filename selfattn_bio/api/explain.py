"""Explain the positives of train and valid that a model recognises."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from selfattn_bio.api.trained import TrainedModel
from selfattn_bio.config import Interpret, RunFile
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.inputs import Inputs, inputs_of
from selfattn_bio.display import counted
from selfattn_bio.errors import CorpusError, RunFileError
from selfattn_bio.interpret.capture import has_attention
from selfattn_bio.interpret.explain import attention_maps, explain_letters, explain_pairs
from selfattn_bio.interpret.explanation import SOURCE, Explanation, MappedSequence
from selfattn_bio.interpret.methods import AttributionMethod, build_method
from selfattn_bio.interpret.stability import attribution_correlations
from selfattn_bio.log import LOG
from selfattn_bio.model.checkpoint import read_provenance
from selfattn_bio.scoring.loading import Models
from selfattn_bio.scoring.paired_scorer import PairedScorer
from selfattn_bio.scoring.scorer import Scorer

COMPARED = 50  # records that each network of the model explains alone
COLUMNS = ["id", "label", "chrom", "start", "end", "strand", "split", "logit"]


def explain_positives(
    task: RunFile,
    corpus: Corpus,
    split: str | os.PathLike[str],
    model: Models,
) -> Explanation:
    """Score each position of the training and validation positives that a model recognises.

    [interpret] of the task has the settings. At most `max_sequences` positives are explained,
    evenly from the most to the least confident. Test records are reserved for the evidence. For
    sequences that are not those of a task, use `explain`.

    Parameters
    ----------
    task, corpus, split
        Those of the training; `split` is the split table or its path.
    model
        The model folder, or the model that `load` returned for it.

    Returns
    -------
    The explanation, with the highest score first. `maps` has the attention of the records in
    [interpret] `maps`, by default of those with the highest, middle and lowest score. `source`
    names the model, so that `find_motifs` can check it.

    Raises
    ------
    RunFileError
        If the objective is not binary, or [interpret] `maps` has unknown ids.
    ModelFolderError
        If the model cannot be loaded, or was trained on another corpus or split.
    CorpusError
        If train and valid have no positive, or the split table cannot be read.
    ValueError
        If the model is an ensemble, or was not loaded from a folder.
    """
    trained = TrainedModel.open(task, corpus, split, model, "explain")
    scorer, settings = trained.scorer, task.interpret
    mapped = _rows_of(settings.maps or (), corpus, str(task.path or ""))
    inputs = inputs_of(scorer.run, corpus)
    positives = _positives(trained)
    records = choose_recognised(scorer, inputs, positives, settings.max_sequences)
    letters = [inputs.of(row) for row in records.index]
    explain: Any = explain_pairs if isinstance(scorer, PairedScorer) else explain_letters
    explanation = explain(
        scorer,
        letters,
        records[COLUMNS],
        method=build_method(settings.method),
    )
    # records are sorted by falling score
    of_score = sorted({0, len(records) // 2, len(records) - 1})
    maps = _maps(scorer, corpus, mapped or records.index[of_score].tolist())
    provenance = read_provenance(trained.folder)
    return replace(
        explanation,
        source={key: provenance[key] for key in SOURCE},
        maps=maps,
        member_correlation=_member_correlation(scorer, letters, records, settings),
    )


def _rows_of(ids: Sequence[str], corpus: Corpus, place: str) -> list[int]:
    """Return the corpus rows of the records in [interpret] maps, in the order of the run file.

    Raises
    ------
    RunFileError
        If a record is not in the corpus; the message has the most similar id.
    """
    rows = {str(name): row for row, name in enumerate(corpus.records["id"])}
    if unknown := [name for name in ids if name not in rows]:
        near = difflib.get_close_matches(unknown[0], rows, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        message = (
            "[interpret] maps has ids that are not in the corpus: "
            f"{', '.join(map(repr, unknown))}{hint}"
        )
        raise RunFileError(
            message,
            place=place,
            hint=f"Ids are the first column of the split table, such as {next(iter(rows))!r}",
        )
    return [rows[name] for name in ids]


def _positives(trained: TrainedModel) -> pd.DataFrame:
    """Return the positives of train and valid; the index is the row in the corpus."""
    records = trained.records
    positives = records[
        (records["label"] == 1).fillna(False) & records["split"].isin(["train", "valid"])
    ]
    if positives.empty:
        raise CorpusError(
            "train and valid have no positive to explain",
            place=str(trained.split),
            hint="Change [split] in the run file",
        )
    return positives


def choose_recognised(
    scorer: Scorer, inputs: Inputs, positives: pd.DataFrame, limit: int
) -> pd.DataFrame:
    """Choose the positives to explain, best first.

    They are spread evenly over the ranks of the called positives. If too few are called, the next
    best are added.

    Parameters
    ----------
    scorer
        The model.
    inputs
        Inputs of the model by row of the corpus.
    positives
        The candidates; the index is the row in the corpus.
    limit
        Largest number to choose.

    Returns
    -------
    The chosen rows of `positives`, with a column logit.
    """
    positives = positives.assign(logit=scorer.logits([inputs.of(i) for i in positives.index]))
    ranked = positives.sort_values("logit", ascending=False, kind="stable")
    probabilities = scorer.calibration.probabilities(ranked["logit"].to_numpy())
    num_called = int((probabilities >= scorer.calibration.threshold).sum())
    candidates = ranked.head(max(num_called, limit))  # a control or a weak model may call too few
    chosen = candidates.iloc[
        np.linspace(0, len(candidates) - 1, min(limit, len(candidates))).round().astype(int)
    ]
    low, high = chosen["logit"].min(), chosen["logit"].max()
    uncalled = (
        f"; the model calls {num_called} of them positive" if num_called < len(chosen) else ""
    )
    LOG.info(
        f"explaining {len(chosen):,} of {counted(len(positives), 'positive')} of train and valid, "
        f"with logits from {low:.2f} to {high:.2f}{uncalled}"
    )
    return chosen


def _member_correlation(
    scorer: Scorer, letters: Sequence[Any], records: pd.DataFrame, settings: Interpret
) -> float | None:
    """Explain COMPARED records by each network of the model alone, and correlate the attributions.

    Returns
    -------
    The median over the records; None for a single network, for two inputs and for methods that
    read attention weights.
    """
    method = build_method(settings.method)
    if (
        scorer.run.model.members == 1
        or isinstance(scorer, PairedScorer)
        or not isinstance(method, AttributionMethod)
    ):
        return None
    rows = np.unique(np.linspace(0, len(letters) - 1, COMPARED).round().astype(int))
    some, table = [letters[row] for row in rows], records[COLUMNS].iloc[rows]
    rho = attribution_correlations(
        [explain_letters(network, some, table, method=method) for network in scorer.networks]
    )
    median = float(np.nanmedian(rho))
    LOG.info(
        f"attributions of the {scorer.run.model.members} networks of the model correlate with "
        f"Spearman's rho {median:.2f} (median of {len(rho)} sequences)"
    )
    return median


def _maps(scorer: Scorer, corpus: Corpus, rows: Sequence[int]) -> dict[str, MappedSequence]:
    """Return attention maps of these corpus rows by falling score; none without attention."""
    if not has_attention(scorer):
        LOG.info("no attention maps, because this model has no attention weights")
        return {}
    letters = [corpus.letters(row) for row in rows]
    ids, logits = corpus.records["id"].iloc[list(rows)], scorer.logits(letters)
    ranked = sorted(zip(ids, letters, logits, strict=True), key=lambda each: -each[2])
    return {
        name: MappedSequence(own, float(logit), attention_maps(scorer, own))
        for name, own, logit in ranked
    }

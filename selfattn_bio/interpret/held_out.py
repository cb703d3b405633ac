"""Apply a model to held-out labelled sequences, and weigh the evidence for its motifs on them.

`MotifSet.with_evidence` calls this module. The tests and the rules of the verdict are in
`interpret.evidence`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.errors import ArgumentError
from selfattn_bio.evaluation.leakage import record_keys
from selfattn_bio.evaluation.lineage import keys_of_seen
from selfattn_bio.interpret.attribution import attnlrp_importance
from selfattn_bio.interpret.evidence import HeldOut, Letters, weigh_evidence
from selfattn_bio.interpret.hits import default_hit_p, find_hits, relevant_hits
from selfattn_bio.interpret.marginals import Backgrounds, neutral_letters, position_curves
from selfattn_bio.interpret.methods import Saturation
from selfattn_bio.interpret.targets import Target
from selfattn_bio.model.checkpoint import TRAINING_RECORDS
from selfattn_bio.scoring.inputs import Inputs, read_sequences
from selfattn_bio.scoring.loading import Models, load_single
from selfattn_bio.scoring.paired_scorer import check_one_input
from selfattn_bio.scoring.scorer import Scorer

Labels = Sequence[int] | NDArray[np.integer] | pd.Series  # (n,) 1 = positive, 0 = negative

RECORD_COLUMNS = ["id", "chrom", "start", "end", "strand"]


def binary_scorer(model: Models) -> Scorer:
    """Return the model, which must have two classes and one input.

    Raises
    ------
    ValueError
        If it has another objective or two inputs, or is an ensemble.
    """
    scorer = load_single(model)
    check_one_input(scorer, "motifs")
    if not scorer.objective.has_log_odds:
        raise ValueError(
            f"evidence needs a model with objective 'binary', not {scorer.objective.kind!r}"
        )
    return scorer


def read_held_out(
    scorer: Scorer, sequences: Inputs, labels: Labels
) -> tuple[pd.DataFrame, HeldOut]:
    """Read sequences as the model reads them, with their labels.

    Returns
    -------
    A table with `RECORD_COLUMNS`, one row per sequence, and the sequences with their labels.
    Coordinates are missing unless `sequences` is a table that has them.

    Raises
    ------
    SequenceFileError, ValueError
        As `scoring.inputs.read_inputs`; ValueError also if there is no sequence, or the labels
        are not 0 or 1, one per sequence.
    """
    ids, letters = read_sequences(scorer.policy, sequences, scorer.tokenizer.k)
    if not ids:
        raise ValueError("there are no sequences to weigh the evidence on")
    values = pd.Series(list(labels))
    if len(values) != len(ids) or not values.isin((0, 1)).all():
        raise ValueError(
            f"pass one label, 0 or 1, for each of the {len(ids)} sequences, not "
            f"{values.unique()[:5].tolist()} for {len(values)}"
        )
    table = (
        sequences if isinstance(sequences, pd.DataFrame) else pd.DataFrame(index=range(len(ids)))
    )
    records = table.reset_index(drop=True).assign(id=ids).reindex(columns=RECORD_COLUMNS)
    return records, HeldOut(letters, values.to_numpy(dtype=np.int64), scorer.alphabet)


def check_not_trained_on(scorer: Scorer, ids: pd.Series, sequences: Sequence[Letters]) -> None:
    """Refuse sequences that the model, or a parent of it, was trained or selected on.

    They are found by equal sequences, on either strand, in the list of the model folder. A model in
    memory has none.

    Raises
    ------
    ArgumentError
        If there are such sequences; the message names one.
    ModelFolderError
        If the list is damaged.
    """
    if scorer.folder is None or not (scorer.folder / TRAINING_RECORDS).is_file():
        return
    keys_of_model = keys_of_seen(scorer.folder)
    seen = [key in keys_of_model for key in record_keys(sequences, scorer.alphabet)]
    if any(seen):
        raise ArgumentError(
            f"the model was trained or selected on {sum(seen)} of the {len(seen)} sequences, such "
            f"as {ids.iloc[seen.index(True)]!r}",
            hint="Weigh the evidence on sequences that it has not seen, such as test records",
        )


def weigh_with_model(
    ppms: Mapping[str, NDArray[np.float64]],
    num_sites: Mapping[str, int],
    scorer: Scorer,
    held_out: HeldOut,
    *,
    hit_p: float | None = None,
    window: tuple[int, int] | None = None,
    significance: float = 0.05,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Test each motif on held-out records, and find the hits that the model uses.

    Motifs are also inserted alone into neutral backgrounds: dinucleotide shuffles of negatives,
    which have the composition of records without the signal.

    Parameters
    ----------
    ppms, num_sites
        As for `hits.find_hits`.
    hit_p
        As for `hits.find_hits`; `hits.default_hit_p` if not given.
    scorer
        A binary model with one input.
    held_out
        The records.
    window, significance, seed
        As for `weigh_evidence`.

    Returns
    -------
    The table of `weigh_evidence` with the columns `marginals.COLUMNS`, the table of `relevant_hits`
    for the positives, and the curves of `marginals.position_curves`.
    """
    letters = held_out.sequences
    if hit_p is None:
        hit_p = default_hit_p([len(row) for row in letters])
    evidence = weigh_evidence(
        ppms,
        num_sites,
        held_out,
        scorer.member_log_odds,
        hit_p=hit_p,
        window=window,
        significance=significance,
        seed=seed,
    )
    hits = find_hits(ppms, num_sites, letters, hit_p, held_out.alphabet)
    in_positives = hits[held_out.labels[hits["record"].to_numpy(dtype=int)] == 1]
    rows = sorted(set(in_positives["record"]))
    attribution = dict(zip(rows, _importance(scorer, [letters[row] for row in rows]), strict=True))
    rng = np.random.default_rng(seed)
    negatives = [row for row, label in zip(letters, held_out.labels, strict=True) if not label]
    backgrounds = Backgrounds(
        neutral_letters(negatives or letters, rng),
        lambda rows: scorer.member_log_odds(rows).mean(axis=1),
        held_out.alphabet,
        "log-odds",
    )
    curves, marginals = position_curves(ppms, backgrounds, seed=seed)
    return evidence.merge(marginals, on="name"), relevant_hits(in_positives, attribution), curves


def _importance(scorer: Scorer, sequences: Sequence[Letters]) -> list[NDArray[np.float32]]:
    """Return the importance of each position by AttnLRP, or by saturation without embeddings."""
    if scorer.network.has_embeddings:
        return attnlrp_importance(scorer, sequences)
    return Saturation().attribution(scorer, sequences, Target())

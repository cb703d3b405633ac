"""Apply a model to held-out sequences with targets, and weigh the evidence for its motifs on them.

`MotifSet.with_evidence` calls this module. The tests and the rules of the verdict are in
`interpret.evidence`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.errors import ArgumentError
from selfattn_bio.evaluation.leakage import record_keys
from selfattn_bio.evaluation.lineage import keys_of_seen
from selfattn_bio.interpret.associations import Letters
from selfattn_bio.interpret.attribution import attnlrp_importance
from selfattn_bio.interpret.evidence import weigh_evidence
from selfattn_bio.interpret.hits import default_hit_p, find_hits, relevant_hits
from selfattn_bio.interpret.interventions import Scores
from selfattn_bio.interpret.marginals import Backgrounds, neutral_letters, position_curves
from selfattn_bio.interpret.methods import Saturation
from selfattn_bio.interpret.records import HeldOut
from selfattn_bio.interpret.targets import Target
from selfattn_bio.model.checkpoint import TRAINING_RECORDS
from selfattn_bio.objectives.outputs import Output
from selfattn_bio.scoring.inputs import Inputs, read_sequences
from selfattn_bio.scoring.loading import Models, load_single
from selfattn_bio.scoring.paired_scorer import check_one_input
from selfattn_bio.scoring.scorer import Scorer

# (n,) values of the only column of the targets, or a table with these columns
Targets = Sequence[float] | Sequence[str] | NDArray | pd.Series | pd.DataFrame

RECORD_COLUMNS = ["id", "chrom", "start", "end", "strand"]
LABEL = "label"  # column of the targets of a binary model


def scorer_for_motifs(model: Models) -> Scorer:
    """Return the model, which must have one input and a score of each record.

    Raises
    ------
    ValueError
        If it has another objective or two inputs, or is an ensemble.
    """
    scorer = load_single(model)
    check_one_input(scorer, "motifs")
    if scorer.objective.no_motifs:
        raise ValueError(
            f"there is no evidence for objective {scorer.objective.kind!r}: "
            f"{scorer.objective.no_motifs}"
        )
    return scorer


def read_held_out(
    scorer: Scorer, sequences: Inputs, targets: Targets | None
) -> tuple[pd.DataFrame, list[Letters], NDArray]:
    """Read sequences as the model reads them, with their targets.

    Returns
    -------
    A table with `RECORD_COLUMNS`, one row per sequence; the sequences; and their targets as from
    `Objective.targets`. Coordinates are missing unless `sequences` is a table that has them.

    Raises
    ------
    SequenceFileError, ValueError
        As `scoring.inputs.read_inputs`; ValueError also if there is no sequence, or targets are
        missing, wrong, or not one per sequence.
    """
    ids, letters = read_sequences(scorer.policy, sequences, scorer.tokenizer.k)
    if not ids:
        raise ValueError("there are no sequences to weigh the evidence on")
    table = (
        sequences if isinstance(sequences, pd.DataFrame) else pd.DataFrame(index=range(len(ids)))
    )
    records = table.reset_index(drop=True).assign(id=ids).reindex(columns=RECORD_COLUMNS)
    given = table if targets is None else targets
    of_records = _target_table(scorer, given, len(ids))
    about = records.assign(
        length=[len(row) for row in letters], label=of_records.get(LABEL, np.nan)
    )
    return records, letters, scorer.objective.targets(_as_text(of_records), about, "the targets")


def _target_table(scorer: Scorer, targets: Targets, number: int) -> pd.DataFrame:
    """Return the columns of the targets that the objective reads, one row per sequence."""
    objective = scorer.objective
    columns = list(objective.section.target_columns) or [LABEL]
    if isinstance(targets, pd.DataFrame):
        if absent := [column for column in columns if column not in targets]:
            raise ArgumentError(
                f"the table has no column {absent[0]!r}, the target of the model",
                hint="Add it, or pass the targets of the sequences",
            )
        table = targets[columns].reset_index(drop=True)
    elif len(columns) > 1:
        raise ArgumentError(f"pass a table of targets with the columns {', '.join(columns)}")
    else:
        table = pd.DataFrame({columns[0]: list(targets)})
    values = table[columns[0]]
    if objective.is_labelled and (len(values) != number or not values.isin((0, 1)).all()):
        raise ArgumentError(
            f"pass one label, 0 or 1, for each of the {number} sequences, not "
            f"{values.unique()[:5].tolist()} for {len(values)}"
        )
    if len(values) != number:
        raise ArgumentError(
            f"pass one target for each of the {number} sequences, not {len(values)}"
        )
    return table


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Return values as text, as they are read from a table of targets."""
    return table.astype(object).map(str, na_action="ignore")


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


def calibrated_scores(scorer: Scorer, output: Output, held_out: HeldOut) -> Scores:
    """Return a function from sequences to the scores (n, M) of the M members for an output.

    Scores count as far as held-out records confirm them: those of a binary model are calibrated on
    the validation records, others on `held_out` (`HeldOut.slope`).
    """
    if scorer.objective.has_log_odds:
        return scorer.member_log_odds

    def scores(sequences: Sequence[Letters]) -> NDArray[np.float64]:
        return output.value(scorer.network_outputs(sequences))

    slope = held_out.slope(scores(held_out.sequences).mean(axis=1))
    return lambda sequences: slope * scores(sequences)


def weigh_with_model(
    ppms: Mapping[str, NDArray[np.float64]],
    num_sites: Mapping[str, int],
    scorer: Scorer,
    output: Output,
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
    scorer, output
        A model with one input, and the output that the motifs explain.
    held_out
        The records.
    window, significance, seed
        As for `weigh_evidence`.

    Returns
    -------
    The table of `weigh_evidence` with the columns `marginals.COLUMNS`, the table of `relevant_hits`
    for the records in question, and the curves of `marginals.position_curves`.
    """
    letters = held_out.sequences
    if hit_p is None:
        hit_p = default_hit_p([len(row) for row in letters])
    scores = calibrated_scores(scorer, output, held_out)
    evidence = weigh_evidence(
        ppms,
        num_sites,
        held_out,
        scores,
        hit_p=hit_p,
        window=window,
        significance=significance,
        seed=seed,
    )
    hits = find_hits(ppms, num_sites, letters, hit_p, held_out.alphabet)
    described = hits[held_out.in_question(hits)]
    rows = sorted(set(described["record"]))
    found = importance_of(scorer, output, [letters[row] for row in rows])
    backgrounds = Backgrounds(
        neutral_letters(held_out.neutral, np.random.default_rng(seed)),
        lambda sequences: scores(sequences).mean(axis=1),
        held_out.alphabet,
        held_out.unit,
    )
    curves, marginals = position_curves(ppms, backgrounds, seed=seed)
    used = relevant_hits(described, dict(zip(rows, found, strict=True)))
    return evidence.merge(marginals, on="name"), used, curves


def importance_of(
    scorer: Scorer, output: Output, sequences: Sequence[Letters]
) -> list[NDArray[np.float32]]:
    """Return the importance of each position by AttnLRP, or by saturation without embeddings."""
    target = Target(output.name)
    if scorer.network.has_embeddings:
        return attnlrp_importance(scorer, sequences, partial(target.of, scorer))
    return Saturation().attribution(scorer, sequences, target)

"""Apply a model to held-out sequences with targets, and weigh the evidence for its motifs on them.

`MotifSet.with_evidence` calls this module. The tests and the rules of the verdict are in
`evidence.verdicts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.arrays import Floats, Integers, Scores
from selfattn_bio.attribution.methods import AttnLRP, Gradient, Saturation
from selfattn_bio.attribution.rules import backward_batches
from selfattn_bio.attribution.targets import Target
from selfattn_bio.data.inputs import RecordPair
from selfattn_bio.display import counted
from selfattn_bio.errors import ArgumentError
from selfattn_bio.evaluation.leakage import record_keys
from selfattn_bio.evaluation.lineage import keys_of_seen
from selfattn_bio.evaluation.units import Units
from selfattn_bio.evidence.associations import by_correlated, label_table
from selfattn_bio.evidence.marginals import Backgrounds, neutral_letters, position_curves
from selfattn_bio.evidence.records import HeldOut, Scored, ScoreMembers, held_out_records
from selfattn_bio.evidence.verdicts import weigh_evidence
from selfattn_bio.log import LOG
from selfattn_bio.motifs.matching import NUM_SITES, best_p, default_hit_p, find_hits, used_hits
from selfattn_bio.motifs.patterns import one_per_site
from selfattn_bio.objectives.outputs import Output, find_output
from selfattn_bio.scoring.inputs import Inputs, read_inputs
from selfattn_bio.scoring.loading import Models, load_single
from selfattn_bio.scoring.paired_scorer import PairedScorer, read_partners
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import Alphabet, Letters
from selfattn_bio.sequence.tables import on_chromosome

if TYPE_CHECKING:
    from selfattn_bio.motifs.motif_set import MotifSet

# (n,) values of the only column of the targets, or a table with these columns
Targets = Sequence[float] | Sequence[str] | NDArray | pd.Series | pd.DataFrame

RECORD_COLUMNS = ["id", "chrom", "start", "end", "strand"]
LABEL = "label"  # column of the targets of a binary model


def scorer_for_motifs(model: Models, motifs: MotifSet) -> Scorer:
    """Return the model, which must have a score of each record and the input of the motifs.

    Raises
    ------
    ArgumentError
        If it has another objective or alphabet, or is an ensemble.
    """
    scorer = load_single(model)
    if scorer.objective.no_motifs:
        raise ArgumentError(
            f"there is no evidence for objective {scorer.objective.kind!r}: "
            f"{scorer.objective.no_motifs}"
        )
    alphabet = _alphabet_of(scorer, motifs.input)
    if len(motifs) and alphabet != motifs.alphabet:
        message = f"the motifs are {motifs.alphabet.name}, but the model reads {alphabet.name}"
        raise ArgumentError(message)
    return scorer


def read_held_out(
    scorer: Scorer, sequences: Inputs, targets: Targets | None, partner: Inputs | None = None
) -> tuple[pd.DataFrame, list[Any], NDArray]:
    """Read sequences as the model reads them, with their targets.

    Returns
    -------
    A table with `RECORD_COLUMNS`, one row per sequence; the inputs of the model: the sequences, or
    `RecordPair`s with their partners; and their targets as from `Objective.targets`. Coordinates
    are missing unless `sequences` is a table that has them.

    Raises
    ------
    SequenceFileError, ArgumentError
        As `read_inputs` and `scoring.paired_scorer.read_partners`; ArgumentError also if
        there is no sequence, or targets are missing, wrong, or not one per sequence.
    """
    partner_of = read_partners(scorer, partner)
    given = list(read_inputs(scorer.policy, sequences, scorer.tokenizer.k))
    if not given:
        raise ArgumentError("there are no sequences to weigh the evidence on")
    table = (
        sequences if isinstance(sequences, pd.DataFrame) else pd.DataFrame(index=range(len(given)))
    )
    records = table.reset_index(drop=True).assign(id=[each.id for each in given])
    records = records.reindex(columns=RECORD_COLUMNS)
    of_records = _target_table(scorer, table, targets)
    about = records.assign(
        length=[len(each.letters) for each in given], label=of_records.get(LABEL, np.nan)
    )
    # as text, as values are read from a table of targets; a missing value makes 1 to 1.0 in pandas
    text = of_records.convert_dtypes().astype(object).map(str, na_action="ignore").fillna(np.nan)
    values = scorer.objective.targets(text, about, "the targets")
    if partner_of is None:
        return records, [each.letters for each in given], values
    return records, [RecordPair(each.letters, partner_of(each)) for each in given], values


def _target_table(scorer: Scorer, given: pd.DataFrame, targets: Targets | None) -> pd.DataFrame:
    """Return the columns of the targets that the objective reads, one row per sequence.

    They are columns of `given`, the table of the sequences, unless there are `targets`.
    """
    objective, number = scorer.objective, len(given)
    columns = list(objective.section.target_columns) or [LABEL] * objective.is_labelled
    if not columns:
        if targets is not None:
            raise ArgumentError(
                f"targets cannot be passed for objective {objective.kind!r}: they are read at the "
                "coordinates of the sequences",
                hint="Pass the sequences as a table with chrom, start, end and strand",
            )
        return pd.DataFrame(index=range(number))
    targets = given if targets is None else targets
    if isinstance(targets, pd.DataFrame):
        if absent := [column for column in columns if column not in targets]:
            message = f"the table has no column {absent[0]!r}, the target of the model"
            raise ArgumentError(message, hint="Add it, or pass the targets of the sequences")
        table = targets[columns].reset_index(drop=True)
    elif len(columns) > 1:
        raise ArgumentError(f"pass a table of targets with the columns {', '.join(columns)}")
    else:
        table = pd.DataFrame({columns[0]: list(targets)})
    values = table[columns[0]]
    if len(values) != number:
        one = "label, 0 or 1," if objective.is_labelled else "target"
        raise ArgumentError(f"pass one {one} for each of the {number} sequences, not {len(values)}")
    if objective.is_labelled and not values.isin((0, 1)).all():
        raise ArgumentError(f"labels are 0 or 1, not {values.unique()[:5].tolist()}")
    return table


def check_held_out(scorer: Scorer, motifs: MotifSet, ids: list[str], inputs: Sequence[Any]) -> None:
    """Refuse sequences, or pairs, used to train or select the model or to find its motifs.

    They are found by equal sequences, on either strand, in the list of the model folder, which also
    has those of its parents, and in `MotifSet.found_in`. A model in memory has no list.

    Raises
    ------
    ArgumentError
        If there are such sequences; the message names one.
    ModelFolderError
        If the list is damaged.
    """
    if isinstance(scorer, PairedScorer):
        partners = [sha256(pair.partner.tobytes()).hexdigest() for pair in inputs]
        keys = record_keys([pair.first for pair in inputs], scorer.alphabet, partners)
        letters = [getattr(pair, motifs.input) for pair in inputs]
        of_motifs = record_keys(letters, _alphabet_of(scorer, motifs.input), ids)
    else:
        keys = of_motifs = record_keys(inputs, scorer.alphabet)
    for use, each, known in (
        ("the model was trained or selected on", keys, keys_of_seen(scorer.folder)),
        ("the motifs were found in", of_motifs, motifs.found_in),
    ):
        seen = [key in known for key in each]
        if any(seen):
            raise ArgumentError(
                f"{use} {sum(seen)} of the {len(seen)} sequences, such as "
                f"{ids[seen.index(True)]!r}",
                hint="Explain training or validation records to find motifs, and weigh the "
                "evidence on others, such as test records",
            )


def calibrated_scores(scorer: Scorer, output: Output, held_out: HeldOut) -> ScoreMembers:
    """Return a function from inputs to the scores (n, M) of the M members for an output.

    Scores count as far as held-out records confirm them: those of a binary model are calibrated on
    the validation records, others on `held_out` (`HeldOut.slope`).
    """
    if scorer.objective.has_log_odds:
        return scorer.member_log_odds

    def scores(inputs: Sequence[Any]) -> Floats:
        return output.value(scorer.member_outputs(inputs))

    own = held_out.inputs(held_out.sequences, range(len(held_out.sequences)))
    slope = held_out.slope(scores(own).mean(axis=1))
    return lambda inputs: slope * scores(inputs)


def neutral_backgrounds(held_out: HeldOut, scores: ScoreMembers, seed: int) -> Backgrounds:
    """Return dinucleotide shuffles of records that have no signal, such as negatives.

    `scores` is from `calibrated_scores`. The other input of a model with two inputs is not
    shuffled.
    """
    neutral, rng = held_out.neutral, np.random.default_rng(seed)
    letters, rows = neutral_letters([held_out.sequences[row] for row in neutral.tolist()], rng)
    records = neutral[rows]

    def score(copies: Letters) -> Floats:
        # one or several copies of each background, in order
        return scores(held_out.inputs(copies, np.resize(records, len(copies)))).mean(axis=1)

    return Backgrounds(letters, score, held_out.alphabet, held_out.unit)


def add_evidence(
    motifs: MotifSet,
    scorer: Scorer,
    records: pd.DataFrame,
    inputs: Sequence[Any],
    values: NDArray,
    *,
    units: Units,
    hit_p: float | None = None,
    window: tuple[int, int] | None = None,
    significance: float = 0.05,
    seed: int = 0,
) -> MotifSet:
    """Test the motifs of each output on the records whose target for it is known.

    Motifs are also inserted alone into neutral backgrounds.

    Parameters
    ----------
    motifs, scorer
        The motifs, and the model.
    records, inputs, values
        As from `read_held_out`.
    units
        Units of the records; those of a unit are not independent.
    hit_p
        As for `held_out_hits`.
    window, significance, seed
        As for `weigh_evidence`.

    Returns
    -------
    The motifs with the columns of `weigh_evidence` and `marginals.COLUMNS`, the sites that the
    model uses in the records in question, and the curves of `marginals.position_curves`.

    Raises
    ------
    ArgumentError, ModelFolderError
        As for `check_held_out`; ArgumentError also if no target of an output is known, or not
        one unit is passed per record.
    """
    check_held_out(scorer, motifs, records["id"].tolist(), inputs)
    if len(units.numbers) != len(inputs):
        raise ArgumentError(
            f"pass one group for each of the {len(inputs)} sequences, not {len(units.numbers)}"
        )
    outputs, found = scorer.objective.outputs, []
    for target in motifs.table["target"].unique() if len(motifs) else [outputs[0].name]:
        output = find_output(outputs, target)
        known, held_out = _of_output(output, scorer, motifs.input, inputs, values, units)
        names = motifs.table["name"][motifs.table["target"] == target]
        ppms = {name: motifs[name].ppm for name in names}
        hits, limits = held_out_hits(ppms, motifs.num_sites, held_out, hit_p)
        if hit_p is None:
            _note_other_limits(motifs.table, limits)
        scores = calibrated_scores(scorer, output, held_out)
        evidence = weigh_evidence(
            ppms,
            motifs.num_sites,
            hits,
            Scored(held_out, scores),
            limits,
            window=window,
            significance=significance,
            seed=seed,
        )
        labels = label_table(outputs, values[known])
        evidence["correlated"] = [
            by_correlated(hits[hits["name"] == name], labels, target) for name in ppms
        ]
        backgrounds = neutral_backgrounds(held_out, scores, seed)
        curves, marginals = position_curves(ppms, backgrounds, seed=seed)
        sites = one_per_site(hits_in_use(hits, scorer, output, held_out, seed))
        sites = sites.assign(record=known[sites["record"].to_numpy(int)])
        found.append((evidence.merge(marginals, on="name"), sites, curves))
    evidence, sites, curves = (
        pd.concat(tables, ignore_index=True) for tables in zip(*found, strict=True)
    )
    # in the order of the motifs, whose targets may alternate
    evidence = evidence.set_index("name").loc[motifs.table["name"]].reset_index(drop=True)
    if motifs.input == "partner":  # which has other coordinates
        records = records[["id"]].reindex(columns=RECORD_COLUMNS)
    sites = on_chromosome(sites.assign(score=(sites["rank"] * 1000).round()), records)
    table = motifs.table.drop(columns=evidence.columns, errors="ignore")
    return replace(motifs, table=pd.concat([table, evidence], axis=1), sites=sites, curves=curves)


def _of_output(
    output: Output, scorer: Scorer, input: str, inputs: Sequence[Any], values: NDArray, units: Units
) -> tuple[Integers, HeldOut]:
    """Return the rows whose target for an output is known, and their records."""
    truth = output.truth(values)
    known = np.flatnonzero(np.isfinite(truth))
    own = [inputs[row] for row in known.tolist()]
    pairs = own if isinstance(scorer, PairedScorer) else []
    letters = [getattr(pair, input) for pair in pairs] or own
    alphabet, groups = _alphabet_of(scorer, input), units.within(known)
    return known, held_out_records(output, letters, truth[known], alphabet, pairs, input, groups)


def units_of(groups: Sequence[Any] | None, number: int) -> Units:
    """Return records with equal values of `groups` as units; `number` single records if None."""
    return Units.single(number) if groups is None else Units.of(np.array(groups), "groups")


def hits_in_use(
    hits: pd.DataFrame, scorer: Scorer, output: Output, held_out: HeldOut, seed: int
) -> pd.DataFrame:
    """Return the hits that the model uses in the records in question, as `matching.used_hits`."""

    def importance(rows: list[int]) -> list[Scores]:
        inputs = held_out.inputs([held_out.sequences[row] for row in rows], rows)
        return importance_of(scorer, output, inputs, held_out.input)

    described = hits[hits["record"].isin(held_out.described)]
    return used_hits(described, importance, seed)


def _alphabet_of(scorer: Scorer, name: str) -> Alphabet:
    """Return the alphabet of an input of the model, "first" or "partner"."""
    if name == "first":
        return scorer.alphabet
    if not isinstance(scorer, PairedScorer):
        raise ArgumentError("the motifs are those of a second input, but the model has only one")
    return scorer.partner_tokenizer.alphabet


def _note_other_limits(table: pd.DataFrame, limits: Mapping[str, float]) -> None:
    """Warn if the table of the motifs has another limit of their hits, as from an earlier test."""
    before = dict(zip(table["name"], table.get("hit_p", ()), strict=False))
    for name, limit in limits.items():
        if name in before and not np.isclose(before[name], limit, rtol=1e-3, atol=0):
            LOG.warning(
                f"hits of {name} are matches with p < {limit:.2g} here, but with p < "
                f"{before[name]:.2g} in its table; pass hit_p to choose the limit"
            )
            return


def held_out_hits(
    ppms: Mapping[str, Floats],
    num_sites: Mapping[str, int],
    held_out: HeldOut,
    hit_p: float | None = None,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Find the hits of motifs in all held-out records, as `matching.find_hits`.

    Also return the p-value below which a match of each motif is a hit. It is `hit_p`. By default it
    is `matching.default_hit_p`, but a motif too short for that has its best matches as hits if
    chance gives at most one per record. Warn of motifs that have none.
    """
    lengths, alphabet = [len(row) for row in held_out.sequences], held_out.alphabet
    limit = default_hit_p(lengths) if hit_p is None else hit_p
    windows = float(np.median(lengths)) * (1 + alphabet.has_complement)
    best = {n: best_p(ppm, num_sites.get(n, NUM_SITES), alphabet) for n, ppm in ppms.items()}
    limits = {
        # the smallest limit with this p-value below it
        name: float(np.nextafter(p, 1)) if hit_p is None and limit <= p <= 1 / windows else limit
        for name, p in best.items()
    }
    if lost := [name for name, p in best.items() if p >= limits[name]]:
        LOG.warning(
            f"{counted(len(lost), 'motif')} cannot have a hit with p < {limit:.1e}, for example "
            f"{lost[0]}, whose best match has p = {best[lost[0]]:.1e}. Raise [interpret] hit_p, or "
            "test the evidence on shorter windows with MotifSet.with_evidence"
        )
    return find_hits(ppms, num_sites, held_out.sequences, limits, alphabet), limits


def importance_of(
    scorer: Scorer, output: Output, inputs: Sequence[Any], name: str = "first"
) -> list[Scores]:
    """Return the importance of each position to the score, by AttnLRP and the parts of a stack.

    Layers without rules are explained by their gradient, networks without embeddings by saturation.
    For a model with two inputs, `name` is the input to which the positions belong.
    """
    target = Target(output.name)
    if not isinstance(scorer, PairedScorer):
        of_layers = AttnLRP() if scorer.network.has_rules else Gradient()
        method = of_layers if scorer.network.has_embeddings else Saturation()
        return method.attribution(scorer, inputs, target)
    found = []
    both = {each: [getattr(pair, each) for pair in inputs] for each in RecordPair._fields}
    for batch in backward_batches(*both.values()):
        view = scorer.of_input(name, inputs[batch])
        found += AttnLRP().attribution(view, both[name][batch], target)
    return found

"""Ask a model what a motif does alone: insert it into neutral backgrounds, or shuffle it away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.arrays import Floats
from selfattn_bio.attribution.targets import Target
from selfattn_bio.display import counted, with_interval
from selfattn_bio.errors import ArgumentError
from selfattn_bio.evidence.epistasis import ORIENTATIONS
from selfattn_bio.evidence.marginals import (
    DISTANCES,
    NUM_BACKGROUNDS,
    Backgrounds,
    Score,
    distance_curve,
    draw_curves,
    neutral_letters,
    position_curves,
)
from selfattn_bio.evidence.records import mean_effect, shuffled_at
from selfattn_bio.figure import DisplayedFigure
from selfattn_bio.motifs import matrix_of
from selfattn_bio.motifs.motif_set import Motif, MotifSet
from selfattn_bio.objectives.outputs import Output
from selfattn_bio.result import TableResult
from selfattn_bio.scoring.inputs import Inputs, read_sequences
from selfattn_bio.scoring.loading import Models, load_single
from selfattn_bio.scoring.paired_scorer import check_one_input
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import Alphabet, Ascii, Letters

AnyMotif = str | Floats | Motif  # a consensus, (width, A) probabilities, or a motif
FIGURE = (4.5, 3.0)  # inches


@dataclass(frozen=True, repr=False)
class Marginals(TableResult):
    """Effects of motifs in neutral backgrounds, the result of `marginalize`.

    Attributes
    ----------
    table
        One row per motif: name; marginal, marginal_low, marginal_high, the mean effect over all
        positions and both strands, with its 95 % interval; marginal_start, marginal_end,
        marginal_strand and marginal_peak, where the effect is largest in size, and the effect
        there; marginal_position_p, marginal_strand_p and their q-values, that the effect depends
        on the position or on the strand; marginal_position_weakest and _strongest, and those of
        the strand, how much it does, by `marginals.extremes`.
    curves
        One row per motif, strand and interval of positions: name, strand, start, end (0-based
        half-open; the site begins there), effect, effect_low, effect_high and unit.
    num_backgrounds
        Number of backgrounds.
    """

    table: pd.DataFrame
    curves: pd.DataFrame
    num_backgrounds: int

    def __repr__(self) -> str:
        motifs = counted(len(self.table), "motif")
        return f"Marginals of {motifs} in {counted(self.num_backgrounds, 'background')}"

    def plot(self, name: str | None = None) -> DisplayedFigure:
        """Draw the effect of a motif by position and strand, with 95 % intervals.

        The first motif is drawn if none is named.

        Raises
        ------
        ArgumentError
            If the motif has no curve.
        """
        names = list(self.curves["name"].unique()) if len(self.curves) else []
        if not names or name not in (None, *names):
            raise ArgumentError(f"there is no curve of {name!r}; there are those of {names}")
        chosen = self.curves[self.curves["name"] == (name or names[0])]
        figure = DisplayedFigure(figsize=FIGURE, layout="constrained")
        draw_curves(chosen, figure.subplots())
        figure.suptitle(name or names[0])
        return figure


@dataclass(frozen=True, repr=False)
class MarginalSpacing(TableResult):
    """Epistasis of two motifs by distance, the result of `marginalize_spacing`.

    Attributes
    ----------
    table
        One row per orientation: marginal, marginal_low, marginal_high, the mean epistasis over all
        distances, with its 95 % interval; marginal_distance and marginal_peak, where it is
        largest in size, and the epistasis there; marginal_distance_p, that it depends on the
        distance; marginal_distance_weakest and _strongest, how much it does, by
        `marginals.extremes`, without distance 0.
    curves
        One row per orientation and distance: orientation, distance (positions between the sites),
        epistasis, epistasis_low, epistasis_high, both (the effect of both sites), alone (the sum of
        their separate effects) and unit.
    num_backgrounds
        Number of backgrounds.
    """

    table: pd.DataFrame
    curves: pd.DataFrame
    num_backgrounds: int

    def __repr__(self) -> str:
        backgrounds = counted(self.num_backgrounds, "background")
        return f"MarginalSpacing in {backgrounds}, {len(self.table)} orientations"

    def plot(self) -> DisplayedFigure:
        """Draw the epistasis by distance for each orientation, with 95 % intervals."""
        figure = DisplayedFigure(figsize=FIGURE, layout="constrained")
        draw_curves(self.curves, figure.subplots())
        return figure


@dataclass(frozen=True, repr=False)
class Ablation(TableResult):
    """Effects of an interval on the score of each sequence, the result of `ablate`.

    Attributes
    ----------
    table
        One row per sequence: id, start, end, score, shuffled (the mean score with the interval in
        random order) and effect, their difference.
    effect, low, high
        The mean effect and its 95 % interval over sequences.
    unit
        Unit of scores and effects.
    """

    table: pd.DataFrame
    effect: float
    low: float
    high: float
    unit: str

    def __repr__(self) -> str:
        return (
            f"Ablation in {counted(len(self.table), 'sequence')}: effect "
            f"{with_interval(self.effect, self.low, self.high)} {self.unit}"
        )

    def plot(self) -> DisplayedFigure:
        """Draw a histogram of the effects, with a line at their mean."""
        figure = DisplayedFigure(figsize=FIGURE, layout="constrained")
        axes = figure.subplots()
        axes.hist(self.table["effect"], bins=30)
        axes.axvline(self.effect, color="black", linewidth=1)
        axes.set(xlabel=f"effect ({self.unit})", ylabel="sequences")
        return figure


def marginalize(
    model: Models,
    sequences: Inputs,
    motifs: str | Sequence[str] | MotifSet | Mapping[str, AnyMotif],
    *,
    starts: Sequence[int] | None = None,
    shuffle: bool = True,
    num_backgrounds: int = NUM_BACKGROUNDS,
    target: Target | str | int | None = None,
    seed: int = 0,
) -> Marginals:
    """Insert motifs into neutral backgrounds, by position and strand.

    `marginalize(model, "negatives.fa", "TATCGATA").plot()` shows where the motif changes the score.
    An effect is the score with the site minus the score without it.

    Parameters
    ----------
    model
        A model folder, or a model returned by `load`, with one input.
    sequences
        Sequences without the signal, such as held-out negatives: strings, the path of a FASTA file,
        or a table with a column `sequence`.
    motifs
        One or more consensuses in IUPAC codes such as "TATAWAAR", a `MotifSet`, or names to motifs:
        consensuses, (width, A) probabilities, or objects `Motif`. Each background gets a site that
        is sampled from the probabilities, the same one at all positions and on both strands.
    starts
        First positions of the site, counted from the start of the backgrounds, which is 0. By
        default the first and the last possible start, and between them 10 intervals, with a random
        start in each for each background.
    shuffle
        Use dinucleotide shuffles of the sequences, which keep the composition and lose motifs.
        Otherwise the sequences themselves.
    num_backgrounds
        Number of backgrounds. They are sampled from the sequences that have at least the median
        length, and cut to it.
    target
        The output whose value is measured, as in `explain`: required for models with several. By
        default the calibrated log-odds of a binary model.
    seed
        Seed for backgrounds, sites, positions and resampling.

    Returns
    -------
    The effects with 95 % intervals over backgrounds.

    Raises
    ------
    ArgumentError
        If there are no sequences, a motif does not fit the alphabet, a site does not fit into the
        backgrounds at one of `starts`, or the model is an ensemble, has two inputs or lacks the
        target.
    SequenceFileError
        If the FASTA file is malformed, or a character is not in the alphabet.
    """
    backgrounds = _backgrounds(model, sequences, shuffle, num_backgrounds, target, seed)
    if isinstance(motifs, MotifSet):
        motifs = motifs.ppms
    if not isinstance(motifs, Mapping):
        motifs = {each: each for each in ([motifs] if isinstance(motifs, str) else motifs)}
    ppms = {name: _ppm(motif, backgrounds.alphabet) for name, motif in motifs.items()}
    curves, table = position_curves(ppms, backgrounds, starts=starts, seed=seed)
    return Marginals(table, curves, len(backgrounds.letters))


def marginalize_spacing(
    model: Models,
    sequences: Inputs,
    first: AnyMotif,
    second: AnyMotif,
    *,
    distances: Sequence[int] = DISTANCES,
    shuffle: bool = True,
    num_backgrounds: int = NUM_BACKGROUNDS,
    target: Target | str | int | None = None,
    seed: int = 0,
) -> MarginalSpacing:
    """Insert two motifs into neutral backgrounds, by distance and orientation.

    Epistasis is the effect of both sites minus the effects of each alone at the same positions. The
    first site stays where it is. If epistasis has the opposite sign of both effects at all
    distances, the score may only level off; a dependence on the distance shows more.

    Parameters
    ----------
    model, sequences, shuffle, num_backgrounds, target, seed
        As for `marginalize`.
    first, second
        Consensuses in IUPAC codes, (width, A) probabilities, or objects `Motif`.
    distances
        Numbers of positions between the sites.

    Returns
    -------
    The epistasis for each distance and orientation, with 95 % intervals over backgrounds. "+-"
    means that the second site is on the other strand. Proteins have the orientation "++" only.

    Raises
    ------
    ArgumentError, SequenceFileError
        As for `marginalize`.
    """
    backgrounds = _backgrounds(model, sequences, shuffle, num_backgrounds, target, seed)
    ppms = [_ppm(motif, backgrounds.alphabet) for motif in (first, second)]
    curves, rows = [], []
    for orientation in ORIENTATIONS if backgrounds.alphabet.has_complement else ["++"]:
        curve, row = distance_curve(
            ppms, backgrounds, orientation, distances, np.random.default_rng(seed)
        )
        curves.append(curve)
        rows.append({"orientation": orientation, **row})
    return MarginalSpacing(
        pd.DataFrame(rows), pd.concat(curves, ignore_index=True), len(backgrounds.letters)
    )


def ablate(
    model: Models,
    sequences: Inputs,
    start: int | Sequence[int] | NDArray[np.integer],
    end: int | Sequence[int] | NDArray[np.integer],
    *,
    shuffles: int = 20,
    target: Target | str | int | None = None,
    seed: int = 0,
) -> Ablation:
    """Shuffle an interval of each sequence, and measure how much the score falls.

    Parameters
    ----------
    model, sequences, target
        As for `marginalize`, but the sequences are used as they are.
    start, end
        The interval, 0-based half-open: one for all sequences, or one per sequence, (n,).
    shuffles
        Number of random orders of the interval, which are averaged.
    seed
        Seed for shuffles and resampling.

    Returns
    -------
    The effect in each sequence, and the mean effect with its 95 % interval over sequences.

    Raises
    ------
    ArgumentError
        If an interval is empty or not within its sequence, or `shuffles` is below 1.
    SequenceFileError, ArgumentError
        As for `marginalize`.
    """
    if shuffles < 1:
        raise ArgumentError(f"shuffles is {shuffles}, but at least 1 is needed")
    scorer, ids, letters = _read(model, sequences)
    score, unit = _score(scorer, target, letters)
    starts, ends = (np.broadcast_to(each, len(ids)).tolist() for each in (start, end))
    spans = list(zip(starts, ends, strict=True))
    for name, row, (first, last) in zip(ids, letters, spans, strict=True):
        if not 0 <= first < last <= len(row):
            raise ArgumentError(
                f"[{first}, {last}) is not an interval of sequence {name!r}, which has length "
                f"{len(row)}"
            )
    rng = np.random.default_rng(seed)
    changed = [
        shuffled_at(row, [span], rng)
        for row, span in zip(letters, spans, strict=True)
        for _ in range(shuffles)
    ]
    intact, shuffled = score(letters), score(changed).reshape(len(letters), shuffles).mean(axis=1)
    effects = intact - shuffled
    scores = {"score": intact, "shuffled": shuffled, "effect": effects}
    table = pd.DataFrame({"id": ids, "start": starts, "end": ends, **scores})
    mean = mean_effect(effects, rng, "effect")
    return Ablation(table, mean["effect"], mean["effect_low"], mean["effect_high"], unit)


def _read(model: Models, sequences: Inputs) -> tuple[Scorer, list[str], list[Ascii]]:
    """Load the model, and read sequences as it reads them."""
    scorer = load_single(model)
    check_one_input(scorer, "marginalization")
    ids, letters = read_sequences(scorer.policy, sequences, scorer.tokenizer.k)
    if not ids:
        raise ArgumentError("there are no sequences")
    return scorer, ids, letters


def _score(
    scorer: Scorer, target: Target | str | int | None, letters: Letters
) -> tuple[Score, str]:
    """Return a function from sequences to one score each, and the unit of the scores."""
    if target is None and scorer.objective.has_log_odds:
        return scorer.log_odds, "log-odds"
    chosen = Target.of_name(target)
    chosen.check(scorer, [len(row) for row in letters])
    if chosen.start is chosen.end is None:
        column = chosen.column(scorer)
        for output in scorer.objective.outputs:  # these have one score per record, and a unit
            if output.column == column:
                return partial(_scores_of, scorer, output), output.unit
    return partial(chosen.values, scorer), "output"


def _scores_of(scorer: Scorer, output: Output, rows: Letters) -> Floats:
    return output.value(scorer.member_outputs(rows)).mean(axis=1)


def _backgrounds(
    model: Models,
    sequences: Inputs,
    shuffle: bool,
    num_backgrounds: int,
    target: Target | str | int | None,
    seed: int,
) -> Backgrounds:
    """Load the model and prepare backgrounds for it."""
    scorer, _, letters = _read(model, sequences)
    rng = np.random.default_rng(seed)
    chosen, _ = neutral_letters(letters, rng, num_backgrounds, shuffle=shuffle)
    score, unit = _score(scorer, target, list(chosen))
    return Backgrounds(chosen, score, scorer.alphabet, unit)


def _ppm(motif: AnyMotif, alphabet: Alphabet) -> Floats:
    return matrix_of(motif.ppm if isinstance(motif, Motif) else motif, alphabet)

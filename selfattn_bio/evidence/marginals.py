"""Insert motifs into neutral backgrounds, and measure how the score changes.

The mean effect of a motif over many backgrounds that contain nothing else is its marginal effect.
The functions need no model, only a function from sequences to one score per sequence:
`evidence.marginalize` has those for models. Each inserted site is sampled from the matrix of the
motif. A background gets the same site at all positions, strands and distances, so that these are
compared within backgrounds.

References
----------
Koo et al. 2021 (global importance analysis); Schreiber 2025 (tangermeme, whose `marginalize` and
`space` insert the same way).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from selfattn_bio.arrays import Floats, Integers
from selfattn_bio.display import short_name
from selfattn_bio.errors import ArgumentError
from selfattn_bio.evidence.associations import CONFIDENCE
from selfattn_bio.evidence.epistasis import ORIENTATIONS
from selfattn_bio.evidence.records import RESAMPLES, mean_effect
from selfattn_bio.evidence.verdicts import estimated, q_values, tested
from selfattn_bio.sequence.alphabet import Alphabet, Ascii, Letters
from selfattn_bio.sequence.shuffle import shuffle_letters

Score = Callable[[Letters], Floats]  # from sequences to one score each, (n,)

NUM_BACKGROUNDS = 30
NUM_POSITIONS = 10  # intervals of positions
PAIR_CURVES = [
    *("name_a", "name_b", "orientation", "distance"),
    *(*estimated("epistasis"), "both", "alone", "unit"),
]
DISTANCES = (0, 5, 10, 15, 20, 30, 40, 50)  # positions between the sites of a pair
PERMUTATIONS = 1000
LABEL_WIDTH = 22  # characters of a line that fit next to the plot of a pair in the report


def compared(name: str) -> tuple[str, str, str, str]:
    """Return the columns of a dependence on the position, strand or distance (`name`)."""
    begin = f"marginal_{name}"
    return *tested(begin), f"{begin}_weakest", f"{begin}_strongest"


COLUMNS = [  # of a motif, in motifs.tsv
    *estimated("marginal"),
    *("marginal_start", "marginal_end", "marginal_strand", "marginal_peak"),
    *compared("position"),
    *compared("strand"),
]
CURVES = ["name", "strand", "start", "end", *estimated("effect"), "unit"]  # of marginals.tsv
PAIR_COLUMNS = [  # of a pair of motifs, in interactions.tsv
    *estimated("marginal"),
    *("marginal_distance", "marginal_peak"),
    *compared("distance"),
]


@dataclass(frozen=True)
class Backgrounds:
    """Sequences without signal, to insert motifs into.

    Attributes
    ----------
    letters
        (n, L) ASCII.
    score
        Function from sequences to one score each, (n,).
    alphabet
        Alphabet of the sequences.
    unit
        Unit of the scores, such as "log-odds".
    """

    letters: Ascii
    score: Score
    alphabet: Alphabet
    unit: str = ""

    @cached_property
    def before(self) -> Floats:
        """Return the scores without an insertion, (n,)."""
        return self.score(list(self.letters))

    def effects(self, changed: Ascii) -> Floats:
        """Return by how much changed copies (..., n, L) of all backgrounds score more, (..., n)."""
        scores = self.score(list(changed.reshape(-1, changed.shape[-1])))
        return scores.reshape(changed.shape[:-1]) - self.before

    def sites(self, ppm: Floats, rng: np.random.Generator) -> list[Ascii]:
        """Sample a site of a motif for each background, on each strand: arrays (n, width)."""
        limits = ppm.cumsum(axis=1) / ppm.sum(axis=1, keepdims=True)
        codes = (rng.random((len(self.letters), len(ppm), 1)) >= limits).sum(axis=2)
        sites = np.frombuffer(self.alphabet.letters.encode(), np.uint8)[codes]
        if not self.alphabet.has_complement:
            return [sites]
        return [sites, self.alphabet.reverse_complement(sites)]


def neutral_letters(
    sequences: Letters,
    rng: np.random.Generator,
    number: int = NUM_BACKGROUNDS,
    *,
    shuffle: bool = True,
) -> tuple[Ascii, Integers]:
    """Make dinucleotide shuffles of random sequences, cut to their median length.

    Shuffles keep the composition but lose the motifs. Only sequences of at least the median length
    are used. If there are fewer than `number`, each has several shuffles; without shuffles, all are
    returned.

    Returns
    -------
    (number, L) ASCII, and which sequence each was made from, (number,).
    """
    lengths = np.array([len(row) for row in sequences])
    median = int(np.median(lengths))
    rows = rng.permutation(np.flatnonzero(lengths >= median))
    rows = np.resize(rows, number) if shuffle else rows[:number]
    chosen = [
        shuffle_letters(sequences[row], 2, rng) if shuffle else sequences[row] for row in rows
    ]
    return np.stack([letters[:median] for letters in chosen]), rows


def put_sites(letters: Ascii, sites: Ascii, starts: Integers) -> Ascii:
    """Copy backgrounds (n, L) for each row of starts (P, n), with sites (n, width): (P, n, L)."""
    copies = np.repeat(letters[None], len(starts), axis=0)
    positions = starts[..., None] + np.arange(sites.shape[-1])  # (P, n, width)
    np.put_along_axis(copies, positions, np.broadcast_to(sites, positions.shape), axis=-1)
    return copies


def position_curves(
    ppms: Mapping[str, Floats],
    backgrounds: Backgrounds,
    *,
    starts: Sequence[int] | None = None,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure the effect of each motif by position and strand.

    Parameters
    ----------
    ppms
        Motif name to (width, A) probabilities.
    backgrounds
        Sequences to insert a site into.
    starts
        First positions of the sites, 0-based. By default the first and the last possible start, for
        motifs that act only at an end, and between them `NUM_POSITIONS` intervals, with a random
        start in each for each background.
    seed
        Seed for sites, starts and resampling.

    Returns
    -------
    One row per motif, strand and interval of starts: name, strand, start, end (0-based half-open;
    the site begins there), effect, effect_low, effect_high and unit. And one row per motif: name
    and `COLUMNS`, missing for motifs that are wider than the backgrounds.

    Raises
    ------
    ArgumentError
        If a site does not fit at one of `starts`.
    """
    curves, rows = [], []
    number, length = backgrounds.letters.shape
    for index, (name, ppm) in enumerate(ppms.items()):
        rng = np.random.default_rng((seed, index))
        row: dict[str, object] = {"name": name}
        rows.append(row)
        free = length - len(ppm) + 1  # number of possible starts
        if free < 1:
            continue
        inner = slice(None)  # positions that stand for all of a background
        if starts is None:
            between = np.linspace(1, max(1, free - 1), NUM_POSITIONS + 1).round()
            edges = np.unique([0, *between, free]).astype(np.int64)
            begins, ends = edges[:-1], edges[1:]
            inner = slice(1, -1) if len(begins) > 2 else inner
        else:
            begins = np.array(starts, dtype=np.int64)
            ends = begins + 1
            if begins.min() < 0 or begins.max() >= free:
                raise ArgumentError(
                    f"motif {name!r} of width {len(ppm)} does not fit into backgrounds of {length} "
                    f"at starts from {begins.min()} to {begins.max()}; starts count from the first "
                    f"position of the backgrounds, which is 0, so use 0 to {free - 1}"
                )
        at = rng.integers(begins[:, None], ends[:, None], (len(begins), number))
        sites = backgrounds.sites(ppm, rng)
        changed = np.stack([put_sites(backgrounds.letters, of_strand, at) for of_strand in sites])
        effects = backgrounds.effects(changed)  # (strands, P, n)
        curve = pd.DataFrame(
            {
                "name": name,
                "strand": np.repeat(["+", "-"][: len(sites)], len(begins)),
                "start": np.tile(begins, len(sites)),
                "end": np.tile(ends, len(sites)),
                **_estimates("effect", effects.reshape(-1, number), rng),
                "unit": backgrounds.unit,
            }
        )
        curves.append(curve)
        row |= _summary(effects[:, inner], rng)
        peak = curve.iloc[int(curve["effect"].abs().argmax())]
        row |= {f"marginal_{key}": peak[key] for key in ("start", "end", "strand")}
        row |= {"marginal_peak": peak["effect"], "marginal_position_p": unevenness(effects, rng)}
        row |= extremes("position", effects.mean(axis=0), inner)
        if len(sites) > 1:
            by_strand = effects[:, inner].mean(axis=1)  # (strands, n)
            row["marginal_strand_p"] = mean_effect(by_strand[0] - by_strand[1], rng)["_p"]
            row |= extremes("strand", by_strand)
    table = pd.DataFrame(rows, columns=["name", *COLUMNS])
    for test in ("position", "strand"):
        table[f"marginal_{test}_q"] = q_values(table[f"marginal_{test}_p"].to_numpy(float))
    return _joined(curves, CURVES), table


def distance_curve(
    ppms: Sequence[Floats],
    backgrounds: Backgrounds,
    orientation: str,
    distances: Sequence[int],
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Measure the epistasis of two motifs by the distance between their sites.

    The first site stays where it is, and the second follows it. Epistasis is the effect of both
    minus the effects of each alone at the same positions, so preferred positions do not count.

    Parameters
    ----------
    ppms
        (width, A) probabilities of both motifs.
    backgrounds
        Sequences to insert the sites into.
    orientation
        Strands of the first and the second site, such as "+-".
    distances
        Numbers of positions between the sites.
    rng
        Generator for sites and resampling.

    Returns
    -------
    One row per distance: orientation, distance, epistasis, epistasis_low, epistasis_high, both (the
    effect of both sites), alone (the sum of their separate effects) and unit. And the columns
    `PAIR_COLUMNS`, without q.

    Raises
    ------
    ArgumentError
        If the sites do not fit into the backgrounds.
    """
    number, length = backgrounds.letters.shape
    width_a, width_b = map(len, ppms)
    start = (length - width_a - max(distances) - width_b) // 2
    if start < 0 or min(distances) < 0:
        raise ArgumentError(
            f"sites of {width_a} and {width_b} positions and distances of {min(distances)} to "
            f"{max(distances)} do not fit into backgrounds of {length}"
        )
    site_a, site_b = (
        backgrounds.sites(ppm, rng)["+-".index(strand)]
        for ppm, strand in zip(ppms, orientation, strict=True)
    )
    at_a = np.full((1, number), start)
    at_b = np.tile(start + width_a + np.array(distances)[:, None], number)
    with_a = put_sites(backgrounds.letters, site_a, at_a)[0]
    both = backgrounds.effects(put_sites(with_a, site_b, at_b))
    alone = backgrounds.effects(with_a) + backgrounds.effects(
        put_sites(backgrounds.letters, site_b, at_b)
    )
    epistasis = both - alone  # (D, n)
    curve = pd.DataFrame(
        {
            "orientation": orientation,
            "distance": list(distances),
            **_estimates("epistasis", epistasis, rng),
            "both": both.mean(axis=1),
            "alone": alone.mean(axis=1),
            "unit": backgrounds.unit,
        }
    )
    peak = curve.iloc[int(curve["epistasis"].abs().argmax())]
    # sites that touch change what is next to each other
    apart = epistasis[curve["distance"] > 0]
    return curve, {
        **_summary(epistasis[None], rng),
        "marginal_distance": peak["distance"],
        "marginal_peak": peak["epistasis"],
        "marginal_distance_p": unevenness(epistasis[None], rng),
        **(extremes("distance", apart) if len(apart) else {}),
    }


def pair_curves(
    pairs: pd.DataFrame, ppms: Mapping[str, Floats], backgrounds: Backgrounds, *, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure the epistasis of pairs of motifs by distance, in their most frequent orientation.

    Parameters
    ----------
    pairs
        name_a, name_b and orientation (of `ORIENTATIONS`, a first, or of `ORDERS`; empty for
        palindromes), as from `interactions.evaluate_interactions`.
    ppms, backgrounds
        As for `position_curves`.
    seed
        Seed for sites and resampling.

    Returns
    -------
    name_a, name_b and the columns of `distance_curve`, one row per pair and distance; and one row
    per pair with `PAIR_COLUMNS`, missing for pairs that do not fit into the backgrounds.
    """
    curves, rows = [], []
    length = backgrounds.letters.shape[1]
    for index, (a, b, orientation) in enumerate(
        pairs[["name_a", "name_b", "orientation"]].itertuples(index=False)
    ):
        longest = length - len(ppms[a]) - len(ppms[b])
        distances = [distance for distance in DISTANCES if distance <= longest]
        row: dict[str, float] = {}
        if distances and isinstance(orientation, str):
            rng = np.random.default_rng((seed, index))
            of_pair = [ppms[name] for name in ((b, a) if orientation == "ba" else (a, b))]
            strands = orientation if orientation in ORIENTATIONS else "++"
            curve, row = distance_curve(of_pair, backgrounds, strands, distances, rng)
            curves.append(curve.assign(name_a=a, name_b=b, orientation=orientation))
        rows.append(row)
    table = pd.DataFrame(rows, columns=PAIR_COLUMNS, index=pairs.index)
    table["marginal_distance_q"] = q_values(table["marginal_distance_p"].to_numpy(float))
    return _joined(curves, PAIR_CURVES), table


def _joined(curves: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    if not curves:
        return pd.DataFrame(columns=columns)
    return pd.concat(curves, ignore_index=True)[columns]


def draw_curves(curves: pd.DataFrame, ax: Axes) -> None:
    """Draw the curves of a motif or of a pair of motifs, with intervals.

    A motif has its effect by position, with one line per strand. A pair has its epistasis by
    distance, with one line per orientation. There is no legend for a motif of one strand
    or a pair without orientation.
    """
    line, y, x, label = "strand", "effect", "position", "start of the site (1-based)"
    if "distance" in curves:
        line, y, x, label = "orientation", "epistasis", "distance", "distance between the sites"
    else:
        curves = curves.assign(position=(curves["start"] + curves["end"] + 1) / 2)
    for name, curve in curves.groupby(line, sort=False):
        (drawn,) = ax.plot(curve[x], curve[y], marker="o", markersize=2, label=name)
        low, high = curve[f"{y}_low"], curve[f"{y}_high"]
        ax.fill_between(curve[x], low, high, color=drawn.get_color(), alpha=0.2, linewidth=0)
    ax.axhline(0, color="grey", linewidth=0.8, linestyle=":")
    if {*curves[line]} - {"+", ""}:
        # above the axes, so that it covers no curve
        ax.legend(title=line, frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    unit = short_name(curves["unit"].iloc[0])
    ax.set(xlabel=label, ylabel=fill(f"{y} ({unit})", LABEL_WIDTH))


def _estimates(name: str, effects: Floats, rng: np.random.Generator) -> dict[str, Floats]:
    """Return the means of effects (K, n), and their bootstrap intervals over the n backgrounds."""
    number = effects.shape[1]
    weights = rng.multinomial(number, np.full(number, 1 / number), RESAMPLES) / number
    low, high = np.quantile(
        effects @ weights.T, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=1
    )
    return dict(zip(estimated(name), (effects.mean(axis=1), low, high), strict=True))


def _summary(effects: Floats, rng: np.random.Generator) -> dict[str, float]:
    """Return the mean of effects (strands, P, n), with its interval, as the columns `marginal`."""
    found = _estimates("marginal", effects.mean(axis=(0, 1))[None], rng)
    return {name: float(value[0]) for name, value in found.items()}


def unevenness(effects: Floats, rng: np.random.Generator) -> float:
    """Return the p-value that effects (strands, P, n) differ between the P positions.

    The statistic is the variance of the means over backgrounds. Under the null hypothesis the
    positions of a background can be exchanged, for all strands together.
    """
    orders = rng.random((PERMUTATIONS, *effects.shape[1:])).argsort(axis=1)
    observed = sum(each.mean(axis=1).var() for each in effects)
    permuted = sum(
        np.take_along_axis(each[None], orders, axis=1).mean(axis=2).var(axis=1) for each in effects
    )
    return float((1 + (permuted >= observed * (1 - 1e-9)).sum()) / (1 + PERMUTATIONS))


def extremes(name: str, effects: Floats, inner: slice = slice(None)) -> dict[str, float]:
    """Estimate the weakest and strongest of P effects (P, n), as columns of `compared`.

    The largest of several noisy means overestimates. The extremes are therefore chosen in half of
    the n backgrounds and measured in the other half, and both ways are averaged. An effect is
    strong if it is large in the direction of the largest. The weakest is one of `inner`, because at
    the ends effects may be weaker only for lack of context.
    """
    starts = (0, min(1, effects.shape[1] - 1))  # a single background is in both halves
    halves = [effects[:, start::2].mean(axis=1) for start in starts]
    measured = []
    for half, other in (halves, halves[::-1]):
        directed = half * half[np.abs(half).argmax()]  # large values: strong effects
        weakest = np.arange(len(half))[inner][directed[inner].argmin()]
        measured.append(other[[weakest, directed.argmax()]])
    return dict(zip(compared(name)[2:], np.mean(measured, axis=0), strict=True))

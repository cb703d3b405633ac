"""Measure how often the tests of evidence and interactions give p < .05 without a signal.

More than 5 % means that a test is wrong. In each simulated null the tested signal is absent by
construction, but other features are present: records of unequal GC and length, several sites of a
motif per record, models that use other motifs. The tests are called as the commands call them. The
motifs of a trial share its records, so the printed intervals are too narrow for them.

labels         random motifs are scanned for in random records; one in ten random labels is
               positive
gc             the same, but positives have higher GC; only `matched` has to be robust against this
model          a score, of an output of each objective, that is a sum over words; motifs are decoys
               (other words, enriched in positives), words of the score with shuffled truth, or
               GC-rich words in records whose GC content rises with the truth
units          hits, labels and numbers that are similar within loci but independent of each other
families       effects of a model that ignores a motif, in few units of unequal size, whose records
               are similar: the p-value, and whether the interval excludes 0
places         hits of a motif with several sites per record, at random positions on either strand;
               also of one whose permuted motifs have no hits
distances      sites of two motifs at random positions without overlap, in records of one length and
               of many
interactions   a model that sums words of unequal weight, directly or through a curve, and adds a
               term unrelated to the words
tomtom         JASPAR motifs with shuffled columns, against the database without the motif

    python benchmarks/false_positives.py                 # a few minutes
    python benchmarks/false_positives.py --trials 20     # faster and less precise
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
import pandas as pd
from harness import Row, Table, interval, option, run
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import TypeAdapter
from questions import QUESTIONS, Question
from sampled_records import BASES, Letters, ppm, records, words
from scipy.special import expit
from scipy.stats import binomtest

from selfattn_bio.config import AnyObjective, EvaluationSection
from selfattn_bio.evaluation.groups import group_gaps
from selfattn_bio.evaluation.units import Units
from selfattn_bio.evidence.associations import (
    enrichment,
    matched_enrichment,
    matched_rank_shift,
    rank_shift,
)
from selfattn_bio.evidence.epistasis import spacing
from selfattn_bio.evidence.interactions import CLEAR, evaluate_interactions
from selfattn_bio.evidence.overlaps import described_elsewhere, null_hits
from selfattn_bio.evidence.positions import position_profile, strand_bias
from selfattn_bio.evidence.records import LabelledRecords, Scored, held_out_records, mean_effect
from selfattn_bio.evidence.verdicts import weigh_evidence
from selfattn_bio.motifs import open_database
from selfattn_bio.motifs.matching import NUM_SITES, find_hits, match_motifs
from selfattn_bio.objectives import objective_of
from selfattn_bio.objectives.outputs import Output
from selfattn_bio.sequence.alphabet import DNA

HIT_P = 2.5e-4
RARE_P = 1.2e-6  # of 10 bases only the best match is below it
LIMIT = 0.05
Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def planted(
    rng: np.random.Generator,
    sequences: list[Letters],
    some: list[Letters],
    chance: float | NDArray[np.float64],
) -> pd.DataFrame:
    """Plant each word in each record with a probability, at positions that do not overlap.

    `chance` is one probability or (records, words). Returns the sites.
    """
    rows = []
    chances = np.broadcast_to(chance, (len(sequences), len(some)))
    for record, row in enumerate(sequences):
        width = len(some[0])
        slots = rng.permutation((len(row) - width) // width)[: len(some)] * width
        slots += rng.integers(0, width)
        for number, (word, start) in enumerate(zip(some, slots, strict=False)):
            if rng.random() < chances[record, number]:
                row[start : start + width] = word
                rows.append((f"m{number}", record, int(start), int(start) + width, "+", 1e-6))
    return pd.DataFrame(rows, columns=["name", "record", "start", "end", "strand", "p_value"])


def labels(rng: np.random.Generator) -> Iterator[tuple[str, float]]:
    sequences = records(rng, 600)
    label = (rng.random(600) < 0.1).astype(int)
    yield from associations("labels", rng, sequences, label)


def gc(rng: np.random.Generator) -> Iterator[tuple[str, float]]:
    for num in (600, 4000):
        label = np.arange(num) % 2
        content = np.clip(rng.normal(0.42 + 0.1 * label, 0.08), 0.05, 0.95)
        sequences = records(rng, num, 100, content)
        yield from (
            (name, p)
            for name, p in associations(f"gc, {num} records", rng, sequences, label, rich=True)
            if "matched" in name
        )


def associations(
    name: str,
    rng: np.random.Generator,
    sequences: list[Letters],
    label: NDArray[np.int64],
    rich: bool = False,
) -> Iterator[tuple[str, float]]:
    some = records(rng, 5, 8, 0.9) if rich else words(rng, 5, 8)
    ppms = {f"m{number}": ppm(word, 0.85) for number, word in enumerate(some)}
    hits = find_hits(ppms, dict.fromkeys(ppms, NUM_SITES), sequences, 1e-3, DNA)
    held_out = LabelledRecords(sequences, label)
    for motif in ppms:
        found = held_out.associations(hits[hits["name"] == motif])
        yield f"{name}: enrichment", found["enrichment_p"]
        yield f"{name}: matched", found["matched_p"]


def model(rng: np.random.Generator) -> Iterator[tuple[str, float]]:
    """Test a model that uses three of six words, for or against the positive class.

    In "planted" the words that it uses are those of the positives, so they should be supported.
    """
    for (name, question), null in product(
        QUESTIONS.items(), ("decoys", "shuffled", "composition", "planted")
    ):
        section = TypeAdapter(AnyObjective).validate_python(question.section)
        output = objective_of(section).outputs[0]
        label = np.arange(240) % 2
        gc = 0.45 + (0.1 * label if null == "composition" else 0)
        sequences, some = records(rng, 240, gc=gc), words(rng, 6)
        if null == "composition":
            some[3:] = records(rng, 3, 8, 0.9)
        enriched = np.where(label, 0.8, 0.3) * (null != "composition")
        is_used = np.arange(6) < (0 if null == "planted" else 3)
        planted(rng, sequences, some, np.where(is_used, 0.7, enriched[:, None]))
        used = [bytes(word) for word in some[:3]]
        weight = 2.0 if null == "planted" else rng.choice([-2.0, 2.0])

        def score(
            rows: Sequence[Letters],
            used: list[bytes] = used,
            weight: float = weight,
            question: Question = question,
            output: Output = output,
        ) -> NDArray[np.float64]:
            sums = np.array([weight * sum(word in bytes(row) for word in used) for row in rows])
            return output.value(question.outputs(sums))

        targets, tested = question.targets(rng, label), some[3:]
        if null in ("shuffled", "planted"):
            tested = some[:3]
        if null == "shuffled":
            targets = rng.permutation(targets)
        ppms = {f"m{number}": ppm(word) for number, word in enumerate(tested)}
        sites = dict.fromkeys(ppms, NUM_SITES)
        hit_p = 1e-3 if null == "composition" else 5e-5
        hits = find_hits(ppms, sites, sequences, hit_p, DNA)
        held_out = held_out_records(output, sequences, output.truth(targets), DNA)
        table = weigh_evidence(
            ppms, sites, hits, Scored(held_out, score), dict.fromkeys(ppms, hit_p)
        )
        for row in table.to_dict("records"):
            if null == "decoys":
                yield f"{name}, {null}: sufficiency", row["sufficiency_p"]
            if null == "planted":
                yield f"planted words, {name}: supported", float(row["verdict"] != "supported")
                continue
            for verdict in ("supported", "contradicted"):
                yield f"{name}, {null}: {verdict}", float(row["verdict"] != verdict)


def units(rng: np.random.Generator) -> Iterator[tuple[str, float]]:
    for name, copies, same in (
        ("independent records", 1, 1.0),
        ("four records per locus", 4, 1.0),
        ("blocks of 40", 40, 0.3),
    ):
        yield from locus_tests(f"{name}: ", rng, copies, same)


def locus_tests(
    name: str, rng: np.random.Generator, copies: int, same: float, *, known: bool = True
) -> Iterator[tuple[str, float]]:
    """Test records whose hit, truth and composition are those of their locus with chance `same`.

    The tests know the loci, or treat records as independent.
    """
    loci = np.repeat(np.arange(max(40, 600 // copies)), copies)
    units = Units.of(loci, "loci") if known else Units.single(len(loci))

    def sampled() -> NDArray[np.float64]:
        of_locus = rng.random(len(loci))[loci]
        return np.where(rng.random(len(loci)) < same, of_locus, rng.random(len(loci)))

    has, label, value, gc = sampled() < 0.15, (sampled() < 0.5).astype(int), sampled(), sampled()
    hits, other = (
        pd.DataFrame(
            {
                "record": np.flatnonzero(has),
                "start": start[has],
                "end": start[has] + 8,
                "strand": np.where(sampled() < 0.5, "+", "-")[has],
                "p_value": 1e-6,
            }
        )
        for start in ((sampled() * 193).astype(int) for _ in "ab")
    )
    strata = (gc * max(2, len(loci) // 40)).astype(int)
    yield f"{name}Fisher", enrichment(hits, label, units)["enrichment_p"]
    yield f"{name}matched labels", matched_enrichment(hits, label, strata, units)["matched_p"]
    yield f"{name}Mann-Whitney", rank_shift(hits, value, units)["enrichment_p"]
    yield f"{name}van Elteren", matched_rank_shift(hits, value, strata, units)["matched_p"]
    yield f"{name}sign flip", mean_effect(value[has] - 0.5, rng, "", units.numbers[has])["_p"]
    lengths, nulls = np.full(len(loci), 200), [_anywhere(rng, np.full(len(loci), 200))]
    for given in (None, (50, 90)):
        places = position_profile(hits, nulls, lengths, given, rng, units)
        if given is None:
            yield f"{name}position", places.get("position_p")
        yield f"{name}{'given' if given else 'fullest'} window", places.get("window_p")
    yield (
        f"{name}strand",
        strand_bias(hits, ppm(words(rng, 1)[0]), rng, units=units).get("strand_p"),
    )
    apart = spacing(hits, other, lengths, rng, units)
    yield f"{name}spacing", apart["spacing_p"]
    yield f"{name}orientation", apart["orientation_p"]
    groups = np.array(["a", "b", "c"], dtype=object)[(sampled() * 3).astype(int)]
    p = expit(2 * label - 1 + 3 * (value - 0.5))
    gaps = group_gaps(groups, label, p, 0.5, units, EvaluationSection(bootstraps=200))
    for metric, gap in gaps.items():
        yield f"{name}gap of {metric}", gap["p"]


def families(rng: np.random.Generator) -> Iterator[tuple[str, float]]:
    """Subtract effects at control sites from effects at sites, both skewed and similar in units."""
    for number in (8, 10, 15, 20):
        sizes = rng.geometric(1 / 6, number)
        sizes[0] += 20
        unit = np.repeat(np.arange(number), sizes)
        at_sites, at_controls = (
            rng.gamma(0.3, size=number)[unit] + rng.gamma(0.3, size=len(unit)) for _ in "ab"
        )
        found = mean_effect(at_sites - at_controls, rng, "", unit)
        yield f"{number} families: sign flip", found["_p"]
        yield f"{number} families: interval", float(found["_low"] < 0 < found["_high"])


def places(rng: np.random.Generator) -> Iterator[tuple[str, float]]:
    """Plant a word anywhere, or look for a word with GC in records whose GC content rises."""
    rising = np.linspace(0.1, 0.9, 200)
    for number in (0, 1, 3):
        (word,), sequences = words(rng, 1, 7), records(rng, 150)
        if not number:
            (word,) = records(rng, 1, 6, 0.9)
            is_gc = rng.random((150, 200)) < rising
            pairs = rng.integers(0, 2, is_gc.shape)
            sequences = list(np.where(is_gc, BASES[[1, 2]][pairs], BASES[[0, 3]][pairs]))
        for row in sequences:
            for _ in range(number):
                start = rng.integers(0, len(row) - 6)
                row[start : start + 7] = (
                    word if rng.random() < 0.5 else DNA.reverse_complement(word)
                )
        hits = find_hits({"m": ppm(word)}, {"m": NUM_SITES}, sequences, HIT_P, DNA)
        held_out = LabelledRecords(sequences, np.ones(150))
        nulls = described_elsewhere(
            null_hits(ppm(word), NUM_SITES, hits, held_out, HIT_P, rng), held_out, HIT_P
        )
        found = position_profile(hits, nulls, np.full(150, 200), None, rng)
        given = position_profile(hits, nulls, np.full(150, 200), (100, 150), rng)
        name = f"positions, {number} per record" if number else "positions, rising GC"
        yield f"{name}: position", found.get("position_p")
        yield f"{name}: fullest window", found.get("window_p")
        yield f"{name}: given window", given.get("window_p")
        yield f"{name}: strand", strand_bias(hits, ppm(word), rng).get("strand_p")
    yield from _rare_places(rng, "rare", 0.45)
    yield from _rare_places(rng, "rare, rising GC", np.linspace(0.2, 0.7, 140))


def _rare_places(
    rng: np.random.Generator, name: str, gc: float | NDArray[np.float64]
) -> Iterator[tuple[str, float]]:
    """Plant a word whose permuted motifs have no hits, in records of different length.

    It is more probable where its GC content is. `gc` is that of all positions, or of each.
    """
    (word,), lengths = (
        records(rng, 1, 10, 0.5 if np.isscalar(gc) else 0.9),
        rng.integers(60, 140, 60),
    )
    of_positions, is_gc = np.broadcast_to(gc, 140), np.isin(word, BASES[1:3])
    sequences = []
    for length in lengths:
        positions = rng.random(length) < of_positions[:length]
        pairs = rng.integers(0, 2, length)
        row = np.where(positions, BASES[[1, 2]][pairs], BASES[[0, 3]][pairs])
        around = sliding_window_view(of_positions[:length], 10)
        chance = np.where(is_gc, around, 1 - around).prod(axis=1)
        start = rng.choice(len(chance), p=chance / chance.sum())
        row[start : start + 10] = word
        sequences.append(row)
    hits = find_hits({"m": ppm(word)}, {"m": NUM_SITES}, sequences, RARE_P, DNA)
    held_out = LabelledRecords(sequences, np.ones(60))
    nulls = described_elsewhere(
        null_hits(ppm(word), NUM_SITES, hits, held_out, RARE_P, rng), held_out, RARE_P
    )
    for window in (None, (-40, -10)):
        found = position_profile(hits, nulls, lengths, window, rng)
        if window is None:
            yield f"positions, {name}: position", found.get("position_p")
        kind = "given" if window else "fullest"
        yield f"positions, {name}: {kind} window", found.get("window_p")


def distances(rng: np.random.Generator) -> Iterator[tuple[str, float]]:
    for name, lengths in (
        ("one length", np.full(120, 150)),
        ("many lengths", (60 * 8 ** rng.random(120)).astype(int)),
    ):
        tables = [_anywhere(rng, lengths) for _ in "ab"]
        found = spacing(*tables, lengths, rng)
        yield f"distances, {name}: spacing", found["spacing_p"]
        yield f"distances, {name}: orientation", found["orientation_p"]


def _anywhere(rng: np.random.Generator, lengths: NDArray[np.int64], width: int = 8) -> pd.DataFrame:
    """Sample one or two sites of a motif per record."""
    record = np.repeat(np.arange(len(lengths)), rng.integers(1, 3, len(lengths)))
    start = rng.integers(0, lengths[record] - width + 1)
    return pd.DataFrame(
        {
            "record": record,
            "start": start,
            "end": start + width,
            "strand": rng.choice(["+", "-"], len(record)),
        }
    )


def curves(weights: NDArray[np.float64]) -> dict[str, Curve]:
    """Return functions of the sum of the words, by name."""
    middle = 0.6 * weights.sum()
    return {
        "a sum": lambda x: x,
        "a curve that levels off": lambda x: 4 * np.tanh(x / 4),
        "a curve that rises": lambda x: np.logaddexp(0, x - weights.sum() / 2),
        "a steep rise": lambda x: np.logaddexp(0, 2 * (x - middle)),
        "a bend": lambda x: np.maximum(0, x - middle),
        "an exponential": lambda x: np.exp(0.4 * x) / 8,
        "a step": lambda x: 6 / (1 + np.exp(-2 * (x - middle))),
        "a threshold": lambda x: 4.0 * (x > middle),
    }


def interactions(rng: np.random.Generator) -> Iterator[tuple[str, float]]:
    sequences, some = records(rng, 150), words(rng, 6)
    sites = planted(rng, sequences, some, 0.7)
    weights = rng.uniform(0.5, 3, 6)
    odd = rng.normal(0, 1, (200, 256))
    for (name, curve), bonus in product(curves(weights).items(), (0, 2)):
        if bonus and name not in ("a sum", "a curve that rises", "a steep rise"):
            continue

        def log_odds(
            rows: Sequence[Letters], curve: Curve = curve, bonus: float = bonus
        ) -> NDArray[np.float64]:
            counts = np.array([[bytes(row).count(bytes(word)) for word in some] for row in rows])
            sums = counts @ weights + bonus * counts[:, 0] * counts[:, 1]
            return curve(sums) + 0.3 * np.sin([odd[np.arange(len(row)), row].sum() for row in rows])

        table = evaluate_interactions(
            sites, sequences, log_odds, lambda pairs: np.zeros(len(pairs))
        )
        is_planted = (bonus > 0) & (table["name_a"] == "m0") & (table["name_b"] == "m1")
        for verdict in table["verdict"][is_planted]:
            yield f"planted pair, {name}: supported", float(verdict != "supported")
        if name == "a sum" and not bonus:
            for row in table.to_dict("records"):
                yield f"interactions, {name}: sites", row["sites_p"]
                yield f"interactions, {name}: pairs", row["pairs_p"]
        other_pairs = set(table["verdict"][~is_planted])
        for verdict in CLEAR:
            text = f"interactions, {name}{' and a pair' * (bonus > 0)}: a pair {verdict}"
            yield text, float(verdict not in other_pairs)


def tomtom(rng: np.random.Generator) -> Iterator[tuple[str, float]]:
    database = open_database("jaspar:insects")
    names = rng.choice(list(database), 20, replace=False)
    for name, matrix in {name: rng.permutation(database[name]) for name in names}.items():
        others = {other: known for other, known in database.items() if other != name}
        yield "tomtom: best match, q", match_motifs({name: matrix}, others)["match_q"].iloc[0]


NULLS: dict[str, tuple[Callable[[np.random.Generator], Iterator[tuple[str, float]]], int]] = {
    "labels": (labels, 60),
    "gc": (gc, 20),
    "model": (model, 20),
    "units": (units, 300),
    "families": (families, 1000),
    "places": (places, 200),
    "distances": (distances, 200),
    "interactions": (interactions, 20),
    "tomtom": (tomtom, 5),
}


def rows(names: Sequence[str], trials: int | None) -> Iterator[Row]:
    """Return how often each test of the nulls gives p < .05."""
    for name in names:
        null, usual = NULLS[name]
        found = [
            row
            for trial in range(trials or usual)
            for row in null(np.random.default_rng((trial, len(name))))
        ]
        table = pd.DataFrame(found, columns=["test", "p"]).dropna()
        for test, group in table.groupby("test", sort=False):
            called = int((group["p"] < LIMIT).sum())
            low, high = binomtest(called, len(group)).proportion_ci()
            fraction = {"value": called / len(group), "low": low, "high": high}
            yield {
                "test": str(test),
                "p < .05": interval(fraction),
                "trials": str(len(group)),
                "": "TOO OFTEN" if low > LIMIT and not test.startswith("planted") else "",
            }


if __name__ == "__main__":
    run(
        __doc__,
        lambda chosen: [Table("", rows(chosen.only, chosen.trials))],
        option("--only", nargs="+", choices=list(NULLS), default=list(NULLS)),
        option("--trials", type=int, help="trials of each null"),
    )

"""Compare rules of evaluation and evidence with the rules that they replaced.

Each row is a simulation in which the truth is known, and with it the wanted figure.
`benchmarks/false_positives.py` tests evidence and interactions on simulated sequences.

    python benchmarks/rules.py                 # about two minutes
    python benchmarks/rules.py --trials 50     # faster and less precise
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from harness import Row, Table, option, run
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit
from scipy.stats import false_discovery_control
from sklearn.metrics import roc_auc_score

from selfattn_bio.config import EvaluationSection
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.evaluation.groups import group_gaps
from selfattn_bio.evaluation.metrics import Bootstrap, Units, calibration_line, ece_floor
from selfattn_bio.interpret.hits import HIT_P, default_hit_p, find_hits

Values = NDArray[np.float64]
Labels = NDArray[np.int64]
Generator = np.random.Generator
BINS, DRAWS = 15, 200
BASES = np.frombuffer(b"ACGT", np.uint8)


def row(rule: str, wanted: str, before: float, now: float) -> Row:
    """Return a row of the table."""
    return {"rule": rule, "wanted": wanted, "before": f"{before:.3g}", "now": f"{now:.3g}"}


def records(rng: Generator, number: int) -> tuple[Values, Labels]:
    """Sample logits and labels; the probabilities of the logits are right."""
    logits = 2 * rng.normal(size=number)
    return logits, (rng.random(number) < expit(logits)).astype(np.int64)


def ece(p: Values, labels: Labels) -> float:
    """Return the expected calibration error."""
    return Bootstrap(labels, draws=1, bins=BINS).metrics(p, 0.5)["ece"].value


def p_of_best_match(rng: Generator, trials: int) -> Row:
    """Scan the consensus of random motifs of nine bases; before, with memelite.

    No word of nine bases has a p-value below 4 ** -9.
    """
    from memelite import fimo

    before = now = 0
    for _ in range(trials):
        ppm = rng.dirichlet(np.full(4, 0.5), size=9) + 1e-6
        ppm /= ppm.sum(axis=1, keepdims=True)
        record = np.concatenate([BASES[ppm.argmax(axis=1)], BASES[rng.integers(4, size=10)]])
        coded = (record == BASES[:, None]).astype(np.int8)[None]
        (found,) = fimo({"m": ppm.T}, coded, reverse_complement=False)
        before += bool((found["p-value"] < 0.99 * 4**-9).any())
        now += bool(
            (find_hits({"m": ppm}, {"m": 10**6}, [record], 1e-4)["p_value"] < 0.99 * 4**-9).any()
        )
    return row("best matches with a p that is too small", "0", before / trials, now / trials)


def three_tests(rng: Generator, trials: int) -> Row:
    """Test 25 motifs three times each, with one true null hypothesis per motif.

    Before, a motif had to be in three lists of q < .05; now in the list of its largest p.
    """
    before = now = 0
    for _ in range(trials):
        p = np.full((25, 3), 1e-12)
        p[np.arange(25), rng.integers(3, size=25)] = rng.random(25)
        in_each = [false_discovery_control(each) < 0.05 for each in p.T]
        before += bool(np.all(in_each, axis=0).any())
        now += bool((false_discovery_control(p.max(axis=1)) < 0.05).any())
    return row(
        "three tests of 25 motifs: runs with a false one", "0.05", before / trials, now / trials
    )


def hits_by_chance(rng: Generator, trials: int) -> Row:
    """Count random records of 5,000 bp with a hit of a random motif of ten bases.

    Before, the threshold of p did not depend on the length.
    """
    ppm = rng.dirichlet(np.full(4, 0.1), size=10)

    def fraction(length: int, hit_p: float) -> float:
        letters = list(BASES[rng.integers(4, size=(trials, length))])
        return find_hits({"m": ppm}, {"m": 100}, letters, hit_p)["record"].nunique() / trials

    wanted = f"{fraction(300, HIT_P):.2g}, as in 300 bp"
    thresholds = (HIT_P, default_hit_p([5000]))
    return row(
        "records of 5 kb with a hit by chance", wanted, *(fraction(5000, p) for p in thresholds)
    )


def gap_of_equal_groups(rng: Generator, trials: int) -> Row:
    """Compare three groups of 300 records without a difference.

    Before, a gap was reported if the bootstrap interval of the largest difference excluded 0.
    """
    groups, before, now = np.repeat(["a", "b", "c"], 300), 0, 0
    for _ in range(trials):
        logits, labels = records(rng, 900)
        draws = [_largest_gap(groups, labels, logits, rng) for _ in range(DRAWS)]
        before += np.percentile(draws, 2.5) > 0
        settings = EvaluationSection(bootstraps=DRAWS)
        now += group_gaps(groups, labels, expit(logits), 0.5, settings)["auroc"]["p"] < 0.05
    return row("equal groups: trials with a gap", "0.05", before / trials, now / trials)


def _largest_gap(groups: NDArray[np.str_], labels: Labels, logits: Values, rng: Generator) -> float:
    drawn = rng.integers(len(labels), size=len(labels))
    parts = [drawn[groups[drawn] == group] for group in "abc"]
    return float(np.ptp([roc_auc_score(labels[part], logits[part]) for part in parts]))


def calibration_of_perfect_model(rng: Generator, trials: int) -> Row:
    """Score 2,000 records with the right probabilities.

    Before, the interval of the calibration error should contain 0; now, that of the slope 1.
    """
    before = now = 0
    for _ in range(trials):
        logits, labels = records(rng, 2000)
        sampled = Bootstrap(labels, draws=DRAWS, bins=BINS).metrics(expit(logits), 0.5)["ece"]
        before += sampled.interval()["low"] <= 0
        slope = calibration_line(labels, expit(logits), Units.single(2000))["calibration_slope"]
        now += slope["low"] <= 1 <= slope["high"]
    return row("calibrated model: intervals with the truth", "0.95", before / trials, now / trials)


def floor_of_calibration_error(rng: Generator, trials: int) -> Row:
    """Compare the error of the right probabilities with 0, and with the printed floor."""
    errors = []
    for _ in range(trials):
        logits, labels = records(rng, 2000)
        error = ece(expit(logits), labels)
        errors.append((error, error - ece_floor(expit(logits), BINS)))
    before, now = np.mean(errors, axis=0)
    return row("calibrated model: error above what is expected", "0", before, now)


def calibration_after_balancing(rng: Generator, trials: int) -> Row:
    """Calibrate a model that was trained with balanced weights, at 10 % positives.

    Before, by a temperature; now, by a slope and an intercept. The error is that of other records.
    """
    errors = []
    for _ in range(max(1, trials // 10)):
        labels = (rng.random(40_000) < 0.1).astype(np.int64)
        logits = rng.normal(size=40_000) + 1.5 * labels - 0.75  # the log-odds at 50 % positives
        (own, fresh), (x, other) = np.split(labels, 2), np.split(logits, 2)
        signs = np.where(own == 1, -1, 1)

        def loss(slope: float, x: Values = x, signs: Labels = signs) -> float:
            return float(np.logaddexp(0, signs * slope * x).sum())

        slope = minimize_scalar(loss, bounds=(0.01, 10), method="bounded").x
        now = Calibration.fit(x, own).probabilities(other)
        errors.append((ece(expit(slope * other), fresh), ece(now, fresh)))
    before, after = np.mean(errors, axis=0)
    return row("error after calibration of balanced training", "0", before, after)


def effect_of_few_records(rng: Generator, trials: int) -> Row:
    """Compute bootstrap intervals of mean effects, which are skewed, of 10 and of 30 records."""

    def covered(number: int) -> float:
        effects = rng.lognormal(size=(10 * trials, number))
        drawn = rng.integers(number, size=(DRAWS, number))
        low, high = np.percentile(effects[:, drawn].mean(axis=2), (2.5, 97.5), axis=1)
        return float(np.mean((low <= np.exp(0.5)) & (np.exp(0.5) <= high)))

    return row("intervals of effects that contain the truth", "0.95", covered(10), covered(30))


def records_of_one_locus(rng: Generator, trials: int) -> Row:
    """Compute intervals of the AUROC of 1,000 records in 250 loci, whose records are similar.

    Before, single records were resampled; now, loci.
    """
    truth = roc_auc_score(*_of_loci(rng, 100_000)[1::-1])
    covered = np.zeros(2)
    for _ in range(trials):
        logits, labels, loci = _of_loci(rng, 250)
        for i, units in enumerate((None, loci)):
            bootstrap = Bootstrap(labels, draws=DRAWS, units=units)
            found = bootstrap.metrics(expit(logits), 0.5)["auroc"].interval()
            covered[i] += found["low"] <= truth <= found["high"]
    return row(
        "AUROC intervals of similar records that contain the truth", "0.95", *covered / trials
    )


def _of_loci(rng: Generator, number: int) -> tuple[Values, Labels, Labels]:
    loci = np.repeat(np.arange(number), 4)
    labels = rng.integers(2, size=number)[loci]
    return rng.normal(size=number)[loci] + 0.3 * rng.normal(size=4 * number) + labels, labels, loci


CHECKS = (
    p_of_best_match,
    three_tests,
    hits_by_chance,
    gap_of_equal_groups,
    calibration_of_perfect_model,
    floor_of_calibration_error,
    calibration_after_balancing,
    effect_of_few_records,
    records_of_one_locus,
)


def rows(trials: int) -> Iterator[Row]:
    """Run each simulation, with the same seed."""
    for check in CHECKS:
        yield check(np.random.default_rng(0), trials)


if __name__ == "__main__":
    run(
        __doc__,
        lambda chosen: [Table("", rows(chosen.trials))],
        option("--trials", type=int, default=200, help="simulations per row (%(default)s)"),
    )

"""Check attributions and effects of a regression against the known sites of the lac promoter.

Kinney et al. 2010 (doi:10.1073/pnas.1004290107) sorted 50,518 variants of the E. coli lac promoter
into ten bins by expression and sequenced them. A variant is 75 bp, from -75 to -1 relative to the
transcription start, and differs from the wild type at 9 positions on average. The sites are known:
CRP binds 22 bp centred on -61.5, and RNA polymerase the hexamers TTTACA (-36 to -31) and TATGTT
(-12 to -7).

The network predicts the mean bin from the sequence. The split is the random one of the data: 30,516
variants for training, 10,067 for validation and 9,935 for the test. All are variants of one
sequence, so the test shows how well effects of substitutions are learned, not whether the model
works for other promoters. Settings were chosen on the validation records.

- **Predictions**: Spearman's correlation with the measured bins of the test variants, next to a
  ridge regression on the base at each position.
- **Substitutions**: predicted effect of each of the 225 substitutions in the wild type, against the
  measured one: the mean bin of the test variants with the substitution minus that of those with
  the base of the wild type.
- **Attribution**: how well it ranks the positions of the three sites, in the mean over test
  variants. p is the fraction of random arrangements of three intervals of these widths, in any
  order, that have as high an AUROC. For each site: its mean divided by the mean outside all sites.
- **Evidence**: how far the predicted bin falls when the bases of a site are shuffled in test
  variants (fall). It is compared with 99 random sets of as many positions outside all sites, whose
  bases are shuffled among themselves: the mean of their falls, and p, the rank of the fall of the
  site. The column effect is that of `motifs`, whose control site is a nearby interval of the same
  width. In a promoter of 75 bp it often overlaps another site.

The data are not part of the project. They ship with the package mavenn (MIT licence) as
mavenn/examples/datasets/sortseq_data.csv.gz:

    pip download mavenn==1.1.4 --no-deps && unzip mavenn-1.1.4-*.whl
    python benchmarks/lac.py mavenn/examples/datasets/sortseq_data.csv.gz

Corpus and model stay in results/bench_lac/; a finished training is not repeated. One thread.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from harness import Row, Table, interval, option, run
from numpy.typing import NDArray
from runs import Study, write_run_file
from scipy.stats import rankdata, spearmanr
from sklearn.linear_model import Ridge
from sklearn.metrics import average_precision_score, roc_auc_score

from selfattn_bio.evaluation.metrics import ResampledMetric
from selfattn_bio.interpret.explain import explain_letters
from selfattn_bio.interpret.hits import one_hot
from selfattn_bio.interpret.interventions import Scored, effect, mean_effect
from selfattn_bio.interpret.methods import AttnLRP, AttnLRPCopies, Method, Saturation
from selfattn_bio.interpret.records import MIN_EFFECT
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.scorer import Scorer

FOLDER = Path("results/bench_lac")
# 0-based half-open in the variant, whose first base is at -75
SITES = {"CRP": (3, 25), "-35": (39, 45), "-10": (63, 69)}
# CRP binds TGTGA-N6-TCACA, here TGTGA and TCACT
SHUFFLED = {
    "CRP, all 22 bp": [SITES["CRP"]],
    "CRP, TGTGA and TCACT": [(6, 11), (17, 22)],
    "-35": [SITES["-35"]],
    "-10": [SITES["-10"]],
}
SETTINGS: dict[str, Any] = {
    "title": "Expression of variants of the lac promoter",
    "objective": {"kind": "regression", "columns": ["bin"]},
    "split": {"kind": "column"},
    "training": {"shift": 0, "max_steps": 6000},
}
METHODS: dict[str, Method] = {
    "attnlrp_copies (default)": AttnLRPCopies(),
    "attnlrp": AttnLRP(),
    "saturation": Saturation(),
}
EXPLAINED = 300  # test variants
DRAWS = 1000  # of the bootstrap
ARRANGEMENTS = 10_000  # random positions of the three sites
CONTROLS = 99  # random sets of positions outside the sites
Letters = NDArray[np.uint8]


def read_variants(path: Path) -> pd.DataFrame:
    """Return the variants: id, sequence, bin (mean over its reads, 0 to 9) and split."""
    if not path.is_file():
        sys.exit(f"error: {path}: no such file; see `python benchmarks/lac.py --help`")
    table = pd.read_csv(path)
    reads = table[[f"ct_{number}" for number in range(10)]].to_numpy()
    return pd.DataFrame(
        {
            "id": [f"variant_{number}" for number in range(len(table))],
            "sequence": table["x"],
            "bin": (reads * np.arange(10)).sum(axis=1) / reads.sum(axis=1),
            "split": table["set"],
        }
    )


def prepared(path: Path) -> tuple[Study, Path]:
    """Write table, run file, corpus and split; return the folder and the run file."""
    study = Study(FOLDER)
    variants = study.folder / "variants.csv"
    study.folder.mkdir(parents=True, exist_ok=True)
    read_variants(path).to_csv(variants, index=False)
    settings = {"data": {"sequences": str(variants)}, **SETTINGS}
    run_file = write_run_file(study.folder / "run.toml", settings)
    study.prepare(run_file)
    return study, run_file


class Lac:
    """The variants by split, the model and its predictions."""

    def __init__(self, study: Study, model: Path) -> None:
        self.records = study.records()
        self.scorer: Scorer = load(model)
        self.letters = {split: np.stack(self.records.letters(split)) for split in ("train", "test")}
        bins = self.records.corpus.targets(["bin"])["bin"].to_numpy(dtype=float)
        self.bins = {split: bins[self.records.rows(split)] for split in self.letters}

    @cached_property
    def wild_type(self) -> Letters:
        """Return the most frequent base of the training variants at each position."""
        return np.array(
            [np.bincount(column).argmax() for column in self.letters["train"].T], dtype=np.uint8
        )

    @cached_property
    def additive(self) -> Ridge:
        """Return the ridge regression on the base at each position, fitted to train."""
        return Ridge(alpha=10.0).fit(encoded(self.letters["train"]), self.bins["train"])

    def predicted(self, sequences: Any) -> NDArray[np.float64]:
        """Return the bin that the network predicts."""
        return self.scorer.objective.predictions(self.scorer.outputs(sequences))[:, 0]

    @cached_property
    def substitutions(self) -> Letters:
        """Return the wild type with each of its 225 substitutions, (225, 75)."""
        mutants = np.repeat(self.wild_type[None], 3 * len(self.wild_type), axis=0)
        for position, base in enumerate(self.wild_type):
            others = [ord(other) for other in "ACGT" if ord(other) != base]
            mutants[3 * position : 3 * position + 3, position] = others
        return mutants

    def measured_effects(self, split: str) -> NDArray[np.float64]:
        """Return the measured effect of each substitution, (225,), in bins."""
        letters, bins = self.letters[split], self.bins[split]
        effects = []
        for row, mutant in enumerate(self.substitutions):
            at = letters[:, row // 3]
            is_mutant, is_wild = at == mutant[row // 3], at == self.wild_type[row // 3]
            effects.append(bins[is_mutant].mean() - bins[is_wild].mean())
        return np.array(effects)


def encoded(letters: Letters) -> NDArray[np.int8]:
    """Return one-hot codes (n, 4 L)."""
    return one_hot(letters).reshape(len(letters), -1)


# ------------ correlations
def correlations(
    truth: NDArray[np.float64], predictions: Mapping[str, NDArray[np.float64]]
) -> dict[str, ResampledMetric]:
    """Return Spearman's correlation of each prediction with the truth, on the same resamples."""
    rng = np.random.default_rng(0)
    draws = rng.integers(len(truth), size=(DRAWS, len(truth)))

    def rho(values: NDArray[np.float64], rows: Any = slice(None)) -> float:
        return float(spearmanr(values[rows], truth[rows]).statistic)

    return {
        name: ResampledMetric(rho(values), np.array([rho(values, rows) for rows in draws]))
        for name, values in predictions.items()
    }


def correlation_rows(found: Mapping[str, ResampledMetric]) -> Iterator[Row]:
    """Return a row for each prediction; the first is compared with each of the others."""
    first = next(iter(found.values()))
    for name, metric in found.items():
        lead = "" if metric is first else interval(first.minus(metric), sign="+")
        yield {"": name, "rho": interval(metric.interval()), "network minus this": lead}


# ------------ attribution
def is_site(sites: Any, length: int) -> NDArray[np.bool_]:
    """Return which of `length` positions are in one of the intervals."""
    inside = np.zeros(length, dtype=bool)
    for start, end in sites:
        inside[start:end] = True
    return inside


def arranged(length: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return random intervals with the widths of the sites that do not overlap."""
    widths = rng.permutation([end - start for start, end in SITES.values()])
    free = length - widths.sum()
    before = np.sort(rng.choice(free + len(widths), len(widths), replace=False))  # free positions
    starts = before - np.arange(len(widths)) + np.cumsum(widths) - widths
    return list(zip(starts.tolist(), (starts + widths).tolist(), strict=True))


def attribution_row(name: str, scores: NDArray[np.float64]) -> Row:
    """Return how well scores (75,) rank the positions of the sites."""
    length, rng = len(scores), np.random.default_rng(0)
    inside = is_site(SITES.values(), length)
    # all arrangements have as many positions, so their AUROC follows from their sum of ranks
    ranks = rankdata(scores)
    value = ranks[inside].sum()
    random = [ranks[is_site(arranged(length, rng), length)].sum() for _ in range(ARRANGEMENTS)]
    p = (1 + np.sum(np.array(random) >= value)) / (1 + ARRANGEMENTS)
    return {
        "": name,
        "AUROC": f"{roc_auc_score(inside, scores):.3f}",
        "AUPR": f"{average_precision_score(inside, scores):.3f}",
        "p": f"{p:.1g}",
        "10 highest": f"{inside[np.argsort(-scores)[:10]].sum()} in sites",
        **{
            site: f"{scores[start:end].mean() / scores[~inside].mean():.1f} x"
            for site, (start, end) in SITES.items()
        },
    }


def attribution_rows(lac: Lac, some: Letters) -> Iterator[Row]:
    """Return a row for each method, and one for the weights of the additive fit."""
    ids = pd.DataFrame({"id": range(len(some))})
    for name, method in METHODS.items():
        explained = explain_letters(lac.scorer, list(some), ids, method=method)
        yield attribution_row(name, np.mean(explained.attribution, axis=0).astype(float))
    weights = lac.additive.coef_.reshape(-1, 4)
    yield attribution_row(
        "additive fit", np.linalg.norm(weights - weights.mean(axis=1, keepdims=True), axis=1)
    )


# ------------ evidence
def evidence_rows(lac: Lac, some: Letters) -> Iterator[Row]:
    """Return how far the predicted bin falls when each site is shuffled."""
    scored, intact = Scored(list(some), lac.predicted, MIN_EFFECT), lac.predicted(some)
    outside = np.flatnonzero(~is_site(SITES.values(), some.shape[1]))
    for name, spans in SHUFFLED.items():
        rng = np.random.default_rng(0)
        site = np.flatnonzero(is_site(spans, some.shape[1]))
        falls = intact - lac.predicted(shuffled_in(some, site, rng))
        controls = [
            (
                intact
                - lac.predicted(
                    shuffled_in(some, rng.choice(outside, len(site), replace=False), rng)
                )
            ).mean()
            for _ in range(CONTROLS)
        ]
        found = effect(hits_at(spans, len(some)), scored, rng)
        beyond = np.sum(np.array(controls) >= falls.mean())
        yield {
            "site": name,
            "fall": estimate(mean_effect(falls, rng)),
            "fall outside, mean": f"{np.mean(controls):+.2f}",
            "p": f"{(1 + beyond) / (1 + CONTROLS):.2g}",
            "effect": estimate(
                {key: found[f"effect{key}"] for key in ("", "_low", "_high")},
            ),
        }


def shuffled_in(
    letters: Letters, positions: NDArray[np.int64], rng: np.random.Generator
) -> Letters:
    """Return the sequences with the bases at these positions in random order, row by row."""
    copy = letters.copy()
    copy[:, positions] = rng.permuted(letters[:, positions], axis=1)
    return copy


def estimate(found: Mapping[str, float]) -> str:
    """Format a mean and its interval with the keys of `mean_effect`."""
    return interval({"value": found[""], "low": found["_low"], "high": found["_high"]}, 2, "+")


def hits_at(spans: Sequence[tuple[int, int]], number: int) -> pd.DataFrame:
    """Return a hit at each of the same intervals of each record."""
    hits = pd.DataFrame(spans, columns=["start", "end"])
    return pd.concat([hits.assign(record=record) for record in range(number)], ignore_index=True)


def measure(chosen: argparse.Namespace) -> Iterator[Table | str]:
    """Train, then compare predictions, attributions and evidence with measurements and sites."""
    study, run_file = prepared(chosen.data)
    lac = Lac(study, study.train(run_file, study.folder / "model"))
    test = lac.letters["test"]
    predictions = {
        "network": lac.predicted(test),
        "additive fit": lac.additive.predict(encoded(test)),
    }
    found = correlations(lac.bins["test"], predictions)
    yield Table(f"Measured bins of {len(test):,} test variants", correlation_rows(found))
    mutants, base = lac.substitutions, lac.wild_type[None]
    effects = {
        "network": lac.predicted(mutants) - lac.predicted(base),
        "additive fit": lac.additive.predict(encoded(mutants)),
        "measured in training variants": lac.measured_effects("train"),
    }
    found = correlations(lac.measured_effects("test"), effects)
    yield Table("Measured effects of 225 substitutions", correlation_rows(found))
    rows = np.random.default_rng(0).choice(len(test), EXPLAINED, replace=False)
    some = test[np.sort(rows)]
    fraction = is_site(SITES.values(), test.shape[1]).mean()
    title = f"Positions of the sites ({fraction:.2f} of all) by attribution, {EXPLAINED} variants"
    yield Table(title, attribution_rows(lac, some))
    yield Table("Change of the predicted bin", evidence_rows(lac, some))


if __name__ == "__main__":
    run(
        __doc__,
        measure,
        option("data", type=Path, metavar="FILE", help="sortseq_data.csv.gz of mavenn 1.1.4"),
    )

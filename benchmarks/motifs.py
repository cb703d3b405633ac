"""Compare explanations with the truth: simulate sequences, train models, explain them.

Six grammars (benchmarks/grammars/) have five models with different seeds each. A model whose test
AUROC is below .92 is counted but not explained; controls are always explained. Methods are chosen
on the grammars of `development`. Those of `final` have other motifs, are pinned by their sha256 and
give the tables in docs/motifs_bench.md. The models of a grammar share its data and their split, so
the 95 % intervals over seeds do not cover variation between data sets. An interrupted benchmark
continues where it stopped; to start again, for example after a change of the code, remove its
folder results/bench_motifs/.

- **Positions**: how well attribution ranks planted positions (AUPR), over all positions of 150
  confident test positives; CPU seconds per 1,000 sequences on one thread.
- **Motifs**: seqlets are the high-scoring intervals from which the `motifs` command builds motifs,
  on the positives of train and validation that it explains. A seqlet is correct if it covers half
  of a planted site; a site is found if a seqlet covers half of it. A planted matrix is found if a
  motif matches it at Tomtom q < .01 (over the complete database). Motif precision is the fraction
  of motifs that match a planted one. "Motifs per match" is the number of such motifs per planted
  matrix that was found.
- **Proteins**: a planted pattern is found if it is the consensus of a motif, so the width must be
  right as well. Nothing else is measured for the grammar `proteins`.
- **Interactions**: pairs of called sites on test positives that are no farther apart than the
  halves of a pair may be. AP is the average precision of the true pairs, ranked by epistasis or by
  their distance.
- **Controls**: motifs that are "supported" in models of a grammar without signal and of shuffled
  labels; AUPR with random parameters.

Run: `make bench-motifs`, or
`python benchmarks/motifs.py --grammars development --only five --seeds 2`; `--quick` trains a few
steps as a check.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from harness import ROOT, Page, Table, option, run
from motif_tables import tables
from numpy.typing import NDArray
from planted_sites import Result, called_sites, matrices, planted, residue_patterns, true_pairs
from runs import kept, prepared, records_of, train, with_training
from simulation import PROTEINS, RECORDS, Grammar, read_grammar, settings_of, write_data
from sklearn.metrics import average_precision_score, roc_auc_score

from selfattn_bio import Study
from selfattn_bio.attribution.methods import (
    CPLRP,
    AttnLRP,
    AttnLRPCopies,
    AttributionMethod,
    Gradient,
    Guided,
    IntegratedGradients,
    Method,
    Received,
    Saturation,
)
from selfattn_bio.attribution.targets import Target
from selfattn_bio.evaluation.lineage import check_unseen
from selfattn_bio.evidence.epistasis import epistasis, mean_of_strands, site_pairs
from selfattn_bio.files import sha256_of
from selfattn_bio.model.build import build_network
from selfattn_bio.motifs import read_meme
from selfattn_bio.motifs.matching import HIT_P, find_hits, used_hits
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.tables import read_bed

FOLDER = Path("results/bench_motifs")
GRAMMARS = ROOT / "benchmarks/grammars"
PAGE = Page(
    ROOT / "docs/motifs_bench.md",
    "Benchmark of explanations: full tables",
    "Summary: [motifs.md](motifs.md).\n\n"
    + "\n\n".join((__doc__ or "").strip().split("\n\n")[1:-1]),
)
PROTEIN_GRAMMAR = "proteins"
NAMES = ("five", "twenty", "pair", "unlearnt", "none", PROTEIN_GRAMMAR)
UNLEARNT = "unlearnt"  # the grammar whose pair is not an interaction
SHUFFLED = "shuffled"  # the variant with these labels is the control
SEEDS, GATE = 5, 0.92
EXPLAINED, CONFIDENT = 150, 0.9  # test positives: number and minimum probability
TOLD = 1000  # positives of train and validation from which motifs are built
Letters = NDArray[np.uint8]
PINNED = {  # sha256 of the final grammars
    "five": "f3f37f1d93d37e9b03cf2f9fe3e9ce4db95c858fb80b3ab2c597d8c1fffecada",
    "twenty": "2cbcea2611903324721dc3c2d4ac6cf98b39e51b7a83a9f0a41b32bc95bd23db",
    "pair": "99fbb87fbe365b46bbd328406189a32f5ae8b6ecbb42499c41a71a8fe88910f5",
    "unlearnt": "bd6103ad1e0ce75701874c1ab38910beda953e248ca6a2c69e172e6af935fe84",
    "proteins": "ddc9297033aadc2e9b087d1ca0ce5d8e84df2da77e8d9e388f8ecccdd89ce91e",
    "none": "37ce1495355044cfd6582da89655be1c36182aacde67cdeedb9d505595d73055",
}


@dataclass(frozen=True)
class BothStrands(AttributionMethod):
    """Average the scores of a method over both strands.

    `AttnLRPCopies` reads both strands, so this makes other methods comparable.
    """

    method: AttributionMethod

    @property
    def name(self) -> str:  # type: ignore[override]
        """Return the name of the method with the suffix `-both`."""
        return f"{self.method.name}-both"

    def scores(
        self, scorer: Scorer, letters: Sequence[Letters], target: Target
    ) -> list[NDArray[np.float32]]:
        """Implement `AttributionMethod.scores`."""
        complements = [scorer.alphabet.reverse_complement(row) for row in letters]
        own, others = (self.method.scores(scorer, rows, target) for rows in (letters, complements))
        pairs = zip(own, others, strict=True)
        return [(one + other[::-1, ::-1]) / 2 for one, other in pairs]


FINAL = AttnLRPCopies()  # chosen on development grammars (docs/decisions.md)
METHODS: dict[str, Method] = {
    "final: mean of AttnLRP over copies": FINAL,
    "one backward pass: AttnLRP": AttnLRP(),
    "two backward passes, both strands: AttnLRP": BothStrands(AttnLRP()),
    "one backward pass: CP-LRP": CPLRP(),
    "gradient": Gradient(),
    "guided mutagenesis": Guided(),
    "integrated gradients, 20 steps": IntegratedGradients(steps=20),
    "integrated gradients of both strands, 20 steps each": BothStrands(
        IntegratedGradients(steps=20)
    ),
    "saturation mutagenesis": Saturation(),
    "attention received (as DNABERT)": Received(),
}
QUICK = {"max_steps": 4, "warmup_steps": 1, "evaluate_every": 4, "checkpoint_every": 4}


# ------------ one model
@dataclass(frozen=True)
class Run:
    """A model of a grammar, its study and data.

    Parameters
    ----------
    side
        "development" or "final".
    labels
        "given", or "shuffled" for the control.
    """

    side: str
    grammar: str
    seed: int
    labels: str = "given"
    quick: bool = False

    @property
    def base(self) -> Path:
        """Return the results folder of the grammar."""
        return FOLDER / ("quick" if self.quick else self.side) / self.grammar

    @cached_property
    def study(self) -> Study:
        """Return the study of the model: one member per seed."""
        study = Study(self.base)
        return (study.variant(SHUFFLED) if self.labels == SHUFFLED else study).member(self.seed + 1)

    @property
    def is_control(self) -> bool:
        """Return whether there is nothing to learn."""
        return self.labels == SHUFFLED or self.grammar == "none"

    @cached_property
    def scorer(self) -> Scorer:
        """Load the trained model."""
        return load(self.study.files.model).members[0]

    @cached_property
    def truth(self) -> pd.DataFrame:
        """Read truth.tsv of the data."""
        return pd.read_csv(self.base / "data/truth.tsv", sep="\t", keep_default_na=False)

    @cached_property
    def rules(self) -> Grammar:
        """Read the grammar."""
        return read_grammar(GRAMMARS / self.side / f"{self.grammar}.toml")

    @cached_property
    def test(self) -> tuple[pd.DataFrame, list[Letters]]:
        """Return the test records and their sequences."""
        records = records_of(self.study)
        rows = records.rows["test"]
        check_unseen(self.study.files.model, records.corpus, rows)
        return records.table("test").reset_index(drop=True), records.letters["test"]

    @cached_property
    def logits(self) -> NDArray[np.float64]:
        """Return the logits of the test records."""
        return self.scorer.logits(self.test[1])

    @cached_property
    def confident(self) -> tuple[list[str], list[Letters]]:
        """Return ids and sequences of the first EXPLAINED confident test positives."""
        records, letters = self.test
        probabilities = self.scorer.calibration.probabilities(self.logits)
        sure = (records["label"] == 1) & (self.quick | (probabilities >= CONFIDENT))
        rows = np.flatnonzero(sure)[:EXPLAINED]
        return records["id"].iloc[rows].tolist(), [letters[row] for row in rows]

    def kept(
        self, name: str, measure: Callable[[], Result], method: Method | None = None
    ) -> Result:
        """Return an earlier measurement with the same weights and method, or measure and keep it.

        Changes of the code are not detected.
        """
        weights = sha256_of(self.study.files.model / "model.safetensors")
        return kept(self.study.files.folder / f"{name}.json", f"{weights} {method!r}", measure)


def prepare(run: Run, seeds: int) -> None:
    """Write data, run file, corpus and split of a grammar."""
    data = run.base / "data"
    if not data.exists():
        records = PROTEINS if run.grammar == PROTEIN_GRAMMAR else RECORDS
        write_data(run.rules, data, records=400 if run.quick else records)
    values = with_training(
        settings_of(run.rules, data), seeds=seeds, **(QUICK if run.quick else {})
    )
    values["interpret"]["max_sequences"] = TOLD
    values["variants"] = {SHUFFLED: {"training": {"labels": SHUFFLED}}}
    prepared(run.base, values)


def finished(run: Run) -> Result:
    """Train a model and take all its measurements; finished ones are reused."""
    torch.set_num_threads(1)
    train(run.study, "--quiet")
    result: Result = {
        "run": dataclasses.asdict(run),
        "auroc": run.kept("auroc", lambda: test_auroc(run))["auroc"],
    }
    result["explained"] = bool(run.is_control or run.quick or result["auroc"] >= GATE)
    if result["explained"]:
        if not run.is_control and run.grammar != PROTEIN_GRAMMAR:
            found = {
                name: run.kept(
                    f"letters-{method.name}",
                    lambda method=method: letters(run, method),
                    method,
                )
                for name, method in METHODS.items()
            }
            result["letters"] = found
            result["random"] = run.kept("random", lambda: random_parameters(run), FINAL)
        result["motifs"] = run.kept("motifs", lambda: motifs(run))
        if run.rules.pairs and not run.is_control:
            result["interactions"] = run.kept("interactions", lambda: interactions(run))
    note = "" if result["explained"] else f", below {GATE}: not explained"
    place = run.study.files.folder
    print(f"{place}: test AUROC {result['auroc']:.3f}{note}", flush=True)
    return result


# ------------ measurements
def test_auroc(run: Run) -> Result:
    """Return the AUROC on test."""
    return {"auroc": float(roc_auc_score(run.test[0]["label"].astype(int), run.logits))}


def letters(run: Run, method: Method, scorer: Scorer | None = None) -> Result:
    """Return the AUPR of planted positions, and CPU seconds per 1,000 sequences."""
    ids, sequences = run.confident
    method.attribution(scorer or run.scorer, sequences[:2], Target())  # warm-up: compile and import
    start = time.process_time()
    attribution = method.attribution(scorer or run.scorer, sequences, Target())
    seconds = time.process_time() - start
    mask = planted(run.truth, ids, len(sequences[0]))
    aupr = average_precision_score(mask.ravel(), np.concatenate(attribution))
    return {
        "aupr": float(aupr),
        "seconds": 1000 * seconds / len(ids),
        "fraction": float(mask.mean()),
        "records": len(ids),
    }


def random_parameters(run: Run) -> Result:
    """Return the AUPR of the final method with an untrained network of another seed."""
    torch.manual_seed(1_000 + run.seed)
    untrained = dataclasses.replace(run.scorer, network=build_network(run.scorer.run).eval())
    return letters(run, FINAL, untrained)


def motifs(run: Run) -> Result:
    """Explain and find motifs; return measures of called sites, matrices and verdicts."""
    run.study.explain()
    table = run.study.find_motifs().table
    result: Result = {
        "num_motifs": len(table),
        "supported": int((table["verdict"] == "supported").sum()),
    }
    if run.is_control:
        return result
    explained = run.study.explanation.ids
    files = run.study.files
    seqlets = read_bed(files.discovery_sites).rename(columns={"chrom": "id"})
    result |= called_sites(seqlets, run.truth[run.truth["id"].isin(explained)])
    if run.grammar == PROTEIN_GRAMMAR:
        return result | residue_patterns(table["consensus"], run.rules)
    return result | matrices(read_meme(files.matrices) if len(table) else {}, run.rules)


def interactions(run: Run) -> Result:
    """Measure pairs of called sites at the distances of planted pairs.

    Returns the AP of true pairs, and how many pairs of motifs `interactions` tests and calls
    supported.
    """
    ids, some = run.confident
    hits = find_hits(
        read_meme(run.study.files.matrices),
        {},
        some,
        run.scorer.run.interpret.hit_p or HIT_P,
        run.scorer.alphabet,
    )
    hits = hits[hits.groupby("record")["name"].transform("nunique") > 1]
    sites = used_hits(
        hits,
        lambda rows: AttnLRP().attribution(run.scorer, [some[row] for row in rows], Target()),
        0,
    )
    pairs = site_pairs(sites)
    near = (
        min(pair["spacing"][0] for pair in run.rules.pairs.values()),
        max(pair["spacing"][1] for pair in run.rules.pairs.values()),
    )
    pairs = pairs[pairs["gap"].between(*near)].reset_index(drop=True)
    supported = run.study.find_interactions().table["verdict"] == "supported"
    called = {"supported": int(supported.sum()), "tested": len(supported)}
    result: Result = {"pairs": len(pairs), "false": called}
    true = true_pairs(pairs, ids, run.truth)
    if run.grammar == UNLEARNT or not 0 < true.sum() < len(true):
        return result
    log_odds = mean_of_strands(run.scorer, run.scorer.log_odds)
    rng = np.random.default_rng(run.seed)
    measured = epistasis(pairs, sites, some, log_odds, rng)["epistasis"]
    return result | {
        "true": float(true.mean()),
        "ap": float(average_precision_score(true, measured)),
        "closest": float(average_precision_score(true, pairs["closest"])),
    }


# ------------ all models
def check_pinned(grammars: Path) -> None:
    """Raise an error if a final grammar was changed."""
    for name, wanted in PINNED.items():
        if (got := sha256_of(grammars / f"{name}.toml")) != wanted:
            pinned = f"{got[:12]} is not the pinned {wanted[:12]}"
            raise SystemExit(f"error: {grammars / name}.toml: sha256 {pinned}")


def measure(chosen: argparse.Namespace) -> Iterator[Table]:
    """Simulate, train and explain."""
    is_complete = not chosen.quick and set(chosen.only) == set(NAMES) and chosen.seeds >= SEEDS
    if chosen.write_docs and not (chosen.grammars == "final" and is_complete):
        raise SystemExit("error: --write-docs needs --grammars final, all grammars and seeds")
    if chosen.grammars == "final":
        check_pinned(GRAMMARS / "final")
    keys = [(name, seed, "given") for name in chosen.only for seed in range(chosen.seeds)]
    if "five" in chosen.only:
        keys += [("five", seed, SHUFFLED) for seed in range(chosen.seeds)]
    runs = [Run(chosen.grammars, *key, quick=chosen.quick) for key in keys]
    for each in {one.grammar: one for one in runs}.values():
        prepare(each, chosen.seeds)
    with ProcessPoolExecutor(chosen.jobs, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(finished, runs))
    yield from tables(results, METHODS)


if __name__ == "__main__":
    run(
        __doc__,
        measure,
        option("--grammars", choices=("development", "final"), default="development"),
        option("--only", nargs="+", choices=NAMES, default=NAMES, help="grammars"),
        option("--seeds", type=int, default=SEEDS),
        option(
            "--jobs",
            type=int,
            default=os.cpu_count(),
            help="models at the same time, one thread each",
        ),
        option("--quick", action="store_true", help="400 records, 4 steps, no gate"),
        page=PAGE,
    )

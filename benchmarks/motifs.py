"""Compare explanations with the truth: simulate sequences, train models, explain them.

Five grammars (benchmarks/grammars/) have five models with different seeds each. A model whose test
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
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from harness import ROOT, Page, Table, option, run
from motif_tables import tables
from numpy.typing import NDArray
from planted_sites import Result, called_sites, matrices, planted, true_pairs
from runs import Study, read_json, settings_of, write_run_file
from simulation import RECORDS, Grammar, read_grammar, write_task
from sklearn.metrics import average_precision_score, roc_auc_score

from selfattn_bio.attribution.explanation import Explanation
from selfattn_bio.attribution.methods import (
    CPLRP,
    AttnLRP,
    AttnLRPCopies,
    AttributionMethod,
    Gradient,
    GradientRollout,
    Guided,
    IntegratedGradients,
    Method,
    Received,
    Saturation,
)
from selfattn_bio.attribution.rules import attnlrp_importance
from selfattn_bio.attribution.targets import Target
from selfattn_bio.evaluation.lineage import check_unseen
from selfattn_bio.evidence.epistasis import epistasis, mean_of_strands, site_pairs
from selfattn_bio.evidence.interactions import relevant_sites
from selfattn_bio.files import sha256_of, whole_file
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import read_provenance
from selfattn_bio.motifs import read_meme
from selfattn_bio.motifs.formats import read_bed
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.scorer import Scorer

FOLDER = Path("results/bench_motifs")
GRAMMARS = ROOT / "benchmarks/grammars"
PAGE = Page(
    ROOT / "docs/motifs_bench.md",
    "Benchmark of explanations: full tables",
    "Summary: [motifs.md](motifs.md).\n\n"
    + "\n\n".join((__doc__ or "").strip().split("\n\n")[1:-1]),
)
NAMES = ("five", "twenty", "pair", "unlearnt", "none")
UNLEARNT = "unlearnt"  # the grammar whose pair is not an interaction
SEEDS, GATE = 5, 0.92
EXPLAINED, CONFIDENT = 150, 0.9  # test positives: number and minimum probability
TOLD = 1000  # positives of train and validation from which motifs are built
Letters = NDArray[np.uint8]
PINNED = {  # sha256 of the final grammars
    "five": "f3f37f1d93d37e9b03cf2f9fe3e9ce4db95c858fb80b3ab2c597d8c1fffecada",
    "twenty": "2cbcea2611903324721dc3c2d4ac6cf98b39e51b7a83a9f0a41b32bc95bd23db",
    "pair": "99fbb87fbe365b46bbd328406189a32f5ae8b6ecbb42499c41a71a8fe88910f5",
    "unlearnt": "bd6103ad1e0ce75701874c1ab38910beda953e248ca6a2c69e172e6af935fe84",
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
    "gradient-weighted attention": GradientRollout(),
}
QUICK = {"max_steps": 4, "warmup_steps": 1, "evaluate_every": 4, "checkpoint_every": 4}


# ------------ one model
@dataclass(frozen=True)
class Run:
    """A model of a grammar, its folders and data.

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
        """Return the folder of the data."""
        return FOLDER / ("quick" if self.quick else self.side) / self.grammar

    @property
    def folder(self) -> Path:
        """Return the folder of the model and its measurements."""
        return self.base / f"{'' if self.labels == 'given' else 'shuffled-'}seed-{self.seed}"

    @property
    def run_file(self) -> Path:
        """Return the run file of the model."""
        return self.folder / "run.toml"

    @property
    def model(self) -> Path:
        """Return the folder of the trained model."""
        return self.folder / "model"

    @property
    def study(self) -> Study:
        """Return corpus and split of the grammar."""
        return Study(self.base)

    @property
    def is_control(self) -> bool:
        """Return whether there is nothing to learn."""
        return self.labels == "shuffled" or self.grammar == "none"

    @cached_property
    def scorer(self) -> Scorer:
        """Load the trained model."""
        return load(self.model).members[0]

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
        records = self.study.records()
        corpus, test = records.corpus, records.table.iloc[records.rows("test")]
        letters = records.letters("test")
        check_unseen(self.model, test, letters, corpus.alphabet, corpus.assembly)
        return test.reset_index(drop=True), letters

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
        path, weights = self.folder / f"{name}.json", sha256_of(self.model / "model.safetensors")
        if path.exists():
            before = read_json(path)
            if before["weights"] == weights and before.get("method", repr(method)) == repr(method):
                return before
        result = measure() | {"weights": weights, "method": repr(method)}
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(result, indent=1), encoding="utf-8")
        return result


def prepare(study: Study, grammar: Path, quick: bool) -> None:
    """Write data, corpus and split of a grammar if they are missing."""
    data = study.folder / "data"
    if not data.exists():
        write_task(read_grammar(grammar), data, records=400 if quick else RECORDS)
    if not study.split.exists():
        study.prepare(data / "task.toml", "--quiet")


def finished(run: Run) -> Result:
    """Train a model and take all its measurements; finished ones are reused."""
    torch.set_num_threads(1)
    write_settings(run)
    run.study.train(run.run_file, run.model, options=["--quiet"])
    result: Result = {
        "run": dataclasses.asdict(run),
        "auroc": run.kept("auroc", lambda: test_auroc(run))["auroc"],
    }
    result["explained"] = bool(run.is_control or run.quick or result["auroc"] >= GATE)
    if result["explained"]:
        if not run.is_control:
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
    print(f"{run.folder}: test AUROC {result['auroc']:.3f}{note}", flush=True)
    return result


def write_settings(run: Run) -> None:
    """Write the task of the grammar with this seed and these labels."""
    values = settings_of(run.base / "data/task.toml") | {"variants": {}}
    values["training"] |= {"seed": run.seed, "labels": run.labels} | (QUICK if run.quick else {})
    values["interpret"]["max_sequences"] = TOLD
    write_run_file(run.run_file, values)


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
        "share": float(mask.mean()),
        "records": len(ids),
    }


def random_parameters(run: Run) -> Result:
    """Return the AUPR of the final method with an untrained network of another seed."""
    torch.manual_seed(1_000 + run.seed)
    untrained = dataclasses.replace(run.scorer, network=build_network(run.scorer.run).eval())
    return letters(run, FINAL, untrained)


def motifs(run: Run) -> Result:
    """Run `explain` and `motifs`; return measures of called sites, matrices and verdicts."""
    attribution, found = run.folder / "attribution", run.folder / "motifs"
    weights = read_provenance(run.model)["weights_sha256"]
    model = ("--quiet", "--model", run.model)
    is_old = (
        attribution.exists() and Explanation.load(attribution).source["weights_sha256"] != weights
    )
    if is_old or not attribution.exists():
        run.study.call("explain", run.run_file, *model, output=attribution)
    options = (*model, "--attribution", attribution)
    run.study.call("motifs", run.run_file, *options, output=found)
    table = pd.read_csv(found / "motifs.tsv", sep="\t")
    result: Result = {
        "num_motifs": len(table),
        "supported": int((table["verdict"] == "supported").sum()),
    }
    if run.is_control:
        return result
    explained = pd.read_parquet(attribution / "records.parquet")["id"].tolist()
    seqlets = read_bed(found / "discovery_seqlets.bed").rename(columns={"chrom": "id"})
    ppms = read_meme(found / "motifs.meme") if len(table) else {}
    return (
        result
        | called_sites(seqlets, run.truth[run.truth["id"].isin(explained)])
        | matrices(ppms, run.rules)
    )


def interactions(run: Run) -> Result:
    """Measure pairs of called sites at the distances of planted pairs.

    Returns the AP of true pairs, and the pairs of motifs that `interactions` calls supported.
    """
    ids, some = run.confident
    sites = relevant_sites(
        read_meme(run.folder / "motifs/motifs.meme", least=0),
        some,
        partial(attnlrp_importance, run.scorer),
        run.scorer.run.interpret.hit_p,
    )
    pairs = site_pairs(sites)
    near = (
        min(pair["spacing"][0] for pair in run.rules.pairs.values()),
        max(pair["spacing"][1] for pair in run.rules.pairs.values()),
    )
    pairs = pairs[pairs["gap"].between(*near)].reset_index(drop=True)
    result: Result = {"pairs": len(pairs), "false": false_pairs(run)}
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


def false_pairs(run: Run) -> Result:
    """Count the pairs of motifs that `interactions` calls supported, and those it tests."""
    output, motifs = run.folder / "interactions.tsv", run.folder / "motifs/motifs.meme"
    options = ("--quiet", "--model", run.model, "--motifs", motifs)
    run.study.call("interactions", run.run_file, *options, output=output)
    table = pd.read_csv(output, sep="\t")
    return {"supported": int((table["verdict"] == "supported").sum()), "tested": len(table)}


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
    grammars = GRAMMARS / chosen.grammars
    if chosen.grammars == "final":
        check_pinned(grammars)
    keys = [(name, seed, "given") for name in chosen.only for seed in range(chosen.seeds)]
    if "five" in chosen.only:
        keys += [("five", seed, "shuffled") for seed in range(chosen.seeds)]
    runs = [Run(chosen.grammars, *key, quick=chosen.quick) for key in keys]
    for name, study in {each.grammar: each.study for each in runs}.items():
        prepare(study, grammars / f"{name}.toml", chosen.quick)
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

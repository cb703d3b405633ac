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
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w
import torch
from numpy.typing import NDArray
from promoter import command, is_trained
from scipy.stats import false_discovery_control, t
from sklearn.metrics import average_precision_score, roc_auc_score

from selfattn_bio.config import read_run_file
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.evaluation.lineage import check_unseen
from selfattn_bio.files import sha256_of, whole_file
from selfattn_bio.interpret.epistasis import epistasis, site_pairs, strands_log_odds
from selfattn_bio.interpret.explanation import Explanation
from selfattn_bio.interpret.formats import read_bed
from selfattn_bio.interpret.grammar import Grammar, read_grammar
from selfattn_bio.interpret.interactions import relevant_sites
from selfattn_bio.interpret.methods import (
    CPLRP,
    AttnLRP,
    AttnLRPCopies,
    AttributionMethod,
    DeepLiftShap,
    Gradient,
    GradientRollout,
    Guided,
    IntegratedGradients,
    Method,
    Received,
    Saturation,
)
from selfattn_bio.interpret.targets import Target
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import read_provenance
from selfattn_bio.motifs import open_database, read_meme
from selfattn_bio.scoring.scorer import Scorer, load
from selfattn_bio.sequence.split_table import read_split

ROOT = Path(__file__).parents[1]
FOLDER = Path("results/bench_motifs")
PAGE = ROOT / "docs/motifs_bench.md"
NAMES = ("five", "twenty", "pair", "unlearnt", "none")
UNLEARNT = "unlearnt"  # the grammar whose pair is not an interaction
SEEDS, GATE, DATA_SEED = 5, 0.92, 0
EXPLAINED, CONFIDENT = 150, 0.9  # test positives: number and minimum probability
TOLD = 1000  # positives of train and validation from which motifs are built
COVERED = 0.5  # fraction of a planted site
MATCH_Q = 0.01
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
        turned = self.method.scores(
            scorer, [scorer.alphabet.reverse_complement(row) for row in letters], target
        )
        return [
            (one + other[::-1, ::-1]) / 2
            for one, other in zip(self.method.scores(scorer, letters, target), turned, strict=True)
        ]


FINAL = AttnLRPCopies()  # chosen on development grammars (docs/decisions.md)
METHODS: dict[str, Method] = {
    "final: mean of AttnLRP over copies": FINAL,
    "one backward pass: AttnLRP": AttnLRP(),
    "two backward passes, both strands: AttnLRP": BothStrands(AttnLRP()),
    "one backward pass: CP-LRP": CPLRP(),
    "gradient": Gradient(),
    "guided mutagenesis": Guided(),
    "DeepLIFT/SHAP (tangermeme, 20 shuffles)": DeepLiftShap(shuffles=20),
    "DeepLIFT/SHAP of both strands, 20 shuffles each": BothStrands(DeepLiftShap(shuffles=20)),
    "integrated gradients, 20 steps": IntegratedGradients(steps=20),
    "integrated gradients of both strands, 20 steps each": BothStrands(
        IntegratedGradients(steps=20)
    ),
    "saturation mutagenesis": Saturation(),
    "attention received (as DNABERT)": Received(),
    "gradient-weighted attention": GradientRollout(),
}
QUICK = {"max_steps": 4, "warmup_steps": 1, "evaluate_every": 4, "checkpoint_every": 4}
Result = dict[str, Any]


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
    def inputs(self) -> tuple[str | Path, ...]:
        """Return the options that name run file, corpus and split."""
        return (
            "--run-file",
            self.folder / "run.toml",
            "--corpus",
            self.base / "corpus",
            "--split",
            self.base / "split.tsv",
        )

    @property
    def is_control(self) -> bool:
        """Return whether there is nothing to learn."""
        return self.labels == "shuffled" or self.grammar == "none"

    @cached_property
    def scorer(self) -> Scorer:
        """Load the trained model."""
        return load(self.folder / "model").members[0]

    @cached_property
    def truth(self) -> pd.DataFrame:
        """Read truth.tsv of the data."""
        return pd.read_csv(self.base / "data/truth.tsv", sep="\t", keep_default_na=False)

    @cached_property
    def rules(self) -> Grammar:
        """Read the grammar."""
        return read_grammar(self.base / "data/grammar.toml")

    @cached_property
    def test(self) -> tuple[pd.DataFrame, list[Letters]]:
        """Return the test records and their sequences."""
        corpus = Corpus.open(self.base / "corpus")
        records = corpus.records.assign(
            split=read_split(self.base / "split.tsv", corpus.records["id"])
        ).reset_index(drop=True)
        test = records[records["split"] == "test"]
        letters = [corpus.letters(int(row)) for row in test.index]
        check_unseen(self.folder / "model", test, letters, corpus.alphabet, corpus.assembly)
        return test.reset_index(drop=True), letters

    @cached_property
    def logits(self) -> NDArray[np.float64]:
        """Return the logits of the test records."""
        return self.scorer.logits(self.test[1])

    @cached_property
    def confident(self) -> tuple[list[str], list[Letters]]:
        """Return ids and sequences of the first EXPLAINED confident test positives."""
        records, letters = self.test
        sure = (records["label"] == 1) & (
            self.quick | (self.scorer.probabilities(self.logits) >= CONFIDENT)
        )
        rows = np.flatnonzero(sure)[:EXPLAINED]
        return records["id"].iloc[rows].tolist(), [letters[row] for row in rows]

    def kept(
        self, name: str, measure: Callable[[], Result], method: Method | None = None
    ) -> Result:
        """Return an earlier measurement with the same weights and method, or measure and keep it.

        Changes of the code are not detected.
        """
        path, weights = (
            self.folder / f"{name}.json",
            sha256_of(self.folder / "model/model.safetensors"),
        )
        if path.exists():
            before = json.loads(path.read_text(encoding="utf-8"))
            if before["weights"] == weights and before.get("method", repr(method)) == repr(method):
                return before
        result = measure() | {"weights": weights, "method": repr(method)}
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(result, indent=1), encoding="utf-8")
        return result


def prepare(base: Path, grammar: Path, quick: bool) -> None:
    """Write data, corpus and split of a grammar if they are missing."""
    text = grammar.read_text(encoding="utf-8")
    if not (base / "data").exists():
        small = base / "small.toml"
        small.parent.mkdir(parents=True, exist_ok=True)
        small.write_text("records = 400\n" + text, encoding="utf-8")
        command(
            "simulate",
            "--quiet",
            small if quick else grammar,
            "--output",
            base / "data",
            "--seed",
            DATA_SEED,
        )
    if not (base / "split.tsv").exists():
        command(
            "ingest", "--quiet", "--run-file", base / "data/task.toml", "--output", base / "corpus"
        )
        command(
            "split",
            "--quiet",
            "--run-file",
            base / "data/task.toml",
            "--corpus",
            base / "corpus",
            "--output",
            base / "split.tsv",
        )


def finished(run: Run) -> Result:
    """Train a model and take all its measurements; finished ones are reused."""
    torch.set_num_threads(1)
    write_run_file(run)
    if not is_trained(
        run.folder / "run.toml",
        "",
        run.folder / "model",
        run.base / "corpus",
        run.base / "split.tsv",
    ):
        command("train", "--quiet", *run.inputs, "--threads", 1, "--output", run.folder / "model")
    result: Result = {
        "run": dataclasses.asdict(run),
        "auroc": run.kept("auroc", lambda: test_auroc(run))["auroc"],
    }
    result["explained"] = bool(run.is_control or run.quick or result["auroc"] >= GATE)
    if result["explained"]:
        if not run.is_control:
            found = {
                name: run.kept(
                    f"letters-{method_file(name)}",
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


def write_run_file(run: Run) -> None:
    """Write the task of the grammar with this seed and these labels."""
    values = read_run_file(run.base / "data/task.toml").model_dump(mode="json", exclude_unset=True)
    values["training"] |= {"seed": run.seed, "labels": run.labels} | (QUICK if run.quick else {})
    values["variants"] = {}
    values["interpret"]["max_sequences"] = TOLD
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "run.toml").write_text(tomli_w.dumps(values), encoding="utf-8")


# ------------ measurements
def test_auroc(run: Run) -> Result:
    """Return the AUROC on test."""
    return {"auroc": float(roc_auc_score(run.test[0]["label"].astype(int), run.logits))}


def planted(truth: pd.DataFrame, ids: Sequence[str], length: int) -> NDArray[np.bool_]:
    """Return which positions belong to a planted site, (n, L)."""
    row_of = {name: row for row, name in enumerate(ids)}
    mask = np.zeros((len(ids), length), dtype=bool)
    for site in truth[truth["id"].isin(row_of)].itertuples():
        mask[row_of[site.id], site.start : site.end] = True
    return mask


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
    weights = read_provenance(run.folder / "model")["weights_sha256"]
    if (
        not attribution.exists()
        or Explanation.load(attribution).source["weights_sha256"] != weights
    ):
        command(
            "explain",
            "--quiet",
            *run.inputs,
            "--model",
            run.folder / "model",
            "--output",
            attribution,
        )
    command(
        "motifs",
        "--quiet",
        *run.inputs,
        "--model",
        run.folder / "model",
        "--attribution",
        attribution,
        "--output",
        found,
    )
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


def covering(spans: pd.DataFrame, sites: pd.DataFrame) -> pd.DataFrame:
    """Return pairs of a span and a site in one record if the span covers enough of the site.

    Enough is the fraction COVERED. The columns `span` and `site` are row numbers.
    """
    both = spans.assign(span=np.arange(len(spans))).merge(
        sites.assign(site=np.arange(len(sites))), on="id", suffixes=("", "_of_site")
    )
    shared = np.minimum(both["end"], both["end_of_site"]) - np.maximum(
        both["start"], both["start_of_site"]
    )
    return both.loc[
        shared >= COVERED * (both["end_of_site"] - both["start_of_site"]), ["span", "site"]
    ]


def called_sites(seqlets: pd.DataFrame, sites: pd.DataFrame) -> Result:
    """Return precision of seqlets (each interval once), recall of planted sites, and F1."""
    seqlets = seqlets[["id", "start", "end"]].drop_duplicates()
    hits = covering(seqlets, sites[["id", "start", "end"]])
    precision = hits["span"].nunique() / len(seqlets) if len(seqlets) else 0.0
    recall = hits["site"].nunique() / len(sites)
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
    }


def matrices(ppms: dict[str, NDArray[np.float64]], grammar: Grammar) -> Result:
    """Count planted matrices found, motifs that match one, and motifs per match."""
    wanted = grammar.motifs
    result: Result = {
        "wanted": len(wanted),
        "found": 0,
        "matrix_precision": 0.0,
        "motifs_each": 0.0,
    }
    if not ppms:
        return result
    from memelite import tomtom

    database = open_database(grammar.database)
    columns = [list(database).index(label) for label in wanted]
    p = np.clip(
        tomtom([ppm.T for ppm in ppms.values()], [ppm.T for ppm in database.values()])[0], 0, 1
    )
    alike = false_discovery_control(p, axis=1)[:, columns] < MATCH_Q  # (motifs, wanted)
    found = int(alike.any(axis=0).sum())
    matching = int(alike.any(axis=1).sum())
    return result | {
        "found": found,
        "matrix_precision": matching / len(ppms),
        "motifs_each": matching / found if found else 0.0,
    }


def interactions(run: Run) -> Result:
    """Measure pairs of called sites at the distances of planted pairs.

    Returns the AP of true pairs, and the pairs of motifs that `interactions` calls supported.
    """
    records, sequences = run.test
    rows = np.flatnonzero(
        (records["label"] == 1) & (run.quick | (run.scorer.probabilities(run.logits) >= CONFIDENT))
    )[:EXPLAINED]
    ids, some = records["id"].iloc[rows].tolist(), [sequences[row] for row in rows]
    sites = relevant_sites(
        run.folder / "motifs/motifs.meme", run.scorer, some, run.scorer.run.interpret.hit_p
    )
    pairs = site_pairs(sites)
    near = (
        min(pair.spacing[0] for pair in run.rules.pairs.values()),
        max(pair.spacing[1] for pair in run.rules.pairs.values()),
    )
    pairs = pairs[pairs["gap"].between(*near)].reset_index(drop=True)
    result: Result = {"pairs": len(pairs), "false": false_pairs(run)}
    true = true_pairs(pairs, ids, run.truth)
    if run.grammar == UNLEARNT or not 0 < true.sum() < len(true):
        return result
    measured = epistasis(
        pairs, sites, some, strands_log_odds(run.scorer), np.random.default_rng(run.seed)
    )["epistasis"]
    return result | {
        "true": float(true.mean()),
        "ap": float(average_precision_score(true, measured)),
        "closest": float(average_precision_score(true, pairs["closest"])),
    }


def true_pairs(pairs: pd.DataFrame, ids: Sequence[str], truth: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which pairs of sites cover the two halves of one planted pair."""
    halves = truth[truth["pair"] != ""].reset_index(drop=True)
    names = np.array(ids, dtype=object)[pairs["record"].to_numpy(dtype=int)]
    of_half = []  # the halves that each of the two sites covers
    for which in ("a", "b"):
        spans = pd.DataFrame(
            {"id": names, "start": pairs[f"start_{which}"], "end": pairs[f"end_{which}"]}
        )
        hits = covering(spans, halves[["id", "start", "end"]])
        half = halves.iloc[hits["site"]].reset_index(drop=True)
        of_half.append(
            pd.DataFrame(
                {
                    "span": hits["span"].to_numpy(),
                    "id": half["id"],
                    "pair": half["pair"],
                    "start": half["start"],
                }
            )
        )
    both = of_half[0].merge(of_half[1], on=["span", "id", "pair"])
    return np.isin(np.arange(len(pairs)), both.loc[both["start_x"] != both["start_y"], "span"])


def false_pairs(run: Run) -> Result:
    """Count the pairs of motifs that `interactions` calls supported, and those it tests."""
    output = run.folder / "interactions.tsv"
    meme = run.folder / "motifs/motifs.meme"
    command(
        "interactions",
        "--quiet",
        *run.inputs,
        "--model",
        run.folder / "model",
        "--motifs",
        meme,
        "--output",
        output,
    )
    table = pd.read_csv(output, sep="\t")
    return {"supported": int((table["verdict"] == "supported").sum()), "tested": len(table)}


# ------------ the table
def interval(values: Iterable[float], digits: int = 3) -> str:
    """Format the mean over seeds and its 95 % interval by Student's t: "0.851 (0.832 to 0.870)"."""
    numbers = np.array([value for value in values if value is not None], dtype=float)
    if not len(numbers):
        return "none"
    mean = f"{numbers.mean():.{digits}f}"
    if len(numbers) == 1:
        return f"{mean} (one seed)"
    half = t.ppf(0.975, len(numbers) - 1) * numbers.std(ddof=1) / np.sqrt(len(numbers))
    return f"{mean} ({numbers.mean() - half:.{digits}f} to {numbers.mean() + half:.{digits}f})"


def rows_of(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def method_file(name: str) -> str:
    """Return the file name of a method."""
    return METHODS[name].name


def report(results: Sequence[Result]) -> str:
    """Format all tables."""
    of: dict[str, list[Result]] = {}
    for result in results:
        of.setdefault(
            "shuffled labels"
            if result["run"]["labels"] == "shuffled"
            else result["run"]["grammar"],
            [],
        ).append(result)
    explained = {name: [each for each in group if each["explained"]] for name, group in of.items()}
    measured = {name: group for name, group in explained.items() if group and "letters" in group[0]}
    parts = [models_table(of)]
    for name, group in measured.items():
        share = np.mean([each["letters"][next(iter(METHODS))]["share"] for each in group])
        rows = [
            (
                method,
                *(
                    interval((each["letters"][method][key] for each in group), digits)
                    for key, digits in (("aupr", 3), ("seconds", 2))
                ),
            )
            for method in METHODS
        ]
        rows.append(
            (
                "final method, random parameters",
                interval(each["random"]["aupr"] for each in group),
                "",
            )
        )
        head = (
            f"## Positions, grammar {name} ({len(group)} models; {share:.3f} of the positions "
            "are planted)"
        )
        parts.append(f"{head}\n\n{rows_of(('method', 'AUPR', 'CPU s / 1,000'), rows)}")
    parts.append(motifs_table(measured))
    parts.append(interactions_table(measured))
    parts.append(controls_table(of))
    return "\n\n".join(part for part in parts if part)


def models_table(of: dict[str, list[Result]]) -> str:
    """Format test AUROC and the number of explained models."""
    rows = [
        (
            name,
            interval(each["auroc"] for each in group),
            ", ".join(f"{each['auroc']:.3f}" for each in group),
            sum(each["explained"] for each in group),
        )
        for name, group in of.items()
    ]
    return f"## Models\n\n{rows_of(('grammar', 'test AUROC', 'by seed', 'explained'), rows)}"


def motifs_table(measured: dict[str, list[Result]]) -> str:
    """Format the measures of called sites and matrices."""
    keys = {"f1": 3, "precision": 3, "recall": 3, "matrix_precision": 3, "motifs_each": 2}
    rows = []
    for name, group in measured.items():
        found = (
            ", ".join(str(each["motifs"]["found"]) for each in group)
            + f" of {group[0]['motifs']['wanted']}"
        )
        rows.append(
            (
                name,
                *(
                    interval((each["motifs"][key] for each in group), digits)
                    for key, digits in keys.items()
                ),
                found,
            )
        )
    header = (
        "grammar",
        "seqlet F1",
        "precision",
        "site recall",
        "motif precision",
        "motifs per match",
        "planted matrices found, by seed",
    )
    return f"## Motifs\n\n{rows_of(header, rows)}" if rows else ""


def interactions_table(measured: dict[str, list[Result]]) -> str:
    """Format the AP of true pairs, and the pairs of motifs called supported."""
    rows = []
    for name, group in measured.items():
        found = [each["interactions"] for each in group if "interactions" in each]
        if found:
            called = (
                f"{sum(each['false']['supported'] for each in found)} of "
                f"{sum(each['false']['tested'] for each in found)}"
            )
            rows.append(
                (
                    name,
                    *(
                        interval(each.get(key) for each in found)
                        for key in ("ap", "closest", "true")
                    ),
                    called,
                )
            )
    header = (
        "grammar",
        "AP by epistasis",
        "AP by closeness",
        "fraction of true pairs",
        "motif pairs supported, of those tested",
    )
    return f"## Interactions between called sites\n\n{rows_of(header, rows)}" if rows else ""


def controls_table(of: dict[str, list[Result]]) -> str:
    """Format the motifs called supported in models without signal."""
    rows = []
    for name in ("none", "shuffled labels"):
        if group := of.get(name):
            rows.append(
                (
                    name,
                    *(
                        ", ".join(str(each["motifs"][key]) for each in group)
                        for key in ("supported", "num_motifs")
                    ),
                )
            )
    return (
        f"## Controls, by seed\n\n{rows_of(('control', 'motifs supported', 'motifs'), rows)}"
        if rows
        else ""
    )


def machine() -> str:
    """Return the processor, its number of cores and the torch version."""
    info = Path("/proc/cpuinfo")
    names = (
        [
            line.partition(":")[2].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        if info.exists()
        else []
    )
    return (
        f"{names[0] if names else platform.processor() or platform.machine()}, "
        f"{os.cpu_count()} cores, torch {torch.__version__}"
    )


def check_pinned(grammars: Path) -> None:
    """Raise an error if a final grammar was changed."""
    for name, wanted in PINNED.items():
        if (got := sha256_of(grammars / f"{name}.toml")) != wanted:
            pinned = f"{got[:12]} is not the pinned {wanted[:12]}"
            raise SystemExit(f"error: {grammars / name}.toml: sha256 {pinned}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--grammars", choices=("development", "final"), default="development")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="grammars")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="models at the same time, one thread each"
    )
    parser.add_argument("--quick", action="store_true", help="400 records, 4 steps, no gate")
    chosen = parser.parse_args()
    grammars = ROOT / "benchmarks/grammars" / chosen.grammars
    if chosen.grammars == "final":
        check_pinned(grammars)
    runs = [
        Run(chosen.grammars, name, seed, quick=chosen.quick)
        for name in chosen.only
        for seed in range(chosen.seeds)
    ]
    if "five" in chosen.only:
        runs += [
            Run(chosen.grammars, "five", seed, "shuffled", chosen.quick)
            for seed in range(chosen.seeds)
        ]
    for name in chosen.only:
        prepare(
            next(run.base for run in runs if run.grammar == name),
            grammars / f"{name}.toml",
            chosen.quick,
        )
    with ProcessPoolExecutor(chosen.jobs, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(finished, runs))
    text = report(results)
    print(f"\n{text}")
    whole = not chosen.quick and set(chosen.only) == set(NAMES) and chosen.seeds >= SEEDS
    if chosen.grammars == "final" and whole:
        made_by = f'{date.today()}, `make bench-motifs ARGS="--grammars final"`, {machine()}'
        head = (
            "# Benchmark of explanations: full tables\n\nSummary: [motifs.md](motifs.md). "
            f"{made_by}.\n"
        )
        said = (__doc__ or "").split("\n\n", 1)[1].rsplit("\n\n", 1)[0]
        PAGE.write_text(f"{head}\n{said}\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Write a small results folder, as left by the commands that run before the report."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from selfattn_bio.config import EvaluationSection, RunFile
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.evaluation.summary import Classifier, predictions_table, summarise
from selfattn_bio.evidence.interactions import COLUMNS as PAIRS
from selfattn_bio.motifs.formats import on_chromosome, write_bed

LENGTH = 60
SPLIT_SIZES = {"train": 40, "valid": 60, "test": 80}
PPM = np.array(
    [
        [0.02, 0.02, 0.02, 0.94],
        [0.94, 0.02, 0.02, 0.02],
        [0.02, 0.02, 0.02, 0.94],
        [0.25, 0.25, 0.25, 0.25],
        [0.02, 0.9, 0.06, 0.02],
    ]
)
EVIDENCE = [
    "effect",
    "effect_low",
    "effect_high",
    "effect_p",
    "effect_q",
    "effect_records",
    "verdict",
]
HITS = [
    "enrichment_p",
    "enrichment_q",
    "odds_ratio",
    "positives_with_hit",
    "negatives_with_hit",
    "num_hits",
]
COLUMNS = ["name", "consensus", "num_sites", "match", "match_q", *HITS, *EVIDENCE]
MOTIFS = [
    (
        "motif_01",
        "TATNC",
        120,
        "Dref (MA1456.2)",
        2e-8,
        1e-20,
        3e-20,
        19.2,
        30,
        2,
        33,
        0.81,
        0.62,
        1.01,
        0.001,
        0.002,
        32,
        "supported",
    ),
    (
        "motif_02",
        "TATNC",
        44,
        "",
        np.nan,
        0.02,
        0.03,
        1.4,
        20,
        14,
        35,
        0.04,
        -0.05,
        0.12,
        0.4,
        0.5,
        34,
        "inconclusive",
    ),
    (
        "motif_03",
        "TATNC",
        21,
        "Trl (MA0205.3)",
        0.01,
        1.0,
        1.0,
        0.5,
        3,
        6,
        9,
        np.nan,
        np.nan,
        np.nan,
        np.nan,
        np.nan,
        9,
        "inconclusive",
    ),
]

MORE_EVIDENCE = {  # only for the first motif
    **{
        "other_matches": "BEAF-32 (MA0529.3)",
        "matched_p": 1e-18,
        "matched_q": 2e-18,
        "matched_odds_ratio": 17.31,
    },
    **{
        "sufficiency": 0.02,
        "sufficiency_low": -0.03,
        "sufficiency_high": 0.07,
        "sufficiency_p": 0.4,
        "sufficiency_q": 0.4,
        "stability": 0.5,
    },
    **{
        "position_p": 0.01,
        "position_q": 0.02,
        "window_start": -31,
        "window_end": -25,
        "window_hits": 9,
        "window_expected": 3.21,
    },
    **{
        "window_p": 0.004,
        "window_q": 0.008,
        "strand_plus": 0.6,
        "strand_low": 0.41,
        "strand_high": 0.77,
        "strand_p": 0.3,
        "strand_q": 0.3,
    },
    **{
        "support_q": 1e-3,
        "null_motifs": 20,
        "null_fall": 0.12,
        "null_p": 1 / 21,
        "null_passing": 1,
    },
}
INTERACTIONS = [
    (
        "motif_01",
        "motif_02",
        62,
        62,
        0.61,
        0.42,
        0.8,
        0.5,
        0.001,
        0.002,
        0.002,
        0.004,
        1.21,
        0.83,
        "3;40;12;7",
        5,
        10,
        8.5,
        0.001,
        0.003,
        "+-",
        2.7,
        0.001,
        0.002,
        "supported",
    ),
    (
        "motif_01",
        "motif_03",
        25,
        22,
        -0.03,
        -0.09,
        0.04,
        np.nan,
        0.4,
        np.nan,
        np.nan,
        np.nan,
        0.9,
        0.55,
        "9;8;8;0",
        0,
        5,
        1.1,
        0.7,
        0.7,
        "++",
        1.1,
        0.8,
        0.8,
        "inconclusive",
    ),
]


def make_results(
    folder: Path,
    motifs: list[tuple] = MOTIFS,
    prefix: str = "r",
) -> RunFile:
    """Write a results folder; ids start with `prefix`."""
    rng = np.random.default_rng(0)
    run = RunFile.model_validate(
        {
            "title": "A small task",
            "data": {"positives": "p.fa", "negatives": "n.fa"},
            "evaluation": {"bootstraps": 50},
            "interpret": {"database": "jaspar:insects"},
        }
    )
    n = sum(SPLIT_SIZES.values())
    records = pd.DataFrame(
        {
            "id": [f"{prefix}{i}" for i in range(n)],
            "label": np.tile([1, 0], n // 2),
            "chrom": "chr2R",
            "start": np.arange(n) * 100,
            "end": np.arange(n) * 100 + LENGTH,
            "strand": np.tile(["+", "+", "-", "-"], n // 4),
            "length": LENGTH,
        }
    )
    split = np.repeat(list(SPLIT_SIZES), list(SPLIT_SIZES.values()))
    for part in ("corpus", "model", "predictions", "attribution"):
        (folder / part).mkdir(parents=True)
    records.to_parquet(folder / "corpus" / "records.parquet")
    source = {"path": "data/p.fa.gz", "sha256": "ab" * 32, "records": n}
    sources = [source, source | {"made": {"kind": "shuffled"}}]
    corpus = {
        "alphabet": "dna",
        "assembly": "dm3",
        "num_records": n,
        "num_letters": n * LENGTH,
        "fingerprint": "f" * 64,
        "read": n + 3,
        "dropped": {"exact duplicates": 3},
        "noted": {"lower case letters": 12},
        "sources": sources,
    }
    (folder / "corpus" / "corpus.json").write_text(json.dumps(corpus))
    pd.DataFrame({"id": records["id"], "split": split, "reason": "random"}).to_csv(
        folder / "split.tsv", sep="\t", index=False
    )

    labels = {s: records["label"].to_numpy()[split == s] for s in SPLIT_SIZES}
    logits = {s: rng.normal(2 * labels[s] - 1, 1.2) * 2 for s in SPLIT_SIZES}
    classifiers = {
        "model": Classifier.of_logits("model", logits, Calibration(0.6, 0.1, 0.45)),
        "cnn": Classifier.of_logits(
            "baseline",
            {s: rng.normal(2 * labels[s] - 1, 1.6) for s in SPLIT_SIZES},
            Calibration(0.8),
        ),
        "shuffled": Classifier.of_logits(
            "control", {s: rng.normal(0, 1, len(labels[s])) for s in SPLIT_SIZES}, Calibration(0.1)
        ),
        "gc": Classifier(
            "baseline", {s: rng.uniform(0.3, 0.7, len(labels[s])) for s in SPLIT_SIZES}, 0.5
        ),
    }
    gc = {s: rng.uniform(0.3, 0.6, len(labels[s])) for s in ("train", "test")}
    tissue = np.array(["gut", "gut", "liver", "liver"] * (SPLIT_SIZES["test"] // 4), dtype=object)
    tissue[0] = "rare"
    metrics = summarise(
        classifiers, labels, {"gc": gc}, EvaluationSection(bootstraps=50), {"tissue": tissue}
    )
    metrics["sizes"] = {
        name: {"networks": 2, "trainings": 1} for name in ("model", "cnn", "shuffled")
    }
    metrics["train"] = {"seconds": 61.2, "peak_memory_mb": 812.0, "letters_per_second": 123456.0}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    for s in ("valid", "test"):
        table = predictions_table(records["id"][split == s].tolist(), labels[s], classifiers, s)
        table.to_csv(folder / "predictions" / f"{s}.tsv", sep="\t", index=False)
    (folder / "model" / "run.toml").write_text('title = "A small task"\n')
    provenance = {
        "vocabulary_sha256": "c" * 64,
        "num_train": 40,
        "versions": {"torch": "2.13.0"},
        "calibration": {"slope": 0.6, "intercept": 0.1, "threshold": 0.45},
    }
    (folder / "model" / "provenance.json").write_text(json.dumps(provenance))
    steps = np.arange(1, 9) * 250
    history = {
        "step": steps,
        "epoch": steps / 260,
        "train_loss": 0.7 / np.sqrt(1 + steps / 400),
        "valid_loss": 0.69 - 0.2 * (1 - np.exp(-steps / 500)),
        "valid_auroc": 0.85 - 0.2 * np.exp(-steps / 600),
        "learning_rate": 1e-3,
        "seconds": steps / 20,
    }
    pd.DataFrame(history).to_csv(folder / "model" / "history.csv", index=False)

    table = pd.DataFrame(motifs, columns=COLUMNS)
    table = table.assign(
        target="positive",
        unit="log-odds",
        min_effect=0.1,
        positives=40,
        negatives=40,
        near_ties=0,
        fall=table["effect"] + 0.1,
        fall_low=table["effect_low"],
        fall_high=table["effect_high"],
    )
    more = pd.DataFrame([MORE_EVIDENCE], index=table.index[:1]).reindex(table.index)
    table = table.join(more).assign(
        marginal=[0.4, 0.1, np.nan][: len(table)],
        marginal_low=0.05,
        marginal_high=0.6,
        marginal_start=40,
        marginal_end=45,
        marginal_strand="-",
        marginal_peak=1.25,
        marginal_position_q=0.003,
        marginal_strand_q=0.2,
    )
    table.to_csv(folder / "motifs.tsv", sep="\t", index=False)
    curves = pd.DataFrame(
        {
            "name": "motif_01",
            "strand": ["+", "+", "-", "-"],
            "start": [0, 40, 0, 40],
            "end": [40, 45, 40, 45],
            "effect": [0.1, 0.2, 0.1, 1.25],
            "unit": "log-odds",
        }
    )
    curves = curves.assign(effect_low=curves["effect"] - 0.1, effect_high=curves["effect"] + 0.1)
    curves.to_csv(folder / "marginals.tsv", sep="\t", index=False)
    pairs = pd.DataFrame(INTERACTIONS, columns=PAIRS).assign(
        marginal=[0.3, np.nan],
        marginal_low=0.2,
        marginal_high=0.4,
        marginal_distance=10,
        marginal_peak=0.9,
        marginal_distance_q=[0.004, np.nan],
    )
    pairs.to_csv(folder / "interactions.tsv", sep="\t", index=False)
    by_distance = pd.DataFrame(
        {
            "name_a": "motif_01",
            "name_b": "motif_02",
            "orientation": "+-",
            "distance": [0, 10, 20],
            "epistasis": [0.0, 0.9, 0.1],
            "unit": "log-odds",
        }
    )
    by_distance.assign(epistasis_low=-0.1, epistasis_high=1.0).to_csv(
        folder / "interactions.distances.tsv", sep="\t", index=False
    )
    (folder / "motifs.meme").write_text(meme([m[0] for m in motifs]))
    test = records[split == "test"]
    sites = [
        (r.chrom, r.start + 10, r.start + 15, m[0], 900, "+")
        for m in motifs[:2]
        for r in test[test["label"] == 1].itertuples()
    ]
    pd.DataFrame(sites).to_csv(folder / "seqlets.bed", sep="\t", index=False, header=False)
    explained = (
        records[records["label"] == 1]
        .head(20)
        .assign(split="train", target="positive", score=np.linspace(3, 1, 20))
    )
    explained.to_parquet(folder / "attribution" / "records.parquet")
    attribution = rng.normal(0, 1, (20, LENGTH, 4)).astype(np.float32)
    attribution[0, 20:25] += 9 * PPM.astype(np.float32)  # the first record has the strongest site
    attribution -= attribution.mean(axis=2, keepdims=True)
    letters = rng.choice(np.frombuffer(b"ACGT", dtype=np.uint8), (20, LENGTH))
    letters[:, 20:25] = np.frombuffer(b"TATGC", dtype=np.uint8)
    attention = rng.gamma(2, 1, (20, LENGTH)).astype(np.float32)
    np.savez(
        folder / "attribution" / "attribution.npz",
        letters=letters,
        hypothetical=attribution,
        attention=attention,
    )
    edges = np.append(np.arange(0, LENGTH, 4), LENGTH)
    mapped, scores = explained["id"].iloc[[0, 10]].tolist(), explained["score"].iloc[[0, 10]]
    maps = {f"edges_{i}": edges for i in (0, 1)} | {
        f"weights_{i}": rng.dirichlet(np.ones(15), (2, 15)) for i in (0, 1)
    }
    maps |= {f"letters_{i}": letters[row] for i, row in enumerate((0, 10))}
    about = {"alphabet": "dna", "method": "attnlrp_copies", "numbers": []}
    (folder / "attribution" / "attribution.json").write_text(json.dumps(about))
    np.savez(folder / "attribution" / "maps.npz", ids=mapped, scores=scores, **maps)
    places = pd.DataFrame(
        {"record": range(20), "start": 20, "end": 25, "strand": "+", "score": 1000}
    )
    built = pd.concat(
        [places.assign(name=m[0]) for m in motifs[:2]] or [places.assign(name="")[:0]]
    )
    write_bed(folder / "discovery_seqlets.bed", on_chromosome(built, explained))
    return run


def meme(names: list[str]) -> str:
    """Return MEME text with the same PPM under each name."""
    rows = "\n".join(" ".join(f"{p:.6f}" for p in row) for row in PPM)
    motifs = "".join(
        f"MOTIF {name}\nletter-probability matrix: alength= 4 w= {len(PPM)} nsites= 20 E= "
        f"0\n{rows}\n\n"
        for name in names
    )
    return (
        "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\nBackground letter frequencies\nA "
        f"0.25 C 0.25 G 0.25 T 0.25\n\n{motifs}"
    )


@pytest.fixture(scope="session")
def results_maker() -> Callable[..., RunFile]:
    return make_results

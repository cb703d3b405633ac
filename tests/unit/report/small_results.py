"""Write a small results folder, as left by the commands that run before the report."""

import dataclasses
import json
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from selfattn_bio.attribution.explanation import Explanation
from selfattn_bio.attribution.readout import AttentionMap, MappedSequence
from selfattn_bio.config import RunFile
from selfattn_bio.config.writing import toml_text
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.evaluation.groups import group_metrics
from selfattn_bio.evaluation.summary import Classifier, summarise
from selfattn_bio.evaluation.units import Units
from selfattn_bio.evidence import interactions, marginals
from selfattn_bio.evidence.verdicts import COLUMNS
from selfattn_bio.files import sha256_of
from selfattn_bio.motifs import meme_text
from selfattn_bio.objectives import objective_of
from selfattn_bio.sequence.tables import on_chromosome, write_bed
from selfattn_bio.study.evaluated import predictions_table

LENGTH = 60
SPLIT_SIZES = {"train": 40, "valid": 60, "test": 80}
PPM = np.array([[1, 1, 1, 47], [47, 1, 1, 1], [1, 1, 1, 47], [12.5] * 4, [1, 45, 3, 1]]) / 50


def table_of(*blocks: str) -> pd.DataFrame:
    """Return the table of texts with aligned columns, next to each other."""
    tables = [pd.read_csv(StringIO(block), sep=r"\s+") for block in blocks]
    return pd.concat(tables, axis=1)


MOTIFS = table_of(
    """
    name     num_sites verdict      enrichment_p enrichment_q odds_ratio num_hits effect_records
    motif_01 120       supported    1e-20        3e-20        19.2       33       32
    motif_02 44        inconclusive 0.02         0.03         1.4        35       34
    motif_03 21        inconclusive 1.0          1.0          0.5        9        9
    """,
    """
    positives_with_hit negatives_with_hit effect effect_low effect_high effect_p effect_q match_q
    30                 2                  0.81   0.62       1.01        0.001    0.002    2e-8
    20                 14                 0.04   -0.05      0.12        0.4      0.5      nan
    3                  6                  nan    nan        nan         nan      nan      0.01
    """,
    """
    necessity necessity_low necessity_high marginal
    0.91      0.62          1.01           0.4
    0.14      -0.05         0.12           0.1
    nan       nan           nan            nan
    """,
).assign(
    hit_p=2.5e-4,
    match=["Dref (MA1456.2)", "", "Trl (MA0205.3)"],
    **{"consensus": "TATNC", "target": "positive", "unit": "log-odds", "min_effect": 0.1},
    **{"effect_units": "7 of 12 clusters", "overlaps": ""},
    **{"near_ties": 0, "positives": 40, "negatives": 40},
    **{"marginal_low": 0.05, "marginal_high": 0.6, "marginal_start": 40, "marginal_end": 45},
    **{"marginal_strand": "-", "marginal_peak": 1.25, "marginal_position_q": 0.003},
    **{"marginal_position_weakest": 0.3, "marginal_position_strongest": 1.15},
    **{"marginal_strand_weakest": 0.35, "marginal_strand_strongest": 0.45},
    marginal_strand_q=0.2,
    **{"matched_q": [2e-18, 0.5, 0.5], "matched_odds_ratio": [17.31, 1.1, 1.1]},
)
OF_FIRST = {  # evidence that only the first motif has
    "other_matches": "BEAF-32 (MA0529.3)",
    "matched_p": 1e-18,
    **{"sufficiency": 0.02, "sufficiency_low": -0.03, "sufficiency_high": 0.07},
    **{"sufficiency_p": 0.4, "sufficiency_q": 0.4, "stability": 0.5},
    **{"position_p": 0.01, "position_q": 0.02, "window_start": -31, "window_end": -25},
    **{"window_hits": 9, "window_expected": 3.21, "window_p": 0.004, "window_q": 0.008},
    **{"strand_plus": 0.6, "strand_low": 0.41, "strand_high": 0.77},
    **{"strand_p": 0.3, "strand_q": 0.3, "support_q": 1e-3},
    **{"first_third": 0.9, "middle_third": 0.62, "last_third": 0.2, "thirds_p": 0.001},
    **{"first_third_records": 12, "middle_third_records": 13, "last_third_records": 11},
    "thirds_q": 0.002,
    **{"null_motifs": 20, "null_necessity": 0.12, "null_p": 1 / 21, "null_passing": 1},
}
MOTIFS = MOTIFS.join(pd.DataFrame([OF_FIRST])).reindex(
    columns=dict.fromkeys([*MOTIFS, *COLUMNS, *OF_FIRST, *marginals.COLUMNS])
)
PAIRS = table_of(
    """
    name_a   name_b   records tested epistasis epistasis_low epistasis_high q     closest
    motif_01 motif_02 62      62     0.61      0.42          0.8            0.004 0.83
    motif_01 motif_03 25      22     -0.03     -0.09         0.04           nan   0.55
    """,
    """
    units effect_a effect_b direction
    62    0.7      0.5      1
    22    0.7      -0.02    0
    """,
    """
    spacing_start spacing_end spacing_fold spacing_q orientation orientation_fold orientation_q
    5             10          8.5          0.003     +-          2.7              0.002
    0             5           1.1          0.7       ++          1.1              0.8
    """,
    """
    verdict      marginal marginal_low marginal_high marginal_distance marginal_peak
    supported    0.3      0.2          0.4           10                0.9
    inconclusive nan      0.2          0.4           10                0.9
    """,
).assign(
    marginal_distance_q=[0.004, np.nan],
    **{"marginal_distance_weakest": 0.1, "marginal_distance_strongest": 0.85, "min_effect": 0.1},
    target="positive",
    lacks=["", "no q value, because only 2 of the 6 needed pairs could be compared"],
)
PAIRS = PAIRS.reindex(
    columns=dict.fromkeys([*PAIRS, *interactions.COLUMNS, *marginals.PAIR_COLUMNS])
)
MEASURED = table_of("""
    target   name_a   name_b   verdict      used neither only_first only_second both overlap
    positive motif_01 motif_02 supported    62   0.25    0.5        0.75        1.0  0.5
    positive motif_01 motif_03 inconclusive 25   0.25    0.5        0.75        1.0  0.5
    positive motif_02 motif_03 not_tested   9    0.27    0.42       0.26        1.23 0.38
""").assign(
    verdict=["supported", "inconclusive", "not tested"],
    **{f"{name}_records": 20 + i for i, name in enumerate(interactions.MATCHES)},
)
SHIFT = {"what": "length", "split": "test", "train": 60.0, "other": 61.5, "effect": 0.25}
AUDIT = {
    "records": {"test": 80, "train": 40},
    **{"similarity": 0.15, "near": 3, "near_other_label": 1, "duplicates": 0, "overlaps": 0},
    **{"shared": {"species": 7}, "without_group": {"family": 5}, "seen": 0},
    "groups": ["species", "family"],
    "nearest": [
        {"from": 0.05, "to": 0.15, "count": 12},
        {"from": 0.15, "to": 1.0, "count": 2},
        {"from": 1.0, "to": 1.0, "count": 1},
    ],
    "shifts": [SHIFT | {"effect_is": "Cohen's d", "test": "K-S", "p": 0.003}],
    "warnings": ["3 test records have a near neighbour"],
    "limits": {
        **{"max_duplicates": 0, "max_overlaps": 0, "max_seen": 0},
        **{"max_shared": None, "max_near": 0.1, "max_similarity": 1.0},
    },
}
TASK = RunFile.model_validate(
    {
        "title": "A small task",
        "data": {"positives": "p.fa", "negatives": "n.fa"},
        "evaluation": {"bootstraps": 50},
        "interpret": {"database": "jaspar:insects"},
    }
)


def belonging(folder: Path) -> dict[str, str]:
    """Return the corpus, the split and the model that the results are about."""
    return {
        "corpus_fingerprint": "f" * 64,
        "split_sha256": sha256_of(folder / "split.tsv"),
        "weights_sha256": "e" * 64,
    }


def edit(path: Path, **changes: Any) -> None:
    """Change values of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def write_files(folder: Path, contents: dict[str, Any]) -> None:
    """Write tables as TSV (CSV by name), and other values as JSON."""
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pd.DataFrame):
            content.to_csv(folder / name, sep="," if ".csv" in name else "\t", index=False)
        else:
            (folder / name).write_text(json.dumps(content))


def write_evaluation(folder: Path, metrics: dict[str, Any], networks: int = 2) -> None:
    """Write metrics.json, with the costs and sizes of the networks among the classifiers."""
    costs = {"seconds": 61.2, "peak_memory_mb": 812.0, "letters_per_second": 123456.0}
    size = {"networks": networks, "trainings": 1}
    metrics["sizes"] = dict.fromkeys(("model", "cnn", "shuffled"), size)
    metrics |= {"costs": {"model": costs}} | belonging(folder)
    write_files(folder, {"metrics.json": metrics})


@cache
def evaluated() -> tuple[dict[str, Any], dict[str, Classifier], dict[str, Any]]:
    """Return labels by split, classifiers with random scores, and their metrics."""
    rng = np.random.default_rng(0)
    labels = {s: np.tile([1, 0], n // 2) for s, n in SPLIT_SIZES.items()}
    logits = {s: rng.normal(2 * labels[s] - 1, 1.2) * 2 for s in SPLIT_SIZES}
    baseline = {s: rng.normal(2 * labels[s] - 1, 1.6) for s in SPLIT_SIZES}
    control = {s: rng.normal(0, 1, len(labels[s])) for s in SPLIT_SIZES}
    gc = {s: rng.uniform(0.3, 0.7, len(labels[s])) for s in SPLIT_SIZES}
    classifiers = {
        "model": Classifier.of_logits("model", logits, Calibration(0.6, 0.1, 0.45)),
        "cnn": Classifier.of_logits("baseline", baseline, Calibration(0.8)),
        "shuffled": Classifier.of_logits("control", control, Calibration(0.1)),
        "gc": Classifier("baseline", gc, 0.5),
    }
    halves = np.where(
        rng.uniform(0.3, 0.6, len(labels["test"])) < 0.45, "below 0.45", "0.45 and more"
    )
    tissue = np.array(["gut", "gut", "liver", "liver"] * (SPLIT_SIZES["test"] // 4), dtype=object)
    tissue[0] = "rare"
    objective, settings = objective_of(TASK.objective), TASK.evaluation
    units = {s: Units.single(len(labels[s])) for s in ("valid", "test")}
    metrics = summarise(objective, classifiers, labels, settings, units)
    two = {name: classifiers[name] for name in ("model", "cnn")}
    of_test = {name: (of.predictions["test"], of.threshold) for name, of in two.items()}
    given = labels["test"], of_test, units["test"], settings
    groups = {"gc": halves.astype(object), "tissue": tissue}
    metrics["groups"] = {by: group_metrics(names, *given) for by, names in groups.items()}
    return labels, classifiers, metrics


def make_results(folder: Path, motifs: pd.DataFrame = MOTIFS, prefix: str = "r") -> None:
    """Write the results folder of `TASK`; ids start with `prefix`."""
    rng, objective = np.random.default_rng(1), objective_of(TASK.objective)
    n = sum(SPLIT_SIZES.values())
    records = pd.DataFrame({"id": [f"{prefix}{i}" for i in range(n)]})
    records["label"], records["chrom"] = np.tile([1, 0], n // 2), "chr2R"
    records["start"] = np.arange(n) * 100
    records["end"] = records["start"] + LENGTH
    records["strand"], records["length"] = np.tile(["+", "+", "-", "-"], n // 4), LENGTH
    split = np.repeat(list(SPLIT_SIZES), list(SPLIT_SIZES.values()))
    (folder / "corpus").mkdir(parents=True)
    records.to_parquet(folder / "corpus" / "records.parquet")
    source = {"path": "data/p.fa.gz", "sha256": "ab" * 32, "records": n}
    corpus = {
        **{"alphabet": "dna", "assembly": "dm3", "num_records": n, "num_letters": n * LENGTH},
        **{"fingerprint": "f" * 64, "read": n + 3, "dropped": {"exact duplicates": 3}},
        "noted": {"lower case letters": 12},
        "sources": [source, source | {"made": {"kind": "shuffled"}}],
    }
    table = records[["id"]].assign(split=split, reason="random")
    write_files(folder, {"corpus/corpus.json": corpus, "audit.json": AUDIT, "split.tsv": table})

    labels, classifiers, metrics = evaluated()
    write_evaluation(folder, {**metrics})
    for s in ("valid", "test"):
        examples = objective.examples_of(labels[s], records[split == s])
        table = predictions_table(objective, classifiers, examples, s, "cnn", pd.DataFrame())
        write_files(folder, {f"predictions/{s}.tsv": table})
    provenance = {
        **{"vocabulary_sha256": "c" * 64, "num_train": 40, "versions": {"torch": "2.13.0"}},
        "calibration": {"slope": 0.6, "intercept": 0.1, "threshold": 0.45},
        **belonging(folder),
    }
    steps = np.arange(1, 9) * 250
    history = pd.DataFrame({"step": steps, "epoch": steps / 260})
    history["train_loss"] = 0.7 / np.sqrt(1 + steps / 400)
    history["valid_loss"] = 0.69 - 0.2 * (1 - np.exp(-steps / 500))
    history["valid_auroc"] = 0.85 - 0.2 * np.exp(-steps / 600)
    history["learning_rate"], history["seconds"] = 1e-3, steps / 20
    curves = table_of("""
        name     strand start end unit     effect effect_low effect_high
        motif_01 +      0     40  log-odds 0.1    0.0        0.2
        motif_01 +      40    45  log-odds 0.2    0.1        0.3
        motif_01 -      0     40  log-odds 0.1    0.0        0.2
        motif_01 -      40    45  log-odds 1.25   1.15       1.35
    """)
    by_distance = table_of("""
        name_a   name_b   orientation distance epistasis unit     epistasis_low epistasis_high
        motif_01 motif_02 +-          0        0.0       log-odds -0.1          1.0
        motif_01 motif_02 +-          10       0.9       log-odds -0.1          1.0
        motif_01 motif_02 +-          20       0.1       log-odds -0.1          1.0
    """).assign(both=1.0, alone=0.5)
    model = {"model/provenance.json": provenance, "model/history.csv": history}
    write_files(folder, model | {"motifs.tsv": motifs, "motifs.json": belonging(folder)})
    pairs: dict[str, Any] = {"interactions.tsv": PAIRS, "interactions.distances.tsv": by_distance}
    pairs["interactions.measured.tsv"] = MEASURED
    pairs["interactions.json"] = belonging(folder)
    write_files(folder, pairs | {"marginals.tsv": curves})
    (folder / "model" / "run.toml").write_text(toml_text(TASK))
    ppms = dict.fromkeys(motifs["name"], PPM)
    (folder / "motifs.meme").write_text(meme_text(ppms, dict.fromkeys(ppms, 20)))
    test = records[split == "test"]
    test = test[test["label"] == 1].assign(start=lambda of: of["start"] + 10, score=900, strand="+")
    first = motifs[["name"]][:2]
    sites = first.merge(test.assign(end=test["start"] + 5), how="cross")
    write_bed(folder / "seqlets.bed", sites)
    explained = records[records["label"] == 1].head(20)
    explained = explained.assign(split="train", target="positive", score=np.linspace(3, 1, 20))
    attribution = rng.normal(0, 1, (20, LENGTH, 4)).astype(np.float32)
    attribution[0, 20:25] += 9 * PPM.astype(np.float32)  # the first record has the strongest site
    attribution -= attribution.mean(axis=2, keepdims=True)
    letters = rng.choice(np.frombuffer(b"ACGT", dtype=np.uint8), (20, LENGTH))
    letters[:, 20:25] = np.frombuffer(b"TATGC", dtype=np.uint8)
    attention = rng.gamma(2, 1, (20, LENGTH)).astype(np.float32)
    edges = np.arange(0, LENGTH + 1, 4)
    maps = {}
    for row in (0, 10):
        layers = [AttentionMap(edges, rng.dirichlet(np.ones(15), 15)) for _ in range(2)]
        one = explained.iloc[row]
        maps[one["id"]] = MappedSequence(letters[row], one["score"], layers)
    found = Explanation(explained, letters, attribution, attention, "dna", maps=maps)
    dataclasses.replace(found, source=belonging(folder)).save(folder / "attribution")
    places = pd.DataFrame({"record": range(20)}).assign(start=20, end=25, strand="+", score=1000)
    built = on_chromosome(first.merge(places, how="cross"), explained)
    write_bed(folder / "discovery_seqlets.bed", built)

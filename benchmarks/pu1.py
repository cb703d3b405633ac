"""Check that a network trained on ChIP-seq peaks of PU.1 finds the motif that the factor binds.

100 bp around each human peak against the same sequences with shuffled dinucleotides; chr7 is
validation, chr8 and chr9 are test, the rest is train. The network is the default of the run file
and trains on both strands. Prints test AUROC compared with the k-mer regressions of `evaluate`, the
time of `explain` and `motifs`, and the motifs with their best match among the vertebrates of
JASPAR. Ends with an error unless the best match of the first motif, which has the most sites, is
SPI1 or SPIB at Tomtom q < .01. PU.1 is SPI1, and SPIB binds the same sequences.

The set is not part of the project; `benchmarks/accuracy.py` explains where it is looked for.
Settings were chosen on the validation set (docs/decisions.md). Run file, corpus, model and motifs
stay in results/bench_accuracy/pu1/; steps with unchanged settings, data and weights are not
repeated. One thread.

    make bench-pu1
    python benchmarks/pu1.py --bench DIR
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from comparison import BENCH, FOLDER, bench_folder, code_hash
from harness import Row, Table, interval, run
from runs import kept, prepared, seconds_of, train

from selfattn_bio import Study
from selfattn_bio.model.checkpoint import read_provenance

NAME = "pu1"
FILES = ("train", "val", "test")
HEADER = r"^(?P<chrom>chr\w+):(?P<start>\d+)-(?P<end>\d+)(?:_dishuf)?\|(?P<label>[01])$"
SETTINGS: dict[str, Any] = {
    "split": {"kind": "chromosome", "valid": ["chr7"], "test": ["chr8", "chr9"]},
    "model": {"kind": "attention", "attention_dropout": 0.3},
    "training": {"reverse_complement": True},
    "interpret": {"database": "jaspar:vertebrates"},
    "variants": {},
}
WANTED, MATCH_Q = ("SPI1", "SPIB"), 0.01


def study_of(folder: Path) -> Study:
    """Read and split the set in `folder`."""
    sequences = [str(folder / f"{name}.fa.gz") for name in FILES]
    data = {"sequences": sequences, "header": HEADER, "label": "label"}
    return prepared(FOLDER / NAME, {"title": "PU.1", "data": data, **SETTINGS})


def finished(study: Study) -> dict[str, float]:
    """Evaluate, explain and find motifs; return the wall-clock seconds of each.

    Steps are not repeated with the same weights and settings.
    """

    def steps() -> dict[str, float]:
        each: tuple[Callable[[], object], ...] = (study.evaluate, study.explain, study.find_motifs)
        seconds = {}
        for step in each:
            start = time.monotonic()
            step()
            seconds[step.__name__] = time.monotonic() - start
        return seconds

    weights = read_provenance(study.files.model)["weights_sha256"]
    of = weights + study.run.interpret.model_dump_json()
    return kept(study.root.folder / "seconds.json", of, steps)


def refusal(motifs: pd.DataFrame) -> str:
    """Return what is wrong with motifs.tsv, or "" if the first motif is that of PU.1."""
    if motifs.empty:
        return "no motif was found"
    label, q = motifs["match"][0], motifs["match_q"][0]
    if label.partition(" (")[0].upper() in WANTED and q < MATCH_Q:
        return ""
    expected = f"{' or '.join(WANTED)} at q < {MATCH_Q}"
    return f"the first motif matches {label} at q {q:.2g} (expected {expected})"


def auroc_rows(metrics: dict[str, Any]) -> Iterator[Row]:
    """Return the AUROC of the model and of each baseline."""
    for name in ("model", *metrics["test"]["baselines"]):
        row = {"": name}
        for split, title in (("valid", "validation"), ("test", "test")):
            of = metrics[split]
            found = of["model"] if name == "model" else of["baselines"][name]
            row[f"{title} AUROC"] = interval(found["auroc"])
        yield row


def motif_rows(motifs: pd.DataFrame) -> Iterator[Row]:
    """Return the motifs with their best matches."""
    for row in motifs.to_dict("records"):
        yield {
            "motif": row["consensus"],
            "sites": str(row["num_sites"]),
            "best match": row["match"],
            "q": f"{row['match_q']:.1g}",
            "effect": f"{row['effect']:+.2f}",
            "verdict": row["verdict"],
        }


def measure(chosen: argparse.Namespace) -> Iterator[Table | str]:
    """Train, find motifs and check the first one."""
    study = study_of(bench_folder(chosen.bench, NAME))
    train(study, code=code_hash())
    seconds = {"train": seconds_of(study), **finished(study)}
    metrics, motifs = study.evaluation.metrics, study.motifs.table
    yield Table("", auroc_rows(metrics))
    best = metrics["differences"]["best_baseline"]
    lead = metrics["differences"]["baselines"][best]["auroc"]
    yield f"model - {best}: {interval(lead, sign='+')}"
    took = ", ".join(f"{name} {value:.0f}" for name, value in seconds.items())
    explained = len(study.explanation.ids)
    yield f"wall-clock seconds: {took}; {explained} sequences explained"
    yield Table("", motif_rows(motifs))
    if wrong := refusal(motifs):
        sys.exit(f"error: {wrong}")


if __name__ == "__main__":
    run(__doc__, measure, BENCH)

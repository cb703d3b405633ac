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
import json
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w
from promoter import command
from published import FOLDER, bench_folder, seconds_of, trained, with_interval

from selfattn_bio.config import read_run_file
from selfattn_bio.interpret.explanation import Explanation
from selfattn_bio.model.checkpoint import read_provenance

NAME = "pu1"
FILES = ("train", "val", "test")
HEADER = r"^(?P<chrom>chr\w+):(?P<start>\d+)-(?P<end>\d+)(?:_dishuf)?\|(?P<label>[01])$"
SETTINGS: dict[str, Any] = {
    "split": {"kind": "chromosome", "valid": ["chr7"], "test": ["chr8", "chr9"]},
    "training": {"reverse_complement": True},
    "interpret": {"database": "jaspar:vertebrates"},
    "variants": {},
}
WANTED, MATCH_Q = ("SPI1", "SPIB"), 0.01


def prepared(folder: Path) -> Path:
    """Write run file, corpus and split of the set in `folder`; return the run file."""
    path = FOLDER / NAME / "run.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {
        "sequences": [str(folder / f"{name}.fa.gz") for name in FILES],
        "header": HEADER,
        "label": "label",
    }
    path.write_text(tomli_w.dumps({"title": "PU.1", "data": data, **SETTINGS}), encoding="utf-8")
    command("ingest", "--run-file", path, "--output", path.with_name("corpus"))
    command(
        "split",
        "--run-file",
        path,
        "--corpus",
        path.with_name("corpus"),
        "--output",
        path.with_name("split.tsv"),
    )
    return path


def done(run_file: Path, model: Path) -> dict[str, float]:
    """Evaluate, explain and find motifs; return the wall-clock seconds of each.

    Steps are not repeated with the same weights and settings.
    """
    folder = run_file.parent
    attribution, kept = folder / "attribution", folder / "seconds.json"
    shared = (
        "--run-file",
        run_file,
        "--corpus",
        folder / "corpus",
        "--split",
        folder / "split.tsv",
        "--model",
        model,
    )
    now = (
        read_provenance(model)["weights_sha256"]
        + read_run_file(run_file).interpret.model_dump_json()
    )
    if kept.exists() and (before := json.loads(kept.read_text(encoding="utf-8")))["of"] == now:
        return before["seconds"]
    outputs = {
        "evaluate": ("--output", folder),
        "explain": ("--output", attribution),
        "motifs": ("--attribution", attribution, "--output", folder),
    }
    seconds = {}
    for name, options in outputs.items():
        start = time.monotonic()
        command(name, *shared, *options)
        seconds[name] = time.monotonic() - start
    kept.write_text(json.dumps({"of": now, "seconds": seconds}), encoding="utf-8")
    return seconds


def refusal(motifs: pd.DataFrame) -> str:
    """Return what is wrong with motifs.tsv, or "" if the first motif is that of PU.1."""
    if motifs.empty:
        return "no motif was found"
    label, q = motifs["match"][0], motifs["match_q"][0]
    if label.partition(" (")[0].upper() in WANTED and q < MATCH_Q:
        return ""
    expected = f"{' or '.join(WANTED)} at q < {MATCH_Q}"
    return f"the first motif matches {label} at q {q:.2g} (expected {expected})"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--bench",
        metavar="DIR",
        help="folder of the sets (default: SELFATTN_BENCH, or ../shared/bench)",
    )
    folder = bench_folder(parser.parse_args(arguments).bench) / NAME
    if not folder.is_dir():
        sys.exit(f"error: {folder}: no such folder; choose the folder of the sets with --bench DIR")
    run_file = prepared(folder)
    (model,) = trained(run_file)
    seconds = done(run_file, model)
    metrics = json.loads((run_file.parent / "metrics.json").read_text(encoding="utf-8"))
    motifs = pd.read_csv(
        run_file.parent / "motifs.tsv",
        sep="\t",
        keep_default_na=False,
        na_values={"match_q": [""], "effect": [""]},
    )
    print("\n| | validation AUROC | test AUROC |\n|---|---|---|")
    for name in ("model", *metrics["test"]["baselines"]):
        each = [
            metrics[split]["model"] if name == "model" else metrics[split]["baselines"][name]
            for split in ("valid", "test")
        ]
        print(f"| {name} | {' | '.join(with_interval(entry['auroc']) for entry in each)} |")
    best = metrics["differences"]["best_baseline"]
    lead = metrics["differences"]["baselines"][best]["auroc"]
    print(f"\nmodel - {best}: {with_interval(lead, '+')}")
    took = ", ".join(
        f"{name} {value:.0f}" for name, value in {"train": seconds_of([model]), **seconds}.items()
    )
    explained = len(Explanation.load(run_file.parent / "attribution").ids)
    print(f"wall-clock seconds: {took}; {explained} sequences explained\n")
    print("| motif | sites | best match | q | effect | verdict |\n|---|---|---|---|---|---|")
    for row in motifs.to_dict("records"):
        print(
            f"| {row['consensus']} | {row['num_sites']} | {row['match']} | {row['match_q']:.1g} | "
            f"{row['effect']:+.2f} | {row['verdict']} |"
        )
    if wrong := refusal(motifs):
        sys.exit(f"error: {wrong}")


if __name__ == "__main__":
    main()

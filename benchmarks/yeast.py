"""Learn the chromatin accessibility of yeast from 467,908 ATAC-seq fragments.

The fragments are counted by `selfattn-bio coverage`. Chromosome XIII is validation, XV and XVI are
test. The rDNA (XII, 450 to 492 kb) and the mitochondrion are left out.

counts
    log(1 + cut sites) in windows of 1 kb: the model, its network alone, a dilated CNN with the same
    stem and head, and k-mer regression. The limit is that of pseudo-replicates: the fragments are
    divided at random into halves (copies together), whose counts correlate with r. By Spearman and
    Brown, two experiments of full depth would correlate with R = 2 r / (1 + r), and a perfect model
    with sqrt(R).
profile
    counts per base in the 500 bp around the starts of genes: Jensen-Shannon distance of predicted
    and observed profiles (0 = equal, .83 = disjoint), and Pearson's r of log counts.
    Pseudo-replicates are two random halves of the counts.
motifs
    motifs of the counts with evidence and their best match in JASPAR fungi. Wanted are the TATA box
    (SPT15), REB1, ABF1 and RAP1.

Intervals are over blocks of a chromosome, not over seeds. The set is not part of the project;
`benchmarks/accuracy.py` explains where it is looked for. Settings were chosen on the validation
chromosome. Results stay in results/bench_yeast, and trainings are repeated only if settings, data
or code changed. Each training has one thread.

    python benchmarks/yeast.py --seeds 3
    python benchmarks/yeast.py counts motifs --bench DIR
"""

from __future__ import annotations

import argparse
import gzip
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from accuracy import sampled
from comparison import BENCH, DRAWS, bench_folder, code_hash, mean_of
from harness import Row, Table, interval, listed, option, run
from pu1 import motif_rows
from runs import command, kept, prepared, records_of, study_in, train_all, with_training

import selfattn_bio
from selfattn_bio.evaluation.metrics import ResampledMetric
from selfattn_bio.files import sha256_of
from selfattn_bio.model.checkpoint import read_provenance
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.stack import fitted_parts
from selfattn_bio.sequence.intervals import read_intervals
from selfattn_bio.sequence.tracks import read_track

FOLDER = Path("results/bench_yeast")
FRAGMENTS, GENOME, GENES = "fragments.bedpe.gz", "genome.fa.gz", "genes.gtf.gz"
VALID, TEST = ["XIII"], ["XV", "XVI"]
RDNA = ("XII", 450_000, 492_000)
WIDTH, STEP = 1000, 500  # bp of a window; training windows overlap
KMERS, CNN = "kmer6_linear", {"kind": "module", "module": "dilated:build"}
SPLIT = {"kind": "chromosome", "valid": VALID, "test": TEST}
COUNTS: dict[str, Any] = {
    "data": {
        "assembly": "sacCer3",
        "genome": str(FOLDER / "genome.fa"),
        "sequences": str(FOLDER / "windows.bed"),
        "tracks": {
            "atac": {"kind": "number", "path": str(FOLDER / "atac.bw"), "summary": "log_sum"}
        },
    },
    "split": SPLIT,
    "objective": {"kind": "regression", "columns": ["atac"]},
    "model": {"kind": "attention", "members": 1, "stem": {"kind": "conv", "pool": 16}},
    "training": {"reverse_complement": True, "max_steps": 600},
    "stack": {"parts": [KMERS]},
    "interpret": {
        "database": "jaspar:fungi",
        "max_sequences": 1000,
        "caller": {"kind": "clusters"},
        "hit_p": 2.5e-4,  # motifs of 6 bp have hits in 1 kb
    },
    "variants": {},
}
STARTS = 500  # bp around the start of a gene
PROFILE: dict[str, Any] = {
    "data": {
        **{key: COUNTS["data"][key] for key in ("assembly", "genome")},
        "sequences": str(FOLDER / "genes.bed"),
        "windows": {"kind": "centered", "width": STARTS + 114, "center": "five_prime"},
    },
    "split": SPLIT,
    "objective": {"kind": "profile", "tracks": {"atac": str(FOLDER / "atac.bw")}, "width": STARTS},
    "model": COUNTS["model"],
    "training": {"reverse_complement": True, "shift": 50, "batch_size": 32, "max_steps": 600},
    "interpret": COUNTS["interpret"],
    "variants": {
        "cnn": {
            "model": {
                "kind": "dilated",
                "embed_dim": 64,
                "stem": {"kind": "conv", "kernel": 21, "pool": 1, "second_kernel": 1},
                "dilations": [2, 4, 8, 16, 32, 64],
                "dropout": 0.1,
            }
        }
    },
}


# ------------ data
def prepare(bench: Path) -> None:
    """Write the genome, windows, and tracks of all fragments and of two halves."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    of = " ".join(sha256_of(bench / name) for name in (FRAGMENTS, GENOME, GENES))
    kept(FOLDER / "prepared.json", of, lambda: _prepare(bench))


def _prepare(bench: Path) -> int:
    genome = FOLDER / "genome.fa"
    genome.write_bytes(gzip.decompress((bench / GENOME).read_bytes()))
    lines = gzip.decompress((bench / FRAGMENTS).read_bytes()).decode().splitlines()
    copies, fragments = np.unique(lines, return_inverse=True)
    half = np.random.default_rng(0).integers(0, 2, len(copies))[fragments]
    sets = {"atac": lines} | {
        f"half{number}": [line for line, of in zip(lines, half, strict=True) if of == number]
        for number in (0, 1)
    }
    for name, chosen in sets.items():
        (FOLDER / f"{name}.bedpe").write_text("\n".join(chosen) + "\n", encoding="utf-8")
        files = ("--fragments", FOLDER / f"{name}.bedpe", "--genome", genome)
        command("coverage", *files, "--output", FOLDER / name)
    lengths = pd.read_csv(f"{genome}.fai", sep="\t", header=None, index_col=0)[1]
    windows = [
        (str(chrom), start, start + WIDTH)
        for chrom, length in lengths.items()
        for start in range(0, length - WIDTH + 1, STEP if chrom not in VALID + TEST else WIDTH)
    ]
    write_regions("windows.bed", windows)
    genes = read_intervals(bench / GENES, "gene")
    columns = genes[["chrom", "start", "end", "name", "score", "strand"]].assign(score=0)
    write_regions("genes.bed", columns.itertuples(index=False))
    return len(lines)


def write_regions(name: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """Write a BED file without the mitochondrion and the rDNA."""
    kept_rows = (
        row
        for row in rows
        if row[0] != "Mito" and (row[0] != RDNA[0] or row[1] >= RDNA[2] or row[2] <= RDNA[1])
    )
    text = "".join("\t".join(map(str, row)) + "\n" for row in kept_rows)
    (FOLDER / name).write_text(text, encoding="utf-8")


# ------------ counts
def counts_rows(seeds: int) -> Iterator[Row]:
    """Train and compare the models of counts; the last row is the limit."""
    study = prepared(FOLDER / "counts", with_training(COUNTS, seeds=seeds))
    other = {**COUNTS, "model": CNN, "stack": {}, "interpret": {"method": {"kind": "gradient"}}}
    cnn = prepared(FOLDER / "counts_cnn", with_training(other, seeds=seeds)).members
    train_all([*study.members, *cnn], code_hash())
    records = records_of(study)
    letters, units = records.letters["test"], records.units()["test"]
    scorers = [load(each.files.model) for each in study.members]
    objective = scorers[0].objective
    _, targets = records.targets(study.run)

    def measured(outputs: np.ndarray) -> ResampledMetric:
        found = sampled(objective, outputs, 0.5, targets["test"], units, DRAWS)
        return found["pearson"]

    networks = [scorer.network_outputs(letters).mean(axis=1) for scorer in scorers]
    others = [load(each.files.model).network_outputs(letters).mean(axis=1) for each in cnn]
    kmers = fitted_parts(study.members[0].files.model)[KMERS].outputs(letters)
    stacked = [scorer.stacked(of, letters) for scorer, of in zip(scorers, networks, strict=True)]
    groups = {
        "model: network and 6-mer regression": stacked,
        "network alone": networks,
        "dilated CNN": others,
        "6-mer regression": [kmers],
    }
    found = {name: [measured(of) for of in each] for name, each in groups.items()}
    means = {name: mean_of(each) for name, each in found.items()}
    for name, metric in means.items():
        yield {
            "": name,
            "Pearson's r on test": interval(metric.interval()),
            "by seed": listed(of.value for of in found[name]),
            "network alone - it": interval(means["network alone"].minus(metric), sign="+"),
        }
    windows = records.table("test")[["chrom", "start", "end"]].itertuples(index=False)
    tracks = [read_track(FOLDER / f"half{number}.bw") for number in (0, 1)]
    sums = [[track.values(*window).sum() for track in tracks] for window in windows]
    one, other_half = np.log1p(np.array(sums, np.float64)).T[..., None]
    halves = sampled(objective, one, 0.5, other_half, units, DRAWS)["pearson"]
    full = 2 * halves.value / (1 + halves.value)
    for name, text in (
        ("one half of the fragments and the other", interval(halves.interval())),
        ("two experiments of this depth (Spearman-Brown)", f"{full:.3f}"),
        ("limit: a perfect model", f"{full**0.5:.3f}"),
    ):
        yield {"": name, "Pearson's r on test": text, "by seed": "-", "network alone - it": "-"}


# ------------ profile
def profile_rows(seeds: int) -> Iterator[Row]:
    """Train and compare the models of profiles; intervals are those of the first training."""
    studies = [
        prepared(FOLDER / f"profile_{seed}", with_training(PROFILE, seed=seed))
        for seed in range(seeds)
    ]
    train_all([of for study in studies for of in (study, study.variant("cnn"))], code_hash())
    found = []
    for study in studies:
        test = study.evaluate().metrics["test"]
        found.append({"model": test["model"], **test["baselines"]})
    for name in found[0]:
        row = {"": name}
        for metric, title in (("jsd", "JS distance"), ("pearson", "Pearson's r of log counts")):
            known = found[0][name][metric]["value"] is not None
            row[title] = interval(found[0][name][metric]) if known else "-"
            row[f"{title}, by seed"] = listed(of[name][metric]["value"] for of in found if known)
        yield row
    halves = found[0]["model"]["jsd_replicates"]
    yield dict.fromkeys(row, "-") | {"": "pseudo-replicates", "JS distance": interval(halves)}


# ------------ motifs
def motifs_of_counts(seeds: int) -> Iterator[Row]:
    """Explain the first training of the counts, and return its motifs with their evidence."""
    trained = prepared(FOLDER / "counts", with_training(COUNTS, seeds=seeds))
    train_all(trained.members[:1], code_hash())
    study = study_in(FOLDER / "counts", COUNTS)
    weights = read_provenance(study.files.model)["weights_sha256"]

    def find() -> int:
        study.explain()
        return len(study.find_motifs())

    kept(FOLDER / "motifs.json", weights + study.run.interpret.model_dump_json(), find)
    return motif_rows(study.motifs.table)


# ------------ tables
TABLES = {"counts": counts_rows, "profile": profile_rows, "motifs": motifs_of_counts}


def measure(chosen: argparse.Namespace) -> Iterator[Table | str]:
    """Prepare the data and print the chosen tables."""
    selfattn_bio.allow_module(CNN["module"])
    folders = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, folders))  # of the trainings
    prepare(bench_folder(chosen.bench, "yeast_atac"))
    for name in chosen.tables or TABLES:
        yield Table(f"{name}, {chosen.seeds} training(s)", TABLES[name](chosen.seeds))


if __name__ == "__main__":
    run(
        __doc__,
        measure,
        option("tables", nargs="*", metavar="TABLE", help=f"{', '.join(TABLES)} (all)"),
        BENCH,
        option("--seeds", type=int, default=3, metavar="N", help="trainings (%(default)s)"),
    )

"""Compare kinds of negatives for the promoters: train on one kind, test on all kinds.

The networks are those of the task promoter without its simple models, each trained once with seed
0 and one thread. They differ in the negatives of training and validation:

- upstream: the windows of the task, 300 bp that begin 2 kb before a transcription start
- shuffled: dinucleotide shuffles of the promoters
- both: all of these

All are tested with the 2,985 promoters of chr2R against upstream and shuffled negatives of chr2R,
and against windows of the genome, which ships for chr2R only: windows with the GC content
of a promoter (matched), and the window next to each promoter, on either side (neighbours). Coding
sequences are not compared, because no annotation ships. Intervals: 95 % bootstrap over records.

Trainings stay in results/bench_negatives/ and are not repeated. Three trainings of two minutes.

    python benchmarks/negatives.py
"""

from __future__ import annotations

import argparse
import gzip
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from harness import Row, Table, interval, option, run
from numpy.typing import NDArray
from runs import Study, settings_of, write_run_file
from scipy.special import expit

from selfattn_bio.evaluation.metrics import Bootstrap
from selfattn_bio.scoring.loading import load
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.negatives import Wanted, matched, neighbours, shuffled
from selfattn_bio.sequence.readers import read_records
from selfattn_bio.sequence.records import Record

FOLDER, TASK = Path("results/bench_negatives"), Path("workflows/tasks/promoter.toml")
DATA, GENOME = Path("data/fly_promoters"), Path("data/fly_2R/chr2R.fa.gz")
TEST = "chr2R"
NEIGHBOURS = {"distance": 0, "steps": 10}  # as in [data] negatives
TOLERANCE = 0.02
Letters = list[NDArray[np.uint8]]


def write_fasta(path: Path, records: Iterable[Record]) -> Path:
    """Write records with the chromosome in the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", compresslevel=1) as file:
        for record in records:
            file.write(f">{record.id} chrom={record.chrom}\n{record.letters.tobytes().decode()}\n")
    return path


def trained(kind: str, negatives: Sequence[Path]) -> Path:
    """Train the network with these negatives if needed; return the model folder."""
    study = Study(FOLDER / kind)
    settings: dict[str, Any] = settings_of(TASK)
    for section in ("stack", "variants"):
        settings.pop(section, None)
    settings["data"]["negatives"] = [str(path) for path in negatives]
    run_file = write_run_file(study.folder / "run.toml", settings)
    study.prepare(run_file)
    return study.train(run_file, study.folder / "model")


def windows_of_genome(promoters: Sequence[Record]) -> dict[str, Letters]:
    """Return the negatives that are windows of chr2R: matched and neighbours."""
    genome = Genome(GENOME)
    table = pd.DataFrame(
        {
            "chrom": [record.chrom for record in promoters],
            "start": [record.start for record in promoters],
            "end": [record.end for record in promoters],
            "strand": [record.strand for record in promoters],
            "line": range(len(promoters)),
            "path": "",
        }
    )
    wanted, counts = Wanted(may_lack=0.5), Counter[str]()
    found = {
        "matched": matched(table, genome, wanted, None, TOLERANCE, counts),
        "neighbours": neighbours(table, genome, wanted, None, counts=counts, **NEIGHBOURS),
    }
    return {
        kind: [
            genome.fetch(row.chrom, row.start, row.end, row.strand)
            for row in windows.itertuples(index=False)
        ]
        for kind, windows in found.items()
    }


def measure(chosen: argparse.Namespace) -> Iterator[Table]:
    """Train with each kind of negatives, and test with all of them."""
    promoters = list(read_records(DATA / "positives.fa.gz", DNA))
    upstream = list(read_records(DATA / "negatives.fa.gz", DNA))
    shuffles = list(shuffled(promoters, 2, Wanted(), Counter()))
    files = [DATA / "negatives.fa.gz", write_fasta(FOLDER / "shuffled.fa.gz", shuffles)]
    training = {"upstream": files[:1], "shuffled": files[1:], "both": files}
    positives = [record for record in promoters if record.chrom == TEST]
    tested = {
        kind: [record.letters for record in records if record.chrom == TEST]
        for kind, records in (("upstream", upstream), ("shuffled", shuffles))
    } | windows_of_genome(positives)
    letters = [record.letters for record in positives]

    def rows() -> Iterator[Row]:
        for kind, negatives in training.items():
            if kind in (chosen.only or training):
                scorer = load(trained(kind, negatives))
                own = scorer.logits(letters)
                row = {"trained on": kind}
                for other, sequences in tested.items():
                    scores = expit(np.concatenate((own, scorer.logits(sequences))))
                    labels = np.repeat([1, 0], [len(letters), len(sequences)])
                    auroc = Bootstrap(labels).metrics(scores, 0.5)["auroc"]
                    row[f"{other} ({len(sequences):,})"] = interval(auroc.interval())
                yield row

    yield Table(f"Test AUROC of {len(letters):,} promoters against each kind", rows())


if __name__ == "__main__":
    run(
        __doc__,
        measure,
        option("--only", nargs="+", metavar="KIND", help="train with these kinds of negatives"),
    )

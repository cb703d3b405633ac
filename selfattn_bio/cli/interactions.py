"""Find pairs of motifs that a DNA model uses together, by replacing the bases of their sites.

Sites are hits of the --motifs in test positives that the model relies on
(docs/interpretation_evidence.md). If there are many pairs of motifs, those with the highest
attention between their sites are tested.

Writes one row per tested pair: epistasis in log-odds with tests against random positions and
against other motifs at the same distance, preferred spacing and orientation, the attention between
the sites, and a verdict. docs/interpretation_interactions.md explains each column. If no pair is
found, the file has only the header.

example: selfattn-bio interactions --run-file my.toml --corpus corpus --split split.tsv --model \
model --motifs my.meme --output pairs.tsv
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio interactions`."""
    parser.add_argument(
        "--run-file",
        required=True,
        type=Path,
        metavar="FILE",
        help="run file of the task (uses [interpret])",
    )
    parser.add_argument(
        "--model", required=True, type=Path, metavar="DIR", help="model folder, from `train`"
    )
    parser.add_argument(
        "--corpus", required=True, type=Path, metavar="DIR", help="corpus folder, from `ingest`"
    )
    parser.add_argument(
        "--split", required=True, type=Path, metavar="FILE", help="split table, from `split`"
    )
    parser.add_argument(
        "--motifs",
        required=True,
        type=Path,
        metavar="MEME",
        help="motifs to pair, such as motifs.meme, from `motifs`",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="TSV to write")


def run(arguments: argparse.Namespace) -> None:
    """Find sites in the test positives, test the pairs of motifs, and write the table."""
    from selfattn_bio.api.interactions import find_interactions
    from selfattn_bio.config import read_run_file
    from selfattn_bio.data.corpus import Corpus

    start = time.monotonic()
    interactions = find_interactions(
        read_run_file(arguments.run_file),
        Corpus.open(arguments.corpus),
        arguments.split,
        arguments.model,
        arguments.motifs,
        say=_say,
    )
    interactions.save(arguments.output)
    for row in interactions.supported.to_dict("records"):
        _say(
            f"{row['name_a']} and {row['name_b']}: epistasis {row['epistasis']:+.2f} "
            f"({row['epistasis_low']:+.2f} to "
            f"{row['epistasis_high']:+.2f}), q {row['q']:.1g}, {row['records']} records, "
            f"preferred distance {row['spacing_start']:.0f} to "
            f"{row['spacing_end'] - 1:.0f} bp (q {row['spacing_q']:.1g}), "
            f"orientation {row['orientation']} (q {row['orientation_q']:.1g})"
        )
    _say(f"supported: {len(interactions.supported)} of {len(interactions)} pairs")
    _say(f"wrote {arguments.output} in {time.monotonic() - start:.0f} s")


def _say(line: str) -> None:
    print(f"interactions: {line}", flush=True)

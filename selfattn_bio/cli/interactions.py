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
from typing import TYPE_CHECKING

from selfattn_bio.errors import CorpusError, RunFileError

if TYPE_CHECKING:
    import pandas as pd


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
    from selfattn_bio.cli.motifs import test_records
    from selfattn_bio.config import read_run_file
    from selfattn_bio.data.corpus import Corpus
    from selfattn_bio.files import sha256_of, whole_file
    from selfattn_bio.interpret.epistasis import strands_log_odds
    from selfattn_bio.interpret.interactions import (
        attention_between,
        evaluate_interactions,
        relevant_sites,
    )
    from selfattn_bio.model.checkpoint import check_trained_on
    from selfattn_bio.model.lineage import check_unseen
    from selfattn_bio.scoring.scorer import check_one_input, load

    start = time.monotonic()
    run_file = read_run_file(arguments.run_file)
    if run_file.objective.kind != "binary":
        message = (
            "interactions needs objective 'binary', but the run file has "
            f"{run_file.objective.kind!r}"
        )
        raise RunFileError(message, place=str(arguments.run_file))
    settings, corpus, scorer = (
        run_file.interpret,
        Corpus.open(arguments.corpus),
        load(arguments.model),
    )
    check_one_input(scorer, "interactions")
    if corpus.alphabet.name != "dna":
        raise CorpusError(
            f"interactions needs DNA records, but the corpus has {corpus.alphabet.name}",
            place=str(arguments.corpus),
        )
    check_trained_on(arguments.model, corpus.fingerprint, sha256_of(arguments.split))
    test = test_records(corpus, arguments.split)
    positives = test[test["label"] == 1]
    letters = [corpus.letters(int(row)) for row in positives.index]
    check_unseen(arguments.model, positives, letters, corpus.alphabet, corpus.assembly)
    sites = relevant_sites(arguments.motifs, scorer, letters, settings.hit_p, settings.seed)
    _say(
        f"the model relies on {len(sites)} sites of {sites['name'].nunique()} motifs in "
        f"{sites['record'].nunique()} of {len(letters)} test positives"
    )
    table = evaluate_interactions(
        sites,
        letters,
        strands_log_odds(scorer),
        attention_between(scorer, letters),
        significance=settings.significance,
        seed=settings.seed,
    )
    with whole_file(arguments.output) as path:
        table.to_csv(path, sep="\t", index=False, float_format="%.6g", lineterminator="\n")
    _report(table)
    _say(f"wrote {arguments.output} in {time.monotonic() - start:.0f} s")


def _report(table: pd.DataFrame) -> None:
    supported = table[table["verdict"] == "supported"]
    for row in supported.to_dict("records"):
        _say(
            f"{row['name_a']} and {row['name_b']}: epistasis {row['epistasis']:+.2f} "
            f"({row['epistasis_low']:+.2f} to "
            f"{row['epistasis_high']:+.2f}), q {row['q']:.1g}, {row['records']} records, "
            f"preferred distance {row['spacing_start']:.0f} to "
            f"{row['spacing_end'] - 1:.0f} bp (q {row['spacing_q']:.1g}), "
            f"orientation {row['orientation']} (q {row['orientation_q']:.1g})"
        )
    _say(f"supported: {len(supported)} of {len(table)} pairs")


def _say(line: str) -> None:
    print(f"interactions: {line}", flush=True)

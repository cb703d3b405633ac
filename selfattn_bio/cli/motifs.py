"""Find motifs in the attributions of train and valid, and test the evidence on test records.

Seqlets are grouped into motifs by the [interpret] caller (modisco, or clusters for proteins). DNA
motifs are compared with the [interpret] database by Tomtom. On test records, the hits of each motif
are tested for enrichment in positives, for their effect on the model when their bases are shuffled,
and more (docs/interpretation_evidence.md).

Writes to OUTPUT: motifs.meme, motifs.tsv, seqlets.bed (hits in test positives that the model relies
on), discovery_seqlets.bed (the seqlets from which motifs were built) and logos/. If no motif is
found, these files have no rows.

example: selfattn-bio motifs --run-file mine.toml --corpus corpus --split split.tsv --model model \
--attribution attribution --output motifs
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio motifs`."""
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
        "--attribution",
        required=True,
        type=Path,
        metavar="DIR",
        help="attribution folder, from `explain`",
    )
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder for all output files",
    )


def run(arguments: argparse.Namespace) -> None:
    """Find motifs in the attribution folder, test the evidence, and write all files of OUTPUT."""
    from selfattn_bio.api.motifs import find_motifs
    from selfattn_bio.config import read_run_file
    from selfattn_bio.data.corpus import Corpus

    start = time.monotonic()
    motifs = find_motifs(
        read_run_file(arguments.run_file),
        Corpus.open(arguments.corpus),
        arguments.split,
        arguments.model,
        arguments.attribution,
        say=_say,
    )
    motifs.save(arguments.output)
    _report(motifs.table)
    _say(f"wrote {arguments.output / 'motifs.tsv'} in {time.monotonic() - start:.0f} s")


def _report(table: pd.DataFrame) -> None:
    from selfattn_bio.interpret.interventions import MIN_RECORDS
    from selfattn_bio.report.words import p_value

    for row in table.to_dict("records"):
        measured = (
            f"{row['effect']:+.2f} ({row['effect_low']:+.2f} to {row['effect_high']:+.2f})"
            if row["effect_records"] >= MIN_RECORDS
            else "unknown"
        )
        _say(
            f"{row['name']} {row['consensus']}: {_known(row)}{row['num_sites']} sites, "
            f"odds ratio {row['odds_ratio']:.2f} (q {p_value(row['enrichment_q'])}), "
            f"effect {measured}: {row['verdict']}"
        )
    _say(f"supported: {(table['verdict'] == 'supported').sum()} of {len(table)} motifs")


def _known(row: Mapping[Hashable, Any]) -> str:
    """Describe the match and its q value; empty if no database was used."""
    from selfattn_bio.interpret.matching import match_label
    from selfattn_bio.report.words import p_value

    return (
        f"{match_label(row) or 'no known motif'} (q {p_value(row['match_q'])}), "
        if row["match"]
        else ""
    )


def _say(line: str) -> None:
    print(f"motifs: {line}", flush=True)

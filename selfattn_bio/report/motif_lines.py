"""Summarise motifs and their evidence in lines of text, which `motifs` prints."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import pandas as pd

from selfattn_bio.display import counted
from selfattn_bio.interpret.interventions import MIN_RECORDS
from selfattn_bio.interpret.matching import match_label
from selfattn_bio.report.words import p_value


def motif_lines(table: pd.DataFrame) -> Iterator[str]:
    """Yield one line per motif of a table with evidence, and the number of supported motifs."""
    for row in table.to_dict("records"):
        measured = (
            f"{row['effect']:+.2f} ({row['effect_low']:+.2f} to {row['effect_high']:+.2f})"
            if row["effect_records"] >= MIN_RECORDS
            else "unknown"
        )
        yield (
            f"{row['name']} {row['consensus']}: {_known(row)}{counted(row['num_sites'], 'site')}, "
            f"odds ratio {row['odds_ratio']:.2f} (q {p_value(row['enrichment_q'])}), "
            f"effect {measured}: {row['verdict']}"
        )
    yield f"supported: {(table['verdict'] == 'supported').sum()} of {counted(len(table), 'motif')}"


def _known(row: Mapping[Hashable, Any]) -> str:
    """Describe the match and its q value; empty if no database was used."""
    if not row["match"]:
        return ""
    return f"{match_label(row) or 'no known motif'} (q {p_value(row['match_q'])}), "

"""Build the tables of motifs and of pairs of motifs for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from selfattn_bio.evidence.records import MIN_RECORDS
from selfattn_bio.motifs.matching import match_label
from selfattn_bio.report import words
from selfattn_bio.report.tables import Cell, Cells, Row, Table, estimate

UNLINKED = Markup("<b>{name}</b><br><code>{consensus}</code>")
LINKED = Markup('<a href="#card-{number}"><b>{name}</b></a><br><code>{consensus}</code>')
MUTED = Markup('<span class="muted">{}</span>')
VERDICT = Markup('<span class="verdict {0}">{0}</span>')
Q = "q\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"


def motif_table(motifs: Sequence[Mapping[Any, Any]], unmatched: str, has_cards: bool) -> Table:
    """Return one row per motif.

    Parameters
    ----------
    motifs
        Rows of `cards.motif_rows`.
    unmatched
        Text for motifs without a match.
    has_cards
        Whether the page has a card for each motif. The table then links to the cards, and the
        search box filters both.
    """
    has_several = len({motif["target"] for motif in motifs}) > 1
    rows = []
    for number, motif in enumerate(motifs, 1):
        name = (LINKED if has_cards else UNLINKED).format(number=number, **motif)
        sites = f"{motif['num_sites']} sites" + f", for {motif['target']}" * has_several
        cells: Cells = {
            "logo": Markup(motif["logo"]),
            "motif": Cell(name, sites, motif["name"]),
            "match": _match(motif, unmatched),
            "enrichment": _enrichment(motif),
            "effect": _effect(motif),
            "verdict": Cell(VERDICT.format(motif["verdict"]), motif["shortfall"], number),
        }
        rows.append(Row(cells, search=motif["search"] if has_cards else ""))
    return Table(rows)


def _match(motif: Mapping[Any, Any], unmatched: str) -> Cell:
    q = f"{Q}{words.p_value(motif['match_q'])}"
    if motif["label"]:
        return Cell(motif["label"], q, motif["match"])
    nearest = f"nearest: {motif['match']}, {q}" if motif["match"] else ""
    return Cell(MUTED.format(unmatched), nearest, "")


def _enrichment(motif: Mapping[Any, Any]) -> Cell:
    q = f"{Q}{words.p_value(motif['enrichment_q'])}"
    if pd.notna(motif["records"]):
        return Cell(
            f"mean {words.figure(motif['difference'], 2, True)} {motif['unit']}",
            f"{motif['records_with_hit']:.0f} of {motif['records']:.0f} records; {q}",
            motif["difference"],
        )
    return Cell(
        words.odds(motif),
        f"{motif['positives_with_hit']:.0f} of {motif['positives']:.0f} positives, "
        f"{motif['negatives_with_hit']:.0f} of {motif['negatives']:.0f} negatives; {q}",
        motif["odds_ratio"],
    )


def _effect(motif: Mapping[Any, Any]) -> Cell:
    if pd.isna(motif["effect"]):
        number = int(motif["effect_records"])
        return Cell(
            MUTED.format("not measured"),
            f"{number} record{'s' * (number != 1)} with a site; {MIN_RECORDS} are needed",
            motif["effect"],
        )
    shown = estimate(words.of_row(motif, "effect"), 2, True)
    q = f"{Q}{words.p_value(motif['effect_q'])}"
    return Cell(shown.text, f"{shown.note} {motif['unit']}; {q}", motif["effect"])


def pair_table(pairs: pd.DataFrame, motifs: pd.DataFrame | None, has_partner: bool) -> Table:
    """Return the pairs of motifs: supported pairs first, then redundant ones, then by q.

    Motifs are named with their database match if it is significant.

    Parameters
    ----------
    pairs, motifs
        interactions.tsv and motifs.tsv.
    has_partner
        Whether the motifs of a pair are in different inputs, which have no spacing.
    """
    rows = [] if motifs is None else motifs.to_dict("records")
    labels = {row["name"]: match_label(row) for row in rows}
    named = {name: f"{name} ({label})" if label else name for name, label in labels.items()}
    order = pairs["verdict"].map({"supported": 0, "redundant": 1}).fillna(2)
    ranked = pairs.assign(order=order).sort_values(["order", "q"], kind="stable")
    return Table.of(
        {
            "pair": " and ".join(named.get(pair[key], pair[key]) for key in ("name_a", "name_b")),
            "records tested": f"{pair['tested']} of {pair['records']}",
            "epistasis": estimate(words.of_row(pair, "epistasis"), 2, True),
            "q": words.p_value(pair["q"]),
            **({} if has_partner else _spacing(pair)),
            "verdict": VERDICT.format(pair["verdict"]),
        }
        for pair in ranked.to_dict("records")
    )


def _spacing(pair: Mapping[Any, Any]) -> Cells:
    """Return the cells about distance and strands of a pair in one sequence."""

    def test(name: str) -> str:
        fold = words.figure(pair[f"{name}_fold"], 1)
        return f"{fold}-fold, q = {words.p_value(pair[f'{name}_q'])}"

    return {
        "most enriched spacing, bp": Cell(
            f"{pair['spacing_start']} to {pair['spacing_end'] - 1}", test("spacing")
        ),
        "most enriched strands": Cell(pair["orientation"], test("orientation")),
        "closest pair": words.figure(pair["closest"], 2),
    }


def stability_table(motifs: pd.DataFrame) -> Table:
    """Return how many trainings found and supported each motif.

    Parameters
    ----------
    motifs
        Table of `motif_stability`.
    """
    return Table.of(
        {
            "motif": Cell(row["name"], f"of training {row['run']}" * (row["run"] > 1)),
            "consensus": Markup("<code>{}</code>").format(row["consensus"]),
            "best match": row["match"],
            "found in": f"{row['found_in']} of {row['runs']}",
            "supported in": f"{row['supported_in']} of {row['tested']}" if row["tested"] else None,
        }
        for row in motifs.to_dict("records")
    )

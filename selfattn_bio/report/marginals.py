"""Show what motifs and pairs of motifs do alone, in neutral backgrounds (`evidence.marginals`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from selfattn_bio.display import counted
from selfattn_bio.evidence.marginals import NUM_BACKGROUNDS, draw_curves
from selfattn_bio.motifs.matching import match_label
from selfattn_bio.motifs.motif_set import num_supported
from selfattn_bio.report import words
from selfattn_bio.report.figures import Drawing, draw_figure
from selfattn_bio.report.results import Results

SIZE = (3.6, 2.0)  # inches


def marginal_section(results: Results, folder: Path) -> dict[str, Any]:
    """Return what the section shows, and draw its figures to a folder."""
    return {
        "num_backgrounds": NUM_BACKGROUNDS,
        "marginal_sentence": position_sentence(results.motifs),
        "marginal_figures": list(_position_figures(results, folder)),
        "distance_sentence": distance_sentence(results.interactions),
        "distance_figures": list(_distance_figures(results, folder)),
    }


def _position_figures(results: Results, folder: Path) -> Iterator[Drawing]:
    """Draw the effect of supported motifs alone by position; of all motifs if none is supported."""
    curves, motifs = results.marginals, results.motifs
    if curves is None or motifs is None:
        return
    has_supported = (motifs["verdict"] == "supported").any()
    for row in motifs.sort_values("marginal", ascending=False).to_dict("records"):
        own = curves[curves["name"] == row["name"]]
        if len(own) and (row["verdict"] == "supported" or not has_supported):
            name, title = f"marginal_{row['name']}", f"{row['name']} {match_label(row)}".strip()
            paint, finding = partial(draw_curves, own), f"Mean effect {_mean(row)}."
            yield draw_figure(name, title, _position_peak(row), "", paint, folder, SIZE, finding)


def _distance_figures(results: Results, folder: Path) -> Iterator[Drawing]:
    """Draw the epistasis of each tested pair of motifs by distance."""
    curves, pairs = results.distances, results.interactions
    if curves is None or pairs is None:
        return
    for number, row in enumerate(pairs.to_dict("records")):
        own = curves[(curves["name_a"] == row["name_a"]) & (curves["name_b"] == row["name_b"])]
        if len(own):
            name, title = f"distance_{number}", f"{row['name_a']} and {row['name_b']}"
            paint, finding = partial(draw_curves, own), f"Mean epistasis {_mean(row)}."
            yield draw_figure(name, title, _distance_peak(row), "", paint, folder, SIZE, finding)


def _mean(row: Mapping[Any, Any]) -> str:
    return words.estimate(words.of_row(row, "marginal"), 2, sign=True)


def position_sentence(motifs: pd.DataFrame | None) -> str:
    """State which motifs change the prediction alone, in neutral backgrounds.

    It is empty if that was not measured.

    Parameters
    ----------
    motifs
        motifs.tsv, or None if there was no search.
    """
    if motifs is None or "marginal" not in motifs:
        return ""
    kind = "Supported motifs" if num_supported(motifs) else "Motifs"
    rows = motifs[(motifs["verdict"] == "supported") | (kind == "Motifs")].dropna(subset="marginal")
    if rows.empty:
        return ""
    raising, lowering = (
        int((rows["marginal_low"] > 0).sum()),
        int((rows["marginal_high"] < 0).sum()),
    )
    by_position, by_strand = (
        int((rows[f"marginal_{test}_q"] < words.SIGNIFICANCE).sum())
        for test in ("position", "strand")
    )
    rest = (
        " The others have an effect only together with others, or none."
        if raising + lowering < len(rows)
        else ""
    )
    return (
        f"{kind} that raise the prediction alone, in neutral backgrounds: {raising} of "
        f"{len(rows)}; that lower it: {lowering}. The effect depends on the position for "
        f"{by_position} and on the strand for {by_strand}.{rest}"
    )


def _position_peak(row: Mapping[Any, Any]) -> str:
    """Describe where a motif has its largest effect, from its row of motifs.tsv."""
    strand = "" if pd.isna(row["marginal_strand_q"]) else f" on the {row['marginal_strand']} strand"
    tests = f"on the position: q = {words.p_value(row['marginal_position_q'])}"
    if strand:
        tests += f", on the strand: q = {words.p_value(row['marginal_strand_q'])}"
    return (
        f"Largest if the site starts at {row['marginal_start'] + 1:.0f} to "
        f"{row['marginal_end']:.0f}{strand} ({words.figure(row['marginal_peak'], 2, True)}). "
        f"Dependence {tests}."
    )


def distance_sentence(pairs: pd.DataFrame | None) -> str:
    """State for which pairs of motifs the distance matters; empty if not measured.

    Parameters
    ----------
    pairs
        interactions.tsv, or None if pairs were not tested.
    """
    if pairs is None or "marginal" not in pairs or not (number := int(pairs["marginal"].count())):
        return ""
    uneven = int((pairs["marginal_distance_q"] < words.SIGNIFICANCE).sum())
    return (
        f"Inserted together into neutral backgrounds, the epistasis of {uneven} of "
        f"{counted(number, 'pair')} depends on the distance between the sites."
    )


def _distance_peak(row: Mapping[Any, Any]) -> str:
    """Describe where a pair has its largest epistasis, from its row of interactions.tsv."""
    return (
        f"Largest at {row['marginal_distance']:.0f} bp "
        f"({words.figure(row['marginal_peak'], 2, True)}). Dependence on the distance: "
        f"q = {words.p_value(row['marginal_distance_q'])}."
    )

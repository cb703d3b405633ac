"""Figures of the report with captions, and those of motifs and attributions.

Figures are drawn once, as SVG for the page and as files. Each is one phone screen wide.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from selfattn_bio.attribution.rules import importance
from selfattn_bio.display import counted
from selfattn_bio.evidence.associations import CONFIDENCE
from selfattn_bio.evidence.interactions import CLEAR, UNCLEAR
from selfattn_bio.evidence.marginals import NUM_BACKGROUNDS, draw_curves
from selfattn_bio.motifs.matching import match_label
from selfattn_bio.motifs.motif_set import num_supported
from selfattn_bio.report import plots, words
from selfattn_bio.report.results import Results, site_positions
from selfattn_bio.report.words import percent
from selfattn_bio.sequence.alphabet import get_alphabet

SIZE = (3.6, 2.9)  # inches; 346 px, the width of a phone
MAX_CURVES = 5  # in one plot; there are six colours
LOW = (3.6, 2.0)  # inches; of curves


@dataclass(frozen=True)
class Drawing:
    """A figure of the report.

    Attributes
    ----------
    name, title
        Name of its files, and title on the page.
    finding, means, not_means
        The caption: the conclusion from these data, how to read the figure, and its limits.
    svg
        The figure.
    is_wide
        Whether it is as wide as the page.
    """

    name: str
    title: str
    means: str
    not_means: str
    svg: str
    finding: str = ""
    is_wide: bool = False


def draw(
    name: str,
    paint: Callable[[Any], None],
    folder: Path | None = None,
    size: tuple[float, float] = SIZE,
    panels: int = 1,
) -> str:
    """Draw one figure and return it as SVG for a page.

    `paint` gets its axes; several `panels`, one above the other with the same limits, as an array.
    If `folder` is given, the figure is also written to NAME.svg and NAME.png in it.
    """
    with plots.style():
        figure = Figure(figsize=size, layout="constrained")
        paint(figure.subplots(panels, sharex=True, sharey=True))
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
        figure.set_layout_engine(None)  # the files have the layout of the page
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            figure.savefig(folder / f"{name}.png", dpi=200)
    return _inline(buffer.getvalue(), name)


def _inline(svg: str, name: str) -> str:
    """Convert an SVG document to an element of an HTML page.

    Prologue and metadata are removed, and ids get the name of the figure so that they are unique.
    """
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    # Use the reader's font instead of the one that matplotlib measured
    svg = re.sub(r"font: (\S+) [^;\"]*", r"font: \1 system-ui, sans-serif", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{name.replace("_", " ")}" ', 1)


def draw_figure(
    name: str,
    title: str,
    means: str,
    not_means: str,
    paint: Callable[[Any], None],
    folder: Path,
    size: tuple[float, float] = SIZE,
    finding: str = "",
    panels: int = 1,
) -> Drawing:
    """Draw a figure with its caption; arguments are those of `Drawing` and `draw`."""
    svg = draw(name, paint, folder, size, panels)
    return Drawing(name, title, means, not_means, svg, finding, is_wide=size[0] > 1.5 * SIZE[0])


def interpretation(results: Results, folder: Path) -> list[Drawing]:
    """Draw the evidence for the motifs, and raw attention next to attribution."""
    alphabet = get_alphabet(results.corpus["alphabet"])
    letters, axis_unit = f"{alphabet.letter}s", alphabet.unit
    drawings = [] if results.motifs is None else _effects(results.motifs, letters, folder)
    if (explained := results.explained) is not None:
        attribution = importance(explained.hypothetical)
        title = "Attribution by position"
        means = (
            "Attribution along the record, as a fraction of the total (mean over the explained "
            "records): how much the score depends on a position."
        )
        limit = "Motifs whose position varies between records are not visible in this mean."
        if explained.attention.any():  # models without attention weights have zeros
            network = " in the network, without the simple models" * bool(results.task.stack.parts)
            title = "Raw attention and attribution"
            means = (
                "Attribution and attention along the record, as fractions of the total (means over "
                "the explained records). Attribution: how much the score depends on a position. "
                f"Attention: how much attention a position receives{network}."
            )
            limit = (
                "Raw attention is not an explanation: a model can attend to positions that do not "
                "change its score. No motif or verdict is based on it."
            )
        drawings.append(
            draw_figure(
                "attention",
                title,
                means,
                limit,
                lambda ax: plots.draw_attention_and_attribution(
                    explained.attention, attribution, ax, axis_unit
                ),
                folder,
                finding=_peak(attribution, explained.records["length"]),
            )
        )
    return drawings


def _effects(motifs: pd.DataFrame, letters: str, folder: Path) -> list[Drawing]:
    """Draw the effects of the motifs, one figure per unit; numbers have different units."""
    measured = motifs[motifs["effect"].notna()]
    return [
        draw_figure(
            f"evidence_{number}" if number else "evidence",
            f"Effect of each motif on {unit}",
            f"Decrease in {unit} when the sites of a motif in test records are shuffled, minus the "
            f"decrease when nearby {letters} are shuffled. Above 0, the sites raise the "
            f"prediction; below 0, they lower it. Lines: {percent(CONFIDENCE)} intervals.",
            "The effect describes this model, not a cell. An experiment must show whether the "
            "cell also uses the motif.",
            partial(plots.draw_evidence, own),
            folder,
            (SIZE[0], 1.0 + 0.16 * len(own)),
            _changes(own),
        )
        for number, (unit, own) in enumerate(measured.groupby("unit", sort=False))
    ]


def _changes(measured: pd.DataFrame) -> str:
    """State how many motifs raise and lower the prediction, by the intervals of their effects."""
    raising = int((measured["effect_low"] > 0).sum())
    lowering = int((measured["effect_high"] < 0).sum())
    number = raising + lowering
    counts = ((raising, "raise"), (lowering, "lower"))
    each = ", ".join(f"{of} {verb}{'s' * (of == 1)} it" for of, verb in counts if of)
    return (
        f"Of {counted(len(measured), 'motif')}, {number} change{'s' * (number == 1)} the "
        f"prediction (interval without 0){f': {each}' if each else ''}."
    )


def _peak(attribution: NDArray[np.floating[Any]], lengths: pd.Series) -> str:
    """State where a tenth of the positions has the highest attribution, and its fraction.

    Positions are 1-based, and fewer records have the last ones. The result is empty without
    attribution, as for methods based on attention.
    """
    mean = np.asarray(attribution, dtype=np.float64).mean(axis=0)
    if not mean.any():
        return ""
    stretches = sliding_window_view(np.arange(len(mean)), max(1, round(len(mean) / 10)))
    best = max(stretches, key=lambda stretch: mean[stretch].sum())
    even = (np.arange(len(mean)) < np.asarray(lengths)[:, None]).mean(axis=0)
    where = (
        f"positions {best[0] + 1} to {best[-1] + 1}" if len(best) > 1 else f"position {best[0] + 1}"
    )
    return (
        f"Attribution is highest at {where}: {percent(mean[best].sum() / mean.sum())} of the total "
        f"({percent(even[best].sum() / even.sum())} if it were even)."
    )


def motif_profiles(results: Results, motifs: pd.DataFrame) -> dict[str, str]:
    """Draw the positions of the sites of each motif along the test records.

    Positions are the middles of sites; the tested window is shaded. Motifs without a site are left
    out.

    Parameters
    ----------
    motifs
        Table with name, window_start and window_end. Negative values count from the end; they are
        shaded only if all records have the same length.
    """
    test = results.records[results.records["split"] == "test"]
    found = site_positions(results.sites, test)
    found = found.assign(middle=(found["position"] + found["end"]) // 2)
    length = int(test["length"].max())
    windows = motifs.set_index("name")[["window_start", "window_end"]]
    drawings = {}
    for i, (name, group) in enumerate(found.groupby("name")):
        window = windows.loc[name].to_numpy(dtype=float)
        if window[0] < 0:
            window = window + (length if (test["length"] == length).all() else np.nan)
        paint = partial(plots.draw_position_profile, group["middle"], length, tuple(window))
        drawings[str(name)] = draw(f"profile_{i}", paint, size=(3.2, 1.0))
    return drawings


def marginal_section(results: Results, folder: Path) -> dict[str, Any]:
    """Return what the section shows, and draw its figures to a folder."""
    return {
        "num_backgrounds": NUM_BACKGROUNDS,
        "marginal_sentence": position_sentence(results.motifs),
        "marginal_figures": list(_position_figures(results, folder)),
        "distance_sentence": distance_sentence(results.interactions),
        "distance_figures": list(_distance_figures(results, folder, *CLEAR)),
        "unclear_figures": list(_distance_figures(results, folder, UNCLEAR)),
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
            title += f" of {row['target']}" * (len({*motifs["target"]}) > 1)
            paint, finding = partial(draw_curves, own), f"Mean effect {_mean(row)}."
            yield draw_figure(name, title, _position_peak(row), "", paint, folder, LOW, finding)


def _distance_figures(results: Results, folder: Path, *verdicts: str) -> Iterator[Drawing]:
    """Draw the epistasis of each tested pair of motifs with one of these verdicts by distance."""
    curves, pairs = results.distances, results.interactions
    if curves is None or pairs is None:
        return
    for number, row in enumerate(pairs.to_dict("records")):
        own = curves[(curves["name_a"] == row["name_a"]) & (curves["name_b"] == row["name_b"])]
        if len(own) and row["verdict"] in verdicts:
            name, title = f"distance_{number}", f"{row['name_a']} and {row['name_b']}"
            title += f" of {row.get('target')}" * (len({*pairs.get("target", ())}) > 1)
            paint, finding = partial(draw_curves, own), f"Mean epistasis {_mean(row)}."
            yield draw_figure(name, title, _distance_peak(row), "", paint, folder, LOW, finding)


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
    raising = int((rows["marginal_low"] > 0).sum())
    lowering = int((rows["marginal_high"] < 0).sum())
    by_position, by_strand = (
        int((rows[f"marginal_{test}_q"] < words.SIGNIFICANCE).sum())
        for test in ("position", "strand")
    )
    rest = ""
    if raising + lowering < len(rows):
        rest = " The others have an effect only together with others, or none."
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


def pair_sentence(pairs: pd.DataFrame | None) -> str:
    """Count the verdicts on pairs of motifs, and what inconclusive pairs lack; empty without pairs.

    Parameters
    ----------
    pairs
        interactions.tsv, or None if pairs were not tested.
    """
    if pairs is None or pairs.empty:
        return ""
    found = Counter(pairs["verdict"])
    counts = (f"{found[verdict]} {verdict}" for verdict in (*CLEAR, UNCLEAR))
    lacks = pairs.get("lacks", pd.Series(dtype=str)).str.split("; ").explode().value_counts()
    reasons = "; ".join(f"{reason}: {number}" for reason, number in lacks.items() if reason)
    tested = f"{counted(len(pairs), 'pair')} of motifs tested: {', '.join(counts)}"
    return f"{tested}{f' ({reasons})' if reasons else ''}."


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
        f"Largest at {row['marginal_distance']:.0f} positions "
        f"({words.figure(row['marginal_peak'], 2, True)}). Dependence on the distance: "
        f"q = {words.p_value(row['marginal_distance_q'])}."
    )

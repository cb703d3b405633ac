"""Figures of motifs and attributions, and sentences about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from operator import or_
from typing import Any

import numpy as np
import pandas as pd

from selfattn_bio.arrays import Floats, Scores
from selfattn_bio.attribution.rules import importance
from selfattn_bio.config import PoolingHeadSection, RunFile
from selfattn_bio.display import counted, position_range, short_names
from selfattn_bio.evidence.associations import CONFIDENCE
from selfattn_bio.evidence.interactions import CLEAR, UNCLEAR
from selfattn_bio.evidence.marginals import NUM_BACKGROUNDS, draw_curves
from selfattn_bio.evidence.verdicts import NOT_ENRICHED, NOT_MEASURED, acts_alone, why_alone
from selfattn_bio.motifs.families import match_label
from selfattn_bio.motifs.motif_set import num_supported
from selfattn_bio.report import plots, words
from selfattn_bio.report.results import Results, site_positions
from selfattn_bio.report.tested import MAX_CURVES, SIZE, Drawing, Tested, draw
from selfattn_bio.report.words import percent
from selfattn_bio.sequence.alphabet import get_alphabet

HIGHER = 1.1  # how much higher a peak must be if positions count from the end
LOW = (3.6, 2.0)  # inches; of curves
ONE_PART = PoolingHeadSection(parts=1)
EVERYWHERE = {  # `dependence` of an effect that is nowhere less than half of its strongest
    "position": "is present at all positions, but larger at some",
    "strand": "is present on both strands, but larger on one",
    "distance": "is present at all distances, but larger at some",
}


def interpretation(tested: Tested) -> list[Drawing]:
    """Draw the evidence for the motifs, and raw attention next to attribution."""
    results, alphabet = tested.results, get_alphabet(tested.results.corpus["alphabet"])
    drawings = _effects(tested, f"{alphabet.letter}s")
    if (explained := results.explained) is not None:
        attribution, lengths = importance(explained.hypothetical), explained.records["length"]
        groups = {
            str(name): (attribution[rows], lengths.iloc[rows])
            for name, rows in explained.records.groupby("target", sort=False).indices.items()
        }
        is_several = len(groups) > 1
        peaks = {name: _peak(*of, f" for {name}" * is_several) for name, of in groups.items()}
        attended = ""
        if explained.attention.any():  # models without attention weights have zeros
            network = " in the network, without the simple models" * bool(results.task.stack.parts)
            attended = (
                f" Attention: how much attention a position receives{network}. Raw attention is "
                "not an explanation: a model can attend to positions that do not change its score. "
                "No motif or verdict is based on it."
            )
        highest = sorted(peaks, key=lambda name: -peaks[name][0])
        for side in dict.fromkeys(peaks[name][1] for name in highest):
            shown = [name for name in highest if peaks[name][1] == side][:MAX_CURVES]
            means = [plots.by_position(*groups[name], side) for name in shown]
            labels = short_names(shown) if is_several else ["attribution"]
            curves = dict(zip(labels, means, strict=True))
            if attended:
                curves["raw attention"] = plots.by_position(explained.attention, lengths, side)
            drawing = tested.show(
                f"attention_{side}",
                f"Attribution by position, from the {side}",
                f"Attribution: how much the score depends on a position.{attended} Values are "
                "multiples of the mean of each record, averaged over the records explained for an "
                "output. There is a curve for each output with a higher peak if positions count "
                f"from the {side} of the records, or for the {MAX_CURVES} with the highest peaks. "
                "Peaks are means of a twentieth of the positions. Positions that fewer than "
                f"{percent(plots.MIN_REACHED)} of the records have are left out.",
                "Motifs whose position varies between records are not visible in this mean.",
                partial(plots.draw_along, curves, label=f"from the {side} ({alphabet.unit})"),
                finding=" ".join(peaks[name][2] for name in shown if peaks[name][0]),
            )
            drawings.append(drawing)
    return drawings


def _effects(tested: Tested, letters: str) -> list[Drawing]:
    """Draw the effects of the motifs, one figure per unit; numbers have different units."""
    if (motifs := tested.results.motifs) is None:
        return []
    measured = motifs[motifs["effect"].notna()]
    return [
        tested.show(
            f"evidence_{number}" if number else "evidence",
            f"Effect of each motif on {unit}",
            f"Decrease in {unit} when the sites of a motif in test records are shuffled, minus the "
            f"decrease when nearby {letters} are shuffled. Above 0, the sites raise the "
            f"prediction; below 0, they lower it. Lines: {percent(CONFIDENCE)} intervals.",
            "The effect describes this model, not a cell. An experiment must show whether the "
            "cell also uses the motif.",
            partial(plots.draw_evidence, own),
            size=(SIZE[0], 1.0 + 0.16 * (len(own) + own["target"].nunique())),
            finding=_changes(own),
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


def _peak(attribution: Scores, lengths: pd.Series, output: str = "") -> tuple[float, str, str]:
    """Find the twentieth of the positions with the highest attribution in a sliding window.

    Returns
    -------
    Their mean as a multiple of that of the record, the side from which these positions count, and a
    sentence with the words `output`, such as " for liver". The side is "end" if records differ in
    length and the peak is higher there by the factor `HIGHER`, otherwise "start".
    """
    found = []
    for side in ("start", "end")[: lengths.nunique()]:
        means = plots.by_position(attribution, lengths, side)
        width = max(1, round(len(means) / 20))
        windows = means.rolling(width).mean().round(9)
        last: Any = windows.idxmax()
        found.append((windows[last], side, position_range(last - width + 1, last)))
    level, side, positions = found[-1] if found[-1][0] >= HIGHER * found[0][0] else found[0]
    sentence = f"Attribution{output} is highest at {positions}: {level:.2f} times the mean."
    return level, side, sentence


def motif_profiles(results: Results, motifs: pd.DataFrame) -> dict[str, str]:
    """Draw the positions of the sites of each motif along the test records.

    Positions are the middles of sites; the tested window is shaded. They count from the end of the
    records, as negative numbers, if the window does. Motifs without a site are left out.

    Parameters
    ----------
    motifs
        Table with name, window_start and window_end.
    """
    test = results.records[results.records["split"] == "test"]
    found = site_positions(results.sites, test)
    lengths = test["length"].to_numpy(dtype=int)
    found = found.assign(middle=(found["position"] + found["end"]) // 2)
    windows = motifs.set_index("name")[["window_start", "window_end"]]
    drawings = {}
    for i, (name, group) in enumerate(found.groupby("name")):
        start, end = map(float, windows.loc[name].to_numpy())
        middles, ends, window = group["middle"] + 1, (1, lengths.max()), (start + 1, end)
        if start < 0:
            middles = group["middle"] - lengths[group["record"].astype(int)]
            ends, window = (-lengths.max(), -1), (start, end - 1)
        paint = partial(plots.draw_position_profile, middles, ends, window)
        drawings[str(name)] = draw(f"profile_{i}", paint, size=(3.2, 1.0))
    return drawings


def marginal_section(tested: Tested) -> dict[str, Any]:
    """Return what the section shows, and draw its figures to a folder."""
    return {
        "num_backgrounds": NUM_BACKGROUNDS,
        "marginals": position_counts(tested.results),
        "pools_positions": pools_positions(tested.results.task),
        "marginal_figures": list(_position_figures(tested)),
        "distance_count": distance_count(tested.results),
        "distance_figures": list(_distance_figures(tested, *CLEAR)),
        "unclear_figures": list(_distance_figures(tested, UNCLEAR)),
    }


def _shown_alone(results: Results) -> list[dict[Any, Any]]:
    """Return the motifs of the section, largest effect alone first.

    These are all measured ones if none is supported. Otherwise, they are the supported ones, those
    that lack only enrichment or the measurement of the effect, and those with an `alone_note`.
    """
    if results.motifs is None or results.marginals is None:
        return []
    is_any_supported = num_supported(results.motifs)
    measured = results.motifs[results.motifs["name"].isin(results.marginals["name"])]
    return [
        row
        for row in measured.sort_values("marginal", ascending=False).to_dict("records")
        if not is_any_supported
        or row["verdict"] == "supported"
        or row["lacks"] in (*NOT_ENRICHED, NOT_MEASURED)
        or alone_note(row, results.task)
    ]


def _position_figures(tested: Tested) -> Iterator[Drawing]:
    """Draw the effect alone by position of each motif that is shown."""
    curves, motifs = tested.results.marginals, tested.results.motifs
    if curves is None or motifs is None:
        return
    for row in _shown_alone(tested.results):
        own = curves[curves["name"] == row["name"]]
        name, title = f"marginal_{row['name']}", f"{row['name']} {match_label(row)}".strip()
        title += f" of {row['target']}" * (len({*motifs["target"]}) > 1)
        paint, means = partial(draw_curves, own), position_peak(row, own["end"].max())
        finding = f"Mean effect {marginal_mean(row)}."
        yield tested.show(name, title, means, "", paint, size=LOW, finding=finding)


def _distance_figures(tested: Tested, *verdicts: str) -> Iterator[Drawing]:
    """Draw the epistasis of each tested pair of motifs with one of these verdicts by distance."""
    curves, pairs = tested.results.distances, tested.results.interactions
    if curves is None or pairs is None:
        return
    for number, row in enumerate(pairs.to_dict("records")):
        own = curves[(curves["name_a"] == row["name_a"]) & (curves["name_b"] == row["name_b"])]
        if len(own) and row["verdict"] in verdicts:
            name, title = f"distance_{number}", f"{row['name_a']} and {row['name_b']}"
            title += f" of {row.get('target')}" * (len({*pairs.get("target", ())}) > 1)
            peak = _dependence(row, "distance", f"at {row['marginal_distance']:.0f} positions")
            paint, finding = partial(draw_curves, own), f"Mean epistasis {marginal_mean(row)}."
            yield tested.show(name, title, peak, "", paint, size=LOW, finding=finding)


def marginal_mean(row: Mapping[Any, Any]) -> str:
    """Format the mean effect of a motif alone, or the mean epistasis of a pair."""
    return words.estimate(words.of_row(row, "marginal"), 2, sign=True)


def position_counts(results: Results) -> dict[str, Any] | None:
    """Count the shown motifs that change the prediction alone, in neutral backgrounds.

    Returns
    -------
    The values for the sentence in the template, or None if no motif is shown.
    """
    rows, curves = _shown_alone(results), results.marginals
    if not rows or curves is None:
        return None
    changes = [row["marginal_low"] > 0 or row["marginal_high"] < 0 for row in rows]
    tests = ("position", "strand")
    depends = [any(dependence(row, test) for test in tests) for row in rows]
    return {
        "number": len(rows),
        "others": len(rows) - sum(map(or_, changes, depends)),
        "raising": sum(row["marginal_low"] > 0 for row in rows),
        "lowering": sum(row["marginal_high"] < 0 for row in rows),
        "by_position": _dependent(rows, "position", "{consensus}"),
        "by_strand": _dependent(rows, "strand", "{consensus}"),
        "lengths": " or ".join(map(str, sorted(_background_lengths(curves, results.ppms)))),
    }


def pools_positions(task: RunFile) -> bool:
    """Return whether the network pools over all positions, and hardly knows where a motif is.

    The other kind of head has a [CLS] vector at the start, which knows the distance to each token.
    With a causal pattern, a token can tell how many are before it.
    """
    encoder: Any = getattr(task.model, "encoder", task.model)  # of the first of two inputs
    is_pooled = task.objective.is_per_sequence and getattr(encoder, "head", None) == ONE_PART
    return is_pooled and encoder.position.effect != "absolute" and not encoder.pattern.causal


def _background_lengths(curves: pd.DataFrame, ppms: Mapping[str, Floats]) -> set[int]:
    """Return the lengths of the backgrounds; those of several outputs may differ.

    The last start of a site, and its width, reach their end.
    """
    ends = curves.groupby("name")["end"].max()
    return {end + len(ppms[str(name)]) - 1 for name, end in ends.items()}


def dependence(row: Mapping[Any, Any], test: str) -> str:
    """Return how an effect alone depends on the position, strand or distance (`test`).

    Any word acts a little more at some positions of a network than at others, so a significant test
    is not enough. The strongest effect, and its difference to the weakest, must be at least the
    smallest effect that counts; otherwise the result is empty. The effect "depends on" the test if
    the weakest is less than half of the strongest, and is present `EVERYWHERE` if not.
    """
    strongest = row[f"marginal_{test}_strongest"]
    span = abs(strongest - row[f"marginal_{test}_weakest"])
    is_clear = row[f"marginal_{test}_q"] < words.SIGNIFICANCE
    if not is_clear or min(span, abs(strongest)) < row["min_effect"]:
        return ""
    return f"depends on the {test}" if span > abs(strongest) / 2 else EVERYWHERE[test]


def _dependent(rows: Sequence[Mapping[Any, Any]], test: str, label: str) -> str:
    """Count and name the motifs or pairs with each `dependence` of their effect, with its range."""
    named: dict[str, list[str]] = {f"depends on the {test}": [], EVERYWHERE[test]: []}
    for row in rows:
        if how := dependence(row, test):
            named[how].append(f"{label.format_map(row)} ({_range(row, test)})")
    strong, weak = (f"{len(of)}: {', '.join(of)}." if of else "none." for of in named.values())
    return f"{strong} It {EVERYWHERE[test]}, for {weak}" if weak != "none." else strong


def _range(row: Mapping[Any, Any], test: str) -> str:
    """Return both extremes, the stronger last. The names of equal effects may be exchanged."""
    ends = sorted((row[f"marginal_{test}_{end}"] for end in ("weakest", "strongest")), key=abs)
    return " to ".join(words.figure(end, 2, sign=True) for end in ends)


def _dependence(row: Mapping[Any, Any], test: str, peak: str) -> str:
    """Describe the `dependence` of an effect alone, and if there is one, where its `peak` is."""
    found = f"{_range(row, test)} (q = {words.p_value(row[f'marginal_{test}_q'])})"
    if how := dependence(row, test).removeprefix("is "):
        return f"{how.capitalize()}: {found}. Largest {peak}."
    return f"Depends little or not at all on the {test}: {found}."


def position_peak(row: Mapping[Any, Any], end: float = np.nan) -> str:
    """Describe where a motif has its largest effect, from its row of motifs.tsv.

    `end` is that of its last interval of start positions in marginals.tsv.
    """
    at_end = ", at the end of the sequence" if row["marginal_end"] == end else ""
    starts = position_range(row["marginal_start"] + 1, row["marginal_end"])
    by_position = _dependence(row, "position", f"if the site starts at {starts}{at_end}")
    if pd.isna(row["marginal_strand_q"]):
        return by_position
    by_strand = _dependence(row, "strand", f"on the {row['marginal_strand']} strand")
    return f"{by_position} {by_strand}"


def alone_note(row: Mapping[Any, Any], task: RunFile) -> str:
    """Explain a motif that lacks support although it changes the score alone; empty for others.

    Its effect may be missed for the reasons of `why_alone`, or its enrichment because only some
    positions matter. Arguments are those of `cards.findings`.
    """
    lacking = row["lacks"].removesuffix(f"; {NOT_MEASURED}")
    if acts_alone(row, task.interpret.significance):
        reason = why_alone(row)
    elif lacking in NOT_ENRICHED and dependence(row, "position") == "depends on the position":
        reason = "Sites where its effect is small weaken the test of enrichment."
    else:
        return ""
    change = f"Inserted alone it changes {row['unit']} by {marginal_mean(row)}"
    return f"{reason} {change}, compared with no site. {position_peak(row)}"


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
    # the number of units differs between pairs
    texts = pairs["lacks"].str.replace(r"only \d+ of", "fewer than", regex=True)
    lacks = texts.str.split("; ").explode().value_counts()
    reasons = "; ".join(f"{reason}: {number}" for reason, number in lacks.items() if reason)
    tested = f"{counted(len(pairs), 'pair')} of motifs tested: {', '.join(counts)}"
    return f"{tested}{f' ({reasons})' if reasons else ''}."


def distance_count(results: Results) -> str:
    """Name the pairs of motifs for which the distance matters; empty if not measured."""
    pairs = results.interactions
    if pairs is None or not pairs["marginal"].count():
        return ""
    return _dependent(pairs.to_dict("records"), "distance", "{name_a} and {name_b}")

"""Convert the values of metrics.json and motifs.tsv to sentences that their intervals support."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from selfattn_bio.arrays import Floats
from selfattn_bio.baselines import BASELINES
from selfattn_bio.config import AnySplit, RunFile, enlarge_by
from selfattn_bio.config.derived import NETWORK, PARTNER, STACKED
from selfattn_bio.display import counted, decimals
from selfattn_bio.evaluation.metrics import title_of
from selfattn_bio.evaluation.units import MIN_UNITS, growth
from selfattn_bio.evaluation.verdict import ClassifierSize, caveat, sizes_of, verdict
from selfattn_bio.evidence.records import MIN_RECORDS
from selfattn_bio.evidence.verdicts import NOT_ENRICHED
from selfattn_bio.model.checkpoint import StackWeights
from selfattn_bio.motifs.families import match_label
from selfattn_bio.motifs.motif_set import num_supported
from selfattn_bio.objectives import Objective
from selfattn_bio.objectives.binary import Binary

ObjectiveOrClass = Objective[Any] | type[Objective[Any]]
Sentence = tuple[str, str, str]  # beginning, finding (to be emphasised), and numbers
MOST_LACKING = 5  # outputs without a supported motif that are named
LEAST_RECORDS = MIN_RECORDS / 10  # with fewer, a test split ten times as large would be too small
HALVES = "jsd_replicates"  # depends on the data only
SIGNIFICANCE = 0.05  # p below which groups differ
MISSING, MINUS, RHO = "\N{EN DASH}", "\N{MINUS SIGN}", "\N{GREEK SMALL LETTER RHO}"
UNTRAINED = ("random_init", "random_embedding")  # controls of a pretrained model
TITLES = {  # of classifiers
    **{name: kind.title for name, kind in BASELINES.items()},
    **{f"{PARTNER}{name}": f"{kind.title} of the second input" for name, kind in BASELINES.items()},
    NETWORK: "network of this model alone",
    "unigram": "token frequencies",
    "markov": "Markov chain",
    "shuffled": "control: shuffled labels",
    "random_init": "the same network from random weights",
    "random_embedding": "the same network, random and frozen",
}
GROUPS = {  # columns keep their names
    **{"gc": "GC content", "length": "length", "begins_with_m": "first residue"},
    "chrom": "chromosome",
}


def classifier_name(name: str) -> str:
    """Return the name of a classifier in metrics.json, with its title if it has one.

    For example `kmer6_linear (linear model of 6-mers)`. Variants have no title.
    """
    title = "with the same simple models" if name.endswith(STACKED) else TITLES.get(name)
    return f"{name} ({title})" if title else name


def figure(value: float | None, digits: int = 3, sign: bool = False) -> str:
    """Format a number as `0.874` or `+0.027`; a dash if missing. Never returns "-0.000"."""
    if value is None or pd.isna(value):
        return MISSING
    rounded = round(float(value), digits) + 0.0
    return f"{rounded:{'+' if sign and rounded else ''}.{digits}f}".replace("-", MINUS)


def interval(estimate: Mapping[str, Any], digits: int = 3, sign: bool = False) -> str:
    """Format an interval as `0.864 to 0.884`, with the digits of `decimals`."""
    low, high = estimate["low"], estimate["high"]
    digits = decimals(digits, low, high)
    return f"{figure(low, digits, sign)} to {figure(high, digits, sign)}"


def estimate(of: Mapping[str, Any], digits: int = 3, sign: bool = False) -> str:
    """Format a metric as `0.871 (0.861 to 0.880)`, or `0.871` without an interval."""
    spread = f" ({interval(of, digits, sign)})" if pd.notna(of.get("low")) else ""
    return f"{figure(of['value'], decimals(digits, of.get('low'), of.get('high')), sign)}{spread}"


def of_row(row: Mapping[Any, Any], name: str) -> dict[str, Any]:
    """Return a value of a table and its interval, as in metrics.json."""
    return {"value": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}


def calibration(entry: Mapping[str, Any]) -> str:
    """Describe the calibration of probabilities from an entry of metrics.json."""
    ece, slope = entry["ece"], entry["calibration_slope"]
    first = f"ECE {figure(ece['value'])} ({figure(ece['floor'])} if perfectly calibrated)"
    if slope["value"] is None:
        return f"{first}, calibration slope undefined, because scores separate the classes"
    return (
        f"{first}, calibration slope {estimate(slope, 2)}, intercept "
        f"{estimate(entry['calibration_intercept'], 2, sign=True)}"
    )


def gap(found: Mapping[str, float]) -> str:
    """Describe the gap between the best and the worst group, if it exceeds chance."""
    if found["p"] >= SIGNIFICANCE:
        return f"no gap beyond chance (p = {p_value(found['p'])})"
    shrunk = f"{figure(found['shrunk'])} after shrinkage"
    return f"gap {figure(found['value'])} ({shrunk}, p = {p_value(found['p'])})"


def deviation(what: str, of: Mapping[str, Any], expected: float, below: str, above: str) -> str:
    """State that something is `below` or `above`, if its interval excludes the expected value."""
    if of["low"] is None or of["low"] <= expected <= of["high"]:
        return ""
    return f" {what} are {below if of['high'] < expected else above}."


def percent(fraction: float, digits: int = 0) -> str:
    """Format a fraction as `95 %`."""
    return f"{100 * fraction:.{digits}f} %"


def p_value(p: float | None) -> str:
    """Format a p or q value as `0.03` or `2e-08`; a dash if missing.

    Zero is formatted as `1e-300 or less`, because it is below the range of floats.
    """
    if p is None or pd.isna(p):
        return MISSING
    return f"{p:.2g}" if p > 0 else "1e-300 or less"


def ranked(
    of_split: Mapping[str, Any], objective: ObjectiveOrClass
) -> list[tuple[str, str, dict[str, Any]]]:
    """Return role, name and metrics of each classifier of a split.

    The model is first, then the baselines with the best main metric first, then the controls.
    Baselines whose metric is undefined are last.
    """
    sign = -1 if objective.higher_is_better else 1

    def order(item: tuple[str, Any]) -> float:
        value = item[1][objective.main_metric]["value"]
        return np.inf if value is None else sign * value

    return [
        ("model", "model", of_split["model"]),
        *(("baseline", *item) for item in sorted(of_split["baselines"].items(), key=order)),
        *(("control", *item) for item in of_split["controls"].items()),
    ]


def baseline_sentence(metrics: Mapping[str, Any], objective: ObjectiveOrClass = Binary) -> Sentence:
    """Compare the model with its best baseline, both with simple models if it has a stack.

    Parameters
    ----------
    metrics
        The content of metrics.json.
    objective
        The objective of the model, or its class.
    """
    differences = metrics["differences"]
    if (best := differences["best_baseline"]) is None:
        is_run = bool(differences["baselines"])
        why = "its metric is undefined for the test records" if is_run else "no baseline was run"
        return "The model was", "not compared", f"with a baseline, because {why}."
    is_saved = best.removeprefix(PARTNER) in BASELINES and "privacy" not in metrics
    return _comparison(
        metrics,
        objective,
        ("", "the model", f"its best baseline, {classifier_name(best)}"),
        differences["baselines"][best],
        sizes_of(metrics, "model", best),
        advice=f" Use the baseline, which is saved in baselines/{best}." * is_saved,
    )


def network_sentence(
    metrics: Mapping[str, Any], objective: ObjectiveOrClass, split: str
) -> Sentence:
    """Compare the network of the model with the best one of its variants, on a split.

    The parts are empty without variants, and on the test split if the model is its network, which
    is then compared with variants as with other baselines.
    """
    main, sign = objective.main_metric, 1 if objective.higher_is_better else -1
    networks = {
        name: of
        for name, of in metrics["differences"]["networks"].items()
        if of[split][main]["value"] is not None
        and (split == "valid" or of["of"] == NETWORK or of["first"])
    }
    if not networks:
        return "", "", ""
    best = min(networks, key=lambda name: sign * networks[name][split][main]["value"])
    of, sizes = networks[best], sizes_of(metrics, "model", best)
    if of["first"]:
        sizes = [ClassifierSize(size.networks // size.trainings, 1) for size in sizes]
    conditions = {
        "on validation, ": split == "valid",
        "without simple models, ": of["of"] == NETWORK,
        "with one training each, ": of["first"],
    }
    condition = "".join(text for text, applies in conditions.items() if applies)
    return _comparison(
        metrics,
        objective,
        (condition, "the network", f"the best other network, {classifier_name(best)}"),
        of[split],
        sizes,
        split,
        f" To change the model, copy [model] of variant {best} and train again."
        * (split == "valid" and best not in UNTRAINED),
    )


def pretraining_sentences(
    metrics: Mapping[str, Any], objective: ObjectiveOrClass = Binary
) -> list[str]:
    """Compare a pretrained network with its controls on test: random weights, trained or frozen."""
    networks = metrics["differences"]["networks"]
    return [
        " ".join(
            _comparison(
                metrics,
                objective,
                ("", "the pretrained network", classifier_name(name)),
                networks[name]["test"],
                sizes_of(metrics, "model", name),
            )
        )
        for name in UNTRAINED
        if name in networks
    ]


def _comparison(
    metrics: Mapping[str, Any],
    objective: ObjectiveOrClass,
    names: tuple[str, str, str],
    leads: Mapping[str, Any],
    sizes: Sequence[ClassifierSize],
    split: str = "test",
    advice: str = "",
) -> Sentence:
    """Compare two classifiers by the difference of their main metric.

    Parameters
    ----------
    names
        Condition of the comparison, first and second classifier, as in the sentence.
    leads, sizes
        First minus second by metric, and their sizes.
    advice
        Sentence to add if the second is ahead.
    """
    (condition, who, other), (model, second), unit = names, sizes, metrics[split]["unit"]
    title, lead = title_of(objective.main_metric), leads[objective.main_metric]

    def start(text: str) -> str:
        return f"{condition}{text}"[0].upper() + f"{condition}{text}"[1:]

    if lead["value"] is None:
        return start(f"{who} was"), "not compared", f"with {other}: its {title} is undefined."
    favour = lead if objective.higher_is_better else {"low": -lead["high"], "high": -lead["low"]}
    found = verdict(favour, unit, model, second)
    why = caveat(model, second)
    spread = f"{percent(metrics['confidence'])} interval {interval(lead, sign=True)}"
    spread += f", p = {p_value(lead['p'])}" if found in ("better", "worse") else ""
    lead_value = figure(lead["value"], decimals(3, lead["low"], lead["high"]), sign=True)
    figures = f"{lead_value} {title} ({spread}) by paired bootstrap over {unit}"
    end = f".{advice}" if favour["high"] < 0 else "."
    match found:
        case "better" | "worse":
            return start(f"{who} is"), found, f"than {other}: {figures}{end}"
        case "higher" | "lower":
            return (
                start(f"the {title} of {who} is"),
                "higher" if lead["low"] > 0 else "lower",
                f"than that of {other}: {figures}; {why}, so this may be chance{end}",
            )
        case "too few":
            rest = f"independent units to say whether {who} is better than {other}: {figures}."
            return start("there are"), found, rest
        case _:
            is_equal = second.networks and model.equals(second) and not condition
            return (
                start(f"{'at equal size, ' * bool(is_equal)}{who}"),
                "cannot be distinguished",
                f"from {other}: {figures}{f'; {why}' if why else ''}.",
            )


def supported(motifs: pd.DataFrame, outputs: Sequence[str] = ()) -> str:
    """Name the supported motifs by their match, or by their consensus without one.

    The motif with the largest effect comes first. `Dref (2)` stands for two motifs with the same
    match. If there are several `outputs`, or motifs of several were found, they are named as well:
    `for liver Dref, GTGACC; for heart Dref; none for brain`.
    """
    found = motifs[motifs["verdict"] == "supported"].sort_values(
        "effect", key=lambda effect: -effect.abs(), kind="stable"
    )
    shown, every = [], list(dict.fromkeys([*outputs, *motifs["target"]]))
    for target, own in found.groupby("target", sort=False):
        counts = Counter(
            match_label(row) or str(row["consensus"]) for row in own.to_dict("records")
        )
        names = [name if count == 1 else f"{name} ({count})" for name, count in counts.items()]
        shown.append(f"for {target} " * (len(every) > 1) + ", ".join(names))
    if lacking := [name for name in every if name not in set(found["target"])]:
        some = lacking if len(lacking) <= MOST_LACKING else [counted(len(lacking), "other output")]
        shown.append(f"none for {', '.join(some)}")
    return "; ".join(shown)


def stack_sentence(task: RunFile, stack: StackWeights | None) -> str:
    """Describe how the score combines the network with simple models; empty without a stack."""
    if stack is None:
        return ""
    sentences = stack.sentences(task.stack.parts).replace(" - ", f" {MINUS} ")
    first = " The weights are those of the first training." if task.training.seeds > 1 else ""
    return sentences + first


def motif_sentence(motifs: pd.DataFrame | None, split: AnySplit, outputs: Sequence[str]) -> str:
    """Describe how many motifs were found and how many are supported, with names.

    Parameters
    ----------
    motifs
        motifs.tsv, or None if there was no search.
    split, outputs
        [split] of the run file, and the explained outputs, to name those without support.
    """
    if motifs is None:
        return "Motifs were not searched for: interpretation has not been run for this task."
    if motifs.empty:
        return "No motif was found: no pattern recurs often enough where attribution is high."
    count = num_supported(motifs)
    verb = "is" if count == 1 else "are"
    verdicts = Counter(sorted(motifs["verdict"], reverse=True)).items()
    others = ", ".join(f"{number} {verdict}" for verdict, number in verdicts)
    which = supported(motifs, outputs) if count else others
    sentence = (
        f"{count} of {counted(len(motifs), 'motif')} {verb} supported by records used neither to "
        f"train the model nor to find the motifs: {which}."
    )
    return f"{sentence} {unmeasured_sentence(motifs, split)}".strip()


def unmeasured_sentence(motifs: pd.DataFrame, split: AnySplit) -> str:
    """Count the motifs whose effect more records could measure, and say how; empty without any.

    Motifs with fewer than `LEAST_RECORDS`, or without enrichment, are not counted.
    """
    rows = motifs[motifs["effect"].isna() & (motifs["effect_records"] >= LEAST_RECORDS)]
    rows = rows[~rows["lacks"].astype(str).str.startswith(NOT_ENRICHED)]
    if rows.empty:
        return ""
    units = rows["effect_units"].map(_units_with_site).min()
    of_records = f"{MIN_RECORDS} records with a known target, a site and space for a control site"
    factors = {
        of_records: MIN_RECORDS / rows["effect_records"].min(),
        f"sites in {MIN_UNITS} independent units": growth(units, MIN_UNITS),
    }
    needed = " and ".join(text for text, factor in factors.items() if factor > 1)
    is_cheap = any(_consensus_matches(row) >= MIN_RECORDS for row in rows.to_dict("records"))
    cheaper = " A larger hit_p in [interpret] may be enough, without training." * is_cheap
    return (
        f"The test split is too small to measure the effect of {counted(len(rows), 'motif')}: "
        f"{needed} are needed. To enlarge it, {enlarge_by(split, max(factors.values()))}.{cheaper}"
    )


def _consensus_matches(row: Mapping[Any, Any]) -> float:
    """Return how many test records the consensus of a protein motif matches; 0 for others."""
    return pd.Series(dict(row), dtype=object).filter(like="_with_consensus").sum()


def _units_with_site(effect_units: str) -> int:
    """Return how many units have a record with a site: 7 of `7 of 12 clusters`."""
    return int(effect_units.split()[0])


def agreement_sentence(member_correlation: float | None, seed_correlations: Floats) -> str:
    """State how similar the attributions of several networks are; empty if there is only one.

    Parameters
    ----------
    member_correlation
        `Explanation.member_correlation` of the model.
    seed_correlations
        (n,) correlation for each record that several trainings explained; may be empty.
    """
    found = []
    if member_correlation is not None:
        found.append(
            f"Attributions of the averaged networks correlate with {RHO} "
            f"{figure(member_correlation, 2)} (median over records)."
        )
    if len(known := seed_correlations[np.isfinite(seed_correlations)]):
        found.append(
            f"Attributions of trainings with different seeds correlate with {RHO} "
            f"{figure(float(np.median(known)), 2)} (median over {counted(len(known), 'record')})."
        )
    return " ".join(found)


def unmeasured_reason(row: Mapping[Any, Any]) -> str:
    """Explain why the effect of a motif, a row of motifs.tsv, was not measured.

    The number of test records with a known target that would be enough is an estimate, from the
    fraction with a site. There is none if fewer than `LEAST_RECORDS` have one, or if the motif is
    not enriched. A larger `hit_p` is another way if enough records match the consensus.
    """
    found = int(row["effect_records"])
    if found >= MIN_RECORDS:
        return f"{found} records with a site are in {row['effect_units']}; {MIN_UNITS} are needed"
    records = row["positives"] + row["negatives"] if pd.isna(row["records"]) else row["records"]
    known = "test records with a known target"
    site = "a site and space for a control site"
    reason = f"{found} of {records:,.0f} {known} have {site}; {MIN_RECORDS} are needed"
    if found < LEAST_RECORDS or row["lacks"].startswith(NOT_ENRICHED):
        return reason
    enough = f"about {records * MIN_RECORDS / found:,.0f} {known}"
    reason = f"{reason}, that is, {enough}"
    if _units_with_site(row["effect_units"]) < MIN_UNITS:
        reason = f"{reason}, and {MIN_UNITS} independent units with a site"
    if (matches := _consensus_matches(row)) < MIN_RECORDS:
        return reason
    limit = f"a larger hit_p in [interpret], now {p_value(row['hit_p'])}"
    return f"{reason}; or, as {matches:.0f} records match the consensus, {limit} (no training)"


def odds(row: Mapping[str, Any]) -> str:
    """Format the odds ratio of a row of motifs.tsv with two digits.

    If no negative has a hit, the ratio depends on the half added to this 0, so words are used
    instead.
    """
    if not row["negatives_with_hit"]:
        return "positives only" if row["positives_with_hit"] else "no site"
    return odds_ratio(row["odds_ratio"])


def odds_ratio(ratio: float) -> str:
    """Format an odds ratio with two significant digits, such as `odds ratio 26,000`."""
    return f"odds ratio {float(format(ratio, '.2g')):,g}"

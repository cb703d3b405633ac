"""The report's answer in words, from the figures of metrics.json and motifs.tsv.

Hides: how figures become sentences. No sentence says more than its interval does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from selfattn_bio.baselines import BASELINES
from selfattn_bio.config import NO_DATABASE, AttentionModel, Model, RunFile
from selfattn_bio.evaluation.summary import NETWORK
from selfattn_bio.evaluation.verdict import caveat, sizes_of, verdict
from selfattn_bio.interpret.matching import match_label
from selfattn_bio.motifs import SHIPPED

MISSING, MINUS, TIMES = "\N{EN DASH}", "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
NAMES = {
    **{name: kind.title for name, kind in BASELINES.items()},
    "model": "this model",
    NETWORK: "the network of this model alone",
    "cnn": "CNN",
    "kmer5_logistic": "logistic regression on 5-mers",
    "shuffled": "control: shuffled labels",
}
SLICES = {"gc": "GC content", "length": "length", "begins_with_m": "first residue (1 = M)"}
GROUPS = {"gc": "GC content", "length": "length", "chrom": "chromosome"}  # columns are called as they are
SHORT_NAMES = {
    **{name: kind.short_title for name, kind in BASELINES.items()},
    "model": "this model",
    NETWORK: "network alone",
    "kmer5_logistic": "5-mers",
    "shuffled": "shuffled labels",
}


def classifier_name(name: str, short: bool = False) -> str:
    """Return a readable name for a classifier of metrics.json; a user's variant keeps its name."""
    if (own := name.removeprefix("partner_")) != name and own in BASELINES:
        return f"{classifier_name(own, short)} of the second input"
    return (SHORT_NAMES.get(name) if short else None) or NAMES.get(name, name)


def figure(value: float | None, digits: int = 3, sign: bool = False) -> str:
    """`0.874`, `+0.027`; a dash for a missing one. Never "-0.000"."""
    if value is None or pd.isna(value):
        return MISSING
    rounded = round(float(value), digits) + 0.0
    return f"{rounded:{'+' if sign and rounded else ''}.{digits}f}".replace("-", MINUS)


def interval(estimate: Mapping[str, Any], digits: int = 3, sign: bool = False) -> str:
    """`0.864 to 0.884`."""
    return f"{figure(estimate['low'], digits, sign)} to {figure(estimate['high'], digits, sign)}"


def p_value(p: float | None) -> str:
    """`0.03`, `2e-08`, as it stands after "q ="; a dash for a missing one, and no 0: that is less than a float can say."""
    if p is None or pd.isna(p):
        return MISSING
    return f"{p:.2g}" if p > 0 else "1e-300 or less"


def comparison(metrics: Mapping[str, Any]) -> tuple[str, str, str]:
    """Compare the model with its best baseline, in three parts of a sentence: beginning, finding (to be stressed), figures."""
    best = metrics["differences"]["best_baseline"]
    if best is None:
        return "The model was", "not compared", "with a baseline: none was run."
    lead, (model, other) = metrics["differences"]["baselines"][best]["auroc"], sizes_of(metrics, "model", best)
    found = verdict(lead, model, other)
    rest, why = f"its best baseline, {classifier_name(best)}", caveat(model, other)
    spread = f"{metrics['confidence'] * 100:.0f} % interval {interval(lead, sign=True)}"
    spread += f", p = {p_value(lead['p'])}" if found in ("better", "worse") else ""
    figures = f"{figure(lead['value'], sign=True)} AUROC ({spread}) by paired bootstrap over the same records"
    is_saved = not other.networks and "privacy" not in metrics
    advice = f" Use the baseline, which is saved in baselines/{best}." if lead["high"] < 0 and is_saved else ""
    match found:
        case "better" | "worse":
            return "The model is", found, f"than {rest}: {figures}.{advice}"
        case "higher" | "lower":
            return "The AUROC of the model is", found, f"than that of {rest}: {figures}; {why}, so this may be chance.{advice}"
        case _:
            size = " at equal size" if other.networks and model.equals(other) else ""
            return "The model is", f"not distinguishable{size}", f"from {rest}: {figures}{f'; {why}' if why else ''}."


def supported(motifs: pd.DataFrame) -> list[str]:
    """The supported motifs by their match, or by their own name where there is none; `Dref (2)` where two have the one match."""
    rows = motifs[motifs["verdict"] == "supported"].to_dict("records")
    counts = Counter(match_label(row) or str(row["name"]) for row in rows)
    return [name if count == 1 else f"{name} ({count})" for name, count in counts.items()]


def ensemble_sentence(run: RunFile) -> str:
    """How many networks each network is the mean of, where they differ, and whose motifs are shown, where several were trained.

    Baselines of scikit-learn are no networks, and are not spoken of.
    """
    runs = {"model": run, **{name: run.variant(name) for name in run.variants}}
    members = {name: of.model.members * of.training.seeds for name, of in runs.items() if not of.is_control()}
    sentences = []
    if len(set(members.values())) > 1:
        said = [f"{classifier_name(name)} of {number}" for name, number in members.items() if name != "model"]
        mean = f"This model is a mean of {members['model']} network{'s' * (members['model'] > 1)}, {', '.join(said)}"
        sentences.append(f"{mean}: a part of what lies between these networks may come from that.")
    if (seeds := run.training.seeds) > 1:
        sentences.append(f"It is of {seeds} trainings with different seeds; relevance and motifs are those of the first.")
    return " ".join(sentences)


def attention_sentence(model: Model, has_attention: bool) -> str:
    """Whether a model of this kind, or mixer, has attention to be looked at."""
    if has_attention:
        return "Attention says where the model looks, not what its score hangs on: a proposal. No motif or verdict rests on it."
    kind = f"mixer {model.mixer.kind}" if isinstance(model, AttentionModel) else f"kind {model.kind}"
    return f"The model is of the {kind}, which has no attention weights to be read: there are no maps of it."


def motif_sentence(motifs: pd.DataFrame | None) -> str:
    """How many motifs there are and how many are supported, with names.

    Parameters
    ----------
    motifs
        motifs.tsv, or None if there was no search.
    """
    if motifs is None:
        return "Motifs were not looked for: interpretation has not been run for this task."
    if motifs.empty:
        return "No motif was found: no pattern of letters recurs often enough where the model looks."
    count, names = num_supported(motifs), supported(motifs)
    if not count:
        none = "The one motif found is not" if len(motifs) == 1 else f"None of the {len(motifs)} motifs found is"
        verdicts = ", ".join(f"{verdict}: {number}" for verdict, number in Counter(sorted(motifs["verdict"], reverse=True)).items())
        return f"{none} supported by the held-out records ({verdicts})."
    verb = "is" if count == 1 else "are"
    which = "The one motif found" if len(motifs) == 1 else f"{count} of {len(motifs)} motifs"
    return f"{which} {verb} supported by records that neither model nor motif was found on: {', '.join(names)}."


def control_sentences(controls: Mapping[str, pd.DataFrame]) -> list[str]:
    """What the same search gives on each control; a supported motif there is said loudly."""
    sentences = []
    for name, motifs in controls.items():
        count = num_supported(motifs)
        found = "no motif" if motifs.empty else f"{len(motifs)} motif{'s' if len(motifs) > 1 else ''}, of which {count or 'none'} supported"
        warning = " It should support none: take the supported motifs with care." if count else ""
        kind = classifier_name(name).removeprefix("control: ")
        sentences.append(f"The same search on the control ({kind}) found {found}.{warning}")
    return sentences


def control_note(controls: Mapping[str, pd.DataFrame], significance: float) -> str:
    """What it does and does not prove that the controls support no motif; empty where they have none, or support one.

    Parameters
    ----------
    controls
        Name -> its motifs.tsv.
    significance
        q below which enrichment counts.
    """
    found = [motifs for motifs in controls.values() if len(motifs)]
    if not found or any(map(num_supported, found)):
        return ""
    motifs = pd.concat(found)
    largest, enriched = motifs["effect"].abs().max(), int((motifs["enrichment_q"] < significance).sum())
    return (
        "Effects are counted in what a network's scores are worth on valid, and those of one that learnt nothing are worth nearly nothing: "
        "that a control supports no motif shows this, not that the tests rarely err. "
        f"Largest effect on a control: {figure(largest, 2)} log-odds; "
        f"motifs of it that pass by enrichment alone: {enriched} of {len(motifs)}."
    )


def database_name(database: str) -> str:
    """What a reader calls `[interpret] database`: `JASPAR 2026 CORE, insects`; a file by its name; empty for `none`."""
    if database == NO_DATABASE:
        return ""
    if database.startswith(SHIPPED):
        return f"JASPAR 2026 CORE, {database.removeprefix(SHIPPED)}"
    return Path(database).name


def odds(row: Mapping[str, Any]) -> str:
    """The odds ratio of a row of motifs.tsv, two digits of it; words where no negative has a hit, and it is the half added to that 0."""
    if not row["negatives_with_hit"]:
        return "positives only" if row["positives_with_hit"] else "no site"
    return f"{times(row['odds_ratio'])} odds"


def times(ratio: float) -> str:
    """`×26,000`, two digits of it."""
    return f"{TIMES}{float(format(ratio, '.2g')):,g}"


def num_supported(motifs: pd.DataFrame) -> int:
    """How many rows have the verdict "supported"."""
    return int((motifs["verdict"] == "supported").sum())

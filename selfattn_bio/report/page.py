"""Write the HTML report of a task: the main result, then the evidence, then details for checking.

The page is self-contained: CSS, SVG and a short script are inline, and a content policy forbids
loading anything else.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Sequence
from functools import partial
from hashlib import sha256
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from selfattn_bio.baselines import BASELINES, ignores_positions
from selfattn_bio.config import NO_DATABASE
from selfattn_bio.config.writing import toml_text
from selfattn_bio.display import dotted
from selfattn_bio.evaluation.card import left_out_sentence, used_files
from selfattn_bio.evaluation.metrics import LOWER_IS_BETTER, title_of
from selfattn_bio.evidence.interactions import NO_PAIR
from selfattn_bio.evidence.overlaps import NULLS
from selfattn_bio.evidence.records import MIN_EFFECT, RESAMPLES
from selfattn_bio.files import whole_folder, write_text
from selfattn_bio.model.checkpoint import StackWeights, read_stack_weights
from selfattn_bio.motifs import SHIPPED, database_of
from selfattn_bio.motifs.motif_set import num_supported
from selfattn_bio.objectives import Objective, objective_of
from selfattn_bio.objectives.outputs import LOG_ODDS
from selfattn_bio.report import cards, figures, lines, tables, words
from selfattn_bio.report.cards import attention_figures
from selfattn_bio.report.figures import marginal_section
from selfattn_bio.report.performance import draw_performance
from selfattn_bio.report.results import Results, both_inputs
from selfattn_bio.report.tested import Tested
from selfattn_bio.sequence.alphabet import get_alphabet
from selfattn_bio.sequence.clusters import missed_relatives

LITTLE = 0.05  # below this weight, the network adds less than 5 % of its own output to a score


def write_page(results: Results, name: str) -> None:
    """Write the page of a task and its plots to the results folder."""
    with whole_folder(results.layout.plots) as folder:
        page = render(results, folder, name)
    write_text(results.layout.report, page)


def render(results: Results, plots_folder: Path, name: str) -> str:
    """Return the page as text and write its plots to `plots_folder`."""
    task, metrics, tested = results.task, results.metrics, Tested(results, plots_folder)
    objective, stack = objective_of(task.objective), read_stack_weights(results.layout.model)
    outputs = [output.name for output in objective.outputs]
    alphabet = get_alphabet(results.corpus["alphabet"])
    # motifs that were searched by hand are shown as well
    is_interpreted = task.is_interpreted or results.motifs is not None
    template = _environment().get_template("report.html.j2")
    return template.render(
        title=task.title or name,
        name=name,
        task=task,
        metrics=metrics,
        classifier_name=words.classifier_name,
        audit=results.audit,
        missed_relatives=missed_relatives(alphabet),
        **(tables.leakage_tables(results.audit, alphabet) if results.audit else {}),
        alphabet=alphabet,
        corpus=results.corpus,
        provenance=list(dotted(results.provenance)),
        run_file=toml_text(task),
        trained_run_file=results.layout.run_file.read_text(encoding="utf-8"),
        objective=objective,
        main=objective.main_metric,
        main_title=f"{title_of(objective.main_metric)}{lines.mean_of(objective)}",
        favour=favour_sentence(tables.shown_metrics(metrics["test"]["model"]), objective),
        best=metrics["differences"]["best_baseline"],
        comparison=words.baseline_sentence(metrics, objective),
        networks=lines.network_sentences(metrics, objective),
        stack_sentence=words.stack_sentence(task, stack),
        mean_of=lines.mean_of(objective),
        known_counts=lines.known_counts(metrics),
        stack_table=tables.stack_table(stack, outputs),
        without_network=_without_network(stack, outputs),
        counting=[of for of in stack.parts if ignores_positions(BASELINES[of])] if stack else [],
        performance_table=tables.performance_table(metrics, objective),
        left_out=left_out_sentence(metrics.get("left_out", {})),  # of an earlier version
        differences=tables.difference_table(metrics),
        performance=draw_performance(objective, tested),
        groups=tables.group_tables(metrics),
        unit=alphabet.unit,
        used_files=used_files(results.corpus["sources"]),
        splits=tables.split_table(results.records, task.split.kind),
        **(_interpretation(tested) if is_interpreted else {}),
        is_interpreted=is_interpreted,
    )


def _without_network(stack: StackWeights | None, outputs: Sequence[str]) -> list[str]:
    """Name the outputs whose scores come from the simple models of a stack nearly alone."""
    weights = stack.weights["network"] if stack else []
    return [name for name, weight in zip(outputs, weights, strict=False) if weight < LITTLE]


def favour_sentence(
    metrics: Collection[str], objective: Objective[Any] | type[Objective[Any]]
) -> str:
    """State which sign of a difference, model minus baseline, favours the model.

    Parameters
    ----------
    metrics
        Names of the metrics, such as "mse", or "activity.mse" for a part of an objective.
    objective
        The objective of the model, which knows the direction of its main metric.
    """
    is_lower_better = {name: name.rpartition(".")[2] in LOWER_IS_BETTER for name in metrics}
    is_lower_better[objective.main_metric] = not objective.higher_is_better
    lower = [title_of(name) for name in metrics if is_lower_better[name]]
    if len(lower) == len(metrics):
        return "Negative values favour the model."
    exception = f" (negative values for {', '.join(lower)})" if lower else ""
    return f"Positive values favour the model{exception}."


def _interpretation(tested: Tested) -> dict[str, Any]:
    """Return what the sections on motifs, interactions and attention show."""
    results = tested.results
    task, motifs, pairs = results.task, results.motifs, results.interactions
    of_inputs = both_inputs(motifs, results.partner.motifs if results.partner else None)
    maps = attention_figures(results)
    outputs = results.explained.targets if results.explained else []
    least = {} if motifs is None else dict(zip(motifs["unit"], motifs["min_effect"], strict=True))
    units = list(least) or [output.unit for output in objective_of(task.objective).outputs]
    return {
        "number_units": [unit for unit in units if unit != LOG_ODDS],
        "least_numbers": " or ".join(
            f"{words.figure(least[unit], 2)} {unit}" for unit in least if unit != LOG_ODDS
        ),
        "has_classes": LOG_ODDS in units,
        "by_kind": partial(by_kind, units),
        "motif_sentence": words.motif_sentence(of_inputs, task.split, outputs),
        "alone_sentence": lines.alone_sentence(of_inputs, task.interpret.significance),
        "null_sentence": lines.null_sentence(motifs),
        "agreement_sentence": words.agreement_sentence(
            results.explained.member_correlation if results.explained else None,
            results.seed_correlations,
        ),
        "stability": [] if results.stability is None else results.stability.to_dict("records"),
        "stability_table": results.stability is not None
        and tables.stability_table(results.stability),
        "num_supported": 0 if of_inputs is None else num_supported(of_inputs),
        "num_motifs": 0 if of_inputs is None else len(of_inputs),
        **_motifs(results, outputs),
        "min_effect": MIN_EFFECT,
        "nulls": NULLS,
        # smallest two-sided p; the data count as one of the sign flips
        "min_p": 2 / (RESAMPLES + 1),
        "has_motifs": motifs is not None,
        "has_effects": motifs is not None and motifs["effect"].notna().any(),
        "explained": outputs,
        "no_pair": NO_PAIR,
        "pair_sentence": figures.pair_sentence(pairs),
        "pairs": None if pairs is None else tables.pair_tables(pairs, motifs),
        "measured": tables.measured_table(results.measured, motifs),
        **marginal_section(tested),
        "partner": results.partner and _motifs(results.partner, outputs),
        "interpretation": figures.interpretation(tested),
        "maps": maps,
        "attention_sentence": attention_sentence(len(maps) > 0),
    }


def _motifs(results: Results, outputs: Sequence[str]) -> dict[str, Any]:
    """Return what the section on the motifs of one input shows."""
    alphabet = get_alphabet(results.corpus["alphabet"])
    database = database_of(results.task.interpret.database, alphabet)
    return {
        "sentence": words.motif_sentence(results.motifs, results.task.split, outputs),
        "motifs": cards.motif_rows(results),
        "notes": results.notes,
        "database": database_name(database),
        "letters": alphabet,
    }


def database_name(database: str) -> str:
    """Return a readable name for `[interpret] database`, such as `JASPAR 2026 CORE, insects`.

    Files are called by their name. The result is empty for `none`.
    """
    if database == NO_DATABASE:
        return ""
    if database.startswith(SHIPPED):
        return f"JASPAR 2026 CORE, {database.removeprefix(SHIPPED)}"
    return Path(database).name


def by_kind(units: Sequence[str], classes: str, numbers: str) -> str:
    """Return the words about classes, or about numbers, or both if the units include both."""
    if set(units) <= {LOG_ODDS}:
        return classes
    return f"{classes} (numbers: {numbers})" if LOG_ODDS in units else numbers


def _environment() -> Environment:
    """Return the templates, and the functions that they use."""
    environment = Environment(
        loader=PackageLoader("selfattn_bio.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates = Path(__file__).with_name("templates")
    script = "".join(
        (templates / name).read_text(encoding="utf-8") for name in ("motifs.js", "maps.js")
    )
    digest = b64encode(sha256(script.encode()).digest()).decode()  # no other script may run
    environment.globals.update(
        about=about, DESCRIPTIONS=tables.DESCRIPTIONS, script=Markup(script), digest=digest
    )
    # Only SVG written by this package is not escaped
    environment.filters.update(
        estimate=words.estimate,
        figure=words.figure,
        interval=words.interval,
        p=words.p_value,
        percent=words.percent,
        calibration=words.calibration,
        svg=Markup,
    )
    return environment


def about(page: str) -> Markup:
    """Return a link to a page of the documentation; empty if the package names no address of it."""
    for url in metadata("selfattn-bio").get_all("Project-URL") or ():
        label, _, address = url.partition(", ")
        if label == "Documentation":
            link = Markup('<p class="about"><a href="{}/{}.html">About this section</a></p>')
            return link.format(address.rstrip("/"), page)
    return Markup()


def attention_sentence(has_attention: bool) -> str:
    """Describe whether a model has attention maps."""
    if has_attention:
        return (
            "Attention weights do not show which positions the score depends on. No motif or "
            "verdict is based on them."
        )
    return (
        "There are no maps: they are drawn only for softmax attention of this package, in models "
        "with one input."
    )

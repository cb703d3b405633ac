"""Every plot of the package, drawn from the results of the smoke task."""

import base64
import html
import io
import logging
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

import selfattn_bio
from selfattn_bio.report import plots, target_plots
from sitegen import simulated
from sitegen.notebooks import RESULTS, raw
from sitegen.text import prose

FIGURE = re.compile(
    r"<figure[^>]*>\s*<h3>([^<]*)</h3>\s*(<svg.*?</svg>)\s*<figcaption>(.*?)</figcaption>",
    re.DOTALL,
)


OTHERS = "The values of these examples are simulated."


@dataclass(frozen=True)
class Plot:
    """A plot of the gallery. `source` is the line of Python or the file that it comes from."""

    title: str
    source: str
    caption: str
    image: str  # HTML


def page() -> str:
    """Return one section per plot, in Markdown."""
    logging.getLogger("selfattn_bio").setLevel(logging.WARNING)
    parts = ["## In the report", *map(section, of_report()), "## In Python"]
    with tempfile.TemporaryDirectory() as folder, plots.style():
        parts += map(section, of_python(Path(folder)))
        parts += ["## In reports of other objectives", OTHERS, *map(section, of_objectives())]
    return "\n\n".join(parts)


def of_objectives() -> Iterator[Plot]:
    """Yield the plots of other objectives than two classes, with simulated values."""
    for title, objective, caption, name, values in simulated.plots():
        width = 7.2 if name == "draw_track" else 3.6
        figure = Figure(figsize=(width, 1.8 if name == "draw_track" else 2.9), layout="constrained")
        module = "plots" if hasattr(plots, name) else "target_plots"
        draw = getattr(plots if module == "plots" else target_plots, name)
        draw(**values, ax=figure.subplots())
        source = f"Objective `{objective}`; `selfattn_bio.report.{module}.{name}`"
        yield Plot(title, source, caption, shown(figure))


def section(plot: Plot) -> str:
    """Return the section of a plot."""
    image = raw(f'<div class="plot">{plot.image}</div>')
    return f"### {plot.title}\n\n{image}\n\n{prose(plot.caption)}\n\n{plot.source}"


def of_report() -> Iterator[Plot]:
    """Yield the figures of the report of the smoke task, with their captions."""
    text = (RESULTS / "report.html").read_text(encoding="utf-8")
    for title, svg, caption in FIGURE.findall(text):
        name = re.findall(r'aria-label="([^"]*)"', svg)[0].replace(" ", "_")
        caption = html.unescape(re.sub(r"<[^>]*>", "", caption))
        yield Plot(html.unescape(title), f"File: `plots/{name}.svg`", caption, svg)


def of_python(folder: Path) -> Iterator[Plot]:
    """Yield the plots of result objects and of notebooks."""
    model = selfattn_bio.load(RESULTS / "model")
    task = RESULTS.parents[1] / "workflows/tasks/smoke.toml"
    evaluation: selfattn_bio.Evaluation = selfattn_bio.Study(task, RESULTS).evaluation
    explanation = selfattn_bio.Explanation.load(RESULTS / "attribution")
    yield Plot(
        "Attribution of a sequence",
        "`explanation.plot(0)`, or `explanation.plot(0, region=(40, 120))` for other positions",
        "Letters are as tall as their effect on the output. Those that increase it point upwards. "
        "The 100 positions with the largest scores are drawn.",
        shown(explanation.plot(0)),
    )
    yield Plot(
        "Logos of motifs",
        "`motifs.plot()`",
        "One logo per motif, in bits, with the best match in the database.",
        shown(selfattn_bio.MotifSet.load(RESULTS).plot()),
    )
    yield Plot(
        "Evaluation",
        '`evaluation.plot("auroc")`',
        "A metric of each classifier with its interval, and the curves of the first classifiers.",
        shown(evaluation.plot("auroc")),
    )
    yield Plot(
        "Substitutions in a region",
        '`selfattn_bio.score_substitutions(model, "genome.fa", "chr1:100-160").plot()`',
        "Above: mean loss of the substitutions at each position. Below: the effect of each one.",
        shown(substitutions(model, explanation.sequences[0], folder).plot()),
    )
    yield from alone(model, selfattn_bio.MotifSet.load(RESULTS), explanation.sequences)
    reading = selfattn_bio.read_attention(model, [explanation.sequences[0]])
    figure = Figure(figsize=(4.4, 3.6), layout="constrained")
    plots.draw_attention_map(reading.map(), figure.subplots())
    yield Plot(
        "Attention map",
        "`selfattn_bio.report.plots.draw_attention_map(reading.map(), ax)`",
        "Rows attend to columns. A map is a hint, not an explanation of the score.",
        shown(figure),
    )
    figure = Figure(figsize=(4.4, 2.6), layout="constrained")
    test = pd.read_csv(RESULTS / "predictions/test.tsv", sep="\t")
    plots.draw_scores(test["label"], test["model_calibrated"], figure.subplots())
    yield Plot(
        "Scores of both classes",
        '`selfattn_bio.report.plots.draw_scores(test["label"], test["model_calibrated"], ax)`',
        "Calibrated probabilities of the test records.",
        shown(figure),
    )


def substitutions(
    model: selfattn_bio.Scorer, sequence: str, folder: Path
) -> selfattn_bio.Substitutions:
    """Score the substitutions in a sequence, as a genome of one chromosome."""
    (folder / "synthetic.fa").write_text(f">chr1\n{sequence}\n")
    middle = len(sequence) // 2
    region = f"chr1:{middle - 30}-{middle + 30}"
    return selfattn_bio.score_substitutions(model, folder / "synthetic.fa", region)


def alone(
    model: selfattn_bio.Scorer, motifs: selfattn_bio.MotifSet, sequences: Sequence[str]
) -> Iterator[Plot]:
    """Draw what motifs do in neutral backgrounds, and without an interval."""
    first, *_, second = motifs.ppms.values()
    marginals = selfattn_bio.marginalize(model, sequences, {"motif": first})
    yield Plot(
        "A motif alone",
        "`selfattn_bio.marginalize(model, backgrounds, motifs).plot()`, of class "
        "`selfattn_bio.Marginals`",
        "Effect of the motif in shuffled sequences, by position and strand.",
        shown(marginals.plot()),
    )
    yield Plot(
        "Two motifs at a distance",
        "`selfattn_bio.marginalize_spacing(model, backgrounds, first, second).plot()`, of class "
        "`selfattn_bio.MarginalSpacing`",
        "Epistasis of both motifs in shuffled sequences, by distance, for each orientation.",
        shown(selfattn_bio.marginalize_spacing(model, sequences, first, second).plot()),
    )
    yield Plot(
        "Without an interval",
        "`selfattn_bio.ablate(model, sequences, start, end).plot()`, of class "
        "`selfattn_bio.Ablation`",
        "Loss of the score of each sequence when the bases of the interval are shuffled.",
        shown(selfattn_bio.ablate(model, sequences, 60, 100).plot()),
    )


def shown(figure: Figure) -> str:
    """Return a figure as an image in HTML."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="" src="data:image/svg+xml;base64,{encoded}">'

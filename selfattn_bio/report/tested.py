"""Figures of the report with their captions, and the test results that they show."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from selfattn_bio.evaluation.summary import TRUE
from selfattn_bio.objectives.numbers import WORDS
from selfattn_bio.report import plots
from selfattn_bio.report.results import Results

SIZE = (3.6, 2.9)  # inches; 346 px, the width of a phone
MAX_CURVES = 5  # in one plot; there are six colours


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


@dataclass(frozen=True)
class Tested:
    """Test results of the model and its best baseline, and the folder of their figures.

    Attributes
    ----------
    results
        The results of the task.
    folder
        Folder to which figures are written.
    part
        The part of objective `several`; empty for other objectives.
    """

    results: Results
    folder: Path
    part: str = ""

    @property
    def names(self) -> list[str]:
        """Return the name of the model and, if there is one, of the best baseline."""
        return ["model", self.baseline] if self.baseline else ["model"]

    @property
    def baseline(self) -> str:
        """Return the key of the best baseline; empty without one."""
        return self.results.metrics["differences"]["best_baseline"] or ""

    def show(
        self,
        name: str,
        title: str,
        means: str,
        not_means: str,
        paint: Callable[[Any], None],
        *,
        size: tuple[float, float] = SIZE,
        finding: str = "",
        panels: int = 1,
    ) -> Drawing:
        """Draw a figure of this part; arguments are those of `Drawing` and `draw`."""
        name, title = self._named(name, title)
        svg = draw(name, paint, self.folder, size, panels)
        return Drawing(name, title, means, not_means, svg, finding, is_wide=size[0] > 1.5 * SIZE[0])

    def skip(self, name: str, title: str, why: str) -> Drawing:
        """Return a sentence in the place of a figure."""
        return Drawing(*self._named(name, title), why, not_means="", svg="")

    def _named(self, name: str, title: str) -> tuple[str, str]:
        return (f"{self.part}_{name}", f"{self.part}: {title}") if self.part else (name, title)

    def outputs(self, classifier: str) -> dict[str, dict[str, Any]]:
        """Return the test metrics of each class, label or column: `{metric: {value, low, high}}`.

        The order is that of the outputs.
        """
        return {
            name.removeprefix(self._prefix): metrics
            for name, metrics in self.results.metrics["outputs"][classifier].items()
            if name.startswith(self._prefix)
        }

    def predicted(self, classifier: str) -> NDArray[np.float64]:
        """Return the predictions of each output, (n, C)."""
        of = "" if classifier == "model" else f"{classifier}."
        names = [f"{of}{self._prefix}{name}" for name in self.outputs("model")]
        return self.results.test[names].to_numpy(dtype=np.float64)

    def true(self, column: str) -> pd.Series:
        """Return the true values as text, (n,); empty if unknown."""
        return self.results.test[f"{TRUE}{column}"]

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Return the true numbers, (n,), 1 and 0 for labels such as yes and no; nan if unknown."""
        texts = self.true(column).str.strip().str.lower().replace(WORDS)
        return pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)

    @property
    def _prefix(self) -> str:
        return f"{self.part}." if self.part else ""

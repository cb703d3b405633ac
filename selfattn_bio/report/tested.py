"""Test predictions, true values and metrics of an objective or of one of its parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.evaluation.summary import TRUE
from selfattn_bio.report.figures import Drawing, draw_figure
from selfattn_bio.report.results import Results
from selfattn_bio.report.words import classifier_name


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
    def names(self) -> dict[str, str]:
        """Return the short name of the model and, if there is one, of the best baseline."""
        shown = ("model", self.baseline)
        return {name: classifier_name(name, short=True) for name in shown if name}

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
        **more: Any,
    ) -> Drawing:
        """Draw a figure of this part; arguments are those of `draw_figure`."""
        name, title = self._named(name, title)
        return draw_figure(name, title, means, not_means, paint, self.folder, **more)

    def skip(self, name: str, title: str, why: str) -> Drawing:
        """Return a sentence in the place of a figure."""
        return Drawing(*self._named(name, title), why, not_means="", svg="")

    def _named(self, name: str, title: str) -> tuple[str, str]:
        return (f"{self.part}_{name}", f"{self.part}: {title}") if self.part else (name, title)

    def outputs(self, classifier: str) -> dict[str, dict[str, dict[str, Any]]]:
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

    def labels(self, classifier: str) -> pd.Series:
        """Return the predicted labels per position as text, (n,)."""
        of = "" if classifier == "model" else f"{classifier}."
        return self.results.test[f"{of}predicted"]

    def true(self, column: str) -> pd.Series:
        """Return the true values as text, (n,); empty if unknown."""
        return self.results.test[f"{TRUE}{column}"]

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Return the true numbers, (n,); missing if unknown."""
        return pd.to_numeric(self.true(column), errors="coerce").to_numpy(dtype=np.float64)

    @property
    def _prefix(self) -> str:
        return f"{self.part}." if self.part else ""

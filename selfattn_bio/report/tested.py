"""Look up the test predictions, true values and metrics of an objective or of one of its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.evaluation.targets import TRUE
from selfattn_bio.report.results import Results, entry_of
from selfattn_bio.report.words import classifier_name


@dataclass(frozen=True)
class Tested:
    """Test results of the model and its best baseline.

    Attributes
    ----------
    results
        The results of the task.
    part
        The part of objective `several`; empty for other objectives.
    """

    results: Results
    part: str = ""

    @property
    def names(self) -> dict[str, str]:
        """Return the short name of the model and, if there is one, of the best baseline."""
        return {
            name: classifier_name(name, short=True)
            for name in entry_of(self.results.metrics, "outputs")
        }

    @property
    def baseline(self) -> str:
        """Return the key of the best baseline; empty without one."""
        return next((name for name in self.names if name != "model"), "")

    def file_name(self, name: str) -> str:
        """Return the name of the files of a figure."""
        return f"{self.part}_{name}" if self.part else name

    def title(self, title: str) -> str:
        """Return the title of a figure, which names the part."""
        return f"{self.part}: {title}" if self.part else title

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

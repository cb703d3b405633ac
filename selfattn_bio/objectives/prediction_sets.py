"""The base class of objectives with prediction sets."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.objectives.base import Array, Objective, SectionT


class PredictionSets(Objective[SectionT]):
    """Base class of objectives that choose one of several names, with prediction sets."""

    has_coverage = True

    @abstractmethod
    def strangeness(self, outputs: Array) -> Array:
        """Return a score for each record and name, (n, C); low if the output favours the name."""

    def nonconformity(self, outputs: Array, targets: NDArray) -> Array:
        return self.strangeness(outputs)

    def counted(self, targets: NDArray) -> NDArray[np.bool_]:
        return targets[:, None] == np.arange(len(self.coverage_names))

    def in_set(self, outputs: Array, quantiles: Array) -> NDArray[np.bool_]:
        """Return which names belong to the prediction set of each record, (n, C).

        A name belongs to the set if its score does not exceed its quantile.
        """
        return self.strangeness(outputs) <= quantiles

    def coverage_columns(self, outputs: Array, quantiles: Array) -> dict[str, Any]:
        names = self.coverage_names
        each = [self.in_set(rows, of) for rows, of in zip(outputs, quantiles, strict=True)]
        return {
            "set": [
                ",".join(name for name, inside in zip(names, row, strict=True) if inside) or "none"
                for row in np.any(each, axis=0)
            ]
        }

"""Attention maps of a few sequences for the page, which draws them itself so that they can be zoomed.

Hides: how weights travel to the page's script (`templates/maps.js`): as bytes, in base64.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.report.results import Results, site_positions

DARKEST = 0.995  # quantile of a layer's weights from which on all are as dark
LETTERS = 5000  # of longer sequences the page is given no letters


@dataclass(frozen=True)
class MapFigure:
    """One sequence: its name, its split, its score, the number of layers, and JSON for the script."""

    id: str
    split: str
    logit: float
    layers: int
    data: str


def attention_figures(results: Results) -> list[MapFigure]:
    """The sequences whose maps `explain` wrote, by falling score; with the sites in them that motifs were built from."""
    explained = results.explained
    if explained is None:
        return []
    sites = site_positions(results.discovery, explained.records)
    widths = (results.discovery["end"] - results.discovery["start"]).to_numpy(dtype=int)
    figures = []
    for row, (edges, weights) in explained.maps.items():
        record, here = explained.records.iloc[row], sites[sites["record"] == row].sort_values("position")
        held = [(str(n), int(p), int(p + widths[s])) for n, s, p in here[["name", "site", "position"]].itertuples(index=False)]
        letters = explained.letters[row, : record["length"]].tobytes().decode() if record["length"] <= LETTERS else ""
        data = {"edges": edges.tolist(), "letters": letters, "sites": held, "layers": [_shades(layer) for layer in weights]}
        figures.append(MapFigure(record["id"], record["split"], float(record["logit"]), len(weights), json.dumps(data)))
    return figures


def _shades(weights: NDArray[np.float32]) -> dict[str, Any]:
    """(S, S) weights as bytes, 255 for `top` and all above."""
    top = float(np.quantile(weights, DARKEST)) or 1.0
    shades = np.rint(np.minimum(weights / top, 1) * 255).astype(np.uint8)
    return {"top": top, "shades": b64encode(shades.tobytes()).decode()}

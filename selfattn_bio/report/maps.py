"""Prepare attention maps of a few sequences for the page.

The page draws the maps in a script (`templates/maps.js`), so that readers can zoom. Weights are
passed as bytes in base64.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.report.results import Results, site_positions

DARKEST = 0.995  # weights above this quantile of a layer are drawn equally dark
MAX_SEQUENCE = 5000  # longer sequences are not written to the page


@dataclass(frozen=True)
class MapFigure:
    """One sequence: its id, label and split, score, number of layers, and JSON for the script."""

    id: str
    of: str
    logit: float
    layers: int
    data: str


def attention_figures(results: Results) -> list[MapFigure]:
    """Return the sequences whose maps `explain` wrote, with the motif discovery sites in them."""
    if results.explained is None or not results.explained.maps:
        return []
    records = (
        results.records.set_index("id", drop=False)
        .loc[list(results.explained.maps)]
        .reset_index(drop=True)
    )
    sites = site_positions(results.discovery, records)
    widths = (results.discovery["end"] - results.discovery["start"]).to_numpy(dtype=int)
    figures = []
    for row, (name, mapped) in enumerate(results.explained.maps.items()):
        here = sites[sites["record"] == row].sort_values("position")
        in_record = [
            (str(n), int(p), int(p + widths[s]))
            for n, s, p in here[["name", "site", "position"]].itertuples(index=False)
        ]
        letters = mapped.letters.tobytes().decode() if len(mapped.letters) <= MAX_SEQUENCE else ""
        layers = [_shades(layer) for layer in mapped.weights]
        data = json.dumps(
            {
                "edges": mapped.edges.tolist(),
                "letters": letters,
                "sites": in_record,
                "layers": layers,
            }
        )
        label = records["label"].iloc[row]
        known = "unlabelled" if pd.isna(label) else "positive" if label == 1 else "negative"
        of = f"{known}, {records['split'].iloc[row]}"
        figures.append(MapFigure(name, of, mapped.logit, len(layers), data))
    return figures


def _shades(weights: NDArray[np.float32]) -> dict[str, Any]:
    """Convert weights (S, S) to bytes; 255 stands for `top` and all higher values."""
    top = float(np.quantile(weights, DARKEST)) or 1.0
    shades = np.rint(np.minimum(weights / top, 1) * 255).astype(np.uint8)
    return {"top": top, "shades": b64encode(shades.tobytes()).decode()}

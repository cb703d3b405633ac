"""Single records for the report: sites with high attribution, and attention maps.

A script on the page draws the maps, so that a reader can choose record and layer."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.attribution.rules import importance
from selfattn_bio.motifs.svg import track_svg
from selfattn_bio.report.results import Results, site_positions
from selfattn_bio.sequence.alphabet import get_alphabet

COUNT = 3
FLANK = 6  # positions shown on either side of a site
HEIGHT = 44  # px
DARKEST = 0.995  # weights above this quantile of a layer are drawn equally dark
MAX_SEQUENCE = 5000  # longer sequences are not written to the page


@dataclass(frozen=True)
class Example:
    """An example site and the text below its track.

    `position` names the interval in the record (counted from 1), the strand if there is one, and
    the split.
    """

    position: str
    svg: str


def example_sites(results: Results) -> dict[str, list[Example]]:
    """Return the discovery sites with the highest attribution of each motif, highest first.

    Each site is read along the strand of the motif. Only one site per record is shown, because
    sites in a repeat overlap. If several records contain a site, the one with the highest
    attribution is used. Motifs without a site are left out.
    """
    explained = results.explained
    if explained is None or explained.is_attention or results.motifs is None:
        return {}
    letters = get_alphabet(results.corpus["alphabet"]).letters
    discovery = results.discovery.drop_duplicates(["chrom", "start", "end", "name"])
    found = site_positions(discovery, explained.records)
    found = found.assign(
        end=found["position"]
        + (discovery["end"] - discovery["start"]).to_numpy()[found["site"].to_numpy(dtype=int)]
    )
    # a record may be explained for several targets; the motif belongs to one
    own = found["name"].map(results.motifs.set_index("name")["target"]).to_numpy()
    found = found[
        explained.records["target"].to_numpy()[found["record"].to_numpy(dtype=int)] == own
    ]
    # (records, L + 1), the sum over all positions before
    attribution = importance(explained.hypothetical)
    up_to = np.pad(attribution.cumsum(axis=1, dtype=np.float64), ((0, 0), (1, 0)))
    record, start, end = (
        found[column].to_numpy(dtype=int) for column in ("record", "position", "end")
    )
    found = found.assign(attribution=up_to[record, end] - up_to[record, start]).sort_values(
        "attribution", ascending=False, kind="stable"
    )
    shown = (
        found.drop_duplicates("site")
        .drop_duplicates(["name", "record"])
        .groupby("name", sort=False)
        .head(COUNT)
    )
    examples: dict[str, list[Example]] = {}
    for name, record, start, end, strand in shown[
        ["name", "record", "position", "end", "strand"]
    ].itertuples(index=False):
        about = explained.records.iloc[record]
        before, after = min(FLANK, start), min(FLANK, about["length"] - end)
        track = explained.track(record)[start - before : end + after]
        if strand == "-":
            # Reversing positions and bases gives the reverse complement, because the bases are in
            # the order ACGT
            track, before = track[::-1, ::-1], after
        position = (
            f"positions {start + 1} to {end} of "
            f"{about['id']}{f', {strand} strand' if letters == 'ACGT' else ''}, "
            f"{about['split']}"
        )
        svg = track_svg(
            track,
            letters,
            start=-before,
            shaded=(0, end - start),
            height=HEIGHT,
            label=f"{name}, {position}",
        )
        examples.setdefault(str(name), []).append(Example(position, svg))
    return examples


@dataclass(frozen=True)
class MapFigure:
    """One sequence: its id, label (if there are labels) and split, score, layers, and JSON."""

    id: str
    of: str
    score: float
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
        layers = [_shades(layer.weights) for layer in mapped.layers]
        data = json.dumps(
            {
                "edges": mapped.layers[0].edges.tolist(),
                "letters": letters,
                "sites": in_record,
                "layers": layers,
            }
        )
        label = records["label"].iloc[row]
        known = "unlabelled" if pd.isna(label) else "positive" if label == 1 else "negative"
        split = str(records["split"].iloc[row])
        of = f"{known}, {split}" if results.records["label"].notna().any() else split
        figures.append(MapFigure(name, of, mapped.score, len(layers), data))
    return figures


def _shades(weights: NDArray[np.float32]) -> dict[str, Any]:
    """Convert weights (S, S) to bytes; 255 stands for `top` and all higher values."""
    top = float(np.quantile(weights, DARKEST)) or 1.0
    shades = np.rint(np.minimum(weights / top, 1) * 255).astype(np.uint8)
    return {"top": top, "shades": b64encode(shades.tobytes()).decode()}

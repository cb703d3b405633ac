"""Draw example sites of each motif as sequence tracks.

Examples are chosen from the sites on which the motif was discovered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selfattn_bio.interpret.svg import track_svg
from selfattn_bio.report.results import Results, site_positions
from selfattn_bio.sequence.alphabet import get_alphabet

COUNT = 3
FLANK = 6  # positions shown on either side of a site
HEIGHT = 44  # px


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
    if explained is None or not explained.tracks.shape[2]:
        return {}
    letters = get_alphabet(results.corpus["alphabet"]).letters
    discovery = results.discovery.drop_duplicates(["chrom", "start", "end", "name"])
    found = site_positions(discovery, explained.records)
    found = found.assign(
        end=found["position"]
        + (discovery["end"] - discovery["start"]).to_numpy()[found["site"].to_numpy(dtype=int)]
    )
    # (records, L + 1), the sum over all positions before
    up_to = np.pad(explained.attribution.cumsum(axis=1), ((0, 0), (1, 0)))
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
        track = explained.tracks[record, start - before : end + after]
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

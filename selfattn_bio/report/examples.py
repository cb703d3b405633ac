"""Example sites of each motif as letter tracks, of those that it was built from.

Hides: which sites are shown, how many letters beside them, and how a site of the other strand is turned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selfattn_bio.interpret.svg import track_svg
from selfattn_bio.report.results import Results, site_positions
from selfattn_bio.sequence.alphabet import get_alphabet

COUNT = 3
FLANK = 6  # letters on either side of a site
HEIGHT = 44  # px


@dataclass(frozen=True)
class Example:
    """A site. `place` is read below its track: the letters of the record (counted from 1), strand where there is one, and split."""

    place: str
    svg: str


def example_sites(results: Results) -> dict[str, list[Example]]:
    """Motif name -> the sites of its discovery whose letters have most relevance, most first, each read along the motif's strand.

    One a record, since sites of a repeat overlap; of a site that several records hold, the one where it has most relevance. No entry for
    motifs without a site.
    """
    explained = results.explained
    if explained is None or not explained.tracks.shape[2]:
        return {}
    letters = get_alphabet(results.corpus["alphabet"]).letters
    discovery = results.discovery.drop_duplicates(["chrom", "start", "end", "name"])
    found = site_positions(discovery, explained.records)
    found = found.assign(end=found["position"] + (discovery["end"] - discovery["start"]).to_numpy()[found["site"].to_numpy(dtype=int)])
    up_to = np.pad(explained.relevance.cumsum(axis=1), ((0, 0), (1, 0)))  # (records, L + 1): that of all letters before
    record, start, end = (found[column].to_numpy(dtype=int) for column in ("record", "position", "end"))
    found = found.assign(relevance=up_to[record, end] - up_to[record, start]).sort_values("relevance", ascending=False, kind="stable")
    shown = found.drop_duplicates("site").drop_duplicates(["name", "record"]).groupby("name", sort=False).head(COUNT)
    examples: dict[str, list[Example]] = {}
    for name, record, start, end, strand in shown[["name", "record", "position", "end", "strand"]].itertuples(index=False):
        about = explained.records.iloc[record]
        before, after = min(FLANK, start), min(FLANK, about["length"] - end)
        track = explained.tracks[record, start - before : end + after]
        if strand == "-":
            track, before = track[::-1, ::-1], after  # the letters' order is such that a letter's complement mirrors it
        place = f"letters {start + 1} to {end} of {about['id']}{f', {strand} strand' if letters == 'ACGT' else ''}, {about['split']}"
        svg = track_svg(track, letters, start=-before, shaded=(0, end - start), height=HEIGHT, label=f"{name}, {place}")
        examples.setdefault(str(name), []).append(Example(place, svg))
    return examples

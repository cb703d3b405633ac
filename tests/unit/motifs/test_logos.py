"""Test logos and tracks: the same letters, colours and positions with matplotlib and as SVG."""

import re
from xml.dom.minidom import parseString

import numpy as np
import pytest
from matplotlib.figure import Figure

from selfattn_bio.motifs.logos import BASES, OTHER_COLOUR, TICKS, WIDTH, logo, track
from selfattn_bio.sequence.alphabet import RNA

PROTEIN = "ACDEFGHIKLMNPQRSTVWY"


def on_axes(plot):
    """Return (colour, position, bottom, top) of each letter, in the units of the axis."""
    plot.draw(ax := Figure().subplots())
    found = []
    for patch in ax.patches:
        box = patch.get_path().get_extents()
        colour = "#" + "".join(f"{round(255 * x):02X}" for x in patch.get_facecolor()[:3])
        position = int((box.x0 + box.x1) / 2)
        found.append((colour, position, round(box.y0, 3), round(box.y1, 3)))
    return found


def as_svg(plot, height=60):
    """Return the same from SVG text."""
    root = parseString(plot.svg(label="a", height=height)).documentElement
    colours = {path.getAttribute("id"): path for path in root.getElementsByTagName("path")}
    found = []
    for use in root.getElementsByTagName("use"):
        numbers = re.findall(r"[-\d.e]+", use.getAttribute("transform").removeprefix("matrix"))
        _, _, _, tall, x, foot = map(float, numbers)
        colour = colours[use.getAttribute("href")[1:]].getAttribute("fill")
        bottom = plot.limits[1] - foot * plot.span / height
        top = bottom - tall * plot.span / height
        position = plot.start + int(x // WIDTH)
        found.append((colour, position, round(bottom, 3), round(top, 3)))
    return found


@pytest.mark.parametrize("drawn", [on_axes, as_svg])
@pytest.mark.parametrize(
    ("plot", "letters"),
    [
        (
            logo([[1, 0, 0, 0], [0, 0.5, 0.25, 0.25], [0.25] * 4]),
            [("A", 0, 0, 2), ("G", 1, 0, 0.125), ("T", 1, 0.125, 0.25), ("C", 1, 0.25, 0.5)],
        ),
        (track([[3, 0, 0, 0], [0, 0, -1, 0]], start=8), [("A", 8, 0, 3), ("G", 9, -1, 0)]),
        (track([[0.0] * 19 + [1.0]], PROTEIN), [("Y", 0, 0, 1)]),
        (track(np.zeros((5, 4))), []),
    ],
    ids=["logo", "track", "protein", "empty"],
)
def test_letters_are_as_tall_as_their_values(drawn, plot, letters):
    assert drawn(plot) == [
        (plot.colour(plot.letters.index(letter)), *box) for letter, *box in letters
    ]


def test_letters_have_colours_of_their_alphabet():
    colours = {letter: logo(np.eye(20), PROTEIN).colour(i) for i, letter in enumerate(PROTEIN)}
    groups = ["KRH", "DE", "GSTYC", "NQ", "AVLIPWFM"]
    assert sorted("".join(groups)) == sorted(PROTEIN)
    assert [len({colours[letter] for letter in group}) for group in groups] == [1] * 5
    assert len({*colours.values()}) == 5
    assert colours["A"] == OTHER_COLOUR != logo(np.eye(4)).colour(0)
    assert logo(np.eye(4), RNA.letters).colour(3) == BASES["T"]


def test_svg_counts_positions_from_1_and_shades():
    svg = track(np.eye(4), start=-1).svg(label="a", height=80, shaded=(0, 2))
    assert re.findall(r">(\d+)</text>", svg) == ["0"]
    assert f'width="{4 * WIDTH}" height="{80 + TICKS}"' in svg
    assert f'<rect x="{WIDTH}" width="{2 * WIDTH}" height="80"' in svg
    assert "<rect" not in track(np.eye(4)).svg(label="a")


def test_track_of_1000_bases_has_each_once():
    own = np.random.default_rng(0).integers(0, 4, 1000)
    plot = track(np.eye(4)[own])
    assert [colour for colour, *_ in as_svg(plot)] == [BASES["ACGT"[letter]] for letter in own]
    assert len(plot.svg(label="a")) < 100_000  # each glyph is defined once


def test_svg_glyph_ids_are_unique_and_labels_escaped():
    first, second = logo([[1, 0, 0, 0]]).svg(label="a"), logo([[0, 0, 0, 1]]).svg(label='<b>"')
    ids = [set(re.findall(r'id="(\w+)"', svg)) for svg in (first, second)]
    assert ids[0].isdisjoint(ids[1])
    assert "<b>" not in second

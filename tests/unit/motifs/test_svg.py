"""Test logos and tracks as SVG: same letters, colours and positions as with matplotlib."""

import re
from xml.dom.minidom import Element, parseString

import numpy as np
import pytest

from selfattn_bio.motifs.logos import COLOURS, OTHER_COLOUR
from selfattn_bio.motifs.svg import TICKS, WIDTH, logo_svg, track_svg


def letters_of(svg: str) -> list[tuple[str, int, float, float]]:
    """Return (colour, position, foot, height) of each letter, in px from the top."""
    root: Element = parseString(svg).documentElement
    colours = {
        path.getAttribute("id"): path.getAttribute("fill")
        for path in root.getElementsByTagName("path")
    }
    found = []
    for use in root.getElementsByTagName("use"):
        _, _, _, tall, x, foot = map(
            float, re.findall(r"[-\d.e]+", use.getAttribute("transform").removeprefix("matrix"))
        )
        found.append((colours[use.getAttribute("href")[1:]], int(x // WIDTH), foot, -tall))
    return found


def test_logo_heights_are_bits_with_likeliest_on_top() -> None:
    found = letters_of(logo_svg([[1, 0, 0, 0], [0.25] * 4, [0, 0.5, 0.5, 0]], height=60))
    assert found[0] == (COLOURS["A"], 0, 60, 60)
    assert sorted(found[1:]) == sorted([(found[1][0], 2, 60, 15), (found[2][0], 2, 45, 15)])
    assert {found[1][0], found[2][0]} == {COLOURS["C"], COLOURS["G"]}


def test_track_draws_negatives_below_and_counts_from_1() -> None:
    svg = track_svg([[3, 0, 0, 0], [0, 0, -1, 0]], start=8, height=80)
    assert letters_of(svg) == [(COLOURS["A"], 0, 60, 60), (COLOURS["G"], 1, 80, 20)]
    assert re.findall(r">(\d+)</text>", svg) == ["9", "10"]
    assert f'width="{2 * WIDTH}" height="{80 + TICKS}"' in svg


def test_shaded_positions_show_coordinates() -> None:
    svg = track_svg(np.eye(4), start=-1, shaded=(0, 2))
    assert f'<rect x="{WIDTH}" width="{2 * WIDTH}" height="80"' in svg
    assert "<rect" not in track_svg(np.eye(4))


def test_track_of_1000_bases_has_each_once() -> None:
    rng = np.random.default_rng(0)
    own = rng.integers(0, 4, 1000)
    svg = track_svg(np.eye(4)[own] * rng.uniform(0.5, 1, (1000, 1)))
    found = letters_of(svg)
    assert [position for _, position, _, _ in found] == list(range(1000))
    assert [colour for colour, *_ in found] == [COLOURS["ACGT"[letter]] for letter in own]
    assert len(svg) < 100_000  # each glyph is defined once


def test_residues_of_protein() -> None:
    assert letters_of(track_svg([[0.0] * 19 + [1.0]], "ACDEFGHIKLMNPQRSTVWY")) == [
        (OTHER_COLOUR, 0, 80, 80)
    ]


def test_svg_glyph_ids_are_unique_and_labels_escaped() -> None:
    first, second = logo_svg([[1, 0, 0, 0]]), logo_svg([[0, 0, 0, 1]], label='<b>"')
    ids = [set(re.findall(r'id="(\w+)"', svg)) for svg in (first, second)]
    assert ids[0].isdisjoint(ids[1])
    assert "<b>" not in second


def test_empty_track_is_its_axis() -> None:
    assert letters_of(track_svg(np.zeros((5, 4)))) == []


def test_bad_matrices_are_named() -> None:
    with pytest.raises(
        ValueError, match=r"^scores has shape \(3, 20\) instead of \(positions, 4\)$"
    ):
        track_svg(np.zeros((3, 20)))
    with pytest.raises(ValueError, match=r"^a row of ppm sums to 0.5 instead of 1$"):
        logo_svg([[0.5, 0, 0, 0]])

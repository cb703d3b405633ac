import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from selfattn_bio.motifs.logos import COLOURS, draw_letters, draw_logo, information_content


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def boxes(ax: Axes) -> list[tuple[str, float, float, float]]:
    """Return (colour, middle, bottom, top) of each letter."""
    found = []
    for patch in ax.patches:
        box = patch.get_path().get_extents()
        red, green, blue = (round(255 * x) for x in patch.get_facecolor()[:3])
        found.append(
            (
                f"#{red:02X}{green:02X}{blue:02X}",
                round((box.x0 + box.x1) / 2, 2),
                round(box.y0, 3),
                round(box.y1, 3),
            )
        )
    return found


def test_information_content_of_known_positions() -> None:
    assert information_content([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25] * 4]).tolist() == [2, 1, 0]


def test_logo_heights_are_bits_with_likeliest_on_top(ax: Axes) -> None:
    draw_logo([[1, 0, 0, 0], [0, 0.75, 0.25, 0]], ax)
    bits = 2 + 0.75 * np.log2(0.75) + 0.25 * np.log2(0.25)
    assert boxes(ax) == [
        (COLOURS["A"], 0.5, 0.0, 2.0),
        (COLOURS["G"], 1.5, 0.0, round(0.25 * bits, 3)),
        (COLOURS["C"], 1.5, round(0.25 * bits, 3), round(bits, 3)),
    ]


def test_a_position_without_information_is_empty(ax: Axes) -> None:
    draw_logo([[0.25] * 4], ax)
    assert boxes(ax) == []


def test_negative_scores_hang_below_the_axis(ax: Axes) -> None:
    draw_letters([[0.5, 0, 0, 0], [0, 0, -1.0, 0]], ax, start=10)
    assert boxes(ax) == [(COLOURS["A"], 10.5, 0.0, 0.5), (COLOURS["G"], 11.5, -1.0, 0.0)]


def test_bad_matrices_are_named(ax: Axes) -> None:
    with pytest.raises(ValueError, match=r"ppm has shape \(1, 3\) instead of \(positions, 4\)"):
        draw_logo([[1, 0, 0]], ax)
    with pytest.raises(ValueError, match=r"a row of ppm sums to 0\.5 instead of 1"):
        draw_logo([[0.5, 0, 0, 0]], ax)
    with pytest.raises(ValueError, match="scores contains nan"):
        draw_letters([[0.5, float("nan"), 0, 0]], ax)

"""Measure how fast a sequence track becomes SVG, as text and through matplotlib.

Process CPU time, median of rounds.

    python benchmarks/tracks.py
"""

import io
from collections.abc import Iterator

import numpy as np
from harness import Row, Table, median_seconds, option, run
from matplotlib.figure import Figure

from selfattn_bio.motifs.logos import draw_letters
from selfattn_bio.motifs.svg import track_svg


def through_matplotlib(scores: np.ndarray) -> str:
    """Draw the track as `Explanation.plot` does, and save it as SVG."""
    figure = Figure(figsize=(1 + 0.12 * len(scores), 1.8))
    draw_letters(scores, figure.subplots())
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    return buffer.getvalue()


def rows(rounds: int) -> Iterator[Row]:
    """Time text at two lengths, and matplotlib once at the shorter one."""
    rng = np.random.default_rng(0)
    for length in (1000, 10_000):
        scores = np.eye(4)[rng.integers(0, 4, length)] * rng.normal(size=(length, 1))
        ways = {"text": (track_svg, rounds), "matplotlib": (through_matplotlib, 1)}
        for name, (draw, times) in ways.items():
            if name == "text" or length == 1000:
                found = median_seconds({name: lambda draw=draw, of=scores: draw(of)}, times)
                yield {
                    "SVG through": name,
                    "bp": str(length),
                    "CPU s": f"{found[name]:.3f}",
                    "kB": f"{len(draw(scores)) / 1e3:.0f}",
                }


if __name__ == "__main__":
    rounds = option("--rounds", type=int, default=5, help="timed drawings (default: %(default)s)")
    run(__doc__, lambda chosen: [Table("", rows(chosen.rounds))], rounds)

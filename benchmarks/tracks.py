"""Print how fast a letter track becomes SVG: as text, and through matplotlib's patches; process CPU time, median of rounds.

python benchmarks/tracks.py
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from selfattn_bio.interpret.logos import draw_letters
from selfattn_bio.interpret.svg import track_svg


def through_matplotlib(scores: np.ndarray) -> str:
    """The track as `Explanation.plot` draws it, saved."""
    figure = Figure(figsize=(1 + 0.12 * len(scores), 1.8))
    draw_letters(scores, figure.subplots())
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    return buffer.getvalue()


def seconds(draw: Callable[[np.ndarray], str], scores: np.ndarray, rounds: int) -> float:
    """Median seconds of process CPU time."""
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        draw(scores)
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def main() -> None:
    """Time each way at each length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="timed drawings to take the median of (default: %(default)s)")
    rounds = parser.parse_args().rounds
    rng = np.random.default_rng(0)
    for length in (1000, 10_000):
        scores = np.eye(4)[rng.integers(0, 4, length)] * rng.normal(size=(length, 1))
        print(
            f"track of {length} letters as SVG text: {seconds(track_svg, scores, rounds):.3f} CPU s, {len(track_svg(scores)) / 1e3:.0f} kB"
        )
    scores = scores[:1000]
    print(f"track of 1000 letters through matplotlib: {seconds(through_matplotlib, scores, 1):.3f} CPU s")


if __name__ == "__main__":
    main()

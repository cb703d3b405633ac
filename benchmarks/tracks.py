"""Measure how fast a sequence track becomes SVG, as text and through matplotlib.

Process CPU time, median of rounds.

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
    """Draw the track as `Explanation.plot` does, and save it as SVG."""
    figure = Figure(figsize=(1 + 0.12 * len(scores), 1.8))
    draw_letters(scores, figure.subplots())
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    return buffer.getvalue()


def seconds(draw: Callable[[np.ndarray], str], scores: np.ndarray, rounds: int) -> float:
    """Return the median seconds of process CPU time."""
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        draw(scores)
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def main() -> None:
    """Time text at two lengths, and matplotlib at the shorter one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="number of timed drawings (default: %(default)s)"
    )
    rounds = parser.parse_args().rounds
    rng = np.random.default_rng(0)
    for length in (1000, 10_000):
        scores = np.eye(4)[rng.integers(0, 4, length)] * rng.normal(size=(length, 1))
        kilobytes = f"{len(track_svg(scores)) / 1e3:.0f} kB"
        took = seconds(track_svg, scores, rounds)
        print(f"track of {length} bp as SVG text: {took:.3f} CPU s, {kilobytes}")
    scores = scores[:1000]
    print(
        f"track of 1000 bp through matplotlib: {seconds(through_matplotlib, scores, 1):.3f} CPU s"
    )


if __name__ == "__main__":
    main()

"""The logger of the package, and progress of long loops: lines of level INFO, or a bar.

A program that imports the package configures logging to see them, for example with
`logging.basicConfig(level="INFO", format="%(message)s")`. Commands print them.
"""

from __future__ import annotations

import logging
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar

LOG = logging.getLogger("selfattn_bio")
SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_BARS = 0.1
BAR = 20  # characters


class Progress:
    """Report how far a loop is: a bar on a terminal, otherwise a logged line every ten seconds.

    Attributes
    ----------
    bars
        Whether stdout is a terminal, where a line can be written again. Commands set it while
        they run.
    """

    bars: ClassVar[bool] = False

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()
        self._first = math.nan  # fraction at the first update

    def update(
        self, text: Callable[[str], str], fraction: float = math.nan, *, keep: bool = False
    ) -> None:
        """Show a text, unless the last one is recent. With `keep`, it is logged in any case.

        `fraction` is the finished part of the loop, if it is known. `text` is called with the time
        that is left if the rest is as fast, such as ", about 5 s left", or "" if there is none. The
        time until the first update is left out, because it includes what happens only once.
        """
        now = time.monotonic()
        if math.isnan(self._first):
            self._start, self._first = now, fraction
        every = SECONDS_BETWEEN_BARS if Progress.bars else SECONDS_BETWEEN_LINES
        if now - self._last < every and not keep:
            return
        self._last = now
        # unknown at the first update
        left = (now - self._start) * (1 - fraction) / (fraction - self._first or math.nan)
        line = text(f", about {math.ceil(left):,} s left" if left > 0 else "")
        if keep or not Progress.bars:
            LOG.info(line)
            return
        if not math.isnan(fraction):
            line = f"{fraction:4.0%} [{'#' * round(BAR * fraction):{BAR}}] {line}"
        Progress.clear()
        print(line[: shutil.get_terminal_size().columns - 1], end="", flush=True)

    @classmethod
    def clear(cls) -> None:
        """Remove the bar from the terminal, before another line is printed."""
        if cls.bars:
            sys.stdout.write("\r\x1b[K")  # start of the line; erase to its end
            sys.stdout.flush()


def log_lines(lines: Iterable[str]) -> None:
    """Log each line of a result, with hyphens as minus signs: they are easy to search for."""
    for line in lines:
        LOG.info(line.replace("\N{MINUS SIGN}", "-"))


@contextmanager
def logging_from(level: int) -> Iterator[None]:
    """Log from this level on, and restore the earlier level at the end."""
    before = LOG.level
    LOG.setLevel(level)
    try:
        yield
    finally:
        LOG.setLevel(before)

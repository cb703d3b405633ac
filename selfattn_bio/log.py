"""The logger of the package: progress has level INFO.

A program that imports the package configures logging to see it, for example with
`logging.basicConfig(level="INFO", format="%(message)s")`. Commands print it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

LOG = logging.getLogger("selfattn_bio")


@contextmanager
def logging_from(level: int) -> Iterator[None]:
    """Log from this level on, and restore the earlier level at the end."""
    before = LOG.level
    LOG.setLevel(level)
    try:
        yield
    finally:
        LOG.setLevel(before)

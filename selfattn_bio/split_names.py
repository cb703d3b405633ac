"""The names of the splits, in run files and tables and in messages."""

from __future__ import annotations

SPLITS = ("train", "valid", "test")
SPLIT_NAMES = dict(zip(SPLITS, ("training", "validation", "test"), strict=True))

"""Records and keys for the tests of splits."""

import hashlib

import numpy as np
import pandas as pd

from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.split_table import find_copies, remove_copies, strand_keys
from selfattn_bio.split_names import SPLITS


def keys_of(*texts: str, alphabet=DNA) -> list[bytes]:
    return strand_keys((np.frombuffer(text.encode(), np.uint8) for text in texts), alphabet)


def table(labels: list[int | None], **columns: list[str | None]) -> pd.DataFrame:
    ids = [f"r{i}" for i in range(len(labels))]
    unplaced = {"chrom": None, "start": pd.NA, "end": pd.NA}
    return pd.DataFrame({"id": ids, "label": pd.array(labels, dtype="Int8"), **unplaced, **columns})


def unique_keys(num_records: int) -> list[bytes]:
    return [hashlib.sha256(str(i).encode()).digest() for i in range(num_records)]


def without_copies(
    split: pd.DataFrame, records: pd.DataFrame, keys: list[bytes], *reduced: str
) -> pd.DataFrame:
    """Return the split without copies in these splits; equal keys mean equal letters."""
    return remove_copies(
        split, find_copies(split, keys, keys, records[["label"]]), reduced or SPLITS
    )

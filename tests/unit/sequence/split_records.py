"""Records and keys for the tests of splits."""

import hashlib

import numpy as np
import pandas as pd

from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.split_table import strand_keys


def keys_of(*texts: str, alphabet=DNA) -> list[bytes]:
    return strand_keys((np.frombuffer(text.encode(), np.uint8) for text in texts), alphabet)


def table(labels: list[int | None], **columns: list[str | None]) -> pd.DataFrame:
    ids = [f"r{i}" for i in range(len(labels))]
    unplaced = {"chrom": None, "start": pd.NA, "end": pd.NA}
    return pd.DataFrame({"id": ids, "label": pd.array(labels, dtype="Int8"), **unplaced, **columns})


def unique_keys(num_records: int) -> list[bytes]:
    return [hashlib.sha256(str(i).encode()).digest() for i in range(num_records)]

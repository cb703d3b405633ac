"""Letters and motifs as arrays."""

import numpy as np

BASES = np.frombuffer(b"ACGT", dtype=np.uint8)


def ascii_of(text):
    return np.frombuffer(text.encode() if isinstance(text, str) else bytes(text), dtype=np.uint8)


def ppm_of(word):
    """Return a motif that is this word of DNA, (width, 4)."""
    return (ascii_of(word)[:, None] == BASES).astype(float)

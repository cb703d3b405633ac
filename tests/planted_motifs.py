"""Sequences with planted motifs for the tests of evidence."""

import numpy as np

WORDS = {"used": b"TATCGATA", "ignored": b"GGTCACAC"}
PPMS = {
    name: np.eye(4)[[b"ACGT".index(bytes([letter])) for letter in word]]
    for name, word in WORDS.items()
}

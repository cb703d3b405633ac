"""Sequences with planted motifs."""

import numpy as np
import pandas as pd
from letters import BASES, ascii_of, ppm_of

from selfattn_bio.evidence.records import Scored
from selfattn_bio.evidence.verdicts import weigh_evidence
from selfattn_bio.motifs.matching import find_hits, one_hot
from selfattn_bio.sequence.alphabet import DNA

WORDS = {"used": b"TATCGATA", "ignored": b"GGTCACAC"}
PPMS = {name: ppm_of(word) for name, word in WORDS.items()}
SITES = dict.fromkeys(WORDS, 100)


def plant(words, num, length, seed=0, chance=1.0):
    """Return records that have each word, of 8 bp, with this chance at random, and the sites."""
    rng = np.random.default_rng(seed)
    letters, rows = rng.choice(BASES, (num, length)), []
    for record, of_record in enumerate(np.broadcast_to(chance, num)):
        starts = rng.permutation(np.arange(0, length - 8, 9)) + rng.integers(0, 2)
        for (name, word), start in zip(words.items(), starts.tolist(), strict=False):
            if rng.random() < of_record:
                letters[record, start : start + 8] = ascii_of(word)
                rows.append((name, record, start, start + 8, "+"))
    return list(letters), pd.DataFrame(rows, columns=["name", "record", "start", "end", "strand"])


def weigh(held_out, scores, ppms=PPMS):
    """Return the evidence for motifs, by name."""
    sites, limits = dict.fromkeys(ppms, 100), dict.fromkeys(ppms, 1e-4)
    hits = find_hits(ppms, sites, held_out.sequences, 1e-4, DNA)
    return weigh_evidence(ppms, sites, hits, Scored(held_out, scores), limits).set_index("name")


def planted_words(words, alphabet=DNA, num=300, length=100, seed=0, halves=0.0, noise=0.05):
    """Return records with one word each and scores that are high there.

    DNA words are on either strand. In some records only one half of the word has high scores.
    """
    rng = np.random.default_rng(seed)
    size = len(alphabet.letters)
    letters = rng.choice(ascii_of(alphabet.letters.encode()), (num, length))
    scores = rng.normal(scale=noise, size=(num, length, size)).astype(np.float32)
    truth = []
    for row in range(num):
        which = row % len(words)
        word = ascii_of(words[which])
        if alphabet.has_complement and rng.random() < 0.5:
            word = alphabet.reverse_complement(word)
        start = rng.integers(5, length - 20)
        letters[row, start : start + len(word)] = word
        seen = np.ones(len(word))
        if rng.random() < halves:
            seen[: len(word) // 2] = rng.integers(2)
            seen[len(word) // 2 :] = 1 - seen[0]
        scores[row, start : start + len(word)] += seen[:, None] * (
            one_hot(word, alphabet) - np.float32(1 / size)
        )
        truth.append((which, row, start, start + len(word)))
    return letters, scores, pd.DataFrame(truth, columns=["word", "record", "start", "end"])


def hits_in(records):
    return pd.DataFrame({"record": records})


def read(pattern):
    return bytes(ascii_of(pattern.alphabet.letters.encode())[pattern.pfm.argmax(axis=1)])

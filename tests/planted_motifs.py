"""Sequences with planted motifs for the tests of evidence."""

from letters import ppm_of

from selfattn_bio.evidence.records import Scored
from selfattn_bio.evidence.verdicts import weigh_evidence
from selfattn_bio.motifs.matching import find_hits

WORDS = {"used": b"TATCGATA", "ignored": b"GGTCACAC"}
PPMS = {name: ppm_of(word) for name, word in WORDS.items()}
SITES = dict.fromkeys(WORDS, 100)


def weigh(held_out, scores, ppms=PPMS):
    """Return the evidence for motifs, by name."""
    hits = find_hits(ppms, SITES, held_out.sequences, 1e-4)
    return weigh_evidence(ppms, SITES, hits, Scored(held_out, scores), hit_p=1e-4).set_index("name")

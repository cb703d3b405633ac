"""Test which patterns are copies of others."""

import numpy as np
import pandas as pd
import pytest
from letters import BASES, ascii_of, ppm_of

from selfattn_bio.motifs.patterns import SeqletPattern, align, refine_patterns
from selfattn_bio.sequence.alphabet import PROTEIN

WORD = ppm_of("CATATG")
SPACER, WEAK = np.full((4, 4), 0.25), np.tile([0.65, 0.15, 0.1, 0.1], (5, 1))
OTHER = ppm_of("GGAAG")


def pattern_of(ppm, records, first, strand):
    """Return a pattern with a site in each record, which begins with its position `first`."""
    start = first if strand == "+" else first - len(ppm)
    sites = pd.DataFrame({"record": range(records), "start": start, "end": start + len(ppm)})
    counts = np.rint(ppm * records).astype(int)
    return SeqletPattern(counts, sites.assign(strand=strand))


def kept_of(*patterns):
    """Return the patterns that are no copies of others."""
    records, silent = [np.full(50, ord("A"), np.uint8)] * 60, [np.zeros(50)] * 60
    # without attribution no hit is relevant, so the patterns keep their sites
    return refine_patterns(patterns, records, silent)


@pytest.mark.parametrize("strand", ["+", "-"])
@pytest.mark.parametrize(
    ("more", "number"),
    [([SPACER, WEAK], 1), ([SPACER, OTHER], 2), ([WEAK] * 3, 2)],
    ids=["weak flank", "another motif", "as many bits as another motif"],
)
def test_a_longer_copy_is_not_another_motif(more, number, strand):
    short = pattern_of(WORD, 60, 25, strand)
    long = pattern_of(np.vstack([WORD, *more]), 40, 25, strand)
    assert kept_of(long, short) == [short, long][:number]


def test_a_shorter_motif_at_the_end_of_a_longer_one_is_kept():
    long = pattern_of(np.vstack([WORD, SPACER, OTHER]), 60, 25, "+")
    short = pattern_of(np.vstack([OTHER[1:], WEAK]), 40, 36, "+")
    assert kept_of(short, long) == [long, short]


@pytest.mark.parametrize("at_end", [False, True])
def test_columns_that_few_sites_have_are_no_part(at_end):
    rng = np.random.default_rng(0)
    records = list(rng.choice(BASES, (103, 40)))
    starts = np.where(np.arange(103) < 100, rng.integers(0, 3, 103), 8)
    for record, start in zip(records, starts, strict=True):
        record[start : start + 6] = ascii_of("CATATG")
        if start == 8:  # relatives: the same letters before the site
            record[:8] = ascii_of("GATTACAG")
    strand, first = "+", starts - 6
    if at_end:
        records = [BASES[3 - np.searchsorted(BASES, record)][::-1] for record in records]
        strand, first = "-", 40 - starts - 12
    sites = pd.DataFrame(
        {"record": range(103), "start": first, "end": first + 18, "strand": strand}
    )
    found = align(sites, records)
    np.testing.assert_array_equal(found.pfm, np.rint(WORD * 103))


@pytest.mark.parametrize(("first", "width"), [("M", 6), ("MA", 16), ("C", 16)])
def test_initiator_methionine_does_not_begin_a_motif(first, width):
    rng = np.random.default_rng(0)
    records = list(rng.choice(ascii_of(PROTEIN.letters), (60, 40)))
    for number, record in enumerate(records):
        record[0] = ord(first[number % len(first)] if number % 4 == 0 else first[0])
        record[10:16] = ascii_of("HPDRCC")
    if len(first) > 1:  # starts that are not those of complete proteins
        records += [np.append(ascii_of("A"), record) for record in records[:9]]
    sites = pd.DataFrame({"record": range(60), "start": -6, "end": 22, "strand": "+"})
    found = align(sites, records, PROTEIN)
    assert len(found.pfm) == width

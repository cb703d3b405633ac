"""Test which positions `Explanation.plot` and `Substitutions.plot` draw."""

import numpy as np
import pandas as pd
import pytest
from letters import ascii_of

from selfattn_bio.attribution.explanation import Explanation
from selfattn_bio.attribution.plot_regions import best_window
from selfattn_bio.errors import ArgumentError
from selfattn_bio.evidence.variants import Substitutions

SITE = (880, 888)


@pytest.fixture
def explanation():
    """Return a record of 1,000 bp with small random scores, and large ones at `SITE`."""
    scores = np.random.default_rng(0).normal(0, 0.02, (1, 1000, 4)).astype(np.float32)
    scores[0, slice(*SITE)] += 1
    record = {"id": "a", "target": "label", "length": 1000}
    record |= {"chrom": "chr1", "start": 5000, "end": 6000, "strand": "-"}
    letters = ascii_of(b"ACGT" * 250)[None]
    return Explanation(pd.DataFrame([record]), letters, scores, scores[..., 0], "dna")


def limits(figure):
    return figure.axes[0].get_xlim()


def test_default_region_has_the_planted_site(explanation):
    start, end = limits(explanation.plot(0))
    assert end - start == 100
    assert start + 10 < SITE[0] < SITE[1] < end - 10
    labels = [int(label.get_text()) for label in explanation.plot(0).axes[0].get_xticklabels()]
    assert start <= labels[0] < labels[-1] < end
    html = explanation._repr_html_()
    assert "positions 1 to" not in html
    assert "of 1000" in html


@pytest.mark.parametrize(
    ("region", "drawn"),
    [
        ((870, 900), (870, 900)),
        ((np.int64(0), np.int64(1)), (0, 1)),
        ("all", (0, 1000)),
        ("a:871-900", (870, 900)),
        ("a:971", (970, 1000)),
        ("chr1:5,101-5,130", (870, 900)),  # the record is on the reverse strand
    ],
)
def test_region_chooses_the_positions(explanation, region, drawn):
    assert limits(explanation.plot(0, region)) == drawn


@pytest.mark.parametrize(
    "region",
    [
        *((900, 870), (5, 5), (-5, 10), (990, 1001), (1, 2, 3), (0.5, 9), 7),
        *("b:1-9", "a:0-9", "a:9-5", "a:5-1001", "9-20", "chr1:1-9", "chr2:5101-5130", ""),
    ],
)
def test_wrong_region_is_an_error(explanation, region):
    with pytest.raises(ArgumentError, match=r"is not within 'a', which has positions \[0, 1000\)"):
        explanation.plot(0, region)


def test_substitutions_are_drawn_on_the_chromosome():
    rows = [
        ("chr1", position, "A", alt, -float(5401 <= position <= 5408))
        for position in [*range(5001, 5601), 5701]
        for alt in "CGT"
    ]
    table = pd.DataFrame(rows, columns=["chrom", "pos", "ref", "alt", "effect"])
    found = Substitutions(table)
    start, end = limits(found.plot())
    assert end - start == 100
    assert start < 5390 < 5418 < end
    assert limits(found.plot("chr1:5,401-5,408")) == limits(found.plot((5400, 5408)))
    assert limits(found.plot("all")) == (5000, 5701)
    with pytest.raises(ArgumentError, match=r"which has positions \[5000, 5701\)"):
        found.plot("chr1:1-9")
    with pytest.raises(ArgumentError, match="there are no substitutions at chr1:5611-5620"):
        found.plot((5610, 5620))


def test_window_of_a_short_or_flat_sequence():
    assert best_window([]) == (0, 0)
    assert best_window([1.0] * 40) == (0, 40)
    assert best_window([0.0] * 300) == (100, 200)

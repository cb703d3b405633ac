"""Test simulated sites for any grammar.

Sites are within their record, do not overlap, and contain only letters that are possible in their
motif.
"""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from selfattn_bio.interpret.grammar import Grammar
from selfattn_bio.interpret.simulation import simulate
from selfattn_bio.sequence.alphabet import DNA

LABELS = [
    "TAL1::TCF3 (MA0091.2)",
    "GATA2 (MA0036.4)",
    "CTCF (MA0139.2)",
    "FOS::JUN (MA0099.4)",
    "NFYA (MA0060.4)",
]
MOTIFS = st.lists(st.sampled_from(LABELS), min_size=1, max_size=3, unique=True)
RANGES = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(sorted)
STRANDS = st.sampled_from(["+", "-", "either"])
SITES = st.fixed_dictionaries({"motifs": MOTIFS, "number": RANGES, "strand": STRANDS})
PAIR = st.fixed_dictionaries(
    {
        "first": st.just(LABELS[:1]),
        "second": st.just(LABELS[1:2]),
        "spacing": RANGES,
        "order": st.sampled_from(["given", "either"]),
        "strand": STRANDS,
        "orientation": st.sampled_from(["same", "opposite", "either"]),
        "presence": st.floats(0.1, 1),
    },
    optional={"bystanders": MOTIFS},
)
FRACTIONS = {
    "shuffled": 0.25,
    "thinned": 0.25,
    "half_pair": 0.25,
    "far_pair": 0.125,
    "swapped_pair": 0.125,
}
FIELDS = {"thinned": {"keep": 0.5}, "far_pair": {"spacing": [10, 20]}}


@settings(deadline=None, max_examples=60, derandomize=True)
@given(sites=SITES, pair=PAIR, other=PAIR, seed=st.integers(0, 2**64))
def test_sites_are_within_apart_and_possible(sites, pair, other, seed):
    other = other | {"first": LABELS[2:3], "second": LABELS[3:4]}
    negatives = {
        name: {"fraction": fraction} | FIELDS.get(name, {}) for name, fraction in FRACTIONS.items()
    }
    grammar = Grammar.model_validate(
        {
            "records": 32,
            "length": 300,
            "sites": {"a": sites},
            "pairs": {"b": pair, "c": other},
            "negatives": negatives,
        }
    )
    made, ppms = simulate(grammar, seed), grammar.ppms()
    assert Counter(made.records["label"]) == {1: 16, 0: 16}
    rows = {name: made.letters[row] for row, name in enumerate(made.records["id"])}
    end_before = dict.fromkeys(rows, 0)
    for site in made.truth.itertuples():
        assert end_before[site.id] <= site.start < site.end <= 300
        end_before[site.id] = site.end
        letters = rows[site.id][site.start : site.end]
        codes = DNA.codes(DNA.reverse_complement(letters) if site.strand == "-" else letters)
        assert (ppms[site.motif][np.arange(len(codes)), codes] > 0).all()
    in_pairs = made.truth[made.truth["pair"] != ""]
    assert set(in_pairs.groupby(["id", "pair"]).size()) <= {2}
    assert set(in_pairs["kind"]) <= {"positive", "thinned"}
    assert not (made.truth["kind"] == "shuffled").any()
    assert simulate(grammar, seed).letters.tobytes() == made.letters.tobytes()

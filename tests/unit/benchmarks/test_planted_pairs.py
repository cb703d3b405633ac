"""Test the planted tasks of two inputs: the position in one input does not predict the label."""

import numpy as np
import pytest
from scipy.stats import chisquare


@pytest.mark.parametrize("name", ["two_sequences", "dna_and_protein", "dna_and_track"])
def test_planted_positions_do_not_predict_label(name):
    import two_inputs

    # by input and label: number of sites per position; 63 means no site
    rng, counts = np.random.default_rng(0), np.zeros((2, 2, 64))
    for label in (0, 1):
        for _ in range(6000):
            for i, place in enumerate(getattr(two_inputs, name)(rng, label)[2:]):
                counts[i, label, 63 if place is None else place[0]] += 1
    for of_input in counts:
        both = of_input[:, of_input.sum(0) > 0]
        expected = np.broadcast_to(both.mean(0), both.shape)
        assert chisquare(both.ravel(), expected.ravel(), ddof=both.shape[1]).pvalue > 1e-3


def test_motif_overlaps_peak_only_in_positives():
    from two_inputs import DNA_MOTIFS, dna_and_track

    rng = np.random.default_rng(0)
    for i in range(400):
        letters, numbers, (at, length), (there, span) = dna_and_track(rng, i % 2)
        assert letters[at : at + length] == DNA_MOTIFS[0]
        assert (len(letters), len(numbers), span) == (64, 64, 16)
        assert numbers[there : there + span].min() > 0.3
        inside, apart = (
            there <= at and at + length <= there + span,
            at + length <= there or there + span <= at,
        )
        assert (inside, apart) == ((True, False) if i % 2 else (False, True))

"""Test augmentation: shifts, reverse complements, substitutions and random edits."""

from types import SimpleNamespace

import numpy as np
import pytest
from letters import ascii_of
from small_corpus import fasta, ingested

from selfattn_bio.config import run_file_of
from selfattn_bio.data.inputs import Augmentation, Edits
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.training.data import SplitRecords, Stream

EDITED = ascii_of("AAAAAAAAAACCCCCCCCCCGGGGGGGGGGTTTTTTTTTT")
LETTERS = ascii_of("AACCGGTTAACCGGTTGATC")
CORPUS = SimpleNamespace(alphabet=DNA, letters=lambda i: LETTERS)


def edited(draws=300, letters=EDITED, **settings):
    none = {"per_record": 1, "longest": 0, "translocation": 0, "substitution": 0.0}
    edits = Edits(**none | settings)
    rng = np.random.default_rng(0)
    return [bytes(edits.apply(letters, rng)) for _ in range(draws)]


def test_edits_keep_the_length():
    all_kinds = {"per_record": 2, "longest": 12, "translocation": 24, "substitution": 0.1}
    for settings in ({"longest": 12}, {"translocation": 24}, all_kinds):
        assert {len(text) for text in edited(**settings)} == {len(EDITED)}
    assert {len(text) for text in edited(longest=12, letters=EDITED[:3])} == {3}


def test_translocation_is_a_rotation():
    text = bytes(EDITED)
    assert set(edited(translocation=2)) == {text[i:] + text[:i] for i in (-2, -1, 0, 1, 2)}


def test_substitutions_use_bases_of_the_record():
    seen = np.array([np.frombuffer(text, np.uint8) for text in edited(substitution=0.4)])
    assert np.mean(seen != EDITED) == pytest.approx(0.4 * 0.75, abs=0.02)
    assert set(b"".join(edited(substitution=0.99, letters=EDITED[:20]))) == set(b"AC")


def pieces_kept(text, size):
    """Return whether one insertion or deletion of at most `size` letters explains the text.

    The ends are ignored.
    """
    original = bytes(EDITED)
    for at in range(len(original) + 1):
        for number in range(1, size + 1):
            for first in range(number + 1):
                longer = original[:at] + b"." * number + original[at:]
                shorter = original[:at] + original[at + number :]
                shorter = b"." * first + shorter + b"." * (number - first)
                for pattern in (longer[first : first + len(original)], shorter):
                    if all(p in (46, t) for p, t in zip(pattern, text, strict=False)):
                        return True
    return False


def test_insertions_and_deletions_change_one_stretch():
    texts = edited(draws=40, longest=4)
    assert all(pieces_kept(text, 4) for text in texts)
    assert len(set(texts)) > 20
    assert not pieces_kept(bytes(EDITED[::-1]), 4)


def test_edits_are_reproducible_and_end_after_their_epochs():
    corpus = SimpleNamespace(alphabet=DNA, letters=lambda i: EDITED)
    edits = Edits(substitution=0.1)  # and the defaults, up to 12 and 24 positions
    augmentation = Augmentation(0, False, 1, seed=0, edits=edits, edited_epochs=3)
    seen = [bytes(augmentation.view(corpus, 0, epoch)[0]) for epoch in range(6)]
    assert len(set(seen[:3])) == 3
    assert set(seen[3:]) == {bytes(EDITED)}
    again, other = (bytes(augmentation.view(corpus, row, 1)[0]) for row in (0, 1))
    assert seen[1] == again != other


def test_edits_stop_after_a_fraction_of_the_epochs(tmp_path):
    records = fasta(tmp_path / "r.fa", *("ACGT" * 5 + "A" * i for i in range(20)))
    corpus = ingested([records], tmp_path / "corpus", labels=[1])
    data = 'data = { positives = "p.fa", negatives = "n.fa" }\n'
    training = "training = { max_steps = 8, batch_size = 10, edits = { until = 0.5 } }"
    run = run_file_of(data + training, "run.toml")
    stream = Stream(run, corpus, SplitRecords(np.arange(20), np.ones(20)))
    assert stream.augmentation.edited_epochs == 2  # of 4


def test_shift_moves_an_edge_and_adds_no_base():
    augmentation = Augmentation(shift=3, reverse_complement=False, min_length=1, seed=0)
    seen = {bytes(augmentation.view(CORPUS, 0, epoch)[0]) for epoch in range(200)}
    text = bytes(LETTERS)
    assert seen == {text, text[1:], text[2:], text[3:], text[:-1], text[:-2], text[:-3]}


def test_reverse_complement_half_of_the_times():
    augmentation = Augmentation(shift=0, reverse_complement=True, min_length=1, seed=0)
    seen = [bytes(augmentation.view(CORPUS, 0, epoch)[0]) for epoch in range(400)]
    turned = seen.count(bytes(DNA.reverse_complement(LETTERS)))
    assert turned / 400 == pytest.approx(0.5, abs=0.08)
    assert turned + seen.count(bytes(LETTERS)) == 400


def test_records_keep_their_minimum_length():
    augmentation = Augmentation(shift=30, reverse_complement=False, min_length=18, seed=0)
    assert min(len(augmentation.view(CORPUS, 0, epoch)[0]) for epoch in range(100)) == 18


def test_fraction_of_bases_is_resampled():
    augmentation = Augmentation(0, False, min_length=1, seed=0, substitution=0.4)
    seen = np.array([augmentation.view(CORPUS, 0, epoch)[0] for epoch in range(500)])
    assert set(seen.ravel()) == set(b"ACGT")
    # A quarter of the sampled letters equals the original
    assert np.mean(seen != LETTERS) == pytest.approx(0.3, abs=0.02)
    assert np.array_equal(seen[7], augmentation.view(CORPUS, 0, 7)[0])


def test_shifted_record_length_is_a_multiple():
    augmentation = Augmentation(shift=2, reverse_complement=True, min_length=1, seed=0, multiple=5)
    length = (len(LETTERS) - 4) // 5 * 5
    views = [augmentation.view(CORPUS, 0, epoch) for epoch in range(200)]
    starts = {(view.first, view.last - view.first) for _, view in views}
    assert starts == {(first, length) for first in range(5)}
    for letters, (first, last, turned) in views:
        expected = LETTERS[first:last]
        assert bytes(letters) == bytes(DNA.reverse_complement(expected) if turned else expected)

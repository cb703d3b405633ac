"""Check that windows along a sequence score as single windows, with or without a shared stem."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from genome_models import random_letters, run_file, scorer_of
from numpy.lib.stride_tricks import sliding_window_view

from selfattn_bio import config
from selfattn_bio.baselines import Baseline, Setup
from selfattn_bio.scoring import windows as module
from selfattn_bio.scoring.scorer import Ensemble, Scorer
from selfattn_bio.scoring.stack import Stack
from selfattn_bio.scoring.windows import GenomeWindows, SharedStem, in_threads, strand_outputs, unit
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.policy import SequencePolicy


def conv(kernel=9, tokens=None, **stem):
    return run_file(tokens, stem={"kind": "conv", "token_dim": 6, "kernel": kernel, **stem})


def both_strands(scorer):
    """Return the scorer with the mean of both strands as its logits."""
    section = config.EvaluationSection(strands="both")
    return replace(scorer, run=scorer.run.model_copy(update={"evaluation": section}))


def one_by_one(scorer, letters, windows):
    views = sliding_window_view(letters, windows.size)[:: windows.stride]
    strands = (views, [*map(DNA.reverse_complement, views)])
    return np.stack([scorer.outputs(each) for each in strands])


PROMOTER = conv(pool=8, second_kernel=5)
CLS = run_file(stem={"kind": "conv"}, head={"kind": "cls"}, position={"kind": "sinusoidal"})
SHARED = {
    "as in the promoter task": (PROMOTER, GenomeWindows(150, 24)),
    "the last vector is complete": (PROMOTER, GenomeWindows(154, 16)),
    "a kernel wider than the pool": (conv(15, pool=4, second_kernel=3), GenomeWindows(100, 8)),
    "no second neighbours": (conv(3, pool=2, second_kernel=1), GenomeWindows(61, 6)),
    "no pooling": (conv(5, pool=1, second_kernel=5), GenomeWindows(50, 7)),
    "2 members": (run_file(members=2, stem={"kind": "conv"}), GenomeWindows(150, 16)),
    "tokens 3 bp apart": (conv(pool=2, tokens={"k": 4, "stride": 3}), GenomeWindows(120, 12)),
    "a cls head and positions": (CLS, GenomeWindows(150, 8)),
}
PLAIN = {
    "no stem": (run_file(stem={"kind": "none"}), GenomeWindows(60, 10)),
    "a stride off the pooling": (conv(), GenomeWindows(150, 12)),
    "each window has its own mean": (conv(norm="record"), GenomeWindows(150, 16)),
    "windows as short as their edges": (conv(), GenomeWindows(60, 8)),
    "a cnn": (run_file(kind="cnn", channels=(4, 4, 4), hidden_dim=4), GenomeWindows(90, 9)),
}


@pytest.mark.parametrize("case", SHARED | PLAIN)
def test_shared_stem_scores_equal_single_windows(case, monkeypatch):
    run, windows = (SHARED | PLAIN)[case]
    monkeypatch.setattr(module, "BATCH", 5)
    scorer, letters = scorer_of(run), random_letters(windows.span(13))
    letters[200 : 200 + 9] = ord("N")
    expected = one_by_one(scorer, letters, windows)
    assert (SharedStem.of(scorer, windows) is None) == (case in PLAIN)
    np.testing.assert_allclose(
        strand_outputs(scorer, letters, windows), expected, rtol=0, atol=1e-5
    )
    assert expected.std() > 1e-3  # otherwise every comparison would pass


def test_shared_stem_computes_few_vectors():
    shared = SharedStem.of(scorer_of(PROMOTER), GenomeWindows(300, 24))
    assert (shared.num_tokens, shared.size, shared.edges, shared.margin) == (298, 38, (1, 2), 2)


class LengthOfRun(Baseline):
    """Count the bases that equal the one before, and add the code of the first base."""

    def _outputs(self, letters):
        return np.array([[float((row[1:] == row[:-1]).sum()) + row[0]] for row in letters])

    chosen = _fit = _effects = _state = _restore = None  # not used


@pytest.mark.parametrize("strands", ["given", "both"])
def test_shared_stem_with_a_stack(strands):
    windows, letters = GenomeWindows(150, 16), random_letters(GenomeWindows(150, 16).span(5))
    part = LengthOfRun(Setup(SequencePolicy(DNA)))
    stack = Stack((part,), np.array([[0.5], [0.1]]), np.array([2.0]))
    scorer = replace(scorer_of(conv()), stack=stack)
    if strands == "both":
        scorer = both_strands(scorer)
    assert SharedStem.of(scorer, windows) is not None
    expected = one_by_one(scorer, letters, windows)[: 1 if strands == "both" else 2]
    found = strand_outputs(scorer, letters, windows)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_shared_stem_averages_models():
    runs = conv(), run_file(tokens={"k": 2}, stem={"kind": "conv", "pool": 4})
    members = tuple(scorer_of(run, seed) for seed, run in enumerate(runs))
    windows, letters = GenomeWindows(150, 8), random_letters(GenomeWindows(150, 8).span(4))
    expected = np.mean([strand_outputs(member, letters, windows) for member in members], axis=0)
    np.testing.assert_allclose(strand_outputs(Ensemble(members), letters, windows), expected)
    assert unit(Ensemble(members)) == 8


@pytest.mark.parametrize("stem", [{"kind": "conv"}, {"kind": "none"}])
def test_both_strand_model_has_one_logit_per_window(stem, monkeypatch):
    windows, one = GenomeWindows(150, 16), scorer_of(run_file(stem=stem))
    scorer, letters = both_strands(one), random_letters(windows.span(5))
    given, read, plain = strand_outputs(one, letters, windows), [], Scorer.of_each
    monkeypatch.setattr(Scorer, "of_each", lambda *inputs: read.append(1) or plain(*inputs))
    found = strand_outputs(scorer, letters, windows)
    assert len(read) == (0 if stem["kind"] == "conv" else 2)  # each strand once
    np.testing.assert_allclose(found, given.mean(axis=0, keepdims=True), atol=1e-5)
    mixed = strand_outputs(Ensemble((one, scorer)), letters, windows)
    np.testing.assert_allclose(mixed, (given + found) / 2, atol=1e-5)


def test_number_and_stride_of_windows():
    assert GenomeWindows(10, 3).number(9) == 0
    assert [GenomeWindows(10, 3).number(length) for length in (10, 12, 13)] == [1, 1, 2]
    for stride in (0, 11):
        with pytest.raises(ValueError, match=f"stride {stride} is not between 1 and the window"):
            GenomeWindows(10, stride)
    with pytest.raises(ValueError, match="67 bases do not end with a window of 60 bp at a stride"):
        strand_outputs(scorer_of(run_file()), random_letters(67), GenomeWindows(60, 8))
    assert unit(scorer_of(conv(pool=4, tokens={"k": 3, "stride": 2}))) == 8
    assert unit(scorer_of(run_file(stem={"kind": "none"}))) == 1


# ------------ threads
@pytest.mark.parametrize("threads", [1, 3])
def test_results_are_in_order_and_few_are_computed_ahead(threads):
    read, before = [], torch.get_num_threads()
    parts = ((number,) for number in range(9) if read.append(number) is None)
    found = in_threads(lambda number: (number, torch.get_num_threads()), parts, threads)
    for number, each in enumerate(found):
        assert each == (number, before if threads == 1 else 1)
        assert len(read) <= number + 1 + threads
    assert len(read) == 9
    assert torch.get_num_threads() == before


def test_parts_run_at_the_same_time():
    barrier = threading.Barrier(2, timeout=60)
    assert list(in_threads(lambda _: barrier.wait() >= 0, [(0,), (1,)], 2)) == [True, True]


def test_error_ends_the_threads():
    def fails(number):
        if number == 2:
            raise ValueError("part 2")
        return number

    before, number = threading.active_count(), torch.get_num_threads()
    with pytest.raises(ValueError, match="part 2"):
        list(in_threads(fails, [(i,) for i in range(9)], 2))
    assert (threading.active_count(), torch.get_num_threads()) == (before, number)

"""Check that parts are computed side by side, in order, and a few at a time."""

import threading

import pytest
import torch

from selfattn_bio.scoring.windows import in_threads


@pytest.mark.parametrize("threads", [1, 3])
def test_results_are_in_order_and_few_are_computed_ahead(threads):
    read, before = [], torch.get_num_threads()
    found = in_threads(
        lambda number: (number, torch.get_num_threads()),
        ((number,) for number in range(9) if read.append(number) is None),
        threads,
    )
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

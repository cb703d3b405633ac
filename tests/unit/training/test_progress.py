import math

from selfattn_bio.training.progress import Progress, StepTotals


def test_best_evaluations_are_kept_in_order():
    progress = Progress()
    for value in (0.5, 0.7, math.nan, 0.7, 0.6):
        progress.add_step(StepTotals(1.0, 10, 4))
        progress.add_evaluation({"step": progress.step}, value, 3)
    # of equal values, the earlier one wins
    assert progress.best_steps == [[0.7, 2], [0.7, 4], [0.6, 5]]
    assert progress.best_step == 2
    assert [row["step"] for row in progress.history] == [1, 2, 3, 4, 5]


def test_undefined_value_is_the_worst():
    progress = Progress(step=1)
    progress.add_evaluation({"step": 1}, math.nan, 2)
    progress.step = 2
    progress.add_evaluation({"step": 2}, -5.0, 2)
    assert progress.best_steps == [[-5.0, 2], [-math.inf, 1]]


def test_evaluation_starts_a_new_mean_loss():
    progress = Progress()
    for loss in (1.0, 2.0):
        progress.add_step(StepTotals(loss, 10, 4))
    assert (progress.loss_sum, progress.loss_steps, progress.letters, progress.tokens) == (
        3.0,
        2,
        20,
        8,
    )
    assert not progress.is_evaluated
    progress.add_evaluation({"step": 2}, 0.5, 1)
    assert (progress.loss_sum, progress.loss_steps) == (0.0, 0)
    assert progress.is_evaluated

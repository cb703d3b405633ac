import math

from selfattn_bio.training.history import History, StepTotals


def test_best_evaluations_are_kept_in_order():
    history = History()
    for value in (0.5, 0.7, math.nan, 0.7, 0.6):
        history.add_step(StepTotals(1.0, 10, 4))
        history.add_evaluation({"step": history.step}, value, 3)
    # of equal values, the earlier one wins
    assert history.best_steps == [[0.7, 2], [0.7, 4], [0.6, 5]]
    assert history.best_step == 2
    assert [row["step"] for row in history.rows] == [1, 2, 3, 4, 5]


def test_undefined_value_is_the_worst():
    history = History(step=1)
    history.add_evaluation({"step": 1}, math.nan, 2)
    history.step = 2
    history.add_evaluation({"step": 2}, -5.0, 2)
    assert history.best_steps == [[-5.0, 2], [-math.inf, 1]]


def test_evaluation_starts_a_new_mean_loss():
    history = History()
    for loss in (1.0, 2.0):
        history.add_step(StepTotals(loss, 10, 4))
    assert (history.loss_sum, history.loss_steps, history.letters, history.tokens) == (
        3.0,
        2,
        20,
        8,
    )
    assert not history.is_evaluated
    history.add_evaluation({"step": 2}, 0.5, 1)
    assert (history.loss_sum, history.loss_steps) == (0.0, 0)
    assert history.is_evaluated

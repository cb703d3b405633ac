import pandas as pd
from matplotlib.figure import Figure

from selfattn_bio.report import plots


def test_a_single_evaluation_is_seen() -> None:
    history = pd.DataFrame({"step": [50], "train_loss": [0.7], "valid_loss": [0.6], "valid_auroc": [0.8]})
    with plots.style():
        figure = Figure()
        plots.draw_learning_curves(history, figure.subplots())
    curves = {line.get_label(): line.get_marker() for ax in figure.axes for line in ax.get_lines() if not line.get_label().startswith("_")}
    assert curves == dict.fromkeys(("train loss", "valid loss", "valid AUROC"), "o")

# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Scores of a task's model
#
# Shows how the model of the results folder scored the test records, and scores sequences with it.
# Run it from the root of the project as
#
#     jupytext --to ipynb --output - notebooks/scoring.py |
#         papermill - scoring.ipynb -p task promoter
#
# or open the notebook in the results folder.

# %% tags=["parameters"]
task = "promoter"

# %%
import os
from pathlib import Path

import matplotlib as mpl
from IPython.display import Markdown, display

from selfattn_bio import Study, score_sequences
from selfattn_bio.errors import ArgumentError
from selfattn_bio.figure import DisplayedFigure
from selfattn_bio.report import plots, words

if not Path("workflows/tasks").exists():  # opened in the results folder
    os.chdir("../..")
study = Study(task)
if study.task.objective.kind != "binary":
    raise ArgumentError(f"the plots of task {task!r} are in its report; this shows two classes")
metrics, test = study.evaluation.metrics, study.evaluation.predictions["test"]
mpl.rcParams.update(plots.STYLE)

# %% [markdown]
# ## Result

# %%
display(Markdown(" ".join(words.baseline_sentence(metrics))))

# %% [markdown]
# ## Scores
#
# Calibrated probabilities of the test records of both classes. The dotted line is the threshold
# chosen on the validation set: records at or above it are called positive. Less overlap is better.

# %%
figure = DisplayedFigure(figsize=(5, 2.6), layout="constrained")
plots.draw_scores(
    test["label"],
    test["model_calibrated"],
    figure.subplots(),
    metrics["test"]["model"]["chosen"]["calibrated_threshold"],
)
display(figure)

# %% [markdown]
# ## Calibration
#
# Predicted probability (horizontal) and fraction of positives among the test records that got it
# (vertical). On the diagonal the probabilities are correct, for data with the same fraction of
# positives.

# %%
figure = DisplayedFigure(figsize=(3.4, 3.4), layout="constrained")
plots.draw_calibration(test["label"], test["model"], test["model_calibrated"], figure.subplots())
display(figure)

# %% [markdown]
# ## Largest errors
#
# The test records whose probability is farthest from their label. Some may be mislabelled.

# %%
display(
    test.assign(off=(test["label"] - test["model_calibrated"]).abs()).nlargest(10, "off")[
        ["id", "label", "model_calibrated"]
    ]
)

# %% [markdown]
# ## Score sequences
#
# Five test records. Replace them by your own strings, or by the path of a FASTA file (plain or
# gzip). `out_of_distribution` is the reason why a sequence differs from the training data, or "no".

# %%
corpus = study.corpus
records = corpus.records
sequences = [
    corpus.letters(i).tobytes().decode() for i in records.index[records["id"].isin(test["id"])][:5]
]
display(score_sequences(study.model, sequences))

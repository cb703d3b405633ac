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
# Draws how the model of the results folder scored the test records, and scores sequences with it. Run it as
#
#     jupytext --to ipynb --output - notebooks/scoring.py | papermill - scoring.ipynb -p results results/promoter
#
# from the project's root, or open it where it lies, in the results folder.

# %% tags=["parameters"]
results = "results/promoter"

# %%
# %matplotlib inline
import json
from pathlib import Path

import matplotlib.pyplot as plt
from IPython.display import Markdown, display

from selfattn_bio import score_sequences
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.report import plots, words
from selfattn_bio.report.results import read_table

folder = Path(results)
if not folder.exists() and Path("metrics.json").exists():  # opened where it lies: the working folder is the results folder
    folder = Path()
metrics = json.loads((folder / "metrics.json").read_text())
test = read_table(folder / "predictions" / "test.tsv")
plt.rcParams.update(plots.STYLE)

# %% [markdown]
# ## The answer

# %%
display(Markdown(" ".join(words.comparison(metrics))))

# %% [markdown]
# ## The scores
#
# How many test records of either class get which calibrated probability. Dotted: the threshold chosen on valid, from which on a record is
# called positive. The less the two overlap, the better.

# %%
figure, ax = plt.subplots(figsize=(5, 2.6))
plots.draw_scores(test["label"], test["model_calibrated"], ax, metrics["test"]["model"]["chosen"]["calibrated_threshold"])
plt.show()

# %% [markdown]
# ## Calibration
#
# Of the test records given a probability (right), the share that is positive (up). On the diagonal the probability can be believed, for
# sequences of which as many are positive as here.

# %%
figure, ax = plt.subplots(figsize=(3.4, 3.4))
plots.draw_calibration(test["label"], test["model"], test["model_calibrated"], ax)
plt.show()

# %% [markdown]
# ## Where it was most wrong
#
# The test records whose probability is farthest from their label: mislabelled ones are often among them.

# %%
display(test.assign(off=(test["label"] - test["model_calibrated"]).abs()).nlargest(10, "off")[["id", "label", "model_calibrated"]])

# %% [markdown]
# ## Score sequences
#
# Here five test records. Put your own in their place: strings, or the path of a FASTA file, which may be gzipped. `unlike` says why a
# sequence is unlike those that the model was trained on.

# %%
corpus = Corpus.open(folder / "corpus")
records = corpus.records
sequences = [corpus.letters(i).tobytes().decode() for i in records.index[records["id"].isin(test["id"])][:5]]
display(score_sequences([folder / "model", *sorted(folder.glob("members/*/model"))], sequences))

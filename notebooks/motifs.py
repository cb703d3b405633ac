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
# # Motifs of a task
#
# Shows what the workflow wrote into the results folder; computes nothing. Run it from the root of
# the project as
#
#     jupytext --to ipynb --output - notebooks/motifs.py |
#         papermill - motifs.ipynb -p task promoter
#
# or open the notebook in the results folder.

# %% tags=["parameters"]
task = "promoter"

# %%
import os
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from IPython.display import Markdown, display

from selfattn_bio import Study
from selfattn_bio.figure import DisplayedFigure
from selfattn_bio.motifs.families import match_label
from selfattn_bio.objectives import objective_of
from selfattn_bio.report import plots, words

if not Path("workflows/tasks").exists():  # opened in the results folder
    os.chdir("../..")
study = Study(task)
found = study.motifs
motifs, metrics = found.table, study.evaluation.metrics
mpl.rcParams.update(plots.STYLE)

# %% [markdown]
# ## Result

# %%
comparison = " ".join(words.baseline_sentence(metrics, objective_of(study.task.objective)))
summary = words.motif_sentence(motifs, study.task.split, ())
display(Markdown(f"{comparison}\n\n{summary}"))

# %% [markdown]
# ## Motifs
#
# A motif is "supported" if, on records used neither for training nor for finding motifs, it is
# enriched in the positives and the model's log-odds fall when its sites are shuffled (`effect`).

# %%
with pd.option_context("display.max_columns", None, "display.precision", 3):
    display(motifs)

# %% [markdown]
# ## Logos
#
# Height in bits. The name of the most similar known motif follows if its Tomtom q is below .05.

# %%
for row in motifs.to_dict("records"):
    figure = DisplayedFigure(figsize=(5, 1.5), layout="constrained")
    ax = figure.subplots()
    found[row["name"]].logo.draw(ax)
    ax.set_title(f"{row['name']}  {match_label(row)}  ({row['verdict']})", loc="left")
    display(figure)

# %% [markdown]
# ## Evidence
#
# Fall of the log-odds when a motif's sites are shuffled, minus the fall when nearby positions are
# shuffled instead, with its interval over records.

# %%
figure = DisplayedFigure(figsize=(6, 1.2 + 0.2 * len(motifs)), layout="constrained")
plots.draw_evidence(motifs, figure.subplots())
display(figure)

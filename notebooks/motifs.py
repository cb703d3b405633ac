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
# Draws what the workflow wrote into the results folder; nothing is computed here. Run it as
#
#     jupytext --to ipynb --output - notebooks/motifs.py | papermill - motifs.ipynb -p results results/promoter
#
# from the project's root, or open it where it lies, in the results folder.

# %% tags=["parameters"]
results = "results/promoter"

# %%
# %matplotlib inline
import json
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown, display

from selfattn_bio.interpret.logos import draw_logo
from selfattn_bio.interpret.matching import match_label
from selfattn_bio.motifs import read_meme
from selfattn_bio.report import plots, words
from selfattn_bio.report.results import read_table
from selfattn_bio.sequence.alphabet import get_alphabet

folder = Path(results)
if not folder.exists() and Path("metrics.json").exists():  # opened where it lies: the working folder is the results folder
    folder = Path()
alphabet = json.loads((folder / "corpus" / "corpus.json").read_text())["alphabet"]
metrics = json.loads((folder / "metrics.json").read_text())
motifs = read_table(folder / "motifs.tsv")
ppms = read_meme(folder / "motifs.meme", get_alphabet(alphabet)) if len(motifs) else {}
plt.rcParams.update(plots.STYLE)

# %% [markdown]
# ## The answer

# %%
display(Markdown(" ".join(words.comparison(metrics)) + "\n\n" + words.motif_sentence(motifs)))

# %% [markdown]
# ## The table
#
# "supported" needs both, on records that neither model nor motif was found on: enrichment in the positives, and a fall of the model's
# log-odds when the motif's sites are shuffled (`effect`).

# %%
with pd.option_context("display.max_columns", None, "display.precision", 3):
    display(motifs)

# %% [markdown]
# ## The logos
#
# Height in bits. A name after the motif's is the known motif that it looks like, where Tomtom's q is below .05.

# %%
for row in motifs.to_dict("records"):
    figure, ax = plt.subplots(figsize=(5, 1.3))
    draw_logo(ppms[row["name"]], ax, get_alphabet(alphabet).letters)
    ax.set_title(f"{row['name']}  {match_label(row)}  ({row['verdict']})", loc="left")
    plt.show()

# %% [markdown]
# ## The evidence
#
# How far the log-odds fall when a motif's sites are shuffled, beyond what shuffling sites nearby does, with its interval over records.

# %%
figure, ax = plt.subplots(figsize=(6, 1.2 + 0.2 * len(motifs)))
plots.draw_evidence(motifs, ax)
plt.show()

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
# # Attention of a task's model
#
# Draws where the model of the results folder looks in one sequence that was explained. Attention is a proposal of where to look, no
# explanation: a model attends to letters that change nothing. Run it as
#
#     jupytext --to ipynb --output - notebooks/attention.py | papermill - attention.ipynb -p results results/promoter
#
# from the project's root, or open it where it lies, in the results folder.

# %% tags=["parameters"]
results = "results/promoter"
sequence = 0  # row of the relevance folder's records
bins = 200  # stretches along a map's side

# %%
# %matplotlib inline
from pathlib import Path

import matplotlib.pyplot as plt
from IPython.display import Markdown, display

from selfattn_bio import Explanation, load
from selfattn_bio.interpret.readout import has_attention, read_attention
from selfattn_bio.report import plots, words

folder = Path(results)
if not folder.exists() and Path("relevance").exists():  # opened where it lies: the working folder is the results folder
    folder = Path()
explanation = Explanation.load(folder / "relevance")
scorer = load(folder / "model")
readings = [read_attention(scorer, [explanation.sequences[sequence]])] if has_attention(scorer) else []
plt.rcParams.update(plots.STYLE)

# %%
model = scorer.run.model
display(Markdown(words.attention_sentence(model, len(readings) > 0)))

# %% [markdown]
# ## Attention received beside relevance
#
# Relevance: how far the score hangs on a letter. Attention: how much it was looked at, mean over layers and heads. Where they differ,
# believe relevance. The line of a model without attention is flat.

# %%
figure, ax = plt.subplots(figsize=(9, 2.4))
length = len(explanation.sequences[sequence])
plots.draw_attention_and_relevance(explanation.attention[[sequence], :length], explanation.relevance[sequence][None], ax)
ax.set_title(explanation.ids[sequence], loc="left", pad=18)
plt.show()

# %% [markdown]
# ## Maps
#
# A row of pictures for each layer, the mean over heads first, then each head. Row of a map: the letters that look; column: what they look
# at. Of a model of several members the first is shown. Read stretch by stretch, so a long sequence needs no more memory than a short one.

# %%
for reading in readings:
    for layer in range(len(reading.layers[0])):
        heads = [None, *range(reading.layers[0][layer].q.shape[1])]
        figure, axes = plt.subplots(1, len(heads), figsize=(3.2 * len(heads), 3), layout="constrained")
        for head, ax in zip(heads, axes, strict=True):
            plots.draw_attention_map(reading.map(layer=layer, head=head, bins=bins), ax)
            ax.set_title(f"layer {layer + 1}, {'mean over heads' if head is None else f'head {head + 1}'}", loc="left")
        plt.show()

# %% [markdown]
# ## The heaviest weights
#
# Letters are 0-based, half-open; <NA> is a [CLS] vector.

# %%
for reading in readings:
    display(reading.edges(3))

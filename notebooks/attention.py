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
# Shows where the model of the results folder attends in one of the explained sequences. Attention
# is a hint, not an explanation: a model also attends to positions that do not change its output.
# Run it from the root of the project as
#
#     jupytext --to ipynb --output - notebooks/attention.py |
#         papermill - attention.ipynb -p task promoter
#
# or open the notebook in the results folder.

# %% tags=["parameters"]
task = "promoter"
sequence = 0  # row of the attribution folder's records
bins = 200  # bins along each axis of a map

# %%
import os
from pathlib import Path

import matplotlib as mpl
from IPython.display import Markdown, display

from selfattn_bio import Study
from selfattn_bio.attribution.capture import has_attention, read_attention
from selfattn_bio.figure import DisplayedFigure
from selfattn_bio.report import page, plots

if not Path("workflows/tasks").exists():  # opened in the results folder
    os.chdir("../..")
study = Study(task)
explanation, scorer = study.explanation, study.model.members[0]
readings = (
    [read_attention(scorer, [explanation.sequences[sequence]])] if has_attention(scorer) else []
)
mpl.rcParams.update(plots.STYLE)

# %%
display(Markdown(page.attention_sentence(len(readings) > 0)))

# %% [markdown]
# ## Attention and attribution
#
# Attribution is the influence of a position on the score. Attention is how strongly other positions
# attend to it, averaged over layers and heads. Where they differ, trust attribution. The line of a
# model without attention is flat.

# %%
figure = DisplayedFigure(figsize=(9, 2.4), layout="constrained")
ax = figure.subplots()
length = len(explanation.sequences[sequence])
values = {
    "attribution": explanation.attribution[sequence][None],
    "raw attention": explanation.attention[[sequence], :length],
}
plots.draw_along({name: plots.by_position(of, [length]) for name, of in values.items()}, ax)
ax.set_title(explanation.ids[sequence], loc="left", pad=18)
display(figure)

# %% [markdown]
# ## Maps
#
# One row of maps per layer: the mean over heads, then each head. Rows of a map are the positions
# that attend, columns the positions attended to. If the model has several members, the first is
# shown. Maps are read in pieces, so a long sequence needs no more memory than a short one.

# %%
for reading in readings:
    for layer in range(len(reading.layers[0])):
        heads = [None, *range(reading.layers[0][layer].q.shape[1])]
        columns = min(4, len(heads))
        rows = -(-len(heads) // columns)
        figure = DisplayedFigure(figsize=(3.2 * columns, 3 * rows), layout="constrained")
        for number, head in enumerate(heads, start=1):
            ax = figure.add_subplot(rows, columns, number)
            plots.draw_attention_map(reading.map(layer=layer, head=head, bins=bins), ax)
            ax.set_title(
                f"layer {layer + 1}, {'mean over heads' if head is None else f'head {head + 1}'}",
                loc="left",
            )
        display(figure)

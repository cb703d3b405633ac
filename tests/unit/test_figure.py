"""Test that a notebook shows what every method `plot` returns, without magic or pyplot."""

import base64
import io

import nbclient
import nbformat
import pytest
from PIL import Image

RESULTS = """
import numpy as np
import pandas as pd

import selfattn_bio as sb
from selfattn_bio.evidence.marginalize import Ablation, Marginals, MarginalSpacing
from selfattn_bio.motifs.motif_set import build_motifs
from selfattn_bio.motifs.patterns import SeqletPattern

records = pd.DataFrame({"id": ["a"], "target": ["label"], "length": [300]})
records[["chrom", "start", "end", "strand"]] = None
scores = np.random.default_rng(0).normal(0, 0.3, (1, 300, 4)).astype("f4")
letters = np.frombuffer(b"ACGT" * 75, dtype=np.uint8)[None]
explanation = sb.Explanation(records, letters, scores, scores[..., 0], "dna")

seqlets = pd.DataFrame({"record": [0], "start": [0], "end": [8], "strand": ["+"]})
counts = np.eye(4, dtype=int)[np.arange(8) % 4] * 9
motifs = build_motifs([SeqletPattern(counts, seqlets)] * 3, records, {})

bounded = {"auroc": {"value": 0.8, "low": 0.7, "high": 0.9}}
metrics = {"n": 4, "model": bounded, "baselines": {"gc": bounded}}
test = pd.DataFrame({"label": [0, 1] * 2, "model": [0.1, 0.8, 0.3, 0.2], "gc": [0.5, 0.6] * 2})
evaluation = sb.Evaluation({"valid": metrics, "test": metrics}, {"test": test}, "")

pairs = pd.DataFrame({"id": ["p"], "i": [0], "j": [9], "score": [0.5]})
contacts = sb.Contacts({"p": np.eye(40)}, pairs)

rows = [("chr1", p, "A", alt, p % 7 / 7) for p in range(10_001, 10_501) for alt in "CGT"]
columns = ["chrom", "pos", "ref", "alt", "effect"]
substitutions = sb.Substitutions(pd.DataFrame(rows, columns=columns))

curve = {"unit": "log-odds", "name": "m", "strand": "+", "start": [0, 9], "end": [9, 18]}
curve |= {"orientation": "++", "distance": [1, 2]}
for value in ("effect", "epistasis"):
    curve |= {value: 0.5, f"{value}_low": 0.4, f"{value}_high": 0.6}
curves = pd.DataFrame(curve)
marginals, spacing = Marginals(curves, curves, 9), MarginalSpacing(curves, curves, 9)
ablation = Ablation(curves, 0.5, 0.4, 0.6, "log-odds")
"""
PLOTS = (
    *("explanation.plot(0)", "explanation.plot(0, region='all')", "substitutions.plot()"),
    *("substitutions.plot('all')", "motifs.plot()", "evaluation.plot()", "contacts.plot('p')"),
    *("marginals.plot()", "spacing.plot()", "ablation.plot()"),
)


@pytest.fixture(scope="module")
def outputs() -> dict[str, list[nbformat.NotebookNode]]:
    """Run one cell per plot in the default kernel, and return the outputs of each cell."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(code) for code in (RESULTS, *PLOTS)]
    )
    nbclient.NotebookClient(notebook, timeout=300, allow_errors=True).execute()
    return dict(zip(PLOTS, [cell.outputs for cell in notebook.cells[1:]], strict=True))


@pytest.mark.parametrize("plot", PLOTS)
def test_plot_is_shown_in_a_notebook(outputs, plot) -> None:
    (output,) = outputs[plot]
    assert output.output_type == "execute_result", output.evalue
    image = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
    assert 300 < image.width < 1600
    assert 150 < image.height < 1000

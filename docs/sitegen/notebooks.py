"""Executed notebooks of a finished task as pages."""

import base64
import html
from pathlib import Path

import nbformat

RESULTS = Path(__file__).parents[2] / "results/smoke"


def page(name: str) -> str:
    """Return a notebook of results/smoke in Markdown, with its outputs."""
    notebook = nbformat.read(RESULTS / f"{name}.ipynb", as_version=4)
    return "\n\n".join(filter(None, map(_cell, notebook.cells)))


def _cell(cell: nbformat.NotebookNode) -> str:
    if cell.cell_type == "markdown":
        # the page has a title already, so a notebook begins with its second line
        return "\n".join(line for line in cell.source.splitlines() if not line.startswith("# "))
    code = f"```python\n{cell.source.strip()}\n```"
    return "\n\n".join([code, *filter(None, map(_output, cell.outputs))])


def _output(output: nbformat.NotebookNode) -> str:
    if output.output_type == "stream":
        return f"```text\n{output.text.strip()}\n```"
    if output.output_type == "error":
        raise ValueError(f"a cell failed: {output.ename}: {output.evalue}")
    data = output.data
    if "text/markdown" in data:
        return data["text/markdown"]
    if "image/png" in data:
        text = html.escape(data.get("text/plain", "figure"))
        return raw(f'<img alt="{text}" src="data:image/png;base64,{clean(data["image/png"])}">')
    if "text/html" in data:
        return raw(f'<div class="table-wrapper">{data["text/html"]}</div>')
    return f"```text\n{data['text/plain']}\n```"


def clean(encoded: str) -> str:
    """Return base64 text without line breaks."""
    return base64.b64encode(base64.b64decode(encoded)).decode()


def raw(text: str) -> str:
    """Return HTML as a block that Markdown does not read. Empty lines would end it."""
    return "```{raw} html\n" + text + "\n```"

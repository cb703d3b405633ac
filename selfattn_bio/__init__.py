"""Self-attention for DNA, RNA and protein sequences, from FASTA to motifs with evidence.

>>> import selfattn_bio
>>> model = selfattn_bio.load("results/promoter/model")  # doctest: +SKIP
>>> selfattn_bio.score_sequences(model, "new.fa", rc=True)  # doctest: +SKIP
>>> explanation = selfattn_bio.explain(model, "new.fa")  # doctest: +SKIP
>>> motifs = explanation.find_motifs(database="jaspar:insects")  # doctest: +SKIP
>>> motifs = motifs.with_evidence(model, held_out)  # doctest: +SKIP
>>> motifs.to_meme("motifs.meme")  # doctest: +SKIP
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

# The stub lists the public names for type checkers, and here for imports on first use: ingest and
# split must not wait for torch.
_STUB = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
_HOMES = {
    alias.name: str(node.module)
    for node in _STUB.body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}
__all__ = sorted(_HOMES)


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'selfattn_bio' has no attribute {name!r}")

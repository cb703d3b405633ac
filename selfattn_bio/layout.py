"""Names of the files in a results folder, and the step that writes each.

Everything that reads or writes results asks this module. docs/files.md describes the contents.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import overload

PROVENANCE = "provenance.json"  # in every model folder


@dataclass(frozen=True)
class _File:
    """A file or folder of a results folder, and the step that writes it."""

    name: str
    step: str

    @overload
    def __get__(self, layout: None, owner: type) -> _File: ...

    @overload
    def __get__(self, layout: Layout, owner: type) -> Path: ...

    def __get__(self, layout: Layout | None, owner: type) -> Path | _File:
        return self if layout is None else layout.folder / self.name


@dataclass(frozen=True)
class Layout:
    """Paths in a results folder: that of a task, a variant, a member or a job of a sweep.

    `Layout(folder).model` is a path, and `Layout.model.step` the step that writes it. Folders of
    variants, members and jobs are in that of their task. They hold models and interpretation.

    Parameters
    ----------
    folder
        The results folder.
    """

    folder: Path

    # of a task
    corpus = _File("corpus", "ingest")
    corpus_summary = _File("corpus/corpus.json", "ingest")
    records = _File("corpus/records.parquet", "ingest")
    partner_summary = _File("corpus/partner/corpus.json", "ingest")
    partner_records = _File("corpus/partner/records.parquet", "ingest")
    split = _File("split.tsv", "split")
    sweep_split = _File("sweep/split.tsv", "train")  # without test records
    audit = _File("audit.tsv", "audit")
    audit_counts = _File("audit.json", "audit")
    metrics = _File("metrics.json", "evaluate")
    valid = _File("predictions/valid.tsv", "evaluate")
    test = _File("predictions/test.tsv", "evaluate")
    baselines = _File("baselines", "evaluate")
    card = _File("model_card.md", "evaluate")
    ranking = _File("sweep.tsv", "sweep")
    report = _File("report.html", "report")
    plots = _File("plots", "report")
    # of a task, a variant, a member or a job
    model = _File("model", "train")
    run_file = _File("model/run.toml", "train")
    provenance = _File(f"model/{PROVENANCE}", "train")
    history = _File("model/history.csv", "train")
    attribution = _File("attribution", "explain")
    explained = _File("attribution/records.parquet", "explain")  # one row per record and output
    motifs = _File("motifs.tsv", "motifs")
    motifs_source = _File("motifs.json", "motifs")  # provenance of the explained model
    matrices = _File("motifs.meme", "motifs")
    sites = _File("seqlets.bed", "motifs")  # that the model uses in test records
    discovery_sites = _File("discovery_seqlets.bed", "motifs")  # that motifs were built from
    marginals = _File("marginals.tsv", "motifs")
    logos = _File("logos", "motifs")
    interactions = _File("interactions.tsv", "interactions")
    interactions_source = _File("interactions.json", "interactions")  # provenance of the model
    distances = _File("interactions.distances.tsv", "interactions")
    measured = _File("interactions.measured.tsv", "interactions")
    partner = _File("partner", "motifs")  # motifs of the second of two inputs

    def member(self, number: int) -> Layout:
        """Return the layout of a member, counted from 1, which is this layout itself."""
        return self if number == 1 else Layout(self.folder / "members" / str(number))

    def variant(self, name: str) -> Layout:
        """Return the layout of a variant."""
        return Layout(self.folder / "variants" / name)

    def job(self, name: str) -> Layout:
        """Return the layout of a job of the sweep."""
        return Layout(self.folder / "sweep" / name)

    def notebook(self, name: str) -> Path:
        """Return an executed notebook of a task."""
        return self.folder / f"{name}.ipynb"

    def of_partner(self) -> Layout:
        """Return the layout of the motifs of the second input."""
        return Layout(self.partner)

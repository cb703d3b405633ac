"""Self-attention for DNA and protein sequences, from FASTA to motifs with evidence.

>>> import selfattn_bio
>>> model = selfattn_bio.load("results/promoter/model")  # doctest: +SKIP
>>> selfattn_bio.score_sequences(model, "new.fa", rc=True)  # doctest: +SKIP
>>> explanation = selfattn_bio.explain(model, "new.fa")  # doctest: +SKIP
>>> motifs = explanation.motifs(database="jaspar:insects")  # doctest: +SKIP
>>> motifs = motifs.with_evidence(model, "held_out.fa", labels)  # doctest: +SKIP
>>> motifs.to_meme("motifs.meme")  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selfattn_bio.api.contacts import Contacts, find_contacts
    from selfattn_bio.api.data import Split, ingest, ingest_files, split
    from selfattn_bio.api.evaluation import Evaluation, evaluate
    from selfattn_bio.api.explain import explain_positives
    from selfattn_bio.api.interactions import find_interactions
    from selfattn_bio.api.leakage import Leakage, audit
    from selfattn_bio.api.machine import Machine, inspect_machine
    from selfattn_bio.api.motifs import find_motifs
    from selfattn_bio.api.planning import plan
    from selfattn_bio.api.proposal import Proposal, propose
    from selfattn_bio.api.report import write_report
    from selfattn_bio.api.schema import write_schema
    from selfattn_bio.api.sweep import Ranking, rank_jobs
    from selfattn_bio.api.training import train
    from selfattn_bio.api.variants import Substitutions, annotate_variants, score_substitutions
    from selfattn_bio.api.workflow import run_workflow
    from selfattn_bio.attention.attend import attend
    from selfattn_bio.attention.patterns import (
        BlockLocal,
        CausalPattern,
        Full,
        Global,
        RandomBlocks,
        Strided,
        Window,
    )
    from selfattn_bio.attention.positions import (
        Alibi,
        Learned,
        NoPosition,
        RelativePosition,
        Rotary,
        Shaw,
        Sinusoidal,
        T5Bias,
        Terms,
        TransformerXL,
    )
    from selfattn_bio.config import read_run_file
    from selfattn_bio.data.corpus import Corpus
    from selfattn_bio.data.dataset import CorpusDataset, collate
    from selfattn_bio.data.writer import RecordRules
    from selfattn_bio.interpret.capture import read_attention
    from selfattn_bio.interpret.explain import explain
    from selfattn_bio.interpret.explanation import Explanation
    from selfattn_bio.interpret.interactions import Interactions
    from selfattn_bio.interpret.motifs import MotifSet
    from selfattn_bio.interpret.readout import AttentionReading
    from selfattn_bio.interpret.scanning import hits, scan_files
    from selfattn_bio.interpret.simulation import Simulation, read_grammar, simulate
    from selfattn_bio.interpret.targets import Target
    from selfattn_bio.model.encoder import Encoder
    from selfattn_bio.model.user_module import allow_module
    from selfattn_bio.scoring.embedding import Embeddings, embed, embed_file
    from selfattn_bio.scoring.ensemble import Ensemble
    from selfattn_bio.scoring.loading import load
    from selfattn_bio.scoring.pruning import prune
    from selfattn_bio.scoring.sampling import sample
    from selfattn_bio.scoring.score_files import ScoreSummary, score_files
    from selfattn_bio.scoring.scorer import Scorer
    from selfattn_bio.scoring.table import score_batches, score_sequences
    from selfattn_bio.scoring.tracks import Scan, score_genome
    from selfattn_bio.scoring.variants import VariantWindows, score_variants
    from selfattn_bio.sequence.alphabet import get_alphabet

# Loaded on first use: ingest and split must not wait for torch.
_HOMES = {
    "read_run_file": "config",
    "Corpus": "data.corpus",
    "ingest": "api.data",
    "ingest_files": "api.data",
    "RecordRules": "data.writer",
    "get_alphabet": "sequence.alphabet",
    "Split": "api.data",
    "split": "api.data",
    "Leakage": "api.leakage",
    "audit": "api.leakage",
    "plan": "api.planning",
    "train": "api.training",
    "write_report": "api.report",
    "evaluate": "api.evaluation",
    "Evaluation": "api.evaluation",
    "Encoder": "model.encoder",
    "attend": "attention.attend",
    "BlockLocal": "attention.patterns",
    "CausalPattern": "attention.patterns",
    "Full": "attention.patterns",
    "Global": "attention.patterns",
    "RandomBlocks": "attention.patterns",
    "Strided": "attention.patterns",
    "Window": "attention.patterns",
    "Alibi": "attention.positions",
    "Learned": "attention.positions",
    "NoPosition": "attention.positions",
    "RelativePosition": "attention.positions",
    "Rotary": "attention.positions",
    "Shaw": "attention.positions",
    "Sinusoidal": "attention.positions",
    "T5Bias": "attention.positions",
    "Terms": "attention.positions",
    "TransformerXL": "attention.positions",
    "allow_module": "model.user_module",
    "CorpusDataset": "data.dataset",
    "collate": "data.dataset",
    "load": "scoring.loading",
    "score_sequences": "scoring.table",
    "score_batches": "scoring.table",
    "embed": "scoring.embedding",
    "Embeddings": "scoring.embedding",
    "Scorer": "scoring.scorer",
    "Ensemble": "scoring.ensemble",
    "explain": "interpret.explain",
    "explain_positives": "api.explain",
    "Explanation": "interpret.explanation",
    "find_motifs": "api.motifs",
    "MotifSet": "interpret.motifs",
    "find_interactions": "api.interactions",
    "Interactions": "interpret.interactions",
    "find_contacts": "api.contacts",
    "Contacts": "api.contacts",
    "AttentionReading": "interpret.readout",
    "read_attention": "interpret.capture",
    "hits": "interpret.scanning",
    "Target": "interpret.targets",
    "prune": "scoring.pruning",
    "sample": "scoring.sampling",
    "Scan": "scoring.tracks",
    "score_genome": "scoring.tracks",
    "VariantWindows": "scoring.variants",
    "score_variants": "scoring.variants",
    "Proposal": "api.proposal",
    "propose": "api.proposal",
    "run_workflow": "api.workflow",
    "Machine": "api.machine",
    "inspect_machine": "api.machine",
    "Ranking": "api.sweep",
    "rank_jobs": "api.sweep",
    "Substitutions": "api.variants",
    "annotate_variants": "api.variants",
    "score_substitutions": "api.variants",
    "ScoreSummary": "scoring.score_files",
    "score_files": "scoring.score_files",
    "embed_file": "scoring.embedding",
    "scan_files": "interpret.scanning",
    "Simulation": "interpret.simulation",
    "simulate": "interpret.simulation",
    "read_grammar": "interpret.simulation",
    "write_schema": "api.schema",
}

__all__ = [
    "Alibi",
    "AttentionReading",
    "BlockLocal",
    "CausalPattern",
    "Contacts",
    "Corpus",
    "CorpusDataset",
    "Embeddings",
    "Encoder",
    "Ensemble",
    "Evaluation",
    "Explanation",
    "Full",
    "Global",
    "Interactions",
    "Leakage",
    "Learned",
    "Machine",
    "MotifSet",
    "NoPosition",
    "Proposal",
    "RandomBlocks",
    "Ranking",
    "RecordRules",
    "RelativePosition",
    "Rotary",
    "Scan",
    "ScoreSummary",
    "Scorer",
    "Shaw",
    "Simulation",
    "Sinusoidal",
    "Split",
    "Strided",
    "Substitutions",
    "T5Bias",
    "Target",
    "Terms",
    "TransformerXL",
    "VariantWindows",
    "Window",
    "allow_module",
    "annotate_variants",
    "attend",
    "audit",
    "collate",
    "embed",
    "embed_file",
    "evaluate",
    "explain",
    "explain_positives",
    "find_contacts",
    "find_interactions",
    "find_motifs",
    "get_alphabet",
    "hits",
    "ingest",
    "ingest_files",
    "inspect_machine",
    "load",
    "plan",
    "propose",
    "prune",
    "rank_jobs",
    "read_attention",
    "read_grammar",
    "read_run_file",
    "run_workflow",
    "sample",
    "scan_files",
    "score_batches",
    "score_files",
    "score_genome",
    "score_sequences",
    "score_substitutions",
    "score_variants",
    "simulate",
    "split",
    "train",
    "write_report",
    "write_schema",
]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"selfattn_bio.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'selfattn_bio' has no attribute {name!r}")

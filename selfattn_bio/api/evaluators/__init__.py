"""Evaluate a model and its variants: one module per kind of objective.

To add a kind, write a function with the signature of `Evaluator` and add it to `EVALUATORS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from selfattn_bio.api.evaluators.binary import evaluate_binary
from selfattn_bio.api.evaluators.bins import evaluate_bins
from selfattn_bio.api.evaluators.candidates import Candidate
from selfattn_bio.api.evaluators.language import evaluate_language
from selfattn_bio.api.evaluators.records import EvaluationRecords, Measured
from selfattn_bio.api.evaluators.targets import evaluate_targets
from selfattn_bio.api.progress import Say
from selfattn_bio.config import RunFile

Evaluator = Callable[[Mapping[str, Candidate], EvaluationRecords, RunFile, Say], Measured]

EVALUATORS: dict[str, Evaluator] = {
    "binary": evaluate_binary,
    "bins": evaluate_bins,
    "masked": evaluate_language,
    "causal": evaluate_language,
    **dict.fromkeys(
        ("multiclass", "multilabel", "regression", "labels", "several"), evaluate_targets
    ),
}

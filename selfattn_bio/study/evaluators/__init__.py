"""Evaluate a model and its variants: one module per kind of evaluation.

`measure(objective, ...)` calls the evaluator of the objective's class. Objectives without their own
evaluator are evaluated by `evaluators.targets`. To add one, write a function with the signature of
`measure`, and register it here.
"""

from __future__ import annotations

from functools import singledispatch

from selfattn_bio.objectives.binary import Binary
from selfattn_bio.objectives.bins import BinsOfPoints
from selfattn_bio.objectives.language import LanguageModel
from selfattn_bio.study.evaluators.binary import evaluate_binary
from selfattn_bio.study.evaluators.bins import evaluate_bins
from selfattn_bio.study.evaluators.language import evaluate_language
from selfattn_bio.study.evaluators.targets import evaluate_targets

measure = singledispatch(evaluate_targets)
measure.register(Binary, evaluate_binary)
measure.register(BinsOfPoints, evaluate_bins)
measure.register(LanguageModel, evaluate_language)

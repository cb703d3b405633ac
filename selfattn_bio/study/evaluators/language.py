"""Evaluate masked and causal language models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from selfattn_bio.config import RunFile
from selfattn_bio.evaluation.language import markov_nats, summarise_language, unigram_nats
from selfattn_bio.evaluation.summary import EVALUATED_SPLITS
from selfattn_bio.objectives.language import LanguageModel
from selfattn_bio.study.evaluators.candidates import Candidate
from selfattn_bio.study.evaluators.records import EvaluationRecords, Measured


def evaluate_language(
    objective: LanguageModel[Any],
    candidates: Mapping[str, Candidate],
    records: EvaluationRecords,
    task: RunFile,
) -> Measured:
    """Evaluate a language model by perplexity with intervals.

    It is compared with token frequencies or a Markov chain, and with the variants.
    """
    letters, sums = records.letters, {}
    for name, candidate in candidates.items():
        # always one member, because `load` does not average language models
        scorer = candidate.load().members[0]
        sums[name] = {
            split: scorer.objective.read(scorer, letters[split]) for split in EVALUATED_SPLITS
        }
    language = objective.language_loss(scorer.tokenizer)
    both = {split: letters[split] for split in EVALUATED_SPLITS}
    if language.letters is None:
        baselines = {"unigram": unigram_nats(scorer.tokenizer, letters["train"], both)}
    else:
        nats = markov_nats(records.corpus.alphabet, letters["train"], letters["valid"], both)
        baselines = {
            "markov": {split: of_split * language.letters for split, of_split in nats.items()}
        }
    metrics = summarise_language(
        sums, language.letters, baselines, task.evaluation, records.units()
    )
    tables = {}
    for split in EVALUATED_SPLITS:
        total, right, tokens = sums["model"][split].T
        mean = np.divide(total, tokens, out=np.full(len(total), np.nan), where=tokens > 0)
        tables[split] = pd.DataFrame(
            {
                "id": records.ids(split),
                "nats_per_token": mean,
                "right": right.astype(int),
                "tokens": tokens.astype(int),
            }
        )
    return Measured(metrics, tables, {})

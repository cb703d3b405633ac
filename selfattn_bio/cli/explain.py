"""Explain the positives that a model recognises, letter by letter.

Takes [interpret] max_sequences of those positives of train and valid that the model calls positive, evenly from the most to the
least confident: the most confident alone are alike, and show one motif. Where the model calls fewer, it takes all of them and the
positives of the next highest scores, and says how many were not called. Test is left for the evidence. Writes the
relevance folder: the score of every letter at every position by [interpret] method (if not given: the mean of AttnLRP over copies with
some letters drawn anew), and raw attention beside it, as a proposal only: what each letter receives, and the attention map of each layer
of the records that [interpret] maps names (if not given: those of the explained with the highest, the middle and the lowest score).

example: selfattn-bio explain --run-file mine.toml --corpus mine/corpus --split mine/split.tsv --model mine/model --output mine/relevance
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from selfattn_bio.errors import CorpusError, RunFileError

if TYPE_CHECKING:
    import pandas as pd

    from selfattn_bio.data.corpus import Corpus
    from selfattn_bio.interpret.explanation import MappedSequence
    from selfattn_bio.scoring.scorer import Scorer

LINES = 20  # of progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `selfattn-bio explain`."""
    parser.add_argument("--run-file", required=True, type=Path, metavar="FILE", help="TOML of the task; its [interpret] is used")
    parser.add_argument("--model", required=True, type=Path, metavar="DIR", help="model folder, from `train`")
    parser.add_argument("--corpus", required=True, type=Path, metavar="DIR", help="corpus folder, from `ingest`")
    parser.add_argument("--split", required=True, type=Path, metavar="FILE", help="split table, from `split`")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="relevance folder to write")


def run(arguments: argparse.Namespace) -> None:
    """Explain positives of train and valid, those that the model calls first; write the relevance folder."""
    from selfattn_bio.config import read_run_file
    from selfattn_bio.data.corpus import Corpus
    from selfattn_bio.files import sha256_of
    from selfattn_bio.interpret.explanation import SOURCE, check_output, explain_letters
    from selfattn_bio.interpret.methods import build_method
    from selfattn_bio.interpret.relevance import BATCH
    from selfattn_bio.model.checkpoint import check_trained_on, read_provenance
    from selfattn_bio.scoring.scorer import load

    start = time.monotonic()
    check_output(arguments.output)
    run_file = read_run_file(arguments.run_file)
    if run_file.objective.kind != "binary":
        message = f"objective must be binary for its model to be explained, got {run_file.objective.kind!r}"
        raise RunFileError(message, place=str(arguments.run_file))
    settings = run_file.interpret
    corpus = Corpus.open(arguments.corpus)
    scorer = load(arguments.model)
    check_trained_on(arguments.model, corpus.fingerprint, sha256_of(arguments.split))
    named = _rows_of(settings.maps or (), corpus, arguments.run_file)
    records = _recognised(scorer, corpus, arguments.split, settings.max_sequences)
    letters = [corpus.letters(i) for i in records.index]
    every = max(1, len(letters) // BATCH // LINES) * BATCH
    chosen = time.monotonic()

    def say(done: int) -> None:
        if done % every == 0 or done == len(letters):
            left = (time.monotonic() - chosen) / done * (len(letters) - done)
            print(f"explain: {done} of {len(letters)} sequences, about {left:.0f} s left", flush=True)

    columns = ["id", "label", "chrom", "start", "end", "strand", "split", "logit"]
    explanation = explain_letters(scorer, letters, records[columns], method=build_method(settings.method), say=say)
    provenance = read_provenance(arguments.model)
    of_score = sorted({0, len(records) // 2, len(records) - 1})  # records stand by falling score
    maps = _maps(scorer, corpus, named or records.index[of_score].tolist())
    replace(explanation, source={key: provenance[key] for key in SOURCE}, maps=maps).save(arguments.output)
    print(f"explain: wrote {arguments.output} in {time.monotonic() - start:.0f} s", flush=True)


def _rows_of(ids: Sequence[str], corpus: Corpus, run_file: Path) -> list[int]:
    """The rows in the corpus of the records of [interpret] maps, in the order of the run file.

    Raises
    ------
    RunFileError
        If one of them is not in the corpus; the nearest id is named.
    """
    import difflib

    rows = {str(name): row for row, name in enumerate(corpus.records["id"])}
    if unknown := [name for name in ids if name not in rows]:
        near = difflib.get_close_matches(unknown[0], rows, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        message = f"[interpret] maps must be ids of records in the corpus, got {', '.join(map(repr, unknown))}{hint}"
        raise RunFileError(message, place=str(run_file), cure=f"Ids are the first column of the split table, such as {next(iter(rows))!r}")
    return [rows[name] for name in ids]


def _maps(scorer: Scorer, corpus: Corpus, rows: Sequence[int]) -> dict[str, MappedSequence]:
    """Attention maps of these rows of the corpus, by falling score; none of a network without attention."""
    from selfattn_bio.interpret.explanation import MappedSequence, attention_maps
    from selfattn_bio.interpret.readout import has_attention

    if not has_attention(scorer):
        print("explain: no attention maps: this model has no attention weights to be read", flush=True)
        return {}
    letters = [corpus.letters(row) for row in rows]
    ids, logits = corpus.records["id"].iloc[list(rows)], scorer.logits(letters)
    ranked = sorted(zip(ids, letters, logits, strict=True), key=lambda each: -each[2])
    return {name: MappedSequence(own, float(logit), attention_maps(scorer, own)) for name, own, logit in ranked}


def _recognised(scorer: Scorer, corpus: Corpus, split: Path, limit: int) -> pd.DataFrame:
    """Positives of train and valid, best first: of those called, evenly over their ranks; of too few, with the next best.

    The index is the row in the corpus.
    """
    import numpy as np

    from selfattn_bio.sequence.splits import read_split

    records = corpus.records.assign(split=read_split(split, corpus.records["id"])).reset_index(drop=True)
    positives = records[(records["label"] == 1).fillna(False) & records["split"].isin(["train", "valid"])]
    if positives.empty:
        raise CorpusError(
            "train and valid must hold a positive to explain, got none", place=str(split), cure="Change [split] in the run file"
        )
    positives = positives.assign(logit=scorer.logits([corpus.letters(i) for i in positives.index]))
    ranked = positives.sort_values("logit", ascending=False, kind="stable")
    num_called = int((scorer.probabilities(ranked["logit"].to_numpy()) >= scorer.threshold).sum())
    candidates = ranked.head(max(num_called, limit))  # a control, or a model of small data, may call too few
    chosen = candidates.iloc[np.linspace(0, len(candidates) - 1, min(limit, len(candidates))).round().astype(int)]
    low, high = chosen["logit"].min(), chosen["logit"].max()
    uncalled = f"; {len(chosen) - num_called} of them not called positive, as only {num_called} are" if num_called < len(chosen) else ""
    print(f"explain: {len(chosen)} of {len(positives)} positives of train and valid, logits {low:.2f} to {high:.2f}{uncalled}", flush=True)
    return chosen

"""Score each position of the positives that a model recognises.

From the training and validation positives that the model calls positive, [interpret] max_sequences
are explained. They are chosen evenly from the most to the least confident, because the most
confident ones are similar and show one motif. If the model calls fewer, the positives with the next
highest scores are added, and their number is printed. Test records are reserved for the evidence.

Writes the attribution folder with the attribution of every base or residue at every position, by
[interpret] method. The default is the mean of AttnLRP over copies with some bases replaced at
random. For comparison it also holds the attention that each position receives, and the attention
map of each layer for the records in [interpret] maps. By default these are the explained records
with the highest, middle and lowest score. If the model has two inputs, the folder `partner` inside
holds the same for the second input, and there is no attention.

example: selfattn-bio explain --run-file mine.toml --corpus mine/corpus --split mine/split.tsv \
--model mine/model --output mine/attribution
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfattn_bio.errors import CorpusError, RunFileError

if TYPE_CHECKING:
    import pandas as pd

    from selfattn_bio.data.corpus import Corpus
    from selfattn_bio.data.inputs import Inputs
    from selfattn_bio.interpret.explanation import MappedSequence
    from selfattn_bio.scoring.scorer import Scorer

LINES = 20  # lines of progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio explain`."""
    parser.add_argument(
        "--run-file",
        required=True,
        type=Path,
        metavar="FILE",
        help="run file of the task (uses [interpret])",
    )
    parser.add_argument(
        "--model", required=True, type=Path, metavar="DIR", help="model folder, from `train`"
    )
    parser.add_argument(
        "--corpus", required=True, type=Path, metavar="DIR", help="corpus folder, from `ingest`"
    )
    parser.add_argument(
        "--split", required=True, type=Path, metavar="FILE", help="split table, from `split`"
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="attribution folder to write"
    )


def run(arguments: argparse.Namespace) -> None:
    """Explain recognised training and validation positives, and write the attribution folder."""
    from selfattn_bio.config import read_run_file
    from selfattn_bio.data.corpus import Corpus
    from selfattn_bio.data.inputs import inputs_of
    from selfattn_bio.files import sha256_of
    from selfattn_bio.interpret.attribution import BATCH
    from selfattn_bio.interpret.explanation import (
        SOURCE,
        check_output,
        explain_letters,
        explain_pairs,
    )
    from selfattn_bio.interpret.methods import build_method
    from selfattn_bio.model.checkpoint import check_trained_on, read_provenance
    from selfattn_bio.scoring.scorer import PairedScorer, load

    start = time.monotonic()
    check_output(arguments.output)
    run_file = read_run_file(arguments.run_file)
    if run_file.objective.kind != "binary":
        message = (
            f"explain needs objective 'binary', but the run file has {run_file.objective.kind!r}"
        )
        raise RunFileError(message, place=str(arguments.run_file))
    settings = run_file.interpret
    corpus = Corpus.open(arguments.corpus)
    scorer = load(arguments.model)
    check_trained_on(arguments.model, corpus.fingerprint, sha256_of(arguments.split))
    named = _rows_of(settings.maps or (), corpus, arguments.run_file)
    inputs = inputs_of(scorer.run, corpus)
    records = _recognised(scorer, corpus, inputs, arguments.split, settings.max_sequences)
    letters = [inputs.of(i) for i in records.index]
    every = max(1, len(letters) // BATCH // LINES) * BATCH
    chosen = time.monotonic()

    def say(done: int) -> None:
        if done % every == 0 or done == len(letters):
            left = (time.monotonic() - chosen) / done * (len(letters) - done)
            print(
                f"explain: {done} of {len(letters)} sequences, about {left:.0f} s left", flush=True
            )

    columns = ["id", "label", "chrom", "start", "end", "strand", "split", "logit"]
    explain: Any = explain_pairs if isinstance(scorer, PairedScorer) else explain_letters
    explanation = explain(
        scorer, letters, records[columns], method=build_method(settings.method), say=say
    )
    provenance = read_provenance(arguments.model)
    of_score = sorted(
        {0, len(records) // 2, len(records) - 1}
    )  # records are sorted by falling score
    maps = _maps(scorer, corpus, named or records.index[of_score].tolist())
    replace(explanation, source={key: provenance[key] for key in SOURCE}, maps=maps).save(
        arguments.output
    )
    print(f"explain: wrote {arguments.output} in {time.monotonic() - start:.0f} s", flush=True)


def _rows_of(ids: Sequence[str], corpus: Corpus, run_file: Path) -> list[int]:
    """Return the corpus rows of the records in [interpret] maps, in the order of the run file.

    Raises
    ------
    RunFileError
        If a record is not in the corpus; the message has the most similar id.
    """
    import difflib

    rows = {str(name): row for row, name in enumerate(corpus.records["id"])}
    if unknown := [name for name in ids if name not in rows]:
        near = difflib.get_close_matches(unknown[0], rows, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        message = (
            "[interpret] maps has ids that are not in the corpus: "
            f"{', '.join(map(repr, unknown))}{hint}"
        )
        raise RunFileError(
            message,
            place=str(run_file),
            hint=f"Ids are the first column of the split table, such as {next(iter(rows))!r}",
        )
    return [rows[name] for name in ids]


def _maps(scorer: Scorer, corpus: Corpus, rows: Sequence[int]) -> dict[str, MappedSequence]:
    """Return attention maps of these corpus rows by falling score; none without attention."""
    from selfattn_bio.interpret.explanation import MappedSequence, attention_maps
    from selfattn_bio.interpret.readout import has_attention

    if not has_attention(scorer):
        print("explain: no attention maps, because this model has no attention weights", flush=True)
        return {}
    letters = [corpus.letters(row) for row in rows]
    ids, logits = corpus.records["id"].iloc[list(rows)], scorer.logits(letters)
    ranked = sorted(zip(ids, letters, logits, strict=True), key=lambda each: -each[2])
    return {
        name: MappedSequence(own, float(logit), attention_maps(scorer, own))
        for name, own, logit in ranked
    }


def _recognised(
    scorer: Scorer, corpus: Corpus, inputs: Inputs, split: Path, limit: int
) -> pd.DataFrame:
    """Choose training and validation positives to explain, best first.

    They are spread evenly over the ranks of the called positives. If too few are called, the next
    best are added. The index of the result is the row in the corpus.
    """
    import numpy as np

    from selfattn_bio.sequence.splits import read_split

    records = corpus.records.assign(split=read_split(split, corpus.records["id"])).reset_index(
        drop=True
    )
    positives = records[
        (records["label"] == 1).fillna(False) & records["split"].isin(["train", "valid"])
    ]
    if positives.empty:
        raise CorpusError(
            "train and valid have no positive to explain",
            place=str(split),
            hint="Change [split] in the run file",
        )
    positives = positives.assign(logit=scorer.logits([inputs.of(i) for i in positives.index]))
    ranked = positives.sort_values("logit", ascending=False, kind="stable")
    num_called = int((scorer.probabilities(ranked["logit"].to_numpy()) >= scorer.threshold).sum())
    candidates = ranked.head(max(num_called, limit))  # a control or a weak model may call too few
    chosen = candidates.iloc[
        np.linspace(0, len(candidates) - 1, min(limit, len(candidates))).round().astype(int)
    ]
    low, high = chosen["logit"].min(), chosen["logit"].max()
    uncalled = (
        f"; the model calls {num_called} of them positive" if num_called < len(chosen) else ""
    )
    print(
        f"explain: explaining {len(chosen)} of {len(positives)} positives of train and valid, with "
        f"logits from {low:.2f} to {high:.2f}{uncalled}",
        flush=True,
    )
    return chosen

"""Score any sequences with a trained model, or the mean of several: a table of what they say, and how far to believe it.

Hides: strands, chunks, the columns of each objective. Users and the command `score` call it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from selfattn_bio.config import (
    BinaryObjective,
    BinsObjective,
    LabelsObjective,
    MulticlassObjective,
    Objective,
    RegressionObjective,
    SeveralObjective,
)
from selfattn_bio.data.inputs import Pair
from selfattn_bio.errors import ArgumentError
from selfattn_bio.evaluation.conformal import CONFORMAL, half_widths, names_of, sets_of
from selfattn_bio.evaluation.measures import predictions_of
from selfattn_bio.evaluation.points import chance
from selfattn_bio.evaluation.summary import spread
from selfattn_bio.scoring.inputs import PLACE, Input, Inputs, read_inputs
from selfattn_bio.scoring.partners import Partners, read_partners
from selfattn_bio.scoring.reference import LIKE
from selfattn_bio.scoring.scorer import Ensemble, Models, Scorer, check_one_input, load
from selfattn_bio.scoring.tiling import Tiling

CHUNK_LETTERS, CHUNK_RECORDS = 1 << 21, 4096  # of a table of `score_batches`


def score_sequences(
    model: Models,
    sequences: Inputs,
    *,
    rc: bool = False,
    calibrated: bool = True,
    coverage: float | None = None,
    batch_size: int | None = None,
    genome: str | Path | None = None,
    partner: Partners | None = None,
) -> pd.DataFrame:
    """Score sequences with a model of any objective that says something of a sequence or its letters.

    `score_sequences("promoter", ["ACGT..."])` gives one row, id "0". `score_batches` gives the table in parts, for files of any length.

    Parameters
    ----------
    model
        A model folder, several of them whose outputs are averaged, the name of a model that ships, or what `load` returned.
    sequences
        Strings, or the path of a FASTA file (plain, gz, bgzip); records of `read_records`; a table with a column `sequence` and perhaps
        `id`; with `genome` a BED or GFF file or a table with `chrom, start, end` (0-based half-open) and perhaps `strand` and `name`. U is
        read as T; lower case and gaps as the model's training records were (`soft_mask` and `gaps` of its run file), by default as upper
        case and refused.
    rc
        Average the outputs of both strands (DNA only; not of labels a letter). Changes nothing for a model whose scores are such means as
        they are (`evaluation.strands`).
    calibrated
        Of a binary model: divide logits by the temperature that was fitted on valid before they become probabilities. `predicted` is the
        same either way.
    coverage
        Such as 0.9: also say what holds the truth with this chance, for records like those of valid: the set of labels (by class), or
        the interval of a number. Of binary, multiclass and regression.
    batch_size
        Sequences in one pass of the network, at most; as many as 32,768 letters hold if not given.
    genome
        FASTA that intervals are of, plain or bgzip; letters of a minus strand are its reverse complement.
    partner
        Of a model of two inputs the second of each sequence: sequences as above, joined by their ids (of strings, by their order); of a
        track arrays of numbers in order, ids and arrays as a dict, or the path of a file as [partner] names one. All of it is held at once.

    Returns
    -------
    One row a sequence, in the order given: id (header or number; of an interval as in a corpus, `chr1:0-30(+)`), of intervals chrom, start,
    end (0-based half-open), strand and name (not of bins, whose rows are parts of one), then by objective
    binary: logit, probability, predicted (the label: 1 from the threshold on that was fitted on valid, else 0);
    multiclass: predicted, probability_CLASS of each; multilabel: probability_COLUMN of each; regression: each column;
    several: those of each part, as PART.COLUMN; labels: predicted, text as long as the sequence; bins: a row a whole bin, with start and
    end (0-based half-open, of the sequence), probability (of a point on either strand, by both readings, not calibrated), probability_+
    and probability_-; masked and causal models score no sequences.
    With `coverage`: set, its labels joined by commas, or "none"; of numbers low_COLUMN and high_COLUMN. Of several models their union.
    Of several models also how far they differ, the standard deviation over them: binary: spread, of the logit; multiclass: spread_CLASS,
    multilabel and regression: spread_COLUMN, of what the column of that name holds; labels: none.
    Sequences of labels and bins may be of any length, in the memory of a tile of them: the outputs are those of one pass over the whole
    where the model sees so far to either side and no further (windows, convolutions). Where it sees the whole (global tokens, full
    attention), one more than four times as long as any training record is read in windows of that length, which is said on stderr.
    Last, unlike: why a sequence is unlike the training records (`length`, share of `ambiguous` letters, `composition`), or "no"; there if a
    model folder holds what tells it. Of valid 1 % are unlike by composition.

    Raises
    ------
    SequenceFileError
        If a file is malformed, a letter is outside the alphabet, a record is shorter than a model's k, or an interval not on the genome.
    ModelFolderError
        As of `load`.
    ValueError
        If one of a list is so, a string is given alone and names no file, `rc` is asked of an alphabet without complement or of labels a
        letter, a model of two inputs lacks the partner of a sequence, one of one input is given some, or `coverage` is not in (0, 1), is
        combined with `rc` for a model that was calibrated on one strand, or asked of a model that has none.
    """
    asked = {"rc": rc, "calibrated": calibrated, "coverage": coverage, "batch_size": batch_size, "genome": genome, "partner": partner}
    return pd.concat(score_batches(model, sequences, **asked), ignore_index=True)  # type: ignore[arg-type]


def score_batches(
    model: Models,
    sequences: Inputs,
    *,
    rc: bool = False,
    calibrated: bool = True,
    coverage: float | None = None,
    batch_size: int | None = None,
    genome: str | Path | None = None,
    partner: Partners | None = None,
) -> Iterator[pd.DataFrame]:
    """The table of `score_sequences` in parts of some thousand rows, as they are scored: memory does not grow with a file.

    Arguments, columns and errors are those of `score_sequences`; one part at least, without rows if there is no sequence.
    """
    scorer = model if isinstance(model, Scorer | Ensemble) else load(model)
    scoring = Scoring(scorer, rc, calibrated, coverage, batch_size)
    scoring.check()
    inputs = read_inputs(scorer.spelling, sequences, max(member.shortest for member in scorer.members), genome)
    partner_of = read_partners(scorer.members[0], partner)
    told = False
    for part in chunks(inputs):
        ids, letters = [each.id for each in part], [each.letters for each in part]
        if not told and (text := scoring.in_tiles(ids, letters)):
            print(f"score: {text}", file=sys.stderr, flush=True)
            told = True
        table = scoring.table(ids, letters, [Pair(each.letters, partner_of(each)) for each in part] if partner_of else letters)
        if genome is not None and not isinstance(scorer.objective, BinsObjective):  # a row a bin has its own start and end
            places = pd.DataFrame([each.place for each in part], columns=PLACE)
            table = pd.concat([table[["id"]], places, table.drop(columns="id")], axis=1)
        yield table


def chunks(inputs: Iterator[Input]) -> Iterator[list[Input]]:
    """Some thousand sequences at a time; one part at least."""
    part: list[Input] = []
    total, given = 0, False
    for each in inputs:
        part.append(each)
        total += len(each.letters)
        if total >= CHUNK_LETTERS or len(part) >= CHUNK_RECORDS:
            yield part
            part, total, given = [], 0, True
    if part or not given:
        yield part


@dataclass(frozen=True)
class Scoring:
    """How a model is asked; arguments as of `score_sequences`."""

    scorer: Scorer | Ensemble
    rc: bool
    calibrated: bool
    coverage: float | None
    batch_size: int | None

    def check(self) -> None:
        """Refuse what cannot be asked of the model, before a file is read."""
        objective = self.scorer.objective
        if objective.kind in ("masked", "causal"):
            raise ArgumentError(f"objective must be one that says something of a sequence, got {objective.kind!r}")
        if self.rc:
            check_one_input(self.scorer, "rc")
        if self.rc and not self.scorer.alphabet.has_complement:
            raise ArgumentError(f"rc must be false for letters without a complement, got true for {self.scorer.alphabet.name}")
        if self.rc and isinstance(objective, LabelsObjective):
            raise ArgumentError("rc must be false for labels a letter, got true: the other strand has other letters")
        if self.rc and isinstance(objective, BinsObjective):
            raise ArgumentError("rc must be false for bins, got true: they are read both ways as it is")
        if self.coverage is None:
            return
        if not 0 < self.coverage < 1:
            raise ArgumentError(f"coverage must be in (0, 1), got {self.coverage}")
        if objective.kind not in CONFORMAL:
            raise ArgumentError(f"coverage must be asked of a model of {', '.join(CONFORMAL)}, got one of {objective.kind!r}")
        if self.rc and not self.scorer.both_strands:
            raise ArgumentError("rc and coverage cannot be combined: prediction sets are calibrated on one strand. Leave one of them out")
        if not all(member.reference for member in self.scorer.members):
            raise ArgumentError("coverage must be asked of model folders that hold reference.safetensors, got one without: train it again")

    def table(self, ids: list[str], letters: Sequence[NDArray[np.uint8]], inputs: Sequence[Any]) -> pd.DataFrame:
        """The rows of these sequences; `inputs` are what the model reads of them, the letters or pairs."""
        objective = self.scorer.objective
        if isinstance(objective, BinsObjective):
            return _bins_said(ids, self.tiling.read(letters, self.log_rates), objective.bin, self.unlike(letters))
        if isinstance(objective, LabelsObjective):
            texts = self.tiling.read(letters, self.labels)
            columns: dict[str, Any] = {"predicted": [text.tobytes().decode() for text in texts]}
        else:
            outputs = np.stack([self.outputs(member, inputs) for member in self.scorer.members])  # (M, n, C)
            columns = self.said(objective, outputs)
        return pd.DataFrame({"id": ids, **columns, **self.unlike(letters)})

    @cached_property
    def tiling(self) -> Tiling:
        """How long sequences are read, of labels and bins."""
        return Tiling.of(self.scorer)

    def in_tiles(self, ids: Sequence[str], letters: Sequence[NDArray[np.uint8]]) -> str:
        """What is to be said of sequences whose outputs are not those of one pass; nothing if there is none."""
        if self.scorer.objective.kind not in ("labels", "bins") or self.tiling.exact or not self.tiling.size:
            return ""
        longest, size = self.tiling.longest, self.tiling.size
        long = [name for name, row in zip(ids, letters, strict=True) if len(row) > longest]
        told = f"are read in windows of {size:,}, as the model, which sees the whole of its input, was trained"
        return f"sequences longer than {longest:,} letters, such as {long[0]!r}, {told}" if long else ""

    def log_rates(self, letters: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float64]]:
        """Of each sequence (bins, 2), the mean of the members."""
        of_members = [member.log_rates(letters, self.batch_size) for member in self.scorer.members]
        return [np.mean(rows, axis=0) for rows in zip(*of_members, strict=True)]

    def labels(self, letters: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        """Of each sequence (L,) the most probable label of each letter, ASCII, by the mean of the members."""
        objective = self.scorer.objective
        classes = np.frombuffer("".join(objective.output_names).encode(), np.uint8)
        of_members = [member.token_outputs(letters, self.batch_size) for member in self.scorer.members]
        return [classes[predictions_of(objective, np.mean(rows, axis=0)).argmax(-1)] for rows in zip(*of_members, strict=True)]

    def outputs(self, member: Scorer, letters: Sequence[Any]) -> NDArray[np.float64]:
        """(n, C) outputs, or the mean of both strands'."""
        outputs = member.outputs(letters, self.batch_size)
        if self.rc and not member.both_strands:
            turned = [member.alphabet.reverse_complement(row) for row in letters]
            outputs = (outputs + member.outputs(turned, self.batch_size)) / 2
        return outputs

    def said(self, objective: Objective, outputs: NDArray[np.float64]) -> dict[str, Any]:
        """Columns of the members' outputs (M, n, C)."""
        mean = outputs.mean(axis=0)
        if not isinstance(objective, BinaryObjective):
            found = _said(objective, predictions_of(objective, mean), predictions_of(objective, outputs))
            return found | self.believed(objective, outputs)
        probability = self.scorer.probabilities(mean[:, 0])
        called = (probability >= self.scorer.threshold).astype(int)
        columns = {"logit": mean[:, 0], "probability": probability if self.calibrated else expit(mean[:, 0]), "predicted": called}
        return columns | self.believed(objective, outputs) | _spreads({"spread": outputs[..., 0]})

    def believed(self, objective: Objective, outputs: NDArray[np.float64]) -> dict[str, Any]:
        """Set or interval of each record at the coverage that is asked for."""
        if self.coverage is None:
            return {}
        fitted = [member.reference.conformal for member in self.scorer.members if member.reference]
        if isinstance(objective, RegressionObjective):
            said = predictions_of(objective, outputs)  # (M, n, C)
            widths = np.stack([half_widths(objective, of, self.coverage) for of in fitted])[:, None]
            low, high = (said - widths).min(axis=0), (said + widths).max(axis=0)
            return {f"{side}_{n}": of[:, i] for i, n in enumerate(objective.output_names) for side, of in (("low", low), ("high", high))}
        each = [sets_of(objective, of, rows, self.coverage) for of, rows in zip(fitted, outputs, strict=True)]
        names = names_of(objective)
        rows = np.any(each, axis=0)
        return {"set": [",".join(name for name, inside in zip(names, row, strict=True) if inside) or "none" for row in rows]}

    def unlike(self, letters: Sequence[NDArray[np.uint8]]) -> dict[str, list[str]]:
        """Why each record is unlike what a member was trained on, of the first to which it is."""
        told = [member.reference.unlike(letters) for member in self.scorer.members if member.reference]
        return {"unlike": [next((why for why in of if why != LIKE), LIKE) for of in zip(*told, strict=True)]} if told else {}


def _said(objective: Objective, predicted: NDArray[np.float64], each: NDArray[np.float64]) -> dict[str, Any]:
    """Columns of a table of what is predicted, (n, C), and of each member (M, n, C); those of a part of several begin with its name."""
    if isinstance(objective, SeveralObjective):
        of_parts = {name: _said(objective.parts[name], predicted[:, of], each[..., of]) for name, of in objective.places().items()}
        return {f"{name}.{column}": values for name, of_part in of_parts.items() for column, values in of_part.items()}
    names, called = objective.output_names, isinstance(objective, MulticlassObjective)
    prefix = "" if isinstance(objective, RegressionObjective) else "probability_"
    found = {"predicted": [names[i] for i in predicted.argmax(axis=1)]} if called else {}
    values = {prefix + name: predicted[:, i] for i, name in enumerate(names)}
    return found | values | _spreads({f"spread_{name}": each[..., i] for i, name in enumerate(names)})


def _bins_said(ids: Sequence[str], log_rates: Sequence[NDArray[np.float64]], size: int, unlike: dict[str, list[str]]) -> pd.DataFrame:
    """One row a bin."""
    counts, rates = [len(rows) for rows in log_rates], np.concatenate([np.empty((0, 2)), *log_rates])
    start = np.concatenate([np.empty(0, np.int64), *(size * np.arange(count) for count in counts)])
    strands = {f"probability_{strand}": chance(rates[:, [i]]) for i, strand in enumerate("+-")}
    of_records = {name: np.repeat(np.array(values, object), counts) for name, values in {"id": ids, **unlike}.items()}
    table = pd.DataFrame({"id": of_records.pop("id"), "start": start, "end": start + size, "probability": chance(rates), **strands})
    return table.assign(**of_records)


def _spreads(values: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Column -> (M, n) values of the members -> (n,) their standard deviation; no column of a single model."""
    return {name: spread(of_members) for name, of_members in values.items() if len(of_members) > 1}

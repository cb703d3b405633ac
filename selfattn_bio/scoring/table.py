"""Score sequences with a trained model or an ensemble and return a table of predictions."""

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
    AnyObjective,
    BinaryObjective,
    BinsObjective,
    LabelsObjective,
    MulticlassObjective,
    RegressionObjective,
    SeveralObjective,
)
from selfattn_bio.data.inputs import RecordPair
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

CHUNK_LETTERS, CHUNK_RECORDS = 1 << 21, 4096  # limits of a table of `score_batches`


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
    """Score sequences with a model of any objective except "masked" and "causal".

    `score_sequences("promoter", ["ACGT..."])` returns one row with id "0". Use `score_batches` for
    large files: it returns the table in parts.

    Parameters
    ----------
    model
        A model folder, a list of folders whose outputs are averaged, the name of a model that
        ships, or the result of `load`.
    sequences
        One of:

        - strings
        - the path of a FASTA file (plain, gz or bgzip)
        - records from `read_records`
        - a table with a column `sequence` and optionally `id`
        - with `genome`: a BED or GFF file, or a table with `chrom, start, end` (0-based half-open)
          and optionally `strand` and `name`

        U is read as T. Lower case and gaps are handled as in training (`soft_mask` and `gaps` of
        the run file). By default lower case is read as upper case and gaps are an error.
    rc
        Average the outputs of both strands (DNA only, not for labels per position). Has no effect
        on a model whose scores are already such means (`evaluation.strands`).
    calibrated
        For a binary model, divide logits by the temperature fitted on the validation split before
        they become probabilities. `predicted` is the same either way.
    coverage
        Add prediction sets or intervals with this coverage, such as 0.9, for records similar to the
        validation split: a set of labels for classes, an interval for numbers. Available for
        binary, multiclass and regression models.
    batch_size
        Maximum number of sequences per pass of the network. By default as many as fit into 32,768
        positions.
    genome
        FASTA file of the intervals, plain or bgzip. Intervals on the minus strand are
        reverse-complemented.
    partner
        The second input of a model with two inputs. Sequences are given as above and matched by id
        (strings by order). Values of a track are arrays in order, a dict from id to array, or the
        path of a file as in [partner]. All partners are held in memory.

    Returns
    -------
    One row per sequence, in the given order. The columns are:

    - `id`: header or number; for an interval as in a corpus, `chr1:0-30(+)`.
    - `chrom`, `start`, `end` (0-based half-open), `strand`, `name`: for intervals only. Not present
      for bins, whose rows are parts of an interval.
    - binary: `logit`, `probability`, and `predicted`, which is 1 if the probability reaches the
      threshold that was fitted on the validation split, otherwise 0.
    - multiclass: `predicted` and `probability_CLASS` for each class.
    - multilabel: `probability_COLUMN` for each column.
    - regression: each column.
    - several: the columns of each part as `PART.COLUMN`.
    - labels: `predicted`, a text as long as the sequence.
    - bins: one row per complete bin with `start` and `end` (0-based half-open, within the
      sequence), `probability` (of a point on either strand, averaged over both reading directions,
      not calibrated), `probability_+` and `probability_-`.
    - with `coverage`: `set`, labels joined by commas or "none"; for numbers `low_COLUMN` and
      `high_COLUMN`. For several models, their union.
    - for several models: the standard deviation between them, as `spread` of the logit for binary
      models, `spread_CLASS` for multiclass, `spread_COLUMN` for multilabel and regression. There is
      none for labels.
    - `unlike`: why a sequence differs from the training records: `length`, `ambiguous` (too many
      ambiguous symbols), `composition`, or "no". Present if a model folder has the reference data.
      1 % of the validation records differ by composition.

    Sequences scored with labels or bins may have any length; memory holds one tile at a time. If
    the model has a limited receptive field (windows, convolutions), the result equals one pass over
    the complete sequence. If it sees the complete input (global tokens, full attention), sequences
    more than four times as long as the longest training record are read in windows of that length,
    and a message on stderr reports it.

    Raises
    ------
    SequenceFileError
        If a file is malformed, a character is outside the alphabet, a record is shorter than the
        model's k, or an interval is not on the genome.
    ModelFolderError
        As for `load`.
    ValueError
        If a sequence of a list has such a problem, a single string does not name a file, or an
        option does not fit the model. That is: `rc` for an alphabet without complement or for
        labels per position; a missing `partner` for a model with two inputs, or any for a model
        with one; `coverage` outside (0, 1), for a model without calibration data, or combined with
        `rc` for a model calibrated on one strand.
    """
    options = {
        "rc": rc,
        "calibrated": calibrated,
        "coverage": coverage,
        "batch_size": batch_size,
        "genome": genome,
        "partner": partner,
    }
    return pd.concat(score_batches(model, sequences, **options), ignore_index=True)  # type: ignore[arg-type]


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
    """Yield the table of `score_sequences` in parts of a few thousand rows.

    Memory does not grow with the size of a file. Arguments, columns and errors are those of
    `score_sequences`. At least one part is returned, without rows if there are no sequences.
    """
    scorer = model if isinstance(model, Scorer | Ensemble) else load(model)
    scoring = TableScorer(scorer, rc, calibrated, coverage, batch_size)
    scoring.check()
    inputs = read_inputs(
        scorer.policy, sequences, max(member.shortest for member in scorer.members), genome
    )
    partner_of = read_partners(scorer.members[0], partner)
    reported = False
    for part in chunks(inputs):
        ids, letters = [each.id for each in part], [each.letters for each in part]
        if not reported and (text := scoring.in_tiles(ids, letters)):
            print(f"score: {text}", file=sys.stderr, flush=True)
            reported = True
        table = scoring.table(
            ids,
            letters,
            [RecordPair(each.letters, partner_of(each)) for each in part]
            if partner_of
            else letters,
        )
        # rows of bins have their own start and end
        if genome is not None and not isinstance(scorer.objective, BinsObjective):
            intervals = pd.DataFrame([each.place for each in part], columns=PLACE)
            table = pd.concat([table[["id"]], intervals, table.drop(columns="id")], axis=1)
        yield table


def chunks(inputs: Iterator[Input]) -> Iterator[list[Input]]:
    """Yield lists of a few thousand sequences, at least one list."""
    part: list[Input] = []
    total, yielded = 0, False
    for each in inputs:
        part.append(each)
        total += len(each.letters)
        if total >= CHUNK_LETTERS or len(part) >= CHUNK_RECORDS:
            yield part
            part, total, yielded = [], 0, True
    if part or not yielded:
        yield part


@dataclass(frozen=True)
class TableScorer:
    """Apply a model to sequences with the options of `score_sequences`."""

    scorer: Scorer | Ensemble
    rc: bool
    calibrated: bool
    coverage: float | None
    batch_size: int | None

    def check(self) -> None:
        """Check that the options fit the model, before any file is read."""
        objective = self.scorer.objective
        if objective.kind in ("masked", "causal"):
            raise ArgumentError(f"a model of objective {objective.kind!r} does not score sequences")
        if self.rc:
            check_one_input(self.scorer, "rc")
        if self.rc and not self.scorer.alphabet.has_complement:
            raise ArgumentError(
                f"rc cannot be used with {self.scorer.alphabet.name}, which has no reverse strand"
            )
        if self.rc and isinstance(objective, LabelsObjective):
            raise ArgumentError(
                "rc cannot be used with one label per position, because labels of the two strands "
                "cannot be averaged"
            )
        if self.rc and isinstance(objective, BinsObjective):
            raise ArgumentError(
                "rc cannot be used with bins, which are always read in both directions"
            )
        if self.coverage is None:
            return
        if not 0 < self.coverage < 1:
            raise ArgumentError(f"coverage {self.coverage} is not between 0 and 1")
        if objective.kind not in CONFORMAL:
            raise ArgumentError(
                f"coverage is not available for objective {objective.kind!r}, only for "
                f"{', '.join(CONFORMAL)}"
            )
        if self.rc and not self.scorer.both_strands:
            raise ArgumentError(
                "rc and coverage cannot be combined: prediction sets are calibrated on one strand. "
                "Leave one of them out"
            )
        if not all(member.reference for member in self.scorer.members):
            raise ArgumentError(
                "coverage needs reference.safetensors, which a model folder does not have; train "
                "the model again"
            )

    def table(
        self, ids: list[str], letters: Sequence[NDArray[np.uint8]], inputs: Sequence[Any]
    ) -> pd.DataFrame:
        """Return the rows of these sequences.

        `inputs` holds what the model reads: the sequences, or pairs.
        """
        objective = self.scorer.objective
        if isinstance(objective, BinsObjective):
            return _bin_rows(
                ids, self.tiling.read(letters, self.log_rates), objective.bin, self.unlike(letters)
            )
        if isinstance(objective, LabelsObjective):
            texts = self.tiling.read(letters, self.labels)
            columns: dict[str, Any] = {"predicted": [text.tobytes().decode() for text in texts]}
        else:
            outputs = np.stack(
                [self.outputs(member, inputs) for member in self.scorer.members]
            )  # (M, n, C)
            columns = self.columns(objective, outputs)
        return pd.DataFrame({"id": ids, **columns, **self.unlike(letters)})

    @cached_property
    def tiling(self) -> Tiling:
        """Return how long sequences are read by models of labels or bins."""
        return Tiling.of(self.scorer)

    def in_tiles(self, ids: Sequence[str], letters: Sequence[NDArray[np.uint8]]) -> str:
        """Return a message if outputs differ from those of one pass, otherwise an empty string."""
        if (
            self.scorer.objective.kind not in ("labels", "bins")
            or self.tiling.exact
            or not self.tiling.size
        ):
            return ""
        longest, size = self.tiling.longest, self.tiling.size
        long = [name for name, row in zip(ids, letters, strict=True) if len(row) > longest]
        return (
            f"sequences longer than {longest:,} positions, such as {long[0]!r}, are read in "
            f"windows of {size:,}, the length of the training records, because the model was not "
            "trained on longer ones"
            if long
            else ""
        )

    def log_rates(self, letters: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float64]]:
        """Return log rates (bins, 2) of each sequence, averaged over the members."""
        of_members = [member.log_rates(letters, self.batch_size) for member in self.scorer.members]
        return [np.mean(rows, axis=0) for rows in zip(*of_members, strict=True)]

    def labels(self, letters: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        """Return the most probable label of each position, ASCII (L,) per sequence.

        Outputs are averaged over the members first.
        """
        objective = self.scorer.objective
        classes = np.frombuffer("".join(objective.output_names).encode(), np.uint8)
        of_members = [
            member.token_outputs(letters, self.batch_size) for member in self.scorer.members
        ]
        return [
            classes[predictions_of(objective, np.mean(rows, axis=0)).argmax(-1)]
            for rows in zip(*of_members, strict=True)
        ]

    def outputs(self, member: Scorer, letters: Sequence[Any]) -> NDArray[np.float64]:
        """Return the outputs (n, C) of a member, averaged over both strands with `rc`."""
        outputs = member.outputs(letters, self.batch_size)
        if self.rc and not member.both_strands:
            reverse = [member.alphabet.reverse_complement(row) for row in letters]
            outputs = (outputs + member.outputs(reverse, self.batch_size)) / 2
        return outputs

    def columns(self, objective: AnyObjective, outputs: NDArray[np.float64]) -> dict[str, Any]:
        """Convert the members' outputs (M, n, C) to table columns."""
        mean = outputs.mean(axis=0)
        if not isinstance(objective, BinaryObjective):
            found = _columns(
                objective, predictions_of(objective, mean), predictions_of(objective, outputs)
            )
            return found | self.conformal(objective, outputs)
        probability = self.scorer.probabilities(mean[:, 0])
        called = (probability >= self.scorer.threshold).astype(int)
        columns = {
            "logit": mean[:, 0],
            "probability": probability if self.calibrated else expit(mean[:, 0]),
            "predicted": called,
        }
        return columns | self.conformal(objective, outputs) | _spreads({"spread": outputs[..., 0]})

    def conformal(self, objective: AnyObjective, outputs: NDArray[np.float64]) -> dict[str, Any]:
        """Return the prediction set or interval of each record at the requested coverage."""
        if self.coverage is None:
            return {}
        fitted = [member.reference.conformal for member in self.scorer.members if member.reference]
        if isinstance(objective, RegressionObjective):
            predicted = predictions_of(objective, outputs)  # (M, n, C)
            widths = np.stack([half_widths(objective, of, self.coverage) for of in fitted])[:, None]
            low, high = (predicted - widths).min(axis=0), (predicted + widths).max(axis=0)
            return {
                f"{end}_{n}": of[:, i]
                for i, n in enumerate(objective.output_names)
                for end, of in (("low", low), ("high", high))
            }
        each = [
            sets_of(objective, of, rows, self.coverage)
            for of, rows in zip(fitted, outputs, strict=True)
        ]
        names = names_of(objective)
        rows = np.any(each, axis=0)
        return {
            "set": [
                ",".join(name for name, inside in zip(names, row, strict=True) if inside) or "none"
                for row in rows
            ]
        }

    def unlike(self, letters: Sequence[NDArray[np.uint8]]) -> dict[str, list[str]]:
        """Return why each record differs from the training records of a member.

        The first member that reports a difference decides.
        """
        of_members = [
            member.reference.unlike(letters) for member in self.scorer.members if member.reference
        ]
        return (
            {
                "unlike": [
                    next((why for why in of if why != LIKE), LIKE)
                    for of in zip(*of_members, strict=True)
                ]
            }
            if of_members
            else {}
        )


def _columns(
    objective: AnyObjective, predicted: NDArray[np.float64], each: NDArray[np.float64]
) -> dict[str, Any]:
    """Convert predictions (n, C) and those of each member (M, n, C) to table columns.

    For several objectives, column names begin with the name of the part.
    """
    if isinstance(objective, SeveralObjective):
        of_parts = {
            name: _columns(objective.parts[name], predicted[:, of], each[..., of])
            for name, of in objective.slices().items()
        }
        return {
            f"{name}.{column}": values
            for name, of_part in of_parts.items()
            for column, values in of_part.items()
        }
    names, called = objective.output_names, isinstance(objective, MulticlassObjective)
    prefix = "" if isinstance(objective, RegressionObjective) else "probability_"
    found = {"predicted": [names[i] for i in predicted.argmax(axis=1)]} if called else {}
    values = {prefix + name: predicted[:, i] for i, name in enumerate(names)}
    return (
        found | values | _spreads({f"spread_{name}": each[..., i] for i, name in enumerate(names)})
    )


def _bin_rows(
    ids: Sequence[str],
    log_rates: Sequence[NDArray[np.float64]],
    size: int,
    unlike: dict[str, list[str]],
) -> pd.DataFrame:
    """Return a table with one row per bin."""
    counts, rates = (
        [len(rows) for rows in log_rates],
        np.concatenate([np.empty((0, 2)), *log_rates]),
    )
    start = np.concatenate([np.empty(0, np.int64), *(size * np.arange(count) for count in counts)])
    strands = {f"probability_{strand}": chance(rates[:, [i]]) for i, strand in enumerate("+-")}
    of_records = {
        name: np.repeat(np.array(values, object), counts)
        for name, values in {"id": ids, **unlike}.items()
    }
    table = pd.DataFrame(
        {
            "id": of_records.pop("id"),
            "start": start,
            "end": start + size,
            "probability": chance(rates),
            **strands,
        }
    )
    return table.assign(**of_records)


def _spreads(values: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Return the standard deviation over the members, (n,), of each column with values (M, n).

    A single model has no such columns.
    """
    return {name: spread(of_members) for name, of_members in values.items() if len(of_members) > 1}

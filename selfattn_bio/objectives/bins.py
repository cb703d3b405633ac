"""Predict which bins of a long sequence contain a point of a BED file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad, softplus
from torch.nn.utils.rnn import pad_sequence

from selfattn_bio import config
from selfattn_bio.arrays import object_array
from selfattn_bio.data.collation import TokenBatch
from selfattn_bio.errors import ArgumentError, CorpusError
from selfattn_bio.files import sha256_of
from selfattn_bio.objectives.base import Answer, Array, Examples, Objective
from selfattn_bio.objectives.loss import Batch, Loss
from selfattn_bio.objectives.numbers import PSEUDO_COUNT
from selfattn_bio.objectives.outputs import NumberOutput, Output, Track
from selfattn_bio.objectives.points import (
    LEAST_RATE,
    Bins,
    chance,
    check_judged,
    measure_bins,
    points_of,
    rank_metrics,
)
from selfattn_bio.sequence.kmers import KmerTokenizer
from selfattn_bio.split_names import SPLIT_NAMES

if TYPE_CHECKING:
    from selfattn_bio.scoring.scorer import Scorer

UNLIKELY = -30.0  # logit of a position beyond the end of the sequence


class BinsOfPoints(Objective[config.BinsObjective], kind="bins"):
    """Whether each bin contains a point, on either strand."""

    main_metric = "auprc"
    predicts = "predicts the probability that a bin contains a point, on either strand"
    examples = "bins"
    exported = (softplus, "points per position of the encoder, in the given direction")
    has_calls = True
    no_strand_mean = "rc cannot be used with bins, which are always read in both directions"

    def describe(self) -> str:
        return f"{self.kind} {self.section.bin}"

    def complete(
        self, train: pd.DataFrame, records: pd.DataFrame, place: str
    ) -> config.BinsObjective:
        """Return the section with the SHA-256 of the points file."""
        if self.section.points_sha256:
            return self.section
        sha256 = sha256_of(Path(self.section.points))
        return self.section.model_copy(update={"points_sha256": sha256})

    def targets(self, table: pd.DataFrame, records: pd.DataFrame, place: str) -> NDArray:
        """Return objects (n,), the `Points` of each record; errors are those of `points_of`."""
        return points_of(self.section.points, records)

    def check_split(self, targets: NDArray, split: str, place: str, split_path: str) -> None:
        if not sum(len(points.at) for points in targets):
            message = f"no record of the {SPLIT_NAMES[split]} split contains a point"
            raise CorpusError(message, place=self.section.points)

    def check_evaluated(self, targets: NDArray, split: str, place: str) -> None:
        check_judged(targets, self.section.bin, split, place)

    def shortest(self, k: int) -> tuple[int, str]:
        return max((k, "tokens.k"), (self.section.bin, "objective.bin"))

    @property
    def alignment(self) -> int:  # type: ignore[override]
        return self.section.bin

    def targets_of_views(self, targets: NDArray, views: Sequence[tuple[int, int, bool]]) -> NDArray:
        """Return the points inside each part, which move with the letters."""
        pairs = zip(targets, views, strict=True)
        return object_array([points.seen(*view) for points, view in pairs])

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Return, for each strand, the logarithm of the number of points in a record.

        Points in the same bin count once.
        """
        return tuple(
            NumberOutput(
                strand,
                column,
                truth=partial(_log_points, size=self.section.bin, column=column),
                value=itemgetter((..., column)),
                unit=f"log of points on {strand}",
            )
            for column, strand in enumerate(self.section.output_names)
        )

    @property
    def tracks(self) -> tuple[Track, ...]:
        """Return the log-odds that a bin contains a point on each strand, from its log rate."""
        return tuple(
            Track(strand, partial(_log_odds, column=column))
            for column, strand in enumerate(self.section.output_names)
        )

    def record_outputs(self, outputs: Tensor, is_real: Tensor) -> Tensor:
        """Return the log of the expected number of points on each strand, (..., 2).

        It is the sum of the rates of all positions, in the given direction only.
        """
        return (softplus(outputs) * is_real).sum(-2).clamp(min=LEAST_RATE).log()

    def stackable(self, outputs: Array, run: config.RunFile, length: int) -> Array:
        """Return the log rates of the complete bins of a record, in the given direction only."""
        x, size = torch.from_numpy(np.moveaxis(outputs, 0, -2)), self.section.bin
        rates = rates_of_bins(x, size // run.output_stride, length // size)
        return np.moveaxis(rates.log().double().numpy(), -2, 0)

    def stacked_outputs(self, rows: Array) -> Array:
        """Return the log of the expected number of points in the complete bins."""
        return scipy.special.logsumexp(rows, axis=0)

    def answers(self, targets: NDArray) -> list[Answer]:
        """Return the labels of the bins of all records, on the forward and the reverse strand."""
        labels = [points.labels(self.section.bin).ravel() for points in targets]
        return [Answer("rate", np.concatenate(labels).astype(float))]

    def loss(self, run: config.RunFile, tokenizer: KmerTokenizer, targets: NDArray) -> BinsLoss:
        return BinsLoss(self.section.bin, run.output_stride)

    def read(self, scorer: Scorer, inputs: Sequence[NDArray[np.uint8]]) -> list[Array]:
        """Return log rates (complete bins, 2) of points on the forward and reverse strand.

        Rates are means over reading the sequence in both directions.

        Raises
        ------
        ArgumentError
            If a sequence is shorter than a bin.
        """
        size = self.section.bin
        if inputs and (shortest := min(map(len, inputs))) < size:
            raise ArgumentError(
                f"a sequence has {shortest} bp, but the model needs at least one bin of {size} bp"
            )
        whole = [row[: len(row) // size * size] for row in inputs]

        def read(forward: list[NDArray[np.uint8]]) -> Any:
            reverse = [scorer.alphabet.reverse_complement(row) for row in forward]
            strands = zip(
                self._log_rates(scorer, forward), self._log_rates(scorer, reverse), strict=True
            )
            values = [(one + other[::-1, ::-1]) / 2 for one, other in strands]
            return scorer.stacked(values, forward)

        return scorer.in_batches(whole, read)

    @torch.inference_mode()
    def _log_rates(self, scorer: Scorer, letters: list[NDArray[np.uint8]]) -> list[Array]:
        """Return log rates of sequences, longest first, in the given direction only."""
        size = self.section.bin
        outputs = scorer.network(scorer.tokens_of(letters))  # (B, M, N, 2)
        rates = rates_of_bins(outputs, size // scorer.run.output_stride, len(letters[0]) // size)
        values = rates.log().mean(1).double().cpu().numpy()
        return [of_row[: len(row) // size] for of_row, row in zip(values, letters, strict=True)]

    def examples_of(self, targets: NDArray, records: pd.DataFrame) -> Examples:
        """Return the bins of the records; bins of several records count once."""
        bins, size = Bins.of(targets, self.section.bin), self.section.bin
        return Examples(bins.table.assign(end=bins.table["start"] + size), bins.labels, bins.joined)

    def predictions(self, outputs: Array) -> Array:
        """Convert log rates of both strands (..., 2) to the probability of a point, (...)."""
        return chance(outputs)

    def measure(self, predictions: Array, targets: NDArray) -> dict[str, float]:
        """Compute auprc and auroc."""
        return rank_metrics(predictions, targets)

    def position_table(
        self, ids: Sequence[str], outputs: Sequence[NDArray], flags: dict[str, list[str]]
    ) -> pd.DataFrame:
        """Return one row per bin, from log rates (bins, 2) of each record."""
        rates, size = np.concatenate([np.empty((0, 2)), *outputs]), self.section.bin
        row = np.repeat(np.arange(len(ids)), [len(rows) for rows in outputs])
        columns = {name: np.array(of, object) for name, of in {"id": ids, **flags}.items()}
        records = pd.DataFrame(columns).iloc[row].reset_index(drop=True)
        start = size * records.groupby(row).cumcount()
        strands = {f"probability_{strand}": chance(rates[:, [i]]) for i, strand in enumerate("+-")}
        bins = {"start": start, "end": start + size, "probability": chance(rates), **strands}
        return pd.concat([records[["id"]], pd.DataFrame(bins), records[list(flags)]], axis=1)


class BinsLoss(Loss):
    """Cross-entropy of each bin and strand; outputs are (B, M, N, 2), per position of the encoder.

    Strands are separate, because targets of both strands combined carry half the information
    (figures: docs/decisions.md#long-sequences).
    """

    def __init__(self, size: int, stride: int) -> None:
        self.size, self.positions = size, size // stride

    def batch(self, tokens: TokenBatch, targets: NDArray[Any]) -> Batch:
        """Return inputs and targets (B, bins, 2), NaN after the last complete bin of a row.

        `targets` are the `Points` of the rows.
        """
        rows = [torch.from_numpy(points.labels(self.size)).float() for points in targets]
        padded = pad_sequence(rows, batch_first=True, padding_value=torch.nan)
        return Batch(tokens, padded, sum(map(len, rows)))

    def sum(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of outputs (B, M, N, 2) with targets (B, bins, 2), NaN if no bin."""
        rates = rates_of_bins(outputs, self.positions, targets.shape[1])
        targets = targets[:, None].expand_as(rates)
        known = targets.isfinite()
        rate, holds = rates[known], targets[known]
        return (
            torch.where(holds > 0.5, -torch.log(-torch.expm1(-rate)), rate).sum() / outputs.shape[1]
        )

    def measure_outputs(self, outputs: list[Array], targets: NDArray) -> dict[str, float]:
        bins = Bins.of(targets, self.size)
        return measure_bins(bins.joined(outputs), bins.labels)


def rates_of_bins(outputs: Tensor, positions: int, bins: int) -> Tensor:
    """Convert logits (..., N, C) of positions to rates (..., bins, C) of bins, in float32.

    A bin has `positions` positions. Its rate is -log of the probability that none of them holds a
    point. Positions are treated as independent (noisy-or), so their rates add up.
    """
    missing = bins * positions - outputs.shape[-2]
    # k-mers give fewer outputs than positions, so missing ones are padded; surplus ones are cut off
    outputs = pad(outputs.float(), (0, 0, 0, missing), value=UNLIKELY)
    return softplus(outputs).unflatten(-2, (bins, positions)).sum(-2).clamp(min=LEAST_RATE)


def _log_odds(log_rates: Array, column: int) -> Array:
    """Return the log-odds of a point from log rates (..., 2): log of exp(rate) - 1, (...)."""
    rate = np.exp(log_rates[..., column])
    return rate + np.log(-np.expm1(-rate))


def _log_points(targets: NDArray, size: int, column: int) -> Array:
    """Return the log of the number of bins with a point on a strand, from n `Points`, (n,)."""
    numbers = [points.labels(size)[:, column].sum() for points in targets]
    return np.log(np.array(numbers) + PSEUDO_COUNT)

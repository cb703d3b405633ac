"""Predict counts per base of tracks: a profile over bases and strands, and the total count.

Outputs of the network are (..., S W, 2 T) for T tracks, S strands and W bp: the log counts, which
are the same at each base, then the logits of the profiles. The axis of bases holds the forward
strand, then the reverse strand, so that reversing it gives the reverse complement. Targets of a
record are (K, T, S, L) for its L bases: counts and, if there is a bias (K = 2), expected counts.
Simple models predict the log counts alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfattn_bio import config
from selfattn_bio.arrays import object_array
from selfattn_bio.data.collation import TokenBatch
from selfattn_bio.display import counted
from selfattn_bio.errors import CorpusError, IntervalError
from selfattn_bio.files import sha256_of
from selfattn_bio.log import LOG
from selfattn_bio.objectives.base import (
    Answer,
    Array,
    Examples,
    Measurer,
    Objective,
    OutputMeasurer,
    Predictions,
    measurer_of_each,
)
from selfattn_bio.objectives.loss import Batch, Loss
from selfattn_bio.objectives.numbers import mean_of_known
from selfattn_bio.objectives.outputs import NumberOutput, Output, Track
from selfattn_bio.objectives.ranking import number_metrics
from selfattn_bio.sequence.genome import matching_name
from selfattn_bio.sequence.kmers import KmerTokenizer
from selfattn_bio.sequence.tracks import read_track, values_of
from selfattn_bio.split_names import SPLIT_NAMES

if TYPE_CHECKING:
    from selfattn_bio.scoring.scorer import Scorer

LEAST_COUNT = 0.01  # lowest expected count of a record
LEAST_BIAS = 0.01  # lowest bias of a base, as a fraction of the mean of its window
MEASURED = 256  # records whose profiles are compared at a time
SHOWN = 3  # records in the figure of profiles


class Profile(Objective[config.ProfileObjective], kind="profile"):
    """Counts per base in the middle of each record."""

    main_metric, higher_is_better = "loss", False
    predicts = "predicts the counts per base of its tracks, as a profile and a total count"
    column_prefix = ""
    exported = (torch.clone, "log counts, then shapes")
    alignment = 1  # all shifted windows of a record have the same length

    def describe(self) -> str:
        return " ".join((self.kind, *self.section.tracks, str(self.section.width)))

    # ------------ targets
    def complete(
        self, train: pd.DataFrame, records: pd.DataFrame, place: str
    ) -> config.ProfileObjective:
        """Return the section with the hashes of the files and the median count of each track."""
        section = self.section
        if not section.sha256:
            hashes = {file: sha256_of(file) for file in section.hashes}
            section = section.model_copy(update={"sha256": hashes})
        if section.scale:
            return section
        totals = self._middles(self.targets(train, records, place))[:, 0].sum((2, 3))
        scale = np.maximum(np.median(totals, axis=0), 1.0)
        return section.model_copy(update={"scale": tuple(scale.tolist())})

    def targets(self, table: pd.DataFrame, records: pd.DataFrame, place: str) -> NDArray:
        """Return objects (n,), the counts and bias (K, T, S, L) of each record on its strand.

        Raises
        ------
        CorpusError
            If a record has no coordinates.
        IntervalError
            If a file cannot be read, lacks a chromosome, or has a negative value.
        """
        lost = records["id"][records["chrom"].isna() | records["start"].isna()]
        if len(lost):
            message = f"record {lost.iloc[0]!r} has no coordinates, which objective 'profile' needs"
            raise CorpusError(message)
        section, names = self.section, list(self.section.tracks)
        shape = 1 + bool(section.bias), len(names), section.num_strands
        found = [np.zeros((*shape, length), np.float32) for length in records["length"]]
        reverse = (records["strand"] == "-").to_numpy()
        for kind, tracks in enumerate((section.tracks, section.bias)):
            for name, files in tracks.items():
                for strand, file in enumerate(files):
                    for row, values in counts_of(file, records):
                        own = len(files) - 1 - strand if reverse[row] else strand
                        found[row][kind, names.index(name), own] = values
        return object_array(found)

    def check_split(self, targets: NDArray, split: str, place: str, split_path: str) -> None:
        has_counts = np.stack([row.any((2, 3)) for row in targets])  # (n, K, T)
        names, of_split = list(self.section.tracks), f"of the {SPLIT_NAMES[split]} split"
        for kind, tracks in enumerate((self.section.tracks, self.section.bias)):
            for name, files in tracks.items():
                number = int(has_counts[:, kind, names.index(name)].sum())
                if not number:
                    CorpusError.fail(f"the track has no count in the records {of_split}", files[0])
                if kind and (empty := len(targets) - number):
                    empty_records = f"{counted(empty, 'record')} {of_split}"
                    LOG.warning(f"{files[0]}: no value, and so no bias, in {empty_records}")

    def shortest(self, k: int) -> tuple[int, str]:
        return self.section.width + k - 1, "objective.width + tokens.k - 1"

    def targets_of_views(self, targets: NDArray, views: Sequence[tuple[int, int, bool]]) -> NDArray:
        """Return the counts of the parts; the reverse complement has swapped strands."""
        seen = [row[..., first:last] for row, (first, last, _) in zip(targets, views, strict=True)]
        turned = zip(seen, views, strict=True)
        return object_array([row[..., ::-1, ::-1] if view[2] else row for row, view in turned])

    def _middles(self, targets: NDArray) -> NDArray[np.float32]:
        """Return the counts and bias of the predicted bases, (n, K, T, S, W)."""
        width, middles = self.section.width, []
        for row in targets:
            start = (row.shape[-1] - width) // 2
            middles.append(row[..., start : start + width])
        return np.stack(middles)

    # ------------ network
    @property
    def outputs(self) -> tuple[Output, ...]:
        """Return log count and shape of each track.

        The shape is the sum of the centred logits, weighted by their probabilities, as ChromBPNet
        explains them. The weights have no gradient.
        """
        return tuple(
            NumberOutput(
                name,
                column,
                truth=partial(self._truth, column=column),
                value=itemgetter((..., column)),
                unit="log of counts" if column < len(self.section.tracks) else "weighted logits",
            )
            for column, name in enumerate(self.section.output_names)
        )

    @property
    def tracks(self) -> tuple[Track, ...]:
        """Return the expected counts of each base."""
        return tuple(
            Track(name, itemgetter((..., column)), "counts")
            for column, name in enumerate(self.section.tracks)
        )

    def _truth(self, targets: NDArray, column: int) -> Array:
        """Return log(1 + count), or how much the counts are concentrated on few bases.

        The latter is the log ratio of the pairs of counts at the same base to those of an even
        profile, each plus 1. Other than an entropy, it does not grow if there are few counts.
        """
        is_shape, track = divmod(column, len(self.section.tracks))
        counts = self.flat(targets)[:, 0, track].astype(np.float64)
        totals = counts.sum(1)
        if not is_shape:
            return np.log1p(totals)
        pairs, even = (each * (each - 1).clip(0) for each in (counts, totals))
        return np.log1p(pairs.sum(1)) - np.log1p(even / counts.shape[1])

    def record_outputs(self, outputs: Tensor, is_real: Tensor) -> Tensor:
        """Return log count and shape of each track, (..., 2 T); `is_real` is not needed."""
        counts, logits = outputs.chunk(2, -1)
        centred = logits - logits.mean(-2, keepdim=True)
        shape = (logits.softmax(-2).detach() * centred).sum(-2)
        return torch.cat((counts.mean(-2), shape), -1)

    def loss(self, run: config.RunFile, tokenizer: KmerTokenizer, targets: NDArray) -> ProfileLoss:
        return ProfileLoss(self)

    def read(self, scorer: Scorer, inputs: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return outputs (n, S W, 2 T), without the bias.

        They are means over both strands if the run reads both. A stack changes the log counts.
        """
        found = self._given(scorer, inputs)
        if scorer.run.both_strands:
            # the middle of an odd number of other bases is one base away on the other strand
            odd = [(len(row) - self.section.width) % 2 for row in inputs]
            pairs = zip(inputs, odd, strict=True)
            other = [scorer.alphabet.reverse_complement(row)[first:] for row, first in pairs]
            found = (found + self._given(scorer, other)[:, ::-1]) / np.float32(2)
        stacked: NDArray[np.float32] = scorer.stacked(found, inputs)
        return stacked

    @torch.inference_mode()
    def _given(self, scorer: Scorer, inputs: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        section = self.section
        shape = section.num_strands * section.width, len(section.output_names)
        found = np.zeros((len(inputs), *shape), np.float32)
        for rows in scorer.batches(inputs):
            outputs = scorer.network(scorer.tokens_of([inputs[i] for i in rows]))
            found[rows] = outputs.float().mean(1).cpu().numpy()
        return found

    # ------------ predictions
    def examples_of(self, targets: NDArray, records: pd.DataFrame) -> Examples:
        """Return the records with their log counts; outputs get the bias."""
        counts = {
            f"true.{name}": self._truth(targets, column)
            for column, name in enumerate(self.section.tracks)
        }
        return Examples(records[["id"]].assign(**counts), targets, partial(self.joined, targets))

    def joined(self, targets: NDArray, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Add the bias of n records to their outputs (n, S W, 2 T)."""
        if not self.section.bias:
            return outputs
        flat = torch.from_numpy(self.flat(targets))
        return with_bias(torch.from_numpy(outputs).float(), flat[:, 1]).numpy()

    def measurer(self, predictions: Predictions, targets: NDArray) -> Measurer:
        """Return a function from rows to the metrics of these records.

        They are the loss, the mean Jensen-Shannon distance of profiles, that between two random
        halves of the counts, and the metrics of regression for log counts, as means over tracks.
        """
        measured = self._measured(predictions, targets)

        def of_rows(rows: NDArray[np.int64]) -> dict[str, float]:
            each = [of_track(rows) for of_track in measured]
            found = {name: mean_of_known([of[name] for of in each]) for name in each[0]}
            return found | {"loss": found["loss"] * len(each)}  # the loss is a sum

        return of_rows

    def output_measurer(self, predictions: Predictions, targets: NDArray) -> OutputMeasurer:
        measured = self._measured(predictions, targets)
        return measurer_of_each(dict(zip(self.section.tracks, measured, strict=True)))

    def _measured(self, predictions: Predictions, targets: NDArray) -> list[Measurer]:
        """Return the measurer of each track."""
        values, loss = np.asarray(predictions, np.float32), ProfileLoss(self)
        parts = []
        for start in range(0, len(targets), MEASURED):
            rows = slice(start, start + MEASURED)
            observed = torch.from_numpy(self.flat(targets[rows])[:, 0])
            terms = loss.terms(torch.from_numpy(values[rows]), observed)
            counts = observed.double().numpy()
            profile = terms.log_profile.double().exp().numpy()
            one, other = halves(counts, np.random.default_rng(start))
            with np.errstate(invalid="ignore"):  # NaN for records without counts
                distances = [
                    scipy.spatial.distance.jensenshannon(*pair, axis=-1)
                    for pair in ((profile, counts), (one, other))
                ]
            logs = terms.log_count.numpy(), np.log1p(counts.sum(-1))
            parts.append(np.stack((loss.of_terms(terms).numpy(), *distances, *logs)))
        columns = np.concatenate(parts, axis=1)  # (5, n, T)

        def of_track(column: Array) -> Measurer:
            means = dict(zip(("loss", "jsd", "jsd_replicates"), column, strict=False))
            of_counts = number_metrics(*column[3:])

            def of_rows(rows: NDArray[np.int64]) -> dict[str, float]:
                counts = np.bincount(rows, minlength=len(targets)).astype(np.float32)
                return {n: mean_of_known(of[rows]) for n, of in means.items()} | of_counts(counts)

            return of_rows

        return [of_track(column) for column in columns.transpose(2, 0, 1)]

    def flat(self, targets: NDArray) -> NDArray[np.float32]:
        """Return the counts and bias of the predicted bases, (n, K, T, S W)."""
        section = self.section
        shape = -1, len(section.tracks), section.num_strands * section.width
        return self._middles(targets).reshape(len(targets), *shape)

    def shown(
        self, predictions: Predictions, examples: Examples
    ) -> list[dict[str, str | list[float]]]:
        """Return observed and predicted counts of three records with median and more counts.

        Returns
        -------
        One entry per record and track: id, track, and both counts per base, (S W,).
        """
        values, counts = np.asarray(predictions, np.float64), self.flat(examples.targets)[:, 0]
        order = np.argsort(counts.sum((1, 2)), kind="stable")
        rows = order[np.linspace(len(order) // 2, len(order) - 1, SHOWN).astype(int)]
        return [
            {
                "id": str(examples.table["id"].iloc[row]),
                "track": name,
                "observed": counts[row, track].tolist(),
                "predicted": expected_counts(values[row])[:, track].round(4).tolist(),
            }
            for row in dict.fromkeys(rows.tolist())
            for track, name in enumerate(self.section.tracks)
        ]

    def prediction_columns(self, predictions: Predictions) -> dict[str, Any]:
        """Return the predicted log counts."""
        counts = np.asarray(predictions)[:, 0, : len(self.section.tracks)]
        return dict(zip(self.section.tracks, counts.T, strict=True))

    # ------------ baselines
    def mean_profile(self, targets: NDArray) -> Array:
        """Return the logits of the mean profile of these records, (S W, T)."""
        return np.log(self.flat(targets)[:, 0].sum(0) + 1.0).T.astype(np.float64)

    def answers(self, targets: NDArray) -> list[Answer]:
        """Return the log counts without the bias, and the shape of the mean profile.

        Records do not differ in the latter, so simple models leave the shape to the network.
        """
        flat, logits = self.flat(targets), self.mean_profile(targets)
        counts = np.log1p((flat[:, 0] - flat[:, 1:].sum(1)).sum(-1).clip(0))
        mean = torch.from_numpy(np.concatenate((logits, logits), axis=-1))
        shapes = self.record_outputs(mean, mean)[logits.shape[1] :].expand(len(flat), -1)
        columns = np.concatenate((counts, shapes), axis=1, dtype=np.float64)
        return [Answer("number", column) for column in columns.T]


class Terms(NamedTuple):
    """Terms of the loss of outputs (B, ...) for T tracks.

    Fields are the negative log-likelihood of the counts under the multinomial distribution and the
    error of the log counts, both (B, ..., T); the log probabilities, (B, ..., T, S W); and the
    predicted log counts, (B, ..., T).
    """

    likelihood: Tensor
    error: Tensor
    log_profile: Tensor
    log_count: Tensor


class ProfileLoss(Loss):
    """Negative log-likelihood of profiles and squared error of log(1 + counts), sums over tracks.

    The likelihood is divided by the median count of the track, and the error has the weight
    `counts_weight`.

    References
    ----------
    Avsec et al. 2021; Pampari et al. 2024 for the bias.
    """

    def __init__(self, objective: Profile) -> None:
        self.objective, self.section = objective, objective.section

    def batch(self, tokens: TokenBatch, targets: NDArray) -> Batch:
        """Return inputs and targets (B, K, T, S W)."""
        return Batch(tokens, torch.from_numpy(self.objective.flat(targets)), len(targets))

    def sum(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of outputs (B, M, S W, 2 T) with targets (B, K, T, S W)."""
        counts, *bias = targets[:, None].unbind(2)
        outputs = with_bias(outputs.float(), *bias) if bias else outputs.float()
        return self.of_terms(self.terms(outputs, counts)).mean(1).sum()

    def of_terms(self, terms: Terms) -> Tensor:
        """Return the loss of each track, (B, ..., T)."""
        scale = terms.error.new_tensor(self.section.scale)
        return terms.likelihood / scale + self.section.counts_weight * terms.error**2

    def terms(self, outputs: Tensor, counts: Tensor) -> Terms:
        """Return the terms for outputs (B, ..., S W, 2 T) and counts (B, ..., T, S W)."""
        log_counts, logits = outputs.transpose(-1, -2).chunk(2, -2)  # (B, ..., T, S W)
        log_profile, total = logits.log_softmax(-1), counts.sum(-1)
        constant = torch.lgamma(counts + 1).sum(-1) - torch.lgamma(total + 1)
        likelihood = constant - (counts * log_profile).sum(-1)
        log_count = log_counts[..., 0]
        return Terms(likelihood, log_count - total.log1p(), log_profile, log_count)

    def measure_outputs(self, outputs: Any, targets: NDArray) -> dict[str, float]:
        joined: Any = self.objective.joined(targets, np.asarray(outputs, np.float32))
        return self.objective.measure(joined, targets)


def with_bias(outputs: Tensor, bias: Tensor) -> Tensor:
    """Add bias tracks (..., T, S W) to outputs (..., S W, 2 T).

    The logarithm of the bias is added to the logits, and the counts of network and bias add up. A
    track without bias has only zeros, and its outputs are unchanged.
    """
    log_counts, logits = outputs.transpose(-1, -2).chunk(2, -2)
    total = bias.sum(-1, keepdim=True)
    least = LEAST_BIAS * bias.mean(-1, keepdim=True) + torch.finfo(bias.dtype).tiny
    logits = logits + torch.where(total > 0, bias.maximum(least).log(), 0.0)
    log_counts = torch.where(total > 0, torch.logaddexp(log_counts, total.log1p()), log_counts)
    return torch.cat((log_counts, logits), -2).transpose(-1, -2)


def expected_counts(outputs: Array) -> Array:
    """Convert outputs (..., S W, 2 T) to the expected counts of each base, (..., S W, T)."""
    log_counts, logits = np.split(np.asarray(outputs, np.float64), 2, axis=-1)
    return scipy.special.softmax(logits, axis=-2) * np.expm1(log_counts).clip(LEAST_COUNT)


def halves(counts: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Divide counts (...) at random into two halves, as two replicates of half the depth."""
    whole = counts.round()
    one = rng.binomial(whole.astype(np.int64), 0.5).astype(np.float64)
    return one, whole - one


def counts_of(file: str, records: pd.DataFrame) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield row and counts of each record, in its direction; bases without a value have 0.

    Raises
    ------
    IntervalError
        If a chromosome is missing or a value negative.
    """
    track = read_track(file)
    for chrom in records["chrom"].unique():
        if matching_name(chrom, track.names) is None:
            message = f"the track has no chromosome {chrom!r}, which has records"
            IntervalError.fail(message, file, "Use the assembly of the genome, or drop the records")
    for row, values in values_of(track, records.assign(end=records["start"] + records["length"])):
        if (values < 0).any():
            record = records["id"].iloc[row]
            raise IntervalError(f"a count in record {record!r} is negative", place=file)
        yield row, np.nan_to_num(values)

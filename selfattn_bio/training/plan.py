"""Predict peak memory and time of a training, and suggest settings that fit.

The plan command prints the prediction; the train command uses it for the hint after running out of
memory.

`training.probe` measures as much as time and memory allow: the program, the weights, and steps of
growing size, up to the length and batch size of the run. Larger sizes are extrapolated: linearly in
the batch size, from the last two sizes; in the length also linearly, or as a parabola for patterns
or kernels that compute all pairs. Only the memory of batches that wait during gradient accumulation
follows from a formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from selfattn_bio import config
from selfattn_bio.display import counted
from selfattn_bio.errors import RunFileError, TrainingError
from selfattn_bio.objectives import objective_of
from selfattn_bio.sequence.alphabet import get_alphabet
from selfattn_bio.training.lengths import Lengths
from selfattn_bio.training.probe import Probe, grows_squared, measure

# usable fraction of the available memory; the rest covers other processes and prediction errors
FILLED = 0.9
SECONDS = 10.0  # time limit for the steps of one size
NAMED = 0.1  # fraction of the peak above which the mapped corpus is reported separately
CROWDED = 1.25  # ratio of clock time to process time above which the load is reported
SPARSE = 'model.pattern = { kind = "window", window = 128 }'


@dataclass(frozen=True)
class Plan:
    """Predict memory and time of a run from its measurements.

    `again` plans another run in the same way.
    """

    run: config.RunFile
    lengths: Lengths
    probe: Probe
    again: Callable[[config.RunFile], Plan]

    # ------------ memory
    @property
    def peak(self) -> float:
        """Return the peak memory of the run in MB: resident, or taken from the GPU."""
        return self.peak_of(self.lengths.longest, self.run.training.batch_size)

    def peak_of(self, length: int, batch: int) -> float:
        """Return the peak memory in MB for batches of `batch` records of length `length`.

        It is infinite if no size could be measured.
        """
        kept = self.probe.kept
        if not self.probe.points:
            return math.inf
        steps = (
            self._extrapolated("peak", kept, length, batch)
            + self.probe.holes
            + self._waiting(length, batch)
        )
        return max(steps, self.probe.evaluated, self.probe.opened)

    @property
    def limit(self) -> float:
        """Return the allowed peak memory in MB."""
        return FILLED * self.probe.available

    @property
    def fits(self) -> bool:
        """Return whether the run fits into the available memory."""
        return self.peak <= self.limit

    @property
    def is_measured(self) -> bool:
        """Return whether steps of the run's own size were measured."""
        reached = [(point.length, point.batch) for point in self.probe.points]
        return (self.lengths.longest, self.run.training.batch_size) in reached

    def largest_batch(self) -> int | None:
        """Return the largest batch size that fits, or None if not even one record does.

        It divides the records of a step and is at most that of the run.
        """
        training = self.run.training
        step = training.batch_size * training.accumulate
        fitting = (batch for batch in range(training.batch_size, 0, -1) if step % batch == 0)
        return next(
            (batch for batch in fitting if self.peak_of(self.lengths.longest, batch) <= self.limit),
            None,
        )

    def longest_length(self) -> int | None:
        """Return the longest length that fits with one record per batch, or None.

        The length is rounded down to two digits.
        """
        low, high = 0, self.lengths.longest
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (
                (middle, high) if self.peak_of(middle, 1) <= self.limit else (low, middle - 1)
            )
        digit = 10 ** max(0, len(str(low)) - 2)
        return low // digit * digit or None

    def _waiting(self, length: int, batch: int) -> float:
        """Return the memory of token ids and targets of the waiting batches of a step, in MB.

        Two batches are part of the measurement.
        """
        training = self.run.training
        waiting = max(0, training.batch_size * training.accumulate // batch - 2)
        of_token = 16 if self.run.objective.outputs_per == "token" else 8  # bytes: int64
        return waiting * batch * length / self.run.tokens.stride * of_token / 1e6

    # ------------ time
    @property
    def seconds_per_step(self) -> float:
        """Return the mean seconds per optimizer step on an otherwise idle machine."""
        training = self.run.training
        if not self.probe.points:
            return math.inf
        return (
            self._extrapolated("seconds", 0.0, self.lengths.longest, training.batch_size)
            * training.accumulate
            * self.probe.pace
        )

    @property
    def first_end(self) -> int:
        """Return the step where patience ends training if the first evaluation stays the best."""
        training = self.run.training
        return min(training.max_steps, (1 + training.patience) * training.evaluate_every)

    def evaluations(self, steps: int) -> int:
        """Return the number of validations in `steps` steps, including that for calibration."""
        return math.ceil(steps / self.run.training.evaluate_every) + (
            objective_of(self.run.objective).has_log_odds
        )

    def seconds_of(self, steps: int) -> float:
        """Return the seconds for `steps` steps on an otherwise idle machine.

        Evaluations are left out if the validation split is unknown.
        """
        return steps * self.seconds_per_step + self.evaluations(steps) * self.probe.evaluation * (
            self.lengths.valid or 0
        )

    @property
    def seconds(self) -> float:
        """Return the seconds of the complete training at the current load of the machine.

        Patience may end it earlier.
        """
        return self.seconds_of(self.run.training.max_steps) * self.probe.crowding

    # ------------ messages
    def lines(self) -> Iterator[str]:
        """Yield the lines of the report."""
        training, probe, longest = self.run.training, self.probe, self.lengths.longest
        unit = get_alphabet(self.run.data.alphabet).unit
        batches = (
            f"batches of {counted(training.batch_size, 'record')} of at most {longest:,} {unit}"
        )
        accumulated = f", {training.accumulate} per step" if training.accumulate > 1 else ""
        yield f"{probe.parameters:,} parameters, {batches}{accumulated}, on {probe.device}"
        if not probe.points:
            yield (f"peak memory more than {gigabytes(probe.available)}: not even one record fits")
            return
        point = probe.points[-1]
        last = f"{counted(point.batch, 'record')} of up to {point.length:,} {unit}"
        yield (
            f"peak memory {gigabytes(self.peak)} of {gigabytes(probe.available)} available, "
            f"{'measured on' if self.is_measured else 'extrapolated from'} steps of {last}"
        )
        if self.lengths.letters / 1e6 > NAMED * self.peak:
            yield (
                f"plus up to {gigabytes(self.lengths.letters / 1e6)} of sequences mapped from the "
                "corpus, which the system can free"
            )
        yield from self._times()

    def _times(self) -> Iterator[str]:
        """Yield lines about time: the maximum, and the effects of patience and a busy machine."""
        most, first, crowding = self.run.training.max_steps, self.first_end, self.probe.crowding
        evaluations = (
            f"{counted(self.evaluations(most), 'evaluation')}"
            if self.lengths.valid is not None
            else "without evaluations"
        )
        yield (
            f"time {self.seconds_per_step:.3g} s per step; {counted(most, 'step')}, {evaluations}: "
            f"{duration(self.seconds_of(most))} at most"
        )
        if first < most:
            sooner = f"{duration(self.seconds_of(first))} if no evaluation improves on the first"
            yield f"or {sooner}, because patience then ends training at step {first:,}"
        if crowding > CROWDED:
            yield (
                f"the processors are busy, so training would now take {crowding:.1f} times as long "
                f"({duration(self.seconds)} at most); plan again on an idle machine"
            )

    def hint(self) -> str:
        """Suggest settings with which the run fits.

        A sparse pattern is suggested only after it has been planned as well.
        """
        batch = self.largest_batch()
        if batch is not None:
            return f"Set {self._cut_into(batch)}, which keeps the number of records per step"
        model = self.run.model
        if (
            isinstance(model, config.AttentionModel)
            and isinstance(model.mixer, config.SoftmaxMixer)
            and grows_squared(model)
        ):
            changed = {
                "pattern": config.WindowPattern(causal=model.pattern.causal),
                "kernel": "auto",
            }
            sparse = self.again(
                self.run.model_copy(update={"model": model.model_copy(update=changed)})
            )
            if (batch := sparse.largest_batch()) is not None:
                kernel = "" if model.kernel == "auto" else ', model.kernel = "auto"'
                return f"Set {SPARSE}{kernel}" + (
                    f", {self._cut_into(batch)}" if batch < self.run.training.batch_size else ""
                )
        if (length := self.longest_length()) is not None:
            return (
                f"Set data.max_length = {length} with {self._cut_into(1)}, or make the network "
                "smaller"
            )
        return "Make the network smaller: model.members, model.num_layers, model.embed_dim"

    def refusal(self, place: str) -> TrainingError:
        """Return the error that explains why the run should not be started."""
        limit = (
            f"{gigabytes(self.limit)} ({FILLED:.0%} of the memory available on {self.probe.device})"
        )
        message = (
            f"the training needs {gigabytes(self.peak)} of memory, more than {limit}"
            if math.isfinite(self.peak)
            else f"not even one record fits into {limit}"
        )
        return TrainingError(message, place=place, hint=self.hint())

    def _cut_into(self, batch: int) -> str:
        step = self.run.training.batch_size * self.run.training.accumulate
        return f"training.batch_size = {batch} and training.accumulate = {step // batch}"

    # ------------ extrapolation
    def _extrapolated(self, what: str, start: float, length: int, batch: int) -> float:
        """Extrapolate a quantity to a batch of records of one length.

        `what` names a field of `Point`; `start` is its value for an empty batch.
        """
        points = self.probe.points
        if length == points[-1].length:
            reached = [point for point in points if point.length == length]
            return extended(
                [(0, start), *((point.batch, getattr(point, what)) for point in reached)], batch
            )
        # First extrapolate the length, using sizes with as many records as the shortest has. Then
        # scale in proportion to the number of records.
        same = [point for point in points if point.batch == points[0].batch]
        known = [(0, start), *((point.length, getattr(point, what)) for point in same)]
        one = extended(known, length, squared=grows_squared(self.run.model))
        return start + (one - start) * batch / points[0].batch


def make_plan(
    run: config.RunFile,
    lengths: Lengths,
    *,
    threads: int,
    keep_memory: bool,
    seconds: float = SECONDS,
) -> Plan:
    """Measure a run and return its plan.

    Parameters
    ----------
    run
        The run file.
    lengths
        Lengths of its records.
    threads
        Number of threads of the training.
    keep_memory
        Whether the training keeps freed memory; see `heap.keep_memory`.
    seconds
        Time limit for the steps of one size, from the third size on. A smaller limit means more
        extrapolation.

    Raises
    ------
    SelfAttnBioError
        Any error that the training would raise at its start.
    """
    if isinstance(run.model, config.PairedModel):
        raise RunFileError(
            "a model of kind 'paired' cannot be planned: the lengths of its two inputs are not "
            "known"
        )
    run = as_measured(run)
    probe = measure(run, lengths, threads=threads, seconds=seconds, keep_memory=keep_memory)
    return Plan(
        run,
        lengths,
        probe,
        lambda changed: make_plan(
            changed, lengths, threads=threads, keep_memory=keep_memory, seconds=seconds
        ),
    )


def as_measured(run: config.RunFile) -> config.RunFile:
    """Return the run that is measured on synthetic records.

    It has no groups and no stack. A private run is measured in batches of one record.
    """
    training = run.training.model_copy(update={"balance": None})
    if run.privacy:
        training = training.model_copy(update={"batch_size": 1, "accumulate": training.batch_size})
    return run.model_copy(
        update={"privacy": None, "stack": config.StackSection(), "training": training}
    )


def out_of_memory(plan: Plan, reason: str, place: str) -> TrainingError:
    """Return the error for a training that ran out of memory, with settings that would fit."""
    message, available = f"out of memory: {reason}", gigabytes(plan.probe.available)
    needed = (
        f"The training needs {gigabytes(plan.peak)}, and {available} are available"
        if math.isfinite(plan.peak)
        else f"Not even one record fits into {available}"
    )
    if not plan.fits:
        return TrainingError(message, place=place, hint=f"{needed}. {plan.hint()}")
    step = plan.run.training.batch_size * plan.run.training.accumulate
    smaller = next(
        (batch for batch in range(plan.run.training.batch_size // 2, 0, -1) if step % batch == 0),
        None,
    )
    hint = "Another process probably used the memory. Start the training again"
    hint += f", or set {plan._cut_into(smaller)}" if smaller else ""
    return TrainingError(message, place=place, hint=f"{needed} now. {hint}")


def extended(known: list[tuple[int, float]], x: float, *, squared: bool = False) -> float:
    """Interpolate or extrapolate a curve through known points, the first at 0, to `x`.

    Between points it is a straight line. Beyond the last point it is the line through the last two.
    With `squared` it is a parabola through the first and the last two points, if that bends
    upwards.

    Through (0, 1), (1, 2) and (2, 5) the parabola is 1 + x^2: 10 at x = 3, where the line has 8.
    """
    xs = np.array([x for x, _ in known], float)
    values = np.array([value for _, value in known], float)
    if x <= xs[-1]:
        return float(np.interp(x, xs, values))
    (x0, x1), (y0, y1) = xs[-2:], values[-2:]
    line = y1 + (x - x1) * (y1 - y0) / (x1 - x0)
    if squared and len(known) > 2:
        bend = ((y1 - values[0]) / x1 - (y0 - values[0]) / x0) / (x1 - x0)
        line += max(0.0, bend) * (x - x0) * (x - x1)
    return max(float(line), float(y1))


def gigabytes(megabytes: float) -> str:
    """Format megabytes as GB (10^9 bytes) with three digits: 1234 -> 1.23 GB."""
    return f"{megabytes / 1000:.3g} GB"


def duration(seconds: float) -> str:
    """Format seconds in a suitable unit."""
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"

"""The training loop: batches, steps, evaluation, checkpoints, best weights and the model folder.

The batch of a step depends only on the seed and the step, and its random numbers also on the
process. A checkpoint therefore needs only `Progress`, weights and optimizer state to resume bit for
bit. Processes split each batch and sum their gradients, so the number of processes changes only
rounding and dropout.
"""

from __future__ import annotations

import copy
import json
import math
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from safetensors.torch import save
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from selfattn_bio.baselines import Baseline, Calibration
from selfattn_bio.config import AttentionModel, HardConcreteGates, RunFile
from selfattn_bio.data.batches import RecordWindows, laid_windows
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import TrainingError, TrainingInterrupted
from selfattn_bio.evaluation.card import best_metrics, write_card
from selfattn_bio.evaluation.conformal import CONFORMAL, fit_conformal
from selfattn_bio.evaluation.groups import worst_auroc
from selfattn_bio.evaluation.lineage import read_lineage, seen_table
from selfattn_bio.evaluation.measures import MAIN
from selfattn_bio.files import sha256_of, whole_file, whole_folder
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import (
    HISTORY,
    NEXT_BEST,
    TRAINING_COST,
    TRAINING_RECORDS,
    WEIGHTS,
    check_model_output,
    save_model,
)
from selfattn_bio.model.classifier import AttentionBody
from selfattn_bio.model.exits import ConfidenceExits, choose_exits
from selfattn_bio.scoring.reference import Reference
from selfattn_bio.scoring.scorer import policy_of, scorer_of
from selfattn_bio.scoring.stack import Stack, baseline_setup
from selfattn_bio.sequence.kmers import PAD
from selfattn_bio.sequence.splits import read_split
from selfattn_bio.training.balance import build_balance
from selfattn_bio.training.board import TensorBoardWriter
from selfattn_bio.training.hardware import gather, open_fabric, seed_torch, shard_like
from selfattn_bio.training.mean import RunningMean
from selfattn_bio.training.memory import peak_mb
from selfattn_bio.training.objectives import Batch, OfTokens, build_objective
from selfattn_bio.training.optimizer import (
    build_optimizer,
    learning_rate,
    optimizer_tensors,
    restore_optimizer,
    set_rates,
)
from selfattn_bio.training.private import Private, check_layers
from selfattn_bio.training.provenance import fingerprint_of, provenance_of
from selfattn_bio.training.resume import CheckpointFolder, StopSignals, checkpoints_of
from selfattn_bio.training.splits import SplitRecords, Stream, read_splits
from selfattn_bio.training.stacking import check_parts, fit_part, fit_stack, shared_parts
from selfattn_bio.training.throughput import FlopCounter, gemm_peak
from selfattn_bio.training.transfer import (
    freeze_batchnorm,
    layer_of,
    merged,
    rate_of_layer,
    start_from,
)

SECONDS_BETWEEN_LINES = 10.0
OVERFLOWS = 25  # overflows in a row, in float16, that are an error; the loss scale is then 2^-9
MAX_NAMED = 8  # records named in a message; longer lists are written to a file

Result = TypeVar("Result")
print_line = partial(print, flush=True)


@dataclass
class Progress:
    """Progress of a run; a checkpoint contains it together with weights and optimizer state.

    Attributes
    ----------
    step
        Number of optimizer steps taken.
    top
        [main metric, step] of the best evaluations, best first. If lower is better, the metric has
        a minus sign.
    seconds
        Running time over all resumptions; only up to date in a checkpoint and at the end.
    letters, tokens
        Number of training letters and tokens, summed over the processes.
    flop
        Floating-point operations of this process.
    scaler
        State of the float16 loss scaler.
    overflows
        Steps since the last one with finite gradients.
    loss_sum, loss_steps
        Sum of the losses, and number of steps, since the last evaluation.
    history
        One row of measurements per evaluation.
    privacy
        Private runs: the secret, and the privacy spent.
    """

    step: int = 0
    top: list[list[float]] = field(default_factory=list)
    seconds: float = 0.0
    letters: int = 0
    tokens: int = 0
    flop: float = 0.0
    scaler: dict[str, Any] = field(default_factory=dict)
    overflows: int = 0
    loss_sum: float = 0.0
    loss_steps: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    privacy: dict[str, Any] = field(default_factory=dict)

    @property
    def best_step(self) -> int:
        """Return the step of the best evaluation, 0 before the first."""
        return int(self.top[0][1]) if self.top else 0


class EvaluationAbandoned(Exception):
    """Raised to abandon an evaluation, or the fit of a stack, because of a stop signal."""


def train(
    run: RunFile,
    corpus: Corpus,
    split_path: Path,
    output: Path,
    *,
    threads: int,
    name: str = "model",
    sharded: bool = False,
    parts_of: Path | None = None,
    say: Callable[[str], object] = print_line,
) -> None:
    """Train one run to its end and write its model folder.

    Resumes from the newest checkpoint in `<output>.checkpoints` if it has the same data, settings
    and versions. On the CPU, with the same number of threads and processes, the result is bit for
    bit the same as without an interruption.

    Parameters
    ----------
    run
        The run file.
    corpus
        All records: training, validation and test.
    split_path
        Split table of the corpus.
    output
        Model folder: new, empty, or an earlier model, which is replaced at the end.
    threads
        CPU threads for fitting a stack, also written to the provenance. The caller sets the threads
        of torch.
    name
        Prefix of progress lines.
    sharded
        Whether the processes of torchrun each hold a part of weights, gradients and optimizer
        state. Each process still holds the complete running mean of the weights.
    parts_of
        Model folder of another member of this run. The parts of its stack are reused instead of
        fitted again.
    say
        Called with one line of progress.

    Raises
    ------
    CorpusError
        If the training or validation split lacks a label or targets, a record is shorter than k, or
        a part of the stack cannot be fitted to the records.
    OutputError
        If `output` contains something other than a model.
    ModelFolderError
        If `parts_of` belongs to another run, corpus or split, or the parent of [transfer] is
        incomplete or saw a test record.
    RunFileError
        If the parent of [transfer] has another alphabet, other tokens or other layers.
    TrainingError
        If another process trains this run, the loss is not finite, sharding is requested for a
        model with gates, or a private run is impossible.
    TrainingInterrupted
        After SIGTERM or Ctrl-C, once the state of the step is saved.
    """
    check_model_output(output)
    if (
        sharded
        and isinstance(run.model, AttentionModel)
        and isinstance(run.model.gates, HardConcreteGates)
    ):
        message = "sharded training does not support gates"
        raise TrainingError(message, place=str(output), hint="Train without --sharded")
    fabric = open_fabric(run.training.precision, sharded=sharded)
    # a missing split table is reported by Trainer
    split_sha256 = sha256_of(split_path) if split_path.is_file() else ""
    trainer = Trainer(fabric, run, corpus, split_path, output, name, say)
    if parts_of:
        trainer.fitted_parts = shared_parts(
            run, parts_of, corpus.fingerprint, split_sha256, threads
        )
    training = trainer.run.training
    processes = fabric.world_size
    provenance = provenance_of(
        trainer.run,
        corpus,
        split_sha256,
        device=fabric.device.type,
        processes=processes,
        threads=threads,
    )
    fingerprint = fingerprint_of(trainer.run, corpus, split_sha256, processes)
    trainer.report_start(threads)
    folder = CheckpointFolder(checkpoints_of(output), fingerprint, writes=fabric.is_global_zero)
    with folder as checkpoints, trainer.signals as signals:
        fabric.barrier()  # the first process must have cleaned the folder before others read it
        trainer.restore(checkpoints)
        if training.tensorboard and fabric.is_global_zero:
            trainer.board = TensorBoardWriter(folder.path / "tensorboard", trainer.progress.step)
        progress = trainer.progress
        while trainer.is_due() or (
            progress.step < training.max_steps and not trainer.out_of_patience()
        ):
            # after a resumption, an evaluation that was abandoned is still due
            if not trainer.is_due():
                trainer.take_step()
            if trainer.is_due():
                trainer.evaluate()
            trainer.report_progress()
            at_end = progress.step == training.max_steps
            stop = trainer.max_of_all(signals.received)
            if progress.step % training.checkpoint_every == 0 or at_end or stop:
                checkpoints.save(progress.step, *trainer.state())
            if stop and (trainer.is_due() or not at_end):
                raise _interrupted(stop, progress.step, output)
        # out of patience: save the state, so that a run that is stopped below repeats no training
        if progress.step < training.max_steps:
            checkpoints.save(progress.step, *trainer.state())
        try:
            trainer.write_model(provenance, threads)
        except EvaluationAbandoned:
            raise _interrupted(
                trainer.max_of_all(signals.received), progress.step, output
            ) from None
        # srun and torchrun wait only minutes for the first process, which may be fitting a stack
        fabric.barrier()
        checkpoints.finish()


def _interrupted(signal_number: int, step: int, output: Path) -> TrainingInterrupted:
    name = signal.Signals(signal_number).name
    return TrainingInterrupted(
        f"training was stopped by {name} at step {step}; its state is saved",
        place=str(output),
        hint="Run the same command to resume",
        signal_number=signal_number,
    )


class Trainer:
    """Hold a run in memory: network, running mean of its weights, optimizer, data and progress.

    Parameters
    ----------
    fabric
        Processes, device and precision of the run.
    run, corpus, split_path, output, name, say
        As in `train`.

    Attributes
    ----------
    run
        Run file completed from the training records: class names, means.
    train, valid
        Training and validation split.
    main, higher_is_better
        Name of the metric that chooses the best weights, and its direction.
    network, bare
        The network that is trained, with and without Fabric's wrapper.
    average
        Copy of the network with the running mean of the weights, which is evaluated and saved.
        It is complete in every process and up to date after `mean.gather()`.
    mean
        Moves `average` after each step.
    top
        State of `average` at the best evaluations, by step.
    signals
        Stop signals that the run received; active only inside `train`.
    fitted_parts
        Parts of the stack that need not be fitted, by name.

    Raises
    ------
    CorpusError, ModelFolderError, RunFileError, TrainingError
        As for `train`.
    """

    def __init__(
        self,
        fabric: Fabric,
        run: RunFile,
        corpus: Corpus,
        split_path: Path,
        output: Path,
        name: str,
        say: Callable[[str], object] = print_line,
    ) -> None:
        torch.manual_seed(run.training.seed)
        # read now, because the parent's folder may have changed by the end of this run
        self.lineage = read_lineage(run.transfer.folder) if run.transfer else None
        if self.lineage:  # check now: `evaluate` would refuse the trained model
            test = np.flatnonzero(np.array(read_split(split_path, corpus.records["id"])) == "test")
            self.lineage.check(
                corpus.records.iloc[test], corpus.each(test), corpus.alphabet, corpus.assembly
            )
        self.run, splits = read_splits(run, corpus, split_path)
        self.fabric, self.corpus, self.output = fabric, corpus, output
        self.name, self._say = name, say
        self.train, self.valid = splits["train"], splits["valid"]
        if run.stack.parts:
            check_parts(run, self.letters_of(self.train), policy_of(run.data))
        self.main, self.higher_is_better = MAIN[run.objective.kind]
        self.bare, self.num_layers = build_network(self.run), getattr(run.model, "num_layers", 0)
        if run.transfer:
            start_from(self.bare, self.run, run.transfer, str(output))
        self.average = copy.deepcopy(self.bare).to(fabric.device).eval()
        self.signals = StopSignals()
        self.fitted_parts: dict[str, Baseline] = {}
        self.average.register_forward_pre_hook(_abandon_if_stopped(self.signals))
        self.flop = FlopCounter(self.bare)
        self.gemm_peak = gemm_peak(fabric.device, run.training.precision)
        self.network = fabric.setup_module(self.bare)
        self.mean = RunningMean(self.bare, self.average)
        optimizer = build_optimizer(
            self.bare,
            run.training,
            lambda name: layer_of(name, self.num_layers) if run.transfer else 0,
        )
        self.optimizer: Any = fabric.setup_optimizers(optimizer)
        self.scorer = scorer_of(self.run, self.average)
        self.objective = build_objective(self.run, self.scorer.tokenizer, self.train.targets)
        self.balance = (
            build_balance(run.training.balance, corpus, splits) if run.training.balance else None
        )
        if self.balance:
            self.main = "worst_auroc"
        self.private = self._private() if run.privacy else None
        self.stream = self._stream()
        self.board: TensorBoardWriter | None = None
        self.progress, self.top = Progress(), dict[int, dict[str, Tensor]]()
        self.started = self.printed = time.monotonic()
        self.network.train()

    def _private(self) -> Private:
        """Set up private training.

        Raises
        ------
        TrainingError
            If there are several processes, or as for `check_layers` and `Private`.
        """
        if (processes := self.fabric.world_size) > 1:
            message = f"[privacy] needs a single process, but {processes} were started"
            raise TrainingError(message, place=str(self.output), hint="Start it without torchrun")
        check_layers(self.bare, str(self.output))
        return Private(self.run, len(self.train.rows), str(self.output))

    def _stream(self) -> Stream:
        if self.balance:
            lengths = self.corpus.records["length"].to_numpy()[self.train.rows]
            return Stream(
                self.run,
                self.corpus,
                self.balance.with_targets(self.train),
                self.balance.order(lengths, self.run.training),
            )
        return Stream(
            self.run, self.corpus, self.train, self.private.order if self.private else None
        )

    # ------------ steps
    def take_step(self) -> None:
        """Take one optimizer step: seed, gradients, clipping, update, running mean.

        Raises
        ------
        TrainingError
            If loss or gradient is not finite.
        """
        progress, training = self.progress, self.run.training
        seed_torch(training.seed, progress.step, self.fabric.global_rank)
        freeze_batchnorm(self.network, self.rate_of)
        loss = self.add_private_gradients(self.private) if self.private else self.add_gradients()
        set_rates(self.optimizer, learning_rate(progress.step, training), self.rate_of)
        if self.private:
            self._check_finite(loss, self.private.finish(self.bare, progress.step))
        else:
            norm = self.fabric.clip_gradients(
                self.network, self.optimizer, max_norm=training.clip_norm, error_if_nonfinite=False
            )
            self._check_finite(loss, math.nan if norm is None else float(gather(norm)))
        self.optimizer.step()
        self.optimizer.zero_grad()
        progress.step += 1
        progress.loss_sum, progress.loss_steps = progress.loss_sum + loss, progress.loss_steps + 1
        self.mean.move(progress.step, training.ema_decay)

    def rate_of(self, layer: int) -> float:
        """Return the factor on a layer's learning rate at this step."""
        return rate_of_layer(layer, self.num_layers, self.progress.step, self.run.transfer)

    def add_gradients(self) -> float:
        """Accumulate the gradients of a step over its batches and all processes.

        Returns
        -------
        The loss, averaged over all targets of the step.
        """
        batches, counts = [], np.zeros(3)  # numbers of targets, letters and tokens
        for epoch, rows in self.stream.batches(self.progress.step):
            mine, weight = _own_rows(rows, self.fabric)
            inputs, targets = self.stream.examples(epoch, mine)
            batch = self.objective.batch(self.scorer.tokens_of(inputs), targets)
            batches.append((batch, weight))
            counts += weight * np.array(
                [batch.size, self.scorer.lengths(inputs).sum(), int((batch.tokens != PAD).sum())]
            )
        num_targets, letters_seen, tokens_seen = self._sum_of_all(counts)
        num_targets = max(num_targets, 1.0)  # 0 if no record has a target; the loss is then 0
        loss = 0.0
        for number, (batch, weight) in enumerate(batches, start=1):
            with self.fabric.no_backward_sync(self.network, enabled=number < len(batches)):
                loss += self._backward(batch, weight, num_targets)
        self.progress.letters += round(letters_seen)
        self.progress.tokens += round(tokens_seen)
        return float(self._sum_of_all(np.array([loss]))[0])

    def add_private_gradients(self, private: Private) -> float:
        """Accumulate the gradients of each record of a step, clipped one by one.

        Letters and tokens are counted as if the batch had its mean size and its records were as
        long as the validation records. The true counts would reveal which records were sampled.

        Returns
        -------
        The sum over the records of their mean losses.
        """
        ((epoch, rows),) = self.stream.batches(self.progress.step)
        loss = 0.0
        for row in rows:
            private.seed_record(self.progress.step, int(self.train.rows[row]))
            letters, targets = self.stream.examples(epoch, np.array([row]))
            batch = self.objective.batch(self.scorer.tokens_of(letters), targets)
            if batch.size:  # a record without targets changes nothing
                loss += self._backward(batch, 1.0, batch.size)
                private.add_record(self.bare)
        mean_length = self.corpus.records["length"].to_numpy()[self.valid.rows].mean()
        typical = round(mean_length * self.run.training.batch_size)
        self.progress.letters += typical
        self.progress.tokens += typical
        return loss

    def _backward(self, batch: Batch, weight: float, num_targets: float) -> float:
        """Add the gradients of a batch; return its part of the mean loss over `num_targets`."""
        total = (
            self.objective.loss(self.network(batch.tokens), batch.targets)
            + self.bare.penalty() * batch.size
        )
        loss = total * weight / num_targets
        # Fabric averages gradients over the processes; their sum is wanted
        self.fabric.backward(loss * self.fabric.world_size)
        return loss.item()

    def _sum_of_all(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum over the processes."""
        if self.fabric.world_size == 1:
            return values
        mine = torch.from_numpy(values).to(self.fabric.device)
        total = self.fabric.all_reduce(mine, reduce_op="sum")
        return total.cpu().numpy()  # type: ignore[union-attr]

    def max_of_all(self, value: int) -> int:
        """Return the maximum over the processes."""
        if self.fabric.world_size == 1:
            return value
        mine = torch.tensor(value, device=self.fabric.device)
        return int(self.fabric.all_reduce(mine, reduce_op="max"))  # type: ignore[arg-type]

    def _check_finite(self, loss: float, norm: float) -> None:
        """Raise TrainingError if loss or gradient is not finite.

        With float16, a gradient may overflow: the step is skipped and the loss scale is halved.
        This is an error only after `OVERFLOWS` such steps in a row.
        """
        progress = self.progress
        is_float16 = "scale" in self.fabric.strategy.precision.state_dict()
        progress.overflows = 0 if math.isfinite(norm) else progress.overflows + 1
        if math.isfinite(loss) and (
            not progress.overflows or (is_float16 and progress.overflows < OVERFLOWS)
        ):
            return
        step, ids = progress.step + 1, self.stream.ids(progress.step)
        named = ", ".join(ids)
        if len(ids) > MAX_NAMED:
            path = checkpoints_of(self.output) / f"not-finite-{step:09d}.txt"
            named = f"{len(ids)}, listed in {path}"
            if self.fabric.is_global_zero:
                with whole_file(path) as temporary:
                    temporary.write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")
        message = (
            f"loss or gradient is not finite at step {step}: loss {loss}, gradient norm {norm} "
            f"(records: {named})"
        )
        raise TrainingError(
            message,
            place=str(self.output),
            hint="Lower training.learning_rate; the last checkpoint is kept",
        )

    # ------------ evaluation
    def is_due(self) -> bool:
        """Return whether an evaluation is due before the next step."""
        progress, training = self.progress, self.run.training
        return bool(progress.loss_steps) and (
            progress.step % training.evaluate_every == 0 or progress.step == training.max_steps
        )

    def evaluate(self) -> None:
        """Measure the validation split, extend the history, and keep the weights of the best steps.

        The number of kept steps is `training.top`. If a stop signal arrives meanwhile, nothing
        changes, and the evaluation is still due when the run resumes.
        """
        progress, training = self.progress, self.run.training
        self.mean.gather()
        try:
            # broadcast, so that all processes decide the same
            measured = self.fabric.broadcast(self.measure_valid())
        except EvaluationAbandoned:
            return
        seconds = time.monotonic() - self.started
        progress.history.append(
            {
                "step": progress.step,
                "epoch": self.stream.epoch_of(progress.step),
                **({} if self.private else {"train_loss": progress.loss_sum / progress.loss_steps}),
                **{f"valid_{name}": value for name, value in measured.items()},
                "learning_rate": learning_rate(progress.step - 1, training),
                "seconds": seconds,
                **self.speed(seconds),
                "peak_memory_mb": peak_mb(),
            }
        )
        if self.fabric.is_global_zero:
            with whole_file(checkpoints_of(self.output) / HISTORY) as path:
                self._write_history(path)
        if self.board:
            self.board.write(progress.history[-1])
        progress.loss_sum, progress.loss_steps = 0.0, 0
        value = measured[self.main] if self.higher_is_better else -measured[self.main]
        # Higher is better. Of equal values, the earlier one wins. An undefined value is the worst.
        entry = [value if math.isfinite(value) else -math.inf, progress.step]
        progress.top = sorted([*progress.top, entry], key=lambda each: (-each[0], each[1]))[
            : training.top
        ]
        if entry in progress.top:
            self.top[progress.step] = {
                key: value.detach().cpu().clone()
                for key, value in self.average.state_dict().items()
            }
            self.top = {int(step): self.top[int(step)] for _, step in progress.top}

    def _write_history(self, path: Path) -> None:
        pd.DataFrame(self.progress.history).to_csv(path, index=False)

    def speed(self, seconds: float) -> dict[str, float]:
        """Return the mean speed over the first `seconds` of the run, evaluations included.

        Letters and tokens are those of all processes. `gemm_share` is for this process: its
        floating-point operations per second, relative to those of a large matrix product.
        """
        return {
            "letters_per_second": self.progress.letters / seconds,
            "tokens_per_second": self.progress.tokens / seconds,
            "gemm_share": self.flop.total / seconds / self.gemm_peak,
        }

    def measure_valid(self) -> dict[str, float]:
        """Return the loss and metrics of `average` on the validation split, by name.

        All processes use the batch-norm statistics of the first.

        Raises
        ------
        EvaluationAbandoned
            If a stop signal arrived in any process.
        """
        if self.fabric.world_size > 1:
            for buffer in self.average.buffers():
                torch.distributed.broadcast(buffer, src=0)
        if isinstance(objective := self.objective, OfTokens):  # every process measures all records
            letters = self.letters_of(self.valid)
            return self._unless_stopped(
                lambda: objective.measure(self.scorer, letters, self.valid.targets)
            )
        outputs = self.outputs_of(self.valid)
        metrics = objective.measure(outputs, self.valid.targets)
        if self.balance:
            metrics["worst_auroc"] = worst_auroc(
                self.balance.valid, self.valid.targets, outputs[:, 0]
            )
        return metrics

    def letters_of(self, split: SplitRecords) -> list[NDArray[np.uint8]]:
        """Return the sequences of a split, ASCII, for evaluation and for reference statistics.

        These are its records or, with [training] window, adjacent windows of them.
        """
        if (window := self.run.training.window) is None:
            return [self.corpus.letters(int(row)) for row in split.rows]
        return laid_windows(self.corpus, split.rows, window, self.run.tokens.k).letters

    def outputs_of(self, split: SplitRecords) -> NDArray[np.float64]:
        """Return the outputs of `average` on a split, (n, C); each process scores a part.

        Raises
        ------
        EvaluationAbandoned
            If a stop signal arrived in any process.
        """
        mine = slice(self.fabric.global_rank, None, self.fabric.world_size)
        part = self._unless_stopped(
            lambda: self.scorer.outputs(
                [self.stream.inputs.of(int(row)) for row in split.rows[mine]]
            )
        )
        outputs = np.zeros((len(split.rows), part.shape[1]))
        outputs[mine] = part
        return self._sum_of_all(outputs)

    def _unless_stopped(self, score: Callable[[], Result]) -> Result:
        """Return the result of `score`, or raise EvaluationAbandoned if any process raised it.

        Without this, the other processes would wait for the one that stopped.
        """
        try:
            result = score()
        except EvaluationAbandoned:
            self.max_of_all(1)
            raise
        if self.max_of_all(0):
            raise EvaluationAbandoned
        return result

    def out_of_patience(self) -> bool:
        """Return whether the last `training.patience` evaluations brought no improvement."""
        training = self.run.training
        return (
            self.progress.step - self.progress.best_step
            >= training.patience * training.evaluate_every
        )

    # ------------ checkpoint
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything that a checkpoint contains.

        Returns
        -------
        Tensors, named `part/key` with the parts network, average, optimizer and top-<step>; and
        `Progress` as a dict for JSON.
        """
        self.mean.gather()
        parts = {
            "network": {name: gather(weight) for name, weight in self.bare.state_dict().items()},
            "average": self.average.state_dict(),
            "optimizer": optimizer_tensors(self.optimizer),
            **{f"top-{step}": weights for step, weights in self.top.items()},
        }
        scaler = self.fabric.strategy.precision.state_dict()
        state = asdict(self.progress) | {
            "seconds": time.monotonic() - self.started,
            "flop": self.flop.total,
            "scaler": scaler,
        }
        state["privacy"] = self.private.state() if self.private else {}
        return {
            f"{part}/{key}": value
            for part, tensors in parts.items()
            for key, value in tensors.items()
        }, state

    def restore(self, checkpoints: CheckpointFolder) -> None:
        """Resume from the newest checkpoint, if there is one."""
        found = checkpoints.latest()
        if found is None:
            return
        tensors, state = found
        parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for key, value in tensors.items():
            part, rest = key.split("/", 1)
            parts[part][rest] = value
        network = parts.pop("network")
        for name, weight in self.bare.state_dict().items():
            weight.copy_(shard_like(network[name], weight))
        self.average.load_state_dict(parts.pop("average"))
        self.mean = RunningMean(self.bare, self.average)
        # there is no optimizer state if float16 has skipped all steps so far
        restore_optimizer(self.optimizer, parts.pop("optimizer", {}))
        self.progress = Progress(**state)
        self.flop.total = self.progress.flop
        self.fabric.strategy.precision.load_state_dict(self.progress.scaler)
        self.top = {int(step): parts[f"top-{int(step)}"] for _, step in self.progress.top}
        if self.private:
            self.private.restore(self.progress.privacy)
            self.stream = self._stream()  # with the secret of the original run
        self.started = time.monotonic() - self.progress.seconds
        self.say(f"resuming from the checkpoint of step {self.progress.step}")

    # ------------ model
    def write_model(self, provenance: dict[str, Any], threads: int) -> None:
        """Fit exits, stack and calibration, and write the model folder with the best weights.

        Only the first process writes and fits the stack; the others help to score.

        Parameters
        ----------
        provenance
            Entries known at the start of the run; others are added.
        threads
            CPU threads for fitting the stack.

        Raises
        ------
        EvaluationAbandoned
            If a stop signal arrived in any process.
        """
        self.progress.seconds = time.monotonic() - self.started
        self.average.load_state_dict(self.top[self.progress.best_step])
        exits = self._choose_exits()
        outputs = self.outputs_of(self.valid) if self.run.objective.kind in CONFORMAL else None
        if not self.fabric.is_global_zero:
            return
        stack, outputs = self._stacked(outputs, threads)
        calibration = self._calibration(outputs)
        # In a private run, only the weights may reveal anything about the training records.
        listed = [self.valid] if self.private else [self.train, self.valid]
        rows = np.concatenate([split.rows for split in listed])
        alphabet, assembly = self.corpus.alphabet, self.corpus.assembly
        conformal = (
            {}
            if outputs is None
            else fit_conformal(self.run.objective, outputs, self.valid.targets)
        )
        reference = Reference.of(
            alphabet, self.letters_of(listed[0]), self.letters_of(self.valid), conformal
        )
        seen_by_parents = self.lineage.seen if self.lineage else None
        seen = seen_table(
            self.corpus.records.iloc[rows],
            self.corpus.each(rows),
            alphabet,
            assembly,
            seen_by_parents,
        )
        provenance = {
            "calibration": {**calibration, "strands": "both" if self.run.both_strands else "given"},
            "parents": self.lineage.parents if self.lineage else [],
            "num_train": len(self.train.rows),
            "num_valid": len(self.valid.rows),
            "median_length": int(np.median(self.corpus.records["length"].to_numpy()[rows])),
            **(
                {"num_positive": int(self.train.targets.sum())}
                if self.run.objective.kind == "binary" and not self.private
                else {}
            ),
            **({"privacy": self.private.spent()} if self.private else {}),
            "best_step": self.progress.best_step,
            **exits,
            **provenance,
        }
        cost = {
            "seconds": round(time.monotonic() - self.started, 1),  # includes fitting a stack
            "peak_memory_mb": round(peak_mb(), 1),
            **{
                name: float(f"{value:.4g}")
                for name, value in self.speed(self.progress.seconds).items()
            },
            "steps": self.progress.step,
            "best_step": self.progress.best_step,
        }
        with whole_folder(self.output) as folder:
            save_model(folder, self.run, self._merged_weights(self.progress.best_step), provenance)
            for step in self.top.keys() - {self.progress.best_step}:
                (folder / NEXT_BEST).mkdir(exist_ok=True)
                (folder / NEXT_BEST / f"step-{step:09d}.safetensors").write_bytes(
                    save(self._merged_weights(step))
                )
            reference.save(folder, sha256_of(folder / WEIGHTS))
            seen.to_parquet(folder / TRAINING_RECORDS, index=False)
            self._write_history(folder / HISTORY)
            (folder / TRAINING_COST).write_text(json.dumps(cost, indent=1) + "\n", encoding="utf-8")
            if stack:
                stack.save(folder, sha256_of(folder / WEIGHTS))
            write_card(folder, best_metrics(folder))
        steps = self.progress.step
        early = (
            f"; stopped at step {steps} after {self.run.training.patience} evaluations without "
            "improvement"
        )
        ended = early if steps < self.run.training.max_steps else ""
        spent = f"; epsilon {provenance['privacy']['epsilon']:.2f} spent" if self.private else ""
        self.say(
            f"best validation {self._named_metric(self.best)} at step "
            f"{self.progress.best_step}{ended}{spent}; model in {self.output}"
        )

    def _merged_weights(self, step: int) -> dict[str, Tensor]:
        """Return the weights of the best evaluation at `step`, with LoRA merged into its layers."""
        self.average.load_state_dict(self.top[step])
        return {key: value.contiguous() for key, value in merged(self.average).items()}

    def _choose_exits(self) -> dict[str, Any]:
        """Choose the exit threshold on the validation split and set it in the saved weights.

        Returns
        -------
        The entry "exits" for the provenance; nothing for a model without exits.
        """
        bodies = [member for member in self.average.members if isinstance(member, AttentionBody)]
        exits = [body.exits for body in bodies if isinstance(body.exits, ConfidenceExits)]
        if not exits:
            return {}
        readings = torch.from_numpy(
            self._unless_stopped(lambda: self.scorer.readings(self.letters_of(self.valid)))
        )  # (n, M, E, C): outputs by member and block

        def main_metric(outputs: Tensor) -> float:
            return self.objective.measure(outputs.numpy(), self.valid.targets)[self.main]  # type: ignore[arg-type, call-arg]

        choice = choose_exits(readings, main_metric, self.run.model.exits.drop)  # type: ignore[union-attr]
        for module in exits:
            module.threshold.fill_(choice.threshold)
        self.top[self.progress.best_step] = {
            key: value.detach().cpu().clone() for key, value in self.average.state_dict().items()
        }
        self.say(
            f"early exits at a confidence of {choice.threshold:.4f}: validation records leave "
            f"after {choice.mean_layers:.2f} of {readings.shape[2]} layers on average; validation "
            f"{self._named_metric(choice.worth)}, without early exits "
            f"{choice.worth_of_all_layers:.4f}"
        )
        threshold = choice.threshold if math.isfinite(choice.threshold) else None
        return {
            "exits": asdict(choice)
            | {"threshold": threshold, "layers": readings.shape[2], "metric": self.main}
        }

    def _stacked(
        self, outputs: NDArray[np.float64] | None, threads: int
    ) -> tuple[Stack | None, NDArray[np.float64] | None]:
        """Fit the stack of the run.

        Parameters
        ----------
        outputs
            Outputs of the network on the validation split, (n, C); None if they are not needed.
        threads
            CPU threads for fitting.

        Returns
        -------
        The stack, and its logits of the validation records from cross-validated weights, (n, 1).
        None and `outputs` for a run without a stack.

        Raises
        ------
        EvaluationAbandoned
            If a stop signal arrived while a part was fitted.
        """
        if not self.run.stack.parts or outputs is None:
            return None, outputs
        splits = {"train": self.train, "valid": self.valid}
        letters = {name: self.letters_of(split) for name, split in splits.items()}
        labels = {name: split.targets.astype(np.int64) for name, split in splits.items()}
        setup = baseline_setup(self.run, self.scorer.policy, threads)
        parts = []
        for name in self.run.stack.parts:
            if part := self.fitted_parts.get(name):
                self.say(f"stack: reusing {part.title} of another member")
                parts.append(part)
                continue
            parts.append(fit_part(setup, name, letters, labels, self.say))
            # with several processes, the others would wait for this one
            if self.signals.received and self.fabric.world_size == 1:
                raise EvaluationAbandoned
        stack, held_out = fit_stack(outputs[:, 0], parts, letters["valid"], labels["valid"])
        names = ["network", *(part.name for part in stack.parts)]
        shown = ", ".join(
            f"{name} {weight:.2f}" for name, weight in zip(names, stack.weights, strict=True)
        )
        network, combined = (
            roc_auc_score(labels["valid"], logits) for logits in (outputs[:, 0], held_out)
        )
        self.say(
            f"stack: weights {shown}; validation AUROC {combined:.4f} (cross-validated weights), "
            f"network alone {network:.4f}; both are optimistic, because network and parts were "
            "chosen on these records"
        )
        return stack, held_out[:, None]

    def _calibration(self, outputs: NDArray[np.float64] | None) -> dict[str, float]:
        """Fit temperature, threshold and slope on the validation split, from outputs (n, 1).

        Objectives other than binary get the defaults, which change nothing.
        """
        if self.run.objective.kind != "binary" or outputs is None:
            return vars(Calibration())
        return vars(Calibration.fit(outputs[:, 0], self.valid.targets))

    # ------------ messages
    @property
    def best(self) -> float:
        """Return the main metric of the best evaluation."""
        value = self.progress.top[0][0]
        return value if self.higher_is_better else -value

    def report_start(self, threads: int) -> None:
        """Report the size of network and data, the device, and warnings."""
        unit = self.corpus.alphabet.unit
        if window := self.run.training.window:
            num_used = len(
                laid_windows(self.corpus, self.valid.rows, window, self.run.tokens.k).letters
            )
            num_windows = len(
                RecordWindows(self.corpus.records["length"].to_numpy()[self.valid.rows], window)
            )
            self.say(
                f"windows of at most {window:,} {unit}: {len(self.stream.windows):,} are sampled "
                f"per epoch; the validation records give {num_windows:,} adjacent windows, and "
                f"{'all' if num_used == num_windows else f'{num_used:,}'} of them are used"
            )
        processes = (
            f"{self.fabric.world_size} processes, each with " if self.fabric.world_size > 1 else ""
        )
        padding = 1 - self.stream.order.efficiency()
        self.say(
            f"{len(self.train.rows):,} sequences for training, {len(self.valid.rows):,} for "
            f"validation; {sum(p.numel() for p in self.bare.parameters()):,} parameters; "
            f"{self.run.training.precision} on {self.fabric.device.type}, "
            f"{processes}{threads} thread{'s' * (threads > 1)}; batches have "
            f"{f'{padding:.0%}' if padding else 'no'} padding"
        )
        if private := self.private:
            self.say(
                f"private: epsilon {private.section.epsilon:g} at delta {private.section.delta:g} "
                f"after {self.run.training.max_steps:,} steps; noise "
                f"{private.noise_multiplier:.3g} x max_grad_norm; each step samples a record with "
                f"probability {private.order.rate:.3g}"
            )
        if self.balance:
            self.say(self.balance.words())
        if self.run.is_control():
            self.say(
                "negative control: its labels are shuffled, so its validation AUROC should stay "
                "near 0.5"
            )
        if self.lineage and self.lineage.coordinate_warning:
            self.say(self.lineage.coordinate_warning)

    def report_progress(self) -> None:
        """Report one line after each evaluation, and otherwise every SECONDS_BETWEEN_LINES."""
        progress = self.progress
        evaluated = bool(progress.history) and progress.history[-1]["step"] == progress.step
        if not evaluated and time.monotonic() - self.printed < SECONDS_BETWEEN_LINES:
            return
        self.printed = time.monotonic()
        seconds = self.printed - self.started
        row = progress.history[-1] if evaluated else {}
        parts = [
            f"step {progress.step}/{self.run.training.max_steps}",
            f"epoch {self.stream.epoch_of(progress.step):.1f}",
        ]
        if not self.private:
            loss = row["train_loss"] if evaluated else progress.loss_sum / progress.loss_steps
            parts.append(f"loss {loss:.4f}")
        if evaluated:
            parts.append(
                f"validation {self._named_metric(row[f'valid_{self.main}'])} "
                f"(best {self.best:.4f} at step {progress.best_step})"
            )
        left = seconds / progress.step * (self.run.training.max_steps - progress.step)
        parts += [
            f"{progress.letters / seconds:,.0f} {self.corpus.alphabet.unit}/s",
            f"at most {f'{left / 60:.1f} min' if left >= 60 else f'{left:.0f} s'} left",
        ]
        self.say(" | ".join(parts))

    def _named_metric(self, value: float) -> str:
        """Return the name of the main metric with a value, such as "AUROC 0.8712"."""
        return f"{'AUROC' if self.main == 'auroc' else self.main} {value:.4f}"

    def say(self, message: str) -> None:
        """Report one line of progress, from the first process only."""
        if self.fabric.is_global_zero:
            self._say(f"{self.name}: {message}")


def _abandon_if_stopped(signals: StopSignals) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    """Return a hook that raises EvaluationAbandoned before a batch if a stop signal arrived.

    Scoring the validation split may take longer than torchrun or Slurm wait after SIGTERM.
    """

    # not a method of Trainer, because a copy of the network would then copy the trainer
    def hook(network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if signals.received:
            raise EvaluationAbandoned

    return hook


def _own_rows(rows: NDArray[np.int64], fabric: Fabric) -> tuple[NDArray[np.int64], float]:
    """Return the rows of a batch that this process computes, and their weight in the loss.

    Processes take turns, and the weight is 1. A batch with fewer rows than processes is computed by
    every process, and the weight is 1 / number of processes.
    """
    if len(rows) < fabric.world_size:
        return rows, 1 / fabric.world_size
    return rows[fabric.global_rank :: fabric.world_size], 1.0

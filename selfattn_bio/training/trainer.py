"""The state of a training: take a step, evaluate, keep the best weights, save and restore."""

from __future__ import annotations

import copy
import math
import signal
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from selfattn_bio.config import RunFile
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.inputs import Inputs
from selfattn_bio.errors import TrainingError, TrainingInterrupted
from selfattn_bio.files import whole_file, write_text
from selfattn_bio.log import LOG
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import HISTORY, check_model_output
from selfattn_bio.model.pretrained.network import PretrainedNetwork
from selfattn_bio.scoring.paired_scorer import scorer_of
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.policy import policy_of
from selfattn_bio.training.data import TrainingData
from selfattn_bio.training.hardware import (
    max_of_all,
    open_fabric,
    seed_torch,
    sum_of_all,
    with_precision,
)
from selfattn_bio.training.history import History
from selfattn_bio.training.memory import peak_mb
from selfattn_bio.training.optimizer import (
    RunningMean,
    build_optimizer,
    learning_rate,
    optimizer_tensors,
    restore_optimizer,
    set_rates,
)
from selfattn_bio.training.private import PrivateSteps
from selfattn_bio.training.resume import CheckpointFolder, StopSignals, checkpoints_of
from selfattn_bio.training.stacking import check_parts
from selfattn_bio.training.steps import BalancedSteps, Steps
from selfattn_bio.training.transfer import (
    adapt,
    freeze_batchnorm,
    layer_of,
    rate_of_layer,
    start_from,
)


@dataclass
class Validation:
    """Score the validation split. All processes must call the same methods.

    Parameters
    ----------
    fabric
        Processes and device.
    data
        Records and run file.
    inputs
        Inputs of the model for each record.
    scorer
        Scores with the running mean of the weights.
    signals
        Stop signals that this process received.
    """

    fabric: Fabric
    data: TrainingData
    inputs: Inputs
    scorer: Scorer
    signals: StopSignals

    def outputs(self) -> Any | None:
        """Return the outputs of all records, as `Objective.read` returns them.

        Returns None if a stop signal arrived in any process. All processes use the batch-norm
        statistics of the first. Each one scores a part of the records, or all records if there are
        outputs per token or fewer records than processes.
        """
        if self.fabric.world_size > 1:
            for buffer in self.scorer.network.buffers():
                torch.distributed.broadcast(buffer, src=0)
        rows = self.data.valid.rows
        objective = self.data.objective
        if not objective.section.is_per_sequence:
            letters = self.data.letters(self.data.valid)
            return self._unless_stopped(objective.read_batches(self.scorer, letters), len(letters))
        rank, processes = self.fabric.global_rank, self.fabric.world_size
        # a process without records would not know the shape of the outputs
        is_divided = len(rows) >= processes
        mine = slice(rank, None, processes) if is_divided else slice(None)
        inputs = [self.inputs.of(int(row)) for row in rows[mine]]
        part = self._unless_stopped(objective.read_batches(self.scorer, inputs), len(inputs))
        if part is None:
            return None
        outputs = np.zeros((len(rows), *part[0].shape))
        outputs[mine] = part
        return sum_of_all(self.fabric, outputs) if is_divided else outputs

    def _unless_stopped(
        self, batches: Iterable[tuple[NDArray[np.int64], Iterable[Any]]], number: int
    ) -> list[Any] | None:
        """Return the values of `number` records, or None if any process was stopped meanwhile."""
        found: dict[int, Any] = {}
        for rows, values in batches:
            found.update(zip(rows.tolist(), values, strict=True))
            if self.signals.received:
                break
        was_stopped = max_of_all(self.fabric, self.signals.received)
        return None if was_stopped else [found[row] for row in range(number)]


MAX_NAMED = 8  # records named in a message; longer lists are written to a file
OVERFLOWS = 25  # overflows in a row, in float16, that are an error; the loss scale is then 2^-9


class Trainer:
    """Hold a run in memory: network, running mean of its weights, optimizer, data and progress.

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
    name
        Prefix of progress lines.

    Attributes
    ----------
    fabric
        Processes, device and precision of the run.
    data
        Completed run file, and the training and validation split.
    network
        The network that is trained, as Fabric wraps it.
    bare
        The network itself.
    average
        Copy of the network with the running mean of its weights, which is evaluated and saved.
    mean
        Moves the weights of `average`.
    steps
        Plain, balanced or private steps: batches, gradients and metrics.
    validation
        Scores the validation split with the running mean.
    signals
        Stop signals that the run received; active only inside `loop.train`.
    best_weights
        Weights of the running mean at the best evaluations, by step.
    last_outputs
        Outputs of the validation split after the last of `max_steps`, or None: before that step,
        and if the training was resumed after it.
    chose_precision
        Whether the run file left the precision to the machine.

    Raises
    ------
    CorpusError
        If the training or validation split lacks a label or targets, a record is shorter than k, or
        a part of the stack does not suit the records.
    OutputError
        If `output` contains something other than a model.
    ModelFolderError
        If the parent of [transfer] is incomplete or saw a test record.
    RunFileError
        If the parent of [transfer] has another alphabet, other tokens or other layers.
    TrainingError
        If a private run is impossible.
    """

    def __init__(
        self, run: RunFile, corpus: Corpus, split_path: Path, output: Path, name: str = "model"
    ) -> None:
        check_model_output(output)
        self.chose_precision = run.training.precision == "auto"
        run = with_precision(run, checkpoints_of(output))
        self.fabric = fabric = open_fabric(run.training.precision)
        self.output, self.name = output, name
        torch.manual_seed(run.training.seed)
        self.data = data = TrainingData.read(run, corpus, split_path)
        run, training = data.run, data.run.training
        if run.stack.parts:
            check_parts(run, data.letters(data.train), policy_of(run.data))
        self.bare = network = build_network(run)
        self._num_layers: int = getattr(run.model, "num_layers", 0)
        if run.transfer:
            start_from(network, run, run.transfer, str(run.path or ""))
        if isinstance(network, PretrainedNetwork):
            network.read_weights()
            self._num_layers = network.body.backbone.num_layers
        if run.adaptation:
            adapt(network, run.adaptation)
        self.average = copy.deepcopy(network).to(fabric.device).eval()
        self._started = time.monotonic()
        self.network: Any = fabric.setup_module(network)
        self.mean = RunningMean(network, self.average)
        self.optimizer: Any = fabric.setup_optimizers(
            build_optimizer(network, training, self._layer_of)
        )
        scorer = scorer_of(run, self.average)
        loss = data.objective.loss(run, scorer.tokenizer, data.train.targets)
        kind = PrivateSteps if run.privacy else BalancedSteps if training.balance else Steps
        self.steps = kind(fabric, data, self.network, scorer.collate, loss)
        self.signals = StopSignals()
        self.validation = Validation(fabric, data, self.steps.stream.inputs, scorer, self.signals)
        self.history = History()
        self.best_weights: dict[int, dict[str, Tensor]] = {}
        self.last_outputs: Any | None = None
        self.network.train()

    @property
    def best(self) -> float:
        """Return the main metric of the best evaluation."""
        return self.steps.sign * self.history.best_steps[0][0]

    @property
    def seconds(self) -> float:
        """Return the running time of the training, over all its resumptions."""
        return time.monotonic() - self._started

    def log(self, message: str) -> None:
        """Report one line with the name of the training, from the first process only."""
        if self.fabric.is_global_zero:
            LOG.info(f"{self.name}: {message}")

    # ------------ steps
    def interruption(self) -> TrainingInterrupted:
        """Return the error of a training that was stopped; all processes must call this."""
        number = max_of_all(self.fabric, self.signals.received)
        return TrainingInterrupted(
            f"training was stopped by {signal.Signals(number).name} at step {self.history.step}; "
            "its state is saved",
            place=str(self.output),
            hint="Run the same command to resume",
            signal_number=number,
        )

    def take_step(self) -> None:
        """Take one optimizer step: seed, gradients, clipping, update, running mean.

        Raises
        ------
        TrainingError
            If loss or gradient is not finite.
        """
        history, training = self.history, self.data.run.training
        seed_torch(training.seed, history.step, self.fabric.global_rank)
        if self.data.run.adaptation:
            freeze_batchnorm(self.network, self._rate_of)
        totals = self.steps.add_gradients(history.step)
        set_rates(self.optimizer, learning_rate(history.step, training), self._rate_of)
        self._check_finite(totals.loss, self.steps.finish_gradients(self.optimizer, history.step))
        self.optimizer.step()
        self.optimizer.zero_grad()
        history.add_step(totals)
        self.mean.move(history.step, training.ema_decay)

    def _layer_of(self, name: str) -> int:
        """Return the layer number of a weight; 0 for all weights without [transfer]."""
        return layer_of(name, self._num_layers) if self.data.run.adaptation else 0

    def _rate_of(self, layer: int) -> float:
        """Return the factor on a layer's learning rate at this step."""
        return rate_of_layer(layer, self._num_layers, self.history.step, self.data.run.adaptation)

    def _check_finite(self, loss: float, norm: float) -> None:
        """Raise TrainingError if loss or gradient is not finite.

        With float16, a gradient may overflow: the step is skipped and the loss scale is halved.
        This is an error only after `OVERFLOWS` such steps in a row.
        """
        history = self.history
        history.overflows = 0 if math.isfinite(norm) else history.overflows + 1
        is_float16 = "scale" in self.fabric.strategy.precision.state_dict()
        allowed = OVERFLOWS if is_float16 else 1
        if not math.isfinite(loss) or history.overflows >= allowed:
            raise self._not_finite(loss, norm)

    def _not_finite(self, loss: float, norm: float) -> TrainingError:
        """Return the error of the current step, whose loss or gradient norm is not finite.

        The ids of many records are written to a file next to the checkpoints.
        """
        step, ids = self.history.step + 1, self.steps.stream.ids(self.history.step)
        named = ", ".join(ids)
        if len(ids) > MAX_NAMED:
            path = checkpoints_of(self.output) / f"not-finite-{step:09d}.txt"
            named = f"{len(ids)}, listed in {path}"
            if self.fabric.is_global_zero:
                write_text(path, "".join(f"{name}\n" for name in ids))
        return TrainingError(
            f"loss or gradient is not finite at step {step}: loss {loss}, gradient norm {norm} "
            f"(records: {named})",
            place=str(self.output),
            hint="Lower training.learning_rate; the last checkpoint is kept",
        )

    # ------------ evaluation
    def is_due(self) -> bool:
        """Return whether an evaluation is due before the next step."""
        history, training = self.history, self.data.run.training
        return bool(history.loss_steps) and (
            history.step % training.evaluate_every == 0 or history.step == training.max_steps
        )

    def is_finished(self) -> bool:
        """Return whether no step and no evaluation is left.

        A training also ends after `training.patience` evaluations without improvement.
        """
        history, training = self.history, self.data.run.training
        patience = training.patience * training.evaluate_every
        return not self.is_due() and (
            history.step == training.max_steps or history.step - history.best_step >= patience
        )

    def evaluate(self) -> None:
        """Measure the validation split, extend the history, and keep the weights of the best steps.

        The number of kept steps is `training.top`. If a stop signal arrives meanwhile, nothing
        changes, and the evaluation is still due when the run resumes.
        """
        history, training = self.history, self.data.run.training
        # broadcast, so that all processes decide the same
        measured = self.fabric.broadcast(self.measure_valid())
        if measured is None:
            return
        seconds = self.seconds
        loss = {"train_loss": history.loss_sum / history.loss_steps}
        row = {
            "step": history.step,
            "epoch": self.steps.stream.epoch_of(history.step),
            **(loss if self.steps.shows_records else {}),
            **{f"valid_{name}": value for name, value in measured.items()},
            "learning_rate": learning_rate(history.step - 1, training),
            "seconds": seconds,
            **history.speed(seconds),
            "peak_memory_mb": peak_mb(),
        }
        value = self.steps.sign * measured[self.steps.main_metric]
        history.add_evaluation(row, value, training.top)
        if self.fabric.is_global_zero:
            with whole_file(checkpoints_of(self.output) / HISTORY) as path:
                history.write(path)
        kept = [int(step) for _, step in history.best_steps]
        if history.step in kept:
            weights = self.average.state_dict().items()
            self.best_weights[history.step] = {
                name: weight.detach().cpu().clone() for name, weight in weights
            }
        self.best_weights = {step: self.best_weights[step] for step in kept}

    def measure_valid(self) -> dict[str, float] | None:
        """Return loss and metrics of the running mean on the validation split, by name.

        Returns None if a stop signal arrived in any process.
        """
        outputs = self.validation.outputs()
        if self.history.step == self.data.run.training.max_steps:
            self.last_outputs = outputs
        return None if outputs is None else self.steps.metrics(outputs)

    # ------------ checkpoint
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything that a checkpoint contains.

        Returns
        -------
        Tensors, named `part/key` with the parts network, average, optimizer and best-<step>; and a
        dict for JSON.
        """
        parts = {
            "network": self.bare.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": optimizer_tensors(self.optimizer),
            **{f"best-{step}": weights for step, weights in self.best_weights.items()},
        }
        state = {
            "history": asdict(self.history),
            "seconds": self.seconds,
            "scaler": self.fabric.strategy.precision.state_dict(),
            "steps": self.steps.state(),
        }
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
        self.bare.load_state_dict(parts.pop("network"))
        self.average.load_state_dict(parts.pop("average"))
        # there is no optimizer state if float16 has skipped all steps so far
        restore_optimizer(self.optimizer, parts.pop("optimizer", {}))
        self.history = History(**state["history"])
        self._started = time.monotonic() - state["seconds"]
        self.fabric.strategy.precision.load_state_dict(state["scaler"])
        self.steps.restore(state["steps"])
        self.best_weights = {
            int(step): parts[f"best-{int(step)}"] for _, step in self.history.best_steps
        }
        step = self.history.step
        self.log(
            f"the training ended at step {step}; its model is written again"
            if self.is_finished()
            else f"resuming from the checkpoint of step {step}"
        )

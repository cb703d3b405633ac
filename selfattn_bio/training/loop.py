"""The training loop, top to bottom: order, step, evaluation, checkpoint, best weights, model folder.

Hides: everything about a run but its result. The random numbers of a step depend on seed, step and process alone, and its batch on seed and
step: a checkpoint needs a step number, weights and optimizer to go on bit for bit. Processes share each batch, and their gradients are
summed: how many there are changes no more than rounding and the draws of dropout. The train command alone imports it.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import platform
import signal
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from safetensors.torch import save
from sklearn.metrics import roc_auc_score
from torch import Tensor

from selfattn_bio.config import RunFile, Training
from selfattn_bio.data.batches import Augmentation, BatchOrder, pad_letters
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import CorpusError, TrainingError, TrainingInterrupted
from selfattn_bio.evaluation.calibration import calibrate, choose_threshold, fit_slope, fit_temperature
from selfattn_bio.files import sha256_of, whole_folder
from selfattn_bio.model.checkpoint import save_model
from selfattn_bio.model.classifier import Network, build_network, tokenizer_of
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.splits import read_split
from selfattn_bio.training.hardware import open_fabric, peak_memory_mb
from selfattn_bio.training.objectives import BinaryObjective
from selfattn_bio.training.optimizer import build_optimizer, learning_rate, optimizer_tensors, restore_optimizer
from selfattn_bio.training.resume import CheckpointFolder, StopSignals

SECONDS_BETWEEN_LINES = 10.0
VERSIONS = ("selfattn-bio", "torch", "numpy", "lightning-fabric", "safetensors")


@dataclass
class Progress:
    """Where a run stands; with weights and optimizer, all that a checkpoint holds."""

    step: int = 0
    best_step: int = 0
    best_auroc: float = -1.0
    top: list[list[float]] = field(default_factory=list)  # AUROC and step of the best evaluations, best first
    seconds: float = 0.0
    letters: int = 0
    loss_sum: float = 0.0  # since the last evaluation
    loss_steps: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Side:
    """Records of one side of the split: rows of the corpus and their labels."""

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]


def train(run: RunFile, corpus: Corpus, split_path: Path, output: Path, *, threads: int, name: str = "model") -> None:
    """Train one run to its end and write its model folder.

    Goes on from the newest checkpoint in `<output>.checkpoints` if that is of the same data, settings and versions; on the CPU
    with the same number of threads the result is the same, bit for bit, as without an interruption.

    Parameters
    ----------
    split_path
        The split table of the corpus.
    output
        The model folder, replaced as a whole at the end.
    name
        What progress lines begin with.

    Raises
    ------
    CorpusError
        If train or valid lacks a label, or a record is shorter than k.
    TrainingError
        If another process trains this run, or the loss is not finite.
    TrainingInterrupted
        After SIGTERM or Ctrl-C, once the state of the step is saved.
    """
    fabric = open_fabric(run.training.precision)
    torch.manual_seed(run.training.seed)
    sides = {side: _side(run, corpus, split_path, side) for side in ("train", "valid")}
    tokenizer = tokenizer_of(run)
    bare = build_network(run)
    network, optimizer = fabric.setup(bare, build_optimizer(bare, run.training))
    average = copy.deepcopy(bare).eval()  # the running mean of the weights: what is evaluated and kept
    scorer = Scorer(run, tokenizer, average)
    objective = BinaryObjective(run.training, sides["train"].labels)
    stream = _Stream(run, corpus, sides["train"])
    say = print if fabric.is_global_zero else _say_nothing
    say(_what_starts(name, bare, sides, fabric, threads), flush=True)
    fingerprint = _fingerprint(run, corpus, split_path, fabric.world_size)
    folder = CheckpointFolder(output.with_name(output.name + ".checkpoints"), fingerprint, writes=fabric.is_global_zero)
    with folder as checkpoints, StopSignals() as signals:
        fabric.barrier()  # the folder is clean before another process reads it
        progress, top = _restored(checkpoints, bare, average, optimizer)
        if progress.step:
            say(f"{name}: going on from the checkpoint of step {progress.step}", flush=True)
        started, printed = time.monotonic() - progress.seconds, time.monotonic()
        network.train()
        while progress.step < run.training.max_steps and not _out_of_patience(progress, run):
            _seed_step(run.training.seed, progress.step, fabric.global_rank)
            step_loss = _backward(fabric, network, scorer, objective, stream, progress)
            norm = _update(fabric, network, optimizer, run.training, progress.step)
            _check_finite(step_loss, norm, stream, progress.step, output)
            progress.step += 1
            _move_average(average, bare, progress.step, run.training.ema_decay)

            at_end = progress.step == run.training.max_steps
            evaluates = progress.step % run.training.evaluate_every == 0 or at_end
            if evaluates and _evaluate(fabric, scorer, corpus, sides["valid"], progress, stream.epoch_of(progress.step), started):
                top[progress.step] = {key: value.detach().cpu().clone() for key, value in average.state_dict().items()}
                top = {int(step): top[int(step)] for _, step in progress.top}
            if evaluates or time.monotonic() - printed > SECONDS_BETWEEN_LINES:
                say(_line(name, progress, run, stream, started), flush=True)
                printed = time.monotonic()
            stop = _stop_of_all(fabric, signals)
            if progress.step % run.training.checkpoint_every == 0 or at_end or stop:
                progress.seconds = time.monotonic() - started
                checkpoints.save(progress.step, _tensors(bare, average, optimizer, top), asdict(progress))
            if stop and not at_end:
                raise _interrupted(stop, progress.step, output)
        progress.seconds = time.monotonic() - started
        average.load_state_dict(top[progress.best_step])
        _write_model(fabric, run, corpus, split_path, output, scorer, sides, progress, top, threads)
    say(f"{name}: best valid AUROC {progress.best_auroc:.4f} at step {progress.best_step}; model in {output}", flush=True)


def _say_nothing(*words: str, flush: bool) -> None:
    """What processes beside the first have to say."""


def _stop_of_all(fabric: Fabric, signals: StopSignals) -> int:
    """The signal that any of the processes has heard, 0 for none."""
    if fabric.world_size == 1:
        return signals.heard
    return int(fabric.all_reduce(torch.tensor(signals.heard, device=fabric.device), reduce_op="max"))  # type: ignore[arg-type]


def _interrupted(number: int, step: int, output: Path) -> TrainingInterrupted:
    message = f"training was stopped by {signal.Signals(number).name} at step {step}, and its state is saved"
    return TrainingInterrupted(message, place=str(output), cure="The same command goes on from there", signal_number=number)


def _what_starts(name: str, network: Network, sides: dict[str, Side], fabric: Fabric, threads: int) -> str:
    processes = f"{fabric.world_size} processes, each " if fabric.world_size > 1 else ""
    return (
        f"{name}: {sum(p.numel() for p in network.parameters()):,} parameters, {len(sides['train'].rows):,} train and "
        f"{len(sides['valid'].rows):,} valid records, on {processes}{fabric.device.type} with {threads} threads"
    )


def _backward(
    fabric: Fabric, network: torch.nn.Module, scorer: Scorer, objective: BinaryObjective, stream: _Stream, progress: Progress
) -> float:
    """Add up the gradients of a step's batches over all processes; their loss, the mean over the records of all of them."""
    batches = stream.batches(progress.step)
    records, found = sum(len(rows) for _, rows in batches), torch.zeros(2, dtype=torch.float64)
    for number, (epoch, rows) in enumerate(batches, start=1):
        mine, share = _share(rows, fabric)
        letters, labels = stream.examples(epoch, mine)
        with fabric.no_backward_sync(network, enabled=number < len(batches)):  # type: ignore[arg-type]
            loss = objective.loss(network(scorer.tokens(letters)), torch.from_numpy(labels).to(fabric.device, torch.float32))
            loss = loss * share / records
            fabric.backward(loss * fabric.world_size)  # which then takes the mean over the processes
        found += torch.tensor([loss.item(), share * np.count_nonzero(letters)], dtype=torch.float64)
    if fabric.world_size > 1:
        found = fabric.all_reduce(found, reduce_op="sum")  # type: ignore[assignment]
    step_loss, letters_seen = found.tolist()
    progress.letters += round(letters_seen)
    progress.loss_sum, progress.loss_steps = progress.loss_sum + step_loss, progress.loss_steps + 1
    return step_loss


def _share(rows: NDArray[np.int64], fabric: Fabric) -> tuple[NDArray[np.int64], float]:
    """This process's rows of a batch, and their weight; a batch with fewer rows than processes is taken whole by each, for its part."""
    if len(rows) < fabric.world_size:
        return rows, 1 / fabric.world_size
    return rows[fabric.global_rank :: fabric.world_size], 1.0


def _update(fabric: Fabric, network: torch.nn.Module, optimizer: torch.optim.Optimizer, training: Training, step: int) -> Tensor | None:
    """Clip the gradients and let the optimizer take its step; their norm before clipping."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, training)
    norm = fabric.clip_gradients(network, optimizer, max_norm=training.clip_norm, error_if_nonfinite=False)
    optimizer.step()
    optimizer.zero_grad()
    return norm


def _check_finite(loss: float, norm: Tensor | None, stream: _Stream, step: int, output: Path) -> None:
    if not (math.isfinite(loss) and norm is not None and bool(norm.isfinite())):
        ids = ", ".join(stream.ids(step)[:5])
        message = f"loss and gradient must be finite, got {loss} and {norm} at step {step + 1} (records {ids}, ...)"
        raise TrainingError(message, place=str(output), cure="Lower training.learning_rate; the last checkpoint is kept")


class _Stream:
    """The endless stream of batches, epoch after epoch; any step's batches can be asked for."""

    def __init__(self, run: RunFile, corpus: Corpus, side: Side) -> None:
        training = run.training
        self.corpus, self.side, self.accumulate = corpus, side, training.accumulate
        self.order = BatchOrder(corpus.records["length"].to_numpy()[side.rows], training.batch_size, training.seed)
        self.augmentation = Augmentation(training.shift, training.reverse_complement, run.tokens.k, training.seed, training.substitution)
        self.per_epoch = math.ceil(len(side.rows) / training.batch_size)
        self._epoch: tuple[int, list[NDArray[np.int64]]] = (-1, [])

    def epoch_of(self, step: int) -> float:
        return step * self.accumulate / self.per_epoch

    def batches(self, step: int) -> list[tuple[int, NDArray[np.int64]]]:
        """(epoch, rows of the side) of each batch of a step."""
        found = []
        for position in range(step * self.accumulate, (step + 1) * self.accumulate):
            epoch, at = divmod(position, self.per_epoch)
            if self._epoch[0] != epoch:
                self._epoch = (epoch, self.order.epoch(epoch))
            found.append((epoch, self._epoch[1][at]))
        return found

    def ids(self, step: int) -> list[str]:
        """The records of a step."""
        rows = np.concatenate([rows for _, rows in self.batches(step)])
        return self.corpus.records["id"].iloc[self.side.rows[rows]].tolist()

    def examples(self, epoch: int, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Padded letters (B, L) and labels (B,) of rows of the side."""
        letters = [self.augmentation.letters(self.corpus, int(record), epoch) for record in self.side.rows[rows]]
        return pad_letters(letters), self.side.labels[rows]


def _side(run: RunFile, corpus: Corpus, split_path: Path, side: str) -> Side:
    rows = np.flatnonzero(np.array(read_split(split_path, corpus.records["id"])) == side)
    labels = corpus.records["label"].to_numpy()[rows].astype(np.int64)
    if len(set(labels)) < 2:
        raise CorpusError(
            f"{side} must hold records of both labels, got {len(rows)} of label {', '.join(map(str, sorted(set(labels)))) or '(none)'}",
            place=str(split_path),
        )
    lengths = corpus.records["length"].to_numpy()[rows]
    if lengths.min() < run.tokens.k:
        short = corpus.records["id"].iloc[rows[lengths.argmin()]]
        message = f"records must be at least tokens.k = {run.tokens.k} letters long, got {lengths.min()} in {short!r}"
        raise CorpusError(message, place=str(corpus.path), cure="Lower tokens.k or raise data.min_length")
    if run.is_control():
        labels = np.random.default_rng((run.training.seed, len(rows))).permutation(labels)
    return Side(rows, labels)


def _seed_step(seed: int, step: int, process: int) -> None:
    torch.manual_seed(int(np.random.SeedSequence((seed, step, process)).generate_state(1, np.uint64)[0] >> 1))


def _out_of_patience(progress: Progress, run: RunFile) -> bool:
    return progress.step - progress.best_step >= run.training.patience * run.training.evaluate_every


def _logits(fabric: Fabric, scorer: Scorer, corpus: Corpus, side: Side) -> NDArray[np.float64]:
    """(n,) logits of a side; each process scores its part, all with the running statistics of the first."""
    if fabric.world_size > 1:
        for buffer in scorer.network.buffers():
            torch.distributed.broadcast(buffer, src=0)
    logits = np.zeros(len(side.rows))
    mine = slice(fabric.global_rank, None, fabric.world_size)
    logits[mine] = scorer.logits([corpus.letters(int(row)) for row in side.rows[mine]])
    if fabric.world_size == 1:
        return logits
    return fabric.all_reduce(torch.from_numpy(logits).to(fabric.device), reduce_op="sum").cpu().numpy()  # type: ignore[union-attr]


def _evaluate(fabric: Fabric, scorer: Scorer, corpus: Corpus, side: Side, progress: Progress, epoch: float, started: float) -> bool:
    """Measure valid, add a row to the history; whether it is one of the best so far."""
    logits = _logits(fabric, scorer, corpus, side)
    auroc = float(roc_auc_score(side.labels, logits))
    progress.history.append(
        {
            "step": progress.step,
            "epoch": epoch,
            "train_loss": progress.loss_sum / progress.loss_steps,
            "valid_loss": float(np.mean(np.logaddexp(0, logits) - side.labels * logits)),
            "valid_auroc": auroc,
            "learning_rate": learning_rate(progress.step - 1, scorer.run.training),
            "seconds": time.monotonic() - started,
        }
    )
    progress.loss_sum, progress.loss_steps = 0.0, 0
    # Of equal ones the earlier is better.
    progress.top = sorted([*progress.top, [auroc, progress.step]], key=lambda each: (-each[0], each[1]))[: scorer.run.training.top]
    progress.best_auroc, progress.best_step = progress.top[0][0], int(progress.top[0][1])
    return [auroc, progress.step] in progress.top


def _line(name: str, progress: Progress, run: RunFile, stream: _Stream, started: float) -> str:
    seconds = time.monotonic() - started
    evaluated = progress.history and progress.history[-1]["step"] == progress.step
    loss = progress.history[-1]["train_loss"] if evaluated else progress.loss_sum / progress.loss_steps
    parts = [
        f"{name}: step {progress.step}/{run.training.max_steps}",
        f"epoch {stream.epoch_of(progress.step):.1f}",
        f"loss {loss:.4f}",
    ]
    if evaluated:
        parts.append(f"valid AUROC {progress.history[-1]['valid_auroc']:.4f} (best {progress.best_auroc:.4f} at {progress.best_step})")
    left = seconds / progress.step * (run.training.max_steps - progress.step)
    parts += [f"{progress.letters / seconds / 1000:.0f} kletters/s", f"at most {left / 60:.1f} min left"]
    return " | ".join(parts)


def _move_average(average: Network, network: Network, step: int, decay: float) -> None:
    """Move the mean towards the weights of `step`; early on it forgets faster, so that it never holds the first random ones."""
    decay = min(decay, (step - 1) / (step + 8))
    with torch.no_grad():
        for mean, weight in zip(average.parameters(), network.parameters(), strict=True):
            mean.lerp_(weight, 1 - decay)
        for kept, buffer in zip(average.buffers(), network.buffers(), strict=True):
            kept.copy_(buffer)


def _tensors(network: Network, average: Network, optimizer: Any, top: dict[int, dict[str, Tensor]]) -> dict[str, Tensor]:
    parts = {"network": network.state_dict(), "average": average.state_dict(), "optimizer": optimizer_tensors(optimizer)}
    parts |= {f"top-{step}": weights for step, weights in top.items()}
    return {f"{part}/{key}": value for part, tensors in parts.items() for key, value in tensors.items()}


def _restored(
    checkpoints: CheckpointFolder, network: Network, average: Network, optimizer: Any
) -> tuple[Progress, dict[int, dict[str, Tensor]]]:
    """Where the newest checkpoint stood, its weights and optimizer put in place; and the weights of the best evaluations, by step."""
    found = checkpoints.latest()
    if found is None:
        return Progress(), {}
    tensors, state = found
    parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, value in tensors.items():
        part, rest = key.split("/", 1)
        parts[part][rest] = value
    network.load_state_dict(parts.pop("network"))
    average.load_state_dict(parts.pop("average"))
    restore_optimizer(optimizer, parts.pop("optimizer"))
    return Progress(**state), {int(part.removeprefix("top-")): weights for part, weights in parts.items()}


def _fingerprint(run: RunFile, corpus: Corpus, split_path: Path, processes: int) -> str:
    parts = [part.model_dump_json() for part in (run.tokens, run.model, run.training)]
    parts += [corpus.fingerprint, sha256_of(split_path), f"{processes} processes", *(f"{p} {version(p)}" for p in VERSIONS)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _write_model(
    fabric: Fabric,
    run: RunFile,
    corpus: Corpus,
    split_path: Path,
    output: Path,
    scorer: Scorer,
    sides: dict[str, Side],
    progress: Progress,
    top: dict[int, dict[str, Tensor]],
    threads: int,
) -> None:
    valid = sides["valid"]
    logits = _logits(fabric, scorer, corpus, valid)
    if not fabric.is_global_zero:
        return
    temperature = fit_temperature(logits, valid.labels)
    threshold = choose_threshold(calibrate(logits, temperature), valid.labels)
    provenance = {
        "calibration": {"temperature": temperature, "threshold": threshold, "slope": fit_slope(logits, valid.labels)},
        "corpus_fingerprint": corpus.fingerprint,
        "split_sha256": sha256_of(split_path),
        "num_train": len(sides["train"].rows),
        "num_valid": len(valid.rows),
        "seed": run.training.seed,
        "best_step": progress.best_step,
        "device": scorer.device.type,
        "processes": fabric.world_size,
        "threads": threads,
        "python": platform.python_version(),
        "versions": {package: version(package) for package in VERSIONS},
    }
    cost = {
        "seconds": round(progress.seconds, 1),
        "peak_memory_mb": round(peak_memory_mb(), 1),
        "letters_per_second": round(progress.letters / progress.seconds, 1),
        "steps": progress.step,
        "best_step": progress.best_step,
    }
    with whole_folder(output) as folder:
        save_model(folder, run, {key: value.contiguous() for key, value in scorer.network.state_dict().items()}, provenance)
        for step, weights in top.items():
            if step != progress.best_step:
                (folder / "top").mkdir(exist_ok=True)
                (folder / "top" / f"step-{step:09d}.safetensors").write_bytes(save(weights))
        pd.DataFrame(progress.history).to_csv(folder / "history.csv", index=False)
        (folder / "train.json").write_text(json.dumps(cost, indent=1) + "\n", encoding="utf-8")

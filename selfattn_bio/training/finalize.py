"""Finish a training: fit stack and calibration, and write the model folder."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from selfattn_bio.baselines import Baseline
from selfattn_bio.evaluation.calibration import Calibration, fit_conformal
from selfattn_bio.evaluation.card import best_metrics, write_card
from selfattn_bio.evaluation.lineage import seen_table
from selfattn_bio.evaluation.metrics import title_of
from selfattn_bio.files import dump_json, sha256_of, whole_folder
from selfattn_bio.model.checkpoint import (
    HISTORY,
    NEXT_BEST,
    TRAINING_COST,
    TRAINING_RECORDS,
    WEIGHTS,
    range_of,
    save_model,
)
from selfattn_bio.scoring.reference import Reference
from selfattn_bio.scoring.stack import Stack, baseline_setup
from selfattn_bio.training.memory import peak_mb
from selfattn_bio.training.messages import report_end
from selfattn_bio.training.stacking import fit_part, fit_stack
from selfattn_bio.training.trainer import Trainer
from selfattn_bio.training.transfer import merge_lora


def write_model(
    trainer: Trainer, provenance: dict[str, Any], parts: dict[str, Baseline], threads: int
) -> None:
    """Fit stack and calibration, and write the model folder with the best weights.

    Only the first process writes and fits the stack; the others help to score.

    Parameters
    ----------
    trainer
        A training that took all its steps.
    provenance
        Entries known at the start of the run; others are added.
    parts
        Parts of the stack that need not be fitted, by name.
    threads
        CPU threads for fitting the stack.

    Raises
    ------
    TrainingInterrupted
        If a stop signal arrived in any process.
    """
    data, steps, best_step = trainer.data, trainer.steps, trainer.history.best_step
    speed = trainer.history.speed(trainer.seconds)
    trainer.average.load_state_dict(trainer.best_weights[best_step])
    # after the last step, they are usually those of the best weights
    outputs = trainer.last_outputs if best_step == trainer.history.step else None
    if outputs is None and (data.objective.has_coverage or data.run.stack.parts):
        outputs = trainer.validation.outputs()
        if outputs is None:
            raise trainer.interruption()
    if not trainer.fabric.is_global_zero:
        return
    stack = None
    if data.run.stack.parts and outputs is not None:
        stack, outputs = _fit_stack(trainer, outputs, parts, threads)
    lengths = data.corpus.records["length"].to_numpy()[_shown(trainer)]
    provenance = {
        **_calibration(trainer, outputs),
        "parents": data.lineage.parents if data.lineage else [],
        "num_train": len(data.train.rows),
        "num_valid": len(data.valid.rows),
        "median_length": int(np.median(lengths)),
        "longest_length": int(lengths.max()),
        **steps.provenance(),
        "best_step": best_step,
        **provenance,
    }
    cost = {
        "seconds": round(trainer.seconds, 1),  # includes fitting a stack
        "peak_memory_mb": round(peak_mb(), 1),
        **{name: float(f"{value:.4g}") for name, value in speed.items()},
        "steps": trainer.history.step,
        "best_step": best_step,
    }
    reference, rows = _reference(trainer, outputs), _shown(trainer)
    partners = np.array(data.corpus.partner_hashes)[rows].tolist() if data.run.partner else ()
    seen = seen_table(data.corpus, rows, data.lineage, partners)
    with whole_folder(trainer.output) as folder:
        save_model(folder, data.run, _merged_weights(trainer, best_step), provenance)
        for step in trainer.best_weights.keys() - {best_step}:
            (folder / NEXT_BEST).mkdir(exist_ok=True)
            (folder / NEXT_BEST / f"step-{step:09d}.safetensors").write_bytes(
                save(_merged_weights(trainer, step))
            )
        reference.save(folder, sha256_of(folder / WEIGHTS))
        seen.to_parquet(folder / TRAINING_RECORDS, index=False)
        trainer.history.write(folder / HISTORY)
        dump_json(folder / TRAINING_COST, cost)
        if stack:
            stack.save(folder, sha256_of(folder / WEIGHTS))
        write_card(folder, best_metrics(folder))
    report_end(trainer, provenance)


def _shown(trainer: Trainer) -> NDArray[np.int64]:
    """Return the corpus rows of the records that the model folder may describe.

    In a private run, only the weights may reveal anything about the training records.
    """
    train, valid = trainer.data.train.rows, trainer.data.valid.rows
    return np.concatenate([train, valid]) if trainer.steps.shows_records else valid


def _fit_stack(
    trainer: Trainer, outputs: Any, parts: dict[str, Baseline], threads: int
) -> tuple[Stack, Any]:
    """Fit the stack of the run.

    Parameters
    ----------
    trainer
        The training.
    outputs
        Outputs of the network on the validation split, as for `fit_stack`.
    parts, threads
        As for `write_model`.

    Returns
    -------
    The stack, and its outputs of the validation records from cross-validated weights.

    Raises
    ------
    TrainingInterrupted
        If a stop signal arrived while a part was fitted.
    """
    data, log = trainer.data, trainer.log
    splits = {"train": data.train, "valid": data.valid}
    letters = {name: data.letters(split) for name, split in splits.items()}
    targets = {name: split.targets for name, split in splits.items()}
    setup = baseline_setup(data.run, trainer.validation.scorer.policy, threads=threads)
    metric = title_of(data.objective.main_metric)
    if data.run.objective.is_per_base:
        outputs = np.stack(outputs)

    def worth(outputs: Any) -> float:
        return trainer.steps.metrics(outputs)[data.objective.main_metric]

    fitted = []
    for name in data.run.stack.parts:
        if part := parts.get(name):
            log(f"stack: reusing {part.title} of another member")
        else:
            start = time.monotonic()
            part = fit_part(setup, name, letters, targets)
            seconds = time.monotonic() - start
            found = worth(part.read(letters["valid"]))
            log(f"stack: {part.title} fitted in {seconds:.0f} s, validation {metric} {found:.4f}")
        fitted.append(part)
        # with several processes, the others would wait for this one
        if trainer.signals.received and trainer.fabric.world_size == 1:
            raise trainer.interruption()
    answers = data.objective.answers(targets["valid"])
    stack, held_out = fit_stack(outputs, fitted, letters["valid"], answers)
    names = ["network", *(part.name for part in stack.parts)]
    shown = [
        f"{name} {range_of(weights)}" for name, weights in zip(names, stack.weights, strict=True)
    ]
    shown += [f"{part.name} left out (negligible)" for part in stack.left_out]
    log(
        f"stack: weights {', '.join(shown)}; validation {metric} {worth(held_out):.4f} "
        f"(cross-validated weights), network alone {worth(outputs):.4f}; both are optimistic, "
        "because network and parts were chosen on these records"
    )
    return stack, held_out


def _calibration(trainer: Trainer, outputs: Any) -> dict[str, Any]:
    """Fit the calibration of two classes to the validation split, from outputs (n, 1).

    Returns
    -------
    The entry of provenance.json; other objectives have none.
    """
    data = trainer.data
    if not data.objective.has_log_odds:
        return {}
    calibration = vars(Calibration.fit(outputs[:, 0], data.valid.targets))
    strands = "both" if data.run.both_strands else "given"
    return {"calibration": calibration | {"strands": strands}}


def _reference(trainer: Trainer, outputs: Any) -> Reference:
    """Summarise the training records, or in a private run the validation records."""
    data = trainer.data
    conformal = fit_conformal(data.objective, outputs, data.valid.targets)
    described = data.train if trainer.steps.shows_records else data.valid
    return Reference.of(
        data.corpus.alphabet, data.letters(described), data.letters(data.valid), conformal
    )


def _merged_weights(trainer: Trainer, step: int) -> dict[str, Tensor]:
    """Return the weights of the best evaluation at `step`, with LoRA merged into its layers."""
    trainer.average.load_state_dict(trainer.best_weights[step])
    return {key: value.contiguous() for key, value in merge_lora(trainer.average).items()}

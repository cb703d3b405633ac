"""Write and read the model folder: weights, run file and provenance.

Loading checks that these parts belong together. Nothing is unpickled, and a user's module must be
allowed (`model.user_module`), so a model folder from elsewhere cannot run code.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import BeforeValidator, Field, field_validator, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.overrides import TorchFunctionMode

from selfattn_bio.config import ModuleModel, PretrainedModel, RunFile, read_run_file
from selfattn_bio.config.writing import toml_text
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.files import check_replaceable, dump_json, read_json, sha256_of
from selfattn_bio.model.build import build_network
from selfattn_bio.model.classifier import Network
from selfattn_bio.model.pretrained.folder import copy_small_files
from selfattn_bio.model.user_module import check_allowed, module_sha256, source_of
from selfattn_bio.sequence.kmers import tokenizer_of
from selfattn_bio.stored import (
    Finite,
    NotNegative,
    Positive,
    Sha256,
    Stored,
    StoredCalibration,
    StoredSource,
    checked,
)

WEIGHTS, RUN, PROVENANCE = "model.safetensors", "run.toml", "provenance.json"
# list of the training records (`evaluation.lineage`); summary of them (`scoring.reference`)
TRAINING_RECORDS, REFERENCE = "seen.parquet", "reference.safetensors"
# model card; metrics of each evaluation; time and memory of the training; folder with the weights
# of the next best evaluations ([training] top)
CARD, HISTORY, TRAINING_COST, NEXT_BEST = "README.md", "history.csv", "train.json", "top"
# folder of the simple models that are combined with the network; file with their weights in it
STACK, STACK_WEIGHTS = "stack", "weights.json"
PRETRAINED = "pretrained"  # folder with configuration and vocabulary of a pretrained model
# everything that a model folder may contain
PARTS = (
    WEIGHTS,
    RUN,
    PROVENANCE,
    TRAINING_RECORDS,
    REFERENCE,
    CARD,
    HISTORY,
    TRAINING_COST,
    NEXT_BEST,
    STACK,
    PRETRAINED,
)
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
RETRAIN = "Train it again, or copy the complete folder"


class StoredPrivacy(Stored):
    """The privacy budget that a training spent."""

    epsilon: NotNegative
    delta: NotNegative
    max_grad_norm: NotNegative
    noise_multiplier: NotNegative
    sample_rate: NotNegative
    steps: int


class Provenance(Stored):
    """The types of provenance.json; all entries except the first two may be missing."""

    vocabulary_sha256: Sha256
    weights_sha256: Sha256
    calibration: StoredCalibration | None = None  # of two classes
    parents: list[dict[str, Any]] = Field(default_factory=list)
    data: list[StoredSource] = Field(default_factory=list)
    num_train: int = 0
    num_valid: int = 0
    median_length: Positive | None = None
    longest_length: Positive | None = None
    best_step: int | None = None
    privacy: StoredPrivacy | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    git_commit: str | None = None


# one number per output; a model with one output may have the number itself
PerOutput = BeforeValidator(lambda found: found if isinstance(found, list) else [found])


class StackWeights(Stored):
    """Coefficients of a stack: the sum of weighted outputs of the network and of simple models.

    Attributes
    ----------
    weights
        Weights of "network", which comes first, and of each simple model in use, by name: one
        number per output.
    bias
        Constants added to the weighted sums, one per output.
    weights_sha256
        SHA-256 of the file with the weights of the network that the stack was fitted to.
    """

    weights: dict[str, Annotated[list[NotNegative], PerOutput]]
    bias: Annotated[list[Finite], PerOutput]
    weights_sha256: str

    @field_validator("weights")
    @classmethod
    def _check_first(cls, weights: dict[str, list[float]]) -> dict[str, list[float]]:
        if next(iter(weights), "") != "network":
            raise ValueError("does not begin with the weight of the network")
        return weights

    @model_validator(mode="after")
    def _check_outputs(self) -> Self:
        for name, each in self.weights.items():
            if len(each) != len(self.bias):
                message = f"weights.{name} has {len(each)} values for {len(self.bias)} outputs"
                raise ValueError(message)
        return self

    @property
    def parts(self) -> list[str]:
        """Return the names of the simple models in use."""
        return list(self.weights)[1:]

    def sentences(self, parts: Sequence[str]) -> str:
        """Describe how the score combines the network with `parts`, and which the fit left out."""
        shown = []
        if self.parts:
            shown.append(f"The score combines the network with simple models: {self.formula()}.")
        if left_out := [name for name in parts if name not in self.parts]:
            names = ", ".join(left_out)
            shown.append(f"Simple models that the fit left out as negligible: {names}.")
        return " ".join(shown)

    def formula(self) -> str:
        """Return the weighted sum as text, such as "0.08 x network + 1.27 x composition - 0.40".

        If weights differ between outputs, only the names are given, because models have different
        scales: "network + composition, with different weights for each output".
        """
        if any(len(set(each)) > 1 for each in self.weights.values()):
            return f"{' + '.join(self.weights)}, with different weights for each output"
        terms = [
            f"{each[0]:.2f} \N{MULTIPLICATION SIGN} {name}" for name, each in self.weights.items()
        ]
        bias = round(self.bias[0], 2) if len(self.bias) == 1 else 0.0
        constant = f" {'-' if bias < 0 else '+'} {abs(bias):.2f}" if bias else ""
        return " + ".join(terms) + constant


def range_of(weights: Sequence[float]) -> str:
    """Return weights as text, such as "0.50", or "0.31 to 0.50" if they differ."""
    low, high = f"{min(weights):.2f}", f"{max(weights):.2f}"
    return low if low == high else f"{low} to {high}"


def check_model_output(folder: str | Path) -> None:
    """Raise unless a model folder may be written to this path; see `files.check_replaceable`."""
    check_replaceable(folder, "model", PARTS, WEIGHTS)


def save_model(
    folder: Path, run: RunFile, weights: dict[str, Tensor], provenance: dict[str, Any]
) -> None:
    """Write weights, run file and provenance into an existing folder.

    Parameters
    ----------
    folder
        Existing folder; files of the same name are overwritten.
    run
        Settings of the model. Variants and sweep are not written.
    weights
        State dict of the network.
    provenance
        JSON values. The hashes of the weights and of the vocabulary are added, unless it has them.
    """
    # other readers expect the format; save_file would restrict reading to the owner
    (folder / WEIGHTS).write_bytes(save(weights, metadata={"format": "pt"}))
    if isinstance(run.model, PretrainedModel):
        copy_small_files(Path(run.model.folder), folder / PRETRAINED)
    # `run` already has the settings of this variant or sweep job.
    own_run = run.model_copy(update={"variants": {}, "sweep": None})
    (folder / RUN).write_text(toml_text(own_run), encoding="utf-8")
    hashes = {
        "vocabulary_sha256": tokenizer_of(run).sha256,
        "weights_sha256": sha256_of(folder / WEIGHTS),
    }
    dump_json(folder / PROVENANCE, hashes | provenance)


def load_model(folder: str | Path) -> tuple[RunFile, Network, dict[str, Any]]:
    """Load and check a model folder.

    Returns
    -------
    The run file, the network (on the CPU, in training mode) and the provenance.

    Raises
    ------
    ModelFolderError
        If a part is missing or truncated, or if the weights differ from the hash in the
        provenance, do not fit the run file, or were trained with another vocabulary. Also if the
        model runs the code of a user's module that is not allowed, or has changed.
    RunFileError
        If the run file is invalid.
    """
    folder = Path(folder)
    files = [folder] if folder.is_file() else sorted(folder.glob("*"))
    pickles = [path.name for path in files if path.suffix in PICKLES]
    if pickles and not (folder / WEIGHTS).exists():
        message = (
            f"{pickles[0]!r} is a pickle, which can run code and is not opened; a model folder "
            f"has {WEIGHTS}"
        )
        raise ModelFolderError(message, place=str(folder), hint=RETRAIN)
    for name in (WEIGHTS, RUN, PROVENANCE):
        if not (folder / name).is_file():
            missing = name if folder.exists() else "the folder"
            message = f"{missing} is missing; a model folder has {WEIGHTS}, {RUN} and {PROVENANCE}"
            raise ModelFolderError(message, place=str(folder), hint=RETRAIN)
    run = read_run_file(folder / RUN)
    if isinstance(run.model, PretrainedModel):  # the folder that it was trained from may be gone
        model = run.model.model_copy(update={"folder": str(folder / PRETRAINED)})
        run = run.model_copy(update={"model": model})
    is_pretrained = isinstance(run.model, PretrainedModel)
    for name, is_read in ((STACK, bool(run.stack.parts)), (PRETRAINED, is_pretrained)):
        if is_read and not (folder / name).is_dir():
            ModelFolderError.fail(f"folder {name!r} is missing; {RUN} needs it", folder, RETRAIN)
    provenance = read_provenance(folder)
    of_vocabulary, of_weights = provenance["vocabulary_sha256"], provenance["weights_sha256"]
    _check_same(f"the vocabulary of {RUN}", tokenizer_of(run).sha256, of_vocabulary, folder)
    _check_same(
        "the file of the weights", sha256_of(folder / WEIGHTS), of_weights, folder / WEIGHTS
    )
    if isinstance(run.model, ModuleModel):
        name, trained = run.model.module, str(provenance.get("module_sha256"))
        check_allowed(name, str(folder))
        hint = f"Restore {source_of(name)}, or train the model again"
        _check_same(f"the source of {name!r}", module_sha256(name), trained, folder, hint)
    try:
        network = _load_network(run, folder / WEIGHTS)
    except (SafetensorError, RuntimeError) as error:
        message = (
            f"the weights do not fit the network of {RUN}: {' '.join(str(error).split())[:300]}"
        )
        raise ModelFolderError(message, place=str(folder / WEIGHTS), hint=RETRAIN) from error
    return run, network, provenance


class _WithoutMemory(TorchFunctionMode):
    """Put weights on torch's device `meta`, which has no memory, and skip random numbers.

    All else is computed on the CPU, because for `meta` torch would import its compiler.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.__name__ in ("normal_", "uniform_", "trunc_normal_"):
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        if func in (torch.empty, torch.zeros, torch.ones):
            kwargs = {**kwargs, "device": "meta"}
        return func(*args, **kwargs)


def _load_network(run: RunFile, path: Path) -> Network:
    """Build the network of a run file, and load its weights.

    The run file of a stranger could describe a network that is larger than the memory. The weights
    are therefore first compared with the network without memory, on torch's device `meta`. This is
    impossible for a network of a user's module.

    Raises
    ------
    RuntimeError
        If a weight is missing, superfluous or has another shape.
    ModelFolderError
        If a weight has another type or values that are not finite.
    """
    weights, is_of_user = load_file(path), isinstance(run.model, ModuleModel)
    with nullcontext() if is_of_user else _WithoutMemory():
        network = build_network(run)
    wanted = network.state_dict()
    for name in sorted(weights.keys() | wanted.keys()):
        shapes = [tuple(of[name].shape) if name in of else "none" for of in (weights, wanted)]
        if shapes[0] != shapes[1]:
            raise RuntimeError(f"{name} has shape {shapes[0]}, not {shapes[1]}")
        tensor = weights[name]
        if tensor.dtype != wanted[name].dtype:
            message = f"weight {name} has type {tensor.dtype}, not {wanted[name].dtype}"
            ModelFolderError.fail(message, path, RETRAIN)
        if not tensor.isfinite().all():
            ModelFolderError.fail(f"weight {name} has values that are not finite", path, RETRAIN)
    network = network if is_of_user else build_network(run)
    network.load_state_dict(weights)
    return network


def read_stack_weights(folder: str | Path) -> StackWeights | None:
    """Read the coefficients of a model's stack; return None if the model folder has no stack.

    Raises
    ------
    ModelFolderError
        If the file is missing or malformed, or a weight is negative or not finite.
    """
    path = Path(folder) / STACK / STACK_WEIGHTS
    if not path.parent.is_dir():
        return None
    return checked(StackWeights, read_json(path, ModelFolderError, RETRAIN), path, RETRAIN)


def check_trained_on(folder: str | Path, corpus_fingerprint: str, split_sha256: str) -> None:
    """Check that a model was trained on this corpus and split.

    A model trained on another split may have seen the test records, so it must not be evaluated or
    explained on them.

    Parameters
    ----------
    folder
        The model folder.
    corpus_fingerprint
        `Corpus.fingerprint`.
    split_sha256
        SHA-256 of the split table.

    Raises
    ------
    ModelFolderError
        If the provenance names another corpus or split table, or cannot be read.
    """
    provenance = read_provenance(Path(folder))
    for what, key, here in (
        ("corpus", "corpus_fingerprint", corpus_fingerprint),
        ("split", "split_sha256", split_sha256),
    ):
        if (there := str(provenance.get(key))) != here:
            ModelFolderError.fail(
                f"the model was trained on another {what} ({there[:12]}, this one is {here[:12]})",
                folder,
                "Use the model, corpus and split of one task. If they are, train the model "
                "again: it may have seen these test records",
            )


def read_provenance(folder: Path) -> dict[str, Any]:
    """Read the provenance of a model folder.

    Raises
    ------
    ModelFolderError
        If the file is missing, is not a JSON object, lacks a key that scoring needs, or has a
        value of another type or out of range.
    """
    path = folder / PROVENANCE
    provenance = read_json(path, ModelFolderError, RETRAIN)
    checked(Provenance, provenance, path, RETRAIN)
    return provenance


def _check_same(what: str, found: str, trained: str, place: Path, hint: str = RETRAIN) -> None:
    """Raise unless a SHA-256 is the one that provenance.json has from the training."""
    if found != trained:
        message = f"{what} ({found[:12]}) is not the one of the training ({trained[:12]})"
        ModelFolderError.fail(message, place, hint)

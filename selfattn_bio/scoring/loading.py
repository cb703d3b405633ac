"""Load models from folders, or models that ship with the package by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from operator import attrgetter
from pathlib import Path
from typing import Any, NoReturn, overload

import torch

from selfattn_bio.arrays import Floats
from selfattn_bio.baselines import Baseline, is_baseline, load_baseline
from selfattn_bio.errors import ArgumentError, ModelFolderError
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.log import LOG
from selfattn_bio.model import user_module
from selfattn_bio.model.checkpoint import PROVENANCE, RETRAIN, WEIGHTS, load_model
from selfattn_bio.objectives import Objective, objective_of
from selfattn_bio.scoring.paired_scorer import scorer_of
from selfattn_bio.scoring.reference import load_reference
from selfattn_bio.scoring.scorer import Ensemble, Scorer, Sequences, without_padding
from selfattn_bio.scoring.stack import load_stack
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.kmers import tokenizer_of
from selfattn_bio.sequence.policy import SequencePolicy

SHIPPED = Path(str(resources.files("selfattn_bio"))) / "models"  # one folder per model
# A loaded model, or an argument of `load`
Models = Scorer | Ensemble | str | Path | Sequence[str | Path]


@overload
def load(model: str | Path, *, allow_module: str | None = None, device: str = "auto") -> Scorer: ...
@overload
def load(
    model: Models, *, allow_module: str | None = None, device: str = "auto"
) -> Scorer | Ensemble: ...
def load(
    model: Models, *, allow_module: str | None = None, device: str = "auto"
) -> Scorer | Ensemble:
    """Load a model folder, or several of them as an ensemble.

    A baseline saved by `evaluate`, such as `load("results/promoter/baselines/exact_positions")`,
    becomes a `BaselineScorer`. A model that ships with the package can be loaded by name, such as
    `load("promoter")`; `load("./promoter")` is a folder in the working directory.

    Parameters
    ----------
    model
        The model folder or folders. A list of one folder is that model. A loaded model is returned
        unchanged.
    allow_module
        The user's module that the model names, such as "my_model:build". Its code runs, now and
        for other models of this process.
    device
        "cpu", "cuda", or a CUDA device such as "cuda:1". "auto" is CUDA if there is a device,
        otherwise the CPU. Baselines use the CPU, except for their pretrained models.

    Raises
    ------
    ModelFolderError
        If a file is missing, truncated or does not belong to the others. For several folders also
        if they differ in alphabet, objective, soft mask or gaps.
    ArgumentError
        If this is not a model folder, or a list of at least one, or there is no such device.
    """
    if isinstance(model, Scorer | Ensemble):
        return model
    folders = [model] if isinstance(model, str | Path) else model
    if (
        not isinstance(folders, Sequence)
        or not folders
        or not all(isinstance(folder, str | Path) and str(folder) for folder in folders)
    ):
        raise ArgumentError(
            f"expected a model folder, the name of a model that ships, or a list of them; got "
            f"{model!r}"
        )
    if allow_module:
        user_module.allow_module(allow_module)
    members = tuple(_load_one(folder, device) for folder in folders)
    if len(members) == 1:
        return members[0]
    for folder, member in zip(folders, members, strict=True):
        _check_like(member, members[0], folder)
    return Ensemble(members)


def load_single(model: Models) -> Scorer:
    """Return a single model, for functions that do not accept ensembles.

    Raises
    ------
    ModelFolderError
        As for `load`.
    ArgumentError
        If the model is an ensemble.
    """
    scorer = load(model)
    if isinstance(scorer, Ensemble):
        message = f"an ensemble of {len(scorer.members)} models cannot be used here; pass one"
        raise ArgumentError(f"{message} folder, or one member such as load([...]).members[0]")
    return scorer


def _check_like(member: Scorer, first: Scorer, folder: str | Path) -> None:
    """Check that the scores of two members can be averaged."""
    if not member.objective.section.has_scores:
        kind = member.run.objective.kind
        message = f"a model of objective {kind!r} has no scores that could be averaged"
        raise ModelFolderError(message, place=str(folder))
    for what, of in (
        ("alphabet", attrgetter("alphabet.name")),
        ("objective", attrgetter("run.objective")),
        ("second input", attrgetter("run.partner")),
        ("soft_mask", attrgetter("policy.soft_mask")),
        ("gaps", attrgetter("policy.gaps")),
    ):
        if (own := of(member)) != (wanted := of(first)):
            message = (
                f"cannot average this model with the first, whose {what} is {wanted!r} and not "
                f"{own!r}"
            )
            raise ModelFolderError(message, place=str(folder))


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ArgumentError(f"unknown device {name!r}", hint="Use cpu, cuda, or cuda:NUMBER")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ArgumentError(f"device {name}: no such GPU found", hint="Use device='cpu'")
    return device


def _load_one(path: str | Path, device: str) -> Scorer:
    folder, chosen = folder_of(path), _device(device)
    if is_baseline(folder):
        return BaselineScorer(load_baseline(folder, device=str(chosen)), folder)
    if not (folder / WEIGHTS).exists():
        _check_is_no_parent(folder)
    run, network, provenance = load_model(folder)
    if objective_of(run.objective).has_log_odds and not provenance.get("calibration"):
        ModelFolderError.fail("calibration is missing", folder / PROVENANCE, RETRAIN)
    network.to(chosen)
    sha256 = provenance["weights_sha256"]
    return scorer_of(
        run,
        network.eval(),
        calibration=Calibration.of(provenance.get("calibration") or {}),
        reference=load_reference(folder, tokenizer_of(run).alphabet, sha256),
        folder=folder,
        stack=load_stack(folder, run, sha256, str(chosen)),
        record_length=provenance.get("median_length"),
        longest_record=provenance.get("longest_length"),
    )


def _check_is_no_parent(folder: Path) -> None:
    """Name the models and baselines in the folder, such as `results/promoter`, if there are any."""
    found = sorted(p for p in folder.glob("*") if is_baseline(p) or (p / WEIGHTS).is_file())
    if found:
        names = ", ".join(path.name for path in found)
        message = f"this folder is not a model itself, it holds {names}"
        raise ModelFolderError(message, place=str(folder), hint=f"Name one of them: {found[0]}")


def folder_of(model: str | Path) -> Path:
    """Return the folder of a model that is given by its path, or by its name if it ships.

    Text without a separator that is the name of a shipped model, such as "promoter", is that model
    in every working directory. "./promoter" and `Path("promoter")` are folders.

    Raises
    ------
    ModelFolderError
        If a bare name is neither an existing folder nor a model that ships.
    """
    shipped = sorted(folder.name for folder in SHIPPED.iterdir() if folder.is_dir())
    if isinstance(model, str) and model in shipped:
        if Path(model).is_dir():
            LOG.warning(
                f"{model!r} is the model that ships with the package; write './{model}' for the "
                "folder in the working directory"
            )
        return SHIPPED / model
    if not str(model).isidentifier() or Path(model).exists():
        return Path(model)
    message = f"there is no model folder {str(model)!r}"
    if str(model) in shipped:
        hint = f"Pass the text {str(model)!r}, not a Path, for the model that ships"
        raise ModelFolderError(message, hint=hint)
    of_task = f"results/{model}/model"
    raise ModelFolderError(
        f"{message}, and no model of this name ships with the package "
        f"(shipped: {', '.join(shipped)})",
        hint=f"Did you mean {of_task}?" if Path(of_task).is_dir() else "",
    )


# ------------ baselines
class BaselineScorer(Scorer):
    """Score sequences with a baseline that `evaluate` saved.

    `score_sequences` and `selfattn-bio score` accept it. Logits and calibration work as
    in `Scorer`. Functions that need a network, such as `explain` and
    `embed`, raise `ArgumentError`.

    Parameters
    ----------
    baseline
        A fitted baseline.
    folder
        The folder it was loaded from.
    """

    def __init__(self, baseline: Baseline, folder: Path | None = None) -> None:
        vars(self).update(baseline=baseline, calibration=baseline.calibration, folder=folder)

    baseline: Baseline

    def __repr__(self) -> str:
        return f"BaselineScorer: {self.baseline.title}"

    def __getattr__(self, name: str) -> NoReturn:
        """Raise: a baseline has no run file, network or tokens."""
        if name not in ("run", "network", "tokenizer"):
            raise AttributeError(name)
        raise ArgumentError(
            f"this is a baseline ({self.baseline.title}) without a network; only `load` and "
            "`score` accept it",
            place=str(self.folder or ""),
        )

    @property
    def objective(self) -> Objective[Any]:
        """Return the objective of the model that the baseline was compared with."""
        return self.baseline.setup.objective

    @property
    def alphabet(self) -> Alphabet:
        """Return the alphabet of the training records."""
        return self.baseline.setup.alphabet

    @property
    def policy(self) -> SequencePolicy:
        """Return how sequences are read."""
        return self.baseline.setup.policy

    @property
    def both_strands(self) -> bool:
        """Return whether logits are means over both strands."""
        return self.baseline.both_strands

    @property
    def shortest(self) -> int:
        """Return the minimum length of a sequence: 1, or a bin."""
        return self.baseline.setup.unit

    def outputs(self, letters: Sequences) -> Floats:
        """Return the outputs (n, C) of sequences of any lengths, as in `Scorer.outputs`."""
        return self.baseline.outputs(without_padding(letters))

    def read(self, letters: Sequences) -> Any:
        """Return the outputs of sequences, or of the positions or bins of each."""
        return self.baseline.read(without_padding(letters))

    def member_log_odds(self, letters: Sequences) -> Floats:
        """Return `log_odds` as an ensemble with one member, (n, 1)."""
        return self.log_odds(letters)[:, None]

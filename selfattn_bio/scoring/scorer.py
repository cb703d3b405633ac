"""Score sequences with one trained model or an ensemble: ASCII sequences in, logits out.

Takes care of batching, padding, the device and the temperature. Models with one input, models with
two inputs and ensembles offer the same methods.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from selfattn_bio.baselines import is_baseline
from selfattn_bio.config import (
    AttentionModel,
    Data,
    NoExits,
    RunFile,
)
from selfattn_bio.data.batches import pad_letters
from selfattn_bio.data.collation import Collation, PairCollation
from selfattn_bio.data.inputs import RecordPair
from selfattn_bio.errors import ArgumentError, ModelFolderError
from selfattn_bio.model import user_module
from selfattn_bio.model.build import num_outputs, partner_tokenizer_of, tokenizer_of
from selfattn_bio.model.checkpoint import CALIBRATION, WEIGHTS, load_model
from selfattn_bio.model.classifier import Network, PairedNetwork
from selfattn_bio.model.paired import OneInput
from selfattn_bio.objectives import Objective, objective_of
from selfattn_bio.scoring.reference import Reference, load_reference
from selfattn_bio.scoring.stack import Stack, load_stack
from selfattn_bio.sequence.alphabet import Alphabet, get_alphabet
from selfattn_bio.sequence.kmers import KmerTokenizer
from selfattn_bio.sequence.policy import SequencePolicy

LOG = logging.getLogger(__name__)
SHIPPED = Path(str(resources.files("selfattn_bio"))) / "models"  # one folder per model
TAKE_TWO = "only score, evaluate and explain support that"
NO_PAIR = f"this model has two inputs and needs pairs of sequences; {TAKE_TWO}"
# About 100 sequences of 300 bp. Batches of 256 sequences took twice as long per sequence.
BATCH_LETTERS = 32_768


@dataclass(frozen=True, eq=False)  # compared by identity, as networks are
class Scorer:
    """Score sequences with a trained model.

    Attributes
    ----------
    run
        The run file of the model.
    tokenizer
        Converts sequences into tokens.
    network
        In evaluation mode, on `device`.
    temperature, threshold
        Fitted on the validation split. The probability is sigmoid(logit / temperature). A
        probability at or above the threshold is predicted as label 1.
    slope
        Calibrated log-odds per logit, fitted on the validation split. If the network is
        uninformative, slope x standard deviation of the logits is about 2 / sqrt(number of
        validation records).
    reference
        Summary of the training data, or None if the model folder has none.
    folder
        The folder the model was loaded from, or None for a model created in memory.
    stack
        Simple models that are combined with the network, or None.
    """

    run: RunFile
    tokenizer: KmerTokenizer
    network: Network
    temperature: float = 1.0
    threshold: float = 0.5
    slope: float = 1.0
    reference: Reference | None = None
    folder: Path | None = None
    stack: Stack | None = None

    def __repr__(self) -> str:
        number = sum(parameter.numel() for parameter in self.network.parameters())
        stack = (
            f", stacked with {', '.join(part.name for part in self.stack.parts)}"
            if self.stack and self.stack.parts
            else ""
        )
        return (
            f"Scorer of objective {self.run.objective.kind!r}, {number:,} parameters{stack}, "
            f"on {self.device}"
        )

    @property
    def members(self) -> tuple[Scorer, ...]:
        """Return the scorer as an ensemble with one member."""
        return (self,)

    @property
    def alphabet(self) -> Alphabet:
        """Return the alphabet of the tokenizer."""
        return self.tokenizer.alphabet

    @property
    def policy(self) -> SequencePolicy:
        """Return how sequences are read: the same way as the training records."""
        return policy_of(self.run.data)

    @property
    def objective(self) -> Objective[Any]:
        """Return the training objective."""
        return objective_of(self.run.objective)

    @property
    def both_strands(self) -> bool:
        """Return whether every score is already the mean over both strands."""
        return self.run.both_strands

    @property
    def shortest(self) -> int:
        """Return the minimum length of a sequence."""
        return self.objective.shortest(self.tokenizer.k)[0]

    @property
    def device(self) -> torch.device:
        """Return the device of the network."""
        return next(self.network.parameters()).device

    @property
    def collate(self) -> Collation:
        """Return the function from sequences without padding to tokens."""
        return Collation(self.tokenizer)

    def tokens(self, letters: NDArray[np.uint8]) -> torch.Tensor:
        """Convert zero-padded ASCII sequences (B, L) to int64 token ids (B, N) on the device."""
        return self.collate.encode(letters).to(self.device)

    def tokens_of(self, letters: Sequence[Any]) -> torch.Tensor:
        """Convert ASCII sequences of any lengths to int64 token ids (B, N) on the device.

        Zeros at the end of a sequence are padding. Shorter rows are padded with 0.
        """
        return self.collate(without_padding(letters)).ids.to(self.device)

    def lengths(self, letters: Any) -> NDArray[np.int64]:
        """Return the length of each sequence without padding, (n,).

        Raises
        ------
        ValueError
            If a sequence is shorter than the model's k.
        """
        lengths = np.array([np.count_nonzero(row) for row in letters], dtype=np.int64)
        if len(lengths) and lengths.min() < self.tokenizer.k:
            raise ValueError(
                f"a sequence has length {lengths.min()}, but the model needs at least "
                f"{self.tokenizer.k}"
            )
        return lengths

    def batches(
        self,
        letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
        batch_size: int | None = None,
    ) -> Iterator[NDArray[np.int64]]:
        """Yield batches of row numbers, longest sequences first.

        A batch has `batch_size` rows. By default it has at most BATCH_LETTERS positions including
        padding, and at least one row.

        Raises
        ------
        ValueError
            If a sequence is shorter than the model's k, or `batch_size` is below 1.
        """
        if batch_size is not None and batch_size < 1:
            raise ArgumentError(f"batch_size is {batch_size}; it must be at least 1")
        lengths = self.lengths(letters)
        order = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(order):
            rows = order[
                start : start + (batch_size or max(1, BATCH_LETTERS // int(lengths[order[start]])))
            ]
            start += len(rows)
            yield rows

    def outputs(
        self,
        letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
        batch_size: int | None = None,
    ) -> NDArray[np.float64]:
        """Return the outputs (n, C) of sequences of any lengths, in the given order.

        Outputs are logits of classes or labels, or regression values on the training scale. They
        are means over both strands if the run reads both (`RunFile.both_strands`). A stacked model
        returns the logit of the stack.

        Parameters
        ----------
        letters
            Upper-case ASCII sequences: an array (n, L) padded with 0 at the end, or n arrays.
        batch_size
            Sequences per pass. By default as many as fit into BATCH_LETTERS positions.

        Raises
        ------
        ValueError
            If a sequence is shorter than the model's k, or the model has one output per token or
            position.
        """
        if self.run.objective.outputs_per != "sequence":
            raise ValueError(
                f"objective {self.run.objective.kind!r} has no outputs for complete sequences"
            )
        outputs = self.network_outputs(letters, batch_size).mean(1)
        if self.stack:
            outputs[:, 0] = self.stacked(outputs[:, 0], letters)
        return outputs

    def stacked(
        self, network: NDArray[np.float64], letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
    ) -> NDArray[np.float64]:
        """Combine network logits, (n,) or (n, members), with the stack.

        Without a stack the logits are returned unchanged.
        """
        return self.stack.logits(network, without_padding(letters)) if self.stack else network

    def network_outputs(
        self,
        letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
        batch_size: int | None = None,
    ) -> NDArray[np.float64]:
        """Return the outputs (n, M, C) of each member of the network, without the stack.

        Arguments and errors are those of `outputs`.
        """
        return np.mean(
            [self._strand_outputs(strand, batch_size) for strand in self._strands(letters)], axis=0
        )

    def _strands(
        self, letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
    ) -> list[NDArray[np.uint8] | Sequence[NDArray[np.uint8]]]:
        """Return the strands whose outputs are averaged.

        The reverse strand is added if scores are means over both strands and the network does not
        already read both.
        """
        if self.run.shares_strands or not self.both_strands:
            return [letters]
        return [
            letters,
            [self.alphabet.reverse_complement(row) for row in without_padding(letters)],
        ]

    def _strand_outputs(
        self, letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]], batch_size: int | None
    ) -> NDArray[np.float64]:
        """Return the outputs (n, M, C) of the given strand."""
        outputs = np.empty((len(letters), self.run.model.members, num_outputs(self.run)))
        with torch.inference_mode():
            for rows in self.batches(letters, batch_size):
                outputs[rows] = (
                    self.network(self.tokens_of([letters[i] for i in rows])).double().cpu().numpy()
                )
        return outputs

    def token_outputs(
        self, letters: Sequence[NDArray[np.uint8]], batch_size: int | None = None
    ) -> list[NDArray[np.float64]]:
        """Return the outputs (N, C) of each sequence for a model with one output per token.

        Errors are those of `outputs`.
        """
        if self.run.objective.outputs_per != "token":
            raise ValueError(f"objective {self.run.objective.kind!r} has no outputs for tokens")
        outputs: list[NDArray[np.float64]] = [np.empty((0, 0))] * len(letters)
        with torch.inference_mode():
            for rows in self.batches(letters, batch_size):
                found = (
                    self.network(self.tokens_of([letters[i] for i in rows]))
                    .mean(1)
                    .double()
                    .cpu()
                    .numpy()
                )
                for row, of_row in zip(rows, found, strict=True):
                    outputs[row] = of_row[: self.tokenizer.num_tokens(len(letters[row]))]
        return outputs

    def logits(
        self, letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
    ) -> NDArray[np.float64]:
        """Return the logits of label 1, (n,), for a binary model.

        Arguments and errors are those of `outputs`.
        """
        if not self.objective.has_log_odds:
            raise ValueError(
                "only a binary model has one logit per sequence; this one has objective "
                f"{self.run.objective.kind!r}"
            )
        return self.outputs(letters)[:, 0]

    def log_odds(
        self, letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
    ) -> NDArray[np.float64]:
        """Return the log-odds of label 1 up to a constant: logit x slope, (B,).

        Use them for differences between sequences. Arguments and errors are those of `logits`.
        """
        return self.logits(letters) * self.slope

    def member_log_odds(self, letters: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Return `log_odds` of each of the M networks of `[model] members`, (n, M).

        `log_odds` is their mean.
        """
        logits = self.network_outputs(letters)[:, :, 0]
        return self.stacked(logits, letters) * self.slope

    def readings(self, letters: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Return the head's outputs after each of E blocks, (n, M, E, C), for a model with exits.

        A model that reads both strands returns (n, 2 M, E, C): each member reads each strand, and
        the score is the mean over all of them.

        Raises
        ------
        ValueError
            If the model has no exits, or a sequence is shorter than its k.
        """
        model = self.run.model
        if not isinstance(model, AttentionModel) or isinstance(model.exits, NoExits):
            raise ValueError("this model has no early exits (model.exits)")
        return np.concatenate(
            [self._of_blocks(self.network.readings, strand) for strand in self._strands(letters)],
            axis=1,
        )

    def depths(self, letters: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Return the number of encoder blocks each sequence passes through, (n,).

        The number is a mean over the members and the strands they read.

        Raises
        ------
        ValueError
            If the model has no blocks or has two inputs, or a sequence is shorter than its k.
        """
        if not isinstance(self.run.model, AttentionModel):
            raise ValueError(f"a model of kind {self.run.model.kind!r} has no encoder blocks")
        return np.concatenate(
            [self._of_blocks(self.network.depths, strand) for strand in self._strands(letters)],
            axis=1,
        ).mean(axis=1)

    def _of_blocks(
        self,
        read: Callable[[torch.Tensor], torch.Tensor],
        letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
    ) -> NDArray[np.float64]:
        """Apply `read` to the tokens of each sequence as given; return (n, M, ...)."""
        found: list[NDArray[np.float64]] = [np.empty(0)] * len(letters)
        with torch.inference_mode():
            for rows in self.batches(letters):
                for row, of_row in zip(
                    rows,
                    read(self.tokens_of([letters[i] for i in rows])).double().cpu().numpy(),
                    strict=True,
                ):
                    found[row] = of_row
        return np.stack(found)

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return calibrated probabilities of label 1."""
        return expit(logits / self.temperature)


@dataclass(frozen=True, eq=False)
class PairedScorer(Scorer):
    """Score pairs of sequences with a model that has two inputs.

    Methods that take sequences in `Scorer` take one `RecordPair` per record here and raise
    `ArgumentError` for anything else. `of_first` and `of_partner` return the model with one input
    held fixed, as a `Scorer` of the other input. Interpretation methods, which handle one input,
    use them to explain both inputs.
    """

    @property
    def partner_tokenizer(self) -> KmerTokenizer:
        """Return the tokenizer of the second input."""
        return partner_tokenizer_of(self.run)

    @property
    def partner_spelling(self) -> SequencePolicy:
        """Return how sequences of the second input are read."""
        return SequencePolicy(self.partner_tokenizer.alphabet)

    @property
    def collate(self) -> PairCollation:
        """Return the function from pairs of sequences without padding to tokens."""
        network = self.network
        assert isinstance(network, PairedNetwork)
        return PairCollation(self.tokenizer, self.partner_tokenizer, network.joined)

    def tokens(self, letters: NDArray[np.uint8]) -> torch.Tensor:
        """Raise an error, because an array of sequences holds only one input.

        Raises
        ------
        ArgumentError
            Always.
        """
        raise ArgumentError(NO_PAIR)

    def tokens_of(self, letters: Sequence[Any]) -> torch.Tensor:
        """Convert pairs of ASCII sequences of any lengths to token ids (B, N1 + N2).

        `model.paired` describes how the two inputs are joined.
        """
        _inputs(letters)  # checks that they are pairs
        return self.collate(letters).ids.to(self.device)

    def lengths(self, letters: Any) -> NDArray[np.int64]:
        """Return the summed length of both inputs of each pair, (n,).

        Raises `ValueError` if an input is shorter than its k.
        """
        first, partner = _inputs(letters)
        lengths, k = (
            np.array([len(row) for row in partner], dtype=np.int64),
            self.partner_tokenizer.k,
        )
        if len(lengths) and lengths.min() < k:
            raise ValueError(
                f"a partner has length {lengths.min()}, but the model needs at least {k}"
            )
        return super().lengths(first) + lengths

    def of_first(self, partners: Sequence[NDArray[np.uint8]]) -> Scorer:
        """Return the model as a scorer of the first input, with the partners fixed.

        Row i is scored with partner i. A single partner is used for all rows.
        """
        network = self.network
        assert isinstance(network, PairedNetwork)
        return self._of_one(
            self.tokenizer,
            OneInput(
                network, network.of_partner(self._encoded_partners(list(partners))), partner=False
            ),
        )

    def of_partner(self, first: Sequence[NDArray[np.uint8]]) -> Scorer:
        """Return the model as a scorer of the second input with the first fixed; see `of_first`."""
        return self._of_one(
            self.partner_tokenizer,
            OneInput(self.network, super().tokens(pad_letters(list(first))), partner=True),
        )

    def _of_one(self, tokenizer: KmerTokenizer, network: OneInput) -> Scorer:
        return Scorer(
            self.run,
            tokenizer,
            network.eval(),  # type: ignore[arg-type]
            self.temperature,
            self.threshold,
            self.slope,
        )

    def _encoded_partners(self, letters: list[NDArray[np.uint8]]) -> torch.Tensor:
        """Convert ASCII sequences to token ids (B, N2) of the partner's tokenizer."""
        return Collation(self.partner_tokenizer)(letters).ids.to(self.device)


def _inputs(pairs: Sequence[Any]) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """Split pairs into first and second inputs.

    Raises
    ------
    ArgumentError
        If an element is not a pair.
    """
    if any(not isinstance(pair, RecordPair) for pair in pairs):
        raise ArgumentError(NO_PAIR)
    return [pair.first for pair in pairs], [pair.partner for pair in pairs]


def without_padding(
    letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
) -> list[NDArray[np.uint8]]:
    """Remove the zeros at the end of ASCII sequences of any lengths."""
    return [row[: np.count_nonzero(row)] for row in letters]


def policy_of(data: Data) -> SequencePolicy:
    """Return how the records of [data] are read.

    A soft mask that is kept is stored separately from the sequence.
    """
    return SequencePolicy(
        get_alphabet(data.alphabet), "hard" if data.soft_mask == "hard" else "ignore", data.gaps
    )


def scorer_of(run: RunFile, network: Network, **more: Any) -> Scorer:
    """Create the scorer of a network with one or two inputs.

    `more` holds the remaining attributes of `Scorer`.
    """
    kind = PairedScorer if isinstance(network, PairedNetwork) else Scorer
    return kind(run, tokenizer_of(run), network, **more)


def check_one_input(scorer: Scorer | Ensemble, what: str) -> None:
    """Check that no model has two inputs.

    Raises
    ------
    ArgumentError
        If a model has two inputs.
    """
    if any(isinstance(member, PairedScorer) for member in scorer.members):
        raise ArgumentError(f"{what} does not support models with two inputs; {TAKE_TWO}")


@dataclass(frozen=True)
class Ensemble:
    """Average the outputs of several models, such as the members of a run with `seeds`.

    Attributes
    ----------
    members
        Two or more models with the same objective and the same handling of sequences (alphabet,
        soft mask, gaps).
    """

    members: tuple[Scorer, ...]

    @property
    def run(self) -> RunFile:
        """Return the run file of the first member."""
        return self.members[0].run

    @property
    def objective(self) -> Objective[Any]:
        """Return the objective of the members."""
        return self.members[0].objective

    @property
    def alphabet(self) -> Alphabet:
        """Return the alphabet of the members."""
        return self.members[0].alphabet

    @property
    def policy(self) -> SequencePolicy:
        """Return how sequences are read, which is the same for all members."""
        return self.members[0].policy

    @property
    def both_strands(self) -> bool:
        """Return whether the scores of all members are means over both strands."""
        return all(member.both_strands for member in self.members)

    @property
    def temperature(self) -> float:
        """Return the mean temperature of the members.

        A temperature for the mean logit cannot be fitted here, because the validation records are
        not available when sequences are scored.
        """
        return float(np.mean([member.temperature for member in self.members]))

    @property
    def threshold(self) -> float:
        """Return the mean threshold of the members."""
        return float(np.mean([member.threshold for member in self.members]))

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return probabilities of label 1 from the mean logits."""
        return expit(logits / self.temperature)


# A loaded model, or an argument of `load`
Models = Scorer | Ensemble | str | Path | Sequence[str | Path]


@overload
def load(path: str | Path, *, allow_module: str | None = None) -> Scorer:
    """Load a model folder, or a model that ships, as a scorer."""


@overload
def load(path: Sequence[str | Path], *, allow_module: str | None = None) -> Scorer | Ensemble:
    """Load several model folders as an ensemble, or a list of one as a scorer."""


def load(
    path: str | Path | Sequence[str | Path], *, allow_module: str | None = None
) -> Scorer | Ensemble:
    """Load a model folder, or several of them as an ensemble.

    The model is placed on CUDA if a device is available, otherwise on the CPU. A baseline saved by
    `evaluate`, such as `load("results/promoter/baselines/exact_positions")`, becomes a
    `BaselineScorer`. A model that ships with the package can be loaded by name, such as
    `load("promoter")`; `load("./promoter")` is a folder in the working directory.

    Parameters
    ----------
    path
        The model folder or folders.
    allow_module
        The user's module that the model names, such as "my_model:build". Its code runs, now and
        for other models of this process.

    Raises
    ------
    ModelFolderError
        If a file is missing, truncated or does not belong to the others. For several folders also
        if they differ in alphabet, objective, soft mask or gaps.
    ValueError
        If the list of folders is empty.
    """
    if allow_module:
        user_module.allow_module(allow_module)
    if isinstance(path, str | Path):
        return _load_one(path)
    if not path:
        raise ValueError("no model folder was given")
    members = tuple(_load_one(folder) for folder in path)
    if len(members) == 1:
        return members[0]
    for folder, member in zip(path, members, strict=True):
        _check_like(member, members[0], folder)
    return Ensemble(members)


def load_single(model: Models) -> Scorer:
    """Return a single model, for functions that do not accept ensembles.

    Raises
    ------
    ModelFolderError
        As for `load`.
    ValueError
        If the model is an ensemble.
    """
    scorer = model if isinstance(model, Scorer | Ensemble) else load(model)
    if isinstance(scorer, Ensemble):
        raise ValueError(
            f"an ensemble of {len(scorer.members)} models cannot be used here; pass one folder, or "
            "one member such as load([...]).members[0]"
        )
    return scorer


def _check_like(member: Scorer, first: Scorer, folder: str | Path) -> None:
    """Check that the scores of two members can be averaged."""
    if not member.objective.has_scores:
        message = (
            f"a model of objective {member.run.objective.kind!r} has no scores that could be "
            "averaged"
        )
        raise ModelFolderError(message, place=str(folder))
    if member.alphabet.name != first.alphabet.name or member.run.objective != first.run.objective:
        own, wanted = (f"{one.alphabet.name}, {one.run.objective!r}" for one in (member, first))
        message = (
            f"cannot average this model ({own}) with the first, which has another alphabet or "
            f"objective ({wanted})"
        )
        raise ModelFolderError(message, place=str(folder))
    if member.run.partner != first.run.partner:
        message = (
            f"cannot average this model (second input {member.run.partner!r}) with the first, "
            f"which has another second input ({first.run.partner!r})"
        )
        raise ModelFolderError(message, place=str(folder))
    if member.policy != first.policy:
        own, wanted = (
            f"soft_mask {one.policy.soft_mask!r}, gaps {one.policy.gaps!r}"
            for one in (member, first)
        )
        message = (
            f"cannot average this model ({own}) with the first, which reads sequences differently "
            f"({wanted})"
        )
        raise ModelFolderError(
            message,
            place=str(folder),
            hint="Train them with the same soft_mask and gaps in [data]",
        )


def _load_one(path: str | Path) -> Scorer:
    folder = folder_of(path)
    if is_baseline(folder):
        # imported here because that module imports Scorer from this one
        from selfattn_bio.scoring.baseline import BaselineScorer

        return BaselineScorer.load(folder)
    if not (folder / WEIGHTS).exists():
        _check_is_no_parent(folder)
    run, network, provenance = load_model(folder)
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    calibration = {name: provenance["calibration"][name] for name in CALIBRATION}
    sha256 = provenance["weights_sha256"]
    reference, stack = (
        load_reference(folder, tokenizer_of(run).alphabet, sha256),
        load_stack(folder, sha256),
    )
    return scorer_of(
        run, network.eval(), **calibration, reference=reference, folder=folder, stack=stack
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
                "%r is the model that ships with the package; write './%s' for the folder in the "
                "working directory",
                model,
                model,
            )
        return SHIPPED / model
    if not str(model).isidentifier() or Path(model).exists():
        return Path(model)
    message = f"there is no model folder {str(model)!r}"
    if str(model) in shipped:
        hint = f"Pass the text {str(model)!r}, not a Path, for the model that ships"
        raise ModelFolderError(message, hint=hint)
    raise ModelFolderError(
        f"{message}, and no model of this name ships with the package "
        f"(shipped: {', '.join(shipped)})"
    )

"""A trained model, or the mean of several: letters in, logits out.

Hides: batching, padding, device, temperature. Training measures valid with it; evaluation, interpretation and `score_sequences` ask it.
It is long because models of one input, of two, and means of several answer to the same names, each with its errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch.nn.functional import pad, softplus

from selfattn_bio.baselines import is_baseline
from selfattn_bio.config import PER_PLACE, PER_TOKEN, AttentionModel, BinsObjective, Data, NoExits, Objective, RunFile
from selfattn_bio.data.batches import pad_letters
from selfattn_bio.data.inputs import Pair
from selfattn_bio.errors import ArgumentError, ModelFolderError
from selfattn_bio.model.checkpoint import CALIBRATION, load_model
from selfattn_bio.model.classifier import Network, PairedNetwork, num_outputs, partner_tokenizer_of, tokenizer_of
from selfattn_bio.model.paired import OneInput
from selfattn_bio.scoring.reference import Reference, load_reference
from selfattn_bio.scoring.stack import Stack, load_stack
from selfattn_bio.sequence.alphabet import Alphabet, get_alphabet
from selfattn_bio.sequence.kmers import KmerTokenizer
from selfattn_bio.sequence.spelling import Spelling

UNLIKELY = -30.0  # logit of a place that is not there
TAKE_TWO = "score, evaluate and explain are what takes two"
NO_PAIR = f"model of two inputs must be asked with pairs of sequences, got one of each: {TAKE_TWO}"
BATCH_LETTERS = 32_768  # about 100 sequences of 300 letters: chunks of 256 took twice as long a sequence


@dataclass(frozen=True)
class Scorer:
    """A trained model, ready to score.

    Attributes
    ----------
    network
        In evaluation mode, on `device`.
    temperature, threshold
        Fitted on valid: probability = sigmoid(logit / temperature); a probability at or above the threshold is a call.
    slope
        Fitted on valid: what one logit is worth in log-odds that held-out labels bear out; of a network that tells nothing, slope x
        spread of the logits is about 2 / sqrt(records of valid).
    reference
        What its training data looked like; None of a folder that does not hold it.
    folder
        It was loaded from; None of one that was made in memory.
    """

    run: RunFile
    tokenizer: KmerTokenizer
    network: Network
    temperature: float = 1.0
    threshold: float = 0.5
    slope: float = 1.0
    reference: Reference | None = None
    folder: Path | None = None
    stack: Stack | None = None  # simple models that are combined with the network

    def __repr__(self) -> str:
        number = sum(parameter.numel() for parameter in self.network.parameters())
        stack = f", stacked with {', '.join(part.name for part in self.stack.parts)}" if self.stack else ""
        return f"Scorer of objective {self.run.objective.kind!r}, {number:,} parameters{stack}, on {self.device}"

    @property
    def members(self) -> tuple[Scorer, ...]:
        """Itself, as an ensemble of one."""
        return (self,)

    @property
    def alphabet(self) -> Alphabet:
        """Of its tokens."""
        return self.tokenizer.alphabet

    @property
    def spelling(self) -> Spelling:
        """How its training records were read, and so how all that it scores is."""
        return spelling_of(self.run.data)

    @property
    def objective(self) -> Objective:
        """Return what the model was asked in training."""
        return self.run.objective

    @property
    def both_strands(self) -> bool:
        """Return whether a score is the mean over both strands as it is."""
        return self.run.both_strands

    @property
    def shortest(self) -> int:
        """Return the length that a sequence must have."""
        return self.objective.bin if isinstance(self.objective, BinsObjective) else self.tokenizer.k

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return self.network.embedding.weight.device

    def tokens(self, letters: NDArray[np.uint8]) -> torch.Tensor:
        """ASCII letters (B, L), padded with 0 -> token ids (B, N) int64 on the device."""
        return torch.from_numpy(self.tokenizer.encode(self.alphabet.codes(letters)).astype(np.int64)).to(self.device)

    def tokens_of(self, letters: Sequence[Any]) -> torch.Tensor:
        """ASCII arrays of any length, what follows a 0 being padding -> token ids (B, N) int64 on the device, padded with 0."""
        return self.tokens(pad_letters(without_padding(letters)))

    def lengths(self, letters: Any) -> NDArray[np.int64]:
        """Letters of each sequence, (n,).

        Raises
        ------
        ValueError
            If one is shorter than the model's k.
        """
        lengths = np.array([np.count_nonzero(row) for row in letters], dtype=np.int64)
        if len(lengths) and lengths.min() < self.tokenizer.k:
            raise ValueError(f"sequences must be at least k = {self.tokenizer.k} letters long, got {lengths.min()}")
        return lengths

    def batches(
        self, letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]], batch_size: int | None = None
    ) -> Iterator[NDArray[np.int64]]:
        """Rows, longest first, in batches of `batch_size`, or of at most BATCH_LETTERS letters with their padding (one row at least).

        Raises
        ------
        ValueError
            If a sequence is shorter than the model's k, or `batch_size` below 1.
        """
        if batch_size is not None and batch_size < 1:
            raise ArgumentError(f"batch_size must be positive, got {batch_size}")
        lengths = self.lengths(letters)
        order = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(order):
            rows = order[start : start + (batch_size or max(1, BATCH_LETTERS // int(lengths[order[start]])))]
            start += len(rows)
            yield rows

    def outputs(self, letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]], batch_size: int | None = None) -> NDArray[np.float64]:
        """Outputs (n, C) of sequences of any lengths, in the order given: logits of classes or labels, numbers as trained.

        The mean over both strands where the run reads both (`RunFile.both_strands`), and of a stacked model the logit of the stack.

        Parameters
        ----------
        letters
            ASCII upper-case letters: (n, L) padded with 0 at the end, or n arrays.
        batch_size
            Sequences in one pass; as many as BATCH_LETTERS letters hold if not given.

        Raises
        ------
        ValueError
            If a sequence is shorter than the model's k, or the model's outputs are those of tokens.
        """
        if self.run.objective.kind in (*PER_TOKEN, *PER_PLACE):
            raise ValueError(f"objective must be one with outputs a sequence, got {self.run.objective.kind!r}")
        outputs = self.network_outputs(letters, batch_size).mean(1)
        if self.stack:
            outputs[:, 0] = self.stacked(outputs[:, 0], letters)
        return outputs

    def stacked(self, network: NDArray[np.float64], letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Combine logits of the network alone, (n,) or (n, members), with the stack; unchanged without one."""
        return self.stack.logits(network, without_padding(letters)) if self.stack else network

    def network_outputs(
        self, letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]], batch_size: int | None = None
    ) -> NDArray[np.float64]:
        """Outputs (n, M, C) of each member of the network alone; arguments and errors as of `outputs`."""
        return np.mean([self._strand_outputs(strand, batch_size) for strand in self._strands(letters)], axis=0)

    def _strands(self, letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8] | Sequence[NDArray[np.uint8]]]:
        """Return the strands that a score is the mean of: as given, and perhaps the other, if the network does not read it anyway."""
        if self.run.shares_strands or not self.both_strands:
            return [letters]
        return [letters, [self.alphabet.reverse_complement(row) for row in without_padding(letters)]]

    def _strand_outputs(self, letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]], batch_size: int | None) -> NDArray[np.float64]:
        """Outputs (n, M, C) of the strand that is given."""
        outputs = np.empty((len(letters), self.run.model.members, num_outputs(self.run)))
        with torch.inference_mode():
            for rows in self.batches(letters, batch_size):
                outputs[rows] = self.network(self.tokens_of([letters[i] for i in rows])).double().cpu().numpy()
        return outputs

    def token_outputs(self, letters: Sequence[NDArray[np.uint8]], batch_size: int | None = None) -> list[NDArray[np.float64]]:
        """Outputs (N, C) of each token of sequences of any lengths, of a model with outputs a token; errors as of `outputs`."""
        if self.run.objective.kind not in PER_TOKEN:
            raise ValueError(f"objective must be one with outputs a token, got {self.run.objective.kind!r}")
        outputs: list[NDArray[np.float64]] = [np.empty((0, 0))] * len(letters)
        with torch.inference_mode():
            for rows in self.batches(letters, batch_size):
                found = self.network(self.tokens_of([letters[i] for i in rows])).mean(1).double().cpu().numpy()
                for row, of_row in zip(rows, found, strict=True):
                    outputs[row] = of_row[: self.tokenizer.num_tokens(len(letters[row]))]
        return outputs

    def log_rates(self, letters: Sequence[NDArray[np.uint8]], batch_size: int | None = None) -> list[NDArray[np.float64]]:
        """Of a model of bins, log rates (whole bins, 2) of points on the forward and the reverse strand, the mean of reading both ways.

        Raises
        ------
        ValueError
            If a sequence is shorter than a bin, or the model is of another objective.
        """
        if not isinstance(self.run.objective, BinsObjective):
            raise ValueError(f"objective must be 'bins' to have rates, got {self.run.objective.kind!r}")
        size = self.run.objective.bin
        if letters and (shortest := min(map(len, letters))) < size:
            raise ValueError(f"sequences must be at least a bin of {size} letters long, got {shortest}")
        whole = [row[: len(row) // size * size] for row in letters]
        forward = self._log_rates(whole, batch_size)
        turned = self._log_rates([self.alphabet.reverse_complement(row) for row in whole], batch_size)
        return [(one + other[::-1, ::-1]) / 2 for one, other in zip(forward, turned, strict=True)]

    def _log_rates(self, letters: Sequence[NDArray[np.uint8]], batch_size: int | None) -> list[NDArray[np.float64]]:
        """As they are read."""
        size: int = self.run.objective.bin  # type: ignore[union-attr]
        found: list[NDArray[np.float64]] = [np.empty((0, 2))] * len(letters)
        with torch.inference_mode():
            for rows in self.batches(letters, batch_size):
                outputs = self.network(self.tokens_of([letters[i] for i in rows]))  # (B, M, N, 2)
                rates = rates_of_bins(outputs, size // self.run.pitch, len(letters[rows[0]]) // size)  # the longest comes first
                for row, of_row in zip(rows, rates.log().mean(1).double().cpu().numpy(), strict=True):
                    found[row] = of_row[: len(letters[row]) // size]
        return found

    def logits(self, letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Logits of label 1, (n,), of a model of positives against negatives; arguments and errors as of `outputs`."""
        if self.run.objective.kind != "binary":
            raise ValueError(f"objective must be binary to have one logit a sequence, got {self.run.objective.kind!r}")
        return self.outputs(letters)[:, 0]

    def log_odds(self, letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Log-odds of label 1 but for a constant: logit x slope, (B,); arguments and errors as of `logits`. For differences."""
        return self.logits(letters) * self.slope

    def member_log_odds(self, letters: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """`log_odds` of each of the M networks of `[model] members` that are trained side by side, (n, M); `log_odds` is their mean."""
        logits = self.network_outputs(letters)[:, :, 0]
        return self.stacked(logits, letters) * self.slope

    def readings(self, letters: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Of a model with exits what the head says after each of E blocks, (n, M, E, C), by member.

        A model that reads both strands has (n, 2 M, E, C): each member reads each strand, and a score is the mean over all of them.

        Raises
        ------
        ValueError
            If the model has no exits, or a sequence is shorter than its k.
        """
        model = self.run.model
        if not isinstance(model, AttentionModel) or isinstance(model.exits, NoExits):
            raise ValueError("model must have exits (model.exits) to be read after each block, got none")
        return np.concatenate([self._of_blocks(self.network.readings, strand) for strand in self._strands(letters)], axis=1)

    def depths(self, letters: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Blocks of the encoder that each sequence goes through, the mean over the members and the strands they read, (n,).

        Raises
        ------
        ValueError
            If the model is of a kind without blocks, or of two inputs, or a sequence is shorter than its k.
        """
        if not isinstance(self.run.model, AttentionModel):
            raise ValueError(f"model must be of kind 'attention' to have blocks, got {self.run.model.kind!r}")
        return np.concatenate([self._of_blocks(self.network.depths, strand) for strand in self._strands(letters)], axis=1).mean(axis=1)

    def _of_blocks(
        self, read: Callable[[torch.Tensor], torch.Tensor], letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
    ) -> NDArray[np.float64]:
        """Return what `read` says of the tokens of each sequence as it is, (n, M, ...)."""
        found: list[NDArray[np.float64]] = [np.empty(0)] * len(letters)
        with torch.inference_mode():
            for rows in self.batches(letters):
                for row, of_row in zip(rows, read(self.tokens_of([letters[i] for i in rows])).double().cpu().numpy(), strict=True):
                    found[row] = of_row
        return np.stack(found)

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probabilities of label 1."""
        return expit(logits / self.temperature)


@dataclass(frozen=True)
class PairedScorer(Scorer):
    """A model of two inputs: where one of one input is asked with letters, it is asked with a `Pair` of each record.

    What asks it otherwise is refused. `of_first` and `of_partner` are the same model with one of its inputs held fixed, as a `Scorer` of
    the other: that is how methods of interpretation, which know one input, explain both.
    """

    @property
    def partner_tokenizer(self) -> KmerTokenizer:
        """Of the second input."""
        return partner_tokenizer_of(self.run)

    @property
    def partner_spelling(self) -> Spelling:
        """How the letters of the second input are read."""
        return Spelling(self.partner_tokenizer.alphabet)

    def tokens(self, letters: NDArray[np.uint8]) -> torch.Tensor:
        """Refused.

        Raises
        ------
        ArgumentError
            Always: its letters are those of one input.
        """
        raise ArgumentError(NO_PAIR)

    def tokens_of(self, letters: Sequence[Any]) -> torch.Tensor:
        """Pairs of ASCII arrays of any lengths -> token ids (B, N1 + N2), as `model.paired` says."""
        network = self.network
        assert isinstance(network, PairedNetwork)
        first, partner = _sides(letters)
        return network.joined(super().tokens(pad_letters(first)), self._encoded_partners(partner))

    def lengths(self, letters: Any) -> NDArray[np.int64]:
        """Letters of both inputs of each pair, (n,); errors as of `Scorer.lengths`."""
        first, partner = _sides(letters)
        lengths, k = np.array([len(row) for row in partner], dtype=np.int64), self.partner_tokenizer.k
        if len(lengths) and lengths.min() < k:
            raise ValueError(f"partners must be at least k = {k} letters long, got {lengths.min()}")
        return super().lengths(first) + lengths

    def of_first(self, partners: Sequence[NDArray[np.uint8]]) -> Scorer:
        """The model as one of the first input: each row of what it is asked has the partner of that row, or all have the only one."""
        network = self.network
        assert isinstance(network, PairedNetwork)
        return self._of_one(self.tokenizer, OneInput(network, network.of_partner(self._encoded_partners(list(partners))), partner=False))

    def of_partner(self, first: Sequence[NDArray[np.uint8]]) -> Scorer:
        """The model as one of the second input, as `of_first`."""
        return self._of_one(self.partner_tokenizer, OneInput(self.network, super().tokens(pad_letters(list(first))), partner=True))

    def _of_one(self, tokenizer: KmerTokenizer, network: OneInput) -> Scorer:
        return Scorer(self.run, tokenizer, network.eval(), self.temperature, self.threshold, self.slope)  # type: ignore[arg-type]

    def _encoded_partners(self, letters: list[NDArray[np.uint8]]) -> torch.Tensor:
        """ASCII arrays -> token ids (B, N2), as the partner's tokenizer numbers them."""
        tokenizer = self.partner_tokenizer
        return torch.from_numpy(tokenizer.encode(tokenizer.alphabet.codes(pad_letters(letters))).astype(np.int64)).to(self.device)


def _sides(pairs: Sequence[Any]) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """The first and the second inputs.

    Raises
    ------
    ArgumentError
        If one is no pair.
    """
    if any(not isinstance(pair, Pair) for pair in pairs):
        raise ArgumentError(NO_PAIR)
    return [pair.first for pair in pairs], [pair.partner for pair in pairs]


def without_padding(letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """ASCII arrays of any lengths without the zeros at their ends."""
    return [row[: np.count_nonzero(row)] for row in letters]


def spelling_of(data: Data) -> Spelling:
    """Return how the records of [data] are read: a mask that is kept lies next to the letters."""
    return Spelling(get_alphabet(data.alphabet), "hard" if data.soft_mask == "hard" else "ignore", data.gaps)


def scorer_of(run: RunFile, network: Network, **more: Any) -> Scorer:
    """The scorer of a network, of two inputs or one; `more` are the other attributes of `Scorer`."""
    kind = PairedScorer if isinstance(network, PairedNetwork) else Scorer
    return kind(run, tokenizer_of(run), network, **more)


def check_one_input(scorer: Scorer | Ensemble, what: str) -> None:
    """Refuse a model of two inputs where one is asked for.

    Raises
    ------
    ArgumentError
        If it is one.
    """
    if any(isinstance(member, PairedScorer) for member in scorer.members):
        raise ArgumentError(f"{what} must be asked of a model of one input, got one of two (kind 'paired'): {TAKE_TWO}")


def rates_of_bins(outputs: torch.Tensor, places: int, bins: int) -> torch.Tensor:
    """Logits (..., N, C) of places -> (..., bins, C) in float32: of each bin of so many places -log of the chance that none holds a point.

    The chances of places are taken as independent (noisy-or), so that their rates add up.
    """
    missing = bins * places - outputs.shape[-2]
    outputs = pad(outputs.float(), (0, 0, 0, missing), value=UNLIKELY)  # a k-mer ends before its letter does; what is over is cut off
    return softplus(outputs).unflatten(-2, (bins, places)).sum(-2).clamp(min=1e-9)


@dataclass(frozen=True)
class Ensemble:
    """Several models of one question, such as the members of a run with `seeds`: what they say is averaged.

    Attributes
    ----------
    members
        Two or more, of one spelling (alphabet, soft mask, gaps) and one objective.
    """

    members: tuple[Scorer, ...]

    @property
    def run(self) -> RunFile:
        """Of the first member."""
        return self.members[0].run

    @property
    def objective(self) -> Objective:
        """Return that of the members."""
        return self.members[0].objective

    @property
    def alphabet(self) -> Alphabet:
        """Of all members."""
        return self.members[0].alphabet

    @property
    def spelling(self) -> Spelling:
        """Of all members."""
        return self.members[0].spelling

    @property
    def both_strands(self) -> bool:
        """Return whether the scores of all members are means over both strands."""
        return all(member.both_strands for member in self.members)

    @property
    def temperature(self) -> float:
        """The members' mean: valid, on which another could be fitted to the mean logit, is not at hand where sequences are scored."""
        return float(np.mean([member.temperature for member in self.members]))

    @property
    def threshold(self) -> float:
        """The members' mean, as the temperature."""
        return float(np.mean([member.threshold for member in self.members]))

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities of label 1, of the mean logits."""
        return expit(logits / self.temperature)


Models = Scorer | Ensemble | str | Path | Sequence[str | Path]  # what was loaded, or what `load` takes


@overload
def load(path: str | Path) -> Scorer: ...
@overload
def load(path: Sequence[str | Path]) -> Scorer | Ensemble: ...
def load(path: str | Path | Sequence[str | Path]) -> Scorer | Ensemble:
    """Load a model folder, on CUDA if there is a device, else on the CPU; several folders are loaded as an ensemble.

    A baseline that `evaluate` saved, as `load("results/promoter/baselines/exact_positions")`, is loaded as a `BaselineScorer`.

    The name of a model that ships, as `load("promoter")`, is its folder, unless there is a folder of that name here.

    Raises
    ------
    ModelFolderError
        If a part is missing, truncated, or does not belong to the others; of several, if they differ in alphabet, objective, soft mask or
        gaps.
    """
    if isinstance(path, str | Path):
        return _load_one(path)
    if not path:
        raise ValueError("model folders must be one or more, got none")
    members = tuple(_load_one(folder) for folder in path)
    if len(members) == 1:
        return members[0]
    for folder, member in zip(path, members, strict=True):
        _check_like(member, members[0], folder)
    return Ensemble(members)


def load_single(model: Models) -> Scorer:
    """The one model that is named or given, for what cannot be asked of several.

    Raises
    ------
    ModelFolderError
        As of `load`.
    ValueError
        If it is several.
    """
    scorer = model if isinstance(model, Scorer | Ensemble) else load(model)
    if isinstance(scorer, Ensemble):
        raise ValueError(
            f"model must be a single one, got {len(scorer.members)}: pass one folder, or one member, as load([...]).members[0]"
        )
    return scorer


def _check_like(member: Scorer, first: Scorer, folder: str | Path) -> None:
    """Refuse to average scores of different things."""
    if member.run.objective.kind in ("masked", "causal"):
        message = f"models that are averaged must have scores, got one of objective {member.run.objective.kind!r}"
        raise ModelFolderError(message, place=str(folder))
    if member.alphabet.name != first.alphabet.name or member.run.objective != first.run.objective:
        own, wanted = (f"{one.alphabet.name}, {one.run.objective!r}" for one in (member, first))
        message = f"models that are averaged must have the alphabet and objective of the first ({wanted}), got {own}"
        raise ModelFolderError(message, place=str(folder))
    if member.run.partner != first.run.partner:
        message = f"models that are averaged must have the second input of the first ({first.run.partner!r}), got {member.run.partner!r}"
        raise ModelFolderError(message, place=str(folder))
    if member.spelling != first.spelling:
        own, wanted = (f"soft_mask {one.spelling.soft_mask!r}, gaps {one.spelling.gaps!r}" for one in (member, first))
        message = f"models that are averaged must read letters as the first ({wanted}), got {own}"
        raise ModelFolderError(message, place=str(folder), cure="Train them on one spelling: soft_mask and gaps in [data]")


def _load_one(path: str | Path) -> Scorer:
    folder = folder_of(path)
    if is_baseline(folder):
        from selfattn_bio.scoring.baseline import BaselineScorer  # which is a Scorer

        return BaselineScorer.load(folder)
    run, network, provenance = load_model(folder)
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    calibration = {name: provenance["calibration"][name] for name in CALIBRATION}
    sha256 = provenance["weights_sha256"]
    reference, stack = load_reference(folder, tokenizer_of(run).alphabet, sha256), load_stack(folder, sha256)
    return scorer_of(run, network.eval(), **calibration, reference=reference, folder=folder, stack=stack)


def folder_of(path: str | Path) -> Path:
    """The folder of a model that is named by its path, or of one that ships by its name.

    Raises
    ------
    ModelFolderError
        If it is a bare name, and neither a folder here nor a model that ships.
    """
    shipped = Path(str(resources.files("selfattn_bio"))) / "models"
    if not str(path).isidentifier() or Path(path).exists():
        return Path(path)
    if not (shipped / path).is_dir():
        known = ", ".join(sorted(folder.name for folder in shipped.glob("[a-z]*")))
        raise ModelFolderError(f"model must be a folder, or one of those that ship ({known}), got {str(path)!r}")
    return shipped / path

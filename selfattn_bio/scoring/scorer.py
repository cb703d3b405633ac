"""Score any sequence with a trained model, or the mean of several: letters in, logits out.

Hides: batching, padding, device, temperature, strands. Training measures valid with it; evaluation, interpretation and users score.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence, Set, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import expit

from selfattn_bio.config import (
    PER_TOKEN,
    BinaryObjective,
    LabelsObjective,
    MulticlassObjective,
    Objective,
    RegressionObjective,
    RunFile,
    SeveralObjective,
)
from selfattn_bio.data.batches import pad_letters
from selfattn_bio.errors import ModelFolderError, SequenceFileError
from selfattn_bio.evaluation.measures import predictions_of
from selfattn_bio.evaluation.summary import spread
from selfattn_bio.model.checkpoint import load_model
from selfattn_bio.model.classifier import Network, num_outputs, tokenizer_of
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.kmers import KmerTokenizer
from selfattn_bio.sequence.readers import read_records
from selfattn_bio.sequence.records import letters_of

LONGEST_NAME = 255  # bytes of a file's name: a longer string is none
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
    """

    run: RunFile
    tokenizer: KmerTokenizer
    network: Network
    temperature: float = 1.0
    threshold: float = 0.5
    slope: float = 1.0

    def __repr__(self) -> str:
        number = sum(parameter.numel() for parameter in self.network.parameters())
        return f"Scorer of objective {self.run.objective.kind!r}, {number:,} parameters, on {self.device}"

    @property
    def members(self) -> tuple[Scorer, ...]:
        """Itself, as an ensemble of one."""
        return (self,)

    @property
    def alphabet(self) -> Alphabet:
        """Of its tokens."""
        return self.tokenizer.alphabet

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return self.network.embedding.weight.device

    def tokens(self, letters: NDArray[np.uint8]) -> torch.Tensor:
        """ASCII letters (B, L), padded with 0 -> token ids (B, N) int64 on the device."""
        return torch.from_numpy(self.tokenizer.encode(self.alphabet.codes(letters)).astype(np.int64)).to(self.device)

    def tokens_of(self, letters: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        """ASCII arrays of any length -> token ids (B, N) int64 on the device, padded with 0."""
        return self.tokens(pad_letters(list(letters)))

    def batches(self, letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> Iterator[NDArray[np.int64]]:
        """Rows, longest first, in batches of at most BATCH_LETTERS letters with their padding (one row at least).

        Raises
        ------
        ValueError
            If a sequence is shorter than the model's k.
        """
        lengths = np.array([np.count_nonzero(row) for row in letters])
        if len(lengths) and lengths.min() < self.tokenizer.k:
            raise ValueError(f"sequences must be at least k = {self.tokenizer.k} letters long, got {lengths.min()}")
        order = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(order):
            rows = order[start : start + max(1, BATCH_LETTERS // int(lengths[order[start]]))]
            start += len(rows)
            yield rows

    def outputs(self, letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Outputs (n, C) of sequences of any lengths, in the order given: logits of classes or labels, numbers as trained.

        Parameters
        ----------
        letters
            ASCII upper-case letters: (n, L) padded with 0 at the end, or n arrays.

        Raises
        ------
        ValueError
            If a sequence is shorter than the model's k, or the model's outputs are those of tokens.
        """
        if self.run.objective.kind in PER_TOKEN:
            raise ValueError(f"objective must be one with outputs a sequence, got {self.run.objective.kind!r}")
        outputs = np.empty((len(letters), num_outputs(self.run)))
        with torch.inference_mode():
            for rows in self.batches(letters):
                tokens = self.tokens_of([letters[i][: np.count_nonzero(letters[i])] for i in rows])
                outputs[rows] = self.network(tokens).mean(1).double().cpu().numpy()
        return outputs

    def token_outputs(self, letters: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float64]]:
        """Outputs (N, C) of each token of sequences of any lengths, of a model with outputs a token; errors as of `outputs`."""
        if self.run.objective.kind not in PER_TOKEN:
            raise ValueError(f"objective must be one with outputs a token, got {self.run.objective.kind!r}")
        outputs: list[NDArray[np.float64]] = [np.empty((0, 0))] * len(letters)
        with torch.inference_mode():
            for rows in self.batches(letters):
                found = self.network(self.tokens_of([letters[i] for i in rows])).mean(1).double().cpu().numpy()
                for row, of_row in zip(rows, found, strict=True):
                    outputs[row] = of_row[: self.tokenizer.num_tokens(len(letters[row]))]
        return outputs

    def logits(self, letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Logits of label 1, (n,), of a model of positives against negatives; arguments and errors as of `outputs`."""
        if self.run.objective.kind != "binary":
            raise ValueError(f"objective must be binary to have one logit a sequence, got {self.run.objective.kind!r}")
        return self.outputs(letters)[:, 0]

    def log_odds(self, letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Log-odds of label 1 but for a constant: logit x slope, (B,); arguments and errors as of `logits`. For differences."""
        return self.logits(letters) * self.slope

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probabilities of label 1."""
        return expit(logits / self.temperature)


@dataclass(frozen=True)
class Ensemble:
    """Several models of one question, such as the members of a run with `seeds`: what they say is averaged.

    Attributes
    ----------
    members
        Two or more, of one alphabet and one objective.
    """

    members: tuple[Scorer, ...]

    @property
    def run(self) -> RunFile:
        """Of the first member."""
        return self.members[0].run

    @property
    def alphabet(self) -> Alphabet:
        """Of all members."""
        return self.members[0].alphabet

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


@overload
def load(path: str | Path) -> Scorer: ...
@overload
def load(path: Sequence[str | Path]) -> Scorer | Ensemble: ...
def load(path: str | Path | Sequence[str | Path]) -> Scorer | Ensemble:
    """Load a model folder, on CUDA if there is a device, else on the CPU; several folders are loaded as an ensemble.

    Raises
    ------
    ModelFolderError
        If a part is missing, truncated, or does not belong to the others; of several, if they differ in alphabet or objective.
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


def load_single(model: Scorer | Ensemble | str | Path | Sequence[str | Path]) -> Scorer:
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


def _load_one(path: str | Path) -> Scorer:
    run, network, provenance = load_model(path)
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = tokenizer_of(run)
    calibration = provenance["calibration"]
    return Scorer(run, tokenizer, network.eval(), **calibration)


def score_sequences(
    model: Scorer | Ensemble | str | Path | Sequence[str | Path], sequences: Sequence[str] | str | Path, *, rc: bool = False
) -> pd.DataFrame:
    """Score strings or a FASTA file with a model of any objective that says something of a sequence or its letters.

    `score_sequences("results/promoter/model", ["ACGT..."])` gives one row, id "0".

    Parameters
    ----------
    model
        A model folder, several of them whose outputs are averaged, or what `load` returned.
    sequences
        Strings, or the path of a FASTA file (plain, gz, bgzip); lower case and U are read as upper case and T.
    rc
        Average the outputs of both strands (DNA only; not of labels a letter).

    Returns
    -------
    One row a sequence, in the order given: id (header or number), then by objective
    binary: logit, probability (calibrated), predicted (the label: 1 from the threshold on that was fitted on valid, else 0);
    multiclass: predicted, probability_CLASS of each; multilabel: probability_COLUMN of each; regression: each column;
    several: those of each part, as PART.COLUMN; labels: predicted, text as long as the sequence; masked and causal models score no
    sequences.
    Of several models also how far they differ, the standard deviation over them: binary: spread, of the logit; multiclass: spread_CLASS,
    multilabel and regression: spread_COLUMN, of what the column of that name holds; labels: none.

    Raises
    ------
    SequenceFileError
        If the file is malformed, a letter is outside the alphabet, or a record is shorter than a model's k.
    ModelFolderError
        As of `load`.
    ValueError
        If one of a list is so, a string is given alone and names no file, or `rc` is asked of an alphabet without
        complement or of labels a letter.
    """
    scorer = model if isinstance(model, Scorer | Ensemble) else load(model)
    ids, letters = read_sequences(scorer.alphabet, sequences, max(member.tokenizer.k for member in scorer.members))
    objective = scorer.run.objective
    if isinstance(objective, LabelsObjective):
        if rc:
            raise ValueError("rc must be false for labels a letter, got true: the other strand has other letters")
        of_members = [member.token_outputs(letters) for member in scorer.members]
        best = [predictions_of(objective, np.mean(rows, axis=0)).argmax(-1) for rows in zip(*of_members, strict=True)]
        return pd.DataFrame({"id": ids, "predicted": ["".join(objective.classes[i] for i in row) for row in best]})
    outputs = np.stack([_outputs(member, letters, rc) for member in scorer.members])  # (M, n, C)
    mean = outputs.mean(axis=0)
    if isinstance(objective, BinaryObjective):
        probability = scorer.probabilities(mean[:, 0])
        columns = {"logit": mean[:, 0], "probability": probability, "predicted": (probability >= scorer.threshold).astype(int)}
        return pd.DataFrame({"id": ids, **columns, **_spreads({"spread": outputs[..., 0]})})
    return pd.DataFrame({"id": ids, **_said(objective, predictions_of(objective, mean), predictions_of(objective, outputs))})


def _said(objective: Objective, predicted: NDArray[np.float64], each: NDArray[np.float64]) -> dict[str, Any]:
    """Columns of a table of what is predicted, (n, C), and of each member (M, n, C); those of a part of several begin with its name."""
    if isinstance(objective, SeveralObjective):
        of_parts = {name: _said(objective.parts[name], predicted[:, of], each[..., of]) for name, of in objective.places().items()}
        return {f"{name}.{column}": values for name, of_part in of_parts.items() for column, values in of_part.items()}
    names, called = objective.output_names, isinstance(objective, MulticlassObjective)
    prefix = "" if isinstance(objective, RegressionObjective) else "probability_"
    found = {"predicted": [names[i] for i in predicted.argmax(axis=1)]} if called else {}
    values = {prefix + name: predicted[:, i] for i, name in enumerate(names)}
    return found | values | _spreads({f"spread_{name}": each[..., i] for i, name in enumerate(names)})


def _outputs(scorer: Scorer, letters: Sequence[NDArray[np.uint8]], rc: bool) -> NDArray[np.float64]:
    """(n, C) outputs, or the mean of both strands'."""
    outputs = scorer.outputs(letters)
    if rc:
        outputs = (outputs + scorer.outputs([scorer.alphabet.reverse_complement(row) for row in letters])) / 2
    return outputs


def _spreads(values: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Column -> (M, n) values of the members -> (n,) their standard deviation; no column of a single model."""
    return {name: spread(of_members) for name, of_members in values.items() if len(of_members) > 1}


def read_sequences(alphabet: Alphabet, sequences: Sequence[str] | str | Path, k: int) -> tuple[list[str], list[NDArray[np.uint8]]]:
    """Ids and ASCII letters of strings (numbered from 0) or of a FASTA file, none of fewer than `k` letters."""
    rule = "sequences must be a list of strings or the path of a FASTA file"
    if isinstance(sequences, str) and not os.path.exists(sequences) and (len(sequences) > LONGEST_NAME or "." not in sequences):
        shown = sequences if len(sequences) <= 12 else f"{sequences[:12]}..."
        raise ValueError(f"{rule}, got {shown!r}, which is no file: write letters as a list, [{sequences[:8]!r}...]")
    if isinstance(sequences, str | Path):
        records = list(read_records(sequences, alphabet))
        for record in records:
            if len(record.letters) < k:
                message = f"sequences must be at least k = {k} letters long, got {len(record.letters)} in record {record.id!r}"
                raise SequenceFileError(message, place=str(sequences))
        return [record.id for record in records], [record.letters for record in records]
    if isinstance(sequences, Mapping | Set) or not isinstance(sequences, Sized):
        raise ValueError(f"{rule}, got {type(sequences).__name__}")
    if foreign := [type(text).__name__ for text in sequences if not isinstance(text, str)]:
        raise ValueError(f"{rule}, got {type(sequences).__name__} of {foreign[0]}")
    letters = [letters_of(text, alphabet, f"sequence {i} (counted from 0)") for i, text in enumerate(sequences)]
    for i, row in enumerate(letters):
        if len(row) < k:
            raise ValueError(f"sequences must be at least k = {k} letters long, got {len(row)} in sequence {i} (counted from 0)")
    return [str(i) for i in range(len(letters))], letters

"""Score any sequence with a trained model: letters in, logits out.

Hides: batching, padding, device, temperature, strands. Training measures valid with it; evaluation, interpretation and users score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import expit

from selfattn_bio.config import PER_TOKEN, LabelsObjective, MulticlassObjective, MultilabelObjective, RegressionObjective, RunFile
from selfattn_bio.data.batches import pad_letters
from selfattn_bio.evaluation.measures import predictions_of
from selfattn_bio.model.checkpoint import load_model
from selfattn_bio.model.classifier import Network, num_outputs, tokenizer_of
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.kmers import KmerTokenizer
from selfattn_bio.sequence.records import letters_of, read_fasta

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
        Fitted on valid: what one logit is worth in log-odds that held-out labels bear out; about 0 for a network that tells nothing.
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


def load(path: str | Path) -> Scorer:
    """Load a model folder, on CUDA if there is a device, else on the CPU.

    Raises
    ------
    ModelFolderError
        If a part is missing, truncated, or does not belong to the others.
    """
    run, network, provenance = load_model(path)
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = tokenizer_of(run)
    calibration = provenance["calibration"]
    return Scorer(run, tokenizer, network.eval(), **calibration)


def score_sequences(model: Scorer | str | Path, sequences: Sequence[str] | str | Path, *, rc: bool = False) -> pd.DataFrame:
    """Score strings or a FASTA file with a model of any objective that says something of a sequence or its letters.

    `score_sequences("results/promoter/model", ["ACGT..."])` gives one row, id "0".

    Parameters
    ----------
    model
        A model folder, or what `load` returned.
    sequences
        Strings, or the path of a FASTA file (plain, gz, bgzip); lower case and U are read as upper case and T.
    rc
        Average the outputs of both strands (DNA only; not of labels a letter).

    Returns
    -------
    One row a sequence, in the order given: id (header or number), then by objective
    binary: logit, probability (calibrated); multiclass: predicted, probability_CLASS of each; multilabel: probability_COLUMN of each;
    regression: each column; labels: predicted, text as long as the sequence; masked and causal models score no sequences.

    Raises
    ------
    SequenceFileError
        If the file is malformed or a letter is outside the alphabet.
    ValueError
        If a sequence is shorter than the model's k, or `rc` is asked of an alphabet without complement or of labels a letter.
    """
    scorer = model if isinstance(model, Scorer) else load(model)
    ids, letters = read_sequences(scorer.alphabet, sequences)
    objective = scorer.run.objective
    if isinstance(objective, LabelsObjective):
        if rc:
            raise ValueError("rc must be false for labels a letter, got true: the other strand has other letters")
        called = [predictions_of(objective, outputs).argmax(-1) for outputs in scorer.token_outputs(letters)]
        return pd.DataFrame({"id": ids, "predicted": ["".join(objective.classes[i] for i in row) for row in called]})
    outputs = scorer.outputs(letters)
    if rc:
        outputs = (outputs + scorer.outputs([scorer.alphabet.reverse_complement(row) for row in letters])) / 2
    match objective:
        case MulticlassObjective(classes=classes):
            predicted = predictions_of(objective, outputs)
            columns = {"predicted": [classes[i] for i in predicted.argmax(axis=1)]}
            return pd.DataFrame({"id": ids, **columns, **dict(zip((f"probability_{name}" for name in classes), predicted.T, strict=True))})
        case MultilabelObjective(columns=names) | RegressionObjective(columns=names):
            prefix = "probability_" if isinstance(objective, MultilabelObjective) else ""
            predicted = predictions_of(objective, outputs)
            return pd.DataFrame({"id": ids, **dict(zip((prefix + name for name in names), predicted.T, strict=True))})
        case _:
            logits = outputs[:, 0]
            return pd.DataFrame({"id": ids, "logit": logits, "probability": scorer.probabilities(logits)})


def read_sequences(alphabet: Alphabet, sequences: Sequence[str] | str | Path) -> tuple[list[str], list[NDArray[np.uint8]]]:
    """Ids and ASCII letters of strings (numbered from 0) or of a FASTA file."""
    if isinstance(sequences, str) and not Path(sequences[:255]).exists() and set(sequences.encode()) <= set(alphabet.readable):
        raise ValueError(f"sequences must be a list of strings or the path of a FASTA file, got letters: write [{sequences[:8]!r}...]")
    if isinstance(sequences, str | Path):
        records = list(read_fasta(sequences, alphabet))
        return [record.id for record in records], [record.letters for record in records]
    return [str(i) for i in range(len(sequences))], [letters_of(text, alphabet) for text in sequences]

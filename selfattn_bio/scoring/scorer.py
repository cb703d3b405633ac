"""Score any sequence with a trained model: letters in, logits out.

Hides: batching, padding, device, temperature, strands. Training measures valid with it; evaluation, interpretation and users score.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import expit

from selfattn_bio.config import RunFile
from selfattn_bio.data.batches import pad_letters
from selfattn_bio.model.checkpoint import load_model
from selfattn_bio.model.classifier import Network, tokenizer_of
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

    def logits(self, letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Score sequences of any lengths.

        Parameters
        ----------
        letters
            ASCII upper-case letters: (B, L) padded with 0 at the end, or B arrays.

        Returns
        -------
        (B,) logits of label 1, in the order given.

        Raises
        ------
        ValueError
            If a sequence is shorter than the model's k.
        """
        lengths = np.array([np.count_nonzero(row) for row in letters])
        if len(lengths) and lengths.min() < self.tokenizer.k:
            raise ValueError(f"sequences must be at least k = {self.tokenizer.k} letters long, got {lengths.min()}")
        logits = np.empty(len(lengths))
        with torch.inference_mode():
            for rows in _batches(lengths):
                batch = pad_letters([letters[i][: lengths[i]] for i in rows])
                logits[rows] = self.network(self.tokens(batch)).mean(1).double().cpu().numpy()
        return logits

    def log_odds(self, letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Log-odds of label 1 but for a constant: logit x slope, (B,); arguments and errors as of `logits`. For differences."""
        return self.logits(letters) * self.slope

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probabilities of label 1."""
        return expit(logits / self.temperature)


def _batches(lengths: NDArray[np.int64]) -> Iterable[NDArray[np.int64]]:
    """Rows, longest first, in batches of at most BATCH_LETTERS letters with their padding (one row at least)."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        rows = order[start : start + max(1, BATCH_LETTERS // int(lengths[order[start]]))]
        start += len(rows)
        yield rows


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
    """Score strings or a FASTA file.

    `score_sequences("results/promoter/model", ["ACGT..."])` gives one row, id "0".

    Parameters
    ----------
    model
        A model folder, or what `load` returned.
    sequences
        Strings, or the path of a FASTA file (plain, gz, bgzip); lower case and U are read as upper case and T.
    rc
        Average the logits of both strands (DNA only).

    Returns
    -------
    One row a sequence, in the order given: id (header or number), logit, probability (calibrated).

    Raises
    ------
    SequenceFileError
        If the file is malformed or a letter is outside the alphabet.
    ValueError
        If a sequence is shorter than the model's k, or `rc` is asked of an alphabet without complement.
    """
    scorer = model if isinstance(model, Scorer) else load(model)
    ids, letters = read_sequences(scorer.alphabet, sequences)
    logits = scorer.logits(letters)
    if rc:
        logits = (logits + scorer.logits([scorer.alphabet.reverse_complement(row) for row in letters])) / 2
    return pd.DataFrame({"id": ids, "logit": logits, "probability": scorer.probabilities(logits)})


def read_sequences(alphabet: Alphabet, sequences: Sequence[str] | str | Path) -> tuple[list[str], list[NDArray[np.uint8]]]:
    """Ids and ASCII letters of strings (numbered from 0) or of a FASTA file."""
    if isinstance(sequences, str | Path):
        records = list(read_fasta(sequences, alphabet))
        return [record.id for record in records], [record.letters for record in records]
    return [str(i) for i in range(len(sequences))], [letters_of(text, alphabet) for text in sequences]

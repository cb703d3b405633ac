"""Published language models without labels: embeddings, probabilities of letters, substitutions.

`model.pretrained` reads their folders. To train such a model on your labels, use [model] kind =
"pretrained".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from selfattn_bio.arrays import Floats, Scores
from selfattn_bio.errors import ArgumentError
from selfattn_bio.model.checkpoint import RUN
from selfattn_bio.model.pretrained.folder import CONFIG
from selfattn_bio.model.pretrained.network import BATCH_LETTERS, PublishedModel
from selfattn_bio.model.pretrained.vocabulary import KmerVocabulary, Pieces
from selfattn_bio.scoring.embedding import Embeddings
from selfattn_bio.scoring.inputs import Inputs, read_sequences
from selfattn_bio.sequence.kmers import MASK
from selfattn_bio.sequence.policy import SequencePolicy


def load_pretrained(folder: str | Path) -> LanguageModel:
    """Load a published language model, for use without training.

    `load_pretrained("esm2").score_substitutions("MKTAYIAK")` are log ratios of probabilities.

    Parameters
    ----------
    folder
        Folder with config.json, safetensors and the files of the tokenizer. Nothing is downloaded,
        and no code of the folder runs.

    Raises
    ------
    ModelFolderError
        If a file is missing or damaged, or the model needs code of its own.
    """
    return LanguageModel.open(Path(folder), head=True)


def is_published(folder: str | Path) -> bool:
    """Return whether a folder is one of a published model, not one that this package trained."""
    return (Path(folder) / CONFIG).is_file() and not (Path(folder) / RUN).exists()


class LanguageModel(PublishedModel):
    """A published language model, the result of `load_pretrained`.

    Attributes
    ----------
    folder
        Its folder.
    alphabet
        Alphabet of its sequences.
    vocabulary
        Its tokens: `vocabulary(tokens)` maps a token per letter, (B, N), to `Pieces`.
    module
        The network, in evaluation mode: `module(pieces)` are vectors (B, M, D).
    """

    def __repr__(self) -> str:
        number = sum(weight.numel() for weight in self.module.parameters())
        return f"LanguageModel {self.folder.name!r} of {self.alphabet.name}, {number:,} parameters"

    def embed(self, sequences: Inputs, *, per_letter: bool = False) -> Embeddings:
        """Return the mean vector of each sequence, or the vector of each letter.

        Parameters
        ----------
        sequences
            As for `score_sequences`.
        per_letter
            Return the vector of the token that covers each letter.

        Raises
        ------
        SequenceFileError, ValueError
            As for `score_sequences`.
        """
        ids, letters = read_sequences(self._policy, sequences, self.vocabulary.shortest)
        found = self.vectors(letters, per_letter=per_letter)
        empty: Scores = np.empty((0, self.module.embed_dim), np.float32)
        table = pd.DataFrame({"id": np.repeat(np.array(ids, object), list(map(len, found)))})
        if per_letter:
            starts = np.concatenate([np.arange(len(each)) for each in (*found, empty)])
            table["start"], table["end"] = starts, starts + 1
        return Embeddings(table, np.concatenate([*found, empty]))

    def log_probabilities(self, sequence: str, *, masked: bool = True) -> Floats:
        """Return the log probability of each letter at each position, (L, A).

        Where tokens are k-mers, it is that of the k-mer with the letter, all others as they are.

        Parameters
        ----------
        sequence
            Letters of the alphabet.
        masked
            Mask the token at the position (masked marginals), with one row per token. False reads
            all positions from the unchanged sequence (wild-type marginals).

        Raises
        ------
        ArgumentError
            If the model has no masked language model, its tokens overlap or vary in length, or the
            sequence has more tokens than it reads.

        References
        ----------
        Meier et al. 2021.
        """
        letters = self._policy.letters_of(sequence)
        tokens = self.tokens([letters])
        pieces, log_p = self._of_tokens(tokens, masked=masked)
        assert isinstance(self.vocabulary, KmerVocabulary)  # otherwise _of_tokens raised
        return self.vocabulary.log_p_of_letters(tokens[0], pieces, log_p).double().numpy()

    def perplexity(self, sequences: Inputs) -> pd.DataFrame:
        """Return the pseudo-perplexity of each sequence: exp of minus the mean masked log p.

        The table has the columns id and perplexity. Errors are those of `log_probabilities`, and of
        reading the sequences.

        References
        ----------
        Salazar et al. 2020.
        """
        ids, letters = read_sequences(self._policy, sequences, 1)
        values = []
        for row in letters:
            pieces, log_p = self._of_tokens(self.tokens([row]), masked=True)
            observed = log_p.gather(1, pieces.ids[pieces.inside][:, None])
            values.append(float(observed.mean().neg().exp()))
        return pd.DataFrame({"id": ids, "perplexity": values})

    def score_substitutions(self, sequence: str, *, masked: bool = True) -> Floats:
        """Return log p(letter) - log p(observed letter) at each position, (L, A).

        Parameters and errors are those of `log_probabilities`. Positions with an ambiguous letter
        are NaN.
        """
        log_p = self.log_probabilities(sequence, masked=masked)
        codes = self.alphabet.codes(self._policy.letters_of(sequence))
        known = np.flatnonzero(codes < len(self.alphabet.letters))
        found = np.full(log_p.shape, np.nan)
        found[known] = log_p[known] - log_p[known, codes[known]][:, None]
        return found

    def score_mutants(
        self, sequence: str, mutants: Sequence[str], *, masked: bool = True
    ) -> Floats:
        """Return the sum of the effects of all substitutions of each mutant, (n,).

        It is NaN if a substitution is from or to an ambiguous letter.

        Parameters
        ----------
        sequence
            The wild type.
        mutants
            Sequences of the same length.
        masked
            As for `log_probabilities`.

        Raises
        ------
        ArgumentError
            If a mutant has another length, or as for `log_probabilities`.
        """
        for i, mutant in enumerate(mutants):
            if len(mutant) != len(sequence):
                raise ArgumentError(
                    f"mutant {i} has length {len(mutant)}, but the sequence has {len(sequence)}",
                    hint="Insertions and deletions have no score",
                )
        effects = self.score_substitutions(sequence, masked=masked)
        letters = np.stack([self._policy.letters_of(each) for each in (sequence, *mutants)])
        codes, same = self.alphabet.codes(letters[1:]), letters[1:] == letters[0]
        with_unknown = np.pad(effects, ((0, 0), (0, 1)), constant_values=np.nan)
        return np.where(same, 0, with_unknown[np.arange(len(sequence)), codes]).sum(axis=1)

    @torch.no_grad()
    def _of_tokens(self, tokens: Tensor, *, masked: bool) -> tuple[Pieces, Tensor]:
        """Return the tokens of one sequence, and log p (M', vocabulary) of those with letters."""
        vocabulary = self.vocabulary
        if not isinstance(vocabulary, KmerVocabulary) or vocabulary.step != vocabulary.k:
            raise ArgumentError(
                f"{self.folder.name!r} has tokens that overlap or vary in length, so a letter has "
                "no probability"
            )
        pieces = vocabulary(tokens)
        number, longest = pieces.ids.shape[1], self.module.longest
        if longest and number > longest:
            message = f"the sequence has {number} tokens, but the model reads at most {longest}"
            raise ArgumentError(message, hint="Score a part of it, such as a domain")
        at = pieces.inside[0].nonzero().ravel()
        if not masked:
            return pieces, self.finite(self.module.log_p(pieces.ids, pieces.mask)[0, at])
        found, mask = [], int(vocabulary.singles[MASK])
        for group in at.split(max(1, BATCH_LETTERS // tokens.shape[1])):
            ids = pieces.ids.repeat(len(group), 1)
            rows = torch.arange(len(group))
            ids[rows, group] = mask
            of_rows = self.module.log_p(ids, pieces.mask.expand_as(ids))
            found.append(of_rows[rows, group])
        return pieces, self.finite(torch.cat(found))

    @property
    def _policy(self) -> SequencePolicy:
        return SequencePolicy(self.alphabet)

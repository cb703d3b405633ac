"""DeepLIFT/SHAP by tangermeme, as the audit of our own methods: dear, and for short sequences only.

Hides: the package, which is an extra; k-mers as its one-hot letters; the references.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from selfattn_bio.errors import MissingPackageError
from selfattn_bio.interpret.methods.base import Letters, Scores, Scoring
from selfattn_bio.interpret.methods.modules import with_modules
from selfattn_bio.interpret.relevance import centred, project_to_letters
from selfattn_bio.interpret.targets import Target
from selfattn_bio.model.classifier import Network
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.shuffle import shuffle_letters

LONGEST = 2000  # places of the encoder, of which every pair is kept
BATCH = 32  # pairs of a sequence and a reference to a pass


@dataclass(frozen=True)
class DeepLiftShap(Scoring):
    """What the letters contribute beside shuffled copies of the sequence, by the rules of DeepLIFT.

    Source: Shrikumar et al. 2017, Lundberg and Lee 2017; Schreiber 2025, tangermeme, whose rules they are, with those of softmax, layer
    norm and products.

    Parameters
    ----------
    shuffles
        References of each sequence: copies with the same dinucleotides (of protein: letters) in random order.
    seed
        Of the shuffles.

    Raises
    ------
    ValueError
        If `shuffles` is less than 1.
    """

    name: ClassVar[str] = "deep_lift_shap"
    shuffles: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.shuffles < 1:
            raise ValueError(f"shuffles must be >= 1, got {self.shuffles}")

    def scores(self, scorer: Scorer, letters: Sequence[Letters], target: Target) -> list[Scores]:
        """As `Scoring.scores`.

        Raises
        ------
        MissingPackageError
            If tangermeme is not installed.
        ValueError
            If a sequence has more than LONGEST places.
        """
        tangermeme = _tangermeme()
        if (places := max(map(len, letters)) // scorer.run.pitch) > LONGEST:
            raise ValueError(f"sequences must have at most {LONGEST} places of the model for method {self.name!r}, got {places}")
        network = OneHotNetwork(scorer, with_modules(scorer.network, tangermeme.BilinearOp), target).eval()
        vocabulary = torch.eye(scorer.tokenizer.vocabulary_size)
        found = []
        for number, sequence in enumerate(letters):
            shuffled = references(sequence, self.shuffles, 2 if scorer.alphabet.name == "dna" else 1, (self.seed, number))
            multipliers = tangermeme.deep_lift_shap(
                network,
                _one_hot(scorer, sequence[None]),
                references=_one_hot(scorer, shuffled)[None],
                batch_size=BATCH,
                raw_outputs=True,
                device=str(scorer.device),
            )  # (1, shuffles, V, N)
            mean = multipliers[0].mean(0).T[None]  # (1, N, V)
            # What a token contributes is its multiplier less that of the reference's token, which is the same for all that may stand there.
            rows = project_to_letters(mean, scorer.tokens(sequence[None]).cpu(), vocabulary, scorer.tokenizer, len(sequence))
            found.append(centred(rows[0].float().numpy()))
        return found


class OneHotNetwork(nn.Module):
    """(B, V, N) one-hot tokens in, (B, 1) what is explained out; no padding."""

    def __init__(self, scorer: Scorer, network: Network, target: Target) -> None:
        super().__init__()
        self.network, self.scorer, self.target = network, scorer, target

    def forward(self, x: Tensor) -> Tensor:
        table = self.network.embedding.weight
        tokens = x.detach().argmax(1)
        outputs = self.network.classify(x.transpose(1, 2).to(table.dtype) @ table, torch.ones_like(tokens, dtype=torch.bool))
        return self.target.of(self.scorer, outputs, tokens)[:, None]


def references(letters: Letters, count: int, k: int, seed: tuple[int, ...]) -> Letters:
    """(count, L) copies with as many of each k-let, in random order."""
    rng = np.random.default_rng(seed)
    return np.stack([shuffle_letters(letters, k, rng) for _ in range(count)])


def _one_hot(scorer: Scorer, letters: Letters) -> Tensor:
    """(B, L) ASCII -> (B, V, N) int8."""
    return one_hot(scorer.tokens(letters).cpu(), scorer.tokenizer.vocabulary_size).transpose(1, 2).to(torch.int8)


def _tangermeme() -> Any:
    """The module `tangermeme.deep_lift_shap`."""
    try:
        import tangermeme.deep_lift_shap
    except ImportError as error:
        cure = "Install it (pip install 'selfattn-bio[interpret]'), or take another method"
        raise MissingPackageError(f"method 'deep_lift_shap' must have the tangermeme package, got {error}", cure=cure) from error
    return tangermeme.deep_lift_shap

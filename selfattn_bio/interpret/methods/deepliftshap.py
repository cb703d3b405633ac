"""DeepLIFT/SHAP with tangermeme, as a check of our own methods: slow, and for short sequences only.

tangermeme is an optional dependency. k-mers are passed to it as one-hot letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from selfattn_bio.errors import ArgumentError
from selfattn_bio.extras import import_extra
from selfattn_bio.interpret.attribution import centred, embedding_table, project_to_letters
from selfattn_bio.interpret.methods.base import AttributionMethod, Letters, Scores, generator
from selfattn_bio.interpret.methods.modules import with_modules
from selfattn_bio.interpret.targets import Target
from selfattn_bio.model.classifier import Network
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.shuffle import shuffle_letters

LONGEST = 2000  # encoder positions; all pairs of them are stored
BATCH = 32  # pairs of a sequence and a reference per pass


@dataclass(frozen=True)
class DeepLiftShap(AttributionMethod):
    """Contributions of letters relative to shuffled copies of the sequence, by DeepLIFT/SHAP.

    The rules are those of tangermeme, including its rules for softmax, layer norm and products.

    Parameters
    ----------
    shuffles
        Number of references per sequence: copies shuffled with the same dinucleotides (DNA) or
        residues (protein).
    seed
        Seed for the shuffles.

    Raises
    ------
    ValueError
        If `shuffles` is less than 1.

    References
    ----------
    Shrikumar et al. 2017; Lundberg and Lee 2017; Schreiber 2025 (tangermeme).
    """

    name: ClassVar[str] = "deep_lift_shap"
    shuffles: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.shuffles < 1:
            raise ValueError(f"shuffles is {self.shuffles}; choose at least 1")

    def scores(self, scorer: Scorer, letters: Sequence[Letters], target: Target) -> list[Scores]:
        """See `AttributionMethod.scores`.

        Raises
        ------
        MissingPackageError
            If tangermeme is not installed.
        ValueError
            If a sequence has more than LONGEST encoder positions, or the target summarises the
            positions of a record.
        """
        if scorer.objective.outputs_per != "sequence" and target.is_number(scorer):
            raise ArgumentError(
                f"method {self.name!r} has no rule for the summary of a record over its positions",
                hint=f"Choose another method, or a span such as Target({target.output!r}, 0, 10)",
            )
        tangermeme = import_extra(
            "tangermeme.deep_lift_shap", "interpret", "method 'deep_lift_shap'"
        )
        if (positions := max(map(len, letters)) // scorer.run.pitch) > LONGEST:
            raise ValueError(
                f"a sequence has {positions:,} encoder positions, but method {self.name!r} "
                f"supports at most {LONGEST:,}"
            )
        network = OneHotNetwork(
            scorer, with_modules(scorer.network, tangermeme.BilinearOp), target
        ).eval()
        vocabulary = torch.eye(scorer.tokenizer.vocabulary_size)
        found = []
        for sequence in letters:
            shuffled = references(
                sequence, self.shuffles, 2 if scorer.alphabet.name == "dna" else 1, self.seed
            )
            multipliers = tangermeme.deep_lift_shap(
                network,
                _one_hot(scorer, sequence[None]),
                references=_one_hot(scorer, shuffled)[None],
                batch_size=BATCH,
                raw_outputs=True,
                device=str(scorer.device),
            )  # (1, shuffles, V, N)
            mean = multipliers[0].mean(0).T[None]  # (1, N, V)
            # A token contributes its multiplier minus that of the reference's token, which is the
            # same for all possible tokens and cancels.
            rows = project_to_letters(
                mean,
                scorer.tokens(sequence[None]).cpu(),
                vocabulary,
                scorer.tokenizer,
                len(sequence),
            )
            found.append(centred(rows[0].float().numpy()))
        return found


class OneHotNetwork(nn.Module):
    """Network from one-hot tokens (B, V, N) to the explained value (B, 1), without padding."""

    def __init__(self, scorer: Scorer, network: Network, target: Target) -> None:
        super().__init__()
        self.network, self.scorer, self.target = network, scorer, target
        self.table = embedding_table(scorer)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.detach().argmax(1)
        outputs = self.network.classify(
            x.transpose(1, 2).to(self.table.dtype) @ self.table,
            torch.ones_like(tokens, dtype=torch.bool),
        )
        return self.target.of(self.scorer, outputs, tokens)[:, None]


def references(letters: Letters, count: int, k: int, seed: int) -> Letters:
    """Return (count, L) shuffled copies with the same k-mer counts."""
    rng = generator(seed, letters)
    return np.stack([shuffle_letters(letters, k, rng) for _ in range(count)])


def _one_hot(scorer: Scorer, letters: Letters) -> Tensor:
    """Convert ASCII (B, L) to one-hot tokens (B, V, N), int8."""
    return (
        one_hot(scorer.tokens(letters).cpu(), scorer.tokenizer.vocabulary_size)
        .transpose(1, 2)
        .to(torch.int8)
    )

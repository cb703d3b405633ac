"""Mean vectors of a pretrained model, which stays as it is, as features of baselines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch

from selfattn_bio.arrays import Floats, Scores
from selfattn_bio.baselines.base import Array, Setup, State
from selfattn_bio.baselines.features import Candidates, Features, FeatureSet
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.model.pretrained.folder import pretrained_sha256
from selfattn_bio.model.pretrained.network import PublishedModel
from selfattn_bio.sequence.alphabet import Alphabet, Ascii, Letters
from selfattn_bio.stored import ArrayOf, Sha256

MAX_EMBEDDED = 20_000  # maximum number of training records
MAX_KEPT = 60_000_000  # numbers of vectors in memory
LEAST = 1e-6  # dimensions with a smaller standard deviation are not scaled


class EmbeddingState(State):
    """SHA-256 of the pretrained model, and mean and standard deviation of each dimension."""

    sha256: Sha256
    center: Annotated[Floats, ArrayOf("float64", ("dimensions",))]
    scale: Annotated[Floats, ArrayOf("float64", ("dimensions",), low=LEAST)]


def _opened(setup: Setup, sha256: str) -> PublishedModel:
    """Open the pretrained model, whose SHA-256 is given, on the device of the setup."""
    device = setup.device or ("cuda" if torch.cuda.is_available() else "cpu")
    return _opened_once(setup.pretrained, setup.alphabet, device, sha256)


@lru_cache(maxsize=1)
def _opened_once(folder: str, alphabet: Alphabet, device: str, sha256: str) -> PublishedModel:
    """Open a pretrained model once per process; it keeps the vectors of the records it read."""
    model = PublishedModel.open(Path(folder), alphabet)
    model.module.to(device)
    return model


def _vectors(model: PublishedModel, letters: Letters) -> Scores:
    """Return the mean vector of each record, (n, D); the model reads each record once."""
    known, keys = model.known, [record.tobytes() for record in letters]
    new = {key: row for key, row in zip(keys, letters, strict=True) if key not in known}
    known.update(zip(new, model.vectors(list(new.values())), strict=True))
    x = np.concatenate([known[key] for key in keys])
    if len(known) * x.shape[1] > MAX_KEPT:
        known.clear()
    return x


@dataclass(frozen=True, eq=False)
class Embeddings(Features):
    """Mean of the vectors of the tokens of a record without special tokens, standardised."""

    setup: Setup
    state: EmbeddingState
    measured: ClassVar[float] = 0.15  # as in `GuidedMethod`

    @property
    def size(self) -> int:  # type: ignore[override]
        return len(self.state.center)

    @cached_property
    def model(self) -> PublishedModel:
        """Return the pretrained model.

        Raises
        ------
        ModelFolderError
            If the folder is missing, or differs from that of the fit.
        """
        folder = self.setup.pretrained
        found = pretrained_sha256(Path(folder)) if Path(folder).is_dir() else ""
        if found != self.state.sha256:
            problem = "differs from that of the fit" if found else "is missing"
            hint = "Restore the folder at this path, or train and evaluate again without it"
            message = f"the pretrained model of the embeddings {problem}"
            raise ModelFolderError(message, place=folder, hint=hint)
        return _opened(self.setup, found)

    def matrix(self, letters: Letters) -> Array:
        return np.asarray((_vectors(self.model, letters) - self.state.center) / self.state.scale)

    def weighted_effects(self, record: Ascii, weights: Array) -> Array | None:
        """Return the gradient at each letter, (L, A), or None if tokens vary in length."""
        has_slopes = self.model.vocabulary.has_embeddings
        return self.model.slopes(record, weights / self.state.scale) if has_slopes else None

    def stored(self) -> EmbeddingState:
        return self.state


class EmbeddingSet(FeatureSet):
    """Vectors of a pretrained model. A large training split is sampled."""

    reads, is_sampled = ("strands", "pretrained"), True
    state = EmbeddingState

    def obstacle(self, setup: Setup, train: Letters) -> str:
        """Return that the folder of the pretrained model is missing, if it is."""
        is_there = Path(setup.pretrained).is_dir()
        return "" if is_there else f"the pretrained model {setup.pretrained!r} is missing"

    def most(self, setup: Setup, train: Letters) -> int:
        return MAX_EMBEDDED

    def candidates(self, setup: Setup, train: Letters, scaled: bool) -> Candidates:
        sha256 = pretrained_sha256(Path(setup.pretrained))
        x = _vectors(_opened(setup, sha256), train).astype(np.float64)
        scale = np.where(x.std(axis=0) > LEAST, x.std(axis=0), 1.0)
        state = EmbeddingState(sha256=sha256, center=x.mean(axis=0), scale=scale)
        yield Embeddings(setup, state), (x - state.center) / scale

    def restore(self, setup: Setup, state: EmbeddingState) -> Embeddings:
        return Embeddings(setup, state)

"""Can it be told from a model whether a record was among its training records? Attacks by the loss, alone and beside another model's.

Hides: which way a score points. `benchmarks/privacy.py` measures private models by it. An attack near 0.5 shows that this attack finds
nothing; that no attack can is what differential privacy says.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfattn_bio.evaluation.metrics import Bootstrap


def record_losses(logits: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Cross-entropy in nats of each record, (n,), of logits and labels 0 or 1, both (n,)."""
    z, wanted = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    return np.logaddexp(0, z) - wanted * z


def attack(
    members: ArrayLike,
    others: ArrayLike,
    beside: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    draws: int = 1000,
    confidence: float = 0.95,
) -> dict[str, float]:
    """AUROC of an attack that takes a record of small loss for a training record.

    With losses .1 .2 of members and .3 .4 of others it is 1, with losses of the same distribution 0.5.

    Parameters
    ----------
    members, others
        Loss of each training record, (n,), and of each record that was not trained on, (m,), drawn from the same source in the same way:
        else what is measured is how the two differ.
    beside
        Losses of the same records by a model that was trained on neither: what counts is then how much smaller a loss is than there, so
        that records which are easy for any model betray nothing.

    Returns
    -------
    value, low, high: AUROC and its bootstrap interval, drawn within members and others.

    Raises
    ------
    ValueError
        If one side is empty, or `beside` is not as long.

    References
    ----------
    Yeom et al. 2018 (the loss); Watson et al. 2022 (beside another model), a simple form of Carlini et al. 2022 (LiRA, offline).
    """
    sides = [np.asarray(side, dtype=np.float64) for side in (members, others)]
    if not all(map(len, sides)):
        raise ValueError(f"members and others must hold losses, got {len(sides[0])} and {len(sides[1])}")
    if beside is not None:
        known = [np.asarray(side, dtype=np.float64) for side in beside]
        if list(map(len, known)) != list(map(len, sides)):
            raise ValueError(
                f"beside must be as long as members and others ({len(sides[0])} and {len(sides[1])}), got {[*map(len, known)]}"
            )
        sides = [side - other for side, other in zip(sides, known, strict=True)]
    was_member = np.repeat([1, 0], [len(side) for side in sides])
    ranks = np.unique(-np.concatenate(sides), return_inverse=True)[1]  # the order alone counts
    return Bootstrap(was_member, draws).metrics(ranks / max(1, ranks.max()), 0.5)["auroc"].interval(confidence)

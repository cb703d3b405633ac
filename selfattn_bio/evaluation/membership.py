"""Measure how well training records can be recognised by their loss (membership inference).

`benchmarks/privacy.py` applies these attacks to private models. An AUROC near 0.5 only shows that
this attack fails. Only differential privacy limits every possible attack.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfattn_bio.evaluation.metrics import Bootstrap


def record_losses(logits: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Return the cross-entropy of each record in nats, (n,).

    Logits and labels (0 or 1) are both (n,).
    """
    z, wanted = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    return np.logaddexp(0, z) - wanted * z


def attack(
    members: ArrayLike,
    others: ArrayLike,
    reference: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    draws: int = 1000,
    confidence: float = 0.95,
) -> dict[str, float]:
    """Measure an attack that takes records with a small loss for training records.

    The result is 1 if members have losses .1 and .2 and others have .3 and .4, and 0.5 if both have
    the same distribution.

    Parameters
    ----------
    members, others
        Loss of each training record, (n,), and of each record that was not trained on, (m,). Both
        must be sampled in the same way from the same source; otherwise the result measures how the
        samples differ.
    reference
        Losses of the same records from a reference model that was trained on neither. The attack
        then uses the difference between both losses, so that records that are easy for any model
        reveal nothing.

    Returns
    -------
    AUROC and its bootstrap interval as value, low and high. Members and others are resampled
    separately.

    Raises
    ------
    ValueError
        If `members` or `others` is empty, or the reference losses have other lengths.

    References
    ----------
    Yeom et al. 2018 (attack by the loss); Watson et al. 2022 (with a reference model), a simple
    form of Carlini et al. 2022 (LiRA, offline).
    """
    losses = [np.asarray(each, dtype=np.float64) for each in (members, others)]
    if not all(map(len, losses)):
        raise ValueError(
            f"there are {len(losses[0])} members and {len(losses[1])} others; neither may be empty"
        )
    if reference is not None:
        known = [np.asarray(each, dtype=np.float64) for each in reference]
        if (lengths := [*map(len, known)]) != [*map(len, losses)]:
            raise ValueError(
                f"reference has {lengths} losses, but there are {len(losses[0])} members and "
                f"{len(losses[1])} others"
            )
        losses = [own - other for own, other in zip(losses, known, strict=True)]
    was_member = np.repeat([1, 0], [len(each) for each in losses])
    # Ranks are enough: AUROC depends on the order only
    ranks = np.unique(-np.concatenate(losses), return_inverse=True)[1]
    return (
        Bootstrap(was_member, draws)
        .metrics(ranks / max(1, ranks.max()), 0.5)["auroc"]
        .interval(confidence)
    )

"""Membership inference: measure how well the loss of a record reveals whether it was trained on.

`benchmarks/privacy.py` attacks private models in this way. An AUROC near 0.5 shows only that this
attack fails; only differential privacy limits every possible attack.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfattn_bio.evaluation.metrics import Bootstrap


def record_losses(logits: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Return the binary cross-entropy of each record in nats, (n,).

    Takes logits (n,) and labels (n,), 0 or 1.
    """
    z, y = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    return np.logaddexp(0, z) - y * z


def loss_attack(
    member_losses: ArrayLike,
    other_losses: ArrayLike,
    reference: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    draws: int = 1000,
) -> dict[str, float]:
    """Measure an attack that guesses that records with a small loss were trained on.

    The AUROC is 1 if members have losses 0.1 and 0.2 and others have 0.3 and 0.4. It is 0.5 if the
    losses of both have the same distribution.

    Parameters
    ----------
    member_losses
        Losses of training records, (n,).
    other_losses
        Losses of records that were not trained on, (m,). They must be sampled in the same way and
        from the same source as the members. Otherwise the AUROC measures other differences between
        the samples.
    reference
        Losses of both sets of records, in the same order, under a reference model that was trained
        on none of them. The attack then uses the difference from these losses, so that records that
        are easy for any model reveal nothing.
    draws
        Number of bootstrap resamples.

    Returns
    -------
    AUROC and its 95 % bootstrap interval as value, low and high. Members and others are resampled
    separately.

    Raises
    ------
    ValueError
        If `member_losses` or `other_losses` is empty, or the reference losses have other lengths.

    References
    ----------
    Yeom et al. 2018 (attack by the loss); Watson et al. 2022 (with a reference model). The latter
    is a simple form of the offline LiRA attack of Carlini et al. 2022.
    """
    losses = [np.asarray(part, dtype=np.float64) for part in (member_losses, other_losses)]
    if not all(map(len, losses)):
        raise ValueError(
            f"there are {len(losses[0])} members and {len(losses[1])} others; neither may be empty"
        )
    if reference is not None:
        expected = [np.asarray(part, dtype=np.float64) for part in reference]
        if (lengths := [*map(len, expected)]) != [*map(len, losses)]:
            raise ValueError(
                f"reference has {lengths} losses, but there are {len(losses[0])} members and "
                f"{len(losses[1])} others"
            )
        losses = [loss - usual for loss, usual in zip(losses, expected, strict=True)]
    was_member = np.repeat([1, 0], [len(part) for part in losses])
    # AUROC depends only on the order, and ranks can be scaled to [0, 1] as `Bootstrap` requires
    ranks = np.unique(-np.concatenate(losses), return_inverse=True)[1]
    return (
        Bootstrap(was_member, draws).metrics(ranks / max(1, ranks.max()), 0.5)["auroc"].interval()
    )

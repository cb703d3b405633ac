"""Fit the simple models of [stack], and the weights that combine them with the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from selfattn_bio.baselines import BASELINES, Baseline, Setup
from selfattn_bio.config import RunFile, read_run_file
from selfattn_bio.errors import CorpusError, ModelFolderError
from selfattn_bio.model.checkpoint import RUN, check_trained_on
from selfattn_bio.scoring.stack import Letters, Logits, Stack, baseline_setup, fitted_parts
from selfattn_bio.sequence.policy import SequencePolicy, policy_of

# A part is left out if its weight x standard deviation is at most this fraction of the sum over the
# network and all parts.
NEGLIGIBLE = 0.02
FOLDS = 10  # for the cross-validated logits of `fit_stack`
PENALTY = 1.0  # factor of the squared weights; equals C = 1 in scikit-learn


def shared_parts(
    run: RunFile, model: str | Path, corpus_fingerprint: str, split_sha256: str, threads: int = 1
) -> dict[str, Baseline]:
    """Load the parts that another member of the run has fitted.

    All members can use the same parts, because these depend only on the records, their labels and
    strands, and for `motif_scores` on the database.

    Raises
    ------
    ModelFolderError
        If the model was trained on another corpus or split, lacks a part of the run, or fitted it
        with other settings.
    """
    check_trained_on(model, corpus_fingerprint, split_sha256)
    parts = fitted_parts(model, threads)
    setup = baseline_setup(run, policy_of(run.data))
    reason = ""
    if read_run_file(Path(model) / RUN).training.labels != run.training.labels:
        reason = "its stack was fitted with another value of training.labels"
    for name in run.stack.parts:
        if name not in parts:
            reason = f"its stack has no part {name!r}"
        elif not parts[name].fitted_as(setup):
            reason = f"part {name!r} of its stack was fitted with other strands or another database"
    if reason:
        raise ModelFolderError(reason, place=str(model), hint="Train the first member again")
    return {name: parts[name] for name in run.stack.parts}


def check_parts(run: RunFile, train: Letters, policy: SequencePolicy) -> None:
    """Check before the training that the parts of [stack] suit the training records.

    Raises
    ------
    CorpusError
        If a part does not suit them.
    """
    setup = baseline_setup(run, policy)
    for name in run.stack.parts:
        kind = BASELINES[name]
        if setup.alphabet.name not in kind.alphabets:
            known = " and ".join(kind.alphabets)
            raise CorpusError(
                f"[stack] part {name!r} reads {known}; the records are {setup.alphabet.name}"
            )
        if obstacle := kind.obstacle(setup, train):
            raise CorpusError(
                f"[stack] part {name!r} cannot be fitted: {obstacle}",
                hint="Remove it from [stack] parts",
            )


def fit_part(
    setup: Setup,
    name: str,
    letters: Mapping[str, Letters],
    labels: Mapping[str, NDArray[np.int64]],
) -> tuple[Baseline, float]:
    """Fit a baseline to the training records, and return it with its validation AUROC.

    Its settings are chosen on the validation split.
    """
    part = BASELINES[name](setup).fit(
        letters["train"], labels["train"], letters["valid"], labels["valid"]
    )
    return part, roc_auc_score(labels["valid"], part.logits(letters["valid"]))


def fit_stack(
    network: Logits, parts: Sequence[Baseline], letters: Letters, labels: NDArray[np.int64]
) -> tuple[Stack, Logits]:
    """Fit the weights of network and parts to validation records.

    A part with negligible weight is left out of the sum, which makes scoring faster.

    Parameters
    ----------
    network
        Logits of the network, (n,).
    parts
        Fitted baselines.
    letters, labels
        The validation records.

    Returns
    -------
    The stack, and one logit per record from weights fitted to the other records (cross-validation).
    Calibration and threshold are fitted to these logits.
    """
    columns = [network, *(part.logits(letters) for part in parts)]
    x = np.stack(columns, axis=1)
    weights, _ = _logistic(x, labels)
    size = weights * x.std(axis=0)
    kept = [0, *(i for i in range(1, len(columns)) if size[i] > NEGLIGIBLE * size.sum())]
    x = x[:, kept]
    weights, bias = _logistic(x, labels)
    held_out = np.empty(len(labels))
    folds = min(FOLDS, int(np.bincount(labels, minlength=2).min()))
    if folds < 2:
        held_out = x @ weights + bias
    else:
        for rest, fold in StratifiedKFold(folds, shuffle=True, random_state=0).split(x, labels):
            of_rest, bias_of_rest = _logistic(x[rest], labels[rest])
            held_out[fold] = x[fold] @ of_rest + bias_of_rest
    left_out = tuple(part for i, part in enumerate(parts, start=1) if i not in kept)
    return Stack(tuple(parts[i - 1] for i in kept[1:]), weights, bias, left_out), held_out


def _logistic(
    x: NDArray[np.float64], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float64], float]:
    """Fit a logistic regression with non-negative weights (features,) and an intercept."""
    scale = np.maximum(x.std(axis=0), 1e-9)
    z = x / scale

    def loss(line: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        fitted = z @ line[:-1] + line[-1]
        error = expit(fitted) - labels
        value = np.sum(np.logaddexp(0, fitted) - labels * fitted) + PENALTY / 2 * (
            line[:-1] @ line[:-1]
        )
        return float(value), np.append(z.T @ error + PENALTY * line[:-1], error.sum())

    start = np.append(np.ones(z.shape[1]), 0.0)
    bounds = [(0, None)] * z.shape[1] + [(None, None)]
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x
    return found[:-1] / scale, float(found[-1])

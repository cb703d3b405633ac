"""Fit the simple models of [stack], and the weights that combine them with the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, huber, log_softmax
from sklearn.model_selection import KFold, StratifiedKFold

from selfattn_bio.baselines import BASELINES, Baseline, Setup, suitable
from selfattn_bio.config import RunFile, read_run_file
from selfattn_bio.errors import CorpusError, ModelFolderError
from selfattn_bio.model.checkpoint import RUN, check_trained_on
from selfattn_bio.objectives.base import Answer, AnswerKind
from selfattn_bio.scoring.stack import Outputs, Stack, baseline_setup, fitted_parts, separated
from selfattn_bio.sequence.alphabet import Letters
from selfattn_bio.sequence.policy import SequencePolicy, policy_of
from selfattn_bio.training.data import TrainingData

# A part is left out if its weight x standard deviation is at most this fraction of the sum over the
# network and all parts.
NEGLIGIBLE = 0.02
FOLDS = 10  # for the cross-validated outputs of `fit_stack`
PENALTY = 1.0  # factor of the squared weights; equals C = 1 in scikit-learn


def shared_parts(data: TrainingData, model: Path, threads: int) -> dict[str, Baseline]:
    """Load the parts that another member of the run has fitted.

    All members can use the same parts, because these depend only on the records, their labels and
    strands, and for `motif_scores` on the database.

    Raises
    ------
    ModelFolderError
        If the model was trained on another corpus or split, lacks a part of the run, or fitted it
        with other settings.
    """
    run = data.run
    check_trained_on(model, data.corpus.fingerprint, data.split_sha256)
    parts = fitted_parts(model, threads)
    setup = baseline_setup(run, policy_of(run.data))
    reason = ""
    if read_run_file(model / RUN).training.labels != run.training.labels:
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
    obstacles = {kind.name: obstacle for kind, obstacle in suitable(setup, train)}
    unsuitable = f"it does not suit {setup.alphabet.name} and objective {run.objective.kind!r}"
    for name in run.stack.parts:
        if obstacle := obstacles.get(name, unsuitable):
            hint = "Remove it from [stack] parts; docs/baselines.md lists the others"
            raise CorpusError(f"[stack] part {name!r} cannot be fitted: {obstacle}", hint=hint)


def fit_part(
    setup: Setup, name: str, letters: Mapping[str, Letters], targets: Mapping[str, NDArray]
) -> Baseline:
    """Fit a baseline to the training records. Validation records choose its settings."""
    return BASELINES[name](setup).fit(
        letters["train"], targets["train"], letters["valid"], targets["valid"]
    )


def fit_stack(
    network: Any, parts: Sequence[Baseline], letters: Letters, answers: Sequence[Answer]
) -> tuple[Stack, Any]:
    """Fit the weights of network and parts to validation records.

    Every answer has its own weights, which its outputs share. A part with negligible weight in all
    answers is left out of the sum, which makes scoring faster.

    Parameters
    ----------
    network
        Outputs of the network, (n, C), (n, bases, C) of profiles, or n arrays (L, C) of positions.
    parts
        Fitted baselines.
    letters, answers
        The validation records.

    Returns
    -------
    The stack, and the outputs of each record or position, of the shape of `network`, from weights
    fitted to the others (cross-validation). Calibration and threshold are fitted to these.
    """
    given = np.concatenate(network) if isinstance(network, list) else network
    rows = given[:, 0] if given.ndim == 3 else given  # the parts change all bases by the same
    ends = np.cumsum([answer.size for answer in answers]).tolist()
    # the strands of bins share an answer, so the rows of both are joined
    outputs = [rows, *(part.outputs(letters) for part in parts)]
    outputs = [of.reshape(-1, ends[-1]) for of in outputs]
    features = [
        np.stack([of[:, end - answer.size : end].ravel() for of in outputs], axis=1)
        for end, answer in zip(ends, answers, strict=True)
    ]
    is_used = np.arange(len(outputs)) == 0
    for x, answer in zip(features, answers, strict=True):
        size = _fit(x, answer)[0] * _spread(x, answer.size)
        is_used |= size > NEGLIGIBLE * size.sum()
    kept = np.flatnonzero(is_used)
    fits = [_fit(x[:, kept], answer) for x, answer in zip(features, answers, strict=True)]
    sizes = [answer.size for answer in answers]
    weights = np.repeat([weights for weights, _ in fits], sizes, axis=0).T
    bias = np.concatenate([bias for _, bias in fits])
    each = zip(features, answers, fits, strict=True)
    held_out = np.concatenate([_held_out(x[:, kept], of, *fit) for x, of, fit in each], axis=1)
    used = tuple(parts[i - 1] for i in kept[1:])
    left_out = tuple(part for part in parts if part not in used)
    shared = rows.shape[1] // ends[-1]
    stack = Stack(used, np.tile(weights, shared), np.tile(bias, shared), left_out)
    held_out = held_out.reshape(rows.shape)
    if given.ndim == 3:
        return stack, given + (held_out - rows)[:, None]
    return stack, separated(held_out, network)


def _held_out(x: Outputs, answer: Answer, weights: Outputs, bias: Outputs) -> Outputs:
    """Return the outputs (n, size) of each record from weights fitted to the other records.

    With too few records for a cross-validation they are those of `weights` and `bias`, which were
    fitted to all records.
    """
    values = answer.values
    held_out = (x @ weights).reshape(-1, answer.size) + bias
    known = np.flatnonzero(np.isfinite(values))
    y = values[known]
    if answer.kind in ("label", "rate"):
        folds = min(FOLDS, int(np.bincount(y.astype(np.int64), minlength=2).min()))
        kind: type[StratifiedKFold | KFold] = StratifiedKFold
    else:
        folds, kind = min(FOLDS, len(y)), KFold
    if folds < 2:
        return held_out
    each = np.arange(len(x)).reshape(-1, answer.size)  # rows of x of each record
    for rest, fold in kind(folds, shuffle=True, random_state=0).split(y, y):
        others = answer._replace(values=y[rest])
        of_rest, bias_of_rest = _fit(x[each[known[rest]].ravel()], others)
        rows = x[each[known[fold]].ravel()]
        held_out[known[fold]] = (rows @ of_rest).reshape(-1, answer.size) + bias_of_rest
    return held_out


def _spread(x: Outputs, size: int) -> Outputs:
    """Return the standard deviation of features (n x size, F) over the records, (F,).

    It is the root mean square over the outputs. What all classes share has no effect.
    """
    each = x.reshape(-1, size, x.shape[1])
    if size > 1:
        each = each - each.mean(axis=1, keepdims=True)
    return np.sqrt(each.var(axis=0).mean(axis=0))


def _fit(x: Outputs, answer: Answer) -> tuple[Outputs, Outputs]:
    """Fit a regression with non-negative weights (F,) and an intercept for each output.

    Parameters
    ----------
    x
        Features, (n x size, F): the outputs of network and parts, record by record.
    answer
        Targets of the records. If all known ones are equal, the network counts alone.
    """
    known, y = np.isfinite(answer.values), answer.values
    if not known.all():
        x, y = x[np.repeat(known, answer.size)], y[known]
    number, size = x.shape[1], answer.size
    if len(np.unique(y)) < 2:
        return np.eye(number)[0], np.zeros(size)
    scale = np.maximum(_spread(x, size), 1e-9)
    # A part whose outputs are nearly equal is far from 0 in units of its spread. Without its mean
    # the fit would end before the best intercept.
    each = x.reshape(-1, size, number) / scale
    means = each.mean(axis=0)
    z = (each - means).reshape(-1, number)
    # a class without a record would get the intercept -inf
    ridge = PENALTY * (answer.kind == "class")

    def loss(line: Outputs) -> tuple[float, Outputs]:
        weights, bias = line[:number], line[number:]
        value, error = _loss(answer.kind, (z @ weights).reshape(-1, size) + bias, y)
        intercept = bias - means @ weights
        penalty = PENALTY / 2 * (weights @ weights) + ridge / 2 * (intercept @ intercept)
        slopes = z.T @ error.ravel() + PENALTY * weights - ridge * (intercept @ means)
        return value + float(penalty), np.append(slopes, error.sum(axis=0) + ridge * intercept)

    # rates are exponentials, so that their fit begins at the mean of network and parts
    is_rate = answer.kind in ("count", "rate")
    first = scale / number if is_rate else np.ones(number)
    bounds = [(0, None)] * number + [(None, None)] * size
    start = np.append(first, is_rate * (means @ first))
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x
    return found[:number] / scale, found[number:] - means @ found[:number]


def _loss(kind: AnswerKind, outputs: Outputs, values: Outputs) -> tuple[float, Outputs]:
    """Return the loss of outputs (n, size) for values (n,), and its gradient (n, size)."""
    y = values[:, None]
    match kind:
        case "label":
            loss, gradient = np.logaddexp(0, outputs) - y * outputs, expit(outputs) - y
        case "rate":
            rates = np.exp(np.clip(outputs, -50, 50))
            chance = -np.expm1(-rates)
            loss = np.where(y > 0, -np.log(chance), rates)
            gradient = rates - y * rates / chance
        case "class":
            is_class, logs = y == np.arange(outputs.shape[1]), log_softmax(outputs, axis=1)
            loss, gradient = -logs[is_class], np.exp(logs) - is_class
        case "number":
            gradient = outputs - y
            loss = gradient**2 / 2
        case "robust":
            loss, gradient = huber(1.0, outputs - y), np.clip(outputs - y, -1, 1)
        case "count":
            rates = np.exp(outputs)
            loss, gradient = rates - y * outputs, rates - y
    return float(np.sum(loss)), gradient

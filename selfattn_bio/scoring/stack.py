"""Combine a network with simple models into one logit: a stacked model in one model folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from selfattn_bio.baselines import BASELINES, Baseline, Setup, load_baseline
from selfattn_bio.config import RunFile, read_run_file
from selfattn_bio.errors import CorpusError, ModelFolderError
from selfattn_bio.model.checkpoint import RUN, STACK, check_trained_on
from selfattn_bio.sequence.policy import SequencePolicy

Letters = Sequence[NDArray[np.uint8]]
Logits = NDArray[np.float64]

WEIGHTS = "weights.json"
# A part is left out if weight x standard deviation is below this fraction of the sum.
NEGLIGIBLE = 0.02
FOLDS = 10
PENALTY = 1.0  # factor of the squared weights; equals C = 1 in scikit-learn
AGAIN = "train the model again, or copy the complete folder"


@dataclass(frozen=True)
class Stack:
    """Add the weighted logits of simple models to those of the network.

    Attributes
    ----------
    parts
        Fitted baselines.
    weights
        Non-negative weights (1 + parts,): the network's first, then those of the parts in order.
    bias
        Constant added to the sum.
    left_out
        Fitted baselines with negligible weight. They are not used, but are saved so that they need
        not be fitted again.

    References
    ----------
    Wolpert 1992, Stacked generalization; Breiman 1996, Stacked regressions (non-negative weights).
    """

    parts: tuple[Baseline, ...]
    weights: NDArray[np.float64]
    bias: float
    left_out: tuple[Baseline, ...] = ()

    def logits(self, network: Logits, letters: Letters) -> Logits:
        """Combine the network's logits, (n,) or (n, members), with those of the parts."""
        of_parts = np.full(len(letters), self.bias)
        for weight, part in zip(self.weights[1:], self.parts, strict=True):
            of_parts = of_parts + weight * part.logits(letters)
        return self.weights[0] * network + of_parts.reshape(-1, *[1] * (network.ndim - 1))

    def attributions(self, network: Sequence[NDArray[Any]], letters: Letters) -> list[NDArray[Any]]:
        """Add the exact substitution effects of the parts to the network's attributions.

        Parameters
        ----------
        network
            Hypothetical attributions of the network, one array (L, A) per sequence, each position
            centred over the bases.
        letters
            ASCII, one array (L,) per sequence.

        Returns
        -------
        Hypothetical attributions of the stack, in logits, centred over the bases. The parts add
        nothing at ambiguous bases.
        """
        total = [self.weights[0] * scores for scores in network]
        for weight, part in zip(self.weights[1:], self.parts, strict=True):
            alphabet = part.setup.alphabet
            for row, scores, effects in zip(
                letters, total, part.substitution_effects(letters), strict=True
            ):
                known = alphabet.codes(row) < len(alphabet.letters)
                scores[known] += weight * (effects - effects.mean(axis=1, keepdims=True))[known]
        return [scores.astype(np.float32) for scores in total]

    def save(self, folder: Path, weights_sha256: str) -> None:
        """Write the parts and weights into an existing model folder.

        The hash of the network's weights is stored with them.
        """
        (folder / STACK).mkdir()
        for part in (*self.parts, *self.left_out):
            part.save(folder / STACK / part.name)
        weights = dict(
            zip(
                ["network", *(part.name for part in self.parts)], self.weights.tolist(), strict=True
            )
        )
        text = json.dumps(
            {"weights": weights, "bias": self.bias, "weights_sha256": weights_sha256}, indent=1
        )
        (folder / STACK / WEIGHTS).write_text(text + "\n", encoding="utf-8")


def load_stack(model: str | Path, weights_sha256: str) -> Stack | None:
    """Read the stack of a model folder; return None if the folder has none.

    Parts use one thread.

    Parameters
    ----------
    model
        The model folder.
    weights_sha256
        Hash of the network's weights.

    Raises
    ------
    ModelFolderError
        If the weights or a part are missing or damaged, or the stack was fitted to another network.
    """
    folder = Path(model) / STACK
    if not folder.is_dir():
        return None
    try:
        stored = json.loads((folder / WEIGHTS).read_text(encoding="utf-8"))
        names, weights = zip(*stored["weights"].items(), strict=True)
        bias, found = float(stored["bias"]), str(stored["weights_sha256"])
        values = np.array(weights, dtype=np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"cannot read the weights of the stack: {error}"
        raise ModelFolderError(message, place=str(folder / WEIGHTS), hint=AGAIN) from error
    if found != weights_sha256:
        message = (
            f"the stack was fitted to the network {found[:12]}; the model folder holds "
            f"{weights_sha256[:12]}"
        )
        raise ModelFolderError(message, place=str(folder / WEIGHTS), hint=AGAIN)
    return Stack(tuple(load_baseline(folder / name, threads=1) for name in names[1:]), values, bias)


def fitted_parts(model: str | Path, threads: int = 1) -> dict[str, Baseline]:
    """Load all parts fitted for the stack of a model folder, by name.

    The result is empty if the folder has no stack.
    """
    folders = sorted(path for path in (Path(model) / STACK).glob("*") if path.is_dir())
    return {path.name: load_baseline(path, threads) for path in folders}


def shared_parts(
    run: RunFile, model: str | Path, corpus_fingerprint: str, split_sha256: str, threads: int = 1
) -> dict[str, Baseline]:
    """Load the parts of another member of a run.

    Parts depend on the records and the settings, not on the seed.

    Raises
    ------
    ModelFolderError
        If the model was trained on another corpus or split, or its run file differs in more than
        the seed.
    """
    check_trained_on(model, corpus_fingerprint, split_sha256)
    if _without_seed(read_run_file(Path(model) / RUN)) != _without_seed(run):
        message = (
            "the settings of this model differ in more than the seed, so the parts of its "
            "stack cannot be used"
        )
        raise ModelFolderError(message, place=str(model), hint="Train without --parts")
    return fitted_parts(model, threads)


def _without_seed(run: RunFile) -> RunFile:
    training = run.training.model_copy(update={"seed": 0, "seeds": 1})
    return run.model_copy(update={"training": training, "variants": {}, "sweep": None})


def stack_setup(run: RunFile, policy: SequencePolicy, threads: int = 1) -> Setup:
    """Return the setup of a run's stack: how the parts read the records."""
    strands: Literal["given", "both"] = "both" if run.both_strands else "given"
    return Setup(policy, strands, run.interpret.database, threads)


def check_parts(run: RunFile, train: Letters, policy: SequencePolicy) -> None:
    """Check before the training that the parts of [stack] suit the training records.

    Raises
    ------
    CorpusError
        If a part does not.
    """
    setup = stack_setup(run, policy)
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
    say: Callable[[str], None],
) -> Baseline:
    """Fit a baseline to the training records and choose its settings on the validation split.

    `say` is called with one line of progress.
    """
    start = time.monotonic()
    part = BASELINES[name](setup).fit(
        letters["train"], labels["train"], letters["valid"], labels["valid"]
    )
    auroc = roc_auc_score(labels["valid"], part.logits(letters["valid"]))
    say(f"stack: {part.title} fitted in {time.monotonic() - start:.0f} s, valid AUROC {auroc:.4f}")
    return part


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

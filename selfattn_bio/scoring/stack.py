"""Combine the outputs of a network with those of simple models, in one model folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.baselines import Baseline, Setup, load_baseline
from selfattn_bio.config import AnyObjective, PretrainedModel, RunFile
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.files import dump_json
from selfattn_bio.model.checkpoint import (
    RETRAIN,
    RUN,
    STACK,
    STACK_WEIGHTS,
    StackWeights,
    read_stack_weights,
)
from selfattn_bio.sequence.alphabet import Letters
from selfattn_bio.sequence.policy import SequencePolicy, policy_of

Outputs = NDArray[np.float64]


def separated(rows: Outputs, like: Outputs | list[Outputs]) -> Any:
    """Return outputs of positions, one after the other, as arrays of each record if `like` is."""
    return np.split(rows, np.cumsum([*map(len, like)])[:-1]) if isinstance(like, list) else rows


@dataclass(frozen=True)
class Stack:
    """Add the weighted outputs of simple models to those of the network.

    Attributes
    ----------
    parts
        Fitted baselines.
    weights
        Non-negative weights (1 + parts, C): the network's first, then those of the parts in order.
        The outputs of one answer, such as classes, have the same weights.
    bias
        Constants added to the sums, (C,).
    left_out
        Fitted baselines with negligible weight. They are not used, but are saved so that they need
        not be fitted again.

    References
    ----------
    Wolpert 1992, Stacked generalization; Breiman 1996, Stacked regressions (non-negative weights).
    """

    parts: tuple[Baseline, ...]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    left_out: tuple[Baseline, ...] = ()

    def outputs(self, network: Outputs | list[Outputs], letters: Letters) -> Any:
        """Combine the network's outputs with those of the parts.

        They are (n, C), (n, members, C) or (n, bases, C), or n arrays of this shape with one row
        per position, and so is the result.
        """
        if isinstance(network, list):
            return separated(self.outputs(np.concatenate(network), letters), network)
        of_parts = self.bias[None]
        for weights, part in zip(self.weights[1:], self.parts, strict=True):
            of_parts = of_parts + weights * part.outputs(letters)
        return self.weights[0] * network + (of_parts[:, None] if network.ndim == 3 else of_parts)

    def window_outputs(
        self, network: Outputs, letters: NDArray[np.uint8], size: int, stride: int
    ) -> Outputs:
        """Combine the network's outputs of overlapping windows with those of the parts.

        Parameters
        ----------
        network
            Outputs of the windows on both strands, (2, n, C), or means over both, (1, n, C).
        letters, size, stride
            As for `Baseline.window_outputs`.
        """
        total = self.weights[0] * network + self.bias
        for weights, part in zip(self.weights[1:], self.parts, strict=True):
            total += weights * part.window_outputs(letters, size, stride)[: len(network)]
        return total

    def attributions(
        self,
        network: Sequence[NDArray[Any]],
        letters: Letters,
        output: int = 0,
        scale: float = 1.0,
        span: slice | None = None,
    ) -> list[NDArray[Any]]:
        """Add the substitution effects of the parts to the network's attributions.

        Parameters
        ----------
        network
            Hypothetical attributions of the network, one array (L, A) per sequence, each position
            centred over the bases.
        letters
            ASCII, one array (L,) per sequence.
        output, scale
            Index of the explained output, and its unit in those of the network's outputs.
        span
            Positions whose outputs are explained, see `Baseline.substitution_effects`.

        Returns
        -------
        Hypothetical attributions of the stack, centred over the bases. The parts add nothing at
        ambiguous bases.
        """
        total = [self.weights[0, output] * scores for scores in network]
        for weight, part in zip(self.weights[1:, output] * scale, self.parts, strict=True):
            alphabet = part.setup.alphabet
            for row, scores, effects in zip(
                letters, total, part.substitution_effects(letters, output, span), strict=True
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
        names = ["network", *(part.name for part in self.parts)]
        weights = dict(zip(names, self.weights.tolist(), strict=True))
        stored = StackWeights(
            weights=weights, bias=self.bias.tolist(), weights_sha256=weights_sha256
        )
        dump_json(folder / STACK / STACK_WEIGHTS, vars(stored))


def load_stack(
    model: str | Path, run: RunFile, weights_sha256: str, device: str = ""
) -> Stack | None:
    """Read the stack of a model folder; return None if the folder has none.

    Parts use one thread.

    Parameters
    ----------
    model
        The model folder.
    run
        Its run file.
    weights_sha256
        Hash of the network's weights.
    device
        Device of a pretrained model, as in `Setup`.

    Raises
    ------
    ModelFolderError
        If the weights or a part are missing or damaged, the stack was fitted to another network, or
        a part is not one of the run file or reads sequences differently.
    """
    stored = read_stack_weights(model)
    if stored is None:
        return None
    outputs, message = len(run.objective.output_names), ""
    if stored.weights_sha256 != weights_sha256:
        message = (
            f"the stack was fitted to the network {stored.weights_sha256[:12]}; the model folder "
            f"holds {weights_sha256[:12]}"
        )
    elif len(stored.bias) != outputs:
        message = f"bias has {len(stored.bias)} values for the {outputs} outputs of {RUN}"
    if message:
        ModelFolderError.fail(message, Path(model) / STACK / STACK_WEIGHTS, RETRAIN)
    fitted, reading = fitted_parts(model, device=device), Setup(policy_of(run.data)).reading
    for name in stored.parts:
        message = ""
        if name not in run.stack.parts:
            message = f"{name!r} is not in [stack] parts of {RUN}"
        elif name not in fitted:
            message = f"the stack has no part {name!r}"
        elif fitted[name].setup.reading != reading:
            message = f"part {name!r} has another alphabet, soft_mask or gaps than {RUN}"
        elif (found := fitted[name].setup.num_outputs) != outputs:
            message = f"part {name!r} has {found} outputs; {RUN} has {outputs}"
        if message:
            raise ModelFolderError(message, place=str(Path(model) / STACK), hint=RETRAIN)
    parts = tuple(fitted.pop(name) for name in stored.parts)
    weights = np.array(list(stored.weights.values()))
    return Stack(parts, weights, np.array(stored.bias), left_out=tuple(fitted.values()))


def fitted_parts(model: str | Path, threads: int = 1, device: str = "") -> dict[str, Baseline]:
    """Load all parts fitted for the stack of a model folder, by name.

    The result is empty if the folder has no stack.
    """
    folders = sorted(path for path in (Path(model) / STACK).glob("*") if path.is_dir())
    parts = (load_baseline(folder, threads, device) for folder in folders)
    return {part.name: part for part in parts}


def baseline_setup(
    run: RunFile, policy: SequencePolicy, section: AnyObjective | None = None, threads: int = 1
) -> Setup:
    """Return how the baselines of a run read records: strands, motif database, pretrained model.

    `section` is [objective] as the model was trained, and by default that of the run.
    """
    both = run.both_strands and policy.alphabet.has_complement
    strands: Literal["given", "both"] = "both" if both else "given"
    pretrained = run.model.folder if isinstance(run.model, PretrainedModel) else ""
    others = run.interpret.database, threads, section or run.objective, pretrained
    return Setup(policy, strands, *others)

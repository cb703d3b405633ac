"""Write a smaller model folder without the attention heads and layers that its gates closed.

The pruned model gives the same scores and runs faster.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from selfattn_bio.config import KeptLayer, PrunedGates
from selfattn_bio.errors import ArgumentError
from selfattn_bio.evaluation.card import best_metrics, write_card
from selfattn_bio.files import sha256_of, whole_folder
from selfattn_bio.model.checkpoint import (
    HISTORY,
    TRAINING_COST,
    TRAINING_RECORDS,
    WEIGHTS,
    check_model_output,
    load_model,
    save_model,
)
from selfattn_bio.model.pruning import prune_network
from selfattn_bio.scoring.loading import folder_of
from selfattn_bio.scoring.reference import load_reference
from selfattn_bio.scoring.stack import load_stack
from selfattn_bio.sequence.alphabet import get_alphabet

COPIED = (TRAINING_RECORDS, HISTORY, TRAINING_COST)


@dataclass(frozen=True)
class ModelSize:
    """Size of a model.

    The number of heads (or groups of heads), feed-forwards and non-empty layers over all members,
    the number of parameters, and the size of the weights file in bytes.
    """

    heads: int
    feedforwards: int
    layers: int
    parameters: int
    file: int


def prune(model: str | Path, output: str | Path) -> tuple[ModelSize, ModelSize]:
    """Write a pruned copy of a model folder.

    Parameters
    ----------
    model
        Folder of a model with `gates = { kind = "hard_concrete" }`.
    output
        The new model folder. It may be empty or hold an earlier model. Commands with --model accept
        it like the original.

    Returns
    -------
    The size of the model before and after.

    Raises
    ------
    ModelFolderError
        If a part of the model is missing, truncated, or does not belong to the others.
    ArgumentError
        If the model has no gates, or `output` is its own folder, which would delete the original.
    OutputError
        If `output` holds something other than a model.
    """
    folder, output = folder_of(model), Path(output)
    if output.resolve() == folder.resolve():
        raise ArgumentError(
            f"the pruned model cannot replace its original in {str(output)!r}; choose another "
            "folder"
        )
    check_model_output(output)
    run, network, provenance = load_model(folder)
    reference = load_reference(
        folder, get_alphabet(run.data.alphabet), provenance["weights_sha256"]
    )
    stack = load_stack(folder, run, provenance["weights_sha256"])
    number = sum(parameter.numel() for parameter in network.parameters())
    smaller = prune_network(run, network)
    gates = smaller.model.gates  # type: ignore[union-attr]
    assert isinstance(gates, PrunedGates)
    whole = KeptLayer(heads=tuple(range(run.model.num_groups)), feedforward=True)  # type: ignore[union-attr]
    before = _size(
        PrunedGates(members=tuple((whole,) * len(layers) for layers in gates.members)),
        number,
        folder,
    )
    of_weights = ("weights_sha256", "vocabulary_sha256")
    rest = {name: value for name, value in provenance.items() if name not in of_weights} | {
        "pruned_from": provenance["weights_sha256"]
    }
    with whole_folder(output) as temporary:
        save_model(
            temporary,
            smaller,
            {name: weight.contiguous() for name, weight in network.state_dict().items()},
            rest,
        )
        for name in COPIED:
            if (folder / name).exists():
                shutil.copyfile(folder / name, temporary / name)
        if stack:
            stack.save(temporary, sha256_of(temporary / WEIGHTS))
        if reference:
            reference.save(temporary, sha256_of(temporary / WEIGHTS))
        write_card(temporary, best_metrics(temporary))
    return before, _size(
        gates, sum(parameter.numel() for parameter in network.parameters()), output
    )


def _size(gates: PrunedGates, parameters: int, folder: Path) -> ModelSize:
    layers = [layer for of_member in gates.members for layer in of_member]
    return ModelSize(
        heads=sum(len(layer.heads) for layer in layers),
        feedforwards=sum(layer.feedforward for layer in layers),
        layers=sum(bool(layer.heads or layer.feedforward) for layer in layers),
        parameters=parameters,
        file=(folder / WEIGHTS).stat().st_size,
    )

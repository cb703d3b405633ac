"""The model card: one Markdown page per model folder.

It describes the model, its training data, its performance and its limits. Training writes it;
`evaluate` writes another next to metrics.json that includes the test figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from selfattn_bio.config import (
    ChromosomeSplit,
    ColumnSplit,
    FilesSplit,
    Gates,
    PrunedGates,
    RegionSplit,
    RunFile,
    TrackPartner,
    read_run_file,
)
from selfattn_bio.model.checkpoint import (
    CARD,
    HISTORY,
    RUN,
    read_provenance,
    read_stack_weights,
)

SHOWN = 12  # digits of a checksum
SAYS = {
    "binary": "the log-odds (`logit`) and the probability that a sequence is one of the positives",
    "multiclass": "the class of a sequence, with a probability of each",
    "multilabel": "a probability of each label of a sequence",
    "regression": "numbers of a sequence, in the units of the table it was trained on",
    "several": "several things of a sequence at once, those of each part",
    "labels": "a label of each letter",
    "bins": "of each bin of letters the probability that it holds a point on either strand",
    "masked": "nothing of a sequence by itself: it is a language model, to fine-tune from or to "
    "embed with",
    "causal": "nothing of a sequence by itself: it is a language model, to draw sequences from, "
    "fine-tune or embed with",
}


def write_card(
    folder: Path, valid: Mapping[str, float], test: Mapping[str, Mapping[str, float]] | None = None
) -> None:
    """Write the card into a model folder that is otherwise complete; see `model_card`."""
    (folder / CARD).write_text(model_card(folder, valid, test), encoding="utf-8")


def best_figures(folder: Path) -> dict[str, float]:
    """Return the validation figures of the saved weights, by their names in history.csv."""
    history, best = pd.read_csv(folder / HISTORY), read_provenance(folder)["best_step"]
    row = history[history["step"] == best].iloc[0]
    return {str(name): float(row[name]) for name in history if str(name).startswith("valid_")}


def model_card(
    folder: Path,
    valid: Mapping[str, float],
    test: Mapping[str, Mapping[str, float]] | None = None,
    others: Sequence[Path] = (),
) -> str:
    """Return the card of a model folder, or of the mean of several.

    Parameters
    ----------
    valid
        Figures of the best evaluation, named as in history.csv or metrics.json.
    test
        `test.model` of metrics.json: value, low and high of each metric. None if the model was not
        evaluated.
    others
        Folders of the other members, if the figures are those of the mean.
    """
    run, provenance = read_run_file(folder / RUN), read_provenance(folder)
    members = [_members(folder, others)] if others else []
    begins = [_title(run), *_stack(folder, run, is_judged=test is not None), *members]
    sections = [
        *begins,
        _training(run, provenance),
        _figures(run, provenance, valid, test),
        *_privacy(provenance),
    ]
    return "\n\n".join([*sections, _use(run), _origin(run, provenance)]) + "\n"


def used_files(sources: Iterable[Mapping[str, Any]]) -> list[Mapping[str, str]]:
    """List the files read with the sources of a corpus, each once, with path and sha256.

    These are genomes, excluded regions and tracks.
    """
    return list(
        {file["path"]: file for source in sources for file in source.get("files", [])}.values()
    )


def _members(folder: Path, others: Sequence[Path]) -> str:
    each = [
        f"| `{path}` | {(said := read_provenance(path)).get('seed')} | {said.get('best_step')} |"
        for path in (folder, *others)
    ]
    table = "\n".join(["| member | seed | step |", "|---|---|---|", *each])
    words = (
        f"The mean of {len(each)} trainings with different seeds: the figures are of the "
        "mean, what is said of one is of the first."
    )
    return (
        f"{words} Each folder has a card of its own; load all of them, as "
        f"`selfattn_bio.load([FOLDER, ...])`.\n\n{table}"
    )


def _title(run: RunFile) -> str:
    says = SAYS[run.objective.kind]
    control = (
        "\n\n**It is a control: its labels were shuffled, and it must tell nothing.**"
        if run.is_control()
        else ""
    )
    return (
        f"# {run.title or 'A model of selfattn_bio'}\n\nA {_words(run)} that reads "
        f"{_letters(run)} and says {says}.{control}"
    )


def _stack(folder: Path, run: RunFile, *, is_judged: bool) -> list[str]:
    """Name the simple models that are combined with the network."""
    if (stack := read_stack_weights(folder)) is None:
        return []
    words = (
        f"Its score is a weighted sum of the network's logit and those of {', '.join(stack.parts)}."
        if stack.parts
        else f"The simple models {', '.join(run.stack.parts)} were left out, because their "
        "weights were negligible."
    )
    words += " Weights, temperature and threshold were fitted on valid."
    return [words if is_judged else f"{words} The figures of valid below are of the network alone."]


def _words(run: RunFile) -> str:
    members = f"mean of {run.model.members} networks, " if run.model.members > 1 else ""
    if run.model.kind == "attention":
        layers = f"{run.model.num_layers} layer{'s' * (run.model.num_layers > 1)}" + _pruned(
            run.model.gates
        )
        mixer = run.model.mixer.kind
        attends = f"pattern {run.model.pattern.kind}" if mixer == "softmax" else f"mixer {mixer}"
        kind = f"self-attention encoder ({layers} of {run.model.embed_dim}, {attends})"
    elif run.model.kind == "paired":
        kind = (
            "self-attention encoder of each of two inputs, of which the first reads the "
            f"second ({run.model.cross_layers} cross-attention)"
        )
    else:
        kind = (
            "convolutional network" if run.model.kind == "cnn" else "dilated convolutional network"
        )
    kind += " with weights shared by both strands" if run.shares_strands else ""
    return f"{members}each a {kind}" if members else kind


def _pruned(gates: Gates) -> str:
    """Describe how many heads and feed-forwards of all members remain after pruning."""
    if not isinstance(gates, PrunedGates):
        return ""
    layers = [layer for of_member in gates.members for layer in of_member]
    heads, feedforwards = (
        sum(len(layer.heads) for layer in layers),
        sum(layer.feedforward for layer in layers),
    )
    return f", pruned to {heads} heads and {feedforwards} feed-forwards in all,"


def _letters(run: RunFile) -> str:
    tokens = f"{run.tokens.k}-mers every {run.tokens.stride} letter{'s' * (run.tokens.stride > 1)}"
    first = f"{'DNA' if run.data.alphabet == 'dna' else 'protein'} as {tokens}"
    match run.partner:
        case None:
            return first
        case TrackPartner(low=low, high=high):
            return f"{first}, beside a number of each letter from {low:g} to {high:g},"
        case partner:
            return (
                f"{first}, beside another sequence of each, {partner.alphabet}, as "
                f"{partner.k}-mers every {partner.stride},"
            )


def _training(run: RunFile, provenance: dict[str, Any]) -> str:
    files = [
        f"| {_source(each)} | {each['records']:,} | `{each['sha256'][:SHOWN]}` |"
        for each in provenance.get("data", [])
    ]
    files += [
        f"| `{each['path']}`, read with these | | `{each['sha256'][:SHOWN]}` |"
        for each in used_files(provenance.get("data", []))
    ]
    table = "\n".join(["| file | records | sha256 begins |", "|---|---|---|", *files])
    match run.split:
        case (
            ChromosomeSplit(kind=kind, valid=valid, test=test)
            | RegionSplit(kind=kind, valid=valid, test=test)
        ):
            how = f"by {kind}: valid {', '.join(valid)}; test {', '.join(test)}; all others train"
        case ColumnSplit(column=column):
            how = f"given with the data, in column `{column}`"
        case FilesSplit():
            how = "given with the data, as separate files"
        case split:
            how = (
                f"{split.kind}, valid {split.valid_fraction:.0%} and test "
                f"{split.test_fraction:.0%}, seed {split.seed}"
            )
    counts = (
        f"{provenance.get('num_train', 0):,} train and {provenance.get('num_valid', 0):,} "
        "valid records"
    )
    assembly = f" Coordinates are of {run.data.assembly}." if run.data.assembly else ""
    parents = [
        f"It started from the weights of {parent.get('folder')}."
        for parent in provenance.get("parents", [])[:1]
    ]
    trained = (
        f"{counts}; objective `{run.objective.kind}`; split {how}.{assembly} {' '.join(parents)}"
    ).rstrip()
    named = (
        "names the records of valid, and none of train"
        if "privacy" in provenance
        else "names every record of train and valid"
    )
    return f"## What it was trained on\n\n{table}\n\n{trained} `seen.parquet` {named}."


def _source(source: Mapping[str, Any]) -> str:
    """Name a file, or the method that generated negatives from it.

    Without the method, the file of the positives would appear twice.
    """
    return f"`{source['path']}`" + (
        f", {source['made']['kind']} negatives of it" if "made" in source else ""
    )


def _figures(
    run: RunFile,
    provenance: dict[str, Any],
    valid: Mapping[str, float],
    test: Mapping[str, Mapping[str, float]] | None,
) -> str:
    rows = [
        f"| {name.removeprefix('valid_')} | {value:.4g} | {_of_test(name, test)} |"
        for name, value in valid.items()
    ]
    rows += [
        f"| {name} | | {said} |"
        for name in test or {}
        if not {name, f"valid_{name}"} & set(valid) and (said := _of_test(name, test))
    ]
    table = "\n".join(["| | valid | test |", "|---|---|---|", *rows])
    chosen = (
        f"The weights are those of step {provenance.get('best_step')}, chosen on valid, "
        "whose figures are a little too good for that."
    )
    if not test:
        chosen += (
            " Test was not read for this page: `selfattn-bio evaluate` reads it, and writes "
            "this page anew beside metrics.json."
        )
    if exits := provenance.get("exits"):
        chosen += (
            " A record leaves the encoder once the head is sure of it: on valid after "
            f"{exits['mean_layers']:.2f} of {exits['layers']} "
            f"layers in the mean, for {exits['metric']} {exits['worth']:.4g}; the figures of valid "
            "above are those of all layers."
        )
    if run.objective.kind == "binary":
        calibration = provenance["calibration"]
        chosen += (
            f" Temperature {calibration['temperature']:.3f}, threshold "
            f"{calibration['threshold']:.3f}."
        )
    return f"## How good it is\n\n{table}\n\n{chosen}"


def _of_test(name: str, test: Mapping[str, Mapping[str, float]] | None) -> str:
    # some values are single numbers, such as the threshold
    found = (test or {}).get(name.removeprefix("valid_"))
    return (
        f"{found['value']:.4g} ({found['low']:.4g} to {found['high']:.4g})"
        if isinstance(found, Mapping) and "low" in found
        else ""
    )


def _privacy(provenance: dict[str, Any]) -> list[str]:
    """Describe the privacy budget spent and its scope."""
    if not (spent := provenance.get("privacy")):
        return []
    words = (
        f"The weights are (epsilon, delta) differentially private: epsilon {spent['epsilon']:.3g} "
        f"at delta {spent['delta']:.3g}, spent by "
        f"{spent['steps']:,} steps, each with every training record drawn at "
        f"{spent['sample_rate']:.3g}, its gradient cut to "
        f"{spent['max_grad_norm']:g} and noise of {spent['noise_multiplier']:.3g} times that."
    )
    lines = [
        "Covered is each training record by itself: a sequence that is there twice, or relatives "
        "of one, are told more of.",
        "Not covered: records of valid and test, how many records there were, the choice of "
        "settings (a sweep is one training a job), "
        "checksums of the input in `provenance.json`, and what the weights of a parent tell.",
    ]
    return ["## Privacy\n\n" + words + "\n\n" + "\n".join(f"- {line}" for line in lines)]


def _use(run: RunFile) -> str:
    lines = [
        "For sequences like those it was trained on: as long, of the same organisms, cut in the "
        "same way. The column `unlike` of "
        "`score_sequences` says which are not.",
        "What it learnt is what sets its classes apart, no more: other negatives would have made "
        "another model."
        if run.objective.kind == "binary"
        else "What it learnt is what its table said, with the errors of the table.",
        "Its probabilities are for the shares of classes it was trained on: in a genome, where "
        "positives are rare, they are far too high."
        if run.objective.kind == "binary"
        else "It was judged on held-out records of the same origin, and on no others.",
        "It is no diagnosis, and no proof of function.",
    ]
    return "## Use and limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _origin(run: RunFile, provenance: dict[str, Any]) -> str:
    versions = ", ".join(
        f"{name} {version}" for name, version in provenance.get("versions", {}).items()
    )
    commit = provenance.get("git_commit")
    made = [
        f"Weights `{provenance['weights_sha256'][:SHOWN]}`, seed {provenance.get('seed')}",
        f"code {commit}" if commit else "",
        versions,
    ]
    code = "\n".join(
        [
            "import selfattn_bio",
            "model = selfattn_bio.load(FOLDER)  # the folder in which this page stands",
            "selfattn_bio.score_sequences(model, "
            f"SEQUENCES{', partner=PARTNERS' * (run.partner is not None)})",
        ]
    )
    return (
        f"## How to load it\n\n```python\n{code}\n```\n\n{'; '.join(filter(None, made))}. "
        "`run.toml` and `provenance.json` say the rest."
    )

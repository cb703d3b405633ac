"""The model card: one Markdown page per model folder.

It describes the model, its training data, its performance and its limits. Training writes it;
`evaluate` writes another next to metrics.json that includes the test figures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from selfattn_bio.config import RunFile, read_run_file
from selfattn_bio.config.writing import toml_value
from selfattn_bio.display import one_line, with_interval
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.evaluation.metrics import estimates, title_of
from selfattn_bio.model.checkpoint import (
    CARD,
    HISTORY,
    RETRAIN,
    RUN,
    read_provenance,
    read_stack_weights,
)
from selfattn_bio.objectives import objective_of
from selfattn_bio.sequence.alphabet import get_alphabet

SHOWN = 12  # digits of a checksum
SETTINGS = {"tokens", "partner", "model", "split"}  # sections of the run file
NETWORKS = {
    "attention": "self-attention encoder",
    "paired": "pair of self-attention encoders, one per input, joined by cross-attention,",
    "pretrained": "pretrained encoder",
    "module": "network of a module",
    "cnn": "convolutional network",
    "dilated": "dilated convolutional network",
}
Estimates = Mapping[str, Any]  # metrics by name, as an entry of metrics.json


def write_card(folder: Path, valid: Estimates) -> None:
    """Write the card into a model folder that is otherwise complete; see `model_card`."""
    (folder / CARD).write_text(model_card(folder, valid), encoding="utf-8")


def best_metrics(folder: Path) -> dict[str, dict[str, float]]:
    """Return the validation metrics of the saved weights, as `{metric: {value}}`.

    Raises
    ------
    ModelFolderError
        If the history cannot be read, or lacks the step of the weights.
    """
    history, best = read_history(folder / HISTORY), read_provenance(folder).get("best_step")
    rows = history[history["step"] == best].select_dtypes("number")
    if rows.empty:
        message = f"the training history lacks step {best}, that of the weights"
        raise ModelFolderError(message, place=str(folder / HISTORY), hint=RETRAIN)
    found = rows.filter(regex="^valid_").iloc[0].astype(float)
    return {str(name).removeprefix("valid_"): {"value": of} for name, of in found.items()}


def read_history(path: Path, *columns: str) -> pd.DataFrame:
    """Read the metrics of each evaluation of a training, at least one, with these columns.

    Raises
    ------
    ModelFolderError
        If the file is missing or not valid CSV, or a column is missing or has text.
    """
    try:
        history = pd.read_csv(path)
    except FileNotFoundError:
        ModelFolderError.fail("the job has no training history", path, "Train the job first")
    except ValueError as error:
        message = f"the training history is not valid CSV: {error}"
        raise ModelFolderError(message, place=str(path), hint="Train the job again") from error
    numeric = history.select_dtypes("number")
    if history.empty or (missing := sorted({"step", *columns} - set(numeric))):
        what = f"no column {missing[0]!r} of numbers" if len(history) else "no rows"
        ModelFolderError.fail(f"the training history has {what}", path, "Train the job again")
    return history


def model_card(
    folder: Path,
    valid: Estimates,
    test: Estimates | None = None,
    others: Sequence[Path] = (),
    left_out: str = "",
) -> str:
    """Return the card of a model folder, or of the mean of several models, as Markdown.

    Parameters
    ----------
    folder
        The model folder; the first one if there are several.
    valid, test
        Metrics on both splits, as `valid.model` and `test.model` of metrics.json: value, low and
        high of each metric. `test` is None if the model was not evaluated.
    others
        The other model folders, if the metrics belong to the mean of several models.
    left_out
        Which baselines were not compared with the model, from `left_out_sentence`.
    """
    run, provenance = read_run_file(folder / RUN), read_provenance(folder)
    sections = [
        _front_matter(run),
        _title(run),
        *_stack(folder, run, is_judged=test is not None),
        *([_members(folder, others)] if others else []),
        _training(run, provenance),
        _settings(run),
        _figures(run, provenance, {"valid": valid, "test": test or {}}),
        left_out,
        *_privacy(provenance),
        _use(run),
        _origin(run, provenance),
    ]
    text = "\n\n".join(filter(None, sections)) + "\n"
    # titles and names of the user are no HTML; code is shown as it is
    code = r"(?<!`)((`+)(?!`)[^\n]*?(?<!`)\2(?!`))"
    return re.sub(f"{code}|<", lambda found: found[1] or "&lt;", text)


def left_out_sentence(names_by_reason: Mapping[str, Sequence[str]]) -> str:
    """Name the baselines that were left out, with the reasons; empty without any."""
    each = [f"{' and '.join(of)}, because {reason}" for reason, of in names_by_reason.items()]
    return f"Left out of the comparison: {'; '.join(each)}." if each else ""


def used_files(sources: Iterable[Mapping[str, Any]]) -> list[Mapping[str, str]]:
    """List the files read with the sources of a corpus, each once, with path and sha256.

    These are genomes, excluded regions and tracks.
    """
    return list(
        {file["path"]: file for source in sources for file in source.get("files", [])}.values()
    )


def _code(text: object) -> str:
    """Return text as inline code, also in a cell of a table, whatever its characters."""
    shown = one_line(str(text)).replace("`", "'").replace("|", r"\|")
    return f"`{shown}`"


def _front_matter(run: RunFile) -> str:
    """Return YAML that model hubs read: the library and tags to search for."""
    tags = ["biology", run.data.alphabet, run.objective.kind, run.model.kind]
    return "\n".join(
        ["---", "library_name: selfattn_bio", "tags:", *(f"- {tag}" for tag in tags), "---"]
    )


def _members(folder: Path, others: Sequence[Path]) -> str:
    each = [
        f"| {_code(path)} | {found.get('seed')} | {found.get('best_step')} |"
        for path in (folder, *others)
        for found in [read_provenance(path)]
    ]
    table = "\n".join(["| member | seed | step |", "|---|---|---|", *each])
    return (
        f"The model is the mean of {len(each)} trainings with different seeds. The metrics are "
        "those of the mean. Everything else on this page describes the first member. Each folder "
        f"has its own card. Load all of them with `selfattn_bio.load([FOLDER, ...])`.\n\n{table}"
    )


def _title(run: RunFile) -> str:
    predicts = objective_of(run.objective).predicts
    inputs = [run.data.alphabet, *([run.partner.alphabet] if run.partner else [])]
    read = " together with ".join(get_alphabet(name).title for name in inputs)
    control = (
        "\n\n**This model is a negative control: it was trained on shuffled labels, so it should "
        "be no better than chance.**"
        if run.is_control()
        else ""
    )
    return (
        f"# {one_line(run.title or 'A model of selfattn_bio')}\n\nA {_network(run)} that reads "
        f"{read} and {predicts}.{control}"
    )


def _stack(folder: Path, run: RunFile, *, is_judged: bool) -> list[str]:
    """Name the simple models that are combined with the network."""
    if (stack := read_stack_weights(folder)) is None:
        return []
    words = stack.sentences(run.stack.parts)
    words += " Their weights were fitted on the validation set."
    words += (
        " The validation metrics below use cross-validated weights."
        if is_judged
        else " The validation metrics below are those of the network alone."
    )
    return [words]


def _network(run: RunFile) -> str:
    members = f"mean of {run.model.members} networks, each a " if run.model.members > 1 else ""
    shared = " with weights shared by both strands" if run.shares_strands else ""
    return f"{members}{NETWORKS[run.model.kind]}{shared}"


def _training(run: RunFile, provenance: dict[str, Any]) -> str:
    files = [
        f"| {_source(each)} | {each['records']:,} | `{each['sha256'][:SHOWN]}` |"
        for each in provenance.get("data", [])
    ]
    files += [
        f"| {_code(each['path'])} | | `{each['sha256'][:SHOWN]}` |"
        for each in used_files(provenance.get("data", []))
    ]
    table = "\n".join(["| file | records | sha256 (start) |", "|---|---|---|", *files])
    assembly = f" Coordinates refer to {one_line(run.data.assembly)}." if run.data.assembly else ""
    parents = [
        f" Training started from the weights of {one_line(str(parent.get('folder')))}."
        for parent in provenance.get("parents", [])[:1]
    ]
    trained = (
        f"{provenance.get('num_train', 0):,} training records and "
        f"{provenance.get('num_valid', 0):,} validation records, "
        f"split of kind `{run.split.kind}`. "
        f"Objective: `{run.objective.kind}`.{assembly}{''.join(parents)}"
    )
    named = "lists every training and validation record"
    if "privacy" in provenance:
        named = "lists the validation records, but no training records"
    return f"## Training data\n\n{table}\n\n{trained} `seen.parquet` {named}."


def _settings(run: RunFile) -> str:
    sections = run.model_dump(mode="json", include=SETTINGS, exclude_none=True)
    if "folder" in sections["model"]:  # of pretrained weights; its path is of one machine
        sections["model"]["folder"] = Path(sections["model"]["folder"]).name
    lines = [f"- {_code(f'{name} = {toml_value(of)}')}" for name, of in sections.items()]
    return "\n".join(["## Settings\n", *lines, "", "`run.toml` has all settings."])


def _source(source: Mapping[str, Any]) -> str:
    """Name a file, or the method that generated negatives from it.

    Without the method, the file of the positives would appear twice.
    """
    return _code(source["path"]) + (
        f" ({source['made']['kind']} negatives)" if "made" in source else ""
    )


def _figures(run: RunFile, provenance: dict[str, Any], found: Mapping[str, Estimates]) -> str:
    by_split = {split: dict(estimates(of)) for split, of in found.items()}
    rows = [
        [title_of(name), *(_shown(of, name) for of in by_split.values())]
        for name in by_split["valid"] | by_split["test"]
    ]
    known = [f"| {' | '.join(row)} |" for row in rows if any(row[1:])]
    table = "\n".join(["| | valid | test |", "|---|---|---|", *known])
    chosen = (
        f"The weights are those of step {provenance.get('best_step')}, which was best on the "
        "validation set, so the validation metrics are optimistic."
    )
    if not found["test"]:
        chosen += (
            " This page has no test metrics. `selfattn-bio evaluate` writes a copy of this page "
            "with test metrics next to metrics.json."
        )
    if objective_of(run.objective).has_log_odds:
        calibration = Calibration.of(provenance["calibration"])
        chosen += (
            f" Calibrated log-odds are {calibration.slope:.3f} \N{MULTIPLICATION SIGN} logit "
            f"{calibration.intercept:+.3f} (Platt scaling). Records with a calibrated "
            f"probability of at least {calibration.threshold:.3f} are predicted to be positive."
        )
    return f"## Performance\n\n{table}\n\n{chosen}"


def _shown(found: Mapping[str, Any], name: str) -> str:
    """Return a metric with its interval as in the report; empty if it is undefined."""
    if pd.isna((of := found.get(name, {})).get("value")):
        return ""
    if of.get("low") is None:
        return f"{of['value']:.4g}"
    floor = f"; {of['floor']:.3f} if perfectly calibrated" if "floor" in of else ""
    return f"{with_interval(of['value'], of['low'], of['high'], 3, sign='')}{floor}"


def _privacy(provenance: dict[str, Any]) -> list[str]:
    """Describe the privacy budget spent and its scope."""
    if not (spent := provenance.get("privacy")):
        return []
    words = (
        f"The weights are (epsilon, delta) differentially private: epsilon {spent['epsilon']:.3g} "
        f"at delta {spent['delta']:.3g}, after {spent['steps']:,} steps. Each step samples every "
        f"training record with probability {spent['sample_rate']:.3g}, clips its gradient to the "
        f"norm {spent['max_grad_norm']:g} and adds Gaussian noise with a standard deviation of "
        f"{spent['noise_multiplier']:.3g} times this norm."
    )
    lines = [
        "The guarantee is for single training records. It is weaker for a sequence with duplicates "
        "or relatives in the training data.",
        "It does not cover validation and test records, the number of records, the choice of "
        "settings (each job of a sweep is a separate training with its own budget), the checksums "
        "of the input in `provenance.json`, and the weights of a parent.",
    ]
    return ["## Privacy\n\n" + words + "\n\n" + "\n".join(f"- {line}" for line in lines)]


def _use(run: RunFile) -> str:
    lines = [
        "Use it for sequences like its training data: same length, organisms and preparation. The "
        "column `out_of_distribution` of `score_sequences` marks sequences that differ.",
        *objective_of(run.objective).limits,
        "Its predictions are not a diagnosis, and not evidence of function.",
    ]
    return "## Use and limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _origin(run: RunFile, provenance: dict[str, Any]) -> str:
    versions = ", ".join(
        f"{name} {version}" for name, version in provenance.get("versions", {}).items()
    )
    commit = provenance.get("git_commit")
    made = [
        f"Weights with sha256 `{provenance['weights_sha256'][:SHOWN]}`..., seed "
        f"{provenance.get('seed')}",
        f"code {commit}" if commit else "",
        versions,
    ]
    partner = "" if run.partner is None else ", partner=PARTNERS"
    code = (
        "import selfattn_bio\n\n"
        "model = selfattn_bio.load(FOLDER)  # the folder with this file\n"
        f"selfattn_bio.score_sequences(model, SEQUENCES{partner})"
    )
    return (
        f"## How to load it\n\n```python\n{code}\n```\n\n{'; '.join(filter(None, made))}. "
        "See `run.toml` and `provenance.json` for details."
    )

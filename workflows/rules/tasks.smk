# Input, params and targets that depend on a run file. Rules take their sections as params, never the file: then a change
# of [interpret] reruns interpretation only, and a comment or a blank line in the file reruns nothing.
import difflib
import json
import os
import sys
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

from selfattn_bio.config import RunFile, check_files
from selfattn_bio.errors import RunFileError
from selfattn_bio.extras import install_command
from selfattn_bio.layout import Layout
from selfattn_bio.study import Study

# Rules call selfattn-bio, jupytext and papermill of the environment that runs Snakemake, activated or not.
os.environ["PATH"] = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
)

# The files of a task, of a variant, and of any of their members and jobs.
TASK, VARIANT, PART = (
    Layout(Path("results/{task}" + part)) for part in ("", "{variant}", "{variant}{part}")
)

# Name of a notebook in notebooks/ -> the results that it shows, as in `Layout`.
NOTEBOOKS = {
    "motifs": ["metrics", "motifs"],
    "attention": ["metrics", "attribution"],
    "scoring": ["metrics"],
}

RUN_FILES = {path.stem: path for path in sorted(Path("workflows/tasks").glob("*.toml"))}
STUDIES: dict[str, Study] = {}
TARGETS: dict[str, set[str]] = {}  # train and sweep, by name of the task


def study_of(task: str) -> Study:
    """Return a task. Its run file is read on first use, so that an error in one file does not stop other tasks."""
    if task not in STUDIES:
        try:
            STUDIES[task] = Study(RUN_FILES[task])
        except RunFileError as error:
            # Snakemake would print six more lines for any Exception; SystemExit prints one line, exit code 1.
            sys.exit(f"error: {error}")
    return STUDIES[task]


def run_of(task: str) -> RunFile:
    """Return the run file of a task."""
    return study_of(task).task


def study_at(wildcards) -> Study:
    """Return the task, variant, member or job that the wildcards select."""
    study, variant = study_of(wildcards.task), getattr(wildcards, "variant", "")
    try:
        if variant:
            study = study.variant(variant.removeprefix("/variants/"))
        match getattr(wildcards, "part", "").split("/"):
            case ["", "members", number]:
                study = study.member(int(number))
            case ["", "sweep", name]:
                study = study.job(name)
    except RunFileError as error:
        sys.exit(f"error: {error}")
    return study


@cache
def without_notebooks() -> str:
    """Return the sentences about missing packages of the extra `notebooks`; empty if there are none."""
    modules = ("papermill", "jupytext", "ipykernel")
    missing = [name for name in modules if find_spec(name) is None]
    install = f"Install: {install_command('notebooks')}"
    return f"notebooks need {' and '.join(missing)}. {install}" if missing else ""


@cache
def notebooks_of(task: str) -> list[Path]:
    """Return the notebooks of a task with two classes, which show one input. Without their extra, print a line."""
    study = study_of(task)
    if study.task.objective.kind != "binary" or study.task.partner:
        return []
    if without_notebooks():
        print(f"{task} ends with the report: {without_notebooks()}", file=sys.stderr)
        return []
    return [study.root.notebook(name) for name in NOTEBOOKS]


def results_of(task: str, wildcards=None) -> list[Path]:
    """Return the final results of a task: the report, which needs the audit, and the notebooks."""
    TARGETS.setdefault(task, set()).add("train")
    return [study_of(task).root.report, *notebooks_of(task)]


def shown_by(wildcards) -> list[Path]:
    """Return the results that a notebook shows.

    Missing packages are reported before the training, not after it.
    """
    if without_notebooks():
        sys.exit(f"error: {without_notebooks()}")
    return [getattr(study_at(wildcards).root, name) for name in NOTEBOOKS[wildcards.notebook]]


def ranking_of(task: str, wildcards=None) -> list[Path]:
    TARGETS.setdefault(task, set()).add("sweep")
    if run_of(task).sweep is None:
        sys.exit(f"error: {RUN_FILES[task]}: the run file has no [sweep]")
    return [study_of(task).root.ranking]


def no_such_task(wildcards) -> list[str]:
    """End with an error about a target such as train_min; Snakemake would only report that no rule makes that file."""
    target = f"{wildcards.command}_{wildcards.name}"
    if Path(target).exists():  # a file of the user: a missing input keeps this rule from making it
        return [".snakemake/no_such_task"]
    near = difflib.get_close_matches(wildcards.name, RUN_FILES, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    sys.exit(
        f"error: unknown task {wildcards.name!r}{hint} Tasks in workflows/tasks/: {', '.join(RUN_FILES) or 'none'}"
    )


def run_file(wildcards) -> str:
    return str(RUN_FILES[wildcards.task])


def sections(*names: str):
    """Return a params function that gives the named sections, or single keys (section.key), of the run as JSON."""
    shown = {}
    for name in names:
        section, _, key = name.partition(".")
        shown[section] = {*shown.get(section, ()), key} if key else True
    return lambda wildcards: json.dumps(
        study_at(wildcards).run.model_dump(mode="json", include=shown), sort_keys=True
    )


def split_sections(wildcards) -> str:
    """Return the sections that the split depends on; the objective if records may lack a value to learn."""
    columns = study_at(wildcards).run.objective.target_columns
    return sections("split", *["objective"] * bool(columns))(wildcards)


def train_sections(wildcards) -> str:
    """Return the sections that a training depends on; the motif database only if a part of the stack scans it."""
    run = study_at(wildcards).run
    names = ["tokens", "partner", "objective", "model", "training", "transfer", "privacy", "stack"]
    if run.evaluation.strands:  # an empty section would change params and retrain finished models
        names.append("evaluation.strands")
    if "motif_scores" in run.stack.parts:
        names.append("interpret.database")
    return sections(*names)(wildcards)


def read_by_ingest(wildcards) -> str:
    """Return as JSON what ingest reads from other sections: repeated sequences, and columns of split and targets."""
    run = run_of(wildcards.task)
    column = run.split.column if run.split.kind in ("column", "files") else None
    return json.dumps([run.repeats, column, run.objective.target_columns])


def first_member(wildcards) -> list[Path]:
    """Return the model of the first member: the stacks of further members take their fitted parts from it."""
    study = study_at(wildcards)
    first = study.member(1) if study.address.member > 1 else study
    return [first.files.history] if first.files != study.files and study.run.stack.parts else []


def stack_database(wildcards) -> list[str]:
    """Return the motif database that the stack scans, if it is a file."""
    return database_file(wildcards) if "motif_scores" in study_at(wildcards).run.stack.parts else []


def parent_model(wildcards) -> list[str]:
    """Return the model that a run starts from; the model of another task is trained first."""
    run = study_at(wildcards).run
    return [model_of(run.transfer, wildcards)] if run.transfer else []


def parent_models(wildcards) -> list[str]:
    """Return the models that a task and its variants start from."""
    run = run_of(wildcards.task)
    transfers = [each.transfer for each in run.trained.values() if each.transfer]
    return list(dict.fromkeys(model_of(transfer, wildcards) for transfer in transfers))


def model_of(transfer, wildcards) -> str:
    parent = transfer.parent
    if "/" not in parent and parent not in RUN_FILES and not transfer.ships:
        sys.exit(
            f"error: {run_file(wildcards)}: transfer.parent {parent!r} is not a task, a folder or 'motifs'"
        )
    if transfer.ships and parent in RUN_FILES:
        hint = f"name its model by the path results/{parent}/model"
        sys.exit(
            f"error: {run_file(wildcards)}: transfer.parent {parent!r} is both a model that ships and a task; {hint}"
        )
    is_result = transfer.folder.parts[0] == "results"  # others are not trained by this workflow
    return str(transfer.folder / TASK.history.name if is_result else transfer.folder)


def data_files(wildcards) -> list[str]:
    """Return the files of [data] and [partner].

    A missing file is an error here: without this check Snakemake would silently continue from an old corpus.
    """
    run = run_of(wildcards.task)
    return existing([*run.data.inputs, *((run.partner and run.partner.files) or ())], wildcards)


def target_files(wildcards) -> list[str]:
    """Return the files that the objective reads: the points of `bins`, the tracks of `profile`."""
    return existing([*run_of(wildcards.task).objective.hashes], wildcards)


def interpreted(wildcards) -> list[Path]:
    """Return what the report shows besides metrics: motifs and attributions of each member, and pairs of motifs.

    Language models have no motifs, and bins only if [interpret] targets names strands. Pairs of motifs are in DNA and RNA.
    """
    run = run_of(wildcards.task)
    if not run.is_interpreted:
        return []
    layout = study_at(wildcards).root
    more = [layout.interactions] if run.data.alphabet != "protein" and not run.partner else []
    if getattr(run.partner, "kind", "") == "sequence":
        more = [layout.of_partner().motifs]
    members = [each.files for each in study_of(wildcards.task).members]
    return [path for each in members for path in (each.motifs, each.attribution)] + more


def database_name(wildcards) -> str:
    return run_of(wildcards.task).interpret.database


def database_file(wildcards) -> list[str]:
    """Return the motif database if it is a file.

    A wrong path is reported before the training, not after it.
    """
    database = run_of(wildcards.task).interpret.database_file
    return existing([database] if database else [], wildcards)


def existing(files: list[str], wildcards) -> list[str]:
    try:
        check_files(run_of(wildcards.task).path, files)
    except RunFileError as error:
        sys.exit(f"error: {error}")
    return files


def models_of(wildcards) -> list[Path]:
    """Return the models that `evaluate` compares: members of the task and of its variants."""
    study = study_of(wildcards.task)
    return [each.files.history for of in (study, *study.variants.values()) for each in of.members]


def sweep_models(wildcards) -> list[Path]:
    return [job.files.history for job in study_of(wildcards.task).jobs]

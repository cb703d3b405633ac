# Input, params and targets that depend on a run file. Rules take their sections as params, never the file: then a change
# of [interpret] reruns interpretation only, and a comment or a blank line in the file reruns nothing.
import difflib
import json
import os
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from selfattn_bio.config import RunFile, read_run_file
from selfattn_bio.errors import RunFileError
from selfattn_bio.extras import install_command

# Rules call selfattn-bio, jupytext and papermill of the environment that runs Snakemake, activated or not.
os.environ["PATH"] = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
)

# Name of a notebook in notebooks/ -> the results that it shows.
NOTEBOOKS = {
    "motifs": ["corpus", "metrics.json", "motifs.meme", "motifs.tsv"],
    "attention": ["model", "attribution"],
    "scoring": ["corpus", "model", "metrics.json", "predictions/test.tsv"],
}

# They need the extra `notebooks`.
NOTEBOOK_MODULES = ("papermill", "jupytext", "ipykernel")

RUN_FILES = {path.stem: path for path in sorted(Path("workflows/tasks").glob("*.toml"))}
RUNS: dict[str, RunFile] = {}


def run_of(task: str) -> RunFile:
    """Return the run file of a task. It is read on first use, so that an error in one file does not stop other tasks."""
    if task not in RUNS:
        try:
            RUNS[task] = read_run_file(RUN_FILES[task])
        except RunFileError as error:
            # Snakemake would print six more lines for any Exception; SystemExit prints one line, exit code 1.
            sys.exit(f"error: {error}")
    return RUNS[task]


def results_folder(wildcards, output) -> str:
    """Return the folder of an output, for commands that name the files in it themselves."""
    return os.path.dirname(output[0])


def results_of(task: str, wildcards=None) -> list[str]:
    """Return the final results of a task.

    All end with the report, which needs the audit; two classes also with the notebooks, which show one input.
    """
    has_notebooks = run_of(task).objective.kind == "binary" and not run_of(task).partner
    return [
        f"results/{task}/report.html",
        *(f"results/{task}/{name}.ipynb" for name in NOTEBOOKS if has_notebooks),
    ]


def shown_by(wildcards) -> list[str]:
    """Return the results that a notebook shows.

    Missing packages are reported before the training, not after it.
    """
    missing = [name for name in NOTEBOOK_MODULES if find_spec(name) is None]
    if missing:
        sys.exit(
            f"error: notebooks need {' and '.join(missing)}. Install: {install_command('notebooks')}"
        )
    return [f"results/{wildcards.task}/{name}" for name in NOTEBOOKS[wildcards.notebook]]


def ranking_of(task: str, wildcards=None) -> list[str]:
    if run_of(task).sweep is None:
        sys.exit(f"error: {RUN_FILES[task]}: the run file has no [sweep]")
    return [f"results/{task}/sweep.tsv"]


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


def variant_name(wildcards) -> str:
    return getattr(wildcards, "variant", "").removeprefix("/variants/")


def part_of(wildcards) -> dict:
    """Return the part of the run file that the wildcards select, as arguments of `RunFile.part`."""
    match getattr(wildcards, "part", "").split("/"):
        case ["", "members", number]:
            part = {"member": int(number)}
        case ["", "sweep", name]:
            part = {"job": name}
        case _:
            part = {}
    return {"variant": variant_name(wildcards)} | part


def run_at(wildcards) -> RunFile:
    """Return the run that the wildcards select."""
    try:
        return run_of(wildcards.task).part(**part_of(wildcards))
    except ValueError as error:
        sys.exit(f"error: {run_file(wildcards)}: {error}")


def train_options(wildcards) -> list[str]:
    return [
        word
        for key, value in part_of(wildcards).items()
        if value
        for word in (f"--{key}", str(value))
    ]


def sections(*names: str):
    """Return a params function that gives the named sections, or single keys (section.key), of the run as JSON."""
    named = [name.partition(".") for name in names]
    shown = {section: {key} if key else True for section, _, key in named}
    return lambda wildcards: json.dumps(
        run_at(wildcards).model_dump(mode="json", include=shown), sort_keys=True
    )


def train_sections(wildcards) -> str:
    """Return the sections that a training depends on; the motif database only if a part of the stack scans it."""
    run = run_at(wildcards)
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


def first_member(wildcards) -> list[str]:
    """Return the model of the first member: the stacks of further members take their fitted parts from it."""
    is_further = "member" in part_of(wildcards) and run_at(wildcards).stack.parts
    return [f"results/{wildcards.task}/model"] if is_further else []


def stack_database(wildcards) -> list[str]:
    """Return the motif database that the stack scans, if it is a file."""
    return database_file(wildcards) if "motif_scores" in run_at(wildcards).stack.parts else []


def split_table(wildcards) -> str:
    """Return the split table of a training; the table of a sweep has no test records."""
    return f"results/{wildcards.task}/{'sweep/' if 'job' in part_of(wildcards) else ''}split.tsv"


def parent_model(wildcards) -> list[str]:
    """Return the model that a run starts from; the model of another task is trained first."""
    run = run_at(wildcards)
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
    return str(transfer.folder)


def data_files(wildcards) -> list[str]:
    """Return the files of [data] and [partner].

    A missing file is an error here: without this check Snakemake would silently continue from an old corpus.
    """
    run = run_of(wildcards.task)
    return [
        *existing("[data]", run.data.inputs, wildcards),
        *existing("[partner]", run.partner.inputs if run.partner else [], wildcards),
    ]


def points_file(wildcards) -> list[str]:
    """Return the file of points of the objective `bins`."""
    points = getattr(run_of(wildcards.task).objective, "points", None)
    return existing("[objective] points", [points] if points else [], wildcards)


def interpreted(wildcards) -> list[str]:
    """Return what the report shows besides metrics: motifs and attributions of each member, and pairs of motifs.

    Language models have no motifs, and bins only if [interpret] targets names strands. Pairs of motifs are tested in
    DNA, for tasks with one input.
    """
    run = run_of(wildcards.task)
    if not run.is_interpreted:
        return []
    if run.partner:
        more = ["partner/motifs.tsv"] if run.partner.kind == "sequence" else []
    else:
        more = ["interactions.tsv"] if run.data.alphabet == "dna" else []
    folders = [str(Path(model).parent) for model in own_models(wildcards)]
    return [f"{folder}/{name}" for folder in folders for name in ("motifs.tsv", "attribution")] + [
        f"results/{wildcards.task}/{name}" for name in more
    ]


def database_name(wildcards) -> str:
    return run_of(wildcards.task).interpret.database


def database_file(wildcards) -> list[str]:
    """Return the motif database if it is a file.

    A wrong path is reported before the training, not after it.
    """
    database = run_of(wildcards.task).interpret.database_file
    return existing("[interpret] database", [database], wildcards) if database else []


def existing(key: str, files: list[str], wildcards) -> list[str]:
    for file in files:
        if not Path(file).is_file():
            sys.exit(f"error: {run_file(wildcards)}: {key}: no such file: {file!r}")
    return files


def member_models(run: RunFile, folder: str) -> list[str]:
    """Return the model folders of a run; the first is where a single model would be."""
    return [
        f"{folder}/model",
        *(f"{folder}/members/{number}/model" for number in range(2, run.training.seeds + 1)),
    ]


def own_models(wildcards) -> list[str]:
    return member_models(run_of(wildcards.task), f"results/{wildcards.task}")


def named_variant_models(wildcards) -> list[tuple[str, str]]:
    run = run_of(wildcards.task)
    folders = {
        name: member_models(run.variant(name), f"results/{wildcards.task}/variants/{name}")
        for name in run.variants
    }
    return [(name, model) for name, models in folders.items() for model in models]


def variant_models(wildcards) -> list[str]:
    return [model for _, model in named_variant_models(wildcards)]


def variant_options(wildcards) -> list[str]:
    return [
        word
        for name, model in named_variant_models(wildcards)
        for word in ("--variant", f"{name}={model}")
    ]


def sweep_models(wildcards) -> list[str]:
    return [f"results/{wildcards.task}/{job.folder}/model" for job in run_of(wildcards.task).jobs()]

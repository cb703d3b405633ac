# What the rules ask of a run file. Rules take their own sections as params, never the file: a change of [interpret] then
# reruns interpretation alone, and a comment or a blank line in the file reruns nothing.
import json
import os
import sys
from functools import partial
from pathlib import Path

from selfattn_bio.config import Data, RunFile, read_run_file
from selfattn_bio.errors import RunFileError

# Rules call selfattn-bio, jupytext and papermill of the environment in which Snakemake runs, activated or not.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

RUN_FILES = {path.stem: path for path in sorted(Path("workflows/tasks").glob("*.toml"))}
RUNS: dict[str, RunFile] = {}


def run_of(task: str) -> RunFile:
    """The run file of a task, read when the task is first asked for: a mistake in one file stops no other task."""
    if task not in RUNS:
        try:
            RUNS[task] = read_run_file(RUN_FILES[task])
        except RunFileError as error:
            # Any Exception would come out of Snakemake wrapped in six lines of its own; this one stays one line, exit code 1.
            sys.exit(f"error: {error}")
    return RUNS[task]


def results_of(task: str, wildcards=None) -> list[str]:
    """What a task is done with: report and notebook of positives against negatives, metrics of any other objective."""
    if run_of(task).objective.kind == "binary":
        return [f"results/{task}/report.html", f"results/{task}/motifs.ipynb"]
    return [f"results/{task}/metrics.json"]


def run_file(wildcards) -> str:
    return str(RUN_FILES[wildcards.task])


def variant_name(wildcards) -> str:
    return getattr(wildcards, "variant", "").removeprefix("/variants/")


def sections(*names: str):
    """A params function: the named sections of the run file as JSON, the variant of the wildcards laid over them."""

    def read(wildcards) -> str:
        run, variant = run_of(wildcards.task), variant_name(wildcards)
        run = run.variant(variant) if variant else run
        return json.dumps(run.model_dump(mode="json", include=set(names)), sort_keys=True)

    return read


def parent_model(wildcards) -> list[str]:
    """The model that a run starts from: that of a task is trained first."""
    run, variant = run_of(wildcards.task), variant_name(wildcards)
    run = run.variant(variant) if variant else run
    if run.transfer is None:
        return []
    if "/" not in run.transfer.parent and run.transfer.parent not in RUN_FILES:
        sys.exit(f"error: {run_file(wildcards)}: transfer.parent must be a task or a folder, got {run.transfer.parent!r}")
    return [str(run.transfer.folder)]


def fasta_files(wildcards) -> list[str]:
    """The FASTA files of a task. Checked here: Snakemake would go on from an old corpus in silence if one were gone."""
    return existing([file for file, _ in run_of(wildcards.task).data.files], wildcards)


def targets_file(wildcards) -> list[str]:
    targets = run_of(wildcards.task).data.targets
    return existing([targets] if targets else [], wildcards)


def existing(files: list[str], wildcards) -> list[str]:
    for file in files:
        if not Path(file).is_file():
            sys.exit(f"error: {run_file(wildcards)}: [data] must name existing files, got {file!r}")
    return files


def ingest_options(data: Data) -> list[str]:
    options = ["--alphabet", data.alphabet, "--min-length", str(data.min_length), "--max-length", str(data.max_length)]
    options += ["--assembly", data.assembly] if data.assembly else []
    options += ["--targets", data.targets] if data.targets else []
    labels = [str(label) for _, label in data.files if label is not None]
    return options + (["--label", *labels] if labels else [])


def variant_models(wildcards) -> list[str]:
    return [f"results/{wildcards.task}/variants/{name}/model" for name in run_of(wildcards.task).variants]


def variant_options(wildcards) -> list[str]:
    models = zip(run_of(wildcards.task).variants, variant_models(wildcards), strict=True)
    return [word for name, model in models for word in ("--variant", f"{name}={model}")]


def control_motifs(wildcards) -> list[str]:
    """Controls go through interpretation as the model does; the report sets their count of supported motifs beside it."""
    run = run_of(wildcards.task)
    return [f"results/{wildcards.task}/variants/{name}/motifs.tsv" for name in run.variants if run.variant(name).is_control()]

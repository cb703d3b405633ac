# From FASTA to motifs with evidence. Each run file workflows/tasks/NAME.toml adds a target `train_NAME`.
import atexit
import re


include: "rules/tasks.smk"
include: "rules/launch.smk"
include: "rules/corpus.smk"
include: "rules/model.smk"
include: "rules/sweep.smk"
include: "rules/motifs.smk"
include: "rules/report.smk"


# `variant` is empty for the run of the task itself, or /variants/NAME for a baseline or control.
# `part` is empty for the first member, /members/NUMBER for further members, and /sweep/JOB for the jobs of a sweep.
wildcard_constraints:
    task="[^/]+",
    variant="(/variants/[a-z0-9_]+)?",
    notebook="|".join(NOTEBOOKS),
    part="(/members/[0-9]+|/sweep/[0-9a-f]+)?",


for task in RUN_FILES:

    rule:
        name:
            f"train_{task}"
        input:
            partial(results_of, task),
        localrule: True
        message:
            f"All results of {task} are complete"

    rule:
        name:
            f"sweep_{task}"
        input:
            partial(ranking_of, task),
        localrule: True
        message:
            f"The sweep of {task} is ranked"


# Matches train_NAME and sweep_NAME without a task of that name, and ends with an error message.
rule no_such_task:
    input:
        no_such_task,
    output:
        "{command,train|sweep}_{name,[A-Za-z0-9_-]+}",


onsuccess:
    from selfattn_bio.report.lines import (
        final_lines,
    )  # slow to import: at the top every job would pay for it

    for task, run in RUNS.items():
        for line in final_lines(task, run, Path("results") / task):
            print(line, file=sys.stderr)


def print_causes(snakemake_logs: list[str]) -> None:
    """Print where the logs of failed steps are, and the last line of each, which has the cause."""
    text = "".join(Path(path).read_text(encoding="utf-8") for path in snakemake_logs)
    failed = list(
        dict.fromkeys(re.findall(r"^ +log: (.+) \(check log file", text, flags=re.MULTILINE))
    )
    # a step that did not start has no log
    logs = failed or [f"results/{task}/logs/" for task in RUNS]
    print(
        "Finished steps are kept. Run the same command again to continue. "
        f"Logs: {', '.join(logs)}",
        file=sys.stderr,
    )
    for path in map(Path, failed):
        if path.is_file() and (
            lines := path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        ):
            print(lines[-1], file=sys.stderr)


onerror:
    atexit.register(print_causes, log)  # at exit, after the last messages of Snakemake

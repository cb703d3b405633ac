# From FASTA to motifs with evidence. Each run file workflows/tasks/NAME.toml gives a target `train_NAME` by itself.
import atexit
import re


include: "rules/tasks.smk"
include: "rules/launch.smk"
include: "rules/corpus.smk"
include: "rules/model.smk"
include: "rules/sweep.smk"
include: "rules/motifs.smk"
include: "rules/report.smk"


# A variant (baseline or control) has its results in the same form, in variants/NAME below its task; the task's own run has none.
# Of either, members beyond the first have a model folder in members/NUMBER, and the jobs of a sweep in sweep/JOB.
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
            f"All results of {task} are there"

    rule:
        name:
            f"sweep_{task}"
        input:
            partial(ranking_of, task),
        localrule: True
        message:
            f"The sweep of {task} is ranked"


# No file is made by it: it is found for train_NAME and sweep_NAME where no task has the name.
rule no_such_task:
    input:
        no_such_task,
    output:
        "{command,train|sweep}_{name,[A-Za-z0-9_-]+}",


onsuccess:
    from selfattn_bio.report.closing import closing_lines  # it takes seconds to import, which each job would pay

    for task, run in RUNS.items():
        for line in closing_lines(run, Path("results") / task):
            print(f"{task}: {line}", file=sys.stderr)
        for result in (f"results/{task}/sweep.tsv", results_of(task)[0]):
            if Path(result).exists():
                print(f"{'Report' if result.endswith('.html') else 'Results'}: {result}", file=sys.stderr)


def say_cause(snakemake_logs: list[str]) -> None:
    """Where the logs of what failed are, as Snakemake's own name them, and the last line of each, which is the cause."""
    text = "".join(Path(path).read_text(encoding="utf-8") for path in snakemake_logs)
    failed = list(dict.fromkeys(re.findall(r"^ +log: (.+) \(check log file", text, flags=re.MULTILINE)))
    places = failed or [f"results/{task}/logs/" for task in RUNS]  # a step that never started names no log
    print(f"What is finished is kept: the same command goes on from there. Logs: {', '.join(places)}", file=sys.stderr)
    for path in map(Path, failed):
        if path.is_file() and (lines := path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]):
            print(lines[-1], file=sys.stderr)


onerror:
    atexit.register(say_cause, log)  # at the very end, after what Snakemake itself has yet to say

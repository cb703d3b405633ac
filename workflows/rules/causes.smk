# Shorter messages of Snakemake, the steps that are left, and lines about failed steps, which are printed after them.
import re
from collections import Counter

from snakemake.exceptions import LockException, WorkflowError
from snakemake.logging import DefaultFormatter, logger
from snakemake_interface_logger_plugins.common import LogEvent

# beginnings of messages that repeat others, or that say nothing about a step
NOISE = (
    "Select jobs to execute",
    "Execute ",
    "RuleException:\nCalledProcessError in file",
    "Shutting down, this might take some time",
    "Exiting because a job execution failed",
    "WorkflowError:\nAt least one job did not complete successfully",
)
logger.addFilter(lambda record: not record.getMessage().startswith(NOISE))

LEFT = Counter()  # unfinished steps by name of the rule


def count_steps(record) -> bool:
    """Count the steps that are left, from Snakemake's table of jobs and its lines about finished ones."""
    match getattr(record, "event", None):
        case LogEvent.RUN_INFO:
            LEFT.update(record.stats)
        case LogEvent.JOB_FINISHED:
            LEFT.subtract(re.findall(r"\(Rule: (.+)\)$", record.msg))
    return True


def format_progress(formatter, message) -> str:
    """Return Snakemake's line about progress, with the names of the steps that are left."""
    ends = {"total", *(f"{kind}_{task}" for kind in ("train", "sweep") for task in RUN_FILES)}
    names = [
        f"{name} ({number})" if number > 1 else name
        for name, number in LEFT.items()
        if number > 0 and name not in ends
    ]
    left = f"; left: {', '.join(names)}" if names else ""
    return f"{progress_of_snakemake(formatter, message)}{left}"


logger.addFilter(count_steps)
progress_of_snakemake = DefaultFormatter.format_progress
DefaultFormatter.format_progress = format_progress

ALREADY_RUNNING = (
    "error: another run in this folder makes the same results. Wait until it ends; if there is none, because it was "
    "killed, run the command once with --unlock at its end, and then as before"
)
# the message of Snakemake has five lines
LockException.__init__ = lambda self: WorkflowError.__init__(self, ALREADY_RUNNING)


def print_causes(snakemake_logs: list[str]) -> None:
    """Print where the logs of failed steps are, and the last line of each, which has the cause."""
    text = "".join(Path(path).read_text(encoding="utf-8") for path in snakemake_logs)
    failed = list(
        dict.fromkeys(re.findall(r"^ +log: (.+) \(check log file", text, flags=re.MULTILINE))
    )
    # a step that did not start has no log
    logs = failed or [f"results/{task}/logs/" for task in STUDIES]
    print(
        "Finished steps are kept. Correct the cause, then run the same command again to continue. "
        f"Logs: {', '.join(logs)}",
        file=sys.stderr,
    )
    for path in map(Path, failed):
        if path.is_file() and (
            lines := path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        ):
            print(lines[-1], file=sys.stderr)

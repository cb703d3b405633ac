"""Compare this checkout with an older one: scores, explanations, attention, and the promoter task.

The checkouts take turns. Each has a process with one thread that runs every case once per round;
figures are medians of CPU time. Then both run `snakemake --cores 2 train_promoter` in a new clone
of their last commit, and the CPU time of each command is counted when it ends. Clone the older
commit first, for example with `git clone . OLDER && git -C OLDER checkout 902a3aa9`.

    python benchmarks/commits.py OLDER
    python benchmarks/commits.py OLDER --rounds 1 --no-task     # quick
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from harness import ROOT, Row, Table, option, run, seconds

RECORDS, LENGTH, FAR = 96, 8192, 131072
WIDTH = 50  # of the names of rows
# Stands for `selfattn-bio` in the environment, and writes the CPU time of each command.
COUNTING = """#!{python}
import json, resource, subprocess, sys
code = subprocess.call([sys.executable, "-m", "selfattn_bio", *sys.argv[1:]])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open({steps!r}, "a", encoding="utf-8") as file:
    print(json.dumps([sys.argv[1:], used.ru_utime + used.ru_stime]), file=file)
sys.exit(code)
"""


# ------------ one checkout
def cases() -> dict[str, Callable[[], object]]:
    """Return the cases of the checkout that is imported, each with its unit of time."""
    import numpy as np
    import peers
    import torch

    import selfattn_bio

    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("medium")
    rng = np.random.default_rng(0)
    model = selfattn_bio.load("promoter")
    records = ["".join(rng.choice(list("ACGT"), 300)) for _ in range(RECORDS)]

    def backward(module: torch.nn.Module, length: int, precision: str) -> Callable[[], object]:
        x = torch.randn(1, length, peers.DIM, requires_grad=True)

        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                module(x).sum().backward()

        return step

    found: dict[str, Callable[[], object]] = {
        f"explain {RECORDS} records of 300 bp": lambda: selfattn_bio.explain(model, records),
        f"score {16 * RECORDS} records of 300 bp": lambda: selfattn_bio.score_sequences(
            model, records * 16
        ),
    }
    for precision in ("float32", "bfloat16"):
        for name, pattern in (("window", peers.WINDOWED), ("BigBird", peers.BIGBIRD)):
            layer = peers.Ours(peers.attention_layer(peers.section("auto", pattern)))
            lengths = (LENGTH, FAR) if name == "window" else (LENGTH,)
            for length in lengths:
                title = f"{name} layer, {length:,} tokens, {precision}"
                found[title] = backward(layer, length, precision)
        encoder = peers.our_encoder(peers.KERNELS_OF_WINDOWS[0])
        title = f"window encoder, {peers.LAYERS} layers, {LENGTH:,} tokens, {precision}"
        found[title] = backward(encoder, LENGTH, precision)
    return found


def serve() -> None:
    """Print the CPU seconds of all cases for each line read, after a round without a line."""
    found = cases()
    seconds(found, 1)
    for _ in sys.stdin:
        print(json.dumps({name: times[0] for name, times in seconds(found, 1).items()}), flush=True)


def environment(checkout: Path, **changes: str) -> dict[str, str]:
    """Return the environment of a process that imports the package of a checkout."""
    path = f"{checkout}{os.pathsep}{checkout / 'benchmarks'}"
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **changes}


# ------------ both
def rows(found: Mapping[str, Mapping[str, list[float]]], digits: int) -> Iterator[Row]:
    """Compare the medians of the older checkout and of this one."""
    older, now = found.values()
    for name in {**older, **now}:
        before, after = (statistics.median(each.get(name, [0.0])) for each in (older, now))
        ratio = f"{before / after:.2f}" if before and after else ""
        cells = {key: f"{x:.{digits}f}" for key, x in (("before", before), ("now", after))}
        yield {"CPU seconds": f"{name:{WIDTH}}", **cells, "before / now": ratio}


def case_rows(checkouts: Mapping[str, Path], rounds: int) -> Iterator[Row]:
    """Time the cases of both checkouts in turn."""
    processes = {
        name: subprocess.Popen(
            # -P: the benchmarks of the checkout, not those next to this file
            [sys.executable, "-P", __file__, "--serve"],
            cwd=folder,
            env=environment(folder),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name, folder in checkouts.items()
    }
    found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in checkouts}
    for _ in range(rounds):
        for name, process in processes.items():
            assert process.stdin
            assert process.stdout
            print(file=process.stdin, flush=True)
            for case, value in json.loads(process.stdout.readline()).items():
                found[name][case].append(value)
    for process in processes.values():
        process.communicate()
    yield from rows(found, 3)


def counting_environment(folder: Path, steps: Path) -> Path:
    """Imitate this virtual environment with a `selfattn-bio` that counts; return its programs.

    The workflow looks for `selfattn-bio` next to its Python, and on PATH later.
    """
    programs = folder / "bin"
    programs.mkdir(parents=True)
    for name in ("lib", "pyvenv.cfg"):
        (folder / name).symlink_to(Path(sys.prefix, name))
    for program in Path(sys.executable).parent.iterdir():
        if program.name != "selfattn-bio":
            (programs / program.name).symlink_to(program)
    counting = programs / "selfattn-bio"
    counting.write_text(COUNTING.format(python=sys.executable, steps=str(steps)))
    counting.chmod(0o755)
    return programs


def task_seconds(checkout: Path) -> dict[str, list[float]]:
    """Run the promoter task in a new clone; return CPU seconds of its commands, and the time."""
    with tempfile.TemporaryDirectory() as folder:
        clone, steps = (Path(folder, name) for name in ("clone", "steps.jsonl"))
        subprocess.run(["git", "clone", "-q", checkout, clone], check=True)
        programs = counting_environment(Path(folder, "environment"), steps)
        path = os.pathsep.join([str(programs), os.environ["PATH"]])
        command = f"{programs}/python -m snakemake --cores 2 train_promoter"
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        with open(f"{folder}/log", "w+") as log:
            code = subprocess.call(
                shlex.split(command),
                cwd=clone,
                env=environment(clone, PATH=path),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
            if code:
                log.seek(0)
                sys.exit(f"error: {command} failed in {clone}:\n{log.read()[-2000:]}")
        total = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found: dict[str, list[float]] = {}
        for line in steps.read_text().splitlines():
            arguments, used = json.loads(line)
            found.setdefault(step_name(arguments), [0.0])[0] += used
        rest = total - sum(each[0] for each in found.values())
        return {
            **dict(sorted(found.items())),
            "Snakemake and others": [rest],
            "all": [total],
            "the clock": [wall],
        }


def step_name(arguments: list[str]) -> str:
    """Name a command of the task by its first word, and by the variant that it trains."""
    step, *rest = arguments
    variants = [name for name in ("cnn", "shuffled") if any(name in word for word in rest)]
    return " ".join([step, *variants]) if step == "train" else step


def measure(chosen: argparse.Namespace) -> Iterator[Table | str]:
    """Time the cases, then the promoter task."""
    checkouts = {"before": chosen.older.resolve(), "now": ROOT}
    commits = {
        name: subprocess.run(
            ["git", "log", "-1", "--format=%h of %as"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for name, folder in checkouts.items()
    }
    yield f"Before: {commits['before']}; now: {commits['now']}."
    title = f"Cases, one thread, median of {chosen.rounds} rounds"
    yield Table(title, case_rows(checkouts, chosen.rounds))
    if not chosen.no_task:
        found = {name: task_seconds(folder) for name, folder in checkouts.items()}
        yield Table("snakemake --cores 2 train_promoter, one run each", rows(found, 0))


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        run(
            __doc__,
            measure,
            option("older", type=Path, help="checkout of the older commit"),
            option("--rounds", type=int, default=5, help="of each case (default: 5)"),
            option("--no-task", action="store_true", help="leave out the promoter task"),
        )

"""Time the way from a trained model to its report, command by command, on one thread.

A model trained for 300 steps explains 1,000 positives of 200 bp of the development grammar `five`
with 3,000 records; the evidence comes from the 15 % in test. The commands are those of the
workflow, each in a separate process, so that starting Python and importing libraries count. The
functions of numba are compiled before, as `make` does at setup. The steps before (simulate, ingest,
split, train, evaluate) are not timed and are kept in results/bench_motif_time/. The four timed
commands run again each time.

The table has CPU seconds and wall-clock seconds of explain, motifs (with the default caller,
matches and evidence), interactions and report. The goal is a sum of less than 90 CPU seconds. On an
idle core wall-clock time is similar; with other work it is much longer.

    python benchmarks/motif_time.py
    python benchmarks/motif_time.py --records 400 --steps 4      # a check
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import time
from pathlib import Path

import tomli_w
from promoter import command, is_trained

from selfattn_bio.config import read_run_file
from selfattn_bio.interpret.explanation import Explanation

GRAMMAR = Path(__file__).parent / "grammars/development/five.toml"
FOLDER = Path("results/bench_motif_time")
EXPLAINED, AIM = 1000, 90  # sequences; CPU seconds
WRITTEN = ("attribution", "motifs.tsv", "interactions.tsv", "report.html")


def prepared(records: int, steps: int) -> Path:
    """Prepare a task with an evaluated model, the inputs of `explain` and later commands."""
    folder = FOLDER / f"{records}-{steps}"
    run_file, corpus, split, model = (
        folder / name for name in ("run.toml", "corpus", "split.tsv", "model")
    )
    folder.mkdir(parents=True, exist_ok=True)
    if not split.exists():
        small = folder / "grammar.toml"
        small.write_text(
            f"records = {records}\n{GRAMMAR.read_text(encoding='utf-8')}", encoding="utf-8"
        )
        command("simulate", small, "--output", folder / "data")
        values = read_run_file(folder / "data/task.toml").model_dump(
            mode="json", exclude_unset=True
        )
        values["training"] |= {
            "max_steps": steps,
            "warmup_steps": min(100, steps // 3),
            "evaluate_every": steps,
            "checkpoint_every": steps,
        }
        values["interpret"]["max_sequences"] = EXPLAINED
        run_file.write_text(tomli_w.dumps(values | {"variants": {}}), encoding="utf-8")
        command("ingest", "--run-file", run_file, "--output", corpus)
        command("split", "--run-file", run_file, "--corpus", corpus, "--output", split)
    if not is_trained(run_file, "", model, corpus, split):
        shared = ("--run-file", run_file, "--corpus", corpus, "--split", split)
        command("train", *shared, "--threads", 1, "--output", model)
        command("evaluate", *shared, "--model", model, "--output", folder)
    return folder


def timed(*arguments: object) -> tuple[float, float]:
    """Return CPU seconds and wall-clock seconds of a command, including its startup."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command(*arguments)
    clock, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, clock


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=3000, help="records of the grammar")
    parser.add_argument("--steps", type=int, default=300, help="steps of the training")
    chosen = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"
    folder = prepared(chosen.records, chosen.steps)
    for name in WRITTEN:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    run_file, attribution = folder / "run.toml", folder / "attribution"
    shared = (
        "--run-file",
        run_file,
        "--corpus",
        folder / "corpus",
        "--split",
        folder / "split.tsv",
        "--model",
        folder / "model",
    )
    took = {
        "explain": timed("explain", *shared, "--output", attribution),
        "motifs": timed("motifs", *shared, "--attribution", attribution, "--output", folder),
        "interactions": timed(
            "interactions",
            *shared,
            "--motifs",
            folder / "motifs.meme",
            "--output",
            folder / "interactions.tsv",
        ),
        "report": timed(
            "report",
            "--run-file",
            run_file,
            "--results",
            folder,
            "--output",
            folder / "report.html",
        ),
    }
    auroc = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["test"]["model"][
        "auroc"
    ]["value"]
    print(
        f"\ntest AUROC {auroc:.3f}; {len(Explanation.load(attribution).ids)} sequences explained\n"
    )
    took["total"] = tuple(map(sum, zip(*took.values(), strict=True)))
    print("| command | CPU s | wall s |\n|---|---|---|")
    for name, (cpu, clock) in took.items():
        print(f"| {name} | {cpu:.1f} | {clock:.1f} |")
    print(f"\ngoal of less than {AIM} CPU s: {'reached' if took['total'][0] < AIM else 'missed'}")


if __name__ == "__main__":
    main()

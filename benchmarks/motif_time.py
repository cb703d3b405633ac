"""From a trained model to its report: what a user waits for motifs with evidence, command by command, on one thread.

1,000 positives of 200 letters are explained, of the development grammar `five` with 3,000 records (15 % of them test, where the evidence is
weighed), by a model trained for 300 steps. The commands are those of the workflow, each a process of its own, so that starting Python and
reading libraries count; numba's functions are compiled before, as `make` does at set-up. What must be there before (simulate, ingest,
split, train, evaluate) is not timed and is kept in results/bench_motif_time/; the four commands that are timed run anew each time.

explain, motifs (with the default caller, matches and evidence), interactions, report: seconds of the processor and by the clock, and their
sum, which is to be less than 90 s of the processor: on an idle core the clock says little more, beside other work much more.
Run: `python benchmarks/motif_time.py`; `--records 400 --steps 4` is a check.
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
EXPLAINED, AIM = 1000, 90  # sequences; seconds of the processor
WRITTEN = ("relevance", "motifs.tsv", "interactions.tsv", "report.html")


def prepared(records: int, steps: int) -> Path:
    """The folder of a task with its model judged: all that `explain` and the commands behind it read."""
    folder = FOLDER / f"{records}-{steps}"
    run_file, corpus, split, model = (folder / name for name in ("run.toml", "corpus", "split.tsv", "model"))
    folder.mkdir(parents=True, exist_ok=True)
    if not split.exists():
        small = folder / "grammar.toml"
        small.write_text(f"records = {records}\n{GRAMMAR.read_text(encoding='utf-8')}", encoding="utf-8")
        command("simulate", small, "--output", folder / "data")
        values = read_run_file(folder / "data/task.toml").model_dump(mode="json", exclude_unset=True)
        values["training"] |= {"max_steps": steps, "warmup_steps": min(100, steps // 3), "evaluate_every": steps, "checkpoint_every": steps}
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
    """Seconds of the processor and by the clock that a command takes, with its start."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command(*arguments)
    clock, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, clock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=3000, help="of the grammar")
    parser.add_argument("--steps", type=int, default=300, help="of the training")
    chosen = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"
    folder = prepared(chosen.records, chosen.steps)
    for name in WRITTEN:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    run_file, relevance = folder / "run.toml", folder / "relevance"
    shared = ("--run-file", run_file, "--corpus", folder / "corpus", "--split", folder / "split.tsv", "--model", folder / "model")
    took = {
        "explain": timed("explain", *shared, "--output", relevance),
        "motifs": timed("motifs", *shared, "--relevance", relevance, "--output", folder),
        "interactions": timed("interactions", *shared, "--motifs", folder / "motifs.meme", "--output", folder / "interactions.tsv"),
        "report": timed("report", "--run-file", run_file, "--results", folder, "--output", folder / "report.html"),
    }
    auroc = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["test"]["model"]["auroc"]["value"]
    print(f"\ntest AUROC {auroc:.3f}; {len(Explanation.load(relevance).ids)} sequences explained\n")
    took["together"] = tuple(map(sum, zip(*took.values(), strict=True)))
    print("| command | s of the processor | s by the clock |\n|---|---|---|")
    for name, (cpu, clock) in took.items():
        print(f"| {name} | {cpu:.1f} | {clock:.1f} |")
    print(f"\nthe aim, less than {AIM} s of the processor: {'reached' if took['together'][0] < AIM else 'missed'}")


if __name__ == "__main__":
    main()

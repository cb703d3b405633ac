"""Measure the default model on sets with published figures: `init`, `train` and `evaluate`, with nothing chosen by hand.

Any folder with train, dev and test tables (CSV, columns sequence and label) can be measured. The sets that
`make bench-accuracy` measures are not part of the project. They are looked for in --bench DIR, in the environment variable
SELFATTN_BENCH, and in ../shared/bench. The tasks of the project are measured next to them.

Three trainings with different seeds are scored on the test records: the complete model, its network alone, and the simple
baseline with the best test figure, which is the hardest comparison. The interval of the difference is over test records.

Results stay in results/bench_accuracy/SET. A training is repeated only if its run file, data or code changed,
and `init` only if its code changed.

    python benchmarks/accuracy.py gue_core_tata ecoli70      # some of the sets
    python benchmarks/accuracy.py path/to/folder             # a folder of your own
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import numpy as np
import pandas as pd
import protein_ss3
import tomli_w
import torch
from promoter import command, is_trained
from published import FOLDER, bench_folder, code_hash, said
from scipy.special import expit

from selfattn_bio.data.corpus import Corpus
from selfattn_bio.evaluation.metrics import Bootstrap, Sampled
from selfattn_bio.scoring.scorer import load
from selfattn_bio.sequence.splits import read_split

SEEDS = 3
SPLITS = ("valid", "test")
DRAWS = 1000
# What init depends on, besides the code of the models that it tries.
INIT_SOURCES = ("cli/init.py", "cli/proposal/*.py", "config/*.py", "training/recipes.py")


@dataclass(frozen=True)
class TableSet:
    """A folder of train, dev and test tables.

    Parameters
    ----------
    organism
        Of the motif database, as `init --organism` takes it.
    published
        Figures of other models, for the table.
    metric
        Name in metrics.json.
    """

    organism: str = "vertebrates"
    published: str = ""
    metric: str = "mcc"

    def prepare(self, name: str, folder: Path) -> Path:
        """Write the run file with `init`, the corpus and the split; return the run file."""
        place = FOLDER / name
        place.mkdir(parents=True, exist_ok=True)
        task = place / "workflows" / "tasks" / "task.toml"
        code, now = task.with_suffix(".code"), code_hash(*INIT_SOURCES)
        if not (task.exists() and code.exists() and code.read_text() == now):
            task.unlink(missing_ok=True)
            files = {split: find_table(folder, *names) for split, names in TABLES.items()}
            options = [word for split, file in files.items() for word in (f"--{split}", str(file.resolve()))]
            init = [sys.executable, "-m", "selfattn_bio.cli.main", "init", "task", *options, "--organism", self.organism]
            subprocess.run(init, check=True, cwd=place)
            code.write_text(now)
        return ingested(task, place)


@dataclass(frozen=True)
class ProjectTask:
    """A task of two classes that ships with the project."""

    published: str = ""
    metric: str = "auroc"

    def prepare(self, name: str, folder: Path) -> Path:
        """Write the corpus and the split; return the run file."""
        return ingested(Path("workflows/tasks") / f"{name}.toml", FOLDER / name)


TABLES = {"train": ("train",), "valid": ("dev", "valid", "val", "validation"), "test": ("test",)}
SETS: dict[str, TableSet | ProjectTask] = {
    "gue_core_tata": TableSet(published="DNABERT-3mer .782, DNABERT-2 .742"),
    "ecoli70": TableSet("bacteria", "CNNProm .84 (another split)"),
    "arabidopsis_tata": TableSet("plants", "iPTT-CNN .937 (10-fold)"),
    "gue_mouse0": TableSet(published="DNABERT-2 .568, further pretrained .642"),
    "gue_tf4": TableSet(published="DNABERT-2 .774, DNABERT-6mer .710"),
    "gue_tf1": TableSet(published="DNABERT-2 .761, DNABERT-6mer .701"),
    "promoter": ProjectTask(),
    "amp": ProjectTask(),
}


def find_table(folder: Path, *names: str) -> Path:
    """Return the table of one of these names in a folder; the process ends if there is none."""
    for name in names:
        for suffix in (".csv", ".csv.gz", ".tsv", ".tsv.gz"):
            if (path := folder / f"{name}{suffix}").is_file():
                return path
    sys.exit(f"error: {folder}: no table named {' or '.join(names)} (.csv or .tsv, also .gz)")


def ingested(task: Path, place: Path) -> Path:
    """Read the records of a run file and split them; return the run file."""
    shared = ("--run-file", task)
    command("ingest", *shared, "--output", place / "corpus")
    command("split", *shared, "--corpus", place / "corpus", "--output", place / "split.tsv")
    return task


def train_seeds(task: Path, place: Path, seeds: int) -> list[Path]:
    """Train with each seed, one thread and one core each; return the model folders."""
    values = tomllib.loads(task.read_text(encoding="utf-8"))

    def trained(seed: int) -> Path:
        run_file, output = place / f"seed{seed}.toml", place / f"seed{seed}"
        with_seed = values | {"training": {**values.get("training", {}), "seed": seed}}
        run_file.write_text(tomli_w.dumps(with_seed), encoding="utf-8")
        corpus, split, code = place / "corpus", place / "split.tsv", output.with_suffix(".code")
        now = code_hash()
        done = is_trained(run_file, "", output, corpus, split) and code.exists() and code.read_text() == now
        if not done:
            shared = ("--run-file", run_file, "--corpus", corpus, "--split", split)
            command("train", *shared, "--threads", 1, "--output", output)
            code.write_text(now)
        return output

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(trained, range(seeds)))


def measure(name: str, kind: TableSet | ProjectTask, folder: Path, seeds: int) -> dict[str, str]:
    """Return a row of the table."""
    place = FOLDER / name
    task = kind.prepare(name, folder)
    models = train_seeds(task, place, seeds)
    first = ("--run-file", place / "seed0.toml", "--corpus", place / "corpus", "--split", place / "split.tsv")
    command("evaluate", *first, "--model", models[0], "--output", place)
    corpus = Corpus.open(place / "corpus")
    split = np.array(read_split(place / "split.tsv", corpus.records["id"]))
    letters = {of: [corpus.letters(int(row)) for row in np.flatnonzero(split == of)] for of in SPLITS}
    labels = {of: corpus.records["label"].to_numpy(dtype=np.int64)[split == of] for of in SPLITS}
    scorers = [load(model) for model in models]
    score = bootstrapped(labels, letters, kind.metric)
    model = score([scorer.logits for scorer in scorers])
    network = score([replace(scorer, stack=None).logits for scorer in scorers])
    baselines = {path.name: score([load(path).logits]) for path in sorted((place / "baselines").iterdir())}
    best = max(baselines, key=lambda each: baselines[each]["test"].value)
    lead = model["test"].minus(baselines[best]["test"])
    alone = network["test"].minus(baselines[best]["test"])
    seconds = [json.loads((each / "train.json").read_text())["seconds"] for each in models]
    stack = scorers[0].stack
    return {
        "set": name,
        "metric": kind.metric.upper(),
        "model, dev": f"{model['valid'].value:.3f}",
        "model": said(model["test"].interval()),
        "network alone": f"{network['test'].value:.3f}",
        "best simple baseline": f"{baselines[best]['test'].value:.3f} ({best})",
        "model - baseline": said(lead, "+"),
        "network - baseline": said(alone, "+"),
        "published": kind.published or "-",
        "stacked with": ", ".join(part.name for part in stack.parts) if stack else "-",
        "seeds": str(seeds),
        "seconds": f"{mean(seconds):.0f}",
    }


Logits = Callable[[Sequence[np.ndarray]], np.ndarray]


def bootstrapped(
    labels: dict[str, np.ndarray], letters: dict[str, list[np.ndarray]], metric: str
) -> Callable[[list[Logits]], dict[str, Sampled]]:
    """Return a function from several models to the mean of their metric on valid and test; calls are probabilities of .5 and above."""
    bootstraps = {of: Bootstrap(labels[of], DRAWS) for of in SPLITS}

    def score(models: list[Logits]) -> dict[str, Sampled]:
        found = {}
        for of in SPLITS:
            each = [bootstraps[of].metrics(expit(logits(letters[of])), threshold=0.5)[metric] for logits in models]
            draws = np.mean([sampled.draws for sampled in each], axis=0)
            found[of] = Sampled(mean(sampled.value for sampled in each), draws, each[0].low_high)
        return found

    return score


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [*SETS, protein_ss3.NAME]
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"{', '.join(known)}, or a folder (default: all)")
    parser.add_argument("--bench", metavar="DIR", help="folder of the sets (default: SELFATTN_BENCH, or ../shared/bench)")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help="trainings per set (default: %(default)s)")
    options = parser.parse_args(arguments)
    names = options.sets or known
    bench = bench_folder(options.bench) if any(isinstance(SETS.get(name), TableSet) or name == protein_ss3.NAME for name in names) else None
    torch.set_num_threads(1)
    rows = []
    for name in names:
        kind, folder = SETS.get(name, TableSet()), Path(name)
        if name in known and not isinstance(kind, ProjectTask):
            folder = bench / name
        if not isinstance(kind, ProjectTask) and not folder.is_dir():
            sys.exit(f"error: {folder}: no such folder; known sets are {', '.join(known)}")
        rows.append(
            protein_ss3.judge(name, bench) if name == protein_ss3.NAME else measure(folder.name or name, kind, folder, options.seeds)
        )
        print(f"\n{pd.Series(rows[-1]).to_string()}\n", flush=True)
    print(f"\nMeans of {options.seeds} seeds on the test records. 95 % intervals by bootstrap over test records.\n")
    table = pd.DataFrame(rows).fillna("-")
    print("| " + " | ".join(table) + " |\n|" + "---|" * len(table.columns))
    for row in table.itertuples(index=False):
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()

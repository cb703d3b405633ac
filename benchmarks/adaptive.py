"""Compare accuracy and size on the promoter task: gates, fixed small networks and early exits.

All networks are that of the promoter task with four layers of four heads, one member and half the
steps, except for the change in their name. `gates P` is trained with gates of that penalty and
pruned. `fixed A+B` has layers of A and B heads from the start; it is the control that shows whether
the search helps or the size. `exits` is one training; in `exits D` the exit threshold may lower
validation AUROC by D.

Columns: heads, feed-forwards and layers (for exits the mean over test records), parameters, bytes
of the weights, bp per second of CPU time (one thread; 300 validation records of 300 bp, and random
sequences of 8,192 bp), validation AUROC, and test AUROC with its 95 % bootstrap interval. Steps and
thresholds are chosen on the validation set; each model reads test once, after all trainings. Below
the table, for each pruned model: the largest difference of a test logit to the gated model, and its
speed relative to the gated model, measured in turn in one process.

Trainings run one at a time with one thread. Models and measurements stay in results/bench_adaptive,
and an interrupted benchmark continues there.

    python benchmarks/adaptive.py [NAME ...]      # all networks by default
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from numpy.typing import NDArray
from promoter import FOLDER, TASK, command, is_trained, prepare
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from selfattn_bio.config import read_run_file
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.evaluation.metrics import Bootstrap
from selfattn_bio.model.checkpoint import WEIGHTS
from selfattn_bio.model.classifier import AttentionBody
from selfattn_bio.model.encoder import EncoderBlock, ZeroBranch
from selfattn_bio.model.exits import choose_exits
from selfattn_bio.scoring.pruning import prune
from selfattn_bio.scoring.scorer import Scorer, load
from selfattn_bio.sequence.split_table import read_split

RUNS = FOLDER.with_name("bench_adaptive")
TRAINING = {"max_steps": 750, "warmup_steps": 100}
BASE: dict[str, Any] = {"kind": "attention", "members": 1, "num_layers": 4, "num_heads": 4}
PENALTIES = (0.003, 0.01, 0.03, 0.1)
FIXED = {
    "4+2": [(4, True), (2, False)],
    "4": [(4, True)],
}  # heads, and whether there is a feed-forward; penalty 0.03 was pruned to the first
NETWORKS: dict[str, dict[str, Any]] = {
    "full": {},
    **{
        f"gates {penalty}": {"gates": {"kind": "hard_concrete", "penalty": penalty}}
        for penalty in PENALTIES
    },
    # As pruned networks, so that heads stay as wide as those of the full network.
    **{
        f"fixed {name}": {
            "num_layers": len(layers),
            "gates": {
                "kind": "pruned",
                "members": [
                    [{"heads": list(range(heads)), "feedforward": whole} for heads, whole in layers]
                ],
            },
        }
        for name, layers in FIXED.items()
    },
    "exits": {"exits": {"kind": "confidence"}},
}
DROPS = (0.002, 0.005, 0.01)
LONG, ROUNDS = 8_192, 4

Letters = list[NDArray[np.uint8]]
Splits = dict[str, Letters]
Labels = dict[str, NDArray[np.int64]]


def trained(name: str, corpus: Path, split: Path) -> Path:
    """Train a network and return its model folder, pruned if it has gates."""
    run_file = RUNS / name.replace(" ", "_") / "run.toml"
    run_file.parent.mkdir(parents=True, exist_ok=True)
    task = read_run_file(TASK).model_dump(mode="json", exclude_unset=True)
    run_file.write_text(
        tomli_w.dumps(task | {"model": BASE | NETWORKS[name], "training": TRAINING}),
        encoding="utf-8",
    )
    model = run_file.with_name("model")
    if not is_trained(run_file, "", model, corpus, split):
        command(
            "train",
            "--run-file",
            run_file,
            "--corpus",
            corpus,
            "--split",
            split,
            "--threads",
            1,
            "--output",
            model,
        )
    if not name.startswith("gates"):
        return model
    prune(model, model.with_name("pruned"))
    return model.with_name("pruned")


def parts_of(scorer: Scorer) -> dict[str, float]:
    """Count heads, feed-forwards and layers."""
    blocks = [module for module in scorer.network.modules() if isinstance(module, EncoderBlock)]
    return {
        "heads": sum(
            0 if isinstance(block.attention, ZeroBranch) else block.attention.qkv.heads[0]
            for block in blocks
        ),
        "feedforwards": sum(not isinstance(block.feedforward, ZeroBranch) for block in blocks),
        "layers": len(blocks),
    }


def speeds(scorers: list[Scorer], letters: Letters) -> list[float]:
    """Measure the bp per second of each model, the best of several interleaved rounds."""
    best = [float("inf")] * len(scorers)
    for _ in range(ROUNDS):
        for number, scorer in enumerate(scorers):
            start = time.process_time()  # not affected by other processes, with one thread
            scorer.logits(letters)
            best[number] = min(best[number], time.process_time() - start)
    return [sum(map(len, letters)) / seconds for seconds in best]


def encoder_share(scorer: Scorer, letters: Letters) -> float:
    """Return the fraction of the scoring time that the encoder takes."""
    body = scorer.network.members[0]
    assert isinstance(body, AttentionBody)
    marks: list[float] = []
    handles = [
        body.encoder.register_forward_pre_hook(lambda *_: marks.append(-time.process_time())),
        body.encoder.register_forward_hook(lambda *_: marks.append(time.process_time())),
    ]
    start = time.process_time()
    scorer.logits(letters)
    total = time.process_time() - start
    for handle in handles:
        handle.remove()
    return sum(marks) / total


def judged(name: str, folder: Path, splits: Splits, labels: Labels) -> list[dict[str, Any]]:
    """Return the rows of a network, one per D for exits, and keep them next to the model."""
    path = folder.with_name("rows.json")
    if (
        path.exists()
        and path.stat().st_mtime > (folder.with_name("model") / WEIGHTS).stat().st_mtime
    ):
        return json.loads(path.read_text(encoding="utf-8"))
    scorer = load(folder)
    if name != "exits":
        found = [row_of(name, scorer, folder, splits, labels)]
    else:
        readings, found = torch.from_numpy(scorer.readings(splits["valid"])), []
        for drop in DROPS:
            choice = choose_exits(
                readings,
                lambda outputs: roc_auc_score(labels["valid"], outputs[:, 0].numpy()),
                drop,
            )
            for member in scorer.network.members:
                member.exits.threshold.fill_(choice.threshold)  # type: ignore[operator, union-attr]
            found.append(
                row_of(f"exits {drop}", scorer, folder, splits, labels)
                | {"threshold": choice.threshold}
            )
    path.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def row_of(
    name: str, scorer: Scorer, folder: Path, splits: Splits, labels: Labels
) -> dict[str, Any]:
    """Measure one row of the table."""
    logits = {split: scorer.logits(letters) for split, letters in splits.items()}
    auroc = (
        Bootstrap(labels["test"]).metrics(expit(logits["test"]), threshold=0.5)["auroc"].interval()
    )
    some, rng = splits["valid"][:300], np.random.default_rng(0)
    long = [rng.choice(np.frombuffer(b"ACGT", np.uint8), LONG) for _ in range(3)]
    gated = load(folder.with_name("model")) if folder.name == "pruned" else None
    scorers = [scorer, gated] if gated else [scorer]
    of_short, of_long = speeds(scorers, some), speeds(scorers, long)
    row = {
        "network": name,
        **parts_of(scorer),
        "parameters": sum(parameter.numel() for parameter in scorer.network.parameters()),
        "bytes": (folder / WEIGHTS).stat().st_size,
        "speed": of_short[0],
        "speed_long": of_long[0],
        "valid": roc_auc_score(labels["valid"], logits["valid"]),
        **auroc,
        "encoder_share": encoder_share(scorer, some),
    }
    if name.startswith("exits"):
        row["layers"] = float(scorer.depths(splits["test"]).mean())
    if gated:
        row |= {"as_fast": of_short[0] / of_short[1], "as_fast_long": of_long[0] / of_long[1]}
        row |= {"difference": float(np.abs(gated.logits(splits["test"]) - logits["test"]).max())}
        row |= {"bytes_gated": (folder.with_name("model") / WEIGHTS).stat().st_size}
    return row


def say(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    sizes = f"{'network':12} heads  ff layers  parameters      bytes"
    print(f"\n{sizes}        kbp/s  at {LONG:,}   valid    test  95 % interval")
    for row in rows:
        print(
            f"{row['network']:12} {row['heads']:5} {row['feedforwards']:3} {row['layers']:6.2f} "
            f"{row['parameters']:11,} {row['bytes']:10,}"
            f" {row['speed'] / 1000:12.0f} {row['speed_long'] / 1000:9.0f}   {row['valid']:.4f}  "
            f"{row['value']:.4f}"
            f"  {row['low']:.4f} to {row['high']:.4f}"
        )
    for row in rows:
        if "as_fast" in row:
            print(
                f"{row['network']}: pruned; logits differ by at most {row['difference']:.1e},"
                f" file size {row['bytes'] / row['bytes_gated']:.2f} times that of the gated model,"
                f" speed {row['as_fast']:.2f} times, at {LONG:,} bp {row['as_fast_long']:.2f} times"
            )
    share = f"{rows[0]['network']}: {rows[0]['encoder_share']:.0%}"
    print(f"fraction of the scoring time spent in the encoder, records of 300 bp, {share}")


def main() -> None:
    torch.set_num_threads(1)
    corpus_path, split_path = prepare()
    folders = {name: trained(name, corpus_path, split_path) for name in sys.argv[1:] or NETWORKS}
    corpus = Corpus.open(corpus_path)
    of = np.array(read_split(split_path, corpus.records["id"]))
    at = {split: np.flatnonzero(of == split) for split in ("valid", "test")}
    splits = {split: [corpus.letters(int(row)) for row in rows] for split, rows in at.items()}
    labels = {
        split: corpus.records["label"].iloc[rows].to_numpy(dtype="int64")
        for split, rows in at.items()
    }
    say([row for name, folder in folders.items() for row in judged(name, folder, splits, labels)])


if __name__ == "__main__":
    main()

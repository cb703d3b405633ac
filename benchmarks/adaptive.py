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

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import Row, Table, interval, option, run, seconds
from promoter import FOLDER, STUDY, TASK
from runs import Letters, Records, read_json, settings_of, write_run_file
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from selfattn_bio.evaluation.metrics import Bootstrap
from selfattn_bio.model.checkpoint import WEIGHTS
from selfattn_bio.model.classifier import AttentionBody
from selfattn_bio.model.encoder import EncoderBlock, ZeroBranch
from selfattn_bio.model.exits import choose_exits
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.pruning import prune
from selfattn_bio.scoring.scorer import Scorer

RUNS = FOLDER.with_name("bench_adaptive")
TRAINING = {"max_steps": 750, "warmup_steps": 100}
BASE: dict[str, Any] = {
    "kind": "attention",
    "members": 1,
    "num_layers": 4,
    "num_heads": 4,
    "attention_dropout": 0.3,
}
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


def trained(name: str) -> Path:
    """Train a network and return its model folder, pruned if it has gates."""
    settings = {"model": BASE | NETWORKS[name], "training": TRAINING}
    folder = RUNS / name.replace(" ", "_")
    run_file = write_run_file(folder / "run.toml", settings_of(TASK) | settings)
    model = STUDY.train(run_file, folder / "model")
    if not name.startswith("gates"):
        return model
    prune(model, folder / "pruned")
    return folder / "pruned"


def parts_of(scorer: Scorer) -> dict[str, float]:
    """Count heads, feed-forwards and layers."""
    blocks = [module for module in scorer.network.modules() if isinstance(module, EncoderBlock)]
    attention = [each.attention for each in blocks if not isinstance(each.attention, ZeroBranch)]
    return {
        "heads": sum(each.qkv.heads[0] for each in attention),
        "feedforwards": sum(not isinstance(each.feedforward, ZeroBranch) for each in blocks),
        "layers": len(blocks),
    }


def speeds(scorers: list[Scorer], letters: Letters) -> list[float]:
    """Measure the bp per second of each model, the best of several interleaved rounds."""
    cases = {n: lambda of=scorer: of.logits(letters) for n, scorer in enumerate(scorers)}
    return [sum(map(len, letters)) / min(each) for each in seconds(cases, ROUNDS).values()]


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


def judged(name: str, folder: Path, records: Records) -> list[dict[str, Any]]:
    """Return the figures of a network, one row per D for exits, and keep them next to the model."""
    path, weights = folder.with_name("rows.json"), folder.with_name("model") / WEIGHTS
    if path.exists() and path.stat().st_mtime > weights.stat().st_mtime:
        return read_json(path)
    scorer = load(folder)
    if name != "exits":
        found = [figures_of(name, scorer, folder, records)]
    else:
        labels = records.labels("valid")
        readings, found = torch.from_numpy(scorer.readings(records.letters("valid"))), []
        for drop in DROPS:
            choice = choose_exits(
                readings, lambda outputs: roc_auc_score(labels, outputs[:, 0].numpy()), drop
            )
            for member in scorer.network.members:
                member.exits.threshold.fill_(choice.threshold)  # type: ignore[operator, union-attr]
            row = figures_of(f"exits {drop}", scorer, folder, records)
            found.append(row | {"threshold": choice.threshold})
    path.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def figures_of(name: str, scorer: Scorer, folder: Path, records: Records) -> dict[str, Any]:
    """Measure one row of the table."""
    test = records.letters("test")
    valid, logits = scorer.logits(records.letters("valid")), scorer.logits(test)
    sampled = Bootstrap(records.labels("test")).metrics(expit(logits), threshold=0.5)["auroc"]
    some, rng = records.letters("valid")[:300], np.random.default_rng(0)
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
        "valid": roc_auc_score(records.labels("valid"), valid),
        "test": sampled.interval(),
        "encoder_share": encoder_share(scorer, some),
    }
    if name.startswith("exits"):
        row["layers"] = float(scorer.depths(test).mean())
    if gated:
        row |= {"as_fast": of_short[0] / of_short[1], "as_fast_long": of_long[0] / of_long[1]}
        row |= {"difference": float(np.abs(gated.logits(test) - logits).max())}
        row |= {"bytes_gated": (folder.with_name("model") / WEIGHTS).stat().st_size}
    return row


def cells(row: dict[str, Any]) -> Row:
    """Format one row of the table."""
    return {
        "network": row["network"],
        "heads": str(row["heads"]),
        "ff": str(row["feedforwards"]),
        "layers": f"{row['layers']:.2f}",
        "parameters": f"{row['parameters']:,}",
        "bytes": f"{row['bytes']:,}",
        "kbp/s": f"{row['speed'] / 1000:.0f}",
        f"kbp/s at {LONG:,}": f"{row['speed_long'] / 1000:.0f}",
        "valid AUROC": f"{row['valid']:.4f}",
        "test AUROC": interval(row["test"], 4),
    }


def compared(row: dict[str, Any]) -> Row:
    """Compare a pruned model with its gated model."""
    return {
        "pruned": row["network"],
        "largest difference of a logit": f"{row['difference']:.1e}",
        "file size / gated": f"{row['bytes'] / row['bytes_gated']:.2f}",
        "speed / gated": f"{row['as_fast']:.2f}",
        f"speed / gated at {LONG:,} bp": f"{row['as_fast_long']:.2f}",
    }


def measure(chosen: argparse.Namespace) -> Iterator[Table | str]:
    """Train what is missing, then read test once per model."""
    STUDY.prepare(TASK)
    folders = {name: trained(name) for name in chosen.networks or NETWORKS}
    records = STUDY.records()
    found = [row for name, folder in folders.items() for row in judged(name, folder, records)]
    yield Table("", map(cells, found))
    yield Table("", [compared(row) for row in found if "as_fast" in row])
    share = f"{found[0]['network']}: {found[0]['encoder_share']:.0%}"
    yield f"Fraction of the scoring time spent in the encoder, records of 300 bp, {share}"


if __name__ == "__main__":
    names = option("networks", nargs="*", metavar="NAME", help=f"of {', '.join(NETWORKS)}")
    run(__doc__, measure, names)

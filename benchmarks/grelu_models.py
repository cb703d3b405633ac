"""Train gReLU's networks on the records of a task, to compare them with its model.

Each is trained as gReLU's tutorials do it: one-hot sequences, learning rate 1e-3, batches of 64,
and the epoch with the lowest validation loss, here with one thread. The first has four
convolutions, the second also two transformer layers. Standardised numbers or two classes are
learned. The figures of our model are those of `evaluate`.

Needs gReLU in the same environment (`pip install gReLU==1.1.0`), and a results folder with corpus
and split.

    python benchmarks/grelu_models.py results/thermo
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping

import grelu.lightning
import numpy as np
import pandas as pd
from grelu.data.dataset import DFSeqDataset
from harness import Row, Table, option, run
from runs import records_of
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import roc_auc_score

from selfattn_bio import Study

CONVOLUTIONS = {
    **{"stem_channels": 64, "stem_kernel_size": 15, "n_conv": 4, "channel_init": 64},
    **{"kernel_size": 5, "norm": True, "pool_func": "max", "pool_size": 2},
}
TRANSFORMERS = {"n_transformers": 2, "n_heads": 4, "key_len": 16, "value_len": 16}
KINDS = {"ConvModel": {}, "ConvTransformerModel": TRANSFORMERS}
LOSSES = {"regression": "mse", "binary": "bce"}


def tables(study: Study) -> dict[str, pd.DataFrame]:
    """Return the sequence and the target of the records of each split, numbers standardised."""
    records = records_of(study)
    _, targets = records.targets(study.run)
    known = targets["train"].astype(float)
    mean, sd = (0.0, 1.0) if study.run.objective.kind == "binary" else (known.mean(), known.std())
    return {
        split: pd.DataFrame(
            {
                "sequence": [bytes(each).decode("ascii") for each in records.letters[split]],
                "target": (np.ravel(of).astype(float) - mean) / sd,
            }
        )
        for split, of in targets.items()
    }


def trained(kind: str, loss: str, epochs: int, sets: Mapping[str, DFSeqDataset]) -> np.ndarray:
    """Train a network and return its predictions for the test records, (n,)."""
    task = "regression" if loss == "mse" else "binary"
    model = grelu.lightning.LightningModel(
        {"model_type": kind, "n_tasks": 1, **CONVOLUTIONS, **KINDS[kind]},
        {
            **{"task": task, "loss": loss, "lr": 1e-3, "batch_size": 64, "max_epochs": epochs},
            **{"num_workers": 0, "devices": "cpu", "logger": None, "checkpoint": True},
        },
    )
    trainer = model.train_on_dataset(sets["train"], sets["valid"])
    best = grelu.lightning.LightningModel.load_from_checkpoint(
        trainer.checkpoint_callback.best_model_path, weights_only=False
    )
    return np.ravel(best.predict_on_dataset(sets["test"], devices="cpu", num_workers=0))


def measure(chosen: argparse.Namespace) -> Iterator[Table]:
    """Train each network, and measure it on the test records."""
    study = Study(chosen.task)
    objective = study.run.objective.kind
    if objective not in LOSSES:
        raise SystemExit(f"error: objective {objective!r}; choose a task of {' or '.join(LOSSES)}")
    found = tables(study)
    length = max(int(table["sequence"].str.len().max()) for table in found.values())
    sets = {split: DFSeqDataset(table, seq_len=length) for split, table in found.items()}
    truth = found["test"]["target"].to_numpy()

    def rows() -> Iterator[Row]:
        for kind in KINDS:
            start = time.process_time()
            predicted = trained(kind, LOSSES[objective], chosen.epochs, sets)
            cpu = f"{time.process_time() - start:.0f}"
            if objective == "binary":
                figures = {"test AUROC": f"{roc_auc_score(truth, predicted):.3f}"}
            else:
                figures = {
                    "test Spearman": f"{spearmanr(truth, predicted).statistic:.3f}",
                    "test Pearson": f"{pearsonr(truth, predicted).statistic:.3f}",
                }
            yield {"gReLU": kind, **figures, "CPU seconds": cpu}

    yield Table("", rows())


if __name__ == "__main__":
    run(
        __doc__,
        measure,
        option("task", metavar="TASK", help="task name or results folder"),
        option("--epochs", type=int, default=12, metavar="N", help="epochs, the best is kept (12)"),
        packages=("torch", "gReLU"),
    )

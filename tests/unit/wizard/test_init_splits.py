"""Test that init proposes a split that passes the audit."""

import numpy as np
import pandas as pd
import pytest
from commands import run
from init_files import both, ingested, made, table, write


@pytest.mark.parametrize("step", [50, 30])
def test_few_chromosomes_are_split_by_region(here, capsys, step):
    """Windows that overlap, as all do with a step of 30, cannot be split at random."""

    def place(i):
        return f"chrom=chr{i % 2} start={i // 2 * step} end={i // 2 * step + 40}"

    split = made(both(header=place)).split
    assert split.kind == "region"
    assert "init: split: by region (valid chr0:" in capsys.readouterr().out
    sizes = ingested()[1]
    assert min(sizes["valid"], sizes["test"]) > 30
    run("audit my_task")
    assert "overlapping interval on either strand: 0 test records" in capsys.readouterr().out


def test_classes_on_different_chromosomes_are_split_by_cluster(here):
    """No region has both classes, and a window at the same place stays with its neighbours."""

    def on(chrom):
        return lambda i: f"chrom={chrom} start={i // 2 * 50} end={i // 2 * 50 + 40}"

    positives = write("a.fa", header=on("chr1"))
    negatives = write("bb.fa", header=on("chr2"))
    assert made(f"--positives {positives} --negatives {negatives}").split.kind == "cluster"
    assert min(ingested()[1].values()) > 30
    run("audit my_task")


def test_near_duplicates_of_dna_stay_together(here, capsys):
    sequences = ["".join(row) for row in np.random.default_rng(0).choice(list("ACGT"), (60, 60))]
    rows = [
        (f"{each[:59]}{'ACGT'[n]}", i % 2) for i, each in enumerate(sequences) for n in range(4)
    ]
    pd.DataFrame(rows, columns=["sequence", "label"]).to_csv("all.csv", index=False)
    split = made("--sequences all.csv").split
    assert (split.kind, split.similarity) == ("cluster", 0.15)
    ingested()
    capsys.readouterr()
    run("audit my_task")
    assert "near neighbour (at least 0.15 of k-mers shared): 0 test" in capsys.readouterr().out


def test_one_large_cluster_of_dna_is_named(here, capsys):
    pool = np.random.default_rng(0).choice(list("ACGT"), 300)
    starts = np.arange(120) * 2
    rows = [("".join(pool[start : start + 60]), i % 2) for i, start in enumerate(starts)]
    pd.DataFrame(rows, columns=["sequence", "label"]).to_csv("all.csv", index=False)
    assert made("--sequences all.csv").split.kind == "random"
    assert (
        "at random, because one cluster has most of the similar records" in capsys.readouterr().out
    )


def test_skewed_numbers_are_learned_as_logarithms(here, capsys):
    rng = np.random.default_rng(0)
    task = made(table(half_life=lambda *_: rng.lognormal(), number=300))
    assert task.objective.normalisation == "log2"
    assert "'half_life', as logarithms of skewed numbers (to undo it, " in capsys.readouterr().out
    assert made(table(half_life=lambda *_: rng.normal())).objective.normalisation == "none"

"""Compare planned with measured memory; settings suggested for a memory limit do fit."""

import re
import resource
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tomli_w

from selfattn_bio import config
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.training.lengths import Lengths
from selfattn_bio.training.plan import make_plan

# The process prints its own peak: getrusage may return that of its parent.
CALL = """
import sys
from selfattn_bio.cli.main import main
code = main(sys.argv[1:])
print("VmHWM", open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
sys.exit(code)
"""
PLAIN = {"members": 1, "num_layers": 2, "stem": config.NoStemSection()}
# name -> model, batch size, bases, seconds per size; 0 extrapolates from the smallest size
SHAPES = {
    "stem, two members": (config.AttentionModel(), 256, 600, 10),
    "window, drawn out": (
        config.AttentionModel(**PLAIN, pattern=config.WindowPattern(window=64)),
        4,
        8192,
        0,
    ),
    "all pairs": (config.AttentionModel(**PLAIN, kernel="reference"), 4, 768, 10),
}


def setup(folder, model, batch, length, **training):
    """Write a run file, a corpus with records of half to full length, and a split."""
    training = config.Training(
        **{"max_steps": 12, "batch_size": batch, "evaluate_every": 12, **training}
    )
    run = config.RunFile(
        data=config.Data(positives=("1.fa",), negatives=("0.fa",)), model=model, training=training
    )
    (folder / "run.toml").write_text(tomli_w.dumps(run.model_dump(mode="json", exclude_none=True)))
    rng = np.random.default_rng(0)
    for label in (0, 1):
        rows = []
        for i in range(max(8, batch)):
            letters = rng.choice(
                list("ACGT"), length if i < (batch + 1) // 2 else rng.integers(length // 2, length)
            )
            rows.append(f">{label}-{i}\n{''.join(letters)}\n")
        (folder / f"{label}.fa").write_text("".join(rows))
    corpus = build_corpus(
        [(folder / "0.fa", 0), (folder / "1.fa", 1)], folder / "corpus", RecordRules(DNA)
    )
    splits = ["valid" if i % 8 == 7 else "train" for i in range(len(corpus))]
    pd.DataFrame({"id": corpus.records["id"], "split": splits, "reason": ""}).to_csv(
        folder / "split.tsv", sep="\t", index=False
    )
    return run, corpus


def call(folder, *arguments, limit=None):
    """Run a command in the folder, with at most `limit` bytes of data."""
    limited = (
        None
        if limit is None
        else (lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)))
    )
    command = [sys.executable, "-c", CALL, *arguments, "--threads", "1"]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, preexec_fn=limited
    )


TRAIN = (
    "train",
    "--run-file",
    "run.toml",
    "--corpus",
    "corpus",
    "--split",
    "split.tsv",
    "--output",
    "model",
)


@pytest.mark.long
@pytest.mark.parametrize("name", SHAPES)
def test_planned_peak_memory_matches_training(tmp_path, name):
    model, batch, length, seconds = SHAPES[name]
    run, corpus = setup(tmp_path, model, batch, length)
    plan = make_plan(run, Lengths.of(run, corpus), threads=1, keep_memory=True, seconds=seconds)
    if not seconds:
        assert not plan.is_measured
    done = call(tmp_path, *TRAIN)
    assert done.returncode == 0, done.stderr
    measured = int(done.stdout.rpartition("VmHWM")[2]) * 1024 / 1e6
    print(
        f"{name}: planned {plan.peak:.0f} MB; measured {measured:.0f} MB; kept "
        f"{plan.probe.kept:.0f} MB"
    )
    # otherwise mostly the size of the program would be compared
    assert measured > 1.3 * plan.probe.kept
    assert plan.peak == pytest.approx(measured, rel=0.25)


@pytest.mark.long
def test_out_of_memory_suggests_settings_that_fit(tmp_path):
    model, batch, length, _ = SHAPES["all pairs"]
    setup(tmp_path, model, 4 * batch, length)
    limit = 1_800_000_000  # bytes of data; the program needs half a gigabyte before the first step
    failed = call(tmp_path, *TRAIN, limit=limit)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert failed.stderr.splitlines()[-1].startswith(
        "selfattn-bio train: error: model: out of memory: can't allocate"
    )
    pattern = (
        r"Set training.batch_size = (\d+) and training.accumulate = (\d+), which keeps the number "
        r"of records per step"
    )
    told = re.search(pattern, failed.stderr).groups()
    assert int(told[0]) * int(told[1]) == 4 * batch
    text = re.sub(
        r"batch_size = \d+", f"batch_size = {told[0]}", (tmp_path / "run.toml").read_text()
    )
    (tmp_path / "run.toml").write_text(re.sub(r"accumulate = \d+", f"accumulate = {told[1]}", text))
    # without the limit, which also counts address space that is never used
    again = call(tmp_path, *TRAIN)
    assert again.returncode == 0, again.stderr
    assert int(again.stdout.rpartition("VmHWM")[2]) * 1024 < limit

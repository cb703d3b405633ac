"""Use damaged model folders, corpora and run files: each works or ends with one line.

`SELFATTN_BIO_FUZZ_SEED` is the seed of the long test, `SELFATTN_BIO_FUZZ_SECONDS` its time.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from commands import run
from fuzz import run_cases
from small_task import random_texts, small, write_fasta

import selfattn_bio

SPLIT = "split = { kind = 'random', valid_fraction = 0.25, test_fraction = 0.25 }"
NUMBERS = """
objective = { kind = "regression", columns = ["y", "z"] }
data = { sequences = "t.tsv" }
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """Return the folders of a task of classes and of one of numbers, both trained."""
    rng = np.random.default_rng(0)
    texts = random_texts(rng, 60, 40, 60)
    folders = [tmp_path_factory.mktemp(name) for name in ("classes", "numbers")]
    rows = "".join(f"r{i}\t{text}\t{i % 7}\t{i % 5}\n" for i, text in enumerate(texts))
    (folders[1] / "t.tsv").write_text("id\tsequence\ty\tz\n" + rows)
    for folder, changes in zip(folders, ((SPLIT,), (SPLIT, NUMBERS)), strict=True):
        write_fasta(folder / "positives.fa", texts[:30])
        write_fasta(folder / "negatives.fa", texts[30:])
        text = small(*changes)
        if len(changes) == 2:
            text = text.replace('positives = "positives.fa"\nnegatives = "negatives.fa"\n', "")
        (folder / "run.toml").write_text(text)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            for command in ("ingest .", "split .", "train . --threads 1"):
                run(command)
    return folders


@pytest.mark.parametrize("seconds", [10, pytest.param(600, marks=pytest.mark.long)])
@pytest.mark.timeout(3600)
def test_damaged_files_give_no_traceback(tasks, tmp_path, seconds):
    seed = 0
    if seconds > 10:
        seed = int(os.environ.get("SELFATTN_BIO_FUZZ_SEED", "1"))
        seconds = float(os.environ.get("SELFATTN_BIO_FUZZ_SECONDS", seconds))
    shipped = Path(selfattn_bio.__file__).parent / "models/promoter"
    models = [shipped, *(task / "model" for task in tasks)]
    number, refused, failures = run_cases(tasks, models, tmp_path, seed, seconds)
    print(f"{number} cases: {refused} refused, {len(failures)} failed")
    assert not failures, "\n".join(f"seed {seed}, case {n}: {text}" for n, text in failures.items())
    assert refused > 0

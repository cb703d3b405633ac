"""Test the estimated time to fit the parts of a stack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from selfattn_bio.config import RunFile, run_file_of
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.errors import CorpusError
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.training import total
from selfattn_bio.training.lengths import split_masks
from selfattn_bio.training.total import StackTime

RUN = """
stack = { parts = ["kmer6_logistic", "exact_positions"] }
split = { kind = "random", valid_fraction = 0.2, test_fraction = 0.5 }
[data]
positives = "p.fa"
negatives = "n.fa"
"""


@pytest.fixture
def run() -> RunFile:
    return run_file_of(RUN, "run.toml")


def corpus_of(folder: Path, positives: int, negatives: int, length: int = 40) -> Corpus:
    """Build a corpus of random records of 40 bp; only the first negative has `length` bp."""
    rng = np.random.default_rng(0)
    files = []
    for label, number in ((1, positives), (0, negatives)):
        path = folder / f"{label}.fa"
        lengths = [length if i == label == 0 else 40 for i in range(number)]
        texts = ["".join(rng.choice(list("ACGT"), bases)) for bases in lengths]
        path.write_text("".join(f">r{label}_{i}\n{text}\n" for i, text in enumerate(texts)))
        files.append((path, label))
    return build_corpus(files, folder / "corpus", RecordRules(DNA))


def test_parts_are_fitted_to_sample_outside_test(
    run: RunFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = corpus_of(tmp_path, 300, 100)
    fitted = []
    monkeypatch.setattr(total, "MAX_RECORDS", 80)
    monkeypatch.setattr(
        total,
        "fit_part",
        lambda setup, name, letters, labels: fitted.append((name, letters, labels)),
    )
    time = StackTime.measure(run, corpus, threads=1)
    assert [name for name, *_ in fitted] == ["kmer6_logistic", "exact_positions"]
    assert (time.fitted, time.records) == (80, 200)
    _, letters, labels = fitted[0]
    # 2 of 5 records outside the test split are for validation
    assert [len(letters[split]) for split in ("train", "valid")] == [48, 32]
    assert all(set(labels[split]) == {0, 1} for split in ("train", "valid"))
    _, test = split_masks(run.split, corpus)
    of_test = {corpus.letters(int(row)).tobytes() for row in np.flatnonzero(test)}
    assert not of_test & {record.tobytes() for of_split in letters.values() for record in of_split}


def test_stack_time_grows_with_records(
    run: RunFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(total, "MAX_RECORDS", 50)
    monkeypatch.setattr(total, "fit_part", lambda *_: None)
    wall, cpu = iter([10.0, 12.0]), iter([1.0, 2.5])  # the lower of 2 s and 1.5 s counts
    monkeypatch.setattr(total.time, "perf_counter", lambda: next(wall))
    monkeypatch.setattr(total.time, "process_time", lambda: next(cpu))
    time = StackTime.measure(run, corpus_of(tmp_path, 100, 100), threads=1)
    assert time.seconds == pytest.approx(1.5 * 100 / 50)
    assert time.line() == (
        "stack of kmer6_logistic, exact_positions: about 3 s, extrapolated from 50 of 100 records; "
        "all seeds use the same parts"
    )


def test_all_records_of_a_small_corpus_are_measured(
    run: RunFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(total, "fit_part", lambda *_: None)
    time = StackTime.measure(run, corpus_of(tmp_path, 30, 30), threads=1)
    assert time.fitted == time.records == 30
    assert ", measured;" in time.line()


def test_record_outside_the_sample_is_checked(
    run: RunFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(total, "MAX_RECORDS", 4)
    monkeypatch.setattr(total, "fit_part", lambda *_: None)
    corpus = corpus_of(tmp_path, 60, 78, length=20)
    short = int(corpus.records["length"].argmin())
    assert not any(mask[short] for mask in split_masks(run.split, corpus))
    with pytest.raises(CorpusError, match="'exact_positions' cannot be fitted: records have 20 to"):
        StackTime.measure(run, corpus, threads=1)


def test_class_with_one_record_is_refused(run: RunFile, tmp_path: Path) -> None:
    with pytest.raises(
        CorpusError, match=r"class 1 needs two records outside the test split; it has [01]$"
    ):
        StackTime.measure(run, corpus_of(tmp_path, 1, 30), threads=1)

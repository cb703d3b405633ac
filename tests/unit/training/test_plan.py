"""Test extrapolated memory and time, suggested settings and memory readings, without training."""

import math
import time
from collections import Counter

import numpy as np
import pytest
import torch

from selfattn_bio import config
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.objectives import objective_of
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.training.data import TrainingData
from selfattn_bio.training.lengths import Lengths
from selfattn_bio.training.memory import available_mb, group_free_mb, is_out_of_memory, words_of
from selfattn_bio.training.plan import (
    Plan,
    duration,
    extended,
    gigabytes,
    out_of_memory,
)
from selfattn_bio.training.probe import (
    Point,
    Probe,
    _SizeProbe,
    _timed,
    probe_sizes,
)
from selfattn_bio.training.synthetic import synthetic_corpus
from selfattn_bio.training.trainer import Trainer

FULL, WINDOW = config.AttentionModel(), config.AttentionModel(pattern=config.WindowPattern())


def run_file(model=WINDOW, **training):
    data = config.Data(positives=("a",), negatives=("b",))
    return config.RunFile(data=data, model=model, training=config.Training(**training))


def never(run):
    raise AssertionError("nothing more should be planned")


def plan_of(points, *, run, length, available=10_000.0, again=never, **probe):
    lengths = Lengths(longest=length, valid=1000)
    return Plan(
        run, lengths, Probe("cpu", available, kept=400.0, points=tuple(points), **probe), again
    )


@pytest.mark.parametrize(
    ("x", "squared", "value"),
    [(0.5, False, 1.5), (2, True, 5), (3, False, 8), (3, True, 10), (10, True, 101)],
)
def test_extrapolate_line_or_parabola(x, squared, value):
    assert extended([(0, 1), (1, 2), (2, 5)], x, squared=squared) == pytest.approx(value)


def test_extrapolation_never_decreases():
    assert extended([(0, 0), (1, 5), (2, 6)], 4, squared=True) == 8
    assert extended([(0, 0), (1, 5), (2, 4)], 4) == 4


def test_measured_sizes_grow_to_full_size():
    assert probe_sizes(8192, 8) == [(2048, 1), (8192, 1), (8192, 2), (8192, 8)]
    assert probe_sizes(300, 64) == [(300, 4), (300, 16), (300, 64)]
    assert probe_sizes(20, 2) == [(20, 2)]


def test_memory_is_linear_in_batch_size():
    plan = plan_of(
        [Point(2048, 1, 500, 0.1), Point(8192, 1, 600, 0.4), Point(8192, 2, 800, 0.7)],
        run=run_file(batch_size=8),
        length=8192,
    )
    assert not plan.is_measured
    assert plan.peak == 800 + 6 * 200
    assert plan.seconds_per_step == pytest.approx(0.7 + 6 * 0.3)
    assert plan.peak_of(8192, 1) == pytest.approx(600, rel=1e-3)


def test_extrapolation_in_length_follows_pattern():
    # 400 + 100 (L / 1000)^2 and 0.1 (L / 1000)^2
    points = [Point(1000, 1, 500, 0.1), Point(4000, 1, 2000, 1.6)]
    squared, line = (
        plan_of(points, run=run_file(model, batch_size=2), length=16_000)
        for model in (FULL, WINDOW)
    )
    assert squared.peak == pytest.approx(400 + 2 * 25_600)
    assert squared.seconds_per_step == pytest.approx(2 * 25.6)
    assert line.peak == pytest.approx(400 + 2 * (1600 + 12_000 / 3000 * 1500))


def test_accumulated_batches_are_counted():
    point = Point(100_000, 1, 1000, 1.0)
    alone, waiting = (
        plan_of([point], run=run_file(batch_size=1, accumulate=each), length=100_000)
        for each in (2, 12)
    )
    assert waiting.peak - alone.peak == pytest.approx(10 * 100_000 * 8 / 1e6)
    assert waiting.seconds_per_step == 12


def test_heap_holes_and_pace_are_not_extrapolated():
    plan = plan_of(
        [Point(300, 1, 420, 0.1), Point(300, 2, 440, 0.2)],
        run=run_file(batch_size=8),
        length=300,
        holes=150.0,
        pace=0.5,
    )
    assert plan.peak == 400 + 160 + 150
    assert plan.seconds_per_step == pytest.approx(0.4)


def test_evaluation_may_be_the_peak():
    assert (
        plan_of(
            [Point(300, 2, 450, 0.1)], run=run_file(batch_size=2), length=300, evaluated=700.0
        ).peak
        == 700
    )


def test_time_includes_steps_and_evaluations():
    run = run_file(batch_size=2, max_steps=100, evaluate_every=30)
    plan = plan_of([Point(300, 2, 450, 0.1)], run=run, length=300, evaluation=1e-3)
    # four during the training, one for calibration
    assert plan.seconds == pytest.approx(100 * 0.1 + 5 * 1000 * 1e-3)
    *_, last = plan.lines()
    assert last == "time 0.1 s per step; 100 steps, 5 evaluations: 15 s at most"


def test_time_is_a_range_with_patience_or_other_load():
    run = run_file(batch_size=2, max_steps=1000, evaluate_every=10, patience=4)
    plan = plan_of([Point(300, 2, 450, 0.1)], run=run, length=300, evaluation=1e-3, crowding=3.0)
    assert list(plan.lines())[2:] == [
        "time 0.1 s per step; 1,000 steps, 101 evaluations: 3.4 min at most",
        "or 11 s if no evaluation improves on the first, because patience then ends training at "
        "step 50",
        "the processors are busy, so training would now take 3.0 times as long (10.1 min at most); "
        "plan again on an idle machine",
    ]
    assert plan.seconds == pytest.approx(3 * 201)


def test_thread_time_differs_from_clock_time():
    clock, own = _timed(lambda: time.sleep(0.2))  # as if other processes used the processor
    assert clock >= 0.2
    if not torch.cuda.is_available():
        assert own < 0.1


def test_one_time_preparation_is_not_timed(tmp_path, monkeypatch):
    """The first step of each length and the first evaluation include one-time preparation."""
    calls = Counter()

    def slow_once(name, real):
        def call(trainer):
            calls[name, id(trainer)] += 1
            end = time.thread_time() + (0.5 if calls[name, id(trainer)] == 1 else 0)
            while time.thread_time() < end:
                pass
            return real(trainer)

        return call

    for name in ("take_step", "measure_valid"):
        monkeypatch.setattr(Trainer, name, slow_once(name, getattr(Trainer, name)))
    model = config.CnnModel(
        embed_dim=4, channels=(4, 4, 4), kernels=(3, 3, 3), pools=(2, 2, 2), hidden_dim=4
    )
    run = run_file(model, batch_size=2)
    lengths = Lengths(40, (0.5, 1.0), scored=200)
    *_, probe = _SizeProbe(run, Probe("cpu", 10_000.0), tmp_path, lengths, 10.0).found()
    assert probe.pace * probe.points[-1].seconds < 0.2
    assert probe.evaluation * 200 < 0.2


def test_plan_that_fits_has_no_error():
    plan = plan_of([Point(300, 2, 450, 0.1)], run=run_file(batch_size=2), length=300)
    assert plan.fits
    assert [line.partition(" of")[0] for line in plan.lines()][1] == "peak memory 0.45 GB"


def test_error_suggests_largest_dividing_batch():
    points = [Point(8192, 1, 600, 0.4), Point(8192, 2, 800, 0.7)]
    plan = plan_of(points, run=run_file(batch_size=24, accumulate=2), length=8192, available=3000.0)
    assert str(plan.refusal("run.toml")) == (
        "run.toml: the training needs 5.2 GB of memory, more than 2.7 GB (90% of the memory "
        "available on cpu). "
        "Set training.batch_size = 8 and training.accumulate = 6, which keeps the number of "
        "records per step"
    )


def test_error_suggests_planned_sparse_pattern():
    run = run_file(FULL.model_copy(update={"kernel": "reference"}), batch_size=4)
    asked = []

    def again(changed):
        asked.append(changed)
        return plan_of([Point(8192, 1, 1400, 0.4)], run=changed, length=8192, available=3000.0)

    plan = plan_of([Point(2048, 1, 2000, 0.4)], run=run, length=8192, available=3000.0, again=again)
    assert plan.hint() == (
        'Set model.pattern = { kind = "window", window = 128 }, model.kernel = "auto", '
        "training.batch_size = 2 and training.accumulate = 2"
    )
    assert asked[0].model.pattern == config.WindowPattern()


def test_error_suggests_shorter_records():
    plan = plan_of(
        [Point(2048, 1, 2400, 0.4)], run=run_file(batch_size=4), length=8192, available=3000.0
    )
    assert (
        plan.hint()
        == "Set data.max_length = 2300 with training.batch_size = 1 and training.accumulate = 4, "
        "or make the network smaller"
    )


def test_error_reports_too_large_network():
    plan = plan_of([], run=run_file(batch_size=4), length=8192)
    assert math.isinf(plan.peak)
    assert not plan.fits
    assert [line.partition(":")[0] for line in plan.lines()][1:] == ["peak memory more than 10 GB"]
    assert str(plan.refusal("run.toml")) == (
        "run.toml: not even one record fits into 9 GB (90% of the memory available on cpu). Make "
        "the network smaller: model.members, model.num_layers, model.embed_dim"
    )


def test_out_of_memory_suggests_fitting_settings():
    run = run_file(batch_size=8)
    fits, not_ = (
        plan_of([Point(300, 8, 2000, 1.0)], run=run, length=300, available=each)
        for each in (9000.0, 1500.0)
    )
    reason = "can't allocate memory: you tried to allocate 9 bytes"
    assert str(out_of_memory(fits, reason, "model")) == (
        f"model: out of memory: {reason}. The training needs 2 GB, and 9 GB are available now. "
        "Another process probably used the memory. Start the training again, or set "
        "training.batch_size = 4 and training.accumulate = 2"
    )
    assert str(out_of_memory(not_, reason, "model")).endswith(
        "The training needs 2 GB, and 1.5 GB are available. Set training.batch_size = 4 and "
        "training.accumulate = 2, which keeps the number of records per step"
    )


def test_out_of_memory_errors_are_recognised():
    cpu = RuntimeError(
        "[enforce fail at alloc_cpu.cpp:1] data. DefaultCPUAllocator: can't allocate memory: you "
        "tried to allocate 9 bytes. E"
    )
    assert words_of(cpu) == "can't allocate memory: you tried to allocate 9 bytes"
    gpu = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB.")
    assert words_of(gpu) == "CUDA out of memory"
    assert words_of(MemoryError()) == "MemoryError"
    assert all(map(is_out_of_memory, (cpu, gpu, MemoryError())))
    assert not any(
        map(
            is_out_of_memory,
            (RuntimeError("shape"), OSError("no file"), ValueError("can't allocate memory")),
        )
    )


def test_lengths_of_windows(tmp_path):
    rng = np.random.default_rng(0)
    rows = (f">r{i}\n{''.join(rng.choice(list('ACGT'), 60 if i else 9000))}\n" for i in range(20))
    (tmp_path / "a.fa").write_text("".join(rows))
    corpus = build_corpus([(tmp_path / "a.fa", None)], tmp_path / "corpus", RecordRules(DNA))
    run = config.RunFile.model_validate(
        {
            "data": {"sequences": "a.fa"},
            "objective": {"kind": "masked"},
            "model": {"kind": "attention", "stem": {"kind": "none"}},
            "training": {"window": 100, "batch_size": 4},
        }
    )
    lengths = Lengths.of(run, corpus)
    assert (lengths.longest, lengths.letters, lengths.spread[-1]) == (100, 9000 + 19 * 60, 1.0)
    assert max(lengths.spread) <= 1.0


def test_lengths_of_a_corpus(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        rows = (
            f">{name}{i}\n{''.join(rng.choice(list('ACGT'), 90 if i else 900))}\n"
            for i in range(20)
        )
        (tmp_path / f"{name}.fa").write_text("".join(rows))
    corpus = build_corpus(
        [(tmp_path / "a.fa", 1), (tmp_path / "b.fa", 0)], tmp_path / "corpus", RecordRules(DNA)
    )
    lengths = Lengths.of(run_file(batch_size=4), corpus)
    assert (lengths.longest, lengths.corpus, lengths.letters) == (
        900,
        corpus.path,
        38 * 90 + 2 * 900,
    )
    assert len(lengths.spread) == 8
    assert lengths.spread[0] == 0.1
    assert lengths.spread[-1] == 1.0
    assert lengths.scored == 6 * 900
    assert 6 * 90 <= lengths.valid <= 4 * 90 + 2 * 900


OBJECTIVES = [
    config.MulticlassObjective(column="x"),
    config.MulticlassObjective(column="x", classes=("a", "b", "c")),
    config.MultilabelObjective(columns=("x", "y")),
    config.RegressionObjective(columns=("x",)),
    config.LabelsObjective(column="x", classes="HE"),
    config.SeveralObjective(
        parts={"a": config.MulticlassPart(column="x"), "b": config.RegressionPart(columns=("y",))}
    ),
    config.MaskedObjective(),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda each: each.kind)
@pytest.mark.parametrize("alphabet", ["dna", "protein"])
def test_simulated_records_suit_the_objective(tmp_path, objective, alphabet):
    targets = None if objective.kind == "masked" else "x.tsv"
    data = config.Data(alphabet=alphabet, sequences=("a",), targets=targets)
    of_labels = {"tokens": config.Tokens(k=1), "training": config.Training(shift=0, batch_size=3)}
    run = config.RunFile(data=data, objective=objective, **of_labels)
    corpus, split = synthetic_corpus(run, [4096, 8192], 32_768, tmp_path)
    assert corpus.alphabet.name == alphabet
    assert corpus.records["length"].tolist() == [4096] * 3 + [8192] * 7
    assert split.read_text().count("\ttrain\t") == 6
    if targets:
        assert corpus.targets(objective.target_columns).notna().all().all()


def test_available_memory_respects_group_limit(tmp_path):
    assert 1 < available_mb() < math.inf
    own = tmp_path / "own"
    assert group_free_mb(tmp_path, own) == math.inf  # no control groups
    for files, text in (
        (
            {
                "a/memory.max": "max",
                "memory.max": "500000000",
                "a/memory.current": "9",
                "memory.current": "300000000",
            },
            "0::/a\n",
        ),
        (
            {
                "memory/memory.limit_in_bytes": "500000000",
                "memory/memory.usage_in_bytes": "300000000",
            },
            "4:memory:/host/path\n0::/\n",
        ),
    ):
        root = tmp_path / text[0]
        for name, value in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(value + "\n")
            (root / name).with_name("memory.stat").write_text(
                "anon 1\ninactive_file 50000000\ntotal_inactive_file 50000000\n"
            )
        own.write_text(text)
        assert group_free_mb(root, own) == 250


def test_numbers_in_words():
    assert gigabytes(12_345) == "12.3 GB"
    assert [duration(each) for each in (59, 119, 120, 7200, 200_000)] == [
        "59 s",
        "119 s",
        "2.0 min",
        "2.0 h",
        "2.3 days",
    ]


def test_simulated_records_have_points_in_both_splits(tmp_path):
    objective = config.BinsObjective(points="nowhere.bed", bin=64)
    model = config.AttentionModel(stem=config.ConvStemSection(pool=8))
    run = config.RunFile(
        data=config.Data(sequences=("a",)),
        objective=objective,
        model=model,
        tokens=config.Tokens(k=1),
    )
    section = objective_of(objective).with_synthetic_files(tmp_path)
    run = run.model_copy(update={"objective": section})
    corpus, split = synthetic_corpus(run, [256], 512, tmp_path)
    data = TrainingData.read(run, corpus, split)
    assert [sum(len(points.at) for points in of.targets) for of in (data.train, data.valid)] == [
        1,
        1,
    ]

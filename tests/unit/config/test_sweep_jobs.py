"""Test the jobs of [sweep]."""

import pytest
from run_files import DATA, read

SWEEP = (
    '[sweep]\nof = ["model", "cnn"]\n"training.learning_rate" = [1e-3, 4e-3]\n"model.dropout" '
    "= [0.1, 0.2, 0.5]\n"
)


def test_sweep_is_a_grid_per_network(tmp_path):
    jobs = read(tmp_path, DATA + "[training]\nmax_steps = 7\nseeds = 3\n" + SWEEP).jobs()
    by_network = {of: [job for job in jobs if job.of == of] for of in ("model", "cnn")}
    grid = [(1e-3, 0.1), (1e-3, 0.2), (1e-3, 0.5), (4e-3, 0.1), (4e-3, 0.2), (4e-3, 0.5)]
    for of, kind in (("model", "attention"), ("cnn", "cnn")):
        assert [
            (job.run.training.learning_rate, job.run.model.dropout) for job in by_network[of]
        ] == grid
        assert {job.run.model.kind for job in by_network[of]} == {kind}
    assert {
        (job.run.training.max_steps, job.run.training.seeds, job.run.sweep) for job in jobs
    } == {(7, 1, None)}
    assert [job.name for job in by_network["model"]] == [job.name for job in by_network["cnn"]]
    assert by_network["cnn"][0].folder == f"variants/cnn/sweep/{by_network['cnn'][0].name}"
    assert len({job.folder for job in jobs}) == 12


def test_sweep_job_changes_only_named_keys(tmp_path):
    run = read(tmp_path, DATA + "[training]\nmax_steps = 7\n" + SWEEP)
    job = run.jobs()[-7]
    training, model = (
        section.model_copy(update=of)
        for section, of in ((run.training, {"learning_rate": 4e-3}), (run.model, {"dropout": 0.5}))
    )
    assert job.run == run.model_copy(
        update={"training": training, "model": model, "variants": {}, "sweep": None}
    )
    assert run.part(job=job.name) == job.run
    with pytest.raises(ValueError, match=r"^unknown job 'none'; known jobs: \w{8}, "):
        run.part("cnn", job="none")


def test_sweep_jobs_have_no_stack(tmp_path):
    run = read(tmp_path, DATA + SWEEP + '[stack]\nparts = ["kmer6_logistic"]\n')
    assert run.stack.parts
    assert not any(job.run.stack.parts for job in run.jobs())


def test_longer_sweep_keeps_job_names(tmp_path):
    before = read(tmp_path, DATA + SWEEP).jobs()
    after = read(tmp_path, DATA + SWEEP.replace("[1e-3, ", "[2e-3, 0.001, ")).jobs()
    assert {job.folder for job in before} < {job.folder for job in after}


def test_sweep_may_trade_batch_size_for_accumulate(tmp_path):
    cut = (
        '[sweep]\n"training" = [{ batch_size = 16, accumulate = 4 }, { batch_size = 32, '
        "accumulate = 2 }]\n"
    )
    assert [job.run.training.batch_size for job in read(tmp_path, DATA + cut).jobs()] == [16, 32]


def test_sweep_as_tables(tmp_path):
    nested = (
        '[sweep]\nof = ["model", "cnn"]\n[sweep.training]\nlearning_rate = [1e-3, '
        "4e-3]\n[sweep.model]\ndropout = [0.1, 0.2, 0.5]\n"
    )
    assert read(tmp_path, DATA + nested).jobs() == read(tmp_path, DATA + SWEEP).jobs()

"""Test [sweep]: its jobs and its errors."""

import pytest
from run_files import DATA, error_of, read


@pytest.mark.parametrize(
    ("added", "message"),
    [
        *(
            (f"[sweep]\n{swept}", f"task.toml:{line}: {message}")
            for swept, line, message in [
                (
                    '"training.lerning_rate" = [1]',
                    5,
                    "unknown key 'lerning_rate' in [sweep.training]; did you mean 'learning_rate'?",
                ),
                (
                    '"trainig.seed" = [1]',
                    5,
                    "unknown key 'trainig' in [sweep]; did you mean 'training'?",
                ),
                (
                    '"model.stem" = [{ kind = "conv", kernl = 3 }]',
                    5,
                    "unknown key 'kernl' in [sweep.model.stem]; did you mean 'kernel'?",
                ),
                (
                    '"training.learning_rate" = [1e-3, -1]',
                    5,
                    "invalid value -1 for key 'learning_rate' in [sweep.training]; expected a "
                    "number greater than 0",
                ),
                (
                    '"training.learning_rate" = 1e-3',
                    5,
                    "invalid value 0.001 for key 'learning_rate' in [sweep.training]; expected "
                    "a list",
                ),
                (
                    '"tokens.k" = []',
                    5,
                    "invalid value [] for key 'k' in [sweep.tokens]; expected at least 1 item",
                ),
                (
                    '"model.embed_dim" = [64, 10]',
                    5,
                    "[sweep.model] embed_dim 10 is not a multiple of num_heads 4",
                ),
                (
                    '"training.seed.x" = [1]',
                    5,
                    "invalid value {'x': 1} for key 'seed' in [sweep.training]; expected an "
                    "integer",
                ),
                (
                    'of = ["model", "cnn"]\n"model.num_layers" = [1]',
                    6,
                    "unknown key 'num_layers' in [sweep.model]; known keys: bins, channels, "
                    "dropout, embed_dim, hidden_dim, kernels, kind, members, pools, strands",
                ),
                (
                    'of = "cn"\n"tokens.k" = [1]',
                    4,
                    "[sweep] unknown variant 'cn'; known variants: cnn, shuffled",
                ),
                (
                    'of = "cnn"',
                    4,
                    '[sweep] no key to sweep; add one, such as "training.learning_rate" = '
                    "[1e-3, 4e-3]",
                ),
                (
                    '"tokens.k" = [3, 3]',
                    4,
                    "[sweep] two jobs have the same settings; list each value, and each name "
                    "in of, once",
                ),
                (
                    '"data.min_length" = [1]',
                    4,
                    "[sweep] 'data.min_length' cannot be swept, only keys of tokens, model, "
                    "training, transfer",
                ),
                (
                    '"training.max_steps" = [9]',
                    4,
                    "[sweep] training.max_steps is 1500 in [training] but 9 in a job; it must "
                    "be the same in all jobs",
                ),
                (
                    '"training" = [{ patience = 1 }]',
                    4,
                    "[sweep] training.patience is 4 in [training] but 1 in a job; it must be "
                    "the same in all jobs",
                ),
                (
                    '"training.batch_size" = [64, 1024]',
                    4,
                    "[sweep] training.batch_size * accumulate is 64 in [training] but 1024 in "
                    "a job; it must be the same in all jobs",
                ),
                (
                    'of = "shuffled"\n"tokens.k" = [1]',
                    4,
                    "[sweep] training.labels is 'given' in [training] but 'shuffled' in a job; "
                    "it must be the same in all jobs",
                ),
            ]
        ),
    ],
)
def test_sweep_errors(tmp_path, added, message):
    assert error_of(tmp_path, DATA + added).startswith(message)


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


def test_other_errors_precede_sweep_errors(tmp_path):
    error = error_of(tmp_path, DATA + '[sweep]\n"tokens.k" = [99]\n[training]\nlerning_rate = 1\n')
    assert (
        error
        == "task.toml:7: unknown key 'lerning_rate' in [training]; did you mean 'learning_rate'?"
    )


def test_swept_variant_has_budget_of_run(tmp_path):
    longer = '[variants.cnn]\nmodel = { kind = "cnn" }\ntraining = { max_steps = 9000 }\n'
    error = error_of(tmp_path, DATA + longer + SWEEP)
    assert (
        error
        == "task.toml:7: [sweep] training.max_steps is 1500 in [training] but 9000 in a job; it "
        "must be the same in all jobs"
    )

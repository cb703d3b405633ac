"""Test how `Study` finds its task and its parts, and its errors about missing results."""

import re
import shutil
from pathlib import Path

import pytest

from selfattn_bio import Study, read_run_file
from selfattn_bio.errors import ResultsError, RunFileError

RUN_FILE = """
data = { positives = "p.fa", negatives = "n.fa" }
training.seeds = 2
variants.cnn.model.kind = "cnn"
variants.shuffled.training = { labels = "shuffled", seeds = 3 }
[sweep]
"training.learning_rate" = [0.001, 0.01]
of = ["model", "cnn"]
"""
MINE = "workflows/tasks/mine.toml"


@pytest.fixture
def tasks(here):
    """Write the same run file as a task, as a file elsewhere, and to a folder with run.toml."""
    for path in map(Path, (MINE, "other/my.toml", "mine_too/run.toml")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RUN_FILE)
    return here


def argument_of(study):
    """Return the task in the command that writes the model of a study."""
    with pytest.raises(ResultsError) as raised:
        study.existing(study.files, "model")
    return re.search("`selfattn-bio train (.*)`", str(raised.value))[1]


@pytest.mark.parametrize(
    ("text", "run_file", "folder", "name", "argument"),
    [
        ("mine", MINE, "results/mine", "mine", "mine"),
        ("results/mine/", MINE, "results/mine", "mine", "mine"),
        (MINE, MINE, "results/mine", "mine", "mine"),
        ("other/my.toml", "other/my.toml", "other/my", "my", "other/my.toml"),
        ("mine_too", "mine_too/run.toml", "mine_too", "mine_too", "mine_too"),
        ("./mine_too/run.toml", "mine_too/run.toml", "mine_too", "mine_too", "mine_too"),
    ],
)
@pytest.mark.parametrize("inside", [".", "members/2", "variants/shuffled/members/3"])
@pytest.mark.usefixtures("tasks")
def test_study_of_text(text, run_file, folder, name, argument, inside):
    study = Study(text if inside == "." else f"{text.rstrip('/')}/{inside}")
    assert study.task.path == Path(run_file)
    assert (study.root.folder, study.name) == (Path(folder), name)
    assert study.files.folder == Path(folder) / inside
    assert argument_of(study) == str(Path(argument) / inside)
    again = Study(argument_of(study))
    assert (again.files, again.run) == (study.files, study.run)


def test_study_of_current_folder(tasks, monkeypatch):
    monkeypatch.chdir(tasks / "mine_too")
    study = Study("./variants/cnn")
    assert (study.name, study.files.model) == ("mine_too", Path("variants/cnn/model"))
    assert argument_of(Study(".")) == "."


def test_study_in_another_folder(tasks):
    task = read_run_file(MINE)
    assert Study(task).root.folder == Path("results/mine")
    for study in (Study(task, "some/folder"), Study(MINE, "some/folder")):
        assert study.task == task
        assert study.files.model == Path("some/folder/model")
        assert study.variant("cnn").files.model == Path("some/folder/variants/cnn/model")
    assert repr(study) == f"Study of {task!r} in some/folder"
    assert repr(task) == str(task) == "RunFile 'mine': binary, p.fa, n.fa, model attention"
    data = task.data.model_copy(update={"positives": ("a", "b", "c", "d")})
    many = task.model_copy(update={"data": data})
    assert repr(many) == "RunFile 'mine': binary, a, b, c, 2 more files, model attention"
    with pytest.raises(RunFileError, match="a run file without a path needs a results folder"):
        Study(task.read_from(None))


def test_parts_have_their_run_and_share_the_folder(tasks):
    study = Study("mine")
    assert list(study.variants) == ["cnn", "shuffled"]
    cnn, shuffled = study.variants.values()
    assert (cnn.run.model.kind, cnn.run.training.seed) == ("cnn", study.run.training.seed)
    assert [len(each.members) for each in (study, cnn, shuffled)] == [2, 2, 3]
    third = shuffled.member(3)
    assert third.run.training.seed == study.run.training.seed + 2
    assert third.member(1).files == shuffled.files
    rates = {}
    for job, of in zip(study.jobs, study.task.jobs(), strict=True):
        assert job.files.folder == Path("results/mine") / of.folder
        assert Study(argument_of(job)).run == job.run
        rates.setdefault(of.of, []).append(job.run.training.learning_rate)
    assert rates["model"] == rates["cnn"] == [0.001, 0.01]
    assert {each.root for each in (cnn, third, *study.jobs)} == {study.root}
    labels = [each.address.label for each in (study, study.member(2), cnn, third)]
    assert labels == ["model", "model 2", "cnn", "shuffled 3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unknown task '/'"),
        ("/", "unknown task '/'"),
        ("/variants/cnn", "unknown task '/'"),
        ("mein", r"unknown task 'mein'\. Did you mean 'mine'\? Name a task"),
        ("another", r"unknown task 'another'\. Tasks in workflows/tasks/: mine\. Name a task, a "),
        ("absent.toml", "absent.toml: "),
        ("mine/variants/CNN", f"{MINE}: unknown variant 'CNN'; known variants: cnn, shuffled"),
        ("mine/variant/cnn", r"task 'mine' has no part 'variant/cnn'\. Its parts are variants/N"),
        ("results/mine/members/x", "task 'mine' has no part 'members/x'"),
        ("mine/members/3", f"{MINE}: no member 3; training.seeds is 2"),
        ("mine/members/0", f"{MINE}: no member 0"),
        ("mine/sweep/0x", f"{MINE}: unknown job '0x'; known jobs: "),
        ("mine_too/variants/none", "mine_too/run.toml: unknown variant 'none'"),
    ],
)
@pytest.mark.usefixtures("tasks")
def test_unknown_task_or_part_is_named(text, message):
    with pytest.raises(RunFileError, match=f"^{message}"):
        Study(text)


@pytest.mark.parametrize(
    ("result", "path", "step"),
    [
        *(("corpus", "corpus", "ingest"), ("splits", "split.tsv", "split")),
        *(("leakage", "audit.tsv", "audit"), ("evaluation", "metrics.json", "evaluate")),
        *(("ranking", "sweep.tsv", "sweep"), ("model", "variants/cnn/model", "train")),
        ("explanation", "variants/cnn/attribution", "explain"),
        ("motifs", "variants/cnn/motifs.tsv", "motifs"),
        ("interactions", "variants/cnn/interactions.tsv", "interactions"),
    ],
)
@pytest.mark.usefixtures("tasks")
def test_missing_result_names_the_command_that_writes_it(result, path, step):
    target = "mine/variants/cnn" if "variants" in path else "mine"
    with pytest.raises(ResultsError) as raised:
        getattr(Study("mine/variants/cnn"), result)
    assert str(raised.value) == (
        f"results/mine/{path}: not found. Run `selfattn-bio {step} {target}` first"
    )


def test_model_of_members_needs_each_of_them(tasks):
    Path("results/mine/model").mkdir(parents=True)
    with pytest.raises(ResultsError, match="Run `selfattn-bio train mine/members/2` first"):
        Study("mine").model  # noqa: B018


@pytest.mark.parametrize("step", ["ingest", "split", "audit", "evaluate", "rank_jobs"])
def test_steps_of_complete_tasks_refuse_parts(step, two_classes):
    study = Study("run.toml").variant("shuffled")
    with pytest.raises(RunFileError, match="is a step of the complete task, not of shuffled"):
        getattr(study, step)()


def test_model_folder_is_no_task(two_classes):
    Path("provenance.json").write_text("{}")
    for text in (".", "run.toml"):
        with pytest.raises(RunFileError, match="this is the folder of a model, not of a task"):
            Study(text)


def test_task_precedes_run_file_in_its_results(two_classes):
    Path("workflows/tasks").mkdir(parents=True)
    Path("results/mine").mkdir(parents=True)
    shutil.copy("run.toml", "results/mine/run.toml")
    shutil.copy("run.toml", "workflows/tasks/mine.toml")
    assert Study("results/mine").task.path == Path("workflows/tasks/mine.toml")


def test_damaged_results_name_their_step(two_classes):
    Path("corpus").mkdir()
    Path("split.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ResultsError, match=r"split\.tsv: .*Run `selfattn-bio split \.` again"):
        Study(".").splits  # noqa: B018

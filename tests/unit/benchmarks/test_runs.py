"""Test when a benchmark trains or measures again."""

import pytest

RUN = {
    "data": {"positives": "p.fa", "negatives": "n.fa"},
    "split": {"kind": "random", "valid_fraction": 0.3, "test_fraction": 0.3},
    "variants": {"cnn": {"model": {"kind": "cnn"}}},
}


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Record commands instead of running them; a training writes its model folder."""
    import runs

    from selfattn_bio import Study

    def record(name, study, *options):
        called.append(str(study))
        Study(study).files.model.mkdir(parents=True, exist_ok=True)

    called = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "command", record)
    for name, base in (("p", "A"), ("n", "C")):
        rows = (f">{name}{i}\n{'GT' * i}{base * 9}\n" for i in range(10))
        (tmp_path / f"{name}.fa").write_text("".join(rows))
    return called


def test_training_is_repeated_if_something_changed(tmp_path, commands):
    from runs import prepared, train, train_all, with_training

    folder = tmp_path / "results"

    def trainings(values, code=""):
        train(prepared(folder, values), code=code)
        return len(commands)

    assert [trainings(RUN), trainings(RUN)] == [1, 1]
    assert [trainings(RUN | {"variants": {}}), trainings(RUN, "code")] == [1, 2]
    assert trainings(with_training(RUN, max_steps=7), "code") == 3
    assert trainings(RUN | {"split": {"kind": "random"}}) == 4
    (folder / "model").rmdir()
    assert trainings(RUN | {"split": {"kind": "random"}}) == 5
    study = prepared(folder, with_training(RUN, seeds=2))
    train_all([*study.members, study.variant("cnn")])
    assert set(commands[5:]) == {f"{folder}{part}" for part in ("", "/members/2", "/variants/cnn")}


def test_first_member_with_a_stack_is_trained_first(tmp_path, commands):
    from runs import prepared, train_all, with_training

    stack = {"stack": {"parts": ["exact_positions"]}}
    study = prepared(tmp_path / "results", with_training(RUN | stack, seeds=2))
    train_all(reversed(study.members))
    assert commands == [str(each.files.folder) for each in study.members]


def test_result_is_kept_until_its_origin_changes(tmp_path):
    from runs import kept

    results = iter(range(9))
    found = [kept(tmp_path / "a.json", of, lambda: next(results)) for of in "aabba"]
    assert found == [0, 0, 1, 1, 2]


def test_measured_command_has_time_and_memory(tmp_path):
    from runs import measured_command

    cost = measured_command("schema", "--output", tmp_path / "schema.json")
    assert cost.cpu > 0
    assert cost.wall > 0
    assert cost.peak > 10
    with pytest.raises(SystemExit, match="error: split failed"):
        measured_command("split", "none")

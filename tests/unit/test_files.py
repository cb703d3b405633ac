"""Test that files and folders are complete or unchanged, however the writing process ends."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from selfattn_bio import files
from selfattn_bio.errors import OutputError, ResultsError
from selfattn_bio.files import check_replaceable, read_json, whole_file, whole_folder

KILLED = """if True:
    import os, signal, sys
    from selfattn_bio import files
    calls, replace = [], os.replace
    def dying(*names):
        calls.append(names)
        if len(calls) == {call}:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*names)
    files.os.replace = dying
    with files.whole_folder(sys.argv[1]) as folder:
        (folder / "new").write_text("new")
"""


def killed(folder, call):
    """Replace the folder in a process killed before rename number `call`; return its process id."""
    process = subprocess.Popen([sys.executable, "-c", KILLED.format(call=call), folder])
    assert process.wait() == -signal.SIGKILL
    return process.pid


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").write_text("old")
    return tmp_path / "model"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def replace(folder):
    with whole_folder(folder) as temporary:
        (temporary / "newest").write_text("newest")


def test_kill_between_renames_loses_nothing(folder, caplog):
    number = killed(folder, 2)
    assert not folder.exists()
    check_replaceable(folder, "model", ("old",), "old")  # the next process starts with this check
    assert names(folder) == ["old"]
    assert names(folder.parent) == ["model"]
    message = f"restored the previous version; process {number} was killed while replacing it"
    assert f"{folder}: {message}" in caplog.messages


# 1: before the first rename; 3: after the second one, while the old folder still exists
@pytest.mark.parametrize("call", [1, 3])
def test_files_of_killed_process_are_removed(folder, call):
    killed(folder, call)
    assert len(names(folder.parent)) == 2
    assert names(folder) == ["old" if call == 1 else "new"]
    replace(folder)
    assert names(folder) == ["newest"]
    assert names(folder.parent) == ["model"]


def test_files_of_running_processes_are_kept(folder):
    here, dead = socket.gethostname(), 9999999
    owners = f"{here}-{os.getppid()}", f"elsewhere-{dead}", f"b.{here}-{dead}", f"{here}-2-{dead}"
    living = [f".model.{owner}.tmp" for owner in owners]
    for name in (*living, f".model.{here}-{dead}.tmp"):
        (folder.parent / name).mkdir()
    replace(folder)
    assert names(folder.parent) == sorted(["model", *living])


def test_error_between_renames_restores_old_folder(folder, monkeypatch):
    renames, rename = [], os.replace

    def failing(source, target):
        renames.append(target)
        if len(renames) == 2:
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr("os.replace", failing)
    with pytest.raises(OSError, match="Input/output error") as error:
        replace(folder)
    assert error.value.filename == str(folder)
    assert names(folder) == ["old"]
    assert names(folder.parent) == ["model"]


def test_folder_named_old_is_never_partly_deleted(folder, monkeypatch):
    """Another process is faster: it creates the folder between the two renames."""
    rename, delete, deleted = os.replace, shutil.rmtree, []

    def slower(source, target):
        rename(source, target)
        if str(target).endswith(".old") and not deleted:
            folder.mkdir()
            (folder / "other").touch()

    def noted(path, **options):
        deleted.append(str(path).rpartition(".")[2])
        delete(path, **options)

    monkeypatch.setattr("os.replace", slower)
    monkeypatch.setattr("shutil.rmtree", noted)
    replace(folder)
    assert names(folder) == ["newest"]
    assert names(folder.parent) == ["model"]
    assert deleted == ["gone", "tmp"]


def test_processes_replace_one_folder_at_the_same_time(folder):
    code = """if True:
        import sys
        from selfattn_bio.files import whole_folder
        for number in range(200):
            with whole_folder(sys.argv[1]) as folder:
                for name in "abc":
                    (folder / name).write_text(sys.argv[2])
    """
    writers = [
        subprocess.Popen([sys.executable, "-c", code, folder, writer], stderr=subprocess.PIPE)
        for writer in ("first", "second", "third")
    ]
    assert [writer.communicate()[1] for writer in writers] == [b""] * 3
    assert names(folder) == ["a", "b", "c"]
    assert len({path.read_text() for path in folder.iterdir()}) == 1
    assert names(folder.parent) == ["model"]


def test_stale_temporary_file_is_removed(tmp_path):
    (tmp_path / f".a.tsv.{socket.gethostname()}-9999999.tmp").write_text("half")
    with whole_file(tmp_path / "a.tsv") as path:
        path.write_text("whole")
    assert names(tmp_path) == ["a.tsv"]


def test_error_names_requested_path(tmp_path):
    out, folder = tmp_path / "a.tsv", tmp_path / "corpus"
    with pytest.raises(FileNotFoundError) as caught, whole_file(out) as path:
        (path / "b").open()  # in the temporary file
    assert caught.value.filename == str(out / "b")
    with pytest.raises(FileNotFoundError) as caught, whole_file(out):
        Path("b.fa").read_text()
    assert caught.value.filename == "b.fa"
    with pytest.raises(FileNotFoundError) as caught, whole_folder(folder) as path:
        (path / "missing" / "letters.bin").open("wb")
    assert caught.value.filename == str(folder / "missing/letters.bin")


# replaceable folders
def check(folder):
    check_replaceable(folder, "model", ("weights", "run.toml"), "weights")


@pytest.mark.parametrize(
    "inside", ["", "weights", ".snakemake_timestamp run.toml weights", ".snakemake_timestamp"]
)
def test_empty_and_matching_folders_may_be_replaced(tmp_path, inside):
    for name in inside.split():
        (tmp_path / name).write_text("")
    check(tmp_path)
    assert names(tmp_path) == inside.split()


@pytest.mark.parametrize(
    ("inside", "reason"),
    [
        (["weights", "thesis.tex"], "it contains 'thesis.tex', which is not part of the model"),
        (["run.toml"], "it lacks 'weights', which every model folder contains"),
    ],
)
def test_other_folders_and_files_are_not_replaced(tmp_path, inside, reason):
    for name in inside:
        (tmp_path / name).write_text("")
    with pytest.raises(OutputError, match=f"{tmp_path}: the folder is not replaced: {reason}"):
        check(tmp_path)
    assert names(tmp_path) == sorted(inside)
    with pytest.raises(OutputError, match="the model cannot replace a file"):
        check(tmp_path / inside[0])


@pytest.mark.parametrize("below", ["file/model", "file/deeper/model"])
def test_path_below_a_file_is_refused(tmp_path, below):
    (tmp_path / "file").write_text("")
    path = tmp_path / below
    message = rf"file: cannot create {path}, because this is a file\. Choose another output"
    for write in (check, files.check_creatable):
        with pytest.raises(OutputError, match=message):
            write(path)
    for whole in (whole_file, whole_folder):
        with pytest.raises(OutputError, match=message), whole(path):
            pass


def test_unwritable_folder_is_reported_early(tmp_path, monkeypatch):
    def read_only(self, *arguments, **named):
        raise OSError(30, "Read-only file system", str(self))

    check(tmp_path / "new")
    monkeypatch.setattr("pathlib.Path.mkdir", read_only)
    with pytest.raises(OSError, match="Read-only file system") as error:
        check(tmp_path / "new")
    assert not names(tmp_path)
    assert error.value.filename


def test_read_json_returns_an_object_or_names_the_file(tmp_path):
    path = tmp_path / "a.json"
    for content, message in (
        *((b"", "file not found"), (b'{"a": ', "cannot read this file: ")),
        *((b"\xff", "cannot read this file: "), (b"[1]", "not a JSON object")),
    ):
        if content:
            path.write_bytes(content)
        with pytest.raises(ResultsError, match=rf"a\.json: {message}.*Write it again"):
            read_json(path, ResultsError, "Write it again")
    path.write_text('{"a": 1}')
    assert read_json(path, ResultsError, "") == {"a": 1}

import errno
import os
import re
import signal

import pytest
import torch

from selfattn_bio.errors import TrainingError
from selfattn_bio.training.resume import CheckpointFolder, StopSignals

TENSORS = {"network/w": torch.arange(6.0).view(2, 3)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.checkpoints"


def save_steps(path, *steps, fingerprint="a"):
    with CheckpointFolder(path, fingerprint) as folder:
        for step in steps:
            folder.save(step, {"network/w": TENSORS["network/w"] + step}, {"step": step})


def test_no_checkpoint_to_resume_from(path):
    with CheckpointFolder(path, "a") as folder:
        assert folder.latest() is None


def test_newest_checkpoint_is_used_and_two_are_kept(path):
    save_steps(path, 10, 20, 30)
    with CheckpointFolder(path, "a") as folder:
        tensors, state = folder.latest()
    assert state == {"step": 30}
    assert torch.equal(tensors["network/w"], TENSORS["network/w"] + 30)
    assert sorted(file.name for file in path.glob("step*")) == [
        "step-000000020.a.safetensors",
        "step-000000030.a.safetensors",
    ]


def test_truncated_checkpoint_falls_back_with_message(path, caplog):
    save_steps(path, 10, 20)
    newest = path / "step-000000020.a.safetensors"
    newest.write_bytes(newest.read_bytes()[:-5])
    with CheckpointFolder(path, "a") as folder:
        assert folder.latest()[1] == {"step": 10}
    assert re.search(
        r"step-000000020.a.safetensors: checkpoint is damaged .*the previous one is used",
        caplog.text,
    )


def test_altered_checkpoint_fails_its_checksum(path, caplog):
    save_steps(path, 10, 20)
    newest = path / "step-000000020.a.safetensors"
    # one bit of the last weight: still a safetensors file
    newest.write_bytes(newest.read_bytes()[:-1] + b"\x01")
    with CheckpointFolder(path, "a") as folder:
        assert folder.latest()[1] == {"step": 10}
    assert re.search(
        r"step-000000020.a.safetensors: checkpoint is damaged \(its sha256 is \w{12}, not \w{12}\)",
        caplog.text,
    )


def test_other_processes_read_and_do_not_write(path):
    save_steps(path, 10)
    with (
        CheckpointFolder(path, "a"),
        CheckpointFolder(path, "a", writes=False) as other,
    ):
        other.save(20, TENSORS, {"step": 20})
        assert other.latest()[1] == {"step": 10}


@pytest.fixture
def interruptible():
    """Restore the default handler of Ctrl-C, which shells ignore for background jobs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_signals_are_caught_and_restored():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with StopSignals() as signals:
        assert signals.received == 0
        for _ in range(2):  # torchrun and Slurm send one each
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.received == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_only_checkpoint_damaged_starts_again(path, caplog):
    save_steps(path, 10)
    (path / "step-000000010.a.safetensors").write_bytes(b"half")
    with CheckpointFolder(path, "a") as folder:
        assert folder.latest() is None
    assert re.search(
        r"step-000000010.a.safetensors: checkpoint is damaged .*; training starts again",
        caplog.text,
    )


def test_renamed_checkpoint_of_other_run_is_ignored(path, caplog):
    save_steps(path, 10)
    (path / "step-000000010.a.safetensors").rename(path / "step-000000010.b.safetensors")
    with CheckpointFolder(path, "b") as folder:
        assert folder.latest() is None
    assert (
        "checkpoint is damaged (its fingerprint is a, not b); training starts again" in caplog.text
    )


def test_changed_settings_start_again_and_old_ones_resume(path, caplog):
    save_steps(path, 10, 20, 30)
    with CheckpointFolder(path, "b") as folder:
        assert folder.latest() is None
        said = caplog.text
        caplog.clear()
        assert (
            "training starts again; 2 checkpoints of other data, settings or versions (0 MB) stay "
            "until its model is written" in said
        )
        for step in (1, 2, 3):
            folder.save(step, TENSORS, {"step": step})
        assert folder.latest()[1] == {"step": 3}
    with CheckpointFolder(path, "a") as folder:
        assert folder.latest()[1] == {"step": 30}
    assert caplog.text == ""
    assert len(list(path.glob("step-*"))) == 4


def test_written_model_removes_other_checkpoints(path):
    save_steps(path, 10, 20)
    save_steps(path, 1, 2, fingerprint="b")
    with CheckpointFolder(path, "b", writes=False) as folder:
        folder.finish()
    assert len(list(path.glob("step-*"))) == 4
    with CheckpointFolder(path, "b") as folder:
        folder.finish()
        assert folder.latest()[1] == {"step": 2}
    assert sorted(file.name for file in path.glob("step-*")) == [
        "step-000000001.b.safetensors",
        "step-000000002.b.safetensors",
    ]


def test_second_trainer_is_refused(path):
    with (
        CheckpointFolder(path, "a"),
        pytest.raises(
            TrainingError,
            match=rf"another process \({os.getpid()}\) trains this run",
        ),
        CheckpointFolder(path, "a"),
    ):
        pass


def test_file_system_without_locks_is_reported(path, monkeypatch):
    def no_locks(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    wanted = (
        r"does not support locks \(flock\): No locks available\. "
        r"Choose an output on another"
    )
    with pytest.raises(TrainingError, match=wanted), CheckpointFolder(path, "a"):
        pass


def test_lock_is_released(path):
    save_steps(path, 1)
    save_steps(path, 2)
    with CheckpointFolder(path, "a") as folder:
        assert folder.latest()[1] == {"step": 2}


def test_partial_files_of_killed_trainer_are_removed(path):
    save_steps(path, 10)
    (path / ".step-000000020.a.safetensors.elsewhere-123.tmp").write_bytes(b"half")
    with CheckpointFolder(path, "a") as folder:
        assert folder.latest()[1] == {"step": 10}
    assert not list(path.glob(".*.tmp"))


def failing(code):
    def fail(*arguments, **named):
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize(
    ("code", "call"),
    [
        (errno.ENOSPC, "pathlib.Path.write_bytes"),
        (errno.EIO, "os.fsync"),
        (errno.ESTALE, "os.replace"),
    ],
)
def test_disk_error_names_the_checkpoint(tmp_path, monkeypatch, code, call):
    with CheckpointFolder(tmp_path / "c", "f") as checkpoints:
        checkpoints.save(1, {"w": torch.ones(2)}, {"step": 1})
        with monkeypatch.context() as broken:
            broken.setattr(call, failing(code))
            with pytest.raises(OSError, match=os.strerror(code)) as error:
                checkpoints.save(2, {"w": torch.ones(2)}, {"step": 2})
        assert error.value.filename == str(tmp_path / "c" / "step-000000002.f.safetensors")
        assert checkpoints.latest()[1] == {"step": 1}
        assert not list(checkpoints.path.glob(".*"))


def test_unreadable_checkpoint_is_kept_and_named(path, monkeypatch):
    save_steps(path, 10, 20)
    with monkeypatch.context() as broken:
        broken.setattr("hashlib.file_digest", failing(errno.EIO))
        with (
            pytest.raises(OSError, match=os.strerror(errno.EIO)) as error,
            CheckpointFolder(path, "a"),
        ):
            pass
    assert error.value.filename == str(path / "step-000000020.a.safetensors")
    with CheckpointFolder(path, "a") as folder:
        assert folder.latest()[1] == {"step": 20}

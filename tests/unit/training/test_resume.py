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


def test_nothing_to_go_on_from(path):
    with CheckpointFolder(path, "a") as folder:
        assert folder.latest() is None


def test_the_newest_comes_back_and_two_are_kept(path):
    save_steps(path, 10, 20, 30)
    with CheckpointFolder(path, "a") as folder:
        tensors, state = folder.latest()
    assert state == {"step": 30}
    assert torch.equal(tensors["network/w"], TENSORS["network/w"] + 30)
    assert sorted(file.name for file in path.glob("step*")) == ["step-000000020.safetensors", "step-000000030.safetensors"]


def test_a_truncated_one_is_said_and_the_one_before_used(path, capsys):
    save_steps(path, 10, 20)
    newest = path / "step-000000020.safetensors"
    newest.write_bytes(newest.read_bytes()[:-5])
    with CheckpointFolder(path, "a") as folder:
        assert folder.latest()[1] == {"step": 10}
    assert re.search(r"step-000000020.safetensors: checkpoint is damaged .*the one before it is used", capsys.readouterr().out)


def test_an_altered_one_is_detected_by_its_checksum(path, capsys):
    save_steps(path, 10, 20)
    newest = path / "step-000000020.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1] + b"\x01")  # a bit of the last weight: still a safetensors file
    with CheckpointFolder(path, "a") as folder:
        assert folder.latest()[1] == {"step": 10}
    assert re.search(
        r"step-000000020.safetensors: checkpoint is damaged \(its sha256 must be \w{12}, got \w{12}\)", capsys.readouterr().out
    )


def test_a_process_beside_the_first_reads_and_does_not_write(path):
    save_steps(path, 10)
    with CheckpointFolder(path, "a"), CheckpointFolder(path, "a", writes=False) as other:
        other.save(20, TENSORS, {"step": 20})
        assert other.latest()[1] == {"step": 10}


@pytest.fixture
def interruptible():
    """Ctrl-C as Python has it; a shell that starts the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_signals_are_heard_and_given_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with StopSignals() as signals:
        assert signals.heard == 0
        for _ in range(2):  # torchrun and Slurm send one each
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.heard == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.heard == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_another_run_starts_anew_and_says_so(path, capsys):
    save_steps(path, 10)
    with CheckpointFolder(path, "b") as folder:
        assert folder.latest() is None
    assert "checkpoint is of other data, settings or versions; training starts anew" in capsys.readouterr().out


def test_a_second_trainer_is_refused(path):
    with (
        CheckpointFolder(path, "a"),
        pytest.raises(TrainingError, match=f"must be used by one trainer, got a second while process {os.getpid()} trains"),
        CheckpointFolder(path, "a"),
    ):
        pass


def test_the_lock_is_given_back(path):
    save_steps(path, 1)
    save_steps(path, 2)
    with CheckpointFolder(path, "a") as folder:
        assert folder.latest()[1] == {"step": 2}


def test_what_a_killed_trainer_left_half_written_is_removed(path):
    save_steps(path, 10)
    (path / ".step-000000020.safetensors.123.tmp").write_bytes(b"half")
    with CheckpointFolder(path, "a") as folder:
        assert folder.latest()[1] == {"step": 10}
    assert not list(path.glob(".*.tmp"))


def test_a_full_disk_is_an_os_error_that_names_the_checkpoint(tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with CheckpointFolder(tmp_path / "c", "f") as checkpoints:
        checkpoints.save(1, {"w": torch.ones(2)}, {"step": 1})
        monkeypatch.setattr("pathlib.Path.write_bytes", full)
        with pytest.raises(OSError, match="No space left on device") as error:
            checkpoints.save(2, {"w": torch.ones(2)}, {"step": 2})
        assert error.value.filename == str(tmp_path / "c" / "step-000000002.safetensors")
        assert checkpoints.latest()[1] == {"step": 1}

"""Test checkpoints, signals to stop, provenance and fingerprints of a training."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import selfattn_bio
from selfattn_bio import config
from selfattn_bio.config import read_run_file
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.errors import TrainingError
from selfattn_bio.files import sha256_of
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.readers import SequenceFile
from selfattn_bio.training import resume

TENSORS = {"network/w": torch.arange(6.0).view(2, 3)}
NAMES = "step-{:09d}.{}.safetensors"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.checkpoints"


def save_steps(path, *steps, fingerprint="a"):
    with resume.CheckpointFolder(path, fingerprint) as folder:
        for step in steps:
            folder.save(step, {"network/w": TENSORS["network/w"] + step}, {"step": step})


def latest(path, fingerprint="a"):
    """Return the step of the newest checkpoint, or None."""
    with resume.CheckpointFolder(path, fingerprint) as folder:
        found = folder.latest()
    if found is None:
        return None
    tensors, state = found
    assert torch.equal(tensors["network/w"], TENSORS["network/w"] + state["step"])
    return state["step"]


def files(path):
    return sorted(file.name for file in path.glob("step-*"))


def test_newest_checkpoint_is_used_and_two_are_kept(path):
    assert latest(path) is None
    save_steps(path, 10, 20, 30)
    assert latest(path) == 30
    assert files(path) == [NAMES.format(20, "a"), NAMES.format(30, "a")]


@pytest.mark.parametrize(
    ("steps", "damage", "reason"),
    [
        ((10, 20), lambda content: content[:-5], ".*the previous one is used"),
        # one bit of the last weight: still a safetensors file
        ((10, 20), lambda content: content[:-1] + b"\x01", r"\(its sha256 is \w{12}, not \w{12}\)"),
        ((20,), lambda content: b"half", ".*; training starts again"),
    ],
    ids=["truncated", "altered", "the only one"],
)
def test_damaged_checkpoint_is_left_out_with_a_message(path, caplog, steps, damage, reason):
    save_steps(path, *steps)
    newest = path / NAMES.format(20, "a")
    newest.write_bytes(damage(newest.read_bytes()))
    assert latest(path) == (10 if 10 in steps else None)
    assert re.search(f"{newest.name}: checkpoint is damaged {reason}", caplog.text)


def test_renamed_checkpoint_of_other_run_is_ignored(path, caplog):
    save_steps(path, 10)
    (path / NAMES.format(10, "a")).rename(path / NAMES.format(10, "b"))
    assert latest(path, "b") is None
    assert "damaged (its fingerprint is a, not b); training starts again" in caplog.text


def test_other_processes_read_and_do_not_write(path):
    save_steps(path, 10)
    with (
        resume.CheckpointFolder(path, "a"),
        resume.CheckpointFolder(path, "a", writes=False) as other,
    ):
        other.save(20, TENSORS, {"step": 20})
        assert other.latest()[1] == {"step": 10}


def test_signals_are_caught_and_restored():
    # shells ignore Ctrl-C for background jobs
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with resume.StopSignals() as signals:
        assert signals.received == 0
        for _ in range(2):  # torchrun and Slurm send one each
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.received == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    signal.signal(signal.SIGINT, ignored)


def test_changed_settings_start_again_and_old_ones_resume(path, caplog):
    save_steps(path, 10, 20, 30)
    assert latest(path, "b") is None
    assert "training starts again; 2 checkpoints of other data, settings or ver" in caplog.text
    caplog.clear()
    save_steps(path, 1, 2, 3, fingerprint="b")
    caplog.clear()
    assert (latest(path, "b"), latest(path)) == (3, 30)
    assert caplog.text == ""
    assert len(files(path)) == 4


def test_written_model_removes_other_checkpoints(path):
    save_steps(path, 10, 20)
    save_steps(path, 1, 2, fingerprint="b")
    with resume.CheckpointFolder(path, "b", writes=False) as folder:
        folder.finish()
    assert len(files(path)) == 4
    with resume.CheckpointFolder(path, "b") as folder:
        folder.finish()
    assert latest(path, "b") == 2
    assert files(path) == [NAMES.format(1, "b"), NAMES.format(2, "b")]


def test_second_trainer_is_refused_until_the_first_ends(path):
    with resume.CheckpointFolder(path, "a"):
        wanted = rf"another process \({os.getpid()}\) trains this run"
        with pytest.raises(TrainingError, match=wanted), resume.CheckpointFolder(path, "a"):
            pass
    save_steps(path, 2)
    assert latest(path) == 2


def failing(code):
    def fail(*arguments, **named):
        raise OSError(code, os.strerror(code))

    return fail


def test_file_system_without_locks_is_reported(path, monkeypatch):
    monkeypatch.setattr("fcntl.flock", failing(errno.ENOLCK))
    wanted = r"does not support locks \(flock\): No locks available\. Choose an output on another"
    with pytest.raises(TrainingError, match=wanted), resume.CheckpointFolder(path, "a"):
        pass


def test_partial_files_of_killed_trainer_are_removed(path):
    save_steps(path, 10)
    (path / ".step-000000020.a.safetensors.elsewhere-123.tmp").write_bytes(b"half")
    assert latest(path) == 10
    assert not list(path.glob(".*.tmp"))


@pytest.mark.parametrize("call", ["pathlib.Path.write_bytes", "os.fsync", "os.replace"])
def test_disk_error_names_the_checkpoint(path, monkeypatch, call):
    save_steps(path, 1)
    with monkeypatch.context() as broken:
        broken.setattr(call, failing(errno.ENOSPC))
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as error:
            save_steps(path, 2)
    assert error.value.filename == str(path / NAMES.format(2, "a"))
    assert latest(path) == 1
    assert not list(path.glob(".*"))


def test_unreadable_checkpoint_is_kept_and_named(path, monkeypatch):
    save_steps(path, 10, 20)
    with monkeypatch.context() as broken:
        broken.setattr("hashlib.file_digest", failing(errno.EIO))
        with pytest.raises(OSError, match=os.strerror(errno.EIO)) as error:
            latest(path)
    assert error.value.filename == str(path / NAMES.format(20, "a"))
    assert latest(path) == 20


# ------------ provenance and fingerprint
@pytest.fixture
def run(two_classes):
    return read_run_file(two_classes / "run.toml")


@pytest.fixture
def corpus(two_classes):
    files = [SequenceFile(two_classes / "p.fa", 1), SequenceFile(two_classes / "n.fa", 0)]
    return build_corpus(files, two_classes / "corpus", RecordRules(DNA))


def data_of(run, corpus, split_sha256="5" * 64):
    return SimpleNamespace(run=run, corpus=corpus, split_sha256=split_sha256)


def test_provenance_describes_data_settings_and_code(run, corpus, two_classes):
    found = resume.provenance_of(data_of(run, corpus), device="cpu", processes=2, threads=3)
    assert json.loads(json.dumps(found)) == found
    assert [(each["path"], each["sha256"]) for each in found["data"]] == [
        (str(path), sha256_of(path)) for path in (two_classes / "p.fa", two_classes / "n.fa")
    ]
    assert found["corpus_fingerprint"] == corpus.fingerprint
    assert found["split_sha256"] == "5" * 64
    assert (found["seed"], found["device"]) == (run.training.seed, "cpu")
    assert (found["processes"], found["threads"]) == (2, 3)
    assert found["versions"]["torch"] == version("torch")
    assert not found.keys() & {"partners", "module_sha256"}  # there is no second input or module


def test_fingerprint_changes_with_what_affects_weights(run, corpus, monkeypatch):
    """Settings of training, data, processes and code count; those of the report do not."""

    def print_of(split_sha256="5" * 64, processes=1, corpus=corpus, **changes):
        changed = run.model_copy(update=changes)
        return resume.fingerprint_of(data_of(changed, corpus, split_sha256), processes)

    def changed(section, **values):
        return {section: getattr(run, section).model_copy(update=values)}

    transfer = config.Transfer(parent="motifs")
    sections = [{}, changed("training", seed=7), changed("training", learning_rate=0.5)]
    sections += [changed("tokens", k=2), changed("model", dropout=0.123), {"transfer": transfer}]
    sections += [{"evaluation": config.EvaluationSection(strands="both")}]
    sections += [{"transfer": transfer.model_copy(update={"adapt": "frozen"})}]
    found = [print_of(**each) for each in sections]
    found += [print_of(split_sha256="6" * 64), print_of(processes=2)]
    found += [print_of(corpus=SimpleNamespace(fingerprint="other"))]
    assert print_of(**changed("interpret", max_sequences=9)) == found[0]
    monkeypatch.setattr(resume, "code_sha256", lambda: "other")
    found.append(print_of())
    assert len(set(found)) == len(found)


def test_fingerprint_changes_with_weights_of_parent(run, corpus, tmp_path):
    run = run.model_copy(update={"transfer": config.Transfer(parent=f"{tmp_path}/")})
    entries = {"calibration": {"slope": 1.0, "threshold": 0.5}, "vocabulary_sha256": "0" * 64}
    prints = set()
    for weights in ("a", "b", "b"):
        entries["weights_sha256"] = 64 * weights
        (tmp_path / "provenance.json").write_text(json.dumps(entries))
        prints.add(resume.fingerprint_of(data_of(run, corpus), 1))
    assert len(prints) == 2


def test_fingerprint_changes_with_source_of_module(run, corpus, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SELFATTN_BIO_ALLOW_MODULE", "fingerprinted:build")
    run = run.model_copy(update={"model": config.ModuleModel(module="fingerprinted:build")})
    prints = set()
    for text in ("1\n", "2\n", "2\n"):
        (tmp_path / "fingerprinted.py").write_text(text)
        prints.add(resume.fingerprint_of(data_of(run, corpus), 1))
    assert len(prints) == 2


def git(folder, *arguments):
    words = ["git", "-C", folder, "-c", "user.name=n", "-c", "user.email=e@example.org"]
    return subprocess.check_output([*words, *arguments], text=True).strip()


def test_commit_of_a_package(tmp_path, monkeypatch):
    """It is that of its repository; changes in the package mark it, others do not."""
    package, installed = tmp_path / "package", tmp_path / ".venv" / "package"
    for folder in (package, installed):
        folder.mkdir(parents=True)
        (folder / "code.py").write_text("1\n")
    assert resume.commit_of(package) is None  # there is no repository
    (tmp_path / ".gitignore").write_text(".venv/\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    (tmp_path / "notes.txt").write_text("2\n")  # outside the package
    monkeypatch.chdir("/")
    commit = git(package, "rev-parse", "HEAD")
    assert (resume.commit_of(package), resume.commit_of(installed)) == (commit, None)
    (package / "new.py").write_text("2\n")
    assert resume.commit_of(package) == f"{commit}-dirty"
    (package / "new.py").unlink()
    (package / "code.py").write_text("2\n")
    assert resume.commit_of(package) == f"{commit}-dirty"
    monkeypatch.setenv("PATH", "")
    assert resume.commit_of(package) is None


def test_hash_of_code_covers_python_and_cpp(tmp_path, monkeypatch):
    copy, ignored = tmp_path / "package", ("models", "project", "*.gz", "__pycache__")
    package = Path(selfattn_bio.__file__).parent
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns(*ignored))
    monkeypatch.setattr(resume, "__file__", str(copy / "training" / "resume.py"))
    hash_now = resume.code_sha256.__wrapped__  # without the cache
    hashes = [hash_now()]
    assert hash_now() == hashes[0]
    for name in ("loop.py", "band.cpp"):
        source = next(copy.rglob(name))
        source.write_bytes(source.read_bytes() + b"\n")
        hashes.append(hash_now())
    assert len(set(hashes)) == 3

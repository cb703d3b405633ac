"""Test what a model folder records about its training, and the fingerprint of its settings."""

import json
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

import selfattn_bio
from selfattn_bio import config
from selfattn_bio.config import read_run_file
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.files import sha256_of
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.training import resume
from selfattn_bio.training.resume import (
    code_sha256,
    commit_of,
    fingerprint_of,
    provenance_of,
)


@pytest.fixture
def run(two_classes):
    return read_run_file(two_classes / "run.toml")


@pytest.fixture
def corpus(two_classes):
    files = [(two_classes / "p.fa", 1), (two_classes / "n.fa", 0)]
    return build_corpus(files, two_classes / "corpus", RecordRules(DNA))


def test_provenance_describes_data_settings_and_code(run, corpus, two_classes):
    found = provenance_of(run, corpus, "5" * 64, device="cpu", processes=2, threads=3)
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


@pytest.mark.parametrize(
    ("section", "changed", "is_equal"),
    [
        ("training", {"seed": 7}, False),
        ("training", {"learning_rate": 0.5}, False),
        ("tokens", {"k": 2}, False),
        ("model", {"dropout": 0.123}, False),
        ("interpret", {"max_sequences": 9}, True),
    ],
)
def test_fingerprint_changes_with_what_affects_weights(run, corpus, section, changed, is_equal):
    other = getattr(run, section).model_copy(update=changed)
    prints = {
        fingerprint_of(each, corpus, "5" * 64, 1)
        for each in (run, run.model_copy(update={section: other}))
    }
    assert len(prints) == (1 if is_equal else 2)


def git(folder, *arguments):
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    return subprocess.run(
        ["git", "-C", folder, *who, *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def package(tmp_path):
    """Create a package in a repository that ignores its environment."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "code.py").write_text("1\n")
    (tmp_path / ".gitignore").write_text(".venv/\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    return tmp_path / "package"


def test_commit_does_not_depend_on_working_folder(package, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    (package.parent / "notes.txt").write_text("2\n")  # outside the package: ignored
    assert commit_of(package) == git(package, "rev-parse", "HEAD")


@pytest.mark.parametrize("name", ["code.py", "new.py"])
def test_change_in_package_is_marked(package, name):
    (package / name).write_text("2\n")
    assert commit_of(package) == git(package, "rev-parse", "HEAD") + "-dirty"


def test_installed_package_has_no_commit(package):
    installed = package.parent / ".venv" / "package"
    installed.mkdir(parents=True)
    (installed / "code.py").write_text("1\n")
    assert commit_of(installed) is None


def test_commit_without_repository_or_git(tmp_path, package, monkeypatch, tmp_path_factory):
    assert commit_of(tmp_path_factory.mktemp("elsewhere")) is None
    monkeypatch.setenv("PATH", "")
    assert commit_of(package) is None


@pytest.mark.parametrize("name", ["loop.py", "band.cpp"])
def test_hash_of_code_covers_python_and_cpp(name, tmp_path, monkeypatch):
    copy = tmp_path / "package"
    shutil.copytree(
        Path(selfattn_bio.__file__).parent,
        copy,
        ignore=shutil.ignore_patterns("models", "project", "*.gz", "__pycache__"),
    )
    monkeypatch.setattr(resume, "__file__", str(copy / "training" / "resume.py"))
    hash_now = code_sha256.__wrapped__  # without the cache
    before = hash_now()
    assert before == hash_now()
    source = next(copy.rglob(name))
    source.write_bytes(source.read_bytes() + b"\n")
    assert hash_now() != before


def test_fingerprint_changes_with_data_processes_and_code(run, corpus, monkeypatch):
    transfer = config.Transfer(parent="motifs")
    changes = [
        {},
        {"evaluation": config.EvaluationSection(strands="both")},
        {"transfer": transfer},
        {"transfer": transfer.model_copy(update={"adapt": "frozen"})},
    ]
    found = [fingerprint_of(run.model_copy(update=each), corpus, "5" * 64, 1) for each in changes]
    other = SimpleNamespace(fingerprint="other")
    for settings in ((corpus, "6" * 64, 1), (corpus, "5" * 64, 2), (other, "5" * 64, 1)):
        found.append(fingerprint_of(run, *settings))
    monkeypatch.setattr(resume, "code_sha256", lambda: "other")
    found.append(fingerprint_of(run, corpus, "5" * 64, 1))
    assert len(set(found)) == len(found)


def test_fingerprint_changes_with_weights_of_parent(run, corpus, tmp_path):
    run = run.model_copy(update={"transfer": config.Transfer(parent=f"{tmp_path}/")})
    calibration = {"slope": 1.0, "threshold": 0.5}
    prints = set()
    for weights in ("a", "b", "b"):
        checksums = {"vocabulary_sha256": "0" * 64, "weights_sha256": 64 * weights}
        entries = checksums | {"calibration": calibration}
        (tmp_path / "provenance.json").write_text(json.dumps(entries))
        prints.add(fingerprint_of(run, corpus, "5" * 64, 1))
    assert len(prints) == 2


def test_fingerprint_changes_with_source_of_module(run, corpus, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SELFATTN_BIO_ALLOW_MODULE", "fingerprinted:build")
    run = run.model_copy(update={"model": config.ModuleModel(module="fingerprinted:build")})
    prints = set()
    for text in ("1\n", "2\n", "2\n"):
        (tmp_path / "fingerprinted.py").write_text(text)
        prints.add(fingerprint_of(run, corpus, "5" * 64, 1))
    assert len(prints) == 2

"""Test the commit of the code that trained a model."""

import subprocess

import pytest

from selfattn_bio.training.provenance import commit_of


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
    assert commit_of(package) == git(package, "rev-parse", "HEAD")


@pytest.mark.parametrize("name", ["code.py", "new.py"])
def test_change_in_package_is_marked(package, name):
    (package / name).write_text("2\n")
    assert commit_of(package) == git(package, "rev-parse", "HEAD") + "-dirty"


def test_change_outside_package_is_ignored(package):
    (package.parent / "notes.txt").write_text("2\n")
    assert commit_of(package) == git(package, "rev-parse", "HEAD")


def test_installed_package_has_no_commit(package):
    installed = package.parent / ".venv" / "package"
    installed.mkdir(parents=True)
    (installed / "code.py").write_text("1\n")
    assert commit_of(installed) is None


def test_commit_without_repository_or_git(tmp_path, package, monkeypatch, tmp_path_factory):
    assert commit_of(tmp_path_factory.mktemp("elsewhere")) is None
    monkeypatch.setenv("PATH", "")
    assert commit_of(package) is None

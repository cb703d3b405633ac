"""Check README, Makefile, generated data and wheel, which no other test reads."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from unittest.mock import Mock

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from selfattn_bio.attention.kernels.band.variants import SEAL
from selfattn_bio.config import read_run_file

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# not tracked, among files that are
PRIVATE = {
    *("data/mine/mine.fa", "data/smoke/mine.fa", "notebooks/mine.ipynb", "tests/mine.py"),
    *("profiles/mine/config.yaml", "selfattn_bio/private_notes.py", "workflows/rules/mine.smk"),
    *("selfattn_bio/models/mine/model.safetensors", "workflows/tasks/mine_private.toml"),
    "selfattn_bio/models/promoter/stack/patients.csv",
}


def test_readme_make_commands_exist():
    targets = set(re.findall(r"\bmake ([a-z_-]+)\b(?= *(?:#|`|$))", README, flags=re.MULTILINE))
    assert targets >= {"train_promoter", "test"}
    for target in targets:
        command = ["make", "--dry-run", target]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        assert done.returncode == 0, target


FOLDERS = [ROOT / name for name in (".", "data", "docs", "workflows")]
PAGES = [path.relative_to(ROOT) for folder in FOLDERS for path in sorted(folder.glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_and_modules_exist(page):
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.M | re.S)
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", text)
    assert [link for link in links if not (ROOT / page.parent / link).exists()] == []
    paths = re.findall(r"`([\w./-]+/[\w./-]+\.py)`", text)
    modules = [path for path in paths if "/NAME." not in path]
    places = (ROOT, ROOT / "selfattn_bio")
    assert [path for path in modules if not any((at / path).exists() for at in places)] == []


def test_command_has_both_spellings():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(project["scripts"]) == {"selfattn-bio", "selfattn_bio"}
    assert len(set(project["scripts"].values())) == 1


def test_readme_and_index_link_every_page():
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    assert pages - set(re.findall(r"\]\((\w+\.md)", index)) == set()
    assert "](docs/README.md)" in README
    assert len(README.splitlines()) <= 120


@pytest.mark.parametrize(
    "path", sorted((ROOT / "workflows/tasks").glob("*.toml")), ids=lambda path: path.stem
)
def test_shipped_run_files_are_valid_and_have_data(path):
    run = read_run_file(path)
    assert run.title
    assert [file for file, _ in run.data.files if not (ROOT / file).is_file()] == []


@pytest.mark.long
def test_readme_support_matrix_is_current():
    command = [sys.executable, "-W", "ignore", ROOT / "docs/make_support.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_sweep_docs_show_jobs_of_task():
    page = (ROOT / "docs/sweep.md").read_text(encoding="utf-8")
    shown = re.findall(r"^ +(model|cnn) ([0-9a-f]{8}) ", page, flags=re.MULTILINE)
    jobs = read_run_file(ROOT / "workflows/tasks/grid.toml").jobs()
    assert sorted(shown) == sorted((job.of, job.name) for job in jobs)


def test_constraints_pin_all_dependencies_but_torch():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    tables = project["project"]["optional-dependencies"] | project["dependency-groups"]
    wanted = [*project["project"]["dependencies"], *(each for of in tables.values() for each in of)]
    names = {canonicalize_name(Requirement(each).name) for each in wanted} - {"selfattn-bio"}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines}
    assert names - pins.keys() == {"torch"}  # run `make lock` after a change
    assert all(re.fullmatch(r"==[\w.]+", str(pin.specifier)) for pin in pins.values())


def test_texts_of_all_licences_ship():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = {path.stem for path in (ROOT / "LICENSES").glob("*.txt")}
    assert {"MIT", *texts} == set(project["license"].split(" AND "))
    named = re.findall(r"\b(?:Artistic|BSD)-[\w.-]*\w", (ROOT / "data/README.md").read_text())
    assert set(named) <= texts


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone with the changes of this folder, and with private files."""
    folder = tmp_path_factory.mktemp("clone")
    files = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True)
    for name in files.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    subprocess.run(["git", "add", "."], cwd=folder, check=True)
    plant(folder)
    return folder


def plant(folder: Path) -> None:
    for name in PRIVATE:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()


def build(folder: Path, target: str) -> Path:
    """Build a target of hatchling in a folder with the sources, and return the archive.

    There is no compiler, so wheels have no compiled kernel (tests/long/test_wheel.py builds one).
    """
    command = [sys.executable, "-m", "hatchling", "build", "--target", target]
    env = os.environ | {"CXX": "no-compiler"}
    options = {"cwd": folder, "env": env, "capture_output": True, "check": True}
    done = subprocess.run([*command, "--directory", target], **options)
    (archive,) = (folder / target).iterdir()
    if target == "wheel":
        assert b"band-avx512.so, which did not compile ([Errno 2] No such file or" in done.stderr
        assert archive.name.endswith("-py3-none-any.whl")
    return archive


# like a compiler that does not know AVX512-BF16
OLD_COMPILER = """
case "$*" in *-mavx512bf16*) exit 1;; esac
while [ "$1" != -o ]; do shift; done
printf library > "$2"
"""


@pytest.mark.parametrize(
    ("compiler", "made", "problem"),
    [
        ("sh {}", ["band-avx2.so", "band-avx512.so"], "lacks band-avx512-bf16.so, which did not c"),
        ("true {}", [], "lacks band-avx2.so, band-avx512-bf16.so, band-avx512.so, which did not c"),
        ("'", [], "did not compile (CXX is not a valid command"),
        (" ", [], "did not compile (no C++ compiler found"),
    ],
)
def test_wheel_has_the_kernels_that_compile(compiler, made, problem, tmp_path, monkeypatch):
    (tmp_path / "c").write_text(OLD_COMPILER)
    monkeypatch.setenv("CXX", compiler.format(tmp_path / "c"))
    if compiler == " ":
        monkeypatch.setenv("PATH", str(tmp_path))
    hooks = runpy.run_path(str(ROOT / "packaging/files.py"))
    app, build_data = Mock(), {"force_include": {}}
    hook = hooks["TrackedFiles"](str(ROOT), {}, None, None, "", "wheel", app)
    hook._compile_kernels(build_data)
    (warning,) = app.display_warning.call_args.args
    assert problem in warning
    files = build_data["force_include"]
    assert sorted(map(os.path.basename, files.values())) == made
    assert build_data.get("pure_python", True) == (not made)
    for source, name in files.items():
        assert Path(source).read_bytes() == b"library" + SEAL
        assert name == f"selfattn_bio/attention/kernels/band/{Path(source).name}"
    hook._kernels.cleanup()


def test_wheel_and_sdist_have_tracked_files_only(clone, tmp_path):
    with tarfile.open(build(clone, "sdist")) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    files = subprocess.check_output(["git", "ls-files"], cwd=clone, text=True).splitlines()
    in_sdist = {str(file.relative_to(source)) for file in source.rglob("*") if file.is_file()}
    assert in_sdist == {*files, "PKG-INFO", "SOURCES.txt"}
    assert in_sdist >= {"CHANGELOG.md", "tests/workflow/test_repository.py"}

    plant(source)
    of_clone, of_sdist = (
        set(zipfile.ZipFile(build(folder, "wheel")).namelist()) for folder in (clone, source)
    )
    assert of_sdist == of_clone
    in_wheel = {
        path if path.startswith("selfattn_bio/") else f"selfattn_bio/project/{path}"
        for path in files
        if path.startswith(("selfattn_bio/", "workflows/", "profiles/", "notebooks/", "data/"))
        # scripts that made the data
        and (Path(path).parent != Path("data") or path.endswith(".md"))
    }
    assert {name for name in of_clone if ".dist-info/" not in name} == in_wheel


def test_archive_without_git_or_list(clone, tmp_path):
    source = shutil.copytree(clone, tmp_path / "zip", ignore=shutil.ignore_patterns(".git"))
    with pytest.raises(subprocess.CalledProcessError) as error:
        build(source, "sdist")
    assert error.value.stderr == b"error: an sdist needs a clone with .git, or an unpacked sdist\n"


def test_editable_install_copies_nothing(clone):
    names = zipfile.ZipFile(build(clone, "wheel:editable")).namelist()
    assert [name for name in names if ".dist-info/" not in name] == ["_selfattn_bio.pth"]

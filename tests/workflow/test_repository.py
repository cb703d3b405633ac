"""Check README, Makefile, generated data and wheel, which no other test reads."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from selfattn_bio.config import read_run_file

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_make_commands_exist():
    targets = set(re.findall(r"\bmake ([a-z_-]+)\b(?= *(?:#|`|$))", README, flags=re.MULTILINE))
    assert targets >= {"train_promoter", "test"}
    for target in targets:
        done = subprocess.run(
            ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{target}: {done.stderr}"


@pytest.mark.parametrize(
    "page",
    [Path("README.md"), *(path.relative_to(ROOT) for path in sorted((ROOT / "docs").glob("*.md")))],
    ids=str,
)
def test_links_and_modules_exist(page):
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.M | re.S)
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", text)
    assert [link for link in links if not (ROOT / page.parent / link).exists()] == []
    modules = [
        path for path in re.findall(r"`([\w./-]+/[\w./-]+\.py)`", text) if "/NAME." not in path
    ]
    places = (ROOT, ROOT / "selfattn_bio")
    assert [path for path in modules if not any((at / path).exists() for at in places)] == []


def test_readme_and_index_link_every_page():
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    assert pages - set(re.findall(r"\]\((\w+\.md)", index)) == set()
    assert "](docs/README.md)" in README
    assert len(README.splitlines()) <= 120


def test_readme_run_file_is_valid(tmp_path):
    (own,) = re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)
    (tmp_path / "mine.toml").write_text(own, encoding="utf-8")
    run = read_run_file(tmp_path / "mine.toml")
    assert run.model.kind == "attention"
    assert run.interpret.database == "jaspar:vertebrates"


def test_readme_python_names_exist():
    import selfattn_bio

    names = set(re.findall(r"selfattn_bio\.(\w+)\(", README))
    assert names >= {"load", "score_sequences", "explain"}
    assert all(callable(getattr(selfattn_bio, name)) for name in names)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "workflows/tasks").glob("*.toml")), ids=lambda path: path.stem
)
def test_shipped_run_files_are_valid_and_have_data(path):
    run = read_run_file(path)
    assert run.title
    assert [file for file, _ in run.data.files if not (ROOT / file).is_file()] == []


def test_run_files_in_training_docs_are_valid(tmp_path):
    page = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    for number, text in enumerate(re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)):
        (tmp_path / f"{number}.toml").write_text(text, encoding="utf-8")
        read_run_file(tmp_path / f"{number}.toml")
    assert number >= 3


def test_sections_in_leakage_docs_are_valid(tmp_path):
    page = (ROOT / "docs/leakage.md").read_text(encoding="utf-8")
    for number, text in enumerate(re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)):
        (tmp_path / f"{number}.toml").write_text(
            '[data]\npositives = "p.fa"\nnegatives = "n.fa"\n' + text, encoding="utf-8"
        )
        read_run_file(tmp_path / f"{number}.toml")
    assert number == 1


def test_sweep_docs_show_jobs_of_task():
    page = (ROOT / "docs/sweep.md").read_text(encoding="utf-8")
    shown = re.findall(r"^ +(model|cnn) ([0-9a-f]{8}) ", page, flags=re.MULTILINE)
    jobs = read_run_file(ROOT / "workflows/tasks/grid.toml").jobs()
    assert sorted(shown) == sorted((job.of, job.name) for job in jobs)


def test_smoke_data_match_their_script(tmp_path):
    script = tmp_path / "make_smoke.py"
    script.write_bytes((ROOT / "data/make_smoke.py").read_bytes())
    subprocess.run([sys.executable, str(script)], check=True)
    for name in ("positives.fa", "negatives.fa"):
        assert (tmp_path / "smoke" / name).read_bytes() == (ROOT / "data/smoke" / name).read_bytes()


def test_wheel_contains_package_data(tmp_path):
    subprocess.run(
        [
            sys.executable,
            "-m",
            "hatchling",
            "build",
            "--target",
            "wheel",
            "--directory",
            str(tmp_path),
        ],
        cwd=ROOT,
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "selfattn_bio").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package - names == set()
    assert any(name.endswith(".meme.gz") for name in names)
    assert "selfattn_bio/py.typed" in names
    assert {name.partition("/")[0] for name in names} == {
        "selfattn_bio",
        wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info",
    }

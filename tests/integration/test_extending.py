"""Run docs/extending.md: add each extension to a copy of the package, and use it.

A block that begins with `# PATH` is a new file. One that begins with `# PATH, last in: NAME = {` is
an entry to add at the end of this dict. One that begins with `# try it` is run.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECTION = re.compile(r"^## (.*?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```python\n# (.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTIONS = {
    title: dict(BLOCK.findall(text))
    for title, text in SECTION.findall((ROOT / "docs" / "extending.md").read_text("utf-8"))
}


@pytest.fixture
def package(tmp_path):
    """Copy the package without its models."""
    ignored = shutil.ignore_patterns("__pycache__", "models")
    shutil.copytree(ROOT / "selfattn_bio", tmp_path / "selfattn_bio", ignore=ignored)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("title", [title for title in SECTIONS if title != "A network"])
def test_extension_is_one_file_and_one_line(title, package):
    new, registered = 0, 0
    for name, code in SECTIONS[title].items():
        path, _, registry = name.partition(", last in: ")
        if name == "try it":
            path = "try.py"
        if registry:
            before, opening, entries = (
                (package / path).read_text("utf-8").partition(f"\n{registry}\n")
            )
            assert opening
            (package / path).write_text(
                before + opening + entries.replace("\n}\n", f"\n{code}}}\n", 1)
            )
            registered += code.count("\n")
        else:
            new += path != "try.py"
            assert not (package / path).exists()
            (package / path).write_text(code)
    assert new == 1
    assert registered <= 1
    done = subprocess.run(
        [sys.executable, "try.py"],
        cwd=package,
        env=os.environ | {"PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_network_of_the_page_is_a_module(tmp_path, monkeypatch):
    """test_user_module.py trains one; here the module of the page is built and called."""
    import torch

    from selfattn_bio.config import RunFile
    from selfattn_bio.model.build import build_network
    from selfattn_bio.model.user_module import VARIABLE, allow_module

    (tmp_path / "my_model.py").write_text(SECTIONS["A network"]["my_model.py"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(sys, "path", [*sys.path])
    allow_module("my_model:build")
    model = {"kind": "module", "module": "my_model:build", "settings": {"width": 16}}
    data = {"positives": "a", "negatives": "b"}
    network = build_network(RunFile.model_validate({"data": data, "model": model})).eval()
    tokens = torch.randint(4, 60, (3, 40))
    tokens[0, 30:] = 0
    outputs = network(tokens)
    assert outputs.shape == (3, 1, 1)
    assert torch.allclose(network(tokens[:1, :30])[0], outputs[0], atol=1e-5)
    assert torch.equal(network.classify(network.embed(tokens), tokens != 0), outputs[:, 0])

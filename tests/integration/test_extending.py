"""Run docs/extending.md: add each extension to a copy of the package, and use it.

A block that begins with `# PATH` is a new file. Others change a file: `# PATH, last in: NAME = {`
adds an entry to the end of a dict, `before: LINE` and `after: LINE` insert lines. A block that
begins with `# try it` is run.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fast_python import fast_python

ROOT = Path(__file__).parents[2]
SECTION = re.compile(r"^## (.*?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```python\n# (.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTIONS = {
    title: dict(BLOCK.findall(text))
    for title, text in SECTION.findall((ROOT / "docs" / "extending.md").read_text("utf-8"))
}


@pytest.fixture
def package(tmp_path):
    """Copy the package without the weights of its models."""
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
    shutil.copytree(ROOT / "selfattn_bio", tmp_path / "selfattn_bio", ignore=ignored)
    return tmp_path


def inserted(text, where, line, code):
    """Return the text of a file with `code` inserted before or after a line, or last in a dict."""
    before, found, rest = text.partition(f"\n{line}\n")
    assert found, line
    match where:
        case "before":
            return f"{before}\n{code}{line}\n{rest}"
        case "after":
            return f"{before}\n{line}\n{code}{rest}"
        case "last in":
            return f"{before}\n{line}\n" + f"\n{rest}".replace("\n}\n", f"\n{code}}}\n", 1)[1:]


@pytest.mark.slow
@pytest.mark.parametrize("title", [title for title in SECTIONS if title != "A network"])
def test_extension_is_one_file_and_one_registration(title, package):
    new, changed = [], set()
    for name, code in SECTIONS[title].items():
        path, _, place = name.partition(", ")
        path = "try.py" if name == "try it" else path
        if place:
            text = (package / path).read_text("utf-8")
            (package / path).write_text(inserted(text, *place.split(": ", 1), code))
            changed.add(path)
        else:
            assert not (package / path).exists()
            (package / path).write_text(code)
            new.append(path)
    assert len(new) == 2  # with try.py
    assert len(changed) <= 1
    options = {"cwd": package, "env": os.environ | {"PYTHONPATH": str(package)}, "text": True}
    command = [fast_python(), "try.py"]
    done = subprocess.run(command, capture_output=True, check=False, **options)
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

"""Test the message about a missing extra, and that extras named in messages and docs exist."""

import logging
import re
import sys
import tomllib
from pathlib import Path

import pytest

from selfattn_bio.errors import MissingPackageError
from selfattn_bio.extras import import_extra

ROOT = Path(__file__).parents[2]


def test_missing_extra_names_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "opacus", None)
    monkeypatch.delitem(sys.modules, "opacus.accountants", raising=False)  # of earlier tests
    with pytest.raises(MissingPackageError) as caught:
        import_extra("opacus.accountants", "privacy", "[privacy]")
    assert str(caught.value).startswith("[privacy] needs the extra privacy (")
    assert str(caught.value).endswith("). Install it with pip install 'selfattn-bio[privacy]'")


def test_imported_library_does_not_print_messages_of_the_package(tmp_path, monkeypatch):
    (tmp_path / "loud_library.py").write_text(
        "import logging\nlogging.root.addHandler(logging.NullHandler())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    before = logging.root.handlers[:]
    assert import_extra("loud_library", "privacy", "[privacy]").logging is logging
    assert logging.root.handlers == before


def test_named_extras_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pattern = re.compile(
        r"selfattn-bio\[(\w+)\]|install_command\([\"'](\w+)[\"']\)"
        r"|import_extra\(\s*\"[\w.]+\", \"(\w+)\""
    )
    files = [*ROOT.glob("selfattn_bio/**/*.py"), *ROOT.glob("docs/*.md")]
    texts = "\n".join(file.read_text(encoding="utf-8") for file in files)
    named = {extra for found in pattern.findall(texts) for extra in found if extra}
    assert named >= {"notebooks", "privacy"}
    assert named <= set(project["optional-dependencies"])

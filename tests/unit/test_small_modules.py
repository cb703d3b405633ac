"""Test public names, and modules of few functions: arrays, display, extras, layout and process."""

import logging
import os
import platform
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import selfattn_bio
from selfattn_bio import layout
from selfattn_bio.arrays import compiled
from selfattn_bio.baselines.blocks import _squared_changes
from selfattn_bio.cli.main import COMMANDS
from selfattn_bio.display import counted, duration
from selfattn_bio.errors import MissingPackageError
from selfattn_bio.extras import import_extra
from selfattn_bio.layout import Layout
from selfattn_bio.process import available_cores

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", selfattn_bio.__all__)
def test_public_name_is_documented(name):
    found = getattr(selfattn_bio, name)
    assert (found.__name__, found.__module__.split(".")[0]) == (name, "selfattn_bio")
    assert not found.__doc__.startswith(f"{name}(")  # written by hand, not by dataclass


def test_compiled_function_is_kept_and_gives_the_same():
    rng = np.random.default_rng(0)
    removed, added = rng.integers(-1, 4, (9, 3)), rng.integers(-1, 4, (9, 3, 4))
    found = compiled(_squared_changes)(removed, added)
    np.testing.assert_array_equal(found, _squared_changes(removed, added))
    assert found.max() > found.min()
    assert compiled(_squared_changes) is compiled(_squared_changes)


def test_counts_and_times_have_a_suitable_noun():
    counts = [counted(number, "record") for number in (0, 1, np.int64(2), 1234)]
    assert counts == ["0 records", "1 record", "2 records", "1,234 records"]
    times = [duration(each) for each in (0.2, 119, 120, 7200, 200_000)]
    assert times == ["1 s", "119 s", "2.0 min", "2.0 h", "2.3 days"]


def test_layout_file_has_a_path_and_a_command():
    files = {name: file for name, file in vars(Layout).items() if isinstance(file, layout._File)}
    assert len({file.name for file in files.values()}) == len(files) > 20
    assert {file.step for file in files.values()} <= set(COMMANDS)
    mine = Layout(Path("results/mine"))
    assert all(getattr(mine, name) == mine.folder / file.name for name, file in files.items())
    assert (Layout.corpus.step, Layout.ranking.step) == ("ingest", "sweep")


def test_available_cores_follow_the_affinity(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {2, 5, 7}, raising=False)
    assert available_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert available_cores() == 12


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc",
    reason="the C library is not glibc, the only one that `keep_memory` affects",
)
def test_freed_memory_is_reused():
    code = """if True:
        import resource
        import numpy as np
        from selfattn_bio.process import keep_memory
        {}
        np.ones(500_000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(100):
            np.ones(500_000)  # 4 MB, freed at once
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"""
    default, kept = (
        int(subprocess.check_output([sys.executable, "-c", code.format(line)], text=True))
        for line in ("", "keep_memory()")
    )
    assert kept < default / 4


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

"""Test public names, and modules of few functions: arrays, display, extras, layout and process."""

import gzip
import io
import logging
import os
import platform
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from IPython.core.formatters import DisplayFormatter
from PIL import Image

import selfattn_bio
from selfattn_bio import compression, layout
from selfattn_bio.arrays import compiled
from selfattn_bio.baselines.blocks import _squared_changes
from selfattn_bio.cli.main import COMMANDS
from selfattn_bio.compression import decompressed, open_uncompressed
from selfattn_bio.display import counted, did_you_mean, duration, short_name, short_names
from selfattn_bio.errors import IntervalError, MissingPackageError, VariantFileError
from selfattn_bio.evidence.marginalize import Ablation, Marginals, MarginalSpacing
from selfattn_bio.extras import import_extra
from selfattn_bio.layout import Layout
from selfattn_bio.motifs.motif_set import build_motifs
from selfattn_bio.motifs.patterns import SeqletPattern
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


def test_compiled_function_needs_no_folder_for_the_cache(monkeypatch):
    def refuse(function):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr("numba.core.dispatcher.FunctionCache", refuse)
    assert compiled(lambda number: number + 1)(1) == 2


def test_counts_and_times_have_a_suitable_noun():
    counts = [counted(number, "record") for number in (0, 1, np.int64(2), 1234)]
    assert counts == ["0 records", "1 record", "2 records", "1,234 records"]
    times = [duration(each) for each in (0.2, 119, 120, 7200, 200_000)]
    assert times == ["1 s", "119 s", "2.0 min", "2.0 h", "2.3 days"]


def test_short_names_differ_and_keep_what_differs():
    assert short_name("short-chain dehydrogenase", 12) == "short-c…nase"
    places = {
        "SUBCELLULAR LOCATION: Nucleus.": "Nucleus.",
        "SUBCELLULAR LOCATION: Nucleus. Cytoplasm.": "Nucleus. Cytoplasm.",
    }
    assert short_names(list(places)) == list(places.values())
    equal = [f"{20 * 'a'}{middle}{20 * 'b'}" for middle in "xy"]
    assert short_names(equal) == [f"{17 * 'a'}…{8 * 'b'} ({number})" for number in (1, 2)]
    assert short_names(["a family", "b family", "b family"]) == ["a family"] + 2 * ["b family"]
    only = f"the only name {20 * 'a'}"
    assert short_names([only]) == [f"the only name aaa…{8 * 'a'}"]


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


TEXT = b"".join(b"chr%d\t%d\n" % (i % 7, i * i) for i in range(5000))


def zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


def read(path, error=IntervalError):
    with open_uncompressed(path, error) as file:
        return list(file)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd])
@pytest.mark.parametrize("block", [5, 1000, 2**20])
def test_open_uncompressed(tmp_path, monkeypatch, compress, block):
    monkeypatch.setattr(compression, "BLOCK", block)
    padding = bytes(64) if compress is gzip.compress else b""
    parts = compress(TEXT[:100]) + compress(TEXT[100:]) + padding  # of members or frames
    for content, text in ((compress(TEXT), TEXT), (parts, TEXT), (compress(b""), b"")):
        (tmp_path / "a").write_bytes(content)
        assert read(tmp_path / "a") == text.splitlines(keepends=True)


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_truncated_and_damaged_files(tmp_path, compress):
    whole = compress(TEXT)
    kind = "gz" if compress is gzip.compress else "zstd"
    (tmp_path / "a").write_bytes(whole[:-20])
    with pytest.raises(VariantFileError, match=rf"a: {kind} file is truncated\. Download or copy"):
        read(tmp_path / "a", VariantFileError)
    (tmp_path / "a").write_bytes(whole[:12] + bytes(50 * [255]) + whole[62:])
    with pytest.raises(IntervalError, match=rf"a: damaged {kind} file: .*\. Download or copy"):
        read(tmp_path / "a")


def test_missing_files(tmp_path):
    with pytest.raises(IntervalError, match=r"none: no such file$"):
        read(tmp_path / "none")
    with pytest.raises(IntervalError, match=r": this is a folder, not a file$"):
        read(tmp_path)


def test_few_blocks_are_in_memory():
    """A file that expands a thousandfold is decompressed in pieces."""
    raw = gzip.compress(bytes(50_000_000))
    sizes = [len(piece) for piece in decompressed(iter([raw]), "a", IntervalError)]
    assert (sum(sizes), max(sizes)) == (50_000_000, compression.BLOCK)


PLACE = dict.fromkeys(("chrom", "start", "end", "strand"))
BOUNDED = {"auroc": {"value": 0.8, "low": 0.7, "high": 0.9}}
METRICS = {"n": 4, "model": BOUNDED, "baselines": {"gc": BOUNDED}, "controls": {}}
CURVES = pd.DataFrame(
    {"unit": "log-odds", "name": "m", "strand": "+", "start": [0, 9], "end": [9, 18]}
    | {"orientation": "++", "distance": [1, 2]}
    | {f"{of}{end}": 0.5 for of in ("effect", "epistasis") for end in ("", "_low", "_high")}
)


def explanation():
    records = pd.DataFrame({"id": ["a"], "target": ["label"], "length": [300], **PLACE})
    scores = np.random.default_rng(0).normal(0, 0.3, (1, 300, 4)).astype("f4")
    letters = np.frombuffer(b"ACGT" * 75, dtype=np.uint8)[None]
    return selfattn_bio.Explanation(records, letters, scores, scores[..., 0], "dna")


def substitutions():
    rows = [("chr1", p, "A", alt, p % 7 / 7) for p in range(10_001, 10_501) for alt in "CGT"]
    columns = ["chrom", "pos", "ref", "alt", "effect"]
    return selfattn_bio.Substitutions(pd.DataFrame(rows, columns=columns))


def motifs():
    seqlets = pd.DataFrame({"record": [0], "start": [0], "end": [8], "strand": ["+"]})
    counts = np.eye(4, dtype=int)[np.arange(8) % 4] * 9
    return build_motifs([SeqletPattern(counts, seqlets)] * 3, explanation().records, {})


def evaluation():
    test = pd.DataFrame({"label": [0, 1] * 2, "model": [0.1, 0.8, 0.3, 0.2], "gc": [0.5, 0.6] * 2})
    metrics = {"objective": "binary", "valid": METRICS, "test": METRICS}
    return selfattn_bio.Evaluation(metrics, {"test": test}, "")


@pytest.mark.parametrize(
    "plot",
    [
        *(lambda: explanation().plot(0), lambda: explanation().plot(0, region="all")),
        *(lambda: substitutions().plot(), lambda: substitutions().plot("all")),
        *(lambda: motifs().plot(), lambda: evaluation().plot()),
        *(Marginals(CURVES, CURVES, 9).plot, MarginalSpacing(CURVES, CURVES, 9).plot),
        Ablation(CURVES, 0.5, 0.4, 0.6, "log-odds").plot,
    ],
)
def test_plot_is_shown_in_a_notebook(plot) -> None:
    shown, _ = DisplayFormatter().format(plot())
    image = Image.open(io.BytesIO(shown["image/png"]))
    assert 300 < image.width < 1600
    assert 150 < image.height < 1000


def test_suggestions_ignore_case():
    columns = ["Entry", "Location", "Subcellular location [CC]", "ID"]
    for name, near in (("location", "Location"), ("LOCATION", "Location"), ("id", "ID")):
        assert did_you_mean(name, columns) == f"did you mean {near!r}?"
    assert did_you_mean("cellular", columns) == "did you mean 'Subcellular location [CC]'?"
    assert did_you_mean("sex", columns) == ""

"""Test compilation of the band kernel, its cache, and messages when it cannot run."""

import ctypes
import os
import re
import shlex
import shutil

import psutil
import pytest
import torch
from band_here import band_attention, needs_band

from selfattn_bio.attention.kernels.band import build as native
from selfattn_bio.attention.kernels.band import unavailable_reason
from selfattn_bio.attention.kernels.band.calls import Call
from selfattn_bio.attention.kernels.band.variants import SEAL, VARIANTS


def test_source_compiles():
    """Fail if the kernel should compile here but does not: other tests would only be skipped."""
    named = shlex.split(os.environ.get("CXX", ""))[:1]
    compiler = any(map(shutil.which, named or ("c++", "g++", "clang++")))
    flags = native.CPU_INFO.read_text().split() if native.CPU_INFO.exists() else []
    assert (unavailable_reason() is None) == (compiler and {"avx2", "fma"} <= set(flags)), (
        unavailable_reason()
    )


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """Start with no library loaded and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native._load.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    native._load.cache_clear()


@needs_band
@pytest.mark.usefixtures("small")
def test_compiles_once_into_the_cache(fresh, tmp_path):
    assert unavailable_reason() is None
    made = list((tmp_path / "selfattn_bio").iterdir())
    assert [path.suffix for path in made] == [".so"]
    native._load.cache_clear()
    fresh.setattr(native, "_make", None)  # a second process must not compile
    assert unavailable_reason() is None


@needs_band
def test_unwritable_cache_error_has_a_hint(fresh):
    fresh.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert unavailable_reason().startswith("cannot write to /proc/nowhere/selfattn_bio: ")
    assert unavailable_reason().endswith(". Set XDG_CACHE_HOME to a writable folder")


@pytest.fixture
def small(fresh, tmp_path):
    """Use a source that compiles quickly."""
    source = tmp_path / "band.cpp"
    size = ctypes.sizeof(Call)
    functions = {"int band_tile": 8, "long long band_call_size": size}
    lines = (f'extern "C" {name}() {{ return {of}; }}\n' for name, of in functions.items())
    source.write_text("".join(lines))
    fresh.setattr(native, "SOURCE", source)


@needs_band
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("rest", [0, -1], ids=["nothing", "all but a byte"])
def test_partial_library_is_rebuilt(rest):
    assert unavailable_reason() is None
    _, path = native._recipe()
    whole = path.read_bytes()
    path.unlink()  # this process has mapped the file
    path.write_bytes(whole[:rest])
    native._load.cache_clear()
    assert native.library().band_tile() == 8
    assert path.read_bytes() == whole


@needs_band
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("part", ["library", "folder"])
def test_library_that_others_can_write_is_rebuilt(part, fresh):
    assert unavailable_reason() is None
    _, path = native._recipe()
    open_part = path if part == "library" else path.parent
    open_part.chmod(0o777)
    made = path.stat().st_ino
    native._load.cache_clear()
    assert unavailable_reason() is None
    assert path.stat().st_ino != made
    assert not (path.stat().st_mode | path.parent.stat().st_mode) & 0o022
    # a library of another user is not loaded either
    fresh.setattr(native.os, "getuid", lambda: os.geteuid() + 1)
    assert not native._is_private(path)


@needs_band
@pytest.mark.usefixtures("small")
def test_library_with_another_structure_is_refused():
    size = ctypes.sizeof(Call)
    native.SOURCE.write_text(native.SOURCE.read_text().replace(str(size), str(size + 8)))
    assert unavailable_reason() == (
        f"`Call` has {size + 8} bytes in band.cpp and {size} in calls.py; the two must have the "
        "same fields"
    )


@needs_band
@pytest.mark.usefixtures("small")
def test_broken_library_is_rebuilt():
    _, path = native._recipe()
    path.parent.mkdir()
    path.write_bytes(b"of another system" + SEAL)
    assert unavailable_reason() is None
    assert native.library().band_tile() == 8


@pytest.mark.usefixtures("small")
def test_shipped_library_suits_the_cpu(fresh, tmp_path):
    def shipped(features):
        fresh.setattr(native, "_cpu", lambda: {"flags": " ".join(("fpu", *features))})
        return native._shipped()

    assert shipped(VARIANTS["band-avx2.so"]) is None  # as in a clone
    for name in VARIANTS:
        (tmp_path / name).write_bytes(SEAL)
    for name, features in VARIANTS.items():
        assert shipped(features) == tmp_path / name
        assert native.describe() == f"comes compiled with the package ({name})"
    assert shipped(["avx", "avx2"]) is None
    (tmp_path / "band-avx512.so").write_bytes(SEAL[:-1])  # truncated
    assert shipped(VARIANTS["band-avx512.so"]) == tmp_path / "band-avx2.so"
    (tmp_path / "band-avx2.so").unlink()
    assert shipped(VARIANTS["band-avx512.so"]) is None


@needs_band
@pytest.mark.usefixtures("small")
def test_shipped_library_that_does_not_load_is_replaced(tmp_path):
    for name in VARIANTS:
        (tmp_path / name).write_bytes(b"of another system" + SEAL)
    assert unavailable_reason() is None
    assert native.library().band_tile() == 8


def test_library_depends_on_source_compiler_flags_and_cpu(fresh, tmp_path):
    fresh.setattr(native, "_cpu", lambda: {"flags": "one CPU"})
    fresh.setattr(native, "_output", lambda command: "version 1")
    fresh.setenv("CXX", "g++")
    found = [native._recipe()[1]]
    source = tmp_path / "band.cpp"
    source.write_text(native.SOURCE.read_text() + "//")
    for change in (
        lambda: fresh.setattr(native, "SOURCE", source),
        lambda: fresh.setattr(native, "FLAGS", (*native.FLAGS, "-g")),
        lambda: fresh.setenv("CXX", "g++ -mno-avx512f"),
        lambda: fresh.setattr(native, "_output", lambda command: "version 2"),
        lambda: fresh.setattr(native, "_cpu", lambda: {"flags": "another CPU"}),
    ):
        assert native._recipe()[1] == found[-1]
        change()
        found.append(native._recipe()[1])
    assert len(set(found)) == 6


def test_unavailable_reason_names_the_problem(fresh, tmp_path):
    def reason():
        native._load.cache_clear()
        return unavailable_reason()

    fresh.setattr(native, "_cpu", lambda: {"flags": ""})
    fresh.setenv("CXX", "no-such-compiler")
    assert reason() == "the compiler no-such-compiler was not found"
    message = "band attention cannot run here: the compiler no-such-compiler was not found"
    with pytest.raises(RuntimeError, match=message):
        band_attention(*torch.zeros(3, 1, 1, 4, 16), left=1, right=1)
    fresh.setenv("CXX", '"')
    assert reason() == "CXX is not a valid command: '\"' (No closing quotation)"
    fresh.setenv("CXX", " ")
    fresh.setenv("PATH", str(tmp_path))
    assert reason() == "no C++ compiler found: install g++ or clang++, or set CXX"


@needs_band
def test_first_compiler_error_is_reported(fresh, tmp_path):
    source = tmp_path / "band.cpp"
    source.write_text("int band_tile() { return no_such_name; }\n")
    fresh.setattr(native, "SOURCE", source)
    assert re.fullmatch("\\S+ failed: .*error: .*no_such_name.*", unavailable_reason())


def test_compiler_that_never_ends_is_killed_with_its_programs(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "SECONDS", 0.5)
    program = tmp_path / "c++"
    program.write_text(f"#!/bin/sh\nsleep 1000 & echo $! > {tmp_path}/child\nwait\n")
    program.chmod(0o755)
    with pytest.raises(native.NotHereError, match=r"c\+\+ needs more than 0\.5 s"):
        native._output([str(program)])
    child = int((tmp_path / "child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_missing_cpu_features_are_reported(fresh, tmp_path):
    fresh.setattr(native.platform, "machine", lambda: "riscv64")
    assert unavailable_reason() == "the CPU is riscv64; the kernel needs x86-64"
    native._load.cache_clear()
    info = tmp_path / "cpuinfo"
    info.write_text("processor: 0\nmodel name\t: Old\nflags\t\t: fpu avx avx2\n\nprocessor: 1\n")
    fresh.setattr(native.platform, "machine", lambda: "x86_64")
    fresh.setattr(native, "CPU_INFO", info)
    assert unavailable_reason() == "the CPU lacks fma; the kernel needs AVX2 and FMA"
    native._load.cache_clear()
    fresh.setattr(native, "CPU_INFO", tmp_path / "none")
    message = f"the features of the CPU cannot be read: there is no {tmp_path / 'none'}"
    assert unavailable_reason() == message

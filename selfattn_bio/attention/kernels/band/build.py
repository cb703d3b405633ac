"""Load the library of `band.cpp`: the one in the wheel that suits the CPU, or one compiled here.

A clone has none, and a wheel has none for some systems. Then the compiler of the machine compiles
it on first use, and it is kept in a cache. If the library cannot be used here,
`unavailable_reason` returns the reason.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import re
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from selfattn_bio.attention.kernels.band import variants
from selfattn_bio.attention.kernels.band.calls import Call
from selfattn_bio.attention.kernels.band.variants import FLAGS, SOURCE, NotHereError
from selfattn_bio.errors import OutputError
from selfattn_bio.files import whole_file

CPU_INFO = Path("/proc/cpuinfo")
SECONDS = 300  # of the compiler


def unavailable_reason() -> str | None:
    """Return None if the kernel runs on this machine, else the reason in one line.

    Unless the wheel has the kernel, the first call compiles it, which takes some seconds.
    """
    with _LOADING:
        return _load()[1]


def library() -> Any:
    """Return the loaded library.

    Raises
    ------
    RuntimeError
        If it is not available; see `unavailable_reason`.
    """
    with _LOADING:
        loaded, reason = _load()
    if loaded is None:
        raise RuntimeError(f"band attention cannot run here: {reason}")
    return loaded


_LOADING = threading.Lock()  # compile once, not once per thread


@functools.cache
def _load() -> tuple[Any, str | None]:
    """Return the library and None, or None and the reason."""
    try:
        if (shipped := _shipped()) is not None:
            with suppress(OSError):  # a library that does not load here: compile it
                return _checked(ctypes.CDLL(str(shipped))), None
        compiler, library = _recipe()
        if _is_private(library) and _is_whole(library):
            # A library compiled on a different system may not load. In that case compile it again.
            with suppress(OSError):
                return _checked(ctypes.CDLL(str(library))), None
        _make(compiler, library)
        return _checked(ctypes.CDLL(str(library))), None
    # Problems with compiler, cache or loader: the caller uses another kernel and prints the reason.
    except (NotHereError, OSError, subprocess.SubprocessError) as error:
        return None, " ".join(str(error).split())


def _checked(library: Any) -> Any:
    """Return the library, after a check that it reads the same structure as `Call`."""
    library.band_call_size.restype = ctypes.c_int64
    size, expected = library.band_call_size(), ctypes.sizeof(Call)
    if size != expected:
        raise NotHereError(
            f"`Call` has {size} bytes in band.cpp and {expected} in calls.py; the two must have "
            "the same fields"
        )
    return library


def _shipped() -> Path | None:
    """Return the fastest library of the wheel that this CPU can run, or None if it has none."""
    features = set(_cpu()["flags"].split())
    names = (name for name, needed in variants.VARIANTS.items() if features.issuperset(needed))
    return next(filter(_is_whole, map(SOURCE.with_name, names)), None)


def _is_whole(library: Path) -> bool:
    """Return whether the file exists and is not truncated."""
    return library.is_file() and library.read_bytes().endswith(variants.SEAL)


def _recipe() -> tuple[list[str], Path]:
    """Return the compiler command and the path of the library in the cache.

    The name of the library depends on the sources, the flags, the compiler and the CPU.
    """
    cpu, compiler = _cpu(), variants.find_compiler()
    version = _output([*compiler, "--version"])
    sources = (SOURCE, *sorted(SOURCE.parent.glob("*.h")))
    key = "\n".join((*map(Path.read_text, sources), *FLAGS, *compiler, version, *cpu.values()))
    name = f"band-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        message = f"no folder for the compiled kernel: {error}. Set XDG_CACHE_HOME"
        raise NotHereError(message) from error
    return compiler, Path(home, "selfattn_bio", name)


def describe() -> str:
    """Describe the state of the kernel, without compiling it."""
    try:
        if (shipped := _shipped()) is not None:
            return f"comes compiled with the package ({shipped.name})"
        compiler, library = _recipe()
    except NotHereError as error:
        return f"cannot run: {error}"
    if _is_private(library) and _is_whole(library):
        return "is compiled"
    return f"will be compiled with {compiler[0]} when it is used first"


def _is_private(library: Path) -> bool:
    """Return whether the file exists and only this user can write to it and to its folder."""
    found = [path.stat() for path in (library, library.parent) if library.exists()]
    return bool(found) and all(
        each.st_uid == os.getuid() and not each.st_mode & 0o022 for each in found
    )


def _make(compiler: list[str], library: Path) -> None:
    """Compile the source. `library` is complete or absent, even if several processes compile it.

    It is loaded into each process, so other users must not be able to replace or change it.
    """
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        library.parent.chmod(0o700)
        with whole_file(library) as temporary:
            _output([*compiler, "-march=native", *FLAGS, "-o", str(temporary), str(SOURCE)])
            with temporary.open("ab") as end:
                end.write(variants.SEAL)
            temporary.chmod(0o700)
    except (OSError, OutputError) as error:
        reason = getattr(error, "strerror", None) or "a file is in the way"
        raise NotHereError(
            f"cannot write to {library.parent}: {reason}. Set XDG_CACHE_HOME to a writable folder"
        ) from error


def _cpu() -> dict[str, str]:
    """Return model and features of this CPU, as listed by Linux."""
    machine = platform.machine()
    if machine not in ("x86_64", "AMD64"):
        raise NotHereError(f"the CPU is {machine or 'unknown'}; the kernel needs x86-64")
    try:
        first = CPU_INFO.read_text().split("\n\n")[0]
    except OSError:
        message = f"the features of the CPU cannot be read: there is no {CPU_INFO}"
        raise NotHereError(message) from None
    wanted = r"^(model name|cpu family|model|stepping|flags)\s*:(.*)"
    fields = dict(re.findall(wanted, first, flags=re.MULTILINE))
    missing = sorted({*variants.AVX2} - set(fields.get("flags", "").split()))
    if missing:
        raise NotHereError(f"the CPU lacks {' and '.join(missing)}; the kernel needs AVX2 and FMA")
    return fields


def _output(command: list[str]) -> str:
    try:
        pipe, environment = subprocess.PIPE, os.environ | {"LC_ALL": "C"}
        compiler = subprocess.Popen(
            command, stdout=pipe, stderr=pipe, text=True, env=environment, start_new_session=True
        )
    except FileNotFoundError:
        raise NotHereError(f"the compiler {command[0]} was not found") from None
    with compiler:
        try:
            output, errors = compiler.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise NotHereError(f"{command[0]} needs more than {SECONDS} s") from None
        finally:
            if compiler.poll() is None:
                os.killpg(compiler.pid, signal.SIGKILL)  # with the programs that it started
    if compiler.returncode:
        lines = errors.splitlines() or [f"exit {compiler.returncode}"]
        first = next((line for line in lines if "error:" in line), lines[0])
        raise NotHereError(f"{command[0]} failed: {first}")
    return output

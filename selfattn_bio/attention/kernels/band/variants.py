"""Libraries of the kernel that a wheel for Linux on x86-64 contains, and how they are compiled.

`packaging/files.py` compiles them when the wheel is built, and runs this module without the
package. `build` loads the one that suits the CPU.
"""

import os
import shlex
import shutil
from pathlib import Path

SOURCE = Path(__file__).with_name("band.cpp")
# never -ffast-math: the kernel computes with infinities
FLAGS = ("-O3", "-std=c++17", "-ffp-contract=fast", "-shared", "-fPIC", "-pthread")
AVX2 = ("avx2", "fma")
AVX512 = (*AVX2, "avx512f", "avx512dq", "avx512bw", "avx512vl")
# file -> features of the CPU that it needs, as Linux names them; the fastest first
VARIANTS = {
    "band-avx512-bf16.so": (*AVX512, "avx512_bf16"),
    "band-avx512.so": AVX512,
    "band-avx2.so": AVX2,
}
# Appended to the file of a library, where loaders ignore it. A truncated library, which could
# crash the process, lacks it.
SEAL = b"\nwhole\n"


class NotHereError(Exception):
    """The kernel is not available on this machine."""


def find_compiler() -> list[str]:
    """Return the command in CXX or, if it is empty, the C++ compiler on the path."""
    named = os.environ.get("CXX", "")
    try:
        if command := shlex.split(named):
            return command
    except ValueError as error:
        raise NotHereError(f"CXX is not a valid command: {named!r} ({error})") from error
    found = [name for name in ("c++", "g++", "clang++") if shutil.which(name)]
    if not found:
        raise NotHereError("no C++ compiler found: install g++ or clang++, or set CXX")
    return found[:1]


def command(compiler: list[str], library: Path) -> list[str]:
    """Return the command that compiles one of `VARIANTS` to a file, with g++ or clang++."""
    features = [f"-m{each.replace('_', '')}" for each in VARIANTS[library.name]]
    return [*compiler, *FLAGS, *features, "-o", str(library), str(SOURCE)]

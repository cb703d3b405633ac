"""Libraries of the kernel that a wheel for Linux on x86-64 contains, and how they are compiled.

`packaging/files.py` compiles them when the wheel is built, and runs this module without the
package. `build` loads the one that suits the CPU.
"""

from pathlib import Path

SOURCE = Path(__file__).with_name("band.cpp")
# never -ffast-math: the kernel computes with infinities
FLAGS = ("-O3", "-std=c++17", "-ffp-contract=fast", "-shared", "-fPIC")
AVX2 = ("avx2", "fma")
AVX512 = (*AVX2, "avx512f", "avx512dq", "avx512bw", "avx512vl")
# file -> features of the CPU that it needs, as Linux names them; the fastest first
VARIANTS = {
    "band-avx512-bf16.so": (*AVX512, "avx512_bf16"),
    "band-avx512.so": AVX512,
    "band-avx2.so": AVX2,
}


def command(compiler: list[str], name: str, folder: str) -> list[str]:
    """Return the command that compiles one of `VARIANTS` into a folder, with g++ or clang++."""
    features = [f"-m{each.replace('_', '')}" for each in VARIANTS[name]]
    return [*compiler, *FLAGS, *features, "-o", f"{folder}/{name}", str(SOURCE)]

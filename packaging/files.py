"""Build hook of hatchling: tracked files of the archives, and compiled kernels of the wheel.

The sdist has all tracked files and their list, the wheel those of them that `include` in
pyproject.toml selects. A wheel that is built from an sdist uses the list. On Linux on x86-64 the
wheel also has the attention kernel, compiled for several CPUs, and is a wheel of this platform.
"""

import platform
import runpy
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from pathspec import GitIgnoreSpec

LIST = "SOURCES.txt"
BAND = "selfattn_bio/attention/kernels/band"
# The kernels need no newer glibc than PyTorch does (tests/long/test_wheel.py).
TAG = "py3-none-manylinux_2_28_x86_64"


class TrackedFiles(BuildHookInterface):
    """Replace the patterns of a target by the tracked files that they select."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Select the files of the target; an editable installation has none."""
        if version == "editable":
            return
        machine = (platform.system(), platform.machine(), platform.libc_ver()[0])
        if self.target_name == "wheel" and machine == ("Linux", "x86_64", "glibc"):
            self._compile_kernels(build_data)
        names = self._tracked_files()
        if self.target_name == "sdist":
            if names is None:
                raise SystemExit("error: an sdist needs a clone with .git, or an unpacked sdist")
            self._list = tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=LIST)  # noqa: SIM115
            self._list.writelines(f"{name}\n" for name in names)
            self._list.flush()
            build_data["force_include"][self._list.name] = LIST
        elif names is None:
            self.app.display_warning(
                f"no .git and no {LIST} in {self.root}: untracked files are not recognised"
            )
            return
        else:
            patterns = GitIgnoreSpec.from_lines(self.build_config.build_config["include"])
            names = list(patterns.match_files(names))
        self.build_config.target_config["only-include"] = sorted(names)

    def _compile_kernels(self, build_data: dict[str, Any]) -> None:
        """Add the kernels that compile to the wheel, and warn about the others."""
        variants = runpy.run_path(f"{self.root}/{BAND}/variants.py")
        self._kernels = tempfile.TemporaryDirectory()
        running, problem = {}, ""
        try:
            compiler = variants["find_compiler"]()
            for name in variants["VARIANTS"]:
                path = Path(self._kernels.name, name)
                running[path] = subprocess.Popen(variants["command"](compiler, path))
        except (variants["NotHereError"], OSError) as error:
            problem = f" ({error})"
        made = [path for path, each in running.items() if not each.wait() and path.is_file()]
        for path in made:
            with path.open("ab") as end:
                end.write(variants["SEAL"])
            build_data["force_include"][str(path)] = f"{BAND}/{path.name}"
        if missing := set(variants["VARIANTS"]) - {path.name for path in made}:
            self.app.display_warning(
                f"the wheel lacks {', '.join(sorted(missing))}, which did not compile{problem}, so "
                "that its users have a slower kernel or need a C++ compiler. Install g++ or "
                "clang++, or set CXX"
            )
        if made:
            build_data |= {"pure_python": False, "tag": TAG}

    def _tracked_files(self) -> list[str] | None:
        """Return the names in git's index or, in an sdist, in its list; None without both."""
        root = Path(self.root)
        if (root / ".git").exists():
            # a clone may belong to another user, for example in a container
            command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
            try:
                listed = subprocess.check_output(command, cwd=root, text=True, encoding="utf-8")
            except (OSError, subprocess.CalledProcessError) as error:
                raise SystemExit(f"error: git cannot list the files of {root}: {error}") from error
            return [name for name in listed.split("\0") if (root / name).is_file()]
        if (root / LIST).is_file():
            return (root / LIST).read_text(encoding="utf-8").splitlines()
        return None

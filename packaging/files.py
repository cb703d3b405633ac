"""Build hook of hatchling: an archive has no file that git does not track.

The sdist has all tracked files and their list, the wheel those of them that `include` in
pyproject.toml selects. A wheel that is built from an sdist uses the list.
"""

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from pathspec import GitIgnoreSpec

LIST = "SOURCES.txt"


class TrackedFiles(BuildHookInterface):
    """Replace the patterns of a target by the tracked files that they select."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Select the files of the target; an editable installation has none."""
        if version == "editable":
            return
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

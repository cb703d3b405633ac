"""What a command prints, as one JSON object a line, or not at all: `--json` and `--quiet` of every command.

Hides: the form of a log line. `main` puts it in the place of stdout, and of stderr for what is said there beside errors.
"""

from __future__ import annotations

import io
import json
import time
from typing import TextIO


class JsonLines(io.TextIOBase):
    """A stream that makes an object of each line: time (UTC), command, level, message."""

    def __init__(self, stream: TextIO, command: str, level: str = "info") -> None:
        self._stream, self._command, self._level, self._rest = stream, command, level, ""

    def write(self, text: str) -> int:
        """Write what is complete; an unfinished line waits for its end."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self.say(self._level, line.rstrip())
        return len(text)

    def say(self, level: str, message: str, **more: object) -> None:
        """Write one object."""
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        said = {"time": when, "command": self._command, "level": level, "message": message, **more}
        self._stream.write(json.dumps(said, ensure_ascii=False) + "\n")
        self._stream.flush()

    def flush(self) -> None:
        """Lines are written as they end."""
        self._stream.flush()

    def fileno(self) -> int:
        """Of the stream below."""
        return self._stream.fileno()


class Silence(io.TextIOBase):
    """A stream that takes all and says nothing."""

    def write(self, text: str) -> int:
        """Take it."""
        return len(text)

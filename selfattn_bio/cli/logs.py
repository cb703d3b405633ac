"""Output of commands: streams for `--json` and `--quiet`, and warnings of the package.

`main` puts the streams in place of stdout, and for `--json` also of stderr.
"""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class JsonLines(io.TextIOBase):
    """Write each line as a JSON object with time (UTC), command, level and message."""

    def __init__(self, stream: TextIO, command: str, level: str = "info") -> None:
        self._stream, self._command, self._level, self._rest = stream, command, level, ""

    def write(self, text: str) -> int:
        """Write all complete lines, and keep an unfinished line until it ends."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self.say(self._level, line.rstrip())
        return len(text)

    def say(self, level: str, message: str, **more: object) -> None:
        """Write one object."""
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = {"time": when, "command": self._command, "level": level, "message": message, **more}
        self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._stream.flush()

    def flush(self) -> None:
        """Flush the stream below; an unfinished line is kept."""
        self._stream.flush()

    def fileno(self) -> int:
        """Return the file descriptor of the stream below."""
        return self._stream.fileno()


class Silence(io.TextIOBase):
    """Discard everything that is written."""

    def write(self, text: str) -> int:
        """Discard the text."""
        return len(text)


@contextmanager
def warnings_to_stderr(command: str) -> Iterator[None]:
    """Print warnings that the package logs to the current stderr, as lines of a command."""
    log, handler = logging.getLogger("selfattn_bio"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"selfattn-bio {command}: warning: %(message)s"))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)

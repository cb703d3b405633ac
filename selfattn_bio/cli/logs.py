"""Output of commands: streams for `--json` and `--quiet`, and messages of the package.

Commands log every line, so that it begins with the name of the command, both progress and results.
They use `print` only for a text without that name: the table of `sweep` and the report of `doctor`.

`main` puts the streams in place of stdout, and for `--json` also of stderr.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from selfattn_bio.log import LOG, Progress, logging_from


class JsonLines(io.TextIOBase):
    """Write each line as a JSON object with time (UTC), command, level and message."""

    def __init__(self, stream: TextIO, command: str, level: str = "info") -> None:
        self._stream, self._command, self._level, self._rest = stream, command, level, ""

    def write(self, text: str) -> int:
        """Write all complete lines, and keep an unfinished line until it ends."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self.log(self._level, line.rstrip())
        return len(text)

    def log(self, level: str, message: str, **more: object) -> None:
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


class Lines(logging.Handler):
    """Print what the package logs: progress on stdout, warnings on stderr.

    Lines of progress begin with the name of the command, except where they name a training or file.
    """

    def __init__(self, command: str) -> None:
        super().__init__()
        self._command = command
        self._prefix = "" if command in ("train", "run") else f"{command}: "

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line to the current stdout or stderr."""
        Progress.clear()
        if record.levelno < logging.WARNING:
            print(f"{self._prefix}{record.getMessage()}", flush=True)
        else:
            line = f"selfattn-bio {self._command}: warning: {record.getMessage()}"
            print(line, file=sys.stderr, flush=True)


class Objects(logging.Handler):
    """Write what the package logs as JSON objects: progress to `output`, warnings to `errors`."""

    def __init__(self, output: JsonLines, errors: JsonLines) -> None:
        super().__init__()
        self._output, self._errors = output, errors

    def emit(self, record: logging.LogRecord) -> None:
        """Write one object."""
        stream = self._output if record.levelno < logging.WARNING else self._errors
        stream.log(record.levelname.lower(), record.getMessage())


def shows_bars(output: io.TextIOBase | TextIO) -> bool:
    """Return whether a stream is a terminal on which a line can be written again."""
    return output.isatty() and os.environ.get("TERM", "dumb") != "dumb"


@contextmanager
def printed_messages(
    handler: logging.Handler, level: int = logging.INFO, *, bars: bool = False
) -> Iterator[None]:
    """Print what the package logs from a level on with a handler of this module.

    With `bars`, which needs a terminal, progress is a bar.
    """
    before, Progress.bars = Progress.bars, bars
    LOG.addHandler(handler)
    try:
        with logging_from(level):
            yield
    finally:
        Progress.clear()
        Progress.bars = before
        LOG.removeHandler(handler)

"""Run a benchmark: options, timing, intervals, tables, and a page with date, commit and processor.

A benchmark is a script whose docstring is its help. Its function `measure` yields tables and text,
and the last line calls `run(__doc__, measure)`. Rows of a table are dictionaries with text; each is
printed when it is measured.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[1]
FIRST_WIDTH = 36  # of the names of rows on the terminal, where later rows are not known
Name = TypeVar("Name", bound=Hashable)
Row = Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """Rows with the same columns, which may be computed while the table is printed."""

    title: str
    rows: Iterable[Row]


@dataclass(frozen=True)
class Page:
    """A page of the documentation: title, text above the tables, and the file."""

    path: Path
    title: str
    text: str


Measure = Callable[[argparse.Namespace], Iterable[Table | str]]


@dataclass(frozen=True)
class Option:
    """An option of the script: its names, and the keywords of `add_argument`."""

    names: tuple[str, ...]
    settings: dict[str, Any]


def option(*names: str, **settings: Any) -> Option:
    """Declare an option with the arguments of `ArgumentParser.add_argument`."""
    return Option(names, settings)


def run(
    doc: str | None,
    measure: Measure,
    *options: Option,
    arguments: Sequence[str] | None = None,
    threads: int | None = 1,
    page: Page | None = None,
    packages: Sequence[str] = ("torch",),
) -> None:
    """Parse the options, measure, and print all tables.

    Parameters
    ----------
    doc
        Docstring of the script, shown by `--help`.
    measure
        Takes the parsed options and yields tables, and text in Markdown.
    arguments
        Words of the command line; by default those of the process.
    threads
        Threads of torch in this process; None keeps its default.
    page
        Page that `--write-docs` writes: its text, the machine, and all tables.
    packages
        Their versions are printed with the processor.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for each in options:
        parser.add_argument(*each.names, **each.settings)
    if page:
        help_text = f"write the tables to docs/{page.path.name}"
        parser.add_argument("--write-docs", action="store_true", help=help_text)
    chosen = parser.parse_args(arguments)
    if threads:
        import torch

        torch.set_num_threads(threads)
    where = machine(packages)
    print(where, flush=True)
    parts = [show(part) for part in measure(chosen)]
    if page and chosen.write_docs:
        text = "\n\n".join([f"# {page.title}", f"{where}.", page.text, *parts])
        page.path.write_text(text.rstrip() + "\n", encoding="utf-8")
        print(f"written: {page.path}")


# ------------ time
def seconds(
    cases: Mapping[Name, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.process_time,
) -> dict[Name, list[float]]:
    """Time each case once per round; the cases take turns.

    The default clock counts CPU seconds of the process, which depend less on other processes.
    """
    found: dict[Name, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            start = clock()
            case()
            found[name].append(clock() - start)
    return found


def median_seconds(
    cases: Mapping[Name, Callable[[], object]], rounds: int = 1
) -> dict[Name, float]:
    """Return the median CPU seconds of each case, measured in turn."""
    return {name: statistics.median(each) for name, each in seconds(cases, rounds).items()}


# ------------ text
def interval(figure: Mapping[str, float], digits: int = 3, sign: str = "") -> str:
    """Format a figure `{value, low, high}`: "0.851 (0.832 to 0.870)".

    The sign "+" is for differences.
    """
    from selfattn_bio.display import with_interval

    return with_interval(*(figure[key] for key in ("value", "low", "high")), digits, sign)


def mean_over_seeds(values: Iterable[float | None], digits: int = 3) -> str:
    """Format the mean over seeds and its 95 % interval by Student's t; missing values are left out.

    A single seed has no interval.
    """
    numbers = [value for value in values if value is not None]
    if len(numbers) < 2:
        return f"{numbers[0]:.{digits}f} (one seed)" if numbers else "none"
    from scipy.stats import t

    mean = statistics.fmean(numbers)
    half = t.ppf(0.975, len(numbers) - 1) * statistics.stdev(numbers) / len(numbers) ** 0.5
    return interval({"value": mean, "low": mean - half, "high": mean + half}, digits)


def listed(values: Iterable[float], digits: int = 3, sign: str = "") -> str:
    """Format figures by seed: "0.851, 0.832"."""
    return ", ".join(f"{value:{sign}.{digits}f}" for value in values)


def show(part: Table | str) -> str:
    """Print text or a table, each row when it is measured; return it in Markdown."""
    if isinstance(part, str):
        print(f"\n{part}", flush=True)
        return part
    rows: list[Row] = []
    title = f"## {part.title}\n\n" if part.title else ""
    print(f"\n{title}", end="")
    for row in part.rows:
        if not rows:
            widths = [max(map(len, column)) for column in row.items()]
            widths[0] = max(widths[0], FIRST_WIDTH)
            print(_line(row, widths), _rule(widths), sep="\n")
        rows.append(row)
        print(_line(row.values(), widths), flush=True)
    return title + markdown(rows)


def markdown(rows: Iterable[Row]) -> str:
    """Format rows with the same columns as an aligned table in Markdown."""
    rows = list(rows)
    return aligned([list(rows[0]), *(list(row.values()) for row in rows)]) if rows else ""


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Format cells as an aligned table in Markdown; the first line is the header."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    head, *body = (_line(line, widths) for line in lines)
    return "\n".join([head, _rule(widths), *body])


def _line(cells: Iterable[str], widths: Sequence[int]) -> str:
    pairs = list(zip(cells, widths, strict=True))
    aligned = [cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(pairs)]
    return f"| {' | '.join(aligned)} |"


def _rule(widths: Sequence[int]) -> str:
    rules = ["-" * (w - 1) + ":" if i else "-" * w for i, w in enumerate(widths)]
    return f"| {' | '.join(rules)} |"


def machine(packages: Sequence[str] = ("torch",)) -> str:
    """Return date, commit, processor and versions."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{date.today()}, commit {commit or 'unknown'}, {processor}, {os.cpu_count()} cores, "
        f"{versions}"
    )

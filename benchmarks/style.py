"""Measure how the project is written: unusual English, wide lines, long names, and structure.

Prose is Markdown outside code blocks and, in Python, comments and strings of at least four words. A
hit is a construction that readers of the field have to read twice. Rewrite the sentence rather than
the phrase. Below the table are the figures of `structure.py` with their limits.

    python benchmarks/style.py                    # hits per 1,000 lines of prose, by folder
    python benchmarks/style.py --hits docs        # every hit
    python benchmarks/style.py --check            # exit with status 1 if a limit is exceeded
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from structure import figures

ROOT = Path(__file__).parent.parent
FOLDERS = (
    "selfattn_bio",
    "docs",
    "README.md",
    "tests",
    "benchmarks",
    "workflows",
    "notebooks",
    "data",
)
MOST_HITS = 4.0  # per 1,000 lines of prose
WIDTH = 100  # characters per line
WORDS, TEST_NAME = 4, 60  # words in the name of a function or class; characters in that of a test

UNITS = (
    "row|column|file|record|base|step|process|job|motif|sequence|residue|site|line|pair|label|"
    "model|layer|token|task|bin"
)
RULES = {
    "sentence starts with 'Of'": r"(?:^|[.;:(] )Of (?!course\b)\w+",
    "of which, of whom": r"\bof (?:which|whom|whose)\b",
    "'a X a Y' for 'one X per Y'": rf"\b(?:a|an|one) (?:{UNITS}) (?:a|an) (?:{UNITS})\b",
    "told, said, asked": r"\b(?:is|are|was|were|be|been) (?:told|said|asked|meant)\b|\bsays? so\b",
    "stands": r"\bstands?\b(?! for| alone| out)",
    "beside": r"\bbeside\b",
    "but for, none but": r"\b(?:but for|none but|nothing but)\b",
    "is to be": r"\b(?:is|are|was|were) to (?:be|have|hold|see|go|stand|give|come)\b",
    "must be ..., got": r"\bmust (?:be|have|hold|name|go with)\b.*, got\b",
    "clause as a noun": r"(?:^|[.;:(] )What "
    r"(?:is|are|was|were|it|they|a|the|each|no|has|have|of|one|stands|comes)\b",
    "clause as an object": r"\b(?:of|by|with|from|to|than|and) what "
    r"(?:is|are|was|were|it|they|a|the|each|stands|comes)\b",
    "house metaphors": r"\b(?:hides|rooms?|doors?|guests?)\b",
    "unusual words": r"\b(?:anew|alike|twins?|mends?|mended|cures?|made up|turned|by itself|of its "
    r"own)\b",
}
COMPILED = {name: re.compile(pattern) for name, pattern in RULES.items()}
PRAGMA = re.compile(r"\s*# (?:type: ignore|noqa).*$")  # ruff does not count these either
FENCE = re.compile(r"^\s*```")


@dataclass
class Count:
    """Figures of one folder."""

    prose: int = 0
    wide: int = 0
    names: int = 0
    hits: Counter[str] | None = None

    @property
    def rate(self) -> float:
        """Return hits per 1,000 lines of prose."""
        return 1000 * sum((self.hits or Counter()).values()) / max(self.prose, 1)


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line of prose in a file."""
    if path.suffix == ".md":
        yield from prose_of_markdown(path)
    elif path.suffix == ".py":
        yield from prose_of_python(path)
    else:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            _, found, comment = line.partition("#")
            if found and len(comment.split()) > 3:
                yield number, comment.strip()


def prose_of_markdown(path: Path) -> Iterator[tuple[int, str]]:
    """Yield lines of text outside code blocks."""
    is_code = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if FENCE.match(line):
            is_code = not is_code
        elif not is_code and not line.startswith("    ") and len(line.split()) > 3:
            yield number, line.strip()


def prose_of_python(path: Path) -> Iterator[tuple[int, str]]:
    """Yield comments, and lines of strings."""
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                lines = [token.string.lstrip("#: ")]
            elif token.type in (tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)):
                lines = token.string.splitlines()
            else:
                continue
            for offset, line in enumerate(lines):
                if len(line.split()) > 3:
                    yield token.start[0] + offset, line.strip().strip("\"'")


def long_names(path: Path) -> Iterator[tuple[int, str]]:
    """Yield functions and classes with names of too many words."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            is_test = node.name.startswith("test_")
            words = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", node.name)
            if (len(node.name) > TEST_NAME) if is_test else (len(words) > WORDS):
                yield node.lineno, node.name


def tracked(folder: str) -> list[Path]:
    """Return the text files of a folder that git tracks."""
    listed = subprocess.run(
        ["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [
        ROOT / name
        for name in listed.stdout.splitlines()
        if name.endswith((".py", ".md", ".smk", ".toml"))
    ]


def measure(folder: str, *, shown: bool) -> Count:
    """Count one folder, and print every hit if `shown`."""
    count = Count(hits=Counter())
    for path in tracked(folder):
        if path == Path(__file__).resolve():
            continue  # its rules are what it looks for
        name = path.relative_to(ROOT)
        for number, line in prose(path):
            count.prose += 1
            for rule, pattern in COMPILED.items():
                if pattern.search(line):
                    count.hits[rule] += 1
                    if shown:
                        print(f"{name}:{number}: {rule}: {line[:120]}")
        if path.suffix == ".py":
            lines = path.read_text(encoding="utf-8").splitlines()
            wide = [n for n, line in enumerate(lines, 1) if len(PRAGMA.sub("", line)) > WIDTH]
            names = list(long_names(path))
            count.wide, count.names = count.wide + len(wide), count.names + len(names)
            if shown:
                for number in wide:
                    print(f"{name}:{number}: wider than {WIDTH} characters")
                for number, text in names:
                    print(f"{name}:{number}: long name: {text}")
    return count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folders", nargs="*", default=FOLDERS, help="files or folders of the project (default: all)"
    )
    parser.add_argument("--hits", action="store_true", help="print every hit")
    parser.add_argument(
        "--check", action="store_true", help="exit with status 1 if a limit is exceeded"
    )
    options = parser.parse_args()
    over = False
    print(
        f"{'':14}{'prose':>7}{'hits':>7}{'per 1,000':>11}"
        f"{'lines > ' + str(WIDTH):>13}{'long names':>12}"
    )
    for folder in options.folders:
        count = measure(folder, shown=options.hits)
        print(
            f"{folder:14}{count.prose:7,}{sum(count.hits.values()):7,}{count.rate:11.1f}{count.wide:13,}{count.names:12,}"
        )
        over |= count.rate >= MOST_HITS or count.wide > 0 or count.names > 0
    sizes = [path for folder in ("selfattn_bio", "tests", "benchmarks") for path in tracked(folder)]
    print(f"\n{'structure':50}{'figure':>9}{'limit':>9}")
    for figure in figures(ROOT, [path for path in sizes if path.suffix == ".py"]):
        print(figure.row)
        over |= figure.is_over
        for place in figure.places if options.hits else ():
            print(f"  {place}")
    sys.exit(1 if over and options.check else 0)


if __name__ == "__main__":
    main()

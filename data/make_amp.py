"""Make data/amp/ (antimicrobial peptides, other fragments) from the Python package modlamp.

    pip download --no-deps modlamp==4.3.3 && unzip modlamp-4.3.3-py3-none-any.whl -d modlamp
    python data/make_amp.py modlamp/modlamp/data/AMPvsUniProt.csv

A repeated sequence is kept once, at its first line. A sequence of both classes counts as an
antimicrobial peptide: the fragments were sampled from UniProt without checking for such activity.
Only the standard library is needed; the same source gives the same bytes (with zlib).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import sys
from pathlib import Path

SOURCE_SHA256 = "e1db3dd659179118dcfca63723385f2f0c95c49d27060a90f7a9d5848250eb48"
FILES = {1: "positives", 0: "negatives"}
PREFIXES = {1: "amp", 0: "uniprot"}  # an id is the prefix and the line of the source


def read_source(text: str) -> dict[str, tuple[int, int]]:
    """Map each sequence to the line of its first copy (1-based) and its label.

    The label is 1 if any copy has label 1. The first line of the source has counts and is skipped.
    """
    found: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(text.splitlines()[1:], start=2):
        letters, label = (part.strip() for part in line.split(","))
        first, seen = found.get(letters, (number, 0))
        found[letters] = first, max(seen, int(label))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="AMPvsUniProt.csv of modlamp 4.3.3")
    source = parser.parse_args().source.read_bytes()
    if (found := hashlib.sha256(source).hexdigest()) != SOURCE_SHA256:
        sys.exit(f"error: the source has sha256 {found} (expected {SOURCE_SHA256})")
    records = read_source(source.decode("ascii"))
    folder = Path(__file__).parent / "amp"
    folder.mkdir(exist_ok=True)
    for label, name in FILES.items():
        text = "".join(
            f">{PREFIXES[label]}_{line}\n{letters}\n"
            for letters, (line, of) in records.items()
            if of == label
        )
        (folder / f"{name}.fa.gz").write_bytes(gzip.compress(text.encode("ascii"), mtime=0))
        print(f"{name}: {text.count('>'):,} records")


if __name__ == "__main__":
    main()

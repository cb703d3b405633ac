"""Make data/amp/: antimicrobial peptides and fragments of other proteins, from the data of the Python package modlamp.

    pip download --no-deps modlamp==4.3.3 && unzip modlamp-4.3.3-py3-none-any.whl -d modlamp
    python data/make_amp.py modlamp/modlamp/data/AMPvsUniProt.csv

A sequence that is there several times is kept once, at its first place; one that stands in both classes is an antimicrobial peptide: the
fragment was drawn from UniProt without asking. Standard library alone; the same source gives the same bytes (with zlib).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import sys
from pathlib import Path

SOURCE_SHA256 = "e1db3dd659179118dcfca63723385f2f0c95c49d27060a90f7a9d5848250eb48"
FILES = {1: "positives", 0: "negatives"}
PREFIXES = {1: "amp", 0: "uniprot"}  # ids are these and the line of the source


def read_source(text: str) -> dict[str, tuple[int, int]]:
    """Sequence -> line of its first copy (1-based), and label 1 if any copy has it; the first line of the source holds counts."""
    found: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(text.splitlines()[1:], start=2):
        letters, label = (part.strip() for part in line.split(","))
        first, seen = found.get(letters, (number, 0))
        found[letters] = first, max(seen, int(label))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="AMPvsUniProt.csv of modlamp 4.3.3")
    source = parser.parse_args().source.read_bytes()
    if (found := hashlib.sha256(source).hexdigest()) != SOURCE_SHA256:
        sys.exit(f"error: source must have sha256 {SOURCE_SHA256}, got {found}")
    records = read_source(source.decode("ascii"))
    folder = Path(__file__).parent / "amp"
    folder.mkdir(exist_ok=True)
    for label, name in FILES.items():
        text = "".join(f">{PREFIXES[label]}_{line}\n{letters}\n" for letters, (line, of) in records.items() if of == label)
        (folder / f"{name}.fa.gz").write_bytes(gzip.compress(text.encode("ascii"), mtime=0))
        print(f"{name}: {text.count('>'):,} records")


if __name__ == "__main__":
    main()

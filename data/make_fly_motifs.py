"""Make data/fly_promoters/jaspar_insects_and_TBP.meme: the insect motifs of JASPAR that ship, and TBP of its vertebrates.

    python data/make_fly_motifs.py

The TATA box of flies is bound by their own TBP, of which JASPAR has no matrix. Standard library alone.
"""

from __future__ import annotations

import gzip
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHIPPED, OUTPUT = ROOT / "selfattn_bio/motifs/jaspar", ROOT / "data/fly_promoters/jaspar_insects_and_TBP.meme"
TBP = "MOTIF MA0108.3 TBP\n"


def with_tbp(insects: str, vertebrates: str) -> str:
    """MEME text of the insects, then TBP."""
    matrix = vertebrates.split(TBP)[1].partition("MOTIF ")[0]
    return f"{insects.rstrip()}\n\n{TBP}{matrix.rstrip()}\n"


def read(group: str) -> str:
    """MEME text of a group that ships."""
    return gzip.decompress((SHIPPED / f"{group}.meme.gz").read_bytes()).decode()


if __name__ == "__main__":
    OUTPUT.write_text(with_tbp(read("insects"), read("vertebrates")))

"""Make data/fly_promoters/jaspar_insects_and_TBP.meme: JASPAR insects and vertebrate TBP.

    python data/make_fly_motifs.py

TBP of flies binds the TATA box, but JASPAR has a TBP matrix only for vertebrates. Only the standard
library is needed.
"""

from __future__ import annotations

import gzip
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHIPPED, OUTPUT = (
    ROOT / "selfattn_bio/motifs/jaspar",
    ROOT / "data/fly_promoters/jaspar_insects_and_TBP.meme",
)
TBP = "MOTIF MA0108.3 TBP\n"


def with_tbp(insects: str, vertebrates: str) -> str:
    """Append TBP to the MEME text of the insects."""
    matrix = vertebrates.split(TBP)[1].partition("MOTIF ")[0]
    return f"{insects.rstrip()}\n\n{TBP}{matrix.rstrip()}\n"


def read(group: str) -> str:
    """Return the MEME text of a group that ships with the package."""
    return gzip.decompress((SHIPPED / f"{group}.meme.gz").read_bytes()).decode()


if __name__ == "__main__":
    OUTPUT.write_text(with_tbp(read("insects"), read("vertebrates")))

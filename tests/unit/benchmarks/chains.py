"""Write tables of chains with secondary structure, as those of the set protein_ss3."""

import gzip
from collections.abc import Iterable
from pathlib import Path


def write_chains(folder: Path, name: str, rows: Iterable[tuple[str, str, str, str]]) -> None:
    """Write NAME.tsv.gz with id, residues, labels and mask of each chain."""
    mask = "eval_mask" if name == "ts115" else "resolved_mask"
    lines = ["\t".join(row) for row in (("id", "sequence", "ss3", mask), *rows)]
    with gzip.open(folder / f"{name}.tsv.gz", "wt") as file:
        file.write("\n".join(lines) + "\n")

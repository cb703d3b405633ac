"""Families of transcription factors, for motifs that several factors match equally well."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import cache
from pathlib import Path

NAMED = 3  # members of a family that are named


@cache
def _table() -> dict[str, tuple[str, str]]:
    """Return family and class of the factor of each JASPAR matrix that ships, by matrix id."""
    path = Path(__file__).parent / "jaspar/families.tsv.gz"
    rows = (line.split("\t") for line in gzip.decompress(path.read_bytes()).decode().splitlines())
    return {matrix: (family or of_class, of_class) for matrix, of_class, family in rows}


def families_of(labels: Sequence[str]) -> str:
    """Return the family of most of the factors of JASPAR matrices, with the first of their names.

    If no family has more than half of the factors, it is their class, or else all families.

    Parameters
    ----------
    labels
        Labels of matrices such as `ELK1 (MA0028.3)`. Those of other databases are left out.

    Returns
    -------
    Text such as `Ets-related (ELK1, FEV, ETV5, ...)`, or `C4-GATA-related (pnr) or BED zinc finger
    factors (Dref)`.
    """
    named = (label.rstrip(")").rpartition(" (")[::2] for label in labels)
    known = [(name, _table()[matrix]) for name, matrix in named if matrix in _table()]
    texts: list[list[str]] = []
    for level in range(2):
        groups: dict[str, list[str]] = {}
        for name, of in known:
            for group in of[level].split("::"):  # a dimer has one of each factor
                groups.setdefault(group, []).append(name)
        texts.append([])
        for group, names in groups.items():
            own = list(dict.fromkeys(names))
            own[NAMED:] = ["..."] * (len(own) > NAMED)
            texts[-1].append(f"{group} ({', '.join(own)})")
            if 2 * len(names) > len(known):
                return texts[-1][-1]
    return " or ".join(texts[0])


def first_differs(labels: Sequence[str]) -> bool:
    """Return whether the factors of all matrices but the first share a family that it is not of.

    There are at least two labels. Factors of other databases share no family.
    """
    matrices = [label.rstrip(")").rpartition(" (")[2] for label in labels]
    first, *others = (set(_table().get(each, [each])[0].split("::")) for each in matrices)
    return bool(set.intersection(*others) - first)

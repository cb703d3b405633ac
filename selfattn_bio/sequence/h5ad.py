"""Read regions and their numbers from AnnData files, and write predictions as one.

As in CREsted, regions are `var`, with names such as chr1:0-500, and cell types are `obs`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from selfattn_bio.errors import IntervalError
from selfattn_bio.extras import import_extra


def region_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number of each region, from 1, and the region as a line of a BED file."""
    for number, name in enumerate(_read(path).var_names, start=1):
        found = re.fullmatch(r"(\S+):(\d+)-(\d+)(?::([+-]))?", name)
        if not found:
            IntervalError.fail(f"invalid region {name!r} in var (expected chr1:0-500)", path)
        chrom, start, end, strand = found.groups(".")
        yield number, "\t".join((chrom, start, end, ".", ".", strand))


def numbers_of(path: str) -> pd.DataFrame:
    """Return the numbers of each region, from 1, as float32, one column per cell type."""
    data = _read(path)
    values = data.X.toarray() if hasattr(data.X, "toarray") else data.X
    numbers = np.asarray(values, np.float32).T
    return pd.DataFrame(numbers, range(1, len(numbers) + 1), data.obs_names)


def write_predictions(path: Path, table: pd.DataFrame) -> None:
    """Write a score table: its numbers as one `obs` per column, all other columns as `var`."""
    names = [name for name in table.select_dtypes("number") if name not in ("start", "end")]
    about = table.drop(columns=names)
    # anndata < 0.11 reads these
    as_objects: Any = dict.fromkeys(about.select_dtypes("str"), object)
    var, obs = about.astype(as_objects).set_index("id"), pd.DataFrame(index=pd.Index(names, object))
    _library().AnnData(table[names].to_numpy(np.float32).T, obs=obs, var=var).write_h5ad(path)


def _library() -> Any:
    return import_extra("anndata", "anndata", "a .h5ad file (Python 3.12 or newer)")


def _read(path: str | Path) -> Any:
    try:
        return _library().read_h5ad(path)
    except (OSError, KeyError, ValueError) as error:
        IntervalError.fail(f"cannot read the AnnData file: {error}", path)

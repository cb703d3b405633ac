"""What modisco and finemo read and write: the h5 of patterns, and npz of sequences and scores. DNA only.

Hides: the layout, which is that of `modiscolite.io.save_hdf5` (modisco-lite 3.0) without subpatterns; only positive patterns are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.errors import DatabaseError
from selfattn_bio.files import whole_file, whole_folder
from selfattn_bio.interpret.hits import one_hot
from selfattn_bio.interpret.patterns import Pattern, check_scores
from selfattn_bio.sequence.alphabet import DNA

GROUP = "pos_patterns"
ARRAYS = ("sequence", "contrib_scores", "hypothetical_contribs")
PLACES = ("example_idx", "start", "end", "is_revcomp")


def write_modisco_h5(path: str | Path, patterns: Sequence[Pattern], letters: NDArray[np.uint8], hypothetical: NDArray[np.float32]) -> None:
    """Write patterns as `modisco motifs` does: what `modisco report` and `finemo call-hits` read.

    Parameters
    ----------
    patterns
        Of DNA; `record` of their seqlets is a row of `letters`.
    letters
        (n, L) ASCII, padded with 0.
    hypothetical
        (n, L, 4) score of each letter at each position.

    Raises
    ------
    ValueError
        If the arrays do not belong together, or are not of DNA.
    """
    check_scores(letters, hypothetical, DNA)
    with whole_file(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["window_size"] = letters.shape[1]
        group = file.create_group(GROUP)
        for number, pattern in enumerate(patterns):
            _write_pattern(group.create_group(f"pattern_{number}"), pattern, letters, hypothetical)


def _write_pattern(group: h5py.Group, pattern: Pattern, letters: NDArray[np.uint8], hypothetical: NDArray[np.float32]) -> None:
    record, start, end = (pattern.seqlets[column].to_numpy(dtype=np.int64) for column in ("record", "start", "end"))
    turned = (pattern.seqlets["strand"] == "-").to_numpy()
    columns = start[:, None] + np.arange(len(pattern.pfm))
    coded = one_hot(letters[record[:, None], columns]).astype(np.float32)  # (seqlets, width, 4)
    scores = hypothetical[record[:, None], columns].astype(np.float32)
    coded[turned], scores[turned] = coded[turned][:, ::-1, ::-1], scores[turned][:, ::-1, ::-1]
    seqlets = group.create_group("seqlets")
    seqlets.create_dataset("n_seqlets", data=np.array([len(record)]))
    for name, values in zip(PLACES, (record, start, end, turned), strict=True):
        seqlets.create_dataset(name, data=values)
    for name, each in zip(ARRAYS, (coded, coded * scores, scores), strict=True):
        seqlets.create_dataset(name, data=each)
        group.create_dataset(name, data=each.mean(axis=0))


def read_modisco_h5(path: str | Path) -> list[Pattern]:
    """Read the positive patterns of a modisco h5, in its order; counts are its frequencies times its seqlets.

    Raises
    ------
    DatabaseError
        If it is no such file. One without a positive pattern gives none.
    """
    try:
        with h5py.File(path, "r") as file:
            groups = file.get(GROUP, {})
            return [_pattern(groups[name]) for name in sorted(groups, key=lambda name: int(name.rpartition("_")[2]))]
    except (OSError, KeyError, ValueError, TypeError) as error:  # h5py's own, by what is missing
        raise DatabaseError(f"modisco results must be an h5 file of patterns with seqlets, got {error}", place=str(path)) from error


def _pattern(group: h5py.Group) -> Pattern:
    record, start, end, turned = (group["seqlets"][name][:] for name in PLACES)
    places = pd.DataFrame({"record": record, "start": start, "end": end, "strand": np.where(turned, "-", "+")})
    return Pattern(np.rint(group["sequence"][:] * len(record)).astype(np.int64), places)


def write_npz(folder: str | Path, letters: NDArray[np.uint8], hypothetical: NDArray[np.float32]) -> None:
    """Write ohe.npz and attributions.npz, (n, 4, L) each, as `modisco motifs` and `finemo extract-regions-modisco-fmt` take them, and
    regions.npz, the two in one as `finemo call-hits` takes it.

    Of records of several lengths what is beyond an end is 0. Both programs read the middle of the records, so they must be told the width.

    Raises
    ------
    ValueError
        If the arrays do not belong together, or are not of DNA.
    """
    check_scores(letters, hypothetical, DNA)
    coded, scores = one_hot(letters).transpose(0, 2, 1), hypothetical.transpose(0, 2, 1)
    with whole_folder(folder) as temporary:
        np.savez_compressed(temporary / "ohe.npz", coded)
        np.savez_compressed(temporary / "attributions.npz", scores)
        np.savez_compressed(temporary / "regions.npz", sequences=coded, contributions=scores.astype(np.float16))

"""Write files for modisco and finemo, DNA only: patterns (h5), sequences and scores (npz).

The h5 layout is the one of `modiscolite.io.save_hdf5` (modisco-lite 3.0) without subpatterns. Only
patterns with positive attributions (pos_patterns) are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from selfattn_bio.files import whole_file, whole_folder
from selfattn_bio.motifs.hits import one_hot
from selfattn_bio.motifs.patterns import SeqletPattern, check_scores
from selfattn_bio.sequence.alphabet import DNA

GROUP = "pos_patterns"
# datasets of a pattern (mean over its seqlets) and of its seqlets: one-hot sequence, score of each
# base in the sequence, score of every base
ARRAYS = ("sequence", "contrib_scores", "hypothetical_contribs")
SEQLET_COLUMNS = ("example_idx", "start", "end", "is_revcomp")


def write_modisco_h5(
    path: str | Path,
    patterns: Sequence[SeqletPattern],
    letters: NDArray[np.uint8],
    hypothetical: NDArray[np.float32],
) -> None:
    """Write patterns as `modisco motifs` does, for `modisco report` and `finemo call-hits`.

    All patterns are written with the width of the widest one, as finemo requires. Narrower patterns
    are extended with the bases next to their sites. Positions outside a record are 0, so the start
    of a seqlet may be negative.

    Parameters
    ----------
    path
        The h5 file to write.
    patterns
        DNA patterns. The record of each of their seqlets is a row of `letters`.
    letters
        (n, L) ASCII, padded with 0.
    hypothetical
        (n, L, 4) score of each base at each position.

    Raises
    ------
    ValueError
        If `hypothetical` has another shape or a value that is not finite.
    """
    check_scores(letters, hypothetical, DNA)
    widest = max((len(pattern.pfm) for pattern in patterns), default=0)
    # space for patterns that reach beyond the ends of a record
    margins = ((0, 0), (widest, widest), (0, 0))
    coded, scores = np.pad(one_hot(letters), margins), np.pad(hypothetical, margins)
    with whole_file(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["window_size"] = letters.shape[1]
        group = file.create_group(GROUP)
        for number, pattern in enumerate(patterns):
            _write_pattern(group.create_group(f"pattern_{number}"), pattern, coded, scores, widest)


def _write_pattern(
    group: h5py.Group,
    pattern: SeqletPattern,
    coded: NDArray[np.int8],
    hypothetical: NDArray[np.float32],
    widest: int,
) -> None:
    """Write one pattern.

    `coded` (n, L + 2 widest, 4) is one-hot. Like `hypothetical`, of the same shape, it is padded by
    `widest` positions at both ends.
    """
    record, start = (
        pattern.seqlets[column].to_numpy(dtype=np.int64) for column in ("record", "start")
    )
    is_reversed = (pattern.seqlets["strand"] == "-").to_numpy()
    # Extend on both sides. An odd position comes after the site in reading direction, which is to
    # its left on the minus strand.
    extra = widest - len(pattern.pfm)
    start = start - np.where(is_reversed, extra - extra // 2, extra // 2)
    columns = start[:, None] + widest + np.arange(widest)
    sequence = coded[record[:, None], columns].astype(np.float32)  # (seqlets, widest, 4)
    scores = hypothetical[record[:, None], columns].astype(np.float32)
    # reversing the columns A, C, G, T gives the complement
    sequence[is_reversed] = sequence[is_reversed][:, ::-1, ::-1]
    scores[is_reversed] = scores[is_reversed][:, ::-1, ::-1]
    seqlets = group.create_group("seqlets")
    seqlets.create_dataset("n_seqlets", data=np.array([len(record)]))
    for name, values in zip(
        SEQLET_COLUMNS, (record, start, start + widest, is_reversed), strict=True
    ):
        seqlets.create_dataset(name, data=values)
    for name, each in zip(ARRAYS, (sequence, sequence * scores, scores), strict=True):
        seqlets.create_dataset(name, data=each)
        group.create_dataset(name, data=each.mean(axis=0))


def write_npz(
    folder: str | Path, letters: NDArray[np.uint8], hypothetical: NDArray[np.float32]
) -> None:
    """Write sequences and scores as npz files for modisco and finemo.

    `modisco motifs` and `finemo extract-regions-modisco-fmt` read ohe.npz and attributions.npz,
    (n, 4, L) each. `finemo call-hits` reads regions.npz, which contains both. Positions beyond the
    end of a record are 0. By default both programs use only the middle of the records; call them
    with the width L to use all positions.

    Parameters
    ----------
    folder
        Folder to write. An existing folder is replaced.
    letters
        (n, L) ASCII, padded with 0.
    hypothetical
        (n, L, 4) score of each base at each position.

    Raises
    ------
    ValueError
        If `hypothetical` has another shape or a value that is not finite.
    """
    check_scores(letters, hypothetical, DNA)
    coded, scores = one_hot(letters).transpose(0, 2, 1), hypothetical.transpose(0, 2, 1)
    with whole_folder(folder) as temporary:
        np.savez_compressed(temporary / "ohe.npz", coded)
        np.savez_compressed(temporary / "attributions.npz", scores)
        np.savez_compressed(
            temporary / "regions.npz", sequences=coded, contributions=scores.astype(np.float16)
        )

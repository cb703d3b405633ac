"""Write numbers along chromosomes as bigWig: scores of scans, and contributions of explanations.

`scoring` and the packages above it use it; `sequence.tracks` reads such files.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyBigWig

from selfattn_bio.arrays import Floats, Integers
from selfattn_bio.files import whole_file

SPARE = 1 << 20  # bytes that must be free on the disk before values are written
BIGWIG_END = bytes.fromhex("26fc8f88")  # last bytes of a complete bigWig


@contextmanager
def open_bigwig(
    path: str | Path, lengths: Mapping[str, int]
) -> Iterator[Callable[[str, Integers, int, Floats], None]]:
    """Yield a function that writes values of intervals to a bigWig, leaving out NaN.

    Its arguments are the chromosome, the starts (n,) of intervals in ascending order, their length
    in bp and their values (n,). Chromosomes come in the order of `lengths`, their lengths by name.
    The file appears under its name only when it is complete.

    Raises
    ------
    OSError
        If the disk is almost full, or became full, or a limit of file sizes is almost reached.
    """
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def write(chrom: str, starts: Integers, span: int, values: Floats) -> None:
        size = temporary.stat().st_size
        needed = SPARE + 8 * len(values) + size  # the end of the file has its summaries
        if shutil.disk_usage(temporary.parent).free < needed:
            raise full  # pyBigWig may never return on a full disk
        if 0 <= resource.getrlimit(resource.RLIMIT_FSIZE)[0] < size + needed:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))  # it would crash
        known = np.flatnonzero(~np.isnan(values))
        for run in np.split(known, np.flatnonzero(np.diff(starts[known]) != span) + 1):
            if len(run):
                first, part = int(starts[run[0]]), values[run].astype(np.float32)
                file.addEntries(chrom, first, values=part, span=span, step=span)

    with whole_file(path) as temporary:
        temporary.touch()  # pyBigWig crashes if the file cannot be created; this raises an error
        with pyBigWig.open(str(temporary), "w") as file:
            file.addHeader(list(lengths.items()))
            yield write
        with temporary.open("rb") as written:  # pyBigWig raises no error on a full disk
            written.seek(max(0, temporary.stat().st_size - len(BIGWIG_END)))
            if written.read() != BIGWIG_END:
                raise full

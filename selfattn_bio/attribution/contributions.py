"""Write the contributions of bases along a genome as bigWig, for `Explanation` alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from selfattn_bio.arrays import Bools, Scores
from selfattn_bio.errors import ArgumentError, GenomeError
from selfattn_bio.objectives.outputs import safe_names
from selfattn_bio.sequence.bigwig import open_bigwig
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.intervals import LOCUS, Cover


def located(records: pd.DataFrame) -> Bools:
    """Return which records have an interval of the genome as long as their sequence, (n,)."""
    known = records[LOCUS].notna().all(axis=1)
    return (known & (records["end"] - records["start"] == records["length"])).to_numpy(bool)


def write_contributions(
    folder: str | Path,
    records: pd.DataFrame,
    scores: Callable[[int], Scores],
    genome: Genome | str | Path | None = None,
) -> None:
    """Write two bigWigs for each target of the located records.

    TARGET.bw has the sum of the scores of all records at a position, TARGET-count.bw the number of
    records. Names are `safe_names`, which have no "-".

    Parameters
    ----------
    folder
        The folder to write to; it is created.
    records
        id, target, length, chrom, start, end (0-based half-open) and strand of each row. Scores of
        a record on strand "-" are in the order of this strand.
    scores
        Function from the number of a row to the scores of its positions, (length,).
    genome
        The genome of the records, open or its FASTA file, for the lengths of the chromosomes. By
        default a chromosome ends with its last record.

    Raises
    ------
    ArgumentError
        If no record is located, or two targets would have the same file name.
    GenomeError
        If a record is not within the genome.
    """
    if not located(records).any():
        hint = "Explain intervals with genome=, or FASTA headers with chrom=, start= and end="
        raise ArgumentError("no record has coordinates", hint=hint)
    genome = Genome(genome) if isinstance(genome, str | Path) else genome
    rows = records.reset_index(drop=True)[located(records)]
    rows = rows.astype({"start": np.int64, "end": np.int64}).sort_values("start", kind="stable")
    if genome:
        rows["chrom"] = rows["chrom"].map(
            {name: genome.resolve(name) for name in set(rows["chrom"])}
        )
    ends = {str(chrom): int(end) for chrom, end in rows.groupby("chrom")["end"].max().items()}
    lengths = genome.lengths if genome else ends
    if beyond := [chrom for chrom, end in ends.items() if end > lengths[chrom]]:
        message = f"a record ends at {ends[beyond[0]]}, beyond the end of {beyond[0]}"
        GenomeError.fail(message, str(genome and genome.path), "Is it the same assembly?")
    runs = Cover(rows).runs
    names = safe_names(rows["target"].unique().tolist())
    for target, name in names.items():
        own = rows[rows["target"] == target]
        with ExitStack() as files:
            write_sum, write_count = (
                files.enter_context(open_bigwig(Path(folder, f"{name}{ending}.bw"), lengths))
                for ending in ("", "-count")
            )
            for chrom in [each for each in lengths if each in runs]:
                of_chrom = own.loc[own["chrom"] == chrom, ["start", "strand"]]
                waiting = deque(of_chrom.itertuples())
                for first, last in zip(*runs[chrom], strict=True):
                    sums, counts = np.zeros((2, last - first))
                    while waiting and waiting[0].start < last:
                        row, start, strand = waiting.popleft()
                        values = scores(row)
                        at = slice(start - first, start - first + len(values))
                        sums[at] += values[::-1] if strand == "-" else values
                        counts[at] += 1
                    places = np.arange(first, last)
                    write_sum(chrom, places, 1, np.where(counts, sums, np.nan))
                    write_count(chrom, places, 1, np.where(counts, counts, np.nan))

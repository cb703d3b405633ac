"""Score the sequences of files of any size, and write the table in parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from selfattn_bio.display import counted
from selfattn_bio.files import check_ending, listed, whole_file
from selfattn_bio.scoring.ensemble import Ensemble
from selfattn_bio.scoring.loading import Models, load
from selfattn_bio.scoring.reference import AMBIGUOUS, COMPOSITION, LENGTH, LIKE, UNLIKE
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.scoring.table import ScoreOptions, score_batches


@dataclass(frozen=True)
class ScoreSummary:
    """Number of rows that `score_files` wrote, and how many differ from the training data.

    Attributes
    ----------
    path
        The table. Read it with `pandas.read_csv(path, sep="\\t")`.
    rows
        Number of rows.
    unlike
        Number of rows by value of the column `unlike`; empty if the model folder has no
        `reference.safetensors`.
    """

    path: Path
    rows: int
    unlike: Counter[str]

    def __repr__(self) -> str:
        return ". ".join(self.lines)

    @property
    def lines(self) -> list[str]:
        """Return how many rows were written, and how many differ from the training data."""
        written = f"wrote {counted(self.rows, 'row')} to {self.path}"
        return [_unlike(self.unlike), written] if self.unlike else [written]


def score_files(
    model: Models,
    files: str | Path | Sequence[str | Path],
    output: str | Path,
    **options: Unpack[ScoreOptions],
) -> ScoreSummary:
    """Score the sequences of files, and write one table with the column `file` in front.

    Files are scored in parts, so memory is needed only for a few thousand sequences. The table
    appears when it is complete. To get a table in memory, use `score_sequences`.

    Parameters
    ----------
    model, **options
        As for `score_sequences`.
    files
        One or more FASTA or other files of sequences; with `genome` BED or GFF files.
    output
        TSV file to write. Numbers have six digits.

    Raises
    ------
    OutputError
        If the output does not end with .tsv.
    SequenceFileError, ModelFolderError, ValueError
        As for `score_sequences`.
    """
    output = check_ending(output, ".tsv")
    scorer = model if isinstance(model, Scorer | Ensemble) else load(model)
    rows, unlike = 0, Counter[str]()
    with whole_file(output) as temporary:
        for path in listed(files):
            for table in score_batches(scorer, path, **options):
                table.insert(0, "file", str(path))
                table.to_csv(
                    temporary,
                    sep="\t",
                    index=False,
                    float_format="%.6g",
                    mode="a",
                    header=not rows and not temporary.exists(),
                )
                rows += len(table)
                if "unlike" in table:
                    unlike.update(table["unlike"])
    return ScoreSummary(output, rows, unlike)


def _unlike(reasons: Counter[str]) -> str:
    """Describe how many sequences differ from the training data, and why."""
    counts = [(count, reason) for reason, count in reasons.most_common() if reason != LIKE]
    if not counts:
        return "no row differs from the training data"
    what = {LENGTH: "length", AMBIGUOUS: "ambiguous positions", COMPOSITION: "composition"}
    each = ", ".join(f"{count} in {what[reason]}" for count, reason in counts)
    limit = (
        f". The limit of composition is set so that it marks about {UNLIKE:.0%} of the validation "
        "records"
    )
    return (
        f"{sum(count for count, _ in counts)} of {counted(reasons.total(), 'row')} differ from the "
        f"training data: {each}{limit if reasons[COMPOSITION] else ''}"
    )

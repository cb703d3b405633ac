"""Score sequences with a trained model or an ensemble: tables of predictions, also as files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TextIO, TypedDict, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.arrays import Floats
from selfattn_bio.data.inputs import RecordPair
from selfattn_bio.display import counted
from selfattn_bio.errors import ArgumentError
from selfattn_bio.evaluation.calibration import quantiles_of
from selfattn_bio.files import H5AD, check_ending, check_output_file, listed, whole_file
from selfattn_bio.log import LOG, Progress
from selfattn_bio.objectives import OBJECTIVES
from selfattn_bio.scoring.inputs import PLACE, Input, Inputs, read_inputs
from selfattn_bio.scoring.loading import Models, load
from selfattn_bio.scoring.paired_scorer import check_rc, read_partners
from selfattn_bio.scoring.reference import AMBIGUOUS, COMPOSITION, INSIDE, LENGTH, OUTSIDE
from selfattn_bio.scoring.scorer import Ensemble, Scorer
from selfattn_bio.scoring.tiling import Tiling
from selfattn_bio.sequence.alphabet import Ascii
from selfattn_bio.sequence.h5ad import write_predictions
from selfattn_bio.sequence.tables import TSV, read_table

FLAG = "out_of_distribution"  # the column with the reasons of `scoring.reference`
IN_ONE_PASS = (
    "unlike the training records and slow; use selfattn-bio scan, --bed, or shorter windows"
)
CHUNK_LETTERS, CHUNK_RECORDS = 1 << 21, 4096  # limits of a table of `score_batches`


class ScoreOptions(TypedDict, total=False):
    """Options of `score_sequences`, `score_batches` and `score_files`.

    Attributes
    ----------
    rc
        Average the outputs of both strands (DNA only, not for labels per position). Has no effect
        on a model whose scores are already such means (`evaluation.strands`).
    coverage
        Add prediction sets or intervals with this coverage, such as 0.9, for records similar to the
        validation split: a set of labels for classes, an interval for numbers. Available for
        binary, multiclass and regression models.
    genome
        FASTA file of the intervals, plain or bgzip. Intervals on the minus strand are
        reverse-complemented.
    partner
        The second input of a model with two inputs. Sequences are given as for `score_sequences`
        and matched by id (strings by order). All partners are held in memory.
    """

    rc: bool
    coverage: float | None
    genome: str | Path | None
    partner: Inputs | None


def score_sequences(
    model: Models, sequences: Inputs, **options: Unpack[ScoreOptions]
) -> pd.DataFrame:
    """Score sequences with a model of any objective except "masked" and "causal".

    `score_sequences("promoter", ["ACGT..."])` returns one row with id "0". Use `score_batches` for
    large files: it returns the table in parts.

    Parameters
    ----------
    model
        A model folder, a list of folders whose outputs are averaged, the name of a model that
        ships, or the result of `load`.
    sequences
        One of:

        - strings
        - the path of a FASTA file (plain, gz or bgzip)
        - records from `read_records`
        - a table with a column `sequence` and optionally `id`
        - with `genome`: a BED or GFF file, or a table with `chrom, start, end` (0-based half-open)
          and optionally `strand` and `name`

        U is read as T. Lower case and gaps are handled as in training (`soft_mask` and `gaps` of
        the run file). By default lower case is read as upper case and gaps are an error.
    **options
        See `ScoreOptions`; all are optional.

    Returns
    -------
    One row per sequence, in the given order. The columns are:

    - `id`: header or number; for an interval as in a corpus, `chr1:0-30(+)`.
    - `chrom`, `start`, `end` (0-based half-open), `strand`, `name`: for intervals only. Not present
      for bins, whose rows are parts of an interval.
    - binary: `logit`, `probability`, and `predicted`, which is 1 if the probability reaches the
      threshold that was fitted on the validation split, otherwise 0.
    - multiclass: `predicted` and `probability_CLASS` for each class.
    - multilabel: `predicted`, the columns with a probability of at least 0.5 joined by "; ", or
      "none"; and `probability_COLUMN` for each column.
    - regression: each column.
    - several: the columns of each part as `PART.COLUMN`.
    - labels: `predicted`, a text as long as the sequence.
    - bins: one row per complete bin with `start` and `end` (0-based half-open, within the
      sequence), `probability` (of a point on either strand, averaged over both reading directions,
      not calibrated), `probability_+` and `probability_-`.
    - with `coverage`: `set`, labels joined by "; " or "none"; for numbers `low_COLUMN` and
      `high_COLUMN`. For several models, their union.
    - for several models: the standard deviation between them, as `spread` of the logit for binary
      models, `spread_CLASS` for multiclass, `spread_COLUMN` for multilabel and regression. There is
      none for labels.
    - `out_of_distribution`: why a sequence differs from the training records: `length`, `ambiguous`
      (too many ambiguous symbols), `composition`, or "no". Present if a model folder has the
      reference data. 1 % of the validation records differ by composition.

    Sequences scored with labels or bins may have any length; memory holds one tile at a time. If
    the model has a limited receptive field (windows, convolutions), the result equals one pass over
    the complete sequence. If it sees the complete input (global tokens, full attention), sequences
    more than four times as long as the longest training record are read in windows of that length,
    and a warning is logged.

    Raises
    ------
    SequenceFileError
        If a file is malformed, a character is outside the alphabet, a record is shorter than the
        model's k, or an interval is not on the genome.
    ModelFolderError
        As for `load`.
    ArgumentError
        If a sequence of a list has such a problem, a single string does not name a file, or an
        option does not fit the model. That is: `rc` for an alphabet without complement or for
        labels per position; a missing `partner` for a model with two inputs, or any for a model
        with one; `coverage` outside (0, 1), for a model without calibration data, or combined with
        `rc` for a model calibrated on one strand.
    """
    return pd.concat(score_batches(model, sequences, **options), ignore_index=True)


def score_batches(
    model: Models, sequences: Inputs, **options: Unpack[ScoreOptions]
) -> Iterator[pd.DataFrame]:
    """Yield the table of `score_sequences` in parts of a few thousand rows.

    Memory does not grow with the size of a file. Arguments, columns and errors are those of
    `score_sequences`. At least one part is returned, without rows if there are no sequences.
    """
    scorer = load(model)
    genome = options.get("genome")
    scoring = TableScorer(scorer, options.get("rc", False), options.get("coverage"))
    scoring.check()
    inputs = read_inputs(
        scorer.policy, sequences, max(member.shortest for member in scorer.members), genome
    )
    partner_of = read_partners(scorer.members[0], options.get("partner"))
    for part in chunks(inputs, scoring):
        ids, letters = [each.id for each in part], [each.letters for each in part]
        pairs = [RecordPair(each.letters, partner_of(each)) for each in part] if partner_of else []
        table = scoring.table(ids, letters, pairs or letters)
        # rows of bins have their own start and end
        if genome is not None and not scorer.objective.section.is_per_bin:
            intervals = pd.DataFrame([each.place for each in part], columns=PLACE)
            table = pd.concat([table[["id"]], intervals, table.drop(columns="id")], axis=1)
        yield table


def chunks(inputs: Iterator[Input], scoring: TableScorer) -> Iterator[list[Input]]:
    """Yield lists of a few thousand sequences, at least one list, and report their number.

    The first sequence far longer than the training records is reported.
    """
    part: list[Input] = []
    total, number, progress, text = 0, 0, Progress(), ""
    for each in inputs:
        if not text and (text := scoring.of_long(each.id, len(each.letters))):
            LOG.warning(text)
        part.append(each)
        total += len(each.letters)
        if total >= CHUNK_LETTERS or len(part) >= CHUNK_RECORDS:
            yield part
            number += len(part)
            progress.update(partial("{:,} sequences".format, number))
            part, total = [], 0
    if part or not number:
        yield part


@dataclass(frozen=True)
class TableScorer:
    """Apply a model to sequences, with the `rc` and `coverage` of `ScoreOptions`."""

    scorer: Scorer | Ensemble
    rc: bool
    coverage: float | None

    def check(self) -> None:
        """Check that the options fit the model, before any file is read."""
        objective = self.scorer.objective
        if not objective.section.has_scores:
            raise ArgumentError(f"a model of objective {objective.kind!r} does not score sequences")
        if self.rc:
            check_rc(self.scorer)
        if self.coverage is None:
            return
        if not 0 < self.coverage < 1:
            raise ArgumentError(f"coverage {self.coverage} is not between 0 and 1")
        if not objective.has_coverage:
            kinds = ", ".join(kind for kind, of in OBJECTIVES.items() if of.has_coverage)
            raise ArgumentError(
                f"coverage is not available for objective {objective.kind!r}, only for {kinds}"
            )
        if self.rc and not self.scorer.both_strands:
            message = "rc and coverage cannot be combined: prediction sets are calibrated on one"
            raise ArgumentError(f"{message} strand", hint="Leave one of them out")
        if not all(member.reference for member in self.scorer.members):
            message = "coverage needs reference.safetensors, which a model folder does not have"
            hint = "Train the model again; baselines have no coverage"
            raise ArgumentError(message, hint=hint)

    def table(
        self, ids: list[str], letters: Sequence[Ascii], inputs: Sequence[Any]
    ) -> pd.DataFrame:
        """Return the rows of these sequences.

        `inputs` holds what the model reads: the sequences, or pairs.
        """
        objective, flags = self.scorer.objective, self.flags(letters)
        if self.per_position:
            return objective.position_table(ids, self.tiling.read(letters, self.merged), flags)
        # (M, n, C)
        members = self.scorer.members
        outputs = np.stack([self.outputs(member, inputs) for member in members])
        sets = {} if self.coverage is None else prediction_sets(members, outputs, self.coverage)
        columns = objective.columns(outputs, self.scorer.calibration, sets)
        return pd.DataFrame({"id": ids, **columns, **flags})

    @property
    def per_position(self) -> bool:
        """Return whether the outputs belong to tokens or positions, not to sequences."""
        return not self.scorer.objective.section.is_per_record

    @cached_property
    def tiling(self) -> Tiling:
        """Return how long sequences are read by models of labels or bins."""
        return Tiling.of(self.scorer)

    def of_long(self, name: str, length: int) -> str:
        """Return a message if a sequence is far longer than the training records; or else ""."""
        how = self.tiling.difference if self.per_position else IN_ONE_PASS
        if length <= self.tiling.longest or self.tiling.exact or not how:
            return ""
        what = f"sequences longer than {self.tiling.longest:,} positions, such as {name!r}"
        return f"{what}, are {how}"

    def merged(self, letters: Sequence[Ascii]) -> list[NDArray[Any]]:
        """Return the outputs of each sequence per token or position, averaged over the members."""
        objective = self.scorer.objective
        of_members = [member.read(letters) for member in self.scorer.members]
        return [objective.merged(np.mean(rows, axis=0)) for rows in zip(*of_members, strict=True)]

    def outputs(self, member: Scorer, letters: Sequence[Any]) -> Floats:
        """Return the outputs (n, C) of a member, averaged over both strands with `rc`."""
        outputs = member.outputs(letters)
        if self.rc and not member.both_strands:
            reverse = [member.alphabet.reverse_complement(row) for row in letters]
            outputs = (outputs + member.outputs(reverse)) / 2
        return outputs

    def flags(self, letters: Sequence[Ascii]) -> dict[str, list[str]]:
        """Return why each record differs from the training records of a member.

        The first member that reports a difference decides.
        """
        of_members = [
            member.reference.out_of_distribution(letters)
            for member in self.scorer.members
            if member.reference
        ]
        if not of_members:
            return {}
        records = zip(*of_members, strict=True)
        return {FLAG: [next((why for why in of if why != INSIDE), INSIDE) for of in records]}


def prediction_sets(members: Sequence[Scorer], outputs: Floats, coverage: float) -> dict[str, Any]:
    """Return the prediction set or interval of each record: columns by name, (n,).

    The outputs of the members, (M, n, C), are calibrated by their validation records. Members
    without a reference are left out.
    """
    objective = members[0].objective
    fitted = [member.reference.conformal for member in members if member.reference]
    names = objective.coverage_names
    quantiles = np.stack([quantiles_of(of, names, coverage) for of in fitted])
    return objective.coverage_columns(outputs, quantiles)


# ------------ files
@dataclass(frozen=True)
class ScoreSummary:
    """Number of rows that `score_files` wrote, and how many differ from the training data.

    Attributes
    ----------
    path
        The table. Read it with `pandas.read_csv(path, sep="\\t")`.
    rows
        Number of rows.
    out_of_distribution
        Number of rows by value of this column; empty if the model folder has no
        `reference.safetensors`.
    """

    path: Path
    rows: int
    out_of_distribution: Counter[str]

    def __repr__(self) -> str:
        return ". ".join(self.lines)

    @property
    def lines(self) -> list[str]:
        """Return how many rows were written, and how many differ from the training data."""
        written = f"wrote {counted(self.rows, 'row')} to {self.path}"
        flags = self.out_of_distribution
        return [_differences(flags), written] if flags else [written]


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
        TSV file to write. Numbers have six digits. An .h5ad file has them in `X`, with columns as
        `obs` and records as `var`.

    Raises
    ------
    OutputError
        If the output does not end with .tsv or .h5ad, or is also an input.
    SequenceFileError, ModelFolderError, ArgumentError
        As for `score_sequences`.
    """
    output = Path(output) if str(output).endswith(H5AD) else check_ending(output, ".tsv")
    check_output_file(output, *listed(files), options.get("genome"), options.get("partner"))
    scorer = load(model)
    rows, flags = 0, Counter[str]()
    with whole_file(output) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for path in listed(files):
            for table in score_batches(scorer, path, **options):
                table.insert(0, "file", str(path))
                append_rows(file, table)
                rows += len(table)
                if FLAG in table:
                    flags.update(table[FLAG])
        if output.suffix == H5AD:
            file.close()
            write_predictions(temporary, read_table(temporary))
    return ScoreSummary(output, rows, flags)


def append_rows(file: TextIO, table: pd.DataFrame) -> None:
    """Write rows of a table as TSV, with six digits; the first ones have a header."""
    table.to_csv(file, header=not file.tell(), **TSV)


def _differences(reasons: Counter[str]) -> str:
    """Describe how many sequences differ from the training data, and why."""
    counts = [(count, reason) for reason, count in reasons.most_common() if reason != INSIDE]
    if not counts:
        return "no row differs from the training data"
    what = {LENGTH: "length", AMBIGUOUS: "ambiguous positions", COMPOSITION: "composition"}
    each = ", ".join(f"{count} in {what[reason]}" for count, reason in counts)
    total = f"{sum(count for count, _ in counts)} of {counted(reasons.total(), 'row')}"
    text = f"{total} differ from the training data: {each}"
    if not reasons[COMPOSITION]:
        return text
    return (
        f"{text}. The limit of composition is set so that it marks about {OUTSIDE:.0%} of the "
        "validation records"
    )

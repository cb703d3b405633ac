"""[split] and [audit]: how records are divided into train, valid and test.

`enlarge` of each kind is the way to a larger test split.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from selfattn_bio.config.section import Column, Fraction, Listed, Names, Section, Seed

MOST_TEST = 0.5  # largest test_fraction that is proposed; train must learn from the others
SMALLER_BLOCK = ". If loci are closer than a block, a smaller [evaluation] block gives more units"


class ChromosomeSplit(Section):
    """Split by chromosome: `chrom` of a header, table, id or BED; all not listed are train.

    Attributes
    ----------
    valid
        validation chromosomes
    test
        test chromosomes
    """

    enlarge: ClassVar[str] = f"list more chromosomes in [split] test{SMALLER_BLOCK}"
    kind: Literal["chromosome"] = "chromosome"
    valid: Listed[tuple[str, ...]] = Field(min_length=1)
    test: Listed[tuple[str, ...]] = Field(min_length=1)

    def problems(self) -> Iterator[str]:
        if both := sorted(set(self.valid) & set(self.test)):
            yield f"valid and test both contain {', '.join(both)}; list a chromosome in one split"


class FractionSplit(Section):
    """Common settings of random splits.

    Attributes
    ----------
    valid_fraction
        fraction of the validation set
    test_fraction
        fraction of the test set
    """

    enlarge: ClassVar[str] = "increase test_fraction in [split], or add records"
    valid_fraction: Fraction = Field(0.15, gt=0)
    test_fraction: Fraction = Field(0.15, gt=0)
    seed: Seed = 0

    def problems(self) -> Iterator[str]:
        if (total := self.valid_fraction + self.test_fraction) >= 1:
            yield f"valid_fraction + test_fraction is {total:g}, which leaves no training records"


class GroupSplit(FractionSplit):
    """Split complete groups at random with `seed`.

    Groups that share a sequence stay together; with two inputs, only those that share a pair.

    Attributes
    ----------
    column
        an attribute of the FASTA headers, such as group or gene, or a column of a table
    """

    kind: Literal["group"] = "group"
    column: str = Field("group", min_length=1)


class SpeciesSplit(FractionSplit):
    """Split complete species (`species=` in the FASTA header) at random with `seed`."""

    kind: Literal["species"] = "species"


class RandomSplit(FractionSplit):
    """Split records at random with `seed`, stratified by label or class.

    Duplicates, of DNA on either strand, stay in the same split.
    """

    kind: Literal["random"] = "random"


class ClusterSplit(FractionSplit):
    """Split complete clusters of similar sequences at random with `seed`.

    No record is similar to one of another split.

    Attributes
    ----------
    method
        mmseqs2 = the program of that name, which must be installed
    similarity
        smallest similarity at which two records stay together: fraction of shared k-mers (0.15
        for DNA and 0.3 for protein if not given), or identity for mmseqs2
    k
        k-mer length of method kmers; 12 for DNA, 6 in a reduced alphabet for protein if not
        given
    column
        column or header attribute, such as a gene, whose records stay together too; they are not
        joined if not given
    """

    kind: Literal["cluster"] = "cluster"
    method: Literal["kmers", "mmseqs2"] = "kmers"
    similarity: float | None = Field(None, gt=0, le=1)
    k: int | None = Field(None, ge=4, le=14)
    column: Column | None = None

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if self.k is not None and self.method != "kmers":
            yield f"k cannot be used with method {self.method!r}; remove it"
        if self.similarity is None and self.method != "kmers":
            yield (
                f"method {self.method!r} needs similarity, the smallest identity within a cluster"
            )


class RegionSplit(Section):
    """Split by regions `CHROM:START-END` (0-based half-open).

    Records that touch no region are train. Records that are only partly in a region are dropped.

    Attributes
    ----------
    valid
        validation regions
    test
        test regions
    """

    enlarge: ClassVar[str] = f"widen the regions of [split] test{SMALLER_BLOCK}"
    kind: Literal["region"] = "region"
    valid: Listed[tuple[str, ...]] = Field(min_length=1)
    test: Listed[tuple[str, ...]] = Field(min_length=1)

    def problems(self) -> Iterator[str]:
        texts = (*self.valid, *self.test)
        named = sorted((*region, text) for region, text in zip(regions(texts), texts, strict=True))
        for (chrom, _, end, first), (other, start, _, second) in itertools.pairwise(named):
            if chrom == other and start < end:
                yield f"regions {first} and {second} overlap"


class SplitValues(Section):
    """Values of the column that name each split. Case is ignored.

    Attributes
    ----------
    train
        values of training records
    valid
        values of validation records
    test
        values of test records
    dropped
        values of records that are not used
    """

    train: Names = ("train", "training")
    valid: Names = ("valid", "validation", "val", "dev", "development")
    test: Names = ("test", "testing", "holdout")
    dropped: Names | None = None

    def problems(self) -> Iterator[str]:
        seen: dict[str, str] = {}
        for value, split in self.pairs():
            if seen.setdefault(value, split) != split:
                yield f"value {value!r} is given for both {seen[value]} and {split}"

    def pairs(self) -> list[tuple[str, str]]:
        """Return each value in lower case with its split."""
        return [(value.lower(), split) for split, values in self for value in values or ()]


class GivenSplit(Section):
    """A split that came with the data.

    Copies of test records are removed from train and valid; test is never reduced.

    Attributes
    ----------
    valid_fraction
        fraction of train that is sampled as valid if the data name no valid records
    """

    enlarge: ClassVar[str] = "add test records to the data"
    valid_fraction: Fraction = Field(0.15, gt=0)
    seed: Seed = 0


class ColumnSplit(GivenSplit):
    """Use a column as the split.

    It is a column of the sequence table, a FASTA header attribute (`split=train`) or a column of
    [data] targets.

    Attributes
    ----------
    column
        name of the column or header attribute
    values
        such as { train = ["fit"], valid = ["tune"], test = ["final"] }
    """

    kind: Literal["column"] = "column"
    column: Column = "split"
    values: SplitValues = SplitValues()

    @property
    def splits(self) -> dict[str, str]:
        """Map each value in lower case to its split."""
        return dict(self.values.pairs())


class FilesSplit(GivenSplit):
    """Use the files of [data] train, valid and test. This is the default if they are given."""

    kind: Literal["files"] = "files"
    column: ClassVar[str] = "file_split"  # ingest writes the split of each file into this column
    splits: ClassVar[dict[str, str]] = {name: name for name in ("train", "valid", "test")}


def regions(texts: Sequence[str]) -> list[tuple[str, int, int]]:
    """Parse "chr2R:14000000-16500000" into chromosome, start and end (0-based half-open).

    Raises
    ------
    ValueError
        If a region has another form or is empty.
    """
    found = [re.fullmatch(r"(\S+):(\d{1,15})-(\d{1,15})", text) for text in texts]
    for match, text in zip(found, texts, strict=True):
        if match is None or int(match[2]) >= int(match[3]):
            raise ValueError(
                f"invalid region {text[:80]!r}; use CHROM:START-END with START < END, 0-based "
                "half-open"
            )
    return [(match[1], int(match[2]), int(match[3])) for match in found if match]


AnySplit = Annotated[
    ChromosomeSplit
    | RegionSplit
    | GroupSplit
    | SpeciesSplit
    | RandomSplit
    | ClusterSplit
    | ColumnSplit
    | FilesSplit,
    Field(discriminator="kind"),
]


def enlarge_by(split: AnySplit, factor: float) -> str:
    """Return the way to a test split that is `factor` times as large, with a number if possible."""
    if not isinstance(split, FractionSplit):
        return split.enlarge
    fraction = min(factor * split.test_fraction, MOST_TEST)
    others = "or" if fraction < MOST_TEST else "and"
    return f"increase test_fraction in [split] to about {fraction:.2f}, {others} add records"


class Audit(Section):
    """[audit]: how much test may share with the training data.

    `selfattn-bio audit` fails above a limit and warns below it.

    Attributes
    ----------
    similarity
        smallest fraction of shared k-mers of near neighbours; 0.15 for DNA and 0.3 for protein
        if not given
    k
        k-mer length; 12 for DNA, 6 in a reduced alphabet for protein if not given
    max_similarity
        largest similarity between a test record and its nearest neighbour in train
    max_near
        largest fraction of test records that have a near neighbour
    max_duplicates
        largest number of test records with the same sequence in train, of DNA on either strand;
        unlimited with [data] keep_duplicates
    max_overlaps
        largest number of test records whose interval overlaps one of train, on either strand
    max_shared
        largest number of test records whose group or species is also in train; unlimited if not
        given
    max_seen
        largest number of test records that a parent of the model saw
    """

    similarity: float | None = Field(None, ge=0.05, le=1)
    k: int | None = Field(None, ge=4, le=14)
    max_similarity: float = Field(1.0, gt=0, le=1)
    max_near: float = Field(1.0, ge=0, le=1)
    max_duplicates: int | None = Field(0, ge=0)
    max_overlaps: int = Field(0, ge=0)
    max_shared: int | None = Field(None, ge=0)
    max_seen: int = Field(0, ge=0)

"""Compare variant effects in windows chosen without the gene with those in the promoter window.

Random substitutions in promoters of the test chromosome are scored in the window that the model was
trained for, the 300 bp before the start in the direction of the gene. They are also scored as
`selfattn-bio variants` does without knowing gene or strand: with one or several windows, on the
forward strand or on both. Prints Spearman's correlation between the two, over all substitutions and
over the tenth with the largest effects in the promoter window.

    python benchmarks/variants.py --genome data/fly_2R/chr2R.fa.gz
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from harness import Row, Table, option, run
from scipy.stats import spearmanr

from selfattn_bio.scoring.origin import origin_of
from selfattn_bio.scoring.variants import VariantWindows, scored
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.readers import read_records
from selfattn_bio.sequence.records import Record
from selfattn_bio.sequence.vcf import VcfVariant

STARTS = Path("data/fly_promoters/positives.fa.gz")
CHROM = "chr2R"
PLACINGS = [
    VariantWindows(rc=rc, placements=placements)
    for rc in (False, True)
    for placements in (1, 3, 5, 9)
]


def substitution(record: Record, rng: np.random.Generator) -> VcfVariant:
    """Sample a substitution in the promoter, on the forward strand."""
    at = int(rng.integers(len(record.letters)))
    plus = record.letters if record.strand == "+" else DNA.reverse_complement(record.letters)
    ref = chr(plus[at])
    alt = str(rng.choice([letter for letter in "ACGT" if letter != ref]))
    return VcfVariant("", CHROM, CHROM, int(record.start or 0) + at, ".", ref, (alt,))


def with_variant(record: Record, variant: VcfVariant) -> np.ndarray:
    """Return the promoter with the substitution, in the direction of the gene."""
    is_plus = record.strand == "+"
    plus = (record.letters if is_plus else DNA.reverse_complement(record.letters)).copy()
    plus[variant.start - int(record.start or 0)] = ord(variant.alts[0])
    return plus if is_plus else DNA.reverse_complement(plus)


def measure(chosen: argparse.Namespace) -> Iterator[Table | str]:
    """Score the substitutions in the promoter window and in other windows."""
    rng, origin, genome = np.random.default_rng(0), origin_of(chosen.model), Genome(chosen.genome)
    promoters = [record for record in read_records(STARTS, DNA) if record.chrom == CHROM]
    some = [promoters[i] for i in rng.choice(len(promoters), chosen.number, replace=False)]
    variants = [substitution(record, rng) for record in some]
    before = [record.letters for record in some]
    after = [with_variant(*pair) for pair in zip(some, variants, strict=True)]
    own = np.mean(
        [member.logits(after) - member.logits(before) for member in origin.scorer.members], axis=0
    )
    large = np.abs(own) >= np.quantile(np.abs(own), 0.9)
    yield f"{len(own)} substitutions; standard deviation of the effect {own.std():.3f} logits"

    def rows() -> Iterator[Row]:
        for windows in PLACINGS:
            tables = [batch.table["effect"] for batch in scored(origin, genome, variants, windows)]
            effects = np.concatenate(tables)
            yield {
                "strands": "both" if windows.rc else "forward",
                "windows": str(windows.placements),
                "correlation": f"{spearmanr(effects, own).statistic:.3f}",
                "in largest tenth": f"{spearmanr(effects[large], own[large]).statistic:.3f}",
            }

    yield Table("", rows())


if __name__ == "__main__":
    run(
        __doc__,
        measure,
        option("--model", type=Path, nargs="+", default=["promoter"], metavar="DIR"),
        option("--genome", type=Path, required=True, metavar="FASTA"),
        option("--number", type=int, default=1000, help="promoters, one substitution each"),
        threads=None,
    )

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
from pathlib import Path

import numpy as np
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
    ref, alt = (
        chr(plus[at]),
        str(rng.choice([letter for letter in "ACGT" if letter != chr(plus[at])])),
    )
    return VcfVariant("", CHROM, CHROM, int(record.start or 0) + at, ".", ref, (alt,))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, nargs="+", default=["promoter"], metavar="DIR")
    parser.add_argument("--genome", type=Path, required=True, metavar="FASTA")
    parser.add_argument(
        "--number",
        type=int,
        default=1000,
        help="promoters, with one substitution each (%(default)s)",
    )
    arguments = parser.parse_args()
    rng, origin, genome = (
        np.random.default_rng(0),
        origin_of(arguments.model),
        Genome(arguments.genome),
    )
    promoters = [record for record in read_records(STARTS, DNA) if record.chrom == CHROM]
    chosen = [promoters[i] for i in rng.choice(len(promoters), arguments.number, replace=False)]
    variants = [substitution(record, rng) for record in chosen]
    before, after = [record.letters for record in chosen], []
    for record, variant in zip(chosen, variants, strict=True):
        plus = (
            record.letters if record.strand == "+" else DNA.reverse_complement(record.letters)
        ).copy()
        plus[variant.start - int(record.start or 0)] = ord(variant.alts[0])
        after.append(plus if record.strand == "+" else DNA.reverse_complement(plus))
    own = np.mean(
        [member.logits(after) - member.logits(before) for member in origin.scorer.members], axis=0
    )
    large = np.abs(own) >= np.quantile(np.abs(own), 0.9)
    print(f"{len(own)} substitutions; standard deviation of the effect {own.std():.3f} logits")
    print("strands  windows  correlation      in largest tenth")
    for windows in PLACINGS:
        effects = np.concatenate(
            [batch.table["effect"] for batch in scored(origin, genome, variants, windows)]
        )
        every, some = (
            spearmanr(effects[rows], own[rows]).statistic for rows in (slice(None), large)
        )
        print(
            f"{'both' if windows.rc else 'forward':7}  {windows.placements:7}  {every:11.3f}  "
            f"{some:20.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

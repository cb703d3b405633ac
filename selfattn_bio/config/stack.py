"""[stack]: simple models that are combined with the network into one score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from selfattn_bio.config.section import Different, Listed, Section

# The registry of baselines, simplest first: module and class in `baselines`, and whether [stack]
# may name it. Others are slow (gkm_svm), contained in k-mers (gc), or no biological signal (length,
# first_letter). The registry belongs to `config`, because run files name baselines.
KNOWN_BASELINES = {
    "gc": ("figures.GcContent", False),
    "kmer6_logistic": ("kmers.Kmers", True),
    "kmer6_positional_logistic": ("kmers.PositionalKmers", True),
    "exact_positions": ("exact_positions.ExactPositions", True),
    "motif_scores": ("motif_scores.MotifScores", True),
    "gkm_svm": ("gkm_svm.GkmSvm", False),
    "length": ("figures.Length", False),
    "first_letter": ("figures.FirstLetter", False),
    "composition": ("kmers.Composition", True),
    "kmer2_logistic": ("kmers.Dipeptides", True),
}
if TYPE_CHECKING:
    StackPart = str
else:
    StackPart = Literal[tuple(name for name, (_, stacks) in KNOWN_BASELINES.items() if stacks)]


class StackSection(Section):
    """[stack]: models that are fitted to the training records and combined with the network."""

    parts: Different[Listed[tuple[StackPart, ...]]] = Field(
        (),
        description="names of baselines; the weights of their logits and the network's are fitted "
        "on valid",
    )

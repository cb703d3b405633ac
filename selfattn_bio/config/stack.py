"""[stack]: simple models that are combined with the network into one score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from selfattn_bio.config.section import Different, Listed, Section

# The registry of baselines, simplest first: module and class in `baselines`, and whether [stack]
# may name it. Others are slow (gkm_svm), contained in k-mers (gc), or no biological signal (length,
# first_letter). The registry belongs to `config`, because run files name baselines.
KNOWN_BASELINES = {
    "constant": ("kinds.Constant", False),
    "gc": ("kinds.Gc", False),
    "kmer6_logistic": ("kinds.Kmers", True),
    "kmer6_positional_logistic": ("kinds.PositionalKmers", True),
    "exact_positions": ("kinds.LogisticPositions", True),
    "substitutions_linear": ("kinds.Additive", False),
    "kmer6_linear": ("kinds.LinearKmers", False),
    "exact_positions_linear": ("kinds.LinearPositions", False),
    "motif_scores": ("kinds.BoostedMotifs", True),
    "kmer6_trees": ("kinds.BoostedKmers", True),
    "gkm_svm": ("gkm_svm.GkmSvm", False),
    "length": ("kinds.LengthAlone", False),
    "first_letter": ("kinds.FirstResidueAlone", False),
    "composition": ("kinds.Composition", True),
    "kmer2_logistic": ("kinds.Dipeptides", True),
    "composition_linear": ("kinds.LinearComposition", False),
    "kmer2_linear": ("kinds.LinearDipeptides", False),
    "kmer2_trees": ("kinds.BoostedDipeptides", True),
    "exact_positions_trees": ("kinds.BoostedPositions", True),
    "window_logistic": ("kinds.LinearWindow", False),
    "window_trees": ("kinds.BoostedWindow", False),
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

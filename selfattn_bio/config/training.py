"""[training], [transfer], [privacy], [stack] and [evaluation]."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from selfattn_bio.config.pretrained import Adaptation
from selfattn_bio.config.section import (
    Column,
    Different,
    Fraction,
    Listed,
    Positive,
    Section,
    Seed,
    Size,
    left_out,
)


class BalanceSection(Section):
    """Common settings for balancing groups of records.

    Attributes
    ----------
    by
        gc, length, chrom, or a column of the records
    bins
        number of intervals of GC content or length, with equal numbers of training records
    """

    by: str = Field(min_length=1)
    bins: int = Field(4, ge=2)


class ReweightBalance(BalanceSection):
    """Weight losses so that each combination of group and label has the same total weight."""

    kind: Literal["reweight"] = "reweight"


class SampleBalance(BalanceSection):
    """Sample each combination of group and label equally often."""

    kind: Literal["sample"] = "sample"


AnyBalance = Annotated[ReweightBalance | SampleBalance, Field(discriminator="kind")]


class EditsSection(Section):
    """Random edits of training sequences (EvoAug, Lee et al. 2023).

    Edits are deletions, insertions, translocations and substitutions.

    Attributes
    ----------
    per_record
        number of kinds of edits applied to a record each time
    longest
        maximum length of an insertion or deletion
    translocation
        maximum rotation of a sequence in positions
    substitution
        fraction of positions that are replaced
    until
        fraction of the steps with edits, rounded up to complete epochs; the rest trains on the
        original sequences
    """

    per_record: Positive = 2
    longest: int = Field(12, ge=0)
    translocation: int = Field(24, ge=0)
    substitution: Fraction = 0.05
    until: float = Field(0.75, gt=0, le=1)

    def problems(self) -> Iterator[str]:
        if not (self.longest or self.translocation or self.substitution):
            yield "longest, translocation and substitution are all 0; set at least one above 0"


class Training(Section):
    """[training]: settings of one training run. Steps are optimizer steps.

    Attributes
    ----------
    labels
        shuffled = a control with shuffled labels
    pairs
        for model kind paired: first_alone = each record with the partner of another record,
        partner_alone = each partner with the sequence of another record; shows what one input
        contributes alone
    seeds
        number of members, trained with seed, seed + 1 ... and averaged
    max_steps
        most optimizer steps; may stop before, see patience
    batch_size
        records per batch
    accumulate
        batches per optimizer step
    optimizer
        adam = weight decay is part of the gradient (L2)
    learning_rate
        highest learning rate, after the warm-up
    warmup_steps
        steps in which the learning rate rises linearly from 0
    schedule
        learning rate schedule after the warm-up
    weight_decay
        of matrices and kernels, not of biases
    clip_norm
        norm to which gradients are clipped
    ema_decay
        decay of the running mean of the weights, which is used for scoring; 0 = the weights
        themselves
    label_smoothing
        fraction of each label spread over all classes
    window
        window size for objectives masked and causal; longer records give ceil(length / window)
        random windows per epoch
    shift
        largest random shift of a sequence to either side, in positions, sampled in each epoch
    reverse_complement
        reverse-complement each sequence with probability 0.5
    substitution
        fraction of positions that are resampled in each epoch
    edits
        random edits of the sequences, for records that are not aligned
    class_weights
        balanced = each class has the same total weight in the loss
    balance
        give groups of records equal weight, whatever their size
    precision
        auto = bf16-mixed if the CPU (AMX, AVX512-BF16) or GPU has instructions for bfloat16,
        otherwise 32-true; 16-mixed = float16, slow on most CPUs
    matmul
        medium = oneDNN on the CPU, used only if a test shows that it is exact
    evaluate_every
        steps
    patience
        evaluations on valid without improvement before the run stops
    top
        number of best evaluations whose weights are kept in the model folder; those after the
        first are in top/
    checkpoint_every
        steps
    """

    labels: Literal["given", "shuffled"] = "given"
    pairs: Literal["given", "first_alone", "partner_alone"] = left_out("given")
    seed: Seed = 0
    seeds: Size = left_out(1)
    max_steps: Positive = 1500
    batch_size: Positive = 64
    accumulate: Size = 1
    optimizer: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = Field(0.004, gt=0)
    warmup_steps: int = Field(200, ge=0)
    schedule: Literal["cosine", "linear", "inverse_sqrt", "constant"] = "cosine"
    weight_decay: float = Field(0.01, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    ema_decay: Fraction = 0.998
    label_smoothing: Fraction = 0.05
    window: Positive | None = left_out(None)
    shift: int = Field(4, ge=0)
    reverse_complement: bool = False
    substitution: Fraction = 0.0
    edits: EditsSection | None = left_out(None)
    class_weights: Literal["none", "balanced"] = "none"
    balance: AnyBalance | None = left_out(None)
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    matmul: Literal["highest", "medium"] = "medium"
    evaluate_every: Positive = 250
    patience: Positive = 4
    top: Positive = 1
    checkpoint_every: Positive = 250

    def problems(self) -> Iterator[str]:
        if self.seed + self.seeds > 2**32:
            yield (
                f"seed {self.seed} is too large for {self.seeds} members; the last seed would "
                "exceed 4294967295"
            )


SHIPPED_PARENTS = ("motifs",)  # models in the package that can be parents by name


class Transfer(Adaptation):
    """[transfer]: start from the weights of a trained model, with a new head.

    Attributes
    ----------
    parent
        name of a task (results/NAME/model), path of a model folder, or 'motifs', the motif
        encoder included in the package
    """

    parent: str = Field(min_length=1)

    @property
    def ships(self) -> bool:
        """Return whether the parent comes with the package."""
        return self.parent in SHIPPED_PARENTS

    @property
    def folder(self) -> Path:
        """Return the parent's model folder."""
        if self.ships:
            return Path(__file__).parents[1] / "models" / self.parent
        return Path(self.parent) if "/" in self.parent else Path("results") / self.parent / "model"


# Advice for stems whose layers do not mix the records of a batch.
PRIVATE_STEM = "Use model.stem = { kind = 'none' }, or { kind = 'conv', norm = 'record' }"


class Privacy(Section):
    """[privacy]: (epsilon, delta) differentially private training with clipped, noisy gradients.

    Attributes
    ----------
    epsilon
        budget spent after max_steps; 1 is strong privacy, 8 weak
    delta
        probability that the epsilon guarantee fails; below 1 / number of training records
    max_grad_norm
        norm to which the gradient of each record is clipped
    """

    epsilon: float = Field(gt=0, le=50)
    delta: float = Field(gt=0, lt=1)
    max_grad_norm: float = Field(1.0, gt=0)


class EvaluationSection(Section):
    """[evaluation]: confidence intervals and calibration.

    Attributes
    ----------
    block
        bp of a chromosome that are resampled together (default: 500,000; 100,000 for objective
        bins)
    strands
        both = the score is the mean over both strands; if not given, both if
        training.reverse_complement is true or model.strands is shared
    bootstraps
        resamples of an interval
    confidence
        coverage of the intervals
    calibration_bins
        bins of the calibration error (ECE)
    gc_slices
        subsets of the test set by GC content or length
    groups
        columns of the records by which metrics are also reported, in addition to gc, length and
        chrom
    """

    block: Positive | None = left_out(None)
    strands: Literal["given", "both"] | None = left_out(None)
    bootstraps: int = Field(1000, ge=1, le=1_000_000)
    confidence: float = Field(0.95, gt=0, lt=1)
    calibration_bins: Positive = 15
    gc_slices: Positive = 4
    groups: Listed[tuple[Column, ...]] = left_out(())
    seed: Seed = 0


# The registry of baselines, simplest first: module and class in `baselines`, and whether [stack]
# may name it. Others are contained in k-mers (gc), no biological signal (length, first_letter) or
# constant. It is in `config`, because run files name baselines.
KNOWN_BASELINES = {
    "constant": ("kinds.Constant", False),
    "mean_profile": ("kinds.MeanProfile", False),
    "gc": ("kinds.Gc", False),
    "kmer6_logistic": ("kinds.Kmers", True),
    "kmer6_positional_logistic": ("kinds.PositionalKmers", True),
    "exact_positions": ("kinds.LogisticPositions", True),
    "substitutions_linear": ("kinds.Additive", True),
    "kmer6_linear": ("kinds.LinearKmers", True),
    "exact_positions_linear": ("kinds.LinearPositions", True),
    "gapped_kmers": ("kinds.GappedKmers", True),
    "motif_scores": ("kinds.BoostedMotifs", True),
    "kmer6_trees": ("kinds.BoostedKmers", True),
    "length": ("kinds.LengthAlone", False),
    "first_letter": ("kinds.FirstResidueAlone", False),
    "composition": ("kinds.Composition", True),
    "kmer2_logistic": ("kinds.Dipeptides", True),
    "composition_linear": ("kinds.LinearComposition", True),
    "kmer2_linear": ("kinds.LinearDipeptides", True),
    "kmer2_trees": ("kinds.BoostedDipeptides", True),
    "exact_positions_trees": ("kinds.BoostedPositions", True),
    "pretrained_linear": ("kinds.PretrainedLinear", True),
    "window_logistic": ("kinds.LinearWindow", True),
    "window_trees": ("kinds.BoostedWindow", True),
    "bin_constant": ("bins.BinConstant", False),
    "bin_gc": ("bins.BinGc", False),
    "bin_kmers": ("bins.BinKmers", True),
    "bin_trees": ("bins.BinTrees", True),
}
STACK_PARTS = tuple(name for name, (_, stacks) in KNOWN_BASELINES.items() if stacks)


class StackSection(Section):
    """[stack]: models that are fitted to the training records and combined with the network.

    Attributes
    ----------
    parts
        names of baselines of the objective; valid decides how much each one and the network count
    """

    parts: Different[Listed[tuple[Literal[*STACK_PARTS], ...]]] = ()  # type: ignore[valid-type]

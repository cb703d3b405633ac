"""[training], [transfer], [privacy], [stack] and [evaluation]."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from selfattn_bio.config.section import (
    Column,
    Different,
    Fraction,
    Listed,
    Positive,
    Section,
    Seed,
    left_out,
)


class BalanceSection(Section):
    """Common settings for balancing groups of records."""

    by: str = Field(min_length=1, description="gc, length, chrom, or a column of the records")
    bins: int = Field(
        4,
        ge=2,
        description="number of intervals of GC content or length, with equal numbers of training "
        "records",
    )


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
    """

    per_record: Positive = Field(
        2, description="number of kinds of edits applied to a record each time"
    )
    longest: int = Field(12, ge=0, description="maximum length of an insertion or deletion")
    translocation: int = Field(24, ge=0, description="maximum rotation of a sequence in positions")
    substitution: Fraction = Field(0.05, description="fraction of positions that are replaced")
    until: float = Field(
        0.75,
        gt=0,
        le=1,
        description="fraction of the steps with edits, rounded up to complete epochs; the rest "
        "trains on the original sequences",
    )

    def problems(self) -> Iterator[str]:
        if not (self.longest or self.translocation or self.substitution):
            yield "longest, translocation and substitution are all 0; set at least one above 0"


class Training(Section):
    """[training]: settings of one training run. Steps are optimizer steps."""

    labels: Literal["given", "shuffled"] = Field(
        "given", description="shuffled = a control with shuffled labels"
    )
    pairs: Literal["given", "first_alone", "partner_alone"] = left_out(
        "given",
        description="for model kind paired: first_alone = each record with the partner of "
        "another record, partner_alone = each partner with the sequence of another "
        "record; shows what one input contributes alone",
    )
    seed: Seed = 0
    seeds: Positive = left_out(
        1, description="number of members, trained with seed, seed + 1 ... and averaged"
    )
    max_steps: Positive = Field(
        1500, description="most optimizer steps; may stop before, see patience"
    )
    batch_size: Positive = Field(64, description="records per batch")
    accumulate: Positive = Field(1, description="batches per optimizer step")
    optimizer: Literal["adamw", "adam"] = Field(
        "adamw", description="adam = weight decay is part of the gradient (L2)"
    )
    learning_rate: float = Field(4e-3, gt=0, description="highest learning rate, after the warm-up")
    warmup_steps: int = Field(
        200, ge=0, description="steps in which the learning rate rises linearly from 0"
    )
    schedule: Literal["cosine", "linear", "inverse_sqrt", "constant"] = Field(
        "cosine", description="learning rate schedule after the warm-up"
    )
    weight_decay: float = Field(0.01, ge=0, description="of matrices and kernels, not of biases")
    clip_norm: float = Field(1.0, gt=0, description="norm to which gradients are clipped")
    ema_decay: Fraction = Field(
        0.998,
        description="decay of the running mean of the weights, which is used for scoring; 0 = the "
        "weights themselves",
    )
    label_smoothing: Fraction = Field(
        0.05, description="fraction of each label spread over all classes"
    )
    window: Positive | None = left_out(
        None,
        description="window size for objectives masked and causal; longer records give ceil(length "
        "/ window) random windows per epoch",
    )
    shift: int = Field(
        4,
        ge=0,
        description="largest random shift of a sequence to either side, in positions, sampled in "
        "each epoch",
    )
    reverse_complement: bool = Field(
        False, description="reverse-complement each sequence with probability 0.5"
    )
    substitution: Fraction = Field(
        0.0, description="fraction of positions that are resampled in each epoch"
    )
    edits: EditsSection | None = left_out(
        None, description="random edits of the sequences, for records that are not aligned"
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced = each class has the same total weight in the loss"
    )
    balance: AnyBalance | None = left_out(
        None, description="give groups of records equal weight, whatever their size"
    )
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = Field(
        "auto",
        description="auto = bf16-mixed if the CPU (AMX, AVX512-BF16) or GPU has instructions for "
        "bfloat16, otherwise 32-true; 16-mixed = float16, slow on most CPUs",
    )
    matmul: Literal["highest", "medium"] = Field(
        "medium",
        description="medium = oneDNN on the CPU, used only if a test shows that it is exact",
    )
    evaluate_every: Positive = Field(250, description="steps")
    patience: Positive = Field(
        4, description="evaluations on valid without improvement before the run stops"
    )
    top: Positive = Field(
        1,
        description="number of best evaluations whose weights are kept in the model folder; those "
        "after the first are in top/",
    )
    checkpoint_every: Positive = Field(250, description="steps")

    def problems(self) -> Iterator[str]:
        if self.seed + self.seeds > 2**32:
            yield (
                f"seed {self.seed} is too large for {self.seeds} members; the last seed would "
                "exceed 4294967295"
            )


SHIPPED_PARENTS = ("motifs",)  # models in the package that can be parents by name


class Transfer(Section):
    """[transfer]: start from the weights of a trained model, with a new head."""

    parent: str = Field(
        min_length=1,
        description="name of a task (results/NAME/model), path of a model folder, or 'motifs', the "
        "motif encoder included in the package",
    )
    adapt: Literal["all", "frozen", "gradual", "lora"] = Field(
        "all",
        description="trained parts: all; frozen = the head; gradual = the head, then one more "
        "layer every unfreeze_every steps; lora = head and LoRA",
    )
    unfreeze_every: Positive = Field(200, description="steps between layers, for gradual")
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="factor of the learning rate from each layer to the one below, starting at the "
        "head",
    )
    lora_rank: Positive = Field(8, description="rank of the added matrices, for lora")

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
    """[privacy]: (epsilon, delta) differentially private training with clipped, noisy gradients."""

    epsilon: float = Field(
        gt=0, le=50, description="budget spent after max_steps; 1 is strong privacy, 8 weak"
    )
    delta: float = Field(
        gt=0,
        lt=1,
        description="probability that the epsilon guarantee fails; below 1 / number of training "
        "records",
    )
    max_grad_norm: float = Field(
        1.0, gt=0, description="norm to which the gradient of each record is clipped"
    )


class EvaluationSection(Section):
    """[evaluation]: confidence intervals and calibration."""

    block: Positive | None = left_out(
        None,
        description="bp of a chromosome that are resampled together (default: 500,000; 100,000 for "
        "objective bins)",
    )
    strands: Literal["given", "both"] | None = left_out(
        None,
        description="both = the score is the mean over both strands; if not given, both if "
        "training.reverse_complement is true or model.strands is shared",
    )
    bootstraps: Positive = Field(1000, description="resamples of an interval")
    confidence: float = Field(0.95, gt=0, lt=1, description="coverage of the intervals")
    calibration_bins: Positive = Field(15, description="bins of the calibration error (ECE)")
    gc_slices: Positive = Field(4, description="subsets of the test set by GC content or length")
    groups: Listed[tuple[Column, ...]] = left_out(
        (),
        description="columns of the records by which metrics are also reported, in addition to gc, "
        "length and chrom",
    )
    seed: Seed = 0


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

"""[interpret]: attribution methods, motif callers and the content of the report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from selfattn_bio.config.section import Different, Fraction, Listed, Positive, Section, Seed
from selfattn_bio.display import did_you_mean

# Included in the package.
MOTIF_DATABASES = tuple(
    f"jaspar:{group}" for group in ("fungi", "insects", "nematodes", "plants", "vertebrates")
)
NO_DATABASE = "none"  # motifs are found and tested, but not compared with known ones

# Parts of a network that a method uses: its outputs, also the gradient at its embeddings, layers of
# this package, or also the attention weights of every allowed pair.
Need = Literal["outputs", "embeddings", "layers", "weights"]

# The registry of methods without settings: module and class in `attribution.methods`, and the need.
# The registry belongs to `config`, because run files name methods.
PLAIN_METHODS: dict[str, tuple[str, Need]] = {
    "attnlrp": ("gradients.AttnLRP", "layers"),
    "cp_lrp": ("gradients.CPLRP", "layers"),
    "gradient": ("gradients.Gradient", "embeddings"),
    "saturation": ("mutagenesis.Saturation", "outputs"),
    "received": ("base.Received", "weights"),
    "rollout": ("base.Rollout", "weights"),
}
# All methods. Those with settings have a section below.
KNOWN_METHODS = PLAIN_METHODS | {
    "guided": ("mutagenesis.Guided", "embeddings"),
    "attnlrp_copies": ("gradients.AttnLRPCopies", "layers"),
    "integrated_gradients": ("gradients.IntegratedGradients", "embeddings"),
}


class PlainMethod(Section):
    """A method without settings: one backward pass, all substitutions, or a form of attention.

    Attention alone is inconclusive and finds no motifs.
    """

    kind: Literal[*PLAIN_METHODS]  # type: ignore[valid-type]


class GuidedMethod(Section):
    """Rank positions with AttnLRP and measure the best ones by substitution.

    Attributes
    ----------
    fraction
        fraction of positions that are mutated
    """

    kind: Literal["guided"] = "guided"
    fraction: float = Field(0.15, gt=0, le=1)


class AttnLRPCopiesMethod(Section):
    """Average AttnLRP over copies with some positions replaced.

    If the model was trained with both strands, copies of both strands are used.

    Attributes
    ----------
    copies
        backward passes
    fraction
        fraction of positions that are resampled in each copy
    """

    kind: Literal["attnlrp_copies"] = "attnlrp_copies"
    copies: Positive = 16
    fraction: Fraction = 0.1
    seed: Seed = 0


class IntegratedGradientsMethod(Section):
    """Average the gradient along the path from the mean k-mer to the sequence.

    Attributes
    ----------
    steps
        points on the path from the baseline
    """

    kind: Literal["integrated_gradients"] = "integrated_gradients"
    steps: Positive = 20


AnyMethod = Annotated[
    PlainMethod | GuidedMethod | AttnLRPCopiesMethod | IntegratedGradientsMethod,
    Field(discriminator="kind"),
]


class ModiscoCaller(Section):
    """TF-MoDISco from modisco-lite; DNA only."""

    kind: Literal["modisco"] = "modisco"


class ClustersCaller(Section):
    """Recursive seqlets grouped by Tomtom: faster than TF-MoDISco, and for protein too."""

    kind: Literal["clusters"] = "clusters"


AnyCaller = Annotated[ModiscoCaller | ClustersCaller, Field(discriminator="kind")]


class Interpret(Section):
    """[interpret]: from attributions to motifs with evidence.

    Attributes
    ----------
    targets
        outputs to explain: classes, labels or columns, and part.name for those of a part; by
        default the four with most records. For bins the strands + and -, whose motifs the
        workflow searches only if they are named
    max_sequences
        maximum number of records in train and valid to explain for each output: positives that
        are predicted as positive, and those with the next highest scores if these are fewer; for
        numbers, those with the highest and the lowest predictions. At most 33 million positions
    maps
        ids of records whose attention maps the report shows, with any label and split; by
        default explained records with the highest, middle and lowest score
    method
        attribution method
    caller
        method that finds motifs in attributions; modisco for DNA and clusters for RNA,
        single-stranded DNA and proteins if not given
    max_motifs
        motifs with most sites that are kept and tested
    max_seqlets
        maximum number to group, those with the highest attribution
    significance
        q-value below which enrichment and effect are significant
    hit_p
        p-value below which a motif match is a hit on test; by default 2.5e-4 (a perfect match
        of 6 bp has 2.44e-4), less in records of more than 300 letters, and for a short motif the
        p-value of its best match
    window
        [start, end) of a record where the centres of hits are expected; 0-based, or negative
        from the record's end, such as [-31, -25]; end is not part of it, and an end of 0 is the
        end of the record; by default the 10 bp with most hits are tested
    """

    database: str = Field(
        NO_DATABASE,
        description=f"{', '.join(MOTIF_DATABASES)}, a path to MEME, JASPAR or TRANSFAC text, for "
        "proteins to MEME text, prosite.dat or the classes of ELM, or none; for RNA a path or none"
        "; with motif_scores in [stack], another database trains the model again",
    )
    targets: Different[Listed[tuple[str, ...] | None]] = Field(None, min_length=1)
    max_sequences: Positive = 3000
    maps: Different[Listed[tuple[str, ...] | None]] = Field(None, min_length=1, max_length=20)
    method: AnyMethod = AttnLRPCopiesMethod()
    caller: AnyCaller | None = None
    max_motifs: Positive = 25
    max_seqlets: Positive = 20000
    significance: float = Field(0.05, gt=0, lt=1)
    hit_p: float | None = Field(None, gt=0, lt=1)
    window: Listed[tuple[int, int] | None] = None
    seed: Seed = 0

    @field_validator("window")
    @classmethod
    def _window_is_one(cls, window: tuple[int, int] | None) -> tuple[int, int] | None:
        if window is not None and (window[0] >= window[1] or window[0] < 0 < window[1]):
            raise ValueError(
                f"window {list(window)} is empty or combines both ends of a record; use [start, "
                "end) with start < end, both from the record's start or both from its end"
            )
        return window

    @field_validator("database")
    @classmethod
    def _group_ships(cls, database: str) -> str:
        """Report an unknown motif group before training starts.

        Whether a path exists is checked by the workflow or when the file is read.
        """
        if database.startswith("jaspar:") and database not in MOTIF_DATABASES:
            choice = did_you_mean(database, MOTIF_DATABASES, cutoff=0.9) or (
                f"choose {', '.join(MOTIF_DATABASES)}, {NO_DATABASE} or the path of a MEME, JASPAR "
                "or TRANSFAC file"
            )
            raise ValueError(f"unknown database {database!r}; {choice}")
        return database

    @property
    def database_file(self) -> str | None:
        """Return the path of the motif database if it is a user's file, otherwise None."""
        return None if self.database in (*MOTIF_DATABASES, NO_DATABASE) else self.database

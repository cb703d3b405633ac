"""Write [tokens], [model], [training], [transfer] and [stack] of a new run file.

`recipe_lines` writes them from a recipe (`training.recipes`). Without a recipe, the other functions
choose the keys from the records and the objective. All functions return lines of TOML with
comments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from selfattn_bio.config.writing import comment, setting
from selfattn_bio.wizard.contents import Contents

if TYPE_CHECKING:
    from selfattn_bio.training.recipes import Recipe

STEP_RECORDS = 64  # records per optimizer step
BATCH_POSITIONS = 131_072  # bases or residues per batch; fits a laptop (docs/attention_speed.md)
# training records and steps of the task promoter, from which the steps of a new task are scaled
PROMOTERS, PROMOTER_STEPS = 16_754, 1500
# bp, or 1,024 positions after the default stem, which pools 8; with longer sequences attention is
# limited to a window
LONG = 8192
STACK = comment("Simple models whose scores are combined with the network's (docs/stacking.md).")
UNPOOLED_STEM = {"kind": "conv", "kernel": 5, "pool": 1, "second_kernel": 3}


def model_lines(contents: Contents, objective: str) -> list[str]:
    """Write [tokens] and [model].

    DNA uses 3-mers and the default stem, which pools. Proteins, and DNA with a label per position,
    use one token per residue or base and no pooling.
    """
    is_dna, longest = contents.alphabet.name == "dna", max(contents.lengths)
    is_pooled = is_dna and objective != "labels"
    lines = [
        "[tokens]",
        setting("k", 3 if is_pooled else 1, f"{'bases' if is_dna else 'residues'} per token"),
    ]
    if is_pooled and longest <= LONG:
        default = (
            "[model] is the default: a convolution that pools 8 positions, then full attention"
        )
        return [*lines, "", comment(default)]
    lines += ["", "[model]", setting("kind", "attention")]
    if not is_pooled:
        unit = "base" if is_dna else "residue"
        lines += [
            setting("members", 1, "this and the stem are those of workflows/tasks/amp.toml"),
            setting("stem", UNPOOLED_STEM, f"one position per {unit}"),
        ]
    if (longest // 8 if is_pooled else longest) > LONG // 8:
        pattern = {"kind": "window", "window": 128, "num_global": 1}
        note = "time and memory grow with the length, not with its square"
        lines += [setting("pattern", pattern, note)]
    return lines


def training_lines(contents: Contents, objective: str) -> list[str]:
    """Write [training].

    The steps are those of the task promoter, scaled by the square root of the number of records,
    between 100 and 1,500. There are up to six evaluations. Long sequences get smaller batches,
    whose gradients are accumulated to about `STEP_RECORDS` records per step.
    """
    steps = round(
        min(PROMOTER_STEPS, max(100.0, PROMOTER_STEPS * (len(contents.lengths) / PROMOTERS) ** 0.5))
    )
    every = max(25, round(steps / 6))
    note = f"each of {STEP_RECORDS} records; scales with the square root of the number of records"
    lines = [
        "[training]",
        setting("max_steps", steps, note),
        setting("warmup_steps", min(200, steps // 5)),
        setting("evaluate_every", every),
        setting("checkpoint_every", every),
    ]
    if contents.alphabet.name == "protein" or objective == "labels":
        lines += [setting("shift", 0, "random shift of each sequence, in bases or residues")]
    batch = max(1, min(STEP_RECORDS, BATCH_POSITIONS // max(contents.lengths)))
    if batch < STEP_RECORDS:
        lines += [
            setting("batch_size", batch, "`train --dry-run` measures memory and time"),
            setting("accumulate", STEP_RECORDS // batch),
        ]
    return lines


def stack_lines(contents: Contents, objective: str) -> list[str]:
    """Write [stack] for two classes of proteins; an empty list for other tasks."""
    if objective != "binary" or contents.alphabet.name != "protein":
        return []
    return [STACK, "[stack]", setting("parts", ["composition", "kmer2_logistic"])]


def recipe_lines(recipe: Recipe) -> list[list[str]]:
    """Write the sections of a recipe; a section without keys is left out."""
    sections: dict[str, Mapping[str, Any]] = {
        "tokens": recipe.tokens,
        "model": recipe.model,
        "training": recipe.training,
        "transfer": recipe.transfer,
        "stack": {"parts": list(recipe.parts)} if recipe.parts else {},
    }
    written = [
        [f"[{name}]", *(setting(key, value) for key, value in keys.items())]
        for name, keys in sections.items()
        if keys
    ]
    written[0].insert(0, comment(f"Recipe {recipe.name!r}: {recipe.reason}."))
    if recipe.parts:
        written[-1].insert(0, STACK)
    return written

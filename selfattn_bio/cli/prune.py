"""The command that removes closed heads and layers."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from selfattn_bio.cli.options import ALLOW_MODULE, command, option, output
from selfattn_bio.log import LOG

WORDS = {
    "heads": "heads",
    "feedforwards": "feed-forward blocks",
    "layers": "layers",
    "parameters": "parameters",
    "file": "bytes",
}


@command(
    option("--model", required=True, metavar="DIR", help="model folder with gates, from `train`"),
    output("model folder to write", "DIR"),
    ALLOW_MODULE,
)
def prune(arguments: Namespace) -> None:
    """Remove attention heads and layers whose gates are closed.

    The new model folder has fewer heads and layers and gives the same scores, but is smaller and
    faster. The model must have been trained with `gates = { kind = "hard_concrete" }` in [model].
    Commands with --model accept the new folder, and [transfer] can start from it.

    example: selfattn-bio prune --model results/mine/model \\
      --output results/mine/pruned
    """
    from selfattn_bio.scoring.pruning import prune

    before, after = prune(arguments.model, arguments.output)
    kept = [
        f"{new:,} of {old:,} {WORDS[name]}"
        for (name, new), old in zip(asdict(after).items(), asdict(before).values(), strict=True)
    ]
    LOG.info(f"kept {', '.join(kept)}; wrote {arguments.output}")
    if (before.heads, before.feedforwards) == (after.heads, after.feedforwards):
        LOG.info("no gate was closed; train with a larger penalty in [model] gates, or longer")

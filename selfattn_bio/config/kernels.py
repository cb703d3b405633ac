"""Capabilities of the attention kernels.

The checks of the run file and the choice of a kernel read the same table. To add a kernel, add a
line to `KERNELS` and a file with the function `run` to `attention/kernels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

# window: one undilated window (or all pairs), with or without global tokens; sampled: such a window
# with random blocks of a multiple of `BLOCK` tokens; joined: combined with other parts
PatternShape = Literal["window", "sampled", "joined", "other"]

BLOCK = 16  # tokens
PATTERN_REASONS: dict[tuple[PatternShape, ...], str] = {
    ("window", "sampled"): "the pattern is not one window with or without global tokens and random "
    f"blocks of a multiple of {BLOCK} tokens",
    ("sampled", "joined"): "the pattern is not one window combined with other parts",
}

SHORT = 64  # tokens; up to this length one tile holds all pairs
# tokens; up to this length all pairs take less time than a window and other parts one by one
SHORT_JOINED = 256
LONG = 4096  # tokens; "auto" does not use a bias per pair for longer sequences


@dataclass(frozen=True)
class Preferences:
    """Requests for which `kernel = "auto"` uses a kernel, of those that it can handle.

    Attributes
    ----------
    min_tokens, max_tokens
        Length of the sequences.
    min_bias_tokens, max_bias_tokens
        Length of the sequences if the position has a bias.
    full_only
        Only full attention.
    joined_tokens
        Length up to which it is also used for a window combined with other parts, with any bias.
    learned_bias
        Also a bias that needs a gradient.
    """

    min_tokens: int = 0
    max_tokens: int | None = None
    min_bias_tokens: int = 0
    max_bias_tokens: int | None = None
    full_only: bool = False
    joined_tokens: int = 0
    learned_bias: bool = True


@dataclass(frozen=True)
class Capabilities:
    """Requests that a kernel can handle. None: no restriction.

    Attributes
    ----------
    devices
        Types of device: cpu, cuda.
    dtypes
        Floating-point types of the queries.
    head_dims, min_head_dim
        Supported dimensions of a head.
    patterns
        Shapes of the pattern; empty: all.
    own_keys
        Positions with their own keys: shaw and transformer_xl.
    dropout
        Dropout of the attention weights.
    seeded
        Whether dropout is sampled from the seed of the request, and not by torch's generator.
    compiled
        Whether the kernel needs a C++ compiler.
    fallback_for
        Name of a faster kernel. If "auto" uses this kernel on a device of that one, a warning says
        why.
    auto
        When `kernel = "auto"` uses it.
    """

    devices: tuple[str, ...] | None = None
    dtypes: tuple[str, ...] | None = None
    head_dims: tuple[int, ...] | None = None
    min_head_dim: int = 1
    patterns: tuple[PatternShape, ...] = ()
    own_keys: bool = True
    dropout: bool = True
    seeded: bool = False
    compiled: bool = False
    fallback_for: str | None = None
    auto: Preferences = Preferences()

    def unsupported(
        self,
        *,
        pattern: PatternShape,
        own_keys: bool,
        head_dim: int,
        dropout: float,
        dtype: str | None = None,
    ) -> list[str]:
        """Return why the kernel cannot be used with such a layer; empty if it can.

        `dtype` is None if it is not known yet.
        """
        dims = self.head_dims
        reasons = {
            PATTERN_REASONS.get(self.patterns, ""): pattern not in (self.patterns or (pattern,)),
            "the position has its own keys": own_keys and not self.own_keys,
            f"it does not support {dtype}": dtype is not None
            and self.dtypes is not None
            and dtype not in self.dtypes,
            f"head_dim {head_dim} is not one of {dims}": dims is not None and head_dim not in dims,
            f"head_dim {head_dim} is less than {self.min_head_dim}": head_dim < self.min_head_dim,
            "it does not support dropout (set model.attention_dropout = 0)": dropout > 0
            and not self.dropout,
        }
        return [reason for reason, holds in reasons.items() if holds]


_compiled = partial(
    Capabilities,
    devices=("cpu",),
    dtypes=("float32", "bfloat16"),
    head_dims=(16, 32, 64),
    own_keys=False,
    seeded=True,
    compiled=True,
    auto=Preferences(min_tokens=SHORT + 1),
)

# `kernel = "auto"` tries the kernels in this order. On the CPU, band is the fastest one, also for
# full attention.
KERNELS = {
    # C++ on the CPU, compiled in the wheel or on first use: full attention or one window, with or
    # without global tokens and random blocks
    "band": _compiled(patterns=("window", "sampled")),
    # torch's fused attention over all pairs, also of short sequences under a joined pattern
    "sdpa": Capabilities(
        own_keys=False,
        auto=Preferences(
            full_only=True,
            joined_tokens=SHORT_JOINED,
            learned_bias=False,
            min_bias_tokens=SHORT + 1,
            max_bias_tokens=LONG,
        ),
    ),
    # plain torch that stores all pairs: the reference in tests, fast for few tokens
    "reference": Capabilities(auto=Preferences(max_tokens=SHORT)),
    # band for a window with its global tokens and random blocks, slab for the other parts
    "joint": _compiled(patterns=("sampled", "joined")),
    # FlexAttention on CUDA: any pattern, bias by distance, no dropout
    "flex": Capabilities(
        devices=("cuda",),
        dtypes=("float16", "bfloat16", "float32"),
        min_head_dim=16,
        own_keys=False,
        dropout=False,
    ),
    # plain torch in tiles: any pattern and position, memory proportional to the length
    "slab": Capabilities(seeded=True, fallback_for="flex"),
}

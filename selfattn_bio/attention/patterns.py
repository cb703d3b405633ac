"""Sparse patterns as rules: which query may attend to which key, from one rule in every form a kernel wants.

Hides: how a rule becomes a mask. The encoder builds one from the run file; kernels and tests ask it for masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from selfattn_bio import config


class Pattern(Protocol):
    """A rule that says, for a sequence of `length` tokens, which key each query may attend to."""

    def dense_mask(self, length: int, device: torch.device | None = None) -> Tensor | None:
        """(length, length) bool, True = may attend; rows are queries; None if the rule allows all."""


@dataclass(frozen=True)
class Full:
    """Each token attends to each; O(L^2)."""

    def dense_mask(self, length: int, device: torch.device | None = None) -> Tensor | None:
        """None: nothing is masked."""
        return None


@dataclass(frozen=True)
class Window:
    """Each token attends to `window` tokens on each side; the first `num_global` tokens attend to and are attended by all.

    With window 1 and num_global 0, token 3 attends to 2, 3, 4. Source: Beltagy et al. 2020 (Longformer); a window of w here is
    `attention_window = 2 w` of Hugging Face's.
    """

    window: int
    num_global: int = 0

    def dense_mask(self, length: int, device: torch.device | None = None) -> Tensor | None:
        """(length, length) bool, True = may attend."""
        at = torch.arange(length, device=device)
        is_global = at < self.num_global
        return ((at[:, None] - at[None, :]).abs() <= self.window) | is_global[:, None] | is_global[None, :]


def build_pattern(section: config.FullPattern | config.WindowPattern) -> Pattern:
    """The rule that the run file names."""
    if isinstance(section, config.WindowPattern):
        return Window(section.window, section.num_global)
    return Full()

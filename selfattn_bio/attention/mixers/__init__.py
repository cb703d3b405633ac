"""Kinds of attention, one file a kind, registered here: a new one is a class in `build_mixer` and a section in `config.Mixer`.

| kind | what a token takes | cost in L |
|---|---|---|
| `softmax` | a softmax over the pairs of the pattern | as the pattern |
| `dynamic` | a softmax over the blocks of keys near its query and those that could fit it best | L (top + 3) block + L^2 / block |
| `linear`, `performer` | means by products of features of query and key | L Dh, L features |
| `linformer` | a softmax over learned sums of all keys | L rank |
| `hierarchical` | of a window, and of all pooled tokens | L (2 window + 1) + (L / pool)^2 |
| `reformer` | a softmax over tokens that hash alike | L hashes 3 chunk |
"""

from __future__ import annotations

from selfattn_bio import config
from selfattn_bio.attention.mixers.base import Mixer
from selfattn_bio.attention.mixers.dynamic import Dynamic
from selfattn_bio.attention.mixers.hierarchical import Hierarchical
from selfattn_bio.attention.mixers.linear import Linear, Performer
from selfattn_bio.attention.mixers.linformer import Linformer
from selfattn_bio.attention.mixers.reformer import Reformer
from selfattn_bio.attention.mixers.softmax import Softmax
from selfattn_bio.attention.patterns import build_pattern


def build_mixer(section: config.AttentionModel) -> Mixer:
    """The kind of attention that the run file names, for one layer."""
    match section.mixer:
        case config.DynamicMixer() as mixer:
            return Dynamic(mixer.block, mixer.top)
        case config.LinearMixer():
            return Linear(section.head_dim)
        case config.PerformerMixer() as mixer:
            return Performer(section.num_heads, section.head_dim, mixer.features)
        case config.LinformerMixer() as mixer:
            return Linformer(mixer.max_length, mixer.rank)
        case config.HierarchicalMixer() as mixer:
            return Hierarchical(section.num_heads, mixer.window, mixer.pool)
        case config.ReformerMixer() as mixer:
            return Reformer(section.head_dim, mixer.num_buckets, mixer.chunk, mixer.hashes)
        case config.SoftmaxMixer():
            return Softmax(build_pattern(section.pattern), section.kernel)


__all__ = ["Dynamic", "Hierarchical", "Linear", "Linformer", "Mixer", "Performer", "Reformer", "Softmax", "build_mixer"]

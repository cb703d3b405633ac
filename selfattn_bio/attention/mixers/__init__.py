"""Kinds of attention ("mixers"), one file per kind.

To add one, write a class, add it to `build_mixer` and add its section to `config.AnyMixer`.

Costs count pairs of query and key per head. L is the number of tokens, Dh the dimension of a head;
the other names are keys of the mixer's section in `config`.

| kind | what a token attends to | cost in L |
|---|---|---|
| `softmax` | the pairs of the pattern | as the pattern |
| `dynamic` | keys in nearby blocks and in the best blocks | L (top + 3) block + L^2 / block |
| `linear`, `performer` | all keys, by products of features | L Dh, L features |
| `linformer` | learned sums of all keys | L rank |
| `hierarchical` | a window, and all pooled tokens | L (2 window + 1) + (L / pool)^2 |
| `reformer` | tokens with the same hash | L hashes 3 chunk |
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
    """Build the mixer of one layer, as [model] of the run file describes it."""
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

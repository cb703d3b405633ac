"""Test how methods are chosen, their settings, and methods that only read attention."""

from typing import get_args

import numpy as np
import pytest
import torch
from learners import HEADS, NO_STEM, SEQUENCES, scorer_of
from letters import ascii_of
from pydantic import TypeAdapter

from selfattn_bio import config
from selfattn_bio.attention.attend import weights
from selfattn_bio.attribution.explain import explain
from selfattn_bio.attribution.explanation import Explanation
from selfattn_bio.attribution.methods import (
    METHODS,
    AttentionMethod,
    AttnLRPCopies,
    BlockOcclusion,
    GradientRollout,
    Guided,
    IntegratedGradients,
    Received,
    Rollout,
    ValueRollout,
    build_method,
)
from selfattn_bio.attribution.targets import Target
from selfattn_bio.config.interpret import PlainMethod
from selfattn_bio.errors import ArgumentError


@pytest.mark.parametrize(
    "pattern",
    [
        {"kind": "full"},
        {"kind": "window", "window": 2, "num_global": 1},
        {"kind": "bigbird", "window": 1, "block": 4},
    ],
    ids=str,
)
def test_attention_methods_equal_their_formulas(pattern):
    scorer = scorer_of(NO_STEM | {"pattern": pattern, "members": 1, "num_kv_heads": 1}, k=1)
    letters = [ascii_of("ACGTACCATTGA"), ascii_of("ACGTAC")]
    (body,) = scorer.network.members
    kept = []
    handles = [
        block.attention.register_forward_pre_hook(
            lambda module, inputs: kept.append((module, *inputs))
        )
        for block in body.encoder.blocks
    ]
    handles += [
        block.attention.out.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0]))
        for block in body.encoder.blocks
    ]
    value = scorer.network(scorer.tokens_of(letters)).sum()
    gradients = dict(zip((0, 1), torch.autograd.grad(value, kept[1::2]), strict=True))
    for handle in handles:
        handle.remove()
    flows = {
        "rollout": np.eye(12)[None],
        "value_rollout": np.eye(12)[None],
        "gradient_rollout": np.eye(12)[None],
    }
    with torch.no_grad():
        for number, (module, x, mask) in enumerate(kept[::2]):
            q, k, v = module.qkv(x)
            found = weights(q, k, pattern=module.mixer.pattern, position=module.position, mask=mask)
            v = v.expand(-1, 2, -1, -1)
            projected = torch.einsum(
                "bhld,ohd->bhlo", v, module.out.weight.unflatten(1, (2, -1))
            ).norm(dim=-1)
            scaled = found * projected[:, :, None]
            scaled = (scaled / scaled.sum(-1, keepdim=True).clamp(min=1e-30)).mean(1)
            of_weights = gradients[number].unflatten(-1, (2, -1)).transpose(1, 2) @ v.transpose(
                -1, -2
            )
            eye = np.eye(12)
            flows["rollout"] = (found.mean(1).numpy() + eye) / 2 @ flows["rollout"]
            flows["value_rollout"] = (scaled.numpy() + eye) / 2 @ flows["value_rollout"]
            flows["gradient_rollout"] = (
                (found * of_weights).clamp(min=0).mean(1).numpy() + eye
            ) @ flows["gradient_rollout"]
    for method in (Rollout(), ValueRollout(), GradientRollout()):
        for row, (found, length) in enumerate(
            zip(method.attribution(scorer, letters, Target()), (12, 6), strict=True)
        ):
            start = (np.arange(12) < length) / length
            expected = start @ flows[method.name][row] - start * (method.name == "gradient_rollout")
            np.testing.assert_allclose(found, expected[:length], rtol=1e-3, atol=1e-7)


def test_outputs_are_selected_by_name():
    scorer, letters = HEADS["class"][0], ["ACGTACGTAC"]
    missing = 'the model has 3 outputs; choose one of a, b, c. For example, add target="c"'
    with pytest.raises(ArgumentError, match=missing):
        explain(scorer, letters)
    with pytest.raises(ArgumentError, match=r"target is \['a', 'b'\]; it must be one output"):
        explain(scorer, letters, target=["a", "b"])
    with pytest.raises(ArgumentError, match="no output 'd'; the outputs are a, b, c"):
        explain(scorer, letters, target=Target("d"))
    with pytest.raises(ValueError, match="no output 3; the outputs are numbered from 0 to 2"):
        explain(scorer, letters, target=Target(3))
    with pytest.raises(
        ValueError,
        match="objective 'multiclass' predicts complete sequences, so a target cannot have start",
    ):
        explain(scorer, letters, target=Target("a", 0, 3))
    for span in ((3, 3), (0, 11), (-1, 4)):
        with pytest.raises(
            ValueError, match=r"is not within the shortest sequence, which has length 10"
        ):
            explain(HEADS["letter of protein"][0], ["ACDEFGHIKL"], target=Target("H", *span))
    with pytest.raises(
        ValueError, match="contains no token of the shortest sequence, which has 8 tokens"
    ):
        explain(HEADS["masked k-mer"][0], letters, target=Target("ACG", 9))
    assert explain(scorer, letters, target="b").targets == ["b"]
    assert str(Target("-", 2, 5)) == "-[2, 5)"


def test_a_method_is_chosen_by_kind():
    for kind, cls in METHODS.items():
        method = build_method(TypeAdapter(config.AnyMethod).validate_python({"kind": kind}))
        assert method == cls()
    for section in get_args(get_args(config.AnyMethod)[0]):
        if section is not PlainMethod:
            assert build_method(section()).model_dump() == section().model_dump()
    assert build_method(config.GuidedMethod(fraction=0.3)) == Guided(fraction=0.3)
    assert build_method(config.BlocksMethod(width=5, by="random")) == BlockOcclusion(
        width=5, by="random"
    )
    assert {cls.name for cls in METHODS.values() if issubclass(cls, AttentionMethod)} == {
        "received",
        "rollout",
        "value_rollout",
        "gradient_rollout",
    }


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [
        (Guided, {"fraction": 1.5}),
        (AttnLRPCopies, {"share": 1.0}),
        (IntegratedGradients, {"steps": 0}),
        (BlockOcclusion, {"by": "hand"}),
    ],
)
def test_settings_out_of_range(cls, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        cls(**wrong)


def test_attention_methods_have_no_motifs_and_round_trip(tmp_path):
    explanation = explain(scorer_of(), SEQUENCES, method=Received())
    assert explanation.hypothetical.shape == (3, 20, 0)
    with pytest.raises(
        ValueError, match="method 'received' reads attention weights, but motifs need attributions"
    ):
        explanation.find_motifs()
    assert explanation.plot().axes[0].get_ylabel() == "received (raw attention)"
    explanation.save(tmp_path / "attribution")
    loaded = Explanation.load(tmp_path / "attribution")
    assert (loaded.method, loaded.is_attention) == ("received", True)
    np.testing.assert_array_equal(loaded.attribution[2], explanation.attribution[2])

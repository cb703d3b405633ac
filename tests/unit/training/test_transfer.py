"""Test the optimizer, and which weights move in a network that starts from a parent."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from selfattn_bio import config
from selfattn_bio.errors import ModelFolderError, RunFileError
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import save_model
from selfattn_bio.training.optimizer import (
    build_optimizer,
    learning_rate,
    optimizer_tensors,
    restore_optimizer,
    set_rates,
)
from selfattn_bio.training.recipes import both_strands
from selfattn_bio.training.transfer import (
    adapt,
    freeze_batchnorm,
    layer_of,
    merge_lora,
    rate_of_layer,
    start_from,
)

SMALL = {"embed_dim": 8, "num_layers": 2, "num_heads": 2, "feedforward_dim": 16, "dropout": 0.0}
MODEL = config.AttentionModel(
    **SMALL, members=1, stem=config.ConvStemSection(token_dim=4, kernel=5, second_kernel=3)
)
PRETRAINED = config.RunFile(
    data=config.Data(sequences=("s",)), objective=config.MaskedObjective(), model=MODEL
)
CALIBRATED = {"slope": 1.0, "threshold": 0.5}


def binary(model=MODEL, **sections):
    return config.RunFile(
        data=config.Data(positives=("p",), negatives=("n",)), model=model, **sections
    )


@pytest.fixture
def parent(tmp_path):
    torch.manual_seed(1)
    network = build_network(PRETRAINED)
    save_model(tmp_path, PRETRAINED, network.state_dict(), {"calibration": CALIBRATED})
    return tmp_path, network.state_dict()


def started(parent, run=None, **transfer):
    run = run or binary()
    torch.manual_seed(2)
    network = build_network(run)
    section = config.Transfer(parent=f"{parent[0]}/", **transfer)
    start_from(network, run, section, "model")
    adapt(network, section)
    return network


@pytest.mark.parametrize("strands", ["given", "shared"])
def test_weights_except_head_come_from_parent(parent, strands):
    run = binary(MODEL.model_copy(update={"strands": strands}))
    fresh = build_network(run)
    for name, weight in started(parent, run).state_dict().items():
        if ".head." not in name:
            assert torch.equal(weight, parent[1][name])
        else:
            assert weight.shape == fresh.state_dict()[name].shape


@pytest.mark.parametrize("records", [1_000, 100_000])
def test_shipped_parent_fits_the_recipe_both_strands(records):
    recipe, transfer = both_strands(records, 101), config.Transfer(parent="motifs")
    model, tokens = config.AttentionModel(**recipe.model), config.Tokens(**recipe.tokens)
    run = binary(model, tokens=tokens)
    network = build_network(run)
    start_from(network, run, transfer, "model")
    weights = load_file(transfer.folder / "model.safetensors")
    for name, weight in network.state_dict().items():
        if ".head." not in name:
            assert torch.equal(weight, weights[name.replace("members.1.", "members.0.")]), name


def test_dilated_cnn_starts_from_embedding_and_stem(tmp_path):
    sizes = {"token_dim": 4, "channels": (8,), "kernels": (5, 3), "pools": (2, 2)}
    tower = config.TowerStemSection(**sizes, residual_kernel=3)
    start = MODEL.model_copy(update={"stem": tower})
    torch.manual_seed(1)
    weights = build_network(binary(start)).state_dict()
    weights = {name: weight.contiguous() for name, weight in weights.items()}
    save_model(tmp_path, binary(start), weights, {"calibration": CALIBRATED})
    objective = config.BinsObjective(points="p.bed")
    dilated = config.DilatedModel(embed_dim=SMALL["embed_dim"], stem=tower, dilations=(1,))
    run = config.RunFile(data=config.Data(sequences=("s",)), objective=objective, model=dilated)
    found = started((tmp_path, weights), run).state_dict()
    same = {name for name in found.keys() & weights if torch.equal(found[name], weights[name])}
    assert {name for name in found if name.startswith("embedding.") or ".stem." in name} == same
    assert len(same) > 10


def test_members_start_from_parent_members_in_turn(parent):
    network = started(parent, binary(MODEL.model_copy(update={"members": 2})))
    first, second = (member.encoder.blocks[0].attention.out.weight for member in network.members)
    assert torch.equal(first, second)
    assert not torch.equal(*(member.head.classify[1].weight for member in network.members))


def test_unsuitable_parent_is_refused(parent):
    with pytest.raises(RunFileError, match=r"tokens\.k is 2, but the parent has 3"):
        started(parent, binary(tokens=config.Tokens(k=2)))
    rotary = binary(MODEL.model_copy(update={"position": config.RotaryPosition()}))
    with pytest.raises(RunFileError, match=r"model\.position is .*rotary"):
        started(parent, rotary)
    with pytest.raises(ModelFolderError, match=r"none: the folder is missing"):
        started((parent[0] / "none", None))


@pytest.mark.parametrize(
    ("kind", "moving"),
    [("all", None), ("frozen", {".head."}), ("lora", {".head.", ".down", ".up"})],
)
def test_frozen_weights_do_not_move(parent, kind, moving):
    network = started(parent, adapt=kind, lora_rank=2)
    names = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    all_names = {name for name, _ in network.named_parameters()}
    assert names == {n for n in all_names if moving is None or any(part in n for part in moving)}
    freeze_batchnorm(network.train())
    norms = [each for each in network.modules() if isinstance(each, nn.BatchNorm1d)]
    # fixed layers keep their running statistics
    assert [each.training for each in norms] == [moving is None] * 2
    optimizer = build_optimizer(network, config.Training())
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(names)


def test_lora_starts_as_parent_and_merges(parent):
    plain, adapted = started(parent).eval(), started(parent, adapt="lora", lora_rank=2).eval()
    tokens = torch.randint(4, 68, (3, 40))
    torch.testing.assert_close(plain(tokens), adapted(tokens))
    for name, parameter in adapted.named_parameters():
        if name.endswith(".up"):
            nn.init.normal_(parameter, std=0.1)
    moved = adapted(tokens)
    assert not torch.allclose(plain(tokens), moved, atol=1e-4)
    again = build_network(binary()).eval()
    again.load_state_dict(merge_lora(adapted))  # names are those of a network without LoRA
    torch.testing.assert_close(again(tokens), moved)
    # the network is unchanged, because several evaluations are merged one by one
    torch.testing.assert_close(adapted(tokens), moved)
    out, name = adapted.members[0].encoder.blocks[0].attention.out, "encoder.blocks.0.attention.out"
    (lora,) = out.parametrizations["weight"]
    before = parent[1][f"members.0.{name}.weight"]
    torch.testing.assert_close(out.weight, before + lora.up @ lora.down)
    assert not any(".head." in name and ".down" in name for name in adapted.state_dict())
    assert merge_lora(adapted).keys() == again.state_dict().keys()


def test_layers_are_counted_from_the_input(parent):
    network = started(parent)
    layers = {name: layer_of(name, 2) for name, _ in network.named_parameters()}
    assert layers["embedding.weight"] == layers["members.0.stem.first.weight"] == 0
    assert layers["members.0.encoder.blocks.1.attention.out.weight"] == 2
    above = ("members.0.encoder.norm.weight", "members.0.head.classify.1.weight")
    assert [layers[name] for name in above] == [3, 3]
    assert set(layers.values()) == {0, 1, 2, 3}


def test_learning_rates_by_layer_and_gradual_thawing():
    decay = config.Transfer(parent="p", layer_decay=0.5)
    assert [rate_of_layer(layer, 2, 0, decay) for layer in range(4)] == [0.125, 0.25, 0.5, 1.0]
    gradual = config.Transfer(parent="p", adapt="gradual", unfreeze_every=10)
    moving = {9: [0, 0, 0, 1], 10: [0, 0, 1, 1], 25: [0, 1, 1, 1], 30: [1, 1, 1, 1]}
    for step, rates in moving.items():
        assert [rate_of_layer(layer, 2, step, gradual) for layer in range(4)] == rates
    assert rate_of_layer(0, 2, 0, None) == 1


def test_frozen_layers_do_not_take_steps(parent):
    network = started(parent, adapt="gradual").train()
    optimizer = build_optimizer(network, config.Training(), lambda name: layer_of(name, 2))
    tokens = torch.randint(4, 68, (3, 40), generator=torch.Generator().manual_seed(0))
    names = {parameter: name for name, parameter in network.named_parameters()}

    def moved_by_a_step(factor_of):
        before = {name: value.clone() for name, value in network.state_dict().items()}
        freeze_batchnorm(network, factor_of)
        network(tokens).square().sum().backward()
        own = [parameter.grad for parameter, name in names.items() if factor_of(layer_of(name, 2))]
        expected = torch.stack([gradient.norm() for gradient in own]).norm()
        set_rates(optimizer, 1e-3, factor_of)
        norm = nn.utils.clip_grad_norm_(network.parameters(), 1e9)
        torch.testing.assert_close(norm, expected)
        optimizer.step()
        optimizer.zero_grad()
        after = network.state_dict()
        return {layer_of(name, 2) for name in after if not torch.equal(after[name], before[name])}

    # running statistics of the stem stay too
    assert moved_by_a_step(lambda layer: float(layer == 3)) == {3}
    assert {layer_of(names[parameter], 2) for parameter in optimizer.state} == {3}
    assert moved_by_a_step(lambda layer: 1.0) == {0, 1, 2, 3}
    assert {group["lr"] for group in optimizer.param_groups} == {1e-3}


TRAINING = config.Training(learning_rate=0.1, warmup_steps=10, max_steps=110)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("cosine", [0.1, 0.05, 0.0]),
        ("linear", [0.1, 0.05, 0.0]),
        ("inverse_sqrt", [0.1 * (10 / step) ** 0.5 for step in (11, 61, 111)]),
        ("constant", [0.1, 0.1, 0.1]),
    ],
)
def test_schedules_after_the_warm_up(schedule, expected):
    training = TRAINING.model_copy(update={"schedule": schedule})
    rates = [learning_rate(step, training) for step in (0, 4, 9)]
    assert rates == pytest.approx([0.01, 0.05, 0.1])
    assert [learning_rate(step, training) for step in (10, 60, 110)] == pytest.approx(expected)
    no_warmup = training.model_copy(update={"warmup_steps": 0})
    assert learning_rate(0, no_warmup) == pytest.approx(0.1)


def test_adam_decays_by_the_gradient():
    layer = nn.Linear(2, 1)
    optimizer = build_optimizer(layer, config.Training(optimizer="adam", weight_decay=0.5))
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.param_groups[0]["weight_decay"] == 0.5


def test_only_weights_of_layers_decay():
    layers = (nn.Linear(4, 4), nn.Conv1d(4, 4, 3), nn.Conv2d(4, 4, (1, 3)))
    network = nn.Sequential(*layers, nn.Embedding(5, 4), nn.LayerNorm(4))
    decayed, others = build_optimizer(network, TRAINING).param_groups
    assert [id(p) for p in decayed["params"]] == [id(layer.weight) for layer in layers]
    assert decayed["weight_decay"] == 0.01
    assert others["weight_decay"] == 0
    assert len(others["params"]) == 6


def test_optimizer_resumes_exactly():
    def fresh():
        torch.manual_seed(0)
        network = nn.Linear(3, 1)
        return network, build_optimizer(network, TRAINING)

    def step(network, optimizer, seed):
        torch.manual_seed(seed)
        network(torch.randn(8, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    network, optimizer = fresh()
    step(network, optimizer, 1)
    kept = {name: tensor.clone() for name, tensor in optimizer_tensors(optimizer).items()}
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    step(network, optimizer, 2)

    other, other_optimizer = fresh()
    other.load_state_dict(weights)
    restore_optimizer(other_optimizer, kept)
    step(other, other_optimizer, 2)
    assert torch.equal(other.weight, network.weight)

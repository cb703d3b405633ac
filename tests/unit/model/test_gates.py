"""Test gates and pruning: values, penalty, equal scores and attributions."""

from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch
from commands import exit_code
from commands import run as run_command
from gated_networks import V, run_of, section_of, tokens
from torch.testing import assert_close

from selfattn_bio import config
from selfattn_bio.attribution.capture import has_attention, read_attention
from selfattn_bio.attribution.explain import explain
from selfattn_bio.attribution.methods import AttnLRP, Gradient, Rollout
from selfattn_bio.errors import ArgumentError, RunFileError
from selfattn_bio.model.build import build_members, build_network
from selfattn_bio.model.checkpoint import CARD, load_model, save_model
from selfattn_bio.model.classifier import Network
from selfattn_bio.model.gates import HardConcrete, expected_open
from selfattn_bio.model.pruning import prune_network
from selfattn_bio.scoring.pruning import prune
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.scoring.table import score_sequences
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.kmers import KmerTokenizer

SETTINGS = {
    "learned": {"max_length": 40},
    "shaw": {"max_distance": 6},
    "transformer_xl": {"max_distance": 6},
    "linformer": {"max_length": 40, "rank": 8},
    "dynamic": {"block": 2, "top": 2},
    "reformer": {"num_buckets": 4, "chunk": 8},
    "hierarchical": {"window": 4, "pool": 4},
    "performer": {"features": 16},
}


def each_kind(union):
    """Yield kind and section of each kind of a part of the model."""
    for section in get_args(get_args(union)[0]):
        kind = section.model_fields["kind"].default
        yield kind, section(**SETTINGS.get(kind, {}))


CASES = {
    **{f"position {kind}": {"position": each} for kind, each in each_kind(config.AnyPosition)},
    **{
        f"mixer {kind}": {"mixer": each, "position": config.NoPositionSection()}
        for kind, each in each_kind(config.AnyMixer)
    },
    "t5 in hierarchical": {"mixer": config.HierarchicalMixer(window=4, pool=4)},
    "grouped": {"num_kv_heads": 2, "position": config.AlibiPosition()},
    "stem": {"stem": config.ConvStemSection(token_dim=6, kernel=5, pool=2, second_kernel=3)},
    "cls": {"head": config.ClsHeadSection()},
}
# Gate values of the heads and the feed-forward in each of three layers, for two members.
OPEN = (
    [([1, 0, 0.4, 1], 0.7), ([0, 0, 0, 0], 0), ([1, 1, 1, 1], 1)],
    [([0, 0, 0, 0], 0.5), ([0, 1, 0, 0], 0), ([0.2, 0, 0, 0], 1)],
)


def set_gate(gates, values):
    """Set weights so that the gates have these values after training."""
    gate = torch.tensor(values, dtype=torch.float64)
    odds = ((gate + 0.1) / 1.2).logit()
    odds = torch.where(gate == 0, -9.0, torch.where(gate == 1, 9.0, odds))
    gates.weight.data = ((odds - 2) / 10).to(gates.weight.dtype)


def gated_network(section):
    torch.manual_seed(0)
    network = build_network(run_of(section)).double().eval()
    for parameter in network.parameters():  # zero biases would hide changes
        parameter.data += 0.1 * torch.randn_like(parameter)
    for member, layers in zip(network.members, OPEN, strict=True):
        for block, (heads, feedforward) in zip(member.encoder.blocks, layers, strict=True):
            set_gate(block.attention.gates, heads[: len(block.attention.gates.weight)])
            set_gate(block.feedforward_gate, [feedforward])
    return network


def pruned(section, network):
    """Prune a copy; return its run file and a network built from it with the pruned weights."""
    copied = build_network(run_of(section)).double()
    copied.load_state_dict(network.state_dict())
    run = prune_network(run_of(section), copied)
    rebuilt = build_network(run).double().eval()
    rebuilt.load_state_dict(copied.state_dict())
    return run, rebuilt


def write(folder, section, **sections):
    """Write a model folder of a gated network."""
    network = gated_network(section).float()
    provenance = {
        "calibration": {"slope": 1.0, "threshold": 0.5},
        "best_step": 5,
        "seed": 0,
    }
    folder.mkdir()
    save_model(folder, run_of(section, **sections), network.state_dict(), provenance)
    pd.DataFrame({"step": [5], "valid_auroc": [0.8]}).to_csv(folder / "history.csv", index=False)
    (folder / "train.json").write_text("{}")
    return folder


# gates
def test_gates_are_random_only_in_training():
    gates = HardConcrete(2, cost=1.0)
    x = torch.ones(2000, 4, 3)
    torch.manual_seed(0)
    drawn = gates(x).detach()
    assert_close(drawn[:, :1], drawn[:, 1:2])  # grouped heads share one gate
    assert 0 < float((drawn == 0).float().mean()) < 0.1
    assert_close(
        float((drawn[:, ::2, 0] > 0).float().mean()),
        float(gates.chance_open()[0].detach()),
        atol=0.01,
        rtol=0,
    )
    assert len(torch.unique(gates.eval()(x))) == 1
    assert_close(gates(x)[0, 0, 0], gates.values()[0])


def test_penalty_is_fraction_of_open_weights():
    section = section_of(gates=config.HardConcreteGates(penalty=0.3), members=1)
    network = Network(build_members(section), V, gate_penalty=section.gates.penalty)
    assert_close(network.penalty(), 0.3 * expected_open(network))
    for gates in network.modules():
        if isinstance(gates, HardConcrete):
            gates.weight.data.fill_(9.0)
    assert float(network.penalty().detach()) == pytest.approx(0.3)
    block = network.members[0].encoder.blocks[0]
    block.feedforward_gate.weight.data.fill_(-9.0)  # 2 x 32 x 16 of 3 x (4 x 32 x 32 + 2 x 32 x 16)
    assert float(network.penalty().detach()) == pytest.approx(
        0.3 * (1 - 1024 / (3 * (4096 + 1024)))
    )
    assert Network(build_members(section_of(gates=config.NoGates())), V).penalty() == 0.0


def test_penalty_closes_unused_gates():
    """The penalty alone closes every gate."""
    torch.manual_seed(0)
    section = section_of(members=1, num_layers=1)
    network = Network(build_members(section), V, gate_penalty=section.gates.penalty).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        network.penalty().backward()
        optimizer.step()
    assert all(
        bool((gates.values() == 0).all())
        for gates in network.modules()
        if isinstance(gates, HardConcrete)
    )


# pruning
@pytest.mark.parametrize("case", CASES)
def test_pruned_network_scores_as_gated_one(case):
    section = section_of(**CASES[case])
    network = gated_network(section)
    run, smaller = pruned(section, network)
    groups = section.num_kv_heads or section.num_heads
    for member, layers, gates in zip(smaller.members, OPEN, run.model.gates.members, strict=True):
        heads = [
            [number for number, gate in enumerate(each[:groups]) if gate] for each, _ in layers
        ]
        assert [list(layer.heads) for layer in gates] == heads
        kept = [
            bool(each or feedforward) for each, (_, feedforward) in zip(heads, layers, strict=True)
        ]
        assert len(member.encoder.blocks) == sum(kept)
    x = tokens()
    assert_close(smaller(x), network(x), rtol=0, atol=1e-10)
    assert_close(smaller.float()(x), network.float()(x), rtol=0, atol=1e-5)
    count = [
        sum(parameter.numel() for parameter in each.parameters()) for each in (smaller, network)
    ]
    assert count[0] < 0.8 * count[1]


def test_closed_head_has_no_effect():
    """Weights behind closed gates change nothing, so they can be removed."""
    section = section_of()
    network = gated_network(section)
    before, block = network(tokens()), network.members[0].encoder.blocks[1]
    for parameter in (*block.attention.qkv.parameters(), *block.feedforward.parameters()):
        parameter.data += 1.0
    assert_close(network(tokens()), before, rtol=0, atol=0)


def test_network_can_be_pruned_completely():
    section = section_of(num_layers=3)
    network = gated_network(section)
    for gates in network.modules():
        if isinstance(gates, HardConcrete):
            gates.weight.data.fill_(-9.0)
    run, smaller = pruned(section, network)
    assert [len(member.encoder.blocks) for member in smaller.members] == [0, 0]
    assert_close(smaller(tokens()), network(tokens()), rtol=0, atol=1e-10)
    smaller.train()(tokens()).sum().backward()  # and can be trained further
    scorer = Scorer(run, KmerTokenizer(DNA, 1), smaller.eval())
    assert not has_attention(scorer)
    with pytest.raises(
        ValueError,
        match="all attention heads of a member were pruned",
    ):
        read_attention(scorer, ["ACGT" * 5])
    # the head reads the tokens
    assert explain(scorer, ["ACGT" * 5], method=AttnLRP()).hypothetical[0].any()


def test_pruned_folder_is_a_model_folder(tmp_path, capsys):
    folder = write(tmp_path / "gated", section_of())
    run_command(f"prune --model {folder} --output {tmp_path}/pruned")
    assert (
        "prune: kept 9 of 24 heads, 4 of 6 feed-forward blocks, 5 of 6 layers"
        in capsys.readouterr().out
    )
    (tmp_path / "a.fa").write_text("".join(f">{i}\n{'ACGTTGCA' * (i + 1)}\n" for i in range(4)))
    tables = [score_sequences(tmp_path / name, tmp_path / "a.fa") for name in ("gated", "pruned")]
    assert np.abs(tables[0]["logit"] - tables[1]["logit"]).max() < 1e-5
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("gated", "pruned")]
    assert sizes[1] < 0.8 * sizes[0]
    run, network, provenance = load_model(tmp_path / "pruned")
    assert (
        load_model(folder)[2]["weights_sha256"]
        == provenance["pruned_from"]
        != provenance["weights_sha256"]
    )
    assert config.run_file_of((tmp_path / "pruned" / "run.toml").read_text(), tmp_path) == run
    assert "pruned to 9 heads and 4 feed-forward blocks" in (tmp_path / "pruned" / CARD).read_text()
    assert (tmp_path / "pruned" / "train.json").exists()
    (tmp_path / "pruned/top").mkdir()  # as in a model that keeps several best evaluations
    before, after = prune(folder, tmp_path / "pruned")  # replaces it
    assert (before.heads, after.heads, after.layers, before.layers) == (24, 9, 5, 6)
    assert (
        after.parameters
        == sum(parameter.numel() for parameter in network.parameters())
        < before.parameters
    )
    assert exit_code(f"prune --model {tmp_path}/pruned --output {tmp_path}/again") == 1
    assert "the model is already pruned" in capsys.readouterr().err


def test_prune_refuses_its_input_as_output(tmp_path, capsys):
    folder = write(tmp_path / "gated", section_of())
    before = (folder / "run.toml").read_bytes()
    assert exit_code(f"prune --model {folder} --output {tmp_path}/./gated") == 1
    assert "the pruned model cannot replace its original in" in capsys.readouterr().err
    assert (folder / "run.toml").read_bytes() == before


def test_other_models_have_no_gates():
    for section in (section_of(gates=config.NoGates()), config.CnnModel()):
        run = run_of(section)
        network = build_network(run)
        with pytest.raises(ArgumentError, match="the model has no gates to prune"):
            prune_network(run, network)


# interpretation
def test_gated_and_pruned_models_have_equal_attributions():
    section = section_of()
    network = gated_network(section)
    run, smaller = pruned(section, network)
    scorers = [
        Scorer(each, KmerTokenizer(DNA, 1), of)
        for each, of in ((run_of(section), network), (run, smaller))
    ]
    records = ["ACGTTGCAACGT", "TTTTGACCA"]
    for method in (AttnLRP(), Gradient()):
        found = [explain(scorer, records, method=method) for scorer in scorers]
        for one, other in zip(*(each.hypothetical for each in found), strict=True):
            assert one == pytest.approx(other, abs=1e-6)
            assert np.abs(one).max() > 1e-4
    reading = read_attention(scorers[1], records)
    assert [layer.q.shape[1] for layers in reading.layers for layer in layers] == [3, 4, 1, 1]
    whole = read_attention(scorers[0], records)
    assert whole.received_by_head().shape == (2, 3, 4, 2, 12)
    with pytest.raises(
        ValueError,
        match=r"\(layers, heads\) are \[\(2, 1\), \(2, 3\), \(2, 4\)\]",
    ):
        reading.received_by_head()
    kept = [
        whole.received_by_head()[at] for at in ((0, 0, [0, 2, 3]), (0, 2), (1, 1, [1]), (1, 2, [0]))
    ]
    assert reading.received() == pytest.approx(np.concatenate(kept).mean(0), abs=1e-6)
    assert explain(scorers[1], records, method=Rollout()).attention is not None


def test_value_norms_and_gradients_include_gates():
    section = section_of(members=1)
    torch.manual_seed(0)
    run = run_of(section)
    network = build_network(run).double().eval()
    scorer = Scorer(run, KmerTokenizer(DNA, 1), network)
    set_gate(network.members[0].encoder.blocks[0].attention.gates, [1, 1, 1, 1])
    whole = read_attention(scorer, ["ACGTTGCA"]).norms[0][0]
    set_gate(network.members[0].encoder.blocks[0].attention.gates, [1, 0.5, 0, 1])
    scale = torch.tensor([1, 0.5, 0, 1])[:, None]
    assert_close(read_attention(scorer, ["ACGTTGCA"]).norms[0][0], whole * scale.to(whole))


# run file
def test_gates_in_run_file(tmp_path):
    text = '[data]\npositives = "a.fa"\nnegatives = "b.fa"\n[model]\nkind = "attention"\n'
    run = config.run_file_of(
        text + 'gates = { kind = "hard_concrete", penalty = 0.1 }\n',
        tmp_path,
    )
    assert run.model.gates.penalty == 0.1
    plain = config.run_file_of(text, tmp_path).model.model_dump()
    assert "gates" not in plain  # models without them are written as before
    layer, one = "{ heads = [0], feedforward = true }", "members = 1\nnum_layers = 1\ngates ="
    for wrong, words in {
        'gates = { kind = "hard" }': "unknown kind 'hard' in [model.gates]; choose "
        "one of 'none', 'hard_concrete', 'pruned'",
        'gates = { kind = "hard_concrete", penalty = -1.0 }': "invalid value -1.0 for "
        "key 'penalty' in [model.gates]; expected at least 0",
        f'members = 2\ngates = {{ kind = "pruned", members = [[{layer}]] }}': "gates.members "
        "has length 1, but members is 2",
        f'members = 1\ngates = {{ kind = "pruned", members = [[{layer}]] }}': "a member of "
        "gates.members has length 1, but num_layers is 2",
        one + ' { kind = "pruned", members = [[{ heads = [4], feedforward = true }]] '
        "}": "gates.members contains head 4, but the last head is 3",
        one + ' { kind = "pruned", members = [[{ heads = [1, 0], feedforward = true }]] '
        "}": "heads [1, 0] are not sorted",
    }.items():
        with pytest.raises(RunFileError) as error:
            config.run_file_of(text + wrong, tmp_path)
        assert words in str(error.value)

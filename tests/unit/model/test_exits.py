"""Test exits: which records leave at which layer, and how the threshold is chosen."""

import numpy as np
import pytest
import torch
from gated_networks import EXITS, V, run_of, section_of, tokens
from torch.testing import assert_close

from selfattn_bio import config
from selfattn_bio.model.build import build_members, build_network
from selfattn_bio.model.classifier import Network
from selfattn_bio.model.exits import THRESHOLDS, choose_exits, settled, through_all_layers
from selfattn_bio.scoring.paired_scorer import scorer_of
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.scoring.windows import GenomeWindows, strand_logits
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.kmers import KmerTokenizer


# exits
def test_models_without_exits_have_no_depths():
    letters = np.frombuffer(b"ACGTACGTACGTACGT", dtype=np.uint8)
    for section in (section_of(gates=config.NoGates()), config.CnnModel()):
        scorer = scorer_of(run := run_of(section), build_network(run).eval())
        with pytest.raises(
            ValueError,
            match=r"this model has no early exits \(model.exits\)",
        ):
            scorer.readings([letters])
    with pytest.raises(ValueError, match="a model of kind 'cnn' has no encoder blocks"):
        scorer.depths([letters])


def test_exits_are_chosen_on_scored_strands():
    run = run_of(
        section_of(exits=EXITS, gates=config.NoGates()),
        evaluation=config.EvaluationSection(strands="both"),
    )
    torch.manual_seed(0)
    network = build_network(run).double().eval()
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    scorer, letters = (
        scorer_of(run, network),
        [np.frombuffer(text, np.uint8) for text in (b"ACGTTGCATTGACCAT", b"TTTTGACAACGT")],
    )
    readings = torch.from_numpy(scorer.readings(letters))
    threshold = float(torch.sigmoid(readings.abs()).median())
    for member in network.members:
        member.exits.threshold.fill_(threshold)
    outputs, depths = settled(readings, threshold)
    np.testing.assert_allclose(outputs.mean(1), scorer.outputs(letters), rtol=1e-6)
    np.testing.assert_allclose(depths.double().mean(1), scorer.depths(letters))
    assert depths.unique().numel() > 1


def test_training_reads_every_exit():
    network = Network(build_members(section_of(exits=EXITS, gates=config.NoGates())), V)
    assert network.train()(tokens()).shape == (5, 6, 1)  # two members of three layers
    network.eval()
    readings = network.readings(tokens())
    assert readings.shape == (5, 2, 3, 1)
    assert_close(readings[:, :, -1], network(tokens()))  # without a threshold: the last layer
    plain = Network(build_members(section_of(gates=config.NoGates())), V).eval()
    weights = network.state_dict()
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    assert_close(plain(tokens()), network(tokens()))


@pytest.mark.parametrize("num_outputs", [1, 3])
def test_record_exits_at_first_certain_layer(num_outputs):
    torch.manual_seed(0)
    network = (
        Network(build_members(section_of(exits=EXITS, gates=config.NoGates()), num_outputs), V)
        .double()
        .eval()
    )
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    readings = network.readings(tokens(40)).detach()
    threshold = (
        float(torch.sigmoid(readings.abs()).median())
        if num_outputs == 1
        else float(readings.softmax(-1).amax(-1).median())
    )
    rows = []

    def count(module, inputs, output):
        rows.append(len(output))

    for member in network.members:
        member.exits.threshold.fill_(threshold)
    handles = [block.register_forward_hook(count) for block in network.members[0].encoder.blocks]
    outputs, depths = settled(readings, float(network.members[0].exits.threshold))
    assert_close(network(tokens(40)), outputs)
    goes_on = [int((depths[:, 0] > done).sum()) for done in range(3)]
    assert rows == [number for number in goes_on if number]  # records that exited are not computed
    assert 40 > rows[1] > 0
    assert_close(network.depths(tokens(40)), depths)
    for handle in handles:
        handle.remove()
    with through_all_layers(network):
        assert_close(network(tokens(40)), readings[:, :, -1])
    assert float(network.members[0].exits.threshold) == pytest.approx(threshold)


def test_exit_threshold_keeps_allowed_drop():
    """The first of two layers is right except in ten uncertain records, which it calls wrongly."""
    sign = torch.arange(100) % 2 * 2.0 - 1
    first = 4 * sign
    first[:10] = -0.5 * sign[:10]
    readings = torch.stack([first, 5 * sign], 1)[:, None, :, None]

    def accuracy(outputs):
        return float(((outputs[:, 0] > 0) == (sign > 0)).double().mean())

    choice = choose_exits(readings, accuracy, drop=0.0)
    assert torch.sigmoid(torch.tensor(0.5)) < choice.threshold < torch.sigmoid(torch.tensor(4.0))
    assert (choice.worth, choice.worth_of_all_layers, choice.mean_layers) == (
        1.0,
        1.0,
        pytest.approx(1.1),
    )
    assert choose_exits(readings, accuracy, drop=0.11).threshold == min(THRESHOLDS)
    readings[:, 0, 0, 0] = -9 * sign
    assert choose_exits(readings, accuracy, drop=0.11).threshold == float("inf")


def test_exit_search_stops_at_first_large_drop():
    # for all layers, the highest threshold, the next one
    values = iter([1.0, 1.0, 0.5, *[1.0] * len(THRESHOLDS)])
    assert choose_exits(torch.randn(8, 1, 2, 1), lambda _: next(values), drop=0.1).threshold == max(
        THRESHOLDS
    )


def test_genome_scan_with_exits_equals_windows():
    section = section_of(
        gates=config.NoGates(),
        exits=EXITS,
        stem=config.ConvStemSection(token_dim=6, kernel=5, pool=2, second_kernel=3),
    )
    torch.manual_seed(0)
    network = build_network(run_of(section)).double().eval()
    for member in network.members:
        member.exits.threshold.fill_(0.5 + 1e-9)
    scorer = Scorer(run_of(section), KmerTokenizer(DNA, 1), network)
    letters = np.frombuffer(("ACGTTGCATTAG" * 20).encode(), np.uint8)[:220]
    found = strand_logits(scorer, letters, GenomeWindows(60, 20))[0]
    assert found == pytest.approx(
        scorer.logits([letters[start : start + 60] for start in range(0, 161, 20)]), abs=1e-9
    )
    assert 1 <= scorer.depths([letters]).item() <= 3

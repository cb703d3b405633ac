"""Loss, metrics, strands and bias of objective `profile`."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyBigWig
import pytest
import torch
from scipy.stats import multinomial

from selfattn_bio import config
from selfattn_bio.baselines import BASELINES, Setup, load_baseline
from selfattn_bio.errors import CorpusError, IntervalError, ModelFolderError
from selfattn_bio.model.build import build_network
from selfattn_bio.objectives import objective_of
from selfattn_bio.objectives.profile import halves, with_bias
from selfattn_bio.scoring.paired_scorer import scorer_of
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.policy import SequencePolicy

PAIR = {"a": ("a+.bw", "a-.bw"), "b": ("b+.bw", "b-.bw")}
RNG = np.random.default_rng(0)
MODELS = [
    {"kind": "attention", "members": 1, "embed_dim": 8, "num_layers": 1, "num_heads": 2},
    {"kind": "dilated", "embed_dim": 8, "stem": {"kind": "conv", "pool": 1}, "dilations": [1, 2]},
]


def section(tracks=PAIR, width=10, **more):
    return config.ProfileObjective(tracks=tracks, width=width, **more)


def network_of(model, objective):
    data = {"genome": "g.fa", "sequences": "p.bed"}
    run = config.RunFile.model_validate(
        {"data": data, "objective": objective.model_dump(), "model": model}
    )
    return scorer_of(run, build_network(run).eval())


def test_loss_formulas():
    objective = objective_of(section(scale=(4.0, 2.0), counts_weight=0.5))
    counts = RNG.poisson(2, (3, 1, 2, 2, 10)).astype(np.float32)
    outputs = torch.randn(3, 1, 20, 4)
    loss = objective.loss(None, None, None)
    batch = loss.batch(None, counts)
    total, expected = loss.sum(outputs, batch.targets).item(), 0.0
    for row, true in zip(outputs[:, 0].double().numpy(), counts, strict=True):
        for track, scale in enumerate((4, 2)):
            flat = true[0, track].ravel()
            p = np.exp(row[:, 2 + track]) / np.exp(row[:, 2 + track]).sum()
            likelihood = -multinomial.logpmf(flat.astype(int), int(flat.sum()), p)
            error = row[0, track] - np.log(flat.sum() + 1)
            expected += likelihood / scale + 0.5 * error**2
    assert batch.num_targets == 3
    assert total == pytest.approx(expected, rel=1e-5)


def test_metrics_formulas():
    objective = objective_of(section(scale=(1.0, 1.0)))
    counts = RNG.poisson(2, (6, 1, 2, 2, 10)).astype(np.float32)
    counts[0, 0, 0] = 0  # a record without counts has no profile
    outputs = RNG.normal(size=(6, 20, 4)).astype(np.float32)
    found, means, correlations = objective.measure(outputs, counts), [], []
    for track in range(2):
        distances = []
        for row, true in zip(outputs, counts, strict=True):
            p, q = np.exp(row[:, 2 + track]), true[0, track].ravel()
            if q.sum():
                p, q = p / p.sum(), q / q.sum()
                m = (p + q) / 2
                each = [np.sum(x[x > 0] * np.log(x[x > 0] / m[x > 0])) for x in (p, q)]
                distances.append(np.sqrt(sum(each) / 2))
        true = np.log1p(counts[:, 0, track].sum((1, 2)))
        means.append(np.mean(distances))
        correlations.append(np.corrcoef(outputs[:, 0, track], true)[0, 1])
    assert found["jsd"] == pytest.approx(np.mean(means), rel=1e-5)
    assert found["pearson"] == pytest.approx(np.mean(correlations), rel=1e-5)
    assert found["jsd_replicates"] > 0
    some = objective.measurer(outputs, counts)(np.array([1, 1, 3]))
    assert some["loss"] == pytest.approx(
        objective.measure(outputs[[1, 1, 3]], counts[[1, 1, 3]])["loss"]
    )
    one, other = halves(np.full((2, 500), 3.0), np.random.default_rng(0))
    assert (one + other == 3).all()
    assert one.mean() == pytest.approx(1.5, abs=0.1)


def test_views_move_counts_and_swap_strands():
    objective = objective_of(section({"a": ("a+.bw", "a-.bw")}, width=4))
    counts = np.arange(20, dtype=np.float32).reshape(1, 1, 2, 10)  # + has 0 to 9, - has 10 to 19
    targets = np.empty(1, object)
    targets[0] = counts
    flat = objective.flat(objective.targets_of_views(targets, [(1, 9, False)]))
    assert flat.ravel().tolist() == [3, 4, 5, 6, 13, 14, 15, 16]
    other = objective.flat(objective.targets_of_views(targets, [(1, 9, True)]))
    assert other.ravel().tolist() == flat.ravel()[::-1].tolist()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("tracks", [PAIR, {"a": ("a.bw",)}])
def test_network_outputs(model, tracks):
    objective = section(tracks, 20, scale=(7.0,) * len(tracks))
    scorer = network_of(model, objective)
    rows = [RNG.choice(np.frombuffer(b"ACGT", np.uint8), length) for length in (50, 62, 50)]
    outputs = objective_of(objective).read(scorer, rows)
    assert outputs.shape == (3, 20 * objective.num_strands, 2 * len(tracks))
    assert (outputs[..., : len(tracks)] == outputs[:, :1, : len(tracks)]).all()
    alone = objective_of(objective).read(scorer, rows[:1])  # padding changes nothing
    np.testing.assert_allclose(outputs[0], alone[0], atol=1e-5)
    counts, logits = np.split(outputs.astype(float), 2, axis=-1)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    shape = (p * (logits - logits.mean(1, keepdims=True))).sum(1)
    np.testing.assert_allclose(scorer.outputs(rows), np.hstack([counts[:, 0], shape]), atol=1e-5)
    run = scorer.run.model_copy(
        update={"training": config.Training(reverse_complement=True, shift=0)}
    )
    both = scorer_of(run, scorer.network)
    other = [scorer.alphabet.reverse_complement(row) for row in rows]
    of_strands = [objective_of(objective).read(both, each) for each in (rows, other)]
    np.testing.assert_allclose(of_strands[0], of_strands[1][:, ::-1], atol=1e-5)


def test_strands_are_averaged_base_by_base():
    objective, gc = objective_of(section({"a": ("a.bw",)}, width=4)), b"CG"
    row = np.frombuffer(b"ACGTTGCATGC", np.uint8)

    def network(rows):  # whether each of the middle bases is C or G, for both outputs
        start = (rows.shape[1] - 4) // 2
        found = np.isin(rows[:, start : start + 4], list(gc))
        return torch.tensor(found, dtype=torch.float32)[:, None, :, None].expand(-1, 1, 4, 2)

    scorer = SimpleNamespace(
        run=SimpleNamespace(both_strands=True),
        alphabet=DNA,
        network=network,
        tokens_of=np.stack,
        batches=lambda rows: [[i] for i in range(len(rows))],
        stacked=lambda outputs, letters: outputs,
    )
    found = objective.read(scorer, [row, row[:10]])[..., 0]
    assert found.tolist() == [np.isin(row[3:7], list(gc)).tolist()] * 2


@pytest.mark.parametrize("name", ["mean_profile", "kmer6_linear", "kmer6_trees"])
@pytest.mark.parametrize("strands", ["given", "both"])
def test_baselines_of_log_counts(name, strands, tmp_path):
    """A word multiplies the counts; those of the second track have a bias as well."""
    files = {name: (f"{name}.bw",) for name in "ab"}
    of_bias = {"b": ("bias.bw",)}
    objective = objective_of(section(files, 20, scale=(5.0, 5.0), bias=of_bias))
    letters, targets = {}, {}
    for split, number in (("train", 150), ("valid", 60), ("test", 60)):
        rows, rates = RNG.choice(np.frombuffer(b"ACGT", np.uint8), (number, 60)), np.ones(number)
        rows[::2, 20:28], rates[::2] = np.frombuffer(b"TGACTCAT", np.uint8), 4
        rates = rates[:, None, None, None]
        counts = RNG.poisson(rates, (number, 2, 1, 60)).astype(np.float32)
        bias = RNG.poisson(5.0 * np.arange(2)[:, None, None], (number, 2, 1, 60))
        letters[split] = list(rows)
        targets[split] = np.stack([counts + bias, bias], 1).astype(np.float32)
    setup = Setup(SequencePolicy(DNA), strands, section=objective.section, threads=1)
    model = BASELINES[name](setup).fit(
        letters["train"], targets["train"], letters["valid"], targets["valid"]
    )
    outputs = model.read(letters["test"])
    mean = np.log(objective.flat(targets["train"])[:, 0].sum(0) + 1).T
    np.testing.assert_allclose(outputs[3, :, 2:], mean, rtol=1e-6)
    summary = objective.record_outputs(torch.from_numpy(outputs), None)
    np.testing.assert_allclose(model.outputs(letters["test"]), summary, atol=1e-5)
    r2 = objective.measure(objective.joined(targets["test"], outputs), targets["test"])["r2"]
    assert r2 < 0.3 if name == "mean_profile" else r2 > 0.5
    of_count, of_shape = (model.substitution_effects(letters["test"][:2], i) for i in (0, 3))
    assert np.any(of_count) == (name != "mean_profile")
    assert not np.any(of_shape)
    model.save(tmp_path / "saved")
    np.testing.assert_array_equal(load_baseline(tmp_path / "saved").read(letters["test"]), outputs)
    other = objective.section.model_copy(update={"width": 30})
    card = json.loads((tmp_path / "saved/baseline.json").read_text())
    card["objective"] = other.model_dump(mode="json")
    (tmp_path / "saved/baseline.json").write_text(json.dumps(card))
    with pytest.raises(ModelFolderError, match=r"mean_profile has shape \(20, 2\), not \(30, 2\)"):
        load_baseline(tmp_path / "saved")


def test_bias_joins_logits_and_counts():
    outputs, bias = torch.randn(2, 6, 2), torch.rand(2, 1, 6) + 0.5
    outputs[..., 0], bias[1] = 1.5, 0
    joined = with_bias(outputs, bias)
    torch.testing.assert_close(joined[0, :, 1], outputs[0, :, 1] + bias[0, 0].log())
    counts = outputs[0, :, 0].exp() + bias[0].sum() + 1
    torch.testing.assert_close(joined[0, :, 0].exp(), counts)
    assert (joined[1] == outputs[1]).all()


def test_targets_of_files(tmp_path: Path):
    values = {"+": [1, 0, 2, 3, 0, 4], "-": [0, 5, 0, 0, 6, 0]}
    for strand, row in values.items():
        with pyBigWig.open(str(tmp_path / f"{strand}.bw"), "w") as file:
            file.addHeader([("chr1", 8)])
            file.addEntries("chr1", 1, values=[float(x) for x in row], span=1, step=1)
    files = tuple(str(tmp_path / f"{strand}.bw") for strand in values)
    objective = objective_of(section({"a": files}, width=2))
    records = pd.DataFrame(
        {"id": ["x", "y"], "chrom": "1", "start": [0, 0], "length": [4, 4], "strand": ["+", "-"]}
    )
    targets = objective.targets(pd.DataFrame(), records, "")
    assert targets[0][0, 0].tolist() == [[0, 1, 0, 2], [0, 0, 5, 0]]
    assert targets[1][0, 0].tolist() == [[0, 5, 0, 0], [2, 0, 1, 0]]
    done = objective.complete(pd.DataFrame(), records, "")
    assert done.scale == (6.0,)
    assert set(done.sha256) == set(files)
    with pytest.raises(IntervalError, match="the track has no chromosome 'chr2'"):
        objective.targets(pd.DataFrame(), records.assign(chrom="chr2"), "")


def test_truth_of_shape():
    objective = objective_of(section({"a": ("a.bw",)}, width=100))
    counts = np.zeros((3, 1, 1, 1, 100), np.float32)
    counts[0], counts[1, ..., :10], counts[2, ..., 0] = 1, 10, 1  # even, concentrated, one count
    even, concentrated, one = objective.outputs[1].truth(counts)
    assert even < 0 < concentrated
    assert one == 0
    assert concentrated == pytest.approx(np.log((10 * 90 + 1) / (100 * 99 / 100 + 1)))


def test_tracks_without_counts(caplog):
    objective = objective_of(section({"a": ("a.bw",)}, width=2, bias={"a": ("b.bw",)}))
    targets = np.ones((3, 2, 1, 1, 4), np.float32)
    objective.check_split(targets, "train", "", "")
    assert not caplog.messages
    targets[0] = 0
    objective.check_split(targets, "train", "", "")
    message = "b.bw: no value, and so no bias, in 1 record of the training split"
    assert caplog.messages == [message]
    targets[:, 1] = 0
    with pytest.raises(CorpusError, match=r"b.bw: the track has no count in the records"):
        objective.check_split(targets, "train", "", "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tracks": {"a": "a.bw", "b": ["b+.bw", "b-.bw"]}}, "give each of tracks one file"),
        ({"bias": {"c": "c.bw"}}, "not one of tracks"),
        ({"bias": {"a": ["c+.bw", "c-.bw"]}}, "bias.a has 2 files, but the track needs 1"),
        ({"tracks": {"a": "a.bw", "a_shape": "b.bw"}}, "followed by _shape"),
    ],
)
def test_bad_settings(change, message):
    values = {"kind": "profile", "tracks": {"a": "a.bw"}} | change
    with pytest.raises(ValueError, match=message):
        config.ProfileObjective.model_validate(values)

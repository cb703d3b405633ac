"""Train, evaluate, score and explain a stacked model as one model."""

import json
import re
import shutil
import signal
from dataclasses import make_dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import small_task as st
from commands import exit_code, run

from selfattn_bio import explain, load, score_sequences
from selfattn_bio.attribution.explanation import Explanation
from selfattn_bio.attribution.methods import Saturation
from selfattn_bio.baselines import BASELINES, Setup
from selfattn_bio.config import BinaryObjective, read_run_file
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.objectives import objective_of
from selfattn_bio.objectives.base import Answer, Examples
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.scoring.stack import Stack, fitted_parts
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.study.baselines import fit_baselines, predict_networks
from selfattn_bio.training import finalize
from selfattn_bio.training.stacking import fit_stack

RUN = """
split = { kind = "random", valid_fraction = 0.3, test_fraction = 0.3 }
tokens.k = 1
stack.parts = ["kmer6_logistic", "exact_positions"]
interpret = { max_sequences = 8, method = { kind = "gradient" } }
training.shift = 0
model = { members = 2, embed_dim = 8, feedforward_dim = 8 }
"""
LETTERS = [np.frombuffer(b"ACGTACGTACTATAGCGCATTACG", np.uint8)]


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Train and evaluate a task in a folder; positives have TATA at position 10."""
    folder = tmp_path_factory.mktemp("stacked")
    rng = np.random.default_rng(0)
    positives, negatives = (st.random_texts(rng, 150, 24) for _ in range(2))
    positives = [text[:10] + "TATA" + text[14:] for text in positives]
    st.write_fasta(folder / "positives.fa", positives)
    st.write_fasta(folder / "negatives.fa", negatives)
    (folder / "run.toml").write_text(st.small(RUN))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        st.run_steps("ingest split train evaluate explain")
    return folder


@pytest.fixture
def changed(task, here):
    """Return a function that copies the task, with changes of its run file and another model."""

    def change(changes="", model=task / "model"):
        shutil.rmtree("changed", ignore_errors=True)
        st.copy_task(task, here / "changed", model)
        (here / "changed/run.toml").write_text(st.small(RUN, changes))
        return here / "changed"

    return change


def test_stack_beats_untrained_network(task):
    metrics = st.read_json(task / "metrics.json")
    test = metrics["test"]
    assert metrics["sizes"]["model"] == {"networks": 2, "trainings": 1}
    stack, network = (
        entry["auroc"]["value"] for entry in (test["model"], test["baselines"]["network"])
    )
    assert stack > 0.95
    assert network < stack


def test_evaluate_saves_stack_parts_as_baselines(task):
    files = [task / of / "exact_positions/baseline.json" for of in ("model/stack", "baselines")]
    part, baseline = map(st.read_json, files)
    assert part["arrays_sha256"] == baseline["arrays_sha256"]
    number = st.read_json(task / "model/provenance.json")["num_train"]
    assert {part.records for part in fitted_parts(task / "model").values()} == {number}


def test_scores_and_predictions_use_the_stack(task):
    model = load(task / "model")
    assert model.stack is not None
    logits = model.logits(st.letters_of(task, "test"))
    ids = st.corpus_of(task).records["id"].iloc[st.rows_of(task, "test")]
    table = st.read_tsv(task / "predictions/test.tsv").set_index("id")
    np.testing.assert_allclose(table.loc[ids, "model_logit"], logits, rtol=1e-4)
    sequences = ["ACGTACGTACTATAGCGCATTACG", "ACGTACGTACGCGCGCGCATTACG"]
    scores = score_sequences(model, sequences)["logit"]
    letters = [np.frombuffer(text.encode(), np.uint8) for text in sequences]
    np.testing.assert_allclose(scores, model.logits(letters), rtol=1e-6)
    assert scores[0] > scores[1]


def test_explain_includes_stack_parts(task):
    found = Explanation.load(task / "attribution")
    attribution = np.stack(found.attribution)
    planted = attribution[:, 10:14].mean()
    assert planted > 3 * np.delete(attribution, np.s_[10:14], axis=1).mean()


def test_stop_between_parts_keeps_checkpoint(task, changed, monkeypatch):
    folder, fitted = changed(model=None), []

    def fit_and_stop(setup, name, *rest, fit=finalize.fit_part):
        fitted.append(name)
        if len(fitted) == 1:
            signal.raise_signal(signal.SIGTERM)
        return fit(setup, name, *rest)

    monkeypatch.setattr(finalize, "fit_part", fit_and_stop)
    assert exit_code("train", folder, "--threads", 1) == 128 + signal.SIGTERM
    assert fitted == ["kmer6_logistic"]
    assert not (folder / "model").exists()
    st.run_steps("train", folder)
    assert fitted[1:] == ["kmer6_logistic", "exact_positions"]
    again, first = (st.read_json(of / "model/provenance.json") for of in (folder, task))
    assert again["calibration"] == first["calibration"]
    assert first["calibration"]["strands"] == "given"


def test_evaluate_runs_the_network_once(task, changed, monkeypatch):
    asked = []

    def network_outputs(self, letters, outputs=Scorer.network_outputs):
        asked.append(len(letters))
        return outputs(self, letters)

    monkeypatch.setattr(Scorer, "network_outputs", network_outputs)
    folder = changed()
    run("evaluate", folder)
    assert len(asked) == 2  # validation and test
    again, first = (st.read_json(of / "metrics.json")["test"] for of in (folder, task))
    assert again["model"] == first["model"]
    assert again["baselines"]["network"] == first["baselines"]["network"]


SCORER = make_dataclass("Scorer", ["run", "calibration", "stack", "read"])


def test_variants_get_the_parts_of_the_model():
    """They have weights and a calibration of their own; the network of the model has its name.

    Stacked predictions of validation records are from weights fitted to the other records.
    """
    rng, labels = np.random.default_rng(0), np.arange(200) % 2
    own, part = labels + rng.normal(size=200), 3 * labels + rng.normal(size=200)
    baseline = SimpleNamespace(name="part", outputs=lambda letters: part[:, None])
    stack = Stack((baseline,), np.array([[2.0], [1.0]]), np.array([0.5]))
    records = SimpleNamespace(inputs=lambda *_: None, letters={"valid": labels, "test": labels})
    examples = {split: Examples(None, labels) for split in records.letters}
    binary, found = objective_of(BinaryObjective()), {}
    run = SimpleNamespace(is_control=lambda: False, model=None)
    for name, logits, of in (("model", own, stack), ("other", -own, None)):
        scorer = SCORER(run, Calibration(), of, lambda inputs, logits=logits: logits[:, None])
        candidate = SimpleNamespace(members=lambda scorer=scorer: [scorer])
        found |= predict_networks(
            binary, name, candidate, records, examples, records.letters, [baseline]
        )
    assert list(found) == ["model", "network", "other", "other+stack"]
    logits = {name: of.logits["test"] for name, of in found.items()}
    np.testing.assert_allclose(logits["model"], 2 * own + part + 0.5)
    assert np.array_equal(logits["network"], own)
    assert np.array_equal(logits["other"], -own)
    assert np.corrcoef(logits["other+stack"], part)[0, 1] > 0.999  # the network has weight 0
    assert found["network"].calibration == Calibration.fit(own, labels)
    assert found["other"].calibration == Calibration()
    answers = [Answer("label", labels)]
    held_out = {
        of: fit_stack(logits[:, None], [baseline], labels, answers)[1][:, 0]
        for of, logits in (("model", own), ("other+stack", -own))
    }
    for name, of in held_out.items():
        assert np.array_equal(found[name].logits["valid"], of)
    assert found["other+stack"].calibration == Calibration.fit(held_out["other+stack"], labels)


def test_weights_of_a_control_are_not_fitted_again():
    """They were fitted to shuffled labels."""
    labels = np.arange(200) % 2
    own = labels + np.random.default_rng(0).normal(size=200)
    baseline = SimpleNamespace(name="part", outputs=lambda letters: 3.0 * labels[:, None])
    stack = Stack((baseline,), np.array([[2.0], [1.0]]), np.array([0.5]))
    run = SimpleNamespace(is_control=lambda: True, model=None)
    scorer = SCORER(run, Calibration(), stack, lambda inputs: own[:, None])
    letters = {"valid": labels, "test": labels}
    found = predict_networks(
        objective_of(BinaryObjective()),
        "model",
        SimpleNamespace(members=lambda: [scorer]),
        SimpleNamespace(inputs=lambda *_: None, letters=letters),
        {split: Examples(None, labels) for split in letters},
        letters,
        [baseline],
    )
    np.testing.assert_allclose(found["model"].logits["valid"], 2 * own + 3 * labels + 0.5)


def test_part_with_other_settings_is_fitted_again(task, caplog):
    run = read_run_file(task / "run.toml")
    rng = np.random.default_rng(0)
    bases, splits = np.frombuffer(b"ACGT", np.uint8), ("train", "valid", "test")
    letters = {split: list(rng.choice(bases, (40, 24))) for split in splits}
    labels = {split: np.arange(40) % 2 for split in letters}
    fit_to = letters["train"], labels["train"], letters["valid"], labels["valid"]
    setups = (Setup(SequencePolicy(DNA), strands) for strands in ("given", "both"))
    given, both = (BASELINES["kmer6_logistic"](setup).fit(*fit_to) for setup in setups)
    records = SimpleNamespace(letters=letters, corpus=SimpleNamespace(alphabet=DNA, partner=None))
    caplog.set_level("INFO")
    for part, origin in ((given, "reused from the stack of the model"), (both, r"fitted in \S+ s")):
        caplog.clear()
        objective = objective_of(run.objective)
        examples = {split: Examples(None, labels[split]) for split in ("valid", "test")}
        parts = {"kmer6_logistic": part}
        fitted, _ = fit_baselines(objective, records, run, labels, parts, examples)
        assert re.search(rf"(?m)^kmer6_logistic \(.*\) {origin}$", "\n".join(caplog.messages))
        found = fitted["kmer6_logistic"].model
        assert found.setup.strands == "given"
        again, first = (each.logits(letters["test"]) for each in (found, given))
        np.testing.assert_allclose(again, first, rtol=1e-6)


def train_second(folder):
    """Train the second of two members with the parts of the model."""
    return exit_code("train", folder / "members/2", "--threads", 1)


def test_second_member_reuses_parts_of_first(changed, monkeypatch, capsys):
    """Settings that parts ignore may differ; calibration uses held-out logits."""
    fits = []

    def record(network, parts, letters, answers, fit=finalize.fit_stack):
        fits.append((answers[0].values, fit(network, parts, letters, answers)[1][:, 0]))
        return fit(network, parts, letters, answers)

    monkeypatch.setattr(finalize, "fit_stack", record)
    monkeypatch.setattr(finalize, "fit_part", None)  # a call would fail
    monkeypatch.setattr("selfattn_bio.training.stacking.NEGLIGIBLE", 1)  # leaves out both parts
    folder = changed("training.seeds = 2\nevaluation.bootstraps = 30")
    assert train_second(folder) == 0
    log = capsys.readouterr().out
    assert f"stack: reusing {BASELINES['exact_positions'].title} of another member" in log
    left_out = "kmer6_logistic left out (negligible), exact_positions left out (negligible); valid"
    assert re.search(rf"stack: weights network \S+, {re.escape(left_out)}", log)
    models = [folder / "model", folder / "members/2/model"]
    first, second = map(fitted_parts, models)
    assert first.keys() == second.keys() == {"kmer6_logistic", "exact_positions"}
    assert all(first[name].logits(LETTERS) == second[name].logits(LETTERS) for name in first)
    one, two = (st.read_json(model / "provenance.json") for model in models)
    assert one["weights_sha256"] != two["weights_sha256"]
    [(labels, held_out)] = fits
    assert two["calibration"] == {**vars(Calibration.fit(held_out, labels)), "strands": "given"}


STACK, POSITIONAL = 'stack.parts = ["kmer6_logistic"', "kmer6_positional_logistic"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ('training.labels = "shuffled"', "fitted with another value of training.labels"),
        (f'{STACK}, "{POSITIONAL}"]', f"its stack has no part '{POSITIONAL}'"),
        (f'{STACK}]\nevaluation.strands = "both"', "of its stack was fitted with other strands"),
    ],
)
def test_parts_of_another_run_are_refused(changed, changes, message, capsys):
    assert train_second(changed(f"training.seeds = 2\n{changes}")) == 1
    assert message in capsys.readouterr().err


OTHER = """
data = { sequences = "r.fa", targets = "t.tsv" }
split = { kind = "random", valid_fraction = 0.3, test_fraction = 0.2 }
tokens.k = 1
stack.parts = ["exact_positions_linear", "kmer6_linear"]
training.shift = 0
"""
OTHER_KINDS = {
    "regression": "objective = { kind = 'regression', columns = ['height', 'width'] }\n",
    "multiclass": "objective = { kind = 'multiclass', column = 'family' }\n",
}


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Train and evaluate a task of each objective; targets are sums of effects of each base."""
    rng = np.random.default_rng(0)
    texts = st.random_texts(rng, 200, 16)
    codes = DNA.codes(np.array([list(text.encode()) for text in texts], np.uint8))
    sums = rng.normal(size=(3, 16, 4))[:, np.arange(16), codes].sum(axis=2)
    height, width, _ = sums + rng.normal(size=sums.shape)
    family = np.array(list("xyz"))[sums.argmax(axis=0)]
    columns = {"height": height, "width": 50 + 20 * width, "family": family}
    table = pd.DataFrame({"id": [f"r{i}" for i in range(200)], **columns})
    table.loc[::9, ["width", "family"]] = None
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in OTHER_KINDS}
    for kind, folder in folders.items():
        st.write_fasta(folder / "r.fa", texts)
        table.to_csv(folder / "t.tsv", sep="\t", index=False)
        (folder / "run.toml").write_text(st.small(OTHER, OTHER_KINDS[kind]))
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            st.run_steps("ingest split train evaluate")
    return folders


@pytest.mark.parametrize(
    ("kind", "metric", "sign"), [("regression", "mse", -1), ("multiclass", "mcc", 1)]
)
def test_stack_of_other_objectives(others, kind, metric, sign):
    valid = st.read_json(others[kind] / "metrics.json")["valid"]
    parts = ("exact_positions_linear", "kmer6_linear")
    stack, network, *alone = (
        sign * entry[metric]["value"]
        for entry in (valid["model"], *(valid["baselines"][name] for name in ("network", *parts)))
    )
    assert len(st.read_json(others[kind] / "model/stack/weights.json")["weights"]) > 1
    assert stack > network
    assert stack >= max(alone)


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_other_objectives_are_scored_and_explained(others, kind):
    """Effects are those of rescoring, in the units of the column."""
    folder = others[kind]
    model, letters = load(folder / "model"), st.letters_of(folder, "test")[:2]
    found = model.outputs(letters)
    ids = st.corpus_of(folder).records["id"].iloc[st.rows_of(folder, "test")][:2]
    table = st.read_tsv(folder / "predictions/test.tsv").set_index("id").loc[ids]
    predicted = model.objective.predictions(found)
    names = model.objective.section.output_names
    np.testing.assert_allclose(table[list(names)].astype(float), predicted, rtol=1e-4)
    texts = [row.tobytes().decode() for row in letters]
    explained = explain(model, texts, method=Saturation(), target=names[1])
    for row, sequence in enumerate(letters):
        mutants = np.tile(sequence, (len(sequence), 4, 1))
        for position in range(len(sequence)):
            mutants[position, :, position] = list(b"ACGT")
        values = model.outputs(list(mutants.reshape(-1, len(sequence))))[:, 1].reshape(-1, 4)
        values = values * model.objective.outputs[1].scale
        expected = values - values.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(explained.hypothetical[row], expected, atol=1e-3)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("stored['bias'].pop()", "weights.network has 2 values for 1 outputs"),
        ("[of.pop() for of in (stored['bias'], *stored['weights'].values())]", "bias has 1 values"),
        ("stored['weights']['network'][1] = -0.5", "weights.network.1: "),
        ("stored['bias'][0] = float('inf')", "bias.0: "),
    ],
)
def test_damaged_weights_of_several_outputs(others, tmp_path, damage, message):
    shutil.copytree(others["regression"] / "model", tmp_path / "model")
    path = tmp_path / "model/stack/weights.json"
    stored = st.read_json(path)
    exec(damage, {"stored": stored})
    path.write_text(json.dumps(stored))
    with pytest.raises(ModelFolderError, match=re.escape(f"weights.json: {message}")):
        load(tmp_path / "model")

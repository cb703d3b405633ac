"""Test exported networks: scores in onnxruntime, encoders in `transformers`, and refusals."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from commands import exit_code
from learners import (
    BINS,
    CLASSES,
    CNN,
    HEADS,
    LETTERS,
    MARKS,
    NO_STEM,
    NUMBERS,
    POOLED,
    SEVERAL,
    WINDOWED,
    learner,
    scorer_of,
    targets_learner,
)
from pretrained_folders import make_folder

from selfattn_bio import config, export_model, load
from selfattn_bio.errors import ArgumentError, MissingPackageError, OutputError
from selfattn_bio.model.build import build_network
from selfattn_bio.model.pretrained.folder import transformers
from selfattn_bio.scoring.export import ScoreNetwork, _tokens
from selfattn_bio.scoring.paired_scorer import PairedScorer
from selfattn_bio.scoring.scorer import Ensemble, Scorer
from selfattn_bio.sequence.kmers import tokenizer_of

LENGTHS = ([5], [12, 60, 31], [150, 9])


def binary(model=POOLED, both=False, **tokens):
    found = learner({"kind": "binary"}, model, positives="a", negatives="b", **tokens)
    training = found.run.training.model_copy(update={"reverse_complement": both})
    return replace(found, run=found.run.model_copy(update={"training": training}))


def placed(kind, **settings):
    window = {"kind": "window", "window": 5, "num_global": 1}
    return NO_STEM | {"members": 1, "pattern": window, "position": {"kind": kind, **settings}}


def pretrained(folder, name, alphabet="protein", **objective):
    run = config.RunFile(
        data={"alphabet": alphabet, **({} if objective else {"positives": "a", "negatives": "b"})}
        | ({"sequences": "s", "targets": "t"} if objective else {}),
        model={"kind": "pretrained", "folder": str(make_folder(folder / name, name))},
        objective=objective or {"kind": "binary"},
        training={"reverse_complement": False} if alphabet == "dna" else {},
    )
    network = build_network(run)
    network.read_weights()
    return Scorer(run, tokenizer_of(run), network.eval())


LONG = {
    "members, both strands, k-mers": binary(WINDOWED | {"num_layers": 1}, both=True, k=3),
    **{
        name: HEADS[name][0] for name in ("class", "label", "number", "part", "letter, pooled stem")
    },
    "bins": learner(BINS, WINDOWED, sequences="s"),
    "cnn": binary(CNN),
    "shared strands": binary(POOLED | {"strands": "shared"}, k=3),
    "alibi": binary(placed("alibi")),
    "t5": binary(placed("t5")),
    "shaw": binary(placed("shaw", max_distance=20)),
    "transformer_xl": binary(placed("transformer_xl", max_distance=20)),
    "sinusoidal": binary(placed("sinusoidal")),
    "learned": binary(placed("learned", max_length=200)),
    "strided": binary(NO_STEM | {"pattern": {"kind": "strided", "stride": 3}}),
    "block_local": binary(NO_STEM | {"pattern": {"kind": "block_local", "block": 7}}),
    "bigbird": binary(NO_STEM | {"pattern": {"kind": "bigbird", "window": 3, "block": 4}}),
    "two folders": Ensemble((scorer_of(k=3), scorer_of(CNN, k=3))),
}


def onnx_scores(path, tokens):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["scores"], {"tokens": tokens.numpy()})[0]


def sequences(scorer, lengths):
    rng, letters = np.random.default_rng(1), scorer.alphabet.letters.encode()
    return [rng.choice(np.frombuffer(letters, np.uint8), length) for length in lengths]


def expected(scorer, letters):
    """Return the scores without a stack, rows of all positions for outputs per position."""
    members = scorer.members
    if scorer.objective.section.is_per_record:
        outputs = np.mean([each.network_outputs(letters).mean(1) for each in members], 0)
    else:
        outputs = members[0].network(members[0].tokens_of(letters)).mean(1).detach().numpy()
    return scorer.objective.exported[0](torch.from_numpy(outputs)).numpy()


@pytest.mark.parametrize(
    "scorer",
    [pytest.param(HEADS["letter of protein"][0], id="labels per position")]
    + [pytest.param(each, id=name, marks=pytest.mark.long) for name, each in LONG.items()],
)
def test_onnx_scores_are_those_of_the_model(scorer, tmp_path):
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    found = export_model(scorer, tmp_path / "m.onnx")
    first = scorer.members[0]
    for lengths in LENGTHS:
        letters = sequences(scorer, lengths)
        letters[0][2] = ord(scorer.alphabet.unknown)
        tokens = first.tokens_of(letters)
        scores, wanted = onnx_scores(found.path, tokens), expected(scorer, letters)
        assert scores.shape == wanted.shape
        if wanted.ndim == 3:  # outputs at padding are arbitrary
            inside = first.is_real(tokens).numpy()
            scores, wanted = scores[inside], wanted[inside]
        np.testing.assert_allclose(scores, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("model", [POOLED, NO_STEM, WINDOWED])
def test_longest_sequence_of_a_table_of_positions(model):
    """Stems pool tokens, and heads may put vectors in front of them."""
    scorer = binary(model | {"position": {"kind": "learned", "max_length": 20}})
    longest = _tokens(scorer)["longest"]
    scorer.outputs(sequences(scorer, [longest]))
    with pytest.raises(ArgumentError, match="max_length"):
        scorer.outputs(sequences(scorer, [longest + 1]))


def test_exported_network_averages_strands_and_members():
    scorer = LONG["members, both strands, k-mers"]
    letters = sequences(scorer, [12, 60, 31])
    found = ScoreNetwork(scorer.members).eval()(scorer.tokens_of(letters)).detach()
    np.testing.assert_allclose(found, expected(scorer, letters), rtol=0, atol=1e-4)


SCALED = NUMBERS | {"center": [1.0, 2.0], "scale": [3.0, 0.5]}
SEVERAL_KINDS = SEVERAL | {"parts": SEVERAL["parts"] | {"number": SCALED | {"columns": ["b", "d"]}}}


@pytest.mark.parametrize(
    "section",
    [CLASSES, MARKS, SCALED, NUMBERS | {"loss": "poisson"}, SEVERAL_KINDS, LETTERS],
    ids=["classes", "marks", "numbers", "counts", "several", "labels"],
)
def test_exported_numbers_are_those_of_the_score_table(section):
    objective = targets_learner(section).objective
    outputs = np.random.default_rng(0).normal(size=(3, 5, len(objective.section.output_names)))
    found = objective.exported[0](torch.from_numpy(outputs)).numpy()
    np.testing.assert_allclose(found, objective.predictions(outputs), rtol=1e-6)


FAMILIES = [("esm2", "protein"), pytest.param("dnabert", "dna", marks=pytest.mark.long)]
FAMILIES += [pytest.param("protbert", "protein", marks=pytest.mark.long)]


@pytest.mark.parametrize(("name", "alphabet"), FAMILIES)
def test_onnx_reads_tokens_of_published_vocabularies(name, alphabet, tmp_path):
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    scorer = pretrained(tmp_path, name, alphabet)
    found = export_model(scorer, tmp_path / "m.onnx")
    for lengths in LENGTHS:
        letters = sequences(scorer, lengths)
        pieces = scorer.network.vocabulary(scorer.tokens_of(letters))
        scores = onnx_scores(found.path, pieces.ids)
        np.testing.assert_allclose(scores, expected(scorer, letters), rtol=0, atol=1e-4)
    assert found.metadata["pad"] == scorer.network.vocabulary.pad


@pytest.mark.parametrize(("name", "alphabet"), [("esm2", "protein"), ("dnabert", "dna")])
def test_transformers_loads_an_exported_encoder(name, alphabet, tmp_path):
    scorer = pretrained(tmp_path, name, alphabet)
    for weight in scorer.network.parameters():  # as after training
        weight.data += 0.05 * torch.randn_like(weight)
    folder = export_model(scorer, tmp_path / "out", to="huggingface").path
    library = transformers()
    model = library.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = library.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    pieces = scorer.network.vocabulary(scorer.tokens_of(sequences(scorer, [20, 9])))
    assert len(tokenizer) == len(library.AutoTokenizer.from_pretrained(tmp_path / name))
    with torch.no_grad():
        found = model(input_ids=pieces.ids, attention_mask=pieces.mask.long()).last_hidden_state
        wanted = scorer.network.body.backbone(pieces)
    torch.testing.assert_close(found[pieces.mask], wanted[pieces.mask], rtol=0, atol=1e-5)


def test_onnx_of_a_stack_has_the_network_alone(tmp_path, caplog):
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    model = load("promoter", device="cpu")
    found = export_model(model, tmp_path / "m.onnx")
    assert "the file has the network alone, not the stack with" in caplog.text
    assert found.metadata["stack"] == [part.name for part in model.stack.parts]
    assert "calibration" not in found.metadata
    letters = sequences(model, [300, 120])
    scores = onnx_scores(found.path, model.tokens_of(letters))
    np.testing.assert_allclose(scores, expected(model, letters), rtol=0, atol=1e-4)


def test_refused_exports(tmp_path, monkeypatch):
    own, paired = binary(), {"kind": "paired"}
    sections = {"data": {"sequences": "t.tsv", "label": "label"}, "model": paired}
    sections["partner"] = {"kind": "sequence", "column": "other"}
    of_two = config.RunFile.model_validate(sections)
    pairs = PairedScorer(of_two, tokenizer_of(of_two), build_network(of_two).eval())
    file, folder = tmp_path / "m.onnx", tmp_path / "out"
    for model, to, message in (
        (own, "tensorflow", "unknown format 'tensorflow'; expected 'onnx' or 'huggingface'"),
        (own, "huggingface", "only those of kind 'pretrained'. Use --to onnx"),
        (
            pretrained(tmp_path, "t5"),
            "huggingface",
            "no network of these weights alone. Use --to onnx",
        ),
        (Ensemble((own, own)), "huggingface", "an ensemble of 2 models cannot be used here"),
        (HEADS["masked k-mer"][0], "onnx", "objective 'masked' has no scores to export"),
        (pairs, "onnx", "export does not support models with two inputs"),
        (Ensemble((own, binary(k=3))), "onnx", "must have the same tokens and strands"),
    ):
        with pytest.raises(ArgumentError, match=message):
            export_model(model, file if to == "onnx" else folder, to=to)
    folder.mkdir()
    (folder / "notes.txt").touch()
    with pytest.raises(OutputError, match="the output is an existing folder"):
        export_model(own, folder)
    with pytest.raises(OutputError, match=r"contains 'notes.txt', which is not part of the"):
        export_model(own, folder, to="huggingface")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingPackageError, match="an export to ONNX needs the extra onnx"):
        export_model(own, file)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("m.")] == []


def test_export_command_names_the_format(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert exit_code("export --model promoter --to huggingface --output out") == 1
    assert "error: `transformers` has no such network" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        exit_code("export --model promoter --to tf --output out")
    assert "invalid choice: 'tf'" in capsys.readouterr().err

"""Run `selfattn-bio explain` and `motifs`: which records are explained and searched."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from selfattn_bio.attribution.explain import explain
from selfattn_bio.attribution.explanation import Explanation
from selfattn_bio.cli.main import main
from selfattn_bio.config import BinaryObjective, Interpret, read_run_file
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.inputs import Alone
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.files import sha256_of
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import save_model
from selfattn_bio.objectives.binary import Binary
from selfattn_bio.scoring.loading import load
from selfattn_bio.study.explain import choose_recognised
from selfattn_bio.study.motifs import _discover

SECTIONS = """
[model]
kind = "attention"
members = 1
embed_dim = 8
num_layers = 1
num_heads = 2
feedforward_dim = 8
[interpret]
max_sequences = 12
"""
MODEL = ["--run-file", "run.toml", "--corpus", "corpus", "--split", "split.tsv"]
CALIBRATION = {"slope": 1.0, "threshold": 0.5}


def save(folder, seed):
    """Write a model folder with random weights for the corpus and split."""
    torch.manual_seed(seed)
    run = read_run_file("run.toml")
    folder.mkdir()
    source = {
        "corpus_fingerprint": Corpus.open("corpus").fingerprint,
        "split_sha256": sha256_of("split.tsv"),
    }
    save_model(folder, run, build_network(run).state_dict(), {"calibration": CALIBRATION} | source)


@pytest.fixture
def folder(two_classes):
    with (two_classes / "run.toml").open("a") as file:
        file.write(SECTIONS)
    assert (
        main(
            [
                "ingest",
                "--fasta",
                "p.fa",
                "n.fa",
                "--label",
                "1",
                "0",
                "--alphabet",
                "dna",
                "--output",
                "corpus",
            ]
        )
        == 0
    )
    assert (
        main(["split", "--run-file", "run.toml", "--corpus", "corpus", "--output", "split.tsv"])
        == 0
    )
    save(two_classes / "model", 0)
    return two_classes


def motifs_of(attribution, model="model"):
    return main(["motifs", *MODEL, "--model", model, "--attribution", attribution, "--output", "."])


def test_motifs_refuse_attributions_of_other_model(folder, capsys):
    assert main(["explain", *MODEL, "--model", "model", "--output", "attribution"]) == 0
    assert motifs_of("attribution") == 0
    save(folder / "other", 1)
    assert motifs_of("attribution", "other") == 1
    message = "the attribution belongs to another model, corpus or split (weights_sha256 "
    own = Explanation.load("attribution")
    assert own.records["score"].is_monotonic_decreasing
    # highest, middle and lowest logit
    assert list(own.maps) == own.records["id"].iloc[[0, 6, 11]].tolist()
    assert [each.score for each in own.maps.values()] == pytest.approx(
        own.records["score"].iloc[[0, 6, 11]].tolist(), abs=1e-5
    )
    assert [len(each.layers) for each in own.maps.values()] == [1, 1, 1]
    assert (
        f"{message}{own.source['weights_sha256'][:12]}, not "
        f"{sha256_of('other/model.safetensors')[:12]}). Run" in capsys.readouterr().err
    )
    explain("model", folder / "p.fa").save("unknown")  # of an unknown corpus
    assert motifs_of("unknown") == 1
    error = capsys.readouterr().err
    assert (
        f"{message}none, not {own.source['weights_sha256'][:12]}). Run `selfattn-bio explain` "
        "again\n" in error
    )
    assert error.count("\n") == 1
    dataclasses.replace(own, source={**own.source, "split_sha256": "0" * 64}).save("split")
    assert motifs_of("split") == 1
    assert "(split_sha256 " in capsys.readouterr().err


def test_maps_of_records_named_in_run_file(folder, capsys):
    named = (
        (folder / "run.toml")
        .read_text()
        .replace("max_sequences = 12", 'max_sequences = 12\nmaps = ["n3", "p2", "p5"]')
    )
    (folder / "run.toml").write_text(named)
    assert main(["explain", *MODEL, "--model", "model", "--output", "attribution"]) == 0
    own = Explanation.load("attribution")
    # one negative and two test records; the records for motif search are unchanged
    assert set(own.maps) == {"n3", "p2", "p5"}
    logits = {name: each.score for name, each in own.maps.items()}
    assert list(logits.values()) == sorted(logits.values(), reverse=True)
    corpus = Corpus.open("corpus")
    rows = {name: row for row, name in enumerate(corpus.records["id"])}
    for name, each in own.maps.items():
        np.testing.assert_array_equal(each.letters, corpus.letters(rows[name]))
        assert each.score == pytest.approx(load("model").logits([each.letters])[0], abs=1e-5)
    assert motifs_of("attribution") == 0
    (folder / "run.toml").write_text(named.replace('"p5"', '"p50"'))
    capsys.readouterr()
    assert main(["explain", *MODEL, "--model", "model", "--output", "attribution"]) == 1
    assert capsys.readouterr().err == (
        "selfattn-bio explain: error: run.toml: [interpret] maps has ids that are not in the "
        "corpus: 'p50' (did you mean 'p5'?). "
        "Ids are the first column of the split table, such as 'p0'\n"
    )


def test_motifs_refuse_test_records(folder, capsys):
    assert main(["explain", *MODEL, "--model", "model", "--output", "attribution"]) == 0
    own = Explanation.load("attribution")
    records = own.records.copy()
    records.loc[3, "id"] = "p2"  # from c3
    dataclasses.replace(own, records=records).save("attribution")
    assert motifs_of("attribution") == 1
    assert (
        "test records in the attribution: 1, such as 'p2'; they are reserved"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("called", "limit", "chosen", "message"),
    [
        (
            9,
            3,
            [0, 4, 8],
            "3 of 20 positives of train and valid, with log-odds from 12.00 to 20.00",
        ),
        (
            9,
            12,
            list(range(12)),
            "9.00 to 20.00; the model calls 9 of them positive",
        ),
        (
            9,
            30,
            list(range(20)),
            "1.00 to 20.00; the model calls 9 of them positive",
        ),
        (
            0,
            2,
            [0, 1],
            "19.00 to 20.00; the model calls 0 of them positive",
        ),
    ],
    ids=["enough", "too few", "all", "none"],
)
@pytest.mark.usefixtures("folder")
def test_predicted_positives_are_explained_first(called, limit, chosen, message, caplog):
    corpus = Corpus.open("corpus")
    positives = [
        i
        for i, name in enumerate(corpus.records["id"])
        if name.startswith("p") and int(name[1:]) % 3 < 2
    ]
    logits = dict(
        zip((corpus.letters(i).tobytes() for i in positives), range(20, 0, -1), strict=True)
    )
    scorer = SimpleNamespace(
        outputs=lambda letters: np.array([[float(logits[row.tobytes()])] for row in letters]),
        calibration=Calibration(intercept=called - 20.5),
        objective=Binary(BinaryObjective()),
    )
    caplog.set_level("INFO", "selfattn_bio")
    recognised = choose_recognised(
        scorer,
        scorer.objective.outputs[0],
        Alone(corpus),
        corpus.records.loc[positives],
        limit,
    )
    assert recognised.index.tolist() == [positives[rank] for rank in chosen]
    (line,) = caplog.messages
    assert line.endswith(message)


@pytest.mark.parametrize(
    ("database", "line"),
    [
        ("jaspar:plants", "motifs are matched with jaspar:plants, the [interpret] database"),
        ("none", 'motifs are not matched with known ones: [interpret] database = "none"'),
    ],
)
def test_motifs_report_database_first(database, line, caplog):
    explained = SimpleNamespace(
        alphabet="dna", is_attention=False, find_motifs=lambda database, **settings: database
    )
    caplog.set_level("INFO", "selfattn_bio")
    assert _discover(explained, Interpret(database=database)) == database
    assert caplog.messages == [line]


def test_database_of_run_file_is_file_or_none():
    assert Interpret(database="none").database_file is None
    assert Interpret(database="mine.meme").database_file == "mine.meme"


def test_rollout_of_run_file_finds_no_motifs(folder, capsys):
    (folder / "run.toml").write_text(
        (folder / "run.toml").read_text() + '\n[interpret.method]\nkind = "rollout"\n'
    )
    assert main(["explain", *MODEL, "--model", "model", "--output", "attribution"]) == 0
    explanation = Explanation.load("attribution")
    assert (explanation.method, explanation.is_attention) == ("rollout", True)
    assert motifs_of("attribution") == 0
    assert (
        "no motifs: method 'rollout' reads attention weights, and motifs need attributions of "
        "single positions" in capsys.readouterr().out
    )

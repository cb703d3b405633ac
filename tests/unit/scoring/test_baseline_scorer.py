from functools import partial

import numpy as np
import pytest
from scipy.special import expit

import selfattn_bio
from selfattn_bio import embed, explain, read_attention
from selfattn_bio.baselines import BASELINES, Setup
from selfattn_bio.errors import ArgumentError, ModelFolderError
from selfattn_bio.scoring.windows import load_dna_model
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.policy import SequencePolicy


@pytest.fixture
def folder(tmp_path):
    """Save a regression on exact positions; positives have TATA at 10."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    letters = rng.choice(np.frombuffer(b"ACGT", np.uint8), (200, 40))
    letters[1::2, 10:14] = np.frombuffer(b"TATA", np.uint8)
    BASELINES["exact_positions"](Setup(SequencePolicy(DNA))).fit(
        letters[:140], labels[:140], letters[140:], labels[140:]
    ).save(tmp_path / "b")
    return tmp_path / "b"


SEQUENCES = ["GC" * 5 + "TATA" + "GC" * 13, "GC" * 20]


def test_load_gives_a_scorer(folder):
    model = selfattn_bio.load(folder)
    letters = [np.frombuffer(text.encode(), np.uint8) for text in SEQUENCES]
    logits = model.logits(letters)
    assert logits[0] > 0 > logits[1]
    assert model.logits(np.pad(np.stack(letters), ((0, 0), (0, 3)))).tolist() == logits.tolist()
    assert (model.alphabet, model.members, model.folder) == (DNA, (model,), folder)
    fitted = model.baseline.calibration
    assert model.log_odds(letters) == pytest.approx(logits * fitted.slope + fitted.intercept)
    assert model.calibration.probabilities(logits) == pytest.approx(expit(model.log_odds(letters)))
    assert repr(model) == "BaselineScorer: logistic regression on exact positions"
    assert len({model, selfattn_bio.load(folder)}) == 2  # compared by identity


def test_folder_of_baselines_is_refused_with_their_names(folder):
    with pytest.raises(ModelFolderError, match="not a model itself, it holds b") as refusal:
        selfattn_bio.load(folder.parent)
    assert f"Name one of them: {folder}" in str(refusal.value)


def test_score_sequences_with_a_baseline(folder):
    model = selfattn_bio.load(folder)
    table = selfattn_bio.score_sequences(folder, SEQUENCES)
    assert table.columns.tolist() == ["id", "logit", "probability", "predicted"]
    positive = table["probability"] >= model.calibration.threshold
    assert table["predicted"].tolist() == positive.astype(int).tolist() == [1, 0]
    both = selfattn_bio.score_sequences(model, SEQUENCES, rc=True)
    assert both["logit"].tolist() != table["logit"].tolist()


def test_network_functions_refuse_a_baseline(folder):
    name = r"this is a baseline \(logistic regression on exact positions\) without a network"
    for ask in (
        *(partial(each, folder, SEQUENCES) for each in (explain, embed, read_attention)),
        *(partial(load_dna_model, folder), partial(selfattn_bio.load, [folder, folder])),
    ):
        with pytest.raises(ArgumentError, match=f"{name}; only `load` and `score` accept it"):
            ask()
    with pytest.raises(ArgumentError, match="coverage"):
        selfattn_bio.score_sequences(folder, SEQUENCES, coverage=0.9)

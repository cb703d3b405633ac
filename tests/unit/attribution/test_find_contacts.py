"""Test contact maps of proteins as a Python function."""

import numpy as np
import pandas as pd
import pytest
import torch

import selfattn_bio as sb
from selfattn_bio.config import RunFile
from selfattn_bio.errors import ModelFolderError, SequenceFileError
from selfattn_bio.model.build import build_network
from selfattn_bio.scoring.paired_scorer import scorer_of

RUN = {
    "data": {"alphabet": "protein", "positives": "a", "negatives": "b"},
    "model": {
        "kind": "attention",
        "members": 1,
        "embed_dim": 8,
        "num_layers": 1,
        "num_heads": 2,
        "feedforward_dim": 8,
        "stem": {"kind": "none"},
    },
}


def model_of(k):
    torch.manual_seed(0)
    run = RunFile.model_validate(RUN | {"tokens": {"k": k}})
    return scorer_of(run, build_network(run).eval())


@pytest.fixture
def proteins():
    rng = np.random.default_rng(0)
    return ["".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 20 + i)) for i in range(3)]


def test_contacts_of_strings(proteins, tmp_path):
    contacts = sb.find_contacts(model_of(1), proteins)
    assert repr(contacts) == "Contacts of 3 sequences, 0 with known contacts"
    assert {name: scores.shape for name, scores in contacts.maps.items()} == {
        str(i): (20 + i, 20 + i) for i in range(3)
    }
    assert contacts.table.groupby("id").size().tolist() == [20, 21, 22]
    assert contacts.precision is None
    contacts.save(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "out.contacts.npz",
        "out.contacts.tsv",
    ]
    (line,) = contacts.lines
    assert line.startswith("each map is the mean over heads, because")
    image = contacts.plot("1").axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), contacts.maps["1"])


def test_known_contacts_give_precision(proteins, tmp_path):
    known = {}
    for i in (0, 1):
        known[str(i)] = np.zeros((20 + i, 20 + i), dtype=bool)
        known[str(i)][2, 15] = known[str(i)][15, 2] = True
    contacts = sb.find_contacts(model_of(1), proteins, known)
    assert contacts.precision["id"].tolist() == ["0", "1"]
    assert contacts.table["contact"].isna().tolist() == (contacts.table["id"] == "2").tolist()
    assert all(0 <= scores.min() <= scores.max() <= 1 for scores in contacts.maps.values())
    contacts.save(tmp_path / "out")
    table = pd.read_csv(tmp_path / "out.precision.tsv", sep="\t", dtype={"id": str})
    pd.testing.assert_frame_equal(table, contacts.precision, check_dtype=False, rtol=1e-5)
    with np.load(tmp_path / "out.contacts.npz") as maps:
        np.testing.assert_allclose(maps["map_2"], contacts.maps["2"], rtol=1e-5)


def test_unsuitable_inputs_are_refused(proteins):
    with pytest.raises(ModelFolderError, match="one token per residue, but this model reads 2-"):
        sb.find_contacts(model_of(2), proteins)
    with pytest.raises(SequenceFileError, match="no sequences"):
        sb.find_contacts(model_of(1), [])
    with pytest.raises(SequenceFileError, match="id 'a' is used more than once"):
        sb.find_contacts(model_of(1), pd.DataFrame({"id": "a", "sequence": proteins}))

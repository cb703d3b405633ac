"""Pretrain a masked-language model and fine-tune it for two classes."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import small_task as st
import tomli_w
import torch
from commands import exit_code, run
from sklearn.metrics import roc_auc_score

from selfattn_bio import config, ingest_files
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.evaluation.lineage import Lineage
from selfattn_bio.model.checkpoint import TRAINING_RECORDS, read_provenance
from selfattn_bio.scoring.loading import load
from selfattn_bio.training.recipes import both_strands

pytestmark = pytest.mark.slow

MODEL = config.AttentionModel(**st.LEARNER)
TRAINING = config.Training(**st.FAST, max_steps=90, evaluate_every=90)
DATA = config.Data(positives=("positives.fa",), negatives=("negatives.fa",))
MOTIF = "TATCGATA"
SPLITS = np.array(["train", "train", "train", "valid", "test"])


def rows(number, copies, rng):
    """Yield `number` random sequences with `copies` copies of the motif each."""
    for _ in range(number):
        letters = rng.choice(list("ACGT"), 60)
        for part in np.split(letters, copies) if copies else ():
            at = rng.integers(0, len(part) - len(MOTIF) + 1)
            part[at : at + len(MOTIF)] = list(MOTIF)
        yield "".join(letters)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """Return the folder of a corpus with a split, a pretrained and an untrained parent.

    The parents saw the reverse complement of the first training record.
    """
    folder, rng = tmp_path_factory.mktemp("transfer"), np.random.default_rng(0)
    pretraining = folder / "pretraining"
    pretraining.mkdir()
    unlabelled = [*rows(300, 3, rng)]
    fasta = st.write_fasta(folder / "unlabelled.fa", unlabelled)
    ingest_files(fasta, pretraining / "corpus", "dna")
    st.write_split(pretraining, np.where(np.arange(300) % 5, "train", "valid"))
    for name, changes in (
        ("parent", {"max_steps": 200, "learning_rate": 1e-2}),
        ("untrained", {"max_steps": 1, "learning_rate": 1e-9}),
    ):
        changes |= {"evaluate_every": 100, "label_smoothing": 0.0}
        training = TRAINING.model_copy(update=changes)
        data, objective = config.Data(sequences=("unlabelled.fa",)), config.MaskedObjective()
        run_file = config.RunFile(data=data, objective=objective, model=MODEL, training=training)
        st.fit(pretraining, run_file, folder / name)
    texts = [st.reverse_complement(unlabelled[0]), *rows(199, 1, rng)]
    positives = st.write_fasta(folder / "positives.fa", texts)
    negatives = st.write_fasta(folder / "negatives.fa", rows(200, 0, rng))
    ingest_files([positives, negatives], folder / "corpus", "dna", labels=[1, 0])
    st.write_split(folder, np.resize(SPLITS, 400))
    return folder


def run_of(parent, training=TRAINING, **transfer):
    transfer = config.Transfer(parent=str(parent), **transfer)
    return config.RunFile(data=DATA, model=MODEL, training=training, transfer=transfer)


def body_of(folder):
    """Return the weights of a model folder without those of the head."""
    return {name: weight for name, weight in st.weights_of(folder).items() if ".head." not in name}


def write_run_file(folder, run_file, **sections):
    text = tomli_w.dumps(run_file.model_dump(mode="json", exclude_none=True) | sections)
    (folder / "run.toml").write_text(text)


def moved(before, after):
    """Return the names of the weights that differ."""
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def best_auroc(folder):
    return pd.read_csv(folder / "history.csv")["valid_auroc"].max()


SETTINGS = {"all": {"layer_decay": 0.8}, "gradual": {"unfreeze_every": 10}}
SETTINGS |= {"lora": {"lora_rank": 4}, "frozen": {}}


@pytest.mark.parametrize("adapt", SETTINGS)
def test_fine_tuning_learns_planted_motif(workshop, tmp_path, adapt, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    parent = workshop / "parent"
    run_file = run_of(parent, adapt=adapt, **SETTINGS[adapt])
    model = st.fit(workshop, run_file, tmp_path / "model")
    assert best_auroc(model) > 0.9
    assert "300 of 300 training records of the parent have no coordinates" in caplog.text
    # The folder is a complete model with the scores that were evaluated.
    labels = st.corpus_of(workshop).records["label"].iloc[st.rows_of(workshop, "valid")].astype(int)
    auroc = roc_auc_score(labels, load(model).logits(st.letters_of(workshop, "valid")))
    assert auroc == pytest.approx(best_auroc(model))
    before = body_of(parent)
    layers = re.compile(r"\.blocks\..*(qkv\.linear|attention\.out|feedforward\.\d)\.weight")
    found = moved(before, body_of(model))
    if adapt in ("frozen", "lora"):
        assert found == (set(filter(layers.search, before)) if adapt == "lora" else set())
    else:
        assert len(found) > 0.9 * len(before)
    (told,) = st.read_json(model / "provenance.json")["parents"]
    own = st.read_json(parent / "provenance.json")
    assert told == {key: own[key] for key in told if key != "folder"} | {"folder": str(parent)}
    assert pd.read_parquet(model / TRAINING_RECORDS)["by_parent"].sum() == 300


def test_frozen_untrained_parent_learns_little(workshop, tmp_path):
    model = st.fit(workshop, run_of(workshop / "untrained", adapt="frozen"), tmp_path / "model")
    assert best_auroc(model) < 0.85  # above 0.9 with the pretrained parent


def test_frozen_layers_equal_parent(workshop, tmp_path):
    short = TRAINING.model_copy(update={"max_steps": 3})
    parent = workshop / "parent"
    model = st.fit(workshop, run_of(parent, short, adapt="gradual"), tmp_path / "model")
    # the running statistics of the stem stay too
    changed = {"members.0.encoder.norm.weight", "members.0.encoder.norm.bias"}
    assert moved(body_of(parent), body_of(model)) == changed


ONE_STEP = TRAINING.model_copy(update={"max_steps": 1})


@pytest.fixture
def other(workshop, tmp_path):
    """Copy the corpus and the split to a folder, in which tests write a run file."""
    shutil.copytree(workshop / "corpus", tmp_path / "corpus")
    shutil.copy(workshop / "split.tsv", tmp_path)
    return tmp_path


def test_test_record_seen_by_parent_is_refused(workshop, other, monkeypatch, capsys):
    splits = np.resize(SPLITS, 400)
    splits[0] = "test"
    st.write_split(other, splits)
    run_file = run_of(workshop / "parent", ONE_STEP, adapt="frozen")
    write_run_file(other, run_file, variants={})
    message = "1 of 81 test records were seen by a parent of the model"
    with pytest.raises(ModelFolderError, match=f"{message}, such as 'positives0'"):
        st.fit(other, run_file)
    assert not (other / "model.checkpoints").exists()

    with monkeypatch.context() as patched:
        patched.setattr(Lineage, "check", lambda *_: None)  # train the model without the check
        st.fit(other, run_file)
    assert exit_code("evaluate", other) == 1
    assert message in capsys.readouterr().err

    # A model trained with another split, in which a test record was a training record.
    shutil.rmtree(other / "model")
    st.fit(workshop, run_file, other / "model")
    assert exit_code("evaluate", other) == 1
    assert "the model was trained on another split" in capsys.readouterr().err
    assert not (other / "metrics.json").exists()


def test_variant_without_parent_weights_is_reported(workshop, other, capsys):
    variants = {"pairs": {"tokens": {"k": 2}}, "slow": {"training": {"learning_rate": 1e-5}}}
    write_run_file(other, run_of(workshop / "parent", ONE_STEP, adapt="all"), variants=variants)
    for name, says in (("pairs", True), ("slow", False)):
        run("train", other / f"variants/{name}", "--threads", 1)
        assert (f"{name}: starts from random weights" in capsys.readouterr().out) == says


def test_shipped_parent_is_fine_tuned_and_evaluated(workshop, other):
    recipe = both_strands(240, 101)
    steps = {"max_steps": 3, "evaluate_every": 3, "learning_rate": 1e-4}
    model = config.AttentionModel.model_validate(dict(recipe.model) | {"members": 1})
    sections = {"tokens": config.Tokens.model_validate(recipe.tokens), "model": model}
    sections |= {"training": TRAINING.model_copy(update=steps), "variants": {}}
    run_file = config.RunFile(data=DATA, transfer=config.Transfer(parent="motifs"), **sections)
    write_run_file(other, run_file)
    st.run_steps("train evaluate audit", other)
    parent, model = run_file.transfer.folder, other / "model"
    (told,) = st.read_json(model / "provenance.json")["parents"]
    assert told["weights_sha256"] == read_provenance(parent)["weights_sha256"]
    name = "members.0.stem.first.weight"
    assert 0 < (body_of(parent)[name] - body_of(model)[name]).abs().max() < 1e-3
    assert not pd.read_parquet(model / TRAINING_RECORDS)["by_parent"].any()

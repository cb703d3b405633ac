"""Train a published language model further on a planted pattern of residues."""

import shutil

import numpy as np
import pandas as pd
import pytest
import small_task as st
import torch
from commands import exit_code
from commands import run as run_command
from pretrained_folders import make_dnabert2, make_folder

from selfattn_bio import Study, config, ingest_files, load, score_sequences

SETTINGS = {"max_steps": 60, "batch_size": 16, "evaluate_every": 20, "checkpoint_every": 20}
SETTINGS |= {"learning_rate": 1e-2, "warmup_steps": 5, "precision": "32-true", "shift": 0}
RESIDUES = "ACDEFGHIKLMNPQRSTVWY"


@pytest.fixture(scope="module")
def proteins(tmp_path_factory):
    """Return a folder with a corpus of proteins, half of them with the pattern, and a model."""
    folder, rng = tmp_path_factory.mktemp("proteins"), np.random.default_rng(0)
    texts = st.random_texts(rng, 96, 20, 30, RESIDUES)
    texts[:48] = [text[:5] + "PKKKRKV" + text[12:] for text in texts[:48]]
    files = [
        st.write_fasta(folder / f"{name}.fa", part)
        for name, part in (("positives", texts[:48]), ("negatives", texts[48:]))
    ]
    ingest_files(files, folder / "corpus", "protein", labels=[1, 0])
    st.write_split(folder, np.resize(["train", "train", "valid"], 96))
    make_folder(folder / "esm2", "esm2")
    return folder


def run_of(folder, training=None, **model):
    return config.RunFile(
        data=config.Data(alphabet="protein", positives=("a",), negatives=("b",)),
        training=config.Training(**SETTINGS | (training or {})),
        model=config.PretrainedModel(folder=str(folder / "esm2"), dropout=0.0, **model),
    )


def encoder_of(model):
    return {name: value for name, value in st.weights_of(model).items() if ".layers." in name}


def test_lora_learns_resumes_and_needs_no_downloaded_folder(proteins, tmp_path, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    copy = shutil.copytree(proteins, tmp_path / "copy")
    run = run_of(copy, adapt="lora")
    whole = st.fit(copy, run, "whole")
    assert " of them trained; precision" in caplog.text
    loss = pd.read_csv(whole / "history.csv")["train_loss"]
    assert loss.iloc[-1] < 0.7 * loss.iloc[0]
    with st.crashed(30):
        st.fit(copy, run, "cut")
    st.fit(copy, run, "cut")
    assert "resuming from the checkpoint of step 20" in caplog.text
    st.assert_same_weights(whole, copy / "cut")
    before = score_sequences(whole, copy / "positives.fa")
    shutil.rmtree(copy / "esm2")
    moved = shutil.move(whole, tmp_path / "moved")
    pd.testing.assert_frame_equal(score_sequences(moved, copy / "positives.fa"), before)
    assert load(moved).alphabet.name == "protein"


def test_frozen_keeps_the_encoder(proteins, tmp_path):
    few = {"max_steps": 4, "evaluate_every": 4}
    first, frozen, every = (
        encoder_of(st.fit(proteins, run_of(proteins, few | changes, adapt=adapt), tmp_path / name))
        for name, adapt, changes in (
            ("untrained", "frozen", {"max_steps": 1, "evaluate_every": 1, "learning_rate": 1e-9}),
            ("frozen", "frozen", {}),
            ("all", "all", {}),
        )
    )
    assert first
    assert all(torch.equal(first[name], frozen[name]) for name in first)
    assert not any(torch.equal(first[n], every[n]) for n in first if n.endswith("out.weight"))


@pytest.mark.parametrize(
    ("model", "step", "rates"),
    [
        ({"adapt": "all", "layer_decay": 0.5}, 0, [0.125, 0.25, 0.5, 1]),
        ({"adapt": "gradual", "unfreeze_every": 3}, 2, [0, 0, 0, 1]),
        ({"adapt": "gradual", "unfreeze_every": 3}, 3, [0, 0, 1, 1]),
        ({"adapt": "gradual", "unfreeze_every": 3}, 9, [1, 1, 1, 1]),
    ],
)
def test_each_layer_has_its_rate(proteins, model, step, rates):
    trainer = st.trainer_of(proteins, run_of(proteins, **model))
    trainer.history.step = step
    layers = sorted({group["layer"] for group in trainer.optimizer.param_groups})
    assert layers == [0, 1, 2, 3]  # embedding, the two layers, head
    assert [trainer._rate_of(layer) for layer in layers] == rates


@pytest.mark.parametrize("family", ["esm2", "dnabert", "nucleotide_transformer", "dnabert2"])
def test_run_file_of_init_trains_and_explains(here, capsys, caplog, family):
    make = make_dnabert2 if family == "dnabert2" else lambda folder: make_folder(folder, family)
    folder, is_protein = make(here / family), family == "esm2"
    letters, pattern = (RESIDUES, "PKKKRKV") if is_protein else ("ACGT", "GATAAGG")
    texts = st.random_texts(np.random.default_rng(0), 60, 24, 25, letters)
    texts[::2] = [text[:3] + pattern + text[10:13] + pattern + text[20:] for text in texts[::2]]
    table = pd.DataFrame({"sequence": texts, "label": np.arange(60) % 2 == 0})
    table.astype({"label": int}).to_csv("all.csv", index=False)
    run_command(f"init mine --sequences all.csv --pretrained {family}")
    for step in ("ingest", "split", "train", "explain"):
        run_command(f"{step} mine --quiet")
    study = Study("mine")
    assert study.task.interpret.method.kind == ("saturation" if family == "dnabert2" else "guided")
    assert study.task.stack.parts == ("pretrained_linear",)
    # whether a part gets a weight depends on ten records of validation
    assert "stack: linear model of the vectors of the frozen pretrained model fitted" in caplog.text
    if is_protein:  # the same for all
        run_command("train mine/variants/random_embedding --quiet")
        run_command("evaluate mine --quiet")
        baselines = study.evaluation.metrics["test"]["baselines"]
        assert baselines.keys() >= {"network", "random_embedding", "pretrained_linear"}
        assert "random_embedding+stack" not in baselines  # the part is a pretrained model
        run_command("report mine --quiet")
        assert "frozen pretrained model" in study.files.report.read_text()
        shutil.rmtree(folder)
        st.write_fasta(here / "new.fa", texts[:2])
        assert exit_code("score --fasta new.fa --output s.tsv --model", study.files.model) == 1
        assert "model of the embeddings is missing" in capsys.readouterr().err

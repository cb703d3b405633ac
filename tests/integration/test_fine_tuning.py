"""Pretrain a masked-language model and fine-tune it for two classes."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import tomli_w
import torch
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score

from selfattn_bio import config
from selfattn_bio.cli.main import main
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.evaluation.lineage import Lineage
from selfattn_bio.model.checkpoint import TRAINING_RECORDS, read_provenance
from selfattn_bio.scoring.loading import load
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.training.loop import train
from selfattn_bio.training.recipes import both_strands

pytestmark = pytest.mark.slow

MODEL = config.AttentionModel(
    embed_dim=16,
    num_layers=1,
    num_heads=2,
    feedforward_dim=32,
    members=1,
    dropout=0.0,
    stem=config.ConvStemSection(token_dim=8, kernel=9, second_kernel=3),
)
TRAINING = config.Training(
    max_steps=90,
    batch_size=32,
    learning_rate=5e-3,
    warmup_steps=10,
    evaluate_every=90,
    ema_decay=0.9,
)
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


def write_fasta(path, texts):
    path.write_text("".join(f">{path.stem}{i}\n{text}\n" for i, text in enumerate(texts)))
    return path


def split_of(corpus, path, splits):
    pd.DataFrame({"id": corpus.records["id"], "split": splits, "reason": ""}).to_csv(
        path, sep="\t", index=False
    )
    return path


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """Return the folder of a pretrained and an untrained parent, and a corpus with a split.

    The parents saw the reverse complement of the first training record.
    """
    folder, rng = tmp_path_factory.mktemp("transfer"), np.random.default_rng(0)
    unlabelled = [*rows(300, 3, rng)]
    pretraining = build_corpus(
        [(write_fasta(folder / "unlabelled.fa", unlabelled), None)],
        folder / "pretraining",
        RecordRules(DNA),
    )
    split_of(
        pretraining, folder / "pretraining.tsv", np.where(np.arange(300) % 5, "train", "valid")
    )
    for name, changes in (
        ("parent", {"max_steps": 200, "learning_rate": 1e-2}),
        ("untrained", {"max_steps": 1, "learning_rate": 1e-9}),
    ):
        training = TRAINING.model_copy(
            update={"evaluate_every": 100, "label_smoothing": 0.0, **changes}
        )
        run = config.RunFile(
            data=config.Data(sequences=("unlabelled.fa",)),
            objective=config.MaskedObjective(),
            model=MODEL,
            training=training,
        )
        train(run, pretraining, folder / "pretraining.tsv", folder / name, threads=1)
    turned = (
        DNA.reverse_complement(np.frombuffer(unlabelled[0].encode(), np.uint8)).tobytes().decode()
    )
    positives = write_fasta(folder / "positives.fa", [turned, *rows(199, 1, rng)])
    negatives = write_fasta(folder / "negatives.fa", rows(200, 0, rng))
    corpus = build_corpus([(positives, 1), (negatives, 0)], folder / "corpus", RecordRules(DNA))
    split_of(corpus, folder / "split.tsv", np.resize(SPLITS, 400))
    return folder, corpus


def run_of(parent, training=TRAINING, **transfer):
    transfer = config.Transfer(parent=str(parent), **transfer)
    return config.RunFile(data=DATA, model=MODEL, training=training, transfer=transfer)


def weights_of(folder):
    """Return the weights of a model folder without those of the head."""
    return {
        name: weight
        for name, weight in load_file(folder / "model.safetensors").items()
        if ".head." not in name
    }


def moved(before, after):
    """Return the names of the weights that differ."""
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def best_auroc(folder):
    return pd.read_csv(folder / "history.csv")["valid_auroc"].max()


@pytest.mark.parametrize(
    "transfer",
    [
        {"adapt": "all", "layer_decay": 0.8},
        {"adapt": "frozen"},
        {"adapt": "gradual", "unfreeze_every": 10},
        {"adapt": "lora", "lora_rank": 4},
    ],
    ids=lambda transfer: transfer["adapt"],
)
def test_fine_tuning_learns_planted_motif(workshop, tmp_path, transfer, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    folder, corpus = workshop
    train(
        run_of(folder / "parent", **transfer),
        corpus,
        folder / "split.tsv",
        tmp_path / "model",
        threads=1,
    )
    assert best_auroc(tmp_path / "model") > 0.9
    assert "300 of 300 training records of the parent have no coordinates" in caplog.text
    # The folder is a complete model with the scores that were evaluated.
    valid = np.flatnonzero(np.resize(SPLITS, 400) == "valid")
    logits = load(tmp_path / "model").logits([corpus.letters(int(row)) for row in valid])
    assert roc_auc_score(corpus.records["label"].iloc[valid].astype(int), logits) == pytest.approx(
        best_auroc(tmp_path / "model")
    )
    before = weights_of(folder / "parent")
    linear = {
        name
        for name in before
        if re.search(r"\.blocks\..*(qkv\.linear|attention\.out|feedforward\.\d)\.weight", name)
    }
    found = moved(before, weights_of(tmp_path / "model"))
    if transfer["adapt"] in ("frozen", "lora"):
        assert found == (linear if transfer["adapt"] == "lora" else set())
    else:
        assert len(found) > 0.9 * len(before)
    (told,) = json.loads((tmp_path / "model" / "provenance.json").read_text())["parents"]
    parent = json.loads((folder / "parent" / "provenance.json").read_text())
    assert told["folder"] == str(folder / "parent")
    assert {key: told[key] for key in told if key != "folder"} == {
        key: parent[key] for key in told if key != "folder"
    }
    assert pd.read_parquet(tmp_path / "model" / TRAINING_RECORDS)["by_parent"].sum() == 300


def test_frozen_untrained_parent_learns_little(workshop, tmp_path):
    folder, corpus = workshop
    train(
        run_of(folder / "untrained", adapt="frozen"),
        corpus,
        folder / "split.tsv",
        tmp_path / "model",
        threads=1,
    )
    assert best_auroc(tmp_path / "model") < 0.85  # above 0.9 with the pretrained parent


def test_frozen_layers_equal_parent(workshop, tmp_path):
    folder, corpus = workshop
    short = TRAINING.model_copy(update={"max_steps": 3})
    train(
        run_of(folder / "parent", short, adapt="gradual"),
        corpus,
        folder / "split.tsv",
        tmp_path / "model",
        threads=1,
    )
    found = moved(weights_of(folder / "parent"), weights_of(tmp_path / "model"))
    # the running statistics of the stem stay too
    assert found == {"members.0.encoder.norm.weight", "members.0.encoder.norm.bias"}


def test_test_record_seen_by_parent_is_refused(workshop, tmp_path, monkeypatch, capsys):
    folder, corpus = workshop
    splits = np.resize(SPLITS, 400)
    splits[0] = "test"
    seen = split_of(corpus, tmp_path / "split.tsv", splits)
    run = run_of(folder / "parent", TRAINING.model_copy(update={"max_steps": 1}), adapt="frozen")
    with pytest.raises(
        ModelFolderError,
        match=r"1 of 81 test records were seen by a parent of the model, such as "
        r"'positives0'",
    ):
        train(run, corpus, seen, tmp_path / "model", threads=1)
    assert not (tmp_path / "model.checkpoints").exists()

    (tmp_path / "run.toml").write_text(
        tomli_w.dumps(run.model_dump(mode="json", exclude_none=True))
    )
    shared = [
        "evaluate",
        "--run-file",
        str(tmp_path / "run.toml"),
        "--corpus",
        str(folder / "corpus"),
        "--output",
        str(tmp_path / "out"),
    ]
    with monkeypatch.context() as patched:
        patched.setattr(Lineage, "check", lambda *_: None)  # train the model without the check
        train(run, corpus, seen, tmp_path / "model", threads=1)
    assert main([*shared, "--split", str(seen), "--model", str(tmp_path / "model")]) == 1
    assert "1 of 81 test records were seen by a parent of the model" in capsys.readouterr().err

    # A model trained with another split, in which a test record was a training record.
    train(run, corpus, folder / "split.tsv", tmp_path / "other", threads=1)
    assert main([*shared, "--split", str(seen), "--model", str(tmp_path / "other")]) == 1
    assert "the model was trained on another split" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_variant_without_parent_weights_is_reported(workshop, tmp_path, capsys):
    folder, _ = workshop
    run = run_of(folder / "parent", TRAINING.model_copy(update={"max_steps": 1}), adapt="all")
    variants = {
        "variants": {"pairs": {"tokens": {"k": 2}}, "slow": {"training": {"learning_rate": 1e-5}}}
    }
    (tmp_path / "run.toml").write_text(
        tomli_w.dumps(run.model_dump(mode="json", exclude_none=True) | variants)
    )
    shared = [
        "--run-file",
        str(tmp_path / "run.toml"),
        "--corpus",
        str(folder / "corpus"),
        "--split",
        str(folder / "split.tsv"),
    ]
    for name, says in (("pairs", True), ("slow", False)):
        assert (
            main(
                [
                    "train",
                    *shared,
                    "--variant",
                    name,
                    "--threads",
                    "1",
                    "--output",
                    str(tmp_path / name),
                ]
            )
            == 0
        )
        assert (f"{name}: starts from random weights" in capsys.readouterr().out) == says


def test_shipped_parent_is_fine_tuned_and_evaluated(workshop, tmp_path):
    folder, corpus = workshop
    recipe = both_strands(240)
    run = config.RunFile(
        data=DATA,
        tokens=config.Tokens.model_validate(recipe.tokens),
        model=config.AttentionModel.model_validate(dict(recipe.model) | {"members": 1}),
        training=TRAINING.model_copy(
            update={"max_steps": 3, "evaluate_every": 3, "learning_rate": 1e-4}
        ),
        transfer=config.Transfer(parent="motifs"),
    )
    train(run, corpus, folder / "split.tsv", tmp_path / "model", threads=1)
    (parent,) = json.loads((tmp_path / "model/provenance.json").read_text())["parents"]
    assert parent["weights_sha256"] == read_provenance(run.transfer.folder)["weights_sha256"]
    before, after = weights_of(run.transfer.folder), weights_of(tmp_path / "model")
    name = "members.0.stem.first.weight"
    assert 0 < (before[name] - after[name]).abs().max() < 1e-3
    assert not pd.read_parquet(tmp_path / "model" / TRAINING_RECORDS)["by_parent"].any()

    (tmp_path / "run.toml").write_text(
        tomli_w.dumps(run.model_dump(mode="json", exclude_none=True))
    )
    shared = [
        "--run-file",
        str(tmp_path / "run.toml"),
        "--corpus",
        str(folder / "corpus"),
        "--split",
        str(folder / "split.tsv"),
    ]
    assert (
        main(
            [
                "evaluate",
                *shared,
                "--model",
                str(tmp_path / "model"),
                "--output",
                str(tmp_path / "metrics"),
            ]
        )
        == 0
    )
    assert main(["audit", *shared, "--output", str(tmp_path / "audit.tsv")]) == 0

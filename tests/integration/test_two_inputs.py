"""Train and explain models of two inputs on tasks that need both.

The explanation must find the planted site in each input, and commands for one input must refuse
such a model.
"""

import re
from pathlib import Path

import numpy as np
import pytest
import small_task as st
from commands import exit_code, run
from paired_tasks import two_motifs, write_pairs
from sklearn.metrics import average_precision_score

import selfattn_bio
from selfattn_bio import config
from selfattn_bio.attribution import methods
from selfattn_bio.attribution.explanation import Explanation
from selfattn_bio.errors import ArgumentError, ModelFolderError
from selfattn_bio.scoring.loading import load


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Train a model of two DNA sequences, and one model per input."""
    folder = tmp_path_factory.mktemp("pairs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        records = write_pairs(folder, "dna", two_motifs, 3000, 150)
        st.run_steps("ingest split train")
        for variant in ("first_alone", "partner_alone"):
            run(f"train ./variants/{variant} --threads 1")
        st.run_steps("evaluate explain")
    return folder, records


@pytest.fixture
def here(task, monkeypatch):
    monkeypatch.chdir(task[0])
    return task[1]


def test_two_inputs_beat_each_input_alone(here):
    test = st.read_json("metrics.json")["test"]
    assert test["model"]["auroc"]["value"] > 0.9
    alone = test["baselines"]
    names = {"first_alone", "partner_alone", "kmer6_logistic", "partner_kmer6_logistic"}
    assert names <= set(alone)
    for name, entry in alone.items():
        # 450 records: chance is 0.5 with a standard deviation of 0.027
        assert 0.35 < entry["auroc"]["value"] < 0.65, name


def found_positions(explanation, sites):
    """Return the AUPR of attributions for planted positions, and the fraction planted.

    Records without a planted site are left out.
    """
    truth, found = [], []
    for row, site in zip(explanation.attribution, sites, strict=True):
        if site is not None:
            positions = np.arange(len(row))
            truth.append((site[0] <= positions) & (positions < sum(site)))
            found.append(row / row.max())
    planted = np.concatenate(truth)
    return average_precision_score(planted, np.concatenate(found)), planted.mean()


def test_explain_finds_planted_sites_of_both_inputs(here):
    explanation = Explanation.load("attribution")
    assert explanation.partner.ids == explanation.ids
    assert explanation.partner.sequences == [here[name][2] for name in explanation.ids]
    for found, place in ((explanation, 3), (explanation.partner, 4)):
        aupr, share = found_positions(found, [here[name][place] for name in found.ids])
        assert share < 0.3
        assert aupr > 0.7


def test_scores_equal_evaluate_in_any_order(here):
    fasta = "positives.fa negatives.fa --partner partners.fa"
    run(f"score --model model --fasta {fasta} --output s.tsv")
    scored = st.read_tsv("s.tsv").set_index("id")
    told = st.read_tsv("predictions/test.tsv").set_index("id")
    expected = pytest.approx(told["model_logit"].to_numpy(), abs=1e-4)
    assert scored.loc[told.index, "logit"].to_numpy() == expected
    names = list(told.index[:5])
    first, partner = ([here[name][i] for name in names] for i in (1, 2))
    table = selfattn_bio.score_sequences("model/", first, partner=partner)
    expected = pytest.approx(scored.loc[names, "logit"].to_numpy(), abs=1e-4)
    assert table["logit"].to_numpy() == expected
    both = selfattn_bio.score_sequences(["model/"] * 2, first[:1], partner=partner[:1])
    assert both["spread"].iloc[0] == pytest.approx(0, abs=1e-6)


PAIR_METHODS = (
    *(methods.CPLRP(), methods.AttnLRPCopies(copies=2), methods.IntegratedGradients(steps=3)),
    *(methods.Guided(), methods.Saturation()),
)


@pytest.mark.parametrize("method", PAIR_METHODS)
def test_attribution_methods_explain_both_inputs(here, method):
    names = ["r0", "r1", "r2"]
    first, partner = ([here[name][i] for name in names] for i in (1, 2))
    explanation = selfattn_bio.explain("model/", first, partner=partner, method=method)
    for found, texts in ((explanation, first), (explanation.partner, partner)):
        assert [row.shape for row in found.attribution] == [(len(text),) for text in texts]
        assert all(row.any() for row in found.attribution)


@pytest.mark.parametrize("name", ["received", "rollout"])
def test_attention_methods_refuse_two_inputs(here, name):
    with pytest.raises(ValueError, match=f"method '{name}' cannot explain models with two inputs"):
        selfattn_bio.explain("model/", ["ACGT"], partner=["ACGT"], method=methods.METHODS[name]())


TAKES_ONE = "does not support models with two inputs"
COMMANDS = """
scan --model model --genome positives.fa --output x
variants --model model --genome positives.fa --region r1:1-10 --output x
embed --model model --fasta positives.fa --output x.parquet
interactions .
score --model model --fasta positives.fa --partner partners.fa --rc --output x.tsv
"""


@pytest.mark.parametrize("command", COMMANDS.strip().splitlines())
def test_commands_of_one_input_refuse(here, capsys, command):
    # read before the model
    Path("motifs.meme").write_text("MEME version 4\n")
    assert exit_code(command) == 1
    assert TAKES_ONE in capsys.readouterr().err


def test_dry_run_takes_two_inputs(here, capsys):
    run("train . --threads 1 --dry-run")
    assert "parameters" in capsys.readouterr().out


def test_two_input_scoring_errors(here):
    score, text = selfattn_bio.score_sequences, "ACGTACGTAC"
    for model, texts, partner, message in (
        ("model/", [text], None, "this model has two inputs; pass the second one as"),
        ("model/", [text] * 2, [text], "no partner for sequence '1'"),
        ("promoter", [text * 30], [text], "partner was given, but this model has only one input"),
    ):
        with pytest.raises(ArgumentError, match=message):
            score(model, texts, partner=partner)
    with pytest.raises(ArgumentError, match="this model has two inputs and needs pairs of"):
        load("model/").logits([np.frombuffer(text.encode(), np.uint8)])
    with pytest.raises(ArgumentError, match="attention " + re.escape(TAKES_ONE)):
        selfattn_bio.read_attention("model/", [text])
    with pytest.raises(ModelFolderError):
        load(["model/", "promoter"])


def test_two_input_training_resumes_bit_for_bit(here, tmp_path):
    """A training that stops after a checkpoint and resumes has the same losses, bit for bit."""
    run_file = config.read_run_file("run.toml")
    changes = {"max_steps": 8, "checkpoint_every": 4, "evaluate_every": 4}
    training = run_file.training.model_copy(update=changes)
    run_file = run_file.model_copy(update={"training": training})
    whole, parts = (st.copy_task(Path(), tmp_path / name) for name in ("whole", "parts"))
    model = st.fit(whole, run_file)
    with st.crashed(6):
        st.fit(parts, run_file)
    st.assert_same_weights(model, st.fit(parts, run_file))


def test_model_folder_describes_both_inputs(here):
    run = config.read_run_file("model/run.toml")
    assert (run.model.kind, run.partner.kind) == ("paired", "sequence")
    card = Path("model/README.md").read_text()
    assert "A pair of self-attention encoders, one per input" in card
    assert "partner=PARTNERS" in card
    provenance = st.read_json("model/provenance.json")
    assert [source["path"] for source in provenance["partners"]] == ["partners.fa"]
    assert st.corpus_of(".").fingerprint == provenance["corpus_fingerprint"]

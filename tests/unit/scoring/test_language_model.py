"""Tests of published language models without training."""

import numpy as np
import pytest
import torch
from pretrained_folders import ESM_TOKENS, NT_TOKENS, make_folder
from safetensors.torch import load_file, save_file

import selfattn_bio
from selfattn_bio.errors import ArgumentError, ModelFolderError
from selfattn_bio.model.pretrained.folder import transformers
from selfattn_bio.sequence.alphabet import PROTEIN, RNA

SEQUENCE = "MKTAYIAKQRQIS"


@pytest.fixture(scope="module")
def esm(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("esm") / "esm2", "esm2")


def reference(folder, ids):
    """Return log p of `transformers` for one row of ids."""
    model = transformers().AutoModelForMaskedLM.from_pretrained(folder, local_files_only=True)
    with torch.no_grad():
        return model.eval()(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1).numpy()


def test_probabilities_are_those_of_transformers(esm):
    model = selfattn_bio.load_pretrained(esm)
    assert model.alphabet is PROTEIN
    ids = [0, *map(ESM_TOKENS.index, SEQUENCE), 2]
    columns = list(map(ESM_TOKENS.index, PROTEIN.letters))
    wild_type = reference(esm, ids)[1:-1, columns]
    np.testing.assert_allclose(
        model.log_probabilities(SEQUENCE, masked=False), wild_type, rtol=1e-4, atol=1e-5
    )
    masked = model.log_probabilities(SEQUENCE)
    for i in (0, 6, 12):
        hidden = [*ids]
        hidden[i + 1] = ESM_TOKENS.index("<mask>")
        expected = reference(esm, hidden)[i + 1, columns]
        np.testing.assert_allclose(masked[i], expected, rtol=1e-4, atol=1e-5)
    observed = masked[np.arange(len(SEQUENCE)), [PROTEIN.letters.index(x) for x in SEQUENCE]]
    perplexity = model.perplexity([SEQUENCE])["perplexity"]
    assert perplexity.item() == pytest.approx(float(np.exp(-observed.mean())), rel=1e-4)


def test_substitutions_are_differences_of_log_p(esm):
    model = selfattn_bio.load_pretrained(esm)
    effects, log_p = model.score_substitutions(SEQUENCE), model.log_probabilities(SEQUENCE)
    k, w = PROTEIN.letters.index("K"), PROTEIN.letters.index("W")
    assert effects[1, w] == pytest.approx(log_p[1, w] - log_p[1, k])
    assert effects[1, k] == 0
    double = model.score_mutants(SEQUENCE, ["MWTAYIWKQRQIS", SEQUENCE])
    assert double.tolist() == pytest.approx([effects[1, w] + effects[6, w], 0.0])
    assert not len(model.score_mutants(SEQUENCE, []))
    unknown = model.score_mutants("MXTA", ["MXWA", "MKTA"])  # X counts only where it changes
    assert np.isnan(unknown).tolist() == [False, True]
    with pytest.raises(ArgumentError, match="mutant 0 has length 2"):
        model.score_mutants(SEQUENCE, ["MK"])


def test_substitutions_of_a_region_have_a_table_and_a_plot(esm, tmp_path):
    (tmp_path / "p.fa").write_text(f">one\n{SEQUENCE}\n")
    model = selfattn_bio.load_pretrained(esm)
    found = selfattn_bio.score_substitutions(model, tmp_path / "p.fa", "one:2-4")
    assert len(found.table) == 3 * 19
    row = found.table[(found.table["pos"] == 2) & (found.table["alt"] == "W")]
    expected = model.score_substitutions(SEQUENCE)[1, PROTEIN.letters.index("W")]
    assert row["effect"].item() == pytest.approx(expected)
    found.save(tmp_path / "p")
    assert (tmp_path / "p.saturation.svg").exists()


def test_a_base_changes_the_six_mer_that_covers_it(tmp_path):
    folder = make_folder(tmp_path / "nt", "nucleotide_transformer")
    model, text = selfattn_bio.load_pretrained(folder), "ACGTACGTACGTAC"
    effects = model.score_substitutions(text)
    tokens = ["ACGTAC", "GTACGT", "A", "C"]
    ids = [NT_TOKENS.index("<cls>"), *map(NT_TOKENS.index, tokens)]
    ids[2] = NT_TOKENS.index("<mask>")
    log_p = reference(folder, ids)[2]
    changed, same = NT_TOKENS.index("GTCCGT"), NT_TOKENS.index("GTACGT")
    assert effects[8, 1] == pytest.approx(float(log_p[changed] - log_p[same]), rel=1e-3)


def test_a_vocabulary_with_u_is_one_of_rna(tmp_path):
    folder = make_folder(tmp_path / "nt", "nucleotide_transformer")
    text = (folder / "vocab.txt").read_text()
    (folder / "vocab.txt").write_text(text.replace("T", "U"))
    model = selfattn_bio.load_pretrained(folder)
    assert model.alphabet is RNA
    as_dna = selfattn_bio.load_pretrained(make_folder(tmp_path / "dna", "nucleotide_transformer"))
    assert np.array_equal(model.embed(["ACGUUGCA"]).vectors, as_dna.embed(["ACGTTGCA"]).vectors)


def test_vectors_are_those_of_each_letter_and_their_mean(esm):
    model = selfattn_bio.load_pretrained(esm)
    mean = model.embed([SEQUENCE, "MKV"])
    letters = model.embed([SEQUENCE, "MKV"], per_letter=True)
    assert mean.vectors.shape == (2, 32)
    assert letters.positions[["start", "end"]].iloc[-1].tolist() == [2, 3]
    np.testing.assert_allclose(letters.vectors[-3:].mean(0), mean.vectors[1], rtol=1e-4, atol=1e-6)


def test_no_sequences_have_no_vectors(esm):
    for per_letter in (False, True):
        found = selfattn_bio.load_pretrained(esm).embed([], per_letter=per_letter)
        assert found.vectors.shape == (0, 32)


def test_models_without_letters_or_masks_say_so(tmp_path):
    t5 = selfattn_bio.load_pretrained(make_folder(tmp_path / "t5", "t5"))
    with pytest.raises(ArgumentError, match="does not predict masked letters"):
        t5.log_probabilities(SEQUENCE)
    dnabert = selfattn_bio.load_pretrained(make_folder(tmp_path / "dnabert", "dnabert"))
    with pytest.raises(ArgumentError, match="tokens that overlap"):
        dnabert.log_probabilities("ACGTACGT")
    with pytest.raises(ArgumentError, match="has length 2, but the model needs at least 3"):
        dnabert.embed(["ACGT", "AC"])


def test_every_weight_of_the_head_is_read(tmp_path):
    """A head with random weights would give random probabilities."""
    folder = make_folder(tmp_path / "modernbert", "modernbert")
    weights = load_file(folder / "model.safetensors")
    del weights["head.norm.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelFolderError, match="the weights lack 'head\\.norm"):
        selfattn_bio.load_pretrained(folder)


@pytest.mark.parametrize("name", ["cls.seq_relationship.bias", "cls.species.bias"])
def test_heads_of_other_questions_are_not_used(name, tmp_path):
    folder = make_folder(tmp_path / "protbert", "protbert")
    weights = load_file(folder / "model.safetensors")
    weights[name] = torch.zeros(2)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert selfattn_bio.load_pretrained(folder).log_probabilities("MKT").shape == (3, 20)


def test_longer_sequences_than_the_model_reads_are_refused(tmp_path):
    model = selfattn_bio.load_pretrained(make_folder(tmp_path / "bert", "protbert"))
    for score in (model.score_substitutions, lambda text: model.perplexity([text])):
        with pytest.raises(ArgumentError, match="602 tokens, but the model reads at most 512"):
            score("ACDEFGHIKL" * 60)
    assert model.embed(["ACDEFGHIKL" * 60]).vectors.shape == (1, 32)


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    folder = make_folder(tmp_path / "esm", "esm2")
    weights = load_file(folder / "model.safetensors")
    name = "esm.encoder.layer.0.output.dense.bias"
    weights[name] = torch.full_like(weights[name], torch.nan)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    model = selfattn_bio.load_pretrained(folder)
    for work in (model.embed, model.perplexity, lambda texts: model.score_substitutions(*texts)):
        with pytest.raises(
            ModelFolderError, match="esm: the network returned numbers that are not"
        ):
            work(["MKTAYIAK"])

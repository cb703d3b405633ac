"""Tests of pretrained models: they give the numbers of `transformers`, and their errors."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from pretrained_folders import FAMILIES, OWN_FAMILIES, make_folder
from safetensors.torch import load_file, save_file
from transformers.models.esm import modeling_esm

from selfattn_bio import config
from selfattn_bio.attention.positions import Rotary
from selfattn_bio.errors import ArgumentError, ModelFolderError
from selfattn_bio.model.pretrained.folder import read_vocabulary, transformers
from selfattn_bio.model.pretrained.network import PretrainedNetwork
from selfattn_bio.model.pretrained.vocabulary import FIRST, KmerVocabulary
from selfattn_bio.sequence.alphabet import get_alphabet
from selfattn_bio.sequence.kmers import KmerTokenizer, pad_letters

SEQUENCES = {
    "dna": ["ACGTACGTACGTAAGCCTTAGA", "ACGTACNACGTACCA", "GGGTTAC"],
    "protein": ["MKTAYIAKQRQISFVKSHFSRQ", "MKXAYIAKQR", "GAVLC"],
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("pretrained")
    return {name: make_folder(root / name, name) for name in FAMILIES}


def tokens_of(name, sequences=None):
    """Return the tokens of this package, (B, N)."""
    alphabet = get_alphabet(FAMILIES[name].alphabet)
    letters = [
        np.frombuffer(text.encode(), np.uint8)
        for text in sequences or SEQUENCES[FAMILIES[name].alphabet]
    ]
    codes = alphabet.codes(pad_letters(letters))
    return torch.from_numpy(KmerTokenizer(alphabet, k=1).encode(codes)).long()


def text_of(name, text):
    """Return a sequence as the tokenizer of the family reads it."""
    if not FAMILIES[name].words:
        return text
    k = max(len(token) for token in FAMILIES[name].tokens if token.isalpha())
    return " ".join(text[i : i + k] for i in range(len(text) - k + 1))


def network_of(folder, name, dtype=torch.float32):
    section = config.PretrainedModel(folder=str(folder))
    alphabet = get_alphabet(FAMILIES[name].alphabet)
    network = PretrainedNetwork(section, alphabet, 1, per_letter=False)
    network.read_weights()
    return network.to(dtype).eval()


def reference(folder, dtype):
    """Return the encoder and tokenizer of `transformers`."""
    library = transformers()
    tokenizer = library.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    settings = library.AutoConfig.from_pretrained(folder, local_files_only=True)
    kind = library.T5EncoderModel if settings.model_type == "t5" else library.AutoModel
    model = kind.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    return model.to(dtype).eval(), tokenizer


@pytest.mark.parametrize("name", FAMILIES)
def test_tokens_are_those_of_the_tokenizer(name, folders):
    _, tokenizer = reference(folders[name], torch.float32)
    texts = SEQUENCES[FAMILIES[name].alphabet]
    pieces = read_vocabulary(folders[name], get_alphabet(FAMILIES[name].alphabet))(tokens_of(name))
    for ids, mask, text in zip(pieces.ids, pieces.mask, texts, strict=True):
        assert ids[mask].tolist() == tokenizer(text_of(name, text))["input_ids"]
    # every letter is covered, by tokens in order
    for start, width, text in zip(pieces.start, pieces.width, texts, strict=True):
        covered = {
            i
            for at, n in zip(start.tolist(), width.tolist(), strict=True)
            for i in range(at, at + n)
        }
        assert covered == set(range(len(text)))


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("name", FAMILIES)
def test_vectors_and_gradients_are_those_of_transformers(
    name, folders, dtype, bound, padded, monkeypatch
):
    if dtype == torch.float64:  # transformers rotates in float32 in all precisions
        monkeypatch.setattr(
            modeling_esm, "apply_rotary_pos_emb", lambda q, k, *_, **__: Rotary(8).rotate(q, k)
        )
    network, (model, tokenizer) = (
        network_of(folders[name], name, dtype),
        reference(folders[name], dtype),
    )
    texts = SEQUENCES[FAMILIES[name].alphabet][: 3 if padded else 1]
    given = tokenizer([text_of(name, each) for each in texts], padding=True, return_tensors="pt")
    mask = given["attention_mask"]
    expected = model(input_ids=given["input_ids"], attention_mask=mask).last_hidden_state
    pieces = network.vocabulary(tokens_of(name, texts))
    found = network.body.backbone(pieces)
    inside = mask.bool()
    assert relative(found[inside], expected[inside]) < bound
    # the gradient of the embeddings of the vocabulary
    mine, theirs = network.body.backbone.table.weight, model.get_input_embeddings().weight
    weights = torch.randn(
        found[inside].shape, dtype=dtype, generator=torch.Generator().manual_seed(1)
    )
    (found[inside] * weights).sum().backward()
    (expected[inside] * weights).sum().backward()
    assert relative(mine.grad, theirs.grad) < bound


def relative(found, expected):
    """Return the largest difference; NaN, as Longformer has at padding, must agree."""
    assert torch.equal(found.isnan(), expected.isnan())
    found, expected = found.detach().nan_to_num(), expected.detach().nan_to_num()
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", FAMILIES)
def test_one_hot_letters_give_the_same_outputs(name, folders):
    network, tokens = network_of(folders[name], name, torch.float64), tokens_of(name)
    found = network.classify(network.inputs(tokens), network.mask_of(tokens))
    assert torch.allclose(found, network(tokens)[:, 0], atol=1e-10)


@pytest.mark.parametrize("name", ["esm2", "nucleotide_transformer", "dnabert"])
def test_gradient_of_a_letter_comes_from_its_tokens(name, folders):
    network = network_of(folders[name], name, torch.float64)
    tokens = tokens_of(name, SEQUENCES[FAMILIES[name].alphabet][:1])
    letters = network.inputs(tokens).requires_grad_()
    network.classify(letters, network.mask_of(tokens)).sum().backward()
    # a small step from letter 5 towards another letter, by finite differences
    other = 4 if int(tokens[0, 5]) != 4 else 5
    direction = torch.zeros_like(letters)
    direction[0, 5, other], direction[0, 5, tokens[0, 5]] = 1, -1
    step = 1e-3
    with torch.no_grad():
        ends = [
            network.classify(letters + sign * step * direction, network.mask_of(tokens)).sum()
            for sign in (1, -1)
        ]
    assert float((letters.grad * direction).sum()) == pytest.approx(
        float((ends[0] - ends[1]) / (2 * step)), rel=1e-3
    )


def test_long_sequences_are_read_in_tiles(tmp_path):
    folder = make_folder(tmp_path / "bert", "protbert")
    network = network_of(folder, "protbert", torch.float64)
    assert network.body.backbone.longest == 512
    text = "".join(np.random.default_rng(0).choice(list("ACDEFGHIK"), 700))
    tokens = tokens_of("protbert", [text])
    vectors, mask = network.encode(tokens)
    assert vectors.shape == (1, 700, 32)
    assert bool(mask.all())
    # the first positions see only the first tile of 512 tokens
    pieces = network.vocabulary(tokens)
    alone = network.body.backbone.encode(pieces.ids[:, :512], pieces.mask[:, :512], None)
    assert torch.allclose(vectors[0, :300], alone[0, 1:301])


def test_tiles_have_their_own_padding_and_vectors(tmp_path):
    network = network_of(make_folder(tmp_path / "bert", "protbert"), "protbert", torch.float64)
    texts = ["".join(np.random.default_rng(0).choice(list("ACDEFGHIK"), n)) for n in (700, 450, 99)]
    tokens, backbone = tokens_of("protbert", texts), network.body.backbone
    pieces = network.vocabulary(tokens)
    vectors = backbone.table.weight[pieces.ids].flip(-1)
    found = backbone(pieces, vectors)
    for tile, kept in ((slice(0, 512), slice(0, 384)), (slice(256, 702), slice(384, 702))):
        alone = backbone.encode(pieces.ids[:, tile], pieces.mask[:, tile], vectors[:, tile])
        own = pieces.mask[:, kept]
        at = slice(kept.start - tile.start, kept.stop - tile.start)
        assert torch.allclose(found[:, kept][own], alone[:, at][own])
    # a record that ends before the last tile has the outputs that it has alone
    assert torch.allclose(network(tokens)[2], network(tokens[2:, :99])[0])


def test_a_letter_has_the_vector_of_the_token_around_it():
    names = FIRST + 4
    overlapping = KmerVocabulary([70], [71], 72, 3, 1, torch.arange(64), torch.arange(names))
    side_by_side = KmerVocabulary([70], [], 72, 3, 3, torch.arange(64), torch.arange(names))
    tokens = torch.tensor([[4, 5, 6, 7, 4, 5, 6], [4, 5, 6, 7, 4, 0, 0]])
    for vocabulary, expected in (
        (overlapping, [[1, 1, 2, 3, 4, 5, 5], [1, 1, 2, 3, 3]]),
        (side_by_side, [[1, 1, 1, 2, 2, 2, 3], [1, 1, 1, 2, 3]]),
    ):
        pieces = vocabulary(tokens)
        numbers = torch.arange(pieces.ids.shape[1]).expand(2, -1)[..., None]
        for row, own in zip(pieces.of_letters(numbers, 7)[..., 0], expected, strict=True):
            assert row[: len(own)].tolist() == own


CONFIGS = {
    "layers": {"num_hidden_layers": 3},
    "many layers": {"num_hidden_layers": 10**9},
    "shape": {"intermediate_size": 64},
    "extra": {"num_hidden_layers": 1},
    "mask": {"mask_token_id": None},
    "rows": {"vocab_size": 20},
    "quantised config": {"quantization_config": {"quant_method": "bitsandbytes"}},
}


def damage(folder, name):
    if name == "pointer":
        (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    elif name == "pickle":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    elif name == "truncated":
        data = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    elif name == "quantised":
        weights = load_file(folder / "model.safetensors")
        name = next(name for name in weights if name.endswith("query.weight"))
        save_file(weights | {name: weights[name].int()}, folder / "model.safetensors")
    elif name == "config":
        (folder / "config.json").write_text("{")
    elif name == "no config":
        (folder / "config.json").unlink()
    elif name == "code":
        (folder / "config.json").write_text(json.dumps({"model_type": "x", "auto_map": {"A": "b"}}))
    elif name == "index":
        (folder / "model.safetensors.index.json").write_text('{"weight_map": 5}')
    elif name in CONFIGS:
        values = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(values | CONFIGS[name]))
    elif name == "vocabulary pointer":
        (folder / "vocab.txt").write_text("version https://git-lfs.github.com/spec/v1\n")
    elif name == "vocabulary":
        tokens = (folder / "vocab.txt").read_text()
        (folder / "vocab.txt").write_text(tokens.replace("\nL\n", "\nJ\n"))
    elif name.startswith("index"):
        names = {"index": ["a"], "index outside": {"a": "../esm/model.safetensors"}}[name]
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    elif name == "no vocabulary":
        (folder / "vocab.txt").unlink()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pointer", "pointer of Git LFS"),
        ("pickle", "is a pickle, which can run code"),
        ("truncated", "weights do not fit|damaged"),
        ("quantised", r"query\.weight' has numbers of type I32, as quantised models have\. Use"),
        ("quantised config", r"config\.json: the model is quantised\. Use the model that is not"),
        ("config", "cannot read this file"),
        ("no config", "config.json is missing"),
        ("index", "index.json: weight_map does not name files of the folder"),
        ("index outside", "index.json: weight_map does not name files of the folder"),
        ("code", "needs code of its folder"),
        ("layers", "the weights lack"),
        ("many layers", "1000000000 layers; at most 1000 are possible"),
        ("mask", "token_dropout needs mask_token_id"),
        ("rows", "the vocabulary has token 32, but vocab_size of config.json is 20"),
        ("shape", "shape"),
        ("extra", "the unknown 'encoder.layer.1"),
        ("vocabulary", "lacks 'L'"),
        ("vocabulary pointer", r"vocab\.txt: is a pointer of Git LFS"),
        ("no vocabulary", "the vocabulary is missing: vocab.txt or "),
    ],
)
def test_damaged_folders_have_one_line(name, message, tmp_path):
    folder = make_folder(tmp_path / "esm", "esm2")
    damage(folder, name)
    with pytest.raises(ModelFolderError, match=message) as error:
        network_of(folder, "esm2")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("value", "message"), [("L", "one number for several 1-mers"), (2**31, "has token 2147483648")]
)
def test_tokens_of_a_damaged_vocabulary_are_refused(value, message, tmp_path):
    folder = make_folder(tmp_path / "model", "modernbert")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["A"] = vocabulary.get(value, value)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ModelFolderError, match=message):
        read_vocabulary(folder, get_alphabet("protein"))


def test_the_hint_about_a_pickle_converts_it(tmp_path, monkeypatch):
    folder = make_folder(tmp_path / "esm", "esm2")
    expected = load_file(folder / "model.safetensors")
    torch.save(expected, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelFolderError) as error:
        network_of(folder, "esm2")
    assert "map_location='cpu'" in error.value.hint  # for weights that were saved on a GPU
    monkeypatch.chdir(folder)
    exec(shlex.split(error.value.hint.partition(": ")[2])[2])
    found = load_file(folder / "model.safetensors")
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())


@pytest.mark.parametrize("name", ["nucleotide_transformer", "dnabert"])
def test_rna_is_read_as_dna_of_a_model_of_dna(name, folders):
    dna = read_vocabulary(folders[name], get_alphabet("dna"))(tokens_of(name, ["ACGTACGTT"]))
    rna = read_vocabulary(folders[name], get_alphabet("rna"))(tokens_of(name, ["ACGTACGTT"]))
    assert torch.equal(dna.ids, rna.ids)


def test_a_sequence_without_a_token_is_refused(folders):
    network = network_of(folders["dnabert"], "dnabert")
    with pytest.raises(ArgumentError, match="shorter than a token of the model, 3 letters"):
        network(tokens_of("dnabert", ["ACGT", "AC"]))


def test_a_model_of_proteins_refuses_dna(folders):
    with pytest.raises(ModelFolderError, match="one of proteins, but the sequences are dna"):
        read_vocabulary(folders["esm2"], get_alphabet("dna"))


def test_the_page_lists_the_families_that_are_tested():
    page = (Path(__file__).parents[3] / "docs" / "pretrained.md").read_text()
    rows = [f"| {of.models} | {of.alphabet} | {of.config} |" for of in FAMILIES.values()]
    assert "\n".join([*rows, *OWN_FAMILIES.values()]) in page

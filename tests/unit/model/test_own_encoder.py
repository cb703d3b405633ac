"""Tests of the layers for DNABERT-2 and Nucleotide Transformer v2, against a short reference.

The reference is written from Zhou et al. 2024 (DNABERT-2), Press et al. 2022 (ALiBi), Su et al.
2021 (rotary positions) and Shazeer 2020 (gates), with explicit matrices and published names.
"""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from pretrained_folders import NT_TOKENS, make_dnabert2, make_nucleotide_transformer_v2
from safetensors.torch import load_file, save_file
from test_pretrained import SEQUENCES, relative, tokens_of
from torch.nn.functional import gelu, layer_norm, linear, silu

import selfattn_bio
from selfattn_bio import config
from selfattn_bio.attribution.methods.mutagenesis import Guided
from selfattn_bio.errors import ArgumentError, ModelFolderError
from selfattn_bio.model.pretrained.network import PretrainedNetwork
from selfattn_bio.model.pretrained.own import OwnBackbone
from selfattn_bio.sequence.alphabet import DNA

MAKERS = {"dnabert2": make_dnabert2, "nucleotide_transformer_v2": make_nucleotide_transformer_v2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("own")
    return {name: make(root / name) for name, make in MAKERS.items()}


def network_of(folder, dtype=torch.float32):
    section = config.PretrainedModel(folder=str(folder))
    network = PretrainedNetwork(section, DNA, 1, per_letter=False)
    network.read_weights()
    return network.to(dtype).eval()


def pieces_of(network, sequences=SEQUENCES["dna"]):
    return network.vocabulary(tokens_of("nucleotide_transformer", sequences))


class Reference:
    """The published networks, for one sequence without padding."""

    def __init__(self, folder, dtype):
        self.values = json.loads((folder / "config.json").read_text())
        found = load_file(folder / "model.safetensors")
        self.weights = {
            name.removeprefix("bert.").removeprefix("esm."): weight.to(dtype)
            for name, weight in found.items()
        }
        self.table = self.weights["embeddings.word_embeddings.weight"].requires_grad_()
        self.heads = self.values["num_attention_heads"]

    def linear(self, x, name):
        return linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def norm(self, x, name):
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return layer_norm(x, weight.shape, weight, bias, 1e-12)

    def slopes(self, heads):
        """Return the slopes of Press et al., also for numbers that are no power of two."""
        if math.log2(heads).is_integer():
            start = 2 ** (-8 / heads)
            return [start ** (i + 1) for i in range(heads)]
        below = 2 ** int(math.log2(heads))
        return self.slopes(below) + self.slopes(2 * below)[::2][: heads - below]

    def attention(self, q, k, v, rotary):
        at, parts = torch.arange(len(q), dtype=torch.float64), []
        q, k, v = (x.chunk(self.heads, -1) for x in (q, k, v))
        for head, slope in enumerate(self.slopes(self.heads)):
            a, b = (self.rotated(x[head], at) if rotary else x[head] for x in (q, k))
            scores = a @ b.T / math.sqrt(a.shape[1])
            if not rotary:
                scores = scores - slope * (at[:, None] - at[None, :]).abs().to(scores.dtype)
            parts.append(scores.softmax(-1) @ v[head])
        return torch.cat(parts, -1)

    def rotated(self, x, at):
        half = x.shape[1] // 2
        angles = at[:, None] * 10_000 ** (-torch.arange(half, dtype=torch.float64) / half)
        turned = torch.complex(*x.double().split(half, 1)) * torch.exp(1j * angles)
        return torch.cat((turned.real, turned.imag), 1).to(x.dtype)

    def dnabert2(self, ids):
        x = self.table[ids] + self.weights["embeddings.token_type_embeddings.weight"][0]
        x = self.norm(x, "embeddings.LayerNorm")
        for layer in ("encoder.layer.0", "encoder.layer.1"):
            q, k, v = self.linear(x, f"{layer}.attention.self.Wqkv").chunk(3, -1)
            own = self.attention(q, k, v, rotary=False)
            own = self.linear(own, f"{layer}.attention.output.dense")
            x = self.norm(x + own, f"{layer}.attention.output.LayerNorm")
            gate, values = self.linear(x, f"{layer}.mlp.gated_layers").chunk(2, -1)
            own = self.linear(gelu(gate) * values, f"{layer}.mlp.wo")
            x = self.norm(x + own, f"{layer}.mlp.layernorm")
        return x

    def nucleotide_transformer_v2(self, ids):
        masked = ids == self.values["mask_token_id"]
        x = torch.where(masked[:, None], 0, self.table[ids])
        x = x * (1 - 0.15 * 0.8) / (1 - masked.double().mean().to(x.dtype))
        for layer in ("encoder.layer.0", "encoder.layer.1"):
            own = self.norm(x, f"{layer}.attention.LayerNorm")
            q, k, v = (
                self.linear(own, f"{layer}.attention.self.{name}")
                for name in ("query", "key", "value")
            )
            own = self.attention(q, k, v, rotary=True)
            x = x + self.linear(own, f"{layer}.attention.output.dense")
            own = self.linear(self.norm(x, f"{layer}.LayerNorm"), f"{layer}.intermediate.dense")
            gate, values = own.chunk(2, -1)
            x = x + self.linear(silu(gate) * values, f"{layer}.output.dense")
        return self.norm(x, "encoder.emb_layer_norm_after")


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("name", MAKERS)
def test_vectors_and_gradients_are_those_of_the_reference(name, folders, dtype, bound, padded):
    network, expected = network_of(folders[name], dtype), Reference(folders[name], dtype)
    pieces = pieces_of(network, SEQUENCES["dna"][: 3 if padded else 1])
    assert bool(pieces.mask.all()) != padded
    if name == "nucleotide_transformer_v2":
        pieces.ids[0, 2] = NT_TOKENS.index("<mask>")
    found = network.body.backbone(pieces)[pieces.mask]
    every = zip(pieces.ids, pieces.mask, strict=True)
    rows = torch.cat([getattr(expected, name)(ids[mask]) for ids, mask in every])
    assert relative(found, rows) < bound
    weights = torch.randn(found.shape, dtype=dtype, generator=torch.Generator().manual_seed(1))
    (found * weights).sum().backward()
    (rows * weights).sum().backward()
    assert relative(network.body.backbone.table.weight.grad, expected.table.grad) < bound


@pytest.mark.parametrize("name", MAKERS)
def test_tokens_cover_every_letter(name, folders):
    pieces = pieces_of(network_of(folders[name]))
    for start, width, text in zip(pieces.start, pieces.width, SEQUENCES["dna"], strict=True):
        covered = [i for a, n in zip(start, width, strict=True) for i in range(a, a + n)]
        assert covered == list(range(len(text)))
    assert int(pieces.width.max()) > 1


def test_gradients_of_letters_need_tokens_of_one_length(folders):
    network = network_of(folders["dnabert2"])
    with pytest.raises(ArgumentError, match="tokens vary in length") as error:
        Guided().check(SimpleNamespace(network=network))
    assert "saturation" in str(error.value)
    network = network_of(folders["nucleotide_transformer_v2"], torch.float64)
    tokens = tokens_of("nucleotide_transformer")
    found = network.classify(network.inputs(tokens), network.mask_of(tokens))
    assert torch.allclose(found, network(tokens)[:, 0], atol=1e-10)


def test_probabilities_are_those_of_the_head(folders):
    folder = folders["nucleotide_transformer_v2"]
    model, expected = selfattn_bio.load_pretrained(folder), Reference(folder, torch.float32)
    ids = torch.tensor([3, 10, 2, 12])
    x = gelu(expected.linear(expected.nucleotide_transformer_v2(ids), "lm_head.dense"))
    x = expected.linear(expected.norm(x, "lm_head.layer_norm"), "lm_head.decoder")
    log_p = (x + expected.weights["lm_head.bias"]).log_softmax(-1)
    found = model.module.log_p(ids[None], torch.ones(1, 4, dtype=torch.bool))[0]
    assert relative(found, log_p) < 1e-5
    assert model.score_substitutions("ACGTACGTACGTAC").shape == (14, 4)
    with pytest.raises(ArgumentError, match="vary in length"):
        selfattn_bio.load_pretrained(folders["dnabert2"]).log_probabilities("ACGT")


def test_dropout_and_weights_follow_the_configuration(folders):
    network = network_of(folders["dnabert2"]).train()
    pieces = pieces_of(network)
    assert not torch.equal(network.body.backbone(pieces), network.body.backbone(pieces))
    control = config.PretrainedModel(folder=str(folders["dnabert2"]), weights="random")
    backbone = PretrainedNetwork(control, DNA, 1, per_letter=False).body.backbone
    assert isinstance(backbone, OwnBackbone)
    assert backbone.table.weight.std().item() == pytest.approx(0.02, rel=0.2)


def change(folder, name):
    path = folder / "model.safetensors"
    weights, values = load_file(path), json.loads((folder / "config.json").read_text())
    wo, table = "bert.encoder.layer.1.mlp.wo.bias", "bert.embeddings.word_embeddings.weight"
    if name == "missing":
        del weights[wo]
    elif name == "shape":
        weights[table] = weights[table][:-1].clone()
    elif name == "extra":
        weights["bert.embeddings.position_embeddings"] = torch.ones(3)
    elif name == "layers":
        values["num_hidden_layers"] = 1
    elif name == "heads":
        values["num_attention_heads"] = 5
    elif name == "positions":
        values = {**values, "add_bias_fnn": False, "position_embedding_type": "absolute"}
        del values["alibi_starting_size"]
    save_file(weights, path)
    (folder / "config.json").write_text(json.dumps(values))
    if name == "truncated":
        path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "lack 'encoder.layer.1.mlp.wo.bias'"),
        ("shape", "another shape for 'embeddings.word_embeddings.weight'"),
        ("extra", "unknown 'embeddings.position_embeddings'"),
        ("layers", "unknown 'encoder.layer.1"),
        ("heads", "not divisible by 5"),
        ("positions", "position_embedding_type is 'absolute'"),
        ("truncated", "damaged"),
    ],
)
def test_damaged_folders_have_one_line(name, message, tmp_path):
    folder = make_dnabert2(tmp_path / "dnabert2")
    change(folder, name)
    with pytest.raises(ModelFolderError, match=message) as error:
        network_of(folder)
    assert "\n" not in str(error.value)

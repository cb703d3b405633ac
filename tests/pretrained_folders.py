"""Make folders of small pretrained models, as `huggingface-cli download` would write them.

Weights are random. Each family has its architecture, its vocabulary and its way of marking the ends
of a sequence.
"""

import json
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from selfattn_bio.model.pretrained.folder import transformers

RESIDUES = list("LAGVSERTIDPKQNFYMHWCXBUZO")
ESM_TOKENS = ["<cls>", "<pad>", "<eos>", "<unk>", *RESIDUES, ".", "-", "<null_1>", "<mask>"]
SIX = ["".join(each) for each in product("ATCG", repeat=6)]
NT_TOKENS = ["<unk>", "<pad>", "<mask>", "<cls>", "<eos>", "<bos>", *SIX, *"ATCGN"]
BERT_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
THREE = ["".join(each) for each in product("ATCG", repeat=3)]
ESM_NAMES = {f"{name}_token": f"<{name}>" for name in ("cls", "eos", "pad", "mask", "unk")}
BERT_NAMES = {f"{name}_token": f"[{name.upper()}]" for name in ("cls", "sep", "pad", "mask", "unk")}
SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZE |= {"intermediate_size": 48}


@dataclass(frozen=True)
class Family:
    """A family of published models.

    Attributes
    ----------
    models
        Published models of the family, for docs/pretrained.md.
    alphabet
        "dna" or "protein".
    config, settings
        Name of the configuration of `transformers`, and its values.
    tokenizer, names
        Class of the tokenizer, and its special tokens.
    tokens
        The vocabulary, in the order of its numbers.
    """

    models: str
    alphabet: str
    config: str
    settings: dict[str, Any]
    tokenizer: str
    names: dict[str, Any]
    tokens: list[str]
    words: bool = field(default=False)  # whether its tokenizer needs spaces between the tokens


def esm(**settings: Any) -> dict[str, Any]:
    """Return the settings of an ESM for proteins."""
    return {**SIZE, "vocab_size": 33, "pad_token_id": 1, "mask_token_id": 32, **settings}


FAMILIES = {
    "esm2": Family(
        "ESM-2",
        "protein",
        "EsmConfig",
        esm(position_embedding_type="rotary", token_dropout=True, emb_layer_norm_before=False),
        "EsmTokenizer",
        ESM_NAMES,
        ESM_TOKENS,
    ),
    "esm1b": Family(
        "ESM-1b, ESM-1v",
        "protein",
        "EsmConfig",
        esm(position_embedding_type="absolute", token_dropout=True, emb_layer_norm_before=True),
        "EsmTokenizer",
        ESM_NAMES,
        ESM_TOKENS,
    ),
    "nucleotide_transformer": Family(
        "Nucleotide Transformer v1",
        "dna",
        "EsmConfig",
        esm(vocab_size=len(NT_TOKENS), mask_token_id=2, emb_layer_norm_before=False),
        "EsmTokenizer",
        ESM_NAMES | {"eos_token": None},
        NT_TOKENS,
    ),
    "dnabert": Family(
        "DNABERT with 3- to 6-mers",
        "dna",
        "BertConfig",
        SIZE | {"vocab_size": len(BERT_SPECIAL + THREE)},
        "BertTokenizer",
        BERT_NAMES | {"do_lower_case": False},
        BERT_SPECIAL + THREE,
        words=True,
    ),
    "protbert": Family(
        "ProtBert, AntiBERTy",
        "protein",
        "BertConfig",
        SIZE | {"vocab_size": len(BERT_SPECIAL + RESIDUES)},
        "BertTokenizer",
        BERT_NAMES | {"do_lower_case": False},
        BERT_SPECIAL + RESIDUES,
        words=True,
    ),
    "roberta": Family(
        "RoBERTa",
        "protein",
        "RobertaConfig",
        esm(vocab_size=len(ESM_TOKENS)),
        "EsmTokenizer",
        ESM_NAMES,
        ESM_TOKENS,
    ),
    "t5": Family(
        "T5 encoders (ProtT5, Ankh)",
        "protein",
        "T5Config",
        {
            **{"vocab_size": len(ESM_TOKENS), "d_model": 32, "d_kv": 8, "d_ff": 48},
            **{"num_layers": 2, "num_heads": 4, "pad_token_id": 1},
        },
        "EsmTokenizer",
        ESM_NAMES,
        ESM_TOKENS,
    ),
    "modernbert": Family(
        "ModernBERT",
        "protein",
        "ModernBertConfig",
        SIZE
        | {
            **{"vocab_size": len(BERT_SPECIAL + RESIDUES), "pad_token_id": 0},
            **dict.fromkeys(("cls_token_id", "bos_token_id"), 2),
            **dict.fromkeys(("sep_token_id", "eos_token_id"), 3),
        },
        "PreTrainedTokenizerFast",
        BERT_NAMES,
        BERT_SPECIAL + RESIDUES,
    ),
    "bigbird": Family(
        "BigBird",
        "protein",
        "BigBirdConfig",
        esm(vocab_size=len(ESM_TOKENS), attention_type="original_full"),
        "EsmTokenizer",
        ESM_NAMES,
        ESM_TOKENS,
    ),
    "longformer": Family(
        "Longformer",
        "protein",
        "LongformerConfig",
        esm(vocab_size=len(ESM_TOKENS), attention_window=[8, 8]),
        "EsmTokenizer",
        ESM_NAMES,
        ESM_TOKENS,
    ),
}

# Families with layers of this package, as in docs/pretrained.md. Their folders need code of their
# own; tests/unit/model/test_own_encoder.py compares them with a reference.
OWN_FAMILIES = {
    "dnabert2": "| DNABERT-2, DNABERT-S | dna | layers of this package |",
    "nucleotide_transformer_v2": "| Nucleotide Transformer v2 | dna | layers of this package |",
}


def random_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Return weights of these shapes; those of norms are near 1."""
    torch.manual_seed(0)
    return {
        name: 0.2 * torch.randn(shape) + float("norm" in name.lower() and name.endswith("weight"))
        for name, shape in shapes.items()
    }


def with_biases(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of weight and bias of each linear layer or norm, by its name."""
    weights = {f"{name}.weight": shape for name, shape in shapes.items()}
    return weights | {f"{name}.bias": shape[:1] for name, shape in shapes.items()}


def make_dnabert2(folder: Path) -> Path:
    """Write a small DNABERT-2: six heads, which is no power of two, and a vocabulary of BPE."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    texts = ["".join("ACGT"[(i * i + i // 3 + n) % 4] for i in range(60)) for n in range(4)]
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=24, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    dim, inner, count = 36, 48, tokenizer.get_vocab_size()
    values = {"architectures": ["BertForMaskedLM"], "alibi_starting_size": 512, "vocab_size": count}
    values |= {"auto_map": {"AutoModel": "bert_layers.BertModel"}, "hidden_dropout_prob": 0.1}
    values |= {"hidden_size": dim, "num_hidden_layers": 2, "num_attention_heads": 6}
    values |= {"intermediate_size": inner, "attention_probs_dropout_prob": 0.0}
    shapes = {"embeddings.LayerNorm": (dim,)}
    plain: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (count, dim),
        "embeddings.token_type_embeddings.weight": (2, dim),
    }
    for layer in ("encoder.layer.0", "encoder.layer.1"):
        shapes |= {f"{layer}.attention.self.Wqkv": (3 * dim, dim), f"{layer}.mlp.wo": (dim, inner)}
        shapes |= {f"{layer}.attention.output.dense": (dim, dim)}
        shapes |= {f"{layer}.attention.output.LayerNorm": (dim,), f"{layer}.mlp.layernorm": (dim,)}
        plain[f"{layer}.mlp.gated_layers.weight"] = (2 * inner, dim)
    weights = {f"bert.{x}": y for x, y in random_weights(plain | with_biases(shapes)).items()}
    head = with_biases({"cls.predictions.transform.dense": (dim, dim)})
    _write(folder, values, weights | random_weights(head))
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"tokenizer_class": "PreTrainedTokenizerFast", **BERT_NAMES}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    return folder


def make_nucleotide_transformer_v2(folder: Path) -> Path:
    """Write a small Nucleotide Transformer v2, with token dropout and the head of its model."""
    dim, inner, count = 32, 48, len(NT_TOKENS)
    values = {**SIZE, "architectures": ["EsmForMaskedLM"], "add_bias_fnn": False}
    values |= {"auto_map": {"AutoModelForMaskedLM": "modeling_esm.EsmForMaskedLM"}}
    values |= {"position_embedding_type": "rotary", "token_dropout": True, "pad_token_id": 1}
    values |= {"mask_token_id": 2, "vocab_size": count, "emb_layer_norm_before": False}
    values |= {"tie_word_embeddings": False, "layer_norm_eps": 1e-12, "hidden_dropout_prob": 0.0}
    shapes = {"encoder.emb_layer_norm_after": (dim,)}
    plain: dict[str, tuple[int, ...]] = {"embeddings.word_embeddings.weight": (count, dim)}
    for layer in ("encoder.layer.0", "encoder.layer.1"):
        names = (*(f"self.{name}" for name in ("query", "key", "value")), "output.dense")
        shapes |= {f"{layer}.attention.{name}": (dim, dim) for name in names}
        shapes |= {f"{layer}.attention.LayerNorm": (dim,), f"{layer}.LayerNorm": (dim,)}
        plain[f"{layer}.intermediate.dense.weight"] = (2 * inner, dim)
        plain[f"{layer}.output.dense.weight"] = (dim, inner)
        plain[f"{layer}.attention.self.rotary_embeddings.inv_freq"] = (dim // 8,)
    weights = {f"esm.{x}": y for x, y in random_weights(plain | with_biases(shapes)).items()}
    head = with_biases({"lm_head.dense": (dim, dim), "lm_head.layer_norm": (dim,)})
    head |= {"lm_head.decoder.weight": (count, dim), "lm_head.bias": (count,)}
    _write(folder, values, weights | random_weights(head))
    (folder / "vocab.txt").write_text("\n".join(NT_TOKENS))
    names = {"tokenizer_class": "EsmTokenizer", **ESM_NAMES, "eos_token": None}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    return folder


def _write(folder: Path, values: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(values))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def make_folder(folder: Path, name: str) -> Path:
    """Write the folder of a family, with its language model head where there is one."""
    family, library = FAMILIES[name], transformers()
    torch.manual_seed(0)
    settings = getattr(library, family.config)(**family.settings)
    kinds = (library.MODEL_FOR_MASKED_LM_MAPPING, library.MODEL_MAPPING)
    kind = kinds[type(settings) not in kinds[0]][type(settings)]
    model = kind(settings)
    for weight in model.parameters():  # biases and norms are otherwise 0 and 1
        weight.data += 0.1 * torch.randn_like(weight)
    model.save_pretrained(folder)
    if family.tokenizer == "PreTrainedTokenizerFast":
        tokenizer = Tokenizer(
            models.WordLevel({x: i for i, x in enumerate(family.tokens)}, "[UNK]")
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        tokenizer.save(str(folder / "tokenizer.json"))
    else:
        (folder / "vocab.txt").write_text("\n".join(family.tokens))
    values = {"tokenizer_class": family.tokenizer, **family.names}
    (folder / "tokenizer_config.json").write_text(json.dumps(values))
    return folder

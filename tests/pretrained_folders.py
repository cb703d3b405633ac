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
from tokenizers import Tokenizer, models, pre_tokenizers, processors

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

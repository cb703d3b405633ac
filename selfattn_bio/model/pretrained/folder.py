"""Read the folder of a pretrained model: configuration, vocabulary and weights.

Folders are as `huggingface-cli download` writes them: config.json, safetensors and the files of the
tokenizer. The library `transformers` builds the networks. Nothing is downloaded, no code of the
folder runs, and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from selfattn_bio.errors import ModelFolderError
from selfattn_bio.extras import import_extra
from selfattn_bio.files import read_json, sha256_of
from selfattn_bio.model.pretrained.vocabulary import (
    FIRST,
    KmerVocabulary,
    PieceVocabulary,
    Vocabulary,
)
from selfattn_bio.sequence.alphabet import DNA, PROTEIN, RNA, Alphabet
from selfattn_bio.sequence.kmers import MASK, MAX_K, PAD, UNK

CONFIG = "config.json"
# files that a model trained from the folder keeps; the weights are in its own
KEPT = (
    CONFIG,
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
    "vocab.json",
    "merges.txt",
)
VOCABULARIES = ("vocab.txt", "tokenizer.json", "spiece.model", "vocab.json")
WORD = "\N{LOWER ONE EIGHTH BLOCK}"  # begins words in vocabularies of SentencePiece
# models with layers of this package (`own`): a key of their config.json, and its model_type, which
# published files leave out
OWN = {"alibi_starting_size": "bert", "add_bias_fnn": "esm"}
FLOATS = ("F64", "F32", "F16", "BF16")  # types of numbers in safetensors
OF_PROTEINS = {"L", "E", "K"}
MAX_LAYERS = 1000  # published networks have below 100; building thousands takes minutes
POINTER = b"version https://git-lfs"  # a file of Git LFS before `git lfs pull`
MODELS = "docs/pretrained.md lists models for each kind of sequences"
EXACT = "Use the model that is not quantised"
DOWNLOAD = (
    "Download the complete folder, for example with "
    "`huggingface-cli download NAME --local-dir FOLDER`"
)
CONVERT = (
    'Convert it once in its folder, only if you trust its origin: python -c "import torch; from '
    "safetensors.torch import save_file; save_file({k: v.clone().contiguous() for k, v in "
    "torch.load('pytorch_model.bin', map_location='cpu', weights_only=True).items()}, "
    "'model.safetensors', {'format': 'pt'})\""
)


def transformers() -> Any:
    """Import the library, without its progress bars and advice."""
    library = import_extra("transformers", "pretrained", "a pretrained model")
    library.utils.logging.set_verbosity_error()
    library.utils.logging.disable_progress_bar()
    return library


def copy_small_files(folder: Path, target: Path) -> None:
    """Copy configuration and vocabulary, from which the network can be built without weights."""
    target.mkdir(exist_ok=True)
    for name in KEPT:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, target / name)


def read_config(folder: Path) -> Any:
    """Read the configuration of the network.

    Raises
    ------
    ModelFolderError
        If the folder or config.json is missing or damaged, needs code of the folder, or is of a
        quantised model.
    """
    values = _json_of(folder / CONFIG)
    library = transformers()
    of_own = next((kind for key, kind in OWN.items() if key in values), None)
    kind = values.get("model_type", of_own)
    if kind not in library.CONFIG_MAPPING:
        message = f"model_type {kind!r} is unknown"
        if "auto_map" in values:
            message = "the model needs code of its folder, which is not run"
        ModelFolderError.fail(message, folder / CONFIG, MODELS)
    if values.get("quantization_config"):
        ModelFolderError.fail("the model is quantised", folder / CONFIG, EXACT)
    with one_line(folder / CONFIG, "the configuration cannot be used"):
        found = library.CONFIG_MAPPING[kind].from_dict(
            {key: value for key, value in values.items() if key != "auto_map"}
        )
        if (number := found.num_hidden_layers) > MAX_LAYERS:
            raise ValueError(f"{number} layers; at most {MAX_LAYERS} are possible")
    return found


def _json_of(path: Path) -> dict[str, Any]:
    if not path.is_file():
        missing = path.name if path.parent.is_dir() else "the folder"
        raise ModelFolderError(f"{missing} is missing", place=str(path.parent), hint=DOWNLOAD)
    _check_pointer(path)
    return read_json(path, ModelFolderError, DOWNLOAD)


def _check_pointer(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            message = "is a pointer of Git LFS, without the contents of the file"
            ModelFolderError.fail(message, path, "Run `git lfs pull` in the folder")


@contextmanager
def one_line(path: Path, message: str, hint: str = DOWNLOAD) -> Iterator[None]:
    """Name the file in errors of `transformers`, which raises many kinds."""
    try:
        yield
    except (MemoryError, ModelFolderError):
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise ModelFolderError(f"{message}: {text}", place=str(path), hint=hint) from error


def weight_files(folder: Path) -> list[Path]:
    """Return the files of the weights, which are safetensors.

    Raises
    ------
    ModelFolderError
        If there are none, one is a pointer of Git LFS, missing or damaged, or they are quantised.
    """
    files = sorted(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        found: Any = _json_of(index).get("weight_map")
        is_inside = isinstance(found, dict) and all(Path(str(x)).name == x for x in found.values())
        if not is_inside:
            ModelFolderError.fail("weight_map does not name files of the folder", index, DOWNLOAD)
        files = [folder / name for name in sorted(set(found.values()))]
        if missing := [path.name for path in files if not path.is_file()]:
            message = f"{missing[0]} is missing, which {index.name} names"
            ModelFolderError.fail(message, folder, DOWNLOAD)
    if not files:
        pickles = [path.name for path in sorted(folder.glob("*.bin"))]
        if pickles:
            message = f"{pickles[0]} is a pickle, which can run code and is not opened"
            ModelFolderError.fail(message, folder, CONVERT)
        ModelFolderError.fail("there are no weights (*.safetensors)", folder, DOWNLOAD)
    for path in files:
        _check_pointer(path)
        with one_line(path, "the weights are damaged"), safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no dictionary
                kind = file.get_slice(name).get_dtype()
                if name.endswith("weight") and kind not in FLOATS:
                    message = f"{name!r} has numbers of type {kind}, as quantised models have"
                    ModelFolderError.fail(message, path, EXACT)
    return files


def pretrained_sha256(folder: Path) -> str:
    """Return a SHA-256 of configuration, vocabulary and weights.

    Errors are those of `weight_files`.
    """
    files = [folder / name for name in KEPT if (folder / name).is_file()]
    every = [f"{path.name} {sha256_of(path)}" for path in (*files, *weight_files(folder))]
    return hashlib.sha256("\n".join(every).encode()).hexdigest()


def read_tokenizer(folder: Path) -> tuple[Any, dict[str, int]]:
    """Return the tokenizer, and the number of each token that is not special, in upper case."""
    files = [folder / name for name in VOCABULARIES if (folder / name).is_file()]
    if not files:
        message = f"the vocabulary is missing: {' or '.join(VOCABULARIES)}"
        ModelFolderError.fail(message, folder, DOWNLOAD)
    for path in files:
        _check_pointer(path)
    with one_line(folder, "the vocabulary cannot be read"):
        tokenizer = transformers().AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        known = tokenizer.get_vocab()
    special = set(tokenizer.all_special_ids)
    return tokenizer, {
        text.upper().removeprefix(WORD): number
        for text, number in known.items()
        if number not in special
    }


def alphabet_of(folder: Path) -> Alphabet:
    """Return the alphabet of the sequences of a model, by its vocabulary.

    Errors are those of `read_vocabulary`.
    """
    tokens = read_tokenizer(folder)[1].keys()
    return PROTEIN if tokens >= OF_PROTEINS else RNA if "U" in _bases(tokens) else DNA


def _bases(tokens: Iterable[str]) -> set[str]:
    """Return the letters of the tokens of bases; U is left out if there is T."""
    bases = set().union(*(text for text in tokens if set(text) <= set("ACGTUN")))
    return bases - {"U"} if "T" in bases else bases


def read_vocabulary(folder: Path, alphabet: Alphabet) -> Vocabulary:
    """Read how the model divides sequences into tokens.

    Raises
    ------
    ModelFolderError
        If files of the tokenizer are missing, or its tokens are not those of the alphabet.
    """
    tokenizer, ids = read_tokenizer(folder)
    ends = tokenizer("")["input_ids"]
    begin = {tokenizer.cls_token_id, tokenizer.bos_token_id}
    prefix, suffix = [i for i in ends if i in begin], [i for i in ends if i not in begin]
    unknown = tokenizer.unk_token_id
    pad, mask = (
        unknown if number is None else number
        for number in (tokenizer.pad_token_id, tokenizer.mask_token_id)
    )
    written = "T" if "T" in _bases(ids) else "U"  # as the vocabulary writes it
    read = alphabet.letters[-1]  # T of DNA, U of RNA
    if alphabet.is_nucleic:
        ids = {text.replace(written, read): number for text, number in ids.items()}
    used = [number for text, number in ids.items() if set(text) <= set(alphabet.letters)]
    used += [number for number in (*ends, pad, mask) if number is not None]
    if max(used, default=0) >= (rows := read_config(folder).vocab_size):
        message = f"the vocabulary has token {max(used)}, but vocab_size of {CONFIG} is {rows}"
        ModelFolderError.fail(message, folder, DOWNLOAD)
    if alphabet.is_nucleic and ids.keys() >= OF_PROTEINS:
        message = f"the vocabulary is one of proteins, but the sequences are {alphabet.name}"
        ModelFolderError.fail(message, folder, MODELS)
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if type(getattr(backend, "model", None)).__name__ == "BPE":
        text = f"{alphabet.unknown * FIRST}{alphabet.letters}"
        text = text.replace(read, written) if alphabet.is_nucleic else text
        letters = np.frombuffer(text.encode(), np.uint8)

        def split(text: str) -> tuple[list[int], list[tuple[int, int]]]:
            found = backend.encode(text, add_special_tokens=False)
            return found.ids, found.offsets

        return PieceVocabulary(prefix, suffix, pad, split, letters)
    k = max((len(text) for text in ids if set(text) <= set(alphabet.letters)), default=1)
    k = min(k, MAX_K)
    kmers = ["".join(each) for each in product(alphabet.letters, repeat=k)]
    if lacking := next((text for text in kmers if text not in ids), None):
        wanted = f"expected all letters of {alphabet.name}, or all {k}-mers"
        ModelFolderError.fail(f"the vocabulary lacks {lacking!r}; {wanted}", folder, MODELS)
    if len({ids[text] for text in kmers}) < len(kmers):
        message = f"the vocabulary has one number for several {k}-mers"
        ModelFolderError.fail(message, folder, DOWNLOAD)
    has_letters = all(letter in ids for letter in alphabet.letters)
    singles = torch.full((FIRST + len(alphabet.letters),), unknown)
    singles[PAD], singles[MASK] = pad, mask
    if has_letters:
        singles[FIRST:] = torch.tensor([ids[letter] for letter in alphabet.letters])
        singles[UNK] = ids.get(alphabet.unknown, unknown)
    numbers = torch.tensor([ids[text] for text in kmers])
    return KmerVocabulary(prefix, suffix, pad, k, k if has_letters else 1, numbers, singles)

"""Write the network of a model as ONNX, or as a folder that `transformers` loads."""

from __future__ import annotations

import copy
import json
import logging
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor, nn

from selfattn_bio import files
from selfattn_bio.attention.positions import Learned
from selfattn_bio.errors import ArgumentError, ModelFolderError
from selfattn_bio.extras import import_extra
from selfattn_bio.log import LOG
from selfattn_bio.model.classifier import AttentionBody, mirrored
from selfattn_bio.model.pretrained.folder import CONFIG, KEPT, copy_small_files, read_tokenizer
from selfattn_bio.model.pretrained.network import PretrainedNetwork
from selfattn_bio.model.pretrained.vocabulary import KmerVocabulary
from selfattn_bio.scoring.loading import Models, load, load_single
from selfattn_bio.scoring.paired_scorer import check_one_input
from selfattn_bio.scoring.scorer import Ensemble, Scorer
from selfattn_bio.sequence.kmers import PAD, SPECIAL

WEIGHTS = "model.safetensors"
EXAMPLE = 4096  # tokens of the input that torch follows; the file reads any number


class Export(NamedTuple):
    """An exported network, the result of `export_model`.

    Attributes
    ----------
    path
        The file or folder.
    metadata
        Values in the metadata of the ONNX file, each as JSON; empty for a folder.
    """

    path: Path
    metadata: dict[str, Any]


def export_model(model: Models, output: str | Path, *, to: str = "onnx") -> Export:
    """Write the network of a model as ONNX, or as a folder that `transformers` loads.

    The ONNX file maps tokens (batch, length) int64 to `scores`, the numbers that `score` writes,
    as means over the members and strands. The simple models of a stack are not included. The folder
    has the encoder of a model of kind "pretrained", with the weights after training, for
    `transformers.AutoModel`.

    Parameters
    ----------
    model
        As for `load`. Models that are averaged in an ONNX file must have the same tokens.
    output
        The file, or the folder.
    to
        "onnx", which needs the extra onnx, or "huggingface".

    Raises
    ------
    ModelFolderError
        As for `load`.
    ArgumentError
        If the format is unknown, or cannot hold the network.
    OutputError
        If `output` is a folder for a file, or a folder with other files.
    MissingPackageError
        If the extra is not installed.
    """
    if to == "onnx":
        import_extra("onnxscript", "onnx", "an export to ONNX")
        scorer = load(model, device="cpu")
        weights = [each.folder / WEIGHTS for each in scorer.members if each.folder]
        return _to_onnx(scorer, files.check_output_file(output, *weights))
    if to != "huggingface":
        raise ArgumentError(f"unknown format {to!r}; expected 'onnx' or 'huggingface'")
    files.check_replaceable(output, "exported model", (*KEPT, WEIGHTS), WEIGHTS)
    return _to_hugging_face(load_single(model).network, Path(output))


# ------------ ONNX
class ScoreNetwork(nn.Module):
    """Map padded tokens (B, N) to the mean scores of models, (B, C), or (B, N, C) per token."""

    def __init__(self, members: tuple[Scorer, ...]) -> None:
        super().__init__()
        self.members, self.complement = members, _complement(members[0])
        self.networks = nn.ModuleList(copy.deepcopy(each.network).float() for each in members)

    def forward(self, tokens: Tensor) -> Tensor:
        """Average outputs over strands and members, and convert them to the unit of `score`."""
        means = []
        for member, network in zip(self.members, self.networks, strict=True):
            strands = [tokens]
            if self.complement is not None:
                strands += [mirrored(self.complement[tokens][..., None], tokens != PAD)[..., 0]]
            means.append(torch.stack([_outputs(member, network, x) for x in strands]).mean(0))
        return self.members[0].objective.exported[0](torch.stack(means).mean(0))


def _complement(member: Scorer) -> Tensor | None:
    """Return the token of each token's reverse complement, if the file reads both strands."""
    # otherwise the tokens of the other strand do not follow from those of the given one
    follows = member.tokenizer.stride == 1 and not isinstance(member.network, PretrainedNetwork)
    is_mean = member.both_strands and not member.run.shares_strands
    return torch.from_numpy(member.tokenizer.complement()) if is_mean and follows else None


def _outputs(member: Scorer, network: Any, tokens: Tensor) -> Tensor:
    """Return the outputs for one strand; a pretrained network reads its published tokens."""
    if not isinstance(network, PretrainedNetwork):
        outputs = network(tokens)
        is_record = member.run.objective.is_per_record
        return (member.of_records(outputs, tokens) if is_record else outputs).mean(1)
    first, last = len(network.vocabulary.prefix), len(network.vocabulary.suffix)
    mask, at = tokens != network.vocabulary.pad, torch.arange(tokens.shape[1])
    x = network.body.head_norm(network.body.backbone.encode(tokens, mask, None))
    if network.per_letter:
        return network.body.head(x[:, first : x.shape[1] - last], mask)
    return network.body.head(x, (at >= first) & (at < mask.sum(1, keepdim=True) - last))


def _tokens(member: Scorer) -> dict[str, Any]:
    """Return how sequences become tokens, and how many may be read."""
    network, own = member.network, member.tokenizer
    if isinstance(network, PretrainedNetwork):
        table, words = read_tokenizer(Path(network.section.folder))[0], network.vocabulary
        is_letters = isinstance(words, KmerVocabulary) and words.k == 1
        if table.pad_token_id is None or (network.per_letter and not is_letters):
            raise ArgumentError("the vocabulary lacks padding, or single letters to label")
        ends = {"prefix": words.prefix, "suffix": words.suffix, "pad": words.pad}
        return {"tokens": table.get_vocab(), "longest": network.body.backbone.longest} | ends
    body, longest = network.members[0], None
    if isinstance(body, AttentionBody) and isinstance(body.encoder.place, Learned):
        pool = member.run.output_stride // own.stride
        longest = (len(body.encoder.place.table) - body.head.num_prefix) * pool
    return {"tokens": own.names, "longest": longest, "k": own.k, "stride": own.stride, "pad": PAD}


def _to_onnx(scorer: Scorer | Ensemble, path: Path) -> Export:
    check_one_input(scorer, "export")
    objective, members = scorer.objective, scorer.members
    if not objective.section.has_scores:
        raise ArgumentError(f"a model of objective {objective.kind!r} has no scores to export")
    graph, tokens = ScoreNetwork(members).eval().requires_grad_(False), _tokens(members[0])
    if any((_tokens(each), each.both_strands) != (tokens, scorer.both_strands) for each in members):
        raise ArgumentError("models averaged in one file must have the same tokens and strands")
    if sum(each.nbytes for each in graph.state_dict().values()) >= 2**31:
        raise ArgumentError("the weights have more than 2 GiB, the limit of ONNX files")
    both = members[0].run.shares_strands or graph.complement is not None
    metadata = tokens | {
        "package": f"selfattn-bio {version('selfattn-bio')}",
        "objective": objective.kind,
        "outputs": objective.output_names(members[0].tokenizer),
        "unit": objective.exported[1],
        "alphabet": scorer.alphabet.letters,
        "strands": "both" if both else "given",
    }
    if stacks := [part.name for each in members if each.stack for part in each.stack.parts]:
        metadata["stack"] = stacks
        LOG.warning(f"the file has the network alone, not the stack with {', '.join(stacks)}")
    elif objective.has_log_odds:
        metadata["calibration"] = vars(scorer.calibration)
    if members[0].both_strands and not both:
        LOG.warning("the file reads the given strand; `score` averages both strands")
    for name in ("torch.onnx", "torch.fx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    example = torch.full((2, min(EXAMPLE, (tokens["longest"] or 2 * EXAMPLE) // 2)), len(SPECIAL))
    with warnings.catch_warnings(action="ignore"):
        try:
            program: Any = torch.onnx.export(
                graph,
                (example,),
                input_names=["tokens"],
                output_names=["scores"],
                dynamic_shapes=({0: "batch", 1: "length"},),
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise ArgumentError(f"torch cannot export this network: {reason}") from error
    program.model.metadata_props.update({k: json.dumps(v) for k, v in metadata.items()})
    with files.whole_file(path) as temporary:
        program.save(temporary, external_data=False)
    return Export(path, metadata)


# ------------ Hugging Face
def _to_hugging_face(network: Any, path: Path) -> Export:
    if not isinstance(network, PretrainedNetwork):
        message = "`transformers` has no such network, only those of kind 'pretrained'"
        raise ArgumentError(message, hint="Use --to onnx")
    weights, source = network.body.backbone.published(), Path(network.section.folder)
    settings = files.read_json(source / CONFIG, ModelFolderError, "Train the model again")
    settings.pop("torch_dtype", None)  # the name of dtype in older files
    with files.whole_folder(path) as temporary:
        copy_small_files(source, temporary)
        (temporary / CONFIG).write_text(json.dumps(settings | {"dtype": "float32"}, indent=2))
        own = {name: weight.float().clone().contiguous() for name, weight in weights.items()}
        (temporary / WEIGHTS).write_bytes(save(own, metadata={"format": "pt"}))
    return Export(path, {})

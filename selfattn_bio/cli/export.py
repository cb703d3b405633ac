"""The command that writes a network for other programs."""

from __future__ import annotations

from argparse import Namespace

from selfattn_bio.cli.options import ALLOW_MODULE, command, option, output
from selfattn_bio.log import LOG


@command(
    option(
        "model",
        nargs="+",
        metavar="MODEL",
        help="model folder, or the name of a model that ships; several are averaged",
    ),
    ALLOW_MODULE,
    option(
        "--to",
        choices=("onnx", "huggingface"),
        default="onnx",
        help="onnx, a file (default, needs the extra onnx), or huggingface, a folder",
    ),
    output(".onnx to write, or a folder"),
)
def export(arguments: Namespace) -> None:
    """Write the network of a model for other programs: ONNX, or a folder of Hugging Face.

    An ONNX file reads tokens and returns the numbers that `score` writes, as means over members and
    strands. Batch and length are free. The simple models of a stack are not included. Its metadata
    have the tokens, the names of the outputs and their unit.

    A folder of Hugging Face has the encoder of a model of kind "pretrained", with its trained
    weights, for transformers.AutoModel.

    example: selfattn-bio export results/promoter/model --to onnx --output promoter.onnx
    """
    from selfattn_bio.scoring.export import export_model

    found = export_model(arguments.model, arguments.output, to=arguments.to)
    LOG.info(f"wrote {found.path}")

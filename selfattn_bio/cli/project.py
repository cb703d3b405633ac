"""Commands around tasks: write a run file, run the workflow, inspect the machine, export."""

from __future__ import annotations

import logging
import re
from argparse import REMAINDER, Namespace
from itertools import pairwise

from selfattn_bio.cli.options import (
    ALLOW_MODULE,
    MODELS,
    Option,
    alphabet,
    below,
    command,
    named_path,
    option,
    output,
)
from selfattn_bio.config import check_files
from selfattn_bio.errors import SelfAttnBioError
from selfattn_bio.log import LOG
from selfattn_bio.study.address import check_new_task
from selfattn_bio.study.workflow import PROFILES, run_workflow

FILES = ("positives", "negatives", "sequences", "train", "valid", "test", "tracks", "profile")
# of `propose`, by the same name
COLUMNS = ("sequence_column", "id_column", "split_column")
OPTIONS = ("targets", "alphabet", *COLUMNS, "genome", "feature", "organism", "points", "pretrained")
NAMED = {name: f"--{name.replace('_', '-')}" for name in (*FILES, *OPTIONS)} | {
    "columns": "--column"
}


def _files(name: str, help: str) -> Option:
    return option(f"--{name}", default=[], nargs="+", metavar="FILE", help=help)


def _text(name: str, metavar: str, help: str) -> Option:
    return option(f"--{name}", default="", metavar=metavar, help=help)


@command(
    option("name", metavar="NAME", help="name of the task: letters, digits, _ and -"),
    below(
        "two classes",
        _files("positives", "sequences of label 1: FASTA, tables, BED and more (docs/data.md)"),
        _files(
            "negatives",
            "sequences of label 0, or how to generate them: shuffled, matched or neighbours",
        ),
    ),
    below(
        "intervals of a genome",
        _text("genome", "FASTA", "genome that files of intervals refer to"),
        _text("feature", "TYPE", "type of GFF and GTF lines to use, such as gene"),
        _files(
            "tracks",
            "learn the mean signal of --sequences PEAKS: one or more bigWig or bedGraph files, or "
            "a pattern such as 'atac/*.bw'",
        ),
        _files("profile", "learn counts per base: a bigWig file, or two for the strands + and -"),
    ),
    below(
        "tables",
        _files(
            "sequences",
            "tables, or FASTA with attributes such as family=kinase in its headers; or a folder "
            "with train.* and test.*",
        ),
        _files("train", "training sequences, if the splits are separate files"),
        _files("valid", "validation sequences, if the splits are separate files"),
        _files("test", "test sequences, if the splits are separate files"),
        _text(
            "targets",
            "FILE",
            "table with a column id and columns to learn, if --sequences has none",
        ),
        option(
            "--column",
            default=[],
            nargs="+",
            metavar="NAME",
            help="column, or attribute of FASTA headers, to learn; or several, of numbers or of "
            "labels such as 1 and 0, yes and no (default: the obvious one, or all of such a kind)",
        ),
        _text("sequence-column", "NAME", "column of the sequences (default: the obvious one)"),
        _text(
            "id-column", "NAME", "column of ids, also of --targets (default: id, or the obvious)"
        ),
        _text(
            "split-column",
            "NAME",
            "column of the split (default: one with values such as train and test); 'none' ignores"
            " such columns",
        ),
    ),
    alphabet(
        "alphabet of the sequences (default: that of their letters, or rna for a column such as "
        "utr or mRNA; other RNA and single-stranded DNA written with T need rna or ssdna)"
    ),
    _text("points", "BED", "stranded points to find in --sequences WINDOWS.bed of --genome FASTA"),
    _text(
        "organism",
        "GROUP",
        "group of known motifs: vertebrates (default), insects, plants, fungi, nematodes or "
        "bacteria",
    ),
    _text("pretrained", "DIR", "folder of a published language model (docs/pretrained.md)"),
)
def init(arguments: Namespace) -> None:
    """Write a run file for your data, workflows/tasks/NAME.toml, with a comment on each choice.

    Reads the sequences and recognises the task from them: two classes (files of positives and
    negatives, or a column of two values), several classes, numbers, several labels (columns of yes
    and no, or 1 and 0), or one label per residue. A column with the split (train, valid, test) or
    separate files for it are used. The command prints what it found. The run file is checked before
    it is written, and you can edit it.

    One table is enough: --sequences table.csv. For FASTA headers such as `>P1 family=kinase`, name
    the attribute: --sequences proteins.fa --column family. Peaks need their genome: --positives
    peaks.bed --genome genome.fa. Negatives can be generated with --negatives shuffled and, if there
    is a genome, with --negatives matched (the default) or --negatives neighbours. To learn signal
    of peaks: --sequences peaks.bed --genome genome.fa with --tracks or --profile. An .h5ad file of
    regions and cell types needs only --genome.

    example: selfattn-bio init my_task --positives a.fa --negatives b.fa
    """
    sequences = arguments.positives + arguments.sequences
    check_files(None, sequences + arguments.train + arguments.valid + arguments.test)
    check_new_task(arguments.name)  # before the slow import
    from selfattn_bio.wizard import propose

    LOG.addFilter(_name_options)
    try:
        proposal = propose(
            arguments.name,
            {name: getattr(arguments, name) for name in FILES},
            columns=arguments.column,
            **{name: getattr(arguments, name) for name in OPTIONS},
        )
    except SelfAttnBioError as error:
        raise type(error)(
            _with_options(error.message), place=error.place, hint=_with_options(error.hint)
        ) from error
    finally:
        LOG.removeFilter(_name_options)
    path = proposal.save()
    LOG.info(f"wrote {path}. Check it, then run: selfattn-bio run train_{arguments.name}")


@command(
    option(
        "--profile",
        choices=PROFILES,
        default=PROFILES[0],
        help="where the workflow runs, see docs/clusters.md (default: this machine)",
    ),
    ALLOW_MODULE,
    option("target", metavar="TARGET", help="train_NAME or sweep_NAME"),
    option("extra", nargs=REMAINDER, metavar="...", help="options and more targets for Snakemake"),
)
def run(arguments: Namespace) -> int:
    """Run a task of this folder with Snakemake.

    The target is `train_NAME` or `sweep_NAME` for workflows/tasks/NAME.toml.

    Uses the installed Snakemake with the workflow of the clone, or of the wheel the package was
    installed from. Results go to results/NAME/ in the current folder, and the path of the report is
    printed at the end. A task that ships (promoter, amp, tss, smoke) is first copied into this
    folder with its data if it is not there. A dry run copies nothing.

    Write options of this command before the target; --profile may also follow it. Everything else
    after it is passed to Snakemake, for example --cores 4, --dry-run or --unlock. Its options are
    listed by `snakemake --help`. Without --cores, all cores are used. The exit code is that of
    Snakemake.

    example: selfattn-bio run train_my_task --cores 4
    """
    if {"-h", "--help"} & set(arguments.extra):
        arguments.parser.print_help()
        return 0
    words, profile = [arguments.target, *arguments.extra], arguments.profile
    if (named := dict(pairwise(words)).get("--profile")) in PROFILES:  # not one of Snakemake's
        place, profile = words.index("--profile"), named
        del words[place : place + 2]
    return run_workflow(words, profile=profile, quiet=arguments.quiet, merged=arguments.json)


@command(
    option(
        "--output",
        type=named_path,
        default="workflows/tasks/run_file.schema.json",
        metavar="FILE",
        help="JSON file (default: %(default)s)",
    )
)
def schema(arguments: Namespace) -> None:
    """Write the JSON Schema of run files, with which an editor completes and checks them.

    The schema has all keys with their ranges and defaults. `init` writes it next to the run file,
    whose first line names it. Editors with Taplo or Even Better TOML read that line.

    example: selfattn-bio schema --output workflows/tasks/run_file.schema.json
    """
    from selfattn_bio.config.writing import write_schema

    write_schema(arguments.output)
    LOG.info(f"wrote {arguments.output}")


@command(
    MODELS,
    ALLOW_MODULE,
    option("--to", choices=("onnx", "huggingface"), default="onnx", help="format (default: onnx)"),
    output("file of ONNX, or folder of Hugging Face"),
)
def export(arguments: Namespace) -> None:
    """Write the network of a model for other programs: ONNX, or a folder of Hugging Face.

    An ONNX file (extra onnx) reads tokens and returns the numbers that `score` writes, as means
    over members and strands. Batch and length are free. The simple models of a stack are not
    included. Its metadata have the tokens, the names of the outputs and their unit.

    A folder of Hugging Face has the encoder of a model of kind "pretrained", with its trained
    weights, for transformers.AutoModel.

    example: selfattn-bio export --model promoter --output promoter.onnx
    """
    from selfattn_bio.scoring.export import export_model

    export_model(arguments.model, arguments.output, to=arguments.to)
    LOG.info(f"wrote {arguments.output}")


@command()
def doctor(arguments: Namespace) -> None:
    """Check whether this machine can train, and list missing parts.

    Prints a verdict, versions, device, threads, and the state of the fused attention kernel for the
    CPU. Then it lists other programs and libraries, with the purpose of those that are missing.

    example: selfattn-bio doctor
    """
    from selfattn_bio.study.machine import inspect_machine

    print("\n".join(inspect_machine().lines))


def _name_options(record: logging.LogRecord) -> bool:
    """Name the options in a line that the package logs."""
    record.msg, record.args = _with_options(record.getMessage()), ()
    return True


def _with_options(text: str) -> str:
    """Replace the parameters of `propose`, which a message has in backquotes, by the options."""
    return re.sub("`([a-z_]+)`", lambda match: NAMED.get(match[1], match[0]), text)

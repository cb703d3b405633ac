"""Write scored variants as a table of effects and as a VCF with additional INFO fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pysam

from selfattn_bio.display import one_line
from selfattn_bio.errors import VariantFileError
from selfattn_bio.files import check_output_file, whole_file
from selfattn_bio.objectives.outputs import safe_names
from selfattn_bio.scoring.table import append_rows
from selfattn_bio.scoring.variants import SCORED, column
from selfattn_bio.sequence.vcf import COLUMNS, VcfFile, VcfVariant

INFO = COLUMNS.index("INFO")
TEXT = "SAB_LARGEST_EFFECT"  # the only field that is not a number
OF_BINARY = {  # name in INFO of a binary model -> (column of the table, description)
    "SAB_LOGIT_REF": ("logit_ref", "logit of the window with the reference allele"),
    "SAB_LOGIT_ALT": ("logit_alt", "logit of the window with the alternative allele"),
    "SAB_EFFECT": ("effect", "logit with the alternative minus logit with the reference allele"),
    "SAB_PROBABILITY_EFFECT": (
        "probability_effect",
        "probability with the alternative less that with the reference allele",
    ),
}


def info_fields(units: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the INFO fields of a model's outputs: name -> (column of the table, description).

    A binary model has those of `OF_BINARY`, other models one field per output, `SAB_EFFECT_OUTPUT`
    with the `safe_names` of the outputs, and with several outputs the one that changes most.

    Parameters
    ----------
    units
        The unit of each output (`VariantScorer.units`).

    Raises
    ------
    ArgumentError
        If two outputs would have the same field.
    """
    if list(units) == [""]:
        return OF_BINARY
    fields = {
        f"SAB_EFFECT_{name}": (
            column("effect", output),
            f"{output} with the alternative minus {output} with the reference allele "
            f"({units[output]})",
        )
        for output, name in safe_names(list(units), ascii=True).items()
    }
    text = "output that changes most, relative to its scale in the training records"
    return fields | ({TEXT: ("largest_effect", text)} if len(units) > 1 else {})


@contextmanager
def open_writer(
    prefix: str | Path, source: VcfFile, model: str, units: Mapping[str, str]
) -> Iterator[Callable[[Sequence[VcfVariant], pd.DataFrame], None]]:
    """Open PREFIX.effects.tsv and PREFIX.annotated.vcf.gz (bgzip), and write the VCF header.

    Yields a function that writes the rows of variants, one per alternative allele, and their VCF
    lines. The files appear under their names only when they are complete.

    Parameters
    ----------
    prefix
        Prefix of the file names.
    source
        The VCF file whose header is copied.
    model
        Model name for the header lines.
    units
        The unit of each output (`VariantScorer.units`).

    Raises
    ------
    OutputError
        If an output would replace `source`.
    VariantFileError
        If the header already defines one of the INFO fields.
    """
    for ending in ("annotated.vcf.gz", "effects.tsv"):
        check_output_file(f"{prefix}.{ending}", source.path)
    fields = info_fields(units)
    for number, line in enumerate(source.header, start=1):
        if taken := [name for name in fields if line.startswith(f"##INFO=<ID={name},")]:
            message = f"the header already defines the INFO field {taken[0]}"
            hint = "Use the original VCF, or rename the field"
            raise VariantFileError(message, place=f"{source.path}:{number}", hint=hint)
    name = one_line(model).replace('"', "'")
    described = [
        f"##INFO=<ID={field},Number=A,Type={'String' if field == TEXT else 'Float'},"
        f'Description="{text}, by selfattn_bio, {name}">'
        for field, (_, text) in fields.items()
    ]
    with (
        whole_file(f"{prefix}.effects.tsv") as table_path,
        table_path.open("w", encoding="utf-8", newline="") as table,
        whole_file(f"{prefix}.annotated.vcf.gz") as vcf_path,
        pysam.BGZFile(str(vcf_path), "wb", None) as vcf,
    ):
        _write_lines(vcf, [*source.header[:-1], *described, source.header[-1]])
        columns = {field: name for field, (name, _) in fields.items()}

        def write(variants: Sequence[VcfVariant], rows: pd.DataFrame) -> None:
            append_rows(table, rows)
            lines, row = [], 0
            for variant in variants:
                own = list(variant.fields)
                own[INFO] = _info(own[INFO], rows[row : row + len(variant.alts)], columns)
                lines.append("\t".join(own))
                row += len(variant.alts)
            _write_lines(vcf, lines)

        yield write


def _write_lines(file: pysam.BGZFile, lines: Sequence[str]) -> None:
    file.write("".join(f"{line}\n" for line in lines).encode())


def _info(before: str, rows: pd.DataFrame, columns: Mapping[str, str]) -> str:
    """Return the INFO field with the effects of a line's alleles.

    It is unchanged if no allele is scored.
    """
    if not (rows["status"] == SCORED).any():
        return before
    fields = [f"{name}={','.join(map(_text, rows[column]))}" for name, column in columns.items()]
    return ";".join([*([before] if before not in (".", "") else []), *fields])


def _text(value: float | str) -> str:
    """Return a number, or the name of an output, as in INFO."""
    if value == "" or pd.isna(value):
        return "."
    return safe_names([value], ascii=True)[value] if isinstance(value, str) else f"{value:.6g}"

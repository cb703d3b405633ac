"""Write scored variants as a table of effects and as a VCF with additional INFO fields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pandas as pd
import pysam

from selfattn_bio.display import one_line
from selfattn_bio.errors import VariantFileError
from selfattn_bio.files import whole_file
from selfattn_bio.sequence.vcf import COLUMNS, VcfFile, VcfVariant

INFO = {  # name in INFO -> (column of the table, description)
    "SAB_LOGIT_REF": ("logit_ref", "logit of the window with the reference allele"),
    "SAB_LOGIT_ALT": ("logit_alt", "logit of the window with the alternative allele"),
    "SAB_EFFECT": ("effect", "logit with the alternative minus logit with the reference allele"),
    "SAB_PROBABILITY_EFFECT": (
        "probability_effect",
        "probability with the alternative less that with the reference allele",
    ),
}


class VariantWriter:
    """Write effects as a table and as an annotated VCF; `open_writer` opens both files."""

    def __init__(self, table: TextIO, vcf: pysam.BGZFile) -> None:
        self._table, self._vcf = table, vcf

    def write(self, variants: Sequence[VcfVariant], table: pd.DataFrame) -> None:
        """Write the rows of these variants, one per alternative allele, and their VCF lines."""
        write_effects(table, self._table, header=not self._table.tell())
        lines, row = [], 0
        for variant in variants:
            fields = list(variant.fields)
            fields[COLUMNS.index("INFO")] = _info(
                fields[COLUMNS.index("INFO")], table[row : row + len(variant.alts)]
            )
            lines.append("\t".join(fields))
            row += len(variant.alts)
        _write_lines(self._vcf, lines)


@contextmanager
def open_writer(prefix: str | Path, source: VcfFile, model: str) -> Iterator[VariantWriter]:
    """Open PREFIX.effects.tsv and PREFIX.annotated.vcf.gz (bgzip), and write the VCF header.

    The files appear under their names only when they are complete.

    Parameters
    ----------
    prefix
        Prefix of the file names.
    source
        The VCF file whose header is copied.
    model
        Model name for the header lines.

    Raises
    ------
    VariantFileError
        If the header already defines one of the INFO fields.
    """
    for number, line in enumerate(source.header, start=1):
        if taken := [name for name in INFO if line.startswith(f"##INFO=<ID={name},")]:
            message = f"the header already defines the INFO field {taken[0]}"
            hint = "Use the original VCF, or rename the field"
            raise VariantFileError(message, place=f"{source.path}:{number}", hint=hint)
    name = one_line(model).replace('"', "'")
    described = [
        f'##INFO=<ID={field},Number=A,Type=Float,Description="{text}, by selfattn_bio, {name}">'
        for field, (_, text) in INFO.items()
    ]
    with (
        whole_file(f"{prefix}.effects.tsv") as table_path,
        table_path.open("w", encoding="utf-8", newline="") as table,
        whole_file(f"{prefix}.annotated.vcf.gz") as vcf_path,
        pysam.BGZFile(str(vcf_path), "wb", None) as vcf,
    ):
        _write_lines(vcf, [*source.header[:-1], *described, source.header[-1]])
        yield VariantWriter(table, vcf)


def _write_lines(file: pysam.BGZFile, lines: Sequence[str]) -> None:
    file.write("".join(f"{line}\n" for line in lines).encode())


def write_effects(table: pd.DataFrame, file: Path | TextIO, *, header: bool = True) -> None:
    """Write rows of effects as TSV with six digits."""
    table.to_csv(
        file, sep="\t", index=False, header=header, float_format="%.6g", lineterminator="\n"
    )


def _info(before: str, rows: pd.DataFrame) -> str:
    """Return the INFO field with the effects of a line's alleles.

    It is unchanged if no allele is scored.
    """
    if rows["effect"].isna().all():
        return before
    fields = [
        f"{name}={','.join('.' if pd.isna(x) else f'{x:.6g}' for x in rows[column])}"
        for name, (column, _) in INFO.items()
    ]
    return ";".join([*([before] if before not in (".", "") else []), *fields])

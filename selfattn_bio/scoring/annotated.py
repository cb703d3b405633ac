"""Write scored variants as a table of effects and as a VCF with additional INFO fields."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
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
    """Write PREFIX.effects.tsv and PREFIX.annotated.vcf.gz (bgzip).

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

    def __init__(self, prefix: str | Path, source: VcfFile, model: str) -> None:
        self._prefix, self._source = prefix, source
        self._model = one_line(model).replace('"', "'")
        for number, line in enumerate(source.header, start=1):
            if taken := [name for name in INFO if line.startswith(f"##INFO=<ID={name},")]:
                message, hint = (
                    f"the header already defines the INFO field {taken[0]}",
                    "Use the original VCF, or rename the field",
                )
                raise VariantFileError(message, place=f"{source.path}:{number}", hint=hint)

    def __enter__(self) -> VariantWriter:
        with ExitStack() as files:
            table = files.enter_context(whole_file(f"{self._prefix}.effects.tsv"))
            self._table, self._first = (
                files.enter_context(table.open("w", encoding="utf-8", newline="")),
                True,
            )
            path = files.enter_context(whole_file(f"{self._prefix}.annotated.vcf.gz"))
            self._vcf = files.enter_context(pysam.BGZFile(str(path), "wb", None))
            self._files = files.pop_all()
        described = [
            f'##INFO=<ID={name},Number=A,Type=Float,Description="{text}, by selfattn_bio, '
            f'{self._model}">'
            for name, (_, text) in INFO.items()
        ]
        self._write([*self._source.header[:-1], *described, self._source.header[-1]])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.__exit__(kind, error, trace)

    def write(self, variants: Sequence[VcfVariant], table: pd.DataFrame) -> None:
        """Write the rows of these variants, one per alternative allele, and their VCF lines."""
        write_effects(table, self._table, header=self._first)
        self._first = False
        lines, row = [], 0
        for variant in variants:
            fields = list(variant.fields)
            fields[COLUMNS.index("INFO")] = _info(
                fields[COLUMNS.index("INFO")], table[row : row + len(variant.alts)]
            )
            lines.append("\t".join(fields))
            row += len(variant.alts)
        self._write(lines)

    def _write(self, lines: Sequence[str]) -> None:
        self._vcf.write("".join(f"{line}\n" for line in lines).encode())


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

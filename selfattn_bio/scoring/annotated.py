"""Write scored variants as a table of effects and as a VCF with additional INFO fields."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import pandas as pd
import pysam

from selfattn_bio.errors import VariantFileError
from selfattn_bio.files import whole_file
from selfattn_bio.scoring.variants import VariantBatch
from selfattn_bio.sequence.vcf import COLUMNS, VcfFile

INFO = {  # name in INFO -> (column of the table, description)
    "SAB_LOGIT_REF": ("logit_ref", "logit of the window with the reference allele"),
    "SAB_LOGIT_ALT": ("logit_alt", "logit of the window with the alternative allele"),
    "SAB_EFFECT": ("effect", "logit with the alternative less logit with the reference allele"),
    "SAB_PROBABILITY_EFFECT": (
        "probability_effect",
        "probability with the alternative less that with the reference allele",
    ),
}


class VariantWriter:
    """Write PREFIX.effects.tsv and, for a VCF file, PREFIX.annotated.vcf.gz (bgzip).

    The files appear under their names only when they are complete.

    Parameters
    ----------
    prefix
        Prefix of the file names.
    source
        The VCF file whose header is copied, or None.
    model
        Model name for the header lines.

    Raises
    ------
    VariantFileError
        If the header already defines one of the INFO fields.
    """

    def __init__(self, prefix: str | Path, source: VcfFile | None, model: str) -> None:
        self._prefix, self._source, self._model = prefix, source, model.replace('"', "'")
        if source is None:
            return
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
            if self._source is not None:
                path = files.enter_context(whole_file(f"{self._prefix}.annotated.vcf.gz"))
                self._vcf = files.enter_context(pysam.BGZFile(str(path), "wb", None))
            self._files = files.pop_all()
        if self._source is not None:
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

    def write(self, batch: VariantBatch, more: pd.DataFrame | None = None) -> None:
        """Write the rows of a batch, with the columns of `more`, and its VCF lines."""
        table = batch.table if more is None else pd.concat([batch.table, more], axis=1)
        table.to_csv(
            self._table,
            sep="\t",
            index=False,
            header=self._first,
            float_format="%.6g",
            lineterminator="\n",
        )
        self._first = False
        if self._source is None:
            return
        lines, row = [], 0
        for variant in batch.variants:
            fields = list(variant.fields)
            fields[COLUMNS.index("INFO")] = _info(
                fields[COLUMNS.index("INFO")], batch.table[row : row + len(variant.alts)]
            )
            lines.append("\t".join(fields))
            row += len(variant.alts)
        self._write(lines)

    def _write(self, lines: Sequence[str]) -> None:
        self._vcf.write("".join(f"{line}\n" for line in lines).encode())


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

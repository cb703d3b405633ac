"""Read and write positions and attributions for other tools: BED, TSV, Parquet, modisco h5 and npz.

Motif files are in `selfattn_bio.motifs`.
"""

from selfattn_bio.interpret.formats.bed import (
    BED_COLUMNS,
    on_chromosome,
    read_bed,
    write_bed,
    write_table,
)

__all__ = ["BED_COLUMNS", "on_chromosome", "read_bed", "write_bed", "write_table"]

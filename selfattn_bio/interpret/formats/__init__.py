"""Exchange positions and attributions with other tools.

BED, TSV and Parquet are read and written, h5 and npz for modisco are written. Motif files are in
`selfattn_bio.motifs`.
"""

from selfattn_bio.interpret.formats.bed import (
    BED_COLUMNS,
    on_chromosome,
    read_bed,
    read_table,
    write_bed,
    write_table,
)

__all__ = ["BED_COLUMNS", "on_chromosome", "read_bed", "read_table", "write_bed", "write_table"]

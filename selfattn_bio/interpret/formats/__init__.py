"""Files of positions that other tools read: BED, TSV, Parquet, and modisco's h5 and npz. Motif files are in `selfattn_bio.motifs`."""

from selfattn_bio.interpret.formats.places import BED_COLUMNS, on_chromosome, read_bed, write_bed, write_table

__all__ = ["BED_COLUMNS", "on_chromosome", "read_bed", "write_bed", "write_table"]

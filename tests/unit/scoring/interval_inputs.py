"""A genome with intervals, for the tests of inputs."""

CHROMOSOMES = {"chr1": "ACGTTGCAAC" * 12, "chr2": "TTGACCAGTN" * 9}
BED = "chr1\t0\t30\tfirst\t0\t+\nchr1\t10\t40\t.\t0\t-\n\nchr2\t60\t90\t.\t0\t.\n"
BED = f"# simulated\ntrack name=x\n{BED}"


def write_intervals(tmp_path):
    lines = (f">{name}\n{of[:60]}\n{of[60:].lower()}\n" for name, of in CHROMOSOMES.items())
    (tmp_path / "genome.fa").write_text("".join(lines))
    (tmp_path / "sites.bed").write_text(BED)
    return tmp_path / "genome.fa"

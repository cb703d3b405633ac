"""A genome with intervals, for the tests of inputs."""

CHROMOSOMES = {"chr1": "ACGTTGCAAC" * 12, "chr2": "TTGACCAGTN" * 9}
BED = (
    "# simulated\ntrack "
    "name=x\nchr1\t0\t30\tfirst\t0\t+\nchr1\t10\t40\t.\t0\t-\n\nchr2\t60\t90\t.\t0\t.\n"
)


def write_intervals(tmp_path):
    (tmp_path / "genome.fa").write_text(
        "".join(
            f">{name}\n{text[:60]}\n{text[60:].lower()}\n" for name, text in CHROMOSOMES.items()
        )
    )
    (tmp_path / "sites.bed").write_text(BED)
    return tmp_path / "genome.fa"

"""Make selfattn_bio/motifs/jaspar/: JASPAR 2026 CORE as MEME text, one file per taxonomic group.

families.tsv.gz has the class and family of the factor of each matrix, which are those of TFClass.

    python -m venv throwaway && throwaway/bin/pip install pyjaspar==4.0.0
    throwaway/bin/python data/make_jaspar.py

pyjaspar (136 MB) contains the database and is needed only here. Counts become probabilities without
a pseudocount, in the order ACGT; `nsites` is the largest column sum. The same release gives the
same text.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

from pyjaspar import jaspardb

RELEASE = "JASPAR2026"
GROUPS = ("fungi", "insects", "nematodes", "plants", "vertebrates")
HEAD = (
    "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\nBackground letter frequencies\nA 0.25 "
    "C 0.25 G 0.25 T 0.25\n"
)


def meme(matrix_id: str, name: str, counts: dict[str, list[float]]) -> str:
    """Return one motif as MEME text."""
    columns = list(zip(*(counts[letter] for letter in "ACGT"), strict=True))
    rows = [" ".join(f"{count / sum(column):.6f}" for count in column) for column in columns]
    num_sites = round(max(sum(column) for column in columns))
    size = f"letter-probability matrix: alength= 4 w= {len(columns)} nsites= {num_sites} E= 0"
    return "\n".join([f"\nMOTIF {matrix_id} {name.replace(' ', '_')}", size, *rows, ""])


def main() -> None:
    """Write one file per group."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(__file__).parents[1] / "selfattn_bio/motifs/jaspar"
    parser.add_argument(
        "--output", type=Path, default=default, help="folder (default: %(default)s)"
    )
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    database = jaspardb(release=RELEASE)
    families = {}
    for group in GROUPS:
        motifs = sorted(
            database.fetch_motifs(collection="CORE", tax_group=[group]),
            key=lambda motif: motif.matrix_id,
        )
        text = HEAD + "".join(meme(motif.matrix_id, motif.name, motif.counts) for motif in motifs)
        path = output / f"{group}.meme.gz"
        path.write_bytes(gzip.compress(text.encode("ascii"), compresslevel=9, mtime=0))
        print(f"{path}: {len(motifs)} motifs")
        families |= {motif.matrix_id: (motif.tf_class, motif.tf_family) for motif in motifs}
    rows = [
        "\t".join([matrix_id, *("::".join(dict.fromkeys(names or [])) for names in each)])
        for matrix_id, each in sorted(families.items())
    ]
    text = "\n".join(["id\tclass\tfamily", *rows, ""])
    path = output / "families.tsv.gz"
    path.write_bytes(gzip.compress(text.encode("utf-8"), compresslevel=9, mtime=0))
    print(f"{path}: {len(rows)} matrices")


if __name__ == "__main__":
    main()

"""Check on simulated footprints that a bias model removes the motif of the assay.

A random genome has open regions. Half of them have a site of a factor, which protects its bases
from cuts and raises the counts next to it. The assay prefers a word, which half of the open and
half of the closed regions have, independently of the factor. Three models of the profile are
trained: on closed regions, for the bias, and on open regions with and without this bias. Motifs of
the shape of the profile should contain the word only without the bias, and the factor in both.

    python benchmarks/footprints.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from harness import Row, Table, run
from runs import command, kept, prepared, train

from selfattn_bio import Study
from selfattn_bio.model.checkpoint import read_provenance
from selfattn_bio.motifs import meme_text, of_consensus
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.bigwig import open_bigwig

FOLDER = Path("results/bench_footprints")
GENOME, COUNTS, MEME = (str(FOLDER / name) for name in ("genome.fa", "counts.bw", "planted.meme"))
PLANTED = {"factor": b"GGTCACGTGA", "assay": b"TTAGCCAA"}
CHROMOSOMES, LENGTH, EVERY = 10, 150_000, 1_000  # bp, with one open and one closed region each
WIDTH, INPUT = 200, 256  # bp that are predicted, and that are read
RATES = {"open": 0.6, "closed": 0.12}  # counts per base
PREFERENCE, PROTECTED, FLANK = 10.0, 0.1, 2.5  # of the word, of a site and of 20 bp next to it
SETTINGS: dict[str, Any] = {
    "split": {"kind": "chromosome", "valid": ["chr7"], "test": ["chr8", "chr9", "chr10"]},
    "tokens": {"k": 1},
    "training": {"reverse_complement": True, "shift": 20, "max_steps": 300},
    "interpret": {"database": MEME, "targets": ["atac_shape"], "caller": {"kind": "clusters"}},
    "variants": {},
}


def simulate() -> None:
    """Write genome, counts, open and closed regions, and the two motifs."""
    rng, fasta, counts = np.random.default_rng(0), "", {}
    acgt, *words = (np.frombuffer(each, np.uint8) for each in (b"ACGT", *PLANTED.values()))
    regions: dict[str, list[str]] = {kind: [] for kind in RATES}
    for name in (f"chr{number + 1}" for number in range(CHROMOSOMES)):
        bases, rate = acgt[rng.integers(0, 4, LENGTH)], np.full(LENGTH, RATES["closed"])
        for start in range(0, LENGTH, EVERY):
            for kind, middle in (("open", start + EVERY // 4), ("closed", start + EVERY * 3 // 4)):
                rate[middle - WIDTH : middle + WIDTH] = RATES[kind]
                slots = middle + rng.permutation((-45, 45)) + rng.integers(-30, 30, 2)
                for planted, word, at in zip(PLANTED, words, slots, strict=True):
                    if rng.random() < 0.5 and (planted, kind) != ("factor", "closed"):
                        strands = word, DNA.reverse_complement(word)
                        bases[at : at + len(word)] = strands[rng.integers(2)]
                        if planted == "factor":
                            rate[at - 20 : at + len(word) + 20] *= FLANK
                            rate[at : at + len(word)] *= PROTECTED / FLANK
                regions[kind].append(f"{name}\t{middle - INPUT // 2}\t{middle + INPUT // 2}\n")
        for word in (words[1], DNA.reverse_complement(words[1])):
            windows = np.lib.stride_tricks.sliding_window_view(bases, len(word))
            (starts,) = np.nonzero((windows == word).all(1))
            for offset in (3, 4):  # cuts are in the middle of the word
                rate[starts + offset] *= PREFERENCE
        fasta += f">{name}\n{bases.tobytes().decode()}\n"
        counts[name] = rng.poisson(rate).astype(np.float64)
    ppms = {name: of_consensus(word.decode()) for name, word in PLANTED.items()}
    files = {FOLDER / f"{kind}.bed": "".join(lines) for kind, lines in regions.items()}
    files |= {Path(GENOME): fasta, Path(MEME): meme_text(ppms, dict.fromkeys(ppms, 100))}
    for file, text in files.items():
        file.write_text(text, encoding="utf-8")
    with open_bigwig(Path(COUNTS), dict.fromkeys(counts, LENGTH)) as write:
        for name, values in counts.items():
            write(name, np.arange(LENGTH), 1, values)


def trained(name: str, kind: str, **objective: Any) -> tuple[Study, str]:
    """Train a model of the profile of open or closed regions; return the hash of its weights."""
    stem = {"kind": "conv", "kernel": 11, "pool": 1, "second_kernel": 1}
    values = {
        "data": {"genome": GENOME, "sequences": str(FOLDER / f"{kind}.bed")},
        "objective": {"kind": "profile", "tracks": {"atac": COUNTS}, "width": WIDTH, **objective},
        "model": {"kind": "dilated", "embed_dim": 32, "stem": stem, "dropout": 0.1},
    }
    values["model"]["dilations"] = [1, 2, 4] if kind == "open" else []
    study = prepared(FOLDER / name, SETTINGS | values)
    train(study)
    return study, read_provenance(study.files.model)["weights_sha256"]


def motifs(study: Study, weights: str) -> dict[str, str]:
    """Return verdict, consensus and effect of the motifs that match each planted one."""

    def found() -> dict[str, str]:
        study.explain()
        texts: dict[str, str] = {}
        for row in study.find_motifs().table.to_dict("records"):
            name = row["match"] if row["match_q"] < 0.01 else "others"
            text = f"{row['verdict']}, {row['consensus']}, effect {row['effect']:+.2f}"
            texts[name] = "; ".join(filter(None, (texts.get(name), text)))
        return texts

    return kept(study.root.folder / "motifs.json", weights, found)


def rows() -> Iterator[Row]:
    """Train the three models; return what is found of the planted motifs."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    kept(FOLDER / "simulated.json", Path(__file__).read_text(encoding="utf-8"), simulate)
    bias, weights = trained("bias", "closed")
    scan = ("scan", "--model", bias.files.model, "--genome", GENOME, "--output", FOLDER / "counts")
    kept(FOLDER / "bias.json", weights, lambda: command(*scan))
    track = {"atac": str(FOLDER / "counts.genome.atac.bw")}
    found = {
        "without the bias": motifs(*trained("without_bias", "open")),
        "with the bias": motifs(*trained("with_bias", "open", bias=track)),
    }
    for name in (*PLANTED, "others"):
        yield {"motif": name, **{of: texts.get(name, "not found") for of, texts in found.items()}}


if __name__ == "__main__":
    run(__doc__, lambda _: [Table("", rows())])

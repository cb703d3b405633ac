"""Check the scores of the model that ships: prediction sets and sequences out of distribution.

On the fly promoters of chr2R, which the model never saw: how often the prediction sets of a
coverage contain the label, and how large they are; and the fraction of these records, and of other
kinds of sequences, that is flagged as out of distribution.

    python benchmarks/scores.py
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
from harness import Row, Table, run

import selfattn_bio
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.readers import read_records
from selfattn_bio.sequence.records import Record

BASES = np.frombuffer(b"ACGT", dtype=np.uint8)
HUMAN = np.array(
    [
        [0.33, 0.17, 0.24, 0.26],
        [0.35, 0.25, 0.05, 0.35],
        [0.29, 0.21, 0.25, 0.25],
        [0.22, 0.205, 0.245, 0.33],
    ]
)  # few CpG
STOPS = ("TAA", "TAG", "TGA")
CODONS = [a + b + c for a, b, c in product("ACGT", repeat=3) if a + b + c not in STOPS]
LENGTH, NUMBER = 300, 1000


def coverage_rows(model: Scorer, test: list[Record], labels: np.ndarray) -> Iterator[Row]:
    """Return how often the sets of a coverage hold the label, and their sizes."""
    for coverage in (0.8, 0.9, 0.95):
        sets = selfattn_bio.score_sequences(model, test, coverage=coverage)["set"]
        pairs = zip(labels, sets, strict=True)
        held = np.array([str(label) in one.split(",") for label, one in pairs])
        size = sets.map({"0": 1, "1": 1, "0,1": 2, "none": 0}).to_numpy()
        fractions = {
            "found": held,
            "of 0": held[labels == 0],
            "of 1": held[labels == 1],
            "one label": size == 1,
            "both": size == 2,
            "none": size == 0,
        }
        figures = {name: f"{fraction.mean():.3f}" for name, fraction in fractions.items()}
        yield {"coverage": f"{coverage:.2f}", **figures}


def flag_rows(model: Scorer, test: list[Record]) -> Iterator[Row]:
    """Return the fraction of each kind of sequences that is flagged as out of distribution."""
    rng = np.random.default_rng(0)
    for name, sequences in _kinds([record.letters for record in test], rng).items():
        texts = [row.tobytes().decode() for row in sequences]
        flags = selfattn_bio.score_sequences(model, texts)["out_of_distribution"]
        counts = flags[flags != "no"].value_counts().items()
        why = ", ".join(f"{count} by {reason}" for reason, count in counts)
        fraction = f"{(flags != 'no').mean():.1%}"
        yield {"sequences": name, "out_of_distribution": fraction, "reasons": why}


def measure(_: object) -> Iterator[Table]:
    """Yield both tables."""
    model = selfattn_bio.load("promoter")
    files = {1: "data/fly_promoters/positives.fa.gz", 0: "data/fly_promoters/negatives.fa.gz"}
    records = [
        (record, label)
        for label, path in files.items()
        for record in read_records(path, DNA)
        if record.chrom == "chr2R"
    ]
    test, labels = [record for record, _ in records], np.array([label for _, label in records])
    yield Table(
        f"Prediction sets of {len(test):,} test records", coverage_rows(model, test, labels)
    )
    yield Table("Flags", flag_rows(model, test))


def _kinds(test: list[np.ndarray], rng: np.random.Generator) -> dict[str, list[np.ndarray]]:
    some = [test[i] for i in rng.permutation(len(test))[:NUMBER]]
    return {
        "test records (2R)": test,
        "their other strand": [DNA.reverse_complement(row) for row in some],
        "reversed, not complemented": [row[::-1] for row in some],
        "shuffled": [rng.permutation(row) for row in some],
        "random, uniform": [rng.choice(BASES, LENGTH) for _ in range(NUMBER)],
        "random, 41 % GC": [
            rng.choice(BASES, LENGTH, p=[0.295, 0.205, 0.205, 0.295]) for _ in range(NUMBER)
        ],
        "random, 60 % GC": [
            rng.choice(BASES, LENGTH, p=[0.2, 0.3, 0.3, 0.2]) for _ in range(NUMBER)
        ],
        "human-like dinucleotides (CpG rare)": [_chain(HUMAN, rng) for _ in range(NUMBER)],
        "random protein, back-translated": [
            _bytes("".join(rng.choice(CODONS, LENGTH // 3))) for _ in range(NUMBER)
        ],
        "a repeat of CA": [_bytes("CA" * (LENGTH // 2))],
        "test records with one base in ten N": [
            np.where(rng.random(len(row)) < 0.1, ord("N"), row).astype(np.uint8) for row in some
        ],
        "their first 200 bp": [row[:200] for row in some],
    }


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def _chain(table: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    places = [rng.integers(4)]
    for _ in range(LENGTH - 1):
        places.append(rng.choice(4, p=table[places[-1]]))
    return BASES[places]


if __name__ == "__main__":
    run(__doc__, measure)

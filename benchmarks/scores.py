"""Check the scores of the model that ships: prediction sets and flags on unlike inputs.

On the fly promoters of chr2R, which the model never saw: how often the prediction sets of a
coverage contain the label, and how large they are; and the fraction of these records, and of other
kinds of sequences, that is flagged as unlike the training data.

    python benchmarks/scores.py
"""

import numpy as np

import selfattn_bio
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.readers import read_records

BASES = np.frombuffer(b"ACGT", dtype=np.uint8)
HUMAN = np.array(
    [
        [0.33, 0.17, 0.24, 0.26],
        [0.35, 0.25, 0.05, 0.35],
        [0.29, 0.21, 0.25, 0.25],
        [0.22, 0.205, 0.245, 0.33],
    ]
)  # few CpG
CODONS = [
    a + b + c
    for a in "ACGT"
    for b in "ACGT"
    for c in "ACGT"
    if a + b + c not in ("TAA", "TAG", "TGA")
]
LENGTH, NUMBER = 300, 1000


def main() -> None:
    """Print both tables."""
    model, rng = selfattn_bio.load("promoter"), np.random.default_rng(0)
    files = {1: "data/fly_promoters/positives.fa.gz", 0: "data/fly_promoters/negatives.fa.gz"}
    records = [
        (record, label)
        for label, path in files.items()
        for record in read_records(path, DNA)
        if record.chrom == "chr2R"
    ]
    test, labels = [record for record, _ in records], np.array([label for _, label in records])

    print(
        f"{'coverage':>8}  {'found':>5}  {'of 0':>5}  {'of 1':>5}  {'one label':>9}"
        f"  {'both':>5}  {'none':>5}   ({len(test):,} test records)"
    )
    for coverage in (0.8, 0.9, 0.95):
        sets = selfattn_bio.score_sequences(model, test, coverage=coverage)["set"]
        held = np.array(
            [str(label) in one.split(",") for label, one in zip(labels, sets, strict=True)]
        )
        size = sets.map({"0": 1, "1": 1, "0,1": 2, "none": 0}).to_numpy()
        shares = [held.mean(), held[labels == 0].mean(), held[labels == 1].mean()]
        print(f"{coverage:8.2f}  " + "  ".join(f"{share:5.3f}" for share in shares), end="  ")
        print(f"{(size == 1).mean():9.3f}  {(size == 2).mean():5.3f}  {(size == 0).mean():5.3f}")

    print(f"\n{'sequences':44}  unlike")
    for name, sequences in _kinds([record.letters for record in test], rng).items():
        flags = selfattn_bio.score_sequences(model, [row.tobytes().decode() for row in sequences])[
            "unlike"
        ]
        why = ", ".join(
            f"{count} by {reason}" for reason, count in flags[flags != "no"].value_counts().items()
        )
        print(f"{name:44}  {(flags != 'no').mean():6.1%}  {why}")


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
    main()

"""Make data/smoke/{positives,negatives}.fa: synthetic sequences for a fast test of the workflow.

    python data/make_smoke.py

Records of 160 bp on artificial chromosomes, on either strand. A positive has DRE (TATCGATA, JASPAR
MA1456) and GAGA (GAGAGAGAG, MA0205) at random positions; a negative has the same bases of the sites
in shuffled order. The output is deterministic.
"""

import random
from pathlib import Path

SITES = ("TATCGATA", "GAGAGAGAG")
LENGTH, STEP = 160, 200  # bp; records do not overlap
RECORDS = {"chrA": 320, "chrB": 80, "chrC": 160}  # train, valid, test


def sequence(positive: bool, rng: random.Random) -> str:
    letters = rng.choices("ACGT", k=LENGTH)
    for site, start in zip(SITES, (rng.randrange(40, 70), rng.randrange(80, 110)), strict=True):
        letters[start : start + len(site)] = site if positive else rng.sample(site, len(site))
    return "".join(letters)


def main() -> None:
    rng = random.Random(0)
    texts = {"positives": "", "negatives": ""}
    for chrom, count in RECORDS.items():
        for i in range(count):
            label = ("positives", "negatives")[i % 2]
            place = (
                f"chrom={chrom} start={i * STEP} end={i * STEP + LENGTH} strand={rng.choice('+-')}"
            )
            texts[label] += f">{chrom}_{i:03d} {place}\n{sequence(label == 'positives', rng)}\n"
    folder = Path(__file__).parent / "smoke"
    folder.mkdir(exist_ok=True)
    for label, text in texts.items():
        (folder / f"{label}.fa").write_text(text, encoding="ascii", newline="\n")


if __name__ == "__main__":
    main()

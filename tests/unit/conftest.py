"""A small task of two classes, for the tests of steps and commands."""

import numpy as np
import pytest

RUN_FILE = """
[data]
positives = "p.fa"
negatives = "n.fa"
[split]
kind = "chromosome"
valid = ["c2"]
test = ["c3"]
"""


@pytest.fixture
def two_classes(here):
    """Return a folder with run.toml, p.fa and n.fa, which is made the current one.

    Each class has 30 random records of 30 bp, on c1, c2 and c3 in turn. `chromosome` splits them.
    """
    rng = np.random.default_rng(0)
    for name in ("p", "n"):
        letters = ["".join(rng.choice(list("ACGT"), 30)) for _ in range(30)]
        text = "".join(f">{name}{i} chrom=c{i % 3 + 1}\n{row}\n" for i, row in enumerate(letters))
        (here / f"{name}.fa").write_text(text)
    (here / "run.toml").write_text(RUN_FILE)
    return here

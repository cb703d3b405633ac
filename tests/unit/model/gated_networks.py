"""Networks with gates, and their model folders, for tests."""

import torch

from selfattn_bio import config

V = 20
SMALL = {
    "members": 2,
    "embed_dim": 32,
    "num_layers": 3,
    "num_heads": 4,
    "feedforward_dim": 16,
    "dropout": 0.0,
    "stem": config.NoStemSection(),
}
GATES = config.HardConcreteGates()


def section_of(**settings):
    return config.AttentionModel(**{**SMALL, "gates": GATES, **settings})


def run_of(section, **sections):
    data = config.Data(positives=("a.fa",), negatives=("b.fa",))
    return config.RunFile(
        data=data, tokens=config.Tokens(k=1), model=section, variants={}, **sections
    )


def tokens(rows=5, length=21):
    found = torch.randint(4, 8, (rows, length), generator=torch.Generator().manual_seed(1))
    found[1, 9:] = 0
    return found

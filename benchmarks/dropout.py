"""Compare the dropout of `attention.dropout` with torch's: nanoseconds per element.

Forward and backward on one CPU thread, medians of interleaved rounds. The tensor has the size of
the attention weights of a batch of promoters.

    python benchmarks/dropout.py
"""

from collections.abc import Iterator

import torch
from harness import Row, Table, median_seconds, run

from selfattn_bio.attention.dropout import dropout

ROUNDS = 15


def rows() -> Iterator[Row]:
    """Time both functions."""
    x = torch.randn(64, 4, 38, 38, requires_grad=True)
    cases = {
        "torch": lambda: torch.nn.functional.dropout(x, 0.3).sum().backward(),
        "selfattn_bio": lambda: dropout(x, 0.3).sum().backward(),
    }
    found = median_seconds(cases, ROUNDS)
    for name, value in found.items():
        nanoseconds, ratio = value / x.numel() * 1e9, found["torch"] / value
        yield {"dropout": name, "ns/element": f"{nanoseconds:.2f}", "speed-up": f"{ratio:.2f}"}


if __name__ == "__main__":
    run(__doc__, lambda _: [Table("", rows())])

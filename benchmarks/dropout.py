"""Compare the dropout of `attention.dropout` with torch's: nanoseconds per element.

Forward and backward on one CPU thread, medians of interleaved rounds.

    python benchmarks/dropout.py
"""

import statistics
import time

import torch

from selfattn_bio.attention.dropout import dropout

ROUNDS = 15


def seconds(function, x):
    start = time.process_time()
    function(x).sum().backward()
    return time.process_time() - start


def main():
    torch.set_num_threads(1)
    x = torch.randn(
        64, 4, 38, 38, requires_grad=True
    )  # the attention weights of a batch of promoters
    ways = {
        "torch": lambda x: torch.nn.functional.dropout(x, 0.3),
        "selfattn_bio": lambda x: dropout(x, 0.3),
    }
    times = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            times[name].append(seconds(way, x))
    medians = {name: statistics.median(values) / x.numel() * 1e9 for name, values in times.items()}
    for name, value in medians.items():
        print(f"{name:12} {value:6.2f} ns/element")
    print(f"ratio        {medians['torch'] / medians['selfattn_bio']:6.2f}")


if __name__ == "__main__":
    main()

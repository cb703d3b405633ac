from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the benchmark scripts importable and return their folder."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return BENCHMARKS

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The scripts' folder, from which they are imported."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return BENCHMARKS

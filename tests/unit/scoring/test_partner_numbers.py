"""Test tracks of numbers passed from Python."""

from types import SimpleNamespace

import pytest

from selfattn_bio.errors import ArgumentError
from selfattn_bio.scoring.partners import _numbers


def test_track_refuses_strings() -> None:
    find = _numbers(["ACGT", [1.0, 2.0]])  # type: ignore[list-item]
    assert find(SimpleNamespace(id="1")).tolist() == [1.0, 2.0]  # type: ignore[arg-type,union-attr]
    with pytest.raises(
        ArgumentError,
        match="partner of '0' is a str, but the model reads a track: pass one number per position",
    ):
        find(SimpleNamespace(id="0"))  # type: ignore[arg-type]

"""The names that a user imports from `selfattn_bio`."""

import pytest

import selfattn_bio


@pytest.mark.parametrize("name", selfattn_bio.__all__)
def test_public_name_is_documented(name):
    found = getattr(selfattn_bio, name)
    assert (found.__name__, found.__module__.split(".")[0]) == (name, "selfattn_bio")
    assert not found.__doc__.startswith(f"{name}(")  # written by hand, not by dataclass

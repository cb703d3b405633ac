"""The names that a user imports from `selfattn_bio`."""

import pytest

import selfattn_bio


@pytest.mark.parametrize("name", selfattn_bio.__all__)
def test_public_name_is_documented(name):
    found = getattr(selfattn_bio, name)
    assert found.__name__ == name
    assert found.__module__.startswith("selfattn_bio.")
    assert len(found.__doc__) > 20
    assert not found.__doc__.startswith(f"{name}(")  # written by hand, not by dataclass


def test_names_of_results_have_what_they_show():
    shown = {"Contacts", "Evaluation", "Leakage", "Ranking", "Split", "Substitutions"}
    shown |= {"Embeddings", "Explanation", "Interactions", "MotifSet"}
    for name in shown:
        assert hasattr(getattr(selfattn_bio, name), "_repr_html_")
        assert hasattr(getattr(selfattn_bio, name), "save")
    drawn = {"Contacts", "Evaluation", "Explanation", "MotifSet", "Substitutions"}
    assert drawn == {name for name in shown if hasattr(getattr(selfattn_bio, name), "plot")}

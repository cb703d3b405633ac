"""Small results of all objectives, and the page of two classes, for tests that change none."""

from functools import cache

import pytest
from pages import read
from small_results import make_results
from target_results import MAKERS

from selfattn_bio.report.page import write_page


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    make_results(folder)
    return read(folder)


@pytest.fixture(scope="session")
def make(tmp_path_factory):
    """Return a function that returns the results of an objective, which are made once."""
    return cache(lambda kind: MAKERS[kind](tmp_path_factory.mktemp(kind) / "results"))


@pytest.fixture(scope="session")
def page_text(results):
    write_page(results, "small_task")
    return results.layout.report.read_text(encoding="utf-8")

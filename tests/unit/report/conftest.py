"""Small results of two classes and their page, shared by tests that change neither."""

import pytest
from pages import page_of, read
from small_results import make_results


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    make_results(folder)
    return read(folder)


@pytest.fixture(scope="session")
def page_text(results):
    return page_of(results.layout.folder)

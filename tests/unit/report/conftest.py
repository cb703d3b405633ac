"""Small results of two classes and their page, shared by tests that change neither."""

import pytest
from pages import read
from small_results import make_results

from selfattn_bio.report.page import write_page


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    make_results(folder)
    return read(folder)


@pytest.fixture(scope="session")
def page_text(results):
    write_page(results, "small_task")
    return results.layout.report.read_text(encoding="utf-8")

"""Test the links of the report to the documentation."""

import re
from email.message import Message
from pathlib import Path

from pages import page_of
from small_results import make_results

from selfattn_bio.report import page

PAGES = {path.stem for path in (Path(__file__).parents[3] / "docs").glob("*.md")}


def test_sections_link_to_documentation_if_it_has_an_address(tmp_path, monkeypatch):
    make_results(tmp_path)
    metadata = Message()
    monkeypatch.setattr(page, "metadata", lambda name: metadata)
    metadata["Project-URL"] = "Source, https://example.org/code"
    assert "example.org" not in page_of(tmp_path)
    metadata["Project-URL"] = "Documentation, https://example.org/docs/"
    linked = re.findall(r'href="https://example\.org/docs/(\w+)\.html"', page_of(tmp_path))
    assert {"interpretation_evidence", "baselines", "data", "results"} <= set(linked) <= PAGES

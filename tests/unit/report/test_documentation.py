"""Test the links of the report to the documentation."""

import re
from collections.abc import Callable
from email.message import Message
from pathlib import Path

import pytest

import selfattn_bio
from selfattn_bio.config import RunFile
from selfattn_bio.report import page

PAGES = {path.stem for path in (Path(__file__).parents[3] / "docs").glob("*.md")}


def test_sections_link_to_documentation_if_it_has_an_address(
    tmp_path: Path, results_maker: Callable[..., RunFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "small"
    run, metadata = results_maker(results), Message()
    monkeypatch.setattr(page, "metadata", lambda name: metadata)
    metadata["Project-URL"] = "Source, https://example.org/code"
    written = selfattn_bio.write_report(run, results, results / "report.html")
    assert "example.org" not in written.read_text(encoding="utf-8")
    metadata["Project-URL"] = "Documentation, https://example.org/docs/"
    written = selfattn_bio.write_report(run, results, results / "report.html")
    linked = re.findall(
        r'href="https://example\.org/docs/(\w+)\.html"', written.read_text(encoding="utf-8")
    )
    assert {"interpretation_evidence", "baselines", "data", "results"} <= set(linked) <= PAGES

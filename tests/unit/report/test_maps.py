"""Test what the report says below attention maps."""

from dataclasses import replace

import pytest
from pages import page_of, section_of

from selfattn_bio.config import StackSection
from selfattn_bio.model.checkpoint import StackWeights


@pytest.mark.parametrize(("weight", "count"), [(0.012, 1), (0.9, 0)])
def test_maps_of_a_network_that_adds_little_say_so(results, monkeypatch, weight, count):
    stored = StackWeights(
        weights={"network": [weight], "kmer6_linear": [1.0]}, bias=[0.0], weights_sha256=""
    )
    monkeypatch.setattr("selfattn_bio.report.page.read_stack_weights", lambda folder: stored)
    task = results.task.model_copy(update={"stack": StackSection(parts=("kmer6_linear",))})
    shown = section_of(page_of(replace(results, task=task)), "attention")
    assert "These maps show the network only" in shown
    assert shown.count("which adds little or nothing to the score of positive.") == count

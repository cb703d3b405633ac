import json
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from selfattn_bio.config import RunFile
from selfattn_bio.report.maps import attention_figures
from selfattn_bio.report.page import render
from selfattn_bio.report.results import Mapped, Results, read_results


@pytest.fixture(scope="module")
def results(
    tmp_path_factory: pytest.TempPathFactory, results_maker: Callable[..., RunFile]
) -> Results:
    folder = tmp_path_factory.mktemp("maps") / "small"
    return read_results(results_maker(folder), folder)


def test_maps_store_weights_bases_and_sites(results: Results) -> None:
    explained = results.explained
    assert explained is not None
    weights = np.array([[[0.8, 0.2], [0.1, 0.0]]], dtype=np.float32)
    some = replace(
        explained, maps={"r2": Mapped(explained.letters[1], 1.5, np.array([0, 30, 60]), weights)}
    )
    (figure,) = attention_figures(replace(results, explained=some))
    assert (figure.id, figure.of, figure.logit, figure.layers) == (
        "r2",
        "positive, train",
        1.5,
        1,
    )
    data = json.loads(figure.data)
    assert data["edges"] == [0, 30, 60]
    assert data["letters"] == explained.letters[1].tobytes().decode()
    assert data["sites"] == [["motif_01", 20, 25], ["motif_02", 20, 25]]
    (layer,) = data["layers"]
    shades = np.frombuffer(b64decode(layer["shades"]), dtype=np.uint8).reshape(2, 2)
    assert shades[0, 0] == 255
    # Values above a quantile are clipped
    np.testing.assert_allclose(shades / 255 * layer["top"], weights[0], atol=0.012)


def test_a_chosen_record_need_not_be_explained(results: Results, tmp_path) -> None:
    explained = results.explained
    assert explained is not None
    (chosen,) = results.records.index[results.records["split"] == "test"][1:2]
    name = results.records["id"][chosen]
    assert name not in explained.records["id"].tolist()
    mapped = Mapped(
        np.frombuffer(b"ACGT" * 15, dtype=np.uint8),
        -1.5,
        np.array([0, 30, 60]),
        np.full((1, 2, 2), 0.5, dtype=np.float32),
    )
    run = RunFile.model_validate(results.run.model_dump() | {"interpret": {"maps": [name]}})
    some = replace(results, run=run, explained=replace(explained, maps={name: mapped}))
    (figure,) = attention_figures(some)
    assert (figure.of, json.loads(figure.data)["letters"]) == ("negative, test", "ACGT" * 15)
    unlabelled = replace(some, records=results.records.assign(label=np.nan))
    assert attention_figures(unlabelled)[0].of == "unlabelled, test"
    page = render(some, tmp_path, "small")
    assert "Records listed under <code>maps</code> in [interpret] of the run file" in page
    assert f'aria-label="attention map of {name}"' in page


def test_sequences_are_sorted_by_score(results: Results) -> None:
    logits = [figure.logit for figure in attention_figures(results)]
    assert len(logits) == 2
    assert logits == sorted(logits, reverse=True)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"kind": "attention"}, "There are no maps yet. Run <code>selfattn-bio explain</code>."),
        (
            {"kind": "cnn"},
            "There are no maps, because models of kind &#39;cnn&#39; have no attention weights.",
        ),
        (
            {"kind": "attention", "position": {"kind": "none"}, "mixer": {"kind": "linear"}},
            "There are no maps, because models with the mixer &#39;linear&#39; have no attention "
            "weights.",
        ),
    ],
)
def test_missing_map_has_a_reason(results: Results, model: dict, expected: str, tmp_path) -> None:
    explained = results.explained
    assert explained is not None
    run = RunFile.model_validate(results.run.model_dump() | {"model": model})
    without = replace(results, run=run, explained=replace(explained, maps={}))
    page = render(without, tmp_path, "small")
    section = page[
        page.index('<section id="attention">') : page.index('<section id="performance">')
    ]
    assert expected in section

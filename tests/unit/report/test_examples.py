import json
import re
from base64 import b64decode
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pages import page_of, section_of

from selfattn_bio.attribution.readout import AttentionMap, MappedSequence
from selfattn_bio.config import RunFile
from selfattn_bio.motifs.logos import WIDTH
from selfattn_bio.report.cards import COUNT, FLANK, attention_figures, example_sites


def test_examples_show_sites_of_highest_attribution(results):
    found = example_sites(results)
    numbers = {name: len(examples) for name, examples in found.items()}
    assert numbers == {"motif_01": COUNT, "motif_02": COUNT}
    first = found["motif_01"][0]
    assert first.position == "positions 21 to 25 of r0, + strand, train"
    assert re.findall(r">(-?\d+)</text>", first.svg) == ["-5", "0", "5", "10"]
    assert f'<rect x="{FLANK * WIDTH}" width="{5 * WIDTH}"' in first.svg
    sites = results.discovery  # overlapping sites are shown once per record
    shifted = sites.assign(start=sites["start"] + 1, end=sites["end"] + 1)
    twice = replace(results, discovery=pd.concat([sites, shifted], ignore_index=True))
    records = {each.position.split(" of ")[1] for each in example_sites(twice)["motif_01"]}
    assert len(records) == COUNT
    empty = replace(results.explained, hypothetical=results.explained.hypothetical[:, :, :0])
    for explained in (empty, None):  # there are no scores per base
        assert example_sites(replace(results, explained=explained)) == {}


def test_examples_on_other_strand_and_at_record_ends(results):
    explained = results.explained
    letters, scores = explained.letters.copy(), np.zeros_like(explained.hypothetical)
    # A, C, G at the end of record r2, which is on the - strand
    letters[1, 57:60] = list(b"ACG")
    scores[1, 57:60] = np.diag([1, 2, 3, 0])[:3]
    start = int(results.records["start"][2])
    # + is the - strand of the record
    there = results.discovery[:1].assign(chrom="chr2R", start=start, end=start + 3, strand="+")
    explained = replace(explained, letters=letters, hypothetical=scores)
    changed = replace(results, discovery=there, explained=explained)
    (example,) = example_sites(changed)["motif_01"]
    assert example.position == "positions 58 to 60 of r2, - strand, train"
    colours = dict(re.findall(r'<path id="(\w+)" fill="([^"]+)"', example.svg))
    read = [
        (colours[i], int(float(x) // WIDTH))
        for i, x in re.findall(r'href="#(\w+)" transform="matrix\(\S+ 0 0 \S+ (\S+) ', example.svg)
    ]
    assert read == [("#0072B2", 0), ("#E69F00", 1), ("#D55E00", 2)]  # C, G, T
    assert '<rect x="0" width="30"' in example.svg


def test_maps_store_weights_bases_and_sites(results):
    explained = results.explained
    weights = np.array([[[0.8, 0.2], [0.1, 0.0]]], dtype=np.float32)
    edges = np.array([0, 30, 60])
    mapped = MappedSequence(explained.letters[1], 1.5, [AttentionMap(edges, weights[0])])
    scores = [figure.score for figure in attention_figures(results)]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 2
    some = replace(explained, maps={"r2": mapped})
    (figure,) = attention_figures(replace(results, explained=some))
    assert (figure.id, figure.of, figure.score, figure.layers) == ("r2", "positive, train", 1.5, 1)
    data = json.loads(figure.data)
    assert data["edges"] == [0, 30, 60]
    assert data["letters"] == explained.letters[1].tobytes().decode()
    assert data["sites"] == [["motif_01", 20, 25], ["motif_02", 20, 25]]
    (layer,) = data["layers"]
    shades = np.frombuffer(b64decode(layer["shades"]), dtype=np.uint8).reshape(2, 2)
    assert shades[0, 0] == 255
    # Values above a quantile are clipped
    np.testing.assert_allclose(shades / 255 * layer["top"], weights[0], atol=0.012)


def test_a_chosen_record_need_not_be_explained(results):
    explained = results.explained
    (chosen,) = results.records.index[results.records["split"] == "test"][1:2]
    name = results.records["id"][chosen]
    assert name not in explained.records["id"].tolist()
    layer = AttentionMap(np.array([0, 30, 60]), np.full((2, 2), 0.5, dtype=np.float32))
    mapped = MappedSequence(np.frombuffer(b"ACGT" * 15, dtype=np.uint8), -1.5, [layer])
    interpret = {"database": "jaspar:insects", "maps": [name]}
    run = RunFile.model_validate(results.task.model_dump() | {"interpret": interpret})
    some = replace(results, task=run, explained=replace(explained, maps={name: mapped}))
    (figure,) = attention_figures(some)
    assert (figure.of, json.loads(figure.data)["letters"]) == ("negative, test", "ACGT" * 15)
    unlabelled = replace(some, records=results.records.assign(label=np.nan))
    assert attention_figures(unlabelled)[0].of == "test"
    unlabelled.records.loc[unlabelled.records["id"] != name, "label"] = 1
    assert attention_figures(unlabelled)[0].of == "unlabelled, test"
    page = page_of(some)
    assert "Records listed under <code>maps</code> in [interpret] of the run file" in page
    assert "run file, by decreasing score. Each row" in " ".join(page.split())
    of_two = {"model": {"positive": {}, "other": {}}}
    page = page_of(replace(some, metrics=results.metrics | {"outputs": of_two}))
    assert "run file, by decreasing score of positive. Each row" in " ".join(page.split())
    assert f'aria-label="attention map of {name}"' in page


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({}, "There are no maps yet. Run <code>selfattn-bio explain small_task<"),
        ({"kind": "cnn"}, "There are no maps: they are drawn only for softmax"),
    ],
)
def test_missing_map_has_a_reason(results, model, reason):
    model = {"kind": "attention"} | model
    run = RunFile.model_validate(results.task.model_dump() | {"model": model})
    without = replace(results, task=run, explained=replace(results.explained, maps={}))
    assert reason in section_of(page_of(without), "attention")

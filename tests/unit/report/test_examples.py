import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from selfattn_bio.config import RunFile
from selfattn_bio.interpret.svg import WIDTH
from selfattn_bio.report.examples import COUNT, FLANK, example_sites
from selfattn_bio.report.results import Results, read_results


@pytest.fixture(scope="module")
def results(
    tmp_path_factory: pytest.TempPathFactory, results_maker: Callable[..., RunFile]
) -> Results:
    folder = tmp_path_factory.mktemp("examples") / "small"
    return read_results(results_maker(folder), folder)


def test_examples_show_sites_of_highest_attribution(results: Results) -> None:
    found = example_sites(results)
    assert {name: len(examples) for name, examples in found.items()} == {
        "motif_01": COUNT,
        "motif_02": COUNT,
    }
    first = found["motif_01"][0]
    assert first.position == "positions 21 to 25 of r0, + strand, train"
    assert re.findall(r">(-?\d+)</text>", first.svg) == ["-5", "0", "5", "10"]
    assert f'<rect x="{FLANK * WIDTH}" width="{5 * WIDTH}"' in first.svg


def test_overlapping_sites_are_shown_once_per_record(results: Results) -> None:
    shifted = results.discovery.assign(
        start=results.discovery["start"] + 1, end=results.discovery["end"] + 1
    )
    twice = example_sites(
        replace(results, discovery=pd.concat([results.discovery, shifted], ignore_index=True))
    )
    records = [example.position.split(" of ")[1] for example in twice["motif_01"]]
    assert len(set(records)) == len(records) == COUNT


def test_examples_on_other_strand_and_at_record_ends(results: Results) -> None:
    explained = results.explained
    assert explained is not None
    tracks = np.zeros_like(explained.tracks)
    # A, C, G at the end of record r2, which is on the - strand
    tracks[1, 57:60] = np.diag([1, 2, 3, 0])[:3]
    attribution = np.linalg.norm(tracks, axis=2)
    start = int(results.records["start"][2])
    # + is the - strand of the record
    there = results.discovery[:1].assign(chrom="chr2R", start=start, end=start + 3, strand="+")
    (example,) = example_sites(
        replace(
            results,
            discovery=there,
            explained=replace(explained, tracks=tracks, attribution=attribution),
        )
    )["motif_01"]
    assert example.position == "positions 58 to 60 of r2, - strand, train"
    colours = dict(re.findall(r'<path id="(\w+)" fill="([^"]+)"', example.svg))
    read = [
        (colours[i], int(float(x) // WIDTH))
        for i, x in re.findall(r'href="#(\w+)" transform="matrix\(\S+ 0 0 \S+ (\S+) ', example.svg)
    ]
    assert read == [("#0072B2", 0), ("#E69F00", 1), ("#D55E00", 2)]  # C, G, T
    assert '<rect x="0" width="30"' in example.svg


def test_examples_need_scores_per_base(results: Results) -> None:
    explained = results.explained
    assert explained is not None
    assert (
        example_sites(
            replace(results, explained=replace(explained, tracks=explained.tracks[:, :, :0]))
        )
        == {}
    )
    assert example_sites(replace(results, explained=None)) == {}

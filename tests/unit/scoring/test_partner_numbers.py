"""Test tracks of numbers passed from Python."""

from types import SimpleNamespace

import pandas as pd
import pytest

from selfattn_bio.config import RunFile
from selfattn_bio.errors import ArgumentError, RecordIdError
from selfattn_bio.model.build import build_network
from selfattn_bio.scoring.paired_scorer import PairedScorer, _numbers, read_partners
from selfattn_bio.sequence.kmers import tokenizer_of


def test_track_refuses_strings():
    find = _numbers(["ACGT", [1.0, 2.0]])  # type: ignore[list-item]
    assert find(SimpleNamespace(id="1")).tolist() == [1.0, 2.0]  # type: ignore[arg-type,union-attr]
    message = "partner of '0' is a str, but the model reads a track: pass one number per position"
    with pytest.raises(ArgumentError, match=message):
        find(SimpleNamespace(id="0"))  # type: ignore[arg-type]


def test_partners_are_in_the_columns_of_the_training(tmp_path):
    columns = {"id": "name", "sequence": "first"}
    run = RunFile(
        data={"sequences": "t.tsv", "label": "label", "columns": columns},
        partner={"kind": "sequence", "column": "other"},
        model={"kind": "paired"},
    )
    scorer = PairedScorer(run, tokenizer_of(run), build_network(run))
    rows = {"name": ["a", "b"], "first": ["ACGTAC", "CCCCCC"], "other": ["GGGGGG", "TTTTTT"]}
    table = pd.DataFrame(rows)
    table.to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    for partner in (table, tmp_path / "t.tsv"):
        of = read_partners(scorer, partner)
        assert of is not None
        assert of(SimpleNamespace(id="b")).tobytes() == b"TTTTTT"  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="two partners have the id 'b'"):
        read_partners(scorer, pd.concat([table, table[1:]]))
    with (tmp_path / "t.tsv").open("a") as file:
        file.write("b\tCCCCCC\tAAAAAA\n")
    with pytest.raises(RecordIdError, match=r"t\.tsv:4: record id 'b' is used twice"):
        read_partners(scorer, tmp_path / "t.tsv")

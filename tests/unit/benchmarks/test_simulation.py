"""Test the simulation of sequences with planted motifs, on the grammars of the benchmark."""

from pathlib import Path

import numpy as np
import pytest

from selfattn_bio.config import RunFile
from selfattn_bio.motifs import open_database
from selfattn_bio.sequence.alphabet import DNA


def simulated(name, records=400):
    from harness import ROOT
    from simulation import read_grammar, simulate

    grammar = read_grammar(ROOT / f"benchmarks/grammars/development/{name}.toml")
    return grammar, *simulate(grammar, 1, records)


@pytest.mark.parametrize("name", ["five", "pair", "unlearnt"])
def test_sites_are_apart_and_possible(name):
    from simulation import DATABASE

    ppms = open_database(DATABASE)
    _, ids, letters, truth = simulated(name)
    row_of = {record: row for row, record in enumerate(ids)}
    assert ids.str.startswith("positive").sum() == 200
    for record, sites in truth.groupby("id"):
        assert (sites["start"].to_numpy()[1:] >= sites["end"].to_numpy()[:-1]).all()
        for site in sites.itertuples():
            found = letters[row_of[record], site.start : site.end]
            codes = DNA.codes(DNA.reverse_complement(found) if site.strand == "-" else found)
            assert (ppms[site.motif][np.arange(len(codes)), codes] > 0).all()
    assert not truth["id"].str.startswith("shuffled").any()


def test_pairs_and_negatives_follow_the_grammar():
    grammar, _, _, truth = simulated("pair")
    seconds = {name: rule["second"] for name, rule in grammar.pairs.items()}
    assert not truth.loc[~truth["id"].str.startswith("positive"), "pair"].any()
    halves = truth[truth["pair"] != ""].groupby("id")
    assert len(halves) == 200
    for _, (left, right) in ((name, sites.to_dict("records")) for name, sites in halves):
        assert 5 <= right["start"] - left["end"] <= 15
        assert left["strand"] == right["strand"]
        assert (right if left["strand"] == "+" else left)["motif"] == seconds[left["pair"]]
    swapped = truth[truth["id"].str.startswith("swapped")].groupby("id")["motif"].agg(set)
    pairs = [{rule["first"], rule["second"]} for rule in grammar.pairs.values()]
    assert len(swapped) == 100
    assert not any(pair <= motifs for motifs in swapped for pair in pairs)


def test_settings_are_a_run_file_of_the_written_data(tmp_path):
    from harness import ROOT
    from simulation import read_grammar, settings_of, write_data

    grammar = read_grammar(ROOT / "benchmarks/grammars/development/twenty.toml")
    write_data(grammar, tmp_path / "data", records=8)
    for path, _ in RunFile.model_validate(settings_of(grammar, tmp_path / "data")).data.files:
        assert Path(path).exists()

"""Test in how many units the sites of a motif are."""

import numpy as np
import pandas as pd
import pytest

from selfattn_bio.evaluation.units import Units
from selfattn_bio.motifs.motif_set import Motif, MotifSet
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.study.motifs import without_alignments

RECORDS = 40  # explained, of five clusters


def found(sites, targets=("yes", "yes")):
    """Return motifs with these records of their sites."""
    motifs = []
    for i, rows in enumerate(sites):
        seqlets = pd.DataFrame({"record": rows, "start": 0, "end": 4, "strand": "+"})
        counts = np.eye(4, dtype=np.int64) * len(rows)
        motifs.append(Motif(counts, seqlets, f"motif_{i}", alphabet=DNA))
    names = [motif.name for motif in motifs]
    table = pd.DataFrame({"name": names, "target": targets[: len(names)]})
    records = pd.DataFrame({"id": [f"r{i}" for i in range(RECORDS)], "target": "yes"})
    return MotifSet(tuple(motifs), table, records)


def test_alignment_of_a_cluster_is_left_out(caplog):
    caplog.set_level("INFO", "selfattn_bio")
    keys = np.repeat(list("abcde"), RECORDS // 5)
    alignment, motif = [*range(8)] * 2 + [8, 39], [0, 1, 2, 8, 9, 16]
    kept = without_alignments(found([alignment, motif]), Units.of(keys, "clusters"))
    assert [each.name for each in kept] == kept.table["name"].tolist() == ["motif_1"]
    assert kept.table["site_units"].tolist() == ["3 of 5 clusters, at most 3 in one"]
    assert caplog.messages == [
        "left out, perhaps an alignment of relatives: Motif motif_0 ACGT of 18 sites in 3 "
        "of 5 clusters, at most 16 in one"
    ]


def test_sites_may_be_in_a_cluster_of_most_records():
    keys = ["a"] * 30 + list("bbbbbccccc")
    kept = without_alignments(found([[*range(10)]]), Units.of(keys, "clusters"))
    assert kept.table["site_units"].tolist() == ["1 of 3 clusters, at most 10 in one"]


@pytest.mark.parametrize("keys", [range(RECORDS), [0] * RECORDS])
def test_single_records_and_a_single_unit_show_nothing(keys):
    motifs = found([[0] * 10])
    assert without_alignments(motifs, Units.of(list(keys), "clusters")) is motifs


def test_no_motifs_have_a_column_of_units():
    keys = np.repeat(list("abcde"), RECORDS // 5)
    kept = without_alignments(found([]), Units.of(keys, "clusters"))
    assert len(kept) == 0
    assert kept.table["site_units"].tolist() == []

"""Find the motif that matters in one of two inputs, and test its evidence.

The label depends on a motif in the first input. Half of all first inputs and of all partners have a
decoy that means nothing.
"""

from pathlib import Path

import numpy as np
import paired_tasks as paired
import pandas as pd
import pytest
from commands import run
from small_task import reverse_complement, run_steps

import selfattn_bio as sb
from selfattn_bio.errors import ArgumentError
from selfattn_bio.motifs.callers import Clusters
from selfattn_bio.motifs.motif_set import MotifSet
from selfattn_bio.report.lines import final_lines
from selfattn_bio.sequence.tables import read_table

MOTIF, DECOY, SLOT, LENGTH = "TGACTCATGC", "CCATGTTGCA", 30, 70
INTERPRET = 'max_sequences = 200, database = "none", caller = { kind = "clusters" }'


def record(rng, label):
    """Simulate a record: 80 % of first inputs of label 1 have the motif, and 10 % of label 0."""
    first, partner = (list(paired.planted(rng, LENGTH, None)[0]) for _ in range(2))
    at = int(rng.integers(SLOT))
    if has_motif := rng.random() < (0.8 if label else 0.1):
        first[at : at + len(MOTIF)] = MOTIF
    for letters in (first, partner):
        if rng.random() < 0.5:
            start = SLOT + len(MOTIF) + int(rng.integers(SLOT - len(DECOY)))
            letters[start : start + len(DECOY)] = DECOY
    return "".join(first), "".join(partner), (at, len(MOTIF)) if has_motif else None, None


def prepare(folder, kind, sample, number, steps):
    """Train and explain a model in the current folder, and find the motifs of both inputs."""
    records = paired.write_pairs(folder, kind, sample, number, steps)
    text = Path("run.toml").read_text()
    Path("run.toml").write_text(text.replace("max_sequences = 64", INTERPRET))
    run_steps("ingest split train explain motifs")
    run("motifs . --input partner")
    return records


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Return the folder of a task whose label depends on the first input, and its records."""
    folder = tmp_path_factory.mktemp("pairs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder, prepare(folder, "dna", record, 3000, 100)


@pytest.fixture
def records(task, monkeypatch):
    monkeypatch.chdir(task[0])
    return task[1]


def has_word(consensus, word, edge=2):
    """Return which consensus sequences have the middle of a word, on either strand."""
    middle = word[edge:-edge]
    return consensus.str.contains(f"{middle}|{reverse_complement(middle)}")


def test_motif_of_the_first_input_is_supported(records):
    table = read_table("motifs.tsv")
    assert set(table["input"]) == {"first"}
    used = table[table["verdict"] == "supported"]
    own = used[has_word(used["consensus"], MOTIF)]
    assert len(own)
    assert (own["effect_low"] > 0.5).all()
    assert not has_word(used["consensus"], DECOY).any()
    of_partner = MotifSet.load("partner").table
    assert set(of_partner.get("input", [])) <= {"partner"}
    assert not (of_partner["verdict"] == "supported").any()


def test_decoy_is_not_supported_in_either_input(records):
    """The decoy has next to no effect, tested as a motif at hits in both inputs."""
    table, partners, labels = held_out_tables(records)
    explained = sb.Explanation.load("attribution")
    for found in (explained, explained.partner):
        texts = found.sequences
        sites = [(i, text.find(DECOY)) for i, text in enumerate(texts) if DECOY in text]
        motifs = decoys(found, sites).with_evidence("model/", table, labels, partner=partners)
        (row,) = motifs.table.to_dict("records")
        assert row["input"] == found.input
        assert row["verdict"] != "supported"
        assert row["effect_records"] > 100
        assert abs(row["effect"]) < 0.3, found.input


def decoys(explained, sites):
    """Return a set with the decoy as its only motif, at these sites of an explanation."""
    from selfattn_bio.motifs.motif_set import build_motifs
    from selfattn_bio.motifs.patterns import SeqletPattern

    rows = [(row, start, start + len(DECOY), "+") for row, start in sites]
    seqlets = pd.DataFrame(rows, columns=["record", "start", "end", "strand"])
    counts = len(sites) * (np.array(list(DECOY))[:, None] == np.array(list("ACGT"))).astype(int)
    pattern = SeqletPattern(counts, seqlets)
    return build_motifs([pattern], explained.records, {}, explained.targets, explained.input)


def held_out_tables(records):
    """Return the test records: a table of first inputs, their partners, and labels."""
    names, labels, first, partner = paired.held_out(records)
    first, partner = (pd.DataFrame({"id": names, "sequence": of}) for of in (first, partner))
    return first, partner, labels


@pytest.mark.parametrize(("name", "folder"), [("first", "."), ("partner", "partner")])
def test_python_gives_the_table_of_the_command(records, name, folder, tmp_path):
    table, partners, labels = held_out_tables(records)
    explained = sb.Explanation.load("attribution")
    if name == "partner":
        explained = explained.partner
    motifs = explained.find_motifs(None, caller=Clusters())
    motifs = motifs.with_evidence("model/", table, labels, partner=partners)
    motifs.save(tmp_path)
    assert (tmp_path / "motifs.tsv").read_bytes() == Path(folder, "motifs.tsv").read_bytes()
    assert (tmp_path / "seqlets.bed").read_bytes() == Path(folder, "seqlets.bed").read_bytes()


def test_errors_about_motifs_of_pairs(records):
    table, partners, labels = held_out_tables(records)
    explained = sb.Explanation.load("attribution")
    motifs = explained.find_motifs(None, caller=Clusters())
    with pytest.raises(ArgumentError, match="this model has two inputs; pass the second one"):
        motifs.with_evidence("model/", table, labels)
    trained = [records[name] for name in explained.ids[:3]]
    # another partner makes another record
    others = [trained[0][2], trained[1][2], partners["sequence"][0]]
    with pytest.raises(ArgumentError, match="trained or selected on 2 of the 3 sequences"):
        motifs.with_evidence("model/", [of[1] for of in trained], [1] * 3, partner=others)
    other = decoys(explained.partner, [(0, 0)])
    with pytest.raises(ArgumentError, match="those of a second input, but the model has only one"):
        other.with_evidence("promoter", ["ACGT" * 75], [1])


def test_motif_and_domain_are_supported_and_reported(here):
    """The model needs both, both are supported, and the report shows each with its input."""
    paired.explain_both(prepare(here, "protein", paired.motif_and_domain, 2000, 100))
    motifs, partner = (MotifSet.load(folder) for folder in (".", "partner"))
    for found, word in ((motifs, paired.DNA_MOTIFS[0]), (partner, paired.DOMAIN)):
        used = found.table[found.table["verdict"] == "supported"]
        assert has_word(used["consensus"], word, edge=1).any(), found.table["consensus"].tolist()
    assert (motifs.alphabet.name, partner.alphabet.name) == ("dna", "protein")
    assert (motifs.input, partner.input) == ("first", "partner")
    run_steps("evaluate report")
    page = Path("report.html").read_text()
    number = len(motifs) + len(partner)
    assert f'<span class="of"> of {number}</span>' in page
    assert any(f"of {number} motifs" in line for line in final_lines(sb.Study(".")))
    first, second = (
        page.partition(f'<section id="{name}">')[2].partition("</section>")[0]
        for name in ("motifs", "partner")
    )
    for found, own, other in ((motifs, first, second), (partner, second, first)):
        assert all(each in own and each not in other for each in found.table["consensus"])
    assert "no database of protein motifs" in second
    assert "the first input of the record stays as it is" in second
    assert "Interactions</h2>" not in page

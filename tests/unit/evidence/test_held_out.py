"""Test the evidence of motifs on held-out sequences: labels, coordinates, files, errors."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from learners import CONV, HEADS, SEQUENCES, SMALL
from learners import scorer_of as model_of
from letters import BASES, ascii_of
from listed_records import seen
from planted_motifs import plant

from selfattn_bio.attribution.explanation import Explanation
from selfattn_bio.config import (
    BinaryObjective,
    BinsObjective,
    MulticlassObjective,
    MultilabelObjective,
)
from selfattn_bio.errors import ArgumentError
from selfattn_bio.evidence import held_out
from selfattn_bio.evidence.marginals import COLUMNS as MARGINAL
from selfattn_bio.evidence.records import LabelledRecords, MeasuredRecords
from selfattn_bio.evidence.verdicts import COLUMNS
from selfattn_bio.model.checkpoint import TRAINING_RECORDS
from selfattn_bio.motifs import matching
from selfattn_bio.motifs.callers import Clusters
from selfattn_bio.motifs.matching import HIT_P, one_hot
from selfattn_bio.motifs.motif_set import MotifSet, build_motifs
from selfattn_bio.motifs.patterns import SeqletPattern
from selfattn_bio.objectives import objective_of
from selfattn_bio.objectives.binary import Binary
from selfattn_bio.objectives.loss import UNKNOWN
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.kmers import KmerTokenizer
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.tables import BED_COLUMNS, read_bed

WORD = b"GGTCACAC"
FILES = ["discovery_seqlets.bed", "logos", "motifs.json", "motifs.meme", "motifs.tsv"]


READER = {"policy": SequencePolicy(DNA), "tokenizer": KmerTokenizer(DNA, 3)}


def scorer_of(alphabet="dna", k=3):
    return model_of(SMALL | {"stem": CONV, "members": 1, "num_layers": 1}, alphabet, k)


def motif_set(word=WORD):
    """Return one motif with 100 sites, all at the start of one record."""
    pfm = 100 * np.eye(4, dtype=int)[[b"ACGT".index(bytes([letter])) for letter in word]]
    seqlets = pd.DataFrame({"record": [0] * 100, "start": 0, "end": len(word), "strand": "+"})
    records = pd.DataFrame(columns=["id", "chrom", "start", "end", "strand"], index=[0])
    return build_motifs([SeqletPattern(pfm, seqlets)], records.assign(id="r0"), {})


def planted(num=240, length=100):
    """Return letters with the word in most positives and few negatives, labels, and sites."""
    labels = (np.arange(num) % 3 == 0).astype(int)
    letters, sites = plant({"": WORD}, num, length, chance=np.where(labels, 0.9, 0.3))
    return letters, labels, sites


def test_evidence_uses_labels_and_bases_of_records(monkeypatch):
    letters, labels, planted_sites = planted()

    def importance_of_word(method, scorer, sequences, target):
        found = [np.full(100, 0.1, dtype=np.float32) for _ in sequences]
        for row, sequence in zip(found, sequences, strict=True):
            where = bytes(sequence).find(WORD)
            row[where : where + 8] += where >= 0
        return found

    monkeypatch.setattr(held_out.AttnLRP, "attribution", importance_of_word)
    scorer = SimpleNamespace(
        folder=None,
        alphabet=DNA,
        member_log_odds=lambda rows: np.array([[2.0 * (WORD in bytes(row))] for row in rows]),
        network=SimpleNamespace(has_embeddings=True, has_rules=True),
        objective=Binary(BinaryObjective()),
    )
    records = pd.DataFrame({"id": map(str, range(len(letters)))})
    records = records.reindex(columns=held_out.RECORD_COLUMNS)
    units = held_out.units_of(None, len(letters))
    found = held_out.add_evidence(
        motif_set(), scorer, records, letters, labels, units=units, hit_p=1e-4
    )
    (row,), sites = found.table.to_dict("records"), found.sites
    assert row["verdict"] == "supported"
    assert row["positives_with_hit"] == pytest.approx(72, abs=6)  # of 80 positives
    assert row["effect"] == pytest.approx(2.0, abs=0.2)  # log-odds, not raw logits
    wanted = planted_sites[labels[planted_sites["record"]] == 1]
    assert set(zip(wanted["record"], wanted["start"], strict=True)) <= set(
        zip(sites["chrom"].astype(int), sites["start"], strict=True)
    )
    assert labels[sites["chrom"].astype(int)].all()
    assert row["marginal"] == pytest.approx(1.0, abs=0.2)  # 2 on +, and 0 on -
    assert row["marginal_strand"] == "+"
    assert row["marginal_strand_q"] < 0.01 < row["marginal_position_q"]
    by_strand = found.curves.groupby("strand")["effect"].mean()
    assert by_strand.to_list() == pytest.approx([2, 0], abs=0.2)


def test_correlated_labels_are_separated(sequences, monkeypatch):
    letters, labels, _ = planted()
    section = MultilabelObjective(columns=["one", "other"])
    scorer = SimpleNamespace(
        folder=None,
        alphabet=DNA,
        member_outputs=lambda rows: np.array([[[2.0 * (WORD in bytes(row))] * 2] for row in rows]),
        objective=objective_of(section),
    )
    none = pd.DataFrame(columns=[*BED_COLUMNS, "record", "rank", "p_value"])
    monkeypatch.setattr(held_out, "hits_in_use", lambda *_: none)
    copied = np.where(np.arange(len(labels)) % 9, labels, 1 - labels)
    motifs = motif_set()
    motifs = replace(motifs, table=motifs.table.assign(target="one"))
    records = pd.DataFrame({"id": map(str, range(len(letters)))})
    found = held_out.add_evidence(
        motifs,
        scorer,
        records.reindex(columns=held_out.RECORD_COLUMNS),
        letters,
        np.stack([labels, copied], axis=1).astype(float),
        units=held_out.units_of(None, len(letters)),
        hit_p=1e-4,
    )
    counts = found.table["correlated"][0]
    assert counts.startswith("Records that are one: without other, ")
    assert sum(map(int, re.findall(r"of (\d+)", counts))) == len(labels)


@pytest.mark.parametrize("alphabet", [PROTEIN, DNA])
def test_used_hits_are_one_per_site(monkeypatch, alphabet):
    hits = pd.DataFrame({"name": "m", "record": 0, "start": [3, 4, 30], "strand": "+"})
    hits = hits.assign(end=hits["start"] + 8, p_value=[1e-5, 1e-6, 1e-5])
    importance = np.zeros(60)
    importance[[8, 33]] = 1
    monkeypatch.setattr(held_out, "importance_of", lambda *inputs: [importance])
    records = LabelledRecords([np.full(60, ord("A"), dtype=np.uint8)], np.ones(1), alphabet)
    used = held_out.hits_in_use(hits, None, None, records, 0)
    assert held_out.one_per_site(used)["start"].tolist() == [4, 30]


def test_used_hits_of_many_records_are_sampled(monkeypatch, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    monkeypatch.setattr(matching, "MAX_SEARCHED", 2)
    hits = pd.DataFrame({"name": "m", "record": [7, 3, 5], "start": 4, "end": 12, "p_value": 1e-6})
    importance = np.repeat([0.0, 1.0, 0.0], [4, 8, 48])
    found = matching.used_hits(hits, lambda rows: [importance for _ in rows], 0)
    assert found["record"].nunique() == 2
    assert caplog.messages == ["used sites are searched in 2 of 3 records"]


def test_short_motifs_have_their_best_matches(caplog):
    ppms = {
        "SKL": one_hot(ascii_of("SKL"), PROTEIN),
        "PKKKRKV": one_hot(ascii_of("PKKKRKV"), PROTEIN),
    }
    records = LabelledRecords([ascii_of("ASKLA" * 30), ascii_of("A" * 150)], np.ones(2), PROTEIN)
    hits, limits = held_out.held_out_hits(ppms, {}, records)
    assert limits["PKKKRKV"] == HIT_P < limits["SKL"] < 1e-3
    assert hits["name"].tolist() == ["SKL"] * 30
    assert not caplog.text
    _, given = held_out.held_out_hits(ppms, {}, records, 1e-4)
    assert set(given.values()) == {1e-4}
    assert "1 motif cannot have a hit with p < 1.0e-04, for example SKL" in caplog.text


def test_narrow_motifs_in_long_records_are_counted(caplog):
    letters = [np.full(32_768, ord("A"), dtype=np.uint8)] * 3
    records = LabelledRecords(letters, np.array([0, 1, 1]))
    words = {"narrow": "ACGTACG", "wide": "ACGTACGTAC"}
    ppms = {name: one_hot(ascii_of(word)) for name, word in words.items()}
    _, limits = held_out.held_out_hits(ppms, {}, records)
    assert list(limits.values()) == pytest.approx([2.5e-4 * 300 / 32_768] * 2)
    assert "1 motif cannot have a hit with p < 2.3e-06, for example narrow" in caplog.text
    caplog.clear()
    short = LabelledRecords([row[:300] for row in letters], records.truth)
    held_out.held_out_hits(ppms, {}, short)
    assert not caplog.text


@pytest.fixture
def sequences():
    letters, labels, _ = planted(30, 30)
    return [row.tobytes().decode() for row in letters], labels


def test_sequences_may_be_strings_file_or_table(sequences, tmp_path):
    texts, labels = sequences
    scorer, motifs = scorer_of(), motif_set()
    of_strings = motifs.with_evidence(scorer, texts, labels, hit_p=1e-4)
    assert set(of_strings.table) == {*motifs.table, *COLUMNS, *MARGINAL, "correlated"}
    assert set(of_strings.curves["name"]) == set(of_strings.table["name"])
    assert of_strings.table["marginal"].notna().all()
    assert repr(of_strings).startswith("MotifSet of 1 motif, ")
    assert "verdict" not in motifs.table  # the first set is unchanged
    assert motifs.sites is None
    fasta = tmp_path / "held_out.fa"
    fasta.write_text("".join(f">{row}\n{text}\n" for row, text in enumerate(texts)))
    of_file = motifs.with_evidence(scorer, fasta, list(labels), hit_p=1e-4)
    pd.testing.assert_frame_equal(of_file.table, of_strings.table)
    pd.testing.assert_frame_equal(of_file.sites, of_strings.sites)
    table = pd.DataFrame({"sequence": texts, "label": labels, "chrom": "c1", "strand": "+"})
    table["start"] = 1000 * table.index
    table["end"] = table["start"] + 30
    of_table = motifs.with_evidence(scorer, table, table["label"], hit_p=1e-4)
    pd.testing.assert_frame_equal(of_table.table, of_strings.table)
    positions = of_strings.sites["chrom"].astype(int) * 1000 + of_strings.sites["start"]
    assert sorted(of_table.sites["start"]) == sorted(positions)
    assert set(of_table.sites["chrom"]) <= {"c1"}
    once = motifs.with_evidence(scorer, texts[:15], labels[:15], hit_p=1e-4)
    twice = once.with_evidence(scorer, texts, labels, hit_p=1e-4)
    pd.testing.assert_frame_equal(twice.table, of_strings.table)  # replaces earlier evidence


def test_other_limit_of_hits_in_the_table_is_reported(sequences, caplog):
    motifs = motif_set()
    first = motifs.with_evidence(scorer_of(), *sequences, hit_p=1e-4)
    assert caplog.messages == []
    again = first.with_evidence(scorer_of(), *sequences)
    message = "hits of motif_01 are matches with p < 0.00025 here, but with p < 0.0001 in its table"
    assert [text.partition(";")[0] for text in caplog.messages] == [message]
    caplog.clear()
    again.with_evidence(scorer_of(), *sequences)  # the same limit
    assert caplog.messages == []


def test_saved_files_are_those_of_the_command(sequences, tmp_path):
    def names():
        return sorted(path.name for path in (tmp_path / "found").iterdir())

    motifs = motif_set()
    motifs.save(tmp_path / "found")
    assert names() == FILES
    weighed = motifs.with_evidence(scorer_of(), *sequences, hit_p=1e-4)
    weighed.save(tmp_path / "found")
    assert names() == sorted([*FILES, "seqlets.bed", "marginals.tsv"])
    assert len(read_bed(tmp_path / "found/seqlets.bed")) == len(weighed.sites)
    read = MotifSet.load(tmp_path / "found")
    assert repr(read) == repr(weighed)
    pd.testing.assert_frame_equal(read.sites, weighed.sites[BED_COLUMNS], check_dtype=False)
    pd.testing.assert_frame_equal(read.curves, weighed.curves, check_dtype=False, rtol=1e-4)
    table = pd.read_csv(tmp_path / "found/motifs.tsv", sep="\t")
    assert table["verdict"].tolist() == weighed.table["verdict"].tolist()
    assert [path.name for path in (tmp_path / "found/logos").iterdir()] == ["motif_01.svg"]
    motifs.save(tmp_path / "found")  # the sites belonged to other evidence
    assert names() == FILES


def test_sequences_of_the_training_are_refused(sequences, tmp_path):
    texts, labels = sequences
    letters = [ascii_of(text) for text in texts]
    types = {"chrom": "str", "start": "Int64", "end": "Int64"}
    records = pd.DataFrame({name: [None] * 2 for name in types}).astype(types)
    table = seen(records, [DNA.reverse_complement(letters[3]), letters[5]])
    table.to_parquet(tmp_path / TRAINING_RECORDS)
    scorer = replace(scorer_of(), folder=tmp_path)
    with pytest.raises(ArgumentError, match=r"selected on 2 of the 30 sequences, such as '3'"):
        motif_set().with_evidence(scorer, texts, labels, hit_p=1e-4)
    rest = [i for i in range(30) if i not in (3, 5)]
    motif_set().with_evidence(scorer, [texts[i] for i in rest], labels[rest], hit_p=1e-4)


def test_sequences_with_the_motifs_are_refused(sequences):
    """Motifs would be judged on the sequences they were found in, also on the other strand."""
    texts, labels = sequences
    one = DNA.reverse_complement(ascii_of(texts[3]))
    records = pd.DataFrame({"id": ["a"], "target": "positive", "length": 30})
    scores = np.zeros((1, 30, 4), np.float32)
    explanation = Explanation(records, one[None], scores, scores[..., 0], "dna")
    found_in = explanation.find_motifs(None, caller=Clusters()).found_in
    motifs = replace(motif_set(), found_in=found_in)
    message = r"the motifs were found in 1 of the 30 sequences, such as '3'\. Explain training or "
    with pytest.raises(ArgumentError, match=message):
        motifs.with_evidence(scorer_of(), texts, labels, hit_p=1e-4)
    motifs.with_evidence(scorer_of(), [*texts[:3], *texts[4:]], np.delete(labels, 3), hit_p=1e-4)


def test_wrong_labels_are_refused():
    scorer, motifs = scorer_of(), motif_set()
    for labels, message in (
        ([1, 0], "one label, 0 or 1, for each of the 3 sequences, not 2"),
        ([1, 0, 2], r"labels are 0 or 1, not \[1, 0, 2\]"),
        (["1", "0", "0"], r"labels are 0 or 1, not \['1', '0'\]"),
        (pd.array([1, 0, None], dtype="Int64"), "labels are 0 or 1, not "),
    ):
        with pytest.raises(ValueError, match=message):
            motifs.with_evidence(scorer, SEQUENCES, labels)


def test_classes_may_be_numbers_and_missing():
    objective = objective_of(MulticlassObjective(column="c", classes=["1", "2"]))
    targets = pd.DataFrame({"c": [1, 2, np.nan]})
    reader = SimpleNamespace(objective=objective, **READER)
    assert held_out.read_held_out(reader, SEQUENCES, targets)[2].tolist() == [0, 1, UNKNOWN]


def test_model_of_other_kind_is_refused():
    bins = objective_of(BinsObjective(points="p.bed", bin=20))
    with pytest.raises(ArgumentError, match="targets cannot be passed for objective 'bins'"):
        held_out.read_held_out(SimpleNamespace(objective=bins, **READER), SEQUENCES, [1, 0, 1])
    with pytest.raises(ValueError, match="the motifs are dna, but the model reads protein"):
        motif_set().with_evidence(scorer_of(PROTEIN.name, k=1), ["MKV"], [1])


def test_scores_count_as_far_as_records_confirm_them():
    rng = np.random.default_rng(0)
    letters = list(rng.choice(BASES, (200, 30)))
    raw = np.array([(row == ord("G")).sum() for row in letters], dtype=float)
    scorer = SimpleNamespace(
        objective=SimpleNamespace(has_log_odds=False),
        member_outputs=lambda rows: np.array([[(row == ord("G")).sum()] for row in rows], float),
    )
    output = SimpleNamespace(value=lambda outputs: outputs)
    truth = 0.25 * raw + rng.normal(0, 0.1, 200)
    scores = held_out.calibrated_scores(scorer, output, MeasuredRecords(letters, truth))
    assert scores(letters)[:, 0] == pytest.approx(0.25 * raw, rel=0.1)
    unrelated = MeasuredRecords(letters, rng.permutation(truth))
    assert np.abs(held_out.calibrated_scores(scorer, output, unrelated)(letters)).max() < 1


def test_output_without_known_targets_is_named():
    scorer, motifs = HEADS["number"][0], motif_set()
    motifs = replace(motifs, table=motifs.table.assign(target="b"))
    table = pd.DataFrame({"sequence": SEQUENCES, "a": 1.0, "b": np.nan})
    with pytest.raises(ArgumentError, match="no held-out record has a known target of output 'b'"):
        motifs.with_evidence(scorer, table)

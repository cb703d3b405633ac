"""Audit a task: its table, counts, limits from the run file, and files."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import exit_code, run
from listed_records import seen

import selfattn_bio as sb
from selfattn_bio.errors import CorpusError, LeakageError, ResultsError
from selfattn_bio.evaluation.lineage import Lineage
from selfattn_bio.model.checkpoint import PROVENANCE, TRAINING_RECORDS
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.policy import SequencePolicy

letters_of = SequencePolicy(DNA).letters_of


@pytest.fixture
def texts():
    names, rng = [f"{name}{i}" for name in "pn" for i in range(30)], np.random.default_rng(0)
    return {name: "".join(rng.choice(list("ACGT"), 120)) for name in names}


@pytest.fixture
def audit(two_classes, capsys, texts):
    """Return a function that writes, splits and audits records, and returns code and output.

    `sections` are added to the run file; `changed` records replace others.
    """

    here, run_file = two_classes, (two_classes / "run.toml").read_text()

    def audit(options="", sections="", replaced=("", ""), headers=None, **changed):
        for name in "pn":
            lines = []
            for i in range(30):
                header = (headers or {}).get(f"{name}{i}", f"chrom=c{i % 3 + 1} group=G{i}")
                lines += [f">{name}{i} {header}", {**texts, **changed}[f"{name}{i}"]]
            (here / f"{name}.fa").write_text("\n".join(lines))
        (here / "run.toml").write_text(run_file.replace(*replaced) + sections)
        run("ingest .")
        run("split .")
        capsys.readouterr()
        code = exit_code(f"audit . {options}")
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return audit


def near(row):
    """Change every fifteenth base."""
    other = row.translate(str.maketrans("ACGT", "CGTA"))
    return "".join(other[i] if i % 15 == 7 else c for i, c in enumerate(row))


def summary():
    return sb.Study(".").leakage.summary


def test_audit_writes_one_line_per_test_record(audit, texts):
    copies = {"p2": "n0", "n5": "n3", "p8": "n6"}
    code, out, err = audit(**{copy: near(texts[name]) for copy, name in copies.items()})
    assert code == 0
    start = "audit: compared 20 test records with 20 of train, by shared k-mers; "
    assert out[0] == f"{start}relatives below about 90 % identity can be missed"
    assert out[1:7] == [
        "audit: identical sequence on either strand: 0 test records",
        "audit: overlapping interval on either strand (not checked: no coordinates to compare)",
        "audit: sequence or interval used to train a parent model: 0 test records",
        "audit: same group: 0 test records",
        "audit: near neighbour (at least 0.15 of k-mers shared): 3 test records",
        "audit: near neighbour with a different label: 2 test records",
    ]
    assert re.match(r"audit: most similar: .. shares 0\.\d+ of its k-mers with n. of train", out[7])
    assert any(re.match("audit: mean GC content: 0.*Cohen's d", line) for line in out)
    assert out[-1] == "audit: wrote audit.tsv"
    same, other = (line.split("warning: test records with a near ")[1] for line in err.splitlines())
    assert same == "neighbour of the same label: 1; test metrics may be too optimistic"
    assert other.startswith("neighbour of another label: 2; they lower the test metrics, so check")
    table = pd.read_csv("audit.tsv", sep="\t", keep_default_na=False)
    assert len(table) == 20
    found = table.loc[table["neighbour"] != "", ["id", "neighbour", "of", "strand"]].values.tolist()
    assert {row[0]: row[1] for row in found} == copies
    assert {(*row[2:],) for row in found} == {("train", "+")}
    counts = summary()
    assert (counts["near"], counts["failed"]) == (3, [])
    assert counts["records"] == {"test": 20, "train": 20}


def test_unknown_labels_are_not_counted(here, capsys, texts):
    """Labels of a regression are not a column of the corpus and are not reported."""
    texts |= {"p2": near(texts["p0"])}
    table = pd.DataFrame({"id": texts.keys(), "sequence": texts.values()})
    table["activity"], table["split"] = np.arange(60) / 7, ["train", "valid", "test"] * 20
    table.to_csv("t.csv", index=False)
    (here / "run.toml").write_text(
        '[data]\nsequences = "t.csv"\n[split]\nkind = "column"\n'
        '[objective]\nkind = "regression"\ncolumns = ["activity"]\n'
    )
    run("ingest .")
    run("split .")
    capsys.readouterr()
    run("audit .")
    printed = capsys.readouterr()
    assert " near neighbour (at least 0.15 of k-mers shared): 1 test record\n" in printed.out
    (warning,) = printed.err.splitlines()
    assert warning.endswith("with a near neighbour: 1; test metrics may be too optimistic")
    assert summary()["near_other_label"] is None


@pytest.mark.parametrize(
    ("limit", "value", "found"), [("max_near", 0.04, 0.05), ("max_similarity", 0.18, 0.1927)]
)
def test_exceeded_limit_fails_and_writes_table(audit, here, texts, limit, value, found):
    code, _, err = audit(sections=f"[audit]\n{limit} = {value}\n", p2=near(texts["n0"]))
    assert code == 3
    error = err.splitlines()[-1]
    assert error.startswith("selfattn-bio audit: error: split.tsv: ")
    hint = "In [split] of the run file, write kind"
    assert f": {found}, such as 'p2' (n0); [audit] {limit} allows {value}. {hint}" in error
    assert (here / "audit.tsv").exists()
    assert summary()["failed"]


def test_kept_duplicates_are_unlimited_by_default(audit, here, texts):
    keep = ("[split]", "keep_duplicates = true\n[split]")
    assert audit(replaced=keep, p2=texts["p0"])[0] == 0
    study = sb.Study(".")
    leakage = study.audit()
    assert leakage.table.set_index("id")["duplicate"]["p2"] == "p0"
    counts = "1 near, 1 duplicates, 0 seen; 0 limits exceeded"
    assert repr(leakage) == f"Leakage of 20 test records: {counts}"
    read = study.leakage
    assert read.summary == leakage.summary
    pd.testing.assert_frame_equal(read.table, leakage.table, rtol=1e-3)
    with (here / "run.toml").open("a") as file:
        file.write("[audit]\nmax_duplicates = 0\nmax_near = 0.0\n")
    message = r"split\.tsv: .*'p2' \(p0\).*\(1 more limits exceeded\)"
    with pytest.raises(LeakageError, match=message):
        sb.Study(".").audit().check_limits()


def test_overlaps_and_shared_groups(audit, here):
    """p0 and n0 have the same interval; p2 and n2 share G2 with p0."""
    audit(headers=dict.fromkeys(("p0", "n0"), "chrom=c1 start=0 end=120 group=G2"))
    split = pd.read_csv("split.tsv", sep="\t")
    split.loc[split["id"] == "n0", "split"] = "test"
    split.to_csv("split.tsv", sep="\t", index=False)
    assert exit_code("audit .") == 3
    counts = summary()
    assert (counts["overlaps"], counts["shared"]) == (1, {"group": 3})
    (failed,) = counts["failed"]
    assert failed.endswith(": 1, such as 'n0' (p0); [audit] max_overlaps allows 0")
    with (here / "run.toml").open("a") as file:
        file.write("[audit]\nmax_overlaps = 1\nmax_shared = 2\n")
    assert exit_code("audit .") == 3
    (failed,) = summary()["failed"]
    assert failed.startswith("test records of a group that is also in train: 3, such as ")


OF_VARIANT = '[variants.other.model]\nkind = "attention"\nembed_dim = 32\n[variants.other.transfer]'


@pytest.mark.parametrize("section", ["[transfer]", OF_VARIANT], ids=["model", "variant"])
def test_records_seen_by_grandparent_are_found(audit, here, texts, section):
    """The parent of the model, or of a variant, has a parent that saw p2, on the other strand."""
    record = pd.DataFrame({"chrom": [None], "start": [None], "end": [None]})
    record = record.astype({"chrom": "str", "start": "Int64", "end": "Int64"})
    letters = [DNA.reverse_complement(letters_of(texts["p2"]))]
    grandparent = Lineage(here, seen(record, letters), [])
    own = seen(record, [letters_of("ACGT" * 30)], parent=grandparent)
    (here / "parent").mkdir()
    own.to_parquet(here / "parent" / TRAINING_RECORDS)
    provenance = dict.fromkeys(("vocabulary_sha256", "weights_sha256"), "0" * 64)
    provenance["calibration"] = {"slope": 1.0, "threshold": 0.5}
    (here / "parent" / PROVENANCE).write_text(json.dumps(provenance))
    code, _, err = audit(sections=f'{section}\nparent = "./parent"\n')
    assert code == 3, err
    assert "saw: 1, such as 'p2' (parent); [audit] max_seen allows 0" in err


def test_pretraining_corpus_is_searched(audit, here, texts):
    (here / "pre.fa").write_text(f">x\n{texts['p2']}\n>y\n{near(texts['p5'])}\n")
    sb.ingest_files("pre.fa", "pre", "dna")
    code, out, err = audit("--pretraining pre")
    start = "audit: compared 20 test records with 20 of train, 2 of pre, by shared k-mers; "
    assert out[0].startswith(start)
    assert code == 3
    assert ": 1, such as 'p2' (x); [audit] max_duplicates allows 0" in err


@pytest.mark.parametrize("kind", ["random", "cluster"])
def test_cluster_split_passes_where_random_fails(audit, texts, kind):
    neighbours = {f"n{i}": near(texts[f"p{i}"]) for i in range(30)}
    split = ('"chromosome"\nvalid = ["c2"]\ntest = ["c3"]', f'"{kind}"')
    assert audit(replaced=split, **neighbours)[0] == 0
    assert (summary()["near"] == 0) == (kind == "cluster")


def test_pairs_count_partners_of_train(here, capsys, texts):
    """Each of 60 first inputs occurs with one of 6 partners, so both labels have all partners."""
    partners = dict(zip("abcdef", list(texts.values()), strict=False))
    table = pd.DataFrame({"sequence": list(texts.values()), "label": [0, 1] * 30})
    table["split"] = ["train"] * 20 + ["valid"] * 20 + ["test"] * 20
    table["partner"] = [partners["abcdef"[i // 2 % 6]] for i in range(60)]
    table.loc[50, ["sequence", "partner"]] = table.loc[0, "sequence"], "ACGTTGCA" * 9
    table.loc[51, "sequence"] = table.loc[0, "sequence"]
    table.to_csv("t.csv", index=False)
    (here / "run.toml").write_text(
        '[data]\nsequences = "t.csv"\nlabel = "label"\n[split]\nkind = "column"\n'
        '[partner]\nkind = "sequence"\ncolumn = "partner"\n[model]\nkind = "paired"\n'
    )
    run("ingest .")
    run("split .")
    capsys.readouterr()
    run("audit .")
    printed = capsys.readouterr()
    assert "(at least 0.15 of k-mers shared): 2 test records\n" in printed.out
    assert "audit: partners also in train: 19 of 20 (near: first inputs)\n" in printed.out
    (warning,) = printed.err.splitlines()
    assert warning.endswith("with a near neighbour: 2; test metrics may be too optimistic")
    counts = summary()
    assert (counts["partners"], counts["near_other_label"]) == (19, None)
    table = sb.Study(".").leakage.table
    assert table["partner_shared"].tolist() == [True] * 10 + [False] + [True] * 9


def test_audit_needs_test_records_and_complete_files(audit):
    audit()
    Path("audit.json").write_text('{"records": ')
    message = r"audit\.json: cannot read this file: .*selfattn-bio audit"
    with pytest.raises(ResultsError, match=message):
        _ = sb.Study(".").leakage
    table = pd.read_csv("split.tsv", sep="\t").assign(split="train")
    table.to_csv("split.tsv", sep="\t", index=False)
    with pytest.raises(CorpusError, match=r"split\.tsv: the test split has no records"):
        sb.Study(".").audit()

"""Audit in Python: the table, its limits and its files."""

import numpy as np
import pandas as pd
import pytest

import selfattn_bio as sb
from selfattn_bio.errors import CorpusError

RUN_FILE = """
[data]
positives = "p.fa"
negatives = "n.fa"
keep_duplicates = true
[split]
kind = "chromosome"
valid = ["c2"]
test = ["c3"]
"""


@pytest.fixture
def audited(tmp_path, monkeypatch):
    """Return a function that audits a split in which test record p2 is also in train, as p0."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = {name: ["".join(rng.choice(list("ACGT"), 120)) for _ in range(30)] for name in "pn"}
    rows["p"][2] = rows["p"][0]
    for name, letters in rows.items():
        text = "".join(f">{name}{i} chrom=c{i % 3 + 1}\n{row}\n" for i, row in enumerate(letters))
        (tmp_path / f"{name}.fa").write_text(text)

    def audited(limits: str = "") -> sb.Leakage:
        (tmp_path / "run.toml").write_text(RUN_FILE + limits)
        task = sb.read_run_file("run.toml")
        corpus = sb.ingest(task, "corpus")
        return sb.audit(task, corpus, sb.split(task, corpus, "split.tsv"))

    return audited


def test_audit_reports_duplicates(audited):
    leakage = audited()
    assert len(leakage.table) == 20
    assert leakage.table.set_index("id")["duplicate"]["p2"] == "p0"
    assert repr(leakage) == (
        "Leakage of 20 test records: 1 near, 1 duplicates, 0 overlaps, 0 seen; 0 limits exceeded"
    )
    assert leakage.lines[0] == "compared 20 test records with 20 of train"
    leakage.check_limits()  # unlimited by default, because [data] keeps duplicates


def test_exceeded_limits_raise(audited):
    leakage = audited("[audit]\nmax_duplicates = 0\nmax_near = 0.0\n")
    assert len(leakage.summary["failed"]) == 2
    with pytest.raises(CorpusError, match=r"split\.tsv: .*'p2' \(p0\).*\(1 more limits exceeded\)"):
        leakage.check_limits()


def test_audit_needs_test_records(audited, tmp_path):
    audited()
    table = pd.read_csv("split.tsv", sep="\t").assign(split="train")
    table.to_csv("split.tsv", sep="\t", index=False)
    task, corpus = sb.read_run_file("run.toml"), sb.Corpus.open("corpus")
    with pytest.raises(CorpusError, match=r"split\.tsv: the test split has no records"):
        sb.audit(task, corpus, "split.tsv")

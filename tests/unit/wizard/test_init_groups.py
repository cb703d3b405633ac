"""Test how init treats columns of groups, replicates and counts, and records without a value."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import run
from init_files import TASK, both, ingested, made, table, write

from selfattn_bio import Study
from selfattn_bio.wizard.auxiliary import is_auxiliary
from selfattn_bio.wizard.sections import find_groups


def height(i, _):
    return i / 7 if i % 4 else None


def test_records_of_a_gene_stay_together(here, capsys):
    gene, note = lambda i, _: f"g{i % 30}", lambda i, _: f"run {i % 40}"
    split = made(table(height=height, gene_id=gene, batch=note)).split
    out = capsys.readouterr().out
    assert (split.kind, split.column) == ("group", "gene_id")
    assert "init: split: by column 'gene_id' (30 groups, whose records may be similar); " in out
    # 90 of 120 have a value
    assert "valid has about 14 records, test 2 times as many, as there are only 30 groups\n" in out
    assert split.test_fraction == 0.3
    assert "init: not used: batch\n" in out
    capsys.readouterr()
    sizes = ingested()[1]
    assert sizes["dropped"] == 30
    assert min(sizes["valid"], sizes["test"]) >= 9
    assert "targets: height (missing for 30 records)\n" in capsys.readouterr().out
    run("audit my_task")
    assert "same gene_id: 0 test records\n" in capsys.readouterr().out
    assert Study("my_task").leakage.summary["groups"] == ["gene_id"]


@pytest.mark.parametrize(
    ("groups", "fraction", "words"),
    [
        (80, 0.25, "test 1.7 times as many, as there are only 80 groups, 40 of the rarest class\n"),
        (300, 0.15, "; valid and test have about 90 records each\n"),
    ],
)
def test_few_groups_of_a_class_give_a_larger_test(here, capsys, groups, fraction, words):
    kind = lambda i, _: ("a", "b")[i % groups % 2]  # noqa: E731
    genes = table(number=600, kind=kind, gene_id=lambda i, _: f"g{i % groups}")
    split = made(f"{genes} --column kind").split
    assert words in capsys.readouterr().out
    assert split.test_fraction == fraction


def test_proteins_of_a_gene_and_of_a_cluster_stay_together(here, capsys):
    rng, rows = np.random.default_rng(0), []
    for family in range(40):  # each of a cluster, of four genes, one of which is missing
        sequence = rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 80)
        for gene in range(4):
            tail = rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 10)
            genes = "" if gene == 3 else f"g{family}_{gene // 2}"
            rows.append(("".join([*sequence, *tail]), genes, rng.normal()))
    pd.DataFrame(rows, columns=["sequence", "gene", "y"]).to_csv("a.csv", index=False)
    split = made("--sequences a.csv --column y").split
    assert (split.kind, split.column, split.similarity) == ("cluster", "gene", 0.08)
    out = capsys.readouterr().out
    assert (
        "by 40 clusters of similar sequences (similarity 0.08) and by column 'gene' (80 groups); "
        "records without one, kept apart by similarity alone: 40; " in out
    )
    records = ingested()[0]
    without = "joined by column 'gene' (40 records without one, kept apart by similarity alone); "
    assert without in capsys.readouterr().out
    table = Study("my_task").splits.table
    genes = Study("my_task").corpus.column("gene")
    number = int((genes.isna() & (table["split"] == "test")).sum())
    run("audit my_task")
    shared = f"not compared by group: no gene: {number} test records\n"
    assert shared in capsys.readouterr().out
    assert table["split"].groupby(np.arange(len(records)) // 4).nunique().eq(1).all()


def test_clusters_join_similar_records_of_different_genes(here, capsys):
    columns = {"gene": [f"g{i % 40}" for i in range(120)], "y": np.arange(120) / 7}
    first = ["".join(row) for row in np.random.default_rng(0).choice(list("ACGT"), (60, 60))]
    rows = pd.DataFrame({"id": [f"s{i}" for i in range(120)], **columns})
    rows[5:].to_csv("t.tsv", sep="\t", index=False)  # records without a row need no gene
    text = "".join(f">s{i}\n{first[i % 60][: 60 - i // 60]}\n" for i in range(120))
    Path("a.fa").write_text(text)
    split = made("--sequences a.fa --targets t.tsv --column y").split
    assert (split.kind, split.column) == ("cluster", "gene")
    assert ingested()[1]["dropped"] == 5
    run("audit my_task")
    assert "near neighbour (at least 0.15 of k-mers shared): 0 test" in capsys.readouterr().out


def test_attributes_of_headers_may_be_groups(here, capsys):
    header = lambda i: f"y={i / 7} gene=g{i % 30} GN=n{i % 20}"  # noqa: E731
    split = made(f"--sequences {write('a.fa', header=header)} --column y").split
    assert (split.kind, split.column) == ("group", "GN")  # the gene in UniProt
    assert "init: not used: gene\n" in capsys.readouterr().out
    assert sum(ingested()[1].values()) == 120


def test_chromosomes_are_chosen_by_records_with_a_value(here, capsys):
    chrom = lambda i, _: f"chr{i % 6}"  # noqa: E731
    made(table(chrom=chrom, y=lambda i, _: i / 7 if i % 6 and i % 12 != 1 else None))
    sizes = "valid chr1: 10 records; test chr2: 20 records"
    assert f"split: by chromosome ({sizes})" in capsys.readouterr().out


def test_transcripts_of_ids_stay_with_their_gene(here, capsys):
    """Names of coordinates that each belong to one of fewer groups are no chromosomes."""
    name = lambda i, _: f"NM_{i % 60}.1:{i}-{i + 40}"  # noqa: E731
    made(table(oligo=name, gene=lambda i, _: f"g{i % 30}", y=height))
    assert "split: by column 'gene' (30 groups" in capsys.readouterr().out
    made(table(oligo=name, gene=lambda i, _: f"g{i % 50}", y=height))  # of several names, and back
    assert "split: by chromosome" in capsys.readouterr().out


def test_other_repeated_columns_are_only_named(here, capsys):
    split = made(table(height=height, batch=lambda i, _: f"run {i % 40}")).split
    assert split.kind == "random"
    out = capsys.readouterr().out
    assert "init: split: at random; valid and test have about 14 records each\n" in out
    assert "init: not used: batch" in out
    assert 'of each gene or patient "group" with its column' in TASK.read_text()
    ingested()
    run("audit my_task")
    assert "no column of groups ([split] kind group)\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"Gene": 20, "batch": 12}, "Gene"),
        ({"Gene stable ID version": 20, "batch": 12}, "Gene stable ID version"),
        ({"gene_name": 30, "Family-ID": 15}, "Family-ID"),
        ({"family": 3, "donors": 30}, "donors"),
        ({"gene": 119}, "gene"),  # only two records of one gene
        ({"gene": 120}, ""),
        ({"gene": 9}, "gene"),  # too few to split by, which `init` says
        ({"gene": 1}, ""),
        ({"batch": 40, "plate": 20}, ""),
        ({"oncogene": 20}, ""),
        ({"Protein families": 20, "Gene Names (primary)": 30}, "Protein families"),
        (
            {"Gene Names (ordered locus)": 30, "GN": 40, "Cluster ID": 50},
            "Gene Names (ordered locus)",
        ),
        ({"InterPro": 20}, "InterPro"),
    ],
)
def test_find_groups(columns, found):
    texts = {name: [f"v{i % number}" for i in range(120)] for name, number in columns.items()}
    assert find_groups(texts | {"gene_length": [str(i % 40) for i in range(120)]}) == found


def test_find_groups_with_missing_values():
    texts = {"family": [f"v{i % 20}" if i % 2 else None for i in range(120)]}
    texts |= {"gene": [f"g{i % 40}" for i in range(120)]}
    assert find_groups(texts) == "gene"  # fewer groups and records alone


def test_replicates_and_counts_are_not_learned(here, capsys):
    names = ("hl_rep1", "hl_rep2", "n_barcodes", "log2_half_life", "other")
    columns = {name: (lambda i, _, k=k: (i * k) % 97 / 7) for k, name in enumerate(names, 3)}
    columns["log2_half_life"] = lambda i, _: (3 * i % 97 + 4 * i % 97) / 7
    options = table(**columns, **dict.fromkeys(("GC%", "utr_len"), columns["other"]))
    assert made(options).objective.columns == names[3:]
    line = "by names or values: hl_rep1, hl_rep2, n_barcodes, GC%, utr_len; learn them with "
    out = capsys.readouterr().out
    assert line in out
    assert "docs/faq.md shows how to estimate the highest correlation" in out
    assert "side by side" not in out
    assert "learn several" not in out
    chosen = made(f"{options} --column hl_rep1 n_barcodes").objective.columns
    assert chosen == ("hl_rep1", "n_barcodes")
    assert line not in capsys.readouterr().out
    del columns["other"], columns["log2_half_life"]
    assert made(table(**columns)).objective.columns == names[:2]
    assert "or as their mean, which is usually better and faster to" in capsys.readouterr().out
    wanted = ["a_r1", "rep2", "x.rep-3", "Replicate_1", "read_count", "num_reads", "counts"]
    wanted += ["utr_len", "seq_length_nt", "width", "reads.T0", "Counts_2"]
    others = ("reads_ratio", "r2", "report", "ncRNA", "account", "lengthening")
    assert [name for name in (*wanted, *others) if is_auxiliary(name, ["1"], [9])] == wanted


def test_lengths_are_not_learned_whatever_their_name(here, capsys):
    options = table(number=200, load=lambda i, _: i / 7)
    rows = pd.read_csv("all.csv")
    rows["sequence"] = [row[: 20 + i % 20] for i, row in enumerate(rows["sequence"])]
    size = rows["sequence"].str.len()
    rows.assign(size=size.where(rows.index != 5, 7)).to_csv("all.csv", index=False)
    assert made(options).objective.columns == ("load",)
    assert "by names or values: size; learn them with" in capsys.readouterr().out
    rows.assign(size=size * 3).to_csv("all.csv", index=False)
    assert made(options).objective.columns == ("load", "size")
    out = capsys.readouterr().out
    assert "on validation records, as the mean of the columns\n" in out


def test_split_column_of_targets_is_used(here):
    rows = (f"s{i}\t{i / 7}\t{('train', 'valid', 'test')[i % 3]}\n" for i in range(120))
    Path("t.tsv").write_text("id\tactivity\tset\n" + "".join(rows))
    run = made(f"--sequences {write('s.fa')} --targets t.tsv")
    assert (run.objective.kind, run.split.column) == ("regression", "set")
    assert ingested()[1] == {"train": 40, "valid": 40, "test": 40}


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (lambda i: f"group=g{i % 3}", "'group' has only 3 groups (10 are needed)"),
        (lambda i: f"patient=p{i % 5}", "'patient' has only 5 groups (10 are needed)"),
        (lambda i: f"group=g{i % 20}" * (i > 0), "'group' is missing for 2 records"),
        (lambda i: f"chrom=chr{i % 2}", "'chrom' has only 2 chromosomes (3 are needed)"),
        (lambda i: f"chrom=chr{i % 3}", "no two chromosomes have records of every class and "),
    ],
)
def test_unused_groups_and_chromosomes_are_named(here, capsys, header, reason):
    made(both(header=header))
    assert f"init: split: at random, because {reason}" in capsys.readouterr().out
    assert f"[split]\n# {reason}" in TASK.read_text()

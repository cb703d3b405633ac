"""Test init with tables of intervals: chrom, start, end and columns to learn."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import exit_code
from init_files import ingested, made

from selfattn_bio import Study


@pytest.mark.parametrize("path", ["p.tsv", "p.parquet"])
@pytest.mark.parametrize(
    ("options", "kind", "columns"),
    [
        ("--column a b", "multilabel", ("a", "b")),
        ("--column b", "multilabel", ("b",)),
        ("--column y", "regression", ("y",)),
        ("--column group", "multiclass", ("group",)),
    ],
)
def test_table_of_intervals_with_columns(here, capsys, path, options, kind, columns):
    rng = np.random.default_rng(0)
    letters = {i: "".join(rng.choice(list("ACGT"), 8000)) for i in range(4)}
    Path("g.fa").write_text("".join(f">g{i}\n{text}\n" for i, text in letters.items()))
    numbers = np.arange(200)
    start = numbers // 4 * 150 + 10
    rows = pd.DataFrame({"seqnames": [f"g{i % 4}" for i in numbers], "Start": start})
    rows = rows.assign(End=start + 40, peak=[f"p{i}" for i in numbers], y=numbers / 7)
    rows = rows.assign(a=numbers // 4 % 2, b=numbers // 8 % 2, group=[*"xyyzz"] * 40)
    rows = rows.sample(frac=1, random_state=0)
    rows.to_csv(path, sep="\t", index=False) if path.endswith("tsv") else rows.to_parquet(path)
    run = made(f"--sequences {path} --genome g.fa {options}")
    assert (run.objective.kind, run.split.kind) == (kind, "chromosome")
    assert run.objective.target_columns == columns
    assert "starts are read as 0-based, as in BED" in capsys.readouterr().out
    records = ingested()[0]
    assert len(records) == 200
    targets = Study("my_task").corpus.targets(columns)[columns[0]]
    wanted = rows.set_index([rows["seqnames"], rows["Start"]])[columns[0]].astype(str)
    loci = zip(records["chrom"], records["start"], strict=True)
    assert targets.tolist() == wanted.loc[list(loci)].tolist()


def test_table_of_intervals_as_positives(here, capsys):
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(list("ACGT"), 9000))
    Path("g.fa").write_text("".join(f">g{i}\n{text[2000 * i :][:3000]}\n" for i in range(4)))
    loci = [f"g{i % 4},{i // 4 * 90},{i // 4 * 90 + 40},{i}\n" for i in range(120)]
    Path("p.csv").write_text("chrom,start,end,y\n" + "".join(loci))
    made("--positives p.csv --genome g.fa --negatives shuffled")
    assert "120 positives, 120 negatives (generated: shuffled)" in capsys.readouterr().out
    assert len(ingested()[0]) == 240
    assert exit_code("init other --positives p.csv --genome g.fa --column y") == 1
    assert "--column cannot be used with --genome" in capsys.readouterr().err
    assert exit_code("init other --sequences p.csv --genome g.fa --targets p.csv") == 1
    message = "or --sequences TABLE with chrom, start and end, and --genome"
    assert message in capsys.readouterr().err

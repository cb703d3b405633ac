"""Test the warnings of `split` about few units of classes in columns."""

import re

import numpy as np
import pandas as pd

import selfattn_bio as sb


def test_split_warns_of_few_units_of_a_class_column(here, caplog):
    rng, rows = np.random.default_rng(0), []
    for i, group in enumerate(np.arange(300) // 3):
        label = "rare" if group % 30 == 1 else "ab"[i % 2]
        letters = "".join(rng.choice(list("ACGT"), 30))
        rows.append({"sequence": letters, "label": label, "patient": group})
    pd.DataFrame(rows).to_csv("a.csv", index_label="id")
    (here / "run.toml").write_text(
        '[data]\nsequences = "a.csv"\n[objective]\nkind = "multiclass"\ncolumn = "label"\n'
        'classes = ["a", "b", "rare"]\n'
        '[split]\nkind = "group"\ncolumn = "patient"\ntest_fraction = 0.4\nvalid_fraction = 0.2\n'
    )
    sb.Study(".").ingest()
    sb.Study(".").split()
    assert re.match(r"few groups in test: \d+ in all, \d of label rare\. ", caplog.messages[-1])


def test_missing_labels_are_no_class_with_few_units(here, caplog):
    rng, rows = np.random.default_rng(0), []
    for i, group in enumerate(np.arange(360) // 3):
        letters = "".join(rng.choice(list("ACGT"), 30))
        word = "NA" if group % 40 == 1 else ("yes", "no")[i % 2]
        rows.append({"sequence": letters, "gut": word, "patient": group})
    pd.DataFrame(rows).to_csv("a.csv", index_label="id")
    (here / "run.toml").write_text(
        '[data]\nsequences = "a.csv"\n[objective]\nkind = "multilabel"\ncolumns = ["gut"]\n'
        '[split]\nkind = "group"\ncolumn = "patient"\ntest_fraction = 0.4\nvalid_fraction = 0.2\n'
    )
    sb.Study(".").ingest()
    sb.Study(".").split()
    assert not [text for text in caplog.messages if text.startswith("few groups")]

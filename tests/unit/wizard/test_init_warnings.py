"""Test what init warns about before a training: few records, and many outputs."""

import logging

import pandas as pd
from init_files import made, table


def test_small_labels_are_counted_in_each_split(here, capsys):
    """liver is rare in test only, and most values of heart are missing."""
    split = lambda i, _: ("train", "train", "valid", "test")[i % 4]  # noqa: E731
    liver = lambda i, _: int(i < 16 or (i % 4 < 3 and i % 3 == 0))  # noqa: E731
    heart = lambda i, _: (i // 4) % 2 if i < 120 else None  # noqa: E731
    made(table(number=480, liver=liver, heart=heart, split=split))
    few = "4 yes for 'liver' in test, 15 no for 'heart' in test, 15 no for 'heart' in valid, 15 yes"
    assert f"init: few records: {few} for 'heart' in test, " in capsys.readouterr().out


def test_many_outputs_are_not_all_explained(here, capsys):
    made(table(y=lambda i, _: f"class {i % 6}"))
    line = (
        "motifs will be searched for 4 of 6 outputs, those with most records; choose others with "
    )
    assert f"init: {line}targets in [interpret]\n" in capsys.readouterr().out
    made(table(y=lambda i, _: f"class {i % 4}"))
    assert "motifs will be searched" not in capsys.readouterr().out


def test_replicates_are_a_warning(here, capsys, caplog):
    """Each sequence has two numbers; a missing one loses nothing."""
    options = table(utr5=lambda i, s: s, y=lambda i, _: i / 7)
    frame = pd.read_csv("all.csv").drop(columns="sequence")
    other = frame.assign(y=frame["y"] + 1)
    other.loc[0, "y"] = None
    pd.concat([frame, other]).to_csv("all.csv", index=False)
    made(f"{options} --alphabet rna")
    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    mean = "table.groupby('utr5', as_index=False).mean(numeric_only=True)"
    assert warnings[:1] == [  # another warns of 18 test records
        "119 sequences with different numbers, perhaps replicates: one copy is kept, the other "
        f"measurements are lost. Average them first, for example with {mean}"
    ]
    shown = capsys.readouterr().out
    assert "valid and test have about 18 records each" in shown
    assert "different labels or targets" not in shown
    mean_of = pd.read_csv("all.csv").groupby("utr5", as_index=False).mean(numeric_only=True)
    mean_of.to_csv("all.csv", index=False)
    caplog.clear()
    made(f"{options} --alphabet rna")
    assert not any("replicates" in each for each in caplog.messages)

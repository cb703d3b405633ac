"""Test what init warns about before a training: few records, and many outputs."""

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

"""Read run files of tests, and texts that several of them begin with."""

from pathlib import Path

import pytest

from selfattn_bio.config import RunFile, read_run_file
from selfattn_bio.errors import RunFileError

# three lines: text of a test starts on line 4
DATA = '[data]\npositives = "p.fa"\nnegatives = ["n.fa", "m.fa"]\n'


def read(tmp_path: Path, text: str) -> RunFile:
    path = tmp_path / "task.toml"
    path.write_text(text, encoding="utf-8")
    return read_run_file(path)


def error_of(tmp_path: Path, text: str) -> str:
    with pytest.raises(RunFileError) as caught:
        read(tmp_path, text)
    return str(caught.value).removeprefix(f"{tmp_path}/")


THREE_FILES = """[data]
train = ["a.csv", "b.csv"]
valid = "v.csv"
test = "t.csv"
label = "label"
"""
SEQUENCES = '[data]\nsequences = "s.fa"\n'
TABLE = SEQUENCES + 'targets = "t.tsv"\n'
NUMBERS = "[objective.parts.activity]\nkind = 'regression'\ncolumns = ['liver', 'kidney']\n"
PARTS = f"{TABLE}[objective]\nkind = 'several'\n{NUMBERS}"
CLASS = "[objective.parts.class]\nkind = 'multiclass'\ncolumn = 'family'\nweight = 0.5\n"
BINS = SEQUENCES + "[objective]\nkind = 'bins'\npoints = 'p.bed'\n"
PROFILE = SEQUENCES + "[objective]\nkind = 'profile'\ntracks = { a = 'a.bw' }\n"

"""Open damaged corpora, models and run files: each ends with an error of the package, in time.

damaged/values.toml has the values.
"""

import contextlib
import json
import os
import re
import shutil
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from damaged_arrays import DAMAGES, damaged_files

import selfattn_bio
from selfattn_bio.config import Data, Partner, read_run_file
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.partner import Partners
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.errors import RunFileError, SelfAttnBioError
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.readers import SequenceFile

CASES = tomllib.loads((Path(__file__).parent / "damaged/values.toml").read_text(encoding="utf-8"))
VALUES = CASES.pop("values")
SHIPPED = Path(selfattn_bio.__file__).parent / "models/promoter"
DATA = Data(positives=("a.fa",), negatives=("b.fa",))
OPEN = {"corpus": Corpus.open, "model": selfattn_bio.load}

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Return an undamaged folder of each kind."""
    folder = tmp_path_factory.mktemp("sound")
    (folder / "a.fa").write_text(">a\nACGTACGT\n>b\nTTTTGGGG\n")
    (folder / "t.tsv").write_text("id\ty\na\t1\nb\t2\n")
    partners = Partners(Partner(files=("a.fa",)), DATA)
    with contextlib.chdir(folder):
        sources = [SequenceFile(Path("a.fa"), 1)]
        build_corpus(sources, "corpus", RecordRules(DNA), "t.tsv", partners)
    return {"corpus": folder / "corpus", "model": SHIPPED}


@pytest.fixture
def damaged(sound, tmp_path):
    """Return a function that copies a folder without one of its files."""

    def copy(kind, file):
        shutil.rmtree(tmp_path / kind, ignore_errors=True)
        shutil.copytree(sound[kind], tmp_path / kind, copy_function=os.link)
        (tmp_path / kind / file).unlink()
        return tmp_path / kind

    return copy


def replaced(content, keys, value):
    """Return JSON content with another value at nested keys; "missing" removes the last key."""
    content = json.loads(json.dumps(content))
    *outer, last = (int(key) if key.isdigit() else key for key in keys)
    inner = content
    for key in outer:
        inner = inner[key]
    if value == "missing":
        del inner[last]
    else:
        inner[last] = value
    return content


def replaced_in_table(table, column, value):
    """Return a table with another value in the first row of a column, or without the column."""
    if value == "missing":
        return table.drop(columns=column)
    return table.assign(**{column: [value, *table[column][1:]]})


DAMAGED = {
    f"{file}:{keys}": (kind, file, keys, values)
    for kind, files in CASES.items()
    for file, cases in files.items()
    for keys, values in cases.items()
}


@pytest.mark.parametrize(("kind", "file", "keys", "values"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_value(sound, damaged, kind, file, keys, values):
    for name in values:
        path = damaged(kind, file) / file
        if path.suffix == ".json":
            content = json.loads((sound[kind] / file).read_text(encoding="utf-8"))
            path.write_text(json.dumps(replaced(content, keys.split("."), VALUES[name])))
        else:
            content = pd.read_parquet(sound[kind] / file)
            replaced_in_table(content, keys, VALUES[name]).to_parquet(path)
        folder = path.parents[len(Path(file).parts) - 1]
        with pytest.raises(SelfAttnBioError, match=f"^{re.escape(str(folder))}"):
            OPEN[kind](folder)


FILES = {
    "corpus": """corpus.json records.parquet letters.bin targets.parquet partner/corpus.json
partner/records.parquet partner/letters.bin"""
}
FILES["model"] = """provenance.json model.safetensors run.toml stack/weights.json
stack/motif_scores/arrays.safetensors reference.safetensors"""


@pytest.mark.parametrize(
    ("kind", "file"), [(kind, file) for kind, files in FILES.items() for file in files.split()]
)
@pytest.mark.parametrize("damage", ["empty", "bytes", "half", "folder", "device", "brackets"])
def test_damaged_file(sound, damaged, kind, file, damage):
    folder = damaged(kind, file)
    sound_bytes = (sound[kind] / file).read_bytes()
    match damage:
        case "folder":
            (folder / file).mkdir()
        case "device":
            (folder / file).symlink_to("/dev/zero")
        case "brackets":
            (folder / file).write_text("a = " * file.endswith(".toml") + "[" * 100_000)
        case _:
            contents = {"empty": b"", "bytes": b"\xff\x00" * 50}
            (folder / file).write_bytes(contents.get(damage, sound_bytes[: len(sound_bytes) // 2]))
    with pytest.raises(SelfAttnBioError, match=re.escape(str(folder))):
        OPEN[kind](folder)


@pytest.mark.parametrize("damage", sorted({"missing", *DAMAGES} - {"shorter"}))
def test_damaged_array_of_reference(sound, damaged, damage):
    path = damaged("model", "reference.safetensors") / "reference.safetensors"
    shutil.copyfile(sound["model"] / path.name, path)
    optional = "conformal/" if damage == "missing" else "none"
    for name in damaged_files(path, damage):
        if not name.startswith(optional):
            with pytest.raises(SelfAttnBioError, match=rf"{path.name}: {name.replace('/', '.')}\b"):
                selfattn_bio.load(path.parent)


LARGER = ("num_layers = 64", "num_layers = 1000000000", "embed_dim = 1000000000", "members = 64")


@pytest.mark.parametrize("settings", LARGER)
def test_network_larger_than_its_weights_is_not_built(sound, damaged, settings):
    folder = damaged("model", "run.toml")
    text = (SHIPPED / "run.toml").read_text(encoding="utf-8")
    key = settings.split()[0]
    lines = [settings if line.startswith(f"{key} =") else line for line in text.splitlines()]
    assert settings in lines
    (folder / "run.toml").write_text("\n".join(lines))
    with pytest.raises(SelfAttnBioError, match=r"run\.toml"):
        selfattn_bio.load(folder)


@pytest.mark.parametrize("text", ["a = " + "9" * 5000, "a = " + "[" * 100_000])
def test_run_file_that_python_cannot_read(tmp_path, text):
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(RunFileError, match="is not valid TOML"):
        read_run_file(tmp_path / "run.toml")

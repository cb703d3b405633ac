"""Test errors of run files: each names the line, the key and a correction."""

import json
import re

import pytest
from run_files import DATA, error_of, read

from selfattn_bio.config import (
    RunFile,
    read_run_file,
)
from selfattn_bio.config.reading import _CHARACTERS, unions_of
from selfattn_bio.errors import RunFileError


def test_integer_is_read_as_float(tmp_path):
    training = read(tmp_path, DATA + "[training]\nlearning_rate = 1\n").training
    assert isinstance(training.learning_rate, float)


def test_byte_order_mark_is_ignored(tmp_path):
    assert read(tmp_path, "\ufeff" + DATA).data.positives == ("p.fa",)


@pytest.mark.parametrize(
    ("added", "message"),
    [
        (
            "[trainig]\nseed = 1",
            "task.toml:4: unknown key 'trainig'; did you mean 'training'?",
        ),
        (
            "[training]\nseed = 1\nlerning_rate = 1",
            "task.toml:6: unknown key 'lerning_rate' in [training]; did you mean 'learning_rate'?",
        ),
        (
            "[tokens]\nembed_dim = 3",
            "task.toml:5: unknown key 'embed_dim' in [tokens]; known keys: canonical, k, stride",
        ),
        (
            '[model]\nkind = "attention"\n\n[model.stem]\nkind = "conv"\nkernl = 4',
            "task.toml:9: unknown key 'kernl' in [model.stem]; did you mean 'kernel'?",
        ),
        (
            '[model]\nkind = "attention"\nstem = { kind = "conv", kernl = 5 }',
            "task.toml:6: unknown key 'kernl' in [model.stem]; did you mean 'kernel'?",
        ),
        (
            "[training]\nlearning_rate = -1",
            "task.toml:5: invalid value -1 for key 'learning_rate' in [training]; expected a "
            "number greater than 0",
        ),
        (
            "[training]\nmax_steps = true",
            "task.toml:5: invalid value true for key 'max_steps' in [training]; expected an "
            "integer",
        ),
        (
            '[training]\nmax_steps = "200"',
            "task.toml:5: invalid value '200' for key 'max_steps' in [training]; expected an "
            "integer",
        ),
        (
            '[training]\nlearning_rate = "4e-3"',
            "task.toml:5: invalid value '4e-3' for key 'learning_rate' in [training]; expected "
            "a number",
        ),
        (
            "[interpret]\nwindow = [1]",
            "task.toml:5: missing item 2 of 'window' in [interpret]",
        ),
        (
            "[training]\nreverse_complement = 1",
            "task.toml:5: invalid value 1 for key 'reverse_complement' in [training]; expected "
            "true or false",
        ),
        (
            "[training]\nbalance = 3",
            "task.toml:5: invalid value 3 for key 'balance' in [training]; expected a table",
        ),
        (
            "[transfer]\nparent = 3",
            "task.toml:5: invalid value 3 for key 'parent' in [transfer]; expected text in quotes",
        ),
        (
            "[training]\nlearning_rate = inf",
            "task.toml:5: invalid value inf for key 'learning_rate' in [training]; expected a "
            "finite number",
        ),
        (
            "[tokens]\nk = 9",
            "task.toml:5: invalid value 9 for key 'k' in [tokens]; expected at most 8",
        ),
        (
            "[tokens]\nk = 9\n[training]\nseed = -1",
            "task.toml:5: invalid value 9 for key 'k' in [tokens]; expected at most 8. The "
            "file has 1 more error",
        ),
        ("tokens.k = 0", "task.toml:4: unknown key 'tokens' in [data]; did you mean 'test'?"),
        (
            '[interpret]\nmethod = { kind = "guided", fraction = 0 }',
            "task.toml:5: invalid value 0 for key 'fraction' in [interpret.method]; expected a "
            "number greater than 0",
        ),
        (
            '[partner]\nkind = "sequence"\nfiles = "s.fa"\nk = 9',
            "task.toml:7: invalid value 9 for key 'k' in [partner]; expected at most 8",
        ),
        (
            '[split]\nvalid = ["a"]',
            "task.toml:4: missing key 'kind' in [split]; choose one of 'chromosome', 'region', "
            "'group', 'species', 'random', 'cluster', 'column', 'files'",
        ),
        (
            "[model]\nembed_dim = 8",
            "task.toml:4: missing key 'kind' in [model]; choose one of 'attention', 'cnn', "
            "'dilated', 'paired'",
        ),
        (
            '[model]\nkind = "attention"\nstem = { pool = 2 }',
            "task.toml:6: missing key 'kind' in [model.stem]; choose one of 'none', 'conv', "
            "'tower'",
        ),
        (
            '[split]\nkind = "chromosome"\nvalid = ["a"]',
            "task.toml:4: missing key 'test' in [split]",
        ),
        (
            "[audit]\nmax_similarity = 1.2",
            "task.toml:5: invalid value 1.2 for key 'max_similarity' in [audit]; expected at "
            "most 1",
        ),
        (
            '[model]\nkind = "attention"\nposition = { kind = "learned" }',
            "task.toml:6: missing key 'max_length' in [model.position]",
        ),
        (
            '[model]\nkind = "attention"\npattern = { kind = "strided", stride = 1 }',
            "task.toml:6: invalid value 1 for key 'stride' in [model.pattern]; expected at least 2",
        ),
        (
            '[variants.gc]\ntraining = { labels = "shuffled" }',
            "task.toml:4: [variants] 'gc' is the name of the model or of a baseline; choose "
            "another name",
        ),
        (
            '[variants.Bad]\ntraining = { labels = "shuffled" }',
            "task.toml:4: invalid name 'Bad' in [variants]; expected lower-case letters, "
            "digits and _",
        ),
        (
            "[training]\nseeds = 0",
            "task.toml:5: invalid value 0 for key 'seeds' in [training]; expected at least 1",
        ),
        (
            "[training]\nbatch_size =",
            "task.toml: run file is not valid TOML: Invalid value (at end of document)",
        ),
        (
            "[training]\nbatch_size = x\n",
            "task.toml:5: run file is not valid TOML: Invalid value (at line 5, column 14)",
        ),
        (
            '[interpret]\ndatabase = "C:\\my\\mine.meme"\n',
            "task.toml:5: run file is not valid TOML: Unescaped '\\' in a string (at line 5, "
            "column 17). Write paths with /, or between single quotes: 'C:\\data\\a.fa'",
        ),
    ],
)
def test_error_names_line(tmp_path, added, message):
    assert error_of(tmp_path, DATA + added).startswith(message)


def test_errors_describe_characters_of_every_pattern():
    patterns = re.findall(r'"(\^.*?\$)"', json.dumps(RunFile.model_json_schema()))
    assert set(patterns) == set(_CHARACTERS)


def test_errors_list_kinds_of_every_table():
    schema = RunFile.model_json_schema()
    fields = [
        field
        for section in (schema, *schema["$defs"].values())
        for field in section.get("properties", {}).items()
    ]
    of_kinds = {
        name
        for name, field in fields
        if any("discriminator" in each for each in (field, *field.get("anyOf", ())))
    }
    assert {"model", "stem", "balance", "partner"} <= of_kinds <= set(unions_of(RunFile).of_key)


def test_error_line_is_of_the_right_table(tmp_path):
    """`seed` is in three tables; the wrong one is the last."""
    text = (
        DATA + '[split]\nkind = "random"\nseed = 1\n[training]\nseed = 2\n[interpret]\nseed = -3\n'
    )
    assert (
        error_of(tmp_path, text)
        == "task.toml:10: invalid value -3 for key 'seed' in [interpret]; expected at least 0"
    )


def test_unreadable_run_file(tmp_path):
    with pytest.raises(RunFileError, match=r"none\.toml: run file not found$"):
        read_run_file(tmp_path / "none.toml")
    with pytest.raises(RunFileError, match=r"run file cannot be read as UTF-8 text: .*directory"):
        read_run_file(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunFileError, match=r"run file cannot be read as UTF-8 text: .*decode"):
        read_run_file(tmp_path / "binary.toml")

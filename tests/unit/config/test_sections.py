"""Test tables of the run file and their combinations: data, split, objective, model, interpret."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
import tomli_w
from commands import run as run_command
from run_files import CLASS, DATA, PARTS, THREE_FILES, read

from selfattn_bio.config import FilesSplit


def again(tmp_path, run):
    """Return a run file that was written and read."""
    return read(tmp_path, tomli_w.dumps(run.model_dump(mode="json", exclude_none=True)))


TASKS = Path(__file__).parents[3] / "workflows/tasks"
SHARED = '[model]\nkind = "attention"\nstrands = "shared"\n'


def test_separate_files_define_the_split(tmp_path):
    run = read(tmp_path, THREE_FILES)
    assert (run.split, run.variant("cnn").split) == (FilesSplit(), FilesSplit())
    files = {"train": ("a.csv", "b.csv"), "valid": ("v.csv",), "test": ("t.csv",)}
    assert run.data.given_splits == files
    assert run.data.inputs == ["a.csv", "b.csv", "v.csv", "t.csv"]
    assert run.data.files == [(name, None) for name in run.data.inputs]
    other = THREE_FILES.replace('valid = "v.csv"\n', "") + "[split]\nvalid_fraction = 0.1\n"
    assert read(tmp_path, other).split == FilesSplit(valid_fraction=0.1)
    assert again(tmp_path, run) == run


def test_split_values_ignore_case(tmp_path):
    text = '[data]\nsequences = "a.csv"\nlabel = "label"\n[split]\nkind = "column"\n'
    assert dict(read(tmp_path, text).split.values.pairs()) == {
        **dict.fromkeys(("train", "training"), "train"),
        **dict.fromkeys(("valid", "validation", "val", "dev", "development"), "valid"),
        **dict.fromkeys(("test", "testing", "holdout"), "test"),
    }
    text += 'values = { train = "fit", valid = ["Tune"], test = "1", dropped = "2" }\n'
    named = read(tmp_path, text).split.values
    assert dict(named.pairs()) == {"fit": "train", "tune": "valid", "1": "test", "2": "dropped"}


def test_data_keys_are_written_only_if_set(tmp_path):
    written = read(tmp_path, DATA).data.model_dump()
    assert not written.keys() & {"train", "valid", "test", "ids", "keep_duplicates"}
    numbered = read(tmp_path, DATA + 'ids = "numbered"\nkeep_duplicates = true\n').data
    assert numbered.model_dump()["ids"] == "numbered"


def test_objective_of_several_parts(tmp_path):
    run = read(tmp_path, PARTS + CLASS + "[training]\nclass_weights = 'balanced'\n")
    assert [(name, part.kind, part.weight) for name, part in run.objective.parts.items()] == [
        ("activity", "regression", 1.0),
        ("class", "multiclass", 0.5),
    ]
    assert run.objective.target_columns == ("liver", "kidney", "family")
    # classes come from the training records
    assert run.objective.output_names == ("activity.liver", "activity.kidney")
    assert again(tmp_path, run) == run


def test_shared_strands_apply_to_scores_and_variants(tmp_path):
    run = read(tmp_path, DATA + SHARED)
    assert (run.shares_strands, run.both_strands) == (True, True)
    assert run.variant("cnn").both_strands
    given = '[variants.cnn.model]\nkind = "cnn"\nstrands = "given"\n'
    assert not read(tmp_path, DATA + SHARED + given).variant("cnn").both_strands
    default = read(tmp_path, DATA)
    assert not default.shares_strands
    assert "strands" not in default.model.model_dump()


def test_protein_settings(tmp_path):
    interpret = "[interpret]\nwindow = [-31, -25]\ncaller = { kind = 'clusters' }\n"
    run = read(tmp_path, DATA + 'alphabet = "protein"\n[tokens]\nk = 4\n' + interpret)
    assert (run.tokens.k, run.interpret.caller.kind) == (4, "clusters")
    assert run.interpret.window == (-31, -25)


# ------------ JSON Schema
@pytest.fixture(scope="module")
def validator(tmp_path_factory):
    path = tmp_path_factory.mktemp("schema") / "schema.json"
    run_command("schema --output", path)
    schema = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", sorted(TASKS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_tasks_follow_schema(validator, path):
    task = tomllib.loads(path.read_text(encoding="utf-8"))
    validator.validate(task)
    with pytest.raises(jsonschema.ValidationError, match="learning_rat"):
        validator.validate(task | {"training": {"learning_rat": 1e-3}})


def test_schema_has_ranges_defaults_and_texts(validator):
    size = validator.schema["$defs"]["Training"]["properties"]["batch_size"]
    assert (size["minimum"], size["default"], size["description"]) == (1, 64, "records per batch")

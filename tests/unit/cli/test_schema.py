"""Check the JSON Schema of run files against shipped run files and a misspelled key."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from selfattn_bio.cli.main import main

TASKS = Path(__file__).parents[3] / "workflows/tasks"


@pytest.fixture(scope="module")
def validator(tmp_path_factory):
    path = tmp_path_factory.mktemp("schema") / "schema.json"
    assert main(["schema", "--output", str(path)]) == 0
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

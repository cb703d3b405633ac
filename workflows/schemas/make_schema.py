"""Write run_file.schema.json: the JSON Schema of a run file, for editors that check TOML.

python workflows/schemas/make_schema.py
"""

import json
from pathlib import Path

from selfattn_bio.config import RunFile

SCHEMA = Path(__file__).with_name("run_file.schema.json")


def schema_text() -> str:
    """Return the content of the schema file."""
    return json.dumps(RunFile.model_json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema_text(), encoding="utf-8")
    print(SCHEMA)

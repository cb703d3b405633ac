"""Check that benchmarks only import names that the package still has."""

import ast
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[3] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_benchmark_imports_exist(script):
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "selfattn_bio":
            names: dict[str, object] = {}
            exec(ast.unparse(node), names)
            assert {each.asname or each.name for each in node.names} <= names.keys()

"""Test that each odd file gives the expected records or the expected one-line error."""

import importlib
import re
from pathlib import Path

import pytest
from odd import Odd

from selfattn_bio.errors import SelfAttnBioError

CASES = [
    pytest.param(odd, id=f"{table.stem.removeprefix('odd_')}: {title}")
    for table in sorted(Path(__file__).parent.glob("odd_*.py"))
    for title, odd in importlib.import_module(table.stem).ODD_FILES
]


@pytest.mark.parametrize("odd", CASES)
def test_odd_file_gives_documented_result(odd: Odd, tmp_path):
    path = tmp_path / odd.name
    if callable(odd.content):
        odd.content(path)
    else:
        path.write_bytes(odd.content)
    if not isinstance(odd.expected, str):
        assert odd.read(path) == odd.expected
        return
    with pytest.raises(SelfAttnBioError) as caught:
        odd.read(path)
    place = "{path}:" if odd.expected[0].isdigit() else "{path}: "
    promised = odd.expected if odd.expected[0] == "{" else place + odd.expected
    promised = promised.replace("{path}", str(path)).replace("{folder}", str(tmp_path))
    assert re.fullmatch(".+".join(map(re.escape, promised.split("<...>"))), str(caught.value)), (
        f"{caught.value!s}\n{promised}"
    )
    assert "\n" not in str(caught.value)
    assert not Path(f"{path}.fai").exists()

"""Test that each odd file gives the expected records or the expected one-line error."""

import importlib
import re
from pathlib import Path

import pytest
from odd import Odd, Promised

from selfattn_bio.errors import SelfAttnBioError

TABLES = sorted(path.stem for path in Path(__file__).parent.glob("odd_*.py"))
CASES = {
    f"{table}: {title}": odd
    for table in TABLES
    for title, odd in importlib.import_module(table).ODD_FILES.items()
}


@pytest.mark.parametrize(
    "title",
    [pytest.param(title, marks=[pytest.mark.long] * odd.long) for title, odd in CASES.items()],
)
def test_odd_file_gives_documented_result(title, tmp_path):
    odd: Odd = CASES[title]
    path = tmp_path / odd.name
    if callable(odd.content):
        odd.content(path)
    else:
        path.write_bytes(odd.content.encode() if isinstance(odd.content, str) else odd.content)
    if not isinstance(odd.expected, Promised):
        assert odd.read(path) == odd.expected
        return
    with pytest.raises(SelfAttnBioError) as caught:
        odd.read(path)
    promised = odd.expected.error.format(path=path, folder=tmp_path)
    assert re.fullmatch(".+".join(map(re.escape, promised.split("<...>"))), str(caught.value)), (
        f"{caught.value!s}\n{promised}"
    )
    assert "\n" not in str(caught.value)

"""A finished training is repeated only if its code has changed."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import selfattn_bio


@pytest.mark.slow
def test_result_of_other_code_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import long_range

    monkeypatch.setattr(long_range, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    settings = replace(
        long_range.settings_of("window", 0),
        stages=((long_range.LENGTH, 2, 1),),
        num_valid=20,
        num_test=20,
    )
    done = long_range.trained(settings)
    settings.path.write_text(json.dumps(done | {"best": 7.0}))
    assert long_range.trained(settings)["best"] == 7.0
    assert long_range.trained(replace(settings, code="other"))["best"] == done["best"]


@pytest.mark.parametrize(
    "file",
    [
        "attention/kernels/slab.py",
        "attention/kernels/band/band.cpp",
        "attention/kernels/band/forward.h",
        "model/encoder.py",
        "sequence/kmers.py",
    ],
)
def test_code_hash_covers_training_code(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import long_range

    shutil.copytree(
        Path(selfattn_bio.__file__).parent,
        tmp_path / "package",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    monkeypatch.setattr(selfattn_bio, "__file__", str(tmp_path / "package/__init__.py"))
    before = long_range.code_hash()
    with (tmp_path / "package" / file).open("a") as changed:
        changed.write(" ")
    assert long_range.code_hash() != before

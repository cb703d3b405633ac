import re
from importlib.metadata import requires

import torch
from commands import run

from selfattn_bio.study import machine


def test_doctor_names_the_gpu(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    run("doctor")
    out = capsys.readouterr().out
    assert out.startswith("You can train on a GPU and on the CPU; ")
    assert "CUDA: a GPU" in out


def test_doctor_lists_optional_packages_only(capsys, monkeypatch):
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run("doctor")
    parts = machine.other_parts().set_index("name")
    needed = {
        re.match(r"[\w-]+", each)[0].lower().replace("-", "_")
        for each in requires("selfattn-bio")
        if "extra ==" not in each
    }
    assert not needed & {name.lower() for name in parts.index}
    assert {"GPU", "C++ compiler", "git", "make", "Slurm", "MMseqs2", "opacus"} <= set(parts.index)
    assert parts["found"]["MMseqs2"] == ""
    assert "not found. It clusters similar sequences by alignment" in capsys.readouterr().out


def test_doctor_starts_with_verdict_and_compiles_nothing(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    run("doctor")
    out = capsys.readouterr().out
    assert out.startswith("You can train on the CPU; nothing needed is missing.\n")
    assert "will be compiled with" in out or "cannot run" in out
    assert not list(tmp_path.rglob("*.so"))
    monkeypatch.setattr(machine, "SHIPPED", tmp_path)
    run("doctor")
    assert capsys.readouterr().out.startswith("Something needed is missing: model 'promoter'; ")


def test_machine_is_what_doctor_prints(capsys):
    found = machine.inspect_machine()
    run("doctor")
    assert capsys.readouterr().out == f"{found}\n"
    assert repr(found).startswith(f"Machine: {found.device}; ")
    assert "\n" not in repr(found)

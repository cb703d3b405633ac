import re
from dataclasses import replace
from importlib.metadata import requires
from typing import get_args

import torch
from commands import run
from learners import OnCuda

from selfattn_bio import config
from selfattn_bio.config import KERNELS
from selfattn_bio.study import machine


def kinds(union):
    return {section.model_fields["kind"].default for section in get_args(get_args(union)[0])}


def table(out):
    """Return (pattern, positions, kernel) of each line of the table of kernels."""
    text = out.split('\nKernels that "auto" chooses', 1)[1].split("\n\n")[1]
    _, *lines = re.findall(r"^  (.{16}) ((?:\w+, )*\w+) +(\w+) +", text, re.MULTILINE)  # no names
    return [
        (pattern.strip(), positions.split(", "), kernel) for pattern, positions, kernel in lines
    ]


def test_doctor_reports_kernels_of_default_encoder_on_cuda(capsys, monkeypatch):
    """Without dropout of attention weights, the default, flex serves every pattern."""
    dropout = config.AttentionModel().attention_dropout
    on_cuda = [
        (pattern, position, replace(inputs, q=OnCuda(inputs.q), dropout=dropout))
        for pattern, position, inputs in machine._requests()
    ]
    monkeypatch.setattr(machine, "_requests", lambda: on_cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    run("doctor --kernels")
    out, warnings = capsys.readouterr()
    assert "CUDA: a GPU" in out
    kernel = {(pattern, each): chosen for pattern, some, chosen in table(out) for each in some}
    assert kernel["full", "t5"] == kernel["window", "t5"] == kernel["bigbird", "rotary"] == "flex"
    assert kernel["window", "shaw"] == "slab"  # it has its own keys
    assert "flex" not in warnings  # a table, not a warning


def test_doctor_lists_kernel_for_each_pattern(capsys):
    run("doctor --kernels")
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in KERNELS)
    served = {}
    for pattern, positions, _ in table(out):
        served.setdefault(pattern, []).extend(positions)
    assert served.keys() >= kinds(config.AnyPattern)
    # these two do not depend on the kernel
    expected = sorted(kinds(config.AnyPosition) - {"sinusoidal", "learned"})
    assert all(sorted(positions) == expected for positions in served.values())
    for line in (
        "  bigbird +shaw, transformer_xl .*slab .*joint: the position has its own keys",
        "  full, causal .*shaw.* sdpa: it would compute all pairs of a causal or sparse pattern",
    ):
        assert len(re.findall(line, out)) == 1


def test_doctor_lists_optional_packages_only(capsys, monkeypatch):
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run("doctor --kernels")
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
    assert "Attention kernels" not in out
    monkeypatch.setattr(machine, "SHIPPED", tmp_path)
    run("doctor")
    assert capsys.readouterr().out.startswith("Something needed is missing: model 'promoter'; ")


def test_machine_is_what_doctor_prints(capsys):
    found = machine.inspect_machine(kernels=True)
    run("doctor --kernels")
    assert capsys.readouterr().out == f"{found}\n"
    assert repr(found).startswith(f"Machine: {found.device}; ")
    assert "\n" not in repr(found)
    row = found.table[(found.table["pattern"] == "bigbird") & (found.table["position"] == "shaw")]
    assert row["kernel"].tolist() == ["slab"]

import re
from dataclasses import replace
from importlib.metadata import requires
from typing import get_args

import torch
from commands import run

from selfattn_bio import config
from selfattn_bio.config import KERNELS
from selfattn_bio.study import machine


def kinds(union):
    return {section.model_fields["kind"].default for section in get_args(get_args(union)[0])}


def table(out, heading):
    """Return (pattern, positions, kernel, reason) of each line below the heading."""
    text = out.split(f"\n{heading}", 1)[1].split("\n\n")[1]
    lines = re.findall(r"^  (.{16}) ((?:\w+, )*\w+) +(\w+) +(.*)$", text, re.MULTILINE)
    return [
        (pattern.strip(), positions.split(", "), kernel, reason)
        for pattern, positions, kernel, reason in lines
    ]


class OnCuda:
    """Queries on CUDA, with the attributes that kernels read."""

    device = torch.device("cuda")

    def __init__(self, q):
        self.dtype, self.shape = q.dtype, q.shape


def test_doctor_reports_kernels_of_default_encoder_on_cuda(capsys, monkeypatch):
    """Without dropout of attention weights, the default, flex serves every pattern."""
    dropout = config.AttentionModel().attention_dropout
    on_cuda = {
        pattern: {
            position: replace(inputs, q=OnCuda(inputs.q), dropout=dropout)
            for position, inputs in by_position.items()
        }
        for pattern, by_position in machine._requests().items()
    }
    monkeypatch.setattr(machine, "_requests", lambda: on_cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    run("doctor --kernels")
    out, warnings = capsys.readouterr()
    assert "CUDA: a GPU" in out
    _, *lines = table(out, 'Kernels that "auto" chooses')  # without the column names
    kernel = {
        (pattern, position): chosen
        for pattern, positions, chosen, _ in lines
        for position in positions
    }
    assert kernel["full", "t5"] == kernel["window", "t5"] == kernel["bigbird", "rotary"] == "flex"
    assert kernel["window", "shaw"] == "slab"  # it has its own keys
    assert "flex" not in warnings  # a table, not a warning


def test_doctor_lists_kernel_for_each_pattern(capsys):
    run("doctor --kernels")
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in KERNELS)
    _, *served = table(out, 'Kernels that "auto" chooses')  # without the column names
    assert {pattern for pattern, _, _, _ in served} >= kinds(config.AnyPattern)
    for pattern in {pattern for pattern, _, _, _ in served}:
        positions = [each for of, some, _, _ in served if of == pattern for each in some]
        # these two do not depend on the kernel
        assert sorted(positions) == sorted(kinds(config.AnyPosition) - {"sinusoidal", "learned"})
    (line,) = [line for line in out.splitlines() if line.startswith("  bigbird") and "shaw" in line]
    assert "shaw, transformer_xl" in line
    assert "slab" in line
    assert "joint: the position has its own keys" in line
    (line,) = [
        line for line in out.splitlines() if line.startswith("  full, causal") and "shaw" in line
    ]
    assert "sdpa: it would compute all pairs of a causal or sparse pattern" in line


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

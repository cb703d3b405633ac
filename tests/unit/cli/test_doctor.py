from typing import get_args

from selfattn_bio import config
from selfattn_bio.attention.attend import KERNELS
from selfattn_bio.cli.main import main


def kinds(union):
    return {section.model_fields["kind"].default for section in get_args(get_args(union)[0])}


def test_doctor_lists_kernels_and_what_serves_what(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in KERNELS)
    assert all(f"\n  {kind} " in out for kind in kinds(config.Pattern))
    assert all(kind in out for kind in kinds(config.Position) - {"sinusoidal", "learned"})  # which are no matter of a kernel
    (line,) = [line for line in out.splitlines() if line.startswith("  bigbird") and "shaw" in line]
    assert "shaw, transformer_xl" in line
    assert "slab" in line
    assert "joint: a position with keys of its own" in line

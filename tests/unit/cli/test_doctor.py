from selfattn_bio.attention.attend import KERNELS
from selfattn_bio.cli.main import main


def test_doctor_lists_kernels_and_what_serves_what(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in KERNELS)
    (line,) = [line for line in out.splitlines() if line.split()[:2] == ["bigbird", "shaw"]]
    assert line.split()[2] == "slab"
    assert "joint: a position with keys of its own" in line

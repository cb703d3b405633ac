"""The code blocks of docs/scoring_genomes.md run as they stand."""

import os
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests/unit/scoring"))

from genome_models import random_letters, run_file, write_genome, write_model  # noqa: E402

from selfattn_bio.cli.main import main  # noqa: E402
from selfattn_bio.sequence.genome import Genome  # noqa: E402

PAGE = (ROOT / "docs/scoring_genomes.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"```bash\nselfattn-bio (.*?)\n```", PAGE, flags=re.DOTALL)
SCRIPTS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
MEME = "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF m\nletter-probability matrix: alength= 4 w= 6 nsites= 9\n" + "0.1 0.7 0.1 0.1\n" * 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the page says the folder holds."""
    folder = tmp_path_factory.mktemp("page")
    write_model(folder / "model", run_file(stem={"kind": "conv"}), length=300)
    genome = Genome(write_genome(folder / "dm3.fa", {"chr2R": random_letters(900)}))
    rows = [(pos, chr(genome.fetch("chr2R", pos - 1, pos)[0])) for pos in (10, 400, 700)]
    lines = [f"2R\t{pos}\t.\t{ref}\t{ref}A,{'A' if ref != 'A' else 'C'}\t.\t.\t." for pos, ref in rows]
    (folder / "my.vcf").write_text("\n".join(["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO", *lines, ""]))
    (folder / "motifs.meme").write_text(MEME)
    return folder


def test_the_page_has_its_blocks():
    assert [command.split()[0] for command in COMMANDS] == ["scan", "variants", "variants", "variants"]
    assert len(SCRIPTS) == 2


@pytest.mark.parametrize(
    "command", [pytest.param(command, marks=pytest.mark.slow) if "--motifs" in command else command for command in COMMANDS]
)
def test_a_command_of_the_page_runs(command, folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert main(shlex.split(command)) == 0
    prefix = command.split()[-1]
    assert [name for name in os.listdir(folder) if name.startswith(f"{prefix}.") and name != "my.vcf"]


@pytest.mark.parametrize("number", range(len(SCRIPTS)))
def test_a_script_of_the_page_runs(number, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / f"{number}.py").write_text(SCRIPTS[number])
    runpy.run_path(str(folder / f"{number}.py"))
    assert ("log_odds", "effect")[number] in capsys.readouterr().out

"""Run the code blocks of README.md and docs/*.md, page by page, as a reader would.

The blocks of a page run in order, in one fresh folder with small synthetic data (`made_folder`).
The word after the fence decides what happens:

sh       run by bash -euo pipefail, with `selfattn-bio` and `python` first on PATH
python   run in one namespace per page
toml     read as a run file; without [data] it gets positives and negatives. If its first line is
         `# FOLDER/FILE.toml`, it is also written there, for later blocks
others   (text, none) and indented blocks hold output and formulas and are not run

A block that cannot run has a reason in the line before its fence: `<!-- not run: trains for 20
minutes -->`. A block that another test runs names it: `<!-- run by tests/FILE.py -->`. Preparation
that readers need not see is in a comment of several lines that begins with `<!-- setup` and runs as
sh.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from fast_python import fast_python
from projects import replace
from small_task import random_texts, run_steps, small, write_fasta

from selfattn_bio.config import read_run_file

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN = ("sh", "python", "toml", "setup")
# more than a few seconds
SLOW = {"README.md", "commands.md", "design.md", "export.md", "python.md", "scoring_genomes.md"}
SLOW |= {"tutorial_pretrained.md"}
BLOCK = re.compile(
    r"^(?:<!-- (?:not run:|(?=run by )) *(?P<reason>.*?) *-->\n+)?"
    r"```(?P<kind>\w*)\n(?P<code>.*?)^```$|^<!-- setup\n(?P<setup>.*?)^-->$",
    re.MULTILINE | re.DOTALL,
)
TASK = """
data = { positives = "a.fa", negatives = "b.fa" }
split = { kind = "chromosome", valid = ["chrB"], test = ["chrC"] }
training = { max_steps = 30, warmup_steps = 5, evaluate_every = 30 }
"""
# of the smoke task
SHORTER = {"max_steps = 100": "max_steps = 50", "bootstraps = 200": "bootstraps = 20"}
SHORTER |= {"max_sequences = 200": "max_sequences = 40", "members = 2": "members = 1"}
SHORTER['parts = ["kmer6_positional_logistic"]'] = "parts = []"


@dataclass(frozen=True)
class Block:
    """One block of a page; `line` is the number of its first line of code."""

    line: int
    kind: str
    code: str
    reason: str | None = None


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page in order."""
    text, found = page.read_text(encoding="utf-8"), []
    for match in BLOCK.finditer(text):
        kind, of = ("setup", "setup") if match["kind"] is None else (match["kind"], "code")
        line = text[: match.start(of)].count("\n") + 1
        found.append(Block(line, kind, match[of], match["reason"]))
    return found


def run_file(block: Block, page: str) -> None:
    """Read a toml block as a run file; write it to the file its first line names."""
    tables = set(re.findall(r"^\[(\w+)\]", block.code, re.MULTILINE))
    data = "" if "data" in tables else '[data]\npositives = "a.fa"\nnegatives = "b.fa"\n'
    named = re.match(r"# (\S+\.toml)\n", block.code)
    path = Path(named[1] if named else f"{page}-{block.line}.toml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{block.code}\n{data}", encoding="utf-8")
    read_run_file(path)


@pytest.fixture(scope="module")
def made_folder(tmp_path_factory):
    """Create the files that pages use: sequences, a genome, windows, variants and a tiny model."""
    folder, rng = tmp_path_factory.mktemp("docs") / "folder", np.random.default_rng(0)
    folder.mkdir()
    rows_of = {}
    for name, planted in (("a", "TATCGATA"), ("b", "")):
        rows = rows_of[name] = []
        for number, text in enumerate(random_texts(rng, 60, 60 - len(planted))):
            start = number * 100
            where = f"chrom=chr{'ABC'[number // 20]} start={start} end={start + 60} strand=+"
            rows.append(f">{name}{number} {where}\n{text[:20]}{planted}{text[20:]}\n")
        (folder / f"{name}.fa").write_text("".join(rows))
    for name in ("p", "q"):
        peptides = random_texts(rng, 40, 30, letters="ACDEFGHIKLMNPQRSTVWY")
        write_fasta(folder / f"{name}.fa", peptides)
    for name, source in (("positives.fa", "a.fa"), ("negatives.fa", "b.fa")):
        shutil.copy(folder / source, folder / name)
    (folder / "new.fa").write_text("".join(rows_of["a"][:30]))
    genome = dict(zip(("chr1", "chr2"), random_texts(rng, 2, 3000), strict=True))
    lines = {name: re.sub("(.{60})", r"\1\n", text) for name, text in genome.items()}
    (folder / "genome.fa").write_text("".join(f">{name}\n{text}" for name, text in lines.items()))
    regions = (
        f"chr{1 + i % 2}\t{400 * i}\t{400 * i + 60}\tr{i}\t0\t{'+-'[i % 2]}\n" for i in range(6)
    )
    (folder / "regions.bed").write_text("".join(regions))
    head = "##fileformat=VCFv4.2\n##contig=<ID=chr1,length=3000>\n"
    head += "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    bases = {p: genome["chr1"][p - 1] for p in (500, 1000, 2000)}
    other = dict(zip("ACGT", "CGTA", strict=True))
    calls = (f"chr1\t{p}\t.\t{base}\t{other[base]}\t.\t.\t.\n" for p, base in bases.items())
    (folder / "variants.vcf").write_text(head + "".join(calls))
    shutil.copytree(ROOT / "workflows", folder / "workflows")
    tasks = folder / "workflows/tasks"
    (tasks / "promoter.toml").write_text(small(TASK))
    for old, new in SHORTER.items():
        replace(tasks / "smoke.toml", old, new)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_steps("ingest split train", "promoter")
    for name in ("data", "notebooks", "profiles", "Snakefile"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".bin").mkdir()
    for name, words_of in (("selfattn-bio", "-m selfattn_bio.cli.main"), ("python", "")):
        (folder / ".bin" / name).write_text(f'#!/bin/sh\nexec "{fast_python()}" {words_of} "$@"\n')
        (folder / ".bin" / name).chmod(0o755)
    return folder


def runs(page):
    """Return whether a block of the page runs."""
    return any(block.kind in RUN and block.reason is None for block in blocks_of(page))


def param_of(page):
    return pytest.param(page, id=page.name, marks=[pytest.mark.slow] * (page.name in SLOW))


@pytest.mark.parametrize("page", [param_of(page) for page in PAGES if runs(page)])
def test_blocks_of_a_page_run(page, made_folder, tmp_path, monkeypatch):
    here = tmp_path / "reader"
    shutil.copytree(made_folder, here, symlinks=True)
    monkeypatch.chdir(here)
    monkeypatch.setattr("selfattn_bio.training.trials.RESAMPLES", 20)
    paths = [here / ".bin", Path(sys.executable).parent, os.environ["PATH"]]
    env = os.environ | {"PATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks_of(page):
        if block.kind not in RUN or block.reason is not None:
            continue
        if block.kind == "toml":
            run_file(block, page.stem)
        elif block.kind == "python":
            exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), namespace)
        else:
            words = ["bash", "-euo", "pipefail", "-c", block.code]
            done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
            said = done.stdout[-2000:] + done.stderr[-2000:]
            assert done.returncode == 0, f"{page.name}:{block.line}: {said}"


def test_blocks_not_run_have_a_reason():
    blocks = [(page.name, block) for page in PAGES for block in blocks_of(page)]
    left = {f"{name}:{of.line}": of.reason for name, of in blocks if of.reason is not None}
    assert [place for place, reason in left.items() if len(reason.split()) < 2] == []
    tests = {reason.removeprefix("run by ") for reason in left.values() if reason[:7] == "run by "}
    assert [path for path in tests if not (ROOT / path).exists()] == []
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    notes = sum(len(re.findall("<!-- (?:not run:|run by |setup\n)", text)) for text in texts)
    kinds = [block.kind for _, block in blocks]
    message = "a comment must be right before a fence, or be closed by a line -->"
    assert notes == len(left) + kinds.count("setup"), message
    fences = sum(text.count("\n```") for text in texts)
    assert fences == 2 * (len(kinds) - kinds.count("setup")), "a fence is open, or indented"

"""`init` fits a run file to the data; `run` and `demo` hand it to Snakemake."""

import gzip
import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from selfattn_bio.cli import run as run_command
from selfattn_bio.cli.main import main
from selfattn_bio.config import read_run_file
from selfattn_bio.errors import SelfAttnBioError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, number=120, length=40, letters="ACGT", header=lambda i: ""):
    rng = np.random.default_rng(len(str(path)))
    text = "".join(f">{Path(path).stem.split()[-1]}{i} {header(i)}\n{''.join(rng.choice(list(letters), length))}\n" for i in range(number))
    raw = text.encode()
    Path(path).write_bytes(gzip.compress(raw) if str(path).endswith("gz") else raw)
    return str(path)


def made(*words):
    assert main(["init", "my_task", *words]) == 0
    return read_run_file("workflows/tasks/my_task.toml")


def place(i):
    return f"chrom=chr{i % 5} start={i * 50} end={i * 50 + 40}"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ("dna", "random", 3, "full", 64)),
        ({"letters": "ACDEFGHIKLMNPQRSTVWY"}, ("protein", "cluster", 1, "full", 64)),
        ({"header": place}, ("dna", "chromosome", 3, "full", 64)),
        ({"header": lambda i: f"group=g{i % 20}"}, ("dna", "group", 3, "full", 64)),
        ({"length": 10_000, "number": 20}, ("dna", "random", 3, "window", 13)),
        ({"length": 2000, "number": 20, "letters": "ACDEFGHIKLMNPQRSTVWY"}, ("protein", "cluster", 1, "window", 64)),
        ({"letters": "acgun"}, ("dna", "random", 3, "full", 64)),
    ],
)
def test_the_run_file_fits_the_data(here, capsys, options, expected):
    run = made("--positives", write("a b.fa", **options), "--negatives", write("ü.fa.gz", **options))
    got = run.data.alphabet, run.split.kind, run.tokens.k, run.model.pattern.kind, run.training.batch_size
    assert got == expected
    assert run.data.positives == ("a b.fa",)
    assert run.data.max_length == options.get("length", 40)
    assert run.training.batch_size * run.training.accumulate <= 64
    text = (here / "workflows/tasks/my_task.toml").read_text()
    assert f"# {options.get('number', 120)} records" in text
    assert "selfattn-bio run train_my_task" in capsys.readouterr().out


def test_a_chromosome_split_has_both_labels_on_each_side(here):
    """chr0 has nearly the share that is looked for, but no negative; a split by it would be refused after ingest."""
    run = made("--positives", write("a.fa", header=place), "--negatives", write("b.fa", header=lambda i: place(i + (i % 5 == 0))))
    assert run.split.kind == "chromosome"
    assert "chr0" not in run.split.valid + run.split.test
    (here / "workflows/tasks/my_task.toml").unlink()
    two = lambda i: place(i % 2)  # noqa: E731
    assert made("--positives", write("a.fa", header=two), "--negatives", write("b.fa", header=two)).split.kind == "random"


@pytest.mark.parametrize(
    ("values", "kind"), [(["x", "y", "z"], "multiclass"), (["0", "1", ""], "multilabel"), (["0.5", "2", "-1"], "regression")]
)
def test_the_objective_is_that_of_the_column(here, values, kind):
    sequences = write("s.fa")
    Path("t.tsv").write_text("id\tactivity\n" + "".join(f"s{i}\t{values[i % 3]}\n" for i in range(120)))
    pd.read_csv("t.tsv", sep="\t", dtype=str, keep_default_na=False).to_csv("t.csv.gz", index=False)
    for targets in ("t.tsv", "t.csv.gz"):  # read as ingest will read them
        run = made("--sequences", sequences, "--targets", targets)
        assert run.objective.kind == kind
        assert run.objective.target_columns == ("activity",)
        (here / "workflows/tasks/my_task.toml").unlink()


def test_one_table_with_labels_is_enough(here, capsys):
    rng = np.random.default_rng(0)
    rows = [("".join(rng.choice(list("ACGT"), 40)), i % 3 // 2) for i in range(120)]
    pd.DataFrame(rows, columns=["sequence", "label"]).to_csv("all.csv", index=False)
    run = made("--sequences", "all.csv", "--column", "label")
    assert (run.objective.kind, run.data.sequences, run.data.label) == ("binary", ("all.csv",), "label")
    assert "40 positives and 80 negatives: figures" in capsys.readouterr().out
    assert 'label = "label"  # the column with 1 or 0: 40 positives, 80 negatives' in (here / "workflows/tasks/my_task.toml").read_text()
    assert main(["ingest", "--run-file", "workflows/tasks/my_task.toml", "--output", "corpus"]) == 0
    assert pd.read_parquet("corpus/records.parquet")["label"].sum() == 40


def test_steps_grow_with_the_root_of_the_records(here):
    steps = []
    for number in (30, 400):
        steps.append(made("--positives", write("a.fa", number=number), "--negatives", write("b.fa", number=number)).training.max_steps)
        (here / "workflows/tasks/my_task.toml").unlink()
    assert steps == [100, round(1500 * (800 / 16_754) ** 0.5)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["my task", "--positives", "a.fa", "--negatives", "a.fa"], "name of a task must be letters, digits, _ and -, got 'my task'"),
        (["mine", "--positives", "a.fa"], "--positives and --negatives must be given, or --sequences and --targets, or --sequences and"),
        (["mine", "--sequences", "a.fa"], "or --sequences and --column, got --sequences"),
        (["mine", "--positives", "no.fa", "--negatives", "a.fa"], "no.fa: sequence file must be an existing file"),
        (["mine", "--sequences", "a.fa", "--targets", "no.tsv"], "no.tsv: targets must be an existing table, got no such file"),
        (
            ["mine", "--sequences", "a.fa", "--targets", "t.tsv"],
            "t.tsv: targets must have a column id and one to learn, got id, x, y. Name one",
        ),
        (
            ["mine", "--positives", "a.bed", "--negatives", "a.fa"],
            "a.bed: sequence file must be FASTA, FASTQ, GenBank, EMBL, CSV, TSV or Pa",
        ),
        (["mine", "--positives", "\x7f.fa", "--negatives", "a.fa"], "error: workflows/tasks/mine.toml:"),  # which TOML may not hold
        (["there", "--positives", "a.fa", "--negatives", "b.fa"], "there.toml: run file must be new, got one that is there"),
    ],
)
def test_what_is_wrong_is_one_line(here, capsys, words, message):
    write("a.fa")
    write("b.fa")
    Path("t.tsv").write_text("id\tx\ty\n")
    Path("\x7f.fa").write_bytes(Path("b.fa").read_bytes())
    Path("a.bed").write_text("chr1\t0\t30\n")
    Path("workflows/tasks").mkdir(parents=True)
    Path("workflows/tasks/there.toml").write_text("mine")
    assert main(["init", *words]) == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in Path("workflows/tasks").iterdir()] == ["there.toml"]
    assert Path("workflows/tasks/there.toml").read_text() == "mine"


# ------------------------------------------------------------------------------------------------------------- run, demo
@pytest.fixture
def started(monkeypatch):
    """In Snakemake's place a program that prints its words and ends with the number that the last of them names."""
    seen = []
    real = run_command.subprocess.Popen
    code = "import sys; print('snakemake', *sys.argv[1:]); print('and an error', file=sys.stderr); sys.exit(int(sys.argv[1]))"

    def popen(command, env, **options):
        seen.append(SimpleNamespace(words=command, env=env))
        number = next((word.removeprefix("--end=") for word in command if word.startswith("--end=")), "0")
        return real([sys.executable, "-c", code, number, *command[3:]], env=env, **options)

    monkeypatch.setattr(run_command.subprocess, "Popen", popen)
    return seen


def test_run_starts_snakemake_here_and_passes_all_on(here, started):
    assert main(["run", "train_mine", "--cores", "3", "--config", "a=b"]) == 0
    (call,) = started
    assert call.words == [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
        "train_mine",
        "--cores",
        "3",
        "--config",
        "a=b",
    ]
    assert call.env["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert main(["run", "--quiet", "--profile", "gpu", "sweep_mine", "--end=1"]) == 1
    assert started[1].words[5:] == ["--workflow-profile", str(ROOT / "profiles/gpu"), "sweep_mine", "--end=1", "--quiet", "all"]


def test_run_says_what_a_target_is(here, started, capsys):
    assert main(["run", "mine"]) == 1
    assert "target must be train_NAME or sweep_NAME, or a file, got 'mine'. Did you mean train_mine?" in capsys.readouterr().err
    assert not started
    assert main(["run", "results/mine/metrics.json"]) == 0


def test_run_says_that_the_folder_cannot_be_written(here, started, monkeypatch, capsys):
    monkeypatch.setattr(run_command.os, "access", lambda path, mode: path != ".")
    assert main(["run", "train_mine"]) == 1
    assert f"{Path.cwd()}: folder must be writable, got Permission denied. Run it in one of your own" in capsys.readouterr().err
    assert not started


@pytest.mark.parametrize("place", ["/proc/nowhere", "file/below"])
def test_run_says_that_the_cache_cannot_be_written(here, started, monkeypatch, capsys, place):
    Path("file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", place)
    assert main(["run", "train_mine"]) == 1
    error = capsys.readouterr().err
    assert f"error: {place}: folder for caches must be writable, got " in error
    assert error.endswith(". Name a folder of your own in XDG_CACHE_HOME\n")
    assert not started


def test_ctrl_c_stops_a_run_with_one_line_and_130(here):
    begins = "import sys, time\nprint('a step begins', file=sys.stderr, flush=True)\n"
    ends = "try: time.sleep(60)\nexcept KeyboardInterrupt: sys.exit('a traceback')\n"
    Path("snakemake.py").write_text(begins + ends)  # found before the real one
    command = [sys.executable, "-m", "selfattn_bio.cli.main", "run", "train_mine"]
    heard = partial(signal.signal, signal.SIGINT, signal.default_int_handler)  # a shell's jobs in the background begin deaf to it
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heard) as process:
        assert process.stderr.readline() == "a step begins\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to both
        assert process.stderr.read() == "selfattn-bio run: stopped; the same command goes on from where it was\n"
    assert process.returncode == 130


def test_a_quiet_run_says_nothing_until_it_fails(here, started, capfd):
    assert main(["run", "--quiet", "train_mine"]) == 0
    assert capfd.readouterr() == ("", "")
    assert main(["run", "--quiet", "train_mine", "--end=1"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("and an error")


def test_run_works_without_a_path(here, started, monkeypatch):
    monkeypatch.delenv("PATH")
    assert main(["run", "train_mine"]) == 0
    assert started[0].env["PATH"].endswith(":/usr/bin:/bin")


def test_lines_of_snakemake_become_objects(here, started, capsys):
    assert main(["run", "--json", "train_mine"]) == 0
    line = next(each for each in capsys.readouterr().out.splitlines() if "an error" not in each)
    assert json.loads(line)["message"].startswith("snakemake 0 --snakefile")


def test_demo_brings_its_data_and_leaves_what_is_there(here, started):
    Path("workflows/tasks").mkdir(parents=True)
    Path("workflows/tasks/promoter.toml").write_text("mine")
    assert main(["demo", "--cores", "2", "--dry-run"]) == 0
    assert started[0].words[5:] == ["train_promoter", "--cores", "2", "--dry-run"]
    assert Path("workflows/tasks/promoter.toml").read_text() == "mine"
    for name in ("positives", "negatives"):
        file = f"data/fly_promoters/{name}.fa.gz"
        assert Path(file).read_bytes() == (ROOT / file).read_bytes()


@pytest.mark.parametrize(
    ("target", "there"),
    [
        ("train_smoke", ["data/smoke/negatives.fa", "data/smoke/positives.fa", "workflows/tasks/smoke.toml"]),
        ("train_tss", ["data/fly_2R/chr2R.fa.gz", "data/fly_2R/chr2R.fa.gz.gzi", "data/fly_2R/tss.bed", "workflows/tasks/tss_parent.toml"]),
        ("sweep_grid", ["data/smoke/negatives.fa", "workflows/tasks/grid.toml"]),
    ],
)
def test_run_brings_a_task_that_ships_with_its_data(here, started, target, there):
    assert main(["run", target]) == 0
    for file in (*there, "data/README.md"):
        assert Path(file).read_bytes() == (ROOT / file).read_bytes()
    assert started[0].words[5:] == [target]


def test_run_leaves_a_task_of_ones_own(here, started):
    Path("workflows/tasks").mkdir(parents=True)
    Path("workflows/tasks/amp.toml").write_text("mine")
    assert main(["run", "train_amp"]) == 0
    assert main(["run", "train_another"]) == 0
    assert [str(path) for path in here.rglob("*") if path.is_file()] == [str(here / "workflows/tasks/amp.toml")]


def test_a_package_without_its_workflow_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(run_command, "__file__", str(tmp_path / "selfattn_bio/cli/run.py"))
    with pytest.raises(SelfAttnBioError, match="package must come with its workflow, got none"):
        run_command.project_folder()
    (tmp_path / "selfattn_bio/project/workflows").mkdir(parents=True)
    (tmp_path / "selfattn_bio/project/Snakefile").touch()
    (tmp_path / "selfattn_bio/project/workflows/classify.smk").touch()
    assert run_command.project_folder() == tmp_path / "selfattn_bio/project"

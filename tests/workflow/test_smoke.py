"""Run the smoke task once; test its results and what changes run again."""

import json
import re
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from fast_python import fast_python
from projects import copy_project, planned, replace, snakemake

TASK = "workflows/tasks/smoke.toml"
REPORTED, TESTED = {"report": 1, "train_smoke": 1}, {"motifs": 1, "interactions": 1}
INTERPRETED = {"explain": 1} | TESTED | REPORTED
RETRAINED = INTERPRETED | {"train": 1, "train_variant": 2, "evaluate": 1, "notebook": 3}
EVALUATED = {"evaluate": 1, "notebook": 3} | REPORTED
NEW_RECORD = f">new chrom=chrA start=90000 end=90160 strand=+\n{'ACGTTGCA' * 20}\n"
NEAR, AUDITED = "[audit]\nmax_near = 0.5\n\n", {"audit": 1} | REPORTED
READ_AGAIN = RETRAINED | {"ingest": 1, "split": 1, "audit": 1}
# file, text, new text, and the jobs that run again
CHANGES = {
    "explanation": (
        TASK,
        "max_sequences = 100",
        "max_sequences = 90",
        INTERPRETED | {"notebook": 2},
    ),
    "motifs": (TASK, "max_motifs = 5", "max_motifs = 4", TESTED | REPORTED | {"notebook": 1}),
    "training": (TASK, "max_steps = ", "max_steps = 1", RETRAINED),
    "variant": (TASK, "hidden_dim = 32", "hidden_dim = 16", EVALUATED | {"train_variant": 1}),
    "evaluation": (TASK, "bootstraps = 50", "bootstraps = 40", EVALUATED),
    "blocks": (TASK, "bootstraps = 50", "bootstraps = 50\nblock = 20_000", EVALUATED | TESTED),
    "limit of the audit": (TASK, "[evaluation]", f"{NEAR}[evaluation]", AUDITED),
    "sequences": ("data/smoke/positives.fa", "", NEW_RECORD, READ_AGAIN),
}
# JASPAR name of a planted motif, and bases that each site has
PLANTED = {"Dref": "ATCGAT", "Trl": "GAGAGA"}

PROMISED = """
metrics.json audit.tsv audit.json predictions/valid.tsv predictions/test.tsv motifs.meme motifs.tsv
seqlets.bed marginals.tsv interactions.tsv interactions.json interactions.distances.tsv
interactions.measured.tsv
report.html motifs.ipynb
split.tsv corpus/corpus.json corpus/records.parquet attribution/attribution.npz
model/model.safetensors model/run.toml model/provenance.json model/history.csv model/train.json
variants/cnn/model/model.safetensors logs/train.log benchmarks/train.tsv
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, str]:
    """Run the smoke task once; return the project and the output. Tests restore what they edit."""
    project = copy_project(tmp_path_factory.mktemp("workflow") / "a project with spaces")
    replace(project / TASK, "max_sequences = 200", "max_sequences = 100")
    replace(project / TASK, "bootstraps = 200", "bootstraps = 50")
    replace(project / TASK, "members = 2", "members = 1")
    replace(project / TASK, "tokens = { k = 1 }", "tokens.k = 1\ntraining.max_steps = 50")
    kernel = project / "workflows/jupyter/kernels/python3/kernel.json"
    replace(kernel, '["python"', f'["{fast_python()}"')
    result = snakemake(project, "train_smoke")
    assert result.returncode == 0, result.stdout
    return project, result.stdout


@pytest.fixture
def project(finished) -> Path:
    return finished[0]


@pytest.fixture
def results(project) -> Path:
    return project / "results" / "smoke"


@pytest.fixture
def edit(project):
    """Return a function that changes a file of the finished project until the end of the test."""
    before: dict[Path, bytes] = {}

    def change(path: str, old: str, new: str) -> None:
        before.setdefault(project / path, (project / path).read_bytes())
        replace(project / path, old, new)

    yield change
    for file, content in before.items():
        file.write_bytes(content)


def test_report_of_snakemake_has_page_plots_and_motifs(project, tmp_path):
    done = snakemake(project, "train_smoke", "--report", str(tmp_path / "report.zip"))
    assert done.returncode == 0, done.stdout
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        names = {Path(name).name for name in archive.namelist()}
    assert {"report.html", "motifs.tsv", "roc.png"} <= names


def test_progress_names_the_steps_that_are_left(finished):
    lines = re.findall(r"^(\d+) of 15 steps .* done(?:; left: (.+))?$", finished[1], re.M)
    assert [number for number, _ in lines] == [str(number) for number in range(1, 16)]
    steps = "split, audit, train, train_variant (2), evaluate, explain, motifs"
    first, last = lines[0][1], lines[-2:]
    assert set(first.split(", ")) == {*steps.split(", "), "notebook (3)", "interactions", "report"}
    assert last == [("14", ""), ("15", "")]


# results
def test_smoke_results_exist(results):
    files = [results / path for path in PROMISED.split()]
    assert [file for file in files if not (file.is_file() and file.stat().st_size)] == []
    assert list((results / "plots").iterdir())


def test_smoke_model_learns_and_control_does_not(results):
    test = json.loads((results / "metrics.json").read_text())["test"]
    assert "cnn" in test["baselines"]
    assert test["model"]["auroc"]["value"] > 0.9
    assert test["controls"]["shuffled"]["auroc"]["value"] < 0.7


def test_planted_motifs_are_supported(results):
    motifs = pd.read_csv(results / "motifs.tsv", sep="\t")
    supported = motifs[motifs["verdict"] == "supported"]
    assert set(supported["match"].str.split(" ").str[0]) & set(PLANTED), motifs.to_string()


def test_motifs_exclude_test_records(results):
    chosen = pd.read_parquet(results / "attribution" / "records.parquet")
    assert set(chosen["split"]) <= {"train", "valid"}
    assert "chrC" not in set(chosen["chrom"])


def test_seqlets_have_genome_coordinates(project, results):
    """Each interval is in a test record and contains its planted bases on its strand."""
    columns = ["chrom", "start", "end", "name", "score", "strand"]
    seqlets = pd.read_csv(results / "seqlets.bed", sep="\t", names=columns, comment="#")
    assert set(seqlets["chrom"]) == {"chrC"}
    motifs = pd.read_csv(results / "motifs.tsv", sep="\t").set_index("name")
    core = motifs["match"].str.split(" ").str[0].map(PLANTED).dropna()
    found = []
    for row in seqlets.itertuples(index=False):
        if row.name in core:
            word = on_strand(project, row)
            found.append(core[row.name] in word or core[row.name] in reverse_complement(word))
    assert len(found) >= 20
    assert sum(found) / len(found) > 0.8


def on_strand(project: Path, seqlet) -> str:
    """Return the bases of a BED row, read from the FASTA file by the coordinates in its headers."""
    for label in ("positives", "negatives"):
        lines = (project / "data" / "smoke" / f"{label}.fa").read_text().split()
        for i in range(0, len(lines), 6):
            fields = dict(word.split("=") for word in lines[i + 1 : i + 5])
            start = int(fields["start"])
            inside = start <= seqlet.start < seqlet.end <= int(fields["end"])
            if fields["chrom"] == seqlet.chrom and inside:
                letters = lines[i + 5]
                forward = letters if fields["strand"] == "+" else reverse_complement(letters)
                word = forward[seqlet.start - start : seqlet.end - start]
                return word if seqlet.strand == "+" else reverse_complement(word)
    raise AssertionError(f"no record holds {seqlet}")


def reverse_complement(letters: str) -> str:
    return letters.translate(str.maketrans("ACGT", "TGCA"))[::-1]


@pytest.mark.parametrize("name", ["motifs", "attention", "scoring"])
def test_notebooks_are_executed(results, name):
    log = (results / "logs" / f"notebook_{name}.log").read_text()
    assert "Executing notebook with kernel: python3" in log
    assert "WARNING" not in log
    cells = json.loads((results / f"{name}.ipynb").read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code)
    outputs = [output for cell in code for output in cell["outputs"]]
    assert any(output["output_type"] == "display_data" for output in outputs)


def test_progress_is_printed_and_logged(finished, results):
    printed = finished[1]
    log = (results / "logs" / "train.log").read_text().splitlines()
    assert log
    assert [line for line in log if line not in printed] == []
    assert any("auroc" in line.lower() for line in log)
    assert "Training smoke/variants/cnn" in printed
    assert re.search(r"(\d+) of \1 steps \(100%\) done", printed)
    assert not re.search("^(Select|Execute) ", printed, flags=re.MULTILINE)
    closing = printed.splitlines()[-6:]
    assert "Report: results/smoke/report.html" in closing[-3:]
    shown = r"smoke: test AUROC [01]\.\d{3} \([01]\.\d{3} to [01]\.\d{3}\) on \d+ records"
    assert any(re.fullmatch(shown, line) for line in closing)
    assert any(line.startswith("smoke: ") and "motif" in line for line in closing)


# reruns
@pytest.mark.parametrize(("path", "old", "new", "jobs"), CHANGES.values(), ids=CHANGES)
def test_changes_rerun_steps_that_depend_on_them(project, edit, path, old, new, jobs):
    edit(path, old, new)
    assert planned(project) == jobs


def test_second_run_does_nothing(project, edit):
    """Whitespace, comments and settings of the launch change no result."""
    edit(TASK, "[training]", "# a comment\n\n[training]")
    edit(TASK, "max_motifs = 5", "max_motifs  =  5  # at most")
    rules, threads = "workflows/rules/model.smk", "threads: cores_per_training\n"
    edit(rules, threads, threads.replace(" ", "  ") + "\n")
    edit(rules, " --threads {params.threads} ", "  --threads {params.threads} ")
    assert planned(project, "train_smoke", "--cores", "8") == {}

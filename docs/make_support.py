"""Write the table of README.md with what works for each objective and alphabet.

Each cell is tried: a tiny model of the objective is trained for two steps, and every step is run on
it. A step that refuses with an error of the package does not work; any other failure ends the
script. Baselines are strong if one of them is gradient boosting.

    python docs/make_support.py            # writes the table into README.md
    python docs/make_support.py --check    # fails if README.md has another table
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyBigWig

import selfattn_bio
from selfattn_bio.attribution.targets import Target
from selfattn_bio.baselines.trees import Trees
from selfattn_bio.config import run_file_of
from selfattn_bio.errors import SelfAttnBioError
from selfattn_bio.training.recipes import suits_recipes

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = (
    "<!-- support matrix, written by docs/make_support.py -->\n",
    "<!-- end of support matrix -->\n",
)
ALPHABETS = {"DNA": "ACGT", "RNA": "ACGU", "protein": "ACDEFGHIKLMNPQRSTVWY"}
LENGTH, RECORDS = 60, 60
OBJECTIVES = {
    "two classes (`binary`)": "",
    "several classes (`multiclass`)": 'kind = "multiclass"\ncolumn = "family"',
    "yes/no labels (`multilabel`)": 'kind = "multilabel"\ncolumns = ["first", "second"]',
    "numbers (`regression`)": 'kind = "regression"\ncolumns = ["height"]',
    "several targets (`several`)": (
        'kind = "several"\nparts.a = { kind = "regression", columns = ["height"] }\nparts.b = { '
        'kind = "multiclass", column = "family" }'
    ),
    "a label per position (`labels`)": 'kind = "labels"\ncolumn = "states"\nclasses = "HE"',
    "bins along a chromosome (`bins`)": 'kind = "bins"\npoints = "points.bed"\nbin = 20',
    "counts per base (`profile`)": 'kind = "profile"\ntracks = { cuts = "cuts.bw" }\nwidth = 20',
    "masked language model (`masked`)": 'kind = "masked"',
    "causal language model (`causal`)": 'kind = "causal"',
}
STACK = '[stack]\nparts = ["{}_trees"]\n'
MODEL = "embed_dim = 8\nnum_layers = 1\nnum_heads = 2\nfeedforward_dim = 8\nmembers = 1"


def write_data(folder: Path, letters: str) -> None:
    """Write records with a target of every kind."""
    rng = np.random.default_rng(0)
    rows, table, points = (
        {"positives": [], "negatives": []},
        ["id\tfamily\tfirst\tsecond\theight\tstates"],
        [],
    )
    for number in range(RECORDS):
        name = f"s{number}"
        place = (
            f"chrom=chr{'ABC'[number % 3]} start={number * LENGTH} "
            f"end={(number + 1) * LENGTH} strand=+"
        )
        record = f">{name} {place}\n{''.join(rng.choice(list(letters), LENGTH))}\n"
        rows["negatives" if number % 2 else "positives"].append(record)
        states = "".join(rng.choice(list("HE"), LENGTH))
        table.append(
            f"{name}\t{'xyz'[number // 3 % 3]}\t{number % 2}\t{number // 2 % 2}"
            f"\t{rng.normal():.3f}\t{states}"
        )
        points.append(
            f"chr{'ABC'[number % 3]}\t{number * LENGTH + 25}\t{number * LENGTH + 26}\tp\t0\t+"
        )
    for name, records in rows.items():
        (folder / f"{name}.fa").write_text("".join(records))
    (folder / "all.fa").write_text("".join(rows["positives"] + rows["negatives"]))
    (folder / "targets.tsv").write_text("\n".join(table) + "\n")
    (folder / "points.bed").write_text("\n".join(points) + "\n")
    with pyBigWig.open(str(folder / "cuts.bw"), "w") as file:
        file.addHeader([(f"chr{name}", RECORDS * LENGTH) for name in "ABC"])
        for name in "ABC":
            values = rng.poisson(1.0, RECORDS * LENGTH).astype(float)
            file.addEntries(f"chr{name}", 0, values=values, span=1, step=1)
    (folder / "genome.fa").write_text(f">chrA\n{'ACGT' * LENGTH}\n")
    header = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
    (folder / "a.vcf").write_text(
        f"##fileformat=VCFv4.2\n{header}\nchrA\t{2 * LENGTH + 1}\t.\tA\tC\t.\t.\t.\n"
    )


def run_file(alphabet: str, objective: str) -> str:
    """Return the run file of a tiny model."""
    kind = objective.split('"')[1] if objective else "binary"
    data = (
        'positives = "positives.fa"\nnegatives = "negatives.fa"'
        if kind == "binary"
        else 'sequences = "all.fa"'
    )
    if kind not in ("binary", "bins", "profile", "masked", "causal"):
        data += '\ntargets = "targets.tsv"'
    stem = (
        'stem = { kind = "conv", token_dim = 4, kernel = 3, pool = 5, second_kernel = 3 }'
        if kind == "bins"
        else ""
    )
    pattern = 'pattern = { kind = "full", causal = true }' if kind == "causal" else ""
    stem = stem or 'stem = { kind = "none" }'
    section = f"[objective]\n{objective}\n" if objective else ""
    return (
        f'[data]\nalphabet = "{alphabet.lower()}"\n{data}\n{section}[split]\nkind = '
        '"chromosome"\nvalid = ["chrB"]\n'
        'test = ["chrC"]\n[tokens]\nk = 1\n[model]\nkind = '
        f'"attention"\n{MODEL}\n{stem}\n{pattern}\n[training]\n'
        "max_steps = 2\nwarmup_steps = 1\nevaluate_every = 2\nshift = 0\nbatch_size = "
        "8\n[evaluation]\nbootstraps = 20\nblock = 100\n"
        '[interpret]\ndatabase = "none"\nmax_sequences = 8\n'
    )


def worked(*steps: Callable[[], object]) -> bool:
    """Return whether all steps worked, one after the other."""
    try:
        for step in steps:
            step()
    except SelfAttnBioError:
        return False
    return True


def tried(alphabet: str, objective: str) -> dict[str, bool]:
    """Run every step for one objective and alphabet; return which worked."""
    kind = objective.split('"')[1] if objective else "binary"
    Path("run.toml").write_text(run_file(alphabet, objective))
    try:
        study = selfattn_bio.Study(".")
        study.ingest()
        study.split()
        model = study.train(threads=1)
    except SelfAttnBioError:
        return {}
    outputs = model.run.objective.output_names
    output = outputs[0] if len(outputs) > 1 or "labels" in objective else None
    baselines: list[object] = []

    def evaluate() -> None:
        baselines.extend(study.evaluate().baselines.values())

    def score_variants() -> object:
        if alphabet == "protein":
            return selfattn_bio.score_substitutions(model, "positives.fa", "s0")
        return selfattn_bio.score_variants(model, "genome.fa", "a.vcf")

    def train_stack() -> None:
        parts = {"labels": "window", "bins": "bin"}.get(kind, "exact_positions")
        text = run_file(alphabet, objective) + STACK.format(parts)
        stacked = selfattn_bio.Study(run_file_of(text, Path("run.toml")), "stacked")
        stacked.ingest()
        stacked.split()
        stacked.train(threads=1)

    return {
        "train": True,
        "evaluate": worked(evaluate),
        "score": worked(lambda: selfattn_bio.score_files(model, "all.fa", "scores.tsv")),
        "embed": worked(lambda: selfattn_bio.embed(model, "all.fa")),
        "variants": worked(score_variants),
        "scan": worked(lambda: selfattn_bio.score_genome(model, "genome.fa", "scan")),
        "attributions": worked(
            lambda: selfattn_bio.explain(model, "positives.fa", target=Target(output))
        ),
        "contribution tracks": worked(study.explain)
        and study.files.attribution.joinpath("contributions").is_dir(),
        "motifs with evidence": worked(study.find_motifs),
        "recipe": suits_recipes(study.task, [LENGTH]),
        "strong baselines": any(
            isinstance(getattr(getattr(each, "of_windows", each), "learner", None), Trees)
            for each in baselines
        ),
        "stack": worked(train_stack),
    }


def table() -> str:
    """Return the table in Markdown."""
    lines: list[str] = []
    for title, objective in OBJECTIVES.items():
        of_alphabet = {}
        for alphabet, letters in ALPHABETS.items():
            with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
                write_data(Path(folder), letters)
                of_alphabet[alphabet] = tried(alphabet, objective)
        steps = next(iter(of_alphabet.values()))
        if not lines:
            lines = [f"| | {' | '.join(steps)} |", "|---" * (len(steps) + 1) + "|"]
        cells = [
            ", ".join(name for name, worked in of_alphabet.items() if worked.get(step)) or "-"
            for step in steps
        ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="fail if README.md has another table")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    text = f"{before}{BEGIN}\n{table()}\n{END}{after}"
    if options.check:
        sys.exit(
            0
            if text == README.read_text(encoding="utf-8")
            else "error: README.md has another table; run docs/make_support.py"
        )
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

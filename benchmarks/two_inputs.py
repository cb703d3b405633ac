"""Test three simulated tasks that need both inputs, and whether attributions find planted sites.

Two DNA sequences, DNA with a protein, and DNA with a numeric track: 4,000 records, one network of
32 dimensions per task, and the same with the other input taken from another record. Prints test
AUROC, CPU seconds, and the AUPR of attributions for the planted positions next to the fraction
planted, for AttnLRP, its mean over copies, and integrated gradients. The tests import the tasks
from here.

    python benchmarks/two_inputs.py [KIND ...]
    python benchmarks/two_inputs.py --show KIND      # print the run file of a task
"""

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from harness import Row, Table, option, run
from runs import Records
from sklearn.metrics import average_precision_score, roc_auc_score

import selfattn_bio
from selfattn_bio.cli.main import main as command
from selfattn_bio.config import read_run_file
from selfattn_bio.data.inputs import inputs_of
from selfattn_bio.interpret.methods import AttnLRP, AttnLRPCopies, IntegratedGradients
from selfattn_bio.scoring.loading import load

NUMBER, STEPS = 4000, 400
DNA_MOTIFS, DOMAINS = ("TGACTCAT", "CACGTGGC"), ("HWKCNR", "FYEDQM")
RUN = """
[data]
positives = "positives.fa"
negatives = "negatives.fa"

[partner]
{partner}

[tokens]
k = 1

[model]
kind = "paired"
members = 1
{more}

[model.encoder]
embed_dim = 32
num_layers = 1
num_heads = 2
feedforward_dim = 64
dropout = 0.1
attention_dropout = 0.1
head = {{ kind = "pooling", parts = 1 }}

[training]
max_steps = {steps}
warmup_steps = 30
evaluate_every = 50
label_smoothing = 0.0

[evaluation]
bootstraps = 50

[interpret]
max_sequences = 64
method = {{ kind = "attnlrp" }}
"""


def planted(rng, length, motif, alphabet="ACGT", at=None):
    """Return a random sequence with an optional motif, and the start of the motif."""
    letters = rng.choice(list(alphabet), length)
    at = int(rng.integers(0, length - len(motif or "") + 1)) if at is None else at
    letters[at : at + len(motif or "")] = list(motif or "")
    return "".join(letters), at


def two_sequences(rng, label):
    """Sample a record; the label is 1 if both inputs have their motif, or neither has."""
    first = bool(rng.integers(2))
    partner = first == bool(label)
    one, at = planted(rng, 40, DNA_MOTIFS[0] if first else None)
    other, there = planted(rng, 32, DNA_MOTIFS[1] if partner else None)
    return one, other, (at, 8) if first else None, (there, 8) if partner else None


def dna_and_protein(rng, label):
    """Sample a record; the label is 1 if the domain of the protein binds the motif in the DNA.

    Each of two domains binds one of two motifs.
    """
    motif = int(rng.integers(2))
    domain = motif if label else 1 - motif
    one, at = planted(rng, 40, DNA_MOTIFS[motif])
    other, there = planted(rng, 30, DOMAINS[domain], "ACDEFGHIKLMNPQRSTVWY")
    return one, other, (at, 8), (there, 6)


def dna_and_track(rng, label):
    """Sample a record; the label is 1 if the motif is inside 16 bp with high track values.

    Three adjacent spans of 16 are placed at random in 64 bp. The motif is in one of them, the high
    values in the same or another one, so the position of either has the same distribution for both
    labels.
    """
    start, span = int(rng.integers(17)), int(rng.integers(3))
    of_numbers = span if label else (span + int(rng.integers(1, 3))) % 3
    one, at = planted(rng, 64, DNA_MOTIFS[0], at=start + 16 * span + int(rng.integers(9)))
    there, numbers = start + 16 * of_numbers, rng.normal(0, 0.15, 64)
    numbers[there : there + 16] += 1
    return one, numbers, (at, 8), (there, 16)


PARTNERS = {
    two_sequences: ('kind = "sequence"\nfiles = "partners.fa"\nk = 1', ""),
    dna_and_protein: ('kind = "sequence"\nalphabet = "protein"\nfiles = "partners.fa"\nk = 1', ""),
    dna_and_track: (
        'kind = "track"\npath = "partners.npz"\nlow = -0.5\nhigh = 1.5',
        'cross_position = { kind = "t5" }',
    ),
}


KINDS = {kind.__name__: kind for kind in PARTNERS}
SHARED = ("--run-file", "run.toml", "--corpus", "corpus", "--split", "split.tsv")


def write_pairs(folder: Path, kind, number: int, steps: int, sample=None):
    """Write run.toml and the files of both inputs.

    Returns for each record its label, both inputs, and the planted sites (start, length).

    `sample` replaces the records of `kind` by simpler ones with the same inputs.
    """
    rng = np.random.default_rng(0)
    records = {f"r{i}": (i % 2, *(sample or kind)(rng, i % 2)) for i in range(number)}
    for label, name in ((1, "positives"), (0, "negatives")):
        (folder / f"{name}.fa").write_text(
            "".join(f">{key}\n{of[1]}\n" for key, of in records.items() if of[0] == label)
        )
    turned = list(records)[::-1]  # partners may come in any order
    if kind is dna_and_track:
        np.savez(folder / "partners.npz", **{key: records[key][2] for key in turned})
    else:
        (folder / "partners.fa").write_text(
            "".join(f">{key}\n{records[key][2]}\n" for key in turned)
        )
    partner, more = PARTNERS[kind]
    (folder / "run.toml").write_text(RUN.format(partner=partner, more=more, steps=steps))
    return records


def found_letters(explanation, planted):
    """Return the AUPR of attributions for planted positions, and the fraction planted.

    Records without a planted site are left out.
    """
    truth, found = [], []
    for row, place in zip(explanation.attribution, planted, strict=True):
        if place is not None:
            of_row = np.zeros(len(row))
            of_row[place[0] : place[0] + place[1]] = 1
            truth.append(of_row)
            found.append(row / row.max())
    positions = np.concatenate(truth)
    return average_precision_score(positions, np.concatenate(found)), positions.mean()


def quietly(*words):
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
        if command(list(words)):
            raise SystemExit(f"{words[0]} failed")


def trained(name: str, variant: str, records: Records) -> tuple[float, float]:
    """Train in the working folder; return the test AUROC and the CPU seconds of the training."""
    start = time.process_time()
    options = ("--variant", variant) if variant else ()
    quietly("train", *SHARED, *options, "--threads", "1", "--output", name)
    seconds = time.process_time() - start
    scorer = load(f"{name}/")
    inputs = inputs_of(scorer.run, records.corpus)
    logits = scorer.logits([inputs.of(int(row)) for row in records.rows("test")])
    return roc_auc_score(records.labels("test"), logits), seconds


def auroc_row(kind, records: Records) -> Row:
    """Train the task with both inputs and with each alone, in the working folder."""
    both, seconds = trained("model", "", records)
    return {
        "task": kind.__name__,
        "both inputs": f"{both:.3f}",
        "first alone": f"{trained('first_alone', 'first_alone', records)[0]:.3f}",
        "partner alone": f"{trained('partner_alone', 'partner_alone', records)[0]:.3f}",
        "CPU s": f"{seconds:.1f}",
    }


def aupr_rows(pairs: dict[str, tuple], records: Records) -> Iterator[Row]:
    """Explain test positives with a planted site in the first input."""
    ids = records.table["id"].iloc[records.rows("test")]
    chosen = [
        name
        for name, label in zip(ids, records.labels("test"), strict=True)
        if label and pairs[name][3]
    ][:64]
    for method in (AttnLRP(), AttnLRPCopies(), IntegratedGradients()):
        explanation = selfattn_bio.explain(
            "model/",
            [pairs[name][1] for name in chosen],
            partner=[pairs[name][2] for name in chosen],
            method=method,
        )
        row = {"method": method.name}
        for title, of, at in (("first", explanation, 3), ("partner", explanation.partner, 4)):
            aupr, share = found_letters(of, [pairs[name][at] for name in chosen])
            row[f"AUPR in {title} (fraction planted)"] = f"{aupr:.3f} ({share:.2f})"
        yield row


def measure(chosen: argparse.Namespace) -> Iterator[Table | str]:
    """Train and explain each task, in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        if chosen.show:
            write_pairs(Path(), KINDS[chosen.show], 2, STEPS)
            read_run_file("run.toml")
            yield Path("run.toml").read_text()
            return
        for name in chosen.kind or KINDS:
            Path(name).mkdir()
            with contextlib.chdir(name):
                pairs = write_pairs(Path(), KINDS[name], NUMBER, STEPS)
                quietly("ingest", *SHARED[:2], "--output", "corpus")
                quietly("split", *SHARED[:4], "--output", "split.tsv")
                records = Records.of(Path("corpus"), Path("split.tsv"))
                yield Table("Test AUROC", [auroc_row(KINDS[name], records)])
                yield Table("Attributions", aupr_rows(pairs, records))


if __name__ == "__main__":
    run(
        __doc__,
        measure,
        option("--show", choices=list(KINDS), help="print the run file of a task"),
        option("kind", nargs="*", help=f"{', '.join(KINDS)} (default: all)"),
    )

"""Rebuild selfattn_bio/models/motifs/, the encoder that `[transfer] parent = "motifs"` starts from.

    make motif-parent       # this script; 371 s of one core of an AMD EPYC (Zen 4)

The network of the recipe "both strands" learns to recognise the vertebrate matrices of JASPAR 2026
in simulated DNA. No real sequence is used. For every group of similar matrices it predicts

- per sequence, how far the best hit of either strand exceeds the 50, 85 and 97 % quantile of the
  best hits in sequences without planted sites;
- per token (4 bp), how far the best hit there exceeds the 85 % quantile. The layer that predicts
  this is dropped at the end.

Quantiles matter: a regression on plain best hits is dominated by weak hits, which carry little.
The same versions of the packages give the same weights on the same kind of processor.
"""

from __future__ import annotations

import argparse
import copy
import math
import platform
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from selfattn_bio.config import (
    AttentionModel,
    Data,
    RegressionObjective,
    RunFile,
    Tokens,
    Training,
)
from selfattn_bio.files import sha256_of, whole_folder
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import TRAINING_RECORDS, read_provenance, save_model
from selfattn_bio.model.classifier import Network
from selfattn_bio.motifs import open_database, shipped
from selfattn_bio.motifs.scores import ScoreMatrices
from selfattn_bio.sequence.kmers import tokenizer_of
from selfattn_bio.training.recipes import both_strands
from selfattn_bio.training.resume import VERSIONS

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "selfattn_bio/models/motifs"
CHECKSUMS = ROOT / "data/checksums.sha256"
DATABASE = "jaspar:vertebrates"
QUANTILES = (0.5, 0.85, 0.97)  # of best hits without planted sites
TOKEN_LEVEL = 1  # index of the quantile used per token
SIMILAR = 0.5  # correlation of best hits above which matrices share a target
LENGTHS = (88, 100, 112, 128, 144, 160)  # bp of a batch
PLANTED, SITES = 0.6, 3  # fraction of sequences with sites, and mean number of sites in them
CALIBRATION = 4000  # sequences of 128 bp for clustering, quantiles and scales
BATCH, RATE, WARMUP, DECAY, CLIP, AVERAGE = 32, 2e-3, 200, 0.01, 1.0, 0.998
LARGEST, LARGEST_OF_TOKEN = 6.0, 30.0  # standardised targets are cut here

Codes = NDArray[np.uint8]  # 0 to 3 for ACGT
Motifs = dict[str, NDArray[np.float64]]


class Hits:
    """Score simulated sequences with matrices, per token."""

    def __init__(self, motifs: Motifs, pool: int) -> None:
        self.number, self.pool = len(motifs), pool
        matrices, self.groups = ScoreMatrices.from_probabilities(motifs), []
        for width in np.unique(matrices.widths).tolist():
            rows = np.flatnonzero(matrices.widths == width)
            forward = matrices.values[rows, :width]
            both = np.concatenate([forward, forward[:, ::-1, ::-1]]).reshape(-1, 4 * width)
            self.groups.append((width, torch.from_numpy(rows), torch.from_numpy(both)))

    def __call__(self, codes: Codes) -> Tensor:
        """Return the best hit on either strand in each token: (B, L) -> (B, L / pool, M)."""
        bases = torch.eye(4)[torch.from_numpy(codes.astype(np.int64))].flatten(1)
        batch, length = codes.shape
        hits = torch.full((batch, length, self.number), -50.0)
        for width, rows, matrices in self.groups:
            windows = length - width + 1
            scores = bases.unfold(1, 4 * width, 4).reshape(-1, 4 * width) @ matrices.T
            best = torch.maximum(*scores.chunk(2, dim=1)).reshape(batch, windows, -1)
            hits[:, width // 2 : width // 2 + windows, rows] = best
        return hits.unflatten(1, (-1, self.pool)).amax(2)


@dataclass(frozen=True)
class Targets:
    """Turn hits into standardised excesses over quantiles."""

    hits: Hits
    quantiles: Tensor  # (Q, M)
    center: Tensor  # (Q M,)
    scale: Tensor  # (Q M,)
    token_scale: Tensor  # (M,)

    @classmethod
    def fit(cls, hits: Hits, plain: Codes, planted: Codes) -> Targets:
        """Take quantiles from sequences without planted sites, and scales from those with sites."""
        quantiles = torch.quantile(best_hits(hits, plain), torch.tensor(QUANTILES), dim=0)
        excess = (best_hits(hits, planted)[:, None] - quantiles).clamp(min=0).flatten(1)
        of_tokens = (hits(planted[:640]) - quantiles[TOKEN_LEVEL]).clamp(min=0).flatten(0, 1)
        token_scale = of_tokens.square().mean(0).sqrt() + 0.01
        return cls(hits, quantiles, excess.mean(0), excess.std(0) + 0.001, token_scale)

    def __call__(self, codes: Codes) -> tuple[Tensor, Tensor]:
        """Return targets per sequence, (B, Q M), and per token, (B, L / pool, M)."""
        hits = self.hits(codes)
        excess = (hits.amax(1)[:, None] - self.quantiles).clamp(min=0).flatten(1)
        of_tokens = (hits - self.quantiles[TOKEN_LEVEL]).clamp(min=0) / self.token_scale
        whole = (excess - self.center) / self.scale
        return whole.clamp(max=LARGEST), of_tokens.clamp(max=LARGEST_OF_TOKEN)


def best_hits(hits: Hits, codes: Codes) -> Tensor:
    """Return the best hit in each sequence: (n, L) -> (n, M)."""
    return torch.cat([hits(codes[i : i + 64]).amax(1) for i in range(0, len(codes), 64)])


def background(rng: np.random.Generator, number: int, length: int) -> Codes:
    """Simulate DNA, each sequence from its own dinucleotide frequencies.

    GC content is .22 to .72, CpG is depleted as in vertebrates, AA and TT are frequent, and both
    strands have the same frequencies.
    """
    gc = rng.beta(8, 8, number) * 0.5 + 0.22
    bases = np.stack([1 - gc, gc, gc, 1 - gc], axis=1) / 2
    pairs = bases[:, :, None] * bases[:, None] * np.exp(rng.normal(0, 0.15, (number, 4, 4)))
    pairs[:, 1, 2] *= rng.uniform(0.15, 1.1, number)
    pairs[:, [0, 3], [0, 3]] *= 1.25
    pairs = pairs + pairs[:, ::-1, ::-1].transpose(0, 2, 1)
    first = pairs.sum(2).cumsum(1)
    steps = pairs.cumsum(2) / pairs.sum(2, keepdims=True)
    codes = np.empty((number, length), np.uint8)
    draws = rng.random((number, length, 1))
    codes[:, 0] = (draws[:, 0] > first[:, :3] / first[:, 3:]).sum(1)
    rows = np.arange(number)
    for i in range(1, length):
        codes[:, i] = (draws[:, i] > steps[rows, codes[:, i - 1], :3]).sum(1)
    return codes


def plant(rng: np.random.Generator, codes: Codes, motifs: Motifs) -> Codes:
    """Write sites of random matrices into `PLANTED` of the sequences, on random strands."""
    matrices = list(motifs.values())
    for row in np.flatnonzero(rng.random(len(codes)) < PLANTED):
        _plant_sites(rng, codes[row], matrices)
    return codes


def _plant_sites(
    rng: np.random.Generator, record: Codes, matrices: list[NDArray[np.float64]]
) -> None:
    for _ in range(1 + rng.poisson(SITES - 1)):
        matrix = matrices[rng.integers(len(matrices))]
        site = (rng.random((len(matrix), 1)) > matrix.cumsum(1)[:, :3]).sum(1).astype(np.uint8)
        if rng.random() < 0.5:
            site = 3 - site[::-1]
        start = rng.integers(len(record) - len(site) + 1)
        record[start : start + len(site)] = site


def representatives(motifs: Motifs, pool: int, rng: np.random.Generator) -> Motifs:
    """Keep one matrix of each group of similar ones, starting with the largest group.

    Short matrices whose best possible site occurs in a quarter of the sequences are left out.
    """
    codes = plant(rng, background(rng, CALIBRATION, 128), motifs)
    best = best_hits(Hits(motifs, pool), codes)
    excess = (best - best.quantile(0.75, dim=0)).clamp(min=0).numpy()
    labels = np.array(list(motifs))[excess.max(0) > 0]
    similar = np.corrcoef(excess[:, excess.max(0) > 0].T) > SIMILAR
    left, kept = np.ones(len(labels), bool), []
    for row in np.argsort(-similar.sum(1), kind="stable"):
        if left[row]:
            kept.append(int(row))
            left[similar[row]] = False
    return {label: motifs[label] for label in labels[sorted(kept)].tolist()}


def run_file(labels: list[str], targets: Targets, steps: int) -> RunFile:
    """Describe the parent as a model with one number per matrix and quantile."""
    model = dict(both_strands(0, max(LENGTHS)).model) | {"members": 1, "dropout": 0.05}
    names = [f"{label} above {100 * level:.0f} %" for level in QUANTILES for label in labels]
    return RunFile(
        title="Best hits of JASPAR 2026 vertebrate matrices",
        data=Data(sequences=("simulated.tsv",)),
        tokens=Tokens(k=1),
        objective=RegressionObjective(
            columns=tuple(names),
            center=tuple(round(value, 4) for value in targets.center.tolist()),
            scale=tuple(round(value, 4) for value in targets.scale.tolist()),
        ),
        model=AttentionModel.model_validate(model),
        training=Training(
            max_steps=steps,
            batch_size=BATCH,
            learning_rate=RATE,
            warmup_steps=WARMUP,
            weight_decay=DECAY,
            clip_norm=CLIP,
            ema_decay=AVERAGE,
            label_smoothing=0.0,
            shift=0,
            precision="bf16-mixed",
            matmul="highest",
            evaluate_every=steps,  # there was no evaluation
            checkpoint_every=steps,
        ),
    )


def pretrain(
    network: Network,
    targets: Targets,
    token_of_base: Tensor,
    motifs: Motifs,
    rng: np.random.Generator,
    steps: int,
) -> Network:
    """Train on simulated batches; return the running mean of the weights."""
    body = network.members[0]
    per_token = nn.Linear(body.encoder.norm.normalized_shape[0], len(motifs))
    parameters = [*network.parameters(), *per_token.parameters()]
    matrices = [each for each in parameters if each.ndim > 1]
    vectors = [each for each in parameters if each.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}],
        lr=RATE,
        betas=(0.9, 0.98),
    )
    average = copy.deepcopy(network).eval()
    start, losses = time.perf_counter(), []
    network.train()
    for step in range(steps):
        length = int(rng.choice(LENGTHS))
        codes = plant(rng, background(rng, BATCH, length), motifs)
        wanted, wanted_of_tokens = targets(codes)
        tokens = token_of_base[torch.from_numpy(codes.astype(np.int64))]
        with torch.autocast("cpu", torch.bfloat16):
            encoded = body.encode(network.embed(tokens), network.mask_of(tokens))
            found, found_of_tokens = body.head(*encoded), per_token(encoded[0])
        losses.append(
            torch.stack(
                [unexplained(found, wanted), unexplained(found_of_tokens, wanted_of_tokens)]
            )
        )
        losses[-1].sum().backward()
        losses[-1] = losses[-1].detach()
        nn.utils.clip_grad_norm_(parameters, CLIP)
        rate = RATE * min(1.0, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
        update_average(average, network, min(AVERAGE, (step + 1) / (step + 9)))
        if (step + 1) % 200 == 0 or step + 1 == steps:
            mean = torch.stack(losses[-200:]).mean(0)
            seconds = time.perf_counter() - start
            print(
                f"step {step + 1}/{steps} | unexplained per sequence {mean[0]:.3f}, "
                f"per token {mean[1]:.3f} | {time.process_time():.0f} s CPU, {seconds:.0f} s",
                flush=True,
            )
    return average


def unexplained(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean squared error relative to that of predicting 0."""
    return (found.float() - wanted).square().mean() / wanted.square().mean()


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Move a running mean of weights towards a network's; buffers are copied."""
    for mean, weight in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(weight, 1 - keep)
    for mean, buffer in zip(average.buffers(), network.buffers(), strict=True):
        mean.copy_(buffer)


def checked_database() -> tuple[Path, str]:
    """Return the file of the matrices and its SHA-256; end the process if it has changed."""
    database = shipped() / f"{DATABASE.partition(':')[2]}.meme.gz"
    lines = CHECKSUMS.read_text(encoding="utf-8").splitlines()
    recorded = {path: checksum for checksum, path in map(str.split, lines)}
    checksum = sha256_of(database)
    if recorded[str(database.relative_to(ROOT))] != checksum:
        sys.exit(
            f"error: {database}: the matrices have changed; restore the file or correct its line "
            f"in {CHECKSUMS}"
        )
    return database, checksum


def save_parent(folder: Path, run: RunFile, network: Network, steps: int, number: int) -> None:
    """Write the model folder; it saw no records, so its table of seen records is empty."""
    database, checksum = checked_database()
    provenance = {
        "parents": [],
        "num_train": steps * BATCH,
        "num_valid": 0,
        "best_step": steps,
        "data": [
            {
                "path": str(database.relative_to(ROOT)),
                "sha256": checksum,
                "records": number,
                "source": "JASPAR 2026 CORE vertebrates, https://jaspar.elixir.no, CC BY 4.0",
            }
        ],
        "seed": run.training.seed,
        "threads": torch.get_num_threads(),
        "command": ["python", "data/make_motif_parent.py"],
        "python": platform.python_version(),
        "versions": {package: version(package) for package in VERSIONS},
    }
    save_model(folder, run, network.state_dict(), provenance)
    columns = dict.fromkeys(["chrom", "start", "end", "key", "assembly"], pd.Series(dtype="str"))
    seen = pd.DataFrame(columns | {"by_parent": pd.Series(dtype="bool")})
    seen.astype({"start": "Int64", "end": "Int64"}).to_parquet(folder / TRAINING_RECORDS)
    (folder / "README.md").write_text(CARD.format(number=number, steps=steps), encoding="utf-8")


CARD = """---
library_name: selfattn_bio
tags:
- biology
- dna
- regression
- attention
---

# motifs: an encoder that knows the motifs of JASPAR

Start from it with `[transfer] parent = "motifs"`: see docs/training.md.

The network was trained for {steps:,} steps on simulated DNA, without any real sequence, to predict
how good the best hit of each matrix is. One matrix represents each group of similar ones among the
{number:,} vertebrate matrices of JASPAR 2026 CORE (https://jaspar.elixir.no, CC BY 4.0; cite
JASPAR). `provenance.json` has the checksum of the matrices.

Outputs: per matrix and level (50, 85 and 97 %), how far the best log-odds score in the sequence
exceeds that quantile of the best scores in simulated sequences of 128 bp; natural logarithm, 0 if
it does not. They are approximate. For exact scores use `selfattn-bio hits`.

Made by `make motif-parent` (data/make_motif_parent.py). Licence: MIT, as the code.
"""


def main() -> None:
    """Pretrain and write the model folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--steps", type=int, default=4500, help=f"of {BATCH} sequences (default: %(default)s)"
    )
    parser.add_argument("--motifs", type=int, help="use only the first N matrices, for a test")
    parser.add_argument(
        "--output", type=Path, default=SHIPPED, help="folder (default: %(default)s)"
    )
    arguments = parser.parse_args()
    checked_database()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    database = open_database(DATABASE)
    motifs = dict(list(database.items())[: arguments.motifs])
    pool = both_strands(0, max(LENGTHS)).model["stem"]["pool"]
    kept = representatives(motifs, pool, rng)
    plain = background(rng, CALIBRATION, 128)
    planted = plant(rng, background(rng, CALIBRATION, 128), kept)
    targets = Targets.fit(Hits(kept, pool), plain, planted)
    print(f"{len(motifs):,} matrices in {len(kept)} groups", flush=True)
    run = run_file(list(kept), targets, arguments.steps)
    network = build_network(run)
    token_of_base = torch.from_numpy(
        tokenizer_of(run).encode(np.arange(4, dtype=np.uint8)[None]).astype(np.int64)
    )[0]
    trained = pretrain(network, targets, token_of_base, kept, rng, arguments.steps)
    with whole_folder(arguments.output) as folder:
        save_parent(folder, run, trained, arguments.steps, len(motifs))
    size = sum(path.stat().st_size for path in arguments.output.iterdir())
    print(
        f"{arguments.output}: {size / 1e6:.1f} MB, weights "
        f"{read_provenance(arguments.output)['weights_sha256']}"
    )


if __name__ == "__main__":
    main()

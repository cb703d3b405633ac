"""Test which models learn a label at one token that depends on a cue 4,096 bp away.

Sequences are random DNA of 8,192 bp in slots of 64 bp. One slot has the query word, at whose token
the label is read. The slot half a sequence away has a pair of cues, one of kind A and one of kind B
in random order. The label is the kind that follows the true flank. The slot next to the query and
four others have decoys, pairs with two false flanks. Every pair has one cue of each kind, so
counting cues or looking near the query is not informative; the AUROC of both rules is measured on
test and printed.

    flank x kind ... flank x kind        flank and kind 8 bp, x 1 bp, 4-12 bp between the two

Tokens are 6-mers every 3 bp, 2,729 in total, without pooling: a word of 8 bp always contains a
complete token. All models train on the same new sequences at the same learning rate, once per seed.
The sequences grow from 256 to 8,192 bp, and the cue moves away with them. All models take the same
steps; the LSTM is trained a second time with five times as many. Window + global and BigBird use
learned vectors before the tokens as global tokens. All pairs is the same encoder without a sparse
pattern.

The validation set chooses between the middle and the end of the last stage; the chosen step reads
test once. Two trainings run at the same time with one thread each. Results are kept in
results/bench_long_range/MODEL_SEED.json, and an interrupted benchmark continues there as long as
the code is the same.

    make bench-long-range
    python benchmarks/long_range.py --only BigBird dynamic --seeds 1
    python benchmarks/long_range.py --quick      # a check of a few steps in a separate folder
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from harness import Row, Table, interval, option, run
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from runs import quick_folder, read_json
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import selfattn_bio
from selfattn_bio import config
from selfattn_bio.evaluation.metrics import Bootstrap
from selfattn_bio.model.build import build_encoder
from selfattn_bio.model.encoder import Encoder
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.kmers import KmerTokenizer
from selfattn_bio.training.memory import status_mb
from selfattn_bio.training.optimizer import build_optimizer, learning_rate

FOLDER = Path("results/bench_long_range")
LENGTH, SLOT, DECOYS = 8192, 64, 4
TRUE, FALSE, KIND_A, KIND_B, QUERY = np.random.default_rng(7).integers(0, 4, (5, 8), dtype=np.uint8)
TOKENIZER = KmerTokenizer(DNA, k=6, stride=3)
VALID, TEST = 1_000_001, 1_000_002  # seeds that no training uses
WINDOW, NUM_GLOBAL = 32, 4  # tokens
LONGER = "LSTM, 5 x the steps"  # takes about as long as the encoders
SECTIONS: dict[str, dict[str, Any] | None] = {  # keys of [model]; None for an LSTM
    "window": {"pattern": config.WindowPattern(window=WINDOW)},
    "window + global": {"pattern": config.WindowPattern(window=WINDOW, num_global=NUM_GLOBAL)},
    "BigBird": {
        "pattern": config.BigBirdPattern(
            window=WINDOW, num_global=NUM_GLOBAL, random_blocks=1, block=32
        )
    },
    "all pairs": {"pattern": config.FullPattern()},
    "dynamic": {"mixer": config.DynamicMixer(block=16, top=1)},
    "hierarchical": {"mixer": config.HierarchicalMixer(window=WINDOW, pool=32)},
    "reformer": {"mixer": config.ReformerMixer(num_buckets=64, chunk=32, hashes=2)},
    "linear": {"mixer": config.LinearMixer(), "position": config.SinusoidalPosition()},
    "performer": {"mixer": config.PerformerMixer(features=64), "position": config.RotaryPosition()},
    "linformer": {
        "mixer": config.LinformerMixer(max_length=2729, rank=64),
        "position": config.SinusoidalPosition(),
    },
    "LSTM": None,
    LONGER: None,
}
# bp, sequences per step, steps
STAGES = (
    (256, 64, 250),
    (512, 32, 80),
    (1024, 16, 80),
    (2048, 16, 60),
    (4096, 8, 60),
    (8192, 8, 80),
)
# The results depend on these files and on this one.
SOURCES = (
    "attention/**/*.py",
    "attention/**/*.cpp",
    "attention/**/*.h",
    "model/encoder.py",
    "sequence/*.py",
    "training/optimizer.py",
    "evaluation/metrics.py",
)


def code_hash() -> str:
    """Return the SHA-256 of this file, `SOURCES` and torch's version.

    Results of other code are then not reused.
    """
    package = Path(selfattn_bio.__file__).parent
    files = [Path(__file__), *sorted(file for pattern in SOURCES for file in package.glob(pattern))]
    return hashlib.sha256(
        b"".join([torch.__version__.encode(), *(file.read_bytes() for file in files)])
    ).hexdigest()


@dataclass(frozen=True)
class Settings:
    """Everything that a training depends on; a finished training with equal settings is reused."""

    model: str
    seed: int
    learning_rate: float = 3e-3
    stages: tuple[tuple[int, int, int], ...] = STAGES
    evaluate_every: int = 40  # steps, of the last stage
    num_valid: int = 128  # sequences
    num_test: int = 500
    embed_dim: int = 32
    num_layers: int = 3
    num_heads: int = 2
    feedforward_dim: int = 64
    lstm_dim: int = 42  # per direction; about as many parameters as the encoders
    forget_bias: float = 2.0  # added to that of torch, so that the LSTM starts with a memory
    code: str = field(default_factory=code_hash)

    @property
    def path(self) -> Path:
        """Return the file of the result; the weights are next to it."""
        name = re.sub("[^a-z0-9]+", "_", f"{self.model.lower()} {self.seed}")
        return quick_folder(FOLDER, self.num_test != Settings.num_test) / f"{name}.json"


def settings_of(model: str, seed: int) -> Settings:
    """Return the settings of a model; only the last has other steps."""
    times = 5 if model == LONGER else 1
    stages = tuple((length, batch, steps * times) for length, batch, steps in STAGES)
    return Settings(model, seed, stages=stages, evaluate_every=Settings.evaluate_every * times)


# ------------ sequences
def sample(
    rng: np.random.Generator, count: int, length: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Sample sequences; short ones have fewer decoys.

    Returns
    -------
    Codes (count, length), start of the query word (count,) and label (count,).
    """
    codes = rng.integers(0, 4, (count, length), dtype=np.uint8)
    labels, sites, slots = rng.integers(0, 2, count), np.empty(count, np.int64), length // SLOT
    for row, label in enumerate(labels):
        query = int(rng.integers(slots))
        sites[row] = query * SLOT + rng.integers(SLOT - 8)
        codes[row, sites[row] : sites[row] + 8] = QUERY
        cue, near = (
            (query + slots // 2) % slots,
            query + (1 if query == 0 else -1 if query == slots - 1 else int(rng.choice((-1, 1)))),
        )
        free = [slot for slot in range(slots) if abs(slot - query) > 1 and slot != cue]
        for slot in (cue, near, *rng.choice(free, min(DECOYS, length // 1024), replace=False)):
            at, first = slot * SLOT + int(rng.integers(18)), int(rng.integers(2))
            for kind in (first, 1 - first):
                codes[row, at : at + 8] = TRUE if slot == cue and kind == label else FALSE
                codes[row, at + 9 : at + 17] = KIND_B if kind else KIND_A
                at += 17 + int(rng.integers(4, 13))
    return codes, sites, labels


def as_tensors(
    codes: NDArray[np.uint8], sites: NDArray[np.int64], labels: NDArray[np.int64]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return tokens (B, N), the first token inside the query word (B,), and label (B,)."""
    tokens, first = TOKENIZER.encode(codes), -(-sites // TOKENIZER.stride)
    return (
        torch.from_numpy(tokens).long(),
        torch.from_numpy(first),
        torch.from_numpy(labels).float(),
    )


def rules_of_thumb(count: int) -> dict[str, dict[str, float]]:
    """Return the test AUROC of simple rules.

    Two must fail: B cues minus A cues, and the kind of the cue nearest to the query. The true flank
    must succeed.
    """
    codes, sites, labels = sample(np.random.default_rng(TEST), count, LENGTH)
    a, b = (
        [np.flatnonzero((sliding_window_view(row, 8) == word).all(1)) for row in codes]
        for word in (KIND_A, KIND_B)
    )
    nearest = [
        np.abs(x - site).min() - np.abs(y - site).min()
        for x, y, site in zip(a, b, sites, strict=True)
    ]
    flanked = [
        any(codes[row, at - 9 : at - 1].tobytes() == TRUE.tobytes() for at in at_b)
        for row, at_b in enumerate(b)
    ]
    scores = {
        "counting cues": [len(y) - len(x) for x, y in zip(a, b, strict=True)],
        "nearest cue": nearest,
        "true flank": flanked,
    }
    return {name: auroc(labels, np.asarray(score, float)) for name, score in scores.items()}


# ------------ models
class Network(nn.Module):
    """Embeddings, an encoder or a bidirectional LSTM, and a linear output at one token."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        chosen, dim = SECTIONS[settings.model], settings.embed_dim
        self.embedding = nn.Embedding(TOKENIZER.vocabulary_size, dim)
        num_global = getattr((chosen or {}).get("pattern"), "num_global", 0)
        self.first = nn.Parameter(torch.empty(num_global, dim).normal_(std=0.1))
        nn.init.normal_(self.embedding.weight, std=0.1)  # std 1.0 took three times the steps
        if chosen is None:
            lstm = nn.LSTM(dim, settings.lstm_dim, bidirectional=True, batch_first=True)
            for name, parameter in lstm.named_parameters():
                if name.startswith("bias_ih"):  # order: input, forget, cell and output gate
                    parameter.data[settings.lstm_dim : 2 * settings.lstm_dim] += (
                        settings.forget_bias
                    )
            # Without the norm the LSTM did not learn the task even at 256 bp.
            self.body: nn.Module = nn.Sequential(nn.LayerNorm(dim), lstm)
        else:
            names = ("embed_dim", "num_layers", "num_heads", "feedforward_dim")
            section = {name: getattr(settings, name) for name in names}
            self.body = build_encoder(config.AttentionModel(**section, dropout=0.0, **chosen))
        self.read_out = nn.Linear(2 * settings.lstm_dim if chosen is None else dim, 1)

    def forward(self, tokens: Tensor, at: Tensor) -> Tensor:
        """Map tokens (B, N) and positions `at` (B,) to logits (B,)."""
        x = self.embedding(tokens)  # (B, N, D)
        if isinstance(self.body, Encoder):
            x = torch.cat((self.first.expand(len(tokens), -1, -1), x), dim=1)  # (B, G + N, D)
            y = self.body(x, torch.ones(x.shape[:2], dtype=torch.bool))
        else:
            y = self.body(x)[0]
        return self.read_out(y[torch.arange(len(y)), at + len(self.first)])[:, 0]


def logits_of(
    network: Network, seed: int, count: int, length: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return labels and logits of the sequences of a seed, computed 50 at a time."""
    codes, sites, labels = sample(np.random.default_rng(seed), count, length)
    network.eval()
    with torch.inference_mode():
        parts = [slice(at, at + 50) for at in range(0, count, 50)]
        logits = [
            network(*as_tensors(codes[part], sites[part], labels[part])[:2]) for part in parts
        ]
    network.train()
    return labels, torch.cat(logits).double().numpy()


def auroc(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> dict[str, float]:
    """Return AUROC with its bootstrap interval: value, low, high."""
    ranks = np.unique(scores, return_inverse=True)[1]  # a sigmoid would tie large logits
    return Bootstrap(labels).metrics(ranks / max(1, ranks.max()), 0.5)["auroc"].interval()


# ------------ training
def trained(settings: Settings) -> dict[str, Any]:
    """Train, or read the result of a finished training with equal settings."""
    chosen = {name: part.model_dump() for name, part in (SECTIONS[settings.model] or {}).items()}
    wanted = json.loads(json.dumps(asdict(settings) | {"section": chosen}))
    if settings.path.exists() and (done := read_json(settings.path))["settings"] == wanted:
        return done
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    before = status_mb("VmRSS")
    network, rng = Network(settings), np.random.default_rng(settings.seed)
    total = sum(steps for _, _, steps in settings.stages)
    # Use only three quarters of the cosine schedule, because the longest sequences come last.
    training = config.Training(
        max_steps=total * 4 // 3, warmup_steps=50, learning_rate=settings.learning_rate
    )
    optimizer, step, seconds, best = build_optimizer(network, training), 0, 0.0, -1.0
    result: dict[str, Any] = {
        "settings": wanted,
        "valid": [],
        "parameters": sum(p.numel() for p in network.body.parameters()),
    }
    settings.path.parent.mkdir(parents=True, exist_ok=True)
    for length, batch, steps in settings.stages:
        for left in reversed(range(steps)):
            start = time.process_time()
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, training)
            tokens, at, labels = as_tensors(*sample(rng, batch, length))
            optimizer.zero_grad()
            binary_cross_entropy_with_logits(network(tokens, at), labels).backward()
            nn.utils.clip_grad_norm_(network.parameters(), training.clip_norm)
            optimizer.step()
            step, seconds = step + 1, seconds + time.process_time() - start
            if left and (length < LENGTH or left % settings.evaluate_every):
                continue
            value = auroc(*logits_of(network, VALID, settings.num_valid, length))["value"]
            result["valid"].append({"length": length, "step": step, "auroc": value})
            at_step = f"{settings.path.stem}: step {step} of {total}, {length} bp"
            print(f"{at_step}, valid AUROC {value:.3f}, {seconds:.0f} s", flush=True)
            if length == LENGTH and value >= best:
                best, result["step"] = value, step
                torch.save(network.state_dict(), settings.path.with_suffix(".pt"))
    letters = sum(length * batch * steps for length, batch, steps in settings.stages)
    result |= {
        "best": best,
        "steps": step,
        "seconds": seconds,
        "letters_per_second": letters / seconds,
    }
    result["peak_mb"] = status_mb("VmHWM") - before  # the process does nothing else
    settings.path.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return result


def tested(settings: Settings) -> dict[str, Any]:
    """Add the test AUROC of the selected step to the result; test is read once."""
    result = read_json(settings.path)
    if "test" not in result:
        torch.set_num_threads(1)
        network = Network(settings)
        network.load_state_dict(torch.load(settings.path.with_suffix(".pt"), weights_only=True))
        result["test"] = auroc(*logits_of(network, TEST, settings.num_test, LENGTH))
        settings.path.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return result


def rows(results: Sequence[dict[str, Any]], names: Sequence[str]) -> Iterator[Row]:
    """Return accuracy, speed and memory of each model."""
    for name in names:
        own = [result for result in results if result["settings"]["model"] == name]

        def over_seeds(key: str, own: Sequence[dict[str, Any]] = own) -> float:
            return mean(result[key] for result in own)

        yield {
            "model": name,
            "parameters": f"{own[0]['parameters']:,}",
            "test AUROC by seed (95 % interval)": ", ".join(interval(of["test"]) for of in own),
            "mean": f"{mean(result['test']['value'] for result in own):.3f}",
            "selected step": f"{', '.join(str(of['step']) for of in own)} of {own[0]['steps']}",
            "CPU seconds": f"{over_seeds('seconds'):.0f}",
            "bp/s": f"{over_seeds('letters_per_second'):,.0f}",
            "peak MB": f"{over_seeds('peak_mb'):,.0f}",
        }


def rows_by_length(results: Sequence[dict[str, Any]], names: Sequence[str]) -> Iterator[Row]:
    """Return the last validation AUROC of each length, mean over seeds."""
    for name in names:
        own = [result for result in results if result["settings"]["model"] == name]
        last = [{each["length"]: each["auroc"] for each in result["valid"]} for result in own]
        means = {length: mean(each[length] for each in last) for length in last[0]}
        yield {"model": name, **{f"{length:,} bp": f"{of:.3f}" for length, of in means.items()}}


def measure(chosen: argparse.Namespace) -> Iterator[Table | str]:
    """Train and test, two models at a time."""
    runs = [settings_of(name, seed) for seed in range(chosen.seeds) for name in chosen.only]
    if chosen.quick:
        few = {"stages": ((256, 4, 2), (LENGTH, 2, 1)), "num_valid": 20, "num_test": 20}
        runs = [replace(run, **few) for run in runs]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        list(pool.map(trained, runs))
        results = list(pool.map(tested, runs))
    rules = rules_of_thumb(runs[0].num_test).items()
    yield "test AUROC of rules: " + ", ".join(f"{name} {interval(each)}" for name, each in rules)
    yield Table("", rows(results, chosen.only))
    yield Table("valid AUROC after the stage of", rows_by_length(results, chosen.only))


if __name__ == "__main__":
    models = list(SECTIONS)
    run(
        __doc__,
        measure,
        option("--only", nargs="+", choices=models, default=models, metavar="MODEL"),
        option("--seeds", type=int, default=3),
        option("--quick", action="store_true", help="a check of a few steps"),
    )

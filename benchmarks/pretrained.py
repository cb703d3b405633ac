"""Measure published language models: accuracy, the gain of pretraining, and speed.

convert
    the weights of the PyPI package `antiberty` 0.1.3, a pickle, to a folder with safetensors.
antiberty
    masked residues of antibodies, with our `load_pretrained` and with `transformers`. Then the
    model is trained to tell human from mouse V genes of T-cell receptors, next to
    its two controls with random weights. Genes are those of the PyPI package `anarci`, one allele
    per gene. No gene is similar to one of another split. Intervals are over clusters of genes.
gb1
    Spearman's rho of substitution scores and the binding of GB1 variants, from the PyPI package
    `mavenn`, with and without weights, and of BLOSUM62.
lora
    letters per second of a training step with LoRA at the size of ESM-2 8M, with our layers and
    with `transformers` and `peft`.
inference
    letters per second of the vectors of proteins of 50 to 1,000 residues, with our layers and with
    `transformers`.

Nothing is downloaded. Sets and models are not part of the project. Each case runs in one thread.

    python benchmarks/pretrained.py convert antiberty/trained_models models/antiberty
    python benchmarks/pretrained.py antiberty models/antiberty anarci/germlines.py
    python benchmarks/pretrained.py gb1 models/antiberty mavenn/examples/datasets/gb1_data.csv.gz
    python benchmarks/pretrained.py lora
    python benchmarks/pretrained.py inference
"""

from __future__ import annotations

import argparse
import ast
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from Bio.Align import substitution_matrices
from comparison import mean_of
from harness import Row, Table, interval, listed, median_seconds, option, run
from runs import prepared, records_of, train_all
from safetensors.torch import save_file
from scipy.special import expit
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

import selfattn_bio
from selfattn_bio import Study
from selfattn_bio.config import PretrainedModel
from selfattn_bio.config.derived import default_variants_of_pretrained
from selfattn_bio.evaluation.metrics import Bootstrap
from selfattn_bio.evaluation.summary import EVALUATED_SPLITS
from selfattn_bio.model.pretrained.folder import transformers
from selfattn_bio.model.pretrained.network import PretrainedNetwork
from selfattn_bio.model.pretrained.own import build_backbone
from selfattn_bio.model.pretrained.vocabulary import FIRST, Pieces
from selfattn_bio.objectives import objective_of
from selfattn_bio.scoring.loading import load
from selfattn_bio.sequence.alphabet import PROTEIN
from selfattn_bio.sequence.kmers import MASK as MASKED_TOKEN
from selfattn_bio.study.baselines import fit_baselines
from selfattn_bio.training.recipes import pretrained_recipe
from selfattn_bio.training.transfer import adapt

FOLDER = Path("results/bench_pretrained")
MASKED, BATCH = 0.15, 32
SEEDS, STEPS = 3, 40
RESIDUES = "L A G V S E R T I D P K Q N F Y M H W C X B U Z O . -"  # as ESM numbers them
ESM_TOKENS = f"<cls> <pad> <eos> <unk> {RESIDUES} <null_1> <mask>".split()
PACKAGES, PRECISIONS, ROUNDS = ("transformers", "this package"), ("float32", "bfloat16"), 3
Pair: TypeAlias = tuple[Callable[[], object], ...]


# ------------ AntiBERTy
def convert(source: Path, target: Path) -> Iterator[str]:
    """Write the folder of AntiBERTy with its weights as safetensors."""
    (weights,) = source.glob("*/pytorch_model.bin")
    target.mkdir(parents=True)
    found = torch.load(weights, map_location="cpu", weights_only=True)
    save_file({name: each.clone() for name, each in found.items()}, target / "model.safetensors")
    for path in (weights.parent / "config.json", source / "vocab.txt"):
        shutil.copy(path, target)
    yield f"{sum(each.numel() for each in found.values()):,} weights in {target}"


def v_genes(path: Path, chains: str) -> pd.DataFrame:
    """Read the first allele of each V gene of human and mouse from `anarci/germlines.py`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    genes = next(each.value for each in tree.body if isinstance(each, ast.Assign))
    of_chain = ast.literal_eval(genes)["V"]
    rows = [
        (f"{species}_{name}", aligned.replace("-", ""), label)
        for chain in chains
        for label, species in enumerate(("human", "mouse"))
        for name, aligned in of_chain[chain][species].items()
        if name.endswith("*01")
    ]
    return pd.DataFrame(rows, columns=["id", "sequence", "label"]).drop_duplicates("sequence")


def masked_rows(folder: Path, sequences: Sequence[str]) -> Iterator[Row]:
    """Compare the predictions of masked residues with those of `transformers`."""
    library, model = transformers(), selfattn_bio.load_pretrained(folder)
    tokenizer = library.AutoTokenizer.from_pretrained(folder, do_lower_case=False)
    other = library.BertForMaskedLM.from_pretrained(folder).eval()
    untrained = library.BertForMaskedLM(other.config).eval()
    rng, letters = np.random.default_rng(0), np.array(list(model.alphabet.letters))
    columns = model.vocabulary.singles[-len(letters) :]
    log_p: dict[str, list[Tensor]] = {"this package": [], "transformers": [], "random weights": []}
    residues: list[str] = []
    for start in range(0, len(sequences), BATCH):
        rows = [np.array(list(each)) for each in sequences[start : start + BATCH]]
        masks = [rng.random(len(row)) < MASKED for row in rows]
        both = list(zip(rows, masks, strict=True))
        residues += [letter for row, mask in both for letter in row[mask]]
        tokens = [
            torch.tensor(np.where(mask, MASKED_TOKEN, FIRST + np.searchsorted(letters, row)))
            for row, mask in both
        ]
        pieces = model.vocabulary(pad_sequence(tokens, batch_first=True))
        texts = [" ".join(np.where(mask, "[MASK]", row)) for row, mask in both]
        inputs = tokenizer(texts, padding=True, return_tensors="pt")
        at = inputs["input_ids"] == tokenizer.mask_token_id
        with torch.no_grad():
            found = (
                model.module.log_p(pieces.ids, pieces.mask),
                *(each(**inputs).logits.log_softmax(-1) for each in (other, untrained)),
            )
        for name, own in zip(log_p, found, strict=True):
            log_p[name].append(own[at][:, columns])
    tables = {name: torch.cat(each) for name, each in log_p.items()}
    for name, each in tables.items():
        far = (each - tables["transformers"]).abs().max()
        yield {
            "masked residues": name,
            "accuracy": f"{(letters[each.argmax(1).numpy()] == np.array(residues)).mean():.4f}",
            "number": f"{len(residues):,}",
            "largest difference of log p": f"{float(far):.1e}",
        }


def task_of(folder: Path, genes: pd.DataFrame) -> dict[str, Any]:
    """Write the genes; return the content of a run file: LoRA, with few and small batches."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    genes.to_csv(FOLDER / "genes.csv", index=False)
    recipe = pretrained_recipe(str(folder), len(genes))
    short = {"max_steps": STEPS, "batch_size": 8, "warmup_steps": STEPS // 10}
    short |= dict.fromkeys(("evaluate_every", "checkpoint_every"), STEPS)
    return {
        "data": {"alphabet": "protein", "sequences": str(FOLDER / "genes.csv"), "label": "label"},
        "split": {"kind": "cluster", "valid_fraction": 0.1, "test_fraction": 0.3},
        "tokens": {"k": 1},
        "model": recipe.model,
        "training": recipe.training | short | {"seeds": SEEDS},
        "variants": default_variants_of_pretrained(recipe.model),
    }


def gain_rows(study: Study) -> Iterator[Row]:
    """Train all models with three seeds; return their test AUROC and the lead of the model."""
    trained = {"model": study.members}
    trained |= {name: variant.members for name, variant in study.variants.items()}
    train_all(each for members in trained.values() for each in members)
    records, objective = records_of(study), objective_of(study.run.objective)
    (_, targets), letters = records.targets(study.run), records.letters["test"]
    examples = {
        split: objective.examples_of(targets[split], records.table(split))
        for split in EVALUATED_SPLITS
    }
    simple, _ = fit_baselines(objective, records, study.run, targets, {}, examples)
    scores = {
        name: [expit(load(each.files.model).logits(letters)) for each in members]
        for name, members in trained.items()
    } | {name: [each.classifier.predictions["test"]] for name, each in simple.items()}
    bootstrap = Bootstrap(records.labels()["test"], units=records.units()["test"].numbers)
    of_model = None
    for name, each in scores.items():
        metrics = [bootstrap.metrics(of, threshold=0.5)["auroc"] for of in each]
        mean = mean_of(metrics)
        of_model = of_model or mean  # the model is the first
        yield {
            "AUROC on test genes": name,
            "mean of seeds": interval(mean.interval()),
            "by seed": listed(of.value for of in metrics),
            "model - this": "-" if name == "model" else interval(of_model.minus(mean), sign="+"),
        }


def antiberty(folder: Path, germlines: Path) -> Iterator[Table]:
    """Measure masked residues of antibodies, and the gain of pretraining on other receptors."""
    antibodies = v_genes(germlines, "HKL")["sequence"].to_list()
    yield Table("Masked residues of V genes of antibodies", masked_rows(folder, antibodies))
    study = prepared(FOLDER / "species", task_of(folder, v_genes(germlines, "ABGD")))
    labels, units = records_of(study).labels()["test"], records_of(study).units()["test"].numbers
    title = f"V genes of T-cell receptors, human or mouse: {len(labels)} test genes in "
    yield Table(f"{title}{len(set(units))} clusters", gain_rows(study))


# ------------ substitutions without labels
def substitution_rows(folder: Path, table: Path) -> Iterator[Row]:
    """Correlate scores of all double substitutions with the measured binding."""
    variants = pd.read_csv(table, usecols=["x", "y"])
    residues = np.array(variants["x"].to_list(), "U").view("U1").reshape(len(variants), -1)
    wild = "".join(pd.Series(column).mode()[0] for column in residues.T)
    model = selfattn_bio.load_pretrained(folder)
    models = {"model": model}
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        module = build_backbone(folder, language_model=True).eval().requires_grad_(False)
        models[f"random weights, seed {seed}"] = replace(model, module=module)
    matrix, letters = substitution_matrices.load("BLOSUM62"), model.alphabet.letters
    effects = {"BLOSUM62": np.array([[matrix[a, b] - matrix[a, a] for b in letters] for a in wild])}
    for name, each in models.items():
        for masked, title in {True: "masked", False: "wild-type"}.items():
            effects[f"{name}, {title} marginals"] = each.score_substitutions(wild, masked=masked)
    codes = np.searchsorted(list(letters), residues)
    for name, of_residues in effects.items():
        score = of_residues[np.arange(len(wild)), codes].sum(1)
        yield {"score": name, "Spearman's rho": f"{spearmanr(score, variants['y']).statistic:.3f}"}


def gb1(folder: Path, table: Path) -> Iterator[Table]:
    """Measure substitution scores."""
    yield Table("GB1", substitution_rows(folder, table))


# ------------ speed
def make_esm2() -> Path:
    """Write an ESM-2 of 8M parameters with random weights."""
    library, folder = transformers(), Path(tempfile.mkdtemp())
    torch.manual_seed(0)
    settings = library.EsmConfig(
        **{"vocab_size": len(ESM_TOKENS), "pad_token_id": 1, "mask_token_id": 32},
        **{"hidden_size": 320, "num_hidden_layers": 6, "num_attention_heads": 20},
        **{"intermediate_size": 1280, "position_embedding_type": "rotary", "token_dropout": True},
        **dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), 0.0),
        emb_layer_norm_before=False,
    )
    library.EsmForMaskedLM(settings).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(ESM_TOKENS), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "EsmTokenizer"}')
    return folder


def tokens_of(lengths: Iterable[int]) -> Tensor:
    """Return random residues of these lengths, (B, N), padded with 0."""
    rows = [torch.randint(FIRST, FIRST + 20, (int(length),)) for length in lengths]
    return pad_sequence(rows, batch_first=True)


def speed_rows(pairs: Mapping[str, Pair], letters: int) -> Iterator[Row]:
    """Time both cases of each pair in turn: `transformers`, and this package."""
    cases = {
        (title, package): case
        for title, pair in pairs.items()
        for package, case in zip(PACKAGES, pair, strict=True)
    }
    median_seconds(cases)  # warm up
    found = median_seconds(cases, ROUNDS)
    for title in pairs:
        each = {name: found[title, name] for name in PACKAGES}
        yield {
            "letters per CPU second": title,
            **{name: f"{letters / seconds:,.0f}" for name, seconds in each.items()},
            "ratio": f"{each[PACKAGES[0]] / each[PACKAGES[1]]:.2f}",
        }


def in_precision(precision: str, work: Callable[[], Any]) -> Any:
    """Return the result of `work` with matrix products in this precision."""
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        return work()


def step_of(model: nn.Module, logits: Callable[[], Tensor], precision: str) -> Callable[[], None]:
    """Return a training step of the weights that are not frozen."""
    weights = [each for each in model.train().parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-4)

    def step() -> None:
        found = in_precision(precision, logits).float()
        cross_entropy(found, torch.arange(len(found)) % 2).backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def lora_pair(folder: Path, tokens: Tensor, precision: str) -> Pair:
    """Return a step of LoRA at rank 8 on all linear layers of both encoders."""
    from peft import LoraConfig, get_peft_model

    section = PretrainedModel(folder=str(folder))
    network = PretrainedNetwork(section, PROTEIN, 2, per_letter=False)
    network.read_weights()
    adapt(network, section)
    pieces, rank = network.vocabulary(tokens), section.lora_rank
    linear = r".*encoder\..*(query|key|value|dense)"
    settings = LoraConfig(
        r=rank, lora_alpha=rank, target_modules=linear, modules_to_save=["classifier"]
    )
    kind = transformers().EsmForSequenceClassification
    other = get_peft_model(kind.from_pretrained(folder), settings)
    return (
        step_of(other, lambda: other(pieces.ids, pieces.mask.long()).logits, precision),
        step_of(network, lambda: network(tokens)[:, 0], precision),
    )


def lora() -> Iterator[Table]:
    """Time training steps with LoRA, with and without padding."""
    folder, ragged = make_esm2(), np.random.default_rng(0).integers(50, 501, 8)
    for title, lengths in {"256 residues": [256] * 8, "50 to 500 residues": ragged}.items():
        tokens = tokens_of(lengths)
        pairs = {precision: lora_pair(folder, tokens, precision) for precision in PRECISIONS}
        yield Table(f"Step with LoRA, 8 proteins of {title}", speed_rows(pairs, sum(lengths)))


def inference() -> Iterator[Table]:
    """Time vectors of proteins, in batches of 6 in the order of a file and by length."""
    folder = make_esm2()
    model = selfattn_bio.load_pretrained(folder)
    other = transformers().EsmModel.from_pretrained(folder, add_pooling_layer=False).eval()
    lengths, pairs = np.random.default_rng(0).integers(50, 1001, 12), {}
    encoders = (lambda x: other(x.ids, x.mask.long()), model.module)

    def case(encode: Callable[[Pieces], object], batches: Sequence[Pieces]) -> None:
        with torch.inference_mode():
            for each in batches:
                encode(each)

    for title, order in {"as in a file": lengths, "sorted by length": np.sort(lengths)}.items():
        batches = [model.vocabulary(tokens_of(part)) for part in np.split(order, 2)]
        for precision in PRECISIONS:
            works = (partial(case, encode, batches) for encode in encoders)
            pair = tuple(partial(in_precision, precision, work) for work in works)
            pairs[f"{title}, {precision}"] = pair
    yield Table("Vectors of 12 proteins of 50 to 1,000 residues", speed_rows(pairs, lengths.sum()))


PARTS = {each.__name__: each for each in (convert, antiberty, gb1, lora, inference)}


def measure(chosen: argparse.Namespace) -> Iterator[Table | str]:
    """Run a part with its files."""
    return PARTS[chosen.part](*chosen.files)


if __name__ == "__main__":
    run(
        __doc__,
        measure,
        option("part", choices=PARTS),
        option("files", nargs="*", type=Path, help="files of the part, as in the examples"),
        packages=("torch", "transformers"),
    )

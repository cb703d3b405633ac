"""Create small untrained models, their folders, and a simulated genome of two chromosomes."""

import numpy as np
import torch

from selfattn_bio import config
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import save_model
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.kmers import KmerTokenizer

CALIBRATION = Calibration(slope=0.5, intercept=0.2, positive_fraction=0.25)
SMALL = {"embed_dim": 8, "num_layers": 1, "num_heads": 2, "feedforward_dim": 8}


def run_file(tokens=None, objective=None, **model):
    """Return a run file for positive and negative DNA."""
    section = (
        config.CnnModel(**model)
        if model.get("kind") == "cnn"
        else config.AttentionModel(**SMALL | model)
    )
    data = config.Data(positives=("a.fa",), negatives=("b.fa",), assembly="toy1")
    return config.RunFile(data=data, tokens=config.Tokens(**tokens or {}), model=section)


def scorer_of(run, seed=0):
    """Return an untrained scorer; batch norm has statistics, so that logits of windows differ."""
    torch.manual_seed(seed)
    network = build_network(run).train()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
        for _ in range(3):
            network(torch.randint(4, 4 + len(DNA.letters) ** run.tokens.k, (16, 60)))
    return Scorer(
        run,
        KmerTokenizer(DNA, k=run.tokens.k, stride=run.tokens.stride),
        network.eval(),
        CALIBRATION,
    )


def write_model(folder, run, seed=0, length=40):
    """Write a model folder as `train` does; its records are `length` bp long."""
    folder.mkdir(parents=True)
    scorer = scorer_of(run, seed)
    provenance = {
        "calibration": vars(CALIBRATION),
        "median_length": length,
    }
    save_model(folder, run, scorer.network.state_dict(), provenance)
    return folder


def random_letters(length, seed=0):
    """Return random bases, ASCII (length,)."""
    return np.random.default_rng(seed).choice(np.frombuffer(b"ACGT", np.uint8), length)


def write_genome(path, chromosomes):
    """Write a FASTA file of name -> bases, as array or string, in lines of 50."""
    with path.open("w") as handle:
        for name, letters in chromosomes.items():
            text = letters if isinstance(letters, str) else letters.tobytes().decode()
            handle.write(
                f">{name}\n" + "".join(f"{text[i : i + 50]}\n" for i in range(0, len(text), 50))
            )
    return path

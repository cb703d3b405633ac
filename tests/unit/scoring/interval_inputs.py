"""A genome with intervals, and a small model, for the tests of inputs."""

import torch

from selfattn_bio import config
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import save_model

CHROMOSOMES = {"chr1": "ACGTTGCAAC" * 12, "chr2": "TTGACCAGTN" * 9}
BED = (
    "# simulated\ntrack "
    "name=x\nchr1\t0\t30\tfirst\t0\t+\nchr1\t10\t40\t.\t0\t-\n\nchr2\t60\t90\t.\t0\t.\n"
)


def write_intervals(tmp_path):
    (tmp_path / "genome.fa").write_text(
        "".join(
            f">{name}\n{text[:60]}\n{text[60:].lower()}\n" for name, text in CHROMOSOMES.items()
        )
    )
    (tmp_path / "sites.bed").write_text(BED)
    return tmp_path / "genome.fa"


def write_small_model(tmp_path_factory):
    torch.manual_seed(0)
    run = config.RunFile(
        data=config.Data(positives=("a",), negatives=("b",)),
        model=config.AttentionModel(embed_dim=8, num_layers=1, num_heads=2, feedforward_dim=8),
    )
    folder = tmp_path_factory.mktemp("model") / "model"
    folder.mkdir()
    calibration = {"calibration": {"slope": 0.5, "threshold": 0.5}}
    save_model(folder, run, build_network(run).state_dict(), calibration)
    return folder

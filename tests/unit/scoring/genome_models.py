"""Create small untrained models, their folders, genomes, intervals and variants."""

import numpy as np
import torch

from selfattn_bio import config
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import save_model
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.kmers import tokenizer_of

CALIBRATION = Calibration(slope=0.5, intercept=0.2, positive_fraction=0.25)
CHROMOSOMES = {"chr1": "ACGTTGCAAC" * 12, "chr2": "TTGACCAGTN" * 9}
BED = "chr1\t0\t30\tfirst\t0\t+\nchr1\t10\t40\t.\t0\t-\n\nchr2\t60\t90\t.\t0\t.\n"
BED = f"# simulated\ntrack name=x\n{BED}"
HEADER = (
    '##fileformat=VCFv4.2\n##INFO=<ID=DP,Number=1,Type=Integer,Description="d">\n'
    "##contig=<ID=chrA>\n##contig=<ID=A>\n"
)
HEADER += "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
SMALL = {"embed_dim": 8, "num_layers": 1, "num_heads": 2, "feedforward_dim": 8}


def run_file(tokens=None, **model):
    """Return a run file for positive and negative DNA."""
    section = model if model.get("kind") == "cnn" else SMALL | {"kind": "attention"} | model
    data = config.Data(positives=("a.fa",), negatives=("b.fa",), assembly="toy1")
    return config.RunFile(data=data, tokens=tokens or {}, model=section)


def scorer_of(run, seed=0):
    """Return an untrained scorer; batch norm has statistics, so that logits of windows differ."""
    torch.manual_seed(seed)
    network = build_network(run).train()
    tokenizer = tokenizer_of(run)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
        for _ in range(3):
            network(torch.randint(4, tokenizer.vocabulary_size, (16, 60)))
    return Scorer(run, tokenizer, network.eval(), CALIBRATION)


def write_model(folder, run, seed=0, length=40, calibration=CALIBRATION):
    """Write a model folder as `train` does; its records are `length` bp long."""
    folder.mkdir(parents=True)
    weights = scorer_of(run, seed).network.state_dict()
    save_model(folder, run, weights, {"calibration": vars(calibration), "median_length": length})
    return folder


def random_letters(length, seed=0):
    """Return random bases, ASCII (length,)."""
    return np.random.default_rng(seed).choice(np.frombuffer(b"ACGT", np.uint8), length)


def write_genome(path, chromosomes):
    """Write a FASTA file of name -> bases, as array or string, in lines of 50."""
    with path.open("w") as handle:
        for name, letters in chromosomes.items():
            text = letters if isinstance(letters, str) else letters.tobytes().decode()
            lines = [text[i : i + 50] for i in range(0, len(text), 50)]
            handle.write("\n".join([f">{name}", *lines, ""]))
    return path


def write_intervals(tmp_path):
    """Write genome.fa and sites.bed; return the path of the genome."""
    lines = (f">{name}\n{of[:60]}\n{of[60:].lower()}\n" for name, of in CHROMOSOMES.items())
    (tmp_path / "genome.fa").write_text("".join(lines))
    (tmp_path / "sites.bed").write_text(BED)
    return tmp_path / "genome.fa"


RUN = run_file(stem={"kind": "conv", "pool": 4})


def write_vcf(path, rows):
    lines = (f"{chrom}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n" for chrom, pos, ref, alt in rows)
    path.write_text(HEADER + "".join(lines))
    return path

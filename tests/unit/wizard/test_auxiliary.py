"""Test which numbers are not learned next to others: statistics, counts and replicates."""

import pytest

from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.wizard.columns import choose_targets

NUMBER = 60
FLOATS = [f"{i / 7:.3f}" for i in range(NUMBER)]
OTHERS = [f"{i * 17 % 61 / 7:.3f}" for i in range(NUMBER)]  # numbers that follow no others
REPLICATES = {"y_rep1": FLOATS, "y_rep2": [f"{(i + i * 7 % 5) / 7:.3f}" for i in range(NUMBER)]}


def chosen(columns):
    found = choose_targets(columns, [30] * NUMBER, DNA, (), "a.csv")
    return [(target.column, target.kind) for target in found]


def test_replicates_are_learned_unless_there_is_their_mean():
    replicates = [(name, "regression") for name in REPLICATES]
    assert chosen(REPLICATES | {"dose": OTHERS, "day": OTHERS}) == replicates
    decay = [f"{-(1.1**i)}" for i in range(NUMBER)]
    for name, texts in {"decay": decay, "activity": [None, *FLOATS[1:]]}.items():
        assert chosen(REPLICATES | {name: texts}) == [(name, "regression")]
    # replicates of two measurements, such as those of a ratio
    several = REPLICATES | {"x_rep1": FLOATS, "ratio": OTHERS}
    assert chosen(several) == [("ratio", "regression")]
    assert chosen({"y_rep1": FLOATS, "other": OTHERS}) == [("other", "regression")]


@pytest.mark.parametrize(
    "name",
    [
        *("#barcodes", "# barcodes", "barcodes", "n_barcodes", "Number of barcodes", "read count"),
        *("p", "pval", "p-value", "P.Value", "adj.P.Val", "padj", "FDR", "q", "qvalue", "lfcSE"),
        *("SD", "SE", "SEM", "CV", "std", "SD of replicates", "std_err", "standard deviation"),
        *("start", "frag start (nt)", "end", "pos", "position", "MFE", "MFE (kcal/mol)"),
        *("GC content (%)", "length", "utr_len", "counts_rep1", "UMIs"),
    ],
)
def test_statistics_and_counts_are_learned_only_alone(name):
    replicates = [(each, "regression") for each in REPLICATES]
    assert chosen({name: FLOATS} | REPLICATES) == replicates
    assert chosen({name: FLOATS, "activity": OTHERS}) == [("activity", "regression")]
    if name not in ("start", "end"):
        assert chosen({name: FLOATS}) == [(name, "regression")]


@pytest.mark.parametrize(
    "name",
    [
        *("counts of splicing", "pause", "expression", "log2_half_life", "start_codon_score"),
        *("endurance", "SE_inclusion", "cvd risk", "psi", "mean", "ΔG", "end joining", "P450"),
    ],
)
def test_targets_that_resemble_statistics_are_learned(name):
    expected = [(name, "regression"), ("activity", "regression")]
    assert chosen({name: FLOATS, "activity": OTHERS}) == expected

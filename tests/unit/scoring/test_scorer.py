import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from selfattn_bio import config
from selfattn_bio.errors import SequenceFileError
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.model.build import build_network
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.scoring.table import score_sequences
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.kmers import KmerTokenizer


def tiny_scorer(alphabet=DNA, k=3):
    torch.manual_seed(0)
    run = config.RunFile(
        data=config.Data(alphabet=alphabet.name.lower(), positives=("a",), negatives=("b",)),
        tokens=config.Tokens(k=k),
        model=config.AttentionModel(embed_dim=8, num_layers=1, num_heads=2, feedforward_dim=8),
    )
    tokenizer = KmerTokenizer(alphabet, k=k)
    return Scorer(run, tokenizer, build_network(run).eval(), Calibration(0.5, 0.25))


SEQUENCES = ["ACGTACGTTTGACCA", "GGG", "TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTGACA", "ACGTNACGT"]


def test_strings_give_table_in_order():
    scorer = tiny_scorer()
    table = score_sequences(scorer, SEQUENCES)
    alone = [float(score_sequences(scorer, [text])["logit"].iloc[0]) for text in SEQUENCES]
    assert list(table.columns) == ["id", "logit", "probability", "predicted"]
    assert list(table["id"]) == ["0", "1", "2", "3"]
    np.testing.assert_allclose(table["logit"], alone, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(table["probability"], 1 / (1 + np.exp(-table["logit"] / 2 - 0.25)))
    assert table["logit"].nunique() == 4


def test_log_odds_are_calibrated_logits():
    scorer = tiny_scorer()
    letters = [np.frombuffer(text.encode(), dtype=np.uint8) for text in SEQUENCES]
    np.testing.assert_allclose(scorer.log_odds(letters), scorer.logits(letters) / 2 + 0.25)


def test_path_scores_as_its_strings(tmp_path):
    path = tmp_path / "some sequences.fa"
    path.write_text("".join(f">s{i} x\n{text.lower()}\n" for i, text in enumerate(SEQUENCES)))
    table, expected = (score_sequences(tiny_scorer(), each) for each in (path, SEQUENCES))
    pd.testing.assert_series_equal(table["logit"], expected["logit"])
    assert list(table["id"]) == ["s0", "s1", "s2", "s3"]


def test_both_strands_score_the_same():
    scorer = tiny_scorer()
    one, other = (
        float(score_sequences(scorer, [text], rc=True)["logit"].iloc[0])
        for text in ("ACGTTTGACC", "GGTCAAACGT")
    )
    assert one == pytest.approx(other, rel=1e-6)
    assert float(score_sequences(scorer, ["ACGTTTGACC"])["logit"].iloc[0]) != pytest.approx(
        one, rel=1e-3
    )


def test_no_sequences_give_empty_table():
    assert score_sequences(tiny_scorer(), []).empty


def test_unscorable_sequences(tmp_path):
    with pytest.raises(ValueError, match=r"sequence 1 \(counted from 0\) has length 2"):
        score_sequences(tiny_scorer(), ["ACG", "AC"])
    with pytest.raises(ValueError, match=r"invalid .* in sequence 1 \(counted from 0\)"):
        score_sequences(tiny_scorer(), ["ACG", "ACGEE"])
    (tmp_path / "short.fa").write_text(">long\nACGT\n>short\nAC\n")
    with pytest.raises(SequenceFileError, match=r"short\.fa: record 'short' has length 2"):
        score_sequences(tiny_scorer(), tmp_path / "short.fa")
    with pytest.raises(ValueError, match="rc cannot be used with protein"):
        score_sequences(tiny_scorer(PROTEIN, k=1), ["MKV"], rc=True)
    for absent in (tmp_path / "absent.fa", "absent.fa"):
        with pytest.raises(SequenceFileError, match=r"absent\.fa: no such file"):
            score_sequences(tiny_scorer(), absent)


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ("ACGTACGT", "no such file: 'ACGTACGT'. To score a sequence, put it in a list: "),
        ("ACGT*ACGTACGTAC", r"no such file: 'ACGT\*ACGTACG...'"),
        # longer than a file name may be
        ("ACGT.ACGT" * 1000, "no such file: 'ACGT.ACGTACG...'"),
        (b"ACGT", "cannot read sequences from a bytes of int; pass a list of strings"),
        ([b"ACGT"], "from a list of bytes;"),
        ({"one": "ACGT"}, "from a dict;"),
        ({"ACGT"}, "from a set;"),
        ((text for text in ["ACGT"]), "from a generator;"),
        (None, "from a NoneType;"),
    ],
)
def test_invalid_sequences_argument(sequences, message):
    with pytest.raises(ValueError, match=message):
        score_sequences(tiny_scorer(), sequences)


def test_prediction_uses_threshold():
    table = score_sequences(tiny_scorer(), SEQUENCES)
    threshold = float(table["probability"][1])
    middle = dataclasses.replace(tiny_scorer(), calibration=Calibration(0.5, 0.25, threshold))
    predicted = score_sequences(middle, SEQUENCES)["predicted"]
    assert predicted.tolist() == (table["probability"] >= threshold).astype(int).tolist()
    assert predicted[1] == 1  # a probability at the threshold is positive
    assert predicted.nunique() == 2

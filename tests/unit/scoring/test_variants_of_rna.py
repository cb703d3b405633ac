"""Test effects of variants of RNA: complete records of any length, and U in REF and ALT."""

from dataclasses import replace

import numpy as np
import pytest
from genome_models import RUN, random_letters, scorer_of, write_genome, write_vcf

from selfattn_bio import config
from selfattn_bio.errors import GenomeError
from selfattn_bio.evidence.variants import score_substitutions
from selfattn_bio.scoring.variants import VariantOptions, score_variants


def rna_scorer():
    """Return a model of RNA with two numbers, as if trained on records of 60 to 80 nt."""
    data = RUN.data.model_copy(update={"alphabet": "rna"})
    objective = config.RegressionObjective(columns=("u", "v"), center=(2.0, 0.0), scale=(3.0, 1.0))
    changes = {"data": data, "tokens": config.Tokens(k=1), "objective": objective}
    return replace(scorer_of(RUN.model_copy(update=changes)), record_length=60, longest_record=80)


def test_records_of_rna_are_read_completely(tmp_path):
    scorer = rna_scorer()
    names = {"a": 80, "b": 50, "c": 60, "d": 90}
    texts = {name: random_letters(n, n).tobytes().decode() for name, n in names.items()}
    texts = {name: each.replace("T", "U") for name, each in texts.items()}
    path = write_genome(tmp_path / "rna.fa", texts)
    rows = [(name, 21, each[20], "G" if each[20] == "U" else "U") for name, each in texts.items()]
    vcf = write_vcf(tmp_path / "a.vcf", rows)
    table = score_variants(scorer, path, vcf, VariantOptions(background=3))
    assert table["status"].tolist() == ["scored"] * 4
    windows = [np.frombuffer(each[:80].encode(), np.uint8) for each in texts.values()]
    output = scorer.objective.outputs[0]
    expected = output.value(scorer.outputs(windows[:3]))
    ref = table[f"ref_{output.name}"]
    np.testing.assert_allclose(ref[:3], expected, atol=1e-5)
    first = np.frombuffer(texts["d"][:60].encode(), np.uint8)  # longer than all training records
    assert ref[3] == pytest.approx(output.value(scorer.outputs([first]))[0], abs=1e-5)
    with pytest.raises(GenomeError, match=r"no sequence 'nope' in the file \(it has a, b, c, d\)"):
        score_substitutions(scorer, path, "nope")
    for text in (texts["a"], texts["a"] * 9):
        with pytest.raises(GenomeError, match=r"no such file.* Write a sequence to a FASTA file"):
            score_substitutions(scorer, text, "a:1-50")


def test_alleles_change_the_length_of_complete_rna(tmp_path):
    scorer = rna_scorer()
    texts = {"a": random_letters(80, 1), "b": random_letters(50, 2)}
    texts = {name: each.tobytes().decode().replace("T", "U") for name, each in texts.items()}
    a, b = texts.values()
    rows = [
        ("a", 40, a[39:41], a[39]),  # in the middle of a record as long as the window
        ("a", 79, a[78:], a[78]),
        ("a", 80, a[79], f"{a[79]}GGU"),
        ("b", 1, b[:5], "G"),
        ("b", 20, b[19], "G" if b[19] == "U" else "U"),
    ]
    path = write_genome(tmp_path / "rna.fa", texts)
    table = score_variants(scorer, path, write_vcf(tmp_path / "a.vcf", rows))
    assert table["status"].tolist() == ["scored"] * 5
    changed = [a[:40] + a[41:], a[:79], f"{a}GGU", f"G{b[5:]}", b[:19] + rows[4][3] + b[20:]]
    output = scorer.objective.outputs[0]
    for column, sequences in (("ref", [a, a, a, b, b]), ("alt", changed)):
        letters = [np.frombuffer(each.encode(), np.uint8) for each in sequences]
        expected = output.value(scorer.outputs(letters))
        np.testing.assert_allclose(table[f"{column}_{output.name}"], expected, atol=1e-5)

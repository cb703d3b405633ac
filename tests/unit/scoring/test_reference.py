"""Test the flag for sequences out of distribution, with its reason, in tables and folders."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from genome_models import run_file, scorer_of, write_model

from selfattn_bio import config
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.evaluation.calibration import fit_conformal
from selfattn_bio.files import sha256_of
from selfattn_bio.model.checkpoint import REFERENCE
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.reference import OUTSIDE, Reference, _ambiguous, _variety, load_reference
from selfattn_bio.scoring.scorer import Ensemble, Scorer
from selfattn_bio.scoring.table import score_sequences
from selfattn_bio.sequence.alphabet import DNA, PROTEIN

BASES = np.frombuffer(b"ACGT", np.uint8)


def rich(rng, number, lengths=(80, 120)):
    """Simulate sequences with runs of equal bases."""
    rows = []
    for _ in range(number):
        length = rng.integers(*lengths)
        steps = np.where(rng.random(length) < 0.7, 0, rng.integers(1, 4, length))
        rows.append(BASES[np.cumsum(steps) % 4])
    return rows


@pytest.fixture(scope="module")
def reference():
    rng = np.random.default_rng(0)
    return Reference.of(DNA, rich(rng, 600), rich(rng, 1000), {})


def test_records_of_a_few_bases_have_a_reference():
    """No record has the context of the higher orders, which gives no warning."""
    short = [np.frombuffer(each, np.uint8) for each in (b"ACG", b"T", b"GGNNNNNNNNNNNN")]
    assert len(Reference.of(DNA, short, short, {}).chain) <= 4**2


def test_long_record_is_read_in_pieces(reference, monkeypatch):
    rows = rich(np.random.default_rng(1), 20)
    whole = reference.typicality(rows)
    monkeypatch.setattr("selfattn_bio.scoring.reference.PIECE", 7)
    assert reference.typicality(rows) == pytest.approx(whole)


def test_typicality_and_entropy_equal_a_loop(reference):
    rows = [np.frombuffer(b"ACGTNACGTTTGACCAGTTGA", np.uint8), *rich(np.random.default_rng(3), 3)]
    order = round(np.log(len(reference.chain)) / np.log(4))
    typical, entropy = [], []
    number = str.maketrans("ACGT", "0123")
    for row in rows:
        text = bytes(row).decode()
        words = [text[i - order : i + 1] for i in range(order, len(text))]
        codes = [int(word.translate(number), 4) for word in words if "N" not in word]
        logs = reference.chain.ravel()[codes]
        typical.append((np.mean(logs, dtype=np.float64) - reference.center) * len(logs) ** 0.5)
        kmers = [text[i : i + 3] for i in range(len(text) - 2) if "N" not in text[i : i + 3]]
        numbers = np.array(list(Counter(kmers).values())) / len(kmers)
        entropy.append(-(numbers * np.log2(numbers)).sum())
    assert reference.typicality(rows) == pytest.approx(typical)
    assert _variety(DNA, rows) == pytest.approx(entropy)
    assert _ambiguous(DNA, rows) == pytest.approx([1 / 21, 0, 0, 0])


def test_one_percent_of_similar_records_is_out_of_distribution(reference):
    reasons = reference.out_of_distribution(rich(np.random.default_rng(1), 4000))
    assert set(reasons) == {"no", "composition"}
    assert reasons.count("composition") / 4000 == pytest.approx(OUTSIDE, abs=0.01)


def test_very_typical_records_are_in_distribution(reference):
    *others, low, _ = reference.limits
    narrow = dataclasses.replace(reference, limits=np.array([*others, low, low]))
    assert narrow.out_of_distribution(rich(np.random.default_rng(1), 200)).count("no") > 190


def test_each_reason_is_reported(reference):
    rng = np.random.default_rng(2)
    shuffled = reference.out_of_distribution([rng.permutation(row) for row in rich(rng, 200)])
    assert shuffled.count("composition") > 180
    short, long, masked = rich(rng, 3)
    masked[5] = ord("N")
    reasons = reference.out_of_distribution([short[:60], np.tile(long, 2), masked])
    assert reasons == ["length", "length", "ambiguous"]
    assert reference.out_of_distribution([]) == []


def test_low_complexity_repeat_is_out_of_distribution():
    shipped = load("promoter").reference
    gc, ca = (np.frombuffer(text.encode() * 150, np.uint8) for text in ("GC", "CA"))
    # its words are those of promoters
    assert dataclasses.replace(shipped, simplest=0.0).out_of_distribution([gc]) == ["no"]
    assert shipped.out_of_distribution([gc, ca]) == ["composition"] * 2


def test_length_does_not_change_typicality(reference):
    rng = np.random.default_rng(3)
    limits = reference.limits * [0.1, 100, 1, 1, 1]
    far = dataclasses.replace(reference, limits=limits, simplest=0.0)  # entropy depends on length
    for n in (25, 90, 2000):
        reasons = far.out_of_distribution(rich(rng, 800, (n, n + 1)))
        assert reasons.count("no") > 0.95 * 800


def test_protein_reference():
    letters = np.frombuffer(PROTEIN.letters.encode(), np.uint8)
    rng = np.random.default_rng(0)
    draw = lambda n, p=None: [rng.choice(letters, 60, p=p) for _ in range(n)]  # noqa: E731
    reference = Reference.of(PROTEIN, draw(300), draw(300), {})
    skewed = np.r_[[0.6], np.full(19, 0.4 / 19)]
    assert reference.out_of_distribution(draw(100)).count("no") > 90
    assert reference.out_of_distribution(draw(100, skewed)).count("composition") > 50


# ------------ in a model folder
def folder_of(path, reference):
    write_model(path, run_file())
    if reference:
        reference.save(path, sha256_of(path / "model.safetensors"))
    return path


def scorer_with_sets(reference, shift=0.0):
    """Return a scorer whose validation logits are around -1 and 1, plus `shift`."""
    scorer, labels = scorer_of(run_file()), np.arange(2000) % 2
    outputs = (2.0 * labels - 1 + np.random.default_rng(0).normal(0, 0.8, 2000) + shift)[:, None]
    conformal = fit_conformal(scorer.objective, outputs, labels)
    fitted = dataclasses.replace(reference, conformal=conformal)
    return dataclasses.replace(scorer, reference=fitted), outputs, labels


def test_table_has_prediction_sets_and_flags(reference, monkeypatch):
    scorer, outputs, labels = scorer_with_sets(reference)
    monkeypatch.setattr(Scorer, "outputs", lambda self, letters: outputs[: len(letters)])
    sequences = [row.tobytes().decode() for row in rich(np.random.default_rng(4), len(outputs))]
    table = score_sequences(scorer, sequences, coverage=0.9)
    assert list(table) == ["id", "logit", "probability", "predicted", "set", "out_of_distribution"]
    assert set(table["set"]) <= {"0", "1", "0; 1", "none"}
    each = zip(labels, table["set"], strict=True)
    held = np.mean([str(label) in found.split("; ") for label, found in each])
    assert held == pytest.approx(0.9, abs=0.01)
    assert "set" not in score_sequences(scorer, sequences[:3])


def test_several_models_combine_prediction_sets(reference, monkeypatch):
    one, outputs, _ = scorer_with_sets(reference)
    other, _, _ = scorer_with_sets(reference, shift=1.0)
    monkeypatch.setattr(Scorer, "outputs", lambda self, letters: outputs[: len(letters)])
    sequences = ["ACGT" * 25] * 200
    models = (one, other, Ensemble((one, other)))
    tables = [score_sequences(model, sequences, coverage=0.9) for model in models]
    sets = [[set(found.split("; ")) - {"none"} for found in table["set"]] for table in tables]
    assert sets[2] == [a | b for a, b in zip(*sets[:2], strict=True)]
    assert sets[0] != sets[1]


def test_rc_keeps_scores_of_both_strand_model(reference):
    scorer, _, _ = scorer_with_sets(reference)
    both_strands = {"evaluation": config.EvaluationSection(strands="both")}
    both = dataclasses.replace(scorer, run=scorer.run.model_copy(update=both_strands))
    sequences = ["ACGTTTGACC", "TTTTGACAAC"]
    found, plain = (score_sequences(both, sequences, coverage=0.9, rc=rc) for rc in (True, False))
    assert found.equals(plain)
    assert not np.allclose(found["logit"], score_sequences(scorer, sequences)["logit"])


def test_coverage_errors(tmp_path, reference):
    scorer, _, _ = scorer_with_sets(reference)
    old = folder_of(tmp_path / "old", None)
    for model, coverage, rc, message in (
        (scorer, 0, False, "coverage 0 is not between 0 and 1"),
        (scorer, 1, False, "coverage 1 is not between 0 and 1"),
        (scorer, 0.9, True, "rc and coverage cannot be combined"),
        (old, 0.9, False, r"coverage needs reference\.safetensors"),
    ):
        with pytest.raises(ValueError, match=message):
            score_sequences(model, ["ACGT"], coverage=coverage, rc=rc)


def test_reference_round_trip(tmp_path, reference):
    conformal = {"0": np.array([0.5, 1.0]), "1": np.array([0.25])}
    folder = folder_of(tmp_path / "model", dataclasses.replace(reference, conformal=conformal))
    back = load(folder).reference
    for name in ("chain", "limits"):
        np.testing.assert_array_equal(getattr(back, name), getattr(reference, name))
    np.testing.assert_equal(back.conformal, conformal)
    assert "out_of_distribution" in score_sequences(folder, ["ACGT"])
    assert "out_of_distribution" not in score_sequences(folder_of(tmp_path / "old", None), ["ACGT"])


def test_damaged_or_foreign_reference_is_refused(tmp_path, reference):
    folder = folder_of(tmp_path / "model", reference)
    reference.save(folder, "0" * 64)
    with pytest.raises(ModelFolderError, match="this file belongs to the weights 000000000000"):
        load(folder)
    (folder / REFERENCE).write_bytes(b"damaged")
    with pytest.raises(ModelFolderError, match=r"reference\.safetensors: damaged file: "):
        load_reference(folder, DNA, "")

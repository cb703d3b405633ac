from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from letters import ascii_of
from sklearn.metrics import roc_auc_score

from selfattn_bio.baselines import BASELINES, Setup, ignores_positions, suitable
from selfattn_bio.baselines.base import sample_rows
from selfattn_bio.baselines.blocks import KmerSlots
from selfattn_bio.baselines.learners import GappedLinear, Linear
from selfattn_bio.config.training import STACK_PARTS
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.motifs import meme_text
from selfattn_bio.objectives.base import Answer
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.policy import SequencePolicy

DNA_SETUP, PROTEIN_SETUP = Setup(SequencePolicy(DNA)), Setup(SequencePolicy(PROTEIN))
Records = tuple[list[np.ndarray], np.ndarray]


def planted(n, seed, motif="TATCGATA", at=(0, 40), lengths=(60, 70)):
    """Return random records; positives contain the motif at a start within `at`."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    letters = [rng.choice(ascii_of("ACGT"), int(rng.integers(*lengths))) for _ in range(n)]
    for record in (r for r, label in zip(letters, labels, strict=True) if label):
        start = rng.integers(*at)
        record[start : start + len(motif)] = ascii_of(motif)
    return letters, labels


def moved(n, seed, shift):
    """Return records of both classes with one motif, `shift` bases downstream in negatives."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    letters = [rng.choice(ascii_of("ACGT"), 120) for _ in range(n)]
    for record, label in zip(letters, labels, strict=True):
        start = 40 if label else 40 + shift
        record[start : start + 6] = ascii_of("GCGCGC")
    return letters, labels


def obstacles(letters):
    """Return why each baseline cannot be fitted to these records of DNA, by name."""
    return {kind.name: why for kind, why in suitable(DNA_SETUP, letters)}


def auroc(name, setup, train, valid, test):
    baseline = BASELINES[name](setup).fit(*train, *valid)
    return float(roc_auc_score(test[1], baseline.logits(test[0])))


@pytest.mark.parametrize(
    ("shift", "blind", "below", "seeing", "above"),
    [
        (30, "kmer6_logistic", 0.65, "kmer6_positional_logistic", 0.95),
        # both starts are in the fourth tenth
        (1, "kmer6_positional_logistic", 0.8, "exact_positions", 0.99),
    ],
)
def test_positions_are_distinguished(shift, blind, below, seeing, above):
    of_split = [moved(n, seed, shift) for n, seed in ((400, 0), (200, 1), (200, 2))]
    assert auroc(blind, DNA_SETUP, *of_split) < below
    assert auroc(seeing, DNA_SETUP, *of_split) > above


@pytest.mark.parametrize(
    ("name", "is_blind"),
    [
        *((name, True) for name in ("kmer6_logistic", "kmer6_trees", "gapped_kmers")),
        *((name, False) for name in ("kmer6_positional_logistic", "exact_positions")),
    ],
)
def test_word_counts_ignore_positions(name, is_blind):
    train, valid = moved(200, 0, 30), moved(60, 1, 30)
    baseline = BASELINES[name](DNA_SETUP).fit(*train, *valid)
    records = [ascii_of("A" * start + "GCGCGC" + "A" * (114 - start)) for start in (40, 70)]
    first, second = baseline.logits(records)
    assert (first == pytest.approx(second, abs=1e-9)) == is_blind
    assert ignores_positions(BASELINES[name]) == is_blind


def test_parts_of_stacks_that_ignore_positions():
    blind = {name for name in STACK_PARTS if ignores_positions(BASELINES[name])}
    counts = ("kmer6_logistic", "kmer6_linear", "kmer6_trees", "kmer2_logistic", "kmer2_linear")
    others = ("kmer2_trees", "composition", "composition_linear", "gapped_kmers", "motif_scores")
    assert blind == {*counts, *others}


@pytest.mark.parametrize("positive", ["poor", "rich"])
def test_gc_learns_its_direction(positive):
    poor, rich = [ascii_of("AATTAATTC")] * 5, [ascii_of("GGCCGGCCA")] * 5
    labels = np.repeat([0, 1], 5) if positive == "rich" else np.repeat([1, 0], 5)
    baseline = BASELINES["gc"](DNA_SETUP).fit(poor + rich, labels, poor + rich, labels)
    low, high = baseline.logits([poor[0], rich[0]])
    assert (high > low) == (positive == "rich")


def test_penalty_and_scaling_are_chosen_on_valid():
    (train, labels), (valid, _) = planted(200, 0), planted(60, 1)
    chosen = set()
    for seed in range(6):  # the training split stays the same
        of_valid = np.random.default_rng(seed).permutation(np.arange(60) % 2)
        baseline = BASELINES["kmer6_logistic"](DNA_SETUP).fit(train, labels, valid, of_valid)
        chosen.add(tuple(baseline.chosen().items()))
    assert len(chosen) > 1


@pytest.mark.parametrize("end", ["start", "end"])
def test_exact_positions_choose_the_aligned_end(end):
    def cut(n, seed):
        rng = np.random.default_rng(seed)
        letters, labels = moved(n, seed, 2)
        return [
            r[c:] if end == "end" else r[: len(r) - c]
            for r, c in zip(letters, rng.integers(0, 5, n), strict=True)
        ], labels

    baseline = BASELINES["exact_positions"](DNA_SETUP).fit(*cut(400, 0), *cut(200, 1))
    test, labels = cut(200, 2)
    assert baseline.chosen()["positions from"] == end
    assert roc_auc_score(labels, baseline.logits(test)) > 0.99


@pytest.mark.parametrize(
    ("lengths", "reason"),
    [
        ((60, 80), "training records have 60 to 79 bp, so their positions do not correspond"),
        ((2001, 2002), "the longest record has 2,001 bp, more than 2,000"),
    ],
)
def test_exact_positions_need_aligned_records(lengths, reason):
    letters, _ = planted(60, 0, lengths=lengths)
    assert obstacles(letters)["exact_positions"] == reason


def test_motif_scores_find_the_motif_on_either_strand(tmp_path):
    motif = "TATCGACA"
    ppm = np.full((8, 4), 0.02)
    ppm[np.arange(8), DNA.codes(ascii_of(motif))] = 0.94
    (tmp_path / "d.meme").write_text(
        meme_text({"m": ppm, "other": ppm[:, [1, 2, 3, 0]]}, {"m": 10, "other": 10})
    )
    setup = Setup(SequencePolicy(DNA), database=str(tmp_path / "d.meme"), threads=1)

    def turned(n, seed):
        letters, labels = planted(n, seed, motif)
        return [
            DNA.reverse_complement(record) if i % 3 else record for i, record in enumerate(letters)
        ], labels

    baseline = BASELINES["motif_scores"](setup).fit(*turned(400, 0), *turned(200, 1))
    test, labels = turned(200, 2)
    assert roc_auc_score(labels, baseline.logits(test)) > 0.97
    assert baseline.chosen()["motifs"] == 2
    assert np.array_equal(
        baseline.logits(test), baseline.logits([DNA.reverse_complement(record) for record in test])
    )


def test_motif_scores_need_a_database():
    assert obstacles(planted(4, 0)[0])["motif_scores"] == "the task names no database of DNA motifs"


def test_gapped_kmers_find_a_degenerate_motif_on_either_strand():
    def changed(n, seed):
        """Return records; those of label 1 have a site with a random base in the middle."""
        letters, labels = planted(n, seed, "TATCGACA", lengths=(60, 61))
        rng = np.random.default_rng(seed)
        for i, record in enumerate(letters):
            at = record.tobytes().find(b"TATCGACA")
            if labels[i]:
                record[at + 3 : at + 5] = rng.choice(list(b"ACGT"), 2)
        return [
            DNA.reverse_complement(record) if i % 3 else record for i, record in enumerate(letters)
        ], labels

    setup = replace(DNA_SETUP, strands="both")
    train, valid, (test, labels) = changed(300, 0), changed(100, 1), changed(200, 2)
    found = {
        name: roc_auc_score(labels, BASELINES[name](setup).fit(*train, *valid).logits(test))
        for name in ("gapped_kmers", "kmer6_logistic")
    }
    assert found["gapped_kmers"] > max(0.85, found["kmer6_logistic"] + 0.1)


def test_weights_of_kmers_are_sums_over_gapped_kmers():
    learner = GappedLinear(k=3, informative=2)
    matched = learner.matched.toarray()
    gapped = [first + second for first in "ACGT" for second in "ACGT"]
    of_kmer = {
        "".join(kmer): {
            *(f"{n}{gapped[i % 16]}" for n in (0, 1) for i in np.flatnonzero(row) if i // 16 == n)
        }
        for kmer, row in zip(product("ACGT", repeat=3), matched, strict=True)
    }
    assert of_kmer["ACG"] == {"0AC", "1AG"}
    assert of_kmer["TTA"] == {"0TT", "1TA"}
    assert (matched.sum(axis=1) == 2).all()


def test_gapped_model_is_linear_in_gapped_kmers():
    rng = np.random.default_rng(0)
    learner = GappedLinear((1.0,), k=3, informative=2)
    x, truth = rng.normal(size=(80, 64)), rng.normal(size=80)
    answer = Answer("number", truth)
    (model, worth), (plain, _) = (
        each.fit(answer, answer, features, [features], 1)
        for each, features in ((learner, x), (Linear((1.0,)), x @ learner.matched))
    )
    assert model.outputs(x) == pytest.approx(plain.outputs(x @ learner.matched))
    assert worth == pytest.approx(-np.mean((model.outputs(x)[:, 0] - truth) ** 2))


def test_large_train_sets_are_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr("selfattn_bio.baselines.learners.MAX_GAPPED", 60 * 21 * 30)
    monkeypatch.setattr("selfattn_bio.baselines.features.WORK", 100 * 60 * 2 // 4)
    ppm = np.full((4, 4), 0.25)
    (tmp_path / "d.meme").write_text(meme_text({"m": ppm, "other": ppm}, {"m": 10, "other": 10}))
    setup = Setup(SequencePolicy(DNA), database=str(tmp_path / "d.meme"))
    train, valid = planted(100, 0, lengths=(60, 61)), planted(40, 1, lengths=(60, 61))
    monkeypatch.setattr("selfattn_bio.baselines.blocks.LETTERS", 60 * 50)
    assert BASELINES["gapped_kmers"](setup).fit(*train, *valid).chosen()["records"] == 30
    assert BASELINES["exact_positions"](setup).fit(*train, *valid).chosen()["records"] == 50
    # 25 in proportion give 12 of each class
    assert BASELINES["motif_scores"](setup).fit(*train, *valid).chosen()["records"] == 24
    monkeypatch.setattr("selfattn_bio.baselines.trees.MAX_FITTED", 40)
    assert BASELINES["kmer6_trees"](setup).fit(*train, *valid).chosen()["records"] == 40


def test_calibration_is_fitted_on_valid():
    train, valid = planted(200, 0), planted(100, 1)
    baseline = BASELINES["kmer6_logistic"](DNA_SETUP).fit(*train, *valid)
    assert baseline.calibration == Calibration.fit(baseline.logits(valid[0]), valid[1])


def test_motif_scores_average_three_boosters(tmp_path):
    ppms = {"m": np.eye(4)[[3, 0, 3, 1]] * 0.9 + 0.025}
    (tmp_path / "d.meme").write_text(meme_text(ppms, {"m": 10}))
    setup = Setup(SequencePolicy(DNA), database=str(tmp_path / "d.meme"), threads=1)
    train, valid = planted(200, 0), planted(100, 1)
    baseline = BASELINES["motif_scores"](setup).fit(*train, *valid)
    mean, (forests,) = baseline.logits(valid[0]), baseline.model.forests
    x = baseline.fitted.matrix(valid[0])
    each = [forest.sums(x) for forest in forests]
    assert len(forests) == 3
    assert not np.allclose(each[0], each[1])
    assert mean == pytest.approx(np.mean(each, axis=0))


def test_fitted_as_compares_settings_in_use():
    given, both = Setup(SequencePolicy(DNA)), Setup(SequencePolicy(DNA), "both")
    threads, plants = replace(given, threads=3), replace(given, database="jaspar:plants")
    masked = replace(given, policy=SequencePolicy(DNA, "hard"))
    columns = replace(given, policy=SequencePolicy(DNA, sequence_column="seq"))
    others = (threads, both, plants, masked, columns)
    fits = {
        name: [BASELINES[name](given).fitted_as(other) for other in others]
        for name in ("kmer6_logistic", "exact_positions", "motif_scores")
    }
    assert fits == {
        "kmer6_logistic": [True, False, True, False, True],
        "exact_positions": [True, True, True, False, True],
        "motif_scores": [True, True, False, False, True],
    }


def test_samples_hold_both_classes_in_proportion():
    labels = np.arange(1000) % 2
    rows = sample_rows(labels, 100)
    assert (len(rows), labels[rows].sum()) == (100, 50)
    assert (np.diff(rows) > 0).all()
    assert np.array_equal(rows, sample_rows(labels, 100))
    rare = (np.arange(1000) == 7).astype(int)
    assert rare[sample_rows(rare, 100)].sum() == 1
    few = (np.arange(1000) < 30).astype(int)
    assert few[sample_rows(few, 100)].sum() == 3
    assert few[sample_rows(few, 100, 20)].sum() == 20
    assert few[sample_rows(few, 100, 50)].sum() == 30
    assert sample_rows(labels, 1000).tolist() == list(range(1000))


def test_both_strands_have_one_logit():
    both = Setup(SequencePolicy(DNA), "both")
    train, valid = planted(200, 0, "TATCGACA"), planted(100, 1, "TATCGACA")
    turned = [DNA.reverse_complement(record) for record in valid[0]]
    for name in ("kmer6_logistic", "kmer6_positional_logistic"):
        baseline = BASELINES[name](both).fit(*train, *valid)
        assert baseline.logits(valid[0]) == pytest.approx(baseline.logits(turned))
    one = BASELINES["exact_positions"](both).fit(
        *planted(200, 0, lengths=(60, 61)), *planted(100, 1, lengths=(60, 61))
    )
    assert one.logits(valid[0]) != pytest.approx(one.logits(turned))  # positions have a direction


def test_block_counts_of_a_worked_example():
    letters = [ascii_of("AACN"), ascii_of("G")]
    assert KmerSlots(DNA, 1).counts(letters).toarray().tolist() == [[2, 1, 0, 0], [0, 0, 1, 0]]
    parts = KmerSlots(DNA, 1, slots=2).counts(letters).toarray()
    # AA | CN; padding does not move the middle
    assert parts.tolist() == [[2, 0, 0, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0, 0, 0]]
    start = KmerSlots(DNA, 1, slots=3, align="start").counts(letters).toarray()
    assert start.tolist() == [[1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0], [0, 0, 1, 0] + [0] * 8]
    end = KmerSlots(DNA, 1, slots=3, align="end").counts(letters).toarray()
    assert end.tolist() == [[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], [0] * 8 + [0, 0, 1, 0]]


def test_block_counts_do_not_depend_on_chunks(monkeypatch):
    letters, _ = planted(20, 0)
    complete = KmerSlots(DNA, 2, slots=3).counts(letters).toarray()
    monkeypatch.setattr("selfattn_bio.sequence.kmers.RECORDS_AT_ONCE", 7)
    assert (KmerSlots(DNA, 2, slots=3).counts(letters).toarray() == complete).all()


def test_each_alphabet_has_its_baselines():
    names = {
        setup.alphabet.name: " ".join(kind.name for kind, _ in suitable(setup, [ascii_of("ACG")]))
        for setup in (DNA_SETUP, PROTEIN_SETUP)
    }
    assert names == {
        "dna": "gc kmer6_logistic kmer6_positional_logistic exact_positions substitutions_linear "
        "gapped_kmers motif_scores kmer6_trees exact_positions_trees",
        "protein": "exact_positions substitutions_linear length first_letter composition "
        "kmer2_logistic kmer2_trees exact_positions_trees",
    }
    assert set(STACK_PARTS) <= set(BASELINES)


def test_protein_composition_is_learned():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    letters = [rng.choice(ascii_of("KRLG" if label else "DEAS"), 30) for label in labels]
    for name in ("composition", "kmer2_logistic"):
        baseline = BASELINES[name](PROTEIN_SETUP).fit(letters, labels, letters[:20], labels[:20])
        assert roc_auc_score(labels, baseline.logits(letters)) == 1.0


def test_first_residue_and_length_are_read_alone():
    mature = ["AKLK", "GKLKKKKKKK", "AKKL", "XKKLKKKKKK"]
    complete = ["MKLK", "MKLKKKKKKK", "MKKL", "MKKLKKKKKK"]
    letters, labels = [ascii_of(text) for text in mature + complete], np.repeat([1, 0], 4)
    logits = {
        n: BASELINES[n](PROTEIN_SETUP).fit(letters, labels, letters, labels).logits(letters)
        for n in ("first_letter", "length")
    }
    assert roc_auc_score(labels, logits["first_letter"]) == 1
    assert roc_auc_score(labels, logits["length"]) == 0.5


def test_middle_lengths_can_be_the_likeliest():
    lengths = np.array([5, 6, 20, 22, 24, 80, 90, 100])
    letters = [ascii_of("K" * length) for length in lengths]
    labels = ((lengths > 10) & (lengths < 50)).astype(int)
    baseline = BASELINES["length"](PROTEIN_SETUP).fit(letters, labels, letters, labels)
    assert roc_auc_score(labels, baseline.logits(letters)) == 1


def test_fit_needs_both_classes():
    letters, labels = planted(20, 0)
    message = r"the validation records of a baseline need both labels 0 and 1; they have \[1\]"
    with pytest.raises(ValueError, match=message):
        BASELINES["gc"](DNA_SETUP).fit(letters, labels, letters, np.ones(20, dtype=int))

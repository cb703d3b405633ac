import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from selfattn_bio.evaluation import baselines as module
from selfattn_bio.evaluation.baselines import KmerLogistic, baselines, gc_content
from selfattn_bio.sequence.alphabet import DNA, PROTEIN


def ascii_of(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def planted(n: int, seed: int, motif: str = "TATCGATA", at: tuple[int, int] = (0, 40)) -> tuple[list[np.ndarray], np.ndarray]:
    """Random records, the positives with the motif starting somewhere in `at`."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    letters = [rng.choice(ascii_of("ACGT"), int(rng.integers(60, 70))) for _ in range(n)]
    for record in (r for r, label in zip(letters, labels, strict=True) if label):
        start = rng.integers(*at)
        record[start : start + len(motif)] = ascii_of(motif)
    return letters, labels


def test_gc_content_is_counted_in_pieces(monkeypatch) -> None:
    monkeypatch.setattr(module, "PIECE", 3)
    assert gc_content([ascii_of("ACGTGGGGAA"), ascii_of("A")]).tolist() == [0.6, 0.0]


def test_gc_content_counts_unambiguous_letters_alone() -> None:
    assert gc_content([ascii_of("ACGT"), ascii_of("GGGN"), ascii_of("NNRA"), ascii_of("N")]).tolist() == [0.5, 1.0, 0.0, 0.0]


def test_gc_learns_its_direction_from_train() -> None:
    poor, rich = [ascii_of("AATTAATTC")] * 5, [ascii_of("GGCCGGCCA")] * 5
    for labels, expected in ((np.repeat([0, 1], 5), True), (np.repeat([1, 0], 5), False)):
        baseline = baselines(DNA)["gc"]
        baseline.fit(poor + rich, labels, [], np.array([]))
        p = baseline.probabilities([poor[0], rich[0]])
        assert (p[1] > p[0]) is np.bool_(expected)


def test_kmers_find_a_planted_motif_that_is_not_in_train_by_heart() -> None:
    (train, y), (valid, y_valid), (test, y_test) = (planted(n, seed) for n, seed in ((400, 0), (200, 1), (200, 2)))
    baseline = KmerLogistic(DNA, k=6)
    baseline.fit(train, y, valid, y_valid)
    assert roc_auc_score(y_test, baseline.probabilities(test)) > 0.9
    assert set(baseline.chosen()) == {"C", "scaling"}


def test_penalty_and_scaling_are_chosen_on_valid() -> None:
    (train, y), (valid, _) = (planted(n, seed) for n, seed in ((400, 0), (60, 1)))
    chosen = set()
    for seed in range(8):  # what train says is the same each time
        baseline = KmerLogistic(DNA, k=2)
        baseline.fit(train, y, valid, np.random.default_rng(seed).permutation(np.arange(60) % 2))
        chosen.add(tuple(baseline.chosen().items()))
    assert len(chosen) > 1


def test_only_positional_kmers_can_tell_places_apart() -> None:
    def two_places(n: int, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
        left, labels = planted(n, seed, motif="GCGCGC", at=(0, 20))
        right, _ = planted(n, seed + 100, motif="GCGCGC", at=(40, 50))
        return [a if label else b for a, b, label in zip(left, right[1:] + right[:1], labels, strict=True)], labels

    (train, y), (valid, y_valid), (test, y_test) = (two_places(n, seed) for n, seed in ((400, 0), (200, 1), (200, 2)))
    aurocs = []
    for positional_k in (0, 3):
        baseline = KmerLogistic(DNA, k=6, positional_k=positional_k)
        baseline.fit(train, y, valid, y_valid)
        aurocs.append(roc_auc_score(y_test, baseline.probabilities(test)))
    assert aurocs[0] < 0.65
    assert aurocs[1] > 0.95


def test_counts_are_those_of_a_worked_example() -> None:
    baseline = KmerLogistic(DNA, k=1, positional_k=1, bins=2)
    whole, parts = (block.toarray() for block in baseline._counts([ascii_of("AACN"), ascii_of("G")]))
    assert whole.tolist() == [[2, 1, 0, 0], [0, 0, 1, 0]]
    assert parts.tolist() == [[2, 0, 0, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0, 0, 0]]  # AA | CN: padding does not move the middle


def test_a_record_shorter_than_k_has_no_counts() -> None:
    assert KmerLogistic(DNA, k=6)._counts([ascii_of("ACG")])[0].sum() == 0


def test_chunks_of_records_do_not_change_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    letters, _ = planted(20, 0)
    baseline = KmerLogistic(DNA, k=3, positional_k=2)
    whole = [block.toarray() for block in baseline._counts(letters)]
    monkeypatch.setattr("selfattn_bio.evaluation.baselines.CHUNK", 7)
    for a, b in zip(whole, baseline._counts(letters), strict=True):
        assert (a == b.toarray()).all()


def test_baselines_fit_the_alphabet() -> None:
    assert list(baselines(DNA)) == ["gc", "kmer6_logistic", "kmer6_positional_logistic"]
    assert list(baselines(PROTEIN)) == ["length", "first_letter", "composition", "kmer2_logistic"]
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    letters = [rng.choice(ascii_of("KRLG" if label else "DEAS"), 30) for label in labels]
    for name in ("composition", "kmer2_logistic"):
        baseline = baselines(PROTEIN)[name]
        baseline.fit(letters, labels, letters[:20], labels[:20])
        assert roc_auc_score(labels, baseline.probabilities(letters)) == 1.0


def test_first_residue_and_length_are_seen_alone() -> None:
    mature, whole = ["AKLK", "GKLKKKKKKK", "AKKL", "XKKLKKKKKK"], ["MKLK", "MKLKKKKKKK", "MKKL", "MKKLKKKKKK"]
    letters, labels = [ascii_of(text) for text in mature + whole], np.repeat([1, 0], 4)
    found = baselines(PROTEIN)
    for name in ("first_letter", "length"):
        found[name].fit(letters, labels, [], np.array([]))
    assert roc_auc_score(labels, found["first_letter"].probabilities(letters)) == 1
    assert roc_auc_score(labels, found["length"].probabilities(letters)) == 0.5


def test_middle_lengths_can_be_the_likeliest() -> None:
    lengths = np.array([5, 6, 20, 22, 24, 80, 90, 100])
    letters, labels = [ascii_of("K" * length) for length in lengths], ((lengths > 10) & (lengths < 50)).astype(int)
    baseline = baselines(PROTEIN)["length"]
    baseline.fit(letters, labels, [], np.array([]))
    assert roc_auc_score(labels, baseline.probabilities(letters)) == 1

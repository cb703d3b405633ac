"""Test that exactly the similar records are found, and that no two clusters have similar records.

Similar records are reverse-complemented, mutated, cut out, shifted, short or long.
"""

import os
from dataclasses import replace

import numpy as np
import pytest
from letters import ascii_of

from selfattn_bio.errors import RunFileError
from selfattn_bio.sequence import clusters as module
from selfattn_bio.sequence import kmer_numbers
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.clusters import (
    cluster_records,
    mmseqs_clusters,
    similar_pairs,
    suitable_clusters,
)
from selfattn_bio.sequence.kmer_numbers import distinct_kmers, kmer_settings, kmers

RNG = np.random.default_rng(0)


def random(alphabet, length):
    return ascii_of(alphabet.letters)[RNG.integers(0, len(alphabet.letters), length)]


def mutated(letters, alphabet, fraction):
    changed, known = letters.copy(), ascii_of(alphabet.letters)
    for at in RNG.choice(len(letters), round(fraction * len(letters)), replace=False):
        changed[at] = RNG.choice(known[known != letters[at]])
    return changed


def pairs_of(letters, alphabet=DNA, **options):
    found = similar_pairs(letters, alphabet, **options)
    return [(int(a), int(b)) for a, b, _ in found.itertuples(index=False)]


SIMILAR = {
    "the same": lambda row: row.copy(),
    "the other strand": DNA.reverse_complement,
    "a tenth mutated": lambda row: mutated(DNA.reverse_complement(row), DNA, 0.1),
    "a third of it": lambda row: row[100:200],
    "shifted by half": lambda row: np.concatenate([row[150:], random(DNA, 150)]),
    "contained": lambda row: np.concatenate([random(DNA, 20_000), row, random(DNA, 9_000)]),
    "protein, a tenth mutated": lambda row: mutated(row, PROTEIN, 0.1),
    "protein, seven residues": lambda row: row[9:16],
    "protein, contained": lambda row: np.concatenate([random(PROTEIN, 500), row]),
}


@pytest.mark.parametrize("kind", SIMILAR)
def test_similar_record_is_found_among_unrelated(kind):
    alphabet, length = (PROTEIN, 30) if kind.startswith("protein") else (DNA, 300)
    unrelated = [random(alphabet, length) for _ in range(50)]
    assert pairs_of([*unrelated, SIMILAR[kind](unrelated[7])], alphabet) == [(7, 50)]


def test_similar_residues_count_as_the_same():
    text = "MSKDLEFIGHKLSEWDAKISLMEP"
    other = text.translate(str.maketrans("SDEFIKL", "TNQYVRM"))
    assert pairs_of([ascii_of(text), ascii_of(other)], PROTEIN) == [(0, 1)]


def test_peptides_of_seven_residues_are_not_joined_by_chance():
    peptides = [ascii_of("KLAGFW")[RNG.integers(0, 6, 7)] for _ in range(1000)]
    assert cluster_records(peptides, PROTEIN).max() + 1 > 990


def test_similarity_is_relative_to_smaller_record():
    row = random(DNA, 300)
    rows = [row, np.concatenate([row[:111], random(DNA, 189)])]
    # 111 bases contain 100 of the 289 12-mers
    assert similar_pairs(rows, DNA, 0.1)["similarity"][0] == pytest.approx(100 / 289)
    assert similar_pairs(rows, DNA, 0.36).empty


def test_pairs_between_two_splits():
    row = random(DNA, 300)
    rows, in_second = [row, row, DNA.reverse_complement(row), row], np.array([True, False] * 2)
    assert pairs_of(rows, in_second=in_second) == [(1, 0), (1, 2), (3, 0), (3, 2)]


def test_overlapping_windows_form_one_cluster():
    """Overlapping windows form a chain, which greedy clustering around a centre would split."""
    genome = random(DNA, 6000)
    windows = [genome[start : start + 300] for start in range(0, 5700, 150)]
    order = RNG.permutation(len(windows))
    assert cluster_records([windows[i] for i in order], DNA).max() == 0
    apart = [genome[start : start + 300] for start in range(0, 5700, 300)]
    assert cluster_records(apart, DNA).max() == len(apart) - 1


def test_kmers_use_both_strands_and_known_bases():
    settings = kmer_settings(DNA, 4)[0]
    row = ascii_of("ACGTTNACGA")
    found = kmers(row, DNA, settings)
    assert np.flatnonzero(found >= 0).tolist() == [0, 1, 6]
    assert len(found) == 10
    assert set(kmers(DNA.reverse_complement(row), DNA, settings)) == set(found)
    assert kmers(row, DNA, replace(settings, canonical=False))[0] == 0b00011011


def test_unrelated_and_empty_records():
    assert pairs_of([]) == []
    assert pairs_of([ascii_of("ACG"), ascii_of("N" * 18)]) == []


@pytest.mark.parametrize("size", [40, 400])
def test_repeats_do_not_join_unrelated_records(monkeypatch, size):
    """With a low limit on products, nearly all k-mers of two families count as repeats.

    The families are still found, and a repeat in all records joins no others.
    """
    monkeypatch.setattr(module, "PRODUCTS", 50_000)
    repeat = random(DNA, 30)
    families = [np.concatenate([random(DNA, 300), repeat]) for _ in range(2)]
    rows = [mutated(families[i % 2], DNA, 0.02) for i in range(size)]
    unrelated = [np.concatenate([random(DNA, 270), repeat]) for _ in range(100)]
    found = cluster_records([*rows, *unrelated], DNA)
    assert [len(set(found[i:size:2].tolist())) for i in (0, 1)] == [1, 1]
    assert found.max() + 1 == 102


def test_blocks_make_no_difference(monkeypatch):
    rows = [random(DNA, 200) for _ in range(60)]
    rows += [mutated(row, DNA, 0.05) for row in rows]
    whole = similar_pairs(rows, DNA)
    monkeypatch.setattr(module, "AT_ONCE", 500)
    monkeypatch.setattr(kmer_numbers, "LETTERS_AT_ONCE", 150)
    assert similar_pairs(rows, DNA).equals(whole)
    assert len(whole) == 60


def test_pieces_of_long_records_make_no_difference(monkeypatch):
    letters = [random(DNA, length) for length in (500, 37, 200, 64)]
    letters.append(DNA.reverse_complement(letters[0][100:400]))
    whole, settings = similar_pairs(letters, DNA, 0.1), kmer_settings(DNA)[0]

    def kmers_of_strands():
        return [
            [distinct_kmers(row, DNA, settings, reverse=reverse).tolist() for row in letters]
            for reverse in (False, True)
        ]

    distinct = kmers_of_strands()
    turned = kmers(DNA.reverse_complement(letters[0]), DNA, replace(settings, canonical=False))
    assert distinct[1][0] == sorted(set(turned.tolist()) - {-1})
    monkeypatch.setattr(kmer_numbers, "LETTERS_AT_ONCE", 64)
    assert similar_pairs(letters, DNA, 0.1).equals(whole)
    assert kmers_of_strands() == distinct
    half = distinct_kmers(letters[0], DNA, settings, 0.5).tolist()
    assert 0 < len(half) < len(distinct[0][0])
    assert set(half) < set(distinct[0][0])


def test_even_sample_represents_many_kmers(monkeypatch):
    monkeypatch.setattr(kmer_numbers, "MAX_KMERS", 30_000)
    rows = [random(DNA, 3000) for _ in range(40)]
    assert pairs_of([*rows, mutated(DNA.reverse_complement(rows[3]), DNA, 0.05)]) == [(3, 40)]


def test_missing_mmseqs_error(monkeypatch):
    monkeypatch.setenv("PATH", "")
    message = r"program mmseqs not found in PATH, but .*\. Install MMseqs2, or set method"
    with pytest.raises(RunFileError, match=message):
        mmseqs_clusters([random(PROTEIN, 30)], PROTEIN, 0.5)


PROGRAM = r"""#!/bin/sh
if [ "$1" = version ]; then echo 15; exit; fi
if [ $(wc -l < "$2") = 2 ]; then echo started; echo no space >&2; exit 3; fi
printf '1\t1\n1\t3\n0\t0\n2\t2\n3\t2\n' > "$3"_cluster.tsv
"""


def test_mmseqs_components_version_and_error(tmp_path, monkeypatch):
    (tmp_path / "mmseqs").write_text(PROGRAM)
    (tmp_path / "mmseqs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    # Artificial: the pairs 1-3 and 3-2 form one cluster
    found, by = mmseqs_clusters([random(PROTEIN, 30) for _ in range(4)], PROTEIN, 0.5)
    assert (found.tolist(), by) == ([0, 1, 1, 1], "MMseqs2 15")
    with pytest.raises(RunFileError, match=r"^MMseqs2 failed: no space$"):
        mmseqs_clusters([random(PROTEIN, 30)], PROTEIN, 0.5)


def test_similarity_is_low_unless_it_joins_many_records():
    parts = [random(PROTEIN, 100) for _ in range(40)]
    small = [np.concatenate([part[:80], random(PROTEIN, 20)]) for part in parts for _ in range(2)]
    similarity, clusters = suitable_clusters(small, PROTEIN, np.asarray)
    assert (similarity, clusters[:4]) == (0.08, [0, 0, 1, 1])
    tenth, fifth = parts[0][:16], parts[0][:26]  # of the residues that all records share
    for shared, lowest in ((tenth, 0.15), (fifth, 0.3)):
        records = [np.append(shared, part[len(shared) :]) for part in parts]
        assert suitable_clusters(records, PROTEIN, np.asarray)[0] == lowest

    def joined(clusters):
        """Join all records unless there are more than 40 clusters."""
        return clusters if len(set(clusters)) > 40 else np.zeros(80, int)

    # a join that makes most clusters one needs a higher similarity
    assert suitable_clusters(small, PROTEIN, joined)[0] == 0.3


def test_a_shared_motif_makes_no_short_records_similar():
    records = [random(DNA, 54) for _ in range(200)]
    for first, second, size in ((0, 1, 20), (2, 3, 26)):
        records[second][10 : 10 + size] = records[first][20 : 20 + size]
    assert pairs_of(records, similarity=0.05) == [(2, 3)]
    guide = random(DNA, 24)
    assert pairs_of([guide, mutated(guide[:-1], DNA, 0)]) == [(0, 1)]

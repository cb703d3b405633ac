"""Test that negatives match the positives and avoid forbidden positions, and cached shuffling."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from letters import BASES

from selfattn_bio.errors import IntervalError
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.intervals import Cover
from selfattn_bio.sequence.negatives import Wanted, matched, neighbours, shuffled
from selfattn_bio.sequence.records import Record
from selfattn_bio.sequence.windows import cut

SIZES = {"chr1": 60_000, "chr2": 20_000}


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    """Return two chromosomes with varying GC content and some N."""
    rng, text = np.random.default_rng(0), ""
    for name, size in SIZES.items():
        gc = rng.random(size) < 0.45 + 0.15 * np.sin(np.arange(size) / 900)
        letters = np.where(gc, rng.choice(list("GC"), size), rng.choice(list("AT"), size))
        letters[size // 2 : size // 2 + 700] = "N"
        text += f">{name}\n{''.join(letters)}\n"
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    path.write_text(text)
    with Genome(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def positives():
    """Return 47 windows of two lengths, away from each other and from N."""
    rng = np.random.default_rng(1)
    rows = [
        ("chr1", at, at + int(rng.choice([200, 301])), "+-"[n % 2], "", 1.0, -1, n, "p.bed")
        for n, at in enumerate(range(800, 29_000, 800))
    ]
    rows += [("chr2", at, at + 200, "+", "", 1.0, -1, at, "p.bed") for at in range(500, 9000, 800)]
    columns = ["chrom", "start", "end", "strand", "name", "score", "summit", "line", "path"]
    return pd.DataFrame(rows, columns=columns)


EXCLUDED = [("chr1", 40_000, 50_000), ("chr2", 15_000, 20_000)]
EXCLUDED = pd.DataFrame(EXCLUDED, columns=["chrom", "start", "end"])
MAKERS = {"matched": (matched, 0.05), "neighbours": (neighbours, 40, 120)}


def gc_of(windows, genome):
    return {row: np.isin(record.letters, list(b"GC")).sum() for row, record in cut(windows, genome)}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("per_positive", [1, 2])
def test_windows_of_negatives(kind, per_positive, genome, positives):
    maker, *options = MAKERS[kind]

    def make(**seed):
        wanted = Wanted(per_positive, **seed)
        return maker(positives, genome, wanted, EXCLUDED, *options, Counter())

    made = make()
    assert len(made) == per_positive * len(positives)
    assert (Cover(positives).bases_of(made) == 0).all()
    assert (Cover(EXCLUDED).bases_of(made) == 0).all()
    chromosomes = pd.DataFrame({"chrom": list(SIZES), "start": 0, "end": list(SIZES.values())})
    covered = Cover(made).bases_of(chromosomes).sum()
    assert covered == (made["end"] - made["start"]).sum()  # no two overlap
    assert all(b"N" not in record.letters.tobytes() for _, record in cut(made, genome))
    found, wanted = (
        rows.assign(length=rows["end"] - rows["start"]).value_counts(["chrom", "strand", "length"])
        for rows in (made, positives)
    )
    assert found.to_dict() == (wanted * per_positive).to_dict()
    assert made.equals(make())
    assert not made.equals(make(seed=1))


def test_gc_content_is_matched(genome, positives):
    counts = Counter()
    made = matched(positives, genome, Wanted(), None, 0.05, counts)
    keys = ["chrom", "line"]
    wanted, found = (
        rows.assign(gc=pd.Series(gc_of(rows, genome))).set_index(keys)["gc"]
        for rows in (positives, made)
    )
    differences = found - wanted[found.index]
    assert differences.abs().max() <= 15
    (count,) = counts.values()
    assert count == (differences != 0).sum()
    assert (differences == 0).mean() > 0.8


@pytest.mark.parametrize(("start", "end"), [(-100, 100), (59_900, 60_100)])
def test_gc_content_ignores_padding(start, end, genome, positives):
    """Half of the window is on the chromosome, so the negative has twice its number of G and C."""
    padded = positives.head(1).assign(start=start, end=end)
    half = np.isin(genome.fetch("chr1", max(start, 0), min(end, 60_000)), list(b"GC")).sum()
    assert gc_of(matched(padded, genome, Wanted(), None, 0.0, Counter()), genome) == {0: 2 * half}


@pytest.mark.parametrize(("tolerance", "found"), [(0.09, []), (0.1, [100, 200])])
def test_tolerance_is_relative_to_positive_length(tolerance, found, tmp_path, positives):
    """One tenth of the bases of the positives (100 and 200 bp) are G; the genome has no other G.

    Negatives without G differ by 10 and 20 bases, which is 0.1 of each length.
    """
    text = "G" * 10 + "A" * 90 + "G" * 20 + "A" * 4880
    (tmp_path / "g.fa").write_text(f">chr1\n{text}\n")
    two = positives.head(2).assign(start=[0, 100], end=[100, 300])
    with Genome(tmp_path / "g.fa") as genome:
        made = matched(two, genome, Wanted(may_lack=1.0), None, tolerance, Counter())
    assert sorted(made["end"] - made["start"]) == found


def test_neighbours_keep_their_gap(genome, positives):
    few = positives[positives["chrom"] == "chr2"].reset_index(drop=True)
    made = neighbours(few, genome, Wanted(2), None, 40, 1, Counter())
    expected = {(at + gap, at + gap + 200) for at in few["start"] for gap in (-240, 240)}
    assert set(zip(made["start"], made["end"], strict=True)) == expected


def test_too_few_are_refused_or_counted(genome, positives):
    message = r"g\.fa: found only \d+ of 423 matched windows for the negatives\."
    with pytest.raises(IntervalError, match=message):
        matched(positives, genome, Wanted(9), None, 0.0, Counter())
    counts, exclude = Counter(), pd.DataFrame({"chrom": ["chr2"], "start": [0], "end": [20_000]})
    message = r"found only 36 of 47 neighbouring windows .* Positives and excluded intervals cover"
    with pytest.raises(IntervalError, match=message):
        neighbours(positives, genome, Wanted(1), exclude, 0, 3, counts)
    assert len(neighbours(positives, genome, Wanted(1, may_lack=0.3), exclude, 0, 3, counts)) == 36
    assert counts == {"negatives not found (of 47 neighbouring windows)": 11}


def test_shuffled_records():
    letters, place = np.random.default_rng(0).choice(BASES, (20, 50)), ("chr1", 7, 57, "-", "g")
    records, counts = [Record(f"r{n}", row, *place) for n, row in enumerate(letters)], Counter()
    made = list(shuffled(records, 2, Wanted(2), counts))
    assert [record.id for record in made[:3]] == ["r0/shuffled1", "r0/shuffled2", "r1/shuffled1"]
    assert {record[2:7] for record in made} == {("chr1", None, None, None, "g")}
    assert len({record.letters.tobytes() for record in made + records}) == 60
    assert not counts
    poor = [*records, Record("a", np.full(50, ord("A"), np.uint8))]
    assert len(list(shuffled(poor, 2, Wanted(1, may_lack=0.1), counts))) == 20
    assert counts == {"negatives not found (of 21 shuffled sequences)": 1}
    message = r"found only 20 of 21 shuffled .* Change k \(2\), may_lack \(0\.01\) or per"
    with pytest.raises(IntervalError, match=message):
        list(shuffled(poor, 2, Wanted(1), counts))


# ------------ the cache of the compiled walk
USE = """
import numpy as np
from selfattn_bio.arrays import compiled
from selfattn_bio.sequence import shuffle
letters = np.frombuffer(b"ACGTGGACAGTACAGTACCAGATTACA", dtype=np.uint8)
made = shuffle.shuffle_letters(letters, 2, np.random.default_rng(0))
print(made.tobytes().decode(), sum(compiled(shuffle._euler_walk).stats.cache_hits.values()))
"""
NOWHERE = """
from numba.core import dispatcher
def refuse(function):
    raise RuntimeError("cannot cache function: no locator available")
dispatcher.FunctionCache = refuse
"""


def used(code: str, cache: Path) -> tuple[str, int]:
    """Return the letters shuffled by a new process, and the number of cache hits."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    letters, hits = done.stdout.split()
    return letters, int(hits)


@pytest.mark.long  # three processes import numba
def test_only_the_first_process_compiles(tmp_path: Path) -> None:
    letters, hits = used(USE, tmp_path / "cache")
    assert hits == 0
    assert used(USE, tmp_path / "cache") == (letters, 1)
    # without a folder for the cache, each process compiles
    assert used(NOWHERE + USE, tmp_path / "none") == (letters, 0)
    assert not (tmp_path / "none").exists()

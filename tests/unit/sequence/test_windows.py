"""Test windows on worked examples, on a reverse-complemented genome, and at chromosome ends."""

from collections import Counter
from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfattn_bio.errors import IntervalError
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.windows import centered, cut, flanked, place, tiled, within

LENGTHS = {"chr1": 997, "chr2": 100}
LETTERS = {
    name: np.random.default_rng(length).choice(list(b"ACGT"), length).astype(np.uint8)
    for name, length in LENGTHS.items()
}


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    records = (f">{name}\n{row.tobytes().decode()}\n" for name, row in LETTERS.items())
    path.write_text("".join(records))
    with Genome(path) as opened:
        yield opened


def table(*rows):
    """Return a table of intervals (chrom, start, end, strand) with optional summits."""
    table = pd.DataFrame([(*row, -1)[:5] for row in rows])
    table.columns = ["chrom", "start", "end", "strand", "summit"]
    return table.assign(name="", score=np.nan, line=np.arange(len(rows)) + 1, path="x.bed")


def spans(windows):
    return list(zip(windows["start"], windows["end"], strict=True))


BOTH = table(("chr1", 10, 21, "+", 2), ("chr1", 10, 21, "-", 2))


@pytest.mark.parametrize(
    ("make", "plus", "minus"),
    [
        (lambda rows: centered(rows, 4), (13, 17), (14, 18)),
        (lambda rows: centered(rows, 5), (13, 18), (13, 18)),
        (lambda rows: centered(rows, 4, "summit"), (10, 14), (11, 15)),
        (lambda rows: centered(rows, 4, "five_prime"), (8, 12), (19, 23)),
        (lambda rows: flanked(rows, 3, 1), (7, 22), (9, 24)),
        (lambda rows: flanked(rows, 3, 1, "five_prime"), (7, 11), (20, 24)),
        (lambda rows: flanked(rows, 3, 0, "five_prime"), (7, 10), (21, 24)),
    ],
)
def test_worked_windows(make, plus, minus):
    assert spans(make(BOTH)) == [plus, minus]


def test_tiles():
    tiles = tiled(table(("chr1", 0, 10, "+"), ("chr1", 5, 8, "-"), ("chr2", 7, 11, "-")), 4, 3)
    assert spans(tiles) == [(0, 4), (3, 7), (6, 10), (7, 11)]
    assert tiles["line"].tolist() == [1, 1, 1, 3]


CENTERS, ORIGINS = (st.sampled_from([each, "five_prime"]) for each in ("middle", "interval"))
UPSTREAM, DOWNSTREAM = st.integers(0, 20), st.integers(1, 20)
MAKERS = st.one_of(
    st.builds(partial, st.just(centered), width=st.integers(1, 40), center=CENTERS),
    st.builds(partial, st.just(flanked), upstream=UPSTREAM, downstream=DOWNSTREAM, of=ORIGINS),
)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    make=MAKERS, start=st.integers(0, 950), length=st.integers(1, 47), strand=st.sampled_from("+-")
)
def test_a_reversed_genome_gives_the_same_letters(make, start, length, strand):
    size = LENGTHS["chr1"]
    mirrored = ("chr1", size - start - length, size - start, "-" if strand == "+" else "+")
    letters, forward = [], ("chr1", start, start + length, strand)
    reverse = DNA.reverse_complement(LETTERS["chr1"])
    for row, chromosome in ((forward, LETTERS["chr1"]), (mirrored, reverse)):
        ((first, last),) = spans(make(table(row)))
        padded = np.pad(chromosome, 100, constant_values=ord("N"))
        window = padded[first + 100 : last + 100]
        letters.append((window if row[3] == "+" else DNA.reverse_complement(window)).tobytes())
    assert letters[0] == letters[1]


def test_records_of_windows(genome):
    windows = place(table(("chr2", 90, 100, "-"), ("1", 3, 9, "."), ("chr1", 0, 2, "+")), genome)
    records = list(cut(windows, genome))
    assert [row for row, _ in records] == [1, 2, 0]
    assert [record.id for _, record in records] == ["chr1:3-9(+)", "chr1:0-2(+)", "chr2:90-100(-)"]
    for _, record in records:
        window = LETTERS[record.chrom][record.start : record.end]
        np.testing.assert_array_equal(
            record.letters, window if record.strand == "+" else DNA.reverse_complement(window)
        )


def test_windows_off_the_ends(genome):
    middle = ("chr2", 50, 51, "+")
    rows = table(("chr2", 0, 1, "+"), ("chr2", 99, 100, "-"), middle, middle)
    windows = flanked(rows, 3, 1, "five_prime")
    counts = Counter()
    assert spans(within(windows, genome, "drop", counts)) == [(47, 51)]
    assert counts == {
        "windows beyond the end of a chromosome, dropped": 2,
        "duplicate windows, dropped": 1,
    }
    counts.clear()
    padded = within(windows, genome, "pad", counts)
    assert counts["windows beyond the end of a chromosome, padded with N"] == 2
    letters = [record.letters.tobytes() for _, record in cut(padded, genome)]
    last = DNA.reverse_complement(LETTERS["chr2"][-1:]).tobytes()
    assert letters[:2] == [b"NNN" + LETTERS["chr2"][:1].tobytes(), b"NNN" + last]
    assert spans(padded)[:2] == [(-3, 1), (99, 103)]
    at_ends = table(*(("chr2", *span, "+") for span in ((0, 4), (96, 100), (-1, 3), (97, 101))))
    assert spans(within(at_ends, genome, "drop", counts)) == [(0, 4), (96, 100)]


def test_windows_at_a_missing_summit():
    with pytest.raises(IntervalError, match=r"x.bed:1: the interval has no summit .column 10 of"):
        centered(table(("chr1", 0, 9, "+")), 4, "summit")

"""Tests of the second of two inputs: reading, joining by id, numeric levels and error messages."""

from types import SimpleNamespace

import numpy as np
import pytest

from selfattn_bio import config
from selfattn_bio.cli.main import main
from selfattn_bio.data.batches import Augmentation
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.inputs import inputs_of
from selfattn_bio.data.partner import open_numbers
from selfattn_bio.errors import CorpusError, IntervalError
from selfattn_bio.sequence.levels import NUM_LEVELS, Scale

DATA = {"positives": ["p.fa"], "negatives": ["n.fa"]}
TRACK = {"kind": "track", "path": "t.npz", "low": 0.0, "high": 92.0}


def run_of(partner, **sections):
    return config.RunFile.model_validate(
        {"data": DATA, "partner": partner, "model": {"kind": "paired"}, **sections}
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.fa").write_text(">a\nACGTACGT\n>b\nACGTACGT\n")
    (tmp_path / "n.fa").write_text(">c chrom=x start=2 end=8 strand=-\nTTTTGG\n")
    return tmp_path


def toml(partner, data='positives = "p.fa"\nnegatives = "n.fa"'):
    lines = "\n".join(f"{key} = {value!r}" for key, value in partner.items())
    return f'[data]\n{data}\n[partner]\n{lines}\n[model]\nkind = "paired"\n'


def ingest(folder, partner, **more):
    (folder / "run.toml").write_text(toml(partner, **more))
    return main(["ingest", "--run-file", "run.toml", "--output", "corpus"])


def test_partners_are_matched_in_any_order(folder):
    (folder / "s.fa").write_text(">c\nMKWV\n>z\nMMMM\n>a\nMKWV\n>b\nHHHH\n")
    assert ingest(folder, {"kind": "sequence", "alphabet": "protein", "files": "s.fa", "k": 1}) == 0
    corpus = Corpus.open("corpus")
    # Record b has the same sequence as a
    assert corpus.records["id"].tolist() == ["a", "b", "c"]
    assert [corpus.partner_letters(i).tobytes() for i in range(3)] == [b"MKWV", b"HHHH", b"MKWV"]
    assert corpus.partner.alphabet.name == "protein"


def test_ingest_reports_dropped_records(folder, capsys):
    (folder / "s.fa").write_text(">c\nAAAA\n>z\nCCCC\n>a\nGGGG\n>b\nTTTT\n")
    assert ingest(folder, {"kind": "sequence", "files": "s.fa"}) == 0
    assert "partners: 1 partners without a kept record, left out (s.fa)" in capsys.readouterr().out


def test_records_without_a_partner_are_named(folder, capsys):
    (folder / "s.fa").write_text(">a\nACG\n>c\nAC\n")
    assert ingest(folder, {"kind": "sequence", "files": "s.fa", "k": 3}) == 1
    messages = capsys.readouterr().err
    assert "s.fa: no partner for 'b', 'c'; dropped 1: shorter than 3 bp" in messages
    assert not (folder / "corpus").exists()


def test_partner_in_a_table_column(folder):
    (folder / "t.csv").write_text("id,sequence,peptide,label\na,ACGT,MKW,1\nb,CCCC,HHH,0\n")
    partner = {"kind": "sequence", "alphabet": "protein", "column": "peptide", "k": 1}
    assert ingest(folder, partner, data='sequences = "t.csv"\nlabel = "label"') == 0
    corpus = Corpus.open("corpus")
    assert [
        corpus.letters(i).tobytes() + b" " + corpus.partner_letters(i).tobytes() for i in range(2)
    ] == [b"ACGT MKW", b"CCCC HHH"]


def test_a_track_of_arrays(folder, capsys):
    np.savez(folder / "t.npz", a=np.arange(8), b=[np.nan] * 7 + [200], c=np.full(6, 92))
    assert ingest(folder, TRACK) == 0
    lines = capsys.readouterr().out
    assert "7 positions without a value (t.npz)" in lines
    assert "1 values outside 0 to 92, clipped (t.npz)" in lines
    corpus = Corpus.open("corpus")
    assert [corpus.partner_letters(i).tobytes() for i in range(3)] == [
        b"!\"#$%&'(",
        b"~~~~~~~}",
        b"}" * 6,
    ]
    about = corpus.partner.summary["sources"][0]
    assert (about["low"], about["high"], about["levels"]) == (0, 92, NUM_LEVELS)


def test_a_track_along_the_genome_is_read_on_the_strand(folder):
    (folder / "t.bedGraph").write_text("a\t0\t8\t1\nb\t0\t4\t2\nx\t0\t4\t10\nx\t4\t8\t20\n")
    assert ingest(folder, TRACK | {"path": "t.bedGraph"}) == 0
    corpus, scale = Corpus.open("corpus"), Scale(0, 92)
    assert scale.numbers(corpus.partner_letters(2)).tolist() == [
        20,
        20,
        20,
        20,
        10,
        10,
    ]  # c, on the minus strand, x:2-8
    np.testing.assert_array_equal(scale.numbers(corpus.partner_letters(1)), [2] * 4 + [np.nan] * 4)


def test_numbers_that_do_not_fit(folder, capsys):
    np.savez(folder / "t.npz", a=np.arange(8), b=np.arange(8), c=np.arange(5))
    assert ingest(folder, TRACK) == 1
    assert "t.npz: 5 values for record 'c' of length 6" in capsys.readouterr().err
    np.savez(folder / "t.npz", a=np.array([["x"]]))
    with pytest.raises(
        IntervalError, match=r"array 'a' is not a one-dimensional array of numbers .<U1"
    ):
        open_numbers("t.npz")
    (folder / "t.npz").write_bytes(b"PK no zip")
    with pytest.raises(IntervalError, match=r"cannot read the .npz file"):
        open_numbers("t.npz")
    with pytest.raises(IntervalError, match=r"cannot read the .npz file: .*No such file"):
        open_numbers("absent.npz")


def test_a_partner_changes_the_fingerprint(folder):
    fingerprints = set()
    for letters in ("AAAA", "CCCC"):
        (folder / "s.fa").write_text(f">a\n{letters}\n>b\nGGGG\n>c\nTTTT\n")
        assert ingest(folder, {"kind": "sequence", "files": "s.fa"}) == 0
        fingerprints.add(Corpus.open("corpus").fingerprint)
    assert len(fingerprints) == 2


def test_an_altered_partner_is_noticed(folder):
    np.savez(folder / "t.npz", a=np.arange(8), b=np.arange(8), c=np.arange(6))
    assert ingest(folder, TRACK) == 0
    path = folder / "corpus/partner/letters.bin"
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(CorpusError, match="the sequence of record 'a' was altered"):
        Corpus.open("corpus")


def test_corpus_of_another_run_file_is_refused(folder):
    np.savez(folder / "t.npz", a=np.arange(8), b=np.arange(8), c=np.arange(6))
    assert ingest(folder, TRACK) == 0
    corpus = Corpus.open("corpus")
    with pytest.raises(CorpusError, match=r"the partners have high 92.0, but the run file has 1.0"):
        inputs_of(run_of(TRACK | {"high": 1.0}), corpus)
    with pytest.raises(
        CorpusError, match="the partners have alphabet levels, but the run file has dna"
    ):
        inputs_of(run_of({"kind": "sequence", "files": "s.fa"}), corpus)
    corpus.partner = None
    with pytest.raises(
        CorpusError, match=r"the corpus has no partners, but the run file has .partner."
    ):
        inputs_of(run_of(TRACK), corpus)


@pytest.mark.parametrize("pairs", ["given", "first_alone", "partner_alone"])
def test_single_input_control_permutes_the_other(folder, pairs):
    np.savez(folder / "t.npz", a=np.arange(8), b=np.arange(8) + 8, c=np.arange(6) + 20)
    assert ingest(folder, TRACK) == 0
    corpus = Corpus.open("corpus")
    inputs = inputs_of(run_of(TRACK, training={"pairs": pairs, "seed": 3}), corpus)
    own = [(corpus.letters(i).tobytes(), corpus.partner_letters(i).tobytes()) for i in range(3)]
    found = [tuple(side.tobytes() for side in inputs.of(i)) for i in range(3)]
    for side, stays in enumerate((pairs != "partner_alone", pairs != "first_alone")):
        assert ([pair[side] for pair in found] == [pair[side] for pair in own]) == stays
        assert sorted(pair[side] for pair in found) == sorted(pair[side] for pair in own)


def test_a_track_moves_with_its_letters(folder):
    np.savez(folder / "t.npz", a=np.arange(8), b=np.arange(8), c=np.arange(6))
    assert ingest(folder, TRACK) == 0
    corpus, seen = Corpus.open("corpus"), set()
    inputs = inputs_of(run_of(TRACK), corpus)
    for epoch in range(20):
        (first, partner), view = inputs.seen(Augmentation(2, False, 3, 0), 0, epoch, 0)
        assert first.tobytes() == b"ACGTACGT"[view.first : view.last]
        assert Scale(0, 92).numbers(partner).tolist() == list(range(8))[view.first : view.last]
        seen.add(view)
    assert len(seen) == 5


def test_levels_are_off_by_half_a_step_at_most():
    scale, numbers = Scale(-1.0, 3.0), np.random.default_rng(0).uniform(-1, 3, 1000)
    assert (
        np.abs(scale.numbers(scale.letters(numbers)) - numbers).max()
        <= 4 / (NUM_LEVELS - 1) / 2 + 1e-12
    )
    assert scale.letters([-9, 9, np.nan]).tobytes() == b"!}~"
    assert np.isnan(scale.numbers(np.frombuffer(b"~", np.uint8))).all()


def test_chromosome_missing_in_track_has_no_values(folder):
    (folder / "t.bedGraph").write_text("x\t0\t4\t10\n")
    row = SimpleNamespace(id="y", chrom=None, start=None, strand=None, length=4)
    assert open_numbers("t.bedGraph")(row) is None


PAIRED = {"kind": "paired"}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"partner": TRACK, "model": {"kind": "attention"}},
            "partner. cannot be used with model kind 'attention', only with 'paired'",
        ),
        ({"model": PAIRED}, "model kind 'paired' needs .partner., its second input"),
        (
            {"partner": TRACK, "model": PAIRED, "training": {"reverse_complement": True}},
            "training.reverse_complement cannot be used with model kind 'paired'",
        ),
        (
            {"partner": TRACK, "model": PAIRED | {"encoder": {"members": 1}}},
            "set members in .model. instead of .model.encoder",
        ),
        (
            {"partner": TRACK, "model": PAIRED | {"partner_encoder": {"head": {"kind": "cls"}}}},
            "set head in .model.encoder. instead of .model.partner_encoder",
        ),
        (
            {"partner": TRACK, "model": PAIRED | {"partner_encoder": {"stem": {"kind": "none"}}}},
            "token embeddings have 16 dimensions in encoder and 64 in partner_encoder",
        ),
        (
            {"partner": TRACK, "model": PAIRED | {"cross_position": {"kind": "shaw"}}},
            "cross_position 'shaw' is not supported; choose one of 'none', 't5'",
        ),
        (
            {"partner": TRACK, "model": PAIRED, "transfer": {"parent": "x"}},
            "transfer. cannot be used with model kind 'paired'",
        ),
        (
            {"partner": TRACK, "model": PAIRED, "interpret": {"method": {"kind": "rollout"}}},
            "method 'rollout' cannot explain model kind 'paired'",
        ),
        (
            {"training": {"pairs": "first_alone"}, "variants": {}},
            "training.pairs 'first_alone' cannot be used with model kind 'attention'",
        ),
        (
            {"partner": TRACK | {"low": 92.0}, "model": PAIRED},
            r"low \(92\) is not less than high \(92\)",
        ),
        ({"partner": {"kind": "sequence"}, "model": PAIRED}, "needs files or column "),
        (
            {"partner": {"kind": "sequence", "column": "x"}, "model": PAIRED},
            "column needs .data. sequences",
        ),
        (
            {
                "partner": {"kind": "sequence", "files": "x", "alphabet": "protein", "k": 6},
                "model": PAIRED,
            },
            "k 6 is too large for protein; use at most 4",
        ),
        (
            {"partner": {"kind": "sequence", "files": "x", "k": 2, "stride": 3}, "model": PAIRED},
            "stride 3 skips positions",
        ),
        (
            {
                "partner": TRACK,
                "model": PAIRED,
                "objective": {"kind": "masked"},
                "data": {"sequences": "x"},
            },
            "objective 'masked' needs model kind 'attention'; kind 'paired' has no",
        ),
    ],
)
def test_conflicting_sections(sections, message):
    with pytest.raises(ValueError, match=message):
        config.RunFile.model_validate({"data": DATA} | sections)


def test_pair_variants_use_each_input_alone():
    run = run_of(TRACK)
    assert list(run.variants) == ["first_alone", "partner_alone", "shuffled"]
    assert run.variant("first_alone").training.pairs == "first_alone"
    assert run.variant("shuffled").is_control()
    alone = run_of(TRACK, variants={"cnn": {"model": {"kind": "cnn"}}}).variant("cnn")
    assert alone.partner is None  # it reads the first input only


def test_run_file_of_pairs_round_trip():
    run = run_of(TRACK, model=PAIRED | {"partner_encoder": {"num_layers": 1}}, variants={})
    assert config.RunFile.model_validate(run.model_dump(mode="json", exclude_none=True)) == run
    assert "partner" not in config.RunFile.model_validate({"data": DATA}).model_dump()
    assert "pairs" not in config.RunFile.model_validate({"data": DATA}).model_dump()["training"]

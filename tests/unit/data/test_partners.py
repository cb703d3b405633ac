"""Tests of the second of two inputs: reading, joining by id, numeric levels and error messages."""

import tomllib
import zipfile
from copy import copy
from types import SimpleNamespace

import numpy as np
import pytest
from small_corpus import errors

import selfattn_bio as sb
from selfattn_bio import config
from selfattn_bio.data.inputs import Augmentation, inputs_of
from selfattn_bio.data.partner import open_numbers
from selfattn_bio.errors import CorpusError, IntervalError, SelfAttnBioError
from selfattn_bio.sequence.alphabet import NUM_LEVELS, Scale

DATA = {"positives": ["p.fa"], "negatives": ["n.fa"]}
SEQUENCE = {"kind": "sequence"}
PEPTIDE = SEQUENCE | {"alphabet": "protein", "k": 1}
TRACK = {"kind": "track", "path": "t.npz", "low": 0.0, "high": 92.0}


def run_of(partner, **sections):
    usual = {"data": DATA, "partner": partner, "model": {"kind": "paired"}}
    return config.RunFile.model_validate(usual | sections)


@pytest.fixture
def folder(here):
    (here / "p.fa").write_text(">a\nACGTACGT\n>b\nACGTACGT\n")
    (here / "n.fa").write_text(">c chrom=x start=2 end=8 strand=-\nTTTTGG\n")
    return here


def toml(partner, data='positives = "p.fa"\nnegatives = "n.fa"'):
    lines = "\n".join(f"{key} = {value!r}" for key, value in partner.items())
    return f'[data]\n{data}\n[partner]\n{lines}\n[model]\nkind = "paired"\n'


def refused(folder, partner, message):
    (folder / "run.toml").write_text(toml(partner))
    with pytest.raises(SelfAttnBioError, match=message):
        sb.Study(".").ingest()
    assert not (folder / "corpus").exists()


@pytest.fixture
def tracked(folder, ingest):
    """Return the corpus of TRACK with the values 0 to 7, 8 to 15, and 20 to 25."""
    np.savez(folder / "t.npz", a=np.arange(8), b=np.arange(8) + 8, c=np.arange(6) + 20)
    return ingest(toml(TRACK))


def partners_of(corpus):
    return [corpus.partner_letters(i).tobytes() for i in range(len(corpus))]


def test_partners_are_matched_in_any_order(folder, ingest, capsys):
    partners = ">c\nMKWV\n>z\nMMMM\n>a\nMKWV\n>b\nHHHH\n"
    corpus = ingest(toml(PEPTIDE | {"files": "s.fa"}), s_fa=partners)
    # Record b has the same sequence as a
    assert corpus.records["id"].tolist() == ["a", "b", "c"]
    assert partners_of(corpus) == [b"MKWV", b"HHHH", b"MKWV"]
    assert corpus.partner.alphabet.name == "protein"
    assert "partners: 1 partners without a kept record, left out (s.fa)" in capsys.readouterr().out


def test_records_without_a_partner_are_named(folder):
    (folder / "s.fa").write_text(">a\nACG\n>c\nAC\n")
    message = "s.fa: no partner for 'b', 'c'; dropped 1: shorter than 3 bp"
    refused(folder, SEQUENCE | {"files": "s.fa", "k": 3}, message)


def test_partner_in_a_table_column(ingest):
    table = "id,sequence,peptide,label\na,ACGT,MKW,1\nb,CCCC,HHH,0\n"
    run_file = toml(PEPTIDE | {"column": "peptide"}, 'sequences = "t.csv"\nlabel = "label"')
    corpus = ingest(run_file, t_csv=table)
    assert [corpus.letters(i).tobytes() for i in range(2)] == [b"ACGT", b"CCCC"]
    assert partners_of(corpus) == [b"MKW", b"HHH"]


def test_a_track_of_arrays(folder, ingest, capsys):
    np.savez(folder / "t.npz", a=np.arange(8), b=[np.nan] * 7 + [200], c=np.full(6, 92))
    corpus = ingest(toml(TRACK))
    lines = capsys.readouterr().out
    assert "7 positions without a value (t.npz)" in lines
    assert "1 values outside 0 to 92, clipped (t.npz)" in lines
    assert partners_of(corpus) == [b"!\"#$%&'(", b"~~~~~~~}", b"}" * 6]
    about = corpus.partner.summary["sources"][0]
    assert (about["low"], about["high"], about["levels"]) == (0, 92, NUM_LEVELS)


def test_a_track_along_the_genome_is_read_on_the_strand(folder, ingest):
    track = "a\t0\t8\t1\nb\t0\t4\t2\nx\t0\t4\t10\nx\t4\t8\t20\n"
    corpus = ingest(toml(TRACK | {"path": "t.bedGraph"}), t_bedGraph=track)
    levels = [corpus.partner_letters(row).tolist() for row in (1, 2)]
    assert levels[0] == Scale(0, 92).letters([2] * 4 + [np.nan] * 4).tolist()
    # c, on the minus strand, x:2-8
    assert levels[1] == Scale(0, 92).letters([20] * 4 + [10] * 2).tolist()
    unplaced = SimpleNamespace(id="y", chrom=None, start=None, strand=None, length=4)
    assert open_numbers("t.bedGraph")(unplaced) is None


def test_numbers_that_do_not_fit(folder):
    np.savez(folder / "t.npz", a=np.arange(8), b=np.arange(8), c=np.arange(5))
    refused(folder, TRACK, "t.npz: 5 values for record 'c' of length 6")
    np.savez(folder / "t.npz", a=np.array([["x"]]))
    (folder / "u.npz").write_bytes(b"PK no zip")
    np.savez_compressed(folder / "full.npz", a=np.arange(8))
    for name, damage in (("crypt", (6, 1)), ("method", (8, 99)), ("block", (60, 255))):
        content = bytearray((folder / "full.npz").read_bytes())
        for start in (0, content.index(b"PK\1\2") + 2) if name != "block" else (0,):
            content[damage[0] + start] = damage[1]
        (folder / f"{name}.npz").write_bytes(content)
    with zipfile.ZipFile(folder / "twice.npz", "w") as archive:
        archive.writestr("a.npy", b"")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.npy", b"")
    for name, message in (
        ("crypt", "cannot read the .npz file: .*encrypted"),
        ("method", "cannot read the .npz file: "),
        ("block", "cannot read the .npz file: "),
        ("twice", "cannot read the .npz file: two arrays have the id 'a'"),
        ("t", "array 'a' is not a one-dimensional array of numbers .<U1"),
        ("u", "cannot read the .npz file"),
        ("absent", "cannot read the .npz file: .*No such file"),
    ):
        with pytest.raises(IntervalError, match=message):
            open_numbers(f"{name}.npz")


def test_a_partner_changes_the_fingerprint(folder, ingest):
    run_file = toml(SEQUENCE | {"files": "s.fa"})
    texts = [f">a\n{letters}\n>b\nGGGG\n>c\nTTTT\n" for letters in ("AAAA", "CCCC")]
    assert len({ingest(run_file, s_fa=text).fingerprint for text in texts}) == 2


def test_an_altered_partner_is_noticed(tracked):
    path = tracked.path / "partner/letters.bin"
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(CorpusError, match="the sequence of record 'a' was altered"):
        sb.Study(".").corpus  # noqa: B018


def test_corpus_of_another_run_file_is_refused(tracked):
    without = copy(tracked)
    without.partner = None
    for partner, corpus, message in (
        (TRACK | {"high": 1.0}, tracked, "the partners have high 92.0, but the run file has 1.0"),
        (SEQUENCE | {"files": "x"}, tracked, "the partners have alphabet levels, but .* has dna"),
        (TRACK, without, "the corpus has no partners, but the run file has .partner."),
    ):
        with pytest.raises(CorpusError, match=message):
            inputs_of(run_of(partner), corpus)


@pytest.mark.parametrize("pairs", ["given", "first_alone", "partner_alone"])
def test_single_input_control_permutes_the_other(tracked, pairs):
    inputs = inputs_of(run_of(TRACK, training={"pairs": pairs, "seed": 3}), tracked)
    own = [(tracked.letters(i).tobytes(), tracked.partner_letters(i).tobytes()) for i in range(3)]
    found = [tuple(side.tobytes() for side in inputs.of(i)) for i in range(3)]
    for side, stays in enumerate((pairs != "partner_alone", pairs != "first_alone")):
        assert ([pair[side] for pair in found] == [pair[side] for pair in own]) == stays
        assert sorted(pair[side] for pair in found) == sorted(pair[side] for pair in own)


def test_a_track_moves_with_its_letters(tracked):
    inputs, seen = inputs_of(run_of(TRACK), tracked), set()
    for epoch in range(20):
        (first, partner), view = inputs.seen(Augmentation(2, False, 3, 0), 0, epoch, 0)
        assert first.tobytes() == b"ACGTACGT"[view.first : view.last]
        own = np.arange(view.first, view.last)
        assert partner.tolist() == Scale(0, 92).letters(own).tolist()
        seen.add(view)
    assert len(seen) == 5


def test_levels_are_off_by_half_a_step_at_most():
    scale, numbers = Scale(-1.0, 3.0), np.random.default_rng(0).uniform(-1, 3, 1000)
    step = 4 / (NUM_LEVELS - 1)
    levels = scale.letters(numbers) - float(ord("!"))
    assert np.abs(levels * step - 1 - numbers).max() <= step / 2 + 1e-12
    assert scale.letters([-9, 9, np.nan]).tobytes() == b"!}~"


CONFLICTS = r"""
model.kind = 'attention' => partner. cannot be used with model kind 'attention'
training.reverse_complement = true => reverse_complement cannot be used with
model.encoder.members = 1 => set members in .model. instead of
model.partner_encoder.head.kind = 'cls' => set head in .model.encoder. instead of
model.partner_encoder.stem.kind = 'none' => embeddings have 16 dimensions in encoder and 64
transfer.parent = 'x' => transfer. cannot be used with model kind 'paired'
interpret.method.kind = 'rollout' => method 'rollout' cannot explain model
partner = { kind = 'track', path = 't.npz', low = 9, high = 9 } => low \(9\) is not less than
partner = { kind = 'sequence' } => needs files or column
partner = { kind = 'sequence', column = 'x' } => column needs .data. sequences
partner = { kind = 'sequence', files = 'x', alphabet = 'protein', k = 6 } => k 6 is too large for
partner = { kind = 'sequence', files = 'x', k = 2, stride = 3 } => stride 3 skips positions
objective.kind = 'masked' / data.sequences = 'x' => objective 'masked' needs model kind 'attention'
"""


@pytest.mark.parametrize(("text", "message"), errors(CONFLICTS))
def test_conflicting_sections(text, message):
    sections = tomllib.loads(text)
    sections["model"] = {"kind": "paired"} | sections.get("model", {})
    with pytest.raises(ValueError, match=message):
        run_of(**{"partner": TRACK} | sections)


def test_paired_model_needs_a_partner():
    with pytest.raises(ValueError, match=r"model kind 'paired' needs .partner., its second input"):
        run_of(None)


def test_pair_variants_use_each_input_alone():
    run = run_of(TRACK)
    assert list(run.variants) == ["first_alone", "partner_alone", "shuffled"]
    assert run.variant("first_alone").training.pairs == "first_alone"
    assert run.variant("shuffled").is_control()
    alone = run_of(TRACK, variants={"cnn": {"model": {"kind": "cnn"}}}).variant("cnn")
    assert alone.partner is None  # it reads the first input only


def test_run_file_of_pairs_round_trip():
    run = run_of(TRACK, model={"kind": "paired", "partner_encoder": {"num_layers": 1}}, variants={})
    assert config.RunFile.model_validate(run.model_dump(mode="json", exclude_none=True)) == run
    assert "partner" not in config.RunFile.model_validate({"data": DATA}).model_dump()
    assert "pairs" not in config.RunFile.model_validate({"data": DATA}).model_dump()["training"]

"""Tests of the second of two inputs: reading, joining by id and error messages."""

import tomllib
from copy import copy

import pytest
from small_corpus import errors

import selfattn_bio as sb
from selfattn_bio import config
from selfattn_bio.data.inputs import Augmentation, inputs_of
from selfattn_bio.errors import CorpusError, SelfAttnBioError

DATA = {"positives": ["p.fa"], "negatives": ["n.fa"]}
SEQUENCE = {"kind": "sequence"}
PEPTIDE = SEQUENCE | {"alphabet": "protein", "k": 1}
OTHER = SEQUENCE | {"files": "s.fa", "k": 1}


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


def refused(folder, partner, message, *data):
    (folder / "run.toml").write_text(toml(partner, *data))
    with pytest.raises(SelfAttnBioError, match=message):
        sb.Study(".").ingest()
    assert not (folder / "corpus").exists()


@pytest.fixture
def paired(folder, ingest):
    """Return the corpus of OTHER with three different partners."""
    return ingest(toml(OTHER), s_fa=">a\nAAAA\n>b\nCCCC\n>c\nGGT\n")


def partners_of(corpus):
    return [corpus.partner_letters(i).tobytes() for i in range(len(corpus))]


def test_partners_are_matched_in_any_order(folder, ingest, capsys):
    partners = ">c\nMKWV\n>z\nMMMM\n>a\nMKWV\n>b\nHHHH\n"
    corpus = ingest(toml(PEPTIDE | {"files": "s.fa"}), s_fa=partners)
    # Record b has the same sequence as a
    assert corpus.records["id"].tolist() == ["a", "b", "c"]
    assert partners_of(corpus) == [b"MKWV", b"HHHH", b"MKWV"]
    assert corpus.partner.alphabet.name == "protein"
    assert "partners: 1 partners with other ids than the kept records, left out (s.fa)" in (
        capsys.readouterr().out
    )


def test_records_without_a_partner_are_named(folder):
    (folder / "s.fa").write_text(">a\nACG\n>c\nAC\n")
    message = "s.fa: no partner for 'b', 'c'; dropped 1: shorter than 3 bp"
    refused(folder, SEQUENCE | {"files": "s.fa", "k": 3}, message)


def test_partners_with_other_ids_only_are_counted(folder):
    (folder / "s.fa").write_text(">x\nACG\n>y\nAC\n")
    message = "s.fa: no record is left of 2: 2 partners with other ids than the kept .*left out$"
    refused(folder, OTHER, message)


def test_hints_for_partners_name_their_section(folder):
    data = 'sequences = "t.csv"\nlabel = "label"\ncolumns = { sequence = "bases" }'
    table = "id,bases,peptide,label\na,ACGT,MKWLE,1\n"
    (folder / "t.csv").write_text(table)
    hint = r'Rename the column, or set column = "peptide" in \[partner\]$'
    refused(folder, PEPTIDE | {"column": "peptid"}, hint, data)
    hint = r'of protein, or set alphabet = "protein" in \[partner\]$'
    refused(folder, SEQUENCE | {"column": "peptide"}, hint, data)
    (folder / "t.csv").write_text(table.replace("MKW", "M-W"))
    # gaps = "remove" of [data] does not change how partners are read
    refused(folder, PEPTIDE | {"column": "peptide"}, r"new\.fa$", data)


def test_partner_in_a_table_column(ingest):
    table = "id,sequence,peptide,label\na,ACGT,MKW,1\nb,CCCC,HHH,0\n"
    run_file = toml(PEPTIDE | {"column": "peptide"}, 'sequences = "t.csv"\nlabel = "label"')
    corpus = ingest(run_file, t_csv=table)
    assert [corpus.letters(i).tobytes() for i in range(2)] == [b"ACGT", b"CCCC"]
    assert partners_of(corpus) == [b"MKW", b"HHH"]


def test_a_partner_changes_the_fingerprint(folder, ingest):
    run_file = toml(SEQUENCE | {"files": "s.fa"})
    texts = [f">a\n{letters}\n>b\nGGGG\n>c\nTTTT\n" for letters in ("AAAA", "CCCC")]
    assert len({ingest(run_file, s_fa=text).fingerprint for text in texts}) == 2


def test_an_altered_partner_is_noticed(paired):
    path = paired.path / "partner/letters.bin"
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(CorpusError, match="the sequence of record 'a' was altered"):
        sb.Study(".").corpus  # noqa: B018


def test_corpus_of_another_run_file_is_refused(paired):
    without = copy(paired)
    without.partner = None
    for partner, corpus, message in (
        (PEPTIDE | {"files": "x"}, paired, "the partners have alphabet dna, but .* has protein"),
        (OTHER, without, "the corpus has no partners, but the run file has .partner."),
    ):
        with pytest.raises(CorpusError, match=message):
            inputs_of(run_of(partner), corpus)


@pytest.mark.parametrize("pairs", ["given", "first_alone", "partner_alone"])
def test_single_input_control_permutes_the_other(paired, pairs):
    inputs = inputs_of(run_of(OTHER, training={"pairs": pairs, "seed": 3}), paired)
    own = [(paired.letters(i).tobytes(), paired.partner_letters(i).tobytes()) for i in range(3)]
    found = [tuple(side.tobytes() for side in inputs.of(i)) for i in range(3)]
    for side, stays in enumerate((pairs != "partner_alone", pairs != "first_alone")):
        assert ([pair[side] for pair in found] == [pair[side] for pair in own]) == stays
        assert sorted(pair[side] for pair in found) == sorted(pair[side] for pair in own)


def test_a_partner_stays_when_its_sequence_moves(paired):
    inputs, seen = inputs_of(run_of(OTHER), paired), set()
    for epoch in range(20):
        (first, partner), view = inputs.seen(Augmentation(2, False, 3, 0), 0, epoch, 0)
        assert first.tobytes() == b"ACGTACGT"[view.first : view.last]
        assert partner.tobytes() == b"AAAA"
        seen.add(view)
    assert len(seen) == 5


CONFLICTS = r"""
model.kind = 'attention' => partner. cannot be used with model kind 'attention'
training.reverse_complement = true => reverse_complement cannot be used with
model.encoder.members = 1 => set members in .model. instead of
model.partner_encoder.head.kind = 'cls' => set head in .model.encoder. instead of
model.partner_encoder.stem.kind = 'none' => embeddings have 16 dimensions in encoder and 64
transfer.parent = 'x' => transfer. cannot be used with model kind 'paired'
interpret.method.kind = 'rollout' => method 'rollout' cannot explain model
partner = { kind = 'track' } => Input should be 'sequence'
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
        run_of(**{"partner": OTHER} | sections)


def test_paired_model_needs_a_partner():
    with pytest.raises(ValueError, match=r"model kind 'paired' needs .partner., its second input"):
        run_of(None)


def test_pair_variants_use_each_input_alone():
    run = run_of(OTHER)
    assert list(run.variants) == ["first_alone", "partner_alone", "shuffled"]
    assert run.variant("first_alone").training.pairs == "first_alone"
    assert run.variant("shuffled").is_control()
    alone = run_of(OTHER, variants={"cnn": {"model": {"kind": "cnn"}}}).variant("cnn")
    assert alone.partner is None  # it reads the first input only


def test_run_file_of_pairs_round_trip():
    run = run_of(OTHER, model={"kind": "paired", "partner_encoder": {"num_layers": 1}}, variants={})
    assert config.RunFile.model_validate(run.model_dump(mode="json", exclude_none=True)) == run
    assert "partner" not in config.RunFile.model_validate({"data": DATA}).model_dump()
    assert "pairs" not in config.RunFile.model_validate({"data": DATA}).model_dump()["training"]

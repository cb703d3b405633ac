"""Test `hits` in strings and FASTA files, by function and command.

Cases: coordinates, strands, chunks and errors.
"""

import gzip

import numpy as np
import pandas as pd
import pytest
from commands import exit_code, run
from letters import ascii_of, ppm_of

import selfattn_bio
from selfattn_bio.errors import ArgumentError, DatabaseError
from selfattn_bio.evidence import scanning
from selfattn_bio.motifs import jaspar_text, matrix_of, meme_text
from selfattn_bio.motifs.matching import find_hits
from selfattn_bio.sequence.alphabet import DNA, PROTEIN, get_alphabet
from selfattn_bio.sequence.tables import read_bed

WORD = "GGTCACACT"
PPM = ppm_of(WORD)
TURNED = "AGTGTGACC"


def padded(word, before, after):
    return "A" * before + word + "A" * after


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "x.fa.gz"
    place = "chrom=chr2 start=100 end=140 strand=-"
    text = f">r1\n{padded(WORD, 5, 20)}\n>r2 {place}\n{padded(WORD, 11, 20)}\n"
    path.write_bytes(gzip.compress(f"{text}>r3\n{padded(TURNED, 2, 40)}\n".encode()))
    return path


def places(hits):
    return hits[["chrom", "start", "end", "strand"]].to_numpy().tolist()


def test_strings():
    found = selfattn_bio.hits({"m": PPM}, [padded(WORD, 5, 20), padded(TURNED, 3, 5)], hit_p=1e-5)
    assert places(found) == [["0", 5, 14, "+"], ["1", 3, 12, "-"]]
    assert list(found) == ["chrom", "start", "end", "name", "score", "strand", "p_value"]
    assert (found["p_value"] < 1e-5).all()
    assert selfattn_bio.hits({"m": PPM}, ["ACGT" * 5]).empty


def test_records_with_u_have_one_strand(tmp_path):
    motifs = tmp_path / "dna.meme"
    motifs.write_text(meme_text({"m": PPM}, {"m": 100}))
    texts = [padded(word, 5, 20).replace("T", "U") for word in (WORD, TURNED)]
    fasta = tmp_path / "rna.fa"
    fasta.write_text("".join(f">{i}\n{text}\n" for i, text in enumerate(texts)))
    for sequences in (texts, fasta):
        found = selfattn_bio.hits(motifs, sequences, hit_p=1e-5)
        assert places(found) == [["0", 5, 14, "+"]]
    assert len(selfattn_bio.hits(motifs, texts, hit_p=1e-5, alphabet="dna")) == 2
    assert len(selfattn_bio.hits(motifs, [*texts, "ACGT"], hit_p=1e-5)) == 2


def test_hits_use_the_sites_of_a_meme_file(tmp_path):
    path, rng = tmp_path / "few.meme", np.random.default_rng(0)
    text = "".join(rng.choice([*"ACGT"], 2000))
    ppm = np.round(rng.dirichlet(np.full(4, 0.2), 8), 1)
    ppm /= ppm.sum(axis=1, keepdims=True)
    meme, numbers = meme_text({"a": PPM, "m": ppm}, {"a": 300, "m": 8}), []
    for given, number in ((meme, 8), (meme.replace("nsites= 8", ""), 100)):
        path.write_text(given)
        expected = find_hits({"m": ppm}, {"m": number}, [ascii_of(text)], 0.01, DNA)
        found = selfattn_bio.hits(path, [text], hit_p=0.01).query("name == 'm'")
        assert sorted(found["start"]) == sorted(expected["start"])
        numbers.append(len(found))
    assert numbers[0] != numbers[1]


def test_motif_as_consensus(caplog):
    table = selfattn_bio.hits({"T": "TATAWAAG"}, ["CCCTATATAAGCC", "CCCTATACAAGCC"], hit_p=5e-5)
    assert places(table) == [["0", 3, 11, "+"]]
    for wrong in "!X":
        with pytest.raises(ArgumentError, match=f"invalid character '{wrong}' in motif"):
            selfattn_bio.hits({"T": f"TA{wrong}"}, ["ACGT"])
    matrix = {"S": matrix_of("S[ST]P", PROTEIN)}
    assert not len(selfattn_bio.hits(matrix, ["AASSPA"], alphabet="protein", hit_p=1e-4))
    assert "1 motif cannot have a hit with p < 0.0001, for example S" in caplog.text
    as_rna = selfattn_bio.hits({"T": "UAUAWAAG"}, ["CCCTATATAAGCC"], hit_p=5e-5)
    assert as_rna["start"].tolist() == [3]
    with pytest.raises(ArgumentError, match="a motif is empty text"):
        selfattn_bio.hits({"T": ""}, ["ACGT"])


@pytest.mark.parametrize(
    ("alphabet", "pattern", "exact", "others"),
    [
        ("protein", "G....GK[ST]", ["GAAAAGKS", "GXAAAGKT"], ["GAAAAGKA", "AAAAAGKS", "GAAAAGKX"]),
        ("protein", "HE..H", ["HEAAH"], ["HXAAH", "XXXXX"]),
        ("dna", "TATAWAAG", ["TATATAAG"], ["TATANAAG", "TATAGAAG", "NNNNNNNN"]),
    ],
)
def test_patterns_match_exactly(alphabet, pattern, exact, others):
    # a match with one mismatch is below this p-value
    found = selfattn_bio.hits({"m": pattern}, [*exact, *others], alphabet=alphabet, hit_p=0.02)
    assert found["chrom"].tolist() == [str(i) for i in range(len(exact))]
    matrix = {"m": matrix_of(pattern, get_alphabet(alphabet))}
    near = selfattn_bio.hits(matrix, [*exact, *others], alphabet=alphabet, hit_p=0.02)
    assert len(near) > len(found)


def test_short_patterns_match_by_default(caplog):
    patterns = {"KDEL": "[KRHQSAP][DENQT]EL$", "S": "S[ST]P", "NLS": "PKK[KR]RKV"}
    sequences = ["MSTPKKKRKVEDPLKDEL", "KDELASSPA"]
    found = selfattn_bio.hits(patterns, sequences, alphabet="protein")
    assert places(found) == [
        *(["0", 1, 4, "+"], ["0", 3, 10, "+"], ["0", 14, 18, "+"]),
        ["1", 5, 8, "+"],
    ]
    assert not caplog.text
    (start,) = selfattn_bio.hits({"CG": "CG"}, ["AACTTCGA"], alphabet="ssdna")["start"]
    assert start == 5
    assert not len(selfattn_bio.hits({}, sequences, alphabet="protein"))


def test_patterns_of_files_match_exactly(tmp_path):
    path = tmp_path / "p.dat"
    path.write_text("ID   P; PATTERN.\nAC   PS1;\nPA   G-x(4)-G-K-[ST].\n//\n")
    found = selfattn_bio.hits(path, ["GAAAAGKS", "AAAAAGKS", "GAAAAGKX"])
    assert found["chrom"].tolist() == ["0"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("KDEL$", [["1", 3, 7], ["2", 0, 4]]),
        ("^KDEL", [["0", 0, 4], ["2", 0, 4]]),
        ("(^.KDEL)", [["3", 0, 5]]),
        ("^KDEL$", [["2", 0, 4]]),
    ],
)
def test_anchored_patterns_match_at_the_ends(tmp_path, text, expected):
    sequences, elm = ["KDELA", "AAAKDEL", "KDEL", "MKDELA"], tmp_path / "elm.tsv"
    elm.write_text(f'#ELM\n"Accession"\t"ELMIdentifier"\t"Regex"\n"E"\t"K"\t"{text}"\n')
    for motifs in ({"K": text}, elm):
        found = selfattn_bio.hits(motifs, sequences, alphabet="protein")
        assert found[["chrom", "start", "end"]].to_numpy().tolist() == expected


def test_anchors_of_prosite_and_of_dna(tmp_path):
    (tmp_path / "p.dat").write_text("ID   ER; PATTERN.\nAC   PS14;\nPA   [KR]-D-E-L>.\n//\n")
    found = selfattn_bio.hits(tmp_path / "p.dat", ["KDELARDEL", "KDELA"], hit_p=0.01)
    assert places(found) == [["0", 5, 9, "+"]]
    with pytest.raises(ArgumentError, match=r"invalid character '\$' in motif"):
        selfattn_bio.hits({"T": "TATATA$"}, ["TATATA"])
    found = selfattn_bio.hits({"T": "TATATA$"}, ["TATATATA"], alphabet="ssdna")
    assert places(found) == [["0", 2, 8, "+"]]


def test_a_file_with_coordinates(fasta):
    found = selfattn_bio.hits({"m": PPM}, fasta, hit_p=1e-5)
    # positions 11 to 20 of 40, from the other strand
    assert places(found) == [["chr2", 120, 129, "-"], ["r1", 5, 14, "+"], ["r3", 2, 11, "-"]]


def test_hits_have_the_ids_of_records(tmp_path):
    sequence = padded(WORD, 5, 20)
    texts = {"a.fa": f">r1|x y=1\n{sequence}\n", "b.csv": f"id,sequence\nr 1,{sequence}\n"}
    texts["c.csv"] = f"Sequence,ID\n{sequence},r 1\n"
    for (name, text), expected in zip(texts.items(), ("r1|x", "r 1", "r 1"), strict=True):
        (tmp_path / name).write_text(text)
        found = selfattn_bio.hits({"m": PPM}, tmp_path / name, hit_p=1e-5)
        assert places(found) == [[expected, 5, 14, "+"]]


def test_names_of_records_without_ids_are_logged_once(tmp_path, caplog):
    (tmp_path / "b.csv").write_text(f"sequence\n{padded(WORD, 5, 20)}\n")
    with caplog.at_level("INFO"):
        found = selfattn_bio.hits({"m": PPM}, tmp_path / "b.csv", hit_p=1e-5)
    assert places(found) == [["b_1", 5, 14, "+"]]
    assert caplog.text.count("so the records are named b_1, b_2, ...") == 1


def test_chunks_change_nothing(fasta, monkeypatch):
    whole = selfattn_bio.hits({"m": PPM}, fasta)
    monkeypatch.setattr(scanning, "CHUNK_LETTERS", 45)
    pd.testing.assert_frame_equal(selfattn_bio.hits({"m": PPM}, fasta), whole)


@pytest.mark.parametrize("suffix", ["bed", "tsv", "parquet"])
def test_the_command_writes_what_the_function_returns(fasta, tmp_path, capsys, suffix):
    (tmp_path / "m.jaspar").write_text(jaspar_text({"m": (PPM * 100).astype(int)}))
    output = tmp_path / f"hits.{suffix}"
    run(f"hits --motifs {tmp_path}/m.jaspar --fasta {fasta} --hit-p 1e-5 --output {output}")
    assert capsys.readouterr().out == f"hits: wrote 3 hits of 1 motif to {output}\n"
    read = {
        "bed": lambda path: read_bed(path).rename(columns={6: "p_value"}),
        "tsv": lambda path: pd.read_csv(path, sep="\t"),
        "parquet": pd.read_parquet,
    }
    expected = selfattn_bio.hits(tmp_path / "m.jaspar", fasta, hit_p=1e-5)
    pd.testing.assert_frame_equal(read[suffix](output), expected, check_dtype=False, rtol=1e-5)


def test_a_database_that_ships_is_named_as_in_the_run_file(fasta):
    found = selfattn_bio.hits("jaspar:insects", fasta, hit_p=1e-5)
    assert "M1BP (MA1459.2)" in found["name"].tolist()  # TGGTCACACTG
    with pytest.raises(DatabaseError, match=r"database 'jaspar:insect'\. Choose jaspar:fungi, "):
        selfattn_bio.hits("jaspar:insect", fasta)


def test_protein(tmp_path):
    ppm = np.eye(20)[[PROTEIN.letters.index(letter) for letter in "HPDRCC"]]
    (tmp_path / "p.meme").write_text(meme_text({"m": ppm}, {"m": 100}, PROTEIN))
    letters = ["MKVLHPDRCCMK", "CCRDPH"]
    found = selfattn_bio.hits(tmp_path / "p.meme", letters, alphabet="protein", hit_p=1e-5)
    assert places(found) == [["0", 4, 10, "+"]]


@pytest.mark.parametrize(
    ("motifs", "options", "message"),
    [
        ({"m": PPM}, {"hit_p": 1.5}, r"hit_p is 1.5; choose a value between 0 and 1"),
        ({"m": PPM}, {"alphabet": "protein"}, r"shape \(9, 4\) instead of \(width, 20\) for prot"),
        ("none.meme", {}, "motif database not found"),
        ("own.fa", {}, "own.fa:2: this is a FASTA file of sequences, not a JASPAR motif database$"),
    ],
)
def test_scan_refusals(fasta, tmp_path, motifs, options, message):
    (tmp_path / "own.fa").write_text(f">r1\n{WORD}\n")
    with pytest.raises((ValueError, DatabaseError), match=message):
        selfattn_bio.hits(motifs if options else tmp_path / motifs, fasta, **options)


@pytest.mark.parametrize("ppm", [PPM * np.nan, PPM - 0.5, PPM * 20, PPM[:0]])
def test_matrices_that_are_no_probabilities_are_refused(ppm):
    for work in (selfattn_bio.hits, lambda motifs, _: matrix_of(motifs["m"])):
        with pytest.raises(
            ArgumentError, match=r"no row, are negative or do not sum to 1 .* Divide"
        ):
            work({"m": ppm}, ["ACGT" * 9])


def test_refusals_of_the_command(fasta, capsys):
    with pytest.raises(ValueError, match="no such file: 'ACGTACGTACGT"):
        selfattn_bio.hits({"m": PPM}, "ACGT" * 200)
    assert exit_code(f"hits --motifs m.meme --fasta {fasta} --output hits.txt") == 1
    assert "the output file must end with .bed, .tsv or .parquet" in capsys.readouterr().err


def test_error_of_a_motif_file_is_named_first(tmp_path):
    (tmp_path / "m.txt").write_text("hello\n")
    (tmp_path / "p.fa").write_text(">a\nMKVLHPDRCC\n")
    with pytest.raises(DatabaseError, match=r"m\.txt:1: not a motif database"):
        selfattn_bio.hits(tmp_path / "m.txt", tmp_path / "p.fa")
    text = meme_text({"m": np.full((6, 20), 0.05)}, {"m": 100}, PROTEIN)
    lines = [line for line in text.splitlines() if not line.startswith("ALPHABET")]
    (tmp_path / "m.txt").write_text("\n".join(lines) + "\n")  # of 20 letters, which are not named
    assert selfattn_bio.hits(tmp_path / "m.txt", tmp_path / "p.fa", alphabet="protein").empty


def test_scan_files_takes_one_path(fasta, tmp_path):
    found = selfattn_bio.scan_files({"m": PPM}, str(fasta), tmp_path / "hits.tsv", hit_p=1e-3)
    pd.testing.assert_frame_equal(found, selfattn_bio.hits({"m": PPM}, fasta, hit_p=1e-3))

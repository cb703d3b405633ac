"""Test effects of variants in complete records of RNA or DNA, and U in REF and ALT."""

from dataclasses import replace

import numpy as np
import pytest
from genome_models import RUN, random_letters, scorer_of, write_genome, write_vcf
from letters import ppm_of

from selfattn_bio import config
from selfattn_bio.errors import ArgumentError, GenomeError
from selfattn_bio.evidence.variants import annotate_variants, score_substitutions
from selfattn_bio.motifs import meme_text
from selfattn_bio.scoring.variants import VariantOptions, score_variants
from selfattn_bio.sequence.alphabet import PROTEIN


def scorer_of_numbers(alphabet="rna", k=1):
    """Return a model of two numbers, as if trained on records of up to 80 nt, with median 60."""
    data = RUN.data.model_copy(update={"alphabet": alphabet})
    objective = config.RegressionObjective(columns=("u", "v"), center=(2.0, 0.0), scale=(3.0, 1.0))
    changes = {"data": data, "tokens": config.Tokens(k=k), "objective": objective}
    return replace(scorer_of(RUN.model_copy(update=changes)), record_length=60, longest_record=80)


def test_records_of_rna_are_read_completely(tmp_path):
    scorer = scorer_of_numbers()
    names = {"a": 80, "b": 50, "c": 60, "d": 90}
    texts = {name: random_letters(n, n).tobytes().decode() for name, n in names.items()}
    texts = {name: each.replace("T", "U") for name, each in texts.items()}
    path = write_genome(tmp_path / "rna.fa", texts)
    rows = [(name, 21, each[20], "G" if each[20] == "U" else "U") for name, each in texts.items()]
    vcf = write_vcf(tmp_path / "a.vcf", rows)
    table = score_variants(scorer, path, vcf, VariantOptions(background=3))
    assert table["status"].tolist() == ["scored"] * 4
    windows = [np.frombuffer(each[:80].encode(), np.uint8) for each in texts.values()]
    output = scorer.objective.outputs[0]
    expected = output.value(scorer.outputs(windows[:3]))
    ref = table[f"ref_{output.name}"]
    np.testing.assert_allclose(ref[:3], expected, atol=1e-5)
    first = np.frombuffer(texts["d"][:60].encode(), np.uint8)  # longer than all training records
    assert ref[3] == pytest.approx(output.value(scorer.outputs([first]))[0], abs=1e-5)
    with pytest.raises(GenomeError, match=r"no sequence 'nope' in the file \(it has a, b, c, d\)"):
        score_substitutions(scorer, path, "nope")
    for text in (texts["a"], texts["a"] * 9):
        with pytest.raises(GenomeError, match=r"no such file.* Write a sequence to a FASTA file"):
            score_substitutions(scorer, text, "a:1-50")


@pytest.mark.parametrize(("alphabet", "t"), [("rna", "U"), ("dna", "T")])
def test_alleles_change_the_length_of_complete_records(tmp_path, alphabet, t):
    scorer = scorer_of_numbers(alphabet)
    texts = {"a": random_letters(80, 1), "b": random_letters(50, 2)}
    texts = {name: each.tobytes().decode().replace("T", t) for name, each in texts.items()}
    a, b = texts.values()
    rows = [
        ("a", 40, a[39:41], a[39]),  # in the middle of a record as long as the window
        ("a", 79, a[78:], a[78]),
        ("a", 80, a[79], f"{a[79]}GG{t}"),
        ("b", 1, b[:5], "G"),
        ("b", 20, b[19], "G" if b[19] == t else t),
    ]
    path = write_genome(tmp_path / "rna.fa", texts)
    table = score_variants(scorer, path, write_vcf(tmp_path / "a.vcf", rows))
    assert table["status"].tolist() == ["scored"] * 5
    changed = [a[:40] + a[41:], a[:79], f"{a}GG{t}", f"G{b[5:]}", b[:19] + rows[4][3] + b[20:]]
    output = scorer.objective.outputs[0]
    for column, sequences in (("ref", [a, a, a, b, b]), ("alt", changed)):
        letters = [np.frombuffer(each.encode(), np.uint8) for each in sequences]
        expected = output.value(scorer.outputs(letters))
        np.testing.assert_allclose(table[f"{column}_{output.name}"], expected, atol=1e-5)


def test_short_record_of_dna_is_one_window(tmp_path, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    texts = {"short": random_letters(50, 1), "long": random_letters(80, 2)}
    path = write_genome(tmp_path / "peaks.fa", texts)
    scorer = scorer_of_numbers("dna")
    for (name, letters), length in zip(texts.items(), (50, 80), strict=True):
        table = score_substitutions(scorer, path, f"{name}:1-{length}").table
        assert table["status"].tolist() == ["scored"] * 3 * length
        output = scorer.objective.outputs[0]
        expected = output.value(scorer.outputs([letters]))[0]
        np.testing.assert_allclose(table[f"ref_{output.name}"], expected, atol=1e-5)
        assert f"{name}:1-{length}: {length} bp, all in one window" in caplog.messages


def test_nothing_is_written_without_a_score(tmp_path):
    texts = {"tiny": "ACGTAC", "short": random_letters(50, 1)}
    path = write_genome(tmp_path / "peaks.fa", texts)
    scorer = scorer_of_numbers("dna", k=8)
    message = "no allele can be scored in a window of 60 bp. {} not scored: too long for the window"
    with pytest.raises(ArgumentError, match=f"tiny:1-6: {message.format('18 alleles')}"):
        score_substitutions(scorer, path, "tiny:1-6")
    with pytest.raises(ArgumentError, match="in a window of 55 bp"):
        score_substitutions(scorer, path, "short:1-9", VariantOptions(55))
    vcf = write_vcf(tmp_path / "a.vcf", [("tiny", 3, "G", "A")])
    with pytest.raises(ArgumentError, match=f"a.vcf: {message.format('1 allele')}"):
        annotate_variants(scorer, path, vcf, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))
    both = write_vcf(tmp_path / "b.vcf", [("tiny", 3, "G", "A"), ("short", 1, "N", "A")])
    counts = annotate_variants(scorer, path, both, tmp_path / "out")
    assert counts == {"no_window": 1, "scored": 1}


PTS1 = "ID   PTS1; PATTERN.\nAC   PS1;\nPA   [SA]-[KR]-[LM]>.\n//\n"


def changes_of(folder, text, motifs, options=None, alphabet="protein"):
    """Return the last three substitutions, such as L3A, that lose and that gain a motif."""
    path, last = write_genome(folder / "p.fa", {"p": text}), len(text)
    scorer = scorer_of_numbers(alphabet)
    found = score_substitutions(scorer, path, f"p:{last - 2}-{last}", options, motifs=motifs)
    table = found.table
    names = table["ref"] + (table["pos"] - last + 3).astype(str) + table["alt"]
    return [set(names[table[name] != ""]) for name in ("motifs_lost", "motifs_gained")]


@pytest.mark.parametrize("end", ["SKL", "SKM", "ARL"])
def test_substitutions_lose_short_patterns_exactly(tmp_path, end):
    (tmp_path / "p.dat").write_text(PTS1)
    lost, gained = changes_of(tmp_path, "MGD" * 10 + end, tmp_path / "p.dat")
    allowed = ("SA", "KR", "LM")
    assert lost == {
        f"{old}{i + 1}{new}"
        for i, old in enumerate(end)
        for new in set(PROTEIN.letters) - set(allowed[i])
    }
    assert not gained


def test_substitutions_gain_patterns_at_the_end_only(tmp_path):
    path = tmp_path / "p.dat"
    path.write_text(PTS1)
    assert changes_of(tmp_path, "MGD" * 10 + "SKG", path) == [set(), {"G3L", "G3M"}]
    assert changes_of(tmp_path, "MGD" * 10 + "SKGD", path) == [set(), set()]
    # a window may be cut
    window = VariantOptions(20)
    assert changes_of(tmp_path, "MGD" * 10 + "SKL", path, window) == [set(), set()]
    path.write_text(PTS1.replace("[SA]", "<[SA]").replace(">", ""))
    assert changes_of(tmp_path, "MGD" * 10 + "SKL", path) == [set(), set()]
    assert len(changes_of(tmp_path, "SKL", path)[0]) == 54
    # the first or the last letter of a pattern is not at the end of the protein
    for pattern, text in (("[SA]-K>", "MGD" * 10 + "GKD"), ("<[SA]-K", "DSG")):
        path.write_text(f"ID   P; PATTERN.\nAC   PS1;\nPA   {pattern}.\n//\n")
        assert changes_of(tmp_path, text, path) == [set(), set()]
    path.write_text(PTS1.replace(">", ""))
    assert len(changes_of(tmp_path, "MGD" * 10 + "SKL", path, window)[0]) == 54


def test_substitutions_lose_short_matrices(tmp_path, caplog):
    path = tmp_path / "m.meme"
    ppm = np.eye(20)[[PROTEIN.letters.index(letter) for letter in "SKL"]]
    path.write_text(meme_text({"m": ppm}, {"m": 100}, PROTEIN))
    lost, gained = changes_of(tmp_path, "MGD" * 10 + "SKL", path)
    assert len(lost) == 57
    assert not gained
    assert changes_of(tmp_path, "MGD" * 10 + "AKL", path) == [set(), {"A1S"}]
    message = (
        "1 motif cannot have a hit with p < 0.00025, for example m with p = 0.00037 at best. Only"
    )
    assert message in caplog.text


def test_matrices_of_dna_have_one_limit(tmp_path, caplog):
    path = tmp_path / "m.meme"
    for word, number in (("TCGGTA", 9), ("GGTA", 0)):
        path.write_text(meme_text({"m": ppm_of(word)}, {"m": 100}))
        lost, gained = changes_of(tmp_path, "ACCA" * 15 + word, path, alphabet="dna")
        assert len(lost) == number
        assert not gained
    assert caplog.text.count("for example m with p = 0.0039 at best. Raise hit_p of") == 1

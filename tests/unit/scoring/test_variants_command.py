"""Test the command variants: annotated VCF, messages, saturation plots, motifs."""

import gzip
import re

import numpy as np
import pandas as pd
import pysam
import pytest
from commands import exit_code, run
from genome_models import (
    HEADER,
    RUN,
    open_genome,
    other,
    random_letters,
    scorer_of,
    text,
    write_genome,
    write_model,
    write_vcf,
)
from letters import ppm_of

from selfattn_bio.evidence.variants import annotate_variants
from selfattn_bio.motifs import meme_text
from selfattn_bio.scoring.variants import score_variants
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.genome import Genome

VARIANTS = "variants --model model --genome toy1.fa --output a"


@pytest.fixture
def genome(tmp_path, monkeypatch):
    """Change to a folder with a model, and return its genome."""
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "model", RUN, length=60)
    return open_genome(tmp_path)


def read_effects(prefix):
    return pd.read_csv(f"{prefix}.effects.tsv", sep="\t")


def test_annotated_vcf_adds_info_fields(genome, tmp_path, capsys):
    lines = []
    for pos, alts, info in ((300, "{},*", "DP=1"), (100, ".", "DP=2;X"), (200, "{},{}", ".")):
        ref = text(genome, pos - 1, pos)
        alt = alts.format(other(ref), other(ref, 1))
        lines.append(f"chrA\t{pos}\trs{pos}\t{ref}\t{alt}\t{pos}.50\tPASS\t{info}")
    (tmp_path / "a.vcf").write_text(HEADER + "\n".join(lines) + "\n")
    run("variants --model model --genome toy1.fa --vcf a.vcf --output out/a")
    table, expected = read_effects("out/a"), score_variants("./model", genome, "a.vcf")
    pd.testing.assert_frame_equal(table, expected, rtol=1e-4, check_dtype=False)
    annotated = tmp_path / "out" / "a.annotated.vcf.gz"
    written = gzip.decompress(annotated.read_bytes()).decode().splitlines()
    before = [line for line in written if not line.startswith("##INFO=<ID=SAB")]
    assert before[:-3] == HEADER.splitlines()
    assert written[-2] == lines[1]  # not scored
    plain = [re.sub(";?SAB_LOGIT_REF.*", "", line) for line in written[-3:]]
    assert plain == [lines[0], lines[1], lines[2][:-1]]
    with pysam.VariantFile(str(annotated)) as file:
        read = list(file)
    effects = [x for record in (read[0], read[2]) for x in record.info["SAB_EFFECT"]]
    found = np.array(effects, float)  # None becomes NaN
    np.testing.assert_allclose(found, table["effect"][[0, 1, 3, 4]], rtol=1e-4)
    printed = capsys.readouterr().out
    assert "variants: 3 lines, every REF agrees with the genome\n" in printed
    assert "variants: 3 alleles scored\nvariants: 2 alleles not scored: ALT is . or *\n" in printed
    assert exit_code(f"{VARIANTS} --vcf out/a.annotated.vcf.gz") == 1
    assert "a.annotated.vcf.gz:5: the header already defines" in capsys.readouterr().err


def test_reference_mismatches_are_reported(genome, tmp_path, capsys, caplog):
    right = ("A", 300, text(genome, 299, 300), "ACGT")
    wrong = ("A", 200, other(text(genome, 199, 200)), "ACGT")
    path = write_vcf(tmp_path / "a.vcf", [right, wrong])
    assert exit_code(f"{VARIANTS} --vcf a.vcf") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    message = "in 1 of 2 lines, more than 5%; the first is a.vcf:7: REF is"
    assert f"a.vcf: REF differs from the genome {message} {wrong[2]}" in error
    assert list(tmp_path.glob("a.*")) == [path]
    caplog.set_level("INFO", "selfattn_bio")
    counts = annotate_variants("./model", genome, path, "a", mismatches=0.5)
    assert counts == {"scored": 1, "reference_mismatch": 1}
    assert f"REF differs from the genome in 1: {path}:7: REF is {wrong[2]}" in caplog.text


def test_empty_files_and_regions_are_refused(genome, tmp_path, capsys):
    path = write_vcf(tmp_path / "a.vcf", [])
    symbolic = [("chrA", 200, text(genome, 199, 200), "<DEL>")]
    write_vcf(tmp_path / "symbolic.vcf", symbolic)
    for option, message in (
        ("--vcf a.vcf", "error: a.vcf: the VCF has a header but no variants\n"),
        ("--vcf symbolic.vcf", "error: symbolic.vcf:6: unsupported symbolic ALT '<DEL>'"),
        ("--region chrA:151-153", "151-153: the region has no A, C, G or T that the model reads"),
    ):
        assert exit_code(f"{VARIANTS} {option}") == 1
        assert message in capsys.readouterr().err
    assert list(tmp_path.glob("a.*")) == [path]


def test_other_assembly_is_reported(genome, tmp_path, capsys):
    run(f"{VARIANTS} --region chrA:201-203")
    assert "trained on" not in capsys.readouterr().err
    (tmp_path / "toy2.fa").write_bytes(genome.path.read_bytes())
    run("variants --model model --genome toy2.fa --region chrA:201-203 --output a")
    message = "the model was trained on 'toy1', but the genome is named 'toy2'\n"
    assert message in capsys.readouterr().err


def test_saturation_of_a_region_is_plotted(genome, tmp_path, capsys):
    run(f"{VARIANTS} --region A:201-230 --rc")
    table = read_effects("a")
    assert len(table) == 3 * 30
    assert len(set(table["logit_ref"])) == 1
    window = genome.fetch("chrA", 215 - 30, 215 + 30)
    expected = scorer_of(RUN).logits([window, DNA.reverse_complement(window)]).mean()
    assert table["logit_ref"][0] == pytest.approx(expected, abs=1e-5)
    assert (tmp_path / "a.saturation.svg").read_text().startswith("<?xml")
    assert "variants: chrA:201-230: 30 bp, all in one window\n" in capsys.readouterr().out
    run(f"{VARIANTS} --region chrA:201-270")
    assert read_effects("a")["logit_ref"].nunique() == 70
    assert "70 bp, each in its own window\n" in capsys.readouterr().out


@pytest.mark.slow
def test_motifs_gained_or_lost_by_an_allele(genome, tmp_path):
    letters = random_letters(400, 3)
    letters[200:208] = np.frombuffer(b"TATCGATA", np.uint8)
    letters[100:108] = np.frombuffer(b"TATCGGTA", np.uint8)
    own = Genome(write_genome(tmp_path / "own.fa", {"chrA": letters}))
    ppm = ppm_of("TATCGATA")
    ppms = {"dre": ppm, "gc": ppm[:, [1, 0, 3, 2]]}
    (tmp_path / "m.meme").write_text(meme_text(ppms, {"dre": 50, "gc": 50}))
    rows = [("chrA", 205, "G", "A,G"), ("chrA", 106, "G", "*,A")]
    write_vcf(tmp_path / "a.vcf", [*rows, ("chrA", 300, text(own, 299, 300), "*")])
    run("variants --model model --genome own.fa --vcf a.vcf --motifs m.meme --output a")
    table = pd.read_csv("a.effects.tsv", sep="\t", keep_default_na=False)
    assert table["motifs_lost"].tolist() == ["dre", "", "", "", ""]
    assert table["motifs_gained"].tolist() == ["", "", "", "dre", ""]

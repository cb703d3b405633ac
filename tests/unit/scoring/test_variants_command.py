"""Test the command variants: annotated VCF, messages, saturation plots, motifs."""

import gzip

import numpy as np
import pandas as pd
import pysam
import pytest
from genome_models import random_letters, scorer_of, write_genome, write_model
from variant_files import HEADER, RUN, open_genome, other, text, write_vcf

from selfattn_bio.cli.main import main
from selfattn_bio.errors import VariantFileError
from selfattn_bio.motifs import meme_text
from selfattn_bio.scoring import variants as module
from selfattn_bio.scoring.variants import (
    score_variants,
)
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.genome import Genome


@pytest.fixture
def genome(tmp_path):
    return open_genome(tmp_path)


# command
@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model", RUN, length=60)


def command(*arguments):
    return main(["variants", *map(str, arguments)])


def test_annotated_vcf_adds_info_fields(genome, model, tmp_path, capsys):
    refs = [text(genome, pos - 1, pos) for pos in (100, 200, 300)]
    path = tmp_path / "a.vcf"
    lines = [
        f"chrA\t{pos}\trs{pos}\t{ref}\t{alt}\t{pos}.50\tPASS\t{info}"
        for pos, ref, alt, info in zip(
            (300, 100, 200),
            (refs[2], refs[0], refs[1]),
            (f"{other(refs[2])},*", ".", f"{other(refs[1])},{other(refs[1], 1)}"),
            ("DP=1", "DP=2;X", "."),
            strict=True,
        )
    ]
    path.write_text(HEADER + "\n".join(lines) + "\n")
    assert (
        command(
            "--model",
            model,
            "--genome",
            genome.path,
            "--vcf",
            path,
            "--output",
            tmp_path / "out" / "a",
        )
        == 0
    )
    table = pd.read_csv(tmp_path / "out" / "a.effects.tsv", sep="\t")
    pd.testing.assert_frame_equal(
        table, score_variants(model, genome, path), rtol=1e-4, check_dtype=False
    )
    written = (
        gzip.decompress((tmp_path / "out" / "a.annotated.vcf.gz").read_bytes())
        .decode()
        .splitlines()
    )
    assert [line for line in written if not line.startswith("##INFO=<ID=SAB")][
        :-3
    ] == HEADER.splitlines()
    assert written[-2] == lines[1]  # not scored
    assert [line.split(";SAB_LOGIT_REF")[0].split("SAB_LOGIT_REF")[0] for line in written[-3:]] == [
        lines[0],
        lines[1],
        lines[2][:-1],
    ]
    with pysam.VariantFile(str(tmp_path / "out" / "a.annotated.vcf.gz")) as file:
        read = list(file)
    effects = [x for record in (read[0], read[2]) for x in record.info["SAB_EFFECT"]]
    np.testing.assert_allclose(
        [np.nan if x is None else x for x in effects],
        [table["effect"][i] for i in (0, 1, 3, 4)],
        rtol=1e-4,
    )
    printed = capsys.readouterr().out
    assert "variants: 3 lines, every REF agrees with the genome\n" in printed
    assert "variants: 3 alleles scored\nvariants: 2 alleles not scored: ALT is . or *\n" in printed
    assert (
        command(
            "--model",
            model,
            "--genome",
            genome.path,
            "--vcf",
            tmp_path / "out" / "a.annotated.vcf.gz",
            "--output",
            tmp_path / "b",
        )
        == 1
    )
    assert (
        "a.annotated.vcf.gz:5: the header already defines the INFO field SAB_LOGIT_REF."
        in capsys.readouterr().err
    )


def test_reference_mismatches_are_reported(genome, model, tmp_path, capsys):
    right = ("A", 300, text(genome, 299, 300), "ACGT")
    wrong = ("A", 200, other(text(genome, 199, 200)), "ACGT")
    path = write_vcf(tmp_path / "a.vcf", [right, wrong])
    basis = ("--model", model, "--genome", genome.path, "--vcf", path, "--output", tmp_path / "a")
    assert command(*basis) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(
        f"selfattn-bio variants: error: {path}: REF differs from the genome in 1 of 2 lines, more "
        "than 5%"
    )
    assert list(tmp_path.glob("a.*")) == [path]
    assert command(*basis, "--mismatches", 0.5) == 0
    printed = capsys.readouterr().out
    assert (
        f"variants: 2 lines, REF differs from the genome in 1: {path}:7: REF is {wrong[2]}, but "
        "the genome has" in printed
    )
    assert "variants: 1 allele not scored: REF differs from the genome\n" in printed


def test_file_without_variants_is_refused(genome, model, tmp_path, capsys):
    path = write_vcf(tmp_path / "a.vcf", [])
    assert (
        command(
            "--model", model, "--genome", genome.path, "--vcf", path, "--output", tmp_path / "a"
        )
        == 1
    )
    assert (
        capsys.readouterr().err
        == f"selfattn-bio variants: error: {path}: the VCF has a header but no variants\n"
    )
    with pytest.raises(VariantFileError, match="the VCF has a header but no variants"):
        score_variants(model, genome, path)
    assert (
        command(
            "--model",
            model,
            "--genome",
            genome.path,
            "--region",
            "chrA:151-153",
            "--output",
            tmp_path / "a",
        )
        == 1
    )
    assert (
        "chrA:151-153: the region has no A, C, G or T that the model reads"
        in capsys.readouterr().err
    )
    assert list(tmp_path.glob("a.*")) == [path]


def test_other_assembly_is_reported(genome, model, tmp_path, capsys):
    for name, warning in (
        ("toy1", ""),
        (
            "toy2",
            "selfattn-bio variants: warning: the model was trained on 'toy1', but the genome "
            "is named 'toy2'\n",
        ),
    ):
        path = tmp_path / f"{name}.fa"
        path.write_bytes(genome.path.read_bytes())
        assert (
            command(
                "--model",
                model,
                "--genome",
                path,
                "--region",
                "chrA:201-203",
                "--output",
                tmp_path / "a",
            )
            == 0
        )
        printed = capsys.readouterr().err
        assert warning in printed
        assert ("warning: the model was trained on" in printed) == bool(warning)


def test_internal_error_keeps_its_traceback(genome, model, tmp_path, monkeypatch):
    monkeypatch.setattr(
        module, "_logits", lambda *_: (_ for _ in ()).throw(ValueError("inside torch"))
    )
    with pytest.raises(ValueError, match="inside torch"):
        command(
            "--model",
            model,
            "--genome",
            genome.path,
            "--region",
            "chrA:201-203",
            "--output",
            tmp_path / "a",
        )


def test_symbolic_allele_error(genome, model, tmp_path, capsys):
    path = write_vcf(tmp_path / "a.vcf", [("chrA", 200, text(genome, 199, 200), "<DEL>")])
    assert (
        command(
            "--model", model, "--genome", genome.path, "--vcf", path, "--output", tmp_path / "a"
        )
        == 1
    )
    assert (
        f"error: {path}:6: unsupported symbolic ALT '<DEL>' (expected A, C, G, T, N, . or *)"
        in capsys.readouterr().err
    )


def test_saturation_of_a_region_is_plotted(genome, model, tmp_path, capsys):
    assert (
        command(
            "--model",
            model,
            "--genome",
            genome.path,
            "--region",
            "A:201-230",
            "--rc",
            "--output",
            tmp_path / "a",
        )
        == 0
    )
    table = pd.read_csv(tmp_path / "a.effects.tsv", sep="\t")
    assert len(table) == 3 * 30
    assert len(set(table["logit_ref"])) == 1
    window = genome.fetch("chrA", 215 - 30, 215 + 30)
    scorer = scorer_of(RUN)
    assert table["logit_ref"][0] == pytest.approx(
        scorer.logits([window, DNA.reverse_complement(window)]).mean(), abs=1e-5
    )
    assert (tmp_path / "a.saturation.svg").read_text().startswith("<?xml")
    assert "variants: chrA:201-230: 30 bp, all in one window\n" in capsys.readouterr().out
    assert (
        command(
            "--model",
            model,
            "--genome",
            genome.path,
            "--region",
            "chrA:201-270",
            "--output",
            tmp_path / "b",
        )
        == 0
    )
    assert pd.read_csv(tmp_path / "b.effects.tsv", sep="\t")["logit_ref"].nunique() == 70
    assert "70 bp, each in its own window\n" in capsys.readouterr().out


@pytest.mark.slow
def test_motifs_gained_or_lost_by_an_allele(genome, model, tmp_path):
    site = "TATCGATA"
    letters = random_letters(400, 3)
    letters[200:208] = np.frombuffer(site.encode(), np.uint8)
    letters[100:108] = np.frombuffer(b"TATCGGTA", np.uint8)
    own = Genome(write_genome(tmp_path / "own.fa", {"chrA": letters}))
    ppm = (
        np.frombuffer(site.encode(), np.uint8)[:, None] == np.frombuffer(b"ACGT", np.uint8)
    ).astype(float)
    (tmp_path / "m.meme").write_text(
        meme_text({"dre": ppm, "gc": ppm[:, [1, 0, 3, 2]]}, {"dre": 50, "gc": 50})
    )
    path = write_vcf(
        tmp_path / "a.vcf",
        [
            ("chrA", 205, "G", "A,G"),
            ("chrA", 106, "G", "*,A"),
            ("chrA", 300, text(own, 299, 300), "*"),
        ],
    )
    assert (
        command(
            "--model",
            model,
            "--genome",
            own.path,
            "--vcf",
            path,
            "--motifs",
            tmp_path / "m.meme",
            "--output",
            tmp_path / "a",
        )
        == 0
    )
    table = pd.read_csv(tmp_path / "a.effects.tsv", sep="\t", keep_default_na=False)
    assert table["motifs_lost"].tolist() == ["dre", "", "", "", ""]
    assert table["motifs_gained"].tolist() == ["", "", "", "dre", ""]


def test_background_of_a_region_is_refused(genome, model, tmp_path, capsys):
    paths = "--model", model, "--genome", genome.path, "--output", tmp_path / "a"
    assert command(*paths, "--region", "chrA:200-203", "--background", 10) == 1
    assert "--background is for --vcf" in capsys.readouterr().err
    assert command(*paths, "--region", "chrA:200-203", "--background", 0) == 1
    assert "--background is 0; it must be at least 1" in capsys.readouterr().err


def test_background_adds_percentiles_to_table(genome, model, tmp_path):
    ref = text(genome, 199, 200)
    path = write_vcf(tmp_path / "a.vcf", [("chrA", 200, ref, other(ref))])
    paths = "--model", model, "--genome", genome.path, "--output", tmp_path / "a"
    assert command(*paths, "--vcf", path, "--background", 20) == 0
    percentile = pd.read_csv(tmp_path / "a.effects.tsv", sep="\t")["effect_percentile"].item()
    assert percentile in np.arange(0, 101, 5)

"""Test effects of variants: windows of both alleles, placements, status, several models."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pysam
import pytest
from genome_models import random_letters, scorer_of, write_genome, write_model
from scipy.special import expit
from variant_files import RUN, open_genome, other, text, write_vcf

from selfattn_bio import config
from selfattn_bio.errors import ArgumentError, VariantFileError
from selfattn_bio.evidence.variants import annotate_variants, score_substitutions
from selfattn_bio.objectives.base import spread
from selfattn_bio.scoring import variants as module
from selfattn_bio.scoring.annotated import info_fields
from selfattn_bio.scoring.regions import Region
from selfattn_bio.scoring.scorer import Ensemble
from selfattn_bio.scoring.variants import (
    VariantOptions,
    mismatch,
    score_variants,
    substitutions,
    windows_of,
)
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.vcf import VcfFile, VcfVariant


@pytest.fixture
def genome(tmp_path):
    return open_genome(tmp_path)


CASES = {  # start, REF, ALT, window start, size -> both windows, and the offset of the allele
    "a substitution": (4, "A", "T", 2, 5, "GTACG", "GTTCG", 2),
    "a deletion pulls bases in from the right": (1, "CG", "C", 1, 5, "CGTAC", "CTACG", 0),
    "a longer deletion": (2, "GTA", "G", 0, 6, "ACGTAC", "ACGCGT", 2),
    "an insertion pushes bases out at the right": (4, "A", "ATT", 2, 6, "GTACGT", "GTATTC", 2),
    "several bases for as many": (3, "TA", "CC", 2, 4, "GTAC", "GCCC", 1),
    "moved in at the start": (1, "C", "T", -2, 5, "ACGTA", "ATGTA", 1),
    "moved in at the end": (8, "A", "T", 6, 5, "CGTAC", "CGTTC", 3),
    "a deletion near the end of the chromosome": (7, "TA", "T", 5, 4, "CGTA", "CGTC", 2),
    "the last base": (9, "C", "G", 7, 5, "CGTAC", "CGTAG", 4),
}


@pytest.mark.parametrize("case", CASES)
def test_windows_of_both_alleles(genome, case):
    start, ref, alt, first, size, with_ref, with_alt, at = CASES[case]
    variant = VcfVariant("x:1", "tiny", "tiny", start, ".", ref, (alt,))
    pair = windows_of(genome, variant, alt, [first], size)
    found = [windows[0].tobytes().decode() for windows in (pair.ref, pair.alt)]
    assert (found, pair.positions.tolist()) == ([with_ref, with_alt], [at])


@pytest.mark.parametrize(
    ("start", "ref", "alt", "first", "size"),
    [
        (4, "ACGT", "A", 2, 5),  # REF does not fit
        (4, "A", "ATTTT", 2, 5),  # ALT does not fit
        (4, "A", "T", 0, 11),  # the window is longer than the chromosome
        (1, "CGTA", "C", 0, 8),  # no bases are left to fill the window
        (8, "AC", "A", 5, 5),  # at the end, where the deletion needs a base beyond it
        (4, "A", "T", 5, 3),  # the window starts after the variant
    ],
)
def test_alleles_that_fit_no_window(genome, start, ref, alt, first, size):
    variant = VcfVariant("x:1", "tiny", "tiny", start, ".", ref, (alt,))
    assert windows_of(genome, variant, alt, [first], size) is None


def test_placements_spread_over_the_middle_half():
    variant = VcfVariant("x:1", "c", "c", 1000, ".", "A", ("C",))
    assert VariantOptions().starts(variant, 300) == [850]
    assert VariantOptions(placements=3).starts(variant, 300) == [800, 850, 900]
    assert VariantOptions(around=1100).starts(variant, 300) == [950]
    for options in ({"window": 0}, {"placements": 0}):
        with pytest.raises(ValueError, match="is 0; it must be at least 1"):
            VariantOptions(**options)


@pytest.mark.parametrize("rc", [False, True])
@pytest.mark.parametrize("placements", [1, 3])
def test_effects_are_logit_differences(genome, tmp_path, monkeypatch, rc, placements):
    monkeypatch.setattr(module, "BATCH", 2)
    rows = [("A", 201, text(genome, 200, 201), other(text(genome, 200, 201)))]
    rows += [
        ("chrA", 101, text(genome, 100, 104), text(genome, 100, 101)),
        ("chrA", 301, text(genome, 300, 301), "GATTACA"),
    ]
    scorer = scorer_of(RUN)
    options = VariantOptions(window=60, rc=rc, placements=placements)
    table = score_variants(scorer, genome, write_vcf(tmp_path / "a.vcf", rows), options=options)
    assert table[["chrom", "pos", "ref", "alt"]].to_numpy().tolist() == [list(row) for row in rows]
    for (_, pos, ref, alt), found in zip(rows, table.to_dict("records"), strict=True):
        logits = {}
        for allele in (ref, alt):
            long = (
                text(genome, pos - 1 - 60, pos - 1)
                + allele
                + text(genome, pos - 1 + len(ref), pos - 1 + len(ref) + 60)
            )
            starts = [60 - 30 + shift for shift in ((0,) if placements == 1 else (-10, 0, 10))]
            windows = [
                np.frombuffer(long[start : start + 60].encode(), np.uint8) for start in starts
            ]
            readings = windows + [DNA.reverse_complement(window) for window in windows] * rc
            logits[allele] = scorer.logits(readings).mean()
        assert found["logit_ref"] == pytest.approx(logits[ref], abs=1e-5)
        assert found["logit_alt"] == pytest.approx(logits[alt], abs=1e-5)
        assert found["effect"] == pytest.approx(logits[alt] - logits[ref], abs=1e-5)
        assert found["probability_effect"] == pytest.approx(
            expit(logits[alt] / 2 + 0.2) - expit(logits[ref] / 2 + 0.2), abs=1e-5
        )
    assert table["effect"].abs().max() > 1e-3
    assert set(table["status"]) == {"scored"}


NUMBERS = {"columns": ("a", "b", "c"), "center": (2.0, 0.0, 1.0), "scale": (3.0, 1.0, 0.5)}
CLASSES = config.MulticlassPart(column="k", classes=("x", "y", "z"))
OBJECTIVES = {
    "regression": config.RegressionObjective(**NUMBERS),
    "multiclass": config.MulticlassObjective(column="k", classes=("x", "y", "z")),
    "multilabel": config.MultilabelObjective(columns=("u", "v")),
    "several": config.SeveralObjective(
        parts={"family": CLASSES, "number": config.RegressionPart(**NUMBERS)}
    ),
    "labels": config.LabelsObjective(column="s", classes="HE"),
    "bins": config.BinsObjective(points="p.bed", bin=4),
}


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_each_output_has_an_effect_in_its_unit(genome, tmp_path, kind):
    rc = kind not in ("labels", "bins")
    members = [scorer_of(RUN.model_copy(update={"objective": OBJECTIVES[kind]}), i) for i in (0, 1)]
    rows = [("chrA", 201, text(genome, 200, 201), other(text(genome, 200, 201)))]
    rows += [
        ("chrA", 101, text(genome, 100, 104), text(genome, 100, 101)),
        ("chrA", 301, text(genome, 300, 301), f"GATTACA,*,{other(text(genome, 300, 301))}"),
    ]
    path, options = write_vcf(tmp_path / "a.vcf", rows), VariantOptions(60, rc=rc)
    tables = [score_variants(member, genome, path, options) for member in members]
    outputs = members[0].objective.outputs
    largest = []
    for row in tables[0][tables[0]["status"] == "scored"].to_dict("records"):
        start = row["pos"] - 1
        left, right = text(genome, start - 30, start), text(genome, start + len(row["ref"]), 400)
        windows = [
            np.frombuffer((left + row[allele] + right)[:60].encode(), np.uint8)
            for allele in ("ref", "alt")
        ]
        read = members[0].outputs(windows)
        if rc:
            reverse = [DNA.reverse_complement(window) for window in windows]
            read = (read + members[0].outputs(reverse)) / 2
        effects = {}
        for output in outputs:
            ref, alt = output.value(read)
            found = [row[f"{what}_{output.name}"] for what in ("ref", "alt", "effect")]
            assert found == pytest.approx([ref, alt, alt - ref], abs=1e-5)
            effects[output.name] = abs(alt - ref) / output.scale
        largest.append(row["largest_effect"] == max(effects, key=effects.get))
    assert largest == [True] * 4
    unscored = tables[0][tables[0]["status"] == "no_allele"]
    assert unscored.filter(like="effect_").isna().all(axis=None)
    assert unscored["largest_effect"].tolist() == [""]
    both = score_variants(Ensemble(tuple(members)), genome, path, options)
    for output in outputs:
        each = np.stack([table[f"effect_{output.name}"] for table in tables])
        np.testing.assert_allclose(both[f"effect_{output.name}"], each.mean(axis=0))
        np.testing.assert_allclose(both[f"effect_spread_{output.name}"], spread(each))
    if not rc:
        with pytest.raises(ArgumentError, match="rc cannot be used with objective"):
            score_variants(members[0], genome, path, VariantOptions(60, rc=True))
    with pytest.raises(ArgumentError, match="prior is for the probabilities of a binary model"):
        score_variants(members[0], genome, path, VariantOptions(60, prior=0.1))


def test_fields_and_plots_of_several_outputs(genome, tmp_path):
    scorer = scorer_of(RUN.model_copy(update={"objective": OBJECTIVES["several"]}))
    path = write_vcf(
        tmp_path / "a.vcf", [("chrA", 201, text(genome, 200, 201), other(text(genome, 200, 201)))]
    )
    options = VariantOptions(60, background=20)
    annotate_variants(scorer, genome, path, tmp_path / "a", options)
    table = score_variants(scorer, genome, path, options)
    with pysam.VariantFile(str(tmp_path / "a.annotated.vcf.gz")) as file:
        (record,), header = list(file), file.header.info
        for name, unit in (("family.y", "log-odds"), ("number.c", "c")):
            field = f"SAB_EFFECT_{name}"
            assert record.info[field] == pytest.approx(table[f"effect_{name}"], abs=1e-4)
            assert f"({unit}), by selfattn_bio" in header[field].description
            assert table[f"effect_percentile_{name}"].between(0, 100).all()
    assert list(info_fields({"+": "log", "-": "log"})) == ["SAB_EFFECT_1", "SAB_EFFECT_2"]
    found = score_substitutions(scorer, genome, "chrA:201-203", options=VariantOptions(60))
    letters, _, bar = found.plot(output="number.c").axes
    assert (letters.get_ylabel(), bar.get_ylabel()) == ("mean loss (c)", "effect (c)")
    heat = found.plot(output="number.c").axes[1].images[0].get_array()
    expected = found.table.pivot_table("effect_number.c", "alt", "pos").to_numpy()
    np.testing.assert_allclose(np.ma.filled(heat, np.nan), expected)
    with pytest.raises(ArgumentError, match="no output 'c'; the outputs are family"):
        found.plot(output="c")
    found.save(tmp_path / "b")
    assert len(list(tmp_path.glob("b.saturation.*.svg"))) == 6


def test_several_alternatives_equal_separate_lines(genome, tmp_path):
    ref = text(genome, 99, 102)
    alts = [ref[0], ref + "GG", other(ref[0]) + ref[1:]]
    together, apart = (
        score_variants(
            scorer_of(RUN), genome, write_vcf(tmp_path / "a.vcf", rows), options=VariantOptions(60)
        )
        for rows in (
            [("chrA", 100, ref, ",".join(alts))],
            [("chrA", 100, ref, alt) for alt in alts],
        )
    )
    pd.testing.assert_frame_equal(together, apart)


def test_unscored_variants_have_a_status(genome, tmp_path):
    ref = text(genome, 199, 200)
    rows = [("chrA", 200, ref, f"*,{other(ref)},.")] * 20
    rows += [
        ("chrA", 200, other(ref), ref),
        ("chrA", 200, text(genome, 199, 240), "A"),
        ("tiny", 3, "G", "A"),
    ]
    table = score_variants(
        scorer_of(RUN), genome, write_vcf(tmp_path / "a.vcf", rows), options=VariantOptions(60)
    )
    assert table["status"].tolist() == ["no_allele", "scored", "no_allele"] * 20 + [
        "reference_mismatch",
        "no_window",
        "no_window",
    ]
    assert (table["effect"].notna() == (table["status"] == "scored")).all()


def test_soft_masked_bases_are_n_if_trained_so(tmp_path):
    letters = random_letters(400, 3).tobytes().decode()
    soft, hard = (
        write_genome(tmp_path / f"{name}.fa", {"chrA": letters[:180] + masked + letters[190:]})
        for name, masked in (("soft", letters[180:190].lower()), ("hard", "N" * 10))
    )
    rows = [("chrA", pos, letters[pos - 1], other(letters[pos - 1])) for pos in (200, 185, 201)]
    scorer = scorer_of(
        RUN.model_copy(update={"data": RUN.data.model_copy(update={"soft_mask": "hard"})})
    )
    path = write_vcf(tmp_path / "a.vcf", rows)
    found, expected = (
        score_variants(scorer, genome, path, options=VariantOptions(60)) for genome in (soft, hard)
    )
    assert found["status"].tolist() == ["scored", "soft_masked", "scored"]
    pd.testing.assert_frame_equal(found.iloc[[0, 2]], expected.iloc[[0, 2]])
    assert not np.allclose(
        found["logit_ref"][0],
        score_variants(scorer_of(RUN), soft, path, options=VariantOptions(60))["logit_ref"][0],
    )
    # the mask does not hide it
    wrong = write_vcf(tmp_path / "b.vcf", [*rows, ("chrA", 186, other(letters[185]), "ACGT")])
    with pytest.raises(
        VariantFileError, match="REF differs from the genome in 1 of 4 lines, more than 5%"
    ):
        score_variants(scorer, soft, wrong, options=VariantOptions(60))


def test_genome_of_other_assembly_is_refused(genome, tmp_path):
    wrong = ("chrA", 200, other(text(genome, 199, 200)), "ACGT")
    right = ("chrA", 300, text(genome, 299, 300), "ACGT")
    path = write_vcf(tmp_path / "a.vcf", [right, wrong, right, right])
    message = (
        r"a\.vcf: REF differs from the genome in 1 of 4 lines, more than 5%; the first is "
        rf".*:7: REF is {wrong[2]}, but the genome has"
    )
    with pytest.raises(VariantFileError, match=message):
        score_variants(scorer_of(RUN), genome, path, options=VariantOptions(60))
    assert module.check_reference(VcfFile(path, genome), most=0.25)[:2] == (4, 1)


def test_ambiguous_bases_match_any_reference(genome):
    def differs(start, ref):
        return mismatch(genome, VcfVariant("x:1", "chrA", "chrA", start, ".", ref, ("A",)))

    assert differs(150, "ACGA") is None  # the genome has NNRA
    assert differs(153, "N") is None
    assert differs(153, "C") == "A"


def test_several_models_give_effect_spread(genome, tmp_path):
    members = tuple(scorer_of(RUN, seed) for seed in range(2))
    path = write_vcf(
        tmp_path / "a.vcf", [("chrA", 200, text(genome, 199, 200), other(text(genome, 199, 200)))]
    )
    tables = [
        score_variants(model, genome, path, options=VariantOptions(60))
        for model in (*members, Ensemble(members))
    ]
    effects = [float(table["effect"].iloc[0]) for table in tables]
    assert effects[2] == pytest.approx(np.mean(effects[:2]))
    assert tables[2]["effect_spread"].iloc[0] == pytest.approx(
        spread(np.array(effects[:2])[:, None])[0]
    )
    assert tables[2]["effect_spread"].iloc[0] > 0
    assert "effect_spread" not in tables[0]


def test_random_substitutions_are_elsewhere_in_all_windows(genome):
    variant = VcfVariant("x:1", "chrA", "chrA", 160, ".", text(genome, 160, 162), ("A",))
    pair = windows_of(genome, variant, "A", [130, 135], 40)
    mutants = module.random_substitutions(pair, 2, 1000, np.random.default_rng(0))
    assert len(np.unique(mutants.reshape(len(mutants), -1), axis=0)) == len(mutants)
    changed = mutants != pair.ref
    assert (changed.sum(axis=2) == 1).all()
    places = changed.argmax(axis=2) + np.array([130, 135])  # in the genome
    assert (places[:, 0] == places[:, 1]).all()
    # both windows have 135 to 169; 160 and 161 are REF, 150 to 152 are NNR
    allowed = set(range(135, 170)) - {150, 151, 152, 160, 161}
    assert set(places[:, 0]) == allowed
    assert len(mutants) == 3 * len(allowed)
    assert set(mutants[changed]) == set(b"ACGT")
    few = module.random_substitutions(pair, 2, 7, np.random.default_rng(0))
    assert len(few) == 7


@pytest.mark.parametrize("options", [VariantOptions(60), VariantOptions(60, 3, rc=True)])
def test_percentile_ranks_effect_among_random_substitutions(genome, tmp_path, options):
    scorer, ref = scorer_of(RUN), text(genome, 199, 200)
    rows = [("chrA", 200, ref, f"{other(ref)},*"), ("chrA", 300, text(genome, 299, 300), "GATTACA")]
    path = write_vcf(tmp_path / "a.vcf", rows)
    table = score_variants(scorer, genome, path, replace(options, background=10_000))
    plain = score_variants(scorer, genome, path, options=options)
    pd.testing.assert_frame_equal(table.drop(columns="effect_percentile"), plain)
    assert np.isnan(table["effect_percentile"][1])
    # all other substitutions in the common part of the windows, as variants in the same windows
    shift = 0 if options.placements == 1 else 10
    effects = []
    for place in range(199 - 30 + shift, 199 + 30 - shift):
        if place != 199:
            wild = text(genome, place, place + 1)
            around = replace(options, around=199)
            row = ("chrA", place + 1, wild, ",".join(x for x in "ACGT" if x != wild))
            found = score_variants(
                scorer, genome, write_vcf(tmp_path / "b.vcf", [row]), options=around
            )
            effects += found["effect"].tolist()
    expected = 100 * np.mean(np.abs(effects) < abs(table["effect"][0]))
    assert table["effect_percentile"][0] == pytest.approx(expected)
    assert 0 < expected < 100
    with pytest.raises(ValueError, match="background is -1; it must be at least 0"):
        VariantOptions(background=-1)


def test_substitutions_of_a_region(genome):
    found = list(substitutions(genome, Region("chrA", 148, 156)))
    assert [variant.start for variant in found] == [148, 149, 153, 154, 155]  # NNR is skipped
    assert all(
        variant.ref == text(genome, variant.start, variant.start + 1)
        and len({variant.ref, *variant.alts}) == 4
        for variant in found
    )


# command
@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model", RUN, length=60)


def test_substitutions_are_saved_and_plotted(genome, model, tmp_path, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    found = score_substitutions(model, genome, "chrA:201-203")
    assert len(found.table) == 9
    assert caplog.messages == ["chrA:201-203: 3 bp, all in one window"]
    assert repr(found) == "Substitutions in chrA:201-203: 9 alleles scored"
    assert "<table" in found._repr_html_()
    letters, heat, _ = found.plot().axes
    assert letters.get_ylabel() == "mean loss (logits)"
    assert heat.images[0].get_array().shape == (4, 3)
    found.save(tmp_path / "a")
    table = pd.read_csv(tmp_path / "a.effects.tsv", sep="\t").dropna(axis=1, how="all")
    pd.testing.assert_frame_equal(table, found.table[table.columns], rtol=1e-4)

"""Test effects of variants: windows, placements, status, several models, and the command."""

import gzip
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pysam
import pytest
from commands import exit_code, run
from genome_models import (
    HEADER,
    RUN,
    random_letters,
    scorer_of,
    write_genome,
    write_model,
    write_vcf,
)
from letters import ppm_of
from scipy.special import expit

from selfattn_bio import config
from selfattn_bio.errors import ArgumentError, GenomeError, ModelFolderError, VariantFileError
from selfattn_bio.evidence.variants import annotate_variants, score_substitutions
from selfattn_bio.motifs import meme_text
from selfattn_bio.objectives.outputs import spread
from selfattn_bio.scoring import variants as module
from selfattn_bio.scoring.annotated import info_fields
from selfattn_bio.scoring.regions import Region
from selfattn_bio.scoring.scorer import Ensemble
from selfattn_bio.scoring.variants import VariantOptions, score_variants
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.vcf import VcfVariant

VARIANTS = "variants --model model --genome toy1.fa --output a"


@pytest.fixture
def genome(here):
    """Change to a folder with a model and toy1.fa, which is ambiguous at chrA:151-153."""
    write_model(here / "model", RUN, length=60)
    letters = random_letters(400, 3)
    letters[150:154] = np.frombuffer(b"NNRA", np.uint8)
    return Genome(write_genome(here / "toy1.fa", {"chrA": letters, "tiny": "ACGTACGTAC"}))


def text(genome, start, end, chrom="chrA"):
    return genome.fetch(chrom, start, end).tobytes().decode()


def other(letter, number=0):
    return [x for x in "ACGT" if x != letter][number]


def read_effects(prefix):
    return pd.read_csv(f"{prefix}.effects.tsv", sep="\t")


def variant_at(start, ref, alt="A", chrom="chrA"):
    return VcfVariant("x:1", chrom, chrom, start, ".", ref, (alt,))


@pytest.mark.parametrize(
    ("start", "ref", "alt", "first", "size", "windows"),  # windows and the offset of the allele
    [
        (4, "A", "T", 2, 5, "GTACG GTTCG 2"),
        (1, "CG", "C", 1, 5, "CGTAC CTACG 0"),  # a deletion pulls bases in from the right
        (2, "GTA", "G", 0, 6, "ACGTAC ACGCGT 2"),
        (4, "A", "ATT", 2, 6, "GTACGT GTATTC 2"),  # an insertion pushes bases out at the right
        (3, "TA", "CC", 2, 4, "GTAC GCCC 1"),
        (1, "C", "T", -2, 5, "ACGTA ATGTA 1"),  # moved in at the start
        (8, "A", "T", 6, 5, "CGTAC CGTTC 3"),  # moved in at the end
        (7, "TA", "T", 5, 4, "CGTA CGTC 2"),  # a deletion near the end of the chromosome
        (9, "C", "G", 7, 5, "CGTAC CGTAG 4"),
        (4, "ACGT", "A", 2, 5, ""),  # REF does not fit
        (4, "A", "ATTTT", 2, 5, ""),  # ALT does not fit
        (4, "A", "T", 0, 11, ""),  # the window is longer than the chromosome
        (1, "CGTA", "C", 0, 8, ""),  # no bases are left to fill the window
        (8, "AC", "A", 5, 5, ""),  # at the end, where the deletion needs a base beyond it
        (4, "A", "T", 5, 3, ""),  # the window starts after the variant
    ],
)
def test_windows_of_both_alleles(genome, start, ref, alt, first, size, windows):
    pair = module.windows_of(genome, variant_at(start, ref, alt, "tiny"), alt, [first], size, False)
    found = "" if pair is None else b" ".join([*pair.ref, *pair.alt]).decode()
    assert found == windows[:-2]
    assert pair is None or pair.positions.tolist() == [int(windows[-1])]


def test_placements_spread_over_the_middle_half():
    variant = variant_at(1000, "A")
    assert VariantOptions().starts(variant, 300) == [850]
    assert VariantOptions(placements=3).starts(variant, 300) == [800, 850, 900]
    assert VariantOptions(around=1100).starts(variant, 300) == [950]
    for options in ({"window": 0}, {"placements": 0}, {"background": -1}):
        with pytest.raises(ValueError, match=r"is (0|-1); it must be at least"):
            VariantOptions(**options)


NUMBERS = {"columns": ("a", "b", "c"), "center": (2.0, 0.0, 1.0), "scale": (3.0, 1.0, 0.5)}
CLASSES = config.MulticlassPart(column="k", classes=("x", "y", "z"))
PARTS = {"family": CLASSES, "number": config.RegressionPart(**NUMBERS)}
OBJECTIVES = {
    "binary": config.BinaryObjective(),
    "multilabel": config.MultilabelObjective(columns=("u", "v")),
    "regression": config.RegressionObjective(**NUMBERS),
    "several": config.SeveralObjective(parts=PARTS),
    "labels": config.LabelsObjective(column="s", classes="HEC"),
    "bins": config.BinsObjective(points="p.bed", bin=4),
}


@pytest.mark.parametrize(("rc", "placements"), [(False, 1), (True, 3)])
@pytest.mark.parametrize("kind", OBJECTIVES)
def test_effects_are_differences_of_outputs(genome, tmp_path, monkeypatch, kind, rc, placements):
    monkeypatch.setattr(module, "BATCH", 2)
    members = [scorer_of(RUN.model_copy(update={"objective": OBJECTIVES[kind]}), i) for i in (0, 1)]
    base, long = text(genome, 300, 301), text(genome, 100, 104)
    rows = [
        ("A", 201, text(genome, 200, 201), other(text(genome, 200, 201))),
        ("chrA", 101, long, long[0]),
        ("chrA", 301, base, f"GATTACA,*,{other(base)}"),
    ]
    path, options = write_vcf(tmp_path / "a.vcf", rows), VariantOptions(60, placements, rc)
    if rc and kind in ("labels", "bins"):
        with pytest.raises(ArgumentError, match=r"rc cannot be used with (one label|bins)"):
            score_variants(members[0], genome, path, options)
        return
    tables = [score_variants(member, genome, path, options) for member in members]
    expected = [(*row[:3], alt) for row in rows for alt in row[3].split(",")]
    found = tables[0][["chrom", "pos", "ref", "alt"]]
    assert list(found.itertuples(index=False, name=None)) == expected
    scorer, outputs = members[0], members[0].objective.outputs
    names = [("logit_ref", "logit_alt", "effect")]
    if kind != "binary":
        names = [[f"{what}_{each.name}" for what in ("ref", "alt", "effect")] for each in outputs]
    scored = tables[0][tables[0]["status"] == "scored"]
    assert len(scored) == 4
    for row in scored.to_dict("records"):
        start, values = row["pos"] - 1, {}
        for allele in ("ref", "alt"):
            right = text(genome, start + len(row["ref"]), start + 70)
            around = (text(genome, start - 60, start) + row[allele] + right).encode()
            firsts = [20, 30, 40] if placements == 3 else [30]
            windows = [np.frombuffer(around[first : first + 60], np.uint8) for first in firsts]
            read = scorer.outputs(windows)
            if rc:
                read = (read + scorer.outputs(list(map(DNA.reverse_complement, windows)))) / 2
            values[allele] = [output.value(read).mean() for output in outputs]
        changes = {}
        for output, of, ref, alt in zip(outputs, names, *values.values(), strict=True):
            found = [row[name] for name in of]
            assert found == pytest.approx([ref, alt, alt - ref], abs=1e-5)
            assert abs(alt - ref) > 1e-5
            changes[output.name] = abs(alt - ref) / output.scale
        if kind == "binary":
            change = expit(alt / 2 + 0.2) - expit(ref / 2 + 0.2)
            assert row["probability_effect"] == pytest.approx(change, abs=1e-5)
        else:
            assert row["largest_effect"] == max(changes, key=changes.get)
    both = score_variants(Ensemble(tuple(members)), genome, path, options)
    for *_, effect in names:
        assert tables[0][effect].isna().tolist() == [False, False, False, True, False]
        each = np.stack([table[effect] for table in tables])
        np.testing.assert_allclose(both[effect], each.mean(axis=0))
        spread_column = effect.replace("effect", "effect_spread", 1)
        np.testing.assert_allclose(both[spread_column], spread(each))
        assert spread_column not in tables[0]


def test_fields_and_plots_of_several_outputs(genome, tmp_path):
    scorer = scorer_of(RUN.model_copy(update={"objective": OBJECTIVES["several"]}))
    ref = text(genome, 200, 201)
    path = write_vcf(tmp_path / "a.vcf", [("chrA", 201, ref, other(ref))])
    with pytest.raises(ArgumentError, match="prior is for the probabilities of a binary model"):
        score_variants(scorer, genome, path, VariantOptions(60, prior=0.1))
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
        assert list(record.info["SAB_LARGEST_EFFECT"]) == table["largest_effect"].tolist()
    fields = ["SAB_EFFECT_plus", "SAB_EFFECT_minus", "SAB_LARGEST_EFFECT"]
    assert list(info_fields({"+": "log", "-": "log"})) == fields
    with pytest.raises(ArgumentError, match="'a b' and 'a-b' would both be 'a_b' in names of INFO"):
        info_fields({"a b": "", "a-b": ""})
    found = score_substitutions(scorer, genome, "chrA:201-203", VariantOptions(60))
    letters, _, bar = found.plot(output="number.c").axes
    assert letters.get_ylabel() == "contribution\nof the base"
    assert bar.get_ylabel() == "effect on number.c (c)"
    heat = found.plot(output="number.c").axes[1].images[0].get_array()
    expected = found.table.pivot_table("effect_number.c", "alt", "pos").to_numpy()
    np.testing.assert_allclose(np.ma.filled(heat, np.nan), expected)
    with pytest.raises(ArgumentError, match="no output 'c'; the outputs are family"):
        found.plot(output="c")
    found.save(tmp_path / "b")
    written = {path.name.removeprefix("b.saturation.") for path in tmp_path.glob("b.sat*.svg")}
    assert written == {f"{each.name}.svg" for each in scorer.objective.outputs}


@pytest.mark.parametrize("kind", [kind for kind in OBJECTIVES if kind != "bins"])
def test_substitutions_of_a_protein(tmp_path, kind):
    data = RUN.data.model_copy(update={"alphabet": "protein"})
    changes = {"data": data, "tokens": config.Tokens(k=1), "objective": OBJECTIVES[kind]}
    scorer = scorer_of(RUN.model_copy(update=changes))
    proteins = {"p|1": "MKTAYIAKXQRQISFVKSHFSRQ", "p2": "MNWWYQEDAS"}
    path = write_genome(tmp_path / "p.fa", proteins)
    outputs, letters = scorer.objective.outputs, "ACDEFGHIKLMNPQRSTVWY"
    found = score_substitutions(scorer, path, "p|1")
    rows = [(pos, ref, alt) for pos, ref in enumerate(proteins["p|1"], 1) for alt in letters]
    rows = [row for row in rows if row[1] not in ("X", row[2])]
    assert list(found.table[["pos", "ref", "alt"]].itertuples(index=False, name=None)) == rows
    texts = [proteins["p|1"][: pos - 1] + alt + proteins["p|1"][pos:] for pos, _, alt in rows]
    windows = [np.frombuffer(text.encode(), np.uint8) for text in [proteins["p|1"], *texts]]
    for (name, _), output in zip(found.units.items(), outputs, strict=True):
        values = output.value(scorer.outputs(windows))
        effects = found.table[f"effect_{name}" if name else "effect"]
        np.testing.assert_allclose(effects, values[1:] - values[0], atol=1e-5)
    assert found.plot("all", name).axes[1].images[0].get_array().shape == (20, 23)
    few = score_substitutions(scorer, path, "p2:3-4", VariantOptions(background=5)).table
    assert len(few) == 2 * 19
    assert few[f"effect_percentile_{name}" if name else "effect_percentile"].between(0, 100).all()
    stopped = write_genome(tmp_path / "s.fa", {**proteins, "p2": "MNWWYQEDAS*"})  # as from genes
    assert len(score_substitutions(scorer, stopped, "p2").table) == 10 * 19
    with pytest.raises(GenomeError, match=r"no sequence 'q' in the file \(it has p\|1, p2\)"):
        score_substitutions(scorer, path, "q")
    with pytest.raises(ArgumentError, match="rc cannot be used with protein, which has no reverse"):
        score_substitutions(scorer, path, "p2", VariantOptions(rc=True))
    with pytest.raises(ArgumentError, match="the model reads protein; pass the path of the FASTA"):
        score_substitutions(scorer, Genome(path), "p2")
    with pytest.raises(ModelFolderError, match="this one reads protein"):
        score_variants(scorer, path, tmp_path / "a.vcf")


def test_unscored_variants_have_a_status(genome, tmp_path):
    ref = text(genome, 199, 200)
    rows = [("chrA", 200, ref, f"*,{other(ref)},.")] * 20
    rows += [("chrA", 200, other(ref), ref), ("chrA", 200, text(genome, 199, 240), "A")]
    rows.append(("tiny", 3, "G", "A"))
    path = write_vcf(tmp_path / "a.vcf", rows)
    table = score_variants(scorer_of(RUN), genome, path, VariantOptions(60))
    last = ["reference_mismatch", "no_window", "no_window"]
    assert table["status"].tolist() == ["no_allele", "scored", "no_allele"] * 20 + last
    assert (table["effect"].notna() == (table["status"] == "scored")).all()


def test_soft_masked_bases_are_n_if_trained_so(tmp_path):
    letters = random_letters(400, 3).tobytes().decode()
    soft, hard = (
        write_genome(tmp_path / f"{name}.fa", {"chrA": letters[:180] + masked + letters[190:]})
        for name, masked in (("soft", letters[180:190].lower()), ("hard", "N" * 10))
    )
    rows = [("chrA", pos, letters[pos - 1], other(letters[pos - 1])) for pos in (200, 185, 201)]
    data = RUN.data.model_copy(update={"soft_mask": "hard"})
    scorer = scorer_of(RUN.model_copy(update={"data": data}))
    path = write_vcf(tmp_path / "a.vcf", rows)
    options = VariantOptions(60)
    found, expected = (score_variants(scorer, of, path, options) for of in (soft, hard))
    assert found["status"].tolist() == ["scored", "soft_masked", "scored"]
    pd.testing.assert_frame_equal(found.iloc[[0, 2]], expected.iloc[[0, 2]])
    other_table = score_variants(scorer_of(RUN), soft, path, VariantOptions(60))
    assert not np.allclose(found["logit_ref"][0], other_table["logit_ref"][0])
    # the mask does not hide it
    wrong = write_vcf(tmp_path / "b.vcf", [*rows, ("chrA", 186, other(letters[185]), "ACGT")])
    with pytest.raises(VariantFileError, match="REF differs from the genome in 1 of 4 lines"):
        score_variants(scorer, soft, wrong, VariantOptions(60))


def test_ambiguous_bases_match_any_reference(genome):
    variants = variant_at(150, "ACGA"), variant_at(153, "N"), variant_at(153, "C")
    # the genome has NNRA
    assert [module.mismatch(genome, variant) for variant in variants] == [None, None, "A"]


def test_random_substitutions_are_elsewhere_in_all_windows(genome):
    variant = variant_at(160, text(genome, 160, 162))
    pair = module.windows_of(genome, variant, "A", [130, 135], 40, False)
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
    assert len(module.random_substitutions(pair, 2, 7, np.random.default_rng(0))) == 7


@pytest.mark.parametrize("options", [VariantOptions(60), VariantOptions(60, 3, rc=True)])
def test_percentile_ranks_effect_among_random_substitutions(genome, tmp_path, options):
    scorer, ref = scorer_of(RUN), text(genome, 199, 200)
    rows = [("chrA", 200, ref, f"{other(ref)},*"), ("chrA", 300, text(genome, 299, 300), "GATTACA")]
    path = write_vcf(tmp_path / "a.vcf", rows)
    table = score_variants(scorer, genome, path, replace(options, background=10_000))
    plain = score_variants(scorer, genome, path, options)
    pd.testing.assert_frame_equal(table.drop(columns="effect_percentile"), plain)
    assert np.isnan(table["effect_percentile"][1])
    # all other substitutions in the common part of the windows, as variants in the same windows
    shift = 0 if options.placements == 1 else 10
    rows = []
    for place in range(199 - 30 + shift, 199 + 30 - shift):
        wild = text(genome, place, place + 1)
        rows.append(("chrA", place + 1, wild, ",".join(x for x in "ACGT" if x != wild)))
    others = write_vcf(tmp_path / "b.vcf", [row for row in rows if row[1] != 200])
    effects = score_variants(scorer, genome, others, replace(options, around=199))["effect"]
    expected = 100 * np.mean(np.abs(effects) < abs(table["effect"][0]))
    assert table["effect_percentile"][0] == pytest.approx(expected)
    assert 0 < expected < 100


def test_substitutions_of_a_region(genome):
    found = list(module.substitutions(genome, Region("chrA", 148, 156)))
    assert [variant.start for variant in found] == [148, 149, 153, 154, 155]  # NNR is skipped
    for variant in found:
        assert variant.ref == text(genome, variant.start, variant.start + 1)
        assert {variant.ref, *variant.alts} == set("ACGT")


def test_substitutions_are_saved_and_plotted(genome, tmp_path, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    found = score_substitutions("./model", genome, "chrA:201-203")
    assert len(found.table) == 9
    assert caplog.messages == ["chrA:201-203: 3 bp, all in one window"]
    assert repr(found) == "Substitutions in chrA:201-203: 9 alleles scored"
    assert "<table" in found._repr_html_()
    letters, heat, _ = found.plot().axes
    assert letters.get_ylabel() == "contribution\nof the base"
    assert heat.images[0].get_array().shape == (4, 3)
    ticks = [tick.get_text() for tick in heat.get_xticklabels()]
    assert ticks == [str(pos) for pos in found.table["pos"].unique()]  # 201, 202, 203
    assert heat.get_xticks().tolist() == [200.5, 201.5, 202.5]  # the middles of the letters
    found.save(tmp_path / "a")
    table = pd.read_csv(tmp_path / "a.effects.tsv", sep="\t").dropna(axis=1, how="all")
    pd.testing.assert_frame_equal(table, found.table[table.columns], rtol=1e-4)


# ------------ command
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
    for option, message in (
        ("--vcf a.vcf", "error: a.vcf: the VCF has a header but no variants\n"),
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
    run("variants --model model --genome own.fa --vcf a.vcf --motifs jaspar:insects --output b")
    table = pd.read_csv("b.effects.tsv", sep="\t", keep_default_na=False)
    assert "Dref" in table["motifs_lost"][0]

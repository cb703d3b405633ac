import json
import re

import numpy as np
import pandas as pd
import pytest
from pages import page_of
from small_results import TASK, edit, make_results, table_of

from selfattn_bio import Study
from selfattn_bio.config.split import (
    SMALLER_BLOCK,
    ChromosomeSplit,
    ClusterSplit,
    ColumnSplit,
    FilesSplit,
    GroupSplit,
    RegionSplit,
)
from selfattn_bio.display import with_interval
from selfattn_bio.evaluation.units import Units
from selfattn_bio.objectives import objective_of
from selfattn_bio.objectives.binary import Binary
from selfattn_bio.objectives.numbers import Regression
from selfattn_bio.objectives.several import Several
from selfattn_bio.report import words
from selfattn_bio.report.lines import (
    evaluation_lines,
    final_lines,
    known_counts,
    null_sentence,
)
from selfattn_bio.report.page import database_name, favour_sentence
from selfattn_bio.report.results import both_inputs
from selfattn_bio.report.words import MINUS

POSITIVE = "Positive values favour the model"
ESTIMATE = ("value", "low", "high")
SPLIT = ColumnSplit()
KNOWN = (
    "of 140 test records with a known target have a site and space for a control site; 30 are "
    "needed"
)
UNKNOWN = dict.fromkeys((*ESTIMATE, "p"))


class Error(Regression):
    main_metric, higher_is_better = "mse", False


class Absolute(Error):
    main_metric = "mae"


def metrics(low, high, best="gc", metric="auroc", **sizes):
    """Return metrics.json with this interval; sizes are numbers of networks and trainings."""
    lead = {metric: {"value": (low + high) / 2, "low": low, "high": high, "p": 0.004}}
    return {
        "confidence": 0.95,
        "test": {"unit": "blocks of 500,000 bp"},
        "differences": {"best_baseline": best, "baselines": {best: lead}, "networks": {}},
        "sizes": {
            name: dict(zip(("networks", "trainings"), size, strict=True))
            for name, size in sizes.items()
        },
    }


ADVICE = " Use the baseline, which is saved in baselines/gc."
CHANCE = "trained only once, so this may be chance."
DIFFER = "; the numbers of networks differ (2 and 1) and each was"
FIGURES = "+0.020 AUROC (95 % interval +0.010 to +0.030, p = 0.004) by paired bootstrap over "
LOWER, UNCLEAR = "The AUROC of the model is lower than", "he model cannot be distinguished from"
HIGHER = "The AUROC of the model is higher"
ABOVE, BELOW, AROUND = (0.01, 0.03), (-0.03, -0.01), (-0.01, 0.03)
ONCE, TWO, THREE = (1, 1), (2, 1), (3, 3)  # numbers of networks and trainings


@pytest.mark.parametrize(
    ("ends", "sizes", "start", "end"),
    [
        (ABOVE, [THREE], "The model is better than its best ", f"{FIGURES}blocks of 500,000 bp."),
        (BELOW, [THREE], "The model is worse than", f"over blocks of 500,000 bp.{ADVICE}"),
        (BELOW, [ONCE], LOWER, f" on only one training, so this may be chance.{ADVICE}"),
        (BELOW, [ONCE, ONCE], LOWER, f"bp; each was {CHANCE}"),
        (AROUND, [THREE], f"T{UNCLEAR} its best baseline, gc (GC content): +0.010", "bp."),
        (ABOVE, [TWO, ONCE], f"{HIGHER} than that of its best ", f"{DIFFER} {CHANCE}"),
        (ABOVE, [TWO, TWO], HIGHER, f"bp; each was {CHANCE}"),
        (AROUND, [TWO, TWO], f"At equal size, t{UNCLEAR} its best baseline, cnn: +0.010", "."),
        (AROUND, [TWO, ONCE], f"T{UNCLEAR}", "."),
    ],
)
def test_the_sentence_follows_interval_and_sizes(ends, sizes, start, end):
    best = "gc" if len(sizes) == 1 else "cnn"
    of = metrics(*ends, best, **dict(zip(("model", best), sizes, strict=False)))
    sentence = " ".join(words.baseline_sentence(of)).replace(MINUS, "-")
    assert sentence.startswith(start)
    assert sentence.endswith(end)


def test_numbers_have_their_metric_and_units():
    of = metrics(0.01, 0.03, "kmer6_linear", "pearson", model=THREE)
    assert "model of 6-mers): +0.020 Pearson's r" in words.baseline_sentence(of, Regression)[2]
    of["test"]["unit"] = Units.single(19).entry()["unit"]
    first, finding, rest = words.baseline_sentence(of, Regression)
    assert (first, finding) == ("There are", "too few")
    assert rest.startswith("independent units to say whether the model is better than its best")
    assert rest.endswith("over records (fewer than 20, so intervals are too narrow).")
    of["differences"]["baselines"]["kmer6_linear"] = {"pearson": UNKNOWN}
    assert words.baseline_sentence(of, Regression)[1] == "not compared"
    of["differences"]["best_baseline"] = None
    assert "because its metric is undefined" in words.baseline_sentence(of, Regression)[2]
    of["differences"]["baselines"] = {}
    assert words.baseline_sentence(of, Regression)[2].endswith("because no baseline was run.")


@pytest.mark.parametrize(
    ("of", "first", "split", "sentence"),
    [
        ("model", False, "test", ""),
        ("model", False, "valid", "On validation, the AUROC of the network is lower than that of"),
        ("network", False, "test", "Without simple models, the AUROC of the network is lower than"),
        ("model", True, "test", "With one training each, the AUROC of the network is lower than"),
        ("network", True, "valid", "On validation, without simple models, with one training "),
    ],
)
def test_networks_are_compared_alone(of, first, split, sentence):
    """The best other network is chosen on the same split."""
    found = metrics(*ABOVE, model=(3, 3), one=ONCE, two=ONCE, random_init=ONCE)
    lower, higher = (metrics(*ends)["differences"]["baselines"]["gc"] for ends in (BELOW, ABOVE))
    other = {"test": "valid", "valid": "test"}[split]
    found["valid"] = found["test"]
    found["differences"]["networks"] = {
        "one": {"of": of, "first": first, split: lower, other: higher},
        "two": {"of": of, "first": first, split: higher, other: lower},
    }
    said = " ".join(words.network_sentence(found, Binary, split))
    assert said.startswith(sentence)
    if sentence:
        assert "of the best other network, one: " in said
        assert ("the numbers of networks differ (3 and 1)" in said) == (not first)
        advice = " To change the model, copy [model] of variant one and train again."
        assert said.endswith(advice) == (split == "valid")
        networks = found["differences"]["networks"]
        networks["random_init"] = networks.pop("one")  # a control
        assert "copy [model]" not in " ".join(words.network_sentence(found, Binary, split))


def test_lower_errors_are_better():
    once, thrice = (metrics(-0.03, -0.01, metric="mse", model=of) for of in (ONCE, THREE))
    sentence = words.baseline_sentence(once, Error)
    assert sentence[:2] == ("The MSE of the model is", "lower")
    assert "Use the baseline" not in sentence[2]
    assert words.baseline_sentence(thrice, Error)[1] == "better"


def test_no_baseline_of_a_private_model_is_recommended():
    worse = metrics(-0.03, -0.01, model=THREE)
    assert words.baseline_sentence(worse)[2].endswith(ADVICE)
    assert "Use the baseline" not in words.baseline_sentence(worse | {"privacy": {}})[2]


def test_numbers_are_formatted():
    shown = [words.figure(x, 3, True) for x in (0.0274, -0.0274, -0.0001, None)]
    assert shown == ["+0.027", f"{MINUS}0.027", "0.000", words.MISSING]
    shown = [words.p_value(p) for p in (0.0321, 2e-8, 0.0, None, float("nan"))]
    assert shown == ["0.032", "2e-08", "1e-300 or less", words.MISSING, words.MISSING]
    entry = {"value": 0.871, "low": 0.861, "high": 0.88}
    assert words.estimate(entry, 2) == "0.87 (0.86 to 0.88)"
    assert words.estimate({"value": 0.871}) == "0.871"
    # an end that is not 0 is not shown as 0
    lower = {"value": -0.0024, "low": -0.0061, "high": -0.00032}
    assert words.estimate(lower) == f"{MINUS}0.0024 ({MINUS}0.0061 to {MINUS}0.0003)"
    assert with_interval(*lower.values(), 3) == "-0.0024 (-0.0061 to -0.0003)"
    assert words.interval({"low": 1e-9, "high": 0.5}) == "0.000 to 0.500"
    assert words.estimate(dict.fromkeys(entry)) == words.MISSING


def test_supported_motifs_are_named_once_by_their_match():
    table = table_of("""
        name consensus target   effect match_q near_ties verdict
        m1   ATCGAT    positive 0.5    1e-6    0         supported
        m2   TCGATA    positive 0.2    0.01    0         supported
        m3   GTGACC    positive 0.3    nan     0         supported
        m4   GAGAGA    positive 0.9    1e-4    0         inconclusive
    """)
    table["effect_records"], table["lacks"] = 30, ""
    table["match"] = ["Dref (MA1456.2)", "Dref (MA1.1)", "", "Trl (MA0205.3)"]
    table["other_matches"] = ["BEAF-32 (MA0529.3); pnr (MA0536.2)", *[""] * 3]
    assert words.supported(table) == "Dref (2), GTGACC"
    assert words.motif_sentence(table, SPLIT, ()).startswith("3 of 4 motifs are supported")
    assert words.motif_sentence(table[:1], SPLIT, ()).startswith("1 of 1 motif is supported by")
    assert words.supported(table.assign(near_ties=[1, 0, 0, 0])) == "Dref or BEAF-32, GTGACC, Dref"
    # Matches that are not significant are not used as names
    weak = table.assign(match_q=[1e-6, 0.73, 0.73, 1e-4])
    assert words.supported(weak) == "Dref, GTGACC, TCGATA"
    numbers = table.assign(target=["liver", "heart", "liver", "liver"], effect=[-0.5, 0.2, 0.3, 0])
    assert words.supported(numbers) == "for liver Dref, GTGACC; for heart Dref"
    assert words.motif_sentence(both_inputs(table, table), SPLIT, ()).startswith("6 of 8 motifs")
    every = ["liver", "brain", "heart"]
    assert words.supported(numbers[:1], every) == "for liver Dref; none for brain, heart"
    assert words.supported(numbers[:1], list("abcdef")).endswith("; none for 6 other outputs")
    assert both_inputs(None, None) is None
    assert words.motif_sentence(numbers, SPLIT, ()).endswith(
        ": for liver Dref, GTGACC; for heart Dref."
    )


def test_motifs_without_support_are_counted_by_their_verdicts():
    verdicts = ["contradicted", "inconclusive", "inconclusive"]
    found = pd.DataFrame({"verdict": verdicts, "effect": 1, "effect_records": 30, "lacks": ""})
    sentence = words.motif_sentence(found, SPLIT, ())
    assert sentence.startswith("0 of 3 motifs are supported by")
    assert sentence.endswith(": 2 inconclusive, 1 contradicted.")
    assert words.motif_sentence(found[:1], SPLIT, ()).endswith(": 1 contradicted.")


def test_odds_have_two_digits_and_none_without_negatives():
    table = table_of("""
        odds_ratio positives_with_hit negatives_with_hit
        25921.0    400                1
        19.24      30                 2
        0.512      3                  6
        25921.0    400                0
        0.8        0                  0
    """)
    shown = [words.odds(row) for row in table.to_dict("records")]
    numbers = ["odds ratio 26,000", "odds ratio 19", "odds ratio 0.51"]
    assert shown == [*numbers, "positives only", "no site"]


def test_permuted_motifs_that_pass_are_counted():
    found = pd.DataFrame({"null_motifs": [20, 19, np.nan], "null_passing": [0, 3, np.nan]})
    sentence = null_sentence(found)
    assert sentence.startswith("Control: of 39 motifs that have the columns of these motifs")
    assert ", 3 (7.7 %) pass the tests" in sentence
    assert null_sentence(found[2:]) == null_sentence(None) == ""


def test_classifiers_and_databases_have_readable_names():
    names = ("kmer2_linear", "partner_gc", "cnn", "cnn+stack", "partner_alone")
    assert [words.classifier_name(name) for name in names] == [
        *("kmer2_linear (linear model of 2-mers)", "partner_gc (GC content of the second input)"),
        *("cnn", "cnn+stack (with the same simple models)", "partner_alone"),
    ]
    names = ("jaspar:vertebrates", "data/mine.meme", "none")
    shown = ["JASPAR 2026 CORE, vertebrates", "mine.meme", ""]
    assert [database_name(name) for name in names] == shown


def test_a_gap_is_reported_if_it_exceeds_chance():
    found = {"value": 0.12, "shrunk": 0.05, "p": 0.01}
    assert words.gap(found) == "gap 0.120 (0.050 after shrinkage, p = 0.01)"
    assert words.gap(found | {"p": 0.4}) == "no gap beyond chance (p = 0.4)"


def test_calibration_is_shown_with_its_floor():
    entry = {
        "ece": {"value": 0.017, "floor": 0.0156},
        "calibration_slope": {"value": 1.01, "low": 0.94, "high": 1.08},
        "calibration_intercept": {"value": -0.03, "low": -0.09, "high": 0.04},
    }
    assert words.calibration(entry).replace(MINUS, "-") == (
        "ECE 0.017 (0.016 if perfectly calibrated), calibration slope 1.01 (0.94 to 1.08), "
        "intercept -0.03 (-0.09 to +0.04)"
    )
    undefined = words.calibration(entry | {"calibration_slope": UNKNOWN})
    assert undefined.endswith("slope undefined, because scores separate the classes")


def test_deviation_needs_an_interval_without_the_expected_value():
    def sentence(low, high):
        return words.deviation("They", {"low": low, "high": high}, 0.9, "too narrow", "too wide")

    assert sentence(0.78, 0.88) == " They are too narrow."
    assert sentence(0.91, 0.95) == " They are too wide."
    assert sentence(0.88, 0.92) == sentence(None, None) == ""


@pytest.mark.parametrize(
    ("metrics", "objective", "sentence"),
    [
        ("auroc mcc", Binary, "Positive values favour the model."),
        ("auroc brier ece", Binary, f"{POSITIVE} (negative values for Brier, ECE)."),
        ("mean a.pearson a.mse", Several, f"{POSITIVE} (negative values for a: MSE)."),
        ("mae r2", Absolute, f"{POSITIVE} (negative values for mae)."),
        ("mae mse", Absolute, "Negative values favour the model."),
    ],
)
def test_each_metric_has_its_direction(metrics, objective, sentence):
    assert favour_sentence(metrics.split(), objective) == sentence


def test_agreement_leaves_out_undefined_correlations():
    assert words.agreement_sentence(None, np.array([])) == ""
    assert words.agreement_sentence(None, np.array([np.nan])) == ""
    assert words.agreement_sentence(0.731, np.array([0.5, np.nan, 0.7])) == (
        f"Attributions of the averaged networks correlate with {words.RHO} 0.73 (median over "
        f"records). Attributions of trainings with different seeds correlate with {words.RHO} 0.60 "
        "(median over 2 records)."
    )


def lines_of(folder, task=TASK):
    """Return the lines without the name of the task, except the last one about the results."""
    *lines, last = final_lines(Study(task, folder))
    assert last == f"Results: {folder / 'metrics.json'}"
    return [line.removeprefix(f"{folder.name}: ") for line in lines]


def test_binary_run_ends_with_figures_and_motifs(tmp_path):
    make_results(tmp_path)
    auroc = json.loads((tmp_path / "metrics.json").read_text())["test"]["model"]["auroc"]
    figures, comparison, motifs = lines_of(tmp_path)
    interval = f"({auroc['low']:.3f} to {auroc['high']:.3f})"
    assert figures == f"test AUROC {auroc['value']:.3f} {interval} on 80 records"
    assert "its best baseline, cnn: " in comparison
    assert motifs.startswith("1 of 3 motifs is supported")
    explained = tmp_path / "attribution" / "records.parquet"
    records = pd.read_parquet(explained)
    pd.concat([records, records.assign(target="other")]).to_parquet(explained)
    assert "; none for other. The test split is too small " in lines_of(tmp_path)[2]
    edit(tmp_path / "audit.json", partners=79)
    assert lines_of(tmp_path)[3] == "partners also in train: 79 of 80"
    (tmp_path / "report.html").touch()
    report = f"Report: {tmp_path / 'report.html'}"
    assert list(final_lines(Study(TASK, tmp_path)))[-1] == report
    (tmp_path / "sweep.tsv").touch()  # of an earlier sweep
    assert list(final_lines(Study(TASK, tmp_path)))[-1] == report
    sweep = f"Results: {tmp_path / 'sweep.tsv'}"
    assert list(final_lines(Study(TASK, tmp_path), ["sweep"])) == [sweep]
    (tmp_path / "motifs.tsv").write_text("")
    (tmp_path / "report.html").unlink()
    assert lines_of(tmp_path)[2].startswith(f"error: {tmp_path / 'motifs.tsv'}: cannot read")
    (tmp_path / "motifs.tsv").unlink()
    assert len(lines_of(tmp_path)) == 2
    (tmp_path / "metrics.json").unlink()
    assert list(final_lines(Study(TASK, tmp_path))) == []


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        *[("regression", "Pearson's r"), ("labels", "accuracy"), ("masked", "perplexity")],
        *[("multilabel", "AUROC")],
    ],
)
def test_lines_have_the_main_metric(make, kind, title):
    results = make(kind)
    metric = objective_of(results.task.objective).main_metric
    value, low, high = (results.metrics["test"]["model"][metric][key] for key in ESTIMATE)
    first, second = lines_of(results.layout.folder, results.task)
    mean = " (mean of 2 labels)" if kind == "multilabel" else ""
    assert first == f"test {title} {value:.3f} ({low:.3f} to {high:.3f}){mean} on 80 records"
    assert second.startswith(f"The {title} of the model is ")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, f"0 {KNOWN}"),
        (2, f"2 {KNOWN}"),
        (
            28,
            f"28 {KNOWN}, that is, about 150 test records with a known target, and 10 independent "
            "units with a site",
        ),
        (30, "30 records with a site are in 7 of 12 clusters; 10 are needed"),
    ],
)
def test_unmeasured_effect_names_the_reason(number, expected):
    labels = {"name": "m1", "positives": 40, "negatives": 100, "records": np.nan}
    row = labels | {"effect_records": number, "effect": np.nan}
    row |= {"effect_units": "7 of 12 clusters", "lacks": "effect not measured"}
    assert words.unmeasured_reason(row) == expected
    numbers = row | {"positives": np.nan, "negatives": np.nan, "records": 140}
    assert words.unmeasured_reason(numbers) == expected
    counts = {"positives_with_consensus": 25.0, "negatives_with_consensus": 4.0, "hit_p": 2.5e-4}
    few = row | {"effect_records": 28, **counts}
    assert words.unmeasured_reason(few).endswith("and 10 independent units with a site")
    assert words.unmeasured_reason(few | {"negatives_with_consensus": 5.0}).endswith(
        "30 records match the consensus, a larger hit_p in [interpret], now 0.00025 (no training)"
    )
    cheap = words.unmeasured_sentence(
        pd.DataFrame([few | {"negatives_with_consensus": 5.0}]), SPLIT
    )
    assert cheap.endswith(". A larger hit_p in [interpret] may be enough, without training.")
    rare = row | {"effect_records": 2}
    few = row | {"effect_records": 9}
    assert words.unmeasured_sentence(pd.DataFrame([rare]), SPLIT) == ""
    none = pd.DataFrame([rare])[:0].astype({"lacks": float})
    assert words.unmeasured_sentence(none, SPLIT) == ""
    assert words.unmeasured_sentence(pd.DataFrame([rare, *[few] * 7]), SPLIT) == (
        "The test split is too small to measure the effect of 7 motifs: 30 records with a known "
        "target, a site and space for a control site and sites in 10 independent units are "
        "needed. To enlarge it, add test records to the data."
    )
    enough = few | {"effect_records": 50}
    assert words.unmeasured_sentence(pd.DataFrame([enough]), ClusterSplit()) == (
        "The test split is too small to measure the effect of 1 motif: sites in 10 independent "
        "units are needed. To enlarge it, increase test_fraction in [split] to about 0.31, or add "
        "records."
    )
    artefact = few | {"lacks": "enrichment not shown; effect not measured", **counts}
    assert words.unmeasured_sentence(pd.DataFrame([artefact]), SPLIT) == ""
    assert words.unmeasured_reason(artefact) == f"9 {KNOWN}"
    assert words.unmeasured_sentence(pd.DataFrame([row | {"effect": 0.1}]), SPLIT) == ""


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (
            ChromosomeSplit(valid=["1"], test=["2"]),
            f"list more chromosomes in [split] test{SMALLER_BLOCK}",
        ),
        (
            RegionSplit(valid=["1:1-9"], test=["2:1-9"]),
            f"widen the regions of [split] test{SMALLER_BLOCK}",
        ),
        (GroupSplit(), "increase test_fraction in [split], or add records"),
        (ColumnSplit(), "add test records to the data"),
        (FilesSplit(), "add test records to the data"),
    ],
)
def test_the_remedy_names_keys_of_the_kind_of_split(split, expected):
    (named,) = re.findall("test(?:_fraction)?", expected)
    assert split.enlarge == expected
    assert (named in type(split).model_fields) == ("[split]" in expected)


def test_known_targets_of_each_output_are_counted(make):
    of = make("multilabel")
    lines = list(evaluation_lines(objective_of(of.task.objective), of.metrics))
    acetyl, methyl = (of.test[f"true.{name}"].astype(int) for name in ("acetyl", "methyl"))
    counts = [f"{of.sum()} yes and {(1 - of).sum()} no" for of in (acetyl, methyl)]
    known = "acetyl {}, methyl {}".format(*counts)
    assert f"test records with a known target: {known}" in lines
    page = page_of(of)
    assert f"same 80 records, with a known target in {known}. Intervals" in page
    of_labels = of.metrics["outputs"]["model"]
    for name, entry in of_labels.items():
        assert f"test AUROC {words.estimate(entry['auroc'])}  model, {name}" in lines
    means = [line for line in lines if line.startswith("test AU") and "model, " not in line]
    assert len(means) == 4
    assert all(") (mean of 2 labels)  " in line for line in means)
    outputs = {f"c{number}": {"n": 75} for number in range(12)} | {"all": {"n": 80}}
    numbers = {"test": {"n": 80}, "outputs": {"model": outputs}}
    assert known_counts(numbers).endswith("c8 75, c9 75 and 2 more")

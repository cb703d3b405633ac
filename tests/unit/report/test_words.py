import numpy as np
import pandas as pd
import pytest

from selfattn_bio.config import RunFile
from selfattn_bio.objectives.binary import Binary
from selfattn_bio.objectives.numbers import Regression
from selfattn_bio.objectives.several import Several
from selfattn_bio.report import words


def metrics(low, high, best="gc", metric="auroc", **sizes):
    """Return metrics.json with this interval; sizes are numbers of networks and trainings."""
    lead = {metric: {"value": (low + high) / 2, "low": low, "high": high, "p": 0.004}}
    of_networks = {
        name: {"networks": networks, "trainings": trainings}
        for name, (networks, trainings) in sizes.items()
    }
    return {
        "confidence": 0.95,
        "test": {"unit": "blocks of 500,000 bp"},
        "differences": {"best_baseline": best, "baselines": {best: lead}},
        "sizes": of_networks,
    }


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 0.03, "better"),
        (-0.03, -0.01, "worse"),
        (-0.01, 0.03, "cannot be distinguished"),
        (0.0, 0.02, "cannot be distinguished"),
    ],
)
def test_the_sentence_follows_the_interval(low, high, expected):
    assert words.baseline_sentence(metrics(low, high, model=(3, 3)))[1] == expected


def test_the_sentence_holds_the_figures():
    expected = " ".join(words.baseline_sentence(metrics(0.01, 0.03, model=(3, 3))))
    assert expected == (
        "The model is better than its best baseline, GC content: +0.020 AUROC (95 % interval "
        "+0.010 to +0.030, p = 0.004) "
        "by paired bootstrap over blocks of 500,000 bp."
    )


def test_numbers_have_their_metric_and_units():
    of = metrics(0.01, 0.03, "kmer6_linear", "pearson", model=(3, 3))
    expected = " ".join(words.baseline_sentence(of, Regression))
    assert expected.startswith(
        "The model is better than its best baseline, linear model of 6-mers: +0.020 Pearson's r"
    )
    assert words.difference_sentence(Regression, of) == (
        "Model minus 6-mers: +0.020 (+0.010 to +0.030); the interval excludes 0."
    )
    undefined = {"pearson": dict.fromkeys(("value", "low", "high", "p"))}
    of["differences"]["baselines"]["kmer6_linear"] = undefined
    assert words.baseline_sentence(of, Regression)[1] == "not compared"
    assert "undefined" in words.difference_sentence(Regression, of)


def test_lower_errors_are_better():
    class Error(Regression):
        main_metric, higher_is_better = "mse", False

    sentence = words.baseline_sentence(metrics(-0.03, -0.01, metric="mse", model=(1, 1)), Error)
    assert sentence[:2] == ("The MSE of the model is", "lower")
    assert "Use the baseline" not in sentence[2]
    of = metrics(-0.03, -0.01, metric="mse", model=(3, 3))
    assert words.baseline_sentence(of, Error)[1] == "better"


def test_better_needs_equal_sizes():
    def expected(low, high, cnn):
        of = metrics(low, high, "cnn", model=(2, 1), cnn=cnn)
        return " ".join(words.baseline_sentence(of)).replace(words.MINUS, "-")

    assert expected(0.01, 0.03, (1, 1)) == (
        "The AUROC of the model is higher than that of its best baseline, CNN: +0.020 AUROC (95 % "
        "interval +0.010 to +0.030) by paired "
        "bootstrap over blocks of 500,000 bp; the numbers of networks differ (2 and 1) and each "
        "was trained only once, so this may be chance."
    )
    assert "bp; each was trained only once, so this may be chance." in expected(0.01, 0.03, (2, 1))
    assert expected(-0.01, 0.03, (2, 1)).startswith(
        "At equal size, the model cannot be distinguished from its best baseline, CNN: +0.010"
    )
    assert expected(-0.01, 0.03, (1, 1)).startswith(
        "The model cannot be distinguished from its best baseline, CNN: +0.010"
    )


def test_a_saved_baseline_is_recommended_where_it_leads():
    advice = " Use the baseline, which is saved in baselines/gc."
    assert words.baseline_sentence(metrics(-0.03, -0.01, model=(1, 1)))[2].endswith(
        f"; the comparison is based on only one training, so this may be chance.{advice}"
    )
    assert words.baseline_sentence(metrics(-0.03, -0.01, model=(3, 3)))[2].endswith(
        f"over blocks of 500,000 bp.{advice}"
    )
    private = metrics(-0.03, -0.01, model=(1, 1)) | {"privacy": {}}
    assert "Use the baseline" not in words.baseline_sentence(private)[2]
    assert (
        "Use the baseline"
        not in words.baseline_sentence(metrics(-0.03, -0.01, "cnn", model=(1, 1), cnn=(1, 1)))[2]
    )


def test_numbers_are_formatted():
    shown = [words.figure(x, 3, True) for x in (0.0274, -0.0274, -0.0001, None)]
    assert shown == ["+0.027", f"{words.MINUS}0.027", "0.000", words.MISSING]
    shown = [words.p_value(p) for p in (0.0321, 2e-8, 0.0, None, float("nan"))]
    assert shown == ["0.032", "2e-08", "1e-300 or less", words.MISSING, words.MISSING]


def test_supported_motifs_are_named_once_by_their_match():
    table = pd.DataFrame(
        {
            "name": ["m1", "m2", "m3", "m4"],
            "consensus": ["ATCGAT", "TCGATA", "GTGACC", "GAGAGA"],
            "target": "positive",
            "effect": [0.5, 0.2, 0.3, 0.9],
            "match": ["Dref (MA1456.2)", "Dref (MA1.1)", "", "Trl (MA0205.3)"],
            "match_q": [1e-6, 0.01, float("nan"), 1e-4],
            "other_matches": ["BEAF-32 (MA0529.3); pnr (MA0536.2)", *[""] * 3],
            "near_ties": 0,
            "verdict": ["supported"] * 3 + ["inconclusive"],
        }
    )
    assert words.supported(table) == "Dref (2), GTGACC"
    assert words.motif_sentence(table).startswith("3 of 4 motifs are supported")
    assert words.motif_sentence(table[:1]).startswith("The only motif found is supported by")
    tied = table.assign(near_ties=[1, 0, 0, 0])
    assert words.supported(tied) == "Dref or BEAF-32, GTGACC, Dref"
    # Matches that are not significant are not used as names
    weak = table.assign(match_q=[1e-6, 0.73, 0.73, 1e-4])
    assert words.supported(weak) == "Dref, GTGACC, TCGATA"
    numbers = table.assign(target=["liver", "heart", "liver", "liver"], effect=[-0.5, 0.2, 0.3, 0])
    assert words.supported(numbers) == "for liver Dref, GTGACC; for heart Dref"
    assert words.motif_sentence(words.both_inputs(table, table)).startswith("6 of 8 motifs are")
    assert words.both_inputs(None, None) is None
    assert words.motif_sentence(numbers).endswith(": for liver Dref, GTGACC; for heart Dref.")


def test_motifs_without_support_are_counted_by_their_verdicts():
    found = pd.DataFrame({"verdict": ["contradicted", "inconclusive", "inconclusive"]})
    expected = "supported by the held-out records"
    assert (
        words.motif_sentence(found)
        == f"None of the 3 motifs found is {expected} (inconclusive: 2, contradicted: 1)."
    )
    assert (
        words.motif_sentence(found[:1])
        == f"The only motif found is not {expected} (contradicted: 1)."
    )


@pytest.mark.parametrize(
    ("ratio", "positives", "negatives", "expected"),
    [
        (25921.0, 400, 1, "odds ratio 26,000"),
        (19.24, 30, 2, "odds ratio 19"),
        (0.512, 3, 6, "odds ratio 0.51"),
        (25921.0, 400, 0, "positives only"),
        (0.8, 0, 0, "no site"),
    ],
)
def test_odds_have_two_digits_and_none_without_negatives(ratio, positives, negatives, expected):
    assert (
        words.odds(
            {"odds_ratio": ratio, "positives_with_hit": positives, "negatives_with_hit": negatives}
        )
        == expected
    )


def test_database_has_its_common_name():
    assert words.database_name("jaspar:vertebrates") == "JASPAR 2026 CORE, vertebrates"
    assert words.database_name("data/mine.meme") == "mine.meme"
    assert words.database_name("none") == ""


def test_false_positive_rate_of_permuted_motifs():
    found = pd.DataFrame({"null_motifs": [20, 19, np.nan], "null_passing": [0, 3, np.nan]})
    assert words.null_sentence(found) == (
        "False-positive rate: of 39 meaningless motifs, which have the columns of these motifs in "
        "random order, 3 (7.7 %) pass the tests of enrichment and effect."
    )
    assert words.null_sentence(found[2:]) == words.null_sentence(None) == ""


def test_averaged_networks_include_seeds():
    values = {"data": {"positives": "p.fa", "negatives": "n.fa"}, "training": {"seeds": 3}}
    trainings = (
        "The model was trained 3 times with different seeds. Attribution and motifs come from the "
        "first training."
    )
    # The CNN has equally many networks
    assert words.ensemble_sentence(RunFile.model_validate(values)) == trainings
    values["variants"] = {"cnn": {"model": {"kind": "cnn", "members": 1}}}
    assert words.ensemble_sentence(RunFile.model_validate(values)) == (
        "Numbers of networks whose scores are averaged: this model 6, CNN 3. A mean of several "
        "networks is usually better than one, so part of a difference may be due to these numbers. "
        f"{trainings}"
    )
    single = values | {"training": {"seeds": 1}, "model": {"kind": "attention", "members": 1}}
    assert words.ensemble_sentence(RunFile.model_validate(single)) == ""


def test_classifiers_have_readable_names():
    names = ("exact_positions", "partner_gc", "cnn", "mine", "partner_alone")
    assert [words.classifier_name(name) for name in names] == [
        "logistic regression on exact positions",
        "GC content of the second input",
        "CNN",
        "mine",
        "partner_alone",
    ]
    assert words.classifier_name("kmer6_logistic", short=True) == "6-mers"


def test_a_gap_is_reported_if_it_exceeds_chance():
    found = {"value": 0.12, "shrunk": 0.05, "p": 0.01}
    assert words.gap(found) == "gap 0.120 (0.050 after shrinkage, p = 0.01)"
    assert words.gap(found | {"p": 0.4}) == "no gap beyond chance (p = 0.4)"


def test_calibration_is_shown_with_its_floor():
    entry = {
        "ece": {"value": 0.017, "low": 0.01, "high": 0.02, "floor": 0.0156},
        "calibration_slope": {"value": 1.01, "low": 0.94, "high": 1.08},
        "calibration_intercept": {"value": -0.03, "low": -0.09, "high": 0.04},
    }
    assert words.calibration(entry).replace("\N{MINUS SIGN}", "-") == (
        "ECE 0.017 (0.016 if perfectly calibrated), calibration slope 1.01 (0.94 to 1.08), "
        "intercept -0.03 (-0.09 to +0.04)"
    )
    undefined = dict.fromkeys(("value", "low", "high"))
    assert words.calibration(entry | {"calibration_slope": undefined}) == (
        "ECE 0.017 (0.016 if perfectly calibrated), calibration slope undefined, because scores "
        "separate the classes"
    )


class _Error(Regression):
    main_metric, higher_is_better = "mae", False


@pytest.mark.parametrize(
    ("metrics", "objective", "sentence"),
    [
        (["auroc", "mcc"], Binary, "Positive values favour the model."),
        (
            ["auroc", "brier", "ece"],
            Binary,
            "Positive values favour the model (negative values for Brier, ECE).",
        ),
        (
            ["mean", "activity.pearson", "activity.mse"],
            Several,
            "Positive values favour the model (negative values for activity: MSE).",
        ),
        (["mae", "r2"], _Error, "Positive values favour the model (negative values for mae)."),
        (["mae", "mse"], _Error, "Negative values favour the model."),
    ],
)
def test_each_metric_has_its_direction(metrics, objective, sentence):
    assert words.favour_sentence(metrics, objective) == sentence


def test_agreement_leaves_out_undefined_correlations():
    assert words.agreement_sentence(None, np.array([])) == ""
    assert words.agreement_sentence(None, np.array([np.nan])) == ""
    assert words.agreement_sentence(0.731, np.array([0.5, np.nan, 0.7])) == (
        f"Attributions of the averaged networks correlate with {words.RHO} 0.73 (median over "
        f"records). Attributions of trainings with different seeds correlate with {words.RHO} 0.60 "
        "(median over 2 records)."
    )


def test_estimate_has_an_interval_if_known():
    entry = {"value": 0.871, "low": 0.861, "high": 0.88}
    assert words.estimate(entry) == "0.871 (0.861 to 0.880)"
    assert words.estimate(entry, 2) == "0.87 (0.86 to 0.88)"
    assert words.estimate({"value": 0.871}) == "0.871"
    assert words.estimate(dict.fromkeys(entry)) == words.MISSING


def test_undefined_difference_does_not_blame_the_model():
    unknown = {"auroc": dict.fromkeys(("value", "low", "high"))}
    differences = {"best_baseline": "gc", "baselines": {"gc": unknown}}
    sentence = words.difference_sentence(Binary, {"differences": differences})
    assert sentence == "The difference in AUROC to GC content is undefined."

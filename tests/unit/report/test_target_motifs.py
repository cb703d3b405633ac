"""Test that the pages of numbers and classes show motifs per output, with effects in its unit."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from target_results import make_targets

from selfattn_bio.config import RunFile
from selfattn_bio.report.cards import REVERSE, YES, findings, motif_rows, shortfall
from selfattn_bio.report.page import render
from selfattn_bio.report.results import read_results
from selfattn_bio.report.words import MINUS

Maker = Callable[..., RunFile]
FILES = ("motifs.tsv", "motifs.meme", "seqlets.bed", "discovery_seqlets.bed")
LABELS = ("positives_with_hit", "negatives_with_hit", "positives", "negatives")
NUMBER = {
    **{"target": "activity.expression", "unit": "expression", "min_effect": 0.2},
    **{"difference": -1.5, "matched_difference": -1.25, "records_with_hit": 20, "records": 80},
    **{"effect": -0.9, "effect_low": -1.1, "effect_high": -0.7, "fall": -0.8, "fall_low": -1.0},
    **{"fall_high": -0.6, "odds_ratio": np.nan, "matched_odds_ratio": np.nan},
    **dict.fromkeys(LABELS, np.nan),
}


def page_of(folder: Path, maker: Maker, numbers: int = 1) -> str:
    """Return the page of a number and three classes, whose first motifs lower the number."""
    task = make_targets("several", folder / "several", maker).task
    maker(folder / "binary")
    for name in FILES:
        shutil.copy(folder / "binary" / name, folder / "several" / name)
    table = pd.read_csv(folder / "several" / "motifs.tsv", sep="\t")
    table["target"] = "class.ebox"
    for column in ("difference", "matched_difference", "records_with_hit", "records"):
        table[column] = np.nan
    table = table.astype(dict.fromkeys(LABELS, float))
    for column, value in NUMBER.items():
        table.loc[: numbers - 1, column] = value
    table.to_csv(folder / "several" / "motifs.tsv", sep="\t", index=False)
    curves = folder / "several" / "marginals.tsv"  # of the first motif
    pd.read_csv(curves, sep="\t").assign(unit="expression").to_csv(curves, sep="\t", index=False)
    page = render(read_results(task, folder / "several"), folder / "plots", "small")
    return " ".join(page.split())


def test_page_shows_motifs_of_each_output(tmp_path: Path, results_maker: Maker) -> None:
    page = page_of(tmp_path, results_maker)
    assert f"mean {MINUS}1.50 expression <small>20 of 80 records; q" in page
    assert f"{MINUS}0.90 <small>{MINUS}1.10 to {MINUS}0.70 expression; q" in page
    assert "sites, for activity.expression</small>" in page
    assert "sites, for class.ebox</small>" in page
    assert "<b>Supported</b> (expression): test records with a site have higher or" in page
    assert "<b>Positives</b> are the test records of the class or label of the motif" in page
    assert "<b>Supported</b>: sites are more frequent in positives than in negatives" in page
    assert "with high attribution in test positives (numbers: test records), by position" in page
    assert "found and tested for activity.expression, class.ebox separately" in page
    assert "Is expression different in records with a site?" in page
    assert f"the difference of the means is {MINUS}1.50 expression;" in page
    assert "Also compared with records matched for GC content and length?" in page
    assert "Shuffling its sites raises expression by 0.80." in page
    assert "Is it more frequent in positives than in negatives?" in page  # of the class
    assert "1 of 3 motifs are supported" in page or "1 of 3 motifs is supported" in page


def test_model_that_uses_a_motif_against_the_records(tmp_path: Path, results_maker: Maker) -> None:
    page_of(tmp_path, results_maker)
    results = read_results(
        make_targets("several", tmp_path / "again", results_maker).task, tmp_path / "several"
    )
    row = motif_rows(results)[0]
    answers = {}
    for name, effect, enrichment_q in (
        ("as the records", -0.9, 0.01),
        ("against them", 0.9, 0.01),
        ("no difference between them", 0.9, 0.5),
    ):
        changed = row | {"effect": effect, "fall": effect, "enrichment_q": enrichment_q}
        found, _ = findings(changed, results.task)
        answers[name] = [each.answer for each in found if each.question == "Does the model use it?"]
    assert list(answers.values()) == [[YES], [REVERSE], [YES]]


def test_page_of_numbers_has_no_words_about_classes(tmp_path: Path, results_maker: Maker) -> None:
    page = page_of(tmp_path, results_maker, numbers=3)
    shown = page[page.index('<section id="motifs">') : page.index('<section id="performance">')]
    assert "<b>Supported</b>: test records with a site have higher or lower numbers" in shown
    assert "effect of at least 0.20 expression" in shown
    for word in ("positives", "negatives", "log-odds", "logit", "unlabelled"):
        assert word not in shown


def test_inconclusive_motif_of_a_number() -> None:
    row = {"verdict": "inconclusive", **dict.fromkeys(("enrichment_q", "matched_q"), 0.01)}
    row |= {"effect_q": 0.01, "support_q": 0.01, "null_motifs": 20, "null_p": 0.5}
    row |= {name: value for name, value in NUMBER.items() if isinstance(value, float)}
    assert shortfall(row, 0.05) == "permuted motifs have such effects"
    assert shortfall(row | {"fall": -0.1}, 0.05) == "effect smaller than 0.2"
    assert shortfall(row | {"fall_high": 0.1}, 0.05) == "interval of the effect includes 0"
    opposed = row | {"matched_difference": 1.25, "null_p": np.nan}
    assert shortfall(opposed, 0.05) == (
        "unclear whether records with a site have higher or lower numbers"
    )

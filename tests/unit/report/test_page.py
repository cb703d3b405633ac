"""Test what the page of two classes shows, and the files that it reads."""

import base64
import hashlib
import json
import re
import shutil
from dataclasses import replace
from email.message import Message
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pages import page_of, read, section_of, tables_of
from small_results import MOTIFS, PAIRS, TASK, edit, make_results, table_of

from selfattn_bio.config import RunFile, StackSection
from selfattn_bio.report import words
from selfattn_bio.report.results import site_positions
from selfattn_bio.report.tables import stability_table
from selfattn_bio.sequence.tables import BED_COLUMNS


def test_private_stacked_model_reports_budget_and_weights(tmp_path, page_text, caplog):
    make_results(tmp_path)
    weights = {"network": 0.08, "exact_positions": 1.27, "composition": 0.5}
    stored = {"weights": weights, "bias": -0.4, "weights_sha256": ""}
    (tmp_path / "model" / "stack").mkdir()
    (tmp_path / "model" / "stack" / "weights.json").write_text(json.dumps(stored))
    stack = StackSection(parts=("exact_positions", "composition", "kmer6_linear"))
    of = read(tmp_path, TASK.model_copy(update={"stack": stack}))
    assert "[stack] changed after the training: run `selfattn-bio train " in caplog.text
    of.test["network"] = of.test["model"]
    for split in ("valid", "test"):
        of.metrics[split]["baselines"]["network"] = {"auroc": {"value": 0.999}}
    lead = {"value": -0.1, "low": -0.2, "high": -0.05, "p": 0.001}
    of.metrics["differences"]["baselines"]["network"] = {"auroc": lead}
    slope = of.metrics["test"]["model"]["calibrated"]["calibration_slope"]
    slope |= {"value": 0.7, "low": 0.6, "high": 0.8}
    reason = "the task names no database of RNA motifs"
    of.metrics["left_out"] = {reason: ["motif_scores"], "there is no trained model": ["cnn", "b"]}
    of.metrics["privacy"] = {"epsilon": 2.987, "delta": 1e-5, "steps": 1500}
    changed = page_of(replace(of, history=of.history.drop(columns="train_loss")))
    for text in (
        "Differentially private training: epsilon 2.99 at delta 1e-05 after 1,500 steps.",
        "Private runs do not report the training loss.",
        " would be chance. Probabilities are too extreme.",
        f"Left out of the comparison: motif_scores, because {reason}; cnn and b, because there is "
        "no trained model.",
        "These curves show the network only.",
        "fitted on it as well; the validation metrics use cross-validated weights.",
        "The score combines the network with simple models: 0.08 * network + 1.27 * "
        f"exact_positions + 0.50 * composition {words.MINUS} 0.40. Simple models that the fit left "
        "out as negligible: kmer6_linear.</p>",
        "The simple models did not help on ",
    ):
        assert text.replace("*", "\N{MULTIPLICATION SIGN}") in changed
    for text in ("simple models", "network only", "Differentially private", "Left out of"):
        assert text not in page_text


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ("performance", "thresholds (0.377 for the model); those at 0.5 use a threshold of 0.5."),
        ("performance", "bootstrap intervals over 80 records, 50 resamples"),
        ("performance", "if perfectly calibrated), calibration slope"),
        ("motifs", "(both by at least 0.1 log-odds, intervals below 0)."),
        ("motifs", "Matches are from JASPAR 2026 CORE, insects"),
        ("motifs", "cannot be below 0.001"),
        ("motifs", "computed after adding 1/2 to each of the four counts."),
        ("motifs", "of 20 meaningless motifs"),
        ("motifs", "best match, q&nbsp;=&nbsp;2e-08; also similar: BEAF-32 (MA0529.3)"),
        ("interactions", "2 pairs of motifs tested: 1 supported, 0 redundant, 0 non-additive, 1 i"),
        (
            "interactions",
            "inconclusive (no q value, because fewer than the 6 needed pairs could be compared: ",
        ),
        ("interactions", "Measured, without the model (3 pairs, tested or not)"),
        (
            "interactions",
            '<span class="verdict not tested">not tested</span> <small>both used in 9',
        ),
        (
            "interactions",
            "<td>0.42 (21)</td><td>0.26 (22)</td><td>1.23 (23)</td><td>0.38 (24)",
        ),
        (
            "interactions",
            "distance, insert them into neutral backgrounds with <code>marginalize_sp",
        ),
        *(("interactions", f'<span class="verdict {verdict}">') for verdict in PAIRS["verdict"]),
        ("leakage", "3 test records have a near neighbour."),
        ("groups", "By tissue: AUROC: no gap beyond chance (p = "),
        ("groups", "is multiplied by their design effect."),
        ("data", "<dt>data/p.fa.gz</dt>"),
        ("data", "<dt>shuffled negatives generated from data/p.fa.gz</dt>"),
        ("provenance", "selfattn-bio run train_small_task<"),
    ],
)
def test_sections_have_their_sentences(page_text, section, text):
    assert text in section_of(page_text, section)


def test_groups_have_a_table_with_the_worst_and_the_gap(page_text, results):
    gc, groups = tables_of(page_text, "groups")
    assert {name.removesuffix(" (lowest AUROC)") for name in gc} == {"below 0.45", "0.45 and more"}
    assert "By GC content: AUROC: " in page_text
    found = results.metrics["groups"]["tissue"]
    assert set(groups) == {"gut", "liver (lowest AUROC)", "rare"}
    for entry in found["groups"]:
        row = groups[entry["group"] + " (lowest AUROC)" * (entry["group"] == found["worst"])]
        assert (row["records"], row["positives"]) == (str(entry["n"]), str(entry["positives"]))
        for metric, classifier, of in (
            *(("AUROC", "model", "model"), ("accuracy", "model", "model")),
            ("AUROC", "cnn", "best baseline"),
        ):
            known = entry[classifier]
            text = f"{known[metric.lower()]['value']:.3f} " if known else "one class only"
            assert row[f"{metric}, {of}"].startswith(text)
    assert '<a href="#groups">Groups</a>' in page_text


def test_the_run_file_is_that_of_the_report(results):
    interpret = {**TASK.interpret.model_dump(), "max_sequences": 110}
    task = RunFile.model_validate(TASK.model_dump() | {"interpret": interpret})
    page = page_of(replace(results, task=task))
    own, _, of_training = page.rpartition("Settings used for training")
    assert "max_sequences = 110\n" in own
    assert "max_sequences = 3000\n" in of_training


def test_the_page_loads_nothing(page_text):
    loading = r'<(link|img|iframe|object|embed|image)\b|\ssrc=|href="(?!#)|url\((?!#)|@import'
    assert not re.search(loading, page_text)
    assert "default-src 'none'" in page_text
    assert len(page_text) < 10_000_000


def test_the_answer_comes_first(page_text):
    head = page_text[page_text.index("<header>") : page_text.index("</header>")]
    for text in ("AUROC on 80 test records", "best baseline: cnn", "paired bootstrap", "Dref"):
        assert text in head
    assert "1 of 3 motifs is supported" in head


def test_motifs_without_known_match(results):
    motifs = results.motifs.assign(match_q=1.0)
    assert motifs_of(page_of(replace(results, motifs=motifs)))[-1][-3] == "match none known"
    task = RunFile.model_validate(TASK.model_dump() | {"interpret": {"database": "none"}})
    page = page_of(replace(results, task=task, motifs=motifs.assign(match="", match_q=np.nan)))
    assert "because the task names no database of DNA motifs (<code>database</code> in" in page
    assert '<span class="muted">no database</span>' in page
    assert "Matches are from" not in page
    own = replace(results, motifs=motifs.assign(match="", match_q=np.nan))
    for alphabet, title in (("rna", "RNA"), ("protein", "protein")):  # the database is of DNA
        page = page_of(replace(own, corpus=results.corpus | {"alphabet": alphabet}))
        assert f"because the task names no database of {title} motifs" in page


def test_text_from_files_is_escaped(tmp_path):
    evil = "<script>alert(1)</script>"
    make_results(tmp_path, MOTIFS[:1].assign(name=evil, consensus="TAT<b>", match=evil), "<i>")
    page = page_of(read(tmp_path, TASK.model_copy(update={"title": evil})), drawn=True)
    assert "alert(1)</script>" not in page
    assert "TAT<b>" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_figures_are_saved_next_to_page(page_text, results):
    ids = re.findall(r'\sid="([^"]+)"', page_text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", page_text)) <= set(ids)
    names = [
        *("attention_start", "calibration", "comparison", "distance_0", "evidence"),
        *("learning", "marginal_motif_01", "precision_recall", "roc"),
    ]
    assert sorted(path.name for path in results.layout.plots.iterdir()) == [
        f"{name}.{kind}" for name in names for kind in ("png", "svg")
    ]


def motifs_of(page):
    """Return the lines of the overview of each motif, without the logo."""
    found = re.findall(r"<summary>\s*<span class=.logo.*?</summary>", page, re.DOTALL)
    texts = [unescape(re.sub("<[^>]*>", " ", each)).splitlines()[2:-1] for each in found]
    return [[" ".join(line.split()) for line in each] for each in texts]


def test_motifs_show_the_evidence(page_text):
    first, _, last = motifs_of(page_text)
    assert first == [
        "motif_01 supported",
        "TATNC 120 sites",
        "match Dref q = 2e-08",
        "enrichment odds ratio 19 30 of 40 positives, 2 of 40 negatives; q = 3e-20",
        "effect +0.81 +0.62 to +1.01 log-odds; q = 0.002",
    ]
    assert last[0] == "motif_03 inconclusive enrichment not shown; effect not measured"
    assert last[-1] == (
        "effect not measured 9 of 80 test records with a known target have a site and space for a "
        "control site; 30 are needed, that is, about 267 test records with a known target, and 10 "
        "independent units with a site"
    )


def test_page_without_motifs(tmp_path):
    make_results(tmp_path, MOTIFS[:0])
    assert "No motif was found" in page_of(read(tmp_path))
    edit(tmp_path / "corpus" / "corpus.json", alphabet="protein")
    shutil.rmtree(tmp_path / "attribution")  # it contains DNA
    page = page_of(read(tmp_path)).partition("Run file of this task")[0]
    assert "No motif was found" in page
    assert not any(word in page for word in (" bp", "dinucleotide", "either strand", "by DNA"))
    assert '<p class="range">relatives below about 85 % identity can be missed</p>' in page
    for name in ("motifs.tsv", "motifs.meme", "seqlets.bed", "marginals.tsv", "audit.json"):
        (tmp_path / name).unlink()
    page = page_of(read(tmp_path))
    assert "Motifs were not searched for" in page
    assert "Leakage was not checked. Run <code>selfattn-bio audit small_task</code>." in page


def test_motifs_of_steps_run_by_hand_are_shown(results, monkeypatch):
    monkeypatch.setattr(RunFile, "is_interpreted", False)  # of the workflow
    assert '<section id="motifs">' in page_of(results)


def test_every_figure_states_a_finding(page_text):
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page_text, re.DOTALL)
    assert len(captions) == 9
    for caption in captions:
        assert re.match(r"<b>[A-Z].+\.</b> [A-Z]", caption), caption


def test_supported_motifs_are_cards_and_others_rows(page_text):
    found = re.findall(r'<details class="(\w+)" data-name="(\w+)" data-match="([^"]*)"', page_text)
    assert [kind for kind, *_ in found] == ["card", "row", "row"]
    assert found[0][1:] == ("motif_01", "Dref (MA1456.2)")


def test_outputs_that_were_not_explained_are_named(results, page_text):
    assert "only these were explained" not in page_text
    outputs = {"model": {name: {} for name in ("positive", "other", "third")}}
    page = page_of(replace(results, metrics=results.metrics | {"outputs": outputs}))
    assert "Of 3 outputs, only these were explained: positive. Choose others with" in page
    assert "none for" not in page


FEW_BLOCKS = "no q value, because only {} of the 20 needed blocks of 5 bp have both motifs"


def test_motif_pairs_are_reported(page_text, results):
    rows, unclear, _ = tables_of(page_text, "interactions")
    names = ["motif_01 (Dref) and motif_02", "motif_01 (Dref) and motif_03 (Trl)"]
    assert [list(rows), list(unclear)] == [names[:1], names[1:]]
    lacks = "no q value, because only 2 of the 6 needed pairs could be compared"
    assert unclear[names[1]]["verdict"] == f"inconclusive {lacks}"
    assert rows[names[0]] == {
        **{"records tested": "62 of 62", "single effects": "+0.70 and +0.50"},
        **{"epistasis": "+0.61 +0.42 to +0.80", "q": "0.004"},
        "most enriched spacing": "5 to 9 positions 8.5-fold, q = 0.003",
        "most enriched orientation": "+- 2.7-fold, q = 0.002",
        **{"closest pair": "0.83", "verdict": "supported"},
    }
    for clear in ("redundant", "non-additive"):  # these come before inconclusive ones
        pairs = PAIRS.assign(verdict=["inconclusive", clear])
        page = page_of(replace(results, interactions=pairs, measured=None))
        assert [list(each) for each in tables_of(page, "interactions")] == [names[1:], names[:1]]
    pairs = PAIRS.assign(verdict="inconclusive", lacks=[FEW_BLOCKS.format(n) for n in (12, 13)])
    page = page_of(replace(results, interactions=pairs))
    assert (
        "(no q value, because fewer than the 20 needed blocks of 5 bp have both motifs: 2)" in page
    )
    for pairs, number, text in (
        (PAIRS[:0], 3, "No pair of motifs was tested. A pair needs two motifs of the same output"),
        (PAIRS[:0], 1, "No pair of motifs was tested. A pair needs two motifs of the same output"),
        (None, 3, "Pairs of motifs were not tested"),
    ):
        changed = replace(results, motifs=results.motifs[:number], sites=results.sites[:0])
        page = page_of(replace(changed, interactions=pairs, measured=None))
        assert text in page
        assert "Measured, without the model" not in page


DOCUMENTS = {path.stem for path in (Path(__file__).parents[3] / "docs").glob("*.md")}


def test_sections_link_to_documentation_if_it_has_an_address(results, monkeypatch):
    metadata = Message()
    monkeypatch.setattr("selfattn_bio.report.page.metadata", lambda name: metadata)
    metadata["Project-URL"] = "Source, https://example.org/code"
    assert "example.org" not in page_of(results)
    metadata["Project-URL"] = "Documentation, https://example.org/docs/"
    linked = re.findall(r'href="https://example\.org/docs/(\w+)\.html"', page_of(results))
    assert {"interpretation_evidence", "baselines", "data", "results"} <= set(linked) <= DOCUMENTS


def page_of_seeds(folder, seeds):
    training = TASK.training.model_copy(update={"seeds": seeds})
    return page_of(read(folder, TASK.model_copy(update={"training": training})))


def test_page_shows_motifs_found_again(tmp_path):
    other = tmp_path / "members" / "2"
    for folder, verdict in ((tmp_path, "supported"), (other, "inconclusive")):
        make_results(folder, MOTIFS[:2].assign(verdict=verdict))
    edit(tmp_path / "attribution" / "attribution.json", member_correlation=0.734)
    page = page_of_seeds(tmp_path, 1)
    assert "found in" not in page
    assert f"{words.agreement_sentence(0.734, np.empty(0))}</p>" in page
    page = page_of_seeds(tmp_path, 2)
    # both motifs of the fixture are equal
    *_, motifs = tables_of(page, "motifs")
    row = {"consensus": "TATNC", "best match": "Dref", "found in": "2 of 2"}
    assert list(motifs.values())[-1] == row | {"supported in": "1 of 2"}
    assert f"{words.agreement_sentence(0.734, np.ones(20))}</p>" in page
    assert "The motifs of 2 of 2 trainings were searched, separately, and those of 2 were" in page
    page = page_of_seeds(tmp_path, 3)
    assert "The model was trained 3 times with different seeds. The motifs of 2 of 3 train" in page
    shutil.rmtree(other)
    assert "found in" not in page_of_seeds(tmp_path, 2)


def test_stability_without_verdicts_has_no_column():
    row = {"run": 1, "name": "m", "consensus": "TATA", "match": "", "runs": 2, "found_in": 2}
    untested, tested = (
        stability_table(pd.DataFrame([row | {"tested": number, "supported_in": number}]))
        for number in (0, 1)
    )
    assert "supported in" not in untested.headings
    assert tested.rows[0].cells["supported in"] == "1 of 1"


def test_site_positions():
    records = table_of("""
        id chrom start end strand length
        a  chr2R 100   200 -      100
        b  chr2R 150   250 +      100
        c  nan   nan   nan nan    80
    """).astype({"start": "Int64", "end": "Int64"})
    for chrom, start, end, expected in (
        ("chr2R", 110, 120, [80]),  # from the first base of the strand
        ("chr2R", 185, 190, [10, 35]),  # in two records
        ("c", 7, 12, [7]),  # a record without coordinates is its chromosome
        ("chr2R", 90, 110, []),
        ("chrX", 100, 110, []),
    ):
        site = pd.DataFrame([(chrom, start, end, "m", 0, "+")], columns=BED_COLUMNS)
        found = site_positions(site, records)
        assert sorted(found["position"]) == expected
        assert set(found["name"]) <= {"m"}


def test_genome_and_targets_are_listed_once_with_hash(results):
    files = [{"path": "genome.fa", "sha256": "cd" * 32}]
    sources = [source | {"files": files} for source in results.corpus["sources"]]
    targets = {"path": "meta.tsv", "sha256": "ef" * 32}
    page = page_of(
        replace(results, corpus=results.corpus | {"sources": sources, "targets": targets})
    )
    listed = f"<dt>genome.fa</dt><dd>auxiliary file, sha256 <code>{'cd' * 32}</code></dd>"
    assert page.count(listed) == 1
    listed = f"<dt>meta.tsv</dt><dd>table of targets, sha256 <code>{'ef' * 32}</code></dd>"
    assert page.count(listed) == 1


def test_only_the_script_of_the_page_may_run(page_text):
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page_text)
    (script,) = re.findall("<script>(.*?)</script>", page_text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.endswith(f"script-src 'sha256-{digest}'")

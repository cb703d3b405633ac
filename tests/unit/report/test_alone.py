"""Test what the report says about motifs inserted alone, windows and networks alone."""

from dataclasses import replace
from math import nan

import numpy as np
import pandas as pd
import pytest
from pages import page_of, section_of
from small_results import PAIRS, TASK

from selfattn_bio.config import AttentionModel, CnnModel, PairedModel, RunFile
from selfattn_bio.model.checkpoint import StackWeights
from selfattn_bio.objectives.binary import Binary
from selfattn_bio.report import tables
from selfattn_bio.report.cards import findings, motif_rows
from selfattn_bio.report.figures import alone_note, pools_positions
from selfattn_bio.report.lines import alone_sentence, network_wins_sentence

ONE_PART = {"kind": "pooling", "parts": 1}
ALONE = {
    **{"marginal": 2.5, "marginal_low": 2.2, "marginal_high": 2.8},
    **{"effect_q": 0.3, "verdict": "inconclusive"},
}


def test_control_sites_that_change_the_score_are_the_reason(results):
    control = (
        "Shuffling its sites changes the score, but so does shuffling sites nearby (the control)"
    )
    used = {"effect": 0.38, "necessity": 0.93, "necessity_low": 0.67, "necessity_high": 1.24}
    first = motif_rows(results)[0] | ALONE
    row = first | used
    assert alone_note(row, TASK).startswith(control)
    composition = "The model reacts mainly to the composition of the motif, not to its order"
    for change in ({"effect": 0.9}, {"necessity_low": -0.1}, {"necessity": 0.05}, {"effect": 1.9}):
        assert alone_note(row | change, TASK).startswith(composition)
        for unclear in ({"effect_high": 1.2}, {"sufficiency_low": -1.2}, {"sufficiency_low": nan}):
            assert alone_note(row | change | unclear, TASK).startswith("Shuffling keeps")
    other = first | {"name": "motif_09"}
    sentence = alone_sentence(pd.DataFrame([row, other]), 0.05)
    assert sentence.count("Enriched and effective when inserted alone") == 2
    assert f"motif_01 of {row['target']}. {control}" in sentence
    assert f"motif_09 of {row['target']}. {composition}" in sentence


def test_supported_motifs_of_some_positions_refer_to_their_curve(results):
    note = 'Its effect alone depends on the position: see <a href="#marginals">Motifs alone</a>.'
    others = results.motifs.assign(marginal_position_weakest=0.9)
    for own, count in ((results, 1), (replace(results, motifs=others), 0)):
        assert page_of(own).count(note) == count


def test_a_network_that_is_better_alone_is_named():
    model, better = ({"auroc": {"value": value}} for value in (0.9, 0.95))
    absent = {"auroc": {"value": None}}
    equal = {"model": model, "baselines": {"network": {"auroc": {"value": 0.9004}}}}
    worse = {"model": model, "baselines": {"network": better}}
    lead = {"value": -0.05, "low": -0.08, "high": -0.02}
    clear = {"differences": {"baselines": {"network": {"auroc": lead}}}}
    unclear = {"differences": {"baselines": {"network": {"auroc": lead | {"high": 0.02}}}}}
    sentence = network_wins_sentence({"valid": equal, "test": worse} | clear, Binary)
    start = "The simple models did not help on {} records: the AUROC of the network alone is "
    assert sentence.startswith(
        f"{start.format('validation')}0.900 instead of 0.900 on validation and 0.950 instead of "
        "0.900 on test records. If validation records of other seeds show it as well, remove "
    )
    stacked = {"model": better, "baselines": {"network": model}}
    for valid in (stacked, {"model": absent, "baselines": {"network": absent}}):
        sentence = network_wins_sentence({"valid": valid, "test": worse} | clear, Binary)
        assert sentence.startswith(start.format("test"))
        assert network_wins_sentence({"valid": valid, "test": worse} | unclear, Binary) == ""
    of_validation = network_wins_sentence({"valid": worse, "test": worse} | unclear, Binary)
    assert of_validation.startswith(start.format("validation"))
    assert network_wins_sentence({"valid": worse, "test": stacked} | unclear, Binary) == ""
    absent = {"differences": {"baselines": {}}}
    alone = {"model": model, "baselines": {}}
    assert network_wins_sentence({"valid": equal, "test": alone} | absent, Binary) == ""


def test_window_positions_count_from_1():
    windows = [(0.0, 10.0), (99, 109), (-31, -25), (-31.0, 0.0), (-11, -1), (np.nan, np.nan)]
    rows = [
        {"window_start": start, "window_end": end, "consensus": "SKL"} for start, end in windows
    ]
    names = [tables.window_name(row) for row in rows]
    positions = ["positions 1 to 10", "positions 100 to 109"]
    ends = ["positions 31 to 26 from the end", "the last 31 positions", "the last 11 positions"]
    assert names == [*positions, *ends, "one position"]


def test_effects_that_are_larger_at_some_positions_are_named(results):
    weakest = {f"marginal_{test}_weakest": 0.7 for test in ("position", "strand")}
    strongest = {f"marginal_{test}_strongest": 1.15 for test in ("position", "strand")}
    motifs = results.motifs.assign(marginal_strand_q=0.01, **weakest, **strongest)
    pairs = results.interactions.assign(marginal_distance_weakest=0.5)
    page = page_of(replace(results, motifs=motifs, interactions=pairs))
    shown = section_of(page, "marginals")
    for text in (
        "The effect depends on the position for none. It is present at all positions, but larger "
        "at some, for 1: TATNC (+0.70 to +1.15). The effect depends on the strand for none. It is "
        "present on both strands, but larger on one, for 1: TATNC (+0.70 to +1.15).",
        "</b> Present at all positions, but larger at some: +0.70 to +1.15 (q = 0.003). Largest if "
        "the site starts at positions 41 to 45, at the end of the sequence. Present on both "
        "strands, but larger on one: +0.70 to +1.15 (q = 0.01). Largest on the - strand.",
        "distance between the sites for none. It is present at all distances, but larger at some, "
        "for 1: motif_01 and motif_02 (+0.50 to +0.85).",
        "</b> Present at all distances, but larger at some: +0.50 to +0.85 (q = 0.004). Largest at "
        "10 positions.",
    ):
        assert text in shown
    assert "Its effect alone is present at all positions, but larger at some: see <a" in page


@pytest.mark.parametrize(
    ("parts", "weakest", "named"),
    [
        (("kmer6_linear", "exact_positions", "gapped_kmers"), 0.7, "(kmer6_linear, gapped_kmers)"),
        (("exact_positions",), 0.7, ""),
        ((), 0.7, ""),
        (("kmer6_linear",), 0.3, ""),  # less than half of the strongest
        (("kmer6_linear",), 1.15, "(kmer6_linear)"),  # the same at all positions
    ],
)
def test_parts_that_hide_a_dependence_on_the_position(results, monkeypatch, parts, weakest, named):
    weights = {name: [1.0] for name in ("network", *parts)}
    stored = StackWeights(weights=weights, bias=[0.0], weights_sha256="")
    monkeypatch.setattr("selfattn_bio.report.page.read_stack_weights", lambda folder: stored)
    motifs = results.motifs.assign(marginal_position_weakest=weakest)
    shown = section_of(page_of(replace(results, motifs=motifs)), "marginals")
    assert shown.count("they add the same effect at all positions") == bool(named)
    before = "for none." if weakest == 1.15 else "(+0.70 to +1.15)."
    after = f"{before} The simple models of the stack {named} count words wherever"
    assert (after in shown) == bool(named)
    assert shown.count("The network may depend more") == bool(named)


@pytest.mark.parametrize(
    ("model", "section"),
    [
        (AttentionModel(head=ONE_PART), "[model]"),
        (AttentionModel(head=ONE_PART, position={"kind": "rotary"}), "[model]"),
        (PairedModel(encoder={"head": ONE_PART}), "[model.encoder]"),
        (AttentionModel(), ""),
        (AttentionModel(head=ONE_PART | {"parts": 2}), ""),
        (AttentionModel(head={"kind": "cls"}), ""),
        (AttentionModel(head=ONE_PART, position={"kind": "sinusoidal"}), ""),
        (AttentionModel(head=ONE_PART, pattern={"kind": "full", "causal": True}), ""),
        (CnnModel(), ""),
    ],
)
def test_network_that_pools_all_positions_is_named(results, monkeypatch, model, section):
    stored = StackWeights(
        weights={"network": [1.0], "kmer6_linear": [1.0]}, bias=[0.0], weights_sha256=""
    )
    monkeypatch.setattr("selfattn_bio.report.page.read_stack_weights", lambda folder: stored)
    task = TASK.model_copy(update={"model": model})
    motifs = results.motifs.assign(marginal_position_weakest=1.15)
    shown = section_of(page_of(replace(results, task=task, motifs=motifs)), "marginals")
    assert shown.count("The network pools over all positions, so it can hardly") == bool(section)
    assert f"parts = 4 }} in {section}." in shown or not section
    assert shown.count("The network may depend more") == (not section)


def test_labels_per_position_are_not_pooled():
    run = {"model": {"kind": "attention", "head": ONE_PART}, "data": TASK.data}
    assert pools_positions(RunFile.model_validate(run))
    run["data"] = {"sequences": "r.fa", "targets": "t.tsv"}
    run |= {"tokens": {"k": 1}, "training": {"shift": 0, "reverse_complement": False}}
    run["objective"] = {"kind": "labels", "column": "s", "classes": "io"}
    assert not pools_positions(RunFile.model_validate(run))


@pytest.mark.parametrize(
    ("changes", "is_unused"),
    [
        ({}, True),
        ({"window_q": 0.3}, True),
        ({"position_q": 0.3}, True),  # the window is preferred
        ({"position_q": 0.3, "window_q": 0.3}, False),
        ({"marginal_position_weakest": 2.7}, False),
        ({"marginal_position_weakest": 0.05, "marginal_position_strongest": 0.05}, False),
        ({"marginal_position_weakest": np.nan}, False),
    ],
)
def test_preferred_position_without_effect_is_unused(results, changes, is_unused):
    same = {"marginal_position_weakest": 2.9, "marginal_position_strongest": 2.92}
    found = findings(motif_rows(results)[0] | same | changes, TASK)[0]
    shown = {line.question: line.figures for line in found}
    unused = " Inserted alone, it acts the same everywhere, so the model does not use this"
    assert (unused in shown["Does it prefer a position?"]) == is_unused


@pytest.mark.parametrize(("q", "others"), [(0.003, ""), (0.2, " The 1 without these effects act")])
def test_motif_of_one_end_is_not_without_effect(results, q, others):
    motifs = results.motifs.assign(marginal_low=-0.1, marginal_position_q=q)
    shown = section_of(page_of(replace(results, motifs=motifs)), "marginals")
    assert "backgrounds: 0 of 1;" in shown
    assert shown.count(" without these effects act") == bool(others)
    assert others in shown


def test_effects_of_motifs_alone_are_reported(page_text, results):
    shown = section_of(page_text, "marginals")
    for text in (
        "Motifs that raise the prediction alone, on average over all positions of neutral "
        "backgrounds: 1 of 1; that lower it: 0. The effect depends on the position for 1: TATNC "
        "(+0.30 to +1.15). The effect depends on the strand for none.",
        "<b>Mean effect +0.40 (+0.05 to +0.60).</b> Depends on the position: +0.30 to +1.15 (q = "
        "0.003). Largest if the site starts at positions 41 to 45, at the end of the sequence. "
        "Depends little or not at all on the strand: +0.35 to +0.45 (q = 0.2).",
        "depends on the distance between the sites for 1: motif_01 and motif_02 (+0.10 to +0.85).",
        "<b>Mean epistasis +0.30 (+0.20 to +0.40).</b> Depends on the distance: +0.10 to +0.85 (q "
        "= 0.004). Largest at 10 positions.",
    ):
        assert text in shown
    assert shown.count("<figure") == 2
    assert "<details><summary>Inconclusive pairs" not in shown  # the pair is supported
    closed = page_of(replace(results, interactions=PAIRS.assign(verdict="inconclusive")))
    summary = "<details><summary>Inconclusive pairs (1)</summary> <div"
    assert summary in section_of(closed, "marginals")
    motifs = results.motifs
    bare = motifs.drop(columns=[name for name in motifs if "marginal" in name])
    assert 'id="marginals"' not in page_of(replace(results, motifs=bare, marginals=None))

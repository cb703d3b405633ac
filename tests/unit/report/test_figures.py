"""Test the plot functions of the report, and the findings of its figures."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from pages import page_of, section_of, without_files
from small_results import table_of

from selfattn_bio.attribution.readout import AttentionMap
from selfattn_bio.evidence.marginals import draw_curves
from selfattn_bio.objectives.binary import Binary
from selfattn_bio.report import figures, plots, target_plots, tested
from selfattn_bio.report.class_figures import _entries
from selfattn_bio.report.figures import _effects, _peak, interpretation
from selfattn_bio.report.performance import _outlook
from selfattn_bio.report.target_figures import _most_frequent, _spread
from selfattn_bio.report.words import MINUS


@pytest.fixture
def ax():
    return Figure().subplots()


def test_peak_is_found_by_a_sliding_window():
    attribution = np.ones((2, 300))
    attribution[:, :30] = 3
    lengths = pd.Series([300, 300])
    found = "Attribution is highest at positions 1 to 15: 2.50 times the mean."
    assert _peak(attribution, lengths) == (2.5, "start", found)
    across = np.ones((1, 60))
    across[0, 28:31] = 9  # no multiple of a twentieth
    assert " at positions 29 to 31: 6.43 times" in _peak(across, pd.Series([60]))[2]
    short = _peak(np.array([[1, 1, 5, 1]]), pd.Series([4]))
    assert " at position 3: 2.50 times" in short[2]
    assert _peak(np.zeros((2, 30)), pd.Series([30, 30]))[:2] == (0, "start")


def test_peak_of_records_of_different_length():
    lengths = pd.Series([*range(100, 200), 400])
    attribution = (np.arange(400) < lengths.to_numpy()[:, None]).astype(float)
    assert " at positions 1 to " in _peak(attribution, lengths)[2]
    attribution[:, 20:30] = 2
    _, side, found = _peak(attribution, lengths)
    assert (side, found.partition(":")[0]) == (
        "start",
        "Attribution is highest at positions 21 to 28",
    )
    for row, length in zip(attribution, lengths, strict=True):
        row[length - 10 : length] = 2.05  # little more than at the start
    assert _peak(attribution, lengths)[1] == "start"
    for row, length in zip(attribution, lengths, strict=True):
        row[length - 10 : length] = 4
    _, side, found = _peak(attribution, lengths)
    assert (side, found.partition(":")[0]) == (
        "end",
        "Attribution is highest at positions 10 to 3 from the end",
    )


def test_peak_of_long_records_is_not_from_the_start():
    lengths = pd.Series([*range(60, 120), *[130] * 15])
    attribution = (np.arange(130) < lengths.to_numpy()[:, None]).astype(float)
    for row, length in zip(attribution, lengths, strict=True):
        row[length - 4 : length] = 12 if length == 130 else 4
    level, side, found = _peak(attribution, lengths, " for liver")
    assert (side, found) == (
        "end",
        f"Attribution for liver is highest at the last 5 positions: {level:.2f} times the mean.",
    )


def test_outputs_have_their_own_curve_and_peak(tmp_path, results):
    explained = results.explained
    half = len(explained.records) // 2
    scores = np.zeros_like(explained.hypothetical)
    scores[..., 0] = 1
    scores[:half, 9, 0] = 20
    targets = ["liver"] * half + ["heart"] * (len(scores) - half)
    records = explained.records.assign(target=targets)

    def drawn():
        own = replace(explained, hypothetical=scores, records=records)
        return interpretation(tested.Tested(replace(results, explained=own), tmp_path))

    for row, length in enumerate(records["length"]):
        scores[row, length:] = 0
    drawing = drawn()[-1]
    assert drawing.finding.startswith("Attribution for liver is highest at positions ")
    assert "Attribution for heart is highest at " in drawing.finding
    assert all(name in drawing.svg for name in ("liver", "heart", "raw attention"))
    assert "attribution" not in drawing.svg
    records["length"] -= np.arange(len(records)) % 7
    for row, length in enumerate(records["length"]):
        scores[row, length:] = 0
        scores[row, length - 3 : length, 0] *= 1 + 5 * (row >= half)
    liver, heart = drawn()[-2:]
    assert "liver is highest at positions " in liver.finding
    assert "heart is highest at the last " in heart.finding
    assert [each.title.split()[-1] for each in (liver, heart)] == ["start", "end"]


def test_positions_that_few_records_have_are_left_out():
    lengths = np.array([*[20] * 19, 30])
    values = (np.arange(30) < lengths[:, None]) * 2.0
    values[:19, 4], values[-1] = 42, values[-1] * 100  # each record counts the same
    for side, positions in (("start", range(1, 21)), ("end", range(-20, 0))):
        means = plots.by_position(values, lengths, side)
        assert means.index.tolist() == list(positions)
        expected = [1.05 / 2, (19 * 10.5 + 1) / 20, 1.05 / 2]
        np.testing.assert_allclose(means.to_numpy()[3:6], expected)
    assert (plots.by_position(values * 0, lengths) == 0).all()


def test_findings_are_on_what_was_measured(tmp_path, results):
    def findings(of):
        with without_files():
            return {each.name: each.finding for each in interpretation(tested.Tested(of, tmp_path))}

    found = findings(results)
    assert found["evidence"] == (
        "Of 2 motifs, 1 changes the prediction (interval without 0): 1 raises it."
    )
    assert found["attention_start"].startswith("Attribution is highest at positions ")
    unknown = replace(results.explained, hypothetical=results.explained.hypothetical[:, :, :0])
    assert findings(replace(results, explained=unknown))["attention_start"] == ""
    blind = replace(results.explained, attention=np.zeros_like(results.explained.attention))
    with without_files():
        *_, drawing = interpretation(tested.Tested(replace(results, explained=blind), tmp_path))
    assert "Attention:" not in drawing.means
    assert "raw attention" not in drawing.svg


def test_effects_of_numbers_have_a_figure_per_unit(tmp_path, results):
    table = table_of("""
        name     unit  effect effect_low effect_high verdict
        motif_01 liver -0.9   -1.0       -0.8        supported
        motif_02 liver 1.0    0.8        1.2         supported
        motif_03 liver 0.8    0.6        0.9         supported
        motif_04 liver 0.0    -0.1       0.1         supported
        motif_05 heart 0.5    -0.1       1.1         supported
    """).assign(match="", match_q=np.nan, target=lambda table: table["unit"])
    liver, heart = _effects(tested.Tested(replace(results, motifs=table), tmp_path), "bases")
    assert (liver.name, heart.name) == ("evidence", "evidence_1")
    assert (liver.title, heart.title) == tuple(
        f"Effect of each motif on {unit}" for unit in ("liver", "heart")
    )
    assert "effect on liver" in liver.svg
    assert "motif_05" not in liver.svg
    assert liver.finding == (
        "Of 4 motifs, 3 change the prediction (interval without 0): 2 raise it, 1 lowers it."
    )
    assert heart.finding == "Of 1 motif, 0 change the prediction (interval without 0)."


@pytest.mark.parametrize("names", [(), ("training loss",)])  # private runs have none
def test_single_evaluation_is_plotted(names):
    history = pd.DataFrame({"step": [50], "valid_loss": [0.6], "valid_auroc": [0.8]})
    if names:
        history["train_loss"] = 0.7
    with plots.style():
        figure = Figure()
        plots.draw_learning_curves(history, figure.subplots())
    lines = [line for ax in figure.axes for line in ax.get_lines()]
    curves = {line.get_label(): line.get_marker() for line in lines if line.get_label()[0] != "_"}
    assert curves == dict.fromkeys((*names, "validation loss", "validation AUROC"), "o")


def test_scores_are_counted_by_class(ax):
    plots.draw_scores([0, 0, 0, 1], [0.05, 0.1, 0.6, 0.95], ax, threshold=0.5)
    heights = np.array([patch.get_height() for patch in ax.patches]).reshape(2, 2, 20)
    assert heights.sum(axis=2).tolist() == [[2, 1], [0, 1]]  # negatives, then positives
    assert ax.get_lines()[0].get_xdata()[0] == 0.5


def test_curves_along_the_record_have_positions_from_1(ax):
    curves = {name: plots.by_position(np.ones((2, 3)), [3, 3]) for name in ("attribution", "raw")}
    plots.draw_along(curves, ax)
    *drawn, mean = ax.get_lines()
    assert [line.get_label() for line in drawn] == ["attribution", "raw"]
    assert drawn[0].get_xdata().tolist() == [1, 2, 3]  # as in captions
    assert [line.get_ydata()[0] for line in (*drawn, mean)] == [1, 1, 1]


def test_attention_map_has_positions_on_both_axes(ax):
    weights = np.array([[0.9, 0.1], [0.3, 0.7]], dtype=np.float32)
    plots.draw_attention_map(AttentionMap(np.array([0, 4, 6]), weights), ax)
    np.testing.assert_allclose(ax.collections[0].get_array(), weights)
    # position 1 is at the top, and its middle is at 1
    assert (ax.get_xlim(), ax.get_ylim()) == ((0.5, 6.5), (6.5, 0.5))


def test_profile_of_sites_counts_positions_from_1(ax):
    plots.draw_position_profile([1, 20, 20], (1, 20), (19, 20), ax)
    first, *_, last = ax.patches[:-1]
    assert (first.get_x(), first.get_height()) == (0.5, 1)
    assert (last.get_x() + last.get_width(), last.get_height()) == (20.5, 2)
    shaded = ax.patches[-1].get_extents().transformed(ax.transData.inverted())
    assert (shaded.x0, shaded.x1) == pytest.approx((18.5, 20.5))
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "20"]


def test_evidence_with_many_matches_has_wide_axes():
    motifs = table_of("""
        name     match_q near_ties effect effect_low effect_high unit  verdict
        motif_05 0.01    4         0.2    0.1        0.5         liver supported
        motif_06 0.01    4         0.3    0.1        0.5         liver supported
    """)
    names = ("Lim1", "Hmx", "unc-4", "CG32532")
    matches = "; ".join(f"{name} (MA0000.1)" for name in names)
    with plots.style():
        figure = Figure(figsize=(3.6, 1.3), layout="constrained")
        ax = figure.subplots()
        motifs = motifs.assign(match="hbn (MA0226.1)", other_matches=matches, target="liver")
        plots.draw_evidence(motifs, ax)
        figure.draw_without_rendering()
    assert ax.get_position().width > 0.35
    assert ax.get_yticklabels()[0].get_text() == "motif_05 hbn or L… CG32532"
    assert ax.get_xlabel() == "effect on liver"


def test_effects_are_below_the_name_of_their_output(ax):
    motifs = table_of("""
        name     target    match_q near_ties effect effect_low effect_high unit     verdict
        motif_01 leaf_stem 0.01    0         0.2    0.1        0.5         log-odds supported
        motif_02 root      0.01    0         0.3    0.1        0.5         log-odds supported
        motif_03 leaf_stem 0.01    0         0.4    0.1        0.5         log-odds contradicted
    """).assign(match="CTCF (MA0139.2)", other_matches="")
    plots.draw_evidence(motifs, ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        *("leaf_stem:", "motif_01 CTCF", "motif_03 CTCF"),
        *("root:", "motif_02 CTCF"),
    ]
    values = [line.get_xdata()[0] for line in ax.get_lines() if len(line.get_xdata()) == 1]
    np.testing.assert_equal(values, [np.nan, 0.2, 0.4, np.nan, 0.3])


@pytest.mark.parametrize(
    ("values", "more"),
    [
        ([0.5, 0.6, 0.70, 0.75, 0.79, 0.84], True),
        ([0.5, 0.8, 0.80, 0.79, 0.81, 0.80], False),  # flat, although its best step is late
        ([0.5, 0.6, 0.70, 0.74, 0.65, 0.60], False),
        ([0.5, 0.8, 0.8, 0.8001, 0.8002, 0.8003], False),  # no difference in the figures shown
        ([0.5, 0.6], False),  # too few
        # rises in the second half, but is flat at its end
        ([0.744, 0.883, 0.929, 0.955, 0.9609, 0.9617, 0.9634, 0.9627, 0.9631, 0.9633], False),
    ],
)
def test_more_steps_are_advised_while_validation_rises(values, more):
    upward = pd.Series(values, index=range(100, 100 + 100 * len(values), 100))
    steps = "with more steps ([training] max_steps)"
    assert _outlook(upward, 3) == (
        f"It may be better {steps}."
        if more
        else "It did not clearly improve at the end of the training."
    )
    seeds = "as the mean of several trainings ([training] seeds = 3)."
    assert _outlook(upward, 1) == f"It may be better {f'{steps} or ' if more else ''}{seeds}"


def test_intervals_above_chance_are_counted():
    model = {name: {"auprc": {"value": 0.5, "low": 0.4, "high": 0.6}} for name in "abc"}
    found = _spread(model, list("abc"), "auprc", {"a": 0.1, "b": 0.45})
    assert found.startswith("AUPRC is 0.50 for each class or label. 1 of 2 intervals are above")
    assert "chance" not in _spread(model, ["c"], "auprc", {})


def test_curves_are_those_of_the_best_and_a_control(tmp_path, results):
    entries = {f"b{i}": {"auroc": {"value": 0.6 + i / 100}} for i in range(9)}
    test = {
        "model": {"auroc": {"value": 0.5}},
        "baselines": entries,
        "controls": {"c": {}, "d": {}},
    }
    own = replace(results, metrics=results.metrics | {"test": test})
    assert [*_entries(Binary, tested.Tested(own, tmp_path))] == ["model", "b8", "b7", "b6", "c"]


def test_distances_are_in_kb(ax):
    target_plots.draw_distances({"model": np.array([0.5, 1])}, np.array([0.1, 0.2]), 200, ax)
    assert ax.get_xlabel() == "maximum distance to a point (kb)"
    assert ax.get_lines()[0].get_xdata().tolist() == [0, 0.2]


def test_rare_classes_are_merged():
    counts = np.diag(np.arange(25, 0, -1))
    counts[24, 0] = 2
    merged, names = _most_frequent(counts, [f"c{i}" for i in range(25)])
    assert names == [*(f"c{i}" for i in range(19)), "other classes"]
    assert merged.sum() == counts.sum()
    assert merged[19].tolist() == [2, *[0] * 18, 21]


def test_scatter_draws_each_record(ax):
    target_plots.draw_scatter([1, 2, 3], [1, 2, 5], ax, "growth")
    points, *_, diagonal = ax.get_lines()
    np.testing.assert_array_equal(points.get_xydata(), [[1, 1], [2, 2], [3, 5]])
    np.testing.assert_array_equal(diagonal.get_xydata(), [[1, 1], [5, 5]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted growth", "observed growth")


def test_many_records_are_counted_in_hexagons(ax):
    x, y = np.random.default_rng(0).normal(size=(2, target_plots.MAX_POINTS + 1))
    target_plots.draw_scatter(x, y, ax)
    assert ax.collections[0].get_array().sum() == len(x)


def test_scatter_has_means_of_similar_predictions(ax):
    predicted = np.repeat([0.0, 1.0], 50)
    target_plots.draw_scatter(predicted, predicted + np.tile([0.5, 1.5], 50), ax)
    np.testing.assert_allclose(ax.get_lines()[1].get_xydata(), [[0, 1], [1, 2]])
    bars = np.array(ax.collections[0].get_segments())[0, :, 1]
    np.testing.assert_allclose(bars, [1 - 1.96 / 14, 1 + 1.96 / 14])


def test_coverage_is_that_of_similar_predictions(ax):
    predicted = np.repeat([0.0, 1.0], 50)
    target_plots.draw_coverage(predicted, np.arange(100) % 50 < np.where(predicted, 40, 50), ax)
    np.testing.assert_allclose(ax.get_lines()[0].get_xydata(), [[0, 1], [1, 0.8]])
    (bars,) = ax.collections
    assert np.array(bars.get_segments())[0, :, 1].round(2).tolist() == [0.93, 1.0]


def test_confusion_matrix_has_counts_and_row_fractions(ax):
    target_plots.draw_confusion(np.array([[3, 1], [0, 0]]), ["a", "b"], ax)
    shown = ["75 %\n3", "25 %\n1", "\N{EN DASH}", "\N{EN DASH}"]
    assert [text.get_text() for text in ax.texts] == shown
    np.testing.assert_allclose(ax.collections[0].get_array(), [[0.75, 0.25], [0, 0]])
    assert ax.get_ylim() == (1.5, -0.5)  # the first class is at the top


def test_pairs_have_intervals_and_chance_if_known(ax):
    entry = {"value": 0.8, "low": 0.7, "high": 0.85}
    rows = [("a", entry, None), ("b", entry, dict.fromkeys(entry))]
    target_plots.draw_pairs(rows, ("model", "other"), ax, "AUPRC", [0.1, 0.2])
    segments = [segment for of in ax.collections for segment in of.get_segments()]
    np.testing.assert_allclose([segment[:, 0] for segment in segments], [[0.7, 0.85]] * 2)
    assert ax.get_lines()[-1].get_xydata().tolist() == [[0.1, 0], [0.2, 1]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["chance", "model"]
    ax.clear()
    target_plots.draw_pairs(rows[:1], ("model", ""), ax, "AUPRC")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["model"]


def test_losses_are_counted_next_to_the_baseline(ax):
    target_plots.draw_losses([1.0, 1.1, np.nan, 2.0], 1.5, "unigram", ax, "nats")
    assert sum(patch.get_height() for patch in ax.patches) == 3
    assert ax.get_lines()[0].get_xdata()[0] == 1.5


LARGER = "is present at all positions, but larger at some"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "depends on the position"),
        ({"q": 0.06}, ""),
        ({"weakest": 0.62}, LARGER),  # more than half of the strongest
        ({"weakest": 1.12}, ""),
        ({"weakest": -1.0, "strongest": -2.2}, "depends on the position"),
        ({"weakest": -1.2, "strongest": -2.2}, LARGER),
        ({"weakest": -1.2, "strongest": -2.2, "q": 0.06}, ""),
        ({"weakest": -0.06, "strongest": 0.08}, ""),  # less than the smallest effect that counts
        ({"weakest": 0.05, "strongest": 0.12}, ""),
        ({"weakest": np.nan, "strongest": np.nan, "q": np.nan}, ""),
    ],
)
def test_dependence_of_effects_alone(change, expected):
    values = {"weakest": 0.3, "strongest": 1.2, "q": 0.01} | change
    row = {f"marginal_position_{name}": value for name, value in values.items()}
    assert figures.dependence(row | {"min_effect": 0.1}, "position") == expected


def test_range_of_effects_begins_with_the_smaller():
    ends = {"weakest": 3.65, "strongest": 2.85, "q": 0.5}
    row = {f"marginal_position_{name}": value for name, value in ends.items()}
    known = {"marginal_start": 0, "marginal_end": 9, "marginal_strand_q": np.nan, "min_effect": 0.1}
    expected = "Depends little or not at all on the position: +2.85 to +3.65 (q = 0.5)."
    assert figures.position_peak(row | known) == expected
    lowering = {"marginal_position_weakest": -0.643, "marginal_position_strongest": -0.614}
    assert f": {MINUS}0.61 to {MINUS}0.64 (q" in figures.position_peak(row | known | lowering)


@pytest.mark.parametrize("curves", ["marginals", "distances"])
def test_labels_of_low_plots_with_long_units_are_not_clipped(results, curves):
    own = getattr(results, curves).assign(unit="half-life score (mean of replicates) " * 3)
    with plots.style():
        figure = Figure(figsize=figures.LOW, layout="constrained")
        draw_curves(own, axes := figure.subplots())
        figure.draw_without_rendering()
        label = axes.yaxis.label.get_window_extent()
    assert label.y0 >= 0
    assert label.y1 <= figure.bbox.height


def test_motifs_that_lack_only_enrichment_are_shown_alone(results):
    lacks = ["", "enrichment not shown", "enrichment not shown; effect not measured"]
    curves = [results.marginals.assign(name=name) for name in results.motifs["name"]]
    motifs = results.motifs.assign(lacks=lacks, marginal=[0.4, -0.6, 0.2])
    own = replace(results, motifs=motifs, marginals=pd.concat(curves))
    shown = section_of(page_of(own), "marginals")
    assert "<h3>motif_01" in shown
    assert "<h3>motif_02" in shown
    assert "<h3>motif_03" in shown  # acts at some positions only
    assert "neutral backgrounds: 3 of 3;" in shown
    everywhere = replace(own, motifs=motifs.assign(marginal_position_q=0.2))
    assert "<h3>motif_03" not in section_of(page_of(everywhere), "marginals")
    unmeasured = motifs.assign(lacks=["", "enrichment not shown", "effect not measured"])
    shown = section_of(page_of(replace(own, motifs=unmeasured)), "marginals")
    assert "<h3>motif_03" in shown
    length = own.marginals["end"].max() + len(own.ppms["motif_01"]) - 1
    assert f"the median length of these records ({length} positions)" in shown

"""Test the outputs that attribution and motifs are about."""

import numpy as np
import pytest
import torch
from scipy.special import expit, logit, softmax

from selfattn_bio.arrays import object_array
from selfattn_bio.config import objective as sections
from selfattn_bio.errors import ArgumentError
from selfattn_bio.objectives import OBJECTIVES, objective_of
from selfattn_bio.objectives.loss import UNKNOWN
from selfattn_bio.objectives.outputs import (
    ClassOutput,
    NumberOutput,
    find_output,
    safe_names,
    unknown_output,
)
from selfattn_bio.objectives.points import Points

REGRESSION = sections.RegressionObjective(columns=("x", "y"), center=(1.0, 2.0), scale=(3.0, 4.0))
COUNTS = sections.RegressionObjective(columns=("n",), loss="poisson", center=(1.0,), scale=(2.0,))
MULTICLASS = sections.MulticlassObjective(column="kind", classes=("a", "b", "c"))
LOGITS = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 3.0]])


def test_binary_output_is_the_logit():
    (output,) = objective_of(sections.BinaryObjective()).outputs
    assert output.name == "positive"
    assert output.value(np.array([[0.3], [-1.0]])).tolist() == [0.3, -1.0]
    np.testing.assert_array_equal(output.truth(np.array([1, 0, UNKNOWN])), [1, 0, np.nan])


def test_class_output_is_log_odds_against_all_others():
    outputs = objective_of(MULTICLASS).outputs
    assert [output.name for output in outputs] == ["a", "b", "c"]
    for column, output in enumerate(outputs):
        expected = logit(softmax(LOGITS, axis=1)[:, column])
        np.testing.assert_allclose(output.value(LOGITS), expected)
        np.testing.assert_allclose(output.value(np.stack([LOGITS, LOGITS])), [expected, expected])
    np.testing.assert_array_equal(outputs[1].truth(np.array([1, 2, UNKNOWN])), [1, 0, np.nan])


def test_numbers_have_the_unit_of_their_column():
    first, second = objective_of(REGRESSION).outputs
    assert (first.unit, second.unit, second.scale) == ("x", "y", 4.0)
    assert second.value(np.array([[0.0, 0.5]])).tolist() == [4.0]
    assert second.truth(np.array([[1.0, 7.0]])).tolist() == [7.0]
    (count,) = objective_of(COUNTS).outputs
    assert (count.unit, count.scale) == ("log of n", 1.0)
    assert count.value(np.array([[0.5]])).tolist() == [0.5]
    assert count.truth(np.array([[4.0]]))[0] == pytest.approx(np.log(4.5))


def test_outputs_of_parts_are_named_after_them():
    level = sections.RegressionPart(**REGRESSION.model_dump() | {"weight": 1.0})
    kind = sections.MulticlassPart(**MULTICLASS.model_dump() | {"weight": 1.0})
    section = sections.SeveralObjective(parts={"level": level, "kind": kind})
    outputs = objective_of(section).outputs
    names = ["level.x", "level.y", "kind.a", "kind.b", "kind.c"]
    assert [output.name for output in outputs] == names
    assert [output.column for output in outputs] == [0, 1, 2, 3, 4]
    values = np.concatenate([np.array([[0.0, 0.5]]), LOGITS[:1]], axis=1)
    assert outputs[1].value(values).tolist() == [4.0]
    assert expit(outputs[3].value(values))[0] == pytest.approx(softmax(LOGITS[0])[1])
    targets = np.array([((1.0, 7.0), 2)], dtype=[("level", float, 2), ("kind", int)])
    assert [output.truth(targets).tolist() for output in outputs] == [[1], [7], [0], [0], [1]]


def test_labels_have_percentages_of_positions():
    section = sections.LabelsObjective(column="s", classes="HE")
    helix, strand = objective_of(section).outputs
    assert (helix.unit, strand.column) == ("% of positions in H", 1)
    targets = object_array([np.array([0, 0, 0, 1]), np.array([UNKNOWN, 1]), np.array([UNKNOWN])])
    np.testing.assert_array_equal(helix.truth(targets), [75, 0, np.nan])
    np.testing.assert_array_equal(strand.truth(targets), [25, 100, np.nan])


def test_means_over_positions_leave_padding_out():
    objective = objective_of(sections.LabelsObjective(column="s", classes="HEC"))
    outputs, is_real = torch.randn(1, 5, 3), torch.tensor([1, 1, 1, 0, 0])[:, None]
    found, alone = objective.record_outputs(outputs, is_real), outputs[:, :3]
    torch.testing.assert_close(found, objective.record_outputs(alone, is_real[:3]))


def test_bins_have_logarithms_of_points():
    section = sections.BinsObjective(points="p.bed", bin=10)
    forward, reverse = objective_of(section).outputs
    assert (forward.unit, reverse.name) == ("log of points on +", "-")
    at, strand = np.array([1, 2, 15, 29, 31]), np.array([0, 0, 0, 1, 1])
    targets = object_array([Points("c", 0, 35, at, strand)])  # 31 is in an incomplete bin
    assert np.exp(forward.truth(targets)) == pytest.approx([2.5])
    assert np.exp(reverse.truth(targets)) == pytest.approx([1.5])


def test_every_objective_has_outputs_or_a_reason():
    has_reason = {name for name, kind in OBJECTIVES.items() if kind.no_motifs}
    assert has_reason == {"masked", "causal"}


def test_kind_cannot_be_registered_twice():
    before = OBJECTIVES["binary"]
    with pytest.raises(ValueError, match="objective 'binary' exists already: Binary"):

        class Other(before, kind="binary"):
            pass

    assert OBJECTIVES["binary"] is before


def test_unknown_output_names_the_others():
    outputs = objective_of(MULTICLASS).outputs
    assert find_output(outputs, "b") is outputs[1]
    with pytest.raises(ArgumentError, match="no output ''; the outputs are a, b, c"):
        find_output(outputs, "")
    assert unknown_output("DEAD box", ["SDR family", "DEAD box helicase"]).hint == (
        "Did you mean 'DEAD box helicase'?"
    )
    binary = objective_of(sections.BinaryObjective()).outputs
    assert find_output(binary, "") is binary[0]


def test_records_to_explain():
    scores = np.linspace(5, -5, 11)
    one = ClassOutput("a", 0, truth=np.asarray, value=np.asarray)
    assert one.choose(scores, called=5, limit=3).tolist() == [0, 2, 4]
    assert one.choose(scores, called=2, limit=4).tolist() == [0, 1, 2, 3]
    assert one.note(4, 2, 0.5) == "; the probability of 2 of them reaches the threshold 0.5"
    number = NumberOutput("x", 0, truth=np.asarray, value=np.asarray)
    assert number.choose(scores, called=5, limit=5).tolist() == [0, 1, 2, 9, 10]
    assert number.choose(scores, called=5, limit=50).tolist() == list(range(11))
    known = np.array([1, 0, np.nan])
    assert one.candidates(known).tolist() == [True, False, False]
    assert number.candidates(known).tolist() == [True, True, False]


def test_names_of_outputs_in_files_and_info_fields():
    outputs = ["CD4+", "CD4-", "x-y z", "a.b", "\u5fc3"]
    names = ["CD4plus", "CD4minus", "x_y_z", "a.b", "\u5fc3"]
    assert safe_names(outputs) == dict(zip(outputs, names, strict=True))
    assert list(safe_names(outputs, ascii=True).values()) == [*names[:4], "_"]
    assert safe_names(["Hot", "hot"], ascii=True) == {"Hot": "Hot", "hot": "hot"}
    for pair, ascii_only, name in (
        (("a b", "a-b"), False, "a_b' in names of files"),
        (("Hot", "hot"), False, "hot' in names of files"),
        (("\u5fc3", "\u809d"), True, "_' in names of INFO fields"),
    ):
        message = f"outputs {pair[0]!r} and {pair[1]!r} would both be '{name}"
        with pytest.raises(ArgumentError, match=message):
            safe_names(pair, ascii=ascii_only)

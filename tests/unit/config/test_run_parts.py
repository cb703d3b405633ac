"""Test the runs of a run file: defaults, variants, members, parents."""

from pathlib import Path

import pytest
import tomli_w
from run_files import BINS, DATA, TABLE, read

from selfattn_bio.config import (
    AttentionModel,
    CnnModel,
    RandomSplit,
    RunFile,
    Training,
    Transfer,
)


def test_run_file_needs_only_data(tmp_path):
    run = read(tmp_path, DATA)
    assert run.data.positives == ("p.fa",)
    assert run.data.negatives == ("n.fa", "m.fa")
    assert isinstance(run.split, RandomSplit)
    assert isinstance(run.model, AttentionModel)
    assert not run.is_control()


def test_language_models_and_bins_without_strands_have_no_motifs(tmp_path):
    assert read(tmp_path, DATA).is_interpreted
    bins = read(tmp_path, BINS)
    assert not bins.is_interpreted
    assert read(tmp_path, BINS + '[interpret]\ntargets = ["+"]\n').is_interpreted
    text = '[data]\nsequences = "s.fa"\n[objective]\nkind = '
    assert not read(tmp_path, text + '"masked"\n').is_interpreted
    labels = text.replace("[obj", 'targets = "t.tsv"\n[obj') + '"labels"\ncolumn = "s"\n'
    labels += 'classes = "HE"\n[tokens]\nk = 1\n[training]\nshift = 0\n'
    assert read(tmp_path, labels).is_interpreted


def test_run_file_remembers_its_path(tmp_path):
    run = read(tmp_path, DATA)
    assert run.path == run.member(1).path == tmp_path / "task.toml"
    elsewhere = run.read_from(tmp_path / "other.toml")
    assert elsewhere.path == elsewhere.part("cnn").path == tmp_path / "other.toml"
    assert elsewhere == run != run.variant("cnn")


def test_each_part_is_validated_once(tmp_path, monkeypatch):
    validated, validate = [], RunFile.model_validate
    monkeypatch.setattr(
        RunFile, "model_validate", lambda values: validated.append(values) or validate(values)
    )
    run = read(tmp_path, DATA + '[sweep]\nof = ["model", "cnn"]\n"training.seed" = [1, 2]\n')
    for name in (None, *run.variants):
        run.part(name)
    for job in run.jobs():
        run.part(None if job.of == "model" else job.of, job=job.name)
    # the run, two variants, and two jobs each for the model and the CNN
    assert len(validated) == 1 + 2 + 4


def test_copy_with_other_settings_has_other_variants(tmp_path):
    run = read(tmp_path, DATA)
    longer = run.model_copy(update={"training": Training(max_steps=9)})
    assert longer.variant("cnn").training.max_steps == 9
    assert run.variant("cnn").training.max_steps == 1500


def test_default_variants_are_a_cnn_and_a_shuffled_control(tmp_path):
    run = read(tmp_path, DATA + "[training]\nmax_steps = 7\n")
    assert list(run.variants) == ["cnn", "shuffled"]
    cnn, control = run.variant("cnn"), run.variant("shuffled")
    assert (cnn.model, cnn.tokens, cnn.is_control()) == (CnnModel(members=2), run.tokens, False)
    assert (control.model, control.tokens, control.is_control()) == (run.model, run.tokens, True)
    # a variant changes only the keys it names
    assert control.training == run.training.model_copy(update={"labels": "shuffled"})
    assert cnn.training == run.training
    assert cnn.variants == {}


def test_variant_overrides_only_named_training_keys(tmp_path):
    run = read(
        tmp_path,
        DATA
        + "[training]\nmax_steps = 7\nseed = 3\n[variants.slow.training]\nlearning_rate = 1e-5\n",
    )
    training = run.variant("slow").training
    assert (training.max_steps, training.seed, training.learning_rate) == (7, 3, 1e-5)
    assert list(run.variants) == ["slow"]


def test_unknown_variant_is_a_value_error(tmp_path):
    with pytest.raises(ValueError, match=r"^unknown variant 'cn'; known variants: cnn, shuffled$"):
        read(tmp_path, DATA).variant("cn")


def test_run_file_round_trip(tmp_path):
    run = read(tmp_path, DATA + '[split]\nkind = "chromosome"\nvalid = ["a"]\ntest = ["b"]\n')
    again = read(
        tmp_path, tomli_w.dumps(run.variant("cnn").model_dump(mode="json", exclude_none=True))
    )
    assert again == run.variant("cnn")
    with pytest.raises(ValueError, match="frozen"):
        run.title = "other"


def test_members_differ_only_in_seed(tmp_path):
    run = read(
        tmp_path,
        DATA + "[training]\nseed = 5\nseeds = 3\n[variants.one.training]\nseeds = "
        "1\n[variants.all.training]\nseed = 9\n",
    )
    assert [run.member(number).training.seed for number in (1, 2, 3)] == [5, 6, 7]
    assert run.member(2).training == run.training.model_copy(update={"seed": 6, "seeds": 1})
    assert run.part(member=2) == run.member(2)
    # a variant has as many seeds as the run unless it sets its own number
    assert run.variant("one").training.seeds == 1
    assert [run.part("all", number).training.seed for number in (1, 2, 3)] == [9, 10, 11]
    with pytest.raises(ValueError, match=r"^no member 4; training.seeds is 3$"):
        run.member(4)
    with pytest.raises(ValueError, match=r"^no member 2; training.seeds is 1$"):
        run.part("one", 2)


def test_run_without_members_omits_seeds(tmp_path):
    run = read(tmp_path, DATA + "[training]\nseeds = 2\n")
    assert "seeds" in run.training.model_dump()
    assert "seeds" not in run.member(1).training.model_dump_json()
    assert run.member(1).training == read(tmp_path, DATA).training


def test_other_objectives_have_no_default_variants(tmp_path):
    run = read(tmp_path, TABLE + "[objective]\nkind = 'multiclass'\ncolumn = 'family'\n")
    assert run.variants == {}
    assert run.data.files == [("s.fa", None)]
    assert read(tmp_path, DATA).data.files == [("p.fa", 1), ("n.fa", 0), ("m.fa", 0)]
    named = read(
        tmp_path,
        TABLE + "[objective]\nkind = 'multiclass'\ncolumn = 'family'\n[variants.cnn.model]\nkind = "
        "'cnn'\n",
    )
    assert isinstance(named.variant("cnn").model, CnnModel)


def test_shipped_parent_is_in_the_package(tmp_path):
    folder = read(tmp_path, DATA + "[transfer]\nparent = 'motifs'\n").transfer.folder
    assert folder == Path(__file__).parents[3] / "selfattn_bio/models/motifs"
    assert folder.is_dir()


def test_variant_of_other_network_has_no_parent(tmp_path):
    run = read(tmp_path, DATA + "[transfer]\nparent = 'pretrained'\n")
    assert run.transfer.folder == Path("results/pretrained/model")
    assert run.variant("cnn").transfer is None
    assert run.variant("shuffled").transfer == run.transfer
    assert read(tmp_path, DATA + "[transfer]\nparent = 'there/model'\n").transfer.folder == Path(
        "there/model"
    )


def test_variant_of_other_model_uses_own_parent(tmp_path):
    text = (
        BINS + "[model]\nkind = 'attention'\nstem = { kind = 'tower' }\n[transfer]\nparent = 'p'\n"
    )
    text += (
        "[variants.a]\nmodel = { kind = 'dilated' }\n[variants.b]\nmodel = { kind = 'dilated' "
        "}\ntransfer = { parent = 'q' }\n"
    )
    run = read(tmp_path, text + "[variants.c.training]\nseed = 1\n")
    assert [run.variant(name).transfer for name in "abc"] == [
        None,
        Transfer(parent="q"),
        Transfer(parent="p"),
    ]


def test_variants_have_members_of_model():
    data = {"positives": "p.fa", "negatives": "n.fa"}
    default = RunFile.model_validate({"data": data})
    assert default.variant("cnn").model.members == default.model.members == 2
    variants = {
        "cnn": {"model": {"kind": "cnn"}},
        "one": {"model": {"kind": "cnn", "members": 1}},
        "small": {"model": {"kind": "attention"}},
    }
    run = RunFile.model_validate(
        {"data": data, "model": {"kind": "attention", "members": 3}, "variants": variants}
    )
    assert {name: run.variant(name).model.members for name in variants} == {
        "cnn": 3,
        "one": 1,
        "small": 3,
    }

"""Test the runs of a run file (variants, members, parents, jobs of [sweep]), and its tables."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
import tomli_w
from commands import run as run_command
from run_files import BINS, CLASS, DATA, PARTS, SEQUENCES, TABLE, THREE_FILES, read

from selfattn_bio.config import (
    CnnModel,
    FilesSplit,
    RunFile,
    Training,
    Transfer,
    read_run_file,
)
from selfattn_bio.config.derived import VariantSection
from selfattn_bio.config.writing import toml_text

TASKS = Path(__file__).parents[3] / "workflows/tasks"


def test_run_file_needs_only_data(tmp_path):
    run = read(tmp_path, DATA)
    assert (run.data.positives, run.data.negatives) == (("p.fa",), ("n.fa", "m.fa"))
    assert (run.split.kind, run.model.kind, run.is_control()) == ("random", "attention", False)
    # written by some editors on Windows
    assert read(tmp_path, "\ufeff" + DATA) == run
    training = read(tmp_path, DATA + "[training]\nlearning_rate = 1\n").training
    assert isinstance(training.learning_rate, float)


def test_language_models_and_bins_without_strands_have_no_motifs(tmp_path):
    assert read(tmp_path, DATA).is_interpreted
    assert not read(tmp_path, BINS).is_interpreted
    assert read(tmp_path, BINS + '[interpret]\ntargets = ["+"]\n').is_interpreted
    assert not read(tmp_path, SEQUENCES + "[objective]\nkind = 'masked'\n").is_interpreted
    labels = "[objective]\nkind = 'labels'\ncolumn = 's'\nclasses = 'HE'\n"
    settings = "[tokens]\nk = 1\n[training]\nshift = 0\n"
    assert read(tmp_path, TABLE + labels + settings).is_interpreted


def test_run_file_remembers_its_path(tmp_path):
    run = read(tmp_path, DATA)
    assert run.path == run.member(1).path == tmp_path / "task.toml"
    elsewhere = run.read_from(tmp_path / "other.toml")
    assert elsewhere.path == elsewhere.part("cnn").path == tmp_path / "other.toml"
    assert elsewhere == run != run.variant("cnn")


def test_each_part_is_validated_once(tmp_path, monkeypatch):
    seen, validate = [], RunFile.model_validate
    monkeypatch.setattr(
        RunFile, "model_validate", lambda values: seen.append(1) or validate(values)
    )
    run = read(tmp_path, DATA + '[sweep]\nof = ["model", "cnn"]\n"training.seed" = [1, 2]\n')
    for name in (None, *run.variants):
        run.part(name)
    for job in run.jobs():
        run.part(None if job.of == "model" else job.of, job=job.name)
    # the run, two variants, and two jobs each for the model and the CNN
    assert len(seen) == 1 + 2 + 4


def test_default_variants_are_a_cnn_and_a_shuffled_control(tmp_path):
    run = read(tmp_path, DATA + "[training]\nmax_steps = 7\n")
    assert list(run.variants) == ["cnn", "shuffled"]
    cnn, control = run.variant("cnn"), run.variant("shuffled")
    assert (cnn.model, cnn.tokens, cnn.is_control()) == (CnnModel(members=2), run.tokens, False)
    assert (control.model, control.tokens, control.is_control()) == (run.model, run.tokens, True)
    # a variant changes only the keys it names
    assert control.training == run.training.model_copy(update={"labels": "shuffled"})
    assert (cnn.training, cnn.variants) == (run.training, {})
    longer = run.model_copy(update={"training": Training(max_steps=9)})
    assert (longer.variant("cnn").training.max_steps, cnn.training.max_steps) == (9, 7)
    with pytest.raises(ValueError, match=r"^unknown variant 'cn'; known variants: cnn, shuffled$"):
        run.variant("cn")


def test_run_file_round_trip(tmp_path):
    run = read(tmp_path, DATA + '[split]\nkind = "chromosome"\nvalid = ["a"]\ntest = ["b"]\n')
    cnn = run.variant("cnn")
    assert read(tmp_path, tomli_w.dumps(cnn.model_dump(mode="json", exclude_none=True))) == cnn
    with pytest.raises(ValueError, match="frozen"):
        run.title = "other"


VARIANTS = """keep_duplicates = true
[model]
kind = "attention"
members = 3
[training]
seeds = 2
max_steps = 492
shift = 0
[variants.none]
[variants.once]
training = { seeds = 1, labels = "shuffled" }
[variants.cnn.model]
kind = "cnn"
[variants.own.model]
kind = "attention"
members = 1
strands = "given"
"""


def test_written_variants_inherit_the_same_values(tmp_path):
    run = read(tmp_path, DATA + VARIANTS)
    same = again(tmp_path, run)
    assert (same, same.trained) == (run, run.trained)
    assert (same.variant("once").training.seeds, same.variant("cnn").model.members) == (1, 3)
    written = tomllib.loads(toml_text(run))["variants"]
    assert written["once"] == {"training": {"seeds": 1, "labels": "shuffled"}}
    assert written["none"] == {"training": {}}
    assert same.audit.max_duplicates is None
    built = run.model_copy(update={"variants": {"small": VariantSection(model=CnnModel())}})
    assert again(tmp_path, built).trained == built.trained


@pytest.mark.parametrize("path", sorted(TASKS.glob("*.toml")), ids=lambda path: path.stem)
def test_tasks_are_the_same_when_written(tmp_path, path):
    run = read_run_file(path)
    same = again(tmp_path, run)
    assert (same, same.trained) == (run, run.trained)
    assert [job.run for job in same.jobs()] == [job.run for job in run.jobs()]


def test_members_differ_only_in_seed(tmp_path):
    variants = "[variants.one.training]\nseeds = 1\n[variants.all.training]\nseed = 9\n"
    run = read(tmp_path, DATA + "[training]\nseed = 5\nseeds = 3\n" + variants)
    assert [run.member(number).training.seed for number in (1, 2, 3)] == [5, 6, 7]
    assert run.member(2).training == run.training.model_copy(update={"seed": 6, "seeds": 1})
    assert "seeds" not in run.member(2).training.model_dump()
    assert run.part(member=2) == run.member(2)
    # a variant has as many seeds as the run unless it sets its own number
    assert run.variant("one").training.seeds == 1
    assert [run.part("all", number).training.seed for number in (1, 2, 3)] == [9, 10, 11]
    with pytest.raises(ValueError, match=r"^no member 4; training.seeds is 3$"):
        run.member(4)
    with pytest.raises(ValueError, match=r"^no member 2; training.seeds is 1$"):
        run.part("one", 2)


def test_other_objectives_have_no_default_variants(tmp_path):
    classes = TABLE + "[objective]\nkind = 'multiclass'\ncolumn = 'family'\n"
    run = read(tmp_path, classes)
    assert run.variants == {}
    assert run.data.files == [("s.fa", None)]
    assert read(tmp_path, DATA).data.files == [("p.fa", 1), ("n.fa", 0), ("m.fa", 0)]
    named = read(tmp_path, classes + "[variants.cnn.model]\nkind = 'cnn'\n")
    assert isinstance(named.variant("cnn").model, CnnModel)


def test_variant_of_other_network_has_no_parent(tmp_path):
    run = read(tmp_path, DATA + "[transfer]\nparent = 'pretrained'\n")
    assert run.transfer.folder == Path("results/pretrained/model")
    assert run.variant("cnn").transfer is None
    assert run.variant("shuffled").transfer == run.transfer
    text = """
        [model]
        kind = 'attention'
        stem = { kind = 'tower' }
        [transfer]
        parent = 'p'
        [variants]
        a.model = { kind = 'dilated' }
        b = { model = { kind = 'dilated' }, transfer = { parent = 'q' } }
        c.training.seed = 1
    """
    run = read(tmp_path, BINS + text)
    parents = [run.variant(name).transfer for name in "abc"]
    assert parents == [None, Transfer(parent="q"), Transfer(parent="p")]
    shipped = Path(__file__).parents[3] / "selfattn_bio/models/motifs"
    for parent, folder in (("there/model", Path("there/model")), ("motifs", shipped)):
        run = read(tmp_path, f"{DATA}[transfer]\nparent = '{parent}'\n")
        assert run.transfer.folder == folder


def test_variants_have_members_of_model(tmp_path):
    default = read(tmp_path, DATA)
    assert default.variant("cnn").model.members == default.model.members == 2
    text = """
        [model]
        kind = 'attention'
        members = 3
        [variants]
        cnn.model.kind = 'cnn'
        one.model = { kind = 'cnn', members = 1 }
        small.model.kind = 'attention'
    """
    run = read(tmp_path, DATA + text)
    members = {name: run.variant(name).model.members for name in run.variants}
    assert members == {"cnn": 3, "one": 1, "small": 3}


SWEEP = """
[sweep]
of = ["model", "cnn"]
"training.learning_rate" = [1e-3, 4e-3]
"model.dropout" = [0.1, 0.2, 0.5]
"""


def test_sweep_is_a_grid_per_network(tmp_path):
    jobs = read(tmp_path, DATA + "[training]\nmax_steps = 7\nseeds = 3\n" + SWEEP).jobs()
    by_network = {of: [job for job in jobs if job.of == of] for of in ("model", "cnn")}
    grid = [(1e-3, 0.1), (1e-3, 0.2), (1e-3, 0.5), (4e-3, 0.1), (4e-3, 0.2), (4e-3, 0.5)]
    for of, kind in (("model", "attention"), ("cnn", "cnn")):
        runs = [job.run for job in by_network[of]]
        assert [(run.training.learning_rate, run.model.dropout) for run in runs] == grid
        assert {run.model.kind for run in runs} == {kind}
        same = {(run.training.max_steps, run.training.seeds, run.sweep) for run in runs}
        assert same == {(7, 1, None)}
    assert [job.name for job in by_network["model"]] == [job.name for job in by_network["cnn"]]
    assert by_network["cnn"][0].folder == f"variants/cnn/sweep/{by_network['cnn'][0].name}"
    assert len({job.folder for job in jobs}) == 12


def test_sweep_job_changes_only_named_keys(tmp_path):
    run = read(tmp_path, DATA + "[training]\nmax_steps = 7\n" + SWEEP)
    job = run.jobs()[-7]
    changes = {
        "training": run.training.model_copy(update={"learning_rate": 4e-3}),
        "model": run.model.model_copy(update={"dropout": 0.5}),
    }
    assert job.run == run.model_copy(update={**changes, "variants": {}, "sweep": None})
    assert run.part(job=job.name) == job.run
    with pytest.raises(ValueError, match=r"^unknown job 'none'; known jobs: \w{8}, "):
        run.part("cnn", job="none")


def test_sweep_jobs_have_no_stack(tmp_path):
    run = read(tmp_path, DATA + SWEEP + '[stack]\nparts = ["kmer6_logistic"]\n')
    assert run.stack.parts
    assert not any(job.run.stack.parts for job in run.jobs())


def test_longer_sweep_keeps_job_names(tmp_path):
    before = read(tmp_path, DATA + SWEEP).jobs()
    after = read(tmp_path, DATA + SWEEP.replace("[1e-3, ", "[2e-3, 0.001, ")).jobs()
    assert {job.folder for job in before} < {job.folder for job in after}


def test_sweep_may_trade_batch_size_for_accumulate(tmp_path):
    cut = "[{ batch_size = 16, accumulate = 4 }, { batch_size = 32, accumulate = 2 }]"
    jobs = read(tmp_path, f"{DATA}[sweep]\ntraining = {cut}\n").jobs()
    assert [job.run.training.batch_size for job in jobs] == [16, 32]


def test_sweep_as_tables(tmp_path):
    nested = SWEEP.replace('"training.', "[sweep.training]\n").replace('"model.', "[sweep.model]\n")
    nested = nested.replace('e" =', "e =").replace('t" =', "t =")
    assert read(tmp_path, DATA + nested).jobs() == read(tmp_path, DATA + SWEEP).jobs()


# ------------ tables of the run file and their combinations
def again(tmp_path, run):
    """Return a run file that was written and read."""
    return read(tmp_path, toml_text(run))


SHARED = '[model]\nkind = "attention"\nstrands = "shared"\n'


def test_separate_files_define_the_split(tmp_path):
    run = read(tmp_path, THREE_FILES)
    assert (run.split, run.variant("cnn").split) == (FilesSplit(), FilesSplit())
    files = {"train": ("a.csv", "b.csv"), "valid": ("v.csv",), "test": ("t.csv",)}
    assert run.data.given_splits == files
    assert run.data.inputs == ["a.csv", "b.csv", "v.csv", "t.csv"]
    assert run.data.files == [(name, None) for name in run.data.inputs]
    other = THREE_FILES.replace('valid = "v.csv"\n', "") + "[split]\nvalid_fraction = 0.1\n"
    assert read(tmp_path, other).split == FilesSplit(valid_fraction=0.1)
    assert again(tmp_path, run) == run


def test_split_values_ignore_case(tmp_path):
    text = '[data]\nsequences = "a.csv"\nlabel = "label"\n[split]\nkind = "column"\n'
    assert dict(read(tmp_path, text).split.values.pairs()) == {
        **dict.fromkeys(("train", "training"), "train"),
        **dict.fromkeys(("valid", "validation", "val", "dev", "development"), "valid"),
        **dict.fromkeys(("test", "testing", "holdout"), "test"),
    }
    text += 'values = { train = "fit", valid = ["Tune"], test = "1", dropped = "2" }\n'
    named = read(tmp_path, text).split.values
    assert dict(named.pairs()) == {"fit": "train", "tune": "valid", "1": "test", "2": "dropped"}


def test_data_keys_are_written_only_if_set(tmp_path):
    written = read(tmp_path, DATA).data.model_dump()
    assert not written.keys() & {"train", "valid", "test", "ids", "keep_duplicates"}
    numbered = read(tmp_path, DATA + 'ids = "numbered"\nkeep_duplicates = true\n').data
    assert numbered.model_dump()["ids"] == "numbered"


def test_objective_of_several_parts(tmp_path):
    run = read(tmp_path, PARTS + CLASS + "[training]\nclass_weights = 'balanced'\n")
    assert [(name, part.kind, part.weight) for name, part in run.objective.parts.items()] == [
        ("activity", "regression", 1.0),
        ("class", "multiclass", 0.5),
    ]
    assert run.objective.target_columns == ("liver", "kidney", "family")
    # classes come from the training records
    assert run.objective.output_names == ("activity.liver", "activity.kidney")
    assert again(tmp_path, run) == run


def test_shared_strands_apply_to_scores_and_variants(tmp_path):
    run = read(tmp_path, DATA + SHARED)
    assert (run.shares_strands, run.both_strands) == (True, True)
    assert run.variant("cnn").both_strands
    given = '[variants.cnn.model]\nkind = "cnn"\nstrands = "given"\n'
    assert not read(tmp_path, DATA + SHARED + given).variant("cnn").both_strands
    default = read(tmp_path, DATA)
    assert not default.shares_strands
    assert "strands" not in default.model.model_dump()


def test_protein_settings(tmp_path):
    interpret = "[interpret]\nwindow = [-31, -25]\ncaller = { kind = 'clusters' }\n"
    run = read(tmp_path, DATA + 'alphabet = "protein"\n[tokens]\nk = 4\n' + interpret)
    assert (run.tokens.k, run.interpret.caller.kind) == (4, "clusters")
    assert run.interpret.window == (-31, -25)


# ------------ JSON Schema
@pytest.fixture(scope="module")
def validator(tmp_path_factory):
    path = tmp_path_factory.mktemp("schema") / "schema.json"
    run_command("schema --output", path)
    schema = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", sorted(TASKS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_tasks_follow_schema(validator, path):
    task = tomllib.loads(path.read_text(encoding="utf-8"))
    validator.validate(task)
    with pytest.raises(jsonschema.ValidationError, match="learning_rat"):
        validator.validate(task | {"training": {"learning_rat": 1e-3}})


def test_schema_has_ranges_defaults_and_texts(validator):
    size = validator.schema["$defs"]["Training"]["properties"]["batch_size"]
    assert (size["minimum"], size["default"], size["description"]) == (1, 64, "records per batch")

"""Test the run file: defaults, variants and errors.

Each error names the key, the rule, the value, the line and the nearest known key. The file is long
because every mistake that a user can make is a row of a table.
"""

from pathlib import Path

import pytest
import tomli_w

from selfattn_bio.config import (
    AttentionModel,
    CnnModel,
    FilesSplit,
    RandomSplit,
    RunFile,
    Transfer,
    read_run_file,
)
from selfattn_bio.config.reading import _UNIONS
from selfattn_bio.errors import RunFileError

# three lines: text of a test starts on line 4
DATA = '[data]\npositives = "p.fa"\nnegatives = ["n.fa", "m.fa"]\n'


def read(tmp_path: Path, text: str) -> RunFile:
    path = tmp_path / "task.toml"
    path.write_text(text, encoding="utf-8")
    return read_run_file(path)


def error_of(tmp_path: Path, text: str) -> str:
    with pytest.raises(RunFileError) as caught:
        read(tmp_path, text)
    return str(caught.value).removeprefix(f"{tmp_path}/")


def test_run_file_needs_only_data(tmp_path):
    run = read(tmp_path, DATA)
    assert run.data.positives == ("p.fa",)
    assert run.data.negatives == ("n.fa", "m.fa")
    assert isinstance(run.split, RandomSplit)
    assert isinstance(run.model, AttentionModel)
    assert not run.is_control()


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


@pytest.mark.parametrize(
    ("base", "variant", "message"),
    [
        (
            DATA + "[training]\nseed = 4294967290\n",
            "[variants.many]\ntraining = { seeds = 9 }\n",
            "task.toml:7: [variants.many.training] seed + seeds must be <= 2**32, got 4294967290 + "
            "9",
        ),
        (
            DATA.replace("[data]\n", '[data]\nalphabet = "protein"\n'),
            "[variants.turned]\ntraining = { reverse_complement = true }\n",
            "task.toml:5: [variants.turned] training.reverse_complement must be false for protein",
        ),
        (  # the run itself is wrong: the error gives its line, not that of a variant
            DATA + '[model]\nkind = "cnn"\n[transfer]\nparent = "p"\n',
            "[variants.slow.training]\nlearning_rate = 1e-5\n",
            "task.toml:6: [transfer] must go with model kind 'attention', got 'cnn'",
        ),
    ],
)
def test_variant_is_validated_as_a_run(tmp_path, base, variant, message):
    assert error_of(tmp_path, base + variant).startswith(message)


THREE_FILES = (
    '[data]\ntrain = ["a.csv", "b.csv"]\nvalid = "v.csv"\ntest = "t.csv"\nlabel = "label"\n'
)


def test_separate_files_define_the_split(tmp_path):
    run = read(tmp_path, THREE_FILES)
    assert (run.split, run.variant("cnn").split) == (FilesSplit(), FilesSplit())
    assert run.data.given_splits == {
        "train": ("a.csv", "b.csv"),
        "valid": ("v.csv",),
        "test": ("t.csv",),
    }
    assert run.data.files == [("a.csv", None), ("b.csv", None), ("v.csv", None), ("t.csv", None)]
    assert run.data.inputs == ["a.csv", "b.csv", "v.csv", "t.csv"]
    without_kind = read(
        tmp_path, THREE_FILES.replace('valid = "v.csv"\n', "") + "[split]\nvalid_fraction = 0.1\n"
    )
    assert without_kind.split == FilesSplit(valid_fraction=0.1)
    again = read(tmp_path, tomli_w.dumps(run.model_dump(mode="json", exclude_none=True)))
    assert again == run


def test_split_values_ignore_case(tmp_path):
    text = '[data]\nsequences = "a.csv"\nlabel = "label"\n[split]\nkind = "column"\n'
    assert dict(read(tmp_path, text).split.values.pairs()) == {
        **{"train": "train", "test": "test"},
        **dict.fromkeys(("valid", "validation", "val", "dev"), "valid"),
    }
    named = read(
        tmp_path, text + 'values = { valid = ["Tune"], test = "1", dropped = "2" }\n'
    ).split.values
    assert dict(named.pairs()) == {"train": "train", "tune": "valid", "1": "test", "2": "dropped"}


def test_data_keys_are_written_only_if_set(tmp_path):
    written = read(tmp_path, DATA).data.model_dump()
    assert not written.keys() & {"train", "valid", "test", "ids", "keep_duplicates"}
    assert (
        read(tmp_path, DATA + 'ids = "numbered"\nkeep_duplicates = true\n').data.model_dump()["ids"]
        == "numbered"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            THREE_FILES + '[split]\nkind = "random"\n',
            "task.toml:2: [data] train, valid and test are the split, so [split] kind 'random' "
            "cannot be used; remove [split]",
        ),
        (
            DATA + '[split]\nkind = "files"\n',
            "task.toml:5: [split] kind 'files' needs [data] train and test, the files of each "
            "split",
        ),
        (
            '[data]\ntrain = "a.csv"\nlabel = "label"\n',
            "task.toml:1: [data] needs positives and negatives, or sequences, or train and test "
            "(and valid), got train",
        ),
        (
            THREE_FILES + 'sequences = "all.csv"\n',
            "task.toml:1: [data] needs positives and negatives, or sequences, or train and test "
            "(and valid), got "
            "sequences, train, valid, test",
        ),
        (
            DATA + '[split]\nkind = "column"\nvalues = { valid = "test" }\n',
            "task.toml:6: [split.values] value 'test' is given for both valid and test",
        ),
        (
            '[data]\nsequences = "a.fa"\ntargets = "t.tsv"\nids = "numbered"\n[objective]\nkind = '
            '"regression"\ncolumns = ["y"]\n',
            "task.toml:1: [data] targets are joined by id, so ids = 'numbered' cannot be used with "
            "them; put the columns in the sequence",
        ),
        (
            DATA
            + 'ids = "numbered"\n[model]\nkind = "paired"\n[partner]\nkind = "sequence"\nfiles = '
            '"q.fa"\n',
            "task.toml:9: [partner] files and .npz arrays are joined by id, so [data] ids = "
            "'numbered' cannot be used with them",
        ),
    ],
)
def test_given_split_and_id_conflicts(tmp_path, text, message):
    assert error_of(tmp_path, text).startswith(message)


def test_unknown_variant_is_a_value_error(tmp_path):
    with pytest.raises(ValueError, match=r"^variant must be one of cnn, shuffled, got 'cn'$"):
        read(tmp_path, DATA).variant("cn")


def test_run_file_round_trip(tmp_path):
    run = read(tmp_path, DATA + '[split]\nkind = "chromosome"\nvalid = ["a"]\ntest = ["b"]\n')
    again = read(
        tmp_path, tomli_w.dumps(run.variant("cnn").model_dump(mode="json", exclude_none=True))
    )
    assert again == run.variant("cnn")
    with pytest.raises(ValueError, match="frozen"):
        run.title = "other"


def test_integer_is_read_as_float(tmp_path):
    training = read(tmp_path, DATA + "[training]\nlearning_rate = 1\n").training
    assert isinstance(training.learning_rate, float)


def test_byte_order_mark_is_ignored(tmp_path):
    assert read(tmp_path, "\ufeff" + DATA).data.positives == ("p.fa",)


@pytest.mark.parametrize(
    ("added", "message"),
    [
        (
            "[trainig]\nseed = 1",
            "task.toml:4: trainig must be a known key, got 'trainig' (did you mean 'training'?)",
        ),
        (
            "[training]\nseed = 1\nlerning_rate = 1",
            "task.toml:6: training.lerning_rate must be a known key, got 'lerning_rate' (did you "
            "mean 'learning_rate'?)",
        ),
        (
            "[tokens]\nembed_dim = 3",
            "task.toml:5: tokens.embed_dim must be a known key, got 'embed_dim' (known are "
            "canonical, k, stride)",
        ),
        (
            '[model]\nkind = "attention"\n\n[model.stem]\nkind = "conv"\nkernl = 4',
            "task.toml:9: model.stem.kernl must be a known key, got 'kernl' (did you mean "
            "'kernel'?)",
        ),
        (
            '[model]\nkind = "attention"\nstem = { kind = "conv", kernl = 5 }',
            "task.toml:6: model.stem.kernl must be a known key, got 'kernl' (did you mean "
            "'kernel'?)",
        ),
        (
            "[training]\nwindow = 100",
            "task.toml:5: training.window must go with objective 'masked' or 'causal', got "
            "'binary': its labels are of whole records",
        ),
        (
            "[training.edits]\nlongest = 0\ntranslocation = 0\nsubstitution = 0",
            "task.toml:4: [training.edits] edits must have longest, translocation or substitution "
            "above 0, got 0 for all",
        ),
        (
            "[training]\nlearning_rate = -1",
            "task.toml:5: training.learning_rate must be greater than 0, got -1",
        ),
        (
            "[training]\nmax_steps = true",
            "task.toml:5: training.max_steps must be a valid integer, got True",
        ),
        (
            '[training]\nmax_steps = "200"',
            "task.toml:5: training.max_steps must be a valid integer, got '200'",
        ),
        (
            '[training]\nlearning_rate = "4e-3"',
            "task.toml:5: training.learning_rate must be a valid number, got '4e-3'",
        ),
        (
            "[model]\nkind = 'cnn'\npools = [3, 4, 4.0]",
            "task.toml:6: model.pools.2 must be a valid integer, got 4.0",
        ),
        (
            "[training]\nlearning_rate = inf",
            "task.toml:5: training.learning_rate must be a finite number, got inf",
        ),
        ("[tokens]\nk = 9", "task.toml:5: tokens.k must be less than or equal to 8, got 9"),
        (
            "[tokens]\nk = 9\n[training]\nseed = -1",
            "task.toml:5: tokens.k must be less than or equal to 8, got 9. 1 more to mend after "
            "this one",
        ),
        ("[tokens]\nk = 3\nstride = 4", "task.toml:4: [tokens] stride must be <= k (3), got 4"),
        ("tokens.k = 0", "task.toml:4: data.tokens must be a known key, got 'tokens'"),
        (
            '[interpret]\nmethod = { kind = "guided", fraction = 0 }',
            "task.toml:5: interpret.method.fraction must be greater than 0, got 0",
        ),
        (
            '[interpret]\nmethod = { kind = "lrp" }',
            "task.toml:5: interpret.method.kind must be one of 'attnlrp', 'cp_lrp', 'gradient', "
            "'saturation', 'received', 'rollout', "
            "'value_rollout', 'gradient_rollout', 'guided', 'attnlrp_copies', "
            "'integrated_gradients', 'blocks', 'deep_lift_shap', "
            "got 'lrp'",
        ),
        (
            '[interpret]\ncaller = { kind = "modisko" }',
            "task.toml:5: interpret.caller.kind must be one of 'modisco', 'clusters', got "
            "'modisko'",
        ),
        (
            '[interpret.caller]\nkind = "modisco"\n[interpret]\nmaps = ["a", "b", "a"]',
            "task.toml:7: [interpret.maps] must name each record once, got ['a', 'b', 'a']",
        ),
        (
            '[partner]\nkind = "sequence"\nfiles = "s.fa"\n[model]\nkind = '
            '"paired"\ncross_position = { kind = "rotary" }\n'
            "[model.encoder]\nembed_dim = 20",
            "task.toml:7: [model] embed_dim / num_heads of encoder must be even for rotary, got 5",
        ),
        (
            '[partner]\nkind = "sequence"\nfiles = "s.fa"\n[model]\nkind = '
            '"paired"\ncross_position = { kind = "shaw" }',
            "task.toml:7: [model] cross_position must be of kind 'none', 't5', 'alibi', 'rotary', "
            "got 'shaw'",
        ),
        (
            '[partner]\nkind = "tracks"',
            "task.toml:5: partner.kind must be one of 'sequence', 'track', got 'tracks'",
        ),
        (
            '[partner]\nkind = "sequence"\nfiles = "s.fa"\nk = 9',
            "task.toml:7: partner.k must be less than or equal to 8, got 9",
        ),
        (
            "[interpret]\nmaps = []",
            "task.toml:5: interpret.maps must have at least 1 item after validation, not 0, got []",
        ),
        (
            '[interpret]\ndatabase = "jaspar:human"',
            "task.toml:5: [interpret.database] must be one of jaspar:fungi, jaspar:insects, "
            "jaspar:nematodes, jaspar:plants, "
            "jaspar:vertebrates, a path to MEME, JASPAR or TRANSFAC text, or none, got "
            "'jaspar:human'",
        ),
        (
            '[split]\nkind = "chrom"',
            "task.toml:5: split.kind must be one of 'chromosome', 'region', 'group', 'species', "
            "'random', 'cluster', 'column', 'files', "
            "got 'chrom'",
        ),
        (
            '[split]\nvalid = ["a"]',
            "task.toml:4: split.kind must be one of 'chromosome', 'region', 'group', 'species', "
            "'random', 'cluster', 'column', 'files', "
            "got nothing",
        ),
        (
            "[model]\nembed_dim = 8",
            "task.toml:4: model.kind must be one of 'attention', 'cnn', 'dilated', 'paired', got "
            "nothing",
        ),
        (
            '[model]\nkind = "attention"\nstem = { pool = 2 }',
            "task.toml:6: model.stem.kind must be one of 'none', 'conv', 'tower', got nothing",
        ),
        (
            '[split]\nkind = "chromosome"\nvalid = ["a"]',
            "task.toml:4: split.test must be given, got nothing",
        ),
        (
            '[split]\nkind = "chromosome"\nvalid = ["a"]\ntest = ["b", "a"]',
            "task.toml:4: [split] valid and test must share no chromosome, got a in both",
        ),
        (
            "[audit]\nmax_similarity = 1.2",
            "task.toml:5: audit.max_similarity must be less than or equal to 1, got 1.2",
        ),
        (
            '[split]\nkind = "region"\nvalid = ["c:10-20"]\ntest = ["c:19-30"]',
            "task.toml:4: [split] regions must not overlap, got c:10-20 and c:19-30",
        ),
        (
            '[split]\nkind = "region"\nvalid = ["c:10-20"]\ntest = ["c:30-30"]',
            "task.toml:4: [split] regions must be CHROM:START-END with START < END, 0-based "
            "half-open, got 'c:30-30'",
        ),
        (
            '[split]\nkind = "cluster"\nmethod = "mmseqs2"\nsimilarity = 0.3\nk = 5',
            "task.toml:4: [split] k must go with method 'kmers', got method 'mmseqs2'",
        ),
        (
            '[split]\nkind = "cluster"\nmethod = "mmseqs2"',
            "task.toml:4: [split] similarity must be given with method 'mmseqs2': it is the "
            "identity there, got nothing",
        ),
        (
            '[split]\nkind = "random"\nvalid_fraction = 0.6\ntest_fraction = 0.5',
            "task.toml:4: [split] valid_fraction + test_fraction must be < 1, got 1.1",
        ),
        (
            '[model]\nkind = "attention"\nembed_dim = 10',
            "task.toml:4: [model] embed_dim must be a multiple of num_heads (4), got 10",
        ),
        (
            '[model]\nkind = "attention"\nembed_dim = 20\nposition = { kind = "rotary" }',
            "task.toml:4: [model] embed_dim / num_heads must be even for rotary, got 5",
        ),
        (
            '[model]\nkind = "attention"\nstem = { kind = "conv", kernel = 4 }',
            "task.toml:6: [model.stem] kernel must be odd, got 4",
        ),
        (
            '[model]\nkind = "cnn"\nkernels = [8, 5, 3]',
            "task.toml:4: [model] kernels must be odd, got (8, 5, 3)",
        ),
        (
            '[model]\nkind = "attention"\nposition = { kind = "t5", max_distance = 8 }',
            "task.toml:6: [model.position] max_distance must be > 8, the buckets of a single "
            "distance, got 8",
        ),
        *(
            (
                f'[model]\nkind = "attention"\nkernel = "{kernel}"\n{with_}',
                f"task.toml:4: [model] kernel {kernel!r} must go with {message}",
            )
            for kernel, with_, message in [
                (
                    "band",
                    'position = { kind = "shaw" }',
                    "a position without keys of its own, got position 'shaw'",
                ),
                (
                    "band",
                    'pattern = { kind = "bigbird" }',
                    "pattern 'full' or 'window', got pattern 'bigbird'",
                ),
                (
                    "band",
                    'pattern = { kind = "window", dilation = 2 }',
                    "a window of dilation 1, got dilation 2",
                ),
                ("band", "embed_dim = 40", "embed_dim / num_heads of (16, 32, 64), got 10"),
                ("joint", "embed_dim = 64", "pattern 'strided' or 'bigbird', got pattern 'full'"),
                ("flex", "dropout = 0.1", "dropout 0, got dropout 0.1"),
                ("flex", "num_heads = 8\ndropout = 0.0", "embed_dim / num_heads >= 16, got 8"),
            ]
        ),
        (
            '[model]\nkind = "attention"\npattern = { kind = "window", causal = true }\nhead = { '
            'kind = "cls" }',
            "task.toml:4: [model] head 'cls' must go with a pattern that sees both sides, got a "
            "causal one: its vector comes first",
        ),
        (
            '[model]\nkind = "attention"\nnum_kv_heads = 3',
            "task.toml:4: [model] num_kv_heads must divide num_heads (4), got 3",
        ),
        (
            '[model]\nkind = "attention"\nposition = { kind = "learned" }',
            "task.toml:6: model.position.max_length must be given, got nothing",
        ),
        (
            '[model]\nkind = "attention"\npattern = { kind = "strided", stride = 1 }',
            "task.toml:6: model.pattern.stride must be greater than or equal to 2, got 1",
        ),
        (
            '[variants.Bad]\ntraining = { labels = "shuffled" }',
            "task.toml:4: variants.Bad must match pattern '^[a-z0-9_]+$', got 'Bad'",
        ),
        (
            '[variants.cnn.training]\nlabels = "shufled"',
            "task.toml:5: variants.cnn.training.labels must be 'given' or 'shuffled', got "
            "'shufled'",
        ),
        (
            "[training]\nseeds = 0",
            "task.toml:5: training.seeds must be greater than or equal to 1, got 0",
        ),
        (
            "[training]\nseeds = 2\nseed = 4294967295",
            "task.toml:4: [training] seed + seeds must be <= 2**32, got 4294967295 + 2",
        ),
        *(
            (f"[sweep]\n{swept}", f"task.toml:{line}: {message}")
            for swept, line, message in [
                (
                    '"training.lerning_rate" = [1]',
                    5,
                    "sweep.training.lerning_rate must be a known key, got 'lerning_rate' (did you "
                    "mean 'learning_rate'?)",
                ),
                (
                    '"trainig.seed" = [1]',
                    5,
                    "sweep.trainig must be a known key, got 'trainig' (did you mean 'training'?)",
                ),
                (
                    '"model.stem" = [{ kind = "conv", kernl = 3 }]',
                    5,
                    "sweep.model.stem.kernl must be a known key, got 'kernl' (did you mean",
                ),
                (
                    '"training.learning_rate" = [1e-3, -1]',
                    5,
                    "sweep.training.learning_rate must be greater than 0, got -1",
                ),
                (
                    '"training.learning_rate" = 1e-3',
                    5,
                    "sweep.training.learning_rate must be a valid list, got 0.001",
                ),
                ('"tokens.k" = []', 5, "sweep.tokens.k must have at least 1 item"),
                (
                    '"model.embed_dim" = [64, 10]',
                    5,
                    "[sweep.model] embed_dim must be a multiple of num_heads (4), got 10",
                ),
                (
                    '"training.seed.x" = [1]',
                    5,
                    "sweep.training.seed must be a valid integer, got {'x': 1}",
                ),
                (
                    'of = ["model", "cnn"]\n"model.num_layers" = [1]',
                    6,
                    "sweep.model.num_layers must be a known key, got 'num_layers'",
                ),
                (
                    'of = "cn"\n"tokens.k" = [1]',
                    4,
                    "[sweep] variant must be one of cnn, shuffled, got 'cn'",
                ),
                (
                    'of = "cnn"',
                    4,
                    '[sweep] keys must be one at least, such as "training.learning_rate", got none',
                ),
                (
                    '"tokens.k" = [3, 3]',
                    4,
                    "[sweep] of and the values of each key must differ from each other, got one "
                    "twice",
                ),
                (
                    '"data.min_length" = [1]',
                    4,
                    "[sweep] keys must be of tokens, model, training, transfer, got "
                    "'data.min_length'",
                ),
                (
                    '"training.max_steps" = [9]',
                    4,
                    "[sweep] training.max_steps must be 1500, that of [training], in every job, "
                    "got 9",
                ),
                (
                    '"training" = [{ patience = 1 }]',
                    4,
                    "[sweep] training.patience must be 4, that of [training], in every job, got 1",
                ),
                (
                    '"training.batch_size" = [64, 1024]',
                    4,
                    "[sweep] training.batch_size * accumulate must be 64, that of [training], in "
                    "every job, got 1024",
                ),
                (
                    'of = "shuffled"\n"tokens.k" = [1]',
                    4,
                    "[sweep] training.labels must be 'given', that of [training], in every job, "
                    "got 'shuffled'",
                ),
            ]
        ),
        (
            "[training]\nbatch_size =",
            "task.toml: run file must be TOML, got Invalid value (at end of document)",
        ),
        (
            "[training]\nbatch_size = x\n",
            "task.toml:5: run file must be TOML, got Invalid value (at line 5, column 14)",
        ),
        (
            '[interpret]\ndatabase = "C:\\my\\mine.meme"\n',
            "task.toml:5: run file must be TOML, got Unescaped '\\' in a string (at line 5, column "
            "17). "
            "Write paths with /, or between single quotes: 'C:\\data\\a.fa'",
        ),
    ],
)
def test_error_names_line(tmp_path, added, message):
    assert error_of(tmp_path, DATA + added).startswith(message)


def test_errors_list_kinds_of_every_table():
    schema = RunFile.model_json_schema()
    fields = [
        field
        for section in (schema, *schema["$defs"].values())
        for field in section.get("properties", {}).items()
    ]
    of_kinds = {
        name
        for name, field in fields
        if any("discriminator" in each for each in (field, *field.get("anyOf", ())))
    }
    assert {"model", "stem", "balance", "partner"} <= of_kinds <= set(_UNIONS)


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
    with pytest.raises(ValueError, match=r"^member must be from 1 to training.seeds \(3\), got 4$"):
        run.member(4)
    with pytest.raises(ValueError, match=r"^member must be from 1 to training.seeds \(1\), got 2$"):
        run.part("one", 2)


def test_run_without_members_omits_seeds(tmp_path):
    run = read(tmp_path, DATA + "[training]\nseeds = 2\n")
    assert "seeds" in run.training.model_dump()
    assert "seeds" not in run.member(1).training.model_dump_json()
    assert run.member(1).training == read(tmp_path, DATA).training


def test_edit_augmentations_need_record_labels(tmp_path):
    text = (
        '[data]\nsequences = "s.fa"\n[objective]\nkind = '
        '"masked"\n[training.edits]\nper_record = 1\n'
    )
    known = "binary, multiclass, multilabel, regression"
    assert error_of(tmp_path, text).endswith(
        f"training.edits must go with objective {known}, got 'masked'"
    )


def test_language_models_have_no_members(tmp_path):
    text = '[data]\nsequences = "s.fa"\n[objective]\nkind = "masked"\n[training]\nseeds = 2\n'
    assert error_of(tmp_path, text).endswith(
        "training.seeds must be 1 with objective 'masked', got 2: it gives no scores to average"
    )


SWEEP = (
    '[sweep]\nof = ["model", "cnn"]\n"training.learning_rate" = [1e-3, 4e-3]\n"model.dropout" '
    "= [0.1, 0.2, 0.5]\n"
)


def test_sweep_is_a_grid_per_network(tmp_path):
    jobs = read(tmp_path, DATA + "[training]\nmax_steps = 7\nseeds = 3\n" + SWEEP).jobs()
    by_network = {of: [job for job in jobs if job.of == of] for of in ("model", "cnn")}
    grid = [(1e-3, 0.1), (1e-3, 0.2), (1e-3, 0.5), (4e-3, 0.1), (4e-3, 0.2), (4e-3, 0.5)]
    for of, kind in (("model", "attention"), ("cnn", "cnn")):
        assert [
            (job.run.training.learning_rate, job.run.model.dropout) for job in by_network[of]
        ] == grid
        assert {job.run.model.kind for job in by_network[of]} == {kind}
    assert {
        (job.run.training.max_steps, job.run.training.seeds, job.run.sweep) for job in jobs
    } == {(7, 1, None)}
    assert [job.name for job in by_network["model"]] == [job.name for job in by_network["cnn"]]
    assert by_network["cnn"][0].place == f"variants/cnn/sweep/{by_network['cnn'][0].name}"
    assert len({job.place for job in jobs}) == 12


def test_sweep_job_changes_only_named_keys(tmp_path):
    run = read(tmp_path, DATA + "[training]\nmax_steps = 7\n" + SWEEP)
    job = run.jobs()[-7]
    training, model = (
        section.model_copy(update=of)
        for section, of in ((run.training, {"learning_rate": 4e-3}), (run.model, {"dropout": 0.5}))
    )
    assert job.run == run.model_copy(
        update={"training": training, "model": model, "variants": {}, "sweep": None}
    )
    assert run.part(job=job.name) == job.run
    with pytest.raises(ValueError, match=r"^job must be one of \w{8}, .*, got 'none'$"):
        run.part("cnn", job="none")


def test_sweep_jobs_have_no_stack(tmp_path):
    run = read(tmp_path, DATA + SWEEP + '[stack]\nparts = ["kmer6_logistic"]\n')
    assert run.stack.parts
    assert not any(job.run.stack.parts for job in run.jobs())


def test_longer_sweep_keeps_job_names(tmp_path):
    before = read(tmp_path, DATA + SWEEP).jobs()
    after = read(tmp_path, DATA + SWEEP.replace("[1e-3, ", "[2e-3, 0.001, ")).jobs()
    assert {job.place for job in before} < {job.place for job in after}


def test_sweep_may_trade_batch_size_for_accumulate(tmp_path):
    cut = (
        '[sweep]\n"training" = [{ batch_size = 16, accumulate = 4 }, { batch_size = 32, '
        "accumulate = 2 }]\n"
    )
    assert [job.run.training.batch_size for job in read(tmp_path, DATA + cut).jobs()] == [16, 32]


def test_sweep_as_tables(tmp_path):
    nested = (
        '[sweep]\nof = ["model", "cnn"]\n[sweep.training]\nlearning_rate = [1e-3, '
        "4e-3]\n[sweep.model]\ndropout = [0.1, 0.2, 0.5]\n"
    )
    assert read(tmp_path, DATA + nested).jobs() == read(tmp_path, DATA + SWEEP).jobs()


def test_other_errors_precede_sweep_errors(tmp_path):
    error = error_of(tmp_path, DATA + '[sweep]\n"tokens.k" = [99]\n[training]\nlerning_rate = 1\n')
    assert (
        error
        == "task.toml:7: training.lerning_rate must be a known key, got 'lerning_rate' (did you "
        "mean 'learning_rate'?)"
    )


def test_swept_variant_has_budget_of_run(tmp_path):
    longer = '[variants.cnn]\nmodel = { kind = "cnn" }\ntraining = { max_steps = 9000 }\n'
    error = error_of(tmp_path, DATA + longer + SWEEP)
    assert (
        error
        == "task.toml:7: [sweep] training.max_steps must be 1500, that of [training], in every "
        "job, got 9000"
    )


def test_protein_has_one_strand(tmp_path):
    protein = DATA.replace("[data]\n", '[data]\nalphabet = "protein"\n')
    error = error_of(tmp_path, protein + "[tokens]\ncanonical = true")
    assert error.endswith(
        "tokens.canonical must be false for protein, which has no reverse complement, got true"
    )


@pytest.mark.parametrize("section", ["training", "variants.turned.training"])
def test_protein_is_not_reverse_complemented(tmp_path, section):
    protein = DATA.replace("[data]\n", '[data]\nalphabet = "protein"\n')
    error = error_of(tmp_path, protein + f"[{section}]\nreverse_complement = true")
    assert error.endswith(
        "training.reverse_complement must be false for protein, which has none, got true"
    )


SHARED = '[model]\nkind = "attention"\nstrands = "shared"\n'


def test_shared_strands_apply_to_scores_and_variants(tmp_path):
    run = read(tmp_path, DATA + SHARED)
    assert run.shares_strands
    assert run.both_strands
    assert run.variant("cnn").both_strands
    given = read(
        tmp_path, DATA + SHARED + '[variants.cnn.model]\nkind = "cnn"\nstrands = "given"\n'
    )
    assert not given.variant("cnn").both_strands
    assert not read(tmp_path, DATA).shares_strands
    assert "strands" not in read(tmp_path, DATA).model.model_dump()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            DATA.replace("[data]\n", '[data]\nalphabet = "protein"\n') + SHARED,
            "model.strands 'shared' needs DNA; [data] alphabet is 'protein'",
        ),
        (
            '[data]\nsequences = "s.fa"\n[objective]\nkind = "masked"\n' + SHARED,
            "model.strands 'shared' needs one output per sequence; remove it, as objective "
            "'masked' has an output per token or bin",
        ),
        (
            DATA + SHARED + "[tokens]\nk = 3\nstride = 2\n",
            "model.strands 'shared' needs tokens.stride = 1, got 2",
        ),
        (
            DATA + SHARED + '[evaluation]\nstrands = "given"\n',
            "evaluation.strands 'given' cannot be used with model.strands 'shared'; remove it",
        ),
        (
            DATA + SHARED + "[training]\nreverse_complement = true\n",
            "training.reverse_complement has no effect with model.strands 'shared'",
        ),
        (
            DATA + SHARED + "[variants.turned.training]\nreverse_complement = true\n",
            "training.reverse_complement has no effect with model.strands 'shared'",
        ),
        (
            DATA + SHARED + '[stack]\nparts = ["exact_positions"]\n',
            "part 'exact_positions' reads the given strand alone",
        ),
    ],
)
def test_shared_strands_conflicts(tmp_path, text, message):
    assert message in error_of(tmp_path, text)


def test_pair_encoders_refuse_shared_strands(tmp_path):
    text = (
        DATA
        + '[partner]\nkind = "sequence"\nfiles = "s.fa"\n[model]\nkind = "paired"\nencoder = { '
        'strands = "shared" }\n'
    )
    assert "strands 'shared' cannot be used in the encoders of model kind 'paired'" in error_of(
        tmp_path, text
    )


def test_protein_k_is_limited(tmp_path):
    protein = DATA.replace("[data]\n", '[data]\nalphabet = "protein"\n')
    assert read(tmp_path, protein + "[tokens]\nk = 4").tokens.k == 4
    for tokens in ("[tokens]\nk = 5", "[variants.cnn]\ntokens = { k = 5 }"):
        assert "tokens.k must be <= 4 for protein (20 letters: 160,000 k-mers), got 5" in error_of(
            tmp_path, protein + tokens
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "task.toml:1: data must be given, got nothing"),
        (
            '[data]\nnegatives = "n"',
            "task.toml:1: [data] needs positives and negatives, or sequences, or train and test "
            "(and valid), got negatives",
        ),
        (
            '[data]\npositives = []\nnegatives = "n"',
            "task.toml:2: data.positives must have at least 1 item",
        ),
        (
            '[data]\npositives = 3\nnegatives = "n"',
            "task.toml:2: data.positives must be a valid list, got 3",
        ),
        (
            '[data]\nalphabet = "rna"\npositives = "p"\nnegatives = "n"',
            "task.toml:2: data.alphabet must be 'dna' or 'protein', got 'rna'",
        ),
        (
            '[data]\npositives = "p"\nnegatives = "n"\nmin_length = 9\nmax_length = 5',
            "task.toml:1: [data] min_length must be <= max_length (5), got 9",
        ),
    ],
)
def test_data_errors(tmp_path, text, message):
    assert error_of(tmp_path, text).startswith(message)


def test_error_line_is_of_the_right_table(tmp_path):
    """`seed` is in three tables; the wrong one is the last."""
    text = (
        DATA + '[split]\nkind = "random"\nseed = 1\n[training]\nseed = 2\n[interpret]\nseed = -3\n'
    )
    assert (
        error_of(tmp_path, text)
        == "task.toml:10: interpret.seed must be greater than or equal to 0, got -3"
    )


def test_unreadable_run_file(tmp_path):
    with pytest.raises(
        RunFileError, match=r"none\.toml: run file must be an existing TOML file, got no such file$"
    ):
        read_run_file(tmp_path / "none.toml")
    with pytest.raises(
        RunFileError, match=r"run file must be readable UTF-8 text, got .*Is a directory"
    ):
        read_run_file(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(
        RunFileError, match=r"run file must be readable UTF-8 text, got .*can't decode"
    ):
        read_run_file(tmp_path / "binary.toml")


SEQUENCES = '[data]\nsequences = "s.fa"\n'
TABLE = SEQUENCES + 'targets = "t.tsv"\n'
PARTS = (
    TABLE
    + "[objective]\nkind = 'several'\n[objective.parts.activity]\nkind = 'regression'\ncolumns = "
    "['liver', 'kidney']\n"
)
CLASS = "[objective.parts.class]\nkind = 'multiclass'\ncolumn = 'family'\nweight = 0.5\n"
CAUSAL = (
    "[model]\nkind = 'attention'\nstem = {kind = 'none'}\npattern = {kind = 'full', causal = "
    "true}\n"
)
BINS = SEQUENCES + "[objective]\nkind = 'bins'\npoints = 'p.bed'\n"
DILATED = "[model]\nkind = 'dilated'\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[data]\npositives = 'p.fa'\n",
            "[data] needs positives and negatives, or sequences, or train and test (and valid), "
            "got positives",
        ),
        (
            "[data]\n",
            "[data] needs positives and negatives, or sequences, or train and test (and valid), "
            "got none of them",
        ),
        (DATA + "sequences = 's.fa'\n", "got positives, negatives, sequences"),
        (
            DATA + "targets = 't.tsv'\n",
            "targets must go with sequences, got positives and negatives",
        ),
        (DATA + "label = 'x'\n", "label must go with sequences, got positives and negatives"),
        (
            SEQUENCES + "positive = 'x'\n",
            "positive must go with label, what holds the labels, got positive alone",
        ),
        (
            SEQUENCES + "header = '('\n",
            "header must be a regular expression, got '(': missing ), unterminated subpattern at "
            "position 0",
        ),
        (
            SEQUENCES + "header = 'x'\n",
            "header must have one group, or named groups alone, such as 'class=(\\w+)', got 'x'",
        ),
        (
            SEQUENCES + "header = '(a)(b)'\n",
            "header must have one group, or named groups alone, such as 'class=(\\w+)', got "
            "'(a)(b)'",
        ),
        (
            SEQUENCES + "label = 'x'\n[objective]\nkind = 'masked'\n",
            "[data] of objective 'masked' must name sequences, got label",
        ),
        (SEQUENCES + "columns = { letters = 'x' }\n", "data.columns.letters"),
        (
            SEQUENCES + "soft_mask = 'no'\n",
            "data.soft_mask must be 'ignore', 'keep' or 'hard', got 'no'",
        ),
        (
            SEQUENCES,
            "[data] of objective 'binary' must name positives and negatives, or sequences and "
            "label, got sequences: "
            "say what is learnt of them in [objective] kind",
        ),
        (
            DATA + "[objective]\nkind = 'masked'\n",
            "[data] of objective 'masked' must name sequences, got the two classes",
        ),
        (
            SEQUENCES + "[objective]\nkind = 'regression'\ncolumns = ['x']\n",
            "[data] of objective 'regression' must name targets",
        ),
        (
            TABLE + "[objective]\nkind = 'masked'\n",
            "[data] of objective 'masked' must name no targets",
        ),
        (
            "[data]\ngenome = 'g.fa'\nsequences = 's.bed'\ntracks.t = { kind = 'number', path = "
            "'t.bw' }\n[objective]\nkind = 'masked'\n",
            "[data] of objective 'masked' must name no tracks, got t, which it would not learn",
        ),
        (TABLE + "[objective]\nkind = 'multiclas'\n", "objective.kind must be one of"),
        (
            TABLE + "[objective]\nkind = 'multiclass'\nclass = 'x'\n",
            "objective.class must be a known key, got 'class' (did you mean 'classes'?)",
        ),
        (
            SEQUENCES + "[objective]\nkind = 'masked'\n[model]\nkind = 'cnn'\n",
            "must go with model kind 'attention', got 'cnn'",
        ),
        (
            SEQUENCES + "[objective]\nkind = 'causal'\n",
            "objective 'causal' must go with stem kind 'none', got 'conv', which sees what comes",
        ),
        (
            SEQUENCES + "[objective]\nkind = 'causal'\n" + CAUSAL.replace("true", "false"),
            "objective 'causal' must go with a pattern with causal = true",
        ),
        (
            SEQUENCES + "[objective]\nkind = 'causal'\n" + CAUSAL,
            "objective 'causal' must go with tokens.stride = tokens.k (3), got 1",
        ),
        (
            SEQUENCES + "[objective]\nkind = 'masked'\n" + CAUSAL,
            "objective 'masked' must go with a pattern that sees both sides",
        ),
        (
            TABLE + "[objective]\nkind = 'labels'\ncolumn = 's'\nclasses = 'HE'\n[tokens]\nk = 1\n",
            "objective 'labels' must go with tokens.k 1, training.shift 0 and "
            "training.reverse_complement false, got 1, 4 and false",
        ),
        (
            TABLE + "[objective]\nkind = 'labels'\ncolumn = 's'\nclasses = 'HE-'\n",
            "classes must be different ASCII characters other than -, got 'HE-'",
        ),
        (
            TABLE
            + "[objective]\nkind = 'regression'\ncolumns = ['x', 'y']\ncenter = [1.0]\nscale = "
            "[1.0]\n",
            "center and scale must be one a column (2), or both not given, got 1 and 1",
        ),
        (
            TABLE + "[objective]\nkind = 'multiclass'\ncolumn = 'c'\nclasses = ['a', 'a']\n",
            "classes must be two different ones or more, got a, a",
        ),
        (
            TABLE
            + "[objective]\nkind = 'multilabel'\ncolumns = ['x']\n[training]\nclass_weights = "
            "'balanced'\n",
            "training.class_weights 'balanced' must go with objective 'binary' or 'multiclass', "
            "got 'multilabel'",
        ),
        (
            PARTS,
            "task.toml:4: [objective] parts must be two or more, got activity: a single one is an "
            "objective of its own",
        ),
        (
            TABLE + "[objective]\nkind = 'several'\n",
            "task.toml:4: objective.parts must be given, got nothing",
        ),
        (
            PARTS + CLASS.replace("'family'", "'liver'"),
            "[objective] parts must share no column, got liver twice",
        ),
        (
            PARTS + CLASS.replace("'multiclass'", "'labels'"),
            "task.toml:10: objective.parts.class.kind must be one of 'multiclass', 'multilabel', "
            "'regression', got 'labels'",
        ),
        (
            PARTS + CLASS.replace("weight", "wieght"),
            "task.toml:12: objective.parts.class.wieght must be a known key, got 'wieght' (did you "
            "mean 'weight'?)",
        ),
        (
            PARTS + CLASS.replace("0.5", "0"),
            "task.toml:12: objective.parts.class.weight must be greater than 0, got 0",
        ),
        (
            PARTS + CLASS.replace("parts.class", "parts.Class"),
            "objective.parts.Class must match pattern '^[a-z0-9_]+$', got 'Class'",
        ),
        (
            PARTS + CLASS.replace("parts.class", "part.class"),
            "objective.part must be a known key, got 'part' (did you mean 'parts'?)",
        ),
        (
            SEQUENCES + PARTS.removeprefix(TABLE) + CLASS,
            "[data] of objective 'several' must name targets",
        ),
        (
            PARTS + CLASS + "[training]\nlabels = 'shuffled'\n",
            "training.labels 'shuffled' must go with objective 'binary', got 'several'",
        ),
        (
            PARTS
            + CLASS.replace("'multiclass'\ncolumn =", "'multilabel'\ncolumns =")
            + "[training]\nclass_weights = 'balanced'\n",
            "training.class_weights 'balanced' must go with objective 'binary' or 'multiclass', "
            "got 'several'",
        ),
        (
            DATA + "[model]\nkind = 'cnn'\n[transfer]\nparent = 'p'\n",
            "[transfer] must go with model kind 'attention', got 'cnn'",
        ),
        (
            BINS + DILATED + "[transfer]\nparent = 'p'\nadapt = 'lora'\n",
            "[transfer] adapt must be 'all' with model kind 'dilated', got 'lora'",
        ),
        (DATA + DILATED, "model kind 'dilated' must go with objective 'bins', got 'binary'"),
        (
            BINS + "[model]\nkind = 'cnn'\n",
            "objective 'bins' must go with model kind 'attention' or 'dilated', got 'cnn'",
        ),
        (
            BINS.replace("\n", "\nalphabet = 'protein'\n", 1) + DILATED,
            "objective 'bins' must go with [data] alphabet 'dna', got 'protein'",
        ),
        (
            BINS + "bin = 210\n" + DILATED,
            "bin must be a multiple of the letters to a place of the model (50), got 210",
        ),
        (
            BINS + CAUSAL.replace("full", "window"),
            "objective 'bins' must go with a pattern that sees both sides, got a causal one",
        ),
        (
            BINS
            + DILATED
            + "stem = { kind = 'tower', kernels = [5, 4], channels = [8], pools = [5, 10] }\n",
            "kernels and residual_kernel must be odd, got 4",
        ),
        (
            SEQUENCES
            + "[objective]\nkind = 'masked'\n[model]\nkind = 'attention'\nstem = { kind = 'tower' "
            "}\n",
            "stem kind 'tower' must go with an objective without an output a token, got 'masked'",
        ),
    ],
)
def test_objective_conflicts(tmp_path, text, message):
    assert message in error_of(tmp_path, text)


def test_objective_of_several_parts(tmp_path):
    run = read(tmp_path, PARTS + CLASS + "[training]\nclass_weights = 'balanced'\n")
    assert [(name, part.kind, part.weight) for name, part in run.objective.parts.items()] == [
        ("activity", "regression", 1.0),
        ("class", "multiclass", 0.5),
    ]
    assert run.objective.target_columns == ("liver", "kidney", "family")
    # classes come from the training records
    assert run.objective.output_names == ("activity.liver", "activity.kidney")
    assert read(tmp_path, tomli_w.dumps(run.model_dump(mode="json", exclude_none=True))) == run


def test_other_objectives_have_no_default_variants(tmp_path):
    run = read(tmp_path, TABLE + "[objective]\nkind = 'multiclass'\ncolumn = 'family'\n")
    assert run.variants == {}
    assert run.data.files == [("s.fa", None)]
    assert read(tmp_path, DATA).data.files == [("p.fa", 1), ("n.fa", 0), ("m.fa", 0)]
    asked = read(
        tmp_path,
        TABLE + "[objective]\nkind = 'multiclass'\ncolumn = 'family'\n[variants.cnn.model]\nkind = "
        "'cnn'\n",
    )
    assert isinstance(asked.variant("cnn").model, CnnModel)


def test_shipped_parent_is_in_the_package(tmp_path):
    folder = read(tmp_path, DATA + "[transfer]\nparent = 'motifs'\n").transfer.folder
    assert folder == Path(__file__).parents[2] / "selfattn_bio/models/motifs"
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


def test_interpret_window_and_caller(tmp_path):
    run = read(
        tmp_path, DATA + '[interpret]\nwindow = [-31, -25]\ncaller = { kind = "clusters" }\n'
    )
    assert run.interpret.window == (-31, -25)
    assert run.interpret.caller.kind == "clusters"
    assert read(tmp_path, DATA).interpret.caller is None
    for window in ("[5, 5]", "[-5, 5]"):
        error = error_of(tmp_path, DATA + f"[interpret]\nwindow = {window}\n")
        rule = (
            "must be [start, end) with start < end, both from the record's start or both from "
            "its end"
        )
        assert error == f"task.toml:5: [interpret.window] {rule}, got {window}"


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

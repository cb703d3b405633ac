"""Test rules about single tables of the run file: data, split, model, training, interpretation."""

import pytest
import tomli_w
from run_files import CLASS, DATA, PARTS, THREE_FILES, error_of, read

from selfattn_bio.config import (
    FilesSplit,
)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            'train = "a.fa"\nvalid = ["b.fa", "./a.fa"]\ntest = "c.fa"',
            "train and valid are the same file, ./a.fa",
        ),
        (
            'positives = "a.fa"\nnegatives = "a.fa"',
            "positives and negatives are the same file, a.fa",
        ),
    ],
)
def test_same_file_in_two_groups_is_refused(tmp_path, data, message):
    assert message in error_of(tmp_path, f"[data]\n{data}\n")


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
        **dict.fromkeys(("train", "training"), "train"),
        **dict.fromkeys(("valid", "validation", "val", "dev", "development"), "valid"),
        **dict.fromkeys(("test", "testing", "holdout"), "test"),
    }
    named = read(
        tmp_path, text + 'values = { train = "fit", valid = ["Tune"], test = "1", dropped = "2" }\n'
    ).split.values
    assert dict(named.pairs()) == {"fit": "train", "tune": "valid", "1": "test", "2": "dropped"}


def test_data_keys_are_written_only_if_set(tmp_path):
    written = read(tmp_path, DATA).data.model_dump()
    assert not written.keys() & {"train", "valid", "test", "ids", "keep_duplicates"}
    assert (
        read(tmp_path, DATA + 'ids = "numbered"\nkeep_duplicates = true\n').data.model_dump()["ids"]
        == "numbered"
    )


@pytest.mark.parametrize(
    ("added", "message"),
    [
        (
            "[model]\nkind = 'cnn'\npools = [3, 4, 4.0]",
            "task.toml:6: invalid value 4.0 for item 3 of 'pools' in [model]; expected an integer",
        ),
        (
            "[tokens]\nk = 3\nstride = 4",
            "task.toml:4: [tokens] stride 4 skips positions; use at most k (3)",
        ),
        (
            '[model]\nkind = "attention"\nembed_dim = 10',
            "task.toml:4: [model] embed_dim 10 is not a multiple of num_heads 4",
        ),
        (
            '[model]\nkind = "attention"\nembed_dim = 20\nposition = { kind = "rotary" }',
            "task.toml:4: [model] position 'rotary' needs an even head dimension; embed_dim / "
            "num_heads is 5",
        ),
        (
            '[model]\nkind = "attention"\nstem = { kind = "conv", kernel = 4 }',
            "task.toml:6: [model.stem] kernel 4 is even; use an odd number",
        ),
        (
            '[model]\nkind = "cnn"\nkernels = [8, 5, 3]',
            "task.toml:6: [model] kernels 8 is even; use an odd number",
        ),
        (
            '[model]\nkind = "attention"\nposition = { kind = "t5", max_distance = 8 }',
            "task.toml:6: [model.position] max_distance 8 is too small for 32 buckets; use at "
            "least 9",
        ),
        *(
            (
                f'[model]\nkind = "attention"\nkernel = "{kernel}"\n{with_}',
                f"task.toml:4: [model] kernel {kernel!r} does not fit: {reason}; use kernel 'auto'",
            )
            for kernel, with_, reason in [
                ("band", 'position = { kind = "shaw" }', "the position has its own keys"),
                (
                    "band",
                    'pattern = { kind = "bigbird" }',
                    "the pattern is not one window with or without global tokens",
                ),
                (
                    "band",
                    'pattern = { kind = "window", dilation = 2 }',
                    "the pattern is not one window with or without global tokens",
                ),
                ("band", "embed_dim = 40", "head_dim 10 is not one of (16, 32, 64)"),
                (
                    "joint",
                    "embed_dim = 64",
                    "the pattern is not one window combined with other parts",
                ),
                (
                    "flex",
                    "attention_dropout = 0.1",
                    "it does not support dropout (set model.attention_dropout = 0)",
                ),
                ("flex", "num_heads = 8", "head_dim 8 is less than 16"),
                (
                    "flex",
                    "num_heads = 8\nattention_dropout = 0.1",
                    "head_dim 8 is less than 16; it does not support dropout (set "
                    "model.attention_dropout = 0)",
                ),
            ]
        ),
        (
            '[model]\nkind = "attention"\npattern = { kind = "window", causal = true }\nhead = { '
            'kind = "cls" }',
            "task.toml:4: [model] head 'cls' cannot be used with a causal pattern, because its "
            "vector comes first; use head 'pooling'",
        ),
        (
            '[model]\nkind = "attention"\nnum_kv_heads = 3',
            "task.toml:4: [model] num_heads 4 is not a multiple of num_kv_heads 3",
        ),
    ],
)
def test_model_errors(tmp_path, added, message):
    assert error_of(tmp_path, DATA + added).startswith(message)


@pytest.mark.parametrize(
    ("added", "message"),
    [
        (
            '[split]\nkind = "colum"',
            "task.toml:5: unknown kind 'colum' in [split]; did you mean 'column'?",
        ),
        (
            '[split]\nkind = "chrom"',
            "task.toml:5: unknown kind 'chrom' in [split]; choose one of 'chromosome', "
            "'region', 'group', 'species', 'random', 'cluster', 'column', 'files'",
        ),
        (
            '[split]\nkind = "chromosome"\nvalid = ["a"]\ntest = ["b", "a"]',
            "task.toml:4: [split] valid and test both contain a; list a chromosome in one split",
        ),
        (
            '[split]\nkind = "region"\nvalid = ["c:10-20"]\ntest = ["c:19-30"]',
            "task.toml:4: [split] regions c:10-20 and c:19-30 overlap",
        ),
        (
            '[split]\nkind = "region"\nvalid = ["c:10-20"]\ntest = ["c:30-30"]',
            "task.toml:4: [split] invalid region 'c:30-30'; use CHROM:START-END with START < "
            "END, 0-based half-open",
        ),
        (
            '[split]\nkind = "cluster"\nmethod = "mmseqs2"\nsimilarity = 0.3\nk = 5',
            "task.toml:4: [split] k cannot be used with method 'mmseqs2'; remove it",
        ),
        (
            '[split]\nkind = "cluster"\nmethod = "mmseqs2"',
            "task.toml:4: [split] method 'mmseqs2' needs similarity, the smallest identity "
            "within a cluster",
        ),
        (
            '[split]\nkind = "random"\nvalid_fraction = 0.6\ntest_fraction = 0.5',
            "task.toml:4: [split] valid_fraction + test_fraction is 1.1, which leaves no "
            "training records",
        ),
    ],
)
def test_split_errors(tmp_path, added, message):
    assert error_of(tmp_path, DATA + added).startswith(message)


@pytest.mark.parametrize(
    ("added", "message"),
    [
        (
            '[interpret]\nmethod = { kind = "lrp" }',
            "task.toml:5: unknown kind 'lrp' in [interpret.method]; choose one of 'attnlrp', "
            "'cp_lrp', 'gradient', 'saturation', 'received', 'rollout', 'value_rollout', "
            "'gradient_rollout', 'guided', 'attnlrp_copies', 'integrated_gradients', 'blocks'",
        ),
        (
            '[interpret]\ncaller = { kind = "modisko" }',
            "task.toml:5: unknown kind 'modisko' in [interpret.caller]; did you mean 'modisco'?",
        ),
        (
            '[interpret.caller]\nkind = "modisco"\n[interpret]\nmaps = ["a", "b", "a"]',
            "task.toml:7: [interpret] maps names 'a' more than once",
        ),
        (
            '[partner]\nkind = "sequence"\nfiles = "s.fa"\n[model]\nkind = '
            '"paired"\ncross_position = { kind = "rotary" }\n'
            "[model.encoder]\nembed_dim = 20",
            "task.toml:7: [model] cross_position 'rotary' needs an even head dimension; "
            "embed_dim / num_heads of encoder is 5",
        ),
        (
            '[partner]\nkind = "sequence"\nfiles = "s.fa"\n[model]\nkind = '
            '"paired"\ncross_position = { kind = "shaw" }',
            "task.toml:7: [model] cross_position 'shaw' is not supported; choose one of "
            "'none', 't5', 'alibi', 'rotary'",
        ),
        (
            '[partner]\nkind = "tracks"',
            "task.toml:5: unknown kind 'tracks' in [partner]; did you mean 'track'?",
        ),
        (
            "[interpret]\nmaps = []",
            "task.toml:5: invalid value [] for key 'maps' in [interpret]; expected at least 1 item",
        ),
        (
            '[interpret]\ndatabase = "jaspar:human"',
            "task.toml:5: [interpret] unknown database 'jaspar:human'; choose jaspar:fungi, "
            "jaspar:insects, jaspar:nematodes, jaspar:plants, jaspar:vertebrates, none or the "
            "path of a MEME, JASPAR or TRANSFAC file",
        ),
        (
            '[interpret]\ndatabase = "jaspar:vertebrate"',
            "task.toml:5: [interpret] unknown database 'jaspar:vertebrate'; did you mean "
            "'jaspar:vertebrates'?",
        ),
    ],
)
def test_interpret_errors(tmp_path, added, message):
    assert error_of(tmp_path, DATA + added).startswith(message)


@pytest.mark.parametrize(
    ("added", "message"),
    [
        (
            "[training]\nwindow = 100",
            "task.toml:5: training.window cannot be used with objective 'binary', only with "
            "'masked' and 'causal'",
        ),
        (
            "[training.edits]\nlongest = 0\ntranslocation = 0\nsubstitution = 0",
            "task.toml:4: [training.edits] longest, translocation and substitution are all 0; "
            "set at least one above 0",
        ),
        (
            '[stack]\nparts = ["exact_position"]',
            "task.toml:5: invalid value 'exact_position' for item 1 of 'parts' in [stack]; did you "
            "mean 'exact_positions'?",
        ),
        (
            '[variants.cnn.training]\nlabels = "shufled"',
            "task.toml:5: invalid value 'shufled' for key 'labels' in [variants.cnn.training]; "
            "did you mean 'shuffled'?",
        ),
        (
            "[training]\nseeds = 2\nseed = 4294967295",
            "task.toml:4: [training] seed 4294967295 is too large for 2 members; the last seed "
            "would exceed 4294967295",
        ),
    ],
)
def test_training_errors(tmp_path, added, message):
    assert error_of(tmp_path, DATA + added).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "task.toml:1: missing key 'data'"),
        (
            '[data]\nnegatives = "n"',
            "task.toml:1: [data] needs positives and negatives, or sequences, or train and "
            "test (and valid); found negatives",
        ),
        (
            '[data]\npositives = []\nnegatives = "n"',
            "task.toml:2: invalid value [] for key 'positives' in [data]; expected at least 1 item",
        ),
        (
            '[data]\npositives = 3\nnegatives = "n"',
            "task.toml:2: invalid value 3 for key 'positives' in [data]; expected a list",
        ),
        (
            '[data]\nalphabet = "rna"\npositives = "p"\nnegatives = "n"',
            "task.toml:2: invalid value 'rna' for key 'alphabet' in [data]; expected 'dna' or "
            "'protein'",
        ),
        (
            '[data]\npositives = "p"\nnegatives = "n"\nmin_length = 9\nmax_length = 5',
            "task.toml:1: [data] min_length 9 is greater than max_length 5",
        ),
    ],
)
def test_data_errors(tmp_path, text, message):
    assert error_of(tmp_path, text).startswith(message)


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


def test_interpret_window_and_caller(tmp_path):
    run = read(
        tmp_path, DATA + '[interpret]\nwindow = [-31, -25]\ncaller = { kind = "clusters" }\n'
    )
    assert run.interpret.window == (-31, -25)
    assert run.interpret.caller.kind == "clusters"
    assert read(tmp_path, DATA).interpret.caller is None
    for window in ("[5, 5]", "[-5, 5]"):
        error = error_of(tmp_path, DATA + f"[interpret]\nwindow = {window}\n")
        assert error == (
            f"task.toml:5: [interpret] window {window} is empty or combines both ends of a record; "
            "use [start, end) with start < end, both from the record's start or both from its end"
        )

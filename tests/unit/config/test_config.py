"""Test the run file: defaults, variants and errors.

Each error names the line, the key and a correction.
"""

import json
import re
from pathlib import Path

import pytest
import tomli_w

from selfattn_bio.config import (
    AttentionModel,
    CnnModel,
    FilesSplit,
    RandomSplit,
    RunFile,
    Training,
    Transfer,
    read_run_file,
)
from selfattn_bio.config.reading import _CHARACTERS, _UNIONS
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


def test_run_file_remembers_its_path(tmp_path):
    run = read(tmp_path, DATA)
    assert run.path == run.member(1).path == tmp_path / "task.toml"
    elsewhere = run.read_from(tmp_path / "other.toml")
    assert elsewhere.path == tmp_path / "other.toml"
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


def test_errors_of_all_variants_are_counted(tmp_path):
    small = '[variants.{}]\nmodel = {{ kind = "cnn" }}\ntraining = {{ pairs = "first_alone" }}\n'
    assert error_of(tmp_path, DATA + small.format("a") + small.format("b")) == (
        "task.toml:4: [variants.a] training.pairs 'first_alone' cannot be used with model kind "
        "'cnn', only with 'paired'. The file has 1 more error"
    )


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


@pytest.mark.parametrize(
    ("base", "variant", "message"),
    [
        (
            DATA + "[training]\nseed = 4294967290\n",
            "[variants.many]\ntraining = { seeds = 9 }\n",
            "task.toml:7: [variants.many.training] seed 4294967290 is too large for 9 members; "
            "the last seed would exceed 4294967295",
        ),
        (
            DATA.replace("[data]\n", '[data]\nalphabet = "protein"\n'),
            "[variants.both_strands]\ntraining = { reverse_complement = true }\n",
            "task.toml:5: [variants.both_strands] training.reverse_complement cannot be used with "
            "protein; remove it",
        ),
        (  # the run itself is wrong: the error gives its line, not that of a variant
            DATA + '[model]\nkind = "cnn"\n[transfer]\nparent = "p"\n',
            "[variants.slow.training]\nlearning_rate = 1e-5\n",
            "task.toml:6: [transfer] cannot be used with model kind 'cnn'; remove it",
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
            "task.toml:1: [data] needs positives and negatives, or sequences, or train and "
            "test (and valid); found train",
        ),
        (
            THREE_FILES + 'sequences = "all.csv"\n',
            "task.toml:1: [data] needs positives and negatives, or sequences, or train and "
            "test (and valid); found sequences, train, valid, test",
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
            "task.toml:4: unknown key 'trainig'; did you mean 'training'?",
        ),
        (
            "[training]\nseed = 1\nlerning_rate = 1",
            "task.toml:6: unknown key 'lerning_rate' in [training]; did you mean 'learning_rate'?",
        ),
        (
            "[tokens]\nembed_dim = 3",
            "task.toml:5: unknown key 'embed_dim' in [tokens]; known keys: canonical, k, stride",
        ),
        (
            '[model]\nkind = "attention"\n\n[model.stem]\nkind = "conv"\nkernl = 4',
            "task.toml:9: unknown key 'kernl' in [model.stem]; did you mean 'kernel'?",
        ),
        (
            '[model]\nkind = "attention"\nstem = { kind = "conv", kernl = 5 }',
            "task.toml:6: unknown key 'kernl' in [model.stem]; did you mean 'kernel'?",
        ),
        (
            "[training]\nlearning_rate = -1",
            "task.toml:5: invalid value -1 for key 'learning_rate' in [training]; expected a "
            "number greater than 0",
        ),
        (
            "[training]\nmax_steps = true",
            "task.toml:5: invalid value true for key 'max_steps' in [training]; expected an "
            "integer",
        ),
        (
            '[training]\nmax_steps = "200"',
            "task.toml:5: invalid value '200' for key 'max_steps' in [training]; expected an "
            "integer",
        ),
        (
            '[training]\nlearning_rate = "4e-3"',
            "task.toml:5: invalid value '4e-3' for key 'learning_rate' in [training]; expected "
            "a number",
        ),
        (
            "[interpret]\nwindow = [1]",
            "task.toml:5: missing item 2 of 'window' in [interpret]",
        ),
        (
            "[training]\ntensorboard = 1",
            "task.toml:5: invalid value 1 for key 'tensorboard' in [training]; expected true or "
            "false",
        ),
        (
            "[training]\nbalance = 3",
            "task.toml:5: invalid value 3 for key 'balance' in [training]; expected a table",
        ),
        (
            "[transfer]\nparent = 3",
            "task.toml:5: invalid value 3 for key 'parent' in [transfer]; expected text in quotes",
        ),
        (
            "[training]\nlearning_rate = inf",
            "task.toml:5: invalid value inf for key 'learning_rate' in [training]; expected a "
            "finite number",
        ),
        (
            "[tokens]\nk = 9",
            "task.toml:5: invalid value 9 for key 'k' in [tokens]; expected at most 8",
        ),
        (
            "[tokens]\nk = 9\n[training]\nseed = -1",
            "task.toml:5: invalid value 9 for key 'k' in [tokens]; expected at most 8. The "
            "file has 1 more error",
        ),
        ("tokens.k = 0", "task.toml:4: unknown key 'tokens' in [data]; did you mean 'test'?"),
        (
            '[interpret]\nmethod = { kind = "guided", fraction = 0 }',
            "task.toml:5: invalid value 0 for key 'fraction' in [interpret.method]; expected a "
            "number greater than 0",
        ),
        (
            '[partner]\nkind = "sequence"\nfiles = "s.fa"\nk = 9',
            "task.toml:7: invalid value 9 for key 'k' in [partner]; expected at most 8",
        ),
        (
            '[split]\nvalid = ["a"]',
            "task.toml:4: missing key 'kind' in [split]; choose one of 'chromosome', 'region', "
            "'group', 'species', 'random', 'cluster', 'column', 'files'",
        ),
        (
            "[model]\nembed_dim = 8",
            "task.toml:4: missing key 'kind' in [model]; choose one of 'attention', 'cnn', "
            "'dilated', 'paired'",
        ),
        (
            '[model]\nkind = "attention"\nstem = { pool = 2 }',
            "task.toml:6: missing key 'kind' in [model.stem]; choose one of 'none', 'conv', "
            "'tower'",
        ),
        (
            '[split]\nkind = "chromosome"\nvalid = ["a"]',
            "task.toml:4: missing key 'test' in [split]",
        ),
        (
            "[audit]\nmax_similarity = 1.2",
            "task.toml:5: invalid value 1.2 for key 'max_similarity' in [audit]; expected at "
            "most 1",
        ),
        (
            '[model]\nkind = "attention"\nposition = { kind = "learned" }',
            "task.toml:6: missing key 'max_length' in [model.position]",
        ),
        (
            '[model]\nkind = "attention"\npattern = { kind = "strided", stride = 1 }',
            "task.toml:6: invalid value 1 for key 'stride' in [model.pattern]; expected at least 2",
        ),
        (
            '[variants.Bad]\ntraining = { labels = "shuffled" }',
            "task.toml:4: invalid name 'Bad' in [variants]; expected lower-case letters, "
            "digits and _",
        ),
        (
            "[training]\nseeds = 0",
            "task.toml:5: invalid value 0 for key 'seeds' in [training]; expected at least 1",
        ),
        (
            "[training]\nbatch_size =",
            "task.toml: run file is not valid TOML: Invalid value (at end of document)",
        ),
        (
            "[training]\nbatch_size = x\n",
            "task.toml:5: run file is not valid TOML: Invalid value (at line 5, column 14)",
        ),
        (
            '[interpret]\ndatabase = "C:\\my\\mine.meme"\n',
            "task.toml:5: run file is not valid TOML: Unescaped '\\' in a string (at line 5, "
            "column 17). Write paths with /, or between single quotes: 'C:\\data\\a.fa'",
        ),
    ],
)
def test_error_names_line(tmp_path, added, message):
    assert error_of(tmp_path, DATA + added).startswith(message)


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
            "task.toml:4: [model] kernels [8, 5, 3] contain an even number; use odd ones",
        ),
        (
            '[model]\nkind = "attention"\nposition = { kind = "t5", max_distance = 8 }',
            "task.toml:6: [model.position] max_distance 8 is too small for 32 buckets; use at "
            "least 9",
        ),
        *(
            (
                f'[model]\nkind = "attention"\nkernel = "{kernel}"\n{with_}',
                f"task.toml:4: [model] kernel {kernel!r} {message}",
            )
            for kernel, with_, message in [
                (
                    "band",
                    'position = { kind = "shaw" }',
                    "does not support position 'shaw'; use kernel 'auto'",
                ),
                (
                    "band",
                    'pattern = { kind = "bigbird" }',
                    "supports the patterns 'full' and 'window', but not 'bigbird'; use kernel "
                    "'auto'",
                ),
                (
                    "band",
                    'pattern = { kind = "window", dilation = 2 }',
                    "does not support dilation 2; use dilation 1 or kernel 'auto'",
                ),
                (
                    "band",
                    "embed_dim = 40",
                    "supports head dimensions 16, 32, 64; embed_dim / num_heads is 10",
                ),
                (
                    "joint",
                    "embed_dim = 64",
                    "supports the patterns 'strided' and 'bigbird', "
                    "but not 'full'; use kernel 'auto'",
                ),
                ("flex", "dropout = 0.1", "does not support dropout; set dropout = 0"),
                (
                    "flex",
                    "num_heads = 8\ndropout = 0.0",
                    "needs a head dimension of at least 16; embed_dim / num_heads is 8",
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
            "'gradient_rollout', 'guided', 'attnlrp_copies', 'integrated_gradients', 'blocks', "
            "'deep_lift_shap'",
        ),
        (
            '[interpret]\ncaller = { kind = "modisko" }',
            "task.toml:5: unknown kind 'modisko' in [interpret.caller]; did you mean 'modisco'?",
        ),
        (
            '[interpret.caller]\nkind = "modisco"\n[interpret]\nmaps = ["a", "b", "a"]',
            "task.toml:7: [interpret] maps names record 'a' more than once",
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
            "'masked' and 'causal', because labels belong to complete records",
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
    ("added", "message"),
    [
        *(
            (f"[sweep]\n{swept}", f"task.toml:{line}: {message}")
            for swept, line, message in [
                (
                    '"training.lerning_rate" = [1]',
                    5,
                    "unknown key 'lerning_rate' in [sweep.training]; did you mean 'learning_rate'?",
                ),
                (
                    '"trainig.seed" = [1]',
                    5,
                    "unknown key 'trainig' in [sweep]; did you mean 'training'?",
                ),
                (
                    '"model.stem" = [{ kind = "conv", kernl = 3 }]',
                    5,
                    "unknown key 'kernl' in [sweep.model.stem]; did you mean 'kernel'?",
                ),
                (
                    '"training.learning_rate" = [1e-3, -1]',
                    5,
                    "invalid value -1 for key 'learning_rate' in [sweep.training]; expected a "
                    "number greater than 0",
                ),
                (
                    '"training.learning_rate" = 1e-3',
                    5,
                    "invalid value 0.001 for key 'learning_rate' in [sweep.training]; expected "
                    "a list",
                ),
                (
                    '"tokens.k" = []',
                    5,
                    "invalid value [] for key 'k' in [sweep.tokens]; expected at least 1 item",
                ),
                (
                    '"model.embed_dim" = [64, 10]',
                    5,
                    "[sweep.model] embed_dim 10 is not a multiple of num_heads 4",
                ),
                (
                    '"training.seed.x" = [1]',
                    5,
                    "invalid value {'x': 1} for key 'seed' in [sweep.training]; expected an "
                    "integer",
                ),
                (
                    'of = ["model", "cnn"]\n"model.num_layers" = [1]',
                    6,
                    "unknown key 'num_layers' in [sweep.model]; known keys: bins, channels, "
                    "dropout, embed_dim, hidden_dim, kernels, kind, members, pools, strands",
                ),
                (
                    'of = "cn"\n"tokens.k" = [1]',
                    4,
                    "[sweep] unknown variant 'cn'; known variants: cnn, shuffled",
                ),
                (
                    'of = "cnn"',
                    4,
                    '[sweep] no key to sweep; add one, such as "training.learning_rate" = '
                    "[1e-3, 4e-3]",
                ),
                (
                    '"tokens.k" = [3, 3]',
                    4,
                    "[sweep] two jobs have the same settings; list each value, and each name "
                    "in of, once",
                ),
                (
                    '"data.min_length" = [1]',
                    4,
                    "[sweep] 'data.min_length' cannot be swept, only keys of tokens, model, "
                    "training, transfer",
                ),
                (
                    '"training.max_steps" = [9]',
                    4,
                    "[sweep] training.max_steps is 1500 in [training] but 9 in a job; it must "
                    "be the same in all jobs",
                ),
                (
                    '"training" = [{ patience = 1 }]',
                    4,
                    "[sweep] training.patience is 4 in [training] but 1 in a job; it must be "
                    "the same in all jobs",
                ),
                (
                    '"training.batch_size" = [64, 1024]',
                    4,
                    "[sweep] training.batch_size * accumulate is 64 in [training] but 1024 in "
                    "a job; it must be the same in all jobs",
                ),
                (
                    'of = "shuffled"\n"tokens.k" = [1]',
                    4,
                    "[sweep] training.labels is 'given' in [training] but 'shuffled' in a job; "
                    "it must be the same in all jobs",
                ),
            ]
        ),
    ],
)
def test_sweep_errors(tmp_path, added, message):
    assert error_of(tmp_path, DATA + added).startswith(message)


def test_errors_describe_characters_of_every_pattern():
    patterns = re.findall(r'"(\^.*?\$)"', json.dumps(RunFile.model_json_schema()))
    assert set(patterns) == set(_CHARACTERS)


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
    with pytest.raises(ValueError, match=r"^no member 4; training.seeds is 3$"):
        run.member(4)
    with pytest.raises(ValueError, match=r"^no member 2; training.seeds is 1$"):
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
        f"training.edits cannot be used with objective 'masked', only with {known}"
    )


def test_language_models_have_no_members(tmp_path):
    text = '[data]\nsequences = "s.fa"\n[objective]\nkind = "masked"\n[training]\nseeds = 2\n'
    assert error_of(tmp_path, text).endswith(
        "training.seeds cannot be used with objective 'masked', which has no scores to average; "
        "remove it"
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
    assert by_network["cnn"][0].folder == f"variants/cnn/sweep/{by_network['cnn'][0].name}"
    assert len({job.folder for job in jobs}) == 12


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
        == "task.toml:7: unknown key 'lerning_rate' in [training]; did you mean 'learning_rate'?"
    )


def test_swept_variant_has_budget_of_run(tmp_path):
    longer = '[variants.cnn]\nmodel = { kind = "cnn" }\ntraining = { max_steps = 9000 }\n'
    error = error_of(tmp_path, DATA + longer + SWEEP)
    assert (
        error
        == "task.toml:7: [sweep] training.max_steps is 1500 in [training] but 9000 in a job; it "
        "must be the same in all jobs"
    )


def test_protein_has_one_strand(tmp_path):
    protein = DATA.replace("[data]\n", '[data]\nalphabet = "protein"\n')
    error = error_of(tmp_path, protein + "[tokens]\ncanonical = true")
    assert error.endswith(
        "tokens.canonical cannot be used with protein, which has no reverse complement; remove it"
    )


@pytest.mark.parametrize("section", ["training", "variants.both_strands.training"])
def test_protein_is_not_reverse_complemented(tmp_path, section):
    protein = DATA.replace("[data]\n", '[data]\nalphabet = "protein"\n')
    error = error_of(tmp_path, protein + f"[{section}]\nreverse_complement = true")
    assert error.endswith("training.reverse_complement cannot be used with protein; remove it")


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
            "model.strands 'shared' needs tokens.stride = 1; it is 2",
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
            DATA + SHARED + "[variants.both_strands.training]\nreverse_complement = true\n",
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
        assert error_of(tmp_path, protein + tokens).endswith(
            "tokens.k 5 is too large for protein (3,200,000 k-mers); use at most 4"
        )


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


def test_error_line_is_of_the_right_table(tmp_path):
    """`seed` is in three tables; the wrong one is the last."""
    text = (
        DATA + '[split]\nkind = "random"\nseed = 1\n[training]\nseed = 2\n[interpret]\nseed = -3\n'
    )
    assert (
        error_of(tmp_path, text)
        == "task.toml:10: invalid value -3 for key 'seed' in [interpret]; expected at least 0"
    )


def test_unreadable_run_file(tmp_path):
    with pytest.raises(RunFileError, match=r"none\.toml: run file not found$"):
        read_run_file(tmp_path / "none.toml")
    with pytest.raises(RunFileError, match=r"run file cannot be read as UTF-8 text: .*directory"):
        read_run_file(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunFileError, match=r"run file cannot be read as UTF-8 text: .*decode"):
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
            "[data] needs positives and negatives, or sequences, or train and test (and "
            "valid); found positives",
        ),
        (
            "[data]\n",
            "[data] needs positives and negatives, or sequences, or train and test (and "
            "valid); found none of them",
        ),
        (
            DATA + "sequences = 's.fa'\n",
            "[data] needs positives and negatives, or sequences, "
            "or train and test (and valid); found positives, "
            "negatives, sequences",
        ),
        (
            DATA + "targets = 't.tsv'\n",
            "[data] targets can only be used with sequences, not with positives and negatives",
        ),
        (
            DATA + "label = 'x'\n",
            "[data] label can only be used with sequences, not with positives and negatives",
        ),
        (
            SEQUENCES + "positive = 'x'\n",
            "[data] positive needs label, the column or attribute with the labels",
        ),
        (
            SEQUENCES + "header = '('\n",
            "[data] header '(' is not a regular expression: missing ), unterminated subpattern "
            "at position 0",
        ),
        (
            SEQUENCES + "header = 'x'\n",
            "[data] header 'x' needs one group, such as 'class=(\\w+)', or only named groups",
        ),
        (
            SEQUENCES + "header = '(a)(b)'\n",
            "[data] header '(a)(b)' needs one group, such as 'class=(\\w+)', or only named groups",
        ),
        (
            SEQUENCES + "label = 'x'\n[objective]\nkind = 'masked'\n",
            "[data] label cannot be used with objective 'masked'; remove it",
        ),
        (
            SEQUENCES + "columns = { letters = 'x' }\n",
            "invalid name 'letters' in [data.columns]; expected 'id', 'sequence', 'chrom', "
            "'start', 'end', 'strand' or 'group'",
        ),
        (
            SEQUENCES + "soft_mask = 'no'\n",
            "invalid value 'no' for key 'soft_mask' in [data]; expected 'ignore', 'keep' or 'hard'",
        ),
        (
            SEQUENCES,
            "[data] sequences have no labels for objective 'binary'; add label, or choose "
            "another [objective] kind",
        ),
        (
            DATA + "[objective]\nkind = 'masked'\n",
            "[data] positives and negatives cannot be used with objective 'masked'; use "
            "sequences instead",
        ),
        (
            SEQUENCES + "[objective]\nkind = 'regression'\ncolumns = ['x']\n",
            "[data] needs targets, a table with the columns of objective 'regression'",
        ),
        (
            TABLE + "[objective]\nkind = 'masked'\n",
            "[data] targets cannot be used with objective 'masked'; remove targets",
        ),
        (
            "[data]\ngenome = 'g.fa'\nsequences = 's.bed'\ntracks.t = { kind = 'number', path = "
            "'t.bw' }\n[objective]\nkind = 'masked'\n",
            "[data] tracks cannot be used with objective 'masked'; remove tracks",
        ),
        (
            TABLE + "[objective]\nkind = 'multiclas'\n",
            "unknown kind 'multiclas' in [objective]; did you mean 'multiclass'?",
        ),
        (
            TABLE + "[objective]\nkind = 'multiclass'\nclass = 'x'\n",
            "unknown key 'class' in [objective]; did you mean 'classes'?",
        ),
        (
            SEQUENCES + "[objective]\nkind = 'masked'\n[model]\nkind = 'cnn'\n",
            "objective 'masked' needs model kind 'attention'; kind 'cnn' has no output per token",
        ),
        (
            SEQUENCES + "[objective]\nkind = 'causal'\n",
            "objective 'causal' needs stem kind 'none'; kind 'conv' sees later tokens",
        ),
        (
            SEQUENCES + "[objective]\nkind = 'causal'\n" + CAUSAL.replace("true", "false"),
            "objective 'causal' needs a causal pattern; set causal = true in model.pattern",
        ),
        (
            SEQUENCES + "[objective]\nkind = 'causal'\n" + CAUSAL,
            "objective 'causal' needs tokens that do not overlap; set tokens.stride = 3, the "
            "value of tokens.k",
        ),
        (
            SEQUENCES + "[objective]\nkind = 'masked'\n" + CAUSAL,
            "objective 'masked' cannot be used with a causal pattern; remove causal from "
            "model.pattern",
        ),
        (
            TABLE + "[objective]\nkind = 'labels'\ncolumn = 's'\nclasses = 'HE'\n[tokens]\nk = 1\n",
            "objective 'labels' needs tokens.k = 1, training.shift = 0 and "
            "training.reverse_complement = false, because it has one label per position",
        ),
        (
            TABLE + "[objective]\nkind = 'labels'\ncolumn = 's'\nclasses = 'HE-'\n",
            "[objective] invalid classes 'HE-'; use different ASCII characters other than -",
        ),
        (
            TABLE
            + "[objective]\nkind = 'regression'\ncolumns = ['x', 'y']\ncenter = [1.0]\nscale = "
            "[1.0]\n",
            "[objective] center and scale have 1 and 1 values for 2 columns; give one value "
            "per column, or omit both",
        ),
        (
            TABLE + "[objective]\nkind = 'multiclass'\ncolumn = 'c'\nclasses = ['a', 'a']\n",
            "[objective] classes needs two or more different names; found a, a",
        ),
        (
            TABLE
            + "[objective]\nkind = 'multilabel'\ncolumns = ['x']\n[training]\nclass_weights = "
            "'balanced'\n",
            "training.class_weights 'balanced' cannot be used with objective 'multilabel', "
            "only with 'binary' and 'multiclass'",
        ),
        (
            PARTS,
            "task.toml:4: [objective] kind 'several' needs at least two parts; for one, use "
            "the kind of the part",
        ),
        (
            TABLE + "[objective]\nkind = 'several'\n",
            "task.toml:4: missing key 'parts' in [objective]",
        ),
        (
            PARTS + CLASS.replace("'family'", "'liver'"),
            "[objective] several parts use column liver; keep it in one part",
        ),
        (
            PARTS + CLASS.replace("'multiclass'", "'labels'"),
            "task.toml:10: unknown kind 'labels' in [objective.parts.class]; choose one of "
            "'multiclass', 'multilabel', 'regression'",
        ),
        (
            PARTS + CLASS.replace("weight", "wieght"),
            "task.toml:12: unknown key 'wieght' in [objective.parts.class]; did you mean 'weight'?",
        ),
        (
            PARTS + CLASS.replace("0.5", "0"),
            "task.toml:12: invalid value 0 for key 'weight' in [objective.parts.class]; "
            "expected a number greater than 0",
        ),
        (
            PARTS + CLASS.replace("parts.class", "parts.Class"),
            "invalid name 'Class' in [objective.parts]; expected lower-case letters, digits and _",
        ),
        (
            PARTS + CLASS.replace("parts.class", "part.class"),
            "unknown key 'part' in [objective]; did you mean 'parts'?",
        ),
        (
            SEQUENCES + PARTS.removeprefix(TABLE) + CLASS,
            "[data] needs targets, a table with the columns of objective 'several'",
        ),
        (
            PARTS + CLASS + "[training]\nlabels = 'shuffled'\n",
            "training.labels 'shuffled' cannot be used with objective 'several', only with "
            "'binary'",
        ),
        (
            PARTS
            + CLASS.replace("'multiclass'\ncolumn =", "'multilabel'\ncolumns =")
            + "[training]\nclass_weights = 'balanced'\n",
            "training.class_weights 'balanced' cannot be used with objective 'several', only "
            "with 'binary' and 'multiclass'",
        ),
        (
            DATA + "[model]\nkind = 'cnn'\n[transfer]\nparent = 'p'\n",
            "[transfer] cannot be used with model kind 'cnn'; remove it",
        ),
        (
            BINS + DILATED + "[transfer]\nparent = 'p'\nadapt = 'lora'\n",
            "[transfer] adapt 'lora' cannot be used with model kind 'dilated'; use 'all'",
        ),
        (
            DATA + DILATED,
            "model kind 'dilated' cannot be used with objective 'binary', only with 'bins'",
        ),
        (
            BINS + "[model]\nkind = 'cnn'\n",
            "objective 'bins' cannot be used with model kind 'cnn', only with 'attention' and "
            "'dilated'",
        ),
        (
            BINS.replace("\n", "\nalphabet = 'protein'\n", 1) + DILATED,
            "objective 'bins' needs DNA; [data] alphabet is 'protein'",
        ),
        (
            BINS + "bin = 210\n" + DILATED,
            "objective.bin 210 is not a multiple of 50, the bases per position of the encoder",
        ),
        (
            BINS + CAUSAL.replace("full", "window"),
            "objective 'bins' cannot be used with a causal pattern; remove causal from "
            "model.pattern",
        ),
        (
            BINS
            + DILATED
            + "stem = { kind = 'tower', kernels = [5, 4], channels = [8], pools = [5, 10] }\n",
            "[model.stem] 4 in kernels or residual_kernel is even; use odd numbers only",
        ),
        (
            SEQUENCES
            + "[objective]\nkind = 'masked'\n[model]\nkind = 'attention'\nstem = { kind = 'tower' "
            "}\n",
            "model.stem kind 'tower' cannot be used with objective 'masked', which has one "
            "output per token",
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
    named = read(
        tmp_path,
        TABLE + "[objective]\nkind = 'multiclass'\ncolumn = 'family'\n[variants.cnn.model]\nkind = "
        "'cnn'\n",
    )
    assert isinstance(named.variant("cnn").model, CnnModel)


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
        assert error == (
            f"task.toml:5: [interpret] window {window} is empty or combines both ends of a record; "
            "use [start, end) with start < end, both from the record's start or both from its end"
        )


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

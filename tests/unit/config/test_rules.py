"""Test rules about combinations of tables."""

import pytest
from run_files import BINS, CLASS, DATA, PARTS, SEQUENCES, TABLE, THREE_FILES, error_of, read


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


def test_edit_augmentations_need_record_labels(tmp_path):
    text = (
        '[data]\nsequences = "s.fa"\n[objective]\nkind = '
        '"masked"\n[training.edits]\nper_record = 1\n'
    )
    known = "'binary', 'multiclass', 'multilabel' and 'regression'"
    assert error_of(tmp_path, text).endswith(
        f"training.edits cannot be used with objective 'masked', only with {known}"
    )


def test_language_models_have_no_members(tmp_path):
    text = '[data]\nsequences = "s.fa"\n[objective]\nkind = "masked"\n[training]\nseeds = 2\n'
    assert error_of(tmp_path, text).endswith(
        "training.seeds cannot be used with objective 'masked', only with 'binary', 'multiclass', "
        "'multilabel', 'regression', 'several', 'labels' and 'bins'"
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


CAUSAL = (
    "[model]\nkind = 'attention'\nstem = {kind = 'none'}\npattern = {kind = 'full', causal = "
    "true}\n"
)
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
            "[model.stem] kernels 4 is even; use an odd number",
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


PROTEIN_PARTNER = '[partner]\nkind = "sequence"\nfiles = "q.fa"\nalphabet = "protein"\n'


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        (DATA + 'alphabet = "protein"\n', "the records"),
        (DATA + '[model]\nkind = "paired"\n' + PROTEIN_PARTNER, "the partners"),
    ],
    ids=["records", "partners"],
)
def test_modisco_needs_dna(tmp_path, text, inputs):
    caller = "[interpret]\ncaller = {{ kind = '{}' }}\n"
    assert error_of(tmp_path, text + caller.format("modisco")).endswith(
        f"interpret.caller 'modisco' finds motifs in DNA, but {inputs} are protein; use 'clusters'"
    )
    read(tmp_path, text + caller.format("clusters"))

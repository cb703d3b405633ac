"""Test errors of run files: each names the line, the key and a correction.

A case is a run file and a part of its error. " / " separates the lines of a run file, indented
lines continue a case, and " ... " stands for any text. Words in capitals are in `WORDS`; a case
without such a word at its start begins with `DATA`. A number is that of the line.
"""

import json
import re

import pytest
from run_files import BINS, CLASS, DATA, PARTS, PROFILE, SEQUENCES, TABLE, THREE_FILES, error_of

from selfattn_bio.config import RunFile, read_run_file
from selfattn_bio.config.reading import _CHARACTERS, unions_of
from selfattn_bio.errors import RunFileError

PROTEIN = "[data]\nalphabet = 'protein'"
WORDS = {
    "DATA": DATA,
    "EMPTY": "",
    "FILES": THREE_FILES,
    "SEQUENCES": SEQUENCES,
    "TABLE": TABLE,
    "PARTS": PARTS,
    "CLASS": CLASS,
    "BINS": BINS,
    "PROFILE": PROFILE,
    "PROTEIN": DATA.replace("[data]", PROTEIN),
    "PROTEIN_BINS": BINS.replace("[data]", PROTEIN),
    "ATTENTION": "[model]\nkind = 'attention'",
    "SHARED": "[model]\nkind = 'attention'\nstrands = 'shared'",
    "DILATED": "[model]\nkind = 'dilated'",
    "PAIRED": "[partner]\nkind = 'sequence'\nfiles = 's.fa'\n[model]\nkind = 'paired'",
    "MASKED": "[objective]\nkind = 'masked'",
    "CAUSAL": "[objective]\nkind = 'causal'",
    "PRIVACY": "[privacy]\nepsilon = 8.0\ndelta = 1e-3",
    "NO_STEM": "[model]\nkind = 'attention'\nstem = { kind = 'none' }",
    "BALANCE": "balance = { kind = 'sample', by = 'gc' }",
}
BEGINNINGS = (
    "[data]",
    "EMPTY",
    "FILES",
    "SEQUENCES",
    "TABLE",
    "PARTS",
    "BINS",
    "PROTEIN",
    "PROFILE",
)
# mistakes in single keys
KEYS = r"""
[trainig] / seed = 1 => 4: unknown key 'trainig'; did you mean 'training'?
[training] / seed = 1 / lerning_rate = 1 => 6: unknown key 'lerning_rate' in [training]; did you
ATTENTION / [model.stem] / kind = 'conv' / kernl = 4 => 8: unknown key 'kernl' in [model.stem]
ATTENTION / stem = { kind = 'conv', kernl = 5 } => 6: unknown key 'kernl' in [model.stem]; did you
[training] / learning_rate = -1 => 5: invalid value -1 for key ... expected a number greater than 0
[training] / max_steps = '200' => 5: invalid value '200' for key 'max_steps' ... expected an integer
[interpret] / window = [1] => 5: missing item 2 of 'window' in [interpret]
[training] / reverse_complement = 1 => 5: invalid value 1 for key ... expected true or false
[training] / balance = 3 => 5: invalid value 3 for key 'balance' in [training]; expected a table
[transfer] / parent = 3 => 5: invalid value 3 for key 'parent' in ... expected text in quotes
[training] / learning_rate = inf => 5: invalid value inf for key ... expected a finite number
[tokens] / embed_dim = 3 => 5: unknown key 'embed_dim' in [tokens]; known keys: canonical, k, stride
[tokens] / k = 9 / [training] / seed = -1
    => 5: invalid value 9 for key 'k' in [tokens]; expected at most 8. The file has 1 more error
tokens.k = 0 => 4: unknown key 'tokens' in [data]; did you mean 'test'?
[split] / valid = ['a'] => 4: missing key 'kind' in [split]; choose one of 'chromosome', 'region'
ATTENTION / stem = { pool = 2 } => 6: missing key 'kind' in [model.stem]; choose one of 'none'
[split] / kind = 'chromosome' / valid = ['a'] => 4: missing key 'test' in [split]
[variants.network] / training = { labels = 'shuffled' } => 'network' is the name of the model, of a
[variants.predicted] / training = { labels = 'shuffled' } => 'predicted' is the name of the model
[variants.markov] / training = { labels = 'shuffled' } => 'markov' is the name of the model, of a
[variants.partner_composition] / training = { labels = 'shuffled' }
    => 'partner_composition' is the name of the model, of a baseline
[variants.Bad] / training = { labels = 'shuffled' } => 4: invalid name 'Bad' in [variants]; expected
[variants.gc] / training = { labels = 'shuffled' } => 4: [variants] 'gc' is the name of the model,
[training] / batch_size = x => 5: run file is not valid TOML: Invalid value (at line 5, column 14)
[interpret] / database = "C:\my\mine.meme" => 5: run file is not valid TOML: Unescaped '\' in a
"""
# values of a table that do not fit together
TABLES = r"""
[data] / train = 'a.fa' / valid = ['b.fa', './a.fa'] / test = 'c.fa'
    => train and valid are the same file, ./a.fa
[data] / positives = 'a.fa' / negatives = 'a.fa' => positives and negatives are the same file, a.fa
[model] / kind = 'cnn' / pools = [3, 4, 4.0] => 6: invalid value 4.0 for item 3 of 'pools' in
[tokens] / k = 3 / stride = 4 => 4: [tokens] stride 4 skips positions; use at most k (3)
ATTENTION / embed_dim = 10 => 4: [model] embed_dim 10 is not a multiple of num_heads 4
ATTENTION / embed_dim = 20 / position = { kind = 'rotary' }
    => 4: [model] position 'rotary' needs an even head dimension; embed_dim / num_heads is 5
ATTENTION / stem = { kind = 'conv', kernel = 4 } => 6: [model.stem] kernel 4 is even; use an odd
[model] / kind = 'cnn' / kernels = [8, 5, 3] => 6: [model] kernels 8 is even; use an odd number
ATTENTION / position = { kind = 't5', max_distance = 8 } => 6: [model.position] max_distance 8 is
ATTENTION / kernel = 'band' / position = { kind = 'shaw' }
    => 4: [model] kernel 'band' does not fit: the position has its own keys; use kernel 'auto'
ATTENTION / kernel = 'band' / pattern = { kind = 'window', dilation = 2 }
    => 4: [model] kernel 'band' does not fit: the pattern is not one window with or without global
ATTENTION / kernel = 'band' / embed_dim = 40 => 4: ... head_dim 10 is not one of (16, 32, 64)
ATTENTION / kernel = 'joint' / embed_dim = 64 => the pattern is not one window combined with
ATTENTION / kernel = 'flex' / attention_dropout = 0.1 => it does not support dropout (set
ATTENTION / kernel = 'flex' / num_heads = 8 / attention_dropout = 0.1
    => 4: [model] kernel 'flex' does not fit: head_dim 8 is less than 16; it does not support
ATTENTION / pattern = { kind = 'window', causal = true } / head = { kind = 'cls' }
    => 4: [model] head 'cls' cannot be used with a causal pattern, because its vector comes first
ATTENTION / embed_dim = 1000000000000 => 6: invalid value 1000000000000 for ... at most 65536
[training] / max_steps = 10000000000000000 => 4: [training] max_steps has 17 digits; use at most 13
[training] / accumulate = 1000000000 => 5: invalid value 1000000000 for key ... at most 65536
[evaluation] / bootstraps = 1000000000 => 5: invalid value 1000000000 for key ... at most 1000000
ATTENTION / num_kv_heads = 3 => 4: [model] num_heads 4 is not a multiple of num_kv_heads 3
[split] / kind = 'colum' => 5: unknown kind 'colum' in [split]; did you mean 'column'?
[split] / kind = 'chrom' => 5: unknown kind 'chrom' in [split]; did you mean 'chromosome'
[split] / kind = 'chromosome' / valid = ['a'] / test = ['b', 'a']
    => 4: [split] valid and test both contain a; list a chromosome in one split
[split] / kind = 'region' / valid = ['c:10-20'] / test = ['c:19-30']
    => 4: [split] regions c:10-20 and c:19-30 overlap
[split] / kind = 'region' / valid = ['c:10-20'] / test = ['c:30-30']
    => 4: [split] invalid region 'c:30-30'; use CHROM:START-END with START < END, 0-based half-open
[split] / kind = 'cluster' / method = 'mmseqs2' / similarity = 0.3 / k = 5
    => 4: [split] k cannot be used with method 'mmseqs2'; remove it
[split] / kind = 'cluster' / method = 'mmseqs2' => 4: [split] method 'mmseqs2' needs similarity, the
[split] / kind = 'random' / valid_fraction = 0.6 / test_fraction = 0.5
    => 4: [split] valid_fraction + test_fraction is 1.1, which leaves no training records
[interpret.caller] / kind = 'modisco' / [interpret] / maps = ['a', 'b', 'a']
    => 7: [interpret] maps names 'a' more than once
PAIRED / cross_position = { kind = 'rotary' } / [model.encoder] / embed_dim = 20
    => 7: [model] cross_position 'rotary' needs an even head dimension; embed_dim / num_heads of
PAIRED / cross_position = { kind = 'shaw' } => 7: [model] cross_position 'shaw' is not supported
[interpret] / database = 'jaspar:vertebrate' => 5: [interpret] unknown database 'jaspar:vertebrate'
[training] / window = 100 => 5: training.window cannot be used with objective 'binary', only with
[training.edits] / longest = 0 / translocation = 0 / substitution = 0
    => 4: [training.edits] longest, translocation and substitution are all 0; set at least one above
[stack] / parts = ['exact_position'] => 5: invalid value 'exact_position' for item 1 of 'parts' in
[variants.cnn.training] / labels = 'shufled' => 5: invalid value 'shufled' for key 'labels' in
[training] / seeds = 2 / seed = 4294967295 => 4: [training] seed 4294967295 is too large for 2
EMPTY => 1: missing key 'data'
[data] / negatives = 'n' => 1: [data] needs positives and negatives, or ... found negatives
[data] / positives = 3 / negatives = 'n' => 2: invalid value 3 for key ... expected a list
[data] / positives = 'p' / negatives = 'n' / min_length = 9 / max_length = 5
    => 1: [data] min_length 9 is greater than max_length 5
"""
# tables that do not fit together
RULES = r"""
FILES / [split] / kind = 'random' => 2: [data] train, valid and test are the ... remove [split]
[split] / kind = 'files' => 5: [split] kind 'files' needs [data] train and test, the files of each
FILES / sequences = 'all.csv' => 1: [data] needs positives ... found sequences, train, valid, test
[split] / kind = 'column' / values = { valid = 'test' } => 6: [split.values] value 'test' is given
[data] / sequences = 'a.fa' / targets = 't.tsv' / ids = 'numbered' / [objective] / kind =
    'regression' / columns = ['y']
    => 1: [data] targets are joined by id, so ids = 'numbered' cannot be used with them; put the
ids = 'numbered' / [model] / kind = 'paired' / [partner] / kind = 'sequence' / files = 'q.fa'
    => 9: [partner] files are joined by id, so [data] ids = 'numbered' cannot be
PROTEIN / SHARED => model.strands 'shared' needs DNA; [data] alphabet is 'protein'
SEQUENCES / MASKED / SHARED => model.strands 'shared' needs one output per
SHARED / [tokens] / k = 3 / stride = 2
    => model.strands 'shared' needs tokens.stride = 1; it is 2
SHARED / [evaluation] / strands = 'given'
    => evaluation.strands 'given' cannot be used with model.strands 'shared'; remove it
SHARED / [training] / reverse_complement = true
    => training.reverse_complement has no effect with model.strands 'shared'
SHARED / [variants.both_strands.training] / reverse_complement = true
    => training.reverse_complement has no effect with model.strands 'shared'
SHARED / [stack] / parts = ['exact_positions_trees']
    => part 'exact_positions_trees' reads the given strand alone
[stack] / parts = ['pretrained_linear']
    => [stack] part 'pretrained_linear' needs [model] kind = 'pretrained'
SEQUENCES / MASKED / [stack] / parts = ['kmer6_linear']
    => [stack] cannot be used with objective 'masked', which has no parts
[data] => [data] needs positives and negatives, or sequences, or train and ... found none of them
targets = 't.tsv' => [data] targets can only be used with sequences, not with positives and
label = 'x' => [data] label can only be used with sequences, not with positives and negatives
SEQUENCES / positive = 'x' => [data] positive needs label, the column or attribute with the labels
SEQUENCES / header = '(' => [data] header '(' is not a regular expression: missing ), unterminated
SEQUENCES / header = '(a)(b)' => [data] header '(a)(b)' needs one group, such as 'class=(\w+)', or
SEQUENCES / label = 'x' / MASKED => [data] label cannot be used with objective 'masked'; remove it
SEQUENCES => [data] sequences have no labels for ... add label, or choose another [objective] kind
MASKED => [data] positives and negatives cannot be used with objective ... use sequences instead
[data] / genome = 'g.fa' / sequences = 's.bed' / [objective] / kind = 'regression' / columns = ['x']
    => [data] needs targets, a table with the columns of objective 'regression'
[data] / genome = 'g.fa' / sequences = 's.bed' / tracks.t = { kind = 'number', path = 't.bw' } /
    MASKED => [data] tracks cannot be used with objective 'masked'; remove tracks
SEQUENCES / MASKED / [model] / kind = 'cnn' => objective 'masked' needs model kind 'attention'; kind
SEQUENCES / CAUSAL => objective 'causal' needs stem kind 'none'; kind 'conv' sees later tokens
SEQUENCES / CAUSAL / ATTENTION / stem = {kind = 'none'} / pattern = {kind = 'full', causal =
    false} => objective 'causal' needs a causal pattern; set causal = true in model.pattern
SEQUENCES / CAUSAL / ATTENTION / stem = {kind = 'none'} / pattern = {kind = 'full', causal = true}
    => objective 'causal' needs tokens that do not overlap; set tokens.stride = 3, the value of
SEQUENCES / MASKED / ATTENTION / stem = {kind = 'none'} / pattern = {kind = 'full', causal = true}
    => objective 'masked' cannot be used with a causal pattern; remove causal from model.pattern
TABLE / [objective] / kind = 'labels' / column = 's' / classes = 'HE' / [tokens] / k = 1
    => objective 'labels' needs tokens.k = 1, training.shift = 0 and training.reverse_complement =
TABLE / [objective] / kind = 'labels' / column = 's' / classes = 'HE-'
    => [objective] invalid classes 'HE-'; use different ASCII characters other than -
TABLE / [objective] / kind = 'regression' / columns = ['x', 'y'] / center = [1.0] / scale = [1.0]
    => [objective] center and scale have 1 and 1 values for 2 columns; give one value per column, or
TABLE / [objective] / kind = 'multiclass' / column = 'c' / classes = ['a', 'a']
    => [objective] classes needs two or more different names; found a, a
TABLE / [objective] / kind = 'multilabel' / columns = ['x'] / [training] / class_weights =
    'balanced'
    => training.class_weights 'balanced' cannot be used with objective 'multilabel', only with
PARTS => 4: [objective] kind 'several' needs at least two parts; for one, use the kind of the part
PARTS / [objective.parts.class] / kind = 'multiclass' / column = 'liver' / weight = 0.5
    => [objective] several parts use column liver; keep it in one part
PARTS / [objective.parts.class] / kind = 'labels' / column = 'family' / weight = 0.5
    => 10: unknown kind 'labels' in [objective.parts.class]; choose one of 'multiclass'
PARTS / CLASS / [training] / labels = 'shuffled' => training.labels 'shuffled' cannot be used with
[model] / kind = 'cnn' / [transfer] / parent = 'p' => [transfer] cannot be used with ... remove it
BINS / DILATED / [transfer] / parent = 'p' / adapt = 'lora'
    => [transfer] adapt 'lora' cannot be used with model kind 'dilated'; use 'all'
DILATED => model kind 'dilated' cannot be used with objective 'binary', only with 'bins'
BINS / [model] / kind = 'cnn' => objective 'bins' cannot be used with model kind 'cnn', only with
PROTEIN_BINS / DILATED => objective 'bins' needs DNA; [data] alphabet is 'protein'
BINS / bin = 210 / DILATED => objective.bin 210 is not a multiple of 50, the bases per position of
BINS / ATTENTION / stem = {kind = 'none'} / pattern = {kind = 'window', causal = true}
    => objective 'bins' cannot be used with a causal pattern; remove causal from model.pattern
SEQUENCES / MASKED / ATTENTION / stem = { kind = 'tower' }
    => model.stem kind 'tower' cannot be used with objective 'masked', which has one output per
SEQUENCES / MASKED / [training.edits] / per_record = 1
    => training.edits cannot ... only with 'binary', 'multiclass', 'multilabel' and 'regression'
SEQUENCES / MASKED / [training] / seeds = 2 => 'several', 'labels', 'bins' and 'profile'
PROFILE / [model] / kind = 'cnn' => objective 'profile' cannot be used with model kind 'cnn', only
PROFILE / DILATED => objective 'profile' needs the detectors of each base; set model.stem to kind
PROFILE / [tokens] / k = 4 => objective 'profile' needs tokens.stride = 1 and an odd tokens.k,
    centred on a base
PROTEIN / [tokens] / canonical = true => tokens.canonical cannot be used with protein, which has one
PROTEIN / [training] / reverse_complement = true => training.reverse_complement cannot be used with
PROTEIN / [tokens] / k = 5 => tokens.k 5 is too large for protein (3,200,000 k-mers); use at most 4
PROTEIN / [variants.cnn] / tokens = { k = 5 } => tokens.k 5 is too large for protein
PROTEIN / [interpret] / caller = { kind = 'modisco' } => but the records are
[model] / kind = 'paired' / [partner] / kind = 'sequence' / files = 'q.fa' / alphabet = 'protein' /
    [interpret] / caller = { kind = 'modisco' }
    => but the partners are protein; use 'clusters'
PAIRED / encoder = { strands = 'shared' } => strands 'shared' cannot be used in the encoders of
PRIVACY / [model] / kind = 'cnn'
    => model.kind 'cnn' cannot be used with [privacy], because its batch
PRIVACY / ATTENTION / stem = { kind = 'conv' } => model.stem kind 'conv' cannot be used with
    [privacy], because its batch norm mixes the records of a batch. Use model.stem =
PRIVACY / ATTENTION / stem = { kind = 'tower' } => model.stem kind 'tower' cannot be used
PRIVACY / NO_STEM / [training] / seeds = 2
    => training.seeds cannot be used with [privacy], because each member would
PRIVACY / NO_STEM / [training] / accumulate = 4 => training.accumulate cannot be used with [privacy]
PRIVACY / NO_STEM / [training] / clip_norm = 2.0 => training.clip_norm cannot be used with [privacy]
PRIVACY / NO_STEM / [training] / class_weights = 'balanced'
    => training.class_weights cannot be used with [privacy]
PRIVACY / NO_STEM / [training] / precision = '16-mixed'
    => training.precision '16-mixed' cannot be used with [
PRIVACY / NO_STEM / [transfer] / parent = 'other' / adapt = 'gradual'
    => transfer.adapt 'gradual' cannot be used with [privacy]
PRIVACY / NO_STEM / [training] / BALANCE => training.balance cannot be used with [privacy], because
    records must be sampled and weighted equally; remove it
TABLE / PRIVACY / NO_STEM / [objective] / kind = 'multiclass' / column = 'c'
    => objective.classes is required with [privacy]
TABLE / PRIVACY / NO_STEM / [objective] / kind = 'regression' / columns = ['c']
    => objective.center is required with [privacy]
SEQUENCES / MASKED / PRIVACY / NO_STEM / [training] / window = 64
    => training.window cannot be used with [privacy]
[training] / BALANCE / class_weights = 'balanced' => training.class_weights cannot be used with
    training.balance, which already balances the labels of each group; remove it
SEQUENCES / MASKED / [training] / BALANCE
    => training.balance cannot be used with objective 'masked', only with 'binary'
SEQUENCES / MASKED / [evaluation] / groups = ['a']
    => evaluation.groups cannot be used with objective 'masked', only with 'binary'
[interpret] / window = [5, 5] => 5: [interpret] window [5, 5] is empty or combines both ends of a
[interpret] / window = [-5, 5] => 5: [interpret] window [-5, 5] is empty or combines both ends
"""
# runs that are derived from a run file
DERIVED = r"""
[variants.a] / model = { kind = 'cnn' } / training = { pairs = 'first_alone' } / [variants.b] /
    model = { kind = 'cnn' } / training = { pairs = 'first_alone' } => 4: [variants.a]
    training.pairs 'first_alone' cannot be used with ... 'paired'. The file has 1 more error
[training] / seed = 4294967290 / [variants.many] / training = { seeds = 9 }
    => 7: [variants.many.training] seed 4294967290 is too large for 9 members; the last seed would
PROTEIN / [variants.b] / training = { reverse_complement = true } => 5: [variants.b] training.rev
[model] / kind = 'cnn' / [transfer] / parent = 'p' / [variants.slow.training] / learning_rate = 1e-5
    => 6: [transfer] cannot be used with model kind 'cnn'; remove it
[sweep] / 'training.lerning_rate' = [1] => 5: unknown key 'lerning_rate' in [sweep.training]; did
[sweep] / 'model.stem' = [{ kind = 'conv', kernl = 3 }] => 5: unknown key 'kernl' in [sweep.model.st
[sweep] / 'training.learning_rate' = [1e-3, -1] => 5: invalid value -1 for key 'learning_rate' in
[sweep] / 'training.learning_rate' = 1e-3 => 5: invalid value 0.001 for key ... expected a list
[sweep] / 'model.embed_dim' = [64, 10] => 5: [sweep.model] embed_dim 10 is not a multiple of
[sweep] / 'training.seed.x' = [1] => 5: invalid value {'x': 1} for key 'seed' in [sweep.training]
[sweep] / of = ['model', 'cnn'] / 'model.num_layers' = [1] => 6: unknown key 'num_layers' in
[sweep] / of = 'cn' / 'tokens.k' = [1] => 4: [sweep] unknown variant 'cn'; known variants: cnn,
[sweep] / of = 'cnn' => 4: [sweep] no key to sweep; add one, such as "training.learning_rate" =
[sweep] / 'tokens.k' = [3, 3] => 4: [sweep] two jobs have the same settings; list each value, and
[sweep] / 'data.min_length' = [1] => 4: [sweep] 'data.min_length' cannot be swept, only keys of
[sweep] / 'training.max_steps' = [9] => 4: [sweep] training.max_steps is 1500 in [training] but 9 in
[sweep] / 'training' = [{ patience = 1 }] => 4: [sweep] training.patience is 4 in [training] but 1
[sweep] / 'training.batch_size' = [64, 1024] => 4: [sweep] training.batch_size * accumulate is 64 in
[sweep] / of = 'shuffled' / 'tokens.k' = [1] => 4: [sweep] training.labels is 'given' in [training]
[sweep] / 'tokens.k' = [99] / [training] / lerning_rate = 1 => 7: unknown key 'lerning_rate' in
[variants.cnn] / model = { kind = 'cnn' } / training = { max_steps = 9000 } / [sweep] / of = 'cnn' /
    'tokens.k' = [1, 2] => 7: [sweep] training.max_steps is 1500 in [training] but 9000 in a job
"""


def case_of(line):
    """Return the lines of a run file, and a part of its error."""
    text, message = line.split(" => ")
    lines = text.split(" / ") if text.startswith(BEGINNINGS) else ["DATA", *text.split(" / ")]
    return pytest.param([WORDS.get(each, each) for each in lines], message, id=text)


CASES = re.sub("\n {4}", " ", KEYS + TABLES + RULES + DERIVED)


@pytest.mark.parametrize(
    ("lines", "message"), [case_of(line) for line in CASES.splitlines() if line]
)
def test_error_names_line_and_correction(tmp_path, lines, message):
    error = error_of(tmp_path, "\n".join(line.removesuffix("\n") for line in lines) + "\n")
    start = f"task.toml:{message}" if message[0].isdigit() else message
    pattern = ".*".join(map(re.escape, start.split(" ... ")))
    assert re.search(pattern, error), error


def test_errors_describe_characters_of_every_pattern():
    patterns = re.findall(r'"(\^.*?\$)"', json.dumps(RunFile.model_json_schema()))
    assert set(patterns) == set(_CHARACTERS)


def test_errors_list_kinds_of_every_table():
    schema = RunFile.model_json_schema()
    sections = [each.get("properties", {}) for each in (schema, *schema["$defs"].values())]
    of_kinds = {
        name
        for properties in sections
        for name, field in properties.items()
        if any("discriminator" in each for each in (field, *field.get("anyOf", ())))
    }
    assert {"model", "stem", "balance"} <= of_kinds <= set(unions_of(RunFile).of_key)


def test_error_line_is_of_the_right_table(tmp_path):
    """`seed` is in three tables; the wrong one is the last."""
    text = '[split]\nkind = "random"\nseed = 1\n[training]\nseed = 2\n[interpret]\nseed = -3\n'
    message = "task.toml:10: invalid value -3 for key 'seed' in [interpret]; expected at least 0"
    assert error_of(tmp_path, DATA + text) == message


def test_unreadable_run_file(tmp_path):
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for name, message in (
        ("none.toml", r"none\.toml: run file not found$"),
        (".", "run file cannot be read as UTF-8 text: .*directory"),
        ("binary.toml", "run file cannot be read as UTF-8 text: .*decode"),
    ):
        with pytest.raises(RunFileError, match=message):
            read_run_file(tmp_path / name)

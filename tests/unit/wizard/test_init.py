"""Test init: the run file fits the data, and records, negatives and organism are recognised."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyBigWig
import pytest
from commands import exit_code
from init_files import TASK, both, ingested, label, made, place, table, write

from selfattn_bio import Study
from selfattn_bio.wizard import propose

PROTEIN = "ACDEFGHIKLMNPQRSTVWY"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ("dna", "random", 3, "full", 64)),
        ({"letters": PROTEIN}, ("protein", "cluster", 1, "full", 64)),
        # enough records of two chromosomes for a recipe
        ({"header": place}, ("dna", "chromosome", 1, "full", 64)),
        ({"header": lambda i: f"group=g{i % 20}"}, ("dna", "group", 3, "full", 64)),
        ({"length": 10_000, "number": 20, "letters": "acgun"}, ("rna", "random", 3, "window", 13)),
    ],
)
def test_run_file_fits_the_data(here, capsys, options, expected):
    positives, negatives = write("a b.fa", **options), write("ü.fa.gz", **options)
    run = made(f"--positives '{positives}' --negatives {negatives}")
    data, training = run.data, run.training
    found = data.alphabet, run.split.kind, run.tokens.k, run.model.pattern.kind
    assert (*found, training.batch_size) == expected
    assert data.positives == ("a b.fa",)
    assert data.max_length == options.get("length", 40)
    assert training.batch_size * training.accumulate <= 64
    text = TASK.read_text()
    schema = text.splitlines()[0].removeprefix("#:schema ")
    assert "training" in json.loads((TASK.parent / schema).read_text())["properties"]
    assert f"# {options.get('number', 120)} records" in text
    assert "selfattn-bio run train_my_task" in capsys.readouterr().out


@pytest.mark.parametrize("letters", ["ACGT", PROTEIN])
def test_lines_for_pairs_fit_the_data(here, capsys, letters):
    """Without the "# " before two lines, and without [model], the task has two inputs."""
    baits = ["".join(np.random.default_rng(i).choice(list(letters), 40)) for i in range(10)]
    options = table(letters=letters, bait=lambda i, _: baits[i % 10], label=label)
    assert made(options).partner is None
    lines = capsys.readouterr().out
    assert "init: column 'bait' has sequences, too; for pairs, remove [model]" in lines
    text = re.sub(r"(?m)^# (partner|model) = ", r"\1 = ", TASK.read_text())
    TASK.write_text(re.sub(r"(?s)\n\[model\].*?\n\n", "\n", text))
    records, _ = ingested()
    assert len(records) == 120
    model = Study("my_task").task.model
    assert (model.kind, model.encoder.head.parts) == ("paired", 1)
    assert model.encoder.stem.pool == (1 if letters == PROTEIN else 8)
    assert Study("my_task").corpus.partner_letters(11).tobytes().decode() == baits[1]


@pytest.mark.parametrize("targets", ["t.tsv", "t.csv.gz"])  # read as ingest will read them
def test_objective_follows_the_targets(here, targets):
    values = {"id": [f"s{i}" for i in range(120)], "activity": ["0", "1", ""] * 40}
    pd.DataFrame(values).to_csv(targets, sep="\t" if "tsv" in targets else ",", index=False)
    objective = made(f"--sequences {write('s.fa')} --targets {targets}").objective
    assert (objective.kind, objective.target_columns) == ("multilabel", ("activity",))


def test_one_table_with_labels_is_enough(here, capsys):
    run = made(table(label=lambda i, _: i % 3 // 2))
    found = run.objective.kind, run.data.sequences, run.data.label
    assert found == ("binary", ("all.csv",), "label")
    lines = capsys.readouterr().out.splitlines()
    content = "1 and 0 in column 'label'"
    assert lines[0] == f"init: all.csv: 120 records of DNA, 40 bp; {content}"
    assert "init: column 'label': '0' (80), '1' (40)" in lines
    assert "init: split: at random; valid and test have about 18 records each" in lines
    (few,) = (line for line in lines if "few records" in line)
    assert re.fullmatch(
        r"init: few records: (\d+ (posi|nega)tive in \w+(, )?){4,6}\. Metrics will .*a site"
        r"\. For more test records, increase test_fraction in \[split\], or add records",
        few,
    )
    assert """label = "label"  # '0' (80), '1' (40)""" in TASK.read_text()
    assert ingested()[0]["label"].sum() == 40


def halves(_, row):
    return row.translate(str.maketrans("ACGT", "0011"))


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (
            lambda i, _: ["bound", "unbound"][i % 2],
            "binary",
            "bound and unbound in column 'y'; 'bound' is the positive class",
        ),
        (lambda i, _: i % 4, "multiclass", "4 classes in column 'y'"),
        (lambda i, _: [0, 1, None][i % 3], "multilabel", "0, 1 and missing values in column 'y'"),
        (halves, "labels", "one label per base (01) in column 'y'"),
    ],
)
def test_objective_is_recognised_from_one_table(here, capsys, value, kind, words):
    assert made(table(y=value)).objective.kind == kind
    assert f"all.csv: 120 records of DNA, 40 bp; {words}" in capsys.readouterr().out
    records, splits = ingested()
    assert len(records) == 120
    assert set(splits) - {"dropped"} == {"train", "valid", "test"}


def test_long_sequences_in_a_table(here):
    rows = [f"{'ACGT' * 40_000}{'ACGT'[i % 4]}{'ACGT'[i // 4]},{i % 2}\n" for i in range(12)]
    Path("long.csv").write_text("seq,label\n" + "".join(rows))
    run = made("--sequences long.csv")
    assert (run.data.columns, run.data.max_length) == ({"sequence": "seq"}, 160_002)


def test_labels_of_residues(here, capsys):
    states = lambda _, row: "".join("HEC"[ord(c) % 3] for c in row)  # noqa: E731
    run = made(table(letters=PROTEIN, number=200, ss3=states))
    assert (run.data.alphabet, run.objective.classes, run.tokens.k) == ("protein", "CEH", 1)
    assert (run.training.shift, run.model.stem.pool, run.split.kind) == (0, 1, "cluster")
    assert run.split.similarity == 0.08
    assert run.stack.parts == ("window_logistic", "window_trees")
    table(letters="ACDEG", number=200, ss=states, y=lambda i, _: i / 7)
    assert made("--sequences all.csv --column y").objective.kind == "regression"
    assert "has sequences, too" not in capsys.readouterr().out


def test_class_called_none_is_learned_and_split(here, capsys):
    table(family=lambda i, _: ["none", "kinase", "lyase"][i % 3])
    assert made("--sequences all.csv").split.kind == "random"
    assert "valid and test have about 18 records each" in capsys.readouterr().out
    records, splits = ingested()
    assert (len(records), splits.get("dropped", 0)) == (120, 0)
    table(family=lambda i, _: ["NA", "1", "2", "3"][i % 4])
    made("--sequences all.csv")
    assert "30 missing values (" in capsys.readouterr().out
    assert ingested()[1]["dropped"] == 30  # words such as NA are no class next to numbers


def test_variants_of_one_protein(here, capsys):
    # one cluster, so a split by clusters would have no test records
    rows = [list(PROTEIN * 2) for _ in range(200)]
    for i, row in enumerate(rows):
        row[i % 40] = PROTEIN[i // 40]
    fitness = np.arange(200) / 7
    pd.DataFrame({"sequence": map("".join, rows), "fitness": fitness}).to_csv("all.csv")
    run = made("--sequences all.csv")
    assert (run.split.kind, run.stack.parts[0]) == ("random", "substitutions_linear")
    assert "recipe 'variants'" in capsys.readouterr().out
    assert set(ingested()[1]) == {"train", "valid", "test"}


def test_several_columns_are_learned_together(here):
    table(number=40, a=lambda i, _: i / 7, b=lambda i, _: -i / 3, name=lambda i, _: f"gene{i}")
    assert made("--sequences all.csv").objective.columns == ("a", "b")
    assert made("--sequences all.csv --column b a").objective.columns == ("b", "a")


def test_other_names_of_the_sequence_column(here):
    table(label=lambda i, _: i % 2)
    named = pd.read_csv("all.csv").rename(columns={"sequence": "seq"})
    named.to_csv("seq.csv", index=False)
    assert made("--sequences seq.csv").data.columns == {"sequence": "seq"}
    assert len(ingested()[0]) == 120
    named.assign(alt=named["seq"]).to_csv("both.csv", index=False)
    run = made("--sequences both.csv --sequence-column alt")
    assert run.data.columns == {"sequence": "alt"}


@pytest.mark.parametrize("kind", ["shuffled", "matched", "neighbours"])
def test_negatives_are_generated(here, kind):
    write("chr.fa", number=5, length=20_000)
    starts = [(i, 200 * (i + 1)) for i in range(60)]
    lines = (f"chr{i % 5}\t{start}\t{start + 80 + 10 * (i % 3)}\n" for i, start in starts)
    Path("peaks.bed").write_text("".join(lines))
    option = "" if kind == "matched" else f"--negatives {kind}"  # the default
    run = made(f"--positives peaks.bed --genome chr.fa {option}")
    found = run.data.genome, run.data.negatives.kind, run.data.windows.width, run.split.kind
    assert found == ("chr.fa", kind, 90, "chromosome")
    records, splits = ingested()
    assert (len(records), records["label"].sum()) == (120, 60)
    assert splits["valid"] == splits["test"] == 24


def test_features_of_gff_files(here):
    write("genome.fa", number=4, length=5000)
    gff = (
        f"genome{i % 4}\t.\t{kind}\t{100 * i + 1}\t{100 * i + 60}\t.\t+\t.\t.\n"
        for i in range(40)
        for kind in ("gene", "exon")
    )
    Path("a.gff3").write_text("".join(gff))
    run = made("--positives a.gff3 --genome genome.fa --feature gene")
    assert (run.data.windows.kind, run.data.windows.feature) == ("whole", "gene")
    assert ingested()[0]["label"].sum() == 40


@pytest.mark.parametrize(
    ("options", "kind", "columns"),
    [
        ("--tracks 'atac/*.bw'", "regression", ["a", "b"]),
        ("--tracks atac/a.bw", "regression", ["signal"]),
        ("--profile atac/a.bw atac/b.bw", "profile", []),
        ("", "regression", ["T cell"]),
    ],
)
def test_signal_of_intervals(here, capsys, options, kind, columns):
    write("g.fa", number=4, length=6000)
    Path("atac").mkdir()
    rng = np.random.default_rng(0)
    for name in "ab":
        with pyBigWig.open(f"atac/{name}.bw", "w") as file:
            file.addHeader([(f"g{i}", 6000) for i in range(4)])
            for i in range(4):
                file.addEntries(f"g{i}", 0, values=rng.random(6000), span=1, step=1)
    loci = [(f"g{i % 4}", 30 * i + 1000, 30 * i + 1200) for i in range(120)]
    files = "p.bed"
    if options:
        Path(files).write_text("".join(f"{chrom}\t{start}\t{end}\n" for chrom, start, end in loci))
    else:
        anndata = pytest.importorskip("anndata")
        files, names = "p.h5ad", [f"{chrom}:{start}-{end}" for chrom, start, end in loci]
        obs, var = (pd.DataFrame(index=pd.Index(of, dtype=object)) for of in (["T cell"], names))
        anndata.AnnData(rng.random((1, 120)), obs=obs, var=var).write_h5ad(files)
    run = made(f"--sequences {files} --genome g.fa {options}")
    assert (run.objective.kind, run.split.kind) == (kind, "chromosome")
    assert run.stack.parts
    assert f"120 records of DNA, {run.data.max_length:,} bp; {kind} on" in capsys.readouterr().out
    assert len(ingested()[0]) == 120
    assert Study("my_task").corpus.summary.get("targets", {}).get("columns", []) == columns


def test_positives_alone_are_shuffled(here, capsys):
    run = made(f"--positives {write('a.fa')} --negatives shuffled")
    assert run.data.negatives.kind == "shuffled"
    words = "240 records of DNA, 40 bp; 120 positives, 120 negatives (generated: shuffled)"
    assert words in capsys.readouterr().out
    assert ingested()[0]["label"].sum() == 120


def test_header_attributes_are_columns(here, capsys):
    tissues, splits = ("liver", "brain", "spinal cord"), ("train", "dev", "test")

    def header(i):
        return f"tissue={tissues[i % 3]} split={splits[i // 3 % 3]}"

    run = made(f"--sequences {write('a.fa', header=header)} --column tissue")
    assert (run.objective.kind, run.split.column) == ("multiclass", "split")
    assert "column 'tissue': 'liver' (40), 'brain' (40), 'spinal' (40)" in capsys.readouterr().out
    assert ingested()[1] == {"train": 42, "valid": 39, "test": 39}
    write("b.fa", header=lambda i: f"kind={('promoter', 'background')[i % 2]}")
    run = made("--sequences b.fa --column kind")
    assert (run.data.label, run.data.positive) == ("kind", ("promoter",))


def test_labels_after_a_bar_are_recognised(here, capsys):
    """As in `>chr9:77703978-77704078|1`, and in the format of iLearn, `>name|1|training`."""
    for splits in (("", ""), ("|training", "|testing")):
        write("a.fa", header=lambda i, splits=splits: f"|{i % 2}{splits[i // 2 % 2]}")
        Path("a.fa").write_text(Path("a.fa").read_text().replace(" ", ""))
        run = made("--sequences a.fa")
        assert (run.objective.kind, run.data.label) == ("binary", "label")
        records, splits = ingested()
        assert records["label"].sum() == 60
    assert splits["test"] == 60
    assert "init: split: column 'split' (60 train, 60 test)" in capsys.readouterr().out
    write("b.fa", header=lambda i: f"sp|P{i}|NAME{i}")
    assert exit_code("init other --sequences b.fa") == 1
    assert "b.fa: the sequences have no labels or numbers to learn" in capsys.readouterr().err


def test_organism_chooses_the_database(here, capsys):
    line = "init: motifs will be compared with those of vertebrates on both strands; choose others "
    for options, kind, organism, database in (
        (both(), "binary", "bacteria", "none"),
        (table(y=lambda i, _: i / 7), "regression", "plants", "jaspar:plants"),
    ):
        run = made(f"{options} --organism {organism}")
        assert (run.objective.kind, run.interpret.database) == (kind, database)
        assert "vertebrates" not in capsys.readouterr().out
        assert made(options).interpret.database == "jaspar:vertebrates"
        assert line in capsys.readouterr().out


def test_unused_columns_and_small_classes_are_named(here, capsys):
    number, tissues = lambda i, _: i / 7, ["heart", "liver", "liver"]
    made(table(label=number, gene=lambda i, _: f"gene{i}", tissue=lambda i, _: tissues[i % 3]))
    assert "init: not used: tissue\ninit: ids: column 'gene'\n" in capsys.readouterr().out
    made(table(label=number, x=lambda i, _: -i / 3 // 2 / 5))
    message = "init: not used: x; learn several columns with --column label x\n"
    assert message in capsys.readouterr().out
    one, other = lambda i, _: i % 2, lambda i, _: int(i % 8 in (1, 3, 5))
    made(f"{table(one=one, other=other)} --column one other")
    assert "init: correlated labels: one and other (phi 0." in capsys.readouterr().out
    made(table(number=240, tissue=lambda i, _: ["heart", "liver", "liver", "brain"][i % 4]))
    out = capsys.readouterr().out
    assert "not used" not in out
    assert "correlated" not in out
    assert re.search(r"few records: \d+ yes for '(brain|heart)' in (test|valid), .*\. Metrics", out)


def test_steps_grow_with_root_of_records(here):
    steps = [made(both(number=number)).training.max_steps for number in (30, 90)]
    assert steps == [100, round(1500 * (180 / 16_754) ** 0.5)]
    proteins = made(both(number=90, letters=PROTEIN)).training.max_steps
    assert proteins == round(2 * 1500 * (180 / 16_754) ** 0.5)


def test_propose_returns_what_init_writes(here, caplog):
    files = {"positives": [write("p.fa")], "negatives": [write("nn.fa")]}
    caplog.set_level("INFO", "selfattn_bio")
    proposal = propose("my_task", files)
    assert not Path("workflows").exists()
    made("--positives p.fa --negatives nn.fa")
    assert TASK.read_text() == str(proposal) == proposal.text
    count = len(proposal.text.splitlines())
    assert repr(proposal) == f"Proposal of workflows/tasks/my_task.toml, {count} lines"
    assert caplog.messages[0].startswith("p.fa, nn.fa: 240 records of DNA")
    assert "kept 240 records" not in caplog.text  # of the corpus that is only for the choice
    assert proposal.save("other.toml") == Path("other.toml")
    assert Path("other.toml").read_text() == proposal.text


# ------------ splits
def test_chromosome_split_has_both_labels_in_each_split(here, capsys):
    """chr0 has a fitting number of records, but no negative: ingest would refuse the split."""
    positives = write("a.fa", header=place)
    negatives = write("bb.fa", header=lambda i: place(i + (i % 5 == 0)))
    split = made(f"--positives {positives} --negatives {negatives}").split
    assert split.kind == "chromosome"
    assert "(valid chr2: 48 records; test chr3: 48 records)" in capsys.readouterr().out


@pytest.mark.parametrize("column", ["split", "chrom"])
def test_split_column_is_used(here, capsys, column):
    """Also where it is called chrom: a chromosome named test would otherwise become valid."""
    splits = {column: lambda i, _: ("train", "train", "dev", "test")[i // 2 % 4]}
    run = made(table(label=label, **splits))
    assert (run.split.kind, run.split.column) == ("column", column)
    line = f"init: split: column {column!r} (60 train, 30 valid, 30 test)"
    assert line in capsys.readouterr().out
    assert ingested()[1] == {"train": 60, "valid": 30, "test": 30}
    assert "ingest: targets" not in capsys.readouterr().out


def test_split_without_validation_and_other_values(here):
    words = ("Training", "Training", "holdout")
    run = made(table(label=label, part=lambda i, _: words[i // 2 % 3]))
    assert (run.split.column, run.split.valid_fraction) == ("part", 0.15)
    splits = ingested()[1]
    assert (splits["test"], splits["valid"]) == (40, 12)


def test_split_column_that_is_not_used(here, capsys):
    words = ("train", "train", "holdback", "valid")
    files = table(label=label, split=lambda i, _: words[i // 2 % 4])
    assert exit_code(f"init my_task {files}") == 1
    assert "all.csv: column 'split' cannot be used as the split, because" in capsys.readouterr().err
    run = made(f"{files} --split-column none")
    assert (run.split.kind, run.data.label) == ("random", "label")


def test_copies_are_counted(here, capsys):
    files = table(label=label, split=lambda i, _: ("train", "test")[i // 60])
    frame = pd.read_csv("all.csv")
    frame.loc[0, "sequence"] = frame.loc[119, "sequence"]
    opposite = frame.loc[118, "sequence"][::-1].translate(str.maketrans("ACGT", "TGCA"))
    frame.loc[2, "sequence"] = opposite
    frame.to_csv("all.csv", index=False)
    made(files)
    out = capsys.readouterr().out
    assert "that occur with different labels or targets (on either strand): 1\n" in out
    made(files.replace("all.csv", "all.csv --split-column none"))
    assert "(on either strand): 1; one copy with a value is kept\n" in capsys.readouterr().out
    message = "2; their copies are removed from train and valid, never from test\n"
    assert f"init: sequences that occur in several splits (on either strand): {message}" in out


def test_separate_files_define_the_split(here, capsys):
    Path("a set").mkdir()
    for name, number, end in (("train", 100, "A"), ("dev", 30, "C"), ("test", 30, "G")):
        table(path := f"a set/{name}.tsv", number=number, label=label)
        frame = pd.read_csv(path, sep="\t")
        # the same seed, so without copies between the files
        frame["sequence"] = frame["sequence"].str[::-1] + end
        frame.to_csv(path, sep="\t", index=False)
    named = made("--train 'a set/train.tsv' --valid 'a set/dev.tsv' --test 'a set/test.tsv'")
    run = made("--sequences 'a set'")
    assert run == named
    assert run.split.kind == "files"
    assert "init: split: the files (100 train, 30 valid, 30 test)" in capsys.readouterr().out
    assert ingested()[1] == {"train": 100, "valid": 30, "test": 30}
    Path("a set/test.tsv").unlink()
    assert exit_code("init other --sequences 'a set'") == 1
    message = "a set: found no file names with train and test in this folder: dev.tsv, train.tsv"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("chroms", [1, 5])
def test_points_in_windows_of_a_genome(here, capsys, chroms):
    """Half of the bins with a point have a word; windows are split by chromosome or region."""
    rng, genome, windows, points = np.random.default_rng(0), [], [], []
    for chrom in (f"c{i}" for i in range(chroms)):
        letters = rng.choice(list("ACGT"), 120_000 // chroms)
        for at in rng.choice(len(letters) // 200, len(letters) // 2000, replace=False) * 200 + 100:
            letters[at : at + 10] = list("GATTACAGAT")
            points.append(f"{chrom}\t{at}\t{at + 1}\tp\t0\t+\n")
        genome.append(f">{chrom}\n{''.join(letters)}\n")
        starts = range(0, len(letters) - 1199, 600)
        windows += [f"{chrom}\t{start}\t{start + 1200}\n" for start in starts]
    for path, lines in {"g.fa": genome, "w.bed": windows, "p.bed": points}.items():
        Path(path).write_text("".join(lines))
    run = made("--sequences w.bed --genome g.fa --points p.bed")
    assert (run.objective.kind, run.objective.bin, run.model.kind) == ("bins", 200, "attention")
    assert run.split.kind == ("region" if chroms == 1 else "chromosome")
    assert run.stack.parts == ("bin_kmers", "bin_trees")
    assert run.variants["dilated"].model.kind == "dilated"
    out = capsys.readouterr().out
    assert "bins with points of p.bed" in out
    assert "bin_kmers (logistic regression on k-mers around the bin): AUPRC" in out
    assert "recipe 'bins', because points of bins need long windows" in out


def test_quoted_header_attributes_are_read_whole(here, capsys):
    names = ["zinc finger", "helix turn helix", "bHLH"]
    old = 'note="was y=0 family=x before"'
    write("a.fa", header=lambda i: f'{old} family="{names[i % 3]}" y={i / 7:.2f} {old} y=2')
    assert made("--sequences a.fa --column family").objective.kind == "multiclass"
    assert "column 'family': 'zinc finger' (40), 'helix turn helix' (40)" in capsys.readouterr().out
    ingested()
    assert Study("my_task").corpus.targets(["family"])["family"].tolist()[:3] == names
    assert made("--sequences a.fa --column y").objective.kind == "regression"
    ingested()
    assert Study("my_task").corpus.targets(["y"])["y"][7] == "1.00"


def test_unused_columns_that_are_almost_numbers_are_named(here, capsys):
    numbers = {"half life (h)": lambda i, _: "n.d." if i == 3 else i / 7}
    assert made(table(**numbers)).objective.columns == ("half life (h)",)
    made(table(y=lambda i, _: "failed" if i == 3 else i / 7, **numbers))
    cause = "Most values are numbers, but 'failed' of record 4 is not: correct it or leave it empty"
    assert f": y\ninit: column 'y' is not learned: {cause}\n" in capsys.readouterr().out

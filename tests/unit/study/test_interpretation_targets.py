"""Test attribution, motifs and evidence of all kinds of outputs on words with a known effect."""

from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_run import COMMAND, DATA, RUN_FILE

import selfattn_bio as sb
from selfattn_bio.cli.main import main
from selfattn_bio.errors import ArgumentError, CorpusError, RunFileError
from selfattn_bio.evidence.held_out import read_held_out, weigh_with_model
from selfattn_bio.evidence.held_out_records import held_out_records
from selfattn_bio.motifs.callers import Clusters
from selfattn_bio.motifs.formats import read_table
from selfattn_bio.objectives.outputs import find_output

WORDS = {"raises": "GGTCACACTG", "lowers": "TATCGATAAC", "decoy": "CCATGTTGCA"}
ONLY_RAISES = {"raises": "supported", "lowers": "inconclusive", "decoy": "inconclusive"}
LENGTH, SLOTS = 80, {"raises": 5, "lowers": 30, "decoy": 55}


# a convolution over a word, without pooling
PER_BASE = """
[tokens]
k = 1
[model.stem]
kind = "conv"
token_dim = 8
kernel = 11
pool = {pool}
second_kernel = 3
"""
UNSHIFTED = "max_steps = 250\nshift = 0"


def write_run(
    folder,
    objective,
    target,
    data='targets = "t.tsv"',
    training="max_steps = 250",
    sequence="sequence",
):
    """Write run.toml, t.tsv, corpus/, split.tsv and model/ to `folder`, the current folder.

    `target` is a function from the starts of the words in a record, by name, and noise, to its
    target. `sequence` is the name of the column of sequences.
    """
    rng = np.random.default_rng(0)
    rows = []
    for i in range(900):
        letters = rng.choice(list("ACGT"), LENGTH)
        names = [name for name in WORDS if rng.random() < 0.4]
        starts = {name: SLOTS[name] + int(rng.integers(0, 10)) for name in names}
        for name, start in starts.items():
            letters[start : start + 10] = list(WORDS[name])
        place = (f"c{i % 3 + 1}", i * LENGTH, (i + 1) * LENGTH, "+")
        rows.append(("".join(letters), *place, *target(starts, rng.normal())))
    columns = [sequence, "chrom", "start", "end", "strand", "y", "other"]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(0, "id", [f"r{i}" for i in range(len(table))])
    table.to_csv(folder / "t.tsv", sep="\t", index=False)
    data = f'sequences = "t.tsv"\n{data}'
    text = RUN_FILE.replace('positives = "p.fa"\nnegatives = "n.fa"', data)
    (folder / "run.toml").write_text(text.replace("max_steps = 60", training) + objective)
    assert main(["ingest", "--run-file", "run.toml", "--output", "corpus"]) == 0
    assert main(["split", *DATA[:4], "--output", "split.tsv"]) == 0
    assert main(["train", *DATA, "--threads", "1", "--output", "model"]) == 0


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """Return the folder of a task whose number rises with one word and falls with another."""
    folder = tmp_path_factory.mktemp("numbers")

    def target(names, noise):
        return 3 * ("raises" in names) - 3 * ("lowers" in names) + 10 + noise / 2, noise

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        data = 'targets = "t.tsv"\ncolumns = { sequence = "Seq" }'
        objective = '[objective]\nkind = "regression"\ncolumns = ["y"]\n'
        write_run(folder, objective, target, data, sequence="Seq")
    return folder


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """Return the folder of a task with three classes. Two of them have a word."""
    folder = tmp_path_factory.mktemp("classes")

    def target(names, noise):
        return ("up" if "raises" in names else "down" if "lowers" in names else "none"), noise

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_run(folder, '[objective]\nkind = "multiclass"\ncolumn = "y"\n', target)
    return folder


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """Return the folder of a task with a label per base. A word begins a stretch of H."""
    folder = tmp_path_factory.mktemp("labels")

    def target(starts, noise):
        text = "C" * LENGTH
        for name, label in (("raises", "H"), ("lowers", "E")):
            if name in starts:
                text = text[: starts[name]] + label * 16 + text[starts[name] + 16 :]
        return text, noise

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        objective = '[objective]\nkind = "labels"\ncolumn = "y"\nclasses = "HEC"\n'
        write_run(folder, objective + PER_BASE.format(pool=1), target, training=UNSHIFTED)
    return folder


@pytest.fixture(scope="module")
def bins(tmp_path_factory):
    """Return the folder of a task with bins. A word marks points on +, another those on -."""
    folder = tmp_path_factory.mktemp("bins")
    points = []

    def target(starts, noise):
        number = len(points)
        points.append(
            [
                f"c{number % 3 + 1}\t{at}\t{at + 1}\tp\t0\t{strand}\n"
                for name, strand in (("raises", "+"), ("lowers", "-"))
                if name in starts
                for at in [number * LENGTH + starts[name] + 5]
            ]
        )
        (folder / "points.bed").write_text("".join(chain(*points)))
        return noise, noise

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        objective = '[objective]\nkind = "bins"\npoints = "points.bed"\nbin = 20\n'
        write_run(folder, objective + PER_BASE.format(pool=5), target, "", UNSHIFTED)
    return folder


def opened(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return sb.read_run_file("run.toml"), sb.Corpus.open("corpus"), "split.tsv", "model"


def consensus_with(table, name):
    """Return the rows of motifs that have the middle of a word, on either strand."""
    word = WORDS[name][2:-2]
    other = word[::-1].translate(str.maketrans("ACGT", "TGCA"))
    return table[table["consensus"].str.contains(f"{word}|{other}")]


def verdicts_of_words(target):
    """Weigh the evidence for each planted word itself on the test records; return its verdict."""
    scorer = sb.load("model")
    output = find_output(scorer.objective.outputs, target)
    table = pd.read_csv("t.tsv", sep="\t").query("chrom == 'c3'").reset_index(drop=True)
    _, letters, values = read_held_out(scorer, table, None)
    records = held_out_records(output, letters, output.truth(values), scorer.alphabet)
    ppms = {
        name: np.eye(4)[["ACGT".index(letter) for letter in word]] for name, word in WORDS.items()
    }
    found, _, _ = weigh_with_model(ppms, dict.fromkeys(ppms, 100), scorer, output, records)
    return dict(zip(found["name"], found["verdict"], strict=True))


@pytest.mark.slow
def test_motifs_of_a_number_have_its_unit(numbers, monkeypatch):
    task = opened(numbers, monkeypatch)
    explained = sb.explain_records(*task)
    scores = explained.records["score"]
    assert explained.targets == ["y"]
    assert scores.is_monotonic_decreasing
    assert (scores.head(60) > 10).all()
    assert (scores.tail(60) < 10).all()
    explained.save("attribution")
    assert main(["motifs", *COMMAND, "--attribution", "attribution", "--output", "motifs"]) == 0
    table = read_table("motifs/motifs.tsv")
    assert set(table["target"]) == set(table["unit"]) == {"y"}
    raising, lowering = (consensus_with(table, name).iloc[0] for name in ("raises", "lowers"))
    assert (raising["verdict"], lowering["verdict"]) == ("supported", "supported")
    assert 2 < raising["effect_low"] < raising["effect"] < 4
    assert -4 < lowering["effect"] < lowering["effect_high"] < -2
    assert raising["difference"] == pytest.approx(3, abs=0.7)
    assert raising["matched_difference"] == pytest.approx(3, abs=0.7)
    assert pd.isna(raising["odds_ratio"])
    assert not (consensus_with(table, "decoy")["verdict"] == "supported").any()

    # the complete table from Python, with the columns of the table of targets
    held_out = pd.read_csv("t.tsv", sep="\t", dtype={"y": str})
    held_out = held_out[held_out["chrom"] == "c3"].reset_index(drop=True)
    own = explained.find_motifs(None, caller=Clusters())
    own = own.with_evidence("model", held_out)
    own.save("python")
    assert Path("python/motifs.tsv").read_bytes() == Path("motifs/motifs.tsv").read_bytes()


@pytest.mark.slow
def test_motifs_of_each_class(classes, monkeypatch, capsys):
    run, corpus, split, model = opened(classes, monkeypatch)
    explain = ["explain", *COMMAND, "--output", "attribution"]
    assert main([*explain, "--target", "upp"]) == 1
    assert "no output 'upp'; the outputs are down, none, up" in capsys.readouterr().err
    assert main([*explain, "--target", "up", "down"]) == 0
    said = capsys.readouterr().out
    assert "positives of 'up' of train and valid, with log-odds from" in said
    explained = sb.Explanation.load("attribution")
    assert explained.targets == ["up", "down"]
    kinds = corpus.targets(["y"])["y"]
    rows = {name: row for row, name in enumerate(corpus.records["id"])}
    for target in explained.targets:
        assert {kinds[rows[name]] for name in explained.of(target).ids} == {target}
    motifs = sb.find_motifs(run, corpus, split, model, explained)
    assert motifs.table["name"].is_unique
    used = motifs.table[motifs.table["verdict"] == "supported"]
    assert consensus_with(used, "raises")["target"].tolist() == ["up"]
    assert set(consensus_with(used, "lowers")["target"]) == {"down"}
    assert consensus_with(used, "decoy").empty
    up = used[used["target"] == "up"].iloc[0]
    assert up["unit"] == "log-odds"
    assert up["effect"] > 1
    assert up["positives"] == (kinds[2::3] == "up").sum()
    held_out = pd.read_csv("t.tsv", sep="\t").query("chrom == 'c3'").reset_index(drop=True)
    again = motifs.with_evidence(model, held_out["sequence"].tolist(), held_out["y"])
    pd.testing.assert_frame_equal(again.table, motifs.table)
    # pairs of motifs of the same class
    motifs.save("motifs")
    command = ["interactions", *COMMAND, "--motifs", "motifs", "--output", "pairs.tsv"]
    assert main(command) == 0
    assert next(iter(pd.read_csv("pairs.tsv", sep="\t"))) == "target"


@pytest.mark.slow
def test_motifs_of_labels_change_percentages(labels, monkeypatch, capsys):
    task = opened(labels, monkeypatch)
    assert main(["explain", *COMMAND, "--target", "H", "--output", "attribution"]) == 0
    assert "of 'H' of train and valid, with % of positions in H from" in capsys.readouterr().out
    assert main(["motifs", *COMMAND, "--attribution", "attribution", "--output", "."]) == 0
    table = read_table("motifs.tsv")
    assert set(table["unit"]) == {"% of positions in H"}
    assert set(table["min_effect"]) == {1.0}
    raising = consensus_with(table, "raises").iloc[0]
    assert raising["verdict"] == "supported"
    assert verdicts_of_words("H") == ONLY_RAISES
    # 16 of 80 positions
    assert 15 < raising["effect_low"] < raising["effect"] < 25
    assert raising["difference"] == pytest.approx(20, abs=3)
    assert not (consensus_with(table, "decoy")["verdict"] == "supported").any()

    held_out = pd.read_csv("t.tsv", sep="\t").query("chrom == 'c3'").reset_index(drop=True)
    own = sb.Explanation.load("attribution").find_motifs(None, caller=Clusters())
    own.with_evidence(task[-1], held_out).save("python")
    assert Path("python/motifs.tsv").read_bytes() == Path("motifs.tsv").read_bytes()
    assert main(["interactions", *COMMAND, "--motifs", ".", "--output", "interactions.tsv"]) == 0
    assert main(["evaluate", *COMMAND, "--output", "."]) == 0
    assert main(["audit", *DATA, "--output", "audit.tsv"]) == 0
    command = ["report", "--run-file", "run.toml", "--results", ".", "--output", "report.html"]
    assert main(command) == 0
    page = Path("report.html").read_text()
    assert "effect of at least 1.00 % of positions in H" in page
    assert "Shuffling its sites lowers % of positions in H by" in page


@pytest.mark.slow
def test_motifs_of_bins_change_the_number_of_points(bins, monkeypatch):
    task = opened(bins, monkeypatch)
    explained = sb.explain_records(*task, targets=["+"])
    motifs = sb.find_motifs(*task, explained)
    table = motifs.table
    assert set(table["unit"]) == {"log of points on +"}
    raising = consensus_with(table, "raises").iloc[0]
    assert raising["verdict"] == "supported"
    assert raising["effect_low"] > 0.5
    assert verdicts_of_words("+") == ONLY_RAISES
    # log of 1.5 points with the word, of 0.5 without
    assert raising["difference"] == pytest.approx(np.log(3), abs=0.15)
    others = [consensus_with(table, name)["verdict"] for name in ("lowers", "decoy")]
    assert not (pd.concat(others) == "supported").any()

    held_out = pd.read_csv("t.tsv", sep="\t").query("chrom == 'c3'").reset_index(drop=True)
    again = motifs.with_evidence("model", held_out)  # points are those of the run file
    pd.testing.assert_frame_equal(again.table, table)
    with pytest.raises(CorpusError, match="has no coordinates; objective 'bins' needs"):
        motifs.with_evidence("model", held_out["sequence"].tolist())
    monkeypatch.setattr("selfattn_bio.study.explain.MOST_POSITIONS", 10 * LENGTH)
    assert len(sb.explain_records(*task, targets=["+"])) == 10

    # the page of a run file that names the strand
    text = Path("run.toml").read_text().replace("[interpret]", '[interpret]\ntargets = ["+"]')
    Path("plus.toml").write_text(text + "[evaluation]\nblock = 2000\nbootstraps = 20\n")
    command = ["--run-file", "plus.toml", *COMMAND[2:]]
    motifs.save(".")
    explained.save("attribution")
    assert main(["interactions", *command, "--motifs", ".", "--output", "interactions.tsv"]) == 0
    assert main(["evaluate", *command, "--output", "."]) == 0
    assert main(["audit", *command[:6], "--output", "audit.tsv"]) == 0
    report = ["report", *command[:2], "--results", ".", "--output", "report.html"]
    assert main(report) == 0
    assert "effect of at least 0.10 log of points on +" in Path("report.html").read_text()


def test_targets_are_checked(classes, monkeypatch):
    run, corpus, split, model = opened(classes, monkeypatch)
    interpret = run.interpret.model_copy(update={"targets": ("sideways",)})
    with pytest.raises(RunFileError, match=r"run\.toml: no output 'sideways'; the outputs are"):
        sb.explain_records(run.model_copy(update={"interpret": interpret}), corpus, split, model)
    text = Path("run.toml").read_text()
    Path("wrong.toml").write_text(text.replace("[interpret]", '[interpret]\ntargets = ["upp"]'))
    line = 1 + text.splitlines().index("[interpret]") + 1
    wrong = sb.read_run_file("wrong.toml")
    with pytest.raises(RunFileError) as refused:  # before training
        sb.train(wrong, corpus, split, "wrong")
    assert str(refused.value) == (
        f"wrong.toml:{line}: no output 'upp'; the outputs are down, none, up. Did you mean 'up'?"
    )
    motifs = sb.explain(model, ["ACGTACGTAC" * 8], target="up").find_motifs(None)
    with pytest.raises(ArgumentError, match="the table has no column 'y', the target of the model"):
        motifs.with_evidence(model, pd.DataFrame({"sequence": ["ACGT" * 20]}))
    with pytest.raises(ArgumentError, match="pass one target for each of the 1 sequences, not 2"):
        motifs.with_evidence(model, ["ACGT" * 20], ["up", "down"])

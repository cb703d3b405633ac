"""Test attribution, motifs and evidence of all kinds of outputs on words with a known effect."""

from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from commands import exit_code, run
from letters import ppm_of
from small_run import RUN_FILE, save_untrained, split_study

import selfattn_bio as sb
from selfattn_bio.config import MultilabelObjective, RegressionObjective
from selfattn_bio.errors import ArgumentError, CorpusError, RunFileError
from selfattn_bio.evidence.held_out import calibrated_scores, read_held_out
from selfattn_bio.evidence.records import Scored, held_out_records
from selfattn_bio.evidence.verdicts import weigh_evidence
from selfattn_bio.motifs.callers import Clusters
from selfattn_bio.motifs.matching import HIT_P, find_hits
from selfattn_bio.objectives import objective_of
from selfattn_bio.objectives.outputs import find_output
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.study.trained import TrainedModel

WORDS = {"raises": "GGTCACACTG", "lowers": "TATCGATAAC", "decoy": "CCATGTTGCA"}
ONLY_RAISES = {"raises": "supported", "lowers": "inconclusive", "decoy": "inconclusive"}
RECORDS, LENGTH, SLOTS = 900, 80, {"raises": 5, "lowers": 30, "decoy": 55}


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


TARGETS = 'targets = "t.tsv"'


def trained(objective, target, data=TARGETS, training="max_steps = 250", train=sb.Study.train):
    """Write a task with run.toml and t.tsv to the current folder, train it, and return its study.

    `target` is a function from the starts of the words in a record, by name, and noise, to its
    target.
    """
    rng = np.random.default_rng(0)
    rows = []
    for i in range(RECORDS):
        letters = rng.choice(list("ACGT"), LENGTH)
        names = [name for name in WORDS if rng.random() < 0.4]
        starts = {name: SLOTS[name] + int(rng.integers(0, 10)) for name in names}
        for name, start in starts.items():
            letters[start : start + 10] = list(WORDS[name])
        place = (f"c{i % 3 + 1}", i * LENGTH, (i + 1) * LENGTH, "+")
        rows.append(("".join(letters), *place, *target(starts, rng.normal())))
    sequence = "Seq" if "Seq" in data else "sequence"
    columns = [sequence, "chrom", "start", "end", "strand", "y", "other"]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(0, "id", [f"r{i}" for i in range(len(table))])
    table.to_csv("t.tsv", sep="\t", index=False)
    data = f'sequences = "t.tsv"\n{data}'
    text = RUN_FILE.replace('positives = "p.fa"\nnegatives = "n.fa"', data)
    Path("run.toml").write_text(text.replace("max_steps = 60", training) + objective)
    study = split_study()
    train(study)
    return study


def classes(known="", **options):
    """Return a task with three classes. Two of them have a word."""

    def target(names, noise):
        return ("up" if "raises" in names else "down" if "lowers" in names else "none"), noise

    objective = f'[objective]\nkind = "multiclass"\ncolumn = "y"\n{known}'
    return trained(objective, target, **options)


def held_out():
    """Return the test records of the table of targets."""
    return pd.read_csv("t.tsv", sep="\t").query("chrom == 'c3'").reset_index(drop=True)


def consensus_with(table, name):
    """Return the rows of motifs that have the middle of a word, on either strand."""
    word = WORDS[name][2:-2]
    other = word[::-1].translate(str.maketrans("ACGT", "TGCA"))
    return table[table["consensus"].str.contains(f"{word}|{other}")]


def verdicts_of_words(target):
    """Weigh the evidence for each planted word itself on the test records; return its verdict."""
    scorer = sb.load("model")
    output = find_output(scorer.objective.outputs, target)
    _, letters, values = read_held_out(scorer, held_out(), None)
    records = held_out_records(output, letters, output.truth(values), scorer.alphabet)
    ppms = {name: ppm_of(word) for name, word in WORDS.items()}
    sites = dict.fromkeys(ppms, 100)
    hits = find_hits(ppms, sites, letters, HIT_P, DNA)
    scored = Scored(records, calibrated_scores(scorer, output, records))
    found = weigh_evidence(ppms, sites, hits, scored, dict.fromkeys(ppms, HIT_P))
    return dict(zip(found["name"], found["verdict"], strict=True))


@pytest.mark.parametrize(
    ("section", "values", "names"),
    [
        (MultilabelObjective, [[1, 0, 1, 0, 1, 1], [0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1]], "efcd"),
        (MultilabelObjective, [[1, 1, 1, 1, 1, 1]], "abcd"),  # the first if equal
        (RegressionObjective, [[1, 0, 1, np.nan, 0, 1], [0, 1, np.nan, 0, 1, 0]], "abef"),
        (MultilabelObjective, [[0, 1, 1, 1]], "abcd"),
        (MultilabelObjective, [[1, 0, 1, 0, 1, 1]] + 2 * [[0, 1, 0, 1, 0, 0]], "acef"),
    ],
)
def test_outputs_with_most_records_are_explained(caplog, section, values, names):
    caplog.set_level("INFO", "selfattn_bio")
    columns = tuple("abcdef"[: len(values[0])])
    scales = {"center": (0,) * 6, "scale": (1,) * 6} if section is RegressionObjective else {}
    objective = objective_of(section(columns=columns, **scales))
    # in the last case, the second and third record cannot be explained
    splits = ["train", *(["test", ""] if names == "acef" else ["valid"] * (len(values) - 1))]
    scorer = SimpleNamespace(objective=objective)
    of = TrainedModel(None, scorer, Path(), Path(), pd.DataFrame({"split": splits}))
    vars(of)["values"] = np.array(values, float)
    assert "".join(each.name for each in of.outputs((), "")) == names
    shown = f"of 6 outputs those with most records are explained: {', '.join(names)}; choose others"
    assert (shown in caplog.text) == (len(columns) > 4)
    assert [each.name for each in of.outputs(["b"], "")] == ["b"]


@pytest.mark.slow
def test_motifs_of_a_number_have_its_unit(here):
    objective = '[objective]\nkind = "regression"\ncolumns = ["y"]\n'

    def number(names, noise):
        """Return a number that rises with one word and falls with another."""
        return 3 * ("raises" in names) - 3 * ("lowers" in names) + 10 + noise / 2, noise

    study = trained(objective, number, TARGETS + '\ncolumns = { sequence = "Seq" }')
    explained = study.explain()
    scores = explained.records["score"]
    assert explained.targets == ["y"]
    assert scores.is_monotonic_decreasing
    assert (scores.head(60) > 10).all()
    assert (scores.tail(60) < 10).all()
    study.find_motifs()
    table = study.motifs.table
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
    table = pd.read_csv("t.tsv", sep="\t", dtype={"y": str}).query("chrom == 'c3'")
    own = explained.find_motifs(None, caller=Clusters())
    own.with_evidence("model", table.reset_index(drop=True)).save("python")
    assert Path("python/motifs.tsv").read_bytes() == Path("motifs.tsv").read_bytes()


@pytest.mark.slow
def test_motifs_of_each_class(here, capsys):
    study = classes()
    corpus = study.corpus
    assert exit_code("explain . --target upp") == 1
    assert "no output 'upp'; the outputs are down, none, up" in capsys.readouterr().err
    run("explain . --target up down")
    assert "positives of 'up' of train and valid, with log-odds from" in capsys.readouterr().out
    explained = study.explanation
    assert explained.targets == ["up", "down"]
    kinds = corpus.targets(["y"])["y"]
    rows = {name: row for row, name in enumerate(corpus.records["id"])}
    for target in explained.targets:
        assert {kinds[rows[name]] for name in explained.of(target).ids} == {target}
    motifs = study.find_motifs()
    assert motifs.table["name"].is_unique
    used = motifs.table[motifs.table["verdict"] == "supported"]
    assert consensus_with(used, "raises")["target"].tolist() == ["up"]
    assert set(consensus_with(used, "lowers")["target"]) == {"down"}
    assert consensus_with(used, "decoy").empty
    up = used[used["target"] == "up"].iloc[0]
    assert up["unit"] == "log-odds"
    assert up["effect"] > 1
    assert up["positives"] == (kinds[2::3] == "up").sum()
    records = held_out()
    again = motifs.with_evidence("model", records["sequence"].tolist(), records["y"])
    pd.testing.assert_frame_equal(again.table, motifs.table)
    # pairs of motifs of the same class
    assert next(iter(study.find_interactions().table)) == "target"


@pytest.mark.long
def test_motifs_of_labels_change_percentages(here, capsys):
    def stretches(starts, noise):
        """Return a label per base. A word begins a stretch of H, another one of E."""
        text = "C" * LENGTH
        for name, label in (("raises", "H"), ("lowers", "E")):
            if name in starts:
                text = text[: starts[name]] + label * 16 + text[starts[name] + 16 :]
        return text, noise

    objective = '[objective]\nkind = "labels"\ncolumn = "y"\nclasses = "HEC"\n'
    study = trained(objective + PER_BASE.format(pool=1), stretches, training=UNSHIFTED)
    run("explain . --target H")
    assert "of 'H' of train and valid, with % of positions in H from" in capsys.readouterr().out
    study.find_motifs()
    table = study.motifs.table
    assert set(table["unit"]) == {"% of positions in H"}
    assert set(table["min_effect"]) == {1.0}
    raising = consensus_with(table, "raises").iloc[0]
    assert raising["verdict"] == "supported"
    assert verdicts_of_words("H") == ONLY_RAISES
    # 16 of 80 positions
    assert 15 < raising["effect_low"] < raising["effect"] < 25
    assert raising["difference"] == pytest.approx(20, abs=3)
    assert not (consensus_with(table, "decoy")["verdict"] == "supported").any()


@pytest.mark.long
def test_motifs_of_bins_change_the_number_of_points(here, monkeypatch):
    lines, numbers = [], count()

    def points(starts, noise):
        """Let a word mark points on +, another those on -."""
        number = next(numbers)
        for name, strand in (("raises", "+"), ("lowers", "-")):
            if name in starts:
                at = number * LENGTH + starts[name] + 5
                lines.append(f"c{number % 3 + 1}\t{at}\t{at + 1}\tp\t0\t{strand}\n")
        if number == RECORDS - 1:
            Path("points.bed").write_text("".join(lines))
        return noise, noise

    objective = '[objective]\nkind = "bins"\npoints = "points.bed"\nbin = 20\n'
    study = trained(objective + PER_BASE.format(pool=5), points, "", UNSHIFTED)
    study.explain(targets=["+"])
    motifs = study.find_motifs()
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

    again = motifs.with_evidence("model", held_out())  # points are those of the run file
    pd.testing.assert_frame_equal(again.table, table)
    with pytest.raises(CorpusError, match="has no coordinates; objective 'bins' needs"):
        motifs.with_evidence("model", held_out()["sequence"].tolist())

    # the page of a run file that names the strand
    text = Path("run.toml").read_text().replace("[interpret]", '[interpret]\ntargets = ["+"]')
    Path("plus.toml").write_text(text + "[evaluation]\nblock = 2000\nbootstraps = 20\n")
    named = sb.Study("plus.toml", ".")
    named.find_interactions()
    named.evaluate()
    named.audit()
    assert "effect of at least 0.10 log of points on +" in named.write_report().read_text()
    monkeypatch.setattr("selfattn_bio.study.explain.MOST_POSITIONS", 10 * LENGTH)
    assert len(study.explain(targets=["+"])) == 10


def test_targets_are_checked(here):
    study = classes('classes = ["down", "none", "up"]', train=save_untrained)
    interpret = study.task.interpret.model_copy(update={"targets": ("sideways",)})
    with pytest.raises(RunFileError, match=r"run\.toml: no output 'sideways'; the outputs are"):
        sb.Study(study.task.model_copy(update={"interpret": interpret}), ".").explain()
    text = Path("run.toml").read_text()
    Path("wrong.toml").write_text(text.replace("[interpret]", '[interpret]\ntargets = ["upp"]'))
    line = 1 + text.splitlines().index("[interpret]") + 1
    message = rf"^wrong\.toml:{line}: no output 'upp'; the outputs are "
    with pytest.raises(RunFileError, match=message):  # before training
        sb.Study("wrong.toml", ".").train()
    motifs = sb.explain("model", ["ACGTACGTAC" * 8], target="up").find_motifs(None)
    for inputs, message in (
        ((pd.DataFrame({"sequence": ["ACGT"]}),), "no column 'y', the target of the model"),
        ((["ACGT" * 20], ["up", "down"]), "pass one target for each of the 1 sequences, not 2"),
    ):
        with pytest.raises(ArgumentError, match=message):
            motifs.with_evidence("model", *inputs)

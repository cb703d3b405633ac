"""Explain, motifs and interactions: which records are used, what is written, and refusals."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from commands import run
from letters import ppm_of
from small_run import MODEL, WORD, save_untrained, split_study, write_run

import selfattn_bio as sb
from selfattn_bio import config
from selfattn_bio.config import BinaryObjective, Interpret
from selfattn_bio.data.inputs import Alone
from selfattn_bio.errors import (
    ArgumentError,
    CorpusError,
    ModelFolderError,
    ResultsError,
    RunFileError,
)
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.evidence import held_out, interactions
from selfattn_bio.evidence.epistasis import mean_of_strands
from selfattn_bio.evidence.marginals import PAIR_COLUMNS
from selfattn_bio.evidence.records import LabelledRecords
from selfattn_bio.motifs import matching, meme_text
from selfattn_bio.motifs.motif_set import build_motifs
from selfattn_bio.motifs.patterns import SeqletPattern
from selfattn_bio.objectives.binary import Binary
from selfattn_bio.sequence.alphabet import RNA
from selfattn_bio.study import motifs as step
from selfattn_bio.study.explain import choose_recognised
from selfattn_bio.study.motifs import _discover


@pytest.fixture
def study(two_classes):
    """Return a study with a corpus, a split and a model with random weights."""
    study = split_study(f"{MODEL}[interpret]\nmax_sequences = 12\n")
    save_untrained(study)
    return study


def with_section(study, **sections):
    """Return a study with other sections of the run file."""
    return sb.Study(study.task.model_copy(update=sections), study.root.folder)


def with_interpret(study, **settings):
    """Return a study with other settings of [interpret]."""
    return with_section(study, interpret=study.task.interpret.model_copy(update=settings))


def write_motifs(path, **words):
    """Write words as motifs to a MEME file."""
    ppms = {name: ppm_of(word) for name, word in words.items()}
    Path(path).write_text(meme_text(ppms, dict.fromkeys(ppms, 100)))
    return path


@pytest.mark.slow
def test_motifs_and_interactions_of_a_trained_model(here, capsys):
    write_run(here)
    study = sb.Study(".")
    run("explain .")
    line = "explain: explaining 120 of 120 positives of train and valid, with log-odds "
    assert capsys.readouterr().out.startswith(line)
    motifs = study.find_motifs()
    pairs = study.find_interactions()
    assert capsys.readouterr().out == ""  # silent by default
    assert motifs.table["verdict"].iloc[0] == "supported"
    assert WORD[2:-2] in motifs["motif_01"].consensus
    assert len(motifs.sites) > 0
    pd.testing.assert_frame_equal(study.motifs.table, motifs.table, rtol=1e-3, check_dtype=False)
    pd.testing.assert_frame_equal(study.interactions.table, pairs.table, check_dtype=False)
    assert study.interactions.source == motifs.source

    def written():
        files = *here.glob("motifs.*"), here / "interactions.tsv"
        return {path: path.read_bytes() for path in files}

    before = written()
    run("motifs .")
    assert "testing the evidence on 120 test records\n" in capsys.readouterr().out
    run("interactions .")
    assert written() == before
    study.find_interactions("motifs.meme")
    assert written() == before


def test_explanation_is_read_back(study):
    explained = study.explain()
    assert explained.records["score"].is_monotonic_decreasing
    # highest, middle and lowest logit
    chosen = explained.records.iloc[[0, 6, 11]]
    assert list(explained.maps) == chosen["id"].tolist()
    scores = [each.score for each in explained.maps.values()]
    assert scores == pytest.approx(chosen["score"].tolist(), abs=1e-5)
    assert [len(each.layers) for each in explained.maps.values()] == [1, 1, 1]
    read = study.explanation
    np.testing.assert_array_equal(read.hypothetical, explained.hypothetical)
    pd.testing.assert_frame_equal(read.records, explained.records)
    assert read.source == explained.source
    assert list(read.maps) == list(explained.maps)


def test_explain_warns_of_a_missing_genome(study, caplog):
    files = {"genome": "moved.fa", "positives": ("p.bed",), "negatives": ("n.bed",)}
    data = study.task.data.model_copy(update=files)
    moved = with_section(study, data=data)
    save_untrained(moved)
    moved.explain()
    assert "no genome moved.fa: chromosomes of the bigWig files end at their last" in caplog.text


def test_motifs_refuse_other_attributions(study):
    own = study.explain()
    study.find_motifs()
    assert study.motifs.source == own.source
    letters, row = own.letters.copy(), study.corpus.records["id"].tolist().index("p2")  # on c3
    letters[3] = study.corpus.letters(row)
    dataclasses.replace(own, letters=letters).save("attribution")
    message = "motifs were found in 1 of the 20 sequences, such as 'p2'. Explain training"
    with pytest.raises(ArgumentError, match=message):
        study.find_motifs()
    dataclasses.replace(own, source={**own.source, "split_sha256": "0"}).save("attribution")
    message = "this is the result of another {}. Run `selfattn-bio {} .` again"
    with pytest.raises(ResultsError, match=message.format("split", "explain")):
        study.find_motifs()
    sb.explain("model", "p.fa").save("attribution")  # of an unknown corpus
    with pytest.raises(ResultsError, match=message.format("corpus", "explain")):
        study.find_motifs()


def test_results_of_an_earlier_model_are_refused(study):
    own = study.explain()
    study.find_motifs()
    study.evaluate()
    assert study.evaluation.metrics["test"]["n"] == 20
    assert len(study.explanation.records) == len(own.records)
    save_untrained(study, seed=1)
    message = "this is the result of another model. Run `selfattn-bio {} .` again"
    for command, read in (
        ("explain", lambda: study.explanation),
        ("explain", study.find_motifs),
        ("motifs", lambda: study.motifs),
        ("motifs", study.find_interactions),
        ("evaluate", lambda: study.evaluation),
    ):
        with pytest.raises(ResultsError, match=message.format(command)):
            read()


def test_table_of_other_motifs_is_refused(study):
    study.explain()
    motifs = study.find_motifs()
    write_motifs("motifs.meme", one="ACGT", two="CCA")
    message = r"motifs.tsv: the names of the motifs are not those of motifs\.meme"
    with pytest.raises(ResultsError, match=message):
        study.find_interactions()
    assert "one" not in motifs.table["name"].tolist()


def test_maps_of_records_named_in_run_file(study):
    named = with_interpret(study, maps=("n3", "p2", "p5"))
    own = named.explain()
    # one negative and two test records; the records for motif search are unchanged
    assert set(own.maps) == {"n3", "p2", "p5"}
    logits = {name: each.score for name, each in own.maps.items()}
    assert list(logits.values()) == sorted(logits.values(), reverse=True)
    corpus, model = study.corpus, study.model
    rows = {name: row for row, name in enumerate(corpus.records["id"])}
    for name, each in own.maps.items():
        np.testing.assert_array_equal(each.letters, corpus.letters(rows[name]))
        assert each.score == pytest.approx(model.logits([each.letters])[0], abs=1e-5)
    named.find_motifs()
    message = r"maps has ids that are not in the corpus: 'p50' \(did you mean 'p5'\?\)"
    with pytest.raises(RunFileError, match=rf"^run\.toml: \[interpret\] {message}"):
        with_interpret(study, maps=("n3", "p50")).explain()


@pytest.mark.parametrize(
    ("called", "limit", "chosen", "message"),
    [
        (
            9,
            3,
            [0, 4, 8],
            "3 of 20 positives of train and valid, with log-odds from 12.00 to 20.00",
        ),
        (9, 12, range(12), "9.00 to 20.00; the probability of 9 of them reaches the threshold 0.5"),
        (9, 30, range(20), "1.00 to 20.00; the probability of 9 of them reaches the threshold 0.5"),
        (0, 2, [0, 1], "19.00 to 20.00; the probability of 0 of them reaches the threshold 0.5"),
    ],
)
def test_predicted_positives_are_explained_first(study, called, limit, chosen, message, caplog):
    corpus = study.corpus
    positives = [i for i in range(30) if i % 3 < 2]  # of train and valid
    texts = [corpus.letters(i).tobytes() for i in positives]
    logits = dict(zip(texts, range(20, 0, -1), strict=True))
    scorer = SimpleNamespace(
        outputs=lambda letters: np.array([[float(logits[row.tobytes()])] for row in letters]),
        calibration=Calibration(intercept=called - 20.5),
        objective=Binary(BinaryObjective()),
    )
    (output,) = scorer.objective.outputs
    caplog.clear()
    caplog.set_level("INFO", "selfattn_bio")
    records = corpus.records.loc[positives]
    recognised = choose_recognised(scorer, output, Alone(corpus), records, limit)
    assert recognised.index.tolist() == [positives[rank] for rank in chosen]
    (line,) = caplog.messages
    assert line.endswith(message)


def test_motifs_report_database_first(caplog):
    find = lambda database, **settings: database  # noqa: E731
    explained = SimpleNamespace(alphabet="dna", is_attention=False, find_motifs=find)
    caplog.set_level("INFO", "selfattn_bio")
    for database, file in (("mine.meme", "mine.meme"), ("none", None)):
        interpret = Interpret(database=database)
        assert (_discover(explained, interpret), interpret.database_file) == (database, file)
    assert caplog.messages == [
        "motifs are matched with mine.meme, the [interpret] database",
        "motifs are not matched with known ones: no database of DNA motifs",
    ]


@pytest.mark.parametrize("blocks", [1, 30])
def test_motifs_warn_of_few_blocks(blocks, study, monkeypatch, caplog):
    units = np.arange(60) % blocks, "blocks of 500,000 bp"
    monkeypatch.setattr(step, "record_units", lambda *_: units)
    monkeypatch.setattr(step, "_discover", lambda found, _: build_motifs([], found.records, {}))
    study.explain()
    study.find_motifs()
    few = "records (fewer than 3 blocks of 500,000 bp, so intervals are too narrow)"
    message = f"tests are over {few}. For more units, {study.task.split.enlarge}"
    assert (message in caplog.messages) == (blocks == 1)
    assert "a smaller [evaluation] block" in message


def test_rollout_of_run_file_finds_no_motifs(study, caplog):
    rollout = with_interpret(study, method=Interpret(method={"kind": "rollout"}).method)
    explanation = rollout.explain()
    assert (explanation.method, explanation.is_attention) == ("rollout", True)
    caplog.set_level("INFO", "selfattn_bio")
    assert len(rollout.find_motifs()) == 0
    assert "no motifs: method 'rollout' reads attention weights, and motifs need " in caplog.text


def test_model_of_other_split_is_refused(study):
    study.explain()
    Path("split.tsv").write_text(Path("split.tsv").read_text().replace("train", "valid"))
    for interpret in (study.explain, study.find_motifs, study.find_interactions):
        with pytest.raises(ModelFolderError, match="the model was trained on another split"):
            interpret()


def test_inputs_of_another_task_are_refused(study):
    data = study.task.data.model_copy(update={"alphabet": "protein"})
    protein = with_section(study, data=data)
    message = r"corpus: the corpus has alphabet 'dna', but \[data\] alphabet of run\.toml is"
    for act in (protein.split, protein.audit, protein.evaluate, protein.explain):
        with pytest.raises(CorpusError, match=message):
            act()
    other = with_section(study, objective=config.MulticlassObjective(column="kind"), variants={})
    with pytest.raises(ModelFolderError, match=r"the model has the objective .*, the run file "):
        other.explain()


def test_objective_without_one_score_is_refused(study):
    masked = with_section(study, objective=config.MaskedObjective())
    message = r"run\.toml: (explain|motifs|interactions) cannot be used with objective 'masked': a "
    for interpret in (masked.explain, masked.find_motifs, masked.find_interactions):
        with pytest.raises(RunFileError, match=message):
            interpret()


def test_pairs_of_hits_on_test_positives(study, monkeypatch, caplog):
    monkeypatch.setattr(interactions, "MIN_RECORDS", 3)
    monkeypatch.setattr(matching, "relevant_hits", lambda hits, attribution: hits)
    seen, find = [], held_out.find_hits
    monkeypatch.setattr(held_out, "find_hits", lambda *each: seen.append(each) or find(*each))
    found, use = [], step.hits_in_use
    monkeypatch.setattr(step, "hits_in_use", lambda *each: found.append(each[0]) or use(*each))
    caplog.set_level("INFO", "selfattn_bio")
    meme = write_motifs("my.meme", one="ACGT", two="CCA")
    pairs = with_interpret(study, hit_p=0.2).find_interactions(meme)
    ((_, num_sites, sequences, limits, _),) = seen
    assert (num_sites, len(sequences)) == ({"one": 100, "two": 100}, 20)
    assert limits == {"one": 0.2, "two": 0.2}
    assert (found[0].groupby("record")["name"].nunique() == 2).all()
    assert "supported: 0 of 1 pair" in caplog.text
    assert "not tested" not in caplog.text
    assert "one and two of positive: effects +0.02 and -0.02, epistasis" in caplog.text
    assert "), 10 records, preferred distance: none (q " in caplog.text
    assert ", orientation" not in caplog.text  # ACGT is its own reverse complement
    missing = (
        "no difference from random positions shown; no q value, because only 1 of the 6 needed "
        "pairs could be compared"
    )
    assert f": inconclusive ({missing})" in caplog.text
    assert repr(pairs) == "Interactions of 1 pair of motifs, 0 supported"
    supported = dataclasses.replace(pairs, table=pairs.table.assign(verdict="supported"))
    assert repr(supported) == "Interactions of 1 pair of motifs, 1 supported: one and two"
    table, curves = study.interactions.table, study.interactions.curves
    assert list(table) == ["target", *interactions.COLUMNS, *PAIR_COLUMNS]
    assert table[["name_a", "name_b"]].values.tolist() == [["one", "two"]]
    assert table["verdict"].tolist() == ["inconclusive"]  # no other pairs to compare with
    assert table["orientation"].tolist() == [""]
    assert table[["orientation_p", "orientation_q"]].isna().all(axis=None)
    assert table["marginal_low"][0] <= table["marginal"][0] <= table["marginal_high"][0]
    assert set(curves["name_a"]) == {"one"}
    assert curves["epistasis"].mean() == pytest.approx(table["marginal"][0], abs=1e-4)


def test_sites_of_pairs_are_in_their_records(study, monkeypatch):
    """Records in question need not be the first ones, as here the negatives."""
    of_negatives = property(lambda records: np.flatnonzero(records.truth == 0))
    monkeypatch.setattr(LabelledRecords, "described", of_negatives)
    monkeypatch.setattr(matching, "relevant_hits", lambda hits, attribution: hits)
    given, evaluate = [], step.evaluate_interactions
    monkeypatch.setattr(
        step, "evaluate_interactions", lambda *each, **_: given.append(each) or evaluate(*each)
    )
    words = {"one": "CCT", "two": "CCA"}
    with_interpret(study, hit_p=0.02).find_interactions(write_motifs("my.meme", **words))
    sites, letters, *_ = given[0]
    forward = sites[sites["strand"] == "+"]
    assert len(forward) > 3
    for name, record, start, end in forward[["name", "record", "start", "end"]].to_numpy():
        assert bytes(letters[record][start:end]).decode() == words[name]


def test_pairs_and_evidence_count_the_same_hits(study):
    rng = np.random.default_rng(0)
    sites = pd.DataFrame({"record": [0] * 8, "start": 0, "end": 6, "strand": "+"})
    pfms = [rng.multinomial(8, each, 6) for each in rng.dirichlet(np.full(4, 0.3), 2)]
    records = pd.DataFrame({"id": ["r0"], "chrom": None, "start": 0, "end": 6, "strand": "+"})
    motifs = build_motifs(
        [SeqletPattern(pfm, sites) for pfm in pfms], records, {}, ["positive"] * 2
    )
    motifs.to_meme("eight.meme")
    test = study.corpus.records.query("chrom == 'c3'")
    texts = [study.corpus.letters(row).tobytes().decode() for row in test.index]
    table = motifs.with_evidence(study.model, texts, test["label"], hit_p=0.05).table
    expected = (table["positives_with_hit"] + table["negatives_with_hit"]).tolist()
    assert 0 < min(expected) < 20
    for given in (motifs, "eight.meme"):
        measured = with_interpret(study, hit_p=0.05).find_interactions(given).measured.iloc[0]
        both = measured["both_records"] + measured["overlap_records"]
        counts = [measured[f"only_{name}_records"] + both for name in ("first", "second")]
        assert counts == expected


def test_pairs_of_rna_have_an_order(two_classes, monkeypatch):
    """ACGU equals its reverse complement, but RNA has one strand."""
    monkeypatch.setattr(interactions, "MIN_RECORDS", 3)
    monkeypatch.setattr(matching, "relevant_hits", lambda hits, attribution: hits)
    run_file = Path("run.toml")
    run_file.write_text(run_file.read_text().replace("[data]", '[data]\nalphabet = "rna"'))
    study = split_study(f"{MODEL}[interpret]\nhit_p = 0.2\n")
    save_untrained(study)
    ppms = {"one": ppm_of("ACGT"), "two": ppm_of("CCA")}
    Path("rna.meme").write_text(meme_text(ppms, dict.fromkeys(ppms, 100), RNA))
    assert study.find_interactions("rna.meme").table["orientation"].item() in ("ab", "ba")


def test_pairs_that_are_not_tested_are_named():
    measured = pd.DataFrame({"used": range(13), "both_records": 28, "target": "heart"})
    measured = measured.assign(
        name_a="one", name_b=[f"m{i}" for i in range(13)], verdict="not tested"
    )
    text = interactions.untested_pairs(measured)
    assert text.startswith(
        "not tested: one and m12 of heart (both used in 12 records, both match in 28), one and m11 "
    )
    assert (
        "one and m3 of heart (both used in 3 records, both match in 28) and 3 more. A pair" in text
    )
    assert "at least 20 test records in which the model relies on a site of each, " in text
    assert text.endswith(", and at most 20 pairs of an output are tested")
    assert interactions.untested_pairs(measured.assign(verdict="inconclusive")) == ""
    assert interactions.untested_pairs(measured[:0]) == ""


def test_pair_with_few_records_is_named_in_the_log(study, monkeypatch, caplog):
    monkeypatch.setattr(interactions, "MIN_RECORDS", 8)
    monkeypatch.setattr(matching, "relevant_hits", lambda hits, attribution: hits)
    caplog.set_level("INFO", "selfattn_bio")
    meme = write_motifs("my.meme", one="ACGT", two="CCA", rare="TTTTTTTTTT")
    assert len(with_interpret(study, hit_p=0.2).find_interactions(meme)) == 1
    assert (
        "not tested: rare and two of positive (both used in 7 records, both match in 13), one"
        in (caplog.text)
    )
    measured = study.interactions.measured
    assert measured["verdict"].tolist() == ["inconclusive", "not tested", "not tested"]
    assert (measured.filter(like="_records").sum(axis=1) == 20).all()


def test_fewer_than_two_motifs_have_no_pairs(study, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    assert study.find_interactions(write_motifs("none.meme")).table.empty
    assert study.find_interactions(write_motifs("one.meme", one="ACGT")).table.empty
    assert interactions.NO_PAIR in caplog.messages
    assert "supported: 0 of 0" not in caplog.text
    assert study.interactions.table.empty


def test_interactions_use_calibrated_log_odds_of_both_strands(study, monkeypatch):
    save_untrained(study, slope=0.25)
    calls, evaluate = [], interactions.evaluate_interactions
    kept = lambda *each, **named: calls.append(each) or evaluate(*each, **named)  # noqa: E731
    monkeypatch.setattr(step, "evaluate_interactions", kept)
    study.find_interactions(write_motifs("none.meme"))
    ((_, letters, log_odds, _),) = calls
    expected = mean_of_strands(study.model, study.model.log_odds)(letters)
    np.testing.assert_allclose(log_odds(letters), expected)
    assert abs(log_odds(letters) * 4 - study.model.logits(letters)).max() > 1e-6


def test_run_file_edited_after_training_is_reported(study, caplog):
    study.explain()
    assert "changed after" not in caplog.text
    training = study.task.training.model_copy(update={"max_steps": 7})
    edited = with_section(study, training=training)
    line = "[training] changed after the training: run `selfattn-bio train .` again"
    for command in (edited.explain, edited.find_motifs, edited.evaluate):
        caplog.clear()
        command()
        assert line in caplog.text


def test_another_database_of_a_stack_is_reported(study, caplog):
    interpret = study.task.interpret.model_copy(update={"database": "jaspar:plants"})
    stack = study.task.stack.model_copy(update={"parts": ("motif_scores",)})
    with_section(study, interpret=interpret).warn_if_edited()
    assert "changed after" not in caplog.text
    with_section(study, interpret=interpret, stack=stack).warn_if_edited()
    assert "[stack], [interpret] changed after the training" in caplog.text

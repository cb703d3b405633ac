"""Test the steps of interpretation as Python functions, compared with the commands."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_run import COMMAND, WORD, write_run

import selfattn_bio as sb
from selfattn_bio import config
from selfattn_bio.cli.main import main
from selfattn_bio.errors import CorpusError, ModelFolderError, ResultsError, RunFileError
from selfattn_bio.evidence import interactions
from selfattn_bio.evidence.marginals import PAIR_COLUMNS
from selfattn_bio.motifs import meme_text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("task")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        write_run(path)
    return path


@pytest.fixture
def task(folder, monkeypatch):
    """Return run file, corpus, split and model; the folder is the current one."""
    monkeypatch.chdir(folder)
    return sb.read_run_file("run.toml"), sb.Corpus.open("corpus"), "split.tsv", "model"


@pytest.fixture(scope="module")
def explained(folder):
    """Return the explanation of the task."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run, corpus = sb.read_run_file("run.toml"), sb.Corpus.open("corpus")
        return sb.explain_records(run, corpus, "split.tsv", "model")


def files_of(folder):
    """Return the contents of the files in a folder by relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def test_explain_writes_what_function_returns(task, explained, capsys):
    assert main(["explain", *COMMAND, "--output", "attribution"]) == 0
    said = "explain: explaining 120 of 120 positives of train and valid, with log-odds "
    assert capsys.readouterr().out.startswith(said)
    written = sb.Explanation.load("attribution")
    np.testing.assert_array_equal(written.hypothetical, explained.hypothetical)
    pd.testing.assert_frame_equal(written.records, explained.records)
    assert written.source == explained.source
    assert list(written.maps) == list(explained.maps)


@pytest.mark.slow
def test_motifs_and_interactions_write_what_functions_return(task, explained, capsys):
    explained.save("attribution")
    capsys.readouterr()
    motifs = sb.find_motifs(*task[:3], sb.load("model"), explained)
    pairs = sb.find_interactions(*task, motifs)
    assert capsys.readouterr().out == ""  # silent by default
    assert motifs.table["verdict"].iloc[0] == "supported"
    assert WORD[2:-2] in motifs["motif_01"].consensus
    assert len(motifs.sites) > 0
    motifs.save("py/motifs")
    command = ["motifs", *COMMAND, "--attribution", "attribution", "--output", "motifs"]
    assert main(command) == 0
    assert files_of("py/motifs") == files_of("motifs")
    assert "testing the evidence on 120 test records\n" in capsys.readouterr().out

    pairs.save("py/pairs.tsv")
    command = ["interactions", *COMMAND, "--motifs", "motifs/motifs.meme", "--output", "pairs.tsv"]
    assert main(command) == 0
    assert Path("py/pairs.tsv").read_bytes() == Path("pairs.tsv").read_bytes()


def test_explanation_of_other_model_is_refused(task, explained):
    other = dataclasses.replace(explained, source={**explained.source, "split_sha256": "0"})
    with pytest.raises(ResultsError, match=r"another model, corpus or split \(split_sha256 0, "):
        sb.find_motifs(*task, other)
    records = explained.records.copy()
    records.loc[0, "id"] = "p2"  # on c3
    with pytest.raises(ResultsError, match="test records in the attribution: 1, such as 'p2'"):
        sb.find_motifs(*task, dataclasses.replace(explained, records=records))


def test_model_of_other_split_is_refused(task):
    run, corpus, split, model = task
    Path("other.tsv").write_text(Path(split).read_text().replace("train", "valid"))
    for step in (sb.explain_records, lambda *given: sb.find_motifs(*given, "attribution")):
        with pytest.raises(ModelFolderError, match="the model was trained on another split"):
            step(run, corpus, "other.tsv", model)


def test_inputs_of_another_task_are_refused(task):
    run, corpus, split, model = task
    data = run.data.model_copy(update={"alphabet": "protein"})
    protein = run.model_copy(update={"data": data})
    message = r"corpus: the corpus has alphabet 'dna', but \[data\] alphabet of run\.toml is"
    for step in (
        lambda: sb.split(protein, corpus, "protein.tsv"),
        lambda: sb.audit(protein, corpus, split),
        lambda: sb.evaluate(protein, corpus, split, model),
        lambda: sb.explain_records(protein, corpus, split, model),
    ):
        with pytest.raises(CorpusError, match=message):
            step()
    scorer = sb.load(model)
    objective = config.MulticlassObjective(column="kind")
    other = dataclasses.replace(scorer, run=scorer.run.model_copy(update={"objective": objective}))
    with pytest.raises(ModelFolderError, match=r"the model has the objective .*, the run file "):
        sb.explain_records(run, corpus, split, other)


def test_model_in_memory_needs_a_folder(task):
    scorer = dataclasses.replace(sb.load("model"), folder=None)
    with pytest.raises(ValueError, match="explain needs a model folder"):
        sb.explain_records(*task[:3], scorer)


def test_objective_without_one_score_is_refused(task):
    text = Path("run.toml").read_text()
    text = text.replace('positives = "p.fa"\nnegatives = "n.fa"', 'sequences = "p.fa"')
    Path("masked.toml").write_text(text + '[objective]\nkind = "masked"\n')
    masked = sb.read_run_file("masked.toml")
    for name, step in (
        ("explain", sb.explain_records),
        ("motifs", lambda *given: sb.find_motifs(*given, "attribution")),
        ("interactions", lambda *given: sb.find_interactions(*given, "motifs.meme")),
    ):
        with pytest.raises(
            RunFileError, match=f"masked.toml: {name} cannot be used with objective"
        ):
            step(masked, *task[1:])


def test_pairs_of_motifs_are_tested(task, monkeypatch):
    monkeypatch.setattr(interactions, "MIN_RECORDS", 3)
    monkeypatch.setattr(interactions, "relevant_hits", lambda hits, attribution: hits)
    ppms = {
        name: np.eye(4)[["ACGT".index(letter) for letter in word]]
        for name, word in (("first", WORD[:6]), ("second", WORD[6:]))
    }
    Path("two.meme").write_text(meme_text(ppms, dict.fromkeys(ppms, 100)))
    run = task[0].model_copy(
        update={"interpret": task[0].interpret.model_copy(update={"hit_p": 0.01})}
    )
    pairs = sb.find_interactions(run, *task[1:], "two.meme")
    assert pairs.table[["name_a", "name_b"]].values.tolist() == [["first", "second"]]
    assert pairs.supported.empty
    assert repr(pairs) == "Interactions of 1 pair of motifs, 0 supported"
    supported = dataclasses.replace(pairs, table=pairs.table.assign(verdict="supported"))
    assert repr(supported) == "Interactions of 1 pair of motifs, 1 supported: first and second"
    pairs.save("pairs.tsv")
    columns = ["target", *interactions.COLUMNS, *PAIR_COLUMNS]
    assert list(pd.read_csv("pairs.tsv", sep="\t")) == columns

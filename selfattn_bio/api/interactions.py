"""Find pairs of motifs that a DNA model uses together, by replacing the bases of their sites."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from selfattn_bio.api.trained import TrainedModel
from selfattn_bio.config import RunFile
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.display import counted
from selfattn_bio.errors import CorpusError
from selfattn_bio.interpret.epistasis import strands_log_odds
from selfattn_bio.interpret.interactions import (
    Interactions,
    attention_between,
    evaluate_interactions,
    relevant_sites,
)
from selfattn_bio.interpret.marginals import Backgrounds, neutral_letters, pair_curves
from selfattn_bio.interpret.motifs import MotifSet
from selfattn_bio.log import LOG
from selfattn_bio.motifs import read_meme
from selfattn_bio.scoring.loading import Models
from selfattn_bio.scoring.paired_scorer import check_one_input


def find_interactions(
    task: RunFile,
    corpus: Corpus,
    split: str | os.PathLike[str],
    model: Models,
    motifs: MotifSet | str | Path,
) -> Interactions:
    """Test pairs of motifs at their sites in test positives.

    Sites are hits that the model relies on (docs/interpretation_evidence.md). If there are many
    pairs of motifs, those with the highest attention between their sites are tested. [interpret] of
    the task has the settings.

    Parameters
    ----------
    task, corpus, split
        Those of the training; `split` is the split table or its path.
    model
        The model folder, or the model that `load` returned for it. It has one input.
    motifs
        Result of `find_motifs`, or the path of a MEME file. There may be no motifs.

    Returns
    -------
    The tested pairs, and the epistasis of each by distance in neutral backgrounds: dinucleotide
    shuffles of test negatives. `save` writes the files of `selfattn-bio interactions`.

    Raises
    ------
    RunFileError
        If the objective is not binary.
    CorpusError
        If the records are not DNA, or no test record has a label.
    ModelFolderError
        If the model cannot be loaded, was trained on another corpus or split, or has a parent that
        saw test records.
    DatabaseError
        If the file is not MEME text.
    ValueError
        If the model is an ensemble, has two inputs, or was not loaded from a folder.
    """
    trained = TrainedModel.open(task, corpus, split, model, "interactions")
    scorer, settings = trained.scorer, task.interpret
    check_one_input(scorer, "interactions")
    if corpus.alphabet.name != "dna":
        raise CorpusError(
            f"interactions needs DNA records, but the corpus has {corpus.alphabet.name}",
            place=str(corpus.path),
        )
    test = trained.test_records()
    positives = test[test["label"] == 1]
    letters = trained.letters(positives)
    trained.check_unseen(positives, letters)
    ppms = motifs.ppms if isinstance(motifs, MotifSet) else read_meme(motifs, least=0)
    if len(ppms) == 1:
        LOG.info("one motif, so no pairs")
    sites = relevant_sites(ppms, scorer, letters, settings.hit_p, settings.seed)
    LOG.info(
        f"the model relies on {counted(len(sites), 'site')} of "
        f"{counted(sites['name'].nunique(), 'motif')} in "
        f"{sites['record'].nunique()} of {counted(len(letters), 'test positive')}"
    )
    table = evaluate_interactions(
        sites,
        letters,
        strands_log_odds(scorer),
        attention_between(scorer, letters),
        significance=settings.significance,
        seed=settings.seed,
    )
    rng = np.random.default_rng(settings.seed)
    negatives = trained.letters(test[test["label"] == 0]) or letters
    backgrounds = Backgrounds(
        neutral_letters(negatives, rng), scorer.log_odds, corpus.alphabet, "log-odds"
    )
    curves, marginal = pair_curves(table, ppms, backgrounds, seed=settings.seed)
    return Interactions(table.join(marginal), curves)

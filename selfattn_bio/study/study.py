"""`Study`: a task, its results folder, and its steps from sequences to a report."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from selfattn_bio.config import RunFile, read_run_file
from selfattn_bio.errors import RunFileError
from selfattn_bio.log import LOG
from selfattn_bio.study.address import RUN_FILE, Address, resolve, results_of
from selfattn_bio.study.results import StudyResults

if TYPE_CHECKING:  # imported where they are needed: a command imports this module for its help
    from selfattn_bio.attribution.explanation import Explanation
    from selfattn_bio.data.corpus import Corpus
    from selfattn_bio.evidence.interactions import Interactions
    from selfattn_bio.motifs.motif_set import MotifSet
    from selfattn_bio.scoring.scorer import Ensemble, Scorer
    from selfattn_bio.study.data import Split
    from selfattn_bio.study.evaluation import Evaluation
    from selfattn_bio.study.leakage import Leakage
    from selfattn_bio.study.training import Ranking
    from selfattn_bio.training.dry_run import DryRun


class Study(StudyResults):
    """A task and its results.

    Each step is a method. It reads the results of earlier steps from the results folder, writes its
    own there, and returns them, as `selfattn-bio STEP NAME` does. Properties read results that
    exist.

    >>> study = Study("smoke")
    >>> study.ingest(), study.split(), study.variant("shuffled").train()  # doctest: +SKIP

    Parameters
    ----------
    task
        Name of a task (run file workflows/tasks/NAME.toml, results in results/NAME), path of a run
        file (results next to it in FOLDER/NAME), or a folder with run.toml and results. May end
        with /variants/NAME and /members/NUMBER or /sweep/JOB. Also a run file from `read_run_file`.
    folder
        Results folder. Variants, members and jobs are inside it.

    Attributes
    ----------
    task : RunFile
        The run file of the task.
    run : RunFile
        The settings of this study: those of the task, a variant, a member or a job.
    root : Layout
        Files that a task shares with its variants, members and jobs: corpus, split, evaluation.
    files : Layout
        Files of this study: model, attribution, motifs.

    Raises
    ------
    RunFileError
        If there is no such task, variant, member or job, or the run file is invalid.
    """

    def __init__(self, task: str | Path | RunFile, folder: str | Path | None = None) -> None:
        if isinstance(task, RunFile):
            if folder is None and task.path is None:
                raise RunFileError("a run file without a path needs a results folder")
            address = Address(results_of(task.path) if task.path else Path())
        else:
            run_file, address = resolve(str(task))
            task = read_run_file(run_file)
        self.task = task
        self._select(address if folder is None else replace(address, folder=Path(folder)))

    def _select(self, address: Address) -> None:
        try:
            self.run = self.task.part(address.variant, address.member, address.job)
        except ValueError as error:
            raise RunFileError(str(error), place=self.place) from error
        self.address, self.root, self.files = address, address.root, address.files

    def __repr__(self) -> str:
        return f"Study of {self.run!r} in {self.files.folder}"

    @property
    def place(self) -> str:
        """Return the path of the run file for errors; empty without one."""
        return str(self.task.path or "")

    @property
    def name(self) -> str:
        """Return the name of the task: that of its run file, or of its results folder."""
        path = self.task.path
        named = path.stem if path and path.name != RUN_FILE else ""
        return named or self.root.folder.resolve().name

    # ------------------------------------------------------------------- studies inside the folder
    def variant(self, name: str) -> Study:
        """Return the study of a variant: a baseline or control that is trained like the model."""
        return self._part(variant=name, member=1, job=None)

    def member(self, number: int) -> Study:
        """Return the study of one of [training] `seeds` members, from 1, which is this study."""
        return self._part(member=number, job=None)

    def job(self, name: str) -> Study:
        """Return the study of a job of [sweep], by the name of its folder."""
        return self._part(member=1, job=name)

    @property
    def members(self) -> list[Study]:
        """Return the studies of all members of the model or the variant."""
        variant = self.address.variant
        run = self.task.variant(variant) if variant else self.task
        return [self.member(number) for number in range(1, run.training.seeds + 1)]

    @property
    def variants(self) -> dict[str, Study]:
        """Return the studies of all variants by name."""
        return {name: self.variant(name) for name in self.task.variants}

    @property
    def jobs(self) -> list[Study]:
        """Return the studies of all jobs of [sweep], of the model and of variants."""
        return [
            self._part(variant=None if job.of == "model" else job.of, member=1, job=job.name)
            for job in self.task.jobs()
        ]

    def _part(self, **part: Any) -> Study:
        study = copy(self)
        study._select(replace(self.address, **part))
        return study

    @property
    def model(self) -> Scorer | Ensemble:
        """Load the model; with several [training] `seeds`, the mean of its members.

        The study of a member other than the first, or of a job, has only its own model.
        """
        from selfattn_bio.model.user_module import search_folder_of
        from selfattn_bio.scoring.loading import load

        search_folder_of(self.task)
        studies = [self] if self.address.job or self.address.member > 1 else self.members
        return load([study.existing(study.files, "model") for study in studies])

    def check_complete(self, step: str) -> None:
        """Refuse a step of the complete task for a variant, a member or a job."""
        if self.files != self.root:
            text = self.address.text(self.root, self.task.path)
            message = f"{step} is a step of the complete task, not of {self.address.label}"
            raise RunFileError(message, place=self.place, hint=f"Run `selfattn-bio {step} {text}`")

    # --------------------------------------------------------------------------------------- steps
    def ingest(self) -> Corpus:
        """Read the sequences in [data] of the run file into the corpus folder.

        An earlier corpus is replaced.

        Raises
        ------
        CorpusError, OutputError, SequenceFileError
            As in `build_corpus`. Also if the data lack a column of the objective.
        """
        from selfattn_bio.study.data import ingest

        self.check_complete("ingest")
        return ingest(self)

    def split(self) -> Split:
        """Split the corpus into train, valid and test without leakage, and write the table.

        Raises
        ------
        CorpusError
            If the records do not suit [split], or a split lacks records or a label.
        """
        from selfattn_bio.study.data import split

        self.check_complete("split")
        return split(self)

    def audit(self, pretraining: Sequence[str | Path] = ()) -> Leakage:
        """Compare the test records with all records that the model learns from.

        Parameters
        ----------
        pretraining
            Corpus folders that a parent model was pretrained on.

        Returns
        -------
        The result, also if a limit of [audit] is exceeded; `check_limits` raises an error then.

        Raises
        ------
        CorpusError
            If train or test has no records, or a corpus or the split table cannot be read.
        ModelFolderError
            If the folder of a parent model cannot be read.
        """
        from selfattn_bio.study.leakage import audit

        self.check_complete("audit")
        return audit(self, pretraining)

    def train(self, *, threads: int = 8) -> Scorer:
        """Train the model of this study to its end, write its folder, and load it.

        If the training was interrupted, the same call continues from the last checkpoint in
        model.checkpoints. A job of a sweep does not read the test records. Members other than the
        first take fitted [stack] parts from the first, which is trained before them.

        Parameters
        ----------
        threads
            Largest number of CPU threads, at most the number of cores. A timed batch at the start
            chooses 1, 2, 4, ... or this number. provenance.json records it, and a resumed training
            keeps it. With 1 nothing is timed. Afterwards torch has its earlier setting.

        Raises
        ------
        CorpusError, ModelFolderError, OutputError, TrainingInterrupted
            As in `training.loop.train`.
        TrainingError
            As in `training.loop.train`, or if memory ran out; the message has batches to try.
        """
        from selfattn_bio.study.training import train

        return train(self, threads)

    def dry_run(self, *, threads: int = 8) -> DryRun:
        """Measure memory and time of a training with three steps, and write no model.

        The steps use the longest records. An evaluation and a checkpoint in a temporary folder
        follow. Options and errors are those of `train`. The time includes all [training] `seeds`.
        """
        from selfattn_bio.study.training import dry_run

        return dry_run(self, threads)

    def evaluate(self) -> Evaluation:
        """Score validation and test records with the model, its trained variants and baselines.

        Baselines are fitted to the training records, and the validation records choose their
        settings. All metrics have bootstrap intervals. Outputs of members are averaged. A variant
        that was not trained is left out with a warning. Evaluate once per finished model.

        Raises
        ------
        CorpusError
            If a split is empty or lacks one of two classes.
        ModelFolderError
            If a model folder is incomplete, a model was trained on another corpus, split or
            objective, or a parent of it saw a test record.
        """
        from selfattn_bio.study.evaluation import evaluate

        self.check_complete("evaluate")
        return evaluate(self)

    def explain(self, targets: Sequence[str] = ()) -> Explanation:
        """Score each position of training and validation records that show what a model recognises.

        For a class or label, these are positives, evenly from the most to the least confident. For
        a number, they are the records with the highest and the lowest predictions. [interpret] has
        the settings. For each output at most `max_sequences` records are explained, and fewer if
        they are very long. Test records are reserved for the evidence. For sequences that are not
        those of a task, use `selfattn_bio.explain`.

        Parameters
        ----------
        targets
            Names of the outputs to explain: classes, labels or columns. By default those of
            [interpret] `targets`, or the four with most records.

        Returns
        -------
        The explanation, output by output, with the highest score first. `maps` has the attention of
        the records in [interpret] `maps`, by default of those with the highest, middle and lowest
        score of the first output.

        Raises
        ------
        RunFileError
            If the objective has no score of a record, there is no such output, or [interpret]
            `maps` has unknown ids.
        ModelFolderError
            If the model cannot be loaded, or was trained on another corpus or split.
        CorpusError
            If train and valid have no record to explain, or the split table cannot be read.
        """
        from selfattn_bio.study.explain import explain_records

        return explain_records(self, targets)

    def find_motifs(self, input: Literal["first", "partner"] = "first") -> MotifSet:
        """Find motifs in the attributions, and test their evidence on the test records.

        [interpret] has the settings. For sequences that are not those of a task, use
        `Explanation.find_motifs` and `MotifSet.with_evidence`.

        Parameters
        ----------
        input
            Which of two inputs. Motifs of the second are in the folder partner.

        Raises
        ------
        RunFileError, ModelFolderError, CorpusError
            As for `explain`. CorpusError also if no test record has a label.
        ResultsError
            If the attributions belong to another model, corpus or split, or have test records.
        DatabaseError
            If the motif database cannot be read.
        """
        from selfattn_bio.study.motifs import find_motifs

        return find_motifs(self, input)

    def find_interactions(self, motifs: MotifSet | str | Path | None = None) -> Interactions:
        """Test pairs of motifs at their sites in test records.

        These are positives, or all test records for numbers. Sites are hits that the model relies
        on (docs/interpretation_evidence.md). If there are many pairs of motifs, those with the
        highest attention between their sites are tested.

        Parameters
        ----------
        motifs
            By default those of this study, in pairs of the same output. Or a MEME file, whose
            motifs are tested for the outputs of [interpret] `targets`, or the four with most
            records.

        Returns
        -------
        The tested pairs, and the epistasis of each by distance in neutral backgrounds: dinucleotide
        shuffles of test negatives.

        Raises
        ------
        RunFileError, ModelFolderError, CorpusError, DatabaseError
            As for `find_motifs`. CorpusError also if the records are not DNA.
        """
        from selfattn_bio.study.motifs import find_interactions

        return find_interactions(self, motifs)

    def rank_jobs(self) -> Ranking:
        """Rank the trained jobs of [sweep] by the best value of their validation metric.

        Only history.csv is read from each model folder, so test records cannot decide. The metric
        of the best of many jobs is slightly optimistic.

        Raises
        ------
        RunFileError
            If the run file has no [sweep].
        ModelFolderError
            If the history of a job is missing or belongs to another objective.
        """
        from selfattn_bio.study.training import rank_jobs

        self.check_complete("sweep")
        return rank_jobs(self)

    def write_report(self) -> Path:
        """Write the report: one self-contained HTML page, and its plots as files next to it.

        Returns the path of the page. ResultsError names the command that writes a missing file.
        """
        self.check_complete("report")
        from selfattn_bio.report.page import write_page
        from selfattn_bio.report.results import read_results

        write_page(read_results(self), self.name)
        LOG.info(str(self.root.report))
        return self.root.report

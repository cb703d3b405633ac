"""`Study`: a task, its results folder, and its steps from sequences to a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from selfattn_bio.config import RunFile, read_run_file
from selfattn_bio.errors import ResultsError, RunFileError
from selfattn_bio.layout import Layout
from selfattn_bio.log import LOG
from selfattn_bio.study.address import RESULTS, RUN_FILE, TASKS, Address

if TYPE_CHECKING:  # imported where they are needed: most steps need neither torch nor matplotlib
    from selfattn_bio.data.corpus import Corpus
    from selfattn_bio.interpret.explanation import Explanation
    from selfattn_bio.interpret.interactions import Interactions
    from selfattn_bio.interpret.motifs import MotifSet
    from selfattn_bio.scoring.ensemble import Ensemble
    from selfattn_bio.scoring.scorer import Scorer
    from selfattn_bio.study.data import Split
    from selfattn_bio.study.evaluation import Evaluation
    from selfattn_bio.study.leakage import Leakage
    from selfattn_bio.study.ranking import Ranking


class Study:
    """A task and its results.

    Each step is a method. It reads the results of earlier steps from the results folder, writes its
    own there, and returns them. `selfattn-bio STEP NAME` and the rules of the workflow call the
    same methods. Properties read results that exist.

    >>> study = Study("smoke")
    >>> study.ingest(), study.split(), study.train(), study.evaluate()  # doctest: +SKIP
    >>> study.variant("shuffled").train()  # doctest: +SKIP

    Parameters
    ----------
    task
        Name of a task (run file workflows/tasks/NAME.toml, results in results/NAME), path of a run
        file, or a folder with run.toml, which then also has the results. May end with
        /variants/NAME and /members/NUMBER or /sweep/JOB. Also a run file from `read_run_file`.
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
        variant, member, job = None, 1, None
        if not isinstance(task, RunFile):
            found = Address.of(str(task))
            variant, member, job = found.variant, found.member, found.job
            folder = found.folder if folder is None else folder
            task = read_run_file(found.run_file)
        elif folder is None:
            if task.path is None:
                raise RunFileError("a run file without a path needs a results folder")
            folder = RESULTS / task.path.stem
        self.task, self.root = task, Layout(Path(folder))
        self._select(variant, member, job)

    def _select(self, variant: str | None, member: int, job: str | None) -> None:
        self._variant, self._member, self._job = variant, member, job
        try:
            self.run = self.task.part(variant, member, job)
        except ValueError as error:
            raise RunFileError(str(error), place=self.place) from error
        own = self.root.variant(variant) if variant else self.root
        self.files = own.job(job) if job else own.member(member)

    def __repr__(self) -> str:
        return f"Study of {self.task!r} in {self.files.folder}"

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

    @property
    def address(self) -> str:
        """Return this study as an argument of a command, such as my_task/variants/cnn."""
        inside = self.files.folder.relative_to(self.root.folder)
        return str(Path(self.root_address) / inside)

    @property
    def root_address(self) -> str:
        """Return the task as an argument of a command: its name, run file or folder."""
        path = self.task.path
        if path is None or self.root.folder != RESULTS / path.stem:
            return str(self.root.folder)
        return path.stem if path.parent == TASKS else str(path)

    @property
    def label(self) -> str:
        """Return "model", or the name of the variant, with the number of the member or the job."""
        number = self._job or (self._member if self._member > 1 else "")
        return f"{self._variant or 'model'} {number}".rstrip()

    # ------------------------------------------------------------------- studies inside the folder
    def variant(self, name: str) -> Study:
        """Return the study of a variant: a baseline or control that is trained like the model."""
        return self._part(variant=name)

    def member(self, number: int) -> Study:
        """Return the study of one of [training] `seeds` members, from 1, which is this study."""
        return self._part(variant=self._variant, member=number)

    def job(self, name: str) -> Study:
        """Return the study of a job of [sweep], by the name of its folder."""
        return self._part(variant=self._variant, job=name)

    @property
    def members(self) -> list[Study]:
        """Return the studies of all members of the model or the variant."""
        run = self.task.variant(self._variant) if self._variant else self.task
        return [self.member(number) for number in range(1, run.training.seeds + 1)]

    @property
    def first_member(self) -> Study:
        """Return the study of the first member of the model or the variant."""
        return self.member(1)

    @property
    def is_job(self) -> bool:
        """Return whether this is a job of a sweep."""
        return self._job is not None

    @property
    def variants(self) -> dict[str, Study]:
        """Return the studies of all variants by name."""
        return {name: self.variant(name) for name in self.task.variants}

    @property
    def jobs(self) -> list[Study]:
        """Return the studies of all jobs of [sweep], of the model and of variants."""
        return [
            self._part(variant=None if job.of == "model" else job.of, job=job.name)
            for job in self.task.jobs()
        ]

    def _part(self, variant: str | None, member: int = 1, job: str | None = None) -> Study:
        part = Study.__new__(Study)
        part.task, part.root = self.task, self.root
        part._select(variant, member, job)
        return part

    # ------------------------------------------------------------------------------------- results
    @property
    def corpus(self) -> Corpus:
        """Open the corpus."""
        from selfattn_bio.data.corpus import Corpus

        return Corpus.open(self.existing(self.root, "corpus"))

    @property
    def splits(self) -> Split:
        """Read the split table."""
        from selfattn_bio.study.data import Split

        return Split.load(self.existing(self.root, "split"))

    @property
    def leakage(self) -> Leakage:
        """Read the audit."""
        from selfattn_bio.study.leakage import Leakage

        return Leakage.load(self.existing(self.root, "audit"))

    @property
    def model(self) -> Scorer | Ensemble:
        """Load the model; with several [training] `seeds`, the mean of its members.

        The study of a member other than the first, or of a job, has only its own model.
        """
        from selfattn_bio.scoring.loading import load

        return load(self.model_folders)

    @property
    def model_folders(self) -> list[Path]:
        """Return the model folders whose outputs `model` averages."""
        from selfattn_bio.model.user_module import allow_module_of

        allow_module_of(self.task)
        studies = [self] if self._job or self._member > 1 else self.members
        return [study.existing(study.files, "model") for study in studies]

    @property
    def evaluation(self) -> Evaluation:
        """Read the evaluation."""
        from selfattn_bio.study.evaluation import Evaluation

        self.existing(self.root, "metrics")
        return Evaluation.load(self.root.folder)

    @property
    def explanation(self) -> Explanation:
        """Read the attributions."""
        from selfattn_bio.interpret.explanation import Explanation

        return Explanation.load(self.existing(self.files, "attribution"))

    @property
    def motifs(self) -> MotifSet:
        """Read the motifs of the first input with their evidence."""
        from selfattn_bio.interpret.motifs import MotifSet

        return MotifSet.load(self.existing(self.files, "motifs").parent)

    @property
    def interactions(self) -> Interactions:
        """Read the tested pairs of motifs."""
        from selfattn_bio.interpret.interactions import Interactions

        return Interactions.load(self.existing(self.files, "interactions"))

    @property
    def ranking(self) -> Ranking:
        """Read the ranked jobs of the sweep."""
        from selfattn_bio.study.ranking import Ranking

        return Ranking.load(self.existing(self.root, "ranking"))

    def existing(self, layout: Layout, name: str) -> Path:
        """Return a path of a layout of this study.

        Raises
        ------
        ResultsError
            If it does not exist; the message names the command that writes it.
        """
        path: Path = getattr(layout, name)
        if not path.exists():
            step = getattr(Layout, name).step
            target = self.address if layout.folder == self.files.folder else self.root_address
            raise ResultsError(
                "not found", place=str(path), hint=f"Run `selfattn-bio {step} {target}` first"
            )
        return path

    # --------------------------------------------------------------------------------------- steps
    def ingest(self) -> Corpus:
        """Read the sequences in [data] of the run file into the corpus folder.

        An earlier corpus is replaced.

        Raises
        ------
        CorpusError, OutputError, SequenceFileError
            As in `data.ingest.build_corpus`. Also if the data lack a column of the objective.
        """
        from selfattn_bio.study.data import ingest

        return ingest(self)

    def split(self) -> Split:
        """Split the corpus into train, valid and test without leakage, and write the table.

        Raises
        ------
        CorpusError
            If the records do not suit [split], or a split lacks records or one of the labels.
        """
        from selfattn_bio.study.data import split

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

        return audit(self, pretraining)

    def train(self, *, threads: int = 8, sharded: bool = False) -> Scorer:
        """Train the model of this study to its end, write its folder, and load it.

        If the training was interrupted, the same call continues from the last checkpoint in
        model.checkpoints. A job of a sweep does not read the test records. Members other than the
        first take fitted [stack] parts from the first, which is trained before them.

        Parameters
        ----------
        threads
            Largest number of CPU threads, at most the number of cores. At the start a timed batch
            chooses 1, 2, 4, ... or this number; it is recorded in provenance.json, and a resumed
            training keeps it. Two fresh trainings may therefore use different numbers; with 1
            nothing is timed. Afterwards torch has its earlier setting.
        sharded
            Whether the processes of torchrun each hold a part of the weights (FSDP2).

        Raises
        ------
        CorpusError, ModelFolderError, OutputError, TrainingInterrupted
            As in `training.loop.train`.
        TrainingError
            As in `training.loop.train`, or if memory ran out; the message has settings that fit.
        """
        from selfattn_bio.study.training import train

        return train(self, threads, sharded)

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
            [interpret] `targets`, or the first four.

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
            Which of two inputs. The motifs of the second are written to the folder partner.

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
            motifs are tested for the outputs of [interpret] `targets`, or the first four.

        Returns
        -------
        The tested pairs, and the epistasis of each by distance in neutral backgrounds: dinucleotide
        shuffles of test negatives.

        Raises
        ------
        RunFileError, ModelFolderError
            As for `explain`.
        CorpusError
            If the records are not DNA, or no test record has a label.
        DatabaseError
            If the file is not MEME text.
        """
        from selfattn_bio.study.interactions import find_interactions

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
        from selfattn_bio.study.ranking import rank_jobs

        return rank_jobs(self)

    def write_report(self) -> Path:
        """Write the report: one self-contained HTML page, and its plots as files next to it.

        Returns
        -------
        Path of the page.

        Raises
        ------
        ResultsError
            If a file is missing or cannot be read; the message names the command that writes it.
        """
        from selfattn_bio.report.page import write_page
        from selfattn_bio.report.results import read_results

        write_page(read_results(self.task, self.root), self.name)
        LOG.info(str(self.root.report))
        return self.root.report

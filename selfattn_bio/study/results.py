"""Read the results that the steps of a study wrote."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfattn_bio.config import RunFile, read_run_file
from selfattn_bio.errors import ResultsError
from selfattn_bio.files import read_with, sha256_of
from selfattn_bio.layout import Layout
from selfattn_bio.log import LOG
from selfattn_bio.study.address import Address

if TYPE_CHECKING:  # imported where they are needed: most steps need neither torch nor matplotlib
    from selfattn_bio.attribution.explanation import Explanation
    from selfattn_bio.data.corpus import Corpus
    from selfattn_bio.evidence.interactions import Interactions
    from selfattn_bio.motifs.motif_set import MotifSet
    from selfattn_bio.study.data import Split
    from selfattn_bio.study.evaluation import Evaluation
    from selfattn_bio.study.leakage import Leakage
    from selfattn_bio.study.training import Ranking

# sections of the run file that determine the weights, with [objective], which is compared elsewhere
LEARNT = ("tokens", "partner", "model", "training", "transfer", "privacy", "stack")


class StudyResults:
    """The results of a study as properties.

    ResultsError names the step to run if a result is missing or that of another model, corpus or
    split, for example after a new training.
    """

    task: RunFile
    run: RunFile
    address: Address
    root: Layout
    files: Layout

    @property
    def corpus(self) -> Corpus:
        """Open the corpus."""
        from selfattn_bio.data.corpus import Corpus

        return Corpus.open(self.existing(self.root, "corpus"))

    @property
    def splits(self) -> Split:
        """Read the split table."""
        from selfattn_bio.study.data import Split

        return Split(self.root.split, self.read(self.root, "split"))

    @property
    def leakage(self) -> Leakage:
        """Read the audit; similarities have four digits."""
        from selfattn_bio.study.leakage import Leakage, read_leaks

        leaks = self.read(self.root, "audit", read_leaks)
        return Leakage(leaks, self.read(self.root, "audit_counts"), str(self.root.split))

    @property
    def evaluation(self) -> Evaluation:
        """Read the evaluation; predictions have six digits."""
        from selfattn_bio.baselines import is_baseline, load_baseline
        from selfattn_bio.sequence.tables import read_table
        from selfattn_bio.study.evaluation import Evaluation

        metrics = self.read(self.root, "metrics")
        self.check_source(self.root, "metrics", metrics)
        as_table = partial(read_table, text=("id", "chrom"))
        return Evaluation(
            metrics,
            {split: self.read(self.root, split, as_table) for split in ("valid", "test")},
            self.read(self.root, "card", lambda path: path.read_text(encoding="utf-8")),
            {
                path.name: load_baseline(path)
                for path in sorted(self.root.baselines.glob("*"))
                if is_baseline(path)
            },
        )

    @property
    def explanation(self) -> Explanation:
        """Read the attributions."""
        from selfattn_bio.attribution.explanation import Explanation

        explanation = Explanation.load(self.existing(self.files, "attribution"))
        self.check_source(self.files, "attribution", explanation.source)
        return explanation

    @property
    def motifs(self) -> MotifSet:
        """Read the motifs of the first input with their evidence."""
        from selfattn_bio.motifs.motif_set import MotifSet

        motifs = MotifSet.load(self.existing(self.files, "motifs").parent)
        self.check_source(self.files, "motifs_source", motifs.source)
        return motifs

    @property
    def interactions(self) -> Interactions:
        """Read the tested pairs of motifs."""
        from selfattn_bio.evidence.interactions import Interactions

        names = "interactions", "distances", "measured", "interactions_source"
        pairs = Interactions(*(self.read(self.files, name) for name in names))
        self.check_source(self.files, "interactions_source", pairs.source)
        return pairs

    @property
    def ranking(self) -> Ranking:
        """Read the ranked jobs of the sweep."""
        from selfattn_bio.sequence.tables import read_table
        from selfattn_bio.study.training import Ranking

        return Ranking(self.read(self.root, "ranking", partial(read_table, text=("of", "job"))))

    def check_source(self, layout: Layout, name: str, source: Mapping[str, Any]) -> None:
        """Refuse a result of another corpus, split or model.

        `source` has the hashes that the result stores. Corpora and models that were removed are not
        compared.

        Raises
        ------
        ResultsError
            If a hash differs; the message names the command that writes the result.
        """
        corpus = self.read_optional(self.root, "corpus_summary")
        compared = {"corpus": (source.get("corpus_fingerprint"), corpus and corpus["fingerprint"])}
        if self.root.split.exists():
            compared["split"] = source.get("split_sha256"), sha256_of(self.root.split)
        own = self.files.model.relative_to(self.root.folder).as_posix()
        weights = source.get("weights", {own: source.get("weights_sha256")})
        for folder, sha256 in weights.items():
            model = self.read_optional(Layout((self.root.folder / folder).parent), "provenance")
            compared[folder] = sha256, model and model.get("weights_sha256")
        for what, (stored, present) in compared.items():
            if present and stored != present:
                message = f"this is the result of another {what}"
                hint = f"Run `{self.command(layout, name)}` again"
                ResultsError.fail(message, getattr(layout, name), hint)

    def warn_if_edited(self) -> None:
        """Warn if the run file was edited after the training, in a section that it depends on."""
        runs = self.run, self.read(self.files, "run_file", read_run_file)
        # the training replaces precision "auto"
        precision = {"training": {"precision"}}
        learnt: dict[str, Any] = dict.fromkeys(LEARNT, True)
        if "motif_scores" in self.run.stack.parts:
            learnt["interpret"] = {"database"}
        wanted, trained = (run.model_dump(include=learnt, exclude=precision) for run in runs)
        if edited := [name for name in learnt if wanted.get(name) != trained.get(name)]:
            again = f"run `{self.command(self.files, 'model')}` again, or undo the change"
            LOG.warning(f"[{'], ['.join(edited)}] changed after the training: {again}")

    def read(self, layout: Layout, name: str, reader: Callable[[Path], Any] | None = None) -> Any:
        """Read a file of a layout of this study with `reader`, by default as JSON or TSV.

        Raises
        ------
        ResultsError
            If it is missing or cannot be read; the message names the command that writes it.
        """
        from selfattn_bio.sequence.tables import read_table

        path = self.existing(layout, name)
        by_ending = {".json": lambda path: json.loads(path.read_bytes()), ".tsv": read_table}
        hint = f"Run `{self.command(layout, name)}` again"
        return read_with(reader or by_ending[path.suffix], path, ResultsError, hint)

    def read_optional(
        self, layout: Layout, name: str, reader: Callable[[Path], Any] | None = None
    ) -> Any:
        """Return what `read` returns, or None if there is no such file."""
        return self.read(layout, name, reader) if getattr(layout, name).exists() else None

    def existing(self, layout: Layout, name: str) -> Path:
        """Return a path of a layout of this study.

        Raises
        ------
        ResultsError
            If it does not exist; the message names the command that writes it.
        """
        path: Path = getattr(layout, name)
        if not path.exists():
            ResultsError.fail("not found", path, f"Run `{self.command(layout, name)}` first")
        return path

    def command(self, layout: Layout, name: str) -> str:
        """Return the command that writes a file of a layout of this study."""
        argument = self.address.text(layout, self.task.path)
        return f"selfattn-bio {getattr(Layout, name).step} {argument}"

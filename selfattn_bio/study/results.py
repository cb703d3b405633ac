"""Read the results that the steps of a study wrote."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from selfattn_bio.config import RunFile
from selfattn_bio.errors import ResultsError
from selfattn_bio.layout import Layout

if TYPE_CHECKING:  # imported where they are needed: most steps need neither torch nor matplotlib
    import pandas as pd

    from selfattn_bio.attribution.explanation import Explanation
    from selfattn_bio.data.corpus import Corpus
    from selfattn_bio.evidence.interactions import Interactions
    from selfattn_bio.motifs.motif_set import MotifSet
    from selfattn_bio.study.address import Address
    from selfattn_bio.study.data import Split
    from selfattn_bio.study.evaluation import Evaluation
    from selfattn_bio.study.leakage import Leakage
    from selfattn_bio.study.ranking import Ranking


class StudyResults:
    """The results of a study as properties; ResultsError names the step of a missing one."""

    task: RunFile
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

        table = self._table(self.root, "split", ("id", "split", "reason"))
        return Split(self.root.split, table)

    @property
    def leakage(self) -> Leakage:
        """Read the audit."""
        from selfattn_bio.study.leakage import Leakage

        return Leakage.load(self.existing(self.root, "audit"))

    @property
    def evaluation(self) -> Evaluation:
        """Read the evaluation."""
        from selfattn_bio.study.evaluation import Evaluation

        self.existing(self.root, "metrics")
        return Evaluation.load(self.root.folder)

    @property
    def explanation(self) -> Explanation:
        """Read the attributions."""
        from selfattn_bio.attribution.explanation import Explanation

        return Explanation.load(self.existing(self.files, "attribution"))

    @property
    def motifs(self) -> MotifSet:
        """Read the motifs of the first input with their evidence."""
        from selfattn_bio.motifs.motif_set import MotifSet

        return MotifSet.load(self.existing(self.files, "motifs").parent)

    @property
    def interactions(self) -> Interactions:
        """Read the tested pairs of motifs."""
        from selfattn_bio.evidence.interactions import Interactions

        pairs = self._table(self.files, "interactions")
        return Interactions(pairs, self._table(self.files, "distances"))

    @property
    def ranking(self) -> Ranking:
        """Read the ranked jobs of the sweep."""
        from selfattn_bio.study.ranking import Ranking

        return Ranking(self._table(self.root, "ranking", ("of", "job")))

    def existing(self, layout: Layout, name: str) -> Path:
        """Return a path of a layout of this study.

        Raises
        ------
        ResultsError
            If it does not exist; the message names the command that writes it.
        """
        path: Path = getattr(layout, name)
        if not path.exists():
            argument = self.address.text(layout, self.task.path)
            command = f"selfattn-bio {getattr(Layout, name).step} {argument}"
            raise ResultsError("not found", place=str(path), hint=f"Run `{command}` first")
        return path

    def _table(self, layout: Layout, name: str, text: Sequence[str] | None = None) -> pd.DataFrame:
        """Read a TSV file; the columns `text` stay text, by default those of `read_table`."""
        from selfattn_bio.report.results import read_file
        from selfattn_bio.sequence.tables import TEXT_COLUMNS, read_table

        reader = partial(read_table, text=text or TEXT_COLUMNS)
        return read_file(self.existing(layout, name), reader, getattr(Layout, name).step)

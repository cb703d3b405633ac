"""What a model folder tells of the records it was trained on: how long they were, how many of them positive, of which assembly.

Hides: where in the folder it stands. Scans and variants take the length as their window, `prior=` takes the share.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import logit

from selfattn_bio.config import RunFile
from selfattn_bio.errors import ArgumentError, ModelFolderError
from selfattn_bio.model.checkpoint import SEEN, read_provenance
from selfattn_bio.scoring.scorer import Ensemble, Models, Scorer, check_one_input, load


@dataclass(frozen=True)
class Origin:
    """A model and what its folder says; of one that was made in memory nothing is known but the assembly.

    Attributes
    ----------
    length
        Letters of a record of train and valid, the median, without those of parents; None if unknown.
    share
        Of positives among the records of both classes, as the loss weighed them; None if unknown.
    assembly
        Of the coordinates; "" if unknown.
    """

    scorer: Scorer | Ensemble
    length: int | None
    share: float | None
    assembly: str

    def window(self, asked: int | None) -> int:
        """The window that is asked for, or else the length of the records.

        Raises
        ------
        ValueError
            If neither is known, or it is shorter than a model's k.
        """
        if asked is None and self.length is None:
            cure = "Say how many letters: --window, from Python window= of Scan or Placing"
            raise ArgumentError(
                "window must be given for a model that does not tell how long its training records were, got none", cure=cure
            )
        size = asked if asked is not None else int(self.length or 0)
        if size < (k := max(member.tokenizer.k for member in self.scorer.members)):
            raise ArgumentError(f"window must be at least k = {k} letters, got {size}")
        return size

    def doubt(self, name: str) -> str:
        """What should be known of scores on a genome of this name; nothing where it is the training's, or that is unknown."""
        same = self.assembly in ("", name)
        return "" if same else f"the model's records are of {self.assembly!r}, the genome is named {name!r}"

    def shift(self, prior: float | None) -> float:
        """What is added to calibrated log-odds so that they are of a set of which a share `prior` is positive; 0 for None.

        Raises
        ------
        ValueError
            If `prior` is not in (0, 1), or the share of the training records is unknown.
        """
        if prior is None:
            return 0.0
        if not 0 < prior < 1:
            raise ArgumentError(f"prior must be in (0, 1), got {prior}")
        if self.share is None:
            raise ArgumentError("prior must go with a model folder that tells the training set's share of positives, got none")
        return float(logit(prior) - logit(self.share))


Model = Models | Origin  # what scans and variants take


def origin_of(model: Model) -> Origin:
    """Load a model, or take one that is, with what the folder that it is from tells; of several folders the first speaks.

    Raises
    ------
    ModelFolderError
        As of `load`; or if the model is not one of positives against negatives of DNA.
    """
    if isinstance(model, Origin):
        return model
    scorer = model if isinstance(model, Scorer | Ensemble) else load(model)
    check_one_input(scorer, "a genome's scores")
    folder = scorer.members[0].folder
    if scorer.run.objective.kind != "binary" or not scorer.alphabet.has_complement:
        message = f"a genome's scores must be of an objective 'binary' on dna, got {scorer.run.objective.kind!r} on {scorer.alphabet.name}"
        raise ModelFolderError(message, place=str(folder or ""))
    length, share = (None, None) if folder is None else (_length(folder), _share(folder, scorer.run))
    return Origin(scorer, length, share, scorer.run.data.assembly)


def _length(folder: Path) -> int | None:
    """Of its own records: those of its parents may be of any length."""
    provenance = read_provenance(folder)
    if "median_length" in provenance:
        return provenance["median_length"]
    # Of before that key: by their coordinates, which not all records have.
    if not (folder / SEEN).is_file():
        return None
    seen = pd.read_parquet(folder / SEEN, columns=["start", "end", "by_parent"])
    places = seen[~seen["by_parent"]].dropna()
    return int(np.median(places["end"] - places["start"])) if len(places) else None


def _share(folder: Path, run: RunFile) -> float | None:
    if run.training.class_weights == "balanced":
        return 0.5
    provenance = read_provenance(folder)
    if "num_positive" in provenance:
        return provenance["num_positive"] / provenance["num_train"]
    # Of before that key: the records as the files had them, which are split by chromosome, group or lot, not by label.
    records = {file["path"]: file["records"] for file in provenance.get("data") or ()}
    classes = (paths if isinstance(paths, tuple) else () for paths in (run.data.positives, run.data.negatives))
    of_classes = [sum(records.get(path, 0) for path in paths) for paths in classes]
    return of_classes[0] / sum(of_classes) if all(of_classes) else None

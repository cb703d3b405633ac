"""Read facts about the training records from a model folder.

These are the length of the records and the assembly. Genome scans and variant scoring use the
length as their window.
"""

from __future__ import annotations

from dataclasses import dataclass

from scipy.special import logit

from selfattn_bio.errors import ArgumentError, ModelFolderError
from selfattn_bio.log import LOG
from selfattn_bio.model.checkpoint import read_provenance
from selfattn_bio.objectives import objective_of
from selfattn_bio.scoring.loading import Models, load
from selfattn_bio.scoring.paired_scorer import check_one_input
from selfattn_bio.scoring.scorer import Ensemble, Scorer


@dataclass(frozen=True)
class ModelOrigin:
    """A model together with facts about its training records.

    For a model created in memory only the assembly is known.

    Attributes
    ----------
    scorer
        The model or ensemble.
    length
        Median length of the training and validation records, without records of parent models. None
        if unknown.
    assembly
        Genome assembly of the coordinates, or "" if unknown.
    """

    scorer: Scorer | Ensemble
    length: int | None
    assembly: str

    def window(self, requested: int | None) -> int:
        """Return the requested window, or the length of the training records.

        Raises
        ------
        ValueError
            If neither is known, or the window is shorter than a model's k.
        """
        if requested is None and self.length is None:
            raise ArgumentError(
                "the window size is unknown: the model does not store the length of its training "
                "records",
                hint="Set window of Scan or VariantWindows in Python",
            )
        size = requested if requested is not None else int(self.length or 0)
        if size < (k := max(member.tokenizer.k for member in self.scorer.members)):
            raise ArgumentError(f"a window of {size} bp is shorter than the model's {k}-mers")
        return size

    def warn_of_other_assembly(self, name: str) -> None:
        """Log a warning if the genome's name differs from a known training assembly."""
        if self.assembly not in ("", name):
            LOG.warning(
                "the model was trained on %r, but the genome is named %r", self.assembly, name
            )

    def shift(self, prior: float | None) -> float:
        """Return the shift of calibrated log-odds for a different fraction of positives.

        Adding it to the log-odds adapts them to data in which the fraction `prior` is positive. It
        is 0 if `prior` is None. Calibrated log-odds hold for the fraction of positives in the
        validation split, whatever the fraction, class weights or balanced groups of training: the
        intercept of the calibration corrects for these.

        Raises
        ------
        ValueError
            If `prior` is not in (0, 1), or the fraction of positives in validation is unknown.
        """
        if prior is None:
            return 0.0
        if not 0 < prior < 1:
            raise ArgumentError(f"prior {prior} is not between 0 and 1")
        fraction = self.scorer.calibration.positive_fraction
        if fraction is None:
            raise ArgumentError(
                "prior cannot be used with this model, which does not store the fraction of "
                "positives in its validation split",
                hint="Train it again with this version",
            )
        return float(logit(prior) - logit(fraction))


Model = Models | ModelOrigin  # argument of genome scans and variant scoring


def origin_of(model: Model) -> ModelOrigin:
    """Load a model and read the facts about its training records.

    A loaded model is accepted as well. For an ensemble the first folder is used.

    Raises
    ------
    ModelFolderError
        As for `load`, or if the model is not a binary model of DNA.
    """
    if isinstance(model, ModelOrigin):
        return model
    scorer = model if isinstance(model, Scorer | Ensemble) else load(model)
    check_one_input(scorer, "scoring a genome")
    folder = scorer.members[0].folder
    if not objective_of(scorer.run.objective).has_log_odds or not scorer.alphabet.has_complement:
        message = (
            "genome scans and variant scores need a binary model of DNA, but this one has "
            f"objective {scorer.run.objective.kind!r} on {scorer.alphabet.name}"
        )
        raise ModelFolderError(message, place=str(folder or ""))
    provenance = {} if folder is None else read_provenance(folder)
    return ModelOrigin(scorer, provenance.get("median_length"), scorer.run.data.assembly)

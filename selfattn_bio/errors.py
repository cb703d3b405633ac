"""The exceptions that a user can cause, and the only ones the command line prints as one line.

Everything that reads a file, a run file or a model folder raises one of these; a bad argument of a Python call is a `ValueError`,
and `ArgumentError` where an option of a command may set it; our own mistakes are `assert`. Imports nothing of the package; anyone may
import it.
"""


class SelfAttnBioError(Exception):
    """What went wrong with an input: "WHAT must be RULE, got VALUE", the place, the cure.

    Parameters
    ----------
    message
        One sentence in the form "WHAT must be RULE, got VALUE".
    place
        Where: a path, or `path:line`; empty if there is none.
    cure
        What the user can do about it; empty if the message says it.

    Attributes
    ----------
    exit_code
        Of a command that ends by it.
    """

    exit_code = 1

    def __init__(self, message: str, *, place: str = "", cure: str = "") -> None:
        self.message, self.place, self.cure = message, place, cure
        super().__init__(". ".join(part for part in (f"{place}: {message}" if place else message, cure) if part))


class OutputError(SelfAttnBioError):
    """An output folder that must not be replaced, as it holds something else."""


class SequenceFileError(SelfAttnBioError):
    """A sequence file that is missing, malformed, or holds letters outside its alphabet."""


class RecordIdError(SequenceFileError):
    """A record whose id is missing, or is that of another record."""


class GenomeError(SequenceFileError):
    """A genome that is missing or cannot be indexed, or that lacks a chromosome or a place asked of it."""


class IntervalError(SequenceFileError):
    """Intervals, windows or tracks that are malformed, not of the genome they are read with, or too few."""


class VariantFileError(SelfAttnBioError):
    """A VCF file that is missing, malformed, of another assembly, or holds alleles that are no letters."""


class CorpusError(SelfAttnBioError):
    """A corpus folder or split table that is incomplete, altered, or unfit for what was asked."""


class RunFileError(SelfAttnBioError):
    """A run file with an unknown key, a value out of range, or sections that contradict each other."""


class KernelError(SelfAttnBioError, ValueError):
    """An attention kernel, named in a run file or a call, that cannot do what is asked, or not on this machine."""


class ArgumentError(SelfAttnBioError, ValueError):
    """An argument of a call, or the option of a command that sets it, that is out of range or cannot be asked of this model."""


class MissingPackageError(SelfAttnBioError):
    """A package that is an extra, and is not installed."""


class ModelFolderError(SelfAttnBioError):
    """A model folder with missing, truncated or mismatched parts."""


class TrainingError(SelfAttnBioError):
    """Training that cannot go on: a diverged loss, a locked or unwritable run folder, no space left."""


class TrainingInterrupted(SelfAttnBioError):
    """Training that was asked to stop by a signal, and can go on from where it stood."""

    def __init__(self, message: str, *, place: str, cure: str, signal_number: int) -> None:
        super().__init__(message, place=place, cure=cure)
        self.exit_code = 128 + signal_number


class DatabaseError(SelfAttnBioError):
    """A motif database that is missing, or not MEME, JASPAR or TRANSFAC text."""


class GrammarError(SelfAttnBioError):
    """A grammar of made sequences with an unknown key, a value out of range, or parts that contradict each other."""


class ResultsError(SelfAttnBioError):
    """A results folder with a missing or unreadable part."""

"""The exceptions that users can cause; the command line prints them in one line.

Everything that reads a file, a run file or a model folder raises one of these. A bad argument of a
public function is an `ArgumentError`, which is a `ValueError` as well; functions on arrays raise
`ValueError`. Programming errors are `assert`. This module imports nothing else from the package.
"""

from pathlib import Path
from typing import NoReturn


class SelfAttnBioError(Exception):
    """An error in an input, with its location and a hint.

    Parameters
    ----------
    message
        One sentence that describes the problem.
    place
        A path or `path:line`; empty if there is none.
    hint
        A hint for the user; empty if the message is enough.

    Attributes
    ----------
    exit_code
        Exit code of a command that ends with this error.
    """

    exit_code = 1

    def __init__(self, message: str, *, place: str = "", hint: str = "") -> None:
        self.message, self.place, self.hint = message, place, hint
        super().__init__(
            ". ".join(part for part in (f"{place}: {message}" if place else message, hint) if part)
        )

    @classmethod
    def fail(cls, message: str, place: str | Path, hint: str = "") -> NoReturn:
        """Raise this error without the exception that is being handled."""
        raise cls(message, place=str(place), hint=hint) from None


class OutputError(SelfAttnBioError):
    """An output folder that must not be replaced because it contains something else."""


class SequenceFileError(SelfAttnBioError):
    """A sequence file that is missing, malformed, or has characters outside its alphabet."""


class RecordIdError(SequenceFileError):
    """A record whose id is missing or used by another record."""


class GenomeError(SequenceFileError):
    """A genome that is missing, cannot be indexed, or lacks a requested chromosome or position."""


class IntervalError(SequenceFileError):
    """Intervals, windows or tracks that are malformed, do not fit the genome, or are too few."""


class VariantFileError(SelfAttnBioError):
    """A VCF file that is missing, malformed, of another assembly, or has symbolic alleles."""


class CorpusError(SelfAttnBioError):
    """A corpus folder or split table that is incomplete, altered, or unsuitable for the request."""


class LeakageError(CorpusError):
    """Test records that are too similar to the training data: a limit of [audit] is exceeded."""

    exit_code = 3


class RunFileError(SelfAttnBioError):
    """A run file with an unknown key, a value out of range, or contradictory sections."""


class KernelError(SelfAttnBioError, ValueError):
    """An attention kernel that cannot handle a request, or is unavailable on this machine."""


class ArgumentError(SelfAttnBioError, ValueError):
    """An argument, or command option, that is out of range or unsupported by the model."""


class MissingPackageError(SelfAttnBioError):
    """An optional package that is not installed."""


class ModelFolderError(SelfAttnBioError):
    """A model folder with missing, truncated or mismatched parts."""


class UserModuleError(SelfAttnBioError, RuntimeError):
    """An error in the code of a user's own network.

    A RuntimeError may mean that memory ran out, so it remains one.
    """


class TrainingError(SelfAttnBioError):
    """A training that cannot continue: diverged loss, locked or read-only run folder, full disk."""


class TrainingInterrupted(SelfAttnBioError):
    """A training that was stopped by a signal and can be resumed."""

    def __init__(self, message: str, *, place: str, hint: str, signal_number: int) -> None:
        super().__init__(message, place=place, hint=hint)
        self.exit_code = 128 + signal_number


class DatabaseError(SelfAttnBioError):
    """A motif database that is missing, or in another format."""


class ResultsError(SelfAttnBioError):
    """A results folder with a missing or unreadable part."""

"""Simple models that are fitted next to a network and saved and scored like it.

`BASELINES` has their classes by name. To add one, write a subclass of `PairBaseline` in a new file
of this folder, and register it with one line of `KNOWN_BASELINES` in config/training.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

from selfattn_bio.baselines.base import ARRAYS, CARD, POLICY, Baseline, Card, Setup
from selfattn_bio.baselines.blocks import KmerCounts
from selfattn_bio.config.training import KNOWN_BASELINES
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.files import read_json, sha256_of
from selfattn_bio.objectives import objective_of
from selfattn_bio.sequence.alphabet import Letters, get_alphabet
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.stored import checked, read_arrays

REFIT = "Run `selfattn-bio evaluate TASK` again, or copy the complete folder"

BASELINES: dict[str, type[Baseline]] = {
    name: resolve_name(f"{__name__}.{path}") for name, (path, _) in KNOWN_BASELINES.items()
}


def suitable(setup: Setup, train: Letters) -> Iterator[tuple[type[Baseline], str]]:
    """Yield the baselines for the question and alphabet, each with why it cannot be fitted.

    The reason is an empty string if it can be fitted to these records.
    """
    for kind in BASELINES.values():
        is_read = setup.pretrained or "pretrained" not in kind.reads
        if is_read and setup.question in kind.suits and setup.alphabet.family in kind.alphabets:
            yield kind, kind.obstacle(setup, train)


def ignores_positions(kind: type[Baseline]) -> bool:
    """Return whether a baseline counts k-mers or motifs, wherever in the record they are."""
    features = getattr(kind, "features", None)  # baselines of bins have none
    if isinstance(features, KmerCounts):
        return all(parts == 1 for _, parts in features.counted)
    return kind.name == "motif_scores"


def is_baseline(folder: str | Path) -> bool:
    """Return whether a folder holds a saved baseline."""
    return (Path(folder) / CARD).is_file()


def load_baseline(folder: str | Path, threads: int = 0, device: str = "") -> Baseline:
    """Load a saved baseline, with the threads and the device of `Setup`.

    Raises
    ------
    ModelFolderError
        If a file is missing, unreadable or altered, the baseline has another version, or a value
        or an array has a wrong type, size or value.
    """
    folder = Path(folder)
    card = _read_card(folder)
    if card.kind not in BASELINES:
        message = f"unknown baseline {card.kind!r}; known: {', '.join(BASELINES)}"
        raise ModelFolderError(message, place=str(folder / CARD))
    kind = BASELINES[card.kind]
    alphabet = get_alphabet(card.alphabet)
    if alphabet.family not in kind.alphabets:
        message = f"{card.kind} does not read the alphabet {card.alphabet!r}"
        ModelFolderError.fail(message, folder / CARD, REFIT)
    policy = SequencePolicy(alphabet, **{name: getattr(card, name) for name in POLICY})
    others = card.database, threads, card.objective, card.pretrained, device
    baseline = kind(Setup(policy, card.strands, *others))
    baseline.calibration = Calibration.of(card.calibration.model_dump() if card.calibration else {})
    baseline.origin, baseline.records = card.origin, card.records
    arrays, _ = read_arrays(folder / ARRAYS, REFIT)
    found = card.settings | arrays
    try:
        baseline.restore(
            lambda state: checked(state, found, folder / CARD, REFIT, arrays=folder / ARRAYS)
        )
    except ValueError as error:
        raise ModelFolderError(str(error), place=str(folder / ARRAYS), hint=REFIT) from error
    return baseline


def _read_card(folder: Path) -> Card:
    """Read baseline.json, and compare the file of the arrays with its hash."""
    path = folder / CARD
    card = checked(Card, read_json(path, ModelFolderError, REFIT), path, REFIT)
    if objective_of(card.objective).has_calls and not card.calibration:
        ModelFolderError.fail("calibration is missing", path, REFIT)
    if not (folder / ARRAYS).is_file():
        ModelFolderError.fail(f"file {ARRAYS!r} of the baseline is missing", folder, REFIT)
    if sha256_of(folder / ARRAYS) != card.arrays_sha256:
        ModelFolderError.fail(f"the file differs from its sha256 in {CARD}", folder / ARRAYS, REFIT)
    return card

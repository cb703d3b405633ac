"""Rules about [data]: its files, ids, labels, targets and alphabet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from selfattn_bio.config.interpret import ModiscoCaller
from selfattn_bio.config.partner import TrackPartner
from selfattn_bio.config.section import MAX_PROTEIN_K

if TYPE_CHECKING:
    from selfattn_bio.config.run import RunFile


def split_fits_the_data(run: RunFile) -> None:
    """Refuse a split that contradicts separate files of train and test."""
    kind = run.split.kind
    if kind == "files" and not run.data.train:
        raise ValueError(
            "[split] kind 'files' needs [data] train and test, the files of each split"
        )
    if kind != "files" and run.data.train:
        raise ValueError(
            f"[data] train, valid and test are the split, so [split] kind {kind!r} cannot be "
            "used; remove [split]"
        )


def numbered_ids_join_nothing(run: RunFile) -> None:
    """Refuse numbered ids if a partner is joined by id."""
    by_id = getattr(run.partner, "files", None) or (
        isinstance(run.partner, TrackPartner) and run.partner.path.endswith(".npz")
    )
    if run.data.ids == "numbered" and by_id:
        raise ValueError(
            "[partner] files and .npz arrays are joined by id, so [data] ids = 'numbered' "
            "cannot be used with them"
        )


def labels_fit_the_objective(run: RunFile) -> None:
    """Require labels for two classes, and refuse them for other objectives."""
    kind, data = run.objective.kind, run.data
    if (kind == "binary") != bool(data.unlabelled and not data.label):
        return
    if kind == "binary":
        raise ValueError(
            "[data] sequences have no labels for objective 'binary'; add label, or choose "
            "another [objective] kind"
        )
    unused, fix = (
        ("label", "remove it")
        if data.label
        else ("positives and negatives", "use sequences instead")
    )
    raise ValueError(f"[data] {unused} cannot be used with objective {kind!r}; {fix}")


def targets_fit_the_objective(run: RunFile) -> None:
    """Require target columns if the objective reads them, and refuse them otherwise."""
    kind, data = run.objective.kind, run.data
    wanted = bool(run.objective.target_columns)
    if wanted and not (data.targets or data.may_bring_columns):
        raise ValueError(f"[data] needs targets, a table with the columns of objective {kind!r}")
    for name in ("targets", "tracks"):
        if getattr(data, name) and not wanted:
            raise ValueError(f"[data] {name} cannot be used with objective {kind!r}; remove {name}")


def require_dna(run: RunFile, setting: str) -> None:
    """Refuse a setting that needs DNA for other alphabets."""
    if run.data.alphabet != "dna":
        raise ValueError(f"{setting} needs DNA; [data] alphabet is {run.data.alphabet!r}")


def settings_fit_the_alphabet(run: RunFile) -> None:
    """Refuse settings that proteins cannot have."""
    for alphabet, inputs in (
        (run.data.alphabet, "the records"),
        (getattr(run.partner, "alphabet", ""), "the partners"),
    ):
        if alphabet == "protein" and isinstance(run.interpret.caller, ModiscoCaller):
            raise ValueError(
                f"interpret.caller 'modisco' finds motifs in DNA, but {inputs} are protein; use "
                "'clusters'"
            )
    if run.data.alphabet != "protein":
        return
    if (k := run.tokens.k) > MAX_PROTEIN_K:
        raise ValueError(
            f"tokens.k {k} is too large for protein ({20**k:,} k-mers); use at most {MAX_PROTEIN_K}"
        )
    if run.tokens.canonical:
        raise ValueError(
            "tokens.canonical cannot be used with protein, which has no reverse complement; "
            "remove it"
        )
    if run.training.reverse_complement:
        raise ValueError("training.reverse_complement cannot be used with protein; remove it")

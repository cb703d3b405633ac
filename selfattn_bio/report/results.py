"""Read the result files of one task for the report.

Interpretation is optional: tasks without it, or without any motif, also get a report.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.config import RunFile
from selfattn_bio.errors import ResultsError
from selfattn_bio.interpret.formats import BED_COLUMNS, read_bed, read_table
from selfattn_bio.motifs import read_meme
from selfattn_bio.sequence.alphabet import get_alphabet

Value = TypeVar("Value")


@dataclass(frozen=True)
class Mapped:
    """The attention maps of one record.

    Parameters
    ----------
    letters
        ASCII, (L,).
    logit
        Output of the model.
    edges
        Bin edges as 0-based positions, int64, (S + 1,).
    weights
        Attention of each layer from row to column, (layers, S, S), in [0, 1].
    """

    letters: NDArray[np.uint8]
    logit: float
    edges: NDArray[np.int64]
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class Explained:
    """Results of `explain` for some positives of the training and validation splits.

    Parameters
    ----------
    records
        One row per record: id, chrom, start, end, strand, split, logit, length.
    letters
        ASCII, (records, L), padded with 0.
    attribution, attention
        Attribution and received attention of each position, (records, L), never negative, 0 in
        padding. Attention alone is no evidence.
    tracks
        Contribution to the logit of each position, in the column of its letter, else 0: float32,
        (records, L, letters of the alphabet). Shape (records, L, 0) for methods without scores per
        letter.
    maps
        Id of a record -> its attention maps; empty for models without attention.
    """

    records: pd.DataFrame
    letters: NDArray[np.uint8]
    attribution: NDArray[np.float64]
    attention: NDArray[np.float64]
    tracks: NDArray[np.float32]
    maps: dict[str, Mapped]


@dataclass(frozen=True)
class Results:
    """Results of the commands that run before the report.

    Parameters
    ----------
    motifs
        motifs.tsv, or None if `motifs` has not run; empty if it found none.
    ppms
        Motif name -> probabilities (width, A).
    controls
        Name of a control -> its motifs.tsv, for controls that were searched.
    sites
        seqlets.bed: the sites of each motif in positive test records.
    discovery
        discovery_seqlets.bed: the training and validation sites on which each motif was discovered.
    interactions
        interactions.tsv, or None if `interactions` has not run.
    explained
        The attribution folder, or None if `explain` has not run.
    audit
        audit.json, or None if `audit` has not run.
    """

    folder: Path
    run: RunFile
    metrics: dict[str, Any]
    test: pd.DataFrame
    history: pd.DataFrame
    provenance: dict[str, Any]
    corpus: dict[str, Any]
    records: pd.DataFrame
    motifs: pd.DataFrame | None
    ppms: dict[str, NDArray[np.float64]]
    controls: dict[str, pd.DataFrame]
    sites: pd.DataFrame
    discovery: pd.DataFrame
    interactions: pd.DataFrame | None
    explained: Explained | None
    audit: dict[str, Any] | None


def read_results(run: RunFile, folder: Path) -> Results:
    """Read the results folder of a task.

    Raises
    ------
    ResultsError
        If a file written by evaluation or training is missing, or any file cannot be read. The hint
        names the command that writes it.
    """
    split = read_file(folder / "split.tsv", read_table, "split")
    records = read_file(folder / "corpus" / "records.parquet", pd.read_parquet, "ingest")
    corpus = read_file(folder / "corpus" / "corpus.json", read_json, "ingest")
    motifs = (
        read_file(folder / "motifs.tsv", read_table, "motifs")
        if (folder / "motifs.tsv").exists()
        else None
    )
    has_motifs = motifs is not None and len(motifs) > 0
    controls = [name for name in run.variants if run.variant(name).is_control()]
    control_tables = {name: folder / "variants" / name / "motifs.tsv" for name in controls}
    return Results(
        folder=folder,
        run=run,
        metrics=read_file(folder / "metrics.json", read_json, "evaluate"),
        test=read_file(folder / "predictions" / "test.tsv", read_table, "evaluate"),
        history=read_file(folder / "model" / "history.csv", pd.read_csv, "train"),
        provenance=read_file(folder / "model" / "provenance.json", read_json, "train"),
        corpus=corpus,
        records=records.merge(split[["id", "split"]], on="id", how="left", validate="one_to_one"),
        motifs=motifs,
        ppms=read_meme(folder / "motifs.meme", get_alphabet(corpus["alphabet"]))
        if has_motifs
        else {},
        controls={
            name: read_file(path, read_table, "motifs")
            for name, path in control_tables.items()
            if path.exists()
        },
        sites=read_file(folder / "seqlets.bed", read_bed, "motifs")
        if has_motifs
        else pd.DataFrame(columns=BED_COLUMNS),
        discovery=read_file(folder / "discovery_seqlets.bed", read_bed, "motifs")
        if has_motifs
        else pd.DataFrame(columns=BED_COLUMNS),
        interactions=read_file(pairs, read_table, "interactions")
        if (pairs := folder / "interactions.tsv").exists()
        else None,
        explained=read_explained(folder / "attribution", corpus["alphabet"])
        if (folder / "attribution").exists()
        else None,
        audit=read_audit(folder),
    )


def read_audit(folder: Path) -> dict[str, Any] | None:
    """Read audit.json, or return None if `audit` has not run."""
    return (
        read_file(folder / "audit.json", read_json, "audit")
        if (folder / "audit.json").exists()
        else None
    )


def read_explained(folder: Path, alphabet: str) -> Explained:
    """Read the attribution folder without importing `interpret.explanation`, which needs torch."""
    arrays = read_file(folder / "attribution.npz", _arrays, "explain")
    letters, hypothetical = arrays["letters"], arrays["hypothetical"]
    own = letters[:, :, None] == np.frombuffer(
        get_alphabet(alphabet).letters.encode(), dtype=np.uint8
    )
    return Explained(
        records=read_file(folder / "records.parquet", pd.read_parquet, "explain"),
        letters=letters,
        # Same as `interpret.attribution.importance`
        attribution=np.linalg.norm(hypothetical.astype(np.float64), axis=2),
        attention=arrays["attention"].astype(np.float64),
        tracks=hypothetical * own if hypothetical.shape[2] else hypothetical,
        maps=read_file(folder / "maps.npz", _maps, "explain")
        if (folder / "maps.npz").exists()
        else {},
    )


def site_positions(sites: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Convert genomic sites to positions in the records that contain them.

    A site [185, 190) in the record [100, 200) of the - strand is at position 10.

    Parameters
    ----------
    sites
        BED6 columns. `chrom` is the id of the record if records have no coordinates.
    records
        id, chrom, start, end, strand, length.

    Returns
    -------
    One row per site and record that contains it completely: name, site (row of `sites`), record
    (row of `records`), position (first base, 0-based, in the orientation of the record), and strand
    (+ is the strand of the record).
    """
    located = records["chrom"].notna() & (records["chrom"] != "") & records["start"].notna()
    frame = pd.DataFrame(
        {
            "row": np.arange(len(records)),
            "chrom": records["chrom"].where(located, records["id"]),
            "first": records["start"].where(located, 0).astype("int64"),
            "last": records["end"].where(located, records["length"]).astype("int64"),
            "is_reversed": (located & (records["strand"] == "-")).astype(bool),
        }
    )
    columns = ["name", "site", "record", "position", "strand"]
    pairs = []
    for chrom, group in sites.assign(site=np.arange(len(sites))).groupby("chrom"):
        here = frame[frame["chrom"] == chrom].sort_values("first")
        if here.empty:
            continue
        first, last, is_reversed = (
            here[column].to_numpy() for column in ("first", "last", "is_reversed")
        )
        start, end = group["start"].to_numpy(), group["end"].to_numpy()
        site, record = np.nonzero((start[:, None] >= first) & (end[:, None] <= last))
        position = np.where(
            is_reversed[record], last[record] - end[site], start[site] - first[record]
        )
        found = group.iloc[site].assign(record=here["row"].to_numpy()[record], position=position)
        pairs.append(
            found.assign(strand=np.where((found["strand"] == "-") == is_reversed[record], "+", "-"))
        )
    return pd.concat(pairs, ignore_index=True)[columns] if pairs else pd.DataFrame(columns=columns)


def read_file(path: Path, reader: Callable[[Path], Value], command: str) -> Value:
    """Read one result file; the error message names the command that writes it."""
    try:
        return reader(path)
    except FileNotFoundError:
        hint = f"Run `selfattn-bio {command}` first"
        raise ResultsError(
            "file not found",
            place=str(path),
            hint=hint,
        ) from None
    # Raised by pandas, pyarrow, json and numpy for bad content
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        hint = f"Run `selfattn-bio {command}` again"
        raise ResultsError(f"cannot read this file: {error}", place=str(path), hint=hint) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def _maps(path: Path) -> dict[str, Mapped]:
    arrays = _arrays(path)
    named = enumerate(zip(arrays["ids"], arrays["logits"], strict=True))
    return {
        str(name): Mapped(
            arrays[f"letters_{i}"], float(of), arrays[f"edges_{i}"], arrays[f"weights_{i}"]
        )
        for i, (name, of) in named
    }


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)

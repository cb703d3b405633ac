"""Read the result files of one task for the report.

Interpretation is optional: tasks without it, or without any motif, also get a report.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.attribution.explanation import Explanation
from selfattn_bio.config import RunFile
from selfattn_bio.evaluation.leakage import leak_rows
from selfattn_bio.evaluation.summary import TRUE
from selfattn_bio.evidence import interactions, marginals, verdicts
from selfattn_bio.evidence.stability import attribution_correlations, motif_stability
from selfattn_bio.layout import Layout
from selfattn_bio.motifs import read_meme
from selfattn_bio.motifs.motif_set import MOTIF_COLUMNS
from selfattn_bio.sequence.alphabet import DNA, get_alphabet
from selfattn_bio.sequence.intervals import FAR
from selfattn_bio.sequence.tables import BED_COLUMNS, read_bed, read_table

if TYPE_CHECKING:
    from selfattn_bio.study.study import Study

read_motifs = partial(read_table, columns=[*MOTIF_COLUMNS, *verdicts.COLUMNS, *marginals.COLUMNS])
read_curves = partial(read_table, columns=marginals.CURVES)
read_pairs = partial(read_table, columns=[*interactions.COLUMNS, *marginals.PAIR_COLUMNS])
read_distances = partial(read_table, columns=marginals.PAIR_CURVES)
read_measured = partial(read_table, columns=["target", *interactions.MEASURED])


@dataclass(frozen=True)
class Results:
    """Results of the commands that run before the report of a task.

    Parameters
    ----------
    test
        predictions/test.tsv.
    history
        Training history of the first member.
    audit
        audit.json, or None if `audit` has not run.
    motifs
        motifs.tsv, or None if `motifs` has not run; empty if it found none.
    notes
        `MotifSet.notes`.
    ppms
        Motif name -> probabilities (width, A).
    sites
        seqlets.bed: the sites of each motif in positive test records.
    discovery
        discovery_seqlets.bed: the training and validation sites on which each motif was discovered.
    marginals
        marginals.tsv, the effects of motifs alone; None if it was not written.
    interactions
        interactions.tsv, or None if `interactions` has not run.
    distances
        interactions.distances.tsv, the epistasis of pairs by distance; None if it was not written.
    measured
        interactions.measured.tsv, the measured means of pairs; None if it was not written.
    explained
        The attribution folder, or None if `explain` has not run.
    stability
        Comparison of the motifs of several trainings (`motif_stability`), or None if there are
        motifs of only one.
    seed_correlations
        Correlation of the attributions of each record that several trainings explained.
    partner
        The same with the corpus, attribution and motifs of the second input, for models with two;
        None if its motifs were not searched for.
    """

    layout: Layout
    task: RunFile
    metrics: dict[str, Any]
    test: pd.DataFrame
    history: pd.DataFrame
    provenance: dict[str, Any]
    corpus: dict[str, Any]
    audit: dict[str, Any] | None
    records: pd.DataFrame
    motifs: pd.DataFrame | None
    notes: dict[str, str]
    ppms: dict[str, NDArray[np.float64]]
    sites: pd.DataFrame
    discovery: pd.DataFrame
    marginals: pd.DataFrame | None
    interactions: pd.DataFrame | None
    distances: pd.DataFrame | None
    measured: pd.DataFrame | None
    explained: Explanation | None
    stability: pd.DataFrame | None
    seed_correlations: NDArray[np.float64]
    partner: Results | None = None


def read_results(study: Study) -> Results:
    """Read the results of a task.

    Raises
    ------
    ResultsError
        If a file is missing, cannot be read or belongs to another corpus, split or model; the
        message names the command that writes it.
    """
    task, layout = study.task, study.root
    corpus, split = study.read(layout, "corpus_summary"), study.read(layout, "split")
    records = study.read(layout, "records", pd.read_parquet)
    metrics, provenance = study.read(layout, "metrics"), study.read(layout, "provenance")
    study.check_source(layout, "provenance", provenance)
    study.check_source(layout, "metrics", metrics)
    study.warn_if_edited()
    explained, *others = (
        member.explanation if member.files.attribution.exists() else None
        for member in study.members
    )
    explained_by = [each for each in (explained, *others) if each and not each.is_attention]
    searched = [each.motifs for each in study.members[1:] if each.files.motifs.exists()]
    motifs = _motif_files(study, layout, corpus["alphabet"])
    results = Results(
        layout=layout,
        task=task,
        metrics=metrics,
        test=study.read(layout, "test", read_predictions),
        history=study.read(layout, "history", pd.read_csv),
        provenance=provenance,
        corpus=corpus,
        audit=study.read_optional(layout, "audit_counts", read_audit),
        records=records.merge(split, on="id", how="left", validate="one_to_one"),
        interactions=study.read_optional(layout, "interactions", read_pairs),
        distances=study.read_optional(layout, "distances", read_distances),
        measured=study.read_optional(layout, "measured", read_measured),
        explained=explained,
        stability=motif_stability([layout.folder, *searched])
        if searched and motifs["motifs"] is not None
        else None,
        seed_correlations=attribution_correlations(explained_by)
        if len(explained_by) > 1
        else np.empty(0),
        **motifs,
    )
    second = layout.of_partner()
    if not second.motifs.exists():
        return results
    corpus = study.read(layout, "partner_summary")
    lengths = study.read(layout, "partner_records", pd.read_parquet)
    own = results.records[["id", "label", "split"]].merge(lengths[["id", "length"]], on="id")
    partner = replace(
        results,
        layout=second,
        corpus=corpus,
        records=own.reindex(columns=results.records.columns),  # without coordinates
        explained=explained and explained.partner,
        **_motif_files(study, second, corpus["alphabet"]),
    )
    return replace(results, partner=partner)


def _motif_files(study: Study, layout: Layout, alphabet: str) -> dict[str, Any]:
    """Read the files of `motifs`, as attributes of `Results`; check those of `interactions` too."""
    for name in ("motifs", "interactions"):
        if getattr(layout, name).exists():
            study.check_source(layout, f"{name}_source", study.read(layout, f"{name}_source"))
    motifs = study.read_optional(layout, "motifs", read_motifs)
    has_motifs = motifs is not None and len(motifs) > 0
    none = pd.DataFrame(columns=BED_COLUMNS)
    return {
        "motifs": motifs,
        "notes": (study.read_optional(layout, "motifs_source") or {}).get("notes", {}),
        "ppms": read_meme(layout.matrices, get_alphabet(alphabet)) if has_motifs else {},
        "sites": study.read(layout, "sites", read_bed) if has_motifs else none,
        "discovery": study.read(layout, "discovery_sites", read_bed) if has_motifs else none,
        "marginals": study.read_optional(layout, "marginals", read_curves),
    }


def read_audit(path: Path) -> dict[str, Any]:
    """Read audit.json; KeyError if counts are missing, as in files of earlier versions."""
    found: dict[str, Any] = json.loads(path.read_bytes())
    leak_rows(found, DNA)
    return found


def read_predictions(path: Path) -> pd.DataFrame:
    """Read a table of predictions; ids, true values and labels per position stay text."""
    names = pd.read_csv(path, sep="\t", nrows=0).columns
    text = [
        name
        for name in names
        if name in ("id", "chrom") or name.startswith(TRUE) or name.endswith("predicted")
    ]
    return read_table(path, text)


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
    (row of `records`), position and end (0-based half-open, in the orientation of the record), and
    strand (+ is the strand of the record).
    """
    from bioframe import arrops  # imported here because it takes a moment

    located = records["chrom"].notna() & (records["chrom"] != "") & records["start"].notna()
    is_reversed = (located & (records["strand"] == "-")).to_numpy(dtype=bool)
    first = records["start"].where(located, 0).to_numpy(dtype=np.int64)
    last = records["end"].where(located, records["length"]).to_numpy(dtype=np.int64)
    start, end = (sites[name].to_numpy(dtype=np.int64) for name in ("start", "end"))
    # chromosomes are placed one after the other
    of_records = records["chrom"].where(located, records["id"])
    chroms = pd.Index(of_records.unique())
    ours, theirs = (chroms.get_indexer(each) * FAR for each in (sites["chrom"], of_records))
    site, record = arrops.overlap_intervals(start + ours, end + ours, first + theirs, last + theirs)
    inside = (start[site] >= first[record]) & (end[site] <= last[record])
    site, record = site[inside], record[inside]
    position = np.where(is_reversed[record], last[record] - end[site], start[site] - first[record])
    is_minus = (sites["strand"] == "-").to_numpy()[site]
    found = pd.DataFrame(
        {
            "name": sites["name"].to_numpy()[site],
            "site": site,
            "record": record,
            "position": position,
            "end": position + (end - start)[site],
            "strand": np.where(is_minus == is_reversed[record], "+", "-"),
        }
    )
    return found.sort_values(["site", "record"], ignore_index=True)


def both_inputs(*tables: pd.DataFrame | None) -> pd.DataFrame | None:
    """Join motifs.tsv of the inputs of a model; None if motifs of none were searched for."""
    found = [table for table in tables if table is not None]
    return pd.concat(found, ignore_index=True) if found else None

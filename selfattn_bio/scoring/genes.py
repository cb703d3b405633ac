"""Annotate intervals and variants with the nearest gene of a GTF or GFF file."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from selfattn_bio.errors import IntervalError
from selfattn_bio.files import INTERVAL_FILES
from selfattn_bio.log import LOG
from selfattn_bio.scoring.inputs import interval_table
from selfattn_bio.sequence.genome import matching_name
from selfattn_bio.sequence.intervals import (
    LOCUS,
    check_found,
    data_lines,
    gff_interval,
    read_intervals,
)
from selfattn_bio.sequence.tables import BED_COLUMNS, read_cells

FEATURES = np.array(["promoter", "exon", "intron", "intergenic"])  # the first that applies
COLUMNS = ["feature", "gene", "gene_id", "gene_strand", "distance"]
UPSTREAM, DOWNSTREAM = 1000, 100  # bp of a promoter before and from its transcription start
_FAR = 1 << 40  # bp between the starts of chromosomes that are placed one after the other
_ATTRIBUTE = re.compile(r"""([^\s;=]+)[ =]"?([^";]+)""")


def nearest_genes(table: pd.DataFrame, genes: str | Path) -> pd.DataFrame:
    """Annotate intervals with the gene and feature that they overlap, or with the nearest gene.

    The interval chr1 [400, 410) is in the promoter of a gene on + that starts at 500; its distance
    is -91. A promoter is the 1,000 bp before a transcription start and the 100 bp from it on.

    Parameters
    ----------
    table
        Peaks, hits or effects of variants: chrom, start and end (0-based half-open), or chrom, pos
        (1-based) and ref.
    genes
        GTF or GFF file, plain or compressed.

    Returns
    -------
    The table, and the columns

    - feature: the first of promoter, exon, intron and intergenic that applies
    - gene, gene_id, gene_strand: the gene of this feature; of several, the one with the nearest
      transcription start. If intergenic, the gene with the nearest transcription start
    - distance: from this start to the nearest base of the interval in bp, negative upstream of the
      gene, 0 if the interval contains it

    They are missing on chromosomes without genes, which a warning names. Columns with these names
    are replaced.

    Raises
    ------
    SequenceFileError
        If the file cannot be read, a row has no valid interval, or no interval is on a chromosome
        with genes.
    """
    from bioframe import arrops  # imported here because it takes a moment

    loci, features = table, _features(Path(genes))
    if {"pos", "ref"} <= set(table) and table.columns.is_unique:
        first = pd.to_numeric(table["pos"], errors="coerce") - 1
        loci = table.assign(start=first, end=first + table["ref"].astype(str).str.len())
    loci, chroms = interval_table(loci), pd.Index(features["chrom"].unique())
    code = chroms.get_indexer(loci["chrom"].map(lambda name: matching_name(name, chroms)))
    known = np.flatnonzero(code >= 0)
    if len(known) < len(code):
        lacking = ", ".join(loci["chrom"][code < 0].unique()[:8])
        message = f"no genes on {lacking}, but on {', '.join(chroms[:8])}"
        if not len(known):
            IntervalError.fail(message, genes, "Use the chromosomes of its assembly, not ids")
        LOG.warning(f"{genes}: {message}")
    start, end = (loci[name].to_numpy()[known] + code[known] * _FAR for name in LOCUS[1:])
    far = chroms.get_indexer(features["chrom"]) * _FAR
    first, last, tss = (features[name].to_numpy() + far for name in ("start", "end", "tss"))
    over = arrops.overlap_intervals(start, end, first, last)
    near = arrops.closest_intervals(start, end, tss, tss + 1)
    row, feature = np.concatenate([over, near], axis=1)
    kind = np.append(features["kind"].to_numpy()[over[1]], np.full(len(near[1]), 3))
    distance = np.maximum(start[row] - tss[feature], 0) + np.minimum(end[row] - 1 - tss[feature], 0)
    order = np.lexsort((np.abs(distance), kind, row))
    best = order[np.unique(row[order], return_index=True)[1]]
    found = features.iloc[feature[best]].assign(feature=FEATURES[kind[best]])
    found["distance"] = pd.array(np.where(found["gene_strand"] == "-", -1, 1) * distance[best])
    found = found[COLUMNS].set_axis(known).reindex(range(len(table))).set_axis(table.index)
    return pd.concat([table.drop(columns=COLUMNS, errors="ignore"), found], axis=1)


def read_located(path: Path) -> pd.DataFrame:
    """Read the first six columns of a BED or GFF file, or a TSV table, for `nearest_genes`."""
    if path.name.lower().endswith(INTERVAL_FILES):
        return read_intervals(path)[BED_COLUMNS]
    return read_cells(path, ["chrom"])


def _features(path: Path) -> pd.DataFrame:
    """Return promoters, exons and transcripts with their gene and transcription start (tss).

    The column kind is their index in `FEATURES`.
    """
    rows, names, parents, types = [], dict[str, str](), dict[str, str](), Counter[str]()
    for fields, number, place in data_lines(path, is_gff=True):
        named: dict[str, str] = dict(_ATTRIBUTE.findall(fields[8]))
        types[fields[2]] += 1
        is_gene, gene = fields[2].endswith("gene"), named.get("gene_id", "")
        owners = named.get("Parent", named.get("transcript_id", gene)).split(",")
        if is_gene:
            owners = [own := named.get("ID", gene)]
            names[own] = named.get("gene_name", named.get("Name", named.get("gene", own)))
        elif "ID" in named and "Parent" in named:
            parents[named["ID"]] = owners[0]
        elif gene:
            parents[owners[0]] = gene
        if is_gene or fields[2] == "exon":
            if not owners[0]:
                IntervalError.fail(f"{fields[2]} without gene_id, ID or Parent", place)
            rows += [(*gff_interval(fields, number, place)[:4], own, is_gene) for own in owners]
    check_found(path, rows, types, "gene or exon")
    exons = pd.DataFrame(rows, columns=[*LOCUS, "gene_strand", "owner", "is_gene"])
    genes = exons["owner"].tolist()
    for _ in range(3):  # transcript, primary transcript, gene
        genes = [parents.get(gene, gene) for gene in genes]
    exons = exons.assign(gene_id=genes, gene=[names.get(gene, gene) for gene in genes], kind=1)
    spans = exons.groupby(keys := ["chrom", "gene_strand", "owner"])
    first, last = spans["start"].transform("min"), spans["end"].transform("max")
    exons["tss"] = first.where(exons["gene_strand"] != "-", last - 1)
    bodies = exons.assign(start=first, end=last, kind=2).drop_duplicates(keys)
    begin = bodies["tss"] - np.where(bodies["gene_strand"] == "-", DOWNSTREAM - 1, UPSTREAM)
    promoters = bodies.assign(start=begin, end=begin + UPSTREAM + DOWNSTREAM, kind=0)
    has_exons = exons["gene_id"].isin(exons["gene_id"][~exons["is_gene"]])  # others are exons
    return pd.concat([promoters, exons[~(exons["is_gene"] & has_exons)], bodies], ignore_index=True)

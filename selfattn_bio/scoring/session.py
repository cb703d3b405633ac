"""Write sessions of IGV, a genome browser."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement

from selfattn_bio.errors import IntervalError
from selfattn_bio.files import BED_FILES, GFF_FILES, whole_file
from selfattn_bio.scoring.regions import parse_region
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.intervals import bed_interval, data_lines, gff_interval
from selfattn_bio.sequence.tracks import read_track
from selfattn_bio.sequence.vcf import VcfFile

TRACKS = (*BED_FILES, *GFF_FILES, ".vcf", ".vcf.gz", ".bedgraph", ".bw", ".bigwig")


def write_session(path: Path, tracks: Sequence[Path], genome: Path, region: str) -> None:
    """Write a session that IGV and igv.js open, with paths relative to its folder.

    Parameters
    ----------
    path
        The session, .xml.
    tracks
        bigWig, BED, GTF, GFF or VCF files, from top to bottom.
    genome
        FASTA file of the genome.
    region
        The interval to show first: "CHROM:FIRST-LAST", 1-based inclusive, or "all".

    Raises
    ------
    IntervalError, VariantFileError
        If a file does not exist, is no track, or has a malformed line; if a position of a BED, GFF
        or VCF file is beyond the end of its chromosome; if a chromosome of a bigWig is longer than
        in the genome; or if a VCF file names a chromosome that is not in the genome. Positions of
        bedGraph files are not compared with the genome.
    GenomeError
        If the genome cannot be read, or the region is malformed or not in it.
    """
    chromosomes = Genome(genome)
    if other := [each for each in tracks if not each.name.lower().endswith(TRACKS)]:
        hint = f"Its name must end with {', '.join(TRACKS)}"
        IntervalError.fail("not a track that IGV opens by its name", other[0], hint)
    if region != "all":
        parse_region(region, chromosomes)
    for track in tracks:
        _check(track, chromosomes)
    above = path.parent.resolve()
    fasta = os.path.relpath(genome.resolve(), above)
    session = Element("Session", genome=fasta, locus=region, version="8")
    resources = SubElement(session, "Resources")
    panel = SubElement(session, "Panel", name="DataPanel")
    for track in tracks:
        file = os.path.relpath(track.resolve(), above)
        SubElement(resources, "Resource", path=file)
        SubElement(panel, "Track", id=file, name=track.name, autoScale="true")
    with whole_file(path) as temporary:
        ElementTree(session).write(temporary, "utf-8", xml_declaration=True)


def _check(track: Path, genome: Genome) -> None:
    """Raise an error if a track is damaged, or of another assembly."""
    name = track.name.lower()
    is_gff = name.endswith(GFF_FILES)
    if name.endswith((".vcf", ".vcf.gz")):
        for _ in VcfFile(track, genome).with_any_allele():
            pass
    elif name.endswith((*BED_FILES, *GFF_FILES)):
        for line in data_lines(track, is_gff=is_gff):
            found = (gff_interval if is_gff else bed_interval)(*line)
            _check_end(found.chrom, found.end, genome, f"{track}:{found.line}")
    else:
        # tracks of records that name their positions end at the last record of a chromosome
        for chrom, length in read_track(track).lengths.items():
            _check_end(chrom, length, genome, str(track))


def _check_end(name: str, end: int, genome: Genome, place: str) -> None:
    chrom = genome.name_of(name)
    if chrom and end > genome.lengths[chrom]:
        message = f"ends at {end}, beyond {chrom} ({genome.lengths[chrom]} bp)"
        IntervalError.fail(message, place, "Is it the same assembly?")

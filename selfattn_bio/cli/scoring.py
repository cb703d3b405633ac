"""Commands on files: those that use a trained model or motifs, and counts of cut sites."""

from __future__ import annotations

from argparse import Namespace

from selfattn_bio.cli.options import (
    ALLOW_MODULE,
    MODEL,
    MODELS,
    alphabet,
    command,
    flag,
    one_of,
    option,
    output,
    path,
)
from selfattn_bio.display import counted
from selfattn_bio.errors import SelfAttnBioError
from selfattn_bio.files import check_output_file
from selfattn_bio.log import LOG, log_lines

PREFIX = output("prefix of the file names", "PREFIX")


@command(
    MODELS,
    ALLOW_MODULE,
    one_of(
        path("--fasta", "sequences: FASTA, or another format that `ingest` accepts", nargs="+"),
        path("--bed", "BED files of intervals in --genome", nargs="+"),
    ),
    path("--genome", "genome of --bed, plain or bgzip; reverse-complemented on strand -", "FASTA"),
    path("--partner", "second input of the model: sequences with the same ids"),
    flag("--rc", "average both strands"),
    option(
        "--coverage",
        type=float,
        metavar="C",
        help="add prediction sets (classes) or intervals (numbers) with this coverage, such as 0.9;"
        " not for several yes/no labels",
    ),
    output(".tsv to write, or .h5ad with the extra anndata"),
)
def score(arguments: Namespace) -> None:
    """Score sequences or genomic intervals with a trained model.

    Writes a table with one row per sequence. Its columns depend on what the model predicts:

    - two classes: logit, probability and predicted, the label at the threshold
      fitted on the validation records
    - several classes: predicted and probability_CLASS
    - yes/no labels: predicted, the labels with a probability of at least 0.5, and
      probability_COLUMN
    - numbers: COLUMN
    - counts per base: the log count TRACK and the shape TRACK_shape
    - several objectives: the columns of each as PART.COLUMN
    - one label per position: predicted, a text as long as the sequence
    - bins: one row per bin with start, end and probability

    Several models are averaged, and columns `spread` are their standard deviation. Intervals
    (--bed) have the same ids as in a corpus, and their chrom, start, end, strand and name.
    `out_of_distribution` marks sequences that differ from the training data. With --coverage 0.9
    the column `set`, or the interval from low_COLUMN to high_COLUMN, contains the truth for nine of
    ten records, provided that they are like the validation records.

    Files of any size are scored in parts, so memory is needed only for a few thousand sequences.
    The output file appears when it is complete. Models with one label per position, or with bins,
    score sequences of any length in overlapping tiles; a message reports if this differs from a
    single pass. Masked and causal language models are refused, because they do not score a
    sequence.

    example: selfattn-bio score --model results/promoter/model --fasta new.fa \\
      --output scores.tsv
    """
    from selfattn_bio.scoring.table import score_files

    if bool(arguments.bed) != bool(arguments.genome):
        raise SelfAttnBioError(
            "--bed needs --genome" if arguments.bed else "--genome is only used with --bed"
        )
    summary = score_files(
        arguments.model,
        arguments.fasta or arguments.bed,
        arguments.output,
        rc=arguments.rc,
        coverage=arguments.coverage,
        genome=arguments.genome,
        partner=arguments.partner,
    )
    log_lines(summary.lines)


@command(
    MODEL,
    path("--fasta", "sequences: FASTA, or another format that `ingest` accepts", required=True),
    flag("--per-token", "write one vector per position of the encoder instead of one per sequence"),
    output(".parquet or .npz to write"),
)
def embed(arguments: Namespace) -> None:
    """Write vectors of sequences from the last layer of a model's encoder.

    There is one vector per sequence, the mean over its positions, or with --per-token one vector
    per position of the encoder.

    Parquet output has the columns id, d0, d1 ..., and with --per-token start and end in bases or
    residues. It is written in parts, so memory is needed only for a few thousand sequences. npz
    output has the arrays id and vectors, and with --per-token start and end. It needs memory for
    all sequences.

    example: selfattn-bio embed --model results/promoter/model --fasta new.fa \\
      --output vectors.parquet
    """
    from selfattn_bio.scoring.embedding import embed_file

    rows, width = embed_file(
        arguments.model, arguments.fasta, arguments.output, per_token=arguments.per_token
    )
    LOG.info(f"wrote {counted(rows, 'vector')} of size {width} to {arguments.output}")


@command(
    MODELS,
    ALLOW_MODULE,
    path("--genome", "genome, plain or bgzip; a missing index is written", "FASTA", required=True),
    PREFIX,
    option(
        "--region",
        nargs="+",
        metavar="REGION",
        help="chromosomes, or CHROM:FIRST-LAST, 1-based inclusive as in samtools; or a BED file "
        "(default: all)",
    ),
    option(
        "--prior",
        type=float,
        metavar="FRACTION",
        help="expected fraction of positive windows, such as 0.005 (two classes); see above",
    ),
    option(
        "--anchor",
        choices=("start", "centre", "end"),
        default="centre",
        help="position in the window that gets its score, in reading direction (default: "
        "%(default)s); use end for promoters that end at their transcription start",
    ),
    option(
        "--threshold",
        type=float,
        metavar="PROBABILITY",
        help="minimum probability of a peak (default: fitted on validation records, or 0.5 with "
        "--prior; no peaks if the model has not two classes)",
    ),
)
def scan(arguments: Namespace) -> None:
    """Score windows along both strands of a genome: bigWig and BED peaks.

    Writes PREFIX.ASSEMBLY.plus.bw and minus.bw with calibrated log-odds (0 is a probability of one
    half). For each peak, peaks.bed has the window and summits.bed the position chosen by --anchor,
    both as BED6 with score = probability x 1000. A peak is a window at or above --threshold with no
    better one on its strand within a window. A model that reads both strands has one score per
    window: one track, PREFIX.ASSEMBLY.bw, and peaks without a strand.

    A model with other outputs than two classes has one set of files per class, label or column, in
    one pass: PREFIX.ASSEMBLY.OUTPUT.plus.bw and so on. Classes and labels have log-odds, numbers
    the unit of their column, and counts its logarithm. Labels per position and bins have log-odds
    of each position or bin instead of windows. Peaks of classes, labels and bins need --threshold.
    Choose a high one, because their probabilities hold for the fractions of the training records.

    WITHOUT --prior the log-odds of two classes assume as many positives as in the validation
    split, on which they were calibrated, and most peaks in a genome are false. Give the fraction of
    windows that you expect to be positive with --prior. This is also right for models trained with
    class weights or balanced groups, because the calibration corrects for both. Windows with more
    than half ambiguous bases, such as N, have no score.

    example: selfattn-bio scan --model results/promoter/model --genome dm3.fa \\
      --region chr2R --prior 0.005 --anchor end --output promoters
    """
    from selfattn_bio.scoring.tracks import Scan, score_genome

    score_genome(
        arguments.model,
        arguments.genome,
        arguments.output,
        regions=arguments.region,
        prior=arguments.prior,
        scan=Scan(anchor=arguments.anchor, threshold=arguments.threshold),
    )


@command(
    MODELS,
    ALLOW_MODULE,
    path(
        "--genome",
        "FASTA of a genome, RNAs or regions, plain or bgzip; a missing index is written",
        "FASTA",
        required=True,
    ),
    one_of(
        path("--vcf", "variants to score; plain, gz or bgzip, sorted or not"),
        option(
            "--region",
            metavar="CHROM:FIRST-LAST",
            help="score all substitutions in this region, 1-based inclusive as in samtools; a name "
            "alone is a complete record, such as a region or protein",
        ),
    ),
    PREFIX,
    flag("--rc", "average both strands (default: forward strand)"),
    path("--motifs", "motif file or jaspar:GROUP, as for `hits`; report gained and lost hits"),
)
def variants(arguments: Namespace) -> None:
    """Score variants: how alleles of a VCF file, or substitutions in a region, change the score.

    Writes PREFIX.effects.tsv with one row per alternative allele: pos is 1-based as in the VCF,
    effect is the score with the alternative allele minus the score with the reference. --vcf also
    writes PREFIX.annotated.vcf.gz, the same lines with SAB_EFFECT and other fields in INFO.
    --region also writes PREFIX.saturation.svg. The unit of scores and effects depends on what the
    model predicts, and is that of `score` only for numbers:

    - two classes: logit_ref, logit_alt and effect are logits, and
      probability_ref, probability_alt and probability_effect are probabilities
    - several classes, yes/no labels: log-odds, not probabilities
    - numbers: unit of the column; counts (loss = "poisson"): natural logarithm
    - counts per base: natural logarithm of TRACK; weighted logits of TRACK_shape
    - one label per position: percentage of the positions with the label
    - bins: natural logarithm of the expected number of points in the window

    A model that is not binary has the columns ref_OUTPUT, alt_OUTPUT and effect_OUTPUT and the
    field SAB_EFFECT_OUTPUT for each class, label or column, and one plot of each. With several
    outputs, the column largest_effect names the one that changes most.

    A sequence that is not longer than all training records is scored completely. All windows of
    longer ones have the median length of these records: a deletion brings in more bases on the
    right, an insertion pushes some out. Lines whose REF differs from the genome are not scored; if
    they are more than 5 %, the file is refused, as are symbolic alleles and breakends. A region
    that fits into the window is scored in one window around its middle. In a longer region, each
    position has a window around it. A model of proteins scores the substitutions in a sequence of a
    FASTA file: --genome proteins.fa --region ID. --model may then also be a published language
    model, with log ratios.
    --motifs finds motifs as `hits` does, with its default --hit-p. Patterns that begin with ^ or
    end with $ are searched only in sequences that are scored completely.

    example: selfattn-bio variants --model results/promoter/model \\
      --genome dm3.fa --vcf my.vcf.gz --rc --output my
    """
    from selfattn_bio.evidence.variants import annotate_variants, score_substitutions
    from selfattn_bio.scoring.language_model import is_published, load_pretrained
    from selfattn_bio.scoring.variants import VariantOptions

    model, genome, prefix = arguments.model, arguments.genome, arguments.output
    options = VariantOptions(rc=arguments.rc)
    if arguments.vcf:
        annotate_variants(
            model, genome, arguments.vcf, prefix, options=options, motifs=arguments.motifs
        )
        more = "annotated.vcf.gz"
    else:
        published = len(model) == 1 and is_published(model[0])
        found = score_substitutions(
            load_pretrained(model[0]) if published else model,
            genome,
            arguments.region,
            options=options,
            motifs=arguments.motifs,
        )
        found.save(prefix)
        more = "saturation.svg" if len(found.units) == 1 else "saturation.*.svg"
        log_lines(found.lines)
    LOG.info(f"wrote {prefix}.effects.tsv and {prefix}.{more}")


@command(
    option(
        "--motifs",
        required=True,
        metavar="FILE",
        help="MEME, JASPAR or TRANSFAC file, prosite.dat or classes of ELM, plain or gz, or a "
        "database that ships, such as jaspar:insects",
    ),
    path("--fasta", "sequences, plain, gz or bgzip", required=True, nargs="+"),
    alphabet("alphabet of motifs and sequences (default: that of the motifs)"),
    option(
        "--hit-p",
        type=float,
        metavar="P",
        help="a match of a matrix with p below P is a hit (default: 0.00025, and for shorter "
        "motifs of proteins p of the best match)",
    ),
    output(".bed, .tsv or .parquet to write"),
)
def hits(arguments: Namespace) -> None:
    """Find motif hits in FASTA files with FIMO, on both strands of DNA.

    Patterns of PROSITE and ELM match exactly, whatever their p. A matrix has any match with p below
    --hit-p.

    The output has one row per hit. Its suffix chooses the format: .bed (BED6 with score = -10 log10
    p, and p as a seventh column), or .tsv or .parquet with the same columns and a header.
    Coordinates are 0-based half-open. They are genomic if headers contain `chrom=`, `start=` and
    `end=`, and otherwise positions in the record, under its id.

    example: selfattn-bio hits --motifs results/promoter/motifs.meme \\
      --fasta new.fa --output hits.bed
    """
    from selfattn_bio.evidence.scanning import scan_files

    found = scan_files(
        arguments.motifs,
        arguments.fasta,
        arguments.output,
        hit_p=arguments.hit_p,
        alphabet=arguments.alphabet,
    )
    number = found["name"].nunique()
    LOG.info(
        f"wrote {counted(len(found), 'hit')} of {counted(number, 'motif')} to {arguments.output}"
    )


@command(
    path("--fragments", ".bed, .bedpe, or .tsv of 10x, also with .gz", required=True, nargs="+"),
    path("--genome", "genome, plain or bgzip; a missing index is written", "FASTA", required=True),
    option(
        "--shift",
        nargs=2,
        type=int,
        metavar=("PLUS", "MINUS"),
        help="bp added to sites on + and - (default: 4 -4 for ATAC-seq, but 0 1 for .tsv, which "
        "10x has shifted by 4 -5); 0 0 for other assays",
    ),
    flag("--by-strand", "write PREFIX.plus.bw and PREFIX.minus.bw"),
    PREFIX,
)
def coverage(arguments: Namespace) -> None:
    """Count the cut sites of fragments or reads at each base of a genome, as bigWig.

    A cut site is the first base of a read on its strand. A fragment has one at each end. Lines of
    .bed are reads if column 6 is + or -, otherwise fragments. Lines of .bedpe are two reads (10
    columns, as of bedtools) or a fragment (3 columns). A fragment of 10x counts once, whatever its
    number of duplicates. PREFIX.bw has 0 at bases without a site.

    Lines may be in any order, and names such as chrI and I are the same chromosome. BAM files are
    converted by `bedtools bamtobed` (docs/data.md).

    example: selfattn-bio coverage --fragments atac.bedpe.gz \\
      --genome sacCer3.fa --output atac
    """
    from selfattn_bio.sequence.coverage import count_cut_sites
    from selfattn_bio.sequence.genome import Genome

    files, genome, prefix = arguments.fragments, Genome(arguments.genome), arguments.output
    number = count_cut_sites(files, genome, prefix, arguments.shift, arguments.by_strand)
    LOG.info(f"wrote {number:,} cut sites to {prefix}.*")


@command(
    path("file", "peaks, hits or variants: BED, narrowPeak, broadPeak, GFF or TSV"),
    path("--genes", "GTF or GFF file, plain or gz", required=True),
    output(".tsv or .parquet to write"),
)
def annotate(arguments: Namespace) -> None:
    """Add the nearest gene and its feature to peaks, motif hits or variants.

    FILE is a BED file of `scan` or `hits`, the effects.tsv of `variants`, or another BED,
    narrowPeak, GFF or TSV file: with chrom, start and end (0-based half-open), or chrom, pos
    (1-based) and ref. The output has its rows, with the first six columns of BED files.

    Five columns are added. feature is the first that the interval overlaps: promoter (from 1,000 bp
    before a transcription start to 100 bp after it), exon or intron; otherwise it is intergenic.
    gene, gene_id and gene_strand are those of the gene with this feature. If several overlap, and
    for intergenic, it is the gene with the nearest transcription start. distance is the number of
    bp from this start to the interval, negative upstream of the gene, and 0 if the start is inside.

    Chromosome names with and without "chr" are the same.

    example: selfattn-bio annotate promoters.dm3.summits.bed --genes dm3.gtf.gz \\
      --output promoters.genes.tsv
    """
    from selfattn_bio.scoring.genes import nearest_genes, read_located
    from selfattn_bio.sequence.tables import write_table

    check_output_file(arguments.output, arguments.file, arguments.genes)
    found = nearest_genes(read_located(arguments.file), arguments.genes)
    write_table(arguments.output, found)
    counts = [f"{number:,} {name}" for name, number in found["feature"].value_counts().items()]
    LOG.info(f"wrote {counted(len(found), 'row')} to {arguments.output}: {', '.join(counts)}")


@command(
    path("tracks", "bigWig, BED, GTF, GFF or VCF files, from top to bottom", nargs="+"),
    path("--genome", "genome of the tracks; a missing index is written", "FASTA", required=True),
    option("--region", default="all", metavar="CHROM:FIRST-LAST", help="interval to show first"),
    output(".xml to write"),
)
def browse(arguments: Namespace) -> None:
    """Write a session for the genome browser IGV: predictions, contributions, hits and genes.

    Open it in IGV (File, Open Session), or in a web page with igv.js. The session names the files
    relative to its folder, so keep them together.

    example: selfattn-bio browse promoters.dm3.*.bw promoters.dm3.peaks.bed \\
      contributions/positive.bw hits.bed genes.gtf --genome dm3.fa --output view.xml
    """
    from selfattn_bio.scoring.session import write_session

    write_session(arguments.output, arguments.tracks, arguments.genome, arguments.region)
    LOG.info(f"wrote {arguments.output} with {counted(len(arguments.tracks), 'track')}")

"""Commands of the steps of a task: each calls a method of `Study`."""

from __future__ import annotations

from argparse import Namespace

from selfattn_bio.cli.options import ALLOW_MODULE, command, flag, option, task
from selfattn_bio.study import Study


@command(task("[data] and [partner]"))
def ingest(arguments: Namespace) -> None:
    """Read and check the sequences of a task, and write them to its corpus folder.

    Accepts FASTA, FASTQ, GenBank, EMBL, CSV, TSV and Parquet, plain or compressed by gz, bgzip or
    zstd. The content decides, not the file name. [data] may also name BED, narrowPeak, GFF and GTF
    files of a genome, negatives to generate, and bigWig or bedGraph files to learn from. Every
    record is checked. The corpus folder holds letters.bin (one byte per base or residue),
    records.parquet (id, label, interval, length, sha256) and corpus.json (counts of read, changed
    and dropped records). targets.parquet is added if there are targets to learn.

    If a model has two inputs, [partner] of the run file names the second one. Its corpus is in the
    folder partner, and each record must have a second input.

    Tables have a column sequence, and optionally id, chrom, start, end, strand and group; their
    other columns are targets. FASTA headers may contain `chrom= start= end= strand= group=
    species=`. Coordinates are 0-based half-open.

    Accepted and counted: lower case, U in DNA, T in RNA, ambiguous bases, CRLF, a stop symbol at
    the end of a protein. Dropped and counted: exact duplicates, records with only N (X), records
    outside the length limits. Duplicates are kept if the split names its test records
    (docs/own_split.md) or with keep_duplicates. docs/data.md has an example of each format.
    Sequences without a run file become a corpus with `ingest_files` in Python.

    example: selfattn-bio ingest mine
    """
    Study(arguments.study).ingest()


@command(task("[split]"))
def split(arguments: Namespace) -> None:
    """Split a corpus into train, valid and test without leakage.

    Reads [split] of the run file and writes a table (id, split, reason) with one row per record. No
    sequence is in two splits, of DNA on either strand. The kinds group, species, cluster and random
    keep copies together. The kinds chromosome, region, column and files remove copies of test
    records from train and valid, and copies of valid records from train. A test set that came with
    the data stays complete. Counts are printed, and the table has the reason for each removed
    record. A warning names classes whose test records are in too few clusters, groups or blocks of
    a chromosome to measure the effects of motifs. `audit` reports the similarity that is left
    between the splits.

    example: selfattn-bio split mine
    """
    Study(arguments.study).split()


@command(
    task("[audit]"),
    option(
        "--pretraining",
        nargs="+",
        default=[],
        metavar="DIR",
        help="corpus folders that a parent model was pretrained on",
    ),
)
def audit(arguments: Namespace) -> None:
    """Compare the test records with all records that the model learns from, and fail above a limit.

    Each test record is searched for in the training records, in corpora used for pretraining, and
    in the data that parent models saw. The audit reports its nearest neighbour by shared k-mers,
    equal sequences (of DNA on either strand), overlapping intervals, and shared groups and species.
    It also compares labels, GC content and length between the splits.

    Writes audit.tsv with one row per test record, and the counts to audit.json. If a limit of
    [audit] is exceeded, both files are written, and the command ends with a one-line error and exit
    code 3. docs/leakage.md explains the results.

    example: selfattn-bio audit mine
    """
    Study(arguments.study).audit(arguments.pretraining).check_limits()


@command(
    task(parts="/variants/NAME, /members/N or /sweep/JOB"),
    option(
        "--threads",
        type=int,
        default=8,
        metavar="N",
        help="upper limit of CPU threads (default: %(default)s, and at most the number of cores); "
        "`train` times a batch to choose the number, and records it in provenance.json",
    ),
    ALLOW_MODULE,
    flag(
        "--dry-run",
        "take three steps with the longest records, print memory and time, and write nothing",
    ),
)
def train(arguments: Namespace) -> None:
    """Train the model of a task, or a variant, a member or a job of its sweep.

    Variants are baselines and controls, members repeat the training with other random numbers
    ([training] seeds), and jobs are the settings that [sweep] tries. On a terminal a bar shows the
    progress, otherwise a line about every ten seconds. If a training was interrupted, the same
    command continues from the last checkpoint in model.checkpoints. An earlier model stays until
    the new one is complete.

    With --dry-run, three steps with the longest records, an evaluation and a checkpoint are
    measured. Printed are the number of parameters, the peak memory, the time per step, the steps
    per epoch, and the time at most of all [training] seeds.

    example: selfattn-bio train mine/variants/cnn
    """
    study = Study(arguments.study)
    step = study.dry_run if arguments.dry_run else study.train
    step(threads=arguments.threads)


@command(task("[sweep]"))
def sweep(arguments: Namespace) -> None:
    """Rank the trained jobs of a run file's [sweep] by their validation metric.

    Reads only the history.csv of each job's model folder, so that test records cannot decide.
    Writes sweep.tsv, best first, and prints it.

    example: selfattn-bio sweep mine
    """
    print(Study(arguments.study).rank_jobs().table.to_string(index=False), flush=True)


@command(task("[evaluation]"), ALLOW_MODULE)
def evaluate(arguments: Namespace) -> None:
    """Evaluate a model on validation and test records, next to baselines and controls.

    Scores all labelled validation and test records with the model and its variants. Baselines are
    fitted to the same training records, and the validation records choose their settings. The test
    records are read only here, once.

    Writes metrics.json, model_card.md and predictions/{valid,test}.tsv. All metrics have bootstrap
    intervals: before and after calibration, within groups of the records, and for the paired
    difference between the model and each baseline. Clusters, groups or blocks of a chromosome are
    resampled together where the split has them.

    Logits of members are averaged, and their spread is reported. A variant that was not trained is
    left out. If a model has two inputs, its variants first_alone and partner_alone are evaluated as
    they were trained, with the other input taken from another record.

    example: selfattn-bio evaluate mine
    """
    Study(arguments.study).evaluate()


@command(
    task("[interpret]", parts="/variants/NAME or /members/N"),
    ALLOW_MODULE,
    option(
        "--target",
        nargs="+",
        default=(),
        metavar="NAME",
        help="classes, labels or columns to explain (default: [interpret] targets, or the four "
        "with most records)",
    ),
)
def explain(arguments: Namespace) -> None:
    """Score each position of records that show what a model recognises.

    At most [interpret] max_sequences training and validation records are explained for each output:

    - two classes, several classes, yes/no labels: records of the class or label
      that the model recognises, that is, whose probability reaches the threshold:
      0.5, or for two classes that fitted on the validation records.
      They are chosen evenly from the most to the least confident, because the
      most confident ones are similar and show one motif. If there are fewer,
      those with the next highest scores are added, and their number is printed
    - numbers and counts: half with the highest and half with the lowest
      predictions
    - one label per position, bins: the same, by the mean over the positions or
      bins

    Test records are reserved for the evidence.

    If the model has several classes, labels or columns, --target chooses those to explain, each on
    its own records. By default these are [interpret] targets, or the four with most records.

    Writes the attribution folder with the attribution of every base or residue at every position,
    by [interpret] method. The default is the mean of AttnLRP over copies with some bases replaced
    at random. For comparison it also holds the attention that each position receives, and the
    attention map of each layer for the records in [interpret] maps. By default these are the
    explained records with the highest, middle and lowest score. If the model has two inputs, the
    folder `partner` inside holds the same for the second input, and there is no attention.

    If records of DNA have coordinates, the folder `contributions` inside has two bigWigs for each
    explained output: OUTPUT.bw is the sum of the attributions over the records at a position, and
    OUTPUT-count.bw the number of records. `motifs` writes the hits as BED.

    example: selfattn-bio explain mine
    """
    Study(arguments.study).explain(arguments.target)


@command(
    task("[interpret]", parts="/variants/NAME or /members/N"),
    ALLOW_MODULE,
    option(
        "--input",
        choices=("first", "partner"),
        default="first",
        help="which of two inputs (default: %(default)s)",
    ),
)
def motifs(arguments: Namespace) -> None:
    """Find motifs in the attributions of train and valid, and test the evidence on test records.

    Attributions are the scores that `explain` gives to positions, and neighbours with high scores
    are a seqlet. Seqlets are grouped into motifs by the [interpret] caller (modisco for
    DNA, clusters for other sequences). Motifs are compared with the [interpret] database by Tomtom.
    On test records, the hits of each motif are tested for enrichment in positives, for their effect
    on the model when their bases are shuffled, and more (docs/interpretation_evidence.md).

    Writes motifs.meme, motifs.tsv, seqlets.bed (hits in test positives that the model relies on),
    marginals.tsv (effects of the motifs alone in shuffled negatives, by position and strand),
    discovery_seqlets.bed (the seqlets from which motifs were built), motifs.json (which model and
    corpus they are from) and logos/. If no motif is found, the tables have no rows. With
    --input partner, motifs of the second of two inputs are found, and the files are in the folder
    partner.

    example: selfattn-bio motifs mine
    """
    Study(arguments.study).find_motifs(arguments.input)


@command(task("[interpret]", parts="/variants/NAME or /members/N"), ALLOW_MODULE)
def interactions(arguments: Namespace) -> None:
    """Find pairs of motifs that a model uses together, by replacing the bases of their sites.

    Sites are hits of the motifs in test positives, or in all test records for numbers, that the
    model relies on (docs/interpretation_evidence.md). Motifs of the same output (class, label or
    column) are paired. If there are many pairs, those with the highest attention between their
    sites are tested.

    Writes interactions.tsv with one row per tested pair: epistasis in the unit of the output with
    tests against random positions at the same distance and against that expected from the effects
    of both motifs, preferred spacing and orientation, the attention between the sites, and a
    verdict. docs/interpretation_interactions.md explains each column. interactions.distances.tsv
    has the epistasis of each pair alone in shuffled records, by distance. interactions.measured.tsv
    has the measured means of test records with neither, one or both motifs of every pair, tested or
    not. If no pair is found, the files have only the header.

    example: selfattn-bio interactions mine
    """
    Study(arguments.study).find_interactions()


@command(task())
def report(arguments: Namespace) -> None:
    """Write the report of a task: one self-contained HTML page, and its plots as files.

    Reads the results of the other steps, and writes report.html and plots/*.svg and *.png to the
    results folder. Results of an earlier model, corpus or split are refused. A run file that was
    edited after the training is reported.

    example: selfattn-bio report mine
    """
    Study(arguments.study).write_report()

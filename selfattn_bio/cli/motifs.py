"""Find motifs in the attributions of train and valid, and test the evidence on test records.

Seqlets are grouped into motifs by the [interpret] caller (modisco, or clusters for proteins). DNA
motifs are compared with the [interpret] database by Tomtom. On test records, the hits of each motif
are tested for enrichment in positives, for their effect on the model when their bases are shuffled,
and more (docs/interpretation_evidence.md).

Writes to OUTPUT: motifs.meme, motifs.tsv, seqlets.bed (hits in test positives that the model relies
on), discovery_seqlets.bed (the seqlets from which motifs were built) and logos/. If no motif is
found, these files have no rows.

example: selfattn-bio motifs --run-file mine.toml --corpus corpus --split split.tsv --model model \
--attribution attribution --output motifs
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfattn_bio.errors import CorpusError, ResultsError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from selfattn_bio.config import Interpret
    from selfattn_bio.data.corpus import Corpus
    from selfattn_bio.interpret.explanation import Explanation
    from selfattn_bio.interpret.motifs import MotifSet
    from selfattn_bio.scoring.scorer import Scorer

COMPARED = 100  # maximum number of records on which two methods are compared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio motifs`."""
    parser.add_argument(
        "--run-file",
        required=True,
        type=Path,
        metavar="FILE",
        help="run file of the task (uses [interpret])",
    )
    parser.add_argument(
        "--model", required=True, type=Path, metavar="DIR", help="model folder, from `train`"
    )
    parser.add_argument(
        "--corpus", required=True, type=Path, metavar="DIR", help="corpus folder, from `ingest`"
    )
    parser.add_argument(
        "--split", required=True, type=Path, metavar="FILE", help="split table, from `split`"
    )
    parser.add_argument(
        "--attribution",
        required=True,
        type=Path,
        metavar="DIR",
        help="attribution folder, from `explain`",
    )
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder for all output files",
    )


def run(arguments: argparse.Namespace) -> None:
    """Find motifs in the attribution folder, test the evidence, and write all files of OUTPUT."""
    from selfattn_bio.config import read_run_file
    from selfattn_bio.data.corpus import Corpus
    from selfattn_bio.files import sha256_of
    from selfattn_bio.interpret.explanation import Explanation
    from selfattn_bio.model.checkpoint import check_trained_on, read_provenance
    from selfattn_bio.model.lineage import check_unseen
    from selfattn_bio.scoring.scorer import check_one_input, load

    start = time.monotonic()
    settings = read_run_file(arguments.run_file).interpret
    corpus, scorer, explanation = (
        Corpus.open(arguments.corpus),
        load(arguments.model),
        Explanation.load(arguments.attribution),
    )
    check_one_input(scorer, "motifs")
    check_trained_on(arguments.model, corpus.fingerprint, sha256_of(arguments.split))
    test = test_records(corpus, arguments.split)
    _check_attribution(explanation, read_provenance(arguments.model), test, arguments.attribution)
    check_unseen(
        arguments.model,
        test,
        [corpus.letters(int(row)) for row in test.index],
        corpus.alphabet,
        corpus.assembly,
    )
    motifs = _discover(explanation, settings)
    _say(
        f"found {len(motifs)} motifs in {time.monotonic() - start:.0f} s; testing the evidence on "
        f"{len(test)} test records"
    )
    table, sites = _weigh(motifs, scorer, corpus, test, settings)
    _write(motifs, table, sites, arguments.output)
    _report(table)
    _say(f"wrote {arguments.output / 'motifs.tsv'} in {time.monotonic() - start:.0f} s")


def test_records(corpus: Corpus, split: Path) -> pd.DataFrame:
    """Return the labelled test records; the index is the row in the corpus."""
    from selfattn_bio.sequence.splits import read_split

    records = corpus.records.assign(split=read_split(split, corpus.records["id"])).reset_index(
        drop=True
    )
    test = records[(records["split"] == "test") & records["label"].notna()]
    if test.empty:
        raise CorpusError(
            "test has no labelled record to test the evidence on",
            place=str(split),
            hint="Change [split]",
        )
    return test


def _check_attribution(
    explanation: Explanation, provenance: Mapping[str, Any], test: pd.DataFrame, folder: Path
) -> None:
    """Refuse attributions of another model, corpus or split, and those of test records.

    Motifs found in test records would be judged on the records they were found in.
    """
    from selfattn_bio.interpret.explanation import AGAIN, SOURCE

    for key in SOURCE:
        here, there = provenance[key], explanation.source.get(key, "none")
        if here != there:
            message = (
                f"the attribution belongs to another model, corpus or split ({key} {there[:12]}, "
                f"not {here[:12]})"
            )
            raise ResultsError(message, place=str(folder), hint=AGAIN)
    held_out = set(test["id"])
    if seen := [name for name in explanation.ids if name in held_out]:
        message = (
            f"test records in the attribution: {len(seen)}, such as {seen[0]!r}; they are reserved "
            "for the evidence"
        )
        raise ResultsError(message, place=str(folder), hint=AGAIN)


def _discover(explanation: Explanation, settings: Interpret) -> MotifSet:
    from selfattn_bio.config import NO_DATABASE
    from selfattn_bio.interpret.callers import build_caller
    from selfattn_bio.interpret.motifs import build_motifs
    from selfattn_bio.sequence.alphabet import get_alphabet

    alphabet = get_alphabet(explanation.alphabet)
    if explanation.is_attention:
        _say(
            f"no motifs: method {explanation.method!r} reads attention weights, and motifs need "
            "attributions of single positions"
        )
        return build_motifs([], explanation.records, {})
    if not alphabet.has_complement:
        _say("motifs are not matched with known ones: there is no database of protein motifs")
    elif settings.database == NO_DATABASE:
        _say('motifs are not matched with known ones: [interpret] database = "none"')
    else:
        _say(f"motifs are matched with {settings.database}, the [interpret] database")
    caller = build_caller(settings.caller, alphabet, settings.max_seqlets)
    return explanation.motifs(
        settings.database, caller=caller, max_motifs=settings.max_motifs, say=_say
    )


def _weigh(
    motifs: MotifSet, scorer: Scorer, corpus: Corpus, test: pd.DataFrame, settings: Interpret
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return motifs.tsv, and seqlets.bed: the hits with attribution in test positives."""
    import pandas as pd

    from selfattn_bio.interpret.attribution import attnlrp_importance
    from selfattn_bio.interpret.evidence import HeldOut, agreement, weigh_evidence
    from selfattn_bio.interpret.formats import on_chromosome
    from selfattn_bio.interpret.hits import find_hits, relevant_hits

    letters, labels = [corpus.letters(i) for i in test.index], test["label"].to_numpy(dtype=int)

    def find(sequences: Sequence[NDArray[np.uint8]]) -> pd.DataFrame:
        return find_hits(motifs.ppms, motifs.num_sites, sequences, settings.hit_p, corpus.alphabet)

    evidence = weigh_evidence(
        motifs.ppms,
        find,
        HeldOut(letters, labels, corpus.alphabet),
        scorer.member_log_odds,
        window=settings.window,
        significance=settings.significance,
        seed=settings.seed,
    )
    hits = find(letters)
    in_positives = hits[labels[hits["record"].to_numpy(dtype=int)] == 1]
    rows = sorted(set(in_positives["record"]))
    attribution = dict(
        zip(rows, attnlrp_importance(scorer, [letters[row] for row in rows]), strict=True)
    )
    sites = relevant_hits(in_positives, attribution)
    sites = on_chromosome(sites.assign(score=(sites["rank"] * 1000).round()), test)
    agreements = agreement(
        in_positives,
        attribution,
        _measured(scorer, {row: letters[row] for row in rows[:: -(-len(rows) // COMPARED) or 1]}),
    )
    evidence = evidence.assign(agreement=evidence["name"].map(agreements).astype(float))
    return pd.concat([motifs.table, evidence.drop(columns="name")], axis=1), sites


def _measured(
    scorer: Scorer, letters: Mapping[int, NDArray[np.uint8]]
) -> dict[int, NDArray[np.float32]]:
    """Return the importance of each position by guided mutagenesis, to compare with AttnLRP."""
    import pandas as pd

    from selfattn_bio.interpret.explanation import explain_letters
    from selfattn_bio.interpret.methods import Guided

    if not letters:
        return {}
    records = pd.DataFrame({"id": list(letters)})
    explanation = explain_letters(scorer, list(letters.values()), records, method=Guided())
    return dict(zip(letters, explanation.attribution, strict=True))


def _write(motifs: MotifSet, table: pd.DataFrame, sites: pd.DataFrame, output: Path) -> None:
    from matplotlib.figure import Figure

    from selfattn_bio.files import whole_file, whole_folder
    from selfattn_bio.interpret.formats import write_bed
    from selfattn_bio.interpret.logos import draw_logo

    motifs.to_meme(output / "motifs.meme")
    motifs.to_bed(output / "discovery_seqlets.bed")
    with whole_file(output / "seqlets.bed") as path:
        write_bed(path, sites)
    with whole_folder(output / "logos") as folder:
        for motif in motifs:
            figure = Figure(figsize=(1 + 0.3 * len(motif.ppm), 1.6), layout="constrained")
            draw_logo(motif.ppm, figure.subplots(), motif.alphabet.letters)
            figure.savefig(folder / f"{motif.name}.svg", metadata={"Date": None})
    with whole_file(output / "motifs.tsv") as path:
        table.to_csv(path, sep="\t", index=False, float_format="%.6g", lineterminator="\n")


def _report(table: pd.DataFrame) -> None:
    from selfattn_bio.interpret.interventions import MIN_RECORDS
    from selfattn_bio.report.words import p_value

    for row in table.to_dict("records"):
        measured = (
            f"{row['effect']:+.2f} ({row['effect_low']:+.2f} to {row['effect_high']:+.2f})"
            if row["effect_records"] >= MIN_RECORDS
            else "unknown"
        )
        _say(
            f"{row['name']} {row['consensus']}: {_known(row)}{row['num_sites']} sites, "
            f"odds ratio {row['odds_ratio']:.2f} (q {p_value(row['enrichment_q'])}), "
            f"effect {measured}: {row['verdict']}"
        )
    _say(f"supported: {(table['verdict'] == 'supported').sum()} of {len(table)} motifs")


def _known(row: Mapping[Hashable, Any]) -> str:
    """Describe the match and its q value; empty if no database was used."""
    from selfattn_bio.interpret.matching import match_label
    from selfattn_bio.report.words import p_value

    return (
        f"{match_label(row) or 'no known motif'} (q {p_value(row['match_q'])}), "
        if row["match"]
        else ""
    )


def _say(line: str) -> None:
    print(f"motifs: {line}", flush=True)

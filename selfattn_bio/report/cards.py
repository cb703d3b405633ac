"""Prepare one card per motif, and single records: example sites and attention maps.

A card contains the results of each test as sentences, the logo aligned with the logo of the best
match, and example sites. The tests are described in docs/interpretation_evidence.md. A script on
the page draws the maps, so that a reader can choose record and layer.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.attribution.rules import importance
from selfattn_bio.config import RunFile
from selfattn_bio.evaluation.units import MIN_UNITS
from selfattn_bio.evidence.positions import MIN_SITES, THIRDS
from selfattn_bio.evidence.records import MIN_RECORDS
from selfattn_bio.evidence.verdicts import NULL_P, direction_of, is_unclear, shortfall
from selfattn_bio.motifs import logos, open_database
from selfattn_bio.motifs.families import match_label
from selfattn_bio.motifs.logos import logo
from selfattn_bio.motifs.matching import alignment, same_motifs
from selfattn_bio.report import figures, tables, words
from selfattn_bio.report.results import Results, site_positions
from selfattn_bio.sequence.alphabet import get_alphabet

VERDICT_ORDER = ("supported", "inconclusive", "contradicted")
YES, NO, REVERSE = "yes", "not shown", "the reverse"
UNTESTED = {  # records with a site that a test needs, and why it may have no result then
    "null_p": (0, "only motifs that pass the other tests are compared"),
    "stability": (0, "the model has one network"),
    "sufficiency_q": (MIN_RECORDS, f"sites are in fewer than {MIN_UNITS} independent units"),
    "position_q": (MIN_SITES, f"permuted motifs match elsewhere in fewer than {MIN_SITES} records"),
    "window_q": (MIN_SITES, "records are short"),
    "strand_q": (MIN_SITES, "the motif is palindromic"),
    "thirds_q": (0, f"fewer than {MIN_SITES} records have it in one of the thirds"),
}
UNUSED = " Inserted alone, it acts the same everywhere, so the model does not use this preference."
Words = Callable[..., str]  # about a test, from its name
Lines = list[tuple[str, str, Any]]  # required column, question, function of answer and text
COUNT = 3
FLANK = 6  # positions shown on either side of a site
HEIGHT = 44  # px
DARKEST = 0.995  # weights above this quantile of a layer are drawn equally dark
MAX_SEQUENCE = 5000  # longer sequences are not written to the page


@dataclass(frozen=True)
class Finding:
    """One line of a card. `answer` is YES, NO or REVERSE if the test gives one, else empty."""

    question: str
    answer: str
    figures: str


def motif_rows(results: Results) -> list[dict[str, Any]]:
    """Return the motifs as shown on the page: their columns, logos, facts and findings.

    Supported motifs come first. Within a verdict, they are sorted by output, largest effect first.
    """
    if results.motifs is None or results.motifs.empty:
        return []
    table = results.motifs.assign(rank=results.motifs["verdict"].map(VERDICT_ORDER.index))
    # motifs may lower a number
    size = table["effect"].where(table["difference"].isna(), table["effect"].abs())
    table = table.assign(size=size, output=pd.factorize(table["target"])[0]).sort_values(
        ["rank", "output", "size"], ascending=[True, True, False], kind="stable"
    )
    table = table.assign(family=table.get("family", "")).fillna({"other_matches": ""})
    rows: list[dict[Any, Any]] = table.to_dict("records")
    alphabet = get_alphabet(results.corpus["alphabet"])
    logos = {
        name: logo(ppm, alphabet.letters).svg(label=f"logo of {name}")
        for name, ppm in results.ppms.items()
    }
    profiles = figures.motif_profiles(results, table)
    pairs, examples = match_logos(results, rows), example_sites(results)
    return [
        {
            **row,
            "label": match_label(row),
            "facts": {"enrichment": tables.enrichment(row), "effect": tables.effect(row)},
            "logo": logos.get(row["name"], ""),
            "profile": profiles.get(row["name"], ""),
            "pair": pairs.get(row["name"], ()),
            "same": same_motifs(row["name"], results.ppms, alphabet.has_complement),
            "examples": examples.get(row["name"], []),
            "findings": (found := findings(row, results.task, results.corpus["alphabet"]))[0],
            "untested": found[1],
            "alone_note": figures.alone_note(row, results.task),
            "by_position": "" if results.marginals is None else figures.dependence(row, "position"),
            "shortfall": shortfall(row, results.task.interpret.significance),
        }
        for row in rows
    ]


def findings(
    row: Mapping[Any, Any], task: RunFile, alphabet: str = "dna"
) -> tuple[list[Finding], list[str]]:
    """Return the test results of a motif, and the questions that have no answer, with reasons.

    Parameters
    ----------
    row
        A row of motifs.tsv with all columns of `evidence.verdicts.COLUMNS`; values
        may be missing.
    task
        The run file, whose significance level decides what counts as shown.
    alphabet
        For protein, GC content is left out, and strand for all that have one.
    """
    of_letters = get_alphabet(alphabet)
    matched = "GC content and length" if of_letters.is_nucleic else "length"
    letters = f"{of_letters.letter}s"
    level = task.interpret.significance

    def answer(name: str, value: float = 1.0, least: float = 0.0) -> str:
        clear = row[f"{name}_q"] < level and abs(value) >= least
        return (YES if value > 0 else REVERSE) if clear else NO

    def q(name: str) -> str:
        return f"q = {words.p_value(row[f'{name}_q'])}"

    lines: Lines = [
        *(_of_numbers if pd.notna(row["difference"]) else _of_labels)(row, matched, answer, q),
        *_of_use(row, letters, level, answer, q),
        *_of_sites(row, task.interpret.window is not None, answer, q),
    ]
    tested = [
        Finding(question, *make()) for column, question, make in lines if not pd.isna(row[column])
    ]
    impossible = {"overlapping_hits", *([] if of_letters.has_complement else ["strand_q"])}
    return tested, [
        f"{question} ({_why_untested(row, column)})"
        for column, question, _ in lines
        if pd.isna(row[column]) and column not in impossible
    ]


def _why_untested(row: Mapping[Any, Any], column: str) -> str:
    """Return why a test has no result: too few records if so, which a user can change."""
    if column in ("effect_q", "stability") and pd.isna(row["effect_q"]):
        return words.unmeasured_reason(row)
    has_places = column != "window_q" or pd.notna(row["position_q"])
    needed, reason = UNTESTED[column if has_places else "position_q"]
    kind = tables.described(row)
    found = row[f"{kind}_with_hit"]
    return f"{found:.0f} test {kind} have a site; {needed} are needed" if found < needed else reason


def _of_labels(row: Mapping[Any, Any], matched: str, answer: Words, q: Words) -> Lines:
    """Return the lines about enrichment of a motif of a class or label."""
    return [
        ("enrichment_q", "Is it more frequent in positives than in negatives?", lambda: (
            answer("enrichment"),
            f"Found in {tables.records_with(row)}: {words.odds(row)}; {q('enrichment')}. "
            f"{tables.counted_matches(row)}")),
        ("matched_q", f"Also compared with negatives matched for {matched}?", lambda: (
            answer("matched"),
            f"{words.odds_ratio(row['matched_odds_ratio']).capitalize()}; {q('matched')}.")),
    ]  # fmt: skip


def _of_numbers(row: Mapping[Any, Any], matched: str, answer: Words, q: Words) -> Lines:
    """Return the lines about enrichment of a motif of a number."""
    unit = row["unit"]
    agreement = 1 if row["difference"] * row["matched_difference"] > 0 else -1

    def shift(name: str) -> str:
        return f"{words.figure(row[name], 2, sign=True)} {unit}"

    return [
        ("enrichment_q", f"Is {unit} different in records with a site?", lambda: (
            answer("enrichment"),
            f"{tables.records_with(row)} have a site; the difference of the means is "
            f"{shift('difference')}; {q('enrichment')}. {tables.counted_matches(row)}")),
        ("matched_q", f"Also compared with records matched for {matched}?", lambda: (
            answer("matched", agreement), f"{shift('matched_difference')}; {q('matched')}.")),
    ]  # fmt: skip


def _of_use(row: Mapping[Any, Any], letters: str, level: float, answer: Words, q: Words) -> Lines:
    """Return the lines about the use of a motif by the model."""
    unit = row["unit"]
    effect = min(row["effect"], row["necessity"], key=abs)
    if is_unclear(row):
        effect = 0.0  # not shown, as in the verdict
    direction = direction_of(row)
    if pd.notna(row["difference"]):
        # the reverse of the records only if these differ clearly
        effect = direction * effect if row["enrichment_q"] < level else abs(effect)

    def span(name: str) -> str:
        return words.estimate(words.of_row(row, name), 2, sign=True)

    def changed(loss: float) -> str:
        if not round(loss, 2):
            return f"does not change {unit}"
        return f"{'lowers' if loss > 0 else 'raises'} {unit} by {words.figure(abs(loss), 2)}"

    shuffling_nulls = f"does not {'raise' if direction < 0 else 'lower'} {unit}"
    if round(direction * row["null_necessity"], 2) > 0:
        shuffling_nulls = f"{changed(row['null_necessity'])} at most"

    apart = "not measured, as they are in too few records"
    if pd.notna(row["effect_apart"]):
        apart = f"{span('effect_apart')}; shuffling them {changed(row['necessity_apart'])}"
    use = answer("effect", effect, row["min_effect"])
    ends = [row[f"sufficiency_{end}"] for end in ("low", "high")]
    enough = direction * row["sufficiency"] * (min(ends) > 0 or max(ends) < 0)
    lines: Lines = [
        ("effect_q", "Does the model use it?", lambda: (
            use,
            f"Shuffling its sites {changed(row['necessity'])}. Effect of the sites, compared "
            f"with nearby {letters}: {span('effect')}, {row['effect_records']:.0f} records; "
            f"{q('effect')}.")),
        ("overlapping_hits", f"Is it used apart from sites of {row['overlaps']}?", lambda: (
            YES if row["verdict"] == "supported" else NO,
            f"{row['overlapping_hits']:.0f} of {row['num_hits']:.0f} hits overlap hits of stronger "
            f"motifs, most often of {row['overlaps']}. Effect of the other hits: {apart}.")),
        ("null_p", "Does it use it more than permuted motifs?", lambda: (
            YES if row["null_p"] <= NULL_P else NO,
            f"Shuffling its sites {changed(row['necessity'])}. For 95 % of "
            f"{row['null_motifs']:.0f} meaningless motifs, which have its columns in random order, "
            f"it {shuffling_nulls}; p = {words.p_value(row['null_p'])}.")),
        ("sufficiency_q", "Does one site alone change the prediction?", lambda: (
            answer("sufficiency", enough, row["min_effect"]),
            f"Inserting one site into a shuffled record changes {unit} by "
            f"{span('sufficiency')}, compared with its shuffled {letters}; {q('sufficiency')}.")),
        ("stability", "Do the networks of the model agree?", lambda: (
            "", f"Its sites {'raise' if row['effect'] > 0 else 'lower'} {unit} by at least "
            f"{words.figure(row['min_effect'], 2)}, compared with nearby {letters}, in "
            f"{words.percent(row['stability'])} of them, each tested alone.")),
    ]  # fmt: skip
    return [line for line in lines if line[0] != "stability" or use != NO]


def _of_sites(row: Mapping[Any, Any], is_given: bool, answer: Words, q: Words) -> Lines:
    """Return the lines about position and strand of the sites of a motif.

    The window is given in the run file, or it is the fullest one.
    """
    kind = tables.described(row)
    compared = (
        "in this window, the fullest of all. It is compared with the fullest window of as many "
        "hits of permuted motifs"
    )
    if is_given:
        compared = (
            f"there, {words.figure(row['window_expected'], 1)} are expected from permuted motifs"
        )
    ends = (f"marginal_position_{end}" for end in ("weakest", "strongest"))
    weakest, strongest = (row.get(end, np.nan) for end in ends)
    is_same = abs(strongest - weakest) < row["min_effect"] <= abs(strongest)
    unused = UNUSED if is_same and YES in (answer("position"), answer("window")) else ""
    means = [f"{words.figure(row[of], 2)} (n = {row[f'{of}_records']:.0f})" for of in THIRDS[:3]]
    return [
        ("position_q", "Does it prefer a position?", lambda: (
            answer("position"),
            "Positions of the best hits compared with those of permuted motifs: "
            f"{q('position')}.{unused}")),
        ("window_q", f"Is the middle of its sites enriched in {tables.window_name(row)}?", lambda: (
            answer("window"),
            f"{row['window_hits']:.0f} of {row[f'{kind}_with_hit']:.0f} best hits are {compared}; "
            f"{q('window')}.")),
        ("strand_q", "Does it prefer a strand?", lambda: (
            answer("strand"),
            f"{words.percent(row['strand_plus'])} of the best hits are on the + strand "
            f"({words.percent(row['strand_low'])} to {words.percent(row['strand_high'])}); "
            f"{q('strand')}.")),
        ("thirds_q", "Do measured values differ with the position of the site?", lambda: (
            answer("thirds"),
            f"{'Fraction of positives among' if kind == 'positives' else 'Mean of'} records with "
            f"the best hit in the first third: {means[0]}, in the middle: {means[1]}, in the last: "
            f"{means[2]}; {q('thirds')}. Other differences between them may be the cause.")),
    ]  # fmt: skip


def match_logos(results: Results, rows: list[dict[Any, Any]]) -> dict[str, tuple[str, str]]:
    """Return the aligned logos of each motif and its database match, by motif name.

    Only significant matches are included.

    Raises
    ------
    DatabaseError
        If there is a significant match, but the database of the run file cannot be read any more.
    """
    known = {row["name"]: row["match"] for row in rows if match_label(row)}
    if not known:
        return {}
    alphabet = get_alphabet(results.corpus["alphabet"])
    motifs = open_database(results.task.interpret.database, alphabet)
    pairs = {}
    for name, label in known.items():
        if label in motifs:
            own, match = aligned(results.ppms[name], motifs[label], alphabet.has_complement)
            pairs[name] = (
                logo(own, alphabet.letters).svg(label=f"{name}, aligned"),
                logo(match, alphabet.letters).svg(label=f"best match of {name}"),
            )
    return pairs


def aligned(
    ppm: NDArray[np.float64], match: NDArray[np.float64], has_complement: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Align a motif with its match at the offset, in DNA also on the strand, of most similarity.

    Parameters
    ----------
    ppm, match
        Matrices of shapes (w, A) and (v, A).
    has_complement
        Whether the match may be reverse-complemented.

    Returns
    -------
    Two matrices of the same shape (width of the alignment, A), padded with uninformative rows.
    """
    found = alignment(ppm, match, has_complement)
    other = match[::-1, ::-1] if found.is_reversed else match
    offset = found.offset
    first, last = min(0, offset), max(len(ppm), offset + len(match))

    def framed(matrix: NDArray[np.float64], at: int) -> NDArray[np.float64]:
        rows = (at - first, last - at - len(matrix))
        return np.pad(matrix, (rows, (0, 0)), constant_values=1 / ppm.shape[1])

    return framed(ppm, 0), framed(other, offset)


@dataclass(frozen=True)
class Example:
    """An example site and the text below its track.

    `position` names the interval in the record (counted from 1), the strand if there is one, and
    the split.
    """

    position: str
    svg: str


def example_sites(results: Results) -> dict[str, list[Example]]:
    """Return the discovery sites with the highest attribution of each motif, highest first.

    Each site is read along the strand of the motif. Only one site per record is shown, because
    sites in a repeat overlap. If several records contain a site, the one with the highest
    attribution is used. Motifs without a site are left out.
    """
    explained = results.explained
    if explained is None or explained.is_attention or results.motifs is None:
        return {}
    alphabet = get_alphabet(results.corpus["alphabet"])
    discovery = results.discovery.drop_duplicates(["chrom", "start", "end", "name"])
    found = site_positions(discovery, explained.records)
    # a record may be explained for several targets; the motif belongs to one
    own = found["name"].map(results.motifs.set_index("name")["target"]).to_numpy()
    targets = explained.records["target"].to_numpy()
    found = found[targets[found["record"].to_numpy(dtype=int)] == own]
    # (records, L + 1), the sum over all positions before
    attribution = importance(explained.hypothetical)
    up_to = np.pad(attribution.cumsum(axis=1, dtype=np.float64), ((0, 0), (1, 0)))
    record, start, end = found[["record", "position", "end"]].to_numpy(dtype=int).T
    highest_first = np.argsort(up_to[record, start] - up_to[record, end], kind="stable")
    distinct = found.iloc[highest_first].drop_duplicates("site").drop_duplicates(["name", "record"])
    shown = distinct.groupby("name", sort=False).head(COUNT)
    shown = shown[["name", "record", "position", "end", "strand"]]
    examples: dict[str, list[Example]] = {}
    for name, record, start, end, strand in shown.itertuples(index=False):
        about = explained.records.iloc[record]
        before, after = min(FLANK, start), min(FLANK, about["length"] - end)
        track = explained.track(record)[start - before : end + after]
        if strand == "-":
            # Reversing positions and bases gives the reverse complement, because the bases are in
            # the order ACGT
            track, before = track[::-1, ::-1], after
        on_strand = f", {strand} strand" if alphabet.has_complement else ""
        position = f"positions {start + 1} to {end} of {about['id']}{on_strand}, {about['split']}"
        svg = logos.track(track, alphabet.letters, -before).svg(
            label=f"{name}, {position}", height=HEIGHT, shaded=(0, end - start)
        )
        examples.setdefault(str(name), []).append(Example(position, svg))
    return examples


@dataclass(frozen=True)
class MapFigure:
    """One sequence: its id, label (if there are labels) and split, score, layers, and JSON."""

    id: str
    of: str
    score: float
    layers: int
    data: str


def attention_figures(results: Results) -> list[MapFigure]:
    """Return the sequences whose maps `explain` wrote, with the motif discovery sites in them."""
    if results.explained is None or not results.explained.maps:
        return []
    by_id = results.records.set_index("id", drop=False)
    records = by_id.loc[list(results.explained.maps)].reset_index(drop=True)
    sites = site_positions(results.discovery, records)
    figures = []
    for row, (name, mapped) in enumerate(results.explained.maps.items()):
        here = sites[sites["record"] == row].sort_values("position")
        letters = mapped.letters.tobytes().decode() if len(mapped.letters) <= MAX_SEQUENCE else ""
        data = {
            "edges": mapped.layers[0].edges.tolist(),
            "letters": letters,
            "sites": here[["name", "position", "end"]].to_numpy().tolist(),
            "layers": [_shades(layer.weights) for layer in mapped.layers],
        }
        label = records["label"].iloc[row]
        known = "unlabelled" if pd.isna(label) else "positive" if label == 1 else "negative"
        split = str(records["split"].iloc[row])
        of = f"{known}, {split}" if results.records["label"].notna().any() else split
        figures.append(MapFigure(name, of, mapped.score, len(mapped.layers), json.dumps(data)))
    return figures


def _shades(weights: NDArray[np.float32]) -> dict[str, Any]:
    """Convert weights (S, S) to bytes; 255 stands for `top` and all higher values."""
    top = float(np.quantile(weights, DARKEST)) or 1.0
    shades = np.rint(np.minimum(weights / top, 1) * 255).astype(np.uint8)
    return {"top": top, "shades": b64encode(shades.tobytes()).decode()}

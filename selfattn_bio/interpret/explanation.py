"""Explain a model's scores letter by letter: `explain` in, `Explanation` out, to a folder and back, and on to motifs.

Hides: padding of unequal lengths, and the files of a relevance folder. The public door of the room, beside `MotifSet`. It is long because
what is asked, what comes back and its folder are one thing, for models of one input and of two.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from selfattn_bio.config import NO_DATABASE, TrackPartner
from selfattn_bio.data.batches import pad_letters
from selfattn_bio.data.inputs import Pair
from selfattn_bio.errors import ResultsError
from selfattn_bio.files import check_replaceable, whole_folder
from selfattn_bio.interpret.callers import Caller, build_caller
from selfattn_bio.interpret.formats.modisco import write_modisco_h5, write_npz
from selfattn_bio.interpret.logos import draw_letters
from selfattn_bio.interpret.methods import AttnLRPCopies, ByGradient, DeepLiftShap, Method, Received, Scoring
from selfattn_bio.interpret.motifs import MotifSet, build_motifs
from selfattn_bio.interpret.readout import AttentionMap, has_attention, read_letters
from selfattn_bio.interpret.refine import refine_patterns
from selfattn_bio.interpret.relevance import BATCH, importance, paired_batches
from selfattn_bio.interpret.svg import track_svg
from selfattn_bio.interpret.targets import Target
from selfattn_bio.motifs import open_database
from selfattn_bio.scoring.inputs import read_inputs
from selfattn_bio.scoring.partners import Partners, read_partners
from selfattn_bio.scoring.scorer import PairedScorer, Scorer, load_single
from selfattn_bio.sequence.alphabet import LEVELS, get_alphabet

PLACE = ("chrom", "start", "end", "strand")
ARRAYS, RECORDS, ABOUT, MAPS = "relevance.npz", "records.parquet", "relevance.json", "maps.npz"
PARTNER = "partner"  # a relevance folder within that of the first input
MAP_BINS = 150  # stretches along a map's side, at most
SOURCE = ("weights_sha256", "corpus_fingerprint", "split_sha256")  # of a model's provenance: whose relevance a folder holds
SHOWN, SHOWN_LETTERS = 3, 200  # sequences and letters of each that a notebook is shown
AGAIN = "Run `selfattn-bio explain` again"


@dataclass(frozen=True)
class MappedSequence:
    """The attention maps of one sequence, a proposal.

    Attributes
    ----------
    letters
        (L,) ASCII.
    logit
        What the model says of it.
    layers
        The map of each layer, as `attention_maps` reads them; all have the same edges.
    """

    letters: NDArray[np.uint8]
    logit: float
    layers: Sequence[AttentionMap]


@dataclass(frozen=True)
class Explanation:
    """What each letter of some sequences means to a model.

    Attributes
    ----------
    records
        One row a sequence: id, length; chrom, start, end, strand (missing if unknown); anything else that was known.
    letters
        (n, L) ASCII, padded with 0.
    hypothetical
        (n, L, A) float32: what each letter would do to the output at each position, with a mean of 0 over the letters; the order of the
        letters is the alphabet's; 0 in padding. (n, L, 0) of a method that is a proposal.
    attention
        (n, L) float32: raw attention received, or what the method found if it is a proposal. A proposal of where to look, no explanation;
        0 throughout for a network without attention.
    alphabet
        dna or protein.
    source
        `SOURCE` of the model folder, where the command that knows it made this; else empty.
    method
        Name of the method.
    target
        What was explained, as text; empty for the one output of positives against negatives.
    maps
        Id of a record -> its attention maps; of the few that were chosen for it, which need not be among those explained.
    partner
        Of a model of two inputs the same of the second, row by row; of a track the letters are its levels (`sequence.levels`).
    """

    records: pd.DataFrame
    letters: NDArray[np.uint8]
    hypothetical: NDArray[np.float32]
    attention: NDArray[np.float32]
    alphabet: str
    source: Mapping[str, str] = field(default_factory=dict)
    method: str = AttnLRPCopies.name
    target: str = ""
    maps: Mapping[str, MappedSequence] = field(default_factory=dict)
    partner: Explanation | None = None

    def __repr__(self) -> str:
        return f"Explanation of {len(self)} {self.alphabet} sequence{'s' * (len(self) != 1)}, {self.letters.shape[1]} letters at most"

    def _repr_html_(self) -> str:
        """The first sequences as letter tracks, of long ones the beginning."""
        tracks = "".join(
            f"<div>{escape(name)}{f', letters 1 to {SHOWN_LETTERS} of {len(track)}' * (len(track) > SHOWN_LETTERS)}</div>"
            + track_svg(track[:SHOWN_LETTERS], get_alphabet(self.alphabet).letters, label=f"letter track of {name}")
            for name, track in ((self.ids[row], self.track(row)) for row in range(0 if self.is_track else min(SHOWN, len(self))))
        )
        method = f"{escape(self.method)}{', a proposal' * self.proposal}"
        return f'<div style="overflow-x:auto"><b>{escape(repr(self))}</b> ({method}){tracks}</div>'

    def __len__(self) -> int:
        return len(self.records)

    @property
    def ids(self) -> list[str]:
        """The sequences' names, in order."""
        return self.records["id"].tolist()

    @property
    def sequences(self) -> list[str]:
        """The letters of each sequence, in order."""
        return [row[:length].tobytes().decode() for row, length in zip(self.letters, self.records["length"], strict=True)]

    @property
    def proposal(self) -> bool:
        """Whether it says where to look only: of a form of attention."""
        return not self.hypothetical.shape[2]

    @property
    def is_track(self) -> bool:
        """Whether the letters are levels of a track of numbers."""
        return self.alphabet == LEVELS.name

    @property
    def relevance(self) -> list[NDArray[np.float32]]:
        """Per sequence the importance of each letter, (length,), never negative: the L2 norm over its hypothetical scores, or of a proposal
        the attention."""
        rows = self.attention if self.proposal else importance(self.hypothetical)
        return [row[:length] for row, length in zip(rows, self.records["length"], strict=True)]

    def motifs(
        self,
        database: str | None = "jaspar:insects",
        *,
        caller: Caller | None = None,
        max_motifs: int = 25,
        say: Callable[[str], None] = print,
    ) -> MotifSet:
        """Find what the relevant spans have in common, and which known motif each looks like.

        Parameters
        ----------
        database
            `jaspar:GROUP` (insects, vertebrates, plants, fungi, nematodes), or a path to MEME, JASPAR or TRANSFAC text; None or "none" for
            no match.
            Protein is matched with none: its motifs have no match, whatever is named here.
        caller
            `Modisco()` or `Clusters()` of `interpret.callers`; without one modisco for DNA and clusters for protein.
        max_motifs
            At most so many, those of most sites.
        say
            Told, in a line, how many were found, or why none.

        Raises
        ------
        ValueError
            If the method is a proposal, the letters are levels of a track, or the caller cannot read the alphabet (modisco and protein).
        DatabaseError
            If the database cannot be read.
        """
        if self.proposal:
            raise ValueError(f"motifs must be of a method with scores of letters, got {self.method!r}, which is a proposal")
        if self.is_track:
            raise ValueError("motifs must be of letters, got the levels of a track")
        alphabet = get_alphabet(self.alphabet)
        known = open_database(database) if database and database != NO_DATABASE and alphabet.has_complement else {}
        found = (caller or build_caller(None, alphabet)).call(self.letters, self.hypothetical, alphabet)
        sequences = [row[:length] for row, length in zip(self.letters, self.records["length"], strict=True)]
        patterns = refine_patterns(found.patterns, sequences, self.relevance)[:max_motifs]
        say(f"{len(patterns)} motifs from {found.num_seqlets} seqlets of {len(self)} sequences{': ' * bool(found.note)}{found.note}")
        return build_motifs(patterns, self.records, known)

    def track(self, row: int = 0) -> NDArray[np.float32]:
        """What `plot` draws of one sequence, (length, A): the score of each letter in its own column, else 0; 0 where it is unknown."""
        length = int(self.records["length"].iloc[row])
        there = self.letters[row, :length, None] == np.frombuffer(get_alphabet(self.alphabet).letters.encode(), dtype=np.uint8)
        heights = self.attention[row, :length, None] if self.proposal else self.hypothetical[row, :length]
        return heights * there

    def plot(self, row: int = 0) -> Figure:
        """Draw one sequence: each letter as tall as its score, upwards where it speaks for what is explained, in units of the output.

        A letter's score is its hypothetical one: how much higher the logit is for it than for the mean of the letters there. Of a track the
        scores are bars; of a proposal they are the attention.
        """
        track = self.track(row)
        figure = Figure(figsize=(1 + 0.12 * len(track), 1.8), layout="constrained")
        axes = figure.subplots()
        if self.is_track:
            axes.bar(np.arange(len(track)), track.sum(axis=1), width=1)
        else:
            draw_letters(track, axes, get_alphabet(self.alphabet).letters)
        axes.set(title=self.ids[row], xlabel="letter of the sequence", ylabel=f"{self.method}, a proposal" if self.proposal else "logits")
        return figure

    def to_npz(self, folder: str | Path) -> None:
        """Write ohe.npz, attributions.npz and regions.npz, which the programs `modisco` and `finemo` take; as `write_npz`, DNA only."""
        write_npz(folder, self.letters, self.hypothetical)

    def to_modisco(self, motifs: MotifSet, path: str | Path) -> None:
        """Write motifs that were found in this as `modisco motifs` writes its h5, which `modisco report` and `finemo` read; DNA only."""
        write_modisco_h5(path, motifs.motifs, self.letters, self.hypothetical)

    def save(self, folder: str | Path) -> None:
        """Write the relevance folder: arrays, records, alphabet and source, and the maps where there are some; `load` reads it back.

        Raises
        ------
        OutputError
            If the folder exists and is neither empty nor a relevance folder: it would be replaced.
        """
        check_output(folder)
        with whole_folder(folder) as temporary:
            np.savez_compressed(temporary / ARRAYS, letters=self.letters, hypothetical=self.hypothetical, attention=self.attention)
            if self.maps:
                arrays: dict[str, Any] = {"ids": np.array(list(self.maps)), "logits": np.array([each.logit for each in self.maps.values()])}
                for i, each in enumerate(self.maps.values()):
                    weights = np.stack([layer.weights for layer in each.layers])
                    arrays |= {f"letters_{i}": each.letters, f"edges_{i}": each.layers[0].edges, f"weights_{i}": weights}
                np.savez_compressed(temporary / MAPS, **arrays)
            self.records.to_parquet(temporary / RECORDS, index=False)
            about = {"alphabet": self.alphabet, "method": self.method, "target": self.target, **self.source}
            (temporary / ABOUT).write_text(json.dumps(about) + "\n", encoding="utf-8")
            if self.partner:
                self.partner.save(temporary / PARTNER)

    @classmethod
    def load(cls, folder: str | Path) -> Explanation:
        """Read a relevance folder.

        Raises
        ------
        ResultsError
            If a part is missing, damaged, or of another number of records.
        """
        folder = Path(folder)
        try:
            about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            source = {key: about[key] for key in SOURCE if key in about}
            records = pd.read_parquet(folder / RECORDS)
            # Opened here, because np.load leaves the file open where it is no whole archive.
            with (folder / ARRAYS).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                loaded = cls(
                    *(records, arrays["letters"], arrays["hypothetical"], arrays["attention"], about["alphabet"], source),
                    about["method"],
                    about["target"],
                    maps=_read_maps(folder / MAPS),
                    partner=cls.load(folder / PARTNER) if (folder / PARTNER).is_dir() else None,
                )
        except FileNotFoundError as error:
            message = f"relevance folder must hold {ARRAYS}, {RECORDS} and {ABOUT}, got no {Path(error.filename).name}"
            raise ResultsError(message, place=str(folder), cure=AGAIN) from None
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise ResultsError(f"relevance folder must be whole, got {error}", place=str(folder), cure=AGAIN) from error
        rows = {len(records), len(loaded.letters), len(loaded.hypothetical), len(loaded.attention)}
        if len(rows) > 1:
            message = f"parts of a relevance folder must have one row a record, got {' and '.join(map(str, sorted(rows)))}"
            raise ResultsError(message, place=str(folder), cure=AGAIN)
        return loaded


def check_output(folder: str | Path) -> None:
    """Whether a relevance folder may be written there, as `files.check_replaceable`."""
    check_replaceable(folder, "relevance", (ARRAYS, RECORDS, ABOUT, MAPS, PARTNER), ABOUT)


def _read_maps(path: Path) -> dict[str, MappedSequence]:
    if not path.exists():
        return {}
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return {
            str(name): MappedSequence(
                arrays[f"letters_{i}"], float(logit), [AttentionMap(arrays[f"edges_{i}"], layer) for layer in arrays[f"weights_{i}"]]
            )
            for i, (name, logit) in enumerate(zip(arrays["ids"], arrays["logits"], strict=True))
        }


def attention_maps(scorer: Scorer, letters: NDArray[np.uint8], bins: int = MAP_BINS) -> list[AttentionMap]:
    """The attention map of each layer of one sequence, mean over heads, of the model's first member; a proposal.

    Parameters
    ----------
    scorer
        Whose network has attention (`readout.has_attention`).
    letters
        (L,) ASCII.
    bins
        Stretches along a map's side, at most.

    Raises
    ------
    ValueError
        If the network has no attention, as the CNN, or `bins` is not positive.
    """
    reading = read_letters(scorer, letters[None], [""])
    return [reading.map(layer=layer, bins=bins) for layer in range(len(reading.layers[0]))]


def explain(
    model: Scorer | str | Path,
    sequences: Sequence[str] | str | Path,
    *,
    partner: Partners | None = None,
    method: Method | None = None,
    target: Target | None = None,
    say: Callable[[int], None] | None = None,
) -> Explanation:
    """Explain an output of each sequence, letter by letter.

    `explain("results/promoter/model", ["ACGT..."]).relevance[0]` has one number a letter.

    Parameters
    ----------
    model
        A model folder, or what `load` returned of one: of several, explain each of their `members`.
    sequences
        Strings, or the path of a FASTA file (plain, gz, bgzip).
    partner
        Of a model of two inputs the second of each sequence, as of `score_sequences`; its letters are explained too.
    method
        One of `interpret.methods`, such as `Saturation()`; `AttnLRPCopies()` if not given.
    target
        Which output; needed of a model with several. Of one with outputs a token or place also which of them.
    say
        Told how many sequences are done, from time to time.

    Raises
    ------
    SequenceFileError
        If the file is malformed, a letter is outside the alphabet, or a record is shorter than the model's k.
    ValueError
        If there is no sequence, one of a list is shorter than the model's k, the model is several or lacks the target, the method is
        none, such as a kind of the run file, or cannot be asked of the model: a form of attention of a network that has none; or a
        partner is missing or too many.
    """
    if method is not None and not isinstance(method, Method):
        raise ValueError(f"method must be one of selfattn_bio.interpret.methods, such as Guided(), got {method!r}")
    scorer = load_single(model)
    inputs = list(read_inputs(scorer.spelling, sequences, scorer.tokenizer.k))
    ids, partner_of = pd.DataFrame({"id": [each.id for each in inputs]}), read_partners(scorer, partner)
    asked: dict[str, Any] = {"method": method or AttnLRPCopies(), "target": target or Target(), "say": say}
    if partner_of:
        return explain_pairs(scorer, [Pair(each.letters, partner_of(each)) for each in inputs], ids, **asked)
    return explain_letters(scorer, [each.letters for each in inputs], ids, **asked)


def explain_pairs(
    scorer: Scorer,
    pairs: Sequence[Pair],
    records: pd.DataFrame,
    *,
    method: Method,
    target: Target = Target(),  # noqa: B008
    say: Callable[[int], None] | None = None,
) -> Explanation:
    """`explain_letters` of both inputs of a model of two, each with the other held as it is.

    What is explained is the same output at the same place, so that by AttnLRP the relevance of both inputs together is kept. A method by
    gradient is asked for as many pairs as a backward pass holds, another one pair after the other.

    Raises
    ------
    ValueError
        As `explain_letters`; or if the method reads weights of attention, of which those of two inputs are not kept.
    """
    assert isinstance(scorer, PairedScorer)
    if not isinstance(method, Scoring) or isinstance(method, DeepLiftShap):
        raise ValueError(f"method must be one that can explain two inputs, got {method.name!r}")
    if not pairs:
        raise ValueError("sequences must be at least one, got none")
    whole, done = isinstance(method, ByGradient), 0
    parts: list[list[Explanation]] = [[], []]
    first, partner = [pair.first for pair in pairs], [pair.partner for pair in pairs]
    # A sequence beside another does not stand where that one does, but a track does.
    of_partners = records if isinstance(scorer.run.partner, TrackPartner) else records.drop(columns=list(PLACE), errors="ignore")
    for batch in paired_batches(first, partner) if whole else (slice(i, i + 1) for i in range(len(pairs))):
        views = (scorer.of_first(partner[batch]), first, records), (scorer.of_partner(first[batch]), partner, of_partners)
        for found, (view, letters, table) in zip(parts, views, strict=True):
            found.append(explain_letters(view, letters[batch], table.iloc[batch], method=method, target=target))
        done += len(first[batch])
        if say:
            say(done)
    return replace(_joined(parts[0]), partner=_joined(parts[1]))


def _joined(parts: Sequence[Explanation]) -> Explanation:
    """Explanations of the same model one below the other."""
    length = max(part.letters.shape[1] for part in parts)

    def padded(arrays: Iterable[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate([np.pad(each, [(0, 0), (0, length - each.shape[1])] + [(0, 0)] * (each.ndim - 2)) for each in arrays])

    return replace(
        parts[0],
        records=pd.concat([part.records for part in parts], ignore_index=True),
        letters=padded(part.letters for part in parts),
        hypothetical=padded(part.hypothetical for part in parts),
        attention=padded(part.attention for part in parts),
    )


def explain_letters(
    scorer: Scorer,
    letters: Sequence[NDArray[np.uint8]],
    records: pd.DataFrame,
    *,
    method: Method,
    target: Target = Target(),  # noqa: B008
    say: Callable[[int], None] | None = None,
) -> Explanation:
    """`explain` of ASCII arrays with a table of their records (id, and any of chrom, start, end, strand and more)."""
    if not len(letters):
        raise ValueError("sequences must be at least one, got none")
    if short := [len(row) for row in letters if len(row) < scorer.tokenizer.k]:
        raise ValueError(f"sequences must be at least k = {scorer.tokenizer.k} letters long, got {min(short)}")
    target.check(scorer, [len(row) for row in letters])
    padded = pad_letters(list(letters))
    size = len(scorer.alphabet.letters) if isinstance(method, Scoring) else 0
    hypothetical = np.zeros((*padded.shape, size), dtype=np.float32)
    attention = np.zeros(padded.shape, dtype=np.float32)
    for start in range(0, len(letters), BATCH):
        some = letters[start : start + BATCH]
        if isinstance(method, Scoring):
            found = Received().received(scorer, some, target) if has_attention(scorer) else []
            for row, scores in enumerate(_scores(method, scorer, some, target), start):
                hypothetical[row, : len(scores)] = scores
        else:
            found = method.relevance(scorer, some, target)
        for row, received in enumerate(found, start):
            attention[row, : len(received)] = received
        if say:
            say(start + len(some))
    table = records.reset_index(drop=True).assign(length=[len(row) for row in letters])
    return Explanation(
        table.reindex(columns=[*table, *(name for name in PLACE if name not in table)]),
        padded,
        hypothetical,
        attention,
        scorer.alphabet.name,
        method=method.name,
        target=str(target),
    )


def _scores(method: Scoring, scorer: Scorer, letters: Sequence[NDArray[np.uint8]], target: Target) -> list[NDArray[np.float32]]:
    """Return the hypothetical scores of a model: of both strands and the stack where it has them."""
    scores = method.scores(scorer, letters, target)
    if scorer.run.both_strands:
        # The other strand counts positions from the other end, and ACGT reversed is its complement.
        other = method.scores(scorer, [scorer.alphabet.reverse_complement(row) for row in letters], target)
        scores = [((one + two[::-1, ::-1]) / 2).astype(np.float32) for one, two in zip(scores, other, strict=True)]
    return scorer.stack.attributions(scores, letters) if scorer.stack else scores

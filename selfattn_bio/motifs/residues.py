"""Motifs as patterns: regular expressions as in ELM, and files of ELM and PROSITE.

`PKK[KR]RKV` has K or R at its fourth position, and `G.G..G.V` any residue between others.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

import numpy as np
from Bio.Data import IUPACData

from selfattn_bio.arrays import Bools, Floats
from selfattn_bio.errors import ArgumentError
from selfattn_bio.sequence.alphabet import DNA, PROTEIN, RNA, Alphabet

MAJORITY, SET, SET_SIZE = 0.5, 0.75, 5  # fractions of the sites, and most residues of a set
LEAST = 0.1  # fraction of the sites; with 0.08 the consensus has residues that were not planted
MAX_FORMS = 64  # of a pattern
MAX_REPEATS = 1000  # of a position
ELEMENT = re.compile(r"([A-Z.]|\[\^?[A-Z]+\])(?:\{(\d+)(?:,(\d+))?\}|(\?))?")
CODES = {  # Biopython reads X as N
    DNA.letters: IUPACData.ambiguous_dna_values | {"U": "T", "X": "X"},
    RNA.letters: IUPACData.ambiguous_rna_values | {"T": "U", "X": "X"},
    PROTEIN.letters: IUPACData.extended_protein_values,
}
# PROSITE writes P-x(2)-{ED}-[KR]. for P.{2}[^ED][KR]
PROSITE = str.maketrans("x()<>", ".{}^$", "-.") | {ord("{"): "[^", ord("}"): "]"}


# percent of the residues A, C, D, ..., Y, rounded, in UniProtKB/Swiss-Prot (release statistics)
SWISS_PROT = (
    *(8.25, 1.38, 5.46, 6.72, 3.86, 7.07, 2.27, 5.91, 5.80, 9.65),
    *(2.41, 4.06, 4.74, 3.93, 5.53, 6.63, 5.35, 6.86, 1.10, 2.92),
)


def background(alphabet: Alphabet) -> Floats:
    """Return the frequencies of letters in random sequences: of Swiss-Prot, or equal for bases."""
    frequencies = np.array([1.0] * 4 if alphabet.is_nucleic else SWISS_PROT)
    return frequencies / frequencies.sum()


def consensus_of(ppm: Floats) -> str:
    """Return the pattern of a protein motif, (width, 20) probabilities.

    A position has the residues that at least a tenth of the sites have each, if these are at most
    five, and one of them has half of the sites or all together have three quarters. Other positions
    have any residue.
    """
    text = ""
    for column in ppm:
        is_common = column >= LEAST
        found = "".join(np.array(list(PROTEIN.letters))[is_common])
        is_clear = column.max() >= MAJORITY or column[is_common].sum() >= SET - 1e-9
        found = found if is_clear and len(found) <= SET_SIZE else "."
        text += found if len(found) == 1 else f"[{found}]"
    return text


def forms_of(pattern: str, alphabet: Alphabet) -> list[str]:
    """Return the forms of a pattern, or of a consensus, as patterns without repeats and groups.

    `K.{1,2}K` has the forms `K.K` and `K..K`, and `(KR)|(RK)` has `KR` and `RK`. A form keeps `^`,
    the start of a sequence, and `$`, its end. Alphabets with two strands have no such anchors.

    Raises
    ------
    ArgumentError
        If the text has a character that is no code of the alphabet or part of a pattern, an anchor
        elsewhere, alternatives inside a group or a repeated group, more than MAX_FORMS forms, or a
        position that is repeated more than MAX_REPEATS times.
    """
    every: dict[str, None] = {}
    for part in pattern.upper().split("|"):
        form = re.sub(r"\(([^()]*)\)(?![?{])", r"\1", part)
        text = form if alphabet.has_complement else form.removeprefix("^").removesuffix("$")
        forms, at = [""], 0
        while at < len(text):
            found = ELEMENT.match(text, at)
            if not found or not _allowed(found[1], alphabet).any():
                raise ArgumentError(
                    f"invalid character {text[at]!r} in motif {pattern!r} (expected "
                    f"{alphabet.description})"
                )
            at = found.end()
            low = 0 if found[4] else int(found[2] or 1)
            numbers = range(low, int(found[3] or max(low, 1)) + 1)
            if numbers.stop > MAX_REPEATS:
                message = f"motif {pattern!r} repeats a position more than {MAX_REPEATS} times"
                raise ArgumentError(message)
            if len(forms) * len(numbers) > MAX_FORMS:
                raise ArgumentError(f"motif {pattern!r} has more than {MAX_FORMS} forms")
            forms = [each + found[1] * n for each in forms for n in numbers]
        start, end = "^" * form.startswith("^"), "$" * form.endswith("$")
        every |= {start + each + end: None for each in forms if each}
    return list(every)


def matrix_of_form(form: str, alphabet: Alphabet) -> Floats:
    """Return the probabilities (width, A) of a form; the letters of a position are equally likely.

    Anchors are left out.
    """
    elements = [found[1] for found in ELEMENT.finditer(form.strip("^$"))]
    allowed = np.array([_allowed(element, alphabet) for element in elements])
    return allowed / allowed.sum(axis=1, keepdims=True)


def _allowed(element: str, alphabet: Alphabet) -> Bools:
    """Return which letters a position such as `K`, `[KR]` or `[^P]` allows, (A,)."""
    codes = str.maketrans(CODES[alphabet.letters])
    letters = re.sub("^[A-Z]", r"[\g<0>]", element).translate(codes)
    return np.array([bool(re.match(letters, each)) for each in alphabet.letters])


def read_patterns(text: str) -> Iterator[tuple[str, str]]:
    """Yield label and pattern of each class in the table of ELM, or of each entry of PROSITE."""
    if text.startswith(("#", '"')):
        for row in csv.DictReader(re.findall("^[^#].*$", text, re.MULTILINE), delimiter="\t"):
            yield f"{row['ELMIdentifier']} ({row['Accession']})", row["Regex"]
    for name, accession, rest in re.findall(
        r"^ID   (\w+); PATTERN\.\nAC   (\w+);\n((?:(?!//).*\n)*)", text, re.MULTILINE
    ):
        pattern = "".join(re.findall(r"^PA   (.*)$", rest, re.MULTILINE))
        text = pattern.translate(PROSITE)
        # [G>] is G or the end
        yield f"{name} ({accession})", re.sub(r"^(.*)\[(\w+)\$\]$", r"\1[\2]|\1$", text)

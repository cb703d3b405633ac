"""Motifs as patterns: regular expressions as in ELM, and files of ELM and PROSITE.

`PKK[KR]RKV` has K or R at its fourth position, and `G.G..G.V` any residue between others.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

import numpy as np
from Bio.Data import IUPACData

from selfattn_bio.arrays import Floats
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
PROSITE = str.maketrans("x()", ".{}", "-.<>") | {ord("{"): "[^", ord("}"): "]"}


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


def matrices_of(pattern: str, alphabet: Alphabet) -> list[Floats]:
    """Return the matrices, (width, A), of a pattern or consensus: one for each of its forms.

    The letters of a position are equally likely. `K.{1,2}K` has two forms, and so has `(KR)|(RK)`.
    `^` and `$` are ignored.

    Raises
    ------
    ArgumentError
        If the text has a character that is no code of the alphabet or part of a pattern,
        alternatives inside a group or a repeated group, more than MAX_FORMS forms, or a
        position that is repeated more than MAX_REPEATS times.
    """
    codes = str.maketrans(CODES[alphabet.letters])
    matrices: dict[bytes, Floats] = {}
    for part in pattern.upper().split("|"):
        text = re.sub(r"\(([^()]*)\)(?![?{])", r"\1", re.sub(r"\$|^\^", "", part))
        forms, at = [np.empty((0, len(alphabet.letters)))], 0
        while at < len(text):
            found = ELEMENT.match(text, at)
            element = re.sub("^[A-Z]", r"[\g<0>]", found[1]).translate(codes) if found else ""
            allowed = [bool(found and re.match(element, each)) for each in alphabet.letters]
            if not found or not any(allowed):
                raise ArgumentError(
                    f"invalid character {text[at]!r} in motif {pattern!r} (expected "
                    f"{alphabet.description})"
                )
            at, column = found.end(), np.array(allowed) / sum(allowed)
            low = 0 if found[4] else int(found[2] or 1)
            numbers = range(low, int(found[3] or max(low, 1)) + 1)
            if numbers.stop > MAX_REPEATS:
                message = f"motif {pattern!r} repeats a position more than {MAX_REPEATS} times"
                raise ArgumentError(message)
            if len(forms) * len(numbers) > MAX_FORMS:
                raise ArgumentError(f"motif {pattern!r} has more than {MAX_FORMS} forms")
            forms = [np.vstack([form, *[column] * n]) for form in forms for n in numbers]
        matrices |= {form.tobytes(): form for form in forms if len(form)}
    return list(matrices.values())


def read_patterns(text: str) -> Iterator[tuple[str, str]]:
    """Yield label and pattern of each class in the table of ELM, or of each entry of PROSITE."""
    if text.startswith(("#", '"')):
        for row in csv.DictReader(re.findall("^[^#].*$", text, re.MULTILINE), delimiter="\t"):
            yield f"{row['ELMIdentifier']} ({row['Accession']})", row["Regex"]
    for name, accession, rest in re.findall(
        r"^ID   (\w+); PATTERN\.\nAC   (\w+);\n((?:(?!//).*\n)*)", text, re.MULTILINE
    ):
        pattern = "".join(re.findall(r"^PA   (.*)$", rest, re.MULTILINE))
        yield f"{name} ({accession})", pattern.translate(PROSITE)

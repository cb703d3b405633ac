"""Read and write motif files (MEME, JASPAR, TRANSFAC), and open the databases of the package.

Biopython parses JASPAR and TRANSFAC. Its errors do not name the file, so those of this module do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Literal

import numpy as np

from selfattn_bio.arrays import Floats, Integers
from selfattn_bio.compression import open_uncompressed
from selfattn_bio.config import MOTIF_DATABASES, NO_DATABASE
from selfattn_bio.display import one_line
from selfattn_bio.errors import ArgumentError, DatabaseError
from selfattn_bio.log import LOG
from selfattn_bio.motifs.residues import background, forms_of, matrix_of_form, read_patterns
from selfattn_bio.sequence.alphabet import DNA, PROTEIN, RNA, Alphabet

_fail = DatabaseError.fail

SHIPPED = "jaspar:"
RESIDUES = ("#ELM", '"Accession', "CC ", "ID ")  # starts of the files of ELM and PROSITE
TRANSFAC_STARTS = ("VV", "AC", "ID", "NA", "XX", "DE", "P0", "PO")


def open_database(name: str, alphabet: Alphabet = DNA) -> dict[str, Floats]:
    """Read a motif database.

    Parameters
    ----------
    name
        `jaspar:GROUP` for a database that ships with the package (JASPAR 2026 CORE), or a path to
        MEME, JASPAR or TRANSFAC text; for proteins MEME text, the ELM table `elm_classes.tsv` or
        `prosite.dat`.
    alphabet
        Alphabet of the motifs; databases that ship have motifs of bases.

    Returns
    -------
    Motif label -> (width, A) probabilities, as in `read_motifs`.

    Raises
    ------
    DatabaseError
        If there is no such group, or the file cannot be read.
    """
    if not name.startswith(SHIPPED):
        return read_motifs(name, alphabet)
    if name not in MOTIF_DATABASES:
        hint = f"Choose {', '.join(MOTIF_DATABASES)} or a MEME, JASPAR or TRANSFAC file"
        raise DatabaseError(f"unknown motif database {name!r}", hint=hint)
    return read_motifs(shipped() / f"{name.removeprefix(SHIPPED)}.meme.gz", alphabet)


def database_of(name: str | None, alphabet: Alphabet) -> str:
    """Return the name of a database if it has motifs of the alphabet, otherwise "".

    Databases that ship are for DNA. Protein motifs are matched only with files that say that they
    have protein motifs, because a model of two inputs may read DNA and protein, and has one
    database.
    """
    if name in (None, "", NO_DATABASE):
        return ""
    if name in MOTIF_DATABASES:
        return name if alphabet.letters == DNA.letters else ""
    return name if alphabet.is_nucleic or alphabet_of(name) == alphabet else ""


def shipped() -> Path:
    """Return the folder of the databases that ship with the package."""
    return Path(__file__).parent / "jaspar"


def read_motifs(path: str | Path, alphabet: Alphabet = DNA) -> dict[str, Floats]:
    """Read a motif file, plain or gz; the first line determines the format.

    Returns
    -------
    Label -> (width, A) probabilities, in the file's order. JASPAR and TRANSFAC are of bases.

    Raises
    ------
    DatabaseError
        If the file is missing, malformed, in another format, or has no motif.
    """
    path = Path(path)
    lines = database_lines(path, "MEME, JASPAR or TRANSFAC")
    first = next(filter(str.strip, lines), "")
    if first.startswith("MEME version"):
        motifs = read_meme(path, alphabet)
    elif first.startswith(">") and alphabet.is_nucleic:
        motifs = read_counts(path, "JASPAR")
    elif first.startswith(TRANSFAC_STARTS) and alphabet.is_nucleic:
        motifs = read_counts(path, "TRANSFAC")
    elif alphabet == PROTEIN and first.startswith(RESIDUES):
        motifs = read_residues(path)
    else:
        formats = "MEME, JASPAR or TRANSFAC" if alphabet.is_nucleic else "MEME, ELM or PROSITE"
        message = f"not a motif database in {formats} format: it starts with {first[:40]!r}"
        DatabaseError.fail(message, f"{path}:1")
    if not motifs:
        _fail("the motif database contains no motif", path)
    return motifs


def read_residues(path: Path) -> dict[str, Floats]:
    """Read the matrices of `read_forms`, without anchors and without outer positions of any letter.

    Motifs are compared with them.
    """
    motifs: dict[str, Floats] = {}
    for name, form in read_forms(path).items():
        matrix = matrix_of_form(form, PROTEIN)
        known = np.flatnonzero(matrix.max(axis=1) > matrix.min(axis=1))
        motifs |= {name: matrix[known[0] : known[-1] + 1]} if len(known) else {}
    return motifs


def read_forms(path: Path) -> dict[str, str]:
    """Read the patterns of an ELM table or of PROSITE; a pattern may have several forms.

    Patterns that `forms_of` cannot read are left out and logged.

    Raises
    ------
    DatabaseError
        If no pattern can be read.
    """
    motifs: dict[str, str] = {}
    for label, pattern in read_patterns("\n".join(database_lines(path, "ELM or PROSITE"))):
        try:
            for number, form in enumerate(forms_of(pattern, PROTEIN), start=1):
                motifs[f"{label} form {number}" if number > 1 else label] = form
        except ArgumentError as error:
            LOG.warning(f"{path}: {label} is left out: {error}")
    if not motifs:
        _fail("the motif database contains no motif", path)
    return motifs


def matrix_of(motif: str | Floats, alphabet: Alphabet = DNA) -> Floats:
    """Return the probabilities (width, A) of a motif: a consensus, or such probabilities.

    Raises
    ------
    ArgumentError
        If a consensus has other characters, or the probabilities another shape or other sums.
    """
    if isinstance(motif, str):
        return of_consensus(motif, alphabet)
    matrix = np.asarray(motif)
    if matrix.ndim != 2 or matrix.shape[1] != len(alphabet.letters):
        raise ArgumentError(
            f"the probabilities of a motif have shape {matrix.shape} instead of (width, "
            f"{len(alphabet.letters)}) for {alphabet.name}"
        )
    # also false for NaN; published matrices are rounded
    if not len(matrix) or not ((matrix >= 0).all() and (abs(matrix.sum(1) - 1) < 0.05).all()):
        raise ArgumentError(
            "the probabilities of a motif have no row, are negative or do not sum to 1 in each row",
            hint="Divide counts by their sums",
        )
    return matrix


def of_consensus(text: str, alphabet: Alphabet = DNA) -> Floats:
    """Return the probabilities of a consensus in IUPAC codes, or of a pattern, (width, A).

    `of_consensus("TAW")` and `of_consensus("TA[AT]")` have T, A, and A or T with probability 1/2
    each. The anchors `^` and `$` are left out.

    Raises
    ------
    ArgumentError
        If the text is empty, has a character that is no IUPAC code (X is none in DNA), or several
        forms (`residues.forms_of`).
    """
    forms = forms_of(text, alphabet)
    if not forms:
        raise ArgumentError("a motif is empty text")
    if len(forms) > 1:
        raise ArgumentError(f"motif {text!r} has {len(forms)} forms; give each of them")
    return matrix_of_form(forms[0], alphabet)


def database_lines(path: Path, format_name: str) -> list[str]:
    """Return all lines of a motif file, plain or compressed.

    Raises
    ------
    DatabaseError
        If the file does not exist, cannot be read, or is not text.
    """
    if not path.exists():
        _fail("motif database not found", path, f"Give the path of a {format_name} file")
    try:
        with open_uncompressed(path, DatabaseError) as file:
            return file.read().decode().splitlines()
    except UnicodeDecodeError as error:
        _fail(f"cannot read this file as {format_name}: {error}", path)


def meme_text(
    ppms: Mapping[str, Floats], num_sites: Mapping[str, int], alphabet: Alphabet = DNA
) -> str:
    """Format motifs as minimal MEME text, version 4.

    Parameters
    ----------
    ppms
        Name -> (width, A) probabilities. Rows sum to 1, columns are in the order of the alphabet.
    num_sites
        Name -> number of sites the motif was built from.
    alphabet
        Alphabet of the motifs, with the background of `residues.background`.
    """
    size = len(alphabet.letters)
    blocks = ["MEME version 4\n", f"ALPHABET= {alphabet.letters}\n"]
    if "T" in alphabet.letters and alphabet.is_nucleic:
        blocks.append(f"strands: +{' -' * alphabet.has_complement}\n")
    pairs = zip(alphabet.letters, background(alphabet), strict=True)
    frequencies = " ".join(f"{letter} {frequency:g}" for letter, frequency in pairs)
    blocks.append(f"Background letter frequencies\n{frequencies}\n")
    for name, ppm in ppms.items():
        rows = "\n".join(" ".join(f"{p:.10f}" for p in row) for row in ppm)
        blocks.append(
            f"MOTIF {one_line(name)}\nletter-probability matrix: alength= {size} w= {len(ppm)} "
            f"nsites= {num_sites[name]} E= 0\n{rows}\n"
        )
    return "\n".join(blocks)


def alphabet_of(path: str | Path) -> Alphabet:
    """Return the alphabet of a database: that of MEME text; protein for ELM and PROSITE."""
    if str(path).startswith(SHIPPED):
        return DNA
    lines = database_lines(Path(path), "MEME")
    named = next((line.partition("=")[2].strip() for line in lines if "ALPHABET" in line), "")
    if named == PROTEIN.letters or has_patterns(path):
        return PROTEIN
    return RNA if named == RNA.letters else DNA


def has_patterns(path: str | Path) -> bool:
    """Return whether a database has patterns, as of ELM and PROSITE, and no probabilities."""
    is_file = not str(path).startswith(SHIPPED)
    return is_file and "".join(database_lines(Path(path), "MEME")[:1]).startswith(RESIDUES)


def read_meme(path: str | Path, alphabet: Alphabet = DNA) -> dict[str, Floats]:
    """Read motifs from MEME text, plain or gz.

    The package has its own reader because Biopython's rounds the probabilities to counts and drops
    the names.

    Parameters
    ----------
    path
        The file.
    alphabet
        Alphabet of the motifs.

    Returns
    -------
    "Name (ID)", or "ID" if the MOTIF line has no name -> (width, A) probabilities in the order of
    the alphabet, in the file's order.

    Raises
    ------
    DatabaseError
        If the file is missing, is not MEME text, or has another alphabet. The place is `path:line`.
    """
    path = Path(path)
    lines = database_lines(path, "MEME")
    if not next(filter(str.strip, lines), "").startswith("MEME version"):
        _fail("not a MEME file: it does not start with 'MEME version'", f"{path}:1")
    motifs: dict[str, Floats] = {}
    label, at = "", 0
    while at < len(lines):
        line = lines[at]
        at += 1
        named = line.partition("=")[2].strip().encode()
        if line.startswith("ALPHABET") and alphabet.normalise(named).decode() != alphabet.letters:
            message = f"expected ALPHABET= {alphabet.letters}, found {line.strip()!r}"
            DatabaseError.fail(message, f"{path}:{at}")
        if line.startswith("MOTIF"):
            if label and label not in motifs:
                _fail(f"motif {label!r} has no letter-probability matrix", f"{path}:{at}")
            identifier, *name = line.split()[1:] or [""]
            label = f"{' '.join(name)} ({identifier})" if name else identifier
            _check_label(label, motifs, f"{path}:{at}")
        elif line.startswith("letter-probability matrix"):
            if not label or label in motifs:
                _fail("letter-probability matrix without a MOTIF line before it", f"{path}:{at}")
            motifs[label] = _matrix(lines, at, path, len(alphabet.letters))
            at += len(motifs[label])
    return motifs


def meme_sites(path: str | Path, names: Iterable[str]) -> dict[str, int]:
    """Read the numbers of sites (nsites=) of motifs, `names` in the order of a MEME file.

    Motifs without a number are left out, and so are those of other formats and of databases that
    ship with the package.
    """
    lines = [] if str(path).startswith(SHIPPED) else database_lines(Path(path), "MEME")
    header = r"^letter-probability matrix(?:.*\bnsites=\s*(\d+))?"
    stated = re.findall(header, "\n".join(lines), re.MULTILINE)
    pairs = zip(names, stated, strict=False)
    return {name: int(number) for name, number in pairs if int(number or 0)}


def _check_label(label: str, motifs: Mapping[str, Floats], place: str) -> None:
    """Refuse a motif without a name, or with the name of another one."""
    if not label or label in motifs:
        _fail(f"two motifs are named {label!r}" if label else "a motif has no name", place)


def _matrix(lines: list[str], at: int, path: Path, size: int) -> Floats:
    """Read the rows of `size` numbers that start at line `at` (0-based).

    Raises an error if their number differs from w=.
    """
    stated = re.search(r"\bw=\s*(\d+)", lines[at - 1])
    rows: list[list[float]] = []
    while at + len(rows) < len(lines) and (fields := lines[at + len(rows)].split()):
        try:
            rows.append([float(field) for field in fields])
        except ValueError:
            break
    for number, row in enumerate(rows, start=at + 1):
        if len(row) != size or not (min(row) >= 0 and abs(sum(row) - 1) <= 0.01):
            _fail(f"{row} are not {size} probabilities that sum to 1", f"{path}:{number}")
    if not rows or (stated and int(stated[1]) != len(rows)):
        width = stated[1] if stated else "at least 1"
        message = f"the motif has {len(rows)} row{'s' * (len(rows) != 1)} instead of {width} (w=)"
        raise DatabaseError(message, place=f"{path}:{at}")
    return np.array(rows) / np.sum(rows, axis=1, keepdims=True)


BASES = "ACGT"
Matrices = dict[str, Floats]  # label to (width, 4) probabilities


def jaspar_text(pfms: Mapping[str, Integers]) -> str:
    """Format motifs as JASPAR text: name -> (width, 4) counts, ACGT; one line per base."""
    blocks = []
    for name, pfm in pfms.items():
        rows = [
            f"{letter} [ {' '.join(f'{count:6d}' for count in pfm[:, i])} ]"
            for i, letter in enumerate(BASES)
        ]
        blocks.append("\n".join([f">{one_line(name)}", *rows]) + "\n")
    return "\n".join(blocks)


def transfac_text(pfms: Mapping[str, Integers]) -> str:
    """Format motifs as TRANSFAC text: name -> (width, 4) counts, ACGT; one line per position."""
    from Bio import motifs as bio  # imported here because it takes a moment
    from Bio.motifs import transfac

    motifs = []
    for name, pfm in pfms.items():
        counts = {base: pfm[:, i].tolist() for i, base in enumerate(BASES)}
        motifs.append(transfac.Motif(BASES, counts=counts))
        motifs[-1].update(AC=one_line(name), ID=one_line(name))
    return str(bio.write(motifs, "transfac"))


def read_counts(path: str | Path, format_name: Literal["JASPAR", "TRANSFAC"]) -> Matrices:
    """Read motifs from JASPAR or TRANSFAC text, plain or gz.

    Returns
    -------
    "Name (ID)", or whichever is present, or "ID" if both are equal -> (width, 4) probabilities. In
    TRANSFAC text they are the fields ID (or NA) and AC.

    Raises
    ------
    DatabaseError
        If the file is missing, is not text of this format, has a position without counts, or a
        repeated name.
    """
    from Bio import motifs as bio

    path = Path(path)
    lines = database_lines(path, format_name)
    if format_name == "JASPAR" and len(lines) > 1 and len(lines[1]) > 1 and lines[1].isalpha():
        _fail("this is a FASTA file of sequences, not a JASPAR motif database", f"{path}:2")
    text = "\n".join(lines) + "\n"
    try:
        found = list(bio.parse(StringIO(text), format_name.lower()))
        tables = [
            np.array([motif.counts[base] for base in BASES], dtype=np.float64).T for motif in found
        ]
    except Exception as error:  # Biopython raises various exceptions
        _fail(f"cannot read this file as {format_name}: {error}", path)
    # Biopython skips truncated motifs
    begins = ">" if format_name == "JASPAR" else ("P0", "PO")
    if (begun := sum(line.startswith(begins) for line in lines)) != len(found):
        needed = "4 lines of counts" if format_name == "JASPAR" else "a line P0 and counts"
        _fail(
            f"{begun - len(found)} of {begun} motifs "
            f"{'is' if begun - len(found) == 1 else 'are'} incomplete: {format_name} needs "
            f"{needed} per motif",
            path,
        )
    motifs: Matrices = {}
    for motif, table in zip(found, tables, strict=True):
        if format_name == "JASPAR":
            name, identifier = motif.name, motif.matrix_id
        else:
            name, identifier = motif.get("ID") or motif.get("NA"), motif.get("AC")
        label = name or identifier
        if name and identifier and name != identifier:
            label = f"{name} ({identifier})"
        _check_label(label, motifs, str(path))
        if not np.isfinite(table).all():
            _fail(f"a count of motif {label!r} is not a number", path)
        if not len(table) or (table < 0).any() or (table.sum(axis=1) <= 0).any():
            _fail(f"a position of motif {label!r} has no counts", path)
        motifs[label] = table / table.sum(axis=1, keepdims=True)
    return motifs

"""Read GenBank and EMBL entries with Biopython: id, letters and organism; features are ignored.

Exceptions and warnings of Biopython, which have no line numbers, become errors and counts of the
package.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

from selfattn_bio.sequence.readers.blocks import BlockReader, raise_sequence_error
from selfattn_bio.sequence.readers.fields import ReaderState
from selfattn_bio.sequence.records import Record

ORGANISM, WARNED = "organism", "Biopython warnings"


def read_flat(kind: str, blocks: BlockReader, state: ReaderState) -> Iterator[Record]:
    """Read entries of kind `genbank` or `embl`.

    Raises
    ------
    SequenceFileError
        If Biopython cannot read an entry; if an entry has no letters, a repeated id, or a letter
        outside the alphabet; or if there is no entry.
    """
    from Bio import SeqIO

    number, entries = 0, SeqIO.parse(blocks.text(), kind)
    while (found := _next(entries, kind, number, state)) is not None:
        number += 1
        entry = state.row(found.id, {ORGANISM: found.annotations.get("organism")}, 0)
        entry.body.feed(_letters(found), 0)
        yield entry.record()
    if not number:
        raise_sequence_error(f"no {_NAMES[kind]} entry in the file", state.name)


_NAMES = {"genbank": "GenBank", "embl": "EMBL"}
read_genbank, read_embl = (partial(read_flat, kind) for kind in _NAMES)


def _next(entries: Iterator[Any], kind: str, number: int, state: ReaderState) -> Any:
    """Return the next entry, or None after the last."""
    from Bio import BiopythonWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = next(entries, None)
        except OSError:
            raise
        except Exception as error:  # Biopython raises various exceptions on malformed lines
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise_sequence_error(
                f"Biopython cannot read {_NAMES[kind]} entry {number + 1}: {reason}", state.name
            )
    state.summary.counts[WARNED] += any(
        issubclass(warning.category, BiopythonWarning) for warning in caught
    )
    return found


def _letters(entry: Any) -> bytes:
    from Bio.Seq import UndefinedSequenceError

    try:
        return bytes(entry.seq)
    # An entry without ORIGIN, or with CONTIG: only the length is known
    except UndefinedSequenceError:
        return b""

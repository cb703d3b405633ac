"""Predict which residues of a protein are in contact: one map per sequence, from attention.

The attention weights of each head are made symmetric and corrected for the averages of rows and
columns (average-product correction).

With --contacts, a table `id, i, j` (0-based residues) of two or more of the sequences, a logistic
regression over heads is fitted to the known contacts. Each of these sequences is predicted by a
regression fitted to the others, and the precision of its L best pairs (P@L) is printed by range.
Keep only one protein per family, because relatives share their contacts. Without --contacts, a map
is the mean over heads, not a probability.

Writes PREFIX.contacts.npz (one map per sequence, stored under its id), PREFIX.contacts.tsv (the L
best pairs of each) and, with --contacts, PREFIX.precision.tsv.

example: selfattn-bio contacts --model protein/model --fasta proteins.fa --contacts known.tsv \
--output proteins
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfattn_bio.errors import ModelFolderError, SequenceFileError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio contacts`."""
    parser.add_argument(
        "--model",
        required=True,
        type=Path,
        metavar="DIR",
        help="model folder, trained with [tokens] k = 1",
    )
    parser.add_argument(
        "--fasta",
        required=True,
        type=Path,
        metavar="FILE",
        help="protein sequences with unique ids",
    )
    parser.add_argument(
        "--contacts", type=Path, metavar="TSV", help="known contacts: id, i, j (0-based residues)"
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="PREFIX", help="prefix of the file names"
    )


def run(arguments: argparse.Namespace) -> None:
    """Predict contact maps; write maps, best pairs and, with known contacts, the precision."""
    import numpy as np
    import pandas as pd

    from selfattn_bio.files import whole_file
    from selfattn_bio.interpret.contacts import (
        head_maps,
        precision_at_length,
        predict_contacts,
        read_contacts,
    )
    from selfattn_bio.scoring.inputs import read_sequences
    from selfattn_bio.scoring.scorer import check_one_input, load

    scorer = load(arguments.model)
    check_one_input(scorer, "contacts")
    if scorer.tokenizer.k != 1:
        message = (
            f"contacts need one token per residue, but this model reads {scorer.tokenizer.k}-mers"
        )
        raise ModelFolderError(
            message, place=str(arguments.model), hint="Train with [tokens] k = 1"
        )
    ids, letters = read_sequences(scorer.policy, arguments.fasta, scorer.tokenizer.k)
    if not ids:
        raise SequenceFileError("the file has no sequences", place=str(arguments.fasta))
    if repeated := [name for name, count in Counter(ids).items() if count > 1]:
        raise SequenceFileError(
            f"id {repeated[0]!r} is used more than once", place=str(arguments.fasta)
        )
    lengths = dict(zip(ids, map(len, letters), strict=True))
    known = read_contacts(arguments.contacts, lengths) if arguments.contacts else {}
    maps = [head_maps(scorer, row) for row in letters]
    found = predict_contacts(maps, {ids.index(name): contacts for name, contacts in known.items()})
    with whole_file(f"{arguments.output}.contacts.npz") as path, path.open("wb") as file:
        arrays: dict[str, Any] = {
            name: each.astype(np.float32) for name, each in zip(ids, found, strict=True)
        }
        np.savez_compressed(file, **arrays)
    best = pd.concat(
        [_best(name, scores, known.get(name)) for name, scores in zip(ids, found, strict=True)]
    )
    _write(best, Path(f"{arguments.output}.contacts.tsv"))
    if len(known) < 2:
        _say(
            f"{len(ids)} maps are means over heads, because a regression needs the known contacts "
            "of at least two sequences"
        )
    if known:
        rows = [
            {"id": name} | precision_at_length(found[ids.index(name)], contacts)
            for name, contacts in known.items()
        ]
        precision = pd.DataFrame(rows)
        _write(precision, Path(f"{arguments.output}.precision.tsv"))
        means = ", ".join(f"{name} {precision[name].mean():.3f}" for name in precision.columns[1:])
        _say(f"P@L, mean over {len(known)} sequences: {means}")
    _say(f"wrote {arguments.output}.contacts.npz and .tsv")


def _best(
    name: str, scores: NDArray[np.float64], contacts: NDArray[np.bool_] | None
) -> pd.DataFrame:
    """Return the L best pairs at least `NEAREST` apart: id, i, j (0-based), score, contact."""
    import numpy as np
    import pandas as pd

    from selfattn_bio.interpret.contacts import NEAREST

    i, j = np.triu_indices(len(scores), NEAREST)
    order = np.argsort(-scores[i, j], kind="stable")[: len(scores)]
    i, j = i[order], j[order]
    contact = pd.Series(
        pd.NA if contacts is None else contacts[i, j], index=range(len(i)), dtype="boolean"
    )
    return pd.DataFrame({"id": name, "i": i, "j": j, "score": scores[i, j], "contact": contact})


def _write(table: pd.DataFrame, output: Path) -> None:
    from selfattn_bio.files import whole_file

    with whole_file(output) as path:
        table.to_csv(path, sep="\t", index=False, float_format="%.6g", lineterminator="\n")


def _say(line: str) -> None:
    print(f"contacts: {line}", flush=True)

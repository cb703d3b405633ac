"""Tables of the benchmark of explanations, from the results of its models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from harness import Row, Table, listed, mean_over_seeds

Result = dict[str, Any]
Groups = Mapping[str, Sequence[Result]]  # by grammar, or "shuffled labels"


def tables(results: Sequence[Result], methods: Iterable[str]) -> Iterator[Table]:
    """Yield all tables that have rows."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        is_shuffled = result["run"]["labels"] == "shuffled"
        name = "shuffled labels" if is_shuffled else result["run"]["grammar"]
        groups.setdefault(name, []).append(result)
    explained = {name: [of for of in group if of["explained"]] for name, group in groups.items()}
    measured = {name: group for name, group in explained.items() if group and "letters" in group[0]}
    found = [Table("Models", list(model_rows(groups)))]
    for name, group in measured.items():
        fraction = np.mean([each["letters"][next(iter(methods))]["fraction"] for each in group])
        title = f"Positions, grammar {name} ({len(group)} models; "
        title += f"{fraction:.3f} of the positions are planted)"
        found.append(Table(title, list(position_rows(group, methods))))
    proteins = [each["motifs"] for each in explained.get("proteins", [])]
    found += [
        Table("Motifs of proteins", list(protein_rows(proteins))),
        Table("Motifs", list(motif_rows(measured))),
        Table("Interactions between called sites", list(interaction_rows(measured))),
        Table("Controls, by seed", list(control_rows(groups))),
    ]
    yield from (table for table in found if table.rows)


def model_rows(groups: Groups) -> Iterator[Row]:
    """Return test AUROC and the number of explained models."""
    for name, group in groups.items():
        yield {
            "grammar": name,
            "test AUROC": mean_over_seeds(each["auroc"] for each in group),
            "by seed": listed(each["auroc"] for each in group),
            "explained": str(sum(each["explained"] for each in group)),
        }


def position_rows(group: Sequence[Result], methods: Iterable[str]) -> Iterator[Row]:
    """Return the AUPR of planted positions, and the time, of each method."""
    for method in methods:
        of = [each["letters"][method] for each in group]
        yield {
            "method": method,
            "AUPR": mean_over_seeds(each["aupr"] for each in of),
            "CPU s / 1,000": mean_over_seeds((each["seconds"] for each in of), 2),
        }
    random = mean_over_seeds(each["random"]["aupr"] for each in group)
    yield {"method": "final method, random parameters", "AUPR": random, "CPU s / 1,000": ""}


def motif_rows(measured: Groups) -> Iterator[Row]:
    """Return the measures of called sites and matrices."""
    keys = {
        "seqlet F1": "f1",
        "precision": "precision",
        "site recall": "recall",
        "motif precision": "matrix_precision",
        "motifs per match": "motifs_each",
    }
    for name, group in measured.items():
        of = [each["motifs"] for each in group]
        found = ", ".join(str(each["found"]) for each in of)
        yield {
            "grammar": name,
            **{
                title: mean_over_seeds((each[key] for each in of), 2 if key == "motifs_each" else 3)
                for title, key in keys.items()
            },
            "planted matrices found, by seed": f"{found} of {of[0]['wanted']}",
        }


def protein_rows(proteins: Iterable[Result]) -> Iterator[Row]:
    """Return the planted patterns that are the consensus of a motif, for each seed."""
    for seed, of in enumerate(proteins):
        yield {
            "seed": str(seed),
            "planted patterns found": f"{of['found']} of {of['wanted']}",
            "motif precision": f"{of['matrix_precision']:.3f}",
            "site precision": f"{of['precision']:.3f}",
            "site recall": f"{of['recall']:.3f}",
            "motifs": ", ".join(f"`{each}`" for each in of["consensus"]),
        }


def interaction_rows(measured: Groups) -> Iterator[Row]:
    """Return the AP of true pairs, and the pairs of motifs called supported."""
    for name, group in measured.items():
        found = [each["interactions"] for each in group if "interactions" in each]
        if found:
            supported, tested = (
                sum(each["false"][key] for each in found) for key in ("supported", "tested")
            )
            yield {
                "grammar": name,
                "AP by epistasis": mean_over_seeds(each.get("ap") for each in found),
                "AP by closeness": mean_over_seeds(each.get("closest") for each in found),
                "fraction of true pairs": mean_over_seeds(each.get("true") for each in found),
                "motif pairs supported, of those tested": f"{supported} of {tested}",
            }


def control_rows(groups: Groups) -> Iterator[Row]:
    """Return the motifs called supported in models without signal."""
    for name in ("none", "shuffled labels"):
        if group := groups.get(name):
            of = [each["motifs"] for each in group]
            yield {
                "control": name,
                "motifs supported": ", ".join(str(each["supported"]) for each in of),
                "motifs": ", ".join(str(each["num_motifs"]) for each in of),
            }

"""Reference of the public names of the package, from their docstrings."""

import inspect

import selfattn_bio
from sitegen.text import prose, table

# Title of the names that each part of the package defines, in the order of a task.
TITLES = {
    "config": "Run files",
    "wizard": "Run files",
    "study": "Tasks and their results",
    "training": "Tasks and their results",
    "scoring": "Using a model",
    "attribution": "Explaining a model and motifs",
    "motifs": "Explaining a model and motifs",
    "evidence": "Explaining a model and motifs",
    "data": "Corpora",
    "sequence": "Alphabets",
    "model": "Networks",
    "attention": "Attention",
}


def names() -> str:
    """Return one section per title, with a table of its names and their purposes."""
    return "\n\n".join(
        f"## {title}\n\n"
        + table(["name", "purpose"], [(f"`{name}`", summary(name)) for name in of])
        for title, of in grouped().items()
    )


def reference() -> str:
    """Return the documentation of all names."""
    directives = "\n".join(
        f".. auto{kind(name)}:: selfattn_bio.{name}\n" for of in grouped().values() for name in of
    )
    return f"## All names in full\n\n```{{eval-rst}}\n{directives}```"


def grouped() -> dict[str, list[str]]:
    """Return the public names of each title."""
    groups: dict[str, list[str]] = {title: [] for title in TITLES.values()}
    for name in selfattn_bio.__all__:
        part = getattr(selfattn_bio, name).__module__.split(".")[1]
        groups[TITLES[part]].append(name)
    return groups


def kind(name: str) -> str:
    """Return "class" or "function"."""
    return "class" if inspect.isclass(getattr(selfattn_bio, name)) else "function"


def summary(name: str) -> str:
    """Return the first line of a docstring."""
    return prose((inspect.getdoc(getattr(selfattn_bio, name)) or "").splitlines()[0])

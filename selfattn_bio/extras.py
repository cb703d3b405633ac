"""Import the libraries of extras, and say how to install them."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

from selfattn_bio.errors import MissingPackageError


def install_command(extra: str) -> str:
    """Return the command that installs an extra of this package."""
    return f"pip install 'selfattn-bio[{extra}]'"


def import_extra(module: str, extra: str, use: str) -> Any:
    """Import a module of an optional library.

    Parameters
    ----------
    module
        The module, such as `opacus.accountants`.
    extra
        The extra that installs its library.
    use
        What needs it, for the message.

    Raises
    ------
    MissingPackageError
        If it cannot be imported.
    """
    handlers = logging.root.handlers[:]
    try:
        return import_module(module)
    except ImportError as error:
        hint = f"Install it with {install_command(extra)}"
        raise MissingPackageError(f"{use} needs the extra {extra} ({error})", hint=hint) from error
    finally:
        logging.root.handlers[:] = handlers  # Opacus adds one, which would print messages twice

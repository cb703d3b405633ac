"""A command that does nothing, for the tests of the frame around commands."""

from types import SimpleNamespace

import pytest

from selfattn_bio.cli import main as cli


@pytest.fixture
def command(monkeypatch):
    """Replace the commands by one test command, `try`; tests set its `run`."""
    module = SimpleNamespace(
        __doc__="Try something.\n\nMore of it.",
        add_arguments=lambda parser: None,
        run=lambda arguments: None,
    )
    monkeypatch.setattr(cli, "COMMANDS", ("try",))
    monkeypatch.setattr(
        cli.importlib, "import_module", {"selfattn_bio.cli.try": module}.__getitem__
    )
    return module


@pytest.fixture
def fails_with(command):
    """Return a function that makes `try` raise an error."""

    def fails_with(error):
        def run(arguments):
            raise error

        command.run = run

    return fails_with

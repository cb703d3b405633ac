"""A command that does nothing, for the tests of the frame around commands."""

import pytest

from selfattn_bio.cli import main as cli
from selfattn_bio.cli.options import Command


@pytest.fixture
def command(monkeypatch):
    """Return a function that replaces the commands by one test command, `try`."""

    def command(run=lambda arguments: None, *options):
        tried = Command("try", "Try something.\n\nMore of it.", options, run)
        monkeypatch.setattr(cli, "COMMANDS", {"try": tried})

    return command


@pytest.fixture
def fails_with(command):
    """Return a function that makes `try` raise an error."""

    def fails_with(error, *options):
        def run(arguments):
            raise error

        command(run, *options)

    return fails_with

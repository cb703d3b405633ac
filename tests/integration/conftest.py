"""Fixtures of the tests of private training."""

import random

import pytest
from small_task import write_task

from selfattn_bio.training import private


@pytest.fixture
def fixed_secrets(monkeypatch):
    """Fix the secrets: with random ones, one batch in 460 is too small for the gradient tests."""
    monkeypatch.setattr(private.secrets, "randbits", random.Random(0).getrandbits)


@pytest.fixture(scope="session")
def private_task(tmp_path_factory):
    """Create a corpus of 48 records of 20 to 39 bases, and a split; return the folder."""
    folder = tmp_path_factory.mktemp("private")
    write_task(folder, "", 24, 24, lengths=(20, 40))
    return folder

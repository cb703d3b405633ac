"""Skip the timing of trainings in tests of init, because it takes seconds."""

import pytest


@pytest.fixture(autouse=True)
def untimed(monkeypatch):
    monkeypatch.setattr("selfattn_bio.wizard._training_time", lambda _: "training was not timed")

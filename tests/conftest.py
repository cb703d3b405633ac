"""Settings of all tests; pytest also puts this folder on the path, for fast_python.py."""

import fcntl
import gc
import os
import sys
from collections.abc import Iterator

import pytest
from fast_python import ADDRESS, fast_python

from selfattn_bio.process import cap_threads, keep_memory

gc.disable()  # nothing is garbage while pytest imports the tests: a quarter of that time
# as in commands, before torch and numba are imported: numba would set two threads for torch as well
cap_threads()
keep_memory()


def pytest_configure(config: pytest.Config) -> None:
    """Start one `fast_python` for all processes of pytest-xdist, which collect in the meantime."""
    if getattr(config.option, "numprocesses", 0):
        os.environ[ADDRESS] = fast_python()


def pytest_collection_finish() -> None:
    """Collect garbage from now on, but not among modules and tests."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Undo a change of PyTorch's threads: two are many times as slow with networks this small."""
    _use_one_thread()  # a fixture of the module may have changed it
    yield
    _use_one_thread()


def _use_one_thread() -> None:
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def free_machine(request, tmp_path_factory) -> Iterator[None]:
    """Run a test marked `alone` while no long test runs in another process of pytest."""
    if not request.node.get_closest_marker("long"):
        yield
        return
    alone = request.node.get_closest_marker("alone")
    # the parent of this process's temporary folder is that of all of them
    with (tmp_path_factory.getbasetemp().parent / "long-tests").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Make a temporary folder the current one, and return it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session", autouse=True)
def few_repeats():
    """Fit at most 100 trees, and choose recipes by 40 resamples: both take the longest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("selfattn_bio.baselines.trees.TREES_PER_RECORD", 0)
        patch.setattr("selfattn_bio.training.trials.RESAMPLES", 40)
        yield

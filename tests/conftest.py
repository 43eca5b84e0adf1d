"""Fixtures that several files of tests share."""

import gc
import os
import signal
from collections.abc import Iterator

import hypothesis
import pytest
import torch

from functional_mlp.cli import main

# The same examples on every machine, however slow it is, and whatever has failed there before.
hypothesis.settings.register_profile("tests", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("tests")

# What whoever runs the tests may have set, and what programs print would depend on.
SETTINGS = ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "MPLBACKEND")


@pytest.fixture(autouse=True, scope="session")
def _settings_of_nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests, and the programs that they run, have the same settings on every machine, and a cache of code of their own.

    The cache is one for all processes that run tests side by side. Ctrl-C is heard, also where a shell has started the
    tests in the background, deaf to it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        for name in SETTINGS:
            patch.delenv(name, raising=False)
        # A proof ends by itself: the limit is for users, and how far one comes in it depends on the machine.
        patch.setattr("functional_mlp.testing.proving.SECONDS", 3600.0)
        if os.environ.get("FUNCTIONAL_MLP_CACHE") != "off":
            shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
            patch.setenv("FUNCTIONAL_MLP_CACHE", str(shared / "code"))
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what needs a GPU where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="there is no NVIDIA GPU here"))


def pytest_collection_finish() -> None:
    """The collector comes more rarely, for there is much to look through by now: it takes a tenth of the time else."""
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run the command in an empty folder: its exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return call

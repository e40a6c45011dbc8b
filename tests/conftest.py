"""What every test gets: no settings of the machine it runs on, and no leftovers in the working folder."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import taskbus

# How long an example takes says more about what else runs on this machine than about us.
settings.register_profile("taskbus", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("taskbus")

# A shell's background job ignores Ctrl-C, and so would every program the tests start to interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def clean_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Run in an empty folder, without ``TASKBUS_*`` variables: a test says itself what it needs.

    The processes of the crash suite are not measured by coverage, which would slow them and dies with them.
    """
    for name in [name for name in os.environ if name.startswith("TASKBUS_")]:
        monkeypatch.delenv(name)
    if request.path.parent.name == "crash":
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def app(tmp_path: Path) -> "Iterator[taskbus.TaskBus]":
    """An application on a SQLite file of its own, closed afterwards."""
    with taskbus.TaskBus("tests", broker=f"sqlite:///{tmp_path}/app.db") as made:
        yield made

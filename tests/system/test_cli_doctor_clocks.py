"""The doctor on real servers whose clock is not this host's."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runs import taskbus

from tests.crash.cases_of_clocks import Shift, no_compiler, shift_of_server
from tests.crash.town import KINDS, url_of

OFF = 90.0


@pytest.fixture
def shift(kind: str) -> Shift:
    return shift_of_server(kind)


@pytest.fixture
def url(kind: str, shift: Shift, tmp_path: Path) -> Iterator[str]:
    """A server on that clock."""
    server = KINDS[kind].start(tmp_path / "server", environment=shift.environment)
    yield url_of(server)
    server.kill()


def clocks(url: str) -> list[tuple[str, str]]:
    done = taskbus("doctor", "-b", url, "-o", "json")
    return [(item["level"], item["text"]) for item in done.json["items"] if item["subject"] == "clock"]


@pytest.fixture(autouse=True)
def parts_are_there(kind: str) -> None:
    if why := no_compiler() or KINDS[kind].obstacle():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)


@pytest.mark.parametrize("kind", ["redis", "postgresql"])
def test_the_doctor_warns_of_a_servers_clock_that_is_not_this_hosts(url: str, shift: Shift) -> None:
    assert clocks(url) == []
    for off, how in ((OFF, "ahead of"), (-OFF, "behind")):
        shift.set(off)
        found = clocks(url)
        assert {level for level, _ in found} == {"warning"}
        for _, text in found:
            seconds = float(text.removeprefix("its clock is ").partition(" ")[0])
            assert abs(seconds - OFF) < 1.0 and text.endswith(f"s {how} this host's")
    shift.set(0.0)
    assert clocks(url) == []

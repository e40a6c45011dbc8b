"""What the doctor makes of a Redis or a database server whose clock is not this host's."""

import re
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from taskbus.broker.transports.redis import examining
from taskbus.database import server_look
from taskbus.database.remark import Remark, Weight

NOW = 1_800_000_000.0
SETTINGS = {"postgresql": {"server_version": "15.8"}, "mysql": {"version": "10.11.6-MariaDB"}}


class RedisLink:
    """A server that may not be asked about anything but the time."""

    def __init__(self, skew: float) -> None:
        self._skew = skew

    def now(self) -> float:
        return NOW + self._skew

    def call(self, *command: str, repeatable: bool) -> dict[bytes, bytes]:
        return {}


def of_redis(skew: float, *, has_passed_clock: bool = False) -> list[Remark]:
    link = RedisLink(skew)
    session: Any = SimpleNamespace(errors=nullcontext, link=lambda: link, has_passed_clock=has_passed_clock)
    return examining.examine(session)


def of_database(dialect: str, skew: float) -> list[Remark]:
    settings = list(SETTINGS[dialect].items())
    database: Any = SimpleNamespace(dialect=dialect, read=lambda sql: settings, server_now=lambda: NOW + skew)
    return server_look.examine(database)


ASKING: dict[str, Callable[[float], list[Remark]]] = {
    "redis": of_redis,
    "postgresql": lambda skew: of_database("postgresql", skew),
    "mysql": lambda skew: of_database("mysql", skew),
}
on_every_server = pytest.mark.parametrize("kind", ASKING)


@pytest.fixture(autouse=True)
def this_hosts_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examining, "wall_clock", lambda: NOW)
    monkeypatch.setattr(server_look, "time", SimpleNamespace(time=lambda: NOW))


def of_clocks(remarks: list[Remark]) -> list[Remark]:
    return [remark for remark in remarks if remark.subject == "clock"]


@on_every_server
@pytest.mark.parametrize(
    ("skew", "says"),
    [
        (1.1, "1.1 s ahead of"),
        (-1.1, "1.1 s behind"),
        (3600.0, "3600.0 s ahead of"),
        (-86400.04, "86400.0 s behind"),
    ],
)
def test_a_clock_that_is_off_by_more_than_a_second_is_a_risk(kind: str, skew: float, says: str) -> None:
    (remark,) = of_clocks(ASKING[kind](skew))
    assert remark.weight is Weight.RISK
    assert re.fullmatch(rf"its clock is {re.escape(says)} this host's", remark.text)
    assert "synchronise both" in remark.advice


@on_every_server
@pytest.mark.parametrize("skew", [0.0, 0.9, -0.9, 1.0, -1.0])
def test_a_clock_that_is_off_by_less_is_not_worth_a_word(kind: str, skew: float) -> None:
    assert of_clocks(ASKING[kind](skew)) == []


def test_a_clock_that_the_application_brought_is_not_compared() -> None:
    assert of_clocks(of_redis(3600.0, has_passed_clock=True)) == []

"""What a worker makes sure of before its first task."""

import logging
from collections.abc import Sequence
from typing import Any, cast

import pytest

from taskbus.broker.broker import Broker
from taskbus.database.remark import Remark, Weight
from taskbus.errors import ConfigError, StoreError
from taskbus.worker import inspection

FINE = Remark(Weight.FINE, "version", "Redis 7.0.15")
RISK = Remark(Weight.RISK, "durability", "AOF is off: a crash loses everything", "set appendonly yes")
REFUSED = Remark(Weight.REFUSED, "eviction", "maxmemory-policy is allkeys-lru", "set it to noeviction")


class Examined:
    """Stands for a consumer or a store: the one thing asked of either."""

    def __init__(self, *remarks: Remark, error: Exception | None = None) -> None:
        self._remarks, self._error = remarks, error

    def examine(self) -> Sequence[Remark]:
        if self._error is not None:
            raise self._error
        return self._remarks


def inspect(consumer: Examined, store: Examined, *, shared: bool = False) -> None:
    inspection.inspect(cast(Any, consumer), cast(Any, store), shared=shared)


def test_a_risk_is_logged_once_and_with_advice(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        inspect(Examined(FINE, RISK), Examined(RISK))
    assert [record.getMessage() for record in caplog.records] == [
        "durability: AOF is off: a crash loses everything; set appendonly yes"
    ]


def test_a_risk_of_the_one_database_of_both_is_not_told_again_in_other_words(caplog: pytest.LogCaptureFixture) -> None:
    other = Remark(Weight.RISK, "durability", "a crash loses results", "set appendonly yes")
    inspect(Examined(RISK), Examined(other), shared=True)
    assert "loses everything" in caplog.text
    assert "loses results" not in caplog.text
    inspect(Examined(RISK), Examined(other))
    assert "loses results" in caplog.text


def test_what_only_the_store_finds_in_the_one_database_is_told(caplog: pytest.LogCaptureFixture) -> None:
    fine = Remark(Weight.FINE, "durability", "survives a crash")
    with pytest.raises(ConfigError, match="allkeys-lru"):
        inspect(Examined(fine), Examined(RISK, REFUSED), shared=True)
    assert "loses everything" in caplog.text


@pytest.mark.parametrize("of", ["broker", "store"])
def test_what_cannot_work_is_refused_with_everything_that_is_wrong(of: str) -> None:
    other = Remark(Weight.REFUSED, "version", "5.0 is too old")
    bad = Examined(FINE, REFUSED, other)
    with pytest.raises(ConfigError, match=r"allkeys-lru; set it to noeviction\nversion: 5.0 is too old"):
        inspect(bad if of == "broker" else Examined(FINE), bad if of == "store" else Examined())


def test_a_store_out_of_reach_is_told_and_is_no_reason_not_to_start(caplog: pytest.LogCaptureFixture) -> None:
    inspect(Examined(FINE), Examined(error=StoreError("nobody answers at db:5432")))
    assert "nobody answers at db:5432" in caplog.text


def test_a_broker_inside_a_process_is_refused() -> None:
    with pytest.raises(ConfigError, match="lives in one process"):
        inspection.must_be_shared(Broker("memory://inspected"))

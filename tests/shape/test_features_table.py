"""The table of what each transport can and cannot do agrees with their ``Features``; the doctor has words for those."""

from dataclasses import fields

import pytest

from taskbus.broker.transports import memory, sql, sql_mysql, sql_postgresql
from taskbus.broker.transports.amqp import promises
from taskbus.broker.transports.features import DEEDS, Features, limits
from taskbus.broker.transports.redis import storage
from tests.shape.pages import ROOT

PAGE = ROOT / "docs/explanation/transports.md"
COLUMNS = {
    "memory": memory.FEATURES,
    "SQLite": sql.FEATURES,
    "PostgreSQL": sql_postgresql.FEATURES,
    "MySQL": sql_mysql.FEATURES,
    "Redis": storage.FEATURES,
    "RabbitMQ": promises.FEATURES,
}
ALL = [*COLUMNS.values(), storage.CLUSTER_FEATURES]
ROWS = {
    "several processes": "processes",
    "accepted survives all processes": "durable",
    "result and ack in one step": "atomic_settle",
    "second publish of one id refused": "dedup",
    "priorities 0 to 9, strictly": "priorities",
    "delays": "delays",
    "lists and counts what is delayed or held": "lists",
    "lists workers": "lists",
}
"""Rows whose cells begin with "no" exactly where the flag is not set."""
UNLISTED = {"fanout", "pushes"}
"""Flags without such a row: all have the first, and the second has one in other words."""


def table() -> dict[str, dict[str, str]]:
    """Row to column to cell."""
    section = PAGE.read_text().partition("## What each can and cannot do\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    heads, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {label: dict(zip(heads[1:], cells, strict=True)) for label, *cells in rows}


def flags() -> set[str]:
    return {each.name for each in fields(Features) if each.type in (bool, "bool")}


def test_the_table_has_a_column_for_every_transport() -> None:
    assert all(list(row) == list(COLUMNS) for row in table().values())


@pytest.mark.parametrize("row", ROWS)
def test_a_row_says_what_the_features_say(row: str) -> None:
    said = {column: not cell.split(":")[0].startswith("no") for column, cell in table()[row].items()}
    assert said == {column: getattr(features, ROWS[row]) for column, features in COLUMNS.items()}


def test_rows_in_other_words_say_what_the_features_say() -> None:
    rows = table()
    for column, features in COLUMNS.items():
        comes_back = rows["a dead worker's messages come back"][column]
        assert comes_back == ("lease" if features.leases == "worker" else "when its connection ends")
        assert (rows["wakes a worker by"][column] == "the delivery itself") is features.pushes
    assert ("no cluster" in rows["result and ack in one step"]["Redis"]) is not storage.CLUSTER_FEATURES.atomic_settle


def test_every_flag_has_a_row_and_words_for_the_doctor() -> None:
    assert flags() == set(ROWS.values()) | UNLISTED == DEEDS.keys() | {"pushes"}
    assert all(features.fanout for features in ALL)


@pytest.mark.parametrize("features", ALL, ids=lambda features: features.name)
def test_the_doctor_says_each_thing_that_a_transport_does_not_promise(features: Features) -> None:
    said = limits(features)
    assert {deed for deed in DEEDS.values() if deed in said} == {
        deed for name, deed in DEEDS.items() if not getattr(features, name)
    }
    assert any("lease" in each for each in said) is (features.leases == "connection")

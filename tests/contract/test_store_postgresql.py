"""The store in PostgreSQL keeps the contract of all stores, and some promises of its own."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from taskbus.clock import Clock
from taskbus.database.opening import open_database
from taskbus.outcome import State
from taskbus.store.base import Store
from taskbus.store.opening import open_store
from taskbus.store.sql_dialects import dialect_of
from taskbus.testing.clock import START, MovableClock
from taskbus.testing.flow_contract import FlowContract
from taskbus.testing.records import FAILURE, saved
from taskbus.testing.store_contract import ProcessesContract, StoreContract, TransactionsContract
from tests.servers import postgres_server


class TestPostgresqlStore(StoreContract, FlowContract, TransactionsContract, ProcessesContract):
    @pytest.fixture(autouse=True)
    def schema(self) -> None:
        self.url = postgres_server.new_url()

    def open(self, folder: Path, clock: Clock) -> Store:
        return open_store(self.url, clock)

    def transaction(self, folder: Path) -> AbstractContextManager[Any]:
        return open_database(self.url).transaction()


def test_stores_in_two_schemas_of_a_database_are_two_stores() -> None:
    first, second = (open_store(postgres_server.new_url(), MovableClock()) for _ in range(2))
    first.apply([saved("t1")])
    assert second.results(["t1"]) == {}
    assert first.database != second.database


def test_every_spelling_of_the_scheme_leads_to_the_same_store() -> None:
    url = postgres_server.new_url()
    names = {open_store(url.replace("postgresql://", f"{scheme}://")).database for scheme in SPELLINGS}
    assert len(names) == 1


SPELLINGS = ("postgresql", "postgres", "postgresql+psycopg", "postgres+psycopg")


@pytest.mark.parametrize(
    "statement",
    [
        "one_result", "many_results", "attempts", "is_over", "delete_letters", "delete_attempts", "sweep",
        "lock_flows", "load_nodes", "kept_nodes", "nodes_after", "members", "wires", "delete_nodes", "one_flow",
        "newest_flows", "some_nodes", "flows_over", "sweep_nodes", "sweep_flows",
    ],
)  # fmt: skip
def test_a_hot_statement_searches_an_index(statement: str) -> None:
    url = postgres_server.new_url()
    store = open_store(url, MovableClock())
    store.apply([saved("t1", State.FAILURE, failure=FAILURE)])
    given = {"id": "t1", "ids": ["t1", "t2"], "now": START, "limit": 10}
    given |= {"flows": [1, 1], "nodes": ["t1", "t2"], "numbers": [1], "flow": 1, "after": ""}
    with open_database(url).transaction() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        plan = cursor.execute(f"EXPLAIN {dialect_of('postgresql').sql[statement]}", given).fetchall()
    lines = "\n".join(line for (line,) in plan)
    assert "Index" in lines and "Seq Scan" not in lines, lines

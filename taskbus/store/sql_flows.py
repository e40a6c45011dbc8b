"""Flows in a SQL database: the shelf of one transaction on it, and what is read outside of any."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from taskbus.store import sql_rows
from taskbus.store.flow_rows import FlowRow, Key, Row, Work
from taskbus.store.flows import Flow
from taskbus.store.sql_flow_rows import (
    Reader,
    added,
    flow_of,
    node_of,
    row_of_flow,
    standing,
    standing_of_flow,
    with_value,
    with_wire,
)
from taskbus.store.statements import Dialect

MOST_KEYS = 10_000
"""Nodes named in one statement."""


class SqlShelf:
    """See ``flow_rows.Shelf``: within the transaction of ``cursor``. ``now`` None: the server's own clock counts."""

    def __init__(self, dialect: Dialect, cursor: Any, now: float | None) -> None:
        self._dialect = dialect
        self._cursor = cursor
        self._now = now
        self._numbers: dict[str, int] = {}
        self._ids: dict[int, str] = {}

    def lock(self, flow_ids: Sequence[str], begun: Sequence[Flow]) -> tuple[float, Sequence[FlowRow]]:
        if begun:
            self._run("begin_flows", [row_of_flow(flow) for flow in begun])
        given = {"now": self._now, "ids": self._dialect.ids(flow_ids)}
        found = self._ask("lock_flows", given) if flow_ids else []
        flows = [flow_of(row[1:]) for row in found]
        self._numbers = {flow.flow.id: flow.number for flow in flows}
        self._ids = {flow.number: flow.flow.id for flow in flows}
        return (found[0][0] if found else self._now or 0.0), flows

    def drop(self, begun: Sequence[str]) -> None:
        self._cursor.execute(self._dialect.sql["drop_flows"], {"ids": self._dialect.ids(begun)})

    def load(self, keys: Sequence[Key]) -> Sequence[Row]:
        return self._nodes("load_nodes", keys, node_of)

    def kept(self, keys: Sequence[Key]) -> Sequence[Row]:
        return self._nodes("kept_nodes", keys, with_value)

    def after(self, keys: Sequence[Key]) -> Sequence[Row]:
        return self._nodes("nodes_after", keys, with_wire)

    def members(self, keys: Sequence[Key]) -> Sequence[Row]:
        return self._nodes("members", keys, with_value)

    def wires(self, keys: Sequence[Key]) -> Mapping[Key, bytes]:
        found = [row for part in self._parts(keys) for row in self._ask("wires", part)]
        return {(self._ids[number], id): bytes(wire or b"") for number, id, wire in found}

    def write(self, work: Work) -> None:
        if work.forgotten:
            given = {"ids": self._dialect.ids(list(work.forgotten))}
            self._cursor.execute(self._dialect.sql["delete_results"], given)
        if work.results:
            base = 0.0 if self._now is None or self._dialect.has_clock else self._now
            self._run(*sql_rows.rows_of_results(work.results.values(), base))
        for part in self._parts(list(work.replaced)):
            self._cursor.execute(self._dialect.sql["delete_nodes"], part)
        made = [*work.new.values(), *work.replaced.values()]
        self._run("add_nodes", [added(self._numbers[row.flow], row) for row in made])
        self._run("save_nodes", [standing(self._numbers[row.flow], row) for row in work.changed.values()])
        self._run("save_flows", [standing_of_flow(flow) for flow in work.touched])

    def _nodes(self, statement: str, keys: Sequence[Key], read: Reader) -> list[Row]:
        ids = self._ids
        return [read(ids[row[0]], row) for part in self._parts(keys) for row in self._ask(statement, part)]

    def _parts(self, keys: Sequence[Key]) -> Iterator[Mapping[str, Any]]:
        pairs = [(self._numbers[flow], node) for flow, node in keys]
        for start in range(0, len(pairs), MOST_KEYS):
            yield self._dialect.keys(pairs[start : start + MOST_KEYS])

    def _run(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        for step in self._dialect.steps(statement, rows, self._now) if rows else ():
            step(self._cursor)

    def _ask(self, statement: str, given: Mapping[str, Any]) -> list[Any]:
        found: list[Any] = self._cursor.execute(self._dialect.sql[statement], given).fetchall()
        return found


def sweep_flows(dialect: Dialect, cursor: Any, now: float | None, limit: int) -> int:
    """Delete flows that are over, their nodes first, at most so many of each; how many nodes and flows."""
    sql, nodes = dialect.sql, 0
    over = [row[0] for row in cursor.execute(sql["flows_over"], {"now": now, "limit": limit}).fetchall()]
    emptied: list[int] = []
    for start in range(0, len(over), dialect.flows_at_once):
        part = over[start : start + dialect.flows_at_once]
        given = {"numbers": dialect.ids(part), "limit": limit - nodes}
        nodes += int(cursor.execute(sql["sweep_nodes"], given).rowcount)
        if nodes >= limit:
            break
        emptied += part
    if emptied:
        cursor.execute(sql["sweep_flows"], {"numbers": dialect.ids(emptied)})
    return nodes + len(emptied)

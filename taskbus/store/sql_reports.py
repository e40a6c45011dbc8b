"""Reports in a SQL database: ``reports.sql`` for all of them, and one statement of its own for PostgreSQL.

An order's number is given out under the lock of one row, which is held until the order can be seen: so a smaller number
is never seen after a larger one. What a node reports is written with the node's row locked.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil
from typing import Any, NamedTuple

from taskbus.clock import Clock, wall_clock
from taskbus.database.opening import open_database
from taskbus.database.port import Database
from taskbus.database.remark import Remark
from taskbus.store.reports import (
    KEEP_ANSWERS,
    KEEP_MINUTES,
    KEEP_NODE,
    KEEP_RECORDS,
    MAX_INBOX,
    MAX_RECORDS,
    SWEEP_LIMIT,
    Answer,
    Inbox,
    Minute,
    Node,
    Order,
    Records,
    Report,
    whole_reports,
)
from taskbus.store.sql_ground import Ground, statements
from taskbus.store.statements import storable

TABLES = (
    "taskbus_report_nodes", "taskbus_report_minutes", "taskbus_report_records", "taskbus_report_marks",
    "taskbus_orders", "taskbus_answers", "taskbus_pauses",
)  # fmt: skip
NODES_AT_ONCE = 20
"""How many nodes are asked for in one statement."""
_ORDERS = {"minutes": "node, number, minute", "records": "node, number"}


class SqlReports:
    """The reports in ``database``; the tables are made if they are missing, as those of ``SqlStore``."""

    def __init__(self, database: Database, clock: Clock = wall_clock) -> None:
        own = ("postgresql_reports.sql",) if database.dialect == "postgresql" else ()
        sql = statements(database.dialect, "reports.sql", *own)
        self._ground = ground = Ground(database, TABLES, "taskbus.store.report_tables", sql, clock)
        self._database, self._dialect, self._sql = ground.database, ground.dialect, sql
        self._read = ground.read
        self.database = database.identity

    def post(self, report: Report, orders_after: int, answers: Sequence[Answer] = ()) -> Inbox:
        given = {
            **_node_values(report), "orders_after": orders_after, "limit": MAX_INBOX, "now": self._ground.now(),
        }  # fmt: skip
        if "post" in self._sql:
            given |= _arrays(report, answers)
            single = getattr(self._database, "single")  # noqa: B009 (a server's alone, and this is PostgreSQL)
            return _inbox(
                self._ground.insist(lambda: single(lambda cursor: cursor.execute(self._sql["post"], given).fetchall()))
            )

        def work(cursor: Any) -> list[Any]:
            self._take(report, given, answers, cursor)
            return list(cursor.execute(self._sql["inbox"], given).fetchall())

        with self._waiting_for_disk("NORMAL"):
            return _inbox(self._ground.write(work))

    def _take(self, report: Report, given: Mapping[str, Any], answers: Sequence[Answer], cursor: Any) -> None:
        head = cursor.execute(self._sql["head"], given).fetchone()
        if head is None or head[0] < report.number:
            cursor.execute(self._sql["save_node"], given)
            if report.minutes:
                rows = [{**given, "minute": minute, "totals": totals} for minute, totals in report.minutes.items()]
                cursor.executemany(self._sql["save_minutes"], rows)
            if report.records:
                cursor.execute(self._sql["save_records"], given)
        if answers:
            cursor.executemany(self._sql["save_answers"], [_answer_values(answer, report.at) for answer in answers])

    # --- reading -------------------------------------------------------------------------------------------------

    def inbox(self, node: str, orders_after: int = 0) -> Inbox:
        asked = {"node": storable(node), "orders_after": orders_after, "limit": MAX_INBOX, "now": self._ground.now()}
        return _inbox(self._read("inbox", asked))

    def nodes(self) -> Sequence[Node]:
        return [Node(*row) for row in self._read("nodes", {})]

    def minutes(self, seen: Mapping[str, int], limit: int = 5000) -> Sequence[Minute]:
        while True:
            whole = whole_reports([Minute(*row) for row in self._since("minutes", seen, limit + 1)], limit)
            if whole is not None:
                return whole
            limit *= 2

    def records(self, seen: Mapping[str, int], limit: int = 1000) -> Sequence[Records]:
        return [Records(*row) for row in self._since("records", seen, limit)]

    def _since(self, statement: str, seen: Mapping[str, int], limit: int) -> list[Any]:
        """The first rows of later reports, node after node; nodes that have not reported since are not asked for."""
        known = {storable(node): number for node, number in seen.items()}
        asked = [(node, known.get(node, 0)) for node, number in self._read("heads", {}) if number > known.get(node, 0)]
        found: list[Any] = []
        for start in range(0, len(asked), NODES_AT_ONCE):
            if len(found) >= limit:
                break
            given: dict[str, Any] = {"limit": limit - len(found)}
            parts = []
            for n, (given[f"node{n}"], given[f"seen{n}"]) in enumerate(asked[start : start + NODES_AT_ONCE]):
                names = {"{node}": f"node{n}", "{seen}": f"seen{n}"}
                part = self._sql[statement]
                for word, name in names.items():
                    part = part.replace(word, self._mark(name))
                parts.append(f"SELECT * FROM ({part}) AS part{n}")  # noqa: S608 (ours)
            order = f"ORDER BY {_ORDERS[statement]} LIMIT {self._mark('limit')}"
            found += self._ask(f"{' UNION ALL '.join(parts)} {order}", given)
        return found

    def _ask(self, text: str, given: Any) -> list[Any]:
        with self._ground.errors():
            return self._database.read(text, given)

    def _mark(self, name: str) -> str:
        """Where a value of that name is put, in a statement that is made here."""
        return f":{name}" if self._database.dialect == "sqlite" else f"%({name})s"

    # --- orders and pauses ---------------------------------------------------------------------------------------

    def order(self, order: bytes, now: float, *, node: str = "", ttl: float = 60.0) -> int:
        given = {"least": int(now * 1e6), "node": storable(node), "body": order, "expires_at": now + ttl}

        def work(cursor: Any) -> int:
            cursor.execute(self._sql["next_order"], given)
            (number,) = cursor.execute(self._sql["last_order"], {}).fetchone()
            cursor.execute(self._sql["insert_order"], {**given, "number": number})
            return int(number)

        with self._waiting_for_disk("FULL"), self._ground.errors():
            return self._database.write(work)  # once: it would be another order the second time

    def answers(self, order: int) -> Sequence[Answer]:
        return [Answer(*row) for row in self._read("answers", {"number": order})]

    def pause(self, queue: str) -> bool:
        return self._change("pause", {"queue": storable(queue)})

    def resume(self, queue: str) -> bool:
        return self._change("resume", {"queue": storable(queue)})

    def _change(self, statement: str, given: Mapping[str, Any]) -> bool:
        def work(cursor: Any) -> bool:
            cursor.execute(self._sql["lock_marks"], {}).fetchone()
            return bool(cursor.execute(self._sql[statement], given).rowcount)

        with self._waiting_for_disk("FULL"):
            return self._ground.write(work)

    def paused(self) -> frozenset[str]:
        return frozenset(queue for (queue,) in self._read("paused", {}))

    def watch(self, until: float) -> None:
        self._ease(lambda cursor: cursor.execute(self._sql["watch"], {"until": until}))

    # --- housekeeping --------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> int:
        given = {"edge": now - KEEP_NODE, "limit": SWEEP_LIMIT, "empty": b""}
        silent = [{**given, "node": node} for (node,) in self._read("silent", given)]
        if silent:
            self._ease(lambda cursor: cursor.executemany(self._sql["forget_node"], silent))
        left = SWEEP_LIMIT - len(silent)
        for age in _ages(now):
            if left > 0:
                left -= self._forget(age, left)
        return SWEEP_LIMIT - left

    def _forget(self, age: "_Age", limit: int) -> int:
        """Delete the oldest rows of a table, without asking for a lock where there are none to be deleted."""
        given: dict[str, Any] = {"edge": age.edge, "limit": limit}
        excess = self._read("count_records", {})[0][0] - age.most if age.most else 0
        condition = "1 = 1" if excess > 0 else age.condition
        if excess > 0:
            given["limit"] = min(limit, excess)
        keys = self._ask(self._text("oldest", age, condition), given)
        if not keys:
            return 0
        given |= dict(zip(age.columns, keys[-1], strict=True))
        text = self._text("delete_up_to", age, condition)
        self._ease(lambda cursor: cursor.execute(text, given))
        return len(keys)

    def _text(self, statement: str, age: "_Age", condition: str) -> str:
        return (
            self._sql[statement]
            .replace("{table}", age.table)
            .replace("{condition}", condition.replace(":edge", self._mark("edge")))
            .replace("{columns}", ", ".join(age.columns))
            .replace("{values}", ", ".join(map(self._mark, age.columns)))
            .replace("{at_most}", self._mark(age.columns[0]))
            .replace("{first}", age.columns[0])
        )

    def examine(self) -> Sequence[Remark]:
        return []  # that of the results in the same database says it all

    def close(self) -> None:
        self._database.leave()

    # --- durability ----------------------------------------------------------------------------------------------

    def _ease(self, work: Any) -> None:
        """Write what may be lost by a power failure."""

        def eased(cursor: Any) -> None:
            if "ease" in self._sql:
                cursor.execute(self._sql["ease"])
            work(cursor)

        with self._waiting_for_disk("NORMAL"):
            self._ground.write(eased)

    @contextmanager
    def _waiting_for_disk(self, level: str) -> Iterator[None]:
        """Let commits to SQLite wait for the disk (FULL), or not (NORMAL), whatever others of this thread do."""
        if self._database.dialect != "sqlite":
            yield
            return
        with self._ground.errors():
            cursor = self._database.cursor()
            (before,) = cursor.execute("PRAGMA synchronous").fetchone()
            cursor.execute(f"PRAGMA synchronous={level}")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA synchronous={before}")


class _Age(NamedTuple):
    """What is over in a table: rows of the ``condition``, the smallest first by ``columns``, which are a key.

    ``most``: how many rows there may be, 0: any number.
    """

    table: str
    columns: tuple[str, ...]
    condition: str
    edge: float
    most: int = 0


def _ages(now: float) -> list[_Age]:
    """In this order: a node's number is needed as long as there are minutes of it. What is a whole number is compared
    with one: else PostgreSQL uses no index."""
    return [
        _Age("taskbus_report_minutes", ("minute", "node"), "minute < :edge", ceil((now - KEEP_MINUTES) / 60)),
        _Age("taskbus_report_records", ("at", "node", "number"), "at < :edge", now - KEEP_RECORDS),
        _Age("taskbus_report_records", ("at", "node", "number"), "at < :edge", now - KEEP_RECORDS, MAX_RECORDS),
        _Age("taskbus_orders", ("expires_at", "number"), "expires_at <= :edge", now),
        _Age("taskbus_answers", ("at", "number", "node"), "at < :edge", now - KEEP_ANSWERS),
        _Age("taskbus_report_nodes", ("at", "node"), "is_listed = 0 AND at < :edge", now - KEEP_MINUTES),
    ]


def _inbox(found: Sequence[Sequence[Any]]) -> Inbox:
    orders, paused, watched_until = list[Order](), set[str](), 0.0
    for number, text, body, at in found:
        if body is not None:
            orders.append(Order(number, text, body, at))
        elif number == 0:
            paused.add(text)
        else:
            watched_until = at
    orders.sort()
    return Inbox(orders, frozenset(paused), watched_until)


def _node_values(report: Report) -> dict[str, Any]:
    return {
        "node": storable(report.node),
        "number": report.number,
        "at": report.at,
        "is_listed": int(not report.is_last),
        "state": b"" if report.is_last else report.state,
        "records": report.records,
    }


def _answer_values(answer: Answer, at: float) -> dict[str, Any]:
    return {"number": answer.order, "node": storable(answer.node), "answer": answer.answer, "at": at}


def _arrays(report: Report, answers: Sequence[Answer]) -> dict[str, Any]:
    return {
        "minutes": list(report.minutes),
        "totals": list(report.minutes.values()),
        "answered": [answer.order for answer in answers],
        "answering": [storable(answer.node) for answer in answers],
        "answers": [answer.answer for answer in answers],
    }


def open_url(url: str, clock: Clock) -> SqlReports:
    """The reports at ``url``."""
    return SqlReports(open_database(url), clock)

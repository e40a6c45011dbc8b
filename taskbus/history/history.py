"""The history in a SQL database: what is merged into it, what it answers, and what it forgets.

Writing is exact: how far each node was followed is committed with what was taken from it, so that a process that dies
at any instant, or a second one that follows too, neither counts twice nor misses anything. One code for SQLite,
PostgreSQL, MySQL and MariaDB; SQLAlchemy only makes the tables.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TypeVar

from taskbus.clock import Clock, wall_clock
from taskbus.database.port import Database, OutcomeUnknown
from taskbus.errors import ConfigError, StoreError
from taskbus.history import acts
from taskbus.history.fitting import fitted_name
from taskbus.history.merging import Merge
from taskbus.history.record_rows import record_of
from taskbus.history.retention import DEFAULT, Retention
from taskbus.history.searching import FIELDS, MOST_SEARCHED, Search, named
from taskbus.history.shapes import (
    AuditEntry,
    AuditPage,
    Count,
    Counts,
    Cursor,
    Failing,
    Job,
    Kept,
    Quantiles,
    Series,
    TaskPage,
    TaskRow,
    TaskType,
)
from taskbus.history.size import size_of
from taskbus.history.sweeping import Sweep
from taskbus.history.totals import Totals, quantiles_of
from taskbus.history.words import words_of
from taskbus.monitor.report import TaskRecord, Total
from taskbus.store.filters import TaskFilter
from taskbus.store.reports import Minute, Records
from taskbus.store.sql_dialects import dialect_of

T = TypeVar("T")
VERSION = 1
"""Of the tables; kept in ``taskbus_history``."""
TABLES = (
    "taskbus_history",
    "taskbus_history_nodes",
    "taskbus_history_node_minutes",
    "taskbus_history_names",
    "taskbus_history_totals",
    "taskbus_history_errors",
    "taskbus_history_records",
    "taskbus_history_details",
    "taskbus_history_audit",
    "taskbus_history_jobs",
)
TRIES = 3
"""A lost commit is found out by doing it again, which does nothing the second time."""


class History:
    """The history in ``database``; its tables are made if they are missing. For any thread.

    Every method may raise ``StoreError`` when the database cannot be used, and ``ConfigError`` when a newer TaskBus has
    made its tables.
    """

    def __init__(self, database: Database, clock: Clock = wall_clock, retention: Retention = DEFAULT) -> None:
        self.database = database.identity
        self.place = database.place
        self.retention = retention
        self._database = database
        self._clock = clock
        self._words = words_of(database.dialect)
        self._is_checked = False
        with self._errors():
            database.require(TABLES, lambda: import_module("taskbus.history.tables").metadata(database.dialect))

    # --- writing -------------------------------------------------------------------------------------------------

    def cursors(self) -> Mapping[str, Cursor]:
        """How far each node was followed: what ``ReportStore.minutes`` and ``records`` take as seen."""
        return {node: Cursor(minutes, records) for node, minutes, records in self._ask("cursors", {})}

    def merge(self, minutes: Sequence[Minute], records: Sequence[Records], seen: Mapping[str, Cursor]) -> None:
        """Take what a ``ReportStore`` gave for ``seen``, in one transaction.

        What was merged already, by anyone, is passed over. Of a node of which there is less in the history than
        ``seen`` says (it was replaced), nothing is taken: ask for its cursor again.
        """
        if minutes or records:
            now = self._clock()
            self._write(lambda cursor: Merge(self._words, cursor, now).take(minutes, records, seen))

    def sweep(self) -> int:
        """Delete some of what is older, or more, than is kept: some 1,000 rows a call; returns how many."""
        return Sweep(self._words, self._ask, self._write, self.retention, self._clock()).run()

    # --- totals --------------------------------------------------------------------------------------------------

    def series(self, range: str, *, task: str | None = None, queue: str | None = None) -> Series:
        """A chart over one of ``shapes.RANGES`` up to now: of all, of a task, of a queue, or of a task from a queue.

        Steps: a minute up to 1h (of all: 6h), ten minutes up to 24h, an hour for 3d, six for 30d. The last step is the
        present one, which is not over: its rates are over the part that is. Raises ``ConfigError`` for another range.
        """
        return self._totals().series(range, _fitted(task), _fitted(queue))

    def counts(self, range: str, *, task: str | None = None, queue: str | None = None) -> Counts:
        """What happened in a range, to the minute (30d: to the hour)."""
        return Counts.of(self._totals().tally(range, _fitted(task), _fitted(queue)).counts)

    def quantiles(
        self, range: str, *, task: str | None = None, queue: str | None = None
    ) -> tuple[Quantiles, Quantiles]:
        """How long attempts waited, and how long they ran, in a range."""
        tally = self._totals().tally(range, _fitted(task), _fitted(queue))
        return quantiles_of(tally.wait_histogram()), quantiles_of(tally.run_histogram())

    def failing(self, range: str, limit: int = 10) -> Sequence[Failing]:
        """The tasks of which most failed for good (dead letters of any reason), the worst first."""
        return self._totals().failing(range, limit)

    def types(self, range: str, *, task: str | None = None) -> Sequence[TaskType]:
        """How the tasks of each name did, by name; or of that name only (no member: none was seen)."""
        return self._totals().types(range, _fitted(task))

    def totals(self) -> Sequence[Total]:
        """All that was ever counted, by task and queue: no retention takes anything of it, so it only grows."""
        return self._totals().ever()

    def _totals(self) -> Totals:
        return Totals(self._words, self._ask, self._clock())

    # --- records -------------------------------------------------------------------------------------------------

    def tasks(
        self,
        where: TaskFilter,
        *,
        sort: str = "newest",
        limit: int = 50,
        after: str | None = None,
        patience: float = 0.05,
    ) -> TaskPage:
        """Records that match, a page at a time. ``sort``: newest, slowest or longest_wait.

        ``patience``: seconds after which it answers with what it has found; see ``TaskPage``. Only the newest
        1,000,000 records are searched.

        Raises:
            ConfigError: ``sort`` or ``after`` is none.
        """
        with self._reading():
            search, note = self._search(where, sort)
            page = search.page(limit, after, patience)
        return page._replace(note="; ".join(filter(None, (page.note, note))))

    def count_tasks(self, where: TaskFilter, *, patience: float = 0.05) -> Count:
        """How many records match, up to 10,000; capped at less where ``patience`` ran out."""
        with self._reading():
            return self._search(where, "newest")[0].count(patience)

    def _search(self, where: TaskFilter, sort: str) -> tuple[Search, str]:
        next_number, rows, _ = self._ask("standing", {})[0]
        floor = next_number - 1 - MOST_SEARCHED if rows > MOST_SEARCHED else 0
        note = f"only the newest {MOST_SEARCHED:,} of {rows:,} records are searched" if floor else ""
        return Search(self._words, self._database.read, where, sort, floor=floor), note

    def record(self, number: int) -> TaskRecord | None:
        """The whole of a record."""
        found = self._whole("number = :number", {"number": number})
        return found[0] if found else None

    def attempts(self, task_id: str, limit: int = 100) -> Sequence[TaskRecord]:
        """The recorded attempts of a task, in the order in which they ended; the newest ``limit`` of them."""
        condition = "task_id = :id ORDER BY ended_at DESC, number DESC LIMIT :limit"
        return self._whole(condition, {"id": fitted_name(task_id), "limit": limit})[::-1]

    def _whole(self, condition: str, given: Any) -> list[TaskRecord]:
        text = f"SELECT {FIELDS} FROM taskbus_history_records WHERE {condition}"  # noqa: S608 (texts of ours alone)
        with self._reading():
            rows = [TaskRow(*row) for row in self._database.read(self._words.spelled(text), given)]
            numbers = {"numbers": self._words.list([row.number for row in rows])}
            details = dict(self._ask("details", numbers)) if rows else {}
            return [record_of(row, details.get(row.number)) for row in named(self._words, self._database.read, rows)]

    def children(self, task_id: str, *, limit: int = 50, after: str | None = None) -> TaskPage:
        """Records of tasks that were sent by this one, newest first."""
        return self.tasks(TaskFilter(parent=task_id), limit=limit, after=after)

    def members(self, flow: str, *, limit: int = 50, after: str | None = None) -> TaskPage:
        """Records of the tasks of a flow, newest first."""
        return self.tasks(TaskFilter(flow=flow), limit=limit, after=after)

    # --- audit and jobs ------------------------------------------------------------------------------------------

    def note(self, entry: AuditEntry) -> None:
        """Add to the audit log. Whether it was added is open where the connection was lost meanwhile: it is raised."""
        row = acts.row_of_entry(entry)
        with self._errors():
            self._check()
            self._database.write(lambda cursor: cursor.execute(self._words.sql["insert_audit"], row))

    def audit(self, *, limit: int = 50, after: str | None = None) -> AuditPage:
        """The audit log, newest first. Raises ``ConfigError`` for an ``after`` that is none."""
        found = self._ask("audit", {"before": acts.number_of(after), "limit": limit + 1})
        entries = [acts.entry_of(row) for row in found[:limit]]
        return AuditPage(entries, str(found[limit - 1][0]) if len(found) > limit else None)

    def save_job(self, job: Job) -> None:
        """Remember how a job stands, in place of what was said of it before."""
        row = acts.row_of_job(job)

        def work(cursor: Any) -> None:
            cursor.execute(self._words.sql["delete_job"], {"id": row["id"]})
            cursor.execute(self._words.sql["insert_job"], row)

        self._write(work)

    def job(self, id: str) -> Job | None:
        """How it stands; None: there is none."""
        found = self._ask("job", {"id": fitted_name(id)})
        return acts.job_of(found[0]) if found else None

    def jobs(self, limit: int = 50) -> Sequence[Job]:
        """The newest jobs first."""
        return [acts.job_of(row) for row in self._ask("jobs", {"limit": limit})]

    # --- itself --------------------------------------------------------------------------------------------------

    def kept(self) -> Kept:
        """How much there is."""
        _, rows, size = self._ask("standing", {})[0]
        oldest, newest = self._ask("span_of_records", {})[0]
        with self._reading():
            whole = size_of(self._database)
        return Kept(rows, size, whole, oldest or 0.0, newest or 0.0)

    def close(self) -> None:
        """Close this process's connections to the database. Using it again opens new ones."""
        self._database.close()

    # --- statements ----------------------------------------------------------------------------------------------

    def _ask(self, statement: str, given: Any) -> list[Any]:
        with self._errors():
            self._check()
            return self._database.read(self._words.sql[statement], given)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """For what compares names with patterns: the connection of this thread can do it then."""
        with self._errors():
            self._check()
            dialect_of(self._database.dialect).prepare(self._database.cursor())
            yield

    def _write(self, work: Callable[[Any], T]) -> T:
        with self._errors():
            self._check()
            for _ in range(TRIES - 1):
                try:
                    return self._database.write(work)
                except OutcomeUnknown:
                    continue
            return self._database.write(work)

    def _check(self) -> None:
        if not self._is_checked:
            (version,) = self._database.read(self._words.sql["version"])[0]
            if version > VERSION:
                raise ConfigError(
                    f"the history in {self.place} has version {version} of its tables, and this TaskBus knows"
                    f" {VERSION}: use the newer TaskBus that made it, or name another database (setting history)"
                )
            self._is_checked = True

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._database.errors as error:
            raise StoreError(self._database.explain(error)) from error
        except OutcomeUnknown as error:
            raise StoreError(f"the connection was lost while committing, so it may have been done: {error}") from error


def _fitted(name: str | None) -> str | None:
    return None if name is None else fitted_name(name)

"""The history in a SQL database: what is merged into it, what it answers, and what it forgets.

Writing is exact: how far each node was followed is committed with what was taken from it, so that a process that dies
at any instant, or a second one that follows too, neither counts twice nor misses anything. One code for SQLite,
PostgreSQL, MySQL and MariaDB; SQLAlchemy only makes the tables.
"""

from collections.abc import Mapping, Sequence

from taskbus.clock import Clock, wall_clock
from taskbus.database.port import Database
from taskbus.history.retention import Retention
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
    TaskType,
)
from taskbus.monitor.report import TaskRecord
from taskbus.store.filters import TaskFilter
from taskbus.store.reports import Minute, Records


class History:
    """The history in ``database``; its tables are made if they are missing. For any thread.

    Every method may raise ``StoreError`` when the database cannot be used.
    """

    def __init__(self, database: Database, clock: Clock = wall_clock, retention: Retention = Retention()) -> None:
        self.database = database.identity
        raise NotImplementedError

    # --- writing -------------------------------------------------------------------------------------------------

    def cursors(self) -> Mapping[str, Cursor]:
        """How far each node was followed: what ``ReportStore.minutes`` and ``records`` take as seen."""
        raise NotImplementedError

    def merge(self, minutes: Sequence[Minute], records: Sequence[Records], seen: Mapping[str, Cursor]) -> None:
        """Take what a ``ReportStore`` gave for ``seen``, in one transaction.

        What was merged already, by anyone, is passed over. Of a node of which there is less in the history than
        ``seen`` says (it was replaced), nothing is taken: ask for its cursor again.
        """
        raise NotImplementedError

    def sweep(self) -> int:
        """Delete some of what is older, or more, than is kept: at most 1,000 rows a call; returns how many."""
        raise NotImplementedError

    # --- totals --------------------------------------------------------------------------------------------------

    def series(self, range: str, *, task: str | None = None, queue: str | None = None, until: float = 0.0) -> Series:
        """A chart over one of ``shapes.RANGES`` up to now (or ``until``): of all, of a task, or of a queue.

        Steps: 15m and 1h: a minute; 6h: a minute; 24h: five; 3d and 30d: an hour. The last step is the present one,
        which is not over; its rates are over the part that is.
        """
        raise NotImplementedError

    def counts(self, range: str, *, task: str | None = None, queue: str | None = None) -> Counts:
        """What happened in a range."""
        raise NotImplementedError

    def quantiles(
        self, range: str, *, task: str | None = None, queue: str | None = None
    ) -> tuple[Quantiles, Quantiles]:
        """How long attempts waited, and how long they ran, in a range."""
        raise NotImplementedError

    def failing(self, range: str, limit: int = 10) -> Sequence[Failing]:
        """The tasks of which most failed for good (dead letters of any reason), the worst first."""
        raise NotImplementedError

    def types(self, range: str, *, task: str | None = None) -> Sequence[TaskType]:
        """How the tasks of each name did, by name; or of that name only (no member: none was seen)."""
        raise NotImplementedError

    # --- records -------------------------------------------------------------------------------------------------

    def tasks(
        self,
        where: TaskFilter,
        *,
        sort: str = "newest",
        limit: int = 50,
        after: str | None = None,
        patience: float = 0.08,
    ) -> TaskPage:
        """Records that match, a page at a time. ``sort``: newest, slowest or longest_wait.

        ``patience``: seconds after which it answers with what it has found; see ``TaskPage``. Only the newest
        1,000,000 records are searched.

        Raises:
            ConfigError: ``sort`` or ``after`` is none.
        """
        raise NotImplementedError

    def count_tasks(self, where: TaskFilter, *, patience: float = 0.08) -> Count:
        """How many records match, up to 10,000; capped at less where ``patience`` ran out."""
        raise NotImplementedError

    def record(self, number: int) -> TaskRecord | None:
        """The whole of a record."""
        raise NotImplementedError

    def attempts(self, task_id: str, limit: int = 100) -> Sequence[TaskRecord]:
        """The recorded attempts of a task, in the order in which they ended; the newest ``limit`` of them."""
        raise NotImplementedError

    def children(self, task_id: str, *, limit: int = 50, after: str | None = None) -> TaskPage:
        """Records of tasks that were sent by this one, newest first."""
        raise NotImplementedError

    def members(self, flow: str, *, limit: int = 50, after: str | None = None) -> TaskPage:
        """Records of the tasks of a flow, newest first."""
        raise NotImplementedError

    # --- audit and jobs ------------------------------------------------------------------------------------------

    def note(self, entry: AuditEntry) -> None:
        """Add to the audit log."""
        raise NotImplementedError

    def audit(self, *, limit: int = 50, after: str | None = None) -> AuditPage:
        """The audit log, newest first."""
        raise NotImplementedError

    def save_job(self, job: Job) -> None:
        """Remember how a job stands, in place of what was said of it before."""
        raise NotImplementedError

    def job(self, id: str) -> Job | None:
        """How it stands; None: there is none."""
        raise NotImplementedError

    def jobs(self, limit: int = 50) -> Sequence[Job]:
        """The newest jobs first."""
        raise NotImplementedError

    # --- itself --------------------------------------------------------------------------------------------------

    def kept(self) -> Kept:
        """How much there is."""
        raise NotImplementedError

    def close(self) -> None:
        """Close this process's connections. Using it again opens new ones."""
        raise NotImplementedError

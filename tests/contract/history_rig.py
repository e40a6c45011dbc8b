"""What tests of the history share: nodes that count and report, a ledger that knows the truth, broken transactions."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from taskbus.history.history import History
from taskbus.history.shapes import Counts
from taskbus.monitor.histogram import Histogram
from taskbus.monitor.report import NodeState, TaskRecord, Total, pack_records, pack_state, pack_totals
from taskbus.store.filters import TaskFilter
from taskbus.store.reports import Report, ReportStore

Key = tuple[str, str]


def histogram(*seconds: float) -> Histogram:
    made = Histogram()
    for each in seconds:
        made.add(each)
    return made


def totals(task: str = "mail.send", queue: str = "default", **counts: int) -> bytes:
    """What was counted of one task: each success waited 0.1 s and ran for 2 s, each failure is a ValueError."""
    ended = counts.get("succeeded", 0) + counts.get("failed", 0)
    errors = {"builtins.ValueError": counts["failed"]} if counts.get("failed") else {}
    times = [histogram(*[seconds] * ended) for seconds in (0.1, 2.0)]
    return pack_totals([Total(task, queue, {"received": ended, **counts}, *times, errors, errors)])


def record(id: str, ended_at: float, state: str = "SUCCESS", **fields: Any) -> TaskRecord:
    """A record of an attempt that waited for a second and ran for two."""
    usual = {
        "task": "mail.send", "queue": "default", "worker": "celery@here", "sent_at": ended_at - 3,
        "started_at": ended_at - 2, "ran_for": 2.0,
    }  # fmt: skip
    if state != "SUCCESS":
        usual |= {"error": "builtins.ValueError", "message": "boom"}
    return TaskRecord(id=id, state=state, ended_at=ended_at, **{**usual, **fields})


def packed(*records: TaskRecord) -> bytes:
    return pack_records(records)


class CountingNode:
    """A node as ``monitor.tallies`` makes one: it tells of a minute anew until it was posted with all that it has."""

    def __init__(self, name: str, ledger: "Ledger") -> None:
        self.name = name
        self._ledger = ledger
        self._number = 0
        self._minutes: dict[int, dict[Key, Counter[str]]] = {}
        self._records: list[TaskRecord] = []
        self._unposted: Report | None = None
        self._changed: set[int] = set()

    def count(self, minute: int, task: str, state: str = "SUCCESS", times: int = 1) -> None:
        """So many attempts ended; one of them is recorded, for all."""
        key = (task, "default")
        cell = self._minutes.setdefault(minute, {}).setdefault(key, Counter())
        name = {"SUCCESS": "succeeded", "FAILURE": "failed"}[state]
        cell.update({"received": times, name: times})
        self._changed.add(minute)
        made = record(f"{self.name}-{self._ledger.next()}", minute * 60.0 + 1, state, task=task, weight=times)
        self._records.append(made)
        self._ledger.add(key, name, times, made.id)

    def make(self, now: float) -> Report:
        """The next report; the last one again, where nobody has said that it came."""
        if self._unposted is None:
            self._number += 1
            told = {minute: self._packed(minute) for minute in sorted(self._changed)}
            state = pack_state(NodeState("worker", self.name, queues=("default",)))
            records = packed(*self._records) if self._records else b""
            self._unposted = Report(self.name, self._number, now, state, told, records)
            self._changed, self._records = set(), []
        return self._unposted

    def _packed(self, minute: int) -> bytes:
        made = []
        for (task, queue), counts in self._minutes[minute].items():
            ended = counts["succeeded"] + counts["failed"]
            times = histogram(*[0.1] * ended), histogram(*[2.0] * ended)
            errors = {"builtins.ValueError": counts["failed"]} if counts["failed"] else {}
            made.append(Total(task, queue, dict(counts), *times, errors, errors))
        return pack_totals(made)

    def post(self, reports: ReportStore, now: float, *, is_heard: bool = True) -> None:
        """Post it; ``is_heard`` False: it arrives, and the node does not learn of it."""
        reports.post(self.make(now), 0)
        if is_heard:
            self._unposted = None


class Ledger:
    """What has really happened."""

    def __init__(self) -> None:
        self.counts: dict[Key, Counter[str]] = {}
        self.ids: list[str] = []

    def next(self) -> int:
        return len(self.ids)

    def add(self, key: Key, name: str, times: int, id: str) -> None:
        self.counts.setdefault(key, Counter()).update({"received": times, name: times})
        self.ids.append(id)

    def check(self, history: History) -> None:
        """Every count, in sum and by task, on every level; and every record, once."""
        whole = sum(self.counts.values(), Counter[str]())
        for range_ in ("24h", "3d", "30d"):
            assert said(history.counts(range_)) == whole
            for (task, queue), counts in self.counts.items():
                assert said(history.counts(range_, task=task, queue=queue)) == counts
            shown = {each.task: each for each in history.types(range_)}
            assert {task: said(each.counts) for task, each in shown.items()} == {
                task: counts for (task, _), counts in self.counts.items()
            }
            waits, runs = history.quantiles(range_)
            assert waits.count == runs.count == whole["received"]
            assert sum(error.count for each in shown.values() for error in each.errors) == whole["failed"]
        self.check_totals(history)
        assert sorted(ids_of(history)) == sorted(self.ids)
        assert history.kept().rows == len(self.ids)

    def check_totals(self, history: History) -> None:
        """What is told of all time: every count, every duration, every death."""
        found = {(each.task, each.queue): each for each in history.totals()}
        assert {key: Counter(each.counts) for key, each in found.items()} == self.counts
        for key, total in found.items():
            failed = self.counts[key]["failed"]
            assert total.waits.total == total.runs.total == self.counts[key]["received"]
            assert dict(total.deaths) == ({"builtins.ValueError": failed} if failed else {})


def said(counts: Counts) -> Counter[str]:
    return Counter({name: count for name, count in counts._asdict().items() if count})


def ids_of(history: History, where: TaskFilter = TaskFilter(), sort: str = "newest", **how: Any) -> Iterator[str]:  # noqa: B008
    """The ids of all pages, in their order."""
    after = None
    while True:
        page = history.tasks(where, sort=sort, after=after, **how)
        yield from (row.id for row in page.rows)
        after = page.next
        if after is None:
            return


class Abort(Exception):
    """The process died here."""


@contextmanager
def dying_at(history: History, step: int) -> Iterator[Callable[[], int]]:
    """Let every transaction of ``history`` die before its statement number ``step``; gives how many were run."""
    database, run = history._database, [0]
    write = database.write

    def dying(work: Callable[[Any], Any]) -> Any:
        return write(lambda cursor: work(_Dying(cursor, step, run)))

    object.__setattr__(database, "write", dying)
    try:
        yield lambda: run[0]
    finally:
        object.__delattr__(database, "write")


class _Dying:
    """A cursor that raises before a statement."""

    def __init__(self, cursor: Any, step: int, run: list[int]) -> None:
        self._cursor = cursor
        self._step = step
        self._run = run

    def _count(self) -> None:
        if self._run[0] == self._step:
            raise Abort
        self._run[0] += 1

    def execute(self, *given: Any) -> Any:
        self._count()
        return self._cursor.execute(*given)

    def executemany(self, *given: Any) -> Any:
        self._count()
        return self._cursor.executemany(*given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def fields_of(row: Any, *names: str) -> Mapping[str, Any]:
    return {name: getattr(row, name) for name in names}

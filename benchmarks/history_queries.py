"""How long the page waits for its history: a million task records, and what is asked of them, on SQLite.

    python benchmarks/history_queries.py [--records 1000000] [--folder /tmp/history] [--keep]

The records and totals go in as a collector puts them there, so the figures of merging are real too. Prints a table;
exits with 1 if a question took longer than ``--most`` milliseconds (the median of seven).
"""

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from taskbus.history.history import History
from taskbus.history.opening import open_history
from taskbus.history.retention import Retention
from taskbus.history.shapes import Cursor
from taskbus.monitor.histogram import Histogram
from taskbus.monitor.report import TaskRecord, Total, pack_records, pack_totals
from taskbus.store.filters import TaskFilter
from taskbus.store.reports import Minute, Records

TASKS, QUEUES, WORKERS = 200, 50, 100
DAYS = 6
BUNDLE = 1000


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--records", type=int, default=1_000_000)
    options.add_argument("--folder", type=Path)
    options.add_argument("--keep", action="store_true", help="leave the database where it is, and use it again")
    options.add_argument("--most", type=float, default=100.0, help="milliseconds a question may take")
    given = options.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="taskbus-history-"))
    folder.mkdir(parents=True, exist_ok=True)
    history = open_history(f"sqlite:///{folder}/history.db", retention=Retention(rows=10 * given.records))
    try:
        if history.kept().rows < given.records:
            fill(history, given.records)
        kept = history.kept()
        print(f"{kept.rows:,} records, {(kept.size or 0) / 1e6:,.0f} MB on disk ({kept.bytes / 1e6:,.0f} estimated)")
        return ask(history, given.most)
    finally:
        history.close()
        if not given.keep:
            shutil.rmtree(folder)


def fill(history: History, count: int) -> None:
    """Merge totals of three days of minutes, and the records."""
    now = time.time()
    chance = random.Random(7)
    began = time.perf_counter()
    minutes = list(totals(now, chance))
    for start in range(0, len(minutes), 100):
        part = minutes[start : start + 100]
        history.merge(part, [], {"bench": Cursor(part[0].number - 1, 0)})
    print(f"totals of {len(minutes):,} minutes merged in {time.perf_counter() - began:.0f} s")
    began, merged = time.perf_counter(), 0
    for number, start in enumerate(range(0, count, BUNDLE), 1):
        bundle = pack_records(record(start + at, count, now, chance) for at in range(min(BUNDLE, count - start)))
        at = time.perf_counter()
        history.merge([], [Records("records", number, bundle)], {"records": Cursor(0, number - 1)})
        merged += time.perf_counter() - at
    each = merged / count * 1e6
    print(
        f"{count:,} records merged in {merged:.0f} s, {each:.0f} µs each ({time.perf_counter() - began:.0f} s in all)"
    )


def totals(now: float, chance: random.Random) -> Iterator[Minute]:
    """Of one node that stands for all: thirty tasks a minute for two days, and all of them in the last two hours."""
    last = int(now // 60)
    for number, minute in enumerate(range(last - 2 * 1440, last + 1), 1):
        busy = TASKS if minute > last - 120 else 30
        yield Minute("bench", minute, number, pack_totals(total(task, chance) for task in range(busy)))


def total(task: int, chance: random.Random) -> Total:
    waits, runs = Histogram(), Histogram()
    for _ in range(20):
        waits.add(chance.expovariate(20))
        runs.add(chance.lognormvariate(-2, 1))
    counts = {"received": 20, "started": 20, "succeeded": 19, "failed": 1}
    return Total(
        f"app.tasks.job_{task}", f"queue-{task % QUEUES}", counts, waits, runs, {f"builtins.Error{task % 7}": 1}
    )


def record(at: int, count: int, now: float, chance: random.Random) -> TaskRecord:
    """One of many: most of them of few tasks, one in fifty a failure."""
    task = min(TASKS - 1, int(chance.expovariate(0.08)))
    ended_at = now - DAYS * 86_400 * (1 - at / count)
    ran_for = chance.lognormvariate(-2, 1)
    waited = chance.expovariate(5)
    fields = {
        "id": f"{at:08x}-{chance.getrandbits(64):016x}",
        "task": f"app.tasks.job_{task}",
        "queue": f"queue-{task % QUEUES}",
        "worker": f"celery@host-{chance.randrange(WORKERS)}",
        "sent_at": ended_at - ran_for - waited,
        "started_at": ended_at - ran_for,
        "ran_for": ran_for,
        "ended_at": ended_at,
        "args": f"({chance.randrange(10**6)}, 'user-{chance.randrange(10**5)}@example.com')",
        "kwargs": "{'dry_run': False}",
        "flow": f"flow-{at // 20}" if at % 10 == 0 else "",
        "parent": f"parent-{at // 5}" if at % 20 == 0 else "",
    }
    if at % 50:
        return TaskRecord(state="SUCCESS", result="{'ok': True}", **fields)
    kind = chance.randrange(7)
    traceback = "".join(f'  File "app/tasks.py", line {line}, in step\n    step({line})\n' for line in range(20))
    return TaskRecord(
        state=chance.choice(["FAILURE", "FAILURE", "RETRY", "REJECTED"]), reason="retries_exhausted",
        error=f"builtins.Error{kind}", message=f"could not reach host-{chance.randrange(1000)}", traceback=traceback,
        **fields,
    )  # fmt: skip


def questions(history: History) -> Iterator[tuple[str, Callable[[], object]]]:
    """What pages ask."""
    some = history.tasks(TaskFilter(), limit=50)
    one = some.rows[20]
    filters = {
        "newest": TaskFilter(),
        "state:failure": TaskFilter(states=("FAILURE",)),
        "state:failure,retry": TaskFilter(states=("FAILURE", "RETRY")),
        "common task": TaskFilter(task="app.tasks.job_0"),
        "rare task": TaskFilter(task="app.tasks.job_90"),
        "task:app.*": TaskFilter(task="app.*"),
        "task and state:failure": TaskFilter(task="app.tasks.job_3", states=("FAILURE",)),
        "worker": TaskFilter(worker="celery@host-7"),
        "queue and error": TaskFilter(queue="queue-1", error="Error3"),
        "id": TaskFilter(ids=(one.id,)),
        "flow": TaskFilter(flow="flow-1000"),
        "no such text": TaskFilter(text="nothing like this"),
        "args, rare": TaskFilter(args="user-4242@"),
        "text, rare": TaskFilter(text="host-77"),
        "ran>20s": TaskFilter(ran_over=20.0),
        "age>3d task": TaskFilter(task="app.tasks.job_1", older_than=time.time() - 3 * 86_400),
    }
    for name, where in filters.items():
        yield f"page of {name}", lambda where=where: history.tasks(where)
        yield f"count of {name}", lambda where=where: history.count_tasks(where)
    for sort in ("slowest", "longest_wait"):
        yield sort, lambda sort=sort: history.tasks(TaskFilter(), sort=sort)
        yield f"{sort} of a common task", lambda sort=sort: history.tasks(TaskFilter(task="app.tasks.job_0"), sort=sort)
        yield f"{sort} of failures", lambda sort=sort: history.tasks(TaskFilter(states=("FAILURE",)), sort=sort)
    deep = history.tasks(TaskFilter(), limit=1, after=f"newest_{time.time() - 4 * 86_400!r}_0").next
    yield "page far behind", lambda: history.tasks(TaskFilter(), after=deep)
    yield "attempts of a task", lambda: history.attempts(one.id)
    yield "children", lambda: history.children("parent-20000")
    for range_ in ("15m", "1h", "6h", "24h", "3d", "30d"):
        yield f"series {range_}", lambda range_=range_: history.series(range_)
        yield f"counts {range_}", lambda range_=range_: history.counts(range_)
        yield f"failing {range_}", lambda range_=range_: history.failing(range_)
        yield f"types {range_}", lambda range_=range_: history.types(range_)
        yield f"series of a task {range_}", lambda range_=range_: history.series(range_, task="app.tasks.job_5")
        yield f"series of a queue {range_}", lambda range_=range_: history.series(range_, queue="queue-5")
    yield "kept", history.kept
    yield "a sweep that finds nothing", history.sweep


def ask(history: History, most: float) -> int:
    slow = 0
    for name, question in questions(history):
        times = []
        for _ in range(7):
            began = time.perf_counter()
            question()
            times.append((time.perf_counter() - began) * 1e3)
        median = statistics.median(times)
        slow += median > most
        print(f"{name:32} {median:8.1f} ms {'  TOO LONG' if median > most else ''}")
    return int(slow > 0)


if __name__ == "__main__":
    sys.exit(main())

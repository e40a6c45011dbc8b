"""Records are found by any filter, in any order, a page at a time; what is asked never takes long."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from math import inf, nextafter
from pathlib import Path
from typing import Any

import pytest

from taskbus.errors import ConfigError
from taskbus.history import searching
from taskbus.history.history import History
from taskbus.history.opening import open_history
from taskbus.history.shapes import AuditEntry, Count, Job
from taskbus.monitor.report import TaskRecord
from taskbus.store.filters import TaskFilter
from taskbus.store.reports import Records
from taskbus.testing.clock import MovableClock
from tests.contract.history_rig import ids_of, packed, record
from tests.contract.test_history_merging import NOW, clock, url  # noqa: F401 (fixtures)
from tests.servers import mariadb_server, postgres_server

SORTS: dict[str, Callable[[TaskRecord], float]] = {
    "newest": lambda each: each.ended_at,
    "slowest": lambda each: each.ran_for,
    "longest_wait": lambda each: waited(each),
}
FILTERS = [
    TaskFilter(),
    TaskFilter(task="mail.*"),
    TaskFilter(task="mail.send"),
    TaskFilter(task="*.[!s]*"),
    TaskFilter(task="[", queue="default"),
    TaskFilter(task="nobody"),
    TaskFilter(states=("FAILURE",)),
    TaskFilter(states=("failure", "RETRY")),
    TaskFilter(states=("SUCCESS",), task="mail.send", queue="q?"),
    TaskFilter(error="ValueError"),
    TaskFilter(error="app.OddError", states=("RETRY",)),
    TaskFilter(error="alueError"),
    TaskFilter(worker="celery@host-[12]"),
    TaskFilter(flow="flow-1"),
    TaskFilter(parent="parent-2", states=("SUCCESS",)),
    TaskFilter(schedule="nightly*"),
    TaskFilter(reason="time_limit"),
    TaskFilter(text="no such 'file'"),
    TaskFilter(text="NO SUCH"),
    TaskFilter(args="user=7"),
    TaskFilter(older_than=NOW - 200),
    TaskFilter(newer_than=NOW - 200, older_than=NOW - 100),
    TaskFilter(newer_than=nextafter(NOW - 200, inf), older_than=nextafter(NOW - 100, -inf)),
    TaskFilter(ran_over=2.0, ran_under=6.0),
    TaskFilter(waited_over=3.0),
    TaskFilter(waited_under=0.5, task="*"),
    TaskFilter(ids=("id-1", "id-7", "nobody")),
    TaskFilter(ids=("id-3",), task="mail.*"),
]


def waited(each: TaskRecord) -> float:
    return max(0.0, each.started_at - max(each.sent_at, each.due_at)) if each.started_at else 0.0


def matches(each: TaskRecord, where: TaskFilter) -> bool:
    """What the filter means, in the plainest words."""
    has_started = bool(each.started_at)
    return all(
        [
            not where.ids or each.id in where.ids,
            not where.states or each.state in [state.upper() for state in where.states],
            *(
                getattr(where, name) is None or fnmatchcase(getattr(each, name), getattr(where, name))
                for name in ("task", "queue", "worker", "schedule")
            ),
            where.error is None or each.error == where.error or each.error.endswith(f".{where.error}"),
            *(getattr(where, name) in (None, getattr(each, name)) for name in ("flow", "parent", "reason")),
            where.text is None or where.text in each.message,
            where.args is None or where.args in each.args or where.args in each.kwargs,
            where.older_than is None or each.ended_at <= where.older_than,
            where.newer_than is None or each.ended_at >= where.newer_than,
            where.ran_over is None or (has_started and each.ran_for > where.ran_over),
            where.ran_under is None or (has_started and each.ran_for < where.ran_under),
            where.waited_over is None or (has_started and waited(each) > where.waited_over),
            where.waited_under is None or (has_started and waited(each) < where.waited_under),
        ]
    )


def any_record(number: int, chance: random.Random) -> TaskRecord:
    state = chance.choice(["SUCCESS", "SUCCESS", "FAILURE", "RETRY", "REVOKED"])
    is_bad = state in ("FAILURE", "RETRY")
    ended_at = NOW - chance.randrange(300)
    ran_for = chance.randrange(10) * 1.0
    has_started = state != "REVOKED"
    return TaskRecord(
        id=f"id-{number}", task=chance.choice(["mail.send", "mail.sort", "shop.bill", "", "["]),
        queue=chance.choice(["default", "q1"]), state=state, attempt=chance.randrange(1, 4),
        sent_at=ended_at - ran_for - chance.randrange(6), started_at=ended_at - ran_for if has_started else 0.0,
        due_at=chance.choice([0.0, ended_at - ran_for - 1]), ran_for=ran_for if has_started else 0.0,
        ended_at=ended_at, worker=f"celery@host-{chance.randrange(4)}",
        reason=chance.choice(["time_limit", "not_retryable"]) if state == "FAILURE" else "",
        args=f"(user={chance.randrange(12)},)", kwargs="{}",
        error=chance.choice(["builtins.ValueError", "app.OddError", "ValueError"]) if is_bad else "",
        message=chance.choice(["no such 'file'", "no such % thing"]) if is_bad else "",
        flow=chance.choice(["", "", "flow-1", "flow-2"]), parent=chance.choice(["", "", "parent-2"]),
        schedule=chance.choice(["", "nightly-1", "hourly"]),
    )  # fmt: skip


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mysql"])
def full(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A history of many records, and these."""
    made = {"postgresql": postgres_server.new_url, "mysql": mariadb_server.new_url}
    where = f"sqlite:///{tmp_path_factory.mktemp('history')}/history.db"
    history = open_history(made.get(request.param, lambda: where)(), MovableClock(NOW))
    chance = random.Random(3)
    records = [any_record(number, chance) for number in range(400)]
    for number in range(4):
        part = Records("a", number + 1, packed(*records[number * 100 : number * 100 + 100]))
        history.merge([], [part], history.cursors())
    yield history, records
    history.close()


@pytest.mark.parametrize("is_few", [True, False], ids=["few", "many"])
@pytest.mark.parametrize("where", FILTERS, ids=str)
def test_a_filter_finds_what_it_means_in_every_order(
    full: Any, where: TaskFilter, is_few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However rows are reached: a few and sorted, or walked a slice at a time."""
    history, records = full
    monkeypatch.setattr(searching, "FEW", 5000 if is_few else 3)
    monkeypatch.setattr(searching, "FIRST_SLICE", 37)
    wanted = [each for each in records if matches(each, where)]
    for sort, key in SORTS.items():
        found = list(ids_of(history, where, sort, limit=17, patience=9.0))
        by_id = {each.id: each for each in wanted}
        assert sorted(found) == sorted(by_id)
        assert [key(by_id[id]) for id in found] == sorted(map(key, wanted), reverse=True)
    assert history.count_tasks(where, patience=9.0) == Count(len(wanted))


def test_one_whose_patience_runs_out_goes_on_where_it_stopped(full: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    history, records = full
    monkeypatch.setattr(searching, "FIRST_SLICE", 50)
    where = TaskFilter(args="user=7")
    page = history.tasks(where, patience=0.0)
    assert page.next and page.note == "looked at 50 records so far; ask for the next page to go on"
    found = list(ids_of(history, where, patience=0.0))
    assert sorted(found) == sorted(each.id for each in records if matches(each, where))
    count = history.count_tasks(where, patience=0.0)
    assert count.is_capped and count.count < len(found)


def test_a_row_shows_what_was_said(full: Any) -> None:
    history, records = full
    by_id = {each.id: each for each in records}
    for row in history.tasks(TaskFilter(), limit=400).rows:
        said = by_id[row.id]
        assert row.waited == waited(said)
        for name in set(row._fields) & set(TaskRecord._fields):
            assert getattr(row, name) == getattr(said, name), name
        assert history.record(row.number) == said


def test_counts_are_capped_and_only_the_newest_are_searched(full: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    history, records = full
    monkeypatch.setattr(searching, "MOST_COUNTED", 100)
    assert history.count_tasks(TaskFilter()) == Count(100, is_capped=True)
    monkeypatch.setattr("taskbus.history.history.MOST_SEARCHED", 150)
    page = history.tasks(TaskFilter(), limit=400)
    assert page.note == "only the newest 150 of 400 records are searched"
    assert {row.id for row in page.rows} == {each.id for each in records[250:]}


def test_attempts_children_and_members(full: Any) -> None:
    history, records = full
    again = [record("again", NOW - at, "RETRY" if at else "SUCCESS", attempt=3 - at) for at in (2, 1, 0)]
    history.merge([], [Records("b", 1, packed(again[1], again[0], again[2]))], history.cursors())
    assert [each.attempt for each in history.attempts("again")] == [1, 2, 3]
    assert [each.attempt for each in history.attempts("again", limit=2)] == [2, 3]
    assert history.attempts("nobody") == [] and history.record(10**9) is None
    children = history.children("parent-2", limit=500).rows
    assert {row.id for row in children} == {each.id for each in records if each.parent == "parent-2"}
    first = history.members("flow-1", limit=10)
    rest = history.members("flow-1", limit=500, after=first.next)
    assert {row.id for row in (*first.rows, *rest.rows)} == {each.id for each in records if each.flow == "flow-1"}
    history._database.write(
        lambda cursor: [
            cursor.execute("DELETE FROM taskbus_history_records WHERE task_id = 'again'"),
            cursor.execute("UPDATE taskbus_history SET rows_kept = 400"),
        ]
    )


@pytest.mark.parametrize(
    "after", ["", "x", "newest_1_x", "slowest_1.0_1", "newest_nan_1", "newest_1.0_-1", "newest_1e99_1"]
)
def test_a_place_that_is_none_is_refused(full: Any, after: str) -> None:
    history, _ = full
    with pytest.raises(ConfigError, match="is no place to go on from"):
        history.tasks(TaskFilter(), after=after)
    with pytest.raises(ConfigError, match="cannot be sorted by 'worst'"):
        history.tasks(TaskFilter(), sort="worst")
    with pytest.raises(ConfigError, match="is no place"):
        history.audit(after=after)


HOSTILE = [
    "\0",
    "a\0b",
    "\ud800",
    "'; DROP TABLE x; --",
    "%s %(x)s %",
    ":name ?",
    "<script>",
    "\u202e",
    "😀" * 300,
    "\\",
    "x" * 5000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=[ascii(each)[:12] for each in HOSTILE])
def test_any_text_in_any_field_is_kept_shown_and_found(url: str, clock: MovableClock, text: str) -> None:  # noqa: F811
    history = open_history(url, clock)
    names = [name for name, kind in TaskRecord.__annotations__.items() if kind is str and name != "state"]
    told = record("x", NOW, "FAILURE")._replace(**dict.fromkeys(names, text), logs=[text], state=text[:3])
    history.merge([], [Records("a", 1, packed(_sendable(told)))], {})
    (row,) = history.tasks(TaskFilter()).rows
    for where in (
        TaskFilter(ids=(text,)), TaskFilter(error=text), TaskFilter(flow=text), TaskFilter(parent=text),
        TaskFilter(task=text), TaskFilter(text=text[:500]), TaskFilter(args=text[:500]),
    ):  # fmt: skip
        assert history.tasks(where).rows == [row], where
    (whole,) = history.attempts(text)
    assert whole.traceback == _sendable(told).traceback and whole.message.startswith(row.message[:999])
    history.note(AuditEntry(NOW, text, text, text, text, text))
    assert history.audit().entries[0].target[:900] == row.message[:900]
    history.save_job(Job(text, text, text, text, NOW, error=text))
    assert history.job(text) == history.jobs()[0]
    history.close()


def _sendable(told: TaskRecord) -> TaskRecord:
    """As a worker tells it: msgpack takes no half of a pair of surrogates."""
    spelled = {
        name: value.encode("utf-8", "backslashreplace").decode()
        for name, value in told._asdict().items()
        if isinstance(value, str)
    }
    return told._replace(**spelled, logs=[line.encode("utf-8", "backslashreplace").decode() for line in told.logs])


def test_the_audit_log_and_jobs(url: str, clock: MovableClock) -> None:  # noqa: F811
    history = open_history(url, clock)
    entries = [AuditEntry(NOW + at, "ada", "admin", "purge", f"queue-{at}", "by hand", at) for at in range(7)]
    for each in entries:
        history.note(each)
    first = history.audit(limit=4)
    rest = history.audit(limit=4, after=first.next)
    assert [*first.entries, *rest.entries] == entries[::-1] and rest.next is None
    job = Job("j1", "replay", "task:mail.*", "ada", NOW, total=10)
    history.save_job(job)
    history.save_job(replace_job(job, state="done", done=9, failed=1, updated_at=NOW + 5))
    history.save_job(Job("j2", "purge", "", "bob", NOW + 1))
    assert history.job("j1") == replace_job(job, state="done", done=9, failed=1, updated_at=NOW + 5)
    assert [each.id for each in history.jobs()] == ["j2", "j1"] and history.job("j3") is None
    history.close()


def replace_job(job: Job, **fields: Any) -> Job:
    return job._replace(**fields)


def test_names_that_differ_only_behind_their_255th_character_are_two(tmp_path: Path) -> None:
    history: History = open_history(f"sqlite:///{tmp_path}/history.db", MovableClock(NOW))
    long = ["t" * 300 + "a", "t" * 300 + "b"]
    history.merge([], [Records("a", 1, packed(*(record(f"id-{each[-1]}", NOW, task=each) for each in long)))], {})
    for each in long:
        (row,) = history.tasks(TaskFilter(task=each)).rows
        assert row.id == f"id-{each[-1]}" and len(row.task) == 255
    assert len(history.tasks(replace(TaskFilter(), task="ttt*")).rows) == 2
    history.close()

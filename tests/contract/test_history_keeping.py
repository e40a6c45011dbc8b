"""Charts add up, and what is old, or too much, is forgotten a little at a time, failures last."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskbus.errors import ConfigError
from taskbus.history.history import History
from taskbus.history.opening import history_url, open_history
from taskbus.history.retention import DAY, Retention
from taskbus.history.shapes import RANGES, AuditEntry
from taskbus.history.sweeping import LIMIT
from taskbus.history.totals import beginning, pieces
from taskbus.store.filters import TaskFilter
from taskbus.store.reports import Minute, Records
from taskbus.testing.clock import MovableClock
from tests.contract.history_rig import ids_of, packed, record, totals
from tests.contract.test_history_merging import MINUTE, NOW, clock, history, url  # noqa: F401 (fixtures)

# --- charts ----------------------------------------------------------------------------------------------------------


def fill(history: History, minutes: range) -> dict[int, int]:  # noqa: F811
    """So many successes in each minute; one node a bundle, as nothing is told twice."""
    counts = {minute: 1 + minute % 7 for minute in minutes}
    told = [Minute("a", minute, at, totals(succeeded=count)) for at, (minute, count) in enumerate(counts.items(), 1)]
    history.merge(told, [], {})
    return counts


def test_every_range_adds_up_to_what_happened_in_it(history: History, clock: MovableClock) -> None:  # noqa: F811
    counts = fill(history, range(MINUTE - 1500, MINUTE + 1))
    clock.advance(30 - clock() % 60)
    for range_ in ("15m", "1h", "6h", "24h"):
        wanted = sum(count for minute, count in counts.items() if minute * 60 > clock() - RANGES[range_])
        assert history.counts(range_).succeeded == wanted
        assert history.counts(range_, task="mail.send").succeeded == wanted
        assert history.counts(range_, queue="default").succeeded == wanted
        (shown,) = history.types(range_)
        assert shown.counts.succeeded == wanted and shown.queues == ["default"]
        assert shown.run.count == wanted and shown.rate == pytest.approx(wanted / RANGES[range_], rel=0.15)
        assert history.quantiles(range_)[1].count == wanted
    assert history.counts("3d").succeeded == history.counts("30d").succeeded == sum(counts.values())
    assert history.counts("1h", task="nobody").received == 0 and history.types("1h", task="nobody") == []
    with pytest.raises(ConfigError, match="no range '2h'; there are 15m, 1h"):
        history.counts("2h")


def test_a_chart_has_no_gaps_and_ends_now(history: History, clock: MovableClock) -> None:  # noqa: F811
    counts = fill(history, range(MINUTE - 1500, MINUTE + 1))
    clock.advance(30 - clock() % 60)
    for range_, seconds in RANGES.items():
        for chart in (history.series(range_), history.series(range_, task="mail.send", queue="default")):
            assert len({len(column) for column in chart[1:]}) == 1
            assert all(later - at == chart.step for at, later in zip(chart.t, chart.t[1:], strict=False))
            assert chart.t[-1] <= clock() < chart.t[-1] + chart.step and clock() - chart.t[0] <= seconds
    chart = history.series("1h")
    assert [rate * 60 for rate in chart.succeeded[:-1]] == [counts[int(at) // 60] for at in chart.t[:-1]]
    assert chart.succeeded[-1] == pytest.approx(counts[MINUTE] / 30, rel=0.1)  # half of the minute is over
    assert chart.run_p50[0] == pytest.approx(1.8, abs=0.2) and chart.wait_p99[0] == pytest.approx(0.1, abs=0.02)
    assert history.series("15m", task="nobody").succeeded == [0.0] * 15


def test_the_worst_tasks_come_first_with_their_newest_error(history: History) -> None:  # noqa: F811
    for node, task, failed in (("a", "bad", 3), ("b", "worse", 9), ("c", "fine", 0)):
        history.merge([Minute(node, MINUTE, 1, totals(task, succeeded=10, failed=failed))], [], {})
    errors = [record("old", NOW - 9, "FAILURE", task="worse"), record("new", NOW - 1, "RETRY", task="worse", error="E")]
    history.merge([], [Records("a", 1, packed(errors[1], errors[0]))], history.cursors())
    first, second = history.failing("1h")
    assert (first.task, first.failed, first.total, first.error, first.last_at) == ("worse", 9, 19, "E", NOW - 1)
    assert (second.task, second.failed, second.error) == ("bad", 3, "") and len(history.failing("1h", 1)) == 1
    (group,) = next(each for each in history.types("1h") if each.task == "worse").errors
    assert (group.error, group.count, group.message, group.example) == ("builtins.ValueError", 9, "boom", "old")


@given(st.sampled_from(sorted(RANGES)), st.floats(1.6e9, 1.9e9))
def test_the_pieces_of_a_range_join_without_gap_or_overlap(range_: str, now: float) -> None:
    parts = pieces(range_, now)
    step = 60 if RANGES[range_] <= 3 * DAY else 3600
    assert parts[0].first == beginning(range_, now, step) and now - RANGES[range_] <= parts[0].first
    assert parts[0].first <= now - RANGES[range_] + step and parts[-1].last == int(now) + 1
    for part, following in pairwise(parts):
        assert part.last == following.first and part.span < following.span
    assert all(part.first % part.span == 0 for part in parts)
    assert sum(-(-(part.last - part.first) // part.span) for part in parts) < 70


# --- forgetting ------------------------------------------------------------------------------------------------------


@pytest.fixture
def many(history: History) -> History:  # noqa: F811
    """Records of the last ten days: each hour four successes and a failure."""
    hours = range(240)
    told = [
        record(f"{'bad' if at == 4 else 'ok'}-{hour}-{at}", NOW - hour * 3600 - at, "FAILURE" if at == 4 else "SUCCESS")
        for hour in hours
        for at in range(5)
    ]
    for start in range(0, len(told), 400):
        number = start // 400 + 1
        history.merge([], [Records("a", number, packed(*told[start : start + 400]))], history.cursors())
    return history


def swept(history: History) -> Iterator[int]:  # noqa: F811
    while gone := history.sweep():
        yield gone


def test_successes_go_after_a_week_and_failures_after_a_month(many: History, clock: MovableClock) -> None:  # noqa: F811
    before = many.kept()
    assert before.rows == 1200 and sum(swept(many)) == 72 * 4 - 1  # one is exactly a week old
    left = list(ids_of(many, limit=500))
    assert {id for id in left if id.startswith("bad")} == {f"bad-{hour}-4" for hour in range(240)}
    assert many.kept().rows == len(left) and many.kept().bytes < before.bytes
    clock.advance(31 * DAY)
    assert all(gone <= LIMIT for gone in swept(many))
    assert list(ids_of(many)) == [] and (many.kept().rows, many.kept().bytes) == (0, 0)


@pytest.mark.parametrize("limit", ["rows", "bytes"])
def test_where_there_are_too_many_the_oldest_successes_go_and_failures_last(many: History, limit: str) -> None:
    each = many.kept().bytes / 1200
    many.retention = Retention(successes=99 * DAY, **{limit: 400 if limit == "rows" else int(each * 400)})
    assert sum(swept(many)) > 0
    left = list(ids_of(many, limit=500))
    assert len(left) == many.kept().rows == pytest.approx(400, abs=8)
    assert sum(id.startswith("bad") for id in left) == 240
    newest = [id for id in ids_of(many, TaskFilter(states=("SUCCESS",)), limit=500)]
    assert newest == [f"ok-{hour}-{at}" for hour in range(99) for at in range(4)][: len(newest)]
    many.retention = Retention(successes=99 * DAY, **{limit: 100 if limit == "rows" else int(each * 100)})
    assert sum(swept(many)) > 0
    assert {id.partition("-")[0] for id in ids_of(many)} == {"bad"} and many.kept().rows <= 101


def test_minutes_hours_audit_and_cursors_go_when_their_time_is_over(
    history: History, clock: MovableClock  # noqa: F811
) -> None:  # fmt: skip
    counts = fill(history, range(MINUTE - 300, MINUTE + 1))
    history.note(AuditEntry(NOW, "ada", "admin", "purge", "q"))

    def spans() -> list[int]:
        found = history._database.read("SELECT DISTINCT span FROM taskbus_history_totals WHERE span > 0 ORDER BY span")
        return [span for (span,) in found]

    assert list(swept(history)) == [] and spans() == [60, 600, 3600, 21_600, 86_400]
    clock.advance(4 * DAY + 3600)
    assert all(gone <= LIMIT for gone in swept(history))
    assert spans() == [3600, 21_600, 86_400] and history.cursors() == {}
    assert history.counts("30d").succeeded > 0 and history.audit().entries
    clock.advance(370 * DAY)
    list(swept(history))
    assert spans() == [] and history.audit().entries == []
    (ever,) = history.totals()
    assert (ever.task, ever.queue, ever.counts["succeeded"]) == ("mail.send", "default", sum(counts.values()))
    assert history._database.read("SELECT count(*) FROM taskbus_history_names")[0][0] == 2, "its task and its queue"
    assert history._database.read("SELECT count(*) FROM taskbus_history_node_minutes")[0][0] == 0


def test_the_history_is_beside_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert history_url("sqlite:///shop.db") == f"sqlite:///{tmp_path}/shop-history.db"
    assert history_url("sqlite:////var/no extension?synchronous=FULL").endswith("/no%20extension-history.db")
    assert history_url("redis://localhost/1") == f"sqlite:///{tmp_path}/taskbus-history.db"
    assert history_url("memory://x") == f"sqlite:///{tmp_path}/taskbus-history.db"
    for url in ("postgresql://u@h/d", "mysql+pymysql://u@h/d"):  # noqa: F402
        assert history_url(url) == url
    made = open_history(history_url("sqlite:///a%20b.db"))
    assert made.kept().size and Path("a b-history.db").is_file()
    made.close()

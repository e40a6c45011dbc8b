"""The capacity model's arithmetic: lines through points, what bounds a rate, and the marks it is written between."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MODULES = ("model", "capacity_report", "parts", "probes", "field", "figures", "grounds", "rounds", "environment")


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Its modules are found by the name they have beside each other."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def model(benchmarks: None) -> Any:
    import model

    return model


def costs(model: Any, lanes: float = 1.0) -> Any:
    """A broker of 10 us a task and 100 a round trip; clients as fast, and a worker of 20 and 200."""

    sizes = (1, 10, 100)
    steps = model.Steps(tuple(model.Step(n, 10 + 100 / n, 10 + 100 / n, 20 + 250 / n, 1 / n, 100, 100) for n in sizes))
    line = model.Line
    return model.Costs(steps, steps, line(20, 200), line(15, 100), 0.0, 100, 80, 1, lanes, lanes)


@pytest.mark.parametrize(("per_task", "per_trip"), [(10.0, 100.0), (3.0, 0.0), (0.0, 50.0)])
def test_a_line_is_found_in_points_that_lie_on_it(model: Any, per_task: float, per_trip: float) -> None:
    found = model.fit([(n, per_task + per_trip / n) for n in (1, 10, 100)])
    assert found.per_task == pytest.approx(per_task, abs=1e-6)
    assert found.per_trip == pytest.approx(per_trip, abs=1e-6)


def test_no_cost_is_negative_whatever_the_noise(model: Any) -> None:
    for points in ([(1, 10.0), (10, 12.0), (100, 30.0)], [(1, 100.0), (10, 8.0), (100, 0.1)], [(1, 0.0)]):
        found = model.fit(points)
        assert found.per_task >= 0 and found.per_trip >= 0


def test_larger_batches_are_faster_and_more_cores_too_until_something_else_bounds(model: Any) -> None:
    each = costs(model)
    rates = [model.predict(each, batch, 2).rate for batch in (1, 10, 100)]
    assert rates == sorted(rates)
    few, many = model.predict(each, 100, 1), model.predict(each, 100, 64)
    assert few.bound == "the cores of the machine"
    assert many.bound != few.bound
    assert many.rate > few.rate


def test_a_fast_producer_makes_the_worker_claim_more_at_once(model: Any) -> None:
    slow, fast = (model.predict(costs(model), batch, 64).claim for batch in (1, 100))
    assert 1 <= slow < fast <= model.LARGEST_CLAIM


def test_where_one_writes_at_a_time_all_round_trips_add_up(model: Any) -> None:
    found = model.predict(costs(model, lanes=0.0), 1, 64)
    assert found.bound == "one writer at a time"
    assert found.rate < 1e6 / (20 + 250)


def test_a_million_tasks_a_second_are_cut_into_shares_that_one_core_can_carry(model: Any) -> None:
    each = costs(model)
    want = model.demand(each, dedup_window=120)
    assert want.broker_cores == pytest.approx(22)  # 10 + 100/100 us, for publishing and for taking
    assert want.shares * model.BUSY >= want.broker_cores > (want.shares - 1) * model.BUSY
    assert want.one_queue == pytest.approx(1e6 / 22)
    assert want.backlog_minute == 100 * 60e6


def test_only_what_is_between_the_marks_is_written_anew(benchmarks: None, tmp_path: Path) -> None:
    import capacity_report

    page = tmp_path / "page.md"
    page.write_text(f"before\n{capacity_report.BEGIN}\nold\n{capacity_report.END}\nafter\n")
    for text in ("new\n", "newer\n"):
        capacity_report.write(page, text)
        assert page.read_text() == f"before\n{capacity_report.BEGIN}\n{text}{capacity_report.END}\nafter\n"
    page.write_text("no marks\n")
    with pytest.raises(SystemExit, match="has no"):
        capacity_report.write(page, "new\n")


def test_the_page_has_the_marks(benchmarks: None) -> None:
    import capacity_report

    page = (ROOT / "docs/explanation/scaling.md").read_text()
    assert page.index(capacity_report.BEGIN) < page.index(capacity_report.END)

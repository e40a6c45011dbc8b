"""What a worker does when Celery's own client tells it to; its state is asked for after each order."""

import signal
from pathlib import Path
from typing import Any

import pytest

from taskbus import AsyncResult, SoftTimeLimitExceeded, State
from taskbus.errors import TaskRevoked, TaskTimedOut
from tests.interop.stage import Stage, wait_until

TASKS = "tests.interop.work_app"


def waiting(stage: Stage, gate: Path, count: int = 2, task: str = "wait_for") -> list[AsyncResult[Any]]:
    """Tasks that run until the file ``gate`` is made; up to two at once."""
    results = [stage.bus.tasks[f"{TASKS}.{task}"].delay(str(gate)) for _ in range(count)]
    wait_until(lambda: len(active(stage)) == min(2, count), "they run")
    return results


def active(stage: Stage) -> set[str]:
    return {task["id"] for task in stage.ask("active")}


def states(stage: Stage, results: list[AsyncResult[Any]]) -> list[State]:
    return [stage.bus.result(result.id).state for result in results]


def test_a_revoked_task_does_not_run_when_it_comes(stage: Stage, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    running = waiting(stage, gate)
    late = stage.bus.tasks[f"{TASKS}.wait_for"].delay(str(gate))
    assert stage.ask("revoke", task_id=late.id) == {"ok": f"tasks {{{late.id!r}}} flagged as revoked"}
    assert stage.ask("revoked") == [late.id]
    gate.touch()
    assert [result.get(timeout=30) for result in running] == ["seen", "seen"]
    with pytest.raises(TaskRevoked):
        late.get(timeout=30)


@pytest.mark.parametrize("task", ["wait_for", "wait_async"])
def test_a_terminated_task_ends_and_is_not_run_again(stage: Stage, tmp_path: Path, task: str) -> None:
    gate = tmp_path / "gate"
    first, second = waiting(stage, gate, task=task)
    assert stage.ask("terminate", signal="KILL", task_id=first.id) == {"ok": f"terminate: {first.id}"}
    with pytest.raises(TaskRevoked):
        first.get(timeout=30)
    wait_until(lambda: active(stage) == {second.id}, "the other one runs on")
    gate.touch()
    assert second.get(timeout=30) == "seen"
    assert stage.ask("revoke", task_id="unknown", terminate=True) == {"ok": "terminate: tasks unknown"}
    assert "error" in stage.ask("terminate", signal="NOSUCH", task_id="unknown")


def test_tasks_are_revoked_by_a_header(stage: Stage, tmp_path: Path) -> None:
    said = stage.ask("revoke_by_stamped_headers", headers=["customer=42"])
    assert said == {"ok": "headers {'customer': '42'} flagged as revoked, but not terminated"}
    add = stage.bus.tasks[f"{TASKS}.add"]
    doomed, fine = (add.options(headers={"customer": customer}).delay(1, 2) for customer in ("42", "43"))
    with pytest.raises(TaskRevoked):
        doomed.get(timeout=30)
    assert fine.get(timeout=30) == 3


def test_the_pool_grows_and_shrinks(stage: Stage) -> None:
    def pool() -> int:
        return len(stage.ask("stats")["pool"]["processes"])

    assert stage.ask("pool_grow", n=2) == {"ok": "pool will grow"}
    wait_until(lambda: pool() == 4, "two runners more")
    assert stage.ask("pool_shrink", n=2) == {"ok": "pool will shrink"}
    wait_until(lambda: pool() == 2, "two runners less")
    assert "error" in stage.ask("pool_shrink", n=2)


def test_the_pool_is_restarted_without_disturbing_what_runs(stage: Stage, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    (result,) = waiting(stage, gate, count=1)
    before = set(stage.ask("stats")["pool"]["processes"])
    assert stage.ask("pool_restart") == {"ok": "reload started"}
    wait_until(lambda: len(before - set(stage.ask("stats")["pool"]["processes"])) == 1, "the idle one is replaced")
    gate.touch()
    assert result.get(timeout=30) == "seen"
    wait_until(lambda: not before & set(stage.ask("stats")["pool"]["processes"]), "the other one, too")
    assert "error" in stage.ask("pool_restart", reload=True)
    assert stage.ask("autoscale", max=3, min=1) == {"error": "ValueError('Autoscale not enabled')"}


def test_a_queue_is_consumed_and_left_while_the_worker_runs(stage: Stage, tmp_path: Path) -> None:
    def queues() -> list[str]:
        return [queue["name"] for queue in stage.ask("active_queues")]

    add = stage.bus.tasks[f"{TASKS}.add"]
    waits = add.options(queue="other").delay(1, 2)
    assert stage.ask("add_consumer", queue="other") == {"ok": "add consumer other"}
    assert queues() == ["default", "other"]
    assert waits.get(timeout=30) == 3
    assert add.options(queue="other").delay(2, 2).get(timeout=30) == 4
    assert stage.ask("cancel_consumer", queue="other") == {"ok": "no longer consuming from other"}
    assert queues() == ["default"]
    left = add.options(queue="other").delay(3, 3)
    assert add.delay(4, 4).get(timeout=30) == 8
    assert states(stage, [left]) == [State.PENDING]
    stage.ask("add_consumer", queue="other")
    assert left.get(timeout=30) == 6
    stage.ask("cancel_consumer", queue="other")


def test_a_rate_limit_spaces_out_what_starts(stage: Stage) -> None:
    name = f"{TASKS}.instant"
    assert stage.ask("rate_limit", task_name=name, rate_limit="5/s") == {"ok": "new rate limit set successfully"}
    assert f"{name} [rate_limit=5/s]" in stage.ask("registered")
    results = [stage.bus.tasks[name].delay() for _ in range(15)]
    began = sorted(result.get(timeout=60) for result in results)
    assert began[-1] - began[0] > 2.0, "15 starts at 5/s take 2.8 s, less what the first was late"
    assert stage.ask("rate_limit", task_name=name, rate_limit="0") == {"ok": "rate limit disabled successfully"}
    assert stage.ask("rate_limit", task_name="nobody", rate_limit="1/s") == {"error": "unknown task"}
    assert stage.ask("rate_limit", task_name=name, rate_limit="often")["error"].startswith(
        "Invalid rate limit string: "
    )


def test_time_limits_hold_for_what_starts_from_now_on(stage: Stage, tmp_path: Path) -> None:
    name, gate = f"{TASKS}.wait_once", str(tmp_path / "gate")
    task = stage.bus.tasks[name]
    assert stage.ask("time_limit", task_name=name, soft=0.2) == {"ok": "time limits set successfully"}
    with pytest.raises(SoftTimeLimitExceeded):
        task.delay(gate).get(timeout=30)
    stage.ask("time_limit", task_name=name, hard=0.2)
    with pytest.raises(TaskTimedOut):
        task.delay(gate).get(timeout=30)
    stage.ask("pool_grow", n=1)  # a runner that comes later knows the limit, too
    stage.ask("pool_shrink", n=1)
    assert stage.ask("time_limit", task_name=name) == {"ok": "time limits set successfully"}
    assert stage.ask("time_limit", task_name="nobody", hard=1) == {"error": "unknown task"}


def test_events_are_switched_off_and_on(stage: Stage) -> None:
    assert stage.ask("disable_events") == {"ok": "task events disabled"}
    assert stage.ask("disable_events") == {"ok": "task events already disabled"}
    assert stage.ask("enable_events") == {"ok": "task events enabled"}
    assert stage.ask("enable_events") == {"ok": "task events already enabled"}
    assert stage.ask("election", id="1", topic="t") is None


def test_a_worker_that_only_tells_changes_nothing(stage: Stage) -> None:
    stage.worker.end()
    stage.start_worker("--set", "remote_control=inspect")
    assert stage.ask("ping") == {"ok": "pong"}
    for method, arguments in (("shutdown", {}), ("pool_grow", {"n": 1}), ("revoke", {"task_id": "x"})):
        assert "remote_control=inspect" in stage.ask(method, **arguments)["error"]
    assert stage.ask("revoked") == []
    assert stage.worker.is_running()


def test_a_worker_that_comes_later_learns_what_was_revoked(stage: Stage) -> None:
    stage.worker.end()
    first = stage.start_worker(name="first@interop")
    stage.ask("revoke", node="first@interop", task_id="called-off")
    stage.start_worker()
    wait_until(lambda: stage.ask("revoked") == ["called-off"], "it has heard of it")
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(30) == 0


def test_shutdown_is_a_stop_in_good_order(stage: Stage, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    results = waiting(stage, gate)
    assert stage.ask("shutdown", timeout=0.5) is None, "nobody is answered"
    gate.touch()
    assert [result.get(timeout=30) for result in results] == ["seen", "seen"]
    assert stage.worker.process.wait(30) == 0

"""A real worker on every broker, and on pairs of a broker and another place for results: the same behaviour on each."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import sample
from cli_runs import Run, taskbus
from evidence import letters, lines
from worker_process import StartWorker, Worker, wait_until

from taskbus import RemoteError, State, TaskBus, TimeLimitExceeded, as_completed
from taskbus.outcome import Reason
from taskbus.store.base import Filter
from taskbus.store.report_opening import open_reports
from tests.crash.grounds import GROUNDS
from tests.crash.place import Place
from tests.crash.town import Town

PAIRS = [name for name, ground in GROUNDS.items() if not ground.is_whole]
WHOLE = [name for name, ground in GROUNDS.items() if ground.is_whole and name != "sqlite"]
on_every_broker = pytest.mark.parametrize("place", WHOLE, indirect=True)
on_every_pair_too = pytest.mark.parametrize("place", [*WHOLE, *PAIRS], indirect=True)


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    """The servers of this module's tests."""
    with Town() as town:
        yield town


@pytest.fixture
def place(town: Town, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A place of this test's own on the servers that its parameter names; skipped, but never in CI, without them."""
    ground = GROUNDS[request.param]
    if why := ground.obstacle():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    place = ground.open(tmp_path / "place", town)
    yield place
    place.remove()


@pytest.fixture
def bus(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[TaskBus]:
    """The sample application there; this process's variables lead workers and commands to the same place."""
    with TaskBus(
        "sample", broker=place.broker_url, results=place.results_url or None, unknown_task_grace=0, sweep=0.5
    ) as made:
        monkeypatch.setenv("TASKBUS_BROKER", made.broker_url)
        monkeypatch.setenv("TASKBUS_RESULTS", made.results_url)
        for task in sample.app.tasks.values():
            made._adopt(task)
        yield made


@pytest.fixture
def start_worker(bus: TaskBus, tmp_path: Path) -> Iterator[StartWorker]:
    """As in the other modules: whatever is left of the workers is killed, and their logs are shown on failure."""
    with ExitStack() as stack:
        started: list[Worker] = []

        def start(*options: str, **environment: str) -> Worker:
            worker = stack.enter_context(Worker(bus.broker_url, tmp_path, *options, **environment))
            started.append(worker)
            return worker

        yield start
        for worker in started:
            print(f"--- {worker.log}:\n{worker.log.read_text()}")


def command(*arguments: object) -> Run:
    """A ``taskbus`` command on the place of the test, which must succeed."""
    done = taskbus(*arguments)
    assert done.status == 0, (arguments, done)
    return done


@on_every_pair_too
def test_tasks_of_both_kinds_return_their_results(bus: TaskBus, start_worker: StartWorker) -> None:
    worker = start_worker("-c", "2")
    results = [task.delay(i, 1) for i in range(20) for task in (sample.add, sample.aadd)]
    with bus.batch():
        results += [sample.add.delay(i, 1) for i in range(20, 120)]
    found = sorted(done.get() for done in as_completed(results, timeout=30))
    assert found == sorted([i + 1 for i in range(20)] * 2 + [i + 1 for i in range(20, 120)])
    assert worker.stop() == 0
    assert [size.ready + size.delayed + size.running for size in bus.broker.queues() if size.name == "default"] == [0]
    assert bus.broker.workers() == []


@on_every_broker
def test_a_retry_waits_in_the_broker_and_the_last_failure_is_a_dead_letter(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker("-c", "1")
    result = sample.slow_retry.delay(str(tmp_path / "ran"))
    (letter,) = letters(bus)
    first, second = map(float, lines(tmp_path / "ran"))
    assert 0.3 <= second - first < 3.0
    assert (letter.task_id, letter.reason, len(letter.attempts)) == (result.id, Reason.RETRIES_EXHAUSTED, 2)
    assert result.state is State.FAILURE


@on_every_pair_too
def test_a_dead_letter_is_shown_and_replayed_by_the_commands(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker("-c", "1")
    path = tmp_path / "ran"
    result = sample.flaky.delay(str(path), 4)
    letters(bus)
    assert lines(path) == ["1", "2", "3"]
    assert [item["task_id"] for item in command("dlq", "list", "-o", "json").json["items"]] == [result.id]
    assert "attempt 3" in command("dlq", "show", result.id).out
    command("dlq", "replay", "--id", result.id, "--yes")
    wait_until(lambda: len(lines(path)) == 6, what="three attempts more")
    wait_until(lambda: bus.store.count_dead_letters(Filter()) == 1, what="the second dead letter")
    command("dlq", "purge", "--yes")
    assert bus.store.count_dead_letters(Filter()) == 0


@on_every_broker
def test_higher_priority_runs_first(bus: TaskBus, start_worker: StartWorker, tmp_path: Path) -> None:
    path = str(tmp_path / "ran")
    with bus.batch():
        for priority in (0, 9, 5, 1, 5, 9):
            sample.record.options(priority=priority).delay(path, str(priority))
    start_worker("-c", "1")
    wait_until(lambda: len(lines(tmp_path / "ran")) == 6)
    assert lines(tmp_path / "ran") == ["9", "9", "5", "5", "1", "0"]


@on_every_broker
def test_a_delayed_task_starts_in_time_and_an_expired_one_never(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    late = sample.record.options(expires=0.01).delay(str(tmp_path / "expired"), "late")
    start_worker("-c", "1")
    assert sample.add.delay(1, 1).get(timeout=15) == 2
    due_at = bus.now() + 0.7
    sample.slow_retry.options(eta=due_at).delay(str(tmp_path / "ran"))
    wait_until(lambda: lines(tmp_path / "ran"), what="the delayed task")
    assert -0.05 <= float(lines(tmp_path / "ran")[0]) - due_at <= 2.0
    wait_until(lambda: late.state is State.REVOKED, what="the expired task's result")
    assert letters(bus)[0].reason is Reason.EXPIRED
    assert lines(tmp_path / "expired") == []


@on_every_broker
def test_a_time_limit_ends_the_attempt(bus: TaskBus, start_worker: StartWorker) -> None:
    start_worker("-c", "1")
    for task in (sample.oversleeps, sample.ablocks):
        with pytest.raises((TimeLimitExceeded, RemoteError)):
            task.delay().get(timeout=15)
    assert {letter.reason for letter in letters(bus, 2)} == {Reason.TIME_LIMIT}
    assert sample.add.delay(1, 1).get(timeout=10) == 2


@on_every_pair_too
def test_sigterm_gives_back_at_once_what_does_not_finish(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    path = tmp_path / "ran"
    first = start_worker("-c", "1", "--set", "grace=0.3")
    sample.sleep.delay(str(path), 60.0)
    wait_until(lambda: lines(path) == ["start"], what="the first run")
    begin = time.monotonic()
    assert first.stop() == 0
    start_worker("-c", "1")
    wait_until(lambda: lines(path) == ["start"] * 2, what="the second run")
    assert time.monotonic() - begin < 8.0  # much less than the lease of 30 s


@on_every_broker
def test_what_a_dead_runner_was_running_runs_again_within_seconds(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker("-c", "1")
    assert sample.add.delay(1, 1).get(timeout=15) == 2
    started = time.monotonic()
    token = sample.dies_once.delay(str(tmp_path / "ran")).get(timeout=15)
    assert time.monotonic() - started < 3.0
    assert len(lines(tmp_path / "ran")) == 2 and token == int(lines(tmp_path / "ran")[1])


@on_every_broker
def test_what_a_killed_worker_was_running_runs_again_after_its_lease(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    path = tmp_path / "ran"
    first = start_worker("-c", "1", "--lease", "2")
    sample.sleep.delay(str(path), 60.0)
    wait_until(lambda: lines(path) == ["start"], what="the first run")
    first.stop(signal.SIGKILL)
    start_worker("-c", "1", "--lease", "2")
    wait_until(lambda: lines(path) == ["start"] * 2, what="the second run")


@on_every_broker
def test_the_commands_show_what_is_there(bus: TaskBus, start_worker: StartWorker, tmp_path: Path) -> None:
    lists = bus.broker.features.lists  # RabbitMQ lists neither queues nor what is delayed
    sample.record.options(countdown=60).delay(str(tmp_path / "ran"), "later")
    sample.record.delay(str(tmp_path / "ran"), "now")
    sizes = [item for item in command("queues", "-o", "json").json["items"] if item["name"] == "default"]
    assert [(size["ready"], size["delayed"]) for size in sizes] == ([(1, 1)] if lists else [])
    worker = start_worker("-c", "1", "--name", "mine")
    wait_until(lambda: lines(tmp_path / "ran") == ["now"], what="the task")
    wait_until(
        lambda: "mine" in command("status", "-o", "json").out, what="its first report, where RabbitMQ lists none"
    )
    result = sample.add.delay(2, 3)
    assert result.get(timeout=15) == 5
    assert command("result", result.id, "-o", "json").json["value"] == 5
    assert command("call", "sample.add", "2", "5", "-A", "sample:app", "--wait", "20", "-o", "json").json["value"] == 7
    if lists:
        command("queues", "purge", "default", "--yes")
        assert sum(item["delayed"] for item in command("queues", "-o", "json").json["items"]) == 0
    doctor = taskbus("doctor", "-A", "sample:app", "-o", "json")
    assert [item for item in doctor.json["items"] if item["level"] == "error"] == [], doctor.out
    assert worker.stop() == 0


@on_every_pair_too
def test_a_paused_queue_is_left_alone_from_the_start_and_worked_on_when_it_goes_on(
    bus: TaskBus, start_worker: StartWorker
) -> None:
    with closing(open_reports(bus.results_url)) as reports:
        reports.pause("paused")
        held = sample.add.options(queue="paused").delay(1, 1)
        worker = start_worker("-c", "1", "-Q", "paused,default")
        assert sample.add.delay(2, 2).get(timeout=20) == 4  # so it would have taken the other one too
        assert not held.state.is_final
        assert {size.name: size.ready for size in bus.broker.queues()}["paused"] == 1
        reports.resume("paused")
        assert held.get(timeout=20) == 2
        reports.pause("paused")
        wait_until(lambda: worker.log.read_text().count("paused queues: paused") == 2, what="the pause")
        later = sample.add.options(queue="paused").delay(3, 3)
        assert sample.add.delay(2, 3).get(timeout=20) == 5
        assert {size.name: size.ready for size in bus.broker.queues()}["paused"] == 1
        reports.resume("paused")
        assert later.get(timeout=20) == 6
        assert worker.stop() == 0

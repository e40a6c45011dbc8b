"""``taskbus tasks``, ``nodes`` and ``queues`` on a real worker: what they say, and what they do to it."""

import json
import shlex
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sample
from cli_runs import Run, taskbus
from worker_process import StartWorker, wait_until

from taskbus import TaskBus
from taskbus.outcome import State
from taskbus.store.report_opening import open_reports
from taskbus.store.reports import ReportStore

APP = ("-A", "sample:app")


@pytest.fixture(autouse=True)
def place(bus: TaskBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands' queue is that of the test."""
    monkeypatch.setenv("TASKBUS_BROKER", bus.broker_url)


@pytest.fixture
def reports(bus: TaskBus) -> Iterator[ReportStore]:
    with closing(open_reports(bus.results_url)) as store:
        yield store


@pytest.fixture
def worker(bus: TaskBus, start_worker: StartWorker, reports: ReportStore) -> str:
    """A worker of two runners that reports, by its name."""
    start_worker("-c", "2", "--name", "ann@home")
    wait_until(lambda: reports.nodes(), what="a report")
    return "ann@home"


def node() -> dict[str, object]:
    return dict(taskbus("nodes", "show", "ann@home", "-o", "json").json)


def ready(bus: TaskBus, queue: str = "default") -> int:
    return {size.name: size.ready for size in bus.broker.queues()}.get(queue, 0)


def dead_letter(bus: TaskBus, path: Path) -> str:
    result = sample.flaky.delay(str(path), 4)
    wait_until(lambda: result.state.is_final, what="its death")
    return result.id


# --- nodes -----------------------------------------------------------------------------------------------------------


def test_workers_are_listed_and_found_by_the_words_of_a_filter(worker: str) -> None:
    listed = taskbus("nodes", "-o", "json")
    assert listed.status == 0
    (item,) = listed.json["items"]
    assert (item["name"], item["kind"], item["is_alive"], item["slots"]) == ("ann@home", "worker", True, item["slots"])
    assert taskbus("nodes", "list", "--where", "kind:worker queue:default").out.count("ann@home") == 1
    nobody = taskbus("nodes", "list", "--where", "name:bob*")
    assert (nobody.status, nobody.out) == (69, "")


def test_without_a_worker_a_ping_is_answered_by_nobody(bus: TaskBus) -> None:
    sample.add.delay(1, 1)
    done = taskbus("nodes", "ping")
    assert done.status == 69
    assert "no worker reports; start one" in done.err
    assert taskbus("nodes").status == 69


def test_a_worker_that_is_there_answers_a_ping(worker: str) -> None:
    done = taskbus("nodes", "ping", "-o", "json")
    assert (done.status, done.json["items"]) == (0, [{"node": "ann@home", "reply": {"ok": "pong"}}])


def test_a_worker_grows_and_shrinks_when_it_is_told_to(worker: str) -> None:
    assert taskbus("nodes", "grow", worker, "2").status == 0
    wait_until(lambda: len(node()["runners"]) == 4, what="four runners")  # type: ignore[arg-type]
    assert taskbus("nodes", "shrink", worker, "3").status == 0
    wait_until(lambda: len(node()["runners"]) == 1, what="one runner")  # type: ignore[arg-type]
    refused = taskbus("nodes", "shrink", worker, "9")
    assert refused.status == 1
    assert "cannot shrink" in refused.err


def test_a_rate_limit_is_set_and_a_wrong_one_refused(worker: str) -> None:
    assert taskbus("nodes", "limit", worker, "sample.add", "7/m").status == 0
    wait_until(lambda: node()["limits"] == {"sample.add": "7/m"}, what="the limit")
    assert "unknown task" in taskbus("nodes", "limit", worker, "sample.nothing", "7/m").err
    assert taskbus("nodes", "limit", worker, "sample.add", "often").status == 1


def test_a_worker_stops_when_it_is_told_to_and_only_if_that_was_meant(worker: str) -> None:
    assert taskbus("nodes", "stop", worker).status == 2
    assert taskbus("nodes", "stop", worker, "--yes").status == 0
    wait_until(lambda: taskbus("nodes").status == 69, what="its end")


@pytest.mark.parametrize("name", ["bob@home", "", "\x1b[2J", "'; drop table taskbus_node; --", "ann@home\n", "*"])
def test_a_node_that_is_not_there_is_not_found_whatever_its_name(worker: str, name: str) -> None:
    done = taskbus("nodes", "grow", name)
    assert done.status == 3
    assert "there is no node" in done.err and "\x1b" not in done.err
    assert taskbus("nodes", "ping").status == 0


# --- queues ----------------------------------------------------------------------------------------------------------


def test_a_paused_queue_is_left_alone_until_it_is_resumed(bus: TaskBus, worker: str, start_worker: StartWorker) -> None:
    assert taskbus("queues", "pause", "default").status == 0
    assert taskbus("queues", "pause", "default", "-o", "json").json["changed"] is False
    (shown,) = [item for item in taskbus("queues", "-o", "json").json["items"] if item["name"] == "default"]
    assert shown["is_paused"] is True
    assert "paused" in taskbus("queues").out
    assert taskbus("nodes", "ping").status == 0  # by then the worker has heard of the pause, too
    held = sample.add.delay(1, 2)
    later = start_worker("-c", "1", "-Q", "default,open")  # which hears of it before it fetches
    assert sample.add.options(queue="open").delay(1, 1).get(timeout=15) == 2
    assert (ready(bus), later.process.poll()) == (1, None)
    assert taskbus("queues", "resume", "default").status == 0
    assert held.get(timeout=15) == 3


def test_a_queue_that_is_none_yet_may_be_paused_and_a_name_that_cannot_be_may_not(bus: TaskBus) -> None:
    sample.add.delay(1, 1)
    done = taskbus("queues", "pause", "defualt")
    assert done.status == 0
    assert "did you mean 'default'?" in done.err
    assert taskbus("queues", "pause", "no/such queue").status == 2


# --- tasks -----------------------------------------------------------------------------------------------------------


def test_a_dead_task_is_found_shown_and_run_again_under_its_id(bus: TaskBus, worker: str, tmp_path: Path) -> None:
    task_id = dead_letter(bus, tmp_path / "ran")
    found = taskbus("tasks", "list", "--where", "task:sample.fl* error:ValueError", "-o", "json").json["items"]
    assert [(item["id"], item["state"], item["attempt"]) for item in found] == [(task_id, "FAILURE", 3)]
    shown = taskbus("tasks", "show", task_id)
    for text in ("Attempt 1", "Attempt 3", "attempt 2", "sample.flaky", f"taskbus tasks retry {task_id}"):
        assert text in shown.out
    detail = taskbus("tasks", "show", task_id, "-o", "json").json
    assert detail["is_dead_letter"] is True
    assert detail["python"] == f"app.send('sample.flaky', [{str(tmp_path / 'ran')!r}, 4], queue='default')"
    again = taskbus("tasks", "retry", task_id)
    assert (again.status, again.out.strip()) == (0, task_id)
    wait_until(lambda: len((tmp_path / "ran").read_text().split()) == 6, what="three attempts more")


def test_the_call_that_is_shown_for_a_shell_sends_the_very_same_arguments(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    text = 'it\'s "quoted" $HOME `x` \\ ü\n-o json'
    sample.record.options(queue="kept").delay(str(tmp_path / "-ran"), text)
    waiting = taskbus("tasks", "list", "--where", "state:pending", "-o", "json").json["items"]
    shown = taskbus("tasks", "show", waiting[0]["id"], "-o", "json").json
    assert (shown["is_waiting"], shown["row"]["state"]) == (True, "PENDING")
    words = shlex.split(shown["cli"])
    assert words[0] == "taskbus"
    assert taskbus(*words[1:]).status == 0
    first, second = taskbus("queues", "peek", "kept", "-o", "json").json["items"]
    assert (first["task"], first["args"], first["kwargs"]) == (second["task"], second["args"], second["kwargs"])


def test_a_dead_task_is_run_again_with_other_arguments_that_fit(bus: TaskBus, worker: str, tmp_path: Path) -> None:
    task_id = dead_letter(bus, tmp_path / "ran")
    wrong = taskbus("tasks", "retry", task_id, "--args", "[1, 2, 3]", *APP)
    assert wrong.status == 1
    assert "too many positional arguments" in wrong.err
    assert taskbus("tasks", "retry", task_id, "--args", "{}").status == 2
    assert taskbus("tasks", "retry", task_id, "--args", "[1,").status == 2
    again = taskbus("tasks", "retry", task_id, "--args", json.dumps([str(tmp_path / "ran"), 1]), *APP)
    assert (again.status, again.out.strip()) == (0, task_id)
    assert bus.result(task_id).get(timeout=15) == 1


def test_one_dead_letter_is_replayed_with_other_arguments_and_never_several(
    bus: TaskBus, worker: str, tmp_path: Path
) -> None:
    one, two = (dead_letter(bus, tmp_path / name) for name in ("one", "two"))
    several = taskbus("dlq", "replay", "--where", "task:sample.flaky", "--args", "[]")
    assert several.status == 2
    assert "2 dead letters match" in several.err
    edited = json.dumps({"path": str(tmp_path / "one"), "succeed_at": 2})
    assert taskbus("dlq", "replay", "--id", one, "--args", "[]", "--kwargs", edited).status == 0
    assert bus.result(one).get(timeout=15) == 2
    refused = taskbus("dlq", "replay", "--id", two, "--args", "[]", *APP)
    assert (refused.status, "missing a required argument" in refused.err) == (1, True)
    assert taskbus("dlq", "show", two).status == 0


def test_a_task_that_went_well_is_sent_anew_only_with_all_of_its_arguments(bus: TaskBus, worker: str) -> None:
    result = sample.add.delay(1, 2)
    assert result.get(timeout=15) == 3
    refused = taskbus("tasks", "retry", result.id, *APP)
    assert refused.status == 1
    assert "give all of its arguments" in refused.err
    again = taskbus("tasks", "retry", result.id, "--args", "[3, 4]", "--kwargs", "{}", *APP)
    assert again.status == 0
    assert again.out.strip() != result.id
    assert bus.result(again.out.strip()).get(timeout=15) == 7


def test_a_task_that_waits_is_called_off_and_never_runs(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    called_off = sample.record.delay(str(tmp_path / "ran"), "x")
    tomorrow = sample.record.options(countdown=86_400).delay(str(tmp_path / "ran"), "y")
    other = sample.record.options(queue="other").delay(str(tmp_path / "other"), "z")
    done = taskbus("tasks", "revoke", called_off.id, tomorrow.id)
    assert done.status == 0
    assert "no worker has said so yet" in done.err
    assert done.err.count("was taken off its queue") == 2
    sizes = {size.name: (size.ready, size.delayed) for size in bus.broker.queues()}
    assert sizes.get("default", (0, 0)) == (0, 0) and sizes["other"] == (1, 0)
    assert tomorrow.state is State.REVOKED and not other.state.is_final
    start_worker("-c", "1")
    assert sample.add.delay(1, 1).get(timeout=15) == 2
    wait_until(lambda: called_off.state is State.REVOKED)
    assert not (tmp_path / "ran").exists()
    ended = taskbus("tasks", "revoke", called_off.id)
    assert (ended.status, "it has ended" in ended.err) == (1, True)


def test_a_task_that_runs_is_ended_if_that_is_asked_for(bus: TaskBus, worker: str, tmp_path: Path) -> None:
    running = sample.sleep.delay(str(tmp_path / "ran"), 600)
    wait_until(lambda: taskbus("tasks", "list", "--where", "state:started", "-o", "json").json["items"], what="a start")
    (item,) = taskbus("tasks", "list", "--where", "state:started task:sample.*", "-o", "json").json["items"]
    assert (item["id"], item["worker"]) == (running.id, "ann@home")
    assert taskbus("tasks", "show", running.id, "-o", "json").json["is_running"] is True
    assert taskbus("tasks", "retry", running.id).status == 3  # nothing is kept of it yet
    done = taskbus("tasks", "revoke", running.id, "--terminate", "-o", "json").json
    assert (done["told"], done["terminated"]) == (["ann@home"], [running.id])
    wait_until(lambda: running.state is State.REVOKED, what="its end")
    assert (tmp_path / "ran").read_text() == "start\n"


@pytest.mark.parametrize("task_id", ["nothing", "'; drop table taskbus_result; --", "\x1b[2J", "x" * 5000, "ä%_*"])
def test_a_task_that_nobody_knows_is_not_found_whatever_its_id(bus: TaskBus, task_id: str) -> None:
    sample.add.delay(1, 1)

    def is_told(done: Run) -> bool:
        return done.status == 3 and "nothing is known" in done.err and "\x1b" not in done.err

    assert is_told(taskbus("tasks", "show", task_id))
    assert is_told(taskbus("tasks", "retry", task_id))
    assert ready(bus) == 1


def test_lists_are_printed_as_csv_with_a_line_of_names(bus: TaskBus, worker: str, tmp_path: Path) -> None:
    task_id = dead_letter(bus, tmp_path / 'a "b", c')
    names, line = taskbus("tasks", "list", "-o", "csv").out.splitlines()
    assert names.startswith("id,task,queue,state")
    assert line.startswith(f"{task_id},sample.flaky,default,FAILURE")
    assert taskbus("nodes", "-o", "csv").out.splitlines()[1].startswith("ann@home,ann@home-")

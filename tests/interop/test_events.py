"""What is told of tasks, compared with what was sent: by Celery's own receiver, its command line, and its State."""

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery.events.state import State as CeleryState

from taskbus import TaskBus
from taskbus.monitor.naming import node_name
from tests.interop import work_app
from tests.interop.stage import NODE, Program, Stage, script, wait_until

TASKS = "tests.interop.work_app"
COMMON = {"type", "hostname", "utcoffset", "pid", "clock", "timestamp", "local_received"}
FIELDS = {
    "task-received": {"uuid", "name", "args", "kwargs", "root_id", "parent_id", "retries", "eta", "expires", "queue"},
    "task-started": {"uuid"},
    "task-succeeded": {"uuid", "result", "runtime"},
    "task-failed": {"uuid", "exception", "traceback"},
    "task-retried": {"uuid", "exception", "traceback"},
    "task-revoked": {"uuid", "terminated", "signum", "expired"},
    "task-rejected": {"uuid", "requeue"},
    "worker-online": {"freq", "sw_ident", "sw_ver", "sw_sys", "active", "processed", "loadavg", "dropped"},
    "worker-heartbeat": {"freq", "sw_ident", "sw_ver", "sw_sys", "active", "processed", "loadavg", "dropped"},
}


class Ledger:
    """All events that Celery's receiver hands over, in the order of their arrival."""

    def __init__(self, stage: Stage) -> None:
        self.events: list[dict[str, Any]] = []
        self._stage = stage
        self._receiver: Any = None
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def _listen(self) -> None:
        with self._stage.client.connection_for_read() as connection:
            self._receiver = self._stage.client.events.Receiver(connection, handlers={"*": self.events.append})
            self._receiver.capture(limit=None, timeout=None, wakeup=True)

    def __enter__(self) -> "Ledger":
        self._thread.start()
        wait_until(lambda: self.of("worker-heartbeat"), "a heartbeat is heard")
        return self

    def __exit__(self, *_: object) -> None:
        self._receiver.should_stop = True
        self._thread.join(30)

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        return [event for event in list(self.events) if event["type"] in kinds]

    def story(self, task_id: str) -> list[str]:
        """What was told of one task."""
        return [event["type"].partition("-")[2] for event in list(self.events) if event.get("uuid") == task_id]


@pytest.fixture(scope="module")
def ledger(stage: Stage) -> Iterator[Ledger]:
    with Ledger(stage) as ledger:
        yield ledger


def expired(stage: Stage, gate: Path) -> str:
    """A task that could not start in time, since both runners were busy until ``gate`` was made."""
    running = [stage.bus.tasks[f"{TASKS}.wait_for"].delay(str(gate)) for _ in range(2)]
    wait_until(lambda: len(stage.ask("active")) == 2, "both runners are busy")
    late = stage.bus.tasks[f"{TASKS}.add"].options(expires=0.2).delay(1, 1)
    sent_at = time.monotonic()
    wait_until(lambda: time.monotonic() > sent_at + 0.5, "it is too late")
    gate.touch()
    for result in running:
        assert result.get(timeout=30) == "seen"
    return late.id


def test_every_task_is_told_of_from_its_coming_to_its_end(stage: Stage, ledger: Ledger, tmp_path: Path) -> None:
    tasks = stage.bus.tasks
    fine = [tasks[f"{TASKS}.add"].delay(number, 1).id for number in range(50)]
    failed, retried, refused = (tasks[f"{TASKS}.{name}"] for name in ("boom", "once_more", "refuse"))
    told = {task_id: ["received", "started", "succeeded"] for task_id in fine}
    told[failed.delay("x").id] = ["received", "started", "failed"]
    told[retried.delay().id] = ["received", "started", "retried", "received", "started", "succeeded"]
    told[refused.delay().id] = ["received", "started", "rejected", "failed"]
    late = expired(stage, tmp_path / "gate")

    def is_complete() -> bool:
        return ledger.story(late)[-1:] == ["revoked"] and all(ledger.story(task) == told[task] for task in told)

    wait_until(is_complete, "all is told")
    assert [event["expired"] for event in ledger.of("task-revoked") if event["uuid"] == late] == [True]


def test_events_have_the_fields_of_celerys(stage: Stage, ledger: Ledger) -> None:
    for kind, fields in FIELDS.items():
        for event in ledger.of(kind):
            assert event.keys() == COMMON | fields, kind
            assert event["hostname"] == NODE and isinstance(event["clock"], int)
            assert event["pid"] == stage.worker.process.pid
    for event in ledger.of("task-succeeded"):
        assert isinstance(event["runtime"], float)
    told = {event["exception"]: event["traceback"] for event in ledger.of("task-failed")}
    assert told.keys() == {"ValueError('x')", "Reject('no good')"}
    assert "ValueError: x" in told["ValueError('x')"]


def test_the_logical_clock_only_grows(ledger: Ledger) -> None:
    clocks = [event["clock"] for event in list(ledger.events)]
    assert clocks == sorted(clocks)


def test_several_events_come_in_one_message(stage: Stage, ledger: Ledger) -> None:
    """The receiver takes them apart; those of one message were received at one instant, to a millisecond."""
    before = len(ledger.of("task-succeeded"))
    with stage.bus.batch():
        for number in range(100):
            stage.bus.tasks[f"{TASKS}.add"].delay(number, 1)
    wait_until(lambda: len(ledger.of("task-succeeded")) == before + 100, "all is told")
    instants = defaultdict(int)
    for event in ledger.of("task-succeeded")[before:]:
        instants[round(event["local_received"], 2)] += 1
    assert max(instants.values()) > 5


def test_heartbeats_come_every_two_seconds_and_count(stage: Stage, ledger: Ledger) -> None:
    first = len(ledger.of("worker-heartbeat"))
    wait_until(lambda: len(ledger.of("worker-heartbeat")) >= first + 3, "three more")
    beats = ledger.of("worker-heartbeat")
    apart = [later["timestamp"] - earlier["timestamp"] for earlier, later in zip(beats[-2:], beats[-1:], strict=False)]
    assert all(seconds > 1.5 for seconds in apart)
    assert {beat["freq"] for beat in beats} == {2.0}
    assert beats[-1]["processed"] == sum(stage.ask("stats")["total"].values())


def test_celerys_state_understands_all_of_it(ledger: Ledger) -> None:
    state = CeleryState()
    for event in list(ledger.events):
        state.event(dict(event))
    assert state.workers[NODE].hostname == NODE
    assert {task.state for task in state.tasks.values()} == {"SUCCESS", "FAILURE", "REVOKED"}


# --- what senders tell -----------------------------------------------------------------------------------------------


def test_what_an_application_sends_is_told_if_it_is_to_be(stage: Stage, ledger: Ledger) -> None:
    quiet = stage.bus.tasks[f"{TASKS}.add"].delay(1, 1)
    with TaskBus(
        "sender", broker=stage.url, results=stage.results, celery_queues=["wire"], telemetry_sent=True
    ) as sender:
        for task in work_app.app.tasks.values():
            sender._adopt(task)
        add = sender.tasks[f"{TASKS}.add"]
        sent = [add.delay(1, 1), asyncio.run(add.adelay(2, 2)), add.options(queue="wire").delay(3, 3)]
        with sender.batch():
            sent += [add.delay(4, number) for number in range(20)]
        first = (add.s(5, 5) | add.s(6)).delay()
    for task in work_app.app.tasks.values():
        stage.bus._adopt(task)
    told = wait_until(lambda: (told := ledger.of("task-sent")) and len(told) >= 24 and told, "all is told")
    by_id = {event["uuid"]: event for event in told}
    assert len(told) == len(by_id) == 24 and quiet.id not in by_id
    assert {result.id for result in sent} < by_id.keys()
    for event in told:
        assert event.keys() == COMMON | FIELDS["task-received"] | {"exchange", "routing_key"}
        assert event["name"] == f"{TASKS}.add" and event["hostname"] == node_name("") and event["pid"] == os.getpid()
    (root,) = by_id.keys() - {result.id for result in sent}
    assert by_id[root]["args"] == "(5, 5)" and by_id[root]["root_id"] == first.flow_id
    wired = by_id[sent[2].id]
    assert (wired["queue"], wired["routing_key"], wired["args"]) == ("wire", "wire", "(3, 3)")


SENDING = """
import os
from tests.interop.work_app import add, app
print(add.delay(1, 1).id, flush=True)
if os.fork() == 0:
    print(add.delay(2, 2).id, flush=True)
    app.close()
    os._exit(0)
os.wait()
print(add.delay(3, 3).id, flush=True)
"""


def test_a_program_that_ends_and_its_child_have_told_all_they_sent(stage: Stage, ledger: Ledger) -> None:
    program = Program(
        stage.folder, sys.executable, "-W", "ignore", "-c", SENDING,
        TASKBUS_BROKER=stage.url, TASKBUS_RESULTS=stage.results, TASKBUS_TELEMETRY_SENT="1",
    )  # fmt: skip
    assert program.process.wait(60) == 0, program.output()
    ids = re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", program.output())  # coverage has its say there, too
    assert len(ids) == 3
    wait_until(lambda: {*ids} <= {event["uuid"] for event in ledger.of("task-sent")}, "all is told")
    told = [event["pid"] for event in ledger.of("task-sent") if event["uuid"] in ids]
    assert len(told) == 3 and len({*told}) == 2


def test_what_is_over_the_rate_is_counted_and_failures_are_told(stage: Stage, ledger: Ledger) -> None:
    stage.worker.end()
    stage.start_worker("--events", "--set", "telemetry_rate=1")
    add, boom = stage.bus.tasks[f"{TASKS}.add"], stage.bus.tasks[f"{TASKS}.boom"]
    with stage.bus.batch():
        fine = [add.delay(number, 1) for number in range(200)]
        failed = [boom.delay("y") for _ in range(20)]
    for result in fine:
        result.get(timeout=60)
    wait_until(lambda: all(ledger.story(result.id)[-1:] == ["failed"] for result in failed), "failures are all told")
    told = sum(ledger.story(result.id) == ["received", "started", "succeeded"] for result in fine)
    dropped = stage.ask("stats")["telemetry"]["dropped"]
    assert 1 <= told < 200 and dropped >= 200 - told
    wait_until(lambda: ledger.of("worker-heartbeat")[-1]["dropped"] == dropped, "heartbeats say so")


def test_nothing_is_told_of_tasks_until_a_monitor_asks(stage: Stage, ledger: Ledger) -> None:
    stage.worker.end()
    wait_until(lambda: ledger.of("worker-offline"), "it has said goodbye")
    stage.start_worker()
    add = stage.bus.tasks[f"{TASKS}.add"]
    silent = add.delay(1, 1)
    assert silent.get(timeout=30) == 2
    assert stage.ask("enable_events") == {"ok": "task events enabled"}
    loud = add.delay(2, 2)
    wait_until(lambda: ledger.story(loud.id)[-1:] == ["succeeded"], "now it is told")
    assert ledger.story(silent.id) == []


# --- Celery's command line -------------------------------------------------------------------------------------------


def celery(stage: Stage, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [script("celery"), "-b", stage.url, *words],
        capture_output=True, text=True, timeout=timeout, cwd=stage.folder,
    )  # fmt: skip


def test_celerys_command_line_works_unchanged(stage: Stage) -> None:
    status = celery(stage, "status", "--timeout", "3")
    assert status.returncode == 0 and "1 node online" in status.stdout, status.stdout + status.stderr
    inspected = celery(stage, "inspect", "stats", "--json", "-d", NODE, "--timeout", "20")
    assert json.loads(inspected.stdout)[NODE]["pool"]["max-concurrency"] == 2
    controlled = celery(stage, "control", "rate_limit", f"{TASKS}.add", "1000/s", "-d", NODE, "--timeout", "20")
    assert controlled.returncode == 0 and "new rate limit set successfully" in controlled.stdout


def test_celerys_event_dump_prints_every_event(stage: Stage) -> None:
    dump = subprocess.Popen(
        [script("celery"), "-b", stage.url, "events", "--dump"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=stage.folder,
    )  # fmt: skip
    assert dump.stdout is not None
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(dump.stdout or ()), daemon=True)
    reader.start()
    try:
        wait_until(lambda: any("heartbeat" in line for line in lines), "it hears the worker")
        result = stage.bus.tasks[f"{TASKS}.add"].delay(20, 22)
        for word in ("received", "started", "succeeded"):
            wait_until(lambda word=word: any(f"task {word}" in line and result.id in line for line in lines), word)
    finally:
        dump.terminate()
        dump.wait(30)
        reader.join(30)
    assert not any("Connection lost" in line for line in lines)

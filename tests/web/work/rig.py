"""What is asked of the API, and what workers leave behind, for tests of its routes."""

from typing import Any

from starlette.testclient import TestClient

from taskbus import TaskBus, codec
from taskbus.message import Message
from taskbus.monitor.report import NodeState, TaskRecord, pack_records, pack_state
from taskbus.outcome import Failure, Reason, State
from taskbus.store.base import Bury, DeadLetter, FailedAttempt, SaveAttempt, SaveResult, StoredResult
from taskbus.store.reports import Report
from taskbus.web.house import House
from taskbus.wire import compact
from tests.web.work.waiting import wait_until

HOSTILE = [
    "'; drop table taskbus_message; --",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "ä/ü?x=1#y",
    "%00",
    "*",
]


def get(client: TestClient, path: str, status: int = 200) -> Any:
    answer = client.get(f"/api/v1{path}")
    assert answer.status_code == status, answer.text
    return answer.json()


def post(client: TestClient, path: str, body: Any = None, status: int = 200) -> Any:
    answer = client.post(f"/api/v1{path}", json={} if body is None else body)
    assert answer.status_code == status, answer.text
    return answer.json()


def report(house: House, name: str = "ann@home", number: int = 1, **fields: Any) -> str:
    """A worker that reports; its node."""
    node = f"{name}-1"
    state = NodeState("worker", name, slots=4, queues=("default",), tasks=("shop.mail",), **fields)
    house.reports.post(Report(node, number, house.clock(), pack_state(state)), 0)
    return node


def bury(
    app: TaskBus, task_id: str, *args: Any, task: str = "shop.mail", error: str = "ValueError", quoted: str = "",
    **kwargs: Any,
) -> None:  # fmt: skip
    """A dead letter as a worker leaves it; its error quotes ``quoted``."""
    said = f"no route to host, password=hunter2{quoted and f', {quoted} is refused'}"
    failure = Failure(f"builtins.{error}", said, f"Traceback\n  in the shop\n{said}\n")
    wire = compact.encode(Message(task_id, task, codec.encode((list(args), kwargs)), sent_at=90.0))
    letter = DeadLetter(
        task_id, task, "default", Reason.RETRIES_EXHAUSTED, failure, wire, compact.CONTENT_TYPE, 3, 1, 90.0, 100.0
    )
    saved = StoredResult(task_id, task, State.FAILURE, failure=failure, finished_at=100.0)
    attempt = FailedAttempt(task_id, 1, 98.0, 100.0, "ann@home", failure)
    app.store.apply([SaveAttempt(attempt), SaveResult(saved, ttl=1e9), Bury(letter)])


def waiting(app: TaskBus, queue: str = "default") -> list[str]:
    return [compact.decode(each.wire, queue, 0, 1 << 20).id for each in app.broker.peek(queue, 100)]


def remember(house: House, *records: TaskRecord) -> None:
    """Records as a worker reports them, in the history."""
    state = NodeState("worker", "old@home")
    house.reports.post(Report("old@home-1", 1, house.clock(), pack_state(state), {}, pack_records(records)), 0)
    assert house.collector is not None
    wait_until(lambda: house.history and house.history.attempts(records[-1].id), what="the history")

"""``--where`` on the command line's lists: what each noun is found by, and what is said to a term that it has not."""

import time
from contextlib import closing
from datetime import timedelta

import pytest
import sample
import sample_flows
from cli_runs import taskbus

from taskbus import TaskBus, chain, codec, every
from taskbus.message import Message
from taskbus.monitor.report import NodeState, pack_state
from taskbus.outcome import Failure, Reason
from taskbus.steering import queues as queue_acts
from taskbus.store.base import Bury, DeadLetter
from taskbus.store.report_opening import open_reports
from taskbus.store.reports import Report
from taskbus.wire import compact

HOUR = 3600.0


@pytest.fixture(autouse=True)
def filled(bus: TaskBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of everything, at the place that the commands look at; nobody works on it."""
    monkeypatch.setenv("TASKBUS_BROKER", bus.broker_url)
    for task in sample_flows.app.tasks.values():
        bus._adopt(task)
    bury(bus, "old", "shop.mail", "mails", "TimeoutError", "no answer of 10.0.0.7", 30 * HOUR)
    bury(bus, "new", "shop.mail", "mails", "ValueError", "no such address", 60.0)
    bury(bus, "odd", "shop.bill", "bills", "ValueError", "no such order", 60.0, Reason.EXPIRED)
    sample.record.options(queue="open").delay("notes", "customer 42")
    sample.add.options(queue="shut").delay(1, 2)
    bus.schedules.add("nightly-mail", sample.record.s("notes", "x"), every(timedelta(hours=1)))
    bus.schedules.add("nightly-sum", sample.add.s(1, 2), every(timedelta(hours=1)))
    bus.schedules.pause("nightly-sum")
    with closing(open_reports(bus.results_url)) as reports:
        queue_acts.pause(reports, "shut")
        for state in (
            NodeState("worker", "w1@box1", host="box1", app="shop", queues=("mails", "bills")),
            NodeState("worker", "w2@box2", host="box2", app="shop", queues=("images",)),
            NodeState("beat", "b1@box1", host="box1", app="shop"),
        ):
            reports.post(Report(state.name, 1, time.time(), pack_state(state)), 0)


def bury(
    bus: TaskBus, task_id: str, task: str, queue: str, error: str, text: str, ago: float,
    reason: Reason = Reason.RETRIES_EXHAUSTED,
) -> None:  # fmt: skip
    wire = compact.encode(Message(task_id, task, codec.encode_call(("customer 42",), {}), queue=queue, sent_at=90.0))
    failure, died = Failure(f"builtins.{error}", text), time.time() - ago
    letter = DeadLetter(task_id, task, queue, reason, failure, wire, compact.CONTENT_TYPE, 0, 1, 90.0, died)
    bus.store.apply([Bury(letter)])


def found(*command: str, by: str) -> set[str]:
    """What a list holds, by what each of it is called."""
    done = taskbus(*command, "-o", "json")
    assert done.status in (0, 69), done.err
    return {item[by] for item in done.json["items"]}


@pytest.mark.parametrize(
    ("where", "meant"),
    [
        ("", {"old", "new", "odd"}),
        ("task:shop.mail", {"old", "new"}),
        ("task:shop.* error:ValueError", {"new", "odd"}),
        ("queue:bi*", {"odd"}),
        ("reason:expired", {"odd"}),
        ("text:'no such'", {"new", "odd"}),
        ("age>1d", {"old"}),
        ("age<1h task:shop.mail", {"new"}),
        ("id:old id:odd", {"old", "odd"}),
        ("task:*%*", set()),
    ],
)
def test_dead_letters(where: str, meant: set[str]) -> None:
    assert found("dlq", "list", "--where", where, by="task_id") == meant
    counted = taskbus("dlq", "groups", "--where", where, "-o", "json").json["items"]
    assert sum(group["count"] for group in counted) == len(meant)


@pytest.mark.parametrize(
    ("where", "meant"),
    [
        ("state:failure", {"old", "new"}),
        ("state:expired", {"odd"}),
        ("error:ValueError age<1h", {"new", "odd"}),
        ("task:shop.mail age>1d", {"old"}),
        ("args:'customer 42' queue:mails", {"old", "new"}),
        ("text:order", {"odd"}),
        ("worker:nobody", set()),
    ],
)
def test_tasks_that_ended(where: str, meant: set[str]) -> None:
    assert found("tasks", "list", "--where", where, by="id") == meant


def test_tasks_that_wait() -> None:
    assert found("tasks", "list", "--where", "state:pending", by="task") == {"sample.record", "sample.add"}
    assert found("tasks", "list", "--where", "state:pending queue:open", by="task") == {"sample.record"}
    assert found("tasks", "list", "--where", "state:pending args:42", by="task") == {"sample.record"}
    assert found("tasks", "list", "--where", "state:pending age>1h", by="task") == set()


@pytest.mark.parametrize(
    ("where", "meant"),
    [
        ("kind:worker", {"w1@box1", "w2@box2"}),
        ("host:box1", {"w1@box1", "b1@box1"}),
        ("queue:ima*", {"w2@box2"}),
        ("name:w* host:box1", {"w1@box1"}),
        ("app:shop kind:beat", {"b1@box1"}),
        ("app:bank", set()),
    ],
)
def test_nodes(where: str, meant: set[str]) -> None:
    assert found("nodes", "list", "--where", where, by="name") == meant


def test_schedules() -> None:
    assert found("schedule", "list", "--where", "is:paused", by="name") == {"nightly-sum"}
    assert found("schedule", "list", "--where", "task:sample.rec*", by="name") == {"nightly-mail"}
    assert found("schedule", "list", "--where", "name:nightly-*", by="name") == {"nightly-mail", "nightly-sum"}
    assert found("schedule", "list", "--where", "name:nightly-mail is:paused", by="name") == set()


def test_queues() -> None:
    assert found("queues", "list", "--where", "is:paused", by="name") == {"shut"}
    assert found("queues", "list", "--where", "name:o*", by="name") == {"open"}
    assert found("queues", "list", "--where", "is:empty", by="name") == set()


def test_workflows(bus: TaskBus) -> None:
    ids = []
    for number in range(3):
        ids.append(chain(sample_flows.add.si(number, 1), sample_flows.double.s()).delay().flow_id)
    bus.flow(ids[0]).cancel()
    assert found("flow", "list", "--where", "state:running", by="id") == {ids[1], ids[2]}
    assert found("flow", "list", "--where", "state:revoked,failure", by="id") == {ids[0]}
    assert found("flow", "list", "--where", f"id:{ids[2]} age<1h", by="id") == {ids[2]}
    assert found("flow", "list", "--where", "age>1h", by="id") == set()
    assert found("flow", "list", "--where", "state:running", "--limit", "1", by="id") == {ids[2]}


@pytest.mark.parametrize(
    ("command", "where", "says"),
    [
        (("dlq", "list"), "tsk:a", "did you mean 'task'?"),
        (("tasks", "list"), "state:fialure", "did you mean FAILURE?"),
        (("nodes", "list"), "task:a", "known: name, kind, queue, host, app"),
        (("schedule", "list"), "is:full", "is:paused"),
        (("queues", "list"), "name>5", "nothing can be compared"),
        (("flow", "list"), "age>1", "cannot read the duration '1'"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else str(each),
)
def test_a_term_that_cannot_be_read_is_a_usage_error_that_says_what_can(
    command: tuple[str, ...], where: str, says: str
) -> None:
    done = taskbus(*command, "--where", where)
    assert (done.status, done.out) == (2, "")
    assert says in done.err

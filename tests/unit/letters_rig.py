"""Tasks that failed for good, with all they leave behind, for tests of dead letters."""

from dataclasses import replace

from taskbus.message import CHUNK, COPY, FLOW, Message
from taskbus.outcome import State
from taskbus.store.base import Bury, Store
from taskbus.store.flows import BeginFlow, EndNode, Flow, Node, NodeState, Start
from taskbus.testing.clock import START
from taskbus.testing.records import FAILURE, attempted, dead, saved
from taskbus.wire import compact
from taskbus.worker.settlement import CRASHES_IN_COMPANY


def bury(store: Store, task_id: str, dead_at: float = START, **fields: object) -> Message:
    """A task that failed for good, with all it leaves behind; returns its message as first sent."""
    message = Message(
        task_id, "mail.send", b"\x92\x91\x01\x80", queue="default", priority=3, attempt=4, sent_at=START - 9,
        due_at=START - 5, expires_at=START + 5, headers={"trace": "abc"},
    )  # fmt: skip
    letter = dead(task_id, dead_at, task="mail.send", wire=compact.encode(message), attempt=4)
    store.apply(
        [
            attempted(task_id, 4),
            Bury(replace(letter, **fields)),  # type: ignore[arg-type]
            saved(task_id, State.FAILURE, failure=FAILURE, ttl=9999),
        ]
    )
    return message


def bury_member(store: Store, flow: str, *more: Node, task_id: str = "t1") -> None:
    """A dead task of a flow of two, in which the other waits for it."""
    nodes = [Node(task_id, "mail.send"), Node("next", "mail.count", after=task_id, wire=b"wire", queue="q"), *more]
    store.apply([BeginFlow(Flow(flow, "mails", "next", START, 3600.0), nodes)])
    store.begin([Start(flow, task_id, "", START)])
    headers = {"trace": "abc", FLOW: flow, COPY: "c", CHUNK: "1", CRASHES_IN_COMPANY: "1"}
    message = Message(task_id, "mail.send", b"\x92\x91\x01\x80", attempt=4, sent_at=START - 9, headers=headers)
    letter = dead(task_id, START, task="mail.send", wire=compact.encode(message), attempt=4)
    end = EndNode(flow, task_id, NodeState.FAILURE, START, failure=FAILURE)
    store.apply([Bury(letter), saved(task_id, State.FAILURE, failure=FAILURE, ttl=9999), end])


def states(store: Store, flow: str) -> dict[str, NodeState]:
    return {view.node.id: view.state for view in store.nodes(flow, limit=10)}

"""A worker in a few lines: fetches, begins, calls and settles in this thread, until nothing is left to do."""

from collections.abc import Callable
from typing import Any

from taskbus import State, TaskBus, codec
from taskbus.broker.delivery import Settlement
from taskbus.message import COPY, FLOW, Message
from taskbus.outcome import Failure
from taskbus.store.base import SaveResult, StoredResult
from taskbus.store.flows import EndNode, Inputs, Kept, NodeState, Start, Verdict
from taskbus.wire import compact
from taskbus.workflow.failed import FailedTask


def messages(app: TaskBus, queue: str = "default") -> list[Message]:
    """What is in a queue, in the order it would be delivered."""
    return [compact.decode(each.wire, each.queue, each.priority, 1 << 20) for each in app.broker.peek(queue, 100_000)]


def run(
    app: TaskBus, queue: str = "default", *, most: int = 100_000, before: Callable[[Message], None] = lambda _: None
) -> list[str]:
    """Run what is in a queue, at most so many tasks; returns their names, in the order they were run."""
    ran: list[str] = []
    consumer = app.broker.consumer([queue], name="rig", lease=30.0)
    try:
        while len(ran) < most and (deliveries := consumer.fetch(1)):
            for each in deliveries:
                message = compact.decode(each.wire, each.queue, each.priority, 1 << 20)
                before(message)
                changes, has_run = attempt(app, message)
                ran += [message.task.rpartition(".")[2]] * has_run
                consumer.settle([Settlement(each, changes=changes)], app.record, shared=app.shares_database)
    finally:
        consumer.close()
    return ran


def attempt(app: TaskBus, message: Message) -> tuple[list[Any], bool]:
    """What is to be recorded of one attempt, and whether it was made."""
    flow, at = message.headers.get(FLOW, ""), app.clock()
    given: list[Any] = []
    if flow:
        (begun,) = app.store.begin([Start(flow, message.id, message.headers.get(COPY, ""), at)])
        if begun.verdict is Verdict.REVOKED:
            return _ended(app, message, NodeState.REVOKED, failure=Failure("taskbus.errors.TaskRevoked", "x")), False
        if begun.verdict is not Verdict.RUN:
            is_told = begun.verdict is Verdict.ENDED and not app.shares_database
            return [EndNode(flow, message.id, NodeState.SKIPPED, at)] * is_told, False
        given = [] if begun.inputs is None else [value_of(begun.inputs)]
    task = app.tasks[message.task]
    args, kwargs = codec.decode(message.body)
    try:
        value = task.function(*given, *args, **kwargs)
    except Exception as error:
        failure = Failure(f"{type(error).__module__}.{type(error).__qualname__}", str(error))
        return _ended(app, message, NodeState.FAILURE, failure=failure), True
    return _ended(app, message, NodeState.SUCCESS, value=codec.encode(value)), True


def _ended(
    app: TaskBus, message: Message, state: NodeState, value: bytes = b"", failure: Failure | None = None
) -> list[Any]:
    task, at = app.tasks[message.task], app.clock()
    changes: list[Any] = []
    if task.store_results:
        kept = value if state is NodeState.SUCCESS else None
        result = StoredResult(message.id, message.task, State(state), kept, failure=failure, finished_at=at)
        changes.append(SaveResult(result, task.result_ttl))
    if flow := message.headers.get(FLOW):
        changes.append(EndNode(flow, message.id, state, at, value, failure=failure))
    return changes


def value_of(inputs: Inputs) -> Any:
    if not isinstance(inputs, Kept):
        return [value_of(each) for each in inputs]
    if inputs.failure is not None:
        return FailedTask(inputs.node, inputs.task, inputs.failure.type, inputs.failure.message)
    return codec.decode(inputs.value) if inputs.value else None

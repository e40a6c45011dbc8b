"""Members of workflows of ours that are Celery's tasks: handed on to its queues, and their ends heard.

A node whose queue is shared with Celery goes to ``taskbus.flows`` instead. There a worker of ours begins it as any
other, since only that knows what the flow gives it, and sends the call on in Celery's wire, under the node's id, with a
callback and an errback that name the flow. Whoever runs it, of either fleet, sends one of those back to the same queue,
and that ends the node. A third message looks at the node's document now and then: Celery sends nothing when it revokes
a task, or loses its callback.
"""

import logging
from collections.abc import Sequence
from typing import Any

from taskbus import codec
from taskbus.broker.delivery import Act, Settlement
from taskbus.celery_results.document import stored
from taskbus.celery_results.sending import message_of
from taskbus.celery_results.signature import Call
from taskbus.errors import CodecError, StoreError
from taskbus.message import CELERY_FLOWS, FOR_CELERY, OWN_HEADERS, Message
from taskbus.outcome import Dead, Failure, Reason, Released, State
from taskbus.store.base import SaveResult, Store, StoredResult
from taskbus.store.flows import EndNode, FlowState, NodeState
from taskbus.worker.celery_desk import FLOW_ENDED, FLOW_FAILED, FLOW_TASKS, FLOW_WATCH, CeleryDesk
from taskbus.worker.settlement import Ended, Held, settlement

logger = logging.getLogger(__name__)

LOOK_EVERY = 20.0
"""Seconds between looks at a node of which Celery has sent nothing."""


class CeleryFlows:
    """Hands members of flows on to Celery, and ends them. ``store``: where the flows are."""

    def __init__(self, desk: CeleryDesk, store: Store) -> None:
        self._desk = desk
        self._store = store

    def is_mine(self, message: Message) -> bool:
        return message.task in FLOW_TASKS or FOR_CELERY in message.headers

    def settled(self, held: Held, now: float) -> Settlement:
        """What becomes of one of these. ``now`` is the broker's."""
        message = held.message
        assert message is not None
        try:
            if FOR_CELERY in message.headers:
                return self._handed_on(held, message, now)
            args, _ = codec.decode(message.body, message.content_type)
            if message.task == FLOW_ENDED:
                value, *node = args
                return self._ended(held, node, _result(node, State.SUCCESS, value=value), now)
            return self._failed(held, args[1:], now) if message.task == FLOW_FAILED else self._watched(held, args, now)
        except StoreError as error:
            logger.warning("a task of Celery's in a workflow waits, results cannot be used: %s", error)
            return settlement(Ended(held, Released(1.0)), self._desk.worker, now, self._desk.config)
        except (CodecError, ValueError, TypeError, LookupError) as error:
            reason = Reason.BAD_ARGUMENTS
            dead = Dead(reason, Failure(f"taskbus.errors.{type(error).__name__}", str(error)))
            return settlement(Ended(held, dead), self._desk.worker, now, self._desk.config)

    # --- there -------------------------------------------------------------------------------------------------------

    def _handed_on(self, held: Held, message: Message, now: float) -> Settlement:
        args, kwargs = codec.decode(message.body, message.content_type)
        given = [] if held.inputs is None else [plainly(held.inputs)]
        node = [held.flow, message.id, message.task]
        own = {name: text for name, text in message.headers.items() if not name.startswith(OWN_HEADERS)}
        call = Call(
            message.task,
            message.id,
            [*given, *args],
            kwargs,
            {"priority": message.priority, "headers": own},
            callbacks=[_answer(FLOW_ENDED, f"{message.id}-ended", node)],
            errbacks=[_answer(FLOW_FAILED, f"{message.id}-failed", node)],
        )
        sent = message_of(call, message.headers[FOR_CELERY], now)
        follow_ups = [sent._replace(expires_at=message.expires_at)]
        if self._desk.results is not None:
            watch = Call(FLOW_WATCH, f"{message.id}-watch", node, {}, {})
            follow_ups.append(message_of(watch, CELERY_FLOWS, now)._replace(due_at=now + LOOK_EVERY))
        return Settlement(held.delivery, follow_ups=follow_ups)

    # --- and back ----------------------------------------------------------------------------------------------------

    def _failed(self, held: Held, node: Sequence[Any], now: float) -> Settlement:
        found = self._document(node)
        if found is None or found.failure is None:
            failure = Failure("celery.exceptions.TaskError", f"{node[2]} failed; its error is in Celery's log")
            found = _result(node, State.FAILURE, failure=failure)
        return self._ended(held, node, found, now)

    def _watched(self, held: Held, node: Sequence[Any], now: float) -> Settlement:
        found = self._document(node)
        if found is not None and found.state.is_final:
            return self._ended(held, node, found, now)
        flow = self._store.flow(node[0])
        if flow is None or flow.state is not FlowState.RUNNING:
            return Settlement(held.delivery)
        return Settlement(held.delivery, Act.RELEASE, LOOK_EVERY)

    def _document(self, node: Sequence[Any]) -> StoredResult | None:
        if self._desk.results is None:
            return None
        found = self._desk.results.documents([node[1]]).get(node[1])
        return None if found is None else stored(found, node[1])

    def _ended(self, held: Held, node: Sequence[Any], found: StoredResult, now: float) -> Settlement:
        """The node ends, and its result is also where those of flows are read."""
        flow, task_id, task = map(str, node)
        kept = found._replace(task=task, finished_at=found.finished_at or now)
        end = EndNode(flow, task_id, NodeState(found.state), now, found.value or b"", found.content_type, found.failure)
        return Settlement(held.delivery, changes=[SaveResult(kept, self._desk.config.result_ttl), end])


def _answer(task: str, task_id: str, node: Sequence[str]) -> dict[str, Any]:
    """The signature of a callback; what it is given comes before the node."""
    options = {"queue": CELERY_FLOWS, "task_id": task_id}
    return {
        "task": task,
        "args": list(node),
        "kwargs": {},
        "options": options,
        "subtask_type": None,
        "immutable": False,
    }


def _result(node: Sequence[Any], state: State, *, value: Any = None, failure: Failure | None = None) -> StoredResult:
    encoded = codec.encode(value) if state is State.SUCCESS else None
    return StoredResult(str(node[1]), str(node[2]), state, encoded, failure=failure)


def plainly(inputs: Any) -> Any:
    """What a flow gives a task (as a ``Job`` has it), as values; what failed as a map that says so."""
    if isinstance(inputs, bytes):
        return codec.decode(inputs)
    if len(inputs) == 1:
        return [plainly(each) for each in inputs[0]]
    if len(inputs) == 2:
        content_type, value = inputs
        return codec.decode(value, content_type)
    return dict(zip(("task_id", "task", "error", "message"), inputs, strict=True))

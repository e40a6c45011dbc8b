"""How each outcome of an attempt is acted on. Pure: makes the ``Settlement``, touches nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from taskbus.broker.delivery import Act, Delivery, Settlement
from taskbus.config import Config
from taskbus.message import FLOW, Message, new_id
from taskbus.outcome import (
    Crashed,
    Dead,
    Failure,
    Outcome,
    Reason,
    Released,
    Replaced,
    Retrying,
    Revoked,
    State,
    Succeeded,
)
from taskbus.store.base import (
    AnyChange,
    Bury,
    DeadLetter,
    FailedAttempt,
    ForgetAttempts,
    SaveAttempt,
    SaveResult,
    StoredResult,
)
from taskbus.store.flows import EndNode, Flow, Node, NodeState, PauseNode, Policy, ReplaceNode, When
from taskbus.worker.options import TaskSpec

Changes = tuple[AnyChange, ...]

HELD_SINCE = "taskbus-held-since"
"""Header of a message that waits for a worker that knows its task: the instant it was first given back."""
CRASHES_IN_COMPANY = "taskbus-crashes-in-company"
"""Header of a message whose runner died while running others too: how often. From then on it is run alone."""


@dataclass(slots=True)
class Held:
    """A delivery this worker holds. ``message`` is None where its bytes could not be read.

    ``tag`` names it between supervisor and runner. ``is_acked``: it was taken off its queue before the attempt
    (``at_most_once``). ``is_slow``: nothing may be queued behind it. ``parked_at``: since when it waits for a slot, and
    ``start_by``: when it expires, both by the monotonic clock. ``inputs``: what its flow gives it, as in a
    ``Job``. ``is_told``: telemetry tells of it, and ``is_start_told``: has told that it has started. ``progress`` and
    ``logs``: what its attempt has said so far, as in ``monitor.report``; ``pid``: the process that it was given to.
    """

    delivery: Delivery
    message: Message | None
    spec: TaskSpec
    tag: int = 0
    is_acked: bool = False
    is_slow: bool = True
    parked_at: float = 0.0
    start_by: float | None = None
    inputs: Any = None
    is_told: bool = False
    is_start_told: bool = False
    progress: Sequence[Any] | None = None
    logs: Sequence[str] | None = None
    pid: int = 0

    @property
    def flow(self) -> str:
        """The flow that its task belongs to; "" if none, or if its bytes could not be read."""
        return self.message.headers.get(FLOW, "") if self.message is not None else ""

    @property
    def runs_once(self) -> bool:
        """Whether it must not run again, once it may have started."""
        return self.is_acked or self.spec.at_most_once

    @property
    def is_suspect(self) -> bool:
        """Whether it may be what killed a runner: nothing else must run beside it."""
        return self.delivery.crashes > 0 or (self.message is not None and CRASHES_IN_COMPANY in self.message.headers)


class Ended(NamedTuple):
    """An attempt that ended, or a delivery that needs none. ``started_at`` 0: the task did not run."""

    held: Held
    outcome: Outcome
    started_at: float = 0.0
    ran_for: float = 0.0


def settlement(ended: Ended, worker: str, now: float, config: Config) -> Settlement:
    """What is to become of the delivery: result, retry, dead letter, back to the queue; all of it one step.

    What its flow is told is the last of the changes: see ``brings_more``.
    """
    held = ended.held
    match ended.outcome:
        case Succeeded(result, content_type):
            return _ack(held, changes=_success(ended, result, content_type, now))
        case Retrying(delay, failure):
            return _retry(ended, delay, failure, worker, now)
        case Dead(reason, failure):
            return _bury(ended, reason, failure, worker, now)
        case Revoked(failure):
            return _ack(held, changes=_revocation(ended, failure, now))
        case Replaced(flow, nodes):
            return _ack(held, changes=_replacement(held, flow, nodes))
        case Crashed(how, is_alone):
            return _crash(ended, how, worker, now, config) if is_alone else _suspect(ended, how, worker, now, config)
        case Released(delay):
            return _release(held, delay, now)


def _crash(ended: Ended, how: str, worker: str, now: float, config: Config) -> Settlement:
    held = ended.held
    crashes = held.delivery.crashes + 1
    if crashes < config.max_crashes and not held.runs_once:
        return Settlement(held.delivery, Act.CRASH)
    return _bury(ended, Reason.POISON, crash_failure(crashes, how), worker, now)


def _suspect(ended: Ended, how: str, worker: str, now: float, config: Config) -> Settlement:
    """One of several that ran when their runner died: sent again, to run alone, so that only the guilty is counted."""
    held, message = ended.held, _readable(ended.held)
    times = _crashes_in_company(message) + 1
    if times >= config.max_losses or held.runs_once:
        return _bury(ended, Reason.POISON, crash_failure(times, f"{how}, which may have come from others"), worker, now)
    headers = {**message.headers, CRASHES_IN_COMPANY: str(times)}
    return _ack(held, (message._replace(headers=headers, due_at=None),))


def _crashes_in_company(message: Message) -> int:
    text = message.headers.get(CRASHES_IN_COMPANY, "")
    return int(text) if text.isdecimal() else 0


def crash_failure(crashes: int, how: str) -> Failure:
    """The failure of a message whose runners died."""
    times = "once" if crashes == 1 else f"{crashes} times"
    return Failure("taskbus.worker.RunnerDied", f"its runner died {times} while running it, last of {how}")


def brings_more(settlement: Settlement) -> bool:
    """Whether there may be something to fetch once this is settled."""
    if settlement.act is not Act.ACK or settlement.follow_ups:
        return True
    changes = settlement.changes
    return bool(changes) and type(changes[-1]) in _STEPS


_STEPS = (EndNode, ReplaceNode)


def hold(held: Held, now: float, delay: float) -> Settlement:
    """Give back a message of a task unknown here, remembering since when it has waited."""
    message = held.message
    if message is None:
        raise ValueError("only a readable message can be held")
    since = message.headers.get(HELD_SINCE, repr(now))
    later = message._replace(headers={**message.headers, HELD_SINCE: since}, due_at=now + delay)
    return Settlement(held.delivery, follow_ups=(later,))


def _ack(held: Held, follow_ups: tuple[Message, ...] = (), changes: Changes = ()) -> Settlement:
    return Settlement(None if held.is_acked else held.delivery, follow_ups=follow_ups, changes=changes)


def _release(held: Held, delay: float, now: float) -> Settlement:
    """Back to the queue; what was taken off it in advance, and has not run, is sent again."""
    if not held.is_acked:
        return Settlement(held.delivery, Act.RELEASE, delay)
    return _ack(held, (_readable(held)._replace(due_at=now + delay if delay else None),))


def _success(ended: Ended, result: bytes | None, content_type: str, now: float) -> Changes:
    message = _readable(ended.held)
    changes: Changes = ()
    if result is not None and ended.held.spec.store_results:
        stored = _result(ended, message, State.SUCCESS, value=result, content_type=content_type)
        changes = (SaveResult(stored, ended.held.spec.result_ttl),)
    if message.attempt > 1:
        changes = (*changes, ForgetAttempts(message.id))
    flow = message.headers.get(FLOW)
    if flow is not None:
        changes = (*changes, EndNode(flow, message.id, NodeState.SUCCESS, now, result or b"", content_type))
    return changes


def _revocation(ended: Ended, failure: Failure, now: float) -> Changes:
    message = _readable(ended.held)
    changes: Changes = ()
    if ended.held.spec.store_results:
        revoked = _result(ended, message, State.REVOKED, failure=failure)
        changes = (SaveResult(revoked, ended.held.spec.result_ttl),)
    return (*changes, *end_of(ended.held, NodeState.REVOKED, failure, now))


def _replacement(held: Held, flow: Sequence[Any], nodes: Sequence[Sequence[Any]]) -> Changes:
    message = _readable(held)
    named = [Node(*node) for node in nodes]
    typed = [node._replace(when=When(node.when), policy=Policy(node.policy)) for node in named]
    changes: Changes = (ForgetAttempts(message.id),) if message.attempt > 1 else ()
    return (*changes, ReplaceNode(Flow(*flow), typed))


def end_of(held: Held, state: NodeState, failure: Failure, now: float) -> Changes:
    """What its flow is told of a task that did not succeed; nothing if it is in none. ``now`` is the broker's."""
    flow = held.flow
    return (EndNode(flow, _readable(held).id, state, now, failure=failure),) if flow else ()


def _retry(ended: Ended, delay: float, failure: Failure, worker: str, now: float) -> Settlement:
    message = _readable(ended.held)
    headers = {name: text for name, text in message.headers.items() if name != CRASHES_IN_COMPANY}
    again = message._replace(attempt=message.attempt + 1, due_at=now + delay, headers=headers)
    changes: Changes = (_failed(ended, message, failure, worker),)
    if ended.held.spec.store_results:
        stored = _result(ended, message, State.RETRY, failure=failure)
        changes = (*changes, SaveResult(stored, ended.held.spec.result_ttl))
    if flow := ended.held.flow:
        changes = (*changes, PauseNode(flow, message.id))
    return _ack(ended.held, (again,), changes)


def _bury(ended: Ended, reason: Reason, failure: Failure, worker: str, now: float) -> Settlement:
    delivery, message = ended.held.delivery, ended.held.message
    letter = DeadLetter(
        task_id=message.id if message else f"raw-{new_id()}",
        task=message.task if message else "",
        queue=delivery.queue,
        reason=reason,
        failure=failure,
        wire=delivery.wire,
        content_type=delivery.content_type,
        priority=message.priority if message else delivery.priority,
        attempt=message.attempt if message else 1,
        sent_at=message.sent_at if message else 0.0,
        dead_at=now,
    )
    is_revoked = reason is Reason.EXPIRED
    changes: Changes = (Bury(letter),)
    if message is not None and ended.started_at:
        changes = (_failed(ended, message, failure, worker), *changes)
    if message is not None and ended.held.spec.store_results:
        state = State.REVOKED if is_revoked else State.FAILURE
        changes = (*changes, SaveResult(_result(ended, message, state, failure=failure), ended.held.spec.result_ttl))
    ending = end_of(ended.held, NodeState.REVOKED if is_revoked else NodeState.FAILURE, failure, now)
    return _ack(ended.held, changes=(*changes, *ending))


def _readable(held: Held) -> Message:
    if held.message is None:
        raise ValueError("an unreadable message cannot have run")
    return held.message


def _failed(ended: Ended, message: Message, failure: Failure, worker: str) -> SaveAttempt:
    finished_at = ended.started_at + ended.ran_for
    return SaveAttempt(FailedAttempt(message.id, message.attempt, ended.started_at, finished_at, worker, failure))


def _result(
    ended: Ended,
    message: Message,
    state: State,
    *,
    value: bytes | None = None,
    content_type: str = "msgpack",
    failure: Failure | None = None,
) -> StoredResult:
    return StoredResult(
        message.id,
        message.task,
        state,
        value,
        content_type,
        failure,
        message.attempt,
        ended.started_at,
        ended.started_at + ended.ran_for,
    )

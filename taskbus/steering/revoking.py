"""Calling tasks off: what waits is taken off its queue where that can be done, and every worker is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from taskbus.app import TaskBus
from taskbus.errors import BrokerError
from taskbus.message import FLOW, Message
from taskbus.outcome import Failure, State
from taskbus.steering.nodes import REVOKED_FOR, TIMEOUT, Asked, ask, seen_nodes
from taskbus.steering.refusal import NobodyAnswered, Refusal
from taskbus.steering.tracing import PEEKED, find_waiting, is_of
from taskbus.store.base import SaveResult, StoredResult
from taskbus.store.reports import ReportStore


@dataclass(frozen=True, slots=True)
class Revoked:
    """What a revocation came to. ``ended``: those that had ended before, to which nothing happened.

    ``withdrawn``: those that waited in a queue, and were taken off it. ``told``: workers that have said that they know;
    those that start within ``REVOKED_FOR`` seconds hear of it too. ``terminated``: ids that were ended while they ran,
    as far as workers have said so.
    """

    ids: Sequence[str]
    ended: Sequence[str]
    withdrawn: Sequence[str]
    told: Sequence[str]
    terminated: Sequence[str]


def revoke(
    app: TaskBus, reports: ReportStore, task_ids: Sequence[str], *, terminate: bool = False, timeout: float = TIMEOUT
) -> Revoked:
    """Let tasks not run; with ``terminate`` end them if they run. Raises ``Refusal`` if all of them have ended.

    What is found waiting in a queue is taken off it, and recorded as REVOKED; not a task of a workflow, of which the
    worker that fetches it must tell. Whoever fetches another one within ``REVOKED_FOR`` seconds ends it as REVOKED.
    With no worker alive the order stands all the same. ``timeout``: how long to wait for what workers say.
    """
    results = app.store.results(task_ids)
    ended = [each for each in task_ids if each in results and results[each].state.is_final]
    left = [each for each in dict.fromkeys(task_ids) if each not in ended]
    if not left:
        states = ", ".join(f"{each} ({results[each].state})" for each in ended)
        raise Refusal(f"nothing to call off, it has ended: {states}")
    withdrawn = _withdraw(app, left)
    workers = [seen for seen in seen_nodes(reports, app.clock(), kind="worker") if seen.is_alive]
    arguments = {"task_id": left, "terminate": terminate}
    try:
        asked = ask(
            reports, "revoke", arguments, nodes=workers, is_for_all=True, ttl=REVOKED_FOR, timeout=timeout,
            clock=app.clock,
        )  # fmt: skip
    except NobodyAnswered:
        asked = Asked(0, {})
    told = sorted(asked.names.get(node, node) for node in asked.answers)
    return Revoked(left, ended, withdrawn, told, _terminated(left, asked) if terminate else ())


def _withdraw(app: TaskBus, task_ids: Sequence[str]) -> list[str]:
    """Take off their queues those that are found there, first from the broker: it is the message that would run."""
    gone = []
    for task_id in task_ids:
        message, _ = find_waiting(app, task_id)
        if message is None or FLOW in message.headers:
            continue
        try:
            found = app.broker.withdraw(message.queue, partial(is_of, task_id), PEEKED)
        except BrokerError:
            continue  # it may not delete there: the worker that fetches it has been told
        if found is not None:
            gone.append(task_id)
            _record(app, message)
    return gone


def _record(app: TaskBus, message: Message) -> None:
    if app.config.store_results:
        failure = Failure("taskbus.errors.TaskRevoked", "revoked")
        result = StoredResult(
            message.id, message.task, State.REVOKED, failure=failure, attempt=message.attempt, finished_at=app.clock()
        )
        app.store.apply([SaveResult(result, app.config.result_ttl)])


def _terminated(task_ids: Sequence[str], asked: Asked) -> list[str]:
    """Ids that workers named: ``{"ok": "terminate: ID, ID"}``."""
    said = " ".join(str(answer.get("ok", "")) for answer in asked.answers.values() if isinstance(answer, dict))
    return [each for each in task_ids if each in said]

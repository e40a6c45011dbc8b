"""What nodes may be told, by the names of the page and the command line: each is one order of Celery's vocabulary."""

from collections.abc import Mapping
from typing import Any

from taskbus.clock import Clock, wall_clock
from taskbus.errors import ConfigError
from taskbus.monitor.commands import INSPECT
from taskbus.steering.nodes import TIMEOUT, Asked, SeenNode, ask, find_node, seen_nodes
from taskbus.steering.refusal import NobodyAnswered, Refusal, near
from taskbus.store.filters import NodeFilter
from taskbus.store.reports import ReportStore

QUESTIONS = {command.name: command for command in INSPECT}
"""What a node may be asked without changing anything."""
UNANSWERED = frozenset({"shutdown"})
"""Orders that whoever obeys says nothing to."""


def order(
    reports: ReportStore,
    name: str,
    do: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    timeout: float = TIMEOUT,
    clock: Clock = wall_clock,
) -> Any:
    """Tell the node of that name to do something; what it says: ``{"ok": value}`` or ``{"error": text}``.

    ``shutdown`` is answered by nobody: it is ``{"ok": None}`` once told. Raises ``NotThere``, ``NobodyAnswered``, and
    ``Refusal`` for a node that is no worker, or a short name of several.
    """
    seen = find_node(reports, name, clock())
    if seen.state.kind != "worker":
        raise Refusal(f"{seen.name} is a {seen.state.kind}, and only workers are told things")
    asked = ask(
        reports, do, arguments, nodes=[seen], timeout=0.0 if do in UNANSWERED else timeout, clock=clock,
        is_answered=do not in UNANSWERED,
    )  # fmt: skip
    return asked.answers.get(seen.node, {"ok": None})


def grow(reports: ReportStore, name: str, n: int, **waiting: Any) -> Any:
    """Have ``n`` runners more."""
    return order(reports, name, "pool_grow", {"n": n}, **waiting)


def shrink(reports: ReportStore, name: str, n: int, **waiting: Any) -> Any:
    """Have ``n`` runners less, once they have finished what they run."""
    return order(reports, name, "pool_shrink", {"n": n}, **waiting)


def stop(reports: ReportStore, name: str, **waiting: Any) -> Any:
    """Stop in good order: what it runs is finished, or given back."""
    return order(reports, name, "shutdown", {}, **waiting)


def limit(reports: ReportStore, name: str, task: str, rate: str, **waiting: Any) -> Any:
    """Let a task start so often there: "10/s", "10/m", "10/h"; "" or "0": as often as it comes."""
    return order(reports, name, "rate_limit", {"task_name": task, "rate_limit": rate}, **waiting)


def add_queue(reports: ReportStore, name: str, queue: str, **waiting: Any) -> Any:
    """Fetch from one more queue."""
    return order(reports, name, "add_consumer", {"queue": queue}, **waiting)


def cancel_queue(reports: ReportStore, name: str, queue: str, **waiting: Any) -> Any:
    """Fetch from a queue no longer."""
    return order(reports, name, "cancel_consumer", {"queue": queue}, **waiting)


def question(reports: ReportStore, name: str, command: str, **waiting: Any) -> Any:
    """Ask something that changes nothing. Raises ``ConfigError`` for what is no question."""
    if command not in QUESTIONS:
        raise ConfigError(f"{command!r:.100} is no question; {near(command, QUESTIONS)}")
    return order(reports, name, command, {}, **waiting)


def ping(reports: ReportStore, *, timeout: float = TIMEOUT, clock: Clock = wall_clock) -> tuple[list[SeenNode], Asked]:
    """Ask every worker that reports whether it is there. Raises ``NobodyAnswered``, also where none reports."""
    workers = [seen for seen in seen_nodes(reports, clock(), kind="worker") if seen.is_alive]
    if not workers:
        raise NobodyAnswered("no worker reports", "start one: taskbus worker -A module:app")
    return workers, ask(reports, "ping", nodes=workers, timeout=timeout, clock=clock)


def is_meant(seen: SeenNode, where: NodeFilter) -> bool:
    """Whether a node is one that the filter means."""
    state = seen.state
    return where.matches(name=seen.name, kind=state.kind, queues=state.queues, host=state.host, app=state.app)

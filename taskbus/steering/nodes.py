"""Nodes: which there are, and what they say to an order."""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgpack

from taskbus.clock import Clock, wall_clock
from taskbus.monitor.report import NodeState, unpack_state
from taskbus.steering.refusal import NobodyAnswered, NotThere, Refusal, near
from taskbus.store.reports import ReportStore

ALIVE_FOR = 30.0
"""Seconds after its last report for which a node counts as alive: three of the slowest pace at which they report."""
TIMEOUT = 5.0
"""Seconds to wait for answers: a node hears of an order with its next report."""
ORDER_FOR = 60.0
"""Seconds for which an order to a node stands: longer than it takes to be heard, shorter than to surprise anybody."""
REVOKED_FOR = 10_800.0
"""Seconds for which a revocation stands, also for workers that start meanwhile: as long as each remembers it."""
POLL = 0.05
"""Seconds between two looks for answers."""
MOST_NAMED = 10
"""Nodes that an error names at most."""


class SeenNode(NamedTuple):
    """A node as it last said that it is, and whether it still counts as alive."""

    node: str
    at: float
    is_alive: bool
    state: NodeState

    @property
    def name(self) -> str:
        return self.state.name or self.node


@dataclass(frozen=True, slots=True)
class Asked:
    """What came back: by node, ``{"ok": value}`` or ``{"error": text}``; ``missing`` said nothing in time.

    ``names``: what each node is called, by node.
    """

    order: int
    answers: Mapping[str, Any]
    missing: Sequence[str] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def errors(self) -> Sequence[str]:
        """What went wrong, as lines that name the node."""
        return [
            f"{self.names.get(node, node)}: {answer['error']}"
            for node, answer in self.answers.items()
            if isinstance(answer, Mapping) and "error" in answer
        ]


def seen_nodes(reports: ReportStore, now: float, *, kind: str = "") -> list[SeenNode]:
    """Every node of that kind ("": of any), by name; a state that cannot be read is left out."""
    found = []
    for each in reports.nodes():
        state = _state(each.state)
        if state is not None and kind in ("", state.kind):
            found.append(SeenNode(each.node, each.at, now - each.at < ALIVE_FOR, state))
    return sorted(found, key=lambda seen: (seen.name, seen.node))


def _state(packed: bytes) -> NodeState | None:
    try:
        return unpack_state(packed)
    except (ValueError, TypeError, AttributeError, msgpack.UnpackException):
        return None


def find_node(reports: ReportStore, name: str, now: float) -> SeenNode:
    """The node of that name, or of that node id; of several of one name the one that is alive.

    ``host:pid`` will do, which is what failed attempts and ``taskbus status`` call a worker without a name; and a name
    without its ``@host`` where one living node has it, or none living and one silent. Raises ``NotThere``, and
    ``Refusal`` where a short name could mean several.
    """
    nodes = seen_nodes(reports, now)
    found = [seen for seen in nodes if name == seen.node] or [seen for seen in nodes if name == seen.name]
    found = found or [seen for seen in nodes if name == f"{seen.state.host}:{seen.state.pid}"]
    found = found or _of_short_name(nodes, name)
    if not found:
        advice = near(name, {seen.name for seen in nodes}) if nodes else "no node reports: is a worker running?"
        raise NotThere(f"there is no node {name!r}", advice)
    return max(found, key=lambda seen: (seen.is_alive, seen.at))


def _of_short_name(nodes: Sequence[SeenNode], name: str) -> list[SeenNode]:
    """Nodes of one whole name, which is this one and an ``@host``; none if there is no such node."""
    found = [seen for seen in nodes if name and seen.name.rpartition("@")[0] == name]
    found = [seen for seen in found if seen.is_alive] or found
    names = sorted({seen.name for seen in found})
    if len(names) > 1:
        meant = f"{', '.join(names[:MOST_NAMED])}{', ...' if len(names) > MOST_NAMED else ''}"
        raise Refusal(f"{name!r} is the short name of {len(names)} nodes: {meant}", "give one of these")
    return found


def tell(
    reports: ReportStore,
    do: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    node: str = "",
    ttl: float = ORDER_FOR,
    clock: Clock = wall_clock,
) -> int:
    """Order a node, or all, to do something, by the names of Celery's remote control; the order's number."""
    order: bytes = msgpack.packb({"do": do, **(arguments or {})})
    return reports.order(order, clock(), node=node, ttl=ttl)


def ask(
    reports: ReportStore,
    do: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    nodes: Sequence[SeenNode],
    is_for_all: bool = False,
    ttl: float = ORDER_FOR,
    timeout: float = TIMEOUT,
    is_answered: bool = True,
    clock: Clock = wall_clock,
) -> Asked:
    """Order these nodes to do something, and wait for what they say, ``timeout`` seconds at most.

    ``is_for_all``: one order to all there are and will be until its ``ttl`` is over; ``nodes`` are those that are
    waited for. ``is_answered`` False: nobody will say anything to it. Raises ``NobodyAnswered`` where somebody should
    have, and nobody did.
    """
    targets = [""] if is_for_all else [seen.node for seen in nodes]
    orders = [tell(reports, do, arguments, node=node, ttl=ttl, clock=clock) for node in targets]
    names = {seen.node: seen.name for seen in nodes}
    if not is_answered:
        return Asked(orders[-1], {}, (), names)
    answers = _gather(reports, orders, {seen.node for seen in nodes if seen.is_alive}, timeout)
    missing = [names[node] for node in names if node not in answers]
    if names and not answers:
        raise NobodyAnswered(f"nobody answered within {timeout:g} s: {', '.join(sorted(names.values()))}", _SILENT)
    return Asked(orders[-1] if orders else 0, answers, missing, names)


_SILENT = "is it running, and may it be told things (setting remote_control)?"


def _gather(reports: ReportStore, orders: Iterable[int], wanted: set[str], timeout: float) -> dict[str, Any]:
    deadline, pause = time.monotonic() + timeout, threading.Event()
    orders = list(orders)
    answers: dict[str, Any] = {}
    while True:
        for order in orders:
            answers |= {each.node: _answer(each.answer) for each in reports.answers(order)}
        if wanted <= answers.keys() or time.monotonic() > deadline:
            return answers
        pause.wait(POLL)


def _answer(packed: bytes) -> Any:
    try:
        return msgpack.unpackb(packed, strict_map_key=False)
    except (ValueError, msgpack.UnpackException):
        return {"error": f"{len(packed)} bytes that cannot be read"}

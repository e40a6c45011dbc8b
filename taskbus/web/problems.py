"""What wants a look, told from the live picture and the gauges; pure. The worst comes first."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import quote

from taskbus.history.shapes import LiveNode, LiveSnapshot, Quantiles, Rates
from taskbus.steering.queues import QueueView
from taskbus.web.gauges import RECENT, Gauged
from taskbus.web.shapes.basis import Problem

LONG_WAIT = 300.0
"""Seconds that a message may be ready before it is a problem; as ``taskbus doctor`` has it."""
BOUND = 50
"""Problems that are told of at most."""


NOTHING = LiveSnapshot(
    0.0, Rates(), Quantiles(), Quantiles(), (), (), (), (), 0, (), 0, 1, 0, "there is no history: no reports are read"
)
"""The live picture where nobody collects."""


class Seen(NamedTuple):
    """All that there is to look at, at ``now``."""

    now: float
    live: LiveSnapshot
    gauged: Gauged


def problems(seen: Seen) -> list[Problem]:
    """Every problem, errors before warnings."""
    found = [
        *_places(seen), *_workers(seen), *_queues(seen), *_beats(seen), *_letters(seen), *_nodes(seen),
    ]  # fmt: skip
    return sorted(found, key=lambda problem: problem.severity != "error")[:BOUND]


def alive(live: LiveSnapshot, kind: str) -> Sequence[LiveNode]:
    """The nodes of a kind that report."""
    return [node for node in live.nodes if node.is_alive and node.state.kind == kind]


def served_by(seen: Seen) -> frozenset[str]:
    """The queues from which some living worker fetches, by its reports or its lease."""
    reported = {queue for node in alive(seen.live, "worker") for queue in node.state.queues}
    leased = {queue for lease in seen.gauged.leases if lease.lease_until > seen.now for queue in lease.queues}
    return frozenset(reported | leased)


def _places(seen: Seen) -> Iterator[Problem]:
    for error in dict.fromkeys(filter(None, (seen.gauged.error, seen.live.error))):
        advice = "is it running, and can this host reach it? taskbus doctor says more; what is shown may be old"
        yield Problem(kind="store", severity="error", text=error, advice=advice, link="/system")


def _workers(seen: Seen) -> Iterator[Problem]:
    if alive(seen.live, "worker") or served_by(seen):
        return
    waiting = sum(queue.ready for queue in seen.gauged.queues)
    text = f"No worker is alive, and {waiting:,} messages wait" if waiting else "No worker is alive"
    yield Problem(
        kind="no_workers",
        severity="error" if waiting else "warning",
        text=text,
        advice="start one: taskbus worker -A module:app",
        link="/workers",
    )


def _queues(seen: Seen) -> Iterator[Problem]:
    served = served_by(seen)
    for queue in seen.gauged.queues:
        link = f"/queues/{quote(queue.name, safe='')}"
        if queue.is_paused or not queue.ready:
            continue
        if queue.name not in served and served:
            text = f"{queue.ready:,} messages in queue {queue.name!r}, from which no worker fetches"
            advice = f"taskbus worker -A module:app -Q {queue.name}"
            yield Problem(kind="no_consumer", severity="error", text=text, advice=advice, link=link)
        elif _is_old(seen, queue):
            text = f"The oldest message of queue {queue.name!r} waits for {span(seen.now - (queue.oldest_at or 0.0))}"
            advice = "more workers, more slots, or shorter tasks"
            yield Problem(kind="old_messages", severity="warning", text=text, advice=advice, link=link)


def _is_old(seen: Seen, queue: QueueView) -> bool:
    return queue.oldest_at is not None and seen.now - queue.oldest_at > LONG_WAIT


def _beats(seen: Seen) -> Iterator[Problem]:
    if (
        not seen.gauged.has_schedules
        or seen.gauged.leader
        or any(beat.state.is_leader for beat in alive(seen.live, "beat"))
    ):
        return
    yield Problem(
        kind="beat_silent",
        severity="error",
        text="There are schedules, and no beat sends them",
        advice="start one: taskbus beat -A module:app, or taskbus worker -B",
        link="/schedules",
    )


def _letters(seen: Seen) -> Iterator[Problem]:
    if seen.gauged.dead:
        text = f"{seen.gauged.dead:,} dead letters came in the last {span(RECENT)}"
        advice = "see why, grouped by error; mend it, and send them again"
        yield Problem(kind="dead_letters", severity="warning", text=text, advice=advice, link="/dead-letters")


def _nodes(seen: Seen) -> Iterator[Problem]:
    for node in seen.live.nodes:
        name = node.state.name or node.node
        if not node.is_alive:
            text = f"{node.state.kind.capitalize()} {name!r} has said nothing for {span(seen.now - node.at)}"
            advice = "it died, or cannot reach the store; what it held goes to other workers when its lease is over"
            yield Problem(kind="node_silent", severity="warning", text=text, advice=advice, link="/workers")
        elif node.state.dropped:
            text = f"{name!r} could not keep {node.state.dropped:,} records of tasks since it started"
            advice = "counts are exact all the same; the list of tasks has holes there"
            yield Problem(kind="dropped", severity="warning", text=text, advice=advice, link="/workers")


def span(seconds: float) -> str:
    """A duration in one unit: ``45 s``, ``12 min``, ``3 h``, ``2 d``."""
    for unit, size, most in (("s", 1.0, 120.0), ("min", 60.0, 7200.0), ("h", 3600.0, 172_800.0)):
        if seconds < most:
            return f"{max(0.0, seconds) / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"

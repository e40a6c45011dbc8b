"""A beat as metrics and probes show it. All of this is read in other threads than the beat's."""

import os
import time

from taskbus import __version__
from taskbus.beat.beat import NET, Beat
from taskbus.monitor.figures import Figures, ScheduleFigures
from taskbus.monitor.histogram import Histogram
from taskbus.monitor.naming import host_of, node_name
from taskbus.monitor.probes import WITHIN, Vitals
from taskbus.monitor.report import NodeState, Total


def vitals_of(beat: Beat) -> Vitals:
    """How it gets on: it is ready when its last turn went well, whether it leads or stands by."""
    pulse, failing = beat.pulse, beat.pulse.failing
    return Vitals(
        "beat", beat.name, os.getpid(), time.monotonic(), pulse.turned_at, pulse.answered_at, max(WITHIN, 3 * NET),
        failing.failing_since if failing else 0.0, failing.failure if failing else "", is_up=pulse.is_up,
        is_stopping=pulse.is_stopping, role="leader" if beat.is_leading else "standby",
    )  # fmt: skip


def figures_of(beat: Beat) -> Figures:
    """What it has sent, and how the schedules stand if it leads."""
    node = node_name(beat.name)
    contact = beat.pulse.contacts[0]
    return Figures(
        time.time(),
        [Total(task, queue, {"sent": n}, Histogram(), Histogram(), {}) for (task, queue), n in list(beat.sent.items())],
        host_of(node),
        [NodeState("beat", node, pid=os.getpid(), version=__version__, is_leader=beat.is_leading)],
        schedules=schedules_of(beat),
        is_broker_up=not contact.failing_since,
        broker_errors=contact.failures,
    )


def schedules_of(beat: Beat) -> list[ScheduleFigures]:
    """The schedules of a beat that leads."""
    return [
        ScheduleFigures(
            row.schedule.name, row.standing.last_sent_at, row.standing.sent, row.standing.missed, row.standing.skipped,
            row.standing.lateness,
        )
        for row in beat.rows()
    ]  # fmt: skip

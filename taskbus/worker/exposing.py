"""A worker as metrics and probes show it. The loop notes that it turns; all the rest is read by whoever asks."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from taskbus.beat.beat import Beat
from taskbus.beat.exposing import figures_of, schedules_of, vitals_of
from taskbus.monitor.exposing import exposed
from taskbus.monitor.figures import Figures, Lookout
from taskbus.monitor.histogram import Histogram
from taskbus.monitor.naming import host_of
from taskbus.monitor.probes import WITHIN, Vitals
from taskbus.monitor.pulse import Contact, Pulse
from taskbus.monitor.queue_look import QueueLook
from taskbus.monitor.report import NodeState, Total
from taskbus.worker.realm import Realm


class Exposure:
    """Metrics and probes of a worker, from its making to ``close``. ``url``: where, "" if nowhere.

    ``totals`` and ``state`` are what it reports; ``paused`` are the queues it leaves alone. ``beat``: one that runs
    beside. Raises ``ConfigError`` if the address or the file cannot be used.
    """

    def __init__(
        self,
        realm: Realm,
        contacts: Sequence[Contact],
        totals: Callable[[], Sequence[Total]],
        state: Callable[[], NodeState],
        look: QueueLook,
        beat: Beat | None = None,
    ) -> None:
        self.pulse = Pulse(contacts, lends_its_thread=realm.info.pool == "solo")
        self._realm = realm
        self._totals, self._state = totals, state
        self._beat = beat
        self._lookout = Lookout(look)
        with ExitStack() as stack:
            stack.callback(look.close)
            stack.callback(self._lookout.close)
            self.url = stack.enter_context(exposed(realm.config, realm.info.name, self.vitals, self.figures))
            self._closing = stack.pop_all()

    def close(self) -> None:
        """Be seen no more."""
        self._closing.close()

    # --- in other threads ----------------------------------------------------------------------------------------

    def vitals(self) -> Vitals:
        """How it gets on."""
        realm, pulse, now = self._realm, self.pulse, time.monotonic()
        failing = pulse.failing
        config, runners = realm.config, realm.runners()
        return Vitals(
            "worker", realm.info.name, realm.info.pid, now,
            turned_at=now if pulse.lends_its_thread else pulse.turned_at,
            answered_at=pulse.answered_at,
            answers_within=max(WITHIN, 2 * config.sweep, config.lease),
            failing_since=failing.failing_since if failing else 0.0,
            failure=failing.failure if failing else "",
            runners=sum(runner.is_up for runner in runners),
            wanted=max(1, realm.crew.size),
            queues=tuple(realm.consumer.queues),
            is_up=pulse.is_up,
            is_stopping=realm.crew.is_stopping,
            role=vitals_of(self._beat).role if self._beat is not None else "",
        )  # fmt: skip

    def figures(self) -> Figures:
        """What is to be told of it now."""
        realm, pulse, state = self._realm, self.pulse, self._state()
        figures = Figures(
            time.time(),
            self._known_and_counted(),
            host_of(realm.node),
            [state],
            queues=self._lookout.seen() if realm.config.metrics_queues else None,
            departures=dict(realm.crew.departures),
            is_broker_up=pulse.failing is None,
            broker_errors=sum(contact.failures for contact in pulse.contacts),
        )
        if self._beat is None:
            return figures
        beside = figures_of(self._beat)
        return figures._replace(
            totals=[*figures.totals, *beside.totals],
            nodes=[state, *(node._replace(name=realm.node) for node in beside.nodes)],
            schedules=schedules_of(self._beat),
        )

    def _known_and_counted(self) -> list[Total]:
        """What was counted, the tasks that it knows first, also those of which there is nothing to tell yet.

        So it is them that have names when names run out, and an increase of the first count is seen.
        """
        counted = {(total.task, total.queue): total for total in self._totals()}
        queues = set(self._realm.consumer.queues)
        known = [(name, spec.queue) for name, spec in list(self._realm.specs.items()) if spec.queue in queues]
        own = [counted.pop(key, _nothing(*key)) for key in known if not key[0].startswith("celery.")]
        return [*own, *counted.values()]


def _nothing(task: str, queue: str) -> Total:
    return Total(task, queue, {}, Histogram(), Histogram(), {})

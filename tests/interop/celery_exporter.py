"""What celery-exporter makes of events, done with the same calls of Celery's; that program is not on the package index.

A Receiver has a handler for each type of event that is counted, labels are what Celery's State says of the task,
``inspect`` tells of queues and pools, and the broker how long a queue of that name is.
"""

import re
import threading
import time
from collections import Counter as Count
from typing import Any

from celery import Celery
from celery.utils import nodesplit
from celery.utils.time import utcoffset
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

TASKS = ("sent", "received", "started", "succeeded", "failed", "rejected", "revoked", "retried")
WORKER_TIMEOUT = 300.0
"""Seconds without a heartbeat after which it gives a worker up, by default."""


class Exporter:
    """Listens in a thread, from ``start`` to ``stop``. ``faults``: what its handlers have raised."""

    def __init__(self, client: Celery) -> None:
        self._client = client
        self._state = client.events.State()
        self._receiver: Any = None
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._last_seen: dict[str, float] = {}
        self._queues: set[str] = set()
        self.faults: list[Exception] = []
        self.registry = CollectorRegistry()
        labels = ["name", "hostname", "queue_name"]
        self._counters = {
            f"task-{kind}": Counter(
                f"celery_task_{kind}", kind, [*labels, "exception"] if kind == "failed" else labels,
                registry=self.registry,
            )
            for kind in TASKS
        }  # fmt: skip
        self._runtime = Histogram("celery_task_runtime", "seconds", labels, registry=self.registry)
        self._up, self._active = (
            Gauge(f"celery_worker_{name}", name, ["hostname"], registry=self.registry)
            for name in ("up", "tasks_active")
        )
        self._length, self._consumers, self._workers, self._processes = (
            Gauge(f"celery_{name}", name, ["queue_name"], registry=self.registry)
            for name in ("queue_length", "active_consumer_count", "active_worker_count", "active_process_count")
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._receiver.should_stop = True
        self._thread.join(30)

    def value(self, name: str, **labels: str) -> float | None:
        """A sample as Prometheus would read it; None if there is none."""
        return self.registry.get_sample_value(name, labels)

    def counted(self, name: str) -> dict[tuple[str, ...], float]:
        """The samples of one name that are not 0, by the values of their labels in the labels' order."""
        return {
            tuple(sample.labels[label] for label in sorted(sample.labels)): sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == name and sample.value
        }

    # --- events --------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        handlers = {kind: self._guarded(self._on_task) for kind in self._counters}
        handlers |= {
            "worker-heartbeat": self._guarded(self._on_heartbeat),
            "worker-online": self._guarded(self._on_online),
            "worker-offline": self._guarded(lambda event: self._forget(_host(event["hostname"]))),
        }
        with self._client.connection_for_read() as connection:
            self._receiver = self._client.events.Receiver(connection, handlers=handlers)
            self._receiver.capture(limit=None, timeout=None, wakeup=True)

    def _guarded(self, handle: Any) -> Any:
        """That program logs what a handler raises, and listens anew."""

        def handled(event: dict[str, Any]) -> None:
            try:
                handle(event)
            except Exception as error:
                self.faults.append(error)

        return handled

    def _on_task(self, event: dict[str, Any]) -> None:
        self._state.event(event)
        task = self._state.tasks.get(event["uuid"])
        labels = {
            "name": task.name, "hostname": _host(task.hostname), "queue_name": getattr(task, "queue", "celery"),
        }  # fmt: skip
        failed = {"exception": _class_of(task.exception)} if event["type"] == "task-failed" else {}
        self._counters[event["type"]].labels(**labels, **failed).inc()
        if event["type"] == "task-succeeded":
            self._runtime.labels(**labels).observe(task.runtime)

    def _on_online(self, event: dict[str, Any]) -> None:
        self._up.labels(hostname=_host(event["hostname"])).set(1)
        self._see(event)

    def _on_heartbeat(self, event: dict[str, Any]) -> None:
        self._see(event)
        worker = self._state.event(event)[0][0]
        self._up.labels(hostname=_host(event["hostname"])).set(int(worker.alive))
        self._active.labels(hostname=_host(event["hostname"])).set(worker.active or 0)

    def _see(self, event: dict[str, Any]) -> None:
        """The receiver has shifted the instant by the difference of time zones, which is undone."""
        shifted = ((event.get("utcoffset") or 0) - utcoffset()) * 3600
        self._last_seen[_host(event["hostname"])] = event["timestamp"] + shifted

    def _forget(self, host: str) -> None:
        self._last_seen.pop(host, None)
        self._up.labels(hostname=host).set(0)
        self._active.labels(hostname=host).set(0)

    # --- what it asks for when it is scraped ---------------------------------------------------------------------

    def look_for_silence(self, later: float) -> None:
        """Give up workers of which nothing was heard, as if it was ``later`` seconds from now."""
        for host, seen in list(self._last_seen.items()):
            if time.time() + later - seen > WORKER_TIMEOUT:
                self._forget(host)

    def look_at_queues(self) -> None:
        """Ask who consumes what, and how much waits."""
        with self._client.connection() as connection:
            is_redis = connection.info()["transport"] == "redis"
            stats = self._client.control.inspect().stats() or {}
            pools = {node: len(said["pool"].get("processes", [])) for node, said in stats.items()}
            workers: Count[str] = Count()
            processes: Count[str] = Count()
            for node, queues in (self._client.control.inspect().active_queues() or {}).items():
                for queue in queues:
                    workers[queue["name"]] += 1
                    processes[queue["name"]] += pools.get(node, 0)
            self._queues |= workers.keys()
            for queue in self._queues:
                self._workers.labels(queue_name=queue).set(workers[queue])
                self._processes.labels(queue_name=queue).set(processes[queue])
                if is_redis:
                    self._length.labels(queue_name=queue).set(connection.default_channel.client.llen(queue))
                else:
                    there = connection.default_channel.queue_declare(queue=queue, passive=True)
                    self._length.labels(queue_name=queue).set(there.message_count)
                    self._consumers.labels(queue_name=queue).set(there.consumer_count)


def _host(node: str) -> str:
    return str(nodesplit(node)[1])


def _class_of(exception: str) -> str:
    found = re.match(r"^(\w+)\(", exception)
    return found[1] if found else "UnknownException"

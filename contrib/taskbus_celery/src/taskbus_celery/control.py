"""``app.control``: Celery's remote control, spoken as Celery's own client speaks it, to workers of either kind.

By kombu's mailbox on the broker, so on Redis and RabbitMQ alone. Which commands a worker of TaskBus obeys is its own to
say; to one that has no remote control all of it is silence.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

# mypy: allow-untyped-calls
from kombu.connection import Connection
from kombu.pidbox import Mailbox

from taskbus.database.urls import redacted
from taskbus_celery.exceptions import NotSupported

EXCHANGE = "celery"
SCHEMES = ("redis", "rediss", "amqp", "amqps", "sentinel")
TTL, EXPIRES = 300.0, 10.0
"""Seconds for which replies, and the queue for them, are kept: Celery's own defaults."""

Replies = list[dict[str, Any]]


class Control:
    """Commands to workers. ``destination``: names of workers; None for all."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.mailbox = Mailbox(
            EXCHANGE,
            type="fanout",
            accept=["json"],
            serializer="json",
            queue_ttl=TTL,
            queue_expires=EXPIRES,
            reply_queue_ttl=TTL,
            reply_queue_expires=EXPIRES,
        )

    def broadcast(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        destination: Sequence[str] | None = None,
        connection: Any = None,
        reply: bool = False,
        timeout: float = 1.0,
        limit: int | None = None,
        callback: Callable[[Any], Any] | None = None,
        channel: Any = None,
        pattern: str | None = None,
        matcher: str | None = None,
        **more: Any,
    ) -> Replies | None:
        """Send a command; with ``reply`` wait for answers: ``timeout`` seconds, or for ``limit`` of them."""
        url = str(self._app.conf.broker_url or "")
        if url.partition("://")[0] not in SCHEMES:
            raise NotSupported(
                f"app.control.{command}: remote control needs a broker on Redis or RabbitMQ, not {redacted(url)!r}"
            )
        with Connection(url) as opened:
            found: Replies | None = self.mailbox(opened)._broadcast(
                command, dict(arguments or {}, **more), destination=destination, reply=reply, timeout=timeout,
                limit=limit, callback=callback, channel=channel, pattern=pattern, matcher=matcher,
            )  # fmt: skip
            return found

    def revoke(
        self, task_id: Any, destination: Any = None, terminate: bool = False, signal: str = "SIGTERM", **options: Any
    ) -> Any:
        """Have workers not run a task, and with ``terminate`` end it if it runs."""
        about = {"task_id": task_id, "terminate": terminate, "signal": signal or "SIGTERM"}
        return self.broadcast("revoke", about, destination, **options)

    def terminate(self, task_id: Any, destination: Any = None, signal: str = "SIGTERM", **options: Any) -> Any:
        """Have a task not run, and end it if it runs."""
        return self.revoke(task_id, destination, terminate=True, signal=signal, **options)

    def ping(self, destination: Any = None, timeout: float = 1.0, **options: Any) -> Replies:
        """Which workers answer."""
        return self.broadcast("ping", None, destination, reply=True, timeout=timeout, **options) or []

    def rate_limit(self, task_name: str, rate_limit: Any, destination: Any = None, **options: Any) -> Any:
        """Have workers begin no more of a task than this (``"10/m"``)."""
        about = {"task_name": task_name, "rate_limit": rate_limit}
        return self.broadcast("rate_limit", about, destination, **options)

    def time_limit(
        self, task_name: str, soft: Any = None, hard: Any = None, destination: Any = None, **options: Any
    ) -> Any:
        """Have workers set other time limits for a task."""
        return self.broadcast(
            "time_limit", {"task_name": task_name, "soft": soft, "hard": hard}, destination, **options
        )

    def add_consumer(self, queue: str, destination: Any = None, **options: Any) -> Any:
        """Have workers take a queue too."""
        return self.broadcast("add_consumer", {"queue": queue}, destination, **options)

    def cancel_consumer(self, queue: str, destination: Any = None, **options: Any) -> Any:
        """Have workers leave a queue alone."""
        return self.broadcast("cancel_consumer", {"queue": queue}, destination, **options)

    def pool_grow(self, n: int = 1, destination: Any = None, **options: Any) -> Any:
        """Have workers run more at once."""
        return self.broadcast("pool_grow", {"n": n}, destination, **options)

    def pool_shrink(self, n: int = 1, destination: Any = None, **options: Any) -> Any:
        """Have workers run fewer at once."""
        return self.broadcast("pool_shrink", {"n": n}, destination, **options)

    def enable_events(self, destination: Any = None, **options: Any) -> Any:
        """Have workers tell of each task."""
        return self.broadcast("enable_events", None, destination, **options)

    def disable_events(self, destination: Any = None, **options: Any) -> Any:
        """Have workers not tell of each task any more."""
        return self.broadcast("disable_events", None, destination, **options)

    def shutdown(self, destination: Any = None, **options: Any) -> Any:
        """Have workers finish what they run, and leave."""
        return self.broadcast("shutdown", None, destination, **options)

    def purge(self) -> int:
        """Not had."""
        raise NotSupported("app.control.purge: taskbus queues purge NAME")

    discard_all = purge

    def inspect(self, destination: Any = None, timeout: float = 1.0, **options: Any) -> "Inspect":
        """Questions to workers."""
        return Inspect(self, destination, timeout, options)


QUESTIONS = frozenset({
    "active", "active_queues", "clock", "conf", "memdump", "memsample", "ping", "query_task", "registered",
    "registered_tasks", "report", "reserved", "revoked", "scheduled", "stats",
})  # fmt: skip


class Inspect:
    """Questions to workers: each is a method, and gives a dict by the workers' names, None where nobody answers."""

    def __init__(self, control: Control, destination: Any, timeout: float, options: Mapping[str, Any]) -> None:
        self._control = control
        self._destination = [destination] if isinstance(destination, str) else destination
        self._timeout = timeout
        self._options = options

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any] | None]:
        if name not in QUESTIONS:
            raise AttributeError(f"there is no question {name!r} to workers; there are {', '.join(sorted(QUESTIONS))}")
        command = "registered" if name == "registered_tasks" else name
        key = {"query_task": "ids", "registered": "taskinfoitems"}.get(command)

        def ask(*items: Any, **arguments: Any) -> dict[str, Any] | None:
            if key is not None and items:
                arguments[key] = items[0] if len(items) == 1 and isinstance(items[0], list | tuple) else items
            replies = self._control.broadcast(
                command, arguments, self._destination, reply=True, timeout=self._timeout, **self._options
            )
            return {worker: answer for each in replies or () for worker, answer in each.items()} or None

        return ask

"""Parts of an app: its registry, its remote control, and what to say of those that it does not have."""

from typing import Any

from taskbus_celery.exceptions import NotRegistered


class Tasks(dict[str, Any]):
    """The tasks of an app by their names."""

    def __missing__(self, name: str) -> Any:
        raise NotRegistered(name)

    def register(self, task: Any) -> None:
        """Kept for those who call it; ``app.register_task`` does it."""
        task.app.register_task(task)

    def regular(self) -> dict[str, Any]:
        """Those of users."""
        return {name: task for name, task in self.items() if not name.startswith("celery.")}


_START = "start a worker by `taskbus worker -A module:app`"
NOT_HERE = {
    "worker_main": _START, "start": _START, "Worker": _START, "WorkController": _START,
    "Beat": "start it by `taskbus beat -A module:app`",
    "backend": "results are reached by AsyncResult, and their store by app.bus",
    "amqp": "queues and messages are TaskBus's: app.bus.broker",
    "connection": "connections are TaskBus's: app.bus.broker", "connection_for_write": "see app.bus.broker",
    "connection_for_read": "see app.bus.broker", "pool": "see app.bus.broker", "producer_pool": "see app.bus.broker",
    "producer_or_acquire": "see app.bus.broker", "events": "telemetry is told by workers",
    "log": "the command line configures logging", "steps": "parts of the worker cannot be replaced",
    "user_options": "the command line is TaskBus's own", "loader": "modules are imported by Python alone",
}  # fmt: skip

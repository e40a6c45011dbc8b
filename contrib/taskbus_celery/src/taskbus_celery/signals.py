"""Celery's signals. Those that nothing in TaskBus could send say so when something is connected to them."""

import logging
from collections.abc import Callable
from typing import Any

from taskbus_celery.exceptions import warn_once

logger = logging.getLogger(__name__)

Receiver = Callable[..., Any]


class Signal:
    """Functions that are called when something happens.

    ``never``: why it never does here, and what to do instead. Receivers are kept, ``weak`` or not.
    """

    def __init__(self, name: str, never: str = "") -> None:
        self.name = name
        self.never = never
        self.receivers: list[tuple[Any, Any, Receiver]] = []

    def connect(self, *args: Any, sender: Any = None, dispatch_uid: Any = None, **_: Any) -> Any:
        """Call a function from now on, as decorator or not. ``sender``: only for this task, or the one of this name."""
        if args and callable(args[0]):
            return self._connect(args[0], args[1] if len(args) > 1 else sender, dispatch_uid)
        return lambda receiver: self._connect(receiver, sender, dispatch_uid)

    def _connect(self, receiver: Receiver, sender: Any, dispatch_uid: Any) -> Receiver:
        if self.never:
            warn_once(f"nothing sends the signal {self.name} in TaskBus: {self.never}")
        key = dispatch_uid if dispatch_uid is not None else receiver
        if not any(known == key and wanted == sender for known, wanted, _ in self.receivers):
            self.receivers.append((key, sender, receiver))
        return receiver

    def disconnect(self, receiver: Any = None, sender: Any = None, weak: Any = None, dispatch_uid: Any = None) -> bool:
        """Call it no more; says whether it was called so far."""
        key = dispatch_uid if dispatch_uid is not None else receiver
        before = len(self.receivers)
        self.receivers = [each for each in self.receivers if each[:2] != (key, sender)]
        return len(self.receivers) < before

    def has_listeners(self, sender: Any = None) -> bool:
        """Whether there is anybody to call."""
        return bool(self.receivers)

    def send(self, sender: Any, **named: Any) -> list[tuple[Receiver, Any]]:
        """Call all receivers; what one raises is logged, and returned in the place of what it would have returned."""
        responses: list[tuple[Receiver, Any]] = []
        for _, wanted, receiver in list(self.receivers):
            if wanted is None or _is(sender, wanted):
                try:
                    response = receiver(signal=self, sender=sender, **named)
                except Exception as error:
                    logger.exception("signal handler %r raised: %r", receiver, error)
                    response = error
                responses.append((receiver, response))
        return responses

    def __repr__(self) -> str:
        return f"<Signal: {self.name}>"


def _is(sender: Any, wanted: Any) -> bool:
    return sender is wanted or sender == wanted or _name(sender) == _name(wanted) is not None


def _name(value: Any) -> Any:
    return value if isinstance(value, str) else getattr(value, "name", None)


_NO_USER_CODE = "it happens in the supervisor, which runs none of your code; subscribe to telemetry instead"
_LOGGING = "the command line configures logging (--log-level, --log-format)"

before_task_publish = Signal("before_task_publish")
after_task_publish = Signal("after_task_publish")
task_sent = Signal("task_sent")
task_prerun = Signal("task_prerun")
task_postrun = Signal("task_postrun")
task_success = Signal("task_success")
task_retry = Signal("task_retry")
task_failure = Signal("task_failure")
task_received = Signal("task_received", _NO_USER_CODE)
task_revoked = Signal("task_revoked", _NO_USER_CODE)
task_rejected = Signal("task_rejected", _NO_USER_CODE)
task_unknown = Signal("task_unknown", _NO_USER_CODE)
task_internal_error = Signal("task_internal_error", "an error of TaskBus's own ends its process, and is in its log")

celeryd_init = Signal("celeryd_init")
celeryd_after_setup = Signal("celeryd_after_setup")
import_modules = Signal("import_modules")
worker_init = Signal("worker_init")
worker_ready = Signal("worker_ready")
worker_process_init = Signal("worker_process_init")
worker_process_shutdown = Signal("worker_process_shutdown")
worker_shutdown = Signal("worker_shutdown")
worker_shutting_down = Signal("worker_shutting_down", "a task asks its Context: shutting_down")
worker_before_create_process = Signal("worker_before_create_process", "worker_init and worker_process_init are sent")
heartbeat_sent = Signal("heartbeat_sent", _NO_USER_CODE)

setup_logging = Signal("setup_logging")
after_setup_logger = Signal("after_setup_logger")
after_setup_task_logger = Signal("after_setup_task_logger")

beat_init = Signal("beat_init", "beat runs none of your code")
beat_embedded_init = Signal("beat_embedded_init", "beat runs none of your code")
eventlet_pool_started = Signal("eventlet_pool_started", "there is no pool of that kind")
eventlet_pool_preshutdown = Signal("eventlet_pool_preshutdown", "there is no pool of that kind")
eventlet_pool_postshutdown = Signal("eventlet_pool_postshutdown", "there is no pool of that kind")
eventlet_pool_apply = Signal("eventlet_pool_apply", "there is no pool of that kind")
user_preload_options = Signal("user_preload_options", _LOGGING)

"""``task.request``: what a task may ask about the attempt it runs in, in Celery's words; and how it travels.

A message's headers are text to text. ``root_id`` and ``parent_id`` are among them by their own names, and so are the
user's own that are text; others are JSON, below a name that begins with ``json:``.
"""

import json
import socket
from collections.abc import Mapping
from typing import Any

from taskbus import Context

ROOT, PARENT, GROUP = "root_id", "parent_id", "group_id"
RETRIES = "celery-retries"
"""Header of a task that was sent anew to be tried again, with other arguments: how often it was tried before."""
ERRBACK = "celery-errback"
"""Header of a call that is made because a task failed, or could not run as one before it failed.

``OWN``: it is called in the first case alone. ``OF_TASK``: it is told of the task itself, ``OF_CAUSE``: of what failed.
"""
OWN, OF_TASK, OF_CAUSE = "own", "task", "cause"
_JSON = "json:"
_NOT_THE_USERS = ("taskbus-", "celery-")

HOSTNAME = f"celery@{socket.gethostname()}"

_FIELDS: Mapping[str, Any] = {
    "args": None, "callbacks": None, "called_directly": True, "chain": None, "children": None, "chord": None,
    "correlation_id": None, "delivery_info": None, "errbacks": None, "eta": None, "expires": None, "group": None,
    "group_index": None, "headers": None, "hostname": None, "id": None, "ignore_result": False, "is_eager": False,
    "kwargs": None, "logfile": None, "loglevel": None, "origin": None, "parent_id": None, "properties": None,
    "replaced_task_nesting": 0, "reply_to": None, "retries": 0, "root_id": None, "shadow": None,
    "soft_time_limit": None, "stamped_headers": None, "stamps": None, "task": None, "taskset": None,
    "time_limit": None, "timelimit": None, "utc": True,
}  # fmt: skip


class Request:
    """The attributes of Celery's request; the user's headers are attributes too, and in ``headers``."""

    def __init__(self, **fields: Any) -> None:
        headers = fields.get("headers") or {}
        self.__dict__.update({**_FIELDS, **headers, **fields})
        self.bus: Context | None = None

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or the default where there is none."""
        return getattr(self, name, default)

    def update(self, *args: Any, **fields: Any) -> None:
        """Set attributes."""
        self.__dict__.update(*args, **fields)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the request has no {name!r}")

    def __repr__(self) -> str:
        return f"<Context: {self.__dict__!r}>"


def request_of(context: Context, args: Any, kwargs: Any, limits: tuple[float | None, float | None]) -> Request:
    """The request of an attempt in a worker. ``limits``: the hard and the soft time limit."""
    headers = context.headers
    users = users_headers(headers)
    request = Request(
        id=context.task_id,
        task=context.task,
        args=list(args),
        kwargs=dict(kwargs),
        retries=int(headers.get(RETRIES, "0")) + context.attempt - 1,
        root_id=headers.get(ROOT, context.task_id),
        parent_id=headers.get(PARENT),
        group=headers.get(GROUP),
        correlation_id=context.task_id,
        called_directly=False,
        hostname=HOSTNAME,
        headers=users or None,
        children=[],
        timelimit=list(limits),
        time_limit=limits[0],
        soft_time_limit=limits[1],
        delivery_info={
            "exchange": "",
            "routing_key": context.queue,
            "priority": context.priority,
            "redelivered": None,
        },
    )
    request.bus = context
    return request


def users_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    """The user's own among a message's headers, as they were given."""
    found: dict[str, Any] = {}
    for name, text in headers.items():
        if name.startswith(_JSON):
            found[name.removeprefix(_JSON)] = json.loads(text)
        elif not name.startswith(_NOT_THE_USERS) and name not in (ROOT, PARENT, GROUP):
            found[name] = text
    return found


def text_headers(given: Mapping[str, Any]) -> dict[str, str]:
    """The user's headers as a message carries them. Raises ``TypeError`` for what is neither text nor JSON."""
    return {
        name if isinstance(value, str) else f"{_JSON}{name}": value if isinstance(value, str) else json.dumps(value)
        for name, value in given.items()
        if value is not None
    }

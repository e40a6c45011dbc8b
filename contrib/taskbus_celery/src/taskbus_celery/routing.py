"""Which queue a task goes to: what the call says, then ``task_routes``, then the default queue."""

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from taskbus_celery.conf import Settings, imported, queue_names
from taskbus_celery.exceptions import QueueNotFound, warn_once

Route = Mapping[str, Any] | str | None
Router = Callable[..., Route]


class Routes:
    """``task_routes``, as it was when this was made."""

    def __init__(self, conf: Settings) -> None:
        given = conf.task_routes
        rules = () if given is None else given if isinstance(given, list | tuple) else (given,)
        self._routers = [_router(rule) for rule in rules]
        self._known = None if conf.task_create_missing_queues else {*queue_names(conf.task_queues)}

    def options(
        self, name: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> dict[str, Any]:
        """The options of a call with what its route says; what the call says itself counts more."""
        found: Route = None
        for router in self._routers:
            found = router(name, args, kwargs or {}, options, task=None)
            if found is not None:
                break
        routed = {"queue": found} if isinstance(found, str) else dict(found or {})
        merged = {**routed, **{key: value for key, value in options.items() if value is not None}}
        queue = queue_of(merged)
        if queue is not None and self._known is not None and queue not in self._known:
            raise QueueNotFound(f"queue {queue!r} is not in task_queues, and task_create_missing_queues is off")
        return merged | ({} if queue is None else {"queue": queue})


def queue_of(options: Mapping[str, Any]) -> str | None:
    """The name of the queue that options name, if they do: by ``queue``, or by ``routing_key`` alone."""
    queue = options.get("queue")
    if queue is not None:
        return str(getattr(queue, "name", queue))
    key = options.get("routing_key")
    if key is not None or options.get("exchange") is not None:
        warn_once(
            "exchange and routing_key name no queue in TaskBus: a routing_key is taken for a queue's name; give queue"
        )
    return None if key is None else str(key)


def _router(rule: Any) -> Router:
    if isinstance(rule, str):
        rule = imported(rule)
    if isinstance(rule, type):
        rule = rule()
    if hasattr(rule, "route_for_task"):
        route_for_task = rule.route_for_task
        return lambda name, args, kwargs, options, task=None: route_for_task(name, args, kwargs)
    if callable(rule):
        found: Router = rule
        return found
    return _by_name(rule.items() if isinstance(rule, Mapping) else rule)


def _by_name(pairs: Any) -> Router:
    """Names count before patterns, patterns in their order."""
    exact: dict[str, Any] = {}
    patterns: list[tuple[re.Pattern[str], Any]] = []
    for key, route in pairs:
        if isinstance(key, re.Pattern):
            patterns.append((key, route))
        elif "*" in key:
            patterns.append((re.compile(fnmatch.translate(key)), route))
        else:
            exact[key] = route

    def route_of(name: str, args: Any, kwargs: Any, options: Any, task: Any = None) -> Route:
        if name in exact:
            found: Route = exact[name]
            return found
        return next((route for pattern, route in patterns if pattern.match(name)), None)

    return route_of

"""A stand-in until ``store.where`` reads filters of tasks."""

from typing import Any

from taskbus.errors import ConfigError
from taskbus.store.filters import NodeFilter, TaskFilter
from taskbus.store.where import parse


def parse_tasks(text: str, now: float) -> TaskFilter:
    """The tasks that a text means."""
    given: dict[str, Any] = {}
    rest = []
    for term in text.split():
        key, _, value = term.partition(":")
        if key == "state":
            given["states"] = (*given.get("states", ()), value.upper())
        elif key in ("worker", "args", "flow", "schedule"):
            given[key] = value
        else:
            rest.append(term)
    found = parse(" ".join(rest), now)
    if found.task_ids:
        given["ids"] = found.task_ids
    for name in ("task", "queue", "error", "text", "reason", "older_than", "newer_than"):
        given[name] = getattr(found, name)
    if not isinstance(given, dict):
        raise ConfigError("never")
    return TaskFilter(**given)


def parse_nodes(text: str) -> NodeFilter:
    """The nodes that a text means."""
    return NodeFilter(**dict(term.split(":", 1) for term in text.split()))

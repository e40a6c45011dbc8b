"""What can be said of each noun in a filter, and how the values of its keys are read. ``where`` reads the language."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from taskbus.errors import ConfigError
from taskbus.outcome import Reason
from taskbus.store.base import Filter
from taskbus.store.filters import FlowFilter, NodeFilter, QueueFilter, ScheduleFilter, TaskFilter
from taskbus.store.flows import FlowState

TASK_STATES = ("SUCCESS", "RETRY", "FAILURE", "REVOKED", "EXPIRED", "REJECTED")
"""How the attempt of a task record ended."""
NOW_STATES = ("STARTED", "PENDING")
"""Of tasks that run or wait now: they have no record yet, and are asked of workers and brokers."""

SPOKEN = {
    "FAILED": "FAILURE", "SUCCEEDED": "SUCCESS", "RETRIED": "RETRY", "RETRYING": "RETRY", "RUNNING": "STARTED",
    "WAITING": "PENDING",
}  # fmt: skip
"""What the page calls states; a filter takes these words too."""


class Key(NamedTuple):
    """``field`` of the filter that ``key:value`` sets, to what ``read`` makes of the value.

    ``is_many``: the key may stand any number of times, and all values are meant; ``separator``: or several in one.
    """

    field: str
    read: Callable[[str], Any] = str
    is_many: bool = False
    separator: str = ""


class Compared(NamedTuple):
    """The fields that ``key>1h`` and ``key<1h`` set. ``is_age``: to the instant that was so long ago.

    ``is_time``: to the instant that is given, as a date or a date with a time.
    """

    over: str
    under: str
    is_age: bool = False
    is_time: bool = False


class Noun(NamedTuple):
    """A noun that can be filtered. ``make`` is the class of its filters; ``flags``: what ``is:...`` sets, by word."""

    make: Callable[..., Any]
    usage: str
    keys: Mapping[str, Key]
    compared: Mapping[str, Compared] = {}
    flags: Mapping[str, str] = {}

    @property
    def known(self) -> tuple[str, ...]:
        """All its keys."""
        return (*self.keys, *self.compared, *(("is",) if self.flags else ()))


def _reason(value: str) -> str:
    name = value.lower().replace("-", "_")
    if name in set(Reason):
        return name
    near = difflib.get_close_matches(name, list(Reason), n=1)
    advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(Reason)}"
    raise ConfigError(f"no dead letter has the reason {value!r}; {advice}")


def _state_of(states: Iterable[str]) -> Callable[[str], str]:
    known = tuple(str(state) for state in states)

    def read(value: str) -> str:
        name = value.upper()
        name = name if name in known else SPOKEN.get(name, name)
        if name in known:
            return name
        near = difflib.get_close_matches(name, known, n=1)
        advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise ConfigError(f"there is no state {value!r} in a filter like this; {advice}")

    return read


_ID = Key("ids", is_many=True)
_WHEN = {
    "age": Compared("older_than", "newer_than", is_age=True),
    "time": Compared("newer_than", "older_than", is_time=True),
}

LETTERS = Noun(
    Filter,
    "write terms like task:mail.* queue:default reason:poison error:ValueError text:'boom' age>1d age<2h id:...",
    {
        "id": Key("task_ids", is_many=True),
        "task": Key("task"),
        "queue": Key("queue"),
        "reason": Key("reason", _reason),
        "error": Key("error"),
        "text": Key("text"),
    },
    _WHEN,
)
TASKS = Noun(
    TaskFilter,
    "write terms like task:mail.* state:failure,retry queue:default error:ValueError args:42 age<2h ran>10s id:...",
    {
        "id": _ID,
        "state": Key("states", _state_of((*TASK_STATES, *NOW_STATES)), separator=","),
        "task": Key("task"),
        "queue": Key("queue"),
        "worker": Key("worker"),
        "error": Key("error"),
        "text": Key("text"),
        "args": Key("args"),
        "reason": Key("reason", _reason),
        "flow": Key("flow"),
        "parent": Key("parent"),
        "schedule": Key("schedule"),
    },
    {
        **_WHEN,
        "ran": Compared("ran_over", "ran_under"),
        "waited": Compared("waited_over", "waited_under"),
    },
)
NODES = Noun(
    NodeFilter,
    "write terms like name:celery@* kind:worker queue:default host:web-1 app:shop",
    {name: Key(name) for name in ("name", "kind", "queue", "host", "app")},
)
QUEUES = Noun(
    QueueFilter,
    "write terms like name:mail* is:paused is:empty",
    {"name": Key("name")},
    flags={"paused": "is_paused", "empty": "is_empty"},
)
SCHEDULES = Noun(
    ScheduleFilter,
    "write terms like name:nightly-* task:mail.* is:paused",
    {"name": Key("name"), "task": Key("task")},
    flags={"paused": "is_paused"},
)
FLOWS = Noun(
    FlowFilter,
    "write terms like name:import-* state:failure age<1d id:...",
    {"id": _ID, "name": Key("name"), "state": Key("states", _state_of(FlowState), separator=",")},
    _WHEN,
)
NOUNS = (LETTERS, TASKS, NODES, QUEUES, SCHEDULES, FLOWS)

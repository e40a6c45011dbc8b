"""Places where a test may make this process die, stop or fail; free of cost unless asked for.

``TASKBUS_FAILPOINTS="settle.inside:kill9@3,publish.after:stop"`` arms points by name; an action runs at the nth
time the point is hit (``@n``, default 1) in this process, and only then. Actions:

    kill9         SIGKILL to this process            kill9-parent  SIGKILL to the parent process
    kill9-group   SIGKILL to the process group       term          SIGTERM to this process
    stop          SIGSTOP to this process            term-parent   SIGTERM to the parent process
    sleep=S       block for S seconds                raise         raise ``FailpointHit``
    exit=N        leave at once with status N

A point is a named step of the protocol (``docs/explanation/guarantees.md`` lists them), never a place in a task.
"""

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from taskbus.errors import ConfigError, TaskBusError

VARIABLE = "TASKBUS_FAILPOINTS"


class FailpointHit(TaskBusError):
    """Raised by the action ``raise``; only ever seen in crash tests."""


@dataclass(slots=True)
class Armed:
    action: str
    argument: str
    countdown: int


def parse(text: str) -> dict[str, Armed]:
    """Read the variable's text; raises ``ConfigError`` naming the part that is wrong."""
    armed: dict[str, Armed] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        point, colon, rest = part.partition(":")
        action, _, nth = rest.partition("@")
        action, _, argument = action.partition("=")
        if not (
            colon and point and action in _ACTIONS and _NTH.fullmatch(nth) and _ARGUMENTS[action].fullmatch(argument)
        ):
            raise ConfigError(
                f"{VARIABLE}: cannot read {part!r}; write POINT:ACTION[@N], with one of {', '.join(_ACTIONS)}"
            )
        armed[point] = Armed(action, argument, int(nth or "1"))
    return armed


def failpoint(name: str) -> None:
    """Mark a step of the protocol; does nothing unless a test armed ``name``."""
    if not _armed:
        return
    point = _armed.get(name)
    if point is None:
        return
    point.countdown -= 1
    if point.countdown == 0:
        _ACTIONS[point.action](point.argument)


def _raise(_: str) -> None:
    raise FailpointHit("a failpoint was hit")


_ACTIONS: dict[str, Callable[[str], object]] = {
    "kill9": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "kill9-parent": lambda _: os.kill(os.getppid(), signal.SIGKILL),
    "kill9-group": lambda _: os.killpg(os.getpgrp(), signal.SIGKILL),
    "term": lambda _: os.kill(os.getpid(), signal.SIGTERM),
    "term-parent": lambda _: os.kill(os.getppid(), signal.SIGTERM),
    "stop": lambda _: os.kill(os.getpid(), signal.SIGSTOP),
    "sleep": lambda seconds: time.sleep(float(seconds)),
    "raise": _raise,
    "exit": lambda status: os._exit(int(status or "1")),
}

# A point that can never fire would make a crash test pass for nothing, so parse() refuses it.
_NTH = re.compile(r"|[1-9][0-9]*")
_NO_ARGUMENT = re.compile(r"")
_ARGUMENTS = {
    **dict.fromkeys(_ACTIONS, _NO_ARGUMENT),
    "sleep": re.compile(r"[0-9]+(\.[0-9]+)?"),
    "exit": re.compile(r"[0-9]*"),
}
_armed = parse(os.environ.get(VARIABLE, ""))

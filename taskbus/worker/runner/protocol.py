"""What supervisor, runners' server and runners say to each other: msgpack arrays on stream sockets.

Supervisor to server                       Server to supervisor
    ["fork", number]                           ["ready", hello]                the app is imported
        + two descriptors by SCM_RIGHTS:       ["failed", message, traceback]  it cannot be; the server then leaves
        the runner's link, its board           ["forked", number, pid]
    (end of file: kill the runners and leave)  ["exited", number, pid, how]    as ``Crashed.how``, "" for status 0
Supervisor to runner                       Runner to supervisor
    ["run", [job, ...]]                          ["up", pid]
    ["judge", job, kind]                         ["done", [report, ...]]
    ["recall"]                                   ["returned", [tag, ...]]   jobs it had not started
    ["limits", task, soft, hard]                 ["progress", [[tag, done, total, note, at], ...]]
    ["stop"]                                     ["logs", tag, [line, ...]]
                                                 (end of file: it has left)

A job is ``[tag, fence, queue, priority, wire, start_by, inputs]``; a report ``[tag, code, started_at, ran_for, ...]``.
``judge`` asks for the outcome of an attempt that the supervisor had to kill (``kind``: "time_limit"), without running
it. ``stop`` returns what has not started, lets the rest finish, then leaves with status 0.

``inputs`` is what the task's flow gives it, nil for nothing: bytes are a value as msgpack, ``[content_type, bytes]`` is
one in another encoding, ``[task_id, task, error, message]`` is a task that failed, ``[[inputs, ...]]`` what a join has.

hello = {"app": str, "config": {...}, "broker": str, "results": str, "tasks": {name: {"is_async": bool,
"time_limit": float | None, "at_most_once": bool, "queue": str, "store_results": bool, "result_ttl": float,
"takes": int, "parameters": [str]}}}
"""

import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgpack

from taskbus.outcome import Dead, Failure, Outcome, Reason, Released, Replaced, Retrying, Succeeded

MAX_FRAME = 1 << 30
"""Bytes a frame may have: some hundred messages of the largest size. Both ends are ours; it bounds nothing else.

A job with inputs is alone in its frame.
"""


class Job(NamedTuple):
    """One attempt to make. ``wire`` is the message in its wire format.

    ``start_by``: from when on it must not start, by the monotonic clock, which all processes of a host share. The
    message's own expiry is by the broker's clock, which a runner cannot ask. ``inputs``: see the module's docstring.
    """

    tag: int
    fence: int
    queue: str
    priority: int
    wire: bytes
    start_by: float | None = None
    inputs: Any = None


class Report(NamedTuple):
    """How one attempt ended. ``started_at`` is an instant, 0 if the body was not run; ``ran_for`` is seconds."""

    tag: int
    outcome: Outcome
    started_at: float
    ran_for: float


SUCCEEDED, RETRYING, DEAD, RELEASED, REPLACED = range(5)


def pack(*frame: Any) -> bytes:
    """One frame as bytes."""
    packed: bytes = msgpack.packb(frame)
    return packed


def pack_report(report: Report) -> list[Any]:
    """A report as a plain list for a ``done`` frame."""
    tag, outcome, started_at, ran_for = report
    match outcome:
        case Succeeded(result, content_type):
            return [tag, SUCCEEDED, started_at, ran_for, result, content_type]
        case Retrying(delay, failure):
            return [tag, RETRYING, started_at, ran_for, delay, *_fields(failure)]
        case Dead(reason, failure):
            return [tag, DEAD, started_at, ran_for, str(reason), *_fields(failure)]
        case Released(delay):
            return [tag, RELEASED, started_at, ran_for, delay]
        case Replaced(flow, nodes):
            return [tag, REPLACED, started_at, ran_for, flow, nodes]
        case _:
            raise TypeError(f"a runner cannot report {outcome!r}")


def unpack_report(fields: list[Any]) -> Report:
    """The report in a ``done`` frame."""
    tag, code, started_at, ran_for, *rest = fields
    outcome: Outcome
    if code == SUCCEEDED:
        outcome = Succeeded(*rest)
    elif code == RETRYING:
        outcome = Retrying(rest[0], Failure(*rest[1:]))
    elif code == DEAD:
        outcome = Dead(Reason(rest[0]), Failure(*rest[1:]))
    elif code == REPLACED:
        outcome = Replaced(*rest)
    else:
        outcome = Released(rest[0])
    return Report(tag, outcome, started_at, ran_for)


def _fields(failure: Failure) -> tuple[str, str, str]:
    return failure.type, failure.message, failure.traceback


class Frames:
    """The frames arriving on a socket, as they become whole."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self._unpacker = msgpack.Unpacker(max_buffer_size=MAX_FRAME)

    def receive(self, flags: int = 0) -> Iterator[list[Any]]:
        """Read once (block unless ``flags`` say otherwise) and yield the frames completed by it.

        Raises ``EOFError`` when the other side has left, ``BlockingIOError`` when nothing is there.
        """
        try:
            chunk = self.link.recv(262_144, flags)
        except (ConnectionResetError, BrokenPipeError):
            chunk = b""
        if not chunk:
            raise EOFError("the other side closed the link")
        self._unpacker.feed(chunk)
        return iter(self._unpacker)

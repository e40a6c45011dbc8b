"""The nemesis inside a process: strikes at a named step of the protocol, exactly once in the whole cell.

``CRASH_FAILPOINTS="settle.inside:stop.group@2"`` uses the failpoints of the product, with actions of its own that can
hit other processes than the one that gets there: ``ACTION.VICTIM``, of ``kill9 stop term int cut`` and ``self runner
server supervisor group``; ``cut.self`` cuts the connections of this process to the broker. Every strike is noted in the
ledger before it happens. A marker file keeps a process that is forked or started later from striking again.
"""

import os
import signal
import socket
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from taskbus import failpoint

from .environment import BROKER, FAILPOINTS, SUPERVISOR
from .ledger import Ledger

SIGNALS = {"kill9": signal.SIGKILL, "stop": signal.SIGSTOP, "term": signal.SIGTERM, "int": signal.SIGINT}
CUT = "cut"
NOBODY = -1
"""As the worker of a fault: it excuses nothing of what any worker does."""
VICTIMS = ("self", "runner", "server", "supervisor", "group")


def arm(ledger: Ledger) -> None:
    """Arm this process, and what it forks, with what ``CRASH_FAILPOINTS`` says."""
    for action in (*SIGNALS, CUT):
        for victim in VICTIMS:
            failpoint._ACTIONS[f"{action}.{victim}"] = _striker(ledger, action, victim)
    for part in filter(None, os.environ.get(FAILPOINTS, "").split(",")):
        point, _, rest = part.partition(":")
        action, _, nth = rest.partition("@")
        failpoint._armed[point] = failpoint.Armed(action, argument=point, countdown=int(nth or "1"))


def _striker(ledger: Ledger, action: str, victim: str) -> Callable[[str], object]:
    return partial(_strike_once, ledger, action, victim)


def _strike_once(ledger: Ledger, action: str, victim: str, point: str) -> None:
    try:
        os.close(os.open(ledger.folder / f"struck-{point}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    strike(ledger, action, victim, int(os.environ.get(SUPERVISOR, "0")), point)


def strike(ledger: Ledger, action: str, victim: str, supervisor: int, why: str = "harness") -> list[int]:
    """Send the signal to the victims, oneself last; returns their pids. A pid that is gone already is left alone."""
    pids = victims(victim, supervisor)
    name = "producer" if victim == "self" and not supervisor else _role(victim, supervisor)
    if action == CUT:
        _cut(ledger, name, supervisor, why)
        return pids
    ledger.log("nem", fault=why, on=True, action=action, victim=name, worker=supervisor, pids=pids)
    for pid in sorted(pids, key=os.getpid().__eq__):
        try:
            os.kill(pid, SIGNALS[action])
        except ProcessLookupError:
            continue
    return pids


def _cut(ledger: Ledger, victim: str, supervisor: int, why: str) -> None:
    """Cut this process off its broker, once. Only where the connection is the lease may that make a task run again."""
    broker = urlsplit(os.environ[BROKER])
    worker = supervisor if broker.scheme.startswith("amqp") else NOBODY
    ledger.log("nem", fault=why, on=True, action=CUT, victim=victim, worker=worker, pids=[os.getpid()])
    for name in os.listdir("/proc/self/fd"):
        try:
            if not stat.S_ISSOCK(os.stat(f"/proc/self/fd/{name}").st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as each:
                if each.getpeername()[1] == broker.port:
                    each.shutdown(socket.SHUT_RDWR)
        except (OSError, IndexError):
            continue


def victims(victim: str, supervisor: int) -> list[int]:
    """The pids meant by a victim's name, as seen from this process. A worker's group has its supervisor's pid."""
    match victim:
        case "self":
            return [os.getpid()]
        case "supervisor":
            return [supervisor]
        case "server":
            return children(supervisor)
        case "runner":
            if os.getpid() != supervisor and supervisor in ancestors(os.getpid()):
                return [os.getpid()]
            return [pid for server in children(supervisor) for pid in children(server)]
        case _:
            return [supervisor, *descendants(supervisor)]


def _role(victim: str, supervisor: int) -> str:
    if victim != "self":
        return victim
    return "supervisor" if os.getpid() == supervisor else "runner"


def children(pid: int) -> list[int]:
    """The live children of a process, all of its threads'."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, path.read_text().split())
        except OSError:
            continue
    return [child for child in found if is_alive(child)]


def descendants(pid: int) -> list[int]:
    """Children, their children, and so on."""
    direct = children(pid)
    return direct + [below for child in direct for below in descendants(child)]


def ancestors(pid: int) -> list[int]:
    """Parent, its parent, and so on."""
    found: list[int] = []
    while (pid := _parent(pid)) > 1:
        found.append(pid)
    return found


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    return _field(pid, 0) not in ("", "Z", "X")


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP has taken effect."""
    return _field(pid, 0) == "T"


def _parent(pid: int) -> int:
    return int(_field(pid, 1) or "0")


def _field(pid: int, index: int) -> str:
    """A field of ``/proc/PID/stat`` after the name, which may hold anything; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[index]
    except OSError:
        return ""

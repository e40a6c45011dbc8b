"""What a peer offers to ``against_others.py``, and the small command line through which it is asked.

A peer is a module ``<name>_peer`` with a ``PEER``, in an environment of its own: so this file uses nothing but the
standard library.

    adapter.py PEER about                                  JSON: name, version, ack, guarantee, tuning
    adapter.py PEER enqueue --kind K --tasks N [--bulk]    JSON: seconds for N tasks, imports and first send left out
    adapter.py PEER worker --kind K --processes P          becomes the peer's own worker, until SIGTERM
    adapter.py PEER latency --calls N                      JSON: seconds of each call, from the send to its result
    adapter.py PEER lateness --calls N --delay S           JSON: seconds by which each delayed task started late
    adapter.py PEER flow --kind K --tasks N                JSON: started_at (CLOCK_MONOTONIC), before the first send

There are three kinds of task. ``noop`` does nothing; ``nap`` waits 10 ms as an asynchronous task would for a network;
``sum`` computes for about 5 ms. Each counts itself first. There are two kinds of workflow: ``chord``, of N ``noop`` and
a body, and ``chains``, N of them, of ``STEPS`` tasks each.

Settings come as variables, so that the peer's worker sees them as well: PEER_FOLDER (for its files), PEER_URL (of the
broker; "" for SQLite in the folder), PEER_RESULTS ("on" or "off"), PEER_RESULTS_URL (of a store beside the broker),
PEER_VARIANT, PEER_COUNTER and PEER_COUNTING (the shared counter's file, and the module that counts in it).
"""

import argparse
import asyncio
import importlib
import importlib.util
import json
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

FOLDER = os.environ.get("PEER_FOLDER", ".")
URL = os.environ.get("PEER_URL", "")
VARIANT = os.environ.get("PEER_VARIANT", "")
RESULTS_URL = os.environ.get("PEER_RESULTS_URL", "")
KEEPS_RESULTS = os.environ.get("PEER_RESULTS", "off") == "on"
NAP = 0.010
SUM_TO = 190_000
STEPS = 5
IO_SLOTS = 100
"""Naps that a worker may have at once."""


class Peer(Protocol):
    """What the ``PEER`` of each module in this folder can do."""

    def about(self) -> dict[str, str]:
        """Its name and version, how it acknowledges, what that guarantees, and how it was tuned here."""

    def send(self, kind: str, number: int) -> object:
        """Send one task; durable by the peer's own standard when it returns. Returns something to ``wait`` for."""

    def send_many(self, kind: str, tasks: int) -> bool:
        """Send many in the peer's fastest way, or return False if it has no way but one by one."""

    def send_later(self, delay: float) -> object:
        """Send a task whose result is the instant at which it ran, ``delay`` seconds from now; None: it cannot."""

    def wait(self, sent: Any) -> Any:
        """The result of a sent task, when it is here."""

    def send_flows(self, kind: str, size: int) -> None:
        """Send a chord of so many members, or so many chains. Only of peers that are asked for workflows."""

    def work(self, kind: str, processes: int) -> list[str] | None:
        """The command line of the peer's worker for this kind of task; None: it cannot do that."""


def counter_hit() -> Callable[[], None]:
    """What a task body calls to be counted: the same code, at the same cost, for every peer."""
    spec = importlib.util.spec_from_file_location("counting", os.environ["PEER_COUNTING"])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    hit: Callable[[], None] = module.Counter(os.environ["PEER_COUNTER"]).hit
    return hit


def add_up() -> int:
    """About 5 ms of Python."""
    return sum(range(SUM_TO))


_loop: asyncio.AbstractEventLoop | None = None


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine of an asynchronous peer on the one loop of this process."""
    global _loop
    if _loop is None:
        _loop = asyncio.new_event_loop()
        asyncio.set_event_loop(_loop)
    return _loop.run_until_complete(coroutine)


def main() -> None:
    """Do what the command line asks. The peer is imported by its name, as its worker does it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("peer")
    parser.add_argument("act", choices=["about", "enqueue", "worker", "latency", "lateness", "flow"])
    parser.add_argument("--kind", choices=["noop", "nap", "sum", "chord", "chains"], default="noop")
    parser.add_argument("--tasks", type=int, default=0)
    parser.add_argument("--calls", type=int, default=0)
    parser.add_argument("--delay", type=float, default=1.0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--bulk", action="store_true")
    given = parser.parse_args()
    peer: Peer = importlib.import_module(f"{given.peer}_peer").PEER
    if given.act == "about":
        _print(peer.about())
    elif given.act == "enqueue":
        _print({"seconds": _enqueue(peer, given.kind, given.tasks, given.bulk)})
    elif given.act == "flow":
        peer.send("noop", 0)  # opens what is opened once; the caller counts it
        started_at = time.monotonic()
        peer.send_flows(given.kind, given.tasks)
        _print({"started_at": started_at})
    elif given.act == "latency":
        _print({"seconds": [_call(peer, number) for number in range(given.calls)]})
    elif given.act == "lateness":
        _print({"seconds": _late(peer, given.calls, given.delay)})
    else:
        command = peer.work(given.kind, given.processes)
        if command is None:
            raise SystemExit(3)
        os.chdir(Path(__file__).parent)
        os.execv(command[0], command)


def _enqueue(peer: Peer, kind: str, tasks: int, bulk: bool) -> float | None:
    peer.send(kind, 0)  # opens what is opened once; the caller counts it
    started = time.perf_counter()
    if bulk:
        if not peer.send_many(kind, tasks):
            return None
    else:
        for number in range(tasks):
            peer.send(kind, number)
    return time.perf_counter() - started


def _call(peer: Peer, number: int) -> float:
    started = time.perf_counter()
    peer.wait(peer.send("noop", number))
    return time.perf_counter() - started


def _late(peer: Peer, calls: int, delay: float) -> list[float] | None:
    peer.send_later(delay)  # which connects; what that takes is in no figure
    sent = []
    for number in range(calls):
        wanted = delay + number * 0.037
        due_at = time.time() + wanted
        later = peer.send_later(wanted)
        if later is None:
            return None
        sent.append((due_at, later))
    return [peer.wait(later) - due_at for due_at, later in sent]


def _print(value: Any) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()

"""What a peer offers to ``against_others.py``, and the small command line through which it is asked.

A peer is a module ``<name>_peer`` with a ``PEER``, in an environment of its own: so this file uses nothing but the
standard library.

    adapter.py PEER about                          JSON: name, version, ack, guarantee, tuning
    adapter.py PEER enqueue --tasks N [--bulk]     JSON: seconds for N tasks, imports and the first send left out
    adapter.py PEER worker --processes P           becomes the peer's own worker, until SIGTERM
    adapter.py PEER latency --calls N              JSON: seconds of each call, from the send to its result

Settings come as variables, so that the peer's worker sees them as well: PEER_FOLDER (for its database), PEER_RESULTS
("on" or "off"), PEER_VARIANT, PEER_COUNTER and PEER_COUNTING (the shared counter's file, and the module that counts
in it).
"""

import argparse
import importlib
import importlib.util
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

FOLDER = os.environ.get("PEER_FOLDER", ".")
VARIANT = os.environ.get("PEER_VARIANT", "")
KEEPS_RESULTS = os.environ.get("PEER_RESULTS", "off") == "on"


class Peer(Protocol):
    """What the ``PEER`` of each module in this folder can do."""

    def about(self) -> dict[str, str]:
        """Its name and version, how it acknowledges, what that guarantees, and how it was tuned here."""

    def send(self, number: int) -> object:
        """Send one task; durable by the peer's own standard when it returns. Returns something to ``wait`` for."""

    def send_many(self, tasks: int) -> bool:
        """Send many in the peer's fastest way, or return False if it has no way but one by one."""

    def wait(self, sent: object) -> None:
        """Return when the result of a sent task is here."""

    def work(self, processes: int) -> list[str]:
        """The command line of the peer's worker."""


def counter_hit() -> Callable[[], None]:
    """What a task body calls to be counted: the same code, at the same cost, for every peer."""
    spec = importlib.util.spec_from_file_location("counting", os.environ["PEER_COUNTING"])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    hit: Callable[[], None] = module.Counter(os.environ["PEER_COUNTER"]).hit
    return hit


def main() -> None:
    """Do what the command line asks. The peer is imported by its name, as its worker does it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("peer")
    parser.add_argument("act", choices=["about", "enqueue", "worker", "latency"])
    parser.add_argument("--tasks", type=int, default=0)
    parser.add_argument("--calls", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--bulk", action="store_true")
    given = parser.parse_args()
    peer: Peer = importlib.import_module(f"{given.peer}_peer").PEER
    if given.act == "about":
        _print(peer.about())
    elif given.act == "enqueue":
        _print({"seconds": _enqueue(peer, given.tasks, given.bulk)})
    elif given.act == "latency":
        _print({"seconds": [_call(peer, number) for number in range(given.calls)]})
    else:
        command = peer.work(given.processes)
        os.chdir(Path(__file__).parent)
        os.execv(command[0], command)


def _enqueue(peer: Peer, tasks: int, bulk: bool) -> float | None:
    peer.send(0)  # opens what is opened once; the caller counts it
    started = time.perf_counter()
    if bulk:
        if not peer.send_many(tasks):
            return None
    else:
        for number in range(tasks):
            peer.send(number)
    return time.perf_counter() - started


def _call(peer: Peer, number: int) -> float:
    started = time.perf_counter()
    peer.wait(peer.send(number))
    return time.perf_counter() - started


def _print(value: Any) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()

"""An append-only record of what producers, task bodies and the nemesis did. It knows nothing of the queue under test.

Every process writes lines of JSON to a file of its own, each by one ``write`` and an ``fsync``, so that what a process
did before it was killed is never in doubt. Instants (``t``) are seconds of ``CLOCK_BOOTTIME``, which all processes of a
host share. The checker joins the files afterwards. Events and their fields beyond ``ev, id, t, pid, seq``:

    pub_try(lib, expect, eta?)  pub_ok  pub_rej(why)  pub_unk(why)        a producer, around each send
    start(run, attempt, token, lib, worker)  end(run)  err(run)           a task body
    back(libs, worker)                                                    a worker, before copies that give these back
    sink(token, ok, nth)                                                  a write to a store that refuses smaller tokens
    res_seen(state, token?)  dlq_seen(reason)  replay_begin  replay_ok    a reader who polls every task
    nem(fault, on, action, victim, worker, pids)  gone(of)               the nemesis, and deaths it has seen
    drain_begin  quiesced(left, ids)  exit(worker, status)                the harness

``expect`` is "end" (the task should succeed), "dead" (it should be buried), "blocked" (it is a FAILURE without having
run, as what it waits for fails), "never" (it does not run, and nothing is said of it) or "any".
"""

import itertools
import json
import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

Event = dict[str, Any]


def now() -> float:
    """The instant, on the clock of the ledger."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Ledger:
    """Writes this process's events; safe to use from threads and after a fork."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._pid = 0
        self._fd = -1
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._renew_lock)

    def log(self, event: str, id: str = "", **fields: Any) -> Event:
        """Append one event; it is on disk when this returns."""
        with self._lock:
            if self._pid != os.getpid():
                self._open()
            line: Event = {"ev": event, "id": id, "t": now(), "pid": self._pid, "seq": next(self._seq), **fields}
            os.write(self._fd, json.dumps(line).encode() + b"\n")
            os.fsync(self._fd)
        return line

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    def _open(self) -> None:
        """A file of this process's own; the number keeps a reused pid from appending to a torn line."""
        self._pid = os.getpid()
        self._seq = itertools.count()
        name = self.folder / f"{self._pid}-{time.monotonic_ns()}.jsonl"
        self._fd = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


class View:
    """Reads a folder of ledgers again and again, each time only what is new."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.events: list[Event] = []
        self._offsets: dict[Path, int] = {}

    def refresh(self) -> list[Event]:
        """All events so far, by time. A torn last line is a process killed while it wrote: legal, and left out."""
        fresh: list[Event] = []
        for path in sorted(self.folder.glob("*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                whole, _, _ = file.read().rpartition(b"\n")
            if whole:
                self._offsets[path] = self._offsets.get(path, 0) + len(whole) + 1
                fresh += [json.loads(line) for line in whole.split(b"\n")]
        if fresh:
            self.events.extend(fresh)
            self.events.sort(key=lambda event: (event["t"], event["pid"], event["seq"]))
        return self.events


def read(folder: str | Path) -> list[Event]:
    """All events of a folder, by time. Raises ``ValueError`` for a line that is broken anywhere but at a file's end."""
    return View(folder).refresh()


def open_sink(folder: str | Path) -> None:
    """Create the store that ``write_sink`` guards with fencing tokens."""
    with sqlite3.connect(Path(folder) / "sink.sqlite") as sink:
        sink.execute("PRAGMA journal_mode=WAL")
        sink.execute(
            "CREATE TABLE IF NOT EXISTS sink (id TEXT PRIMARY KEY, token INTEGER NOT NULL, nth INTEGER NOT NULL)"
        )
    sink.close()


def write_sink(ledger: Ledger, id: str, token: int) -> None:
    """Write to the sink as a careful user would: a token smaller than the stored one is refused; logs which it was.

    ``nth``: which write to this task it was, by the sink. A process that is stopped between its write and its log tells
    of it when others have written since.
    """
    sink = sqlite3.connect(ledger.folder / "sink.sqlite", timeout=30, isolation_level=None)
    try:
        sink.execute("PRAGMA synchronous=OFF")
        written = sink.execute(
            "INSERT INTO sink VALUES (?, ?, 1) ON CONFLICT (id) DO UPDATE SET token = excluded.token, nth = nth + 1"
            " WHERE excluded.token >= sink.token RETURNING nth",
            (id, token),
        ).fetchall()
    finally:
        sink.close()
    ledger.log("sink", id, token=token, ok=bool(written), nth=written[0][0] if written else 0)

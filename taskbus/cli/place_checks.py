"""Doctor's checks of the machine and of the places where queues and results live."""

import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

from taskbus.app import TaskBus
from taskbus.cli.finding import Finding, Level
from taskbus.cli.opening import named
from taskbus.cli.phrase import size, span
from taskbus.database import look
from taskbus.database.remark import Remark, Weight
from taskbus.database.sql import Database, locate
from taskbus.database.urls import redacted
from taskbus.errors import TaskBusError

LEAST_SQLITE = (3, 35, 0)
SCARCE_DISK, LITTLE_DISK = 100 << 20, 1 << 30
SLOW_PING = 0.25
NETWORK_FILESYSTEMS = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "afs",
    "fuse.sshfs",
    "fuse.s3fs",
    "fuse.gcsfuse",
    "ceph",
    "glusterfs",
)


def check_python() -> Iterator[Finding]:
    """The interpreter and the SQLite inside it."""
    yield Finding(Level.OK, "python", f"{'.'.join(map(str, sys.version_info[:3]))} at {sys.executable}")
    if sqlite3.sqlite_version_info < LEAST_SQLITE:
        needed = ".".join(map(str, LEAST_SQLITE))
        yield Finding(Level.ERROR, "sqlite", f"version {sqlite3.sqlite_version} is too old", f"use {needed} or later")


def check_places(app: TaskBus) -> Iterator[Finding]:
    """Broker and store: there, reachable, durable, with room to grow, in one database or two."""
    try:
        yield from _check_broker(app)
        if app.results_url == app.broker_url or _is_one_database(app):
            yield Finding(Level.OK, "results", "in the broker's database: a task settles in one transaction")
        else:
            yield from _check_results(app)
    except (TaskBusError, sqlite3.Error, OSError) as error:
        yield Finding(Level.ERROR, "broker", f"{redacted(app.broker_url)}: {error}")


def is_ours(url: str) -> bool:
    """Whether there is anything of TaskBus to look at; asking neither creates nor changes it."""
    return not url.startswith("sqlite:") or any(name.startswith(look.PREFIX) for name in _tables(url))


def _tables(url: str) -> frozenset[str]:
    return look.tables(locate(url).path) or frozenset()


def _is_one_database(app: TaskBus) -> bool:
    return is_ours(app.broker_url) and is_ours(app.results_url) and app.shares_database


def _check_broker(app: TaskBus) -> Iterator[Finding]:
    url = app.broker_url
    if not is_ours(url):
        yield from _check_future(url, "broker")
        return
    took = app.broker.ping()
    level = Level.WARNING if took > SLOW_PING else Level.OK
    hint = "who holds it? a slow disk, or a long transaction of another program" if took > SLOW_PING else ""
    yield Finding(level, "broker", f"{app.broker.safe_url} answers in {span(took)}", hint)
    if not url.startswith("sqlite:"):
        yield from map(_finding, app.broker.examine())
    else:
        yield from _check_file(Path(locate(url).path))
        yield from _check_durability(Database.open(url))


def _check_future(url: str, subject: str) -> Iterator[Finding]:
    path, theirs = Path(locate(url).path), _tables(url)
    if theirs:
        text = f"{path} is the database of something else, with {named(theirs)}"
        hint = "the first send or worker would add its own tables to it; better name another file"
        yield Finding(Level.WARNING, subject, text, hint)
    elif not path.parent.is_dir():
        yield Finding(Level.ERROR, subject, f"folder {path.parent} does not exist", f"mkdir -p {path.parent}")
    elif not os.access(path.parent, os.W_OK):
        yield Finding(
            Level.ERROR, subject, f"folder {path.parent} cannot be written", f"as {_user()}: choose another URL"
        )
    else:
        yield Finding(Level.OK, subject, f"{path} is not there yet; the first send or worker creates it")
        yield from _check_disk(path.parent)


def _check_file(path: Path) -> Iterator[Finding]:
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        hint = "SQLite writes its -wal and -shm files beside it: both file and folder must be writable"
        yield Finding(Level.ERROR, "broker", f"{path} or its folder cannot be written by {_user()}", hint)
    yield from _check_disk(path.parent)


def _check_disk(folder: Path) -> Iterator[Finding]:
    kind = filesystem(folder)
    if kind.startswith(NETWORK_FILESYSTEMS):
        hint = "SQLite's locks are not reliable there; put the file on a local disk"
        yield Finding(Level.WARNING, "disk", f"{folder} is a network filesystem ({kind})", hint)
    free = shutil.disk_usage(folder).free
    level = Level.ERROR if free < SCARCE_DISK else Level.WARNING if free < LITTLE_DISK else Level.OK
    hint = "a send fails when the disk is full; make room" if level is not Level.OK else ""
    yield Finding(level, "disk", f"{size(free)} free for {folder}", hint)


def _check_durability(database: Database) -> Iterator[Finding]:
    connection = database.connection()
    journal = str(connection.execute("PRAGMA journal_mode").fetchone()[0]).lower()
    synchronous = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}.get(
        connection.execute("PRAGMA synchronous").fetchone()[0], "?"
    )
    setting = f"journal_mode={journal.upper()}, synchronous={synchronous}"
    if journal != "wal":
        yield Finding(
            Level.WARNING, "durability", f"{setting}: not write-ahead logging; readers and writers wait for each other",
            "is the filesystem able to share memory? put the file on a local disk",
        )  # fmt: skip
    elif synchronous in ("FULL", "EXTRA"):
        yield Finding(Level.OK, "durability", f"{setting}: an accepted task survives a crash and a power failure")
    else:
        yield Finding(
            Level.OK,
            "durability",
            f"{setting}: an accepted task survives the crash of any process; a power failure may take the last commits "
            "(?synchronous=FULL in the URL keeps those too, at one disk flush a commit)",
        )


def _finding(remark: Remark) -> Finding:
    return Finding(_LEVELS[remark.weight], remark.subject, remark.text, remark.advice)


_LEVELS = {Weight.FINE: Level.OK, Weight.RISK: Level.WARNING, Weight.REFUSED: Level.ERROR}


def _check_results(app: TaskBus) -> Iterator[Finding]:
    if not is_ours(app.results_url):
        yield from _check_future(app.results_url, "results")
    else:
        app.store.results(["doctor"])
        yield Finding(Level.OK, "results", f"{app.store.database or redacted(app.results_url)} answers")
        yield from map(_finding, app.store.examine())
    hint = "leave --results out to keep both in one database"
    text = "not in the broker's database: a crash between the two may run a finished task again, it never loses one"
    yield Finding(Level.WARNING, "results", text, hint)


def filesystem(folder: Path) -> str:
    """The type of the filesystem that holds ``folder``; empty where the system does not tell. Source: proc(5)."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return ""
    best, kind = -1, ""
    real = str(folder.resolve())
    for line in lines:
        head, _, tail = line.partition(" - ")
        point = head.split(" ")[4].replace("\\040", " ")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:
            best, kind = len(point), tail.split(" ")[0]
    return kind


def _user() -> str:
    return f"user {os.getuid()}" if hasattr(os, "getuid") else "this user"

"""Doctor's checks of the machine and of the places where queues and results live."""

import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from taskbus.app import TaskBus
from taskbus.broker.broker import LOCAL
from taskbus.broker.transports.features import limits
from taskbus.cli.finding import Finding, Level
from taskbus.cli.opening import named
from taskbus.cli.phrase import ago, count, size, span
from taskbus.database import look
from taskbus.database.remark import Remark, Weight
from taskbus.database.sqlite import SqliteDatabase, locate
from taskbus.database.urls import redacted
from taskbus.errors import ConfigError, TaskBusError
from taskbus.spool.spool import Spool
from taskbus.store.opening import SCHEMES as STORE_SCHEMES

LEAST_SQLITE = (3, 35, 0)
SCARCE_DISK, LITTLE_DISK = 100 << 20, 1 << 30
SLOW_PING = 0.25
FILES = ("sqlite:", "/")
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
    """Broker, store and spool: there, reachable, durable, with room to grow, in one database or two."""
    yield from _guarded("broker", app.broker_url, _check_broker(app))
    yield from _guarded("results", app.results_url, _check_results(app))
    if app.spool is not None:
        yield from _guarded("spool", app.spool.path, _check_spool(app, app.spool))


def _guarded(subject: str, url: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """What cannot be looked at is a finding too."""
    try:
        yield from findings
    except (TaskBusError, sqlite3.Error, OSError) as error:
        where, said = redacted(url), str(error)
        says_more = isinstance(error, TaskBusError) or url.startswith(FILES)
        hint = "" if says_more else "is it running, and may this host reach it? start it, or mend the URL"
        yield Finding(Level.ERROR, subject, said if where in said else f"{where}: {said}", hint)


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
    hint = ""
    if took > SLOW_PING:
        hint = (
            "who holds it? a slow disk, or a long transaction of another program"
            if url.startswith(FILES)
            else "a broker that is far away or busy makes every send wait for so long"
        )
    yield Finding(level, "broker", f"{app.broker.safe_url} answers in {span(took)}", hint)
    if not url.startswith("sqlite:"):
        yield from map(_finding, app.broker.examine())
    else:
        yield from _check_file(Path(locate(url).path))
        yield from _check_durability(SqliteDatabase.open(url))
    if lacking := limits(app.broker.features):
        yield Finding(Level.OK, "limits", f"this broker cannot {'; nor '.join(lacking)}")


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


def _check_durability(database: SqliteDatabase) -> Iterator[Finding]:
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
    is_same = app.results_url == app.broker_url
    try:
        if _is_one_database(app) or (is_same and app.results_url.startswith("sqlite:")):  # which may not be there yet
            yield Finding(Level.OK, "results", "in the broker's database: a task settles in one transaction")
            return
    except ConfigError:
        if is_same:
            return  # the broker's check has said why
        raise
    apart = "a crash between the two may run a finished task again, it never loses one"
    if not is_ours(app.results_url):
        yield from _check_future(app.results_url, "results")
    else:
        app.store.results(["doctor"])
        yield Finding(Level.OK, "results", f"{redacted(app.results_url)} answers")
        yield from map(_finding, app.store.examine())
    if app.results_url.startswith("sqlite:") and not app.broker_url.startswith(LOCAL):
        text = "in a file of this host: who sends from another host sees neither results nor dead letters"
        yield Finding(Level.WARNING, "results", text, "--results redis://... or postgresql://... is for all")
    if is_same:  # a Redis Cluster
        yield Finding(Level.OK, "results", f"in the broker's cluster, but on nodes of their own: {apart}")
        return
    text = f"not in the broker's database: {apart}"
    if app.broker_url.partition(":")[0] in STORE_SCHEMES:
        yield Finding(Level.WARNING, "results", text, "leave --results out to keep both in one database")
    else:  # as it is with any broker that stores no results
        yield Finding(Level.OK, "results", text)


def _check_spool(app: TaskBus, spool: Spool) -> Iterator[Finding]:
    folder = Path(spool.path).parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        text = f"{spool.path}: its folder is not there, or {_user()} cannot write to it"
        yield Finding(Level.ERROR, "spool", text, f"mkdir -p {folder}, or name another file")
        return
    waiting, refused, octets = spool.size()
    if waiting:
        text = f"{count(waiting, 'message')} in {spool.path}, the oldest {ago(spool.oldest_at() or 0.0, time.time())}"
        yield Finding(Level.WARNING, "spool", text, "whoever sends relays them too; taskbus spool relay does it now")
    if refused:
        text = f"the broker refused {count(refused, 'message')} of {spool.path}"
        yield Finding(Level.WARNING, "spool", text, "taskbus spool status says why, relay --refused tries again")
    if not (waiting or refused):
        yield Finding(Level.OK, "spool", f"{spool.path}: nothing waits")
    if octets > app.config.max_spool_bytes * 0.8:
        text = f"{size(octets)} of max_spool_bytes={app.config.max_spool_bytes:,}: soon sends fail"
        yield Finding(Level.WARNING, "spool", text, "bring the broker back, or allow more")


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
